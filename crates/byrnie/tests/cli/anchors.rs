//! `byrnie anchors`: what is trusted, what became of it, and where nothing is validated.

use std::fs;

use byrnie_store::AnchorRecord;
use byrnie_store::AnchorRecords;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use tempfile::TempDir;

use crate::support::Ran;
use crate::support::byrnie;

#[test]
fn without_a_daemon_the_built_in_anchors_are_shown() {
    let ran = Anchors::new("").run(&[], 0);
    assert_eq!(
        ran.stdout,
        ".: built in, changes of keys are followed\n  \
         configured: DS 20326 8 2 e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d\n  \
         configured: DS 38696 8 2 683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16\n  \
         last look: none yet\n  \
         next look: as soon as `byrnie serve` runs\n"
    );
}

#[test]
fn what_the_daemon_knows_of_each_key_is_shown() {
    let anchors = Anchors::new(ANCHOR_FILE);
    anchors.keep(
        "example.",
        r#"{"algorithm":15,"public_key":[1],"state":"valid"},
           {"algorithm":15,"public_key":[2],"state":{"add-pending":1700000000}},
           {"algorithm":15,"public_key":[3],"state":{"missing":1700000000}},
           {"algorithm":15,"public_key":[4],"state":{"revoked":1700000000}},
           {"algorithm":15,"public_key":[5],"state":"removed"}"#,
    );
    let ran = anchors.run(&[], 0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines[..1],
        ["example.: from `dns.trust_anchor_file`, changes of keys are followed"]
    );
    assert_eq!(
        lines[2..],
        [
            "  key 1296 ED25519: valid",
            "  key 1552 ED25519: pending since 2023-11-14T22:13:20Z, trusted after \
             2023-12-14T22:13:20Z if it stays",
            "  key 1808 ED25519: missing since 2023-11-14T22:13:20Z, still trusted",
            "  key 2064 ED25519: revoked since 2023-11-14T22:13:20Z, never trusted again",
            "  key 2320 ED25519: removed, never trusted again",
            "  last look: 2023-11-14T22:13:20Z, failed: no answer",
            "  next look: 2096-10-02T07:06:40Z",
        ]
    );
}

#[test]
fn machines_read_the_same() {
    let anchors = Anchors::new(ANCHOR_FILE);
    anchors.keep(
        "example.",
        r#"{"algorithm":15,"public_key":[2],"state":{"add-pending":1700000000}}"#,
    );
    let printed = anchors.run(&["--json"], 0).stdout;
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let zone = &printed["zones"][0];
    assert_eq!(zone["zone"], "example.");
    assert_eq!(zone["source"], "file");
    assert_eq!(zone["updates"], "follow");
    assert_eq!(zone["usable"], true);
    assert_eq!(
        zone["keys"][0],
        serde_json::json!({
            "key_tag": 1552, "algorithm": "ED25519", "state": "pending", "trusted": false,
            "since": 1_700_000_000, "trusted_from": 1_702_592_000
        })
    );
    assert_eq!(zone["last"]["failure"], "no answer");
}

#[test]
fn an_anchor_without_a_key_ends_with_one() {
    let anchors = Anchors::new("[dns]\ntrust_anchor_file = \"anchor\"\n");
    let configured = format!("example. DNSKEY 257 3 15 {}\n", "A".repeat(42) + "A=");
    fs::write(anchors.folder.path().join("anchor"), configured).unwrap();
    let key = [0_u8; 32].map(|octet| octet.to_string()).join(",");
    anchors.keep(
        "example.",
        &format!(r#"{{"algorithm":15,"public_key":[{key}],"state":"removed"}}"#),
    );
    let ran = anchors.run(&[], 1);
    assert!(
        ran.stdout.contains(
            "\n  every key is revoked: nothing below can be validated; name the zone's new"
        ),
        "{}",
        ran.stdout
    );
}

#[test]
fn negative_anchors_are_shown_with_their_end() {
    let anchors = Anchors::new(
        "[[dns.danger_negative_trust_anchor]]\ndomain = \"a.example\"\n\
         until = \"2020-01-01T00:00:00Z\"\nreason = \"they know\"\n",
    );
    let ran = anchors.run(&[], 0);
    assert_eq!(
        ran.stdout.lines().last(),
        Some(
            "a.example: negative trust anchor expired at 2020-01-01T00:00:00Z; remove it (they know)"
        )
    );
}

#[test]
fn a_damaged_state_is_pointed_out() {
    let anchors = Anchors::new("");
    anchors.keep(".", "nonsense");
    let ran = anchors.run(&[], 0);
    assert!(
        ran.stderr.starts_with("warning: the trust anchor of .: "),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.starts_with(".: built in"), "{}", ran.stdout);
}

#[test]
fn where_the_resolver_validates_there_are_none() {
    let anchors = Anchors::new("[dns]\nmode = \"trust-ad\"\nservers = [\"127.0.0.1:53\"]\n");
    let ran = anchors.run(&[], 0);
    assert_eq!(ran.stdout, "none: the resolvers validate (`dns.mode`)\n");
    let ran = anchors.run(&["--json"], 0);
    assert_eq!(ran.stdout, "{\"zones\":[],\"negative\":[]}\n");
}

/// A configuration, and a spool that nobody works on.
struct Anchors {
    folder: TempDir,
}

impl Anchors {
    fn new(sections: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let text = format!("version = 1\nqueue.spool = \"spool\"\n{sections}");
        fs::write(folder.path().join("b.toml"), text).unwrap();
        fs::write(folder.path().join("anchor"), ANCHOR).unwrap();
        Self { folder }
    }

    /// As the daemon would.
    fn keep(&self, zone: &str, keys: &str) {
        let configured = match zone {
            "." => String::new(),
            _ => format!("{:?}", configured(&self.folder)),
        };
        let state = format!(
            r#"{{"configured":[{configured}],"tracker":{{"keys":[{keys}],"refresh_at":4000000000}},
               "last":{{"at":1700000000,"failure":"no answer"}}}}"#
        );
        let record = AnchorRecord {
            zone: String::from(zone),
            state,
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let options = SqliteOptions::in_directory(self.folder.path().join("spool"));
            let store = SqliteStore::open(options).unwrap();
            store.put_anchor_record(record).await.unwrap();
        });
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        let configuration = self.folder.path().join("b.toml");
        let tail = ["--config", configuration.to_str().unwrap()];
        let ran = byrnie(&[&["anchors"], arguments, &tail].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        ran
    }
}

/// The one anchor of the file without its zone, as the daemon keeps it.
fn configured(folder: &TempDir) -> String {
    let text = fs::read_to_string(folder.path().join("anchor")).unwrap();
    text.trim().strip_prefix("example. ").unwrap().to_owned()
}

const ANCHOR_FILE: &str = "[dns]\ntrust_anchor_file = \"anchor\"\n";

const ANCHOR: &str =
    "example. DS 1 15 2 0000000000000000000000000000000000000000000000000000000000000000\n";
