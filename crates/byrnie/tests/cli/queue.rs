//! `byrnie queue`: why mail waits, and steering it, without a daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_smtp::BodyType;
use byrnie_smtp::Envelope;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_store::NewDelivery;
use byrnie_store::NewMessage;
use byrnie_store::QueueId;
use byrnie_store::Spool;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Ran;
use crate::support::byrnie;

#[test]
fn a_message_is_held_released_retried_and_removed() {
    let queue = Queue::with_one_message();
    let id = queue.id.as_str();

    let listed = queue.run(&["list"], 0).stdout;
    assert!(
        listed.starts_with(&format!(
            "{id}  incoming  <a@from.example> -> to.example  1 left"
        )),
        "{listed}"
    );

    let held = queue.run(&["hold", id], 0).stdout;
    assert_eq!(held, "1 delivery held\n");
    let shown = queue.run(&["show", id], 0).stdout;
    assert!(
        shown.contains("to to.example: hold after 0 attempts, waits for `byrnie queue release`"),
        "{shown}"
    );

    let released = queue.run(&["release", id, "--json"], 0).stdout;
    assert_eq!(released, "{\"action\":\"release\",\"deliveries\":1}\n");
    queue.run(&["retry", "--all"], 0);

    let removed = queue.run(&["remove", id], 0).stdout;
    assert_eq!(removed, "1 delivery removed\n");
    assert_eq!(queue.run(&["list"], 0).stdout, "");
}

#[test]
fn machines_read_everything_about_a_message() {
    let queue = Queue::with_one_message();
    let shown = queue.run(&["show", &queue.id, "--json"], 0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["queue_id"], queue.id);
    let delivery = &shown["queued"]["deliveries"][0];
    assert_eq!(delivery["next_hop"], "to.example");
    assert_eq!(delivery["recipients"][0]["mailbox"], "b@to.example");
    assert_eq!(delivery["recipients"][0]["state"], "pending");
}

#[test]
fn a_message_that_is_not_there_ends_with_one() {
    let queue = Queue::with_one_message();
    let ran = queue.run(&["hold", "00000000000"], 1);
    assert_eq!(
        ran.stderr,
        "error: no message in the queue has the id 00000000000\n\
         hint: `byrnie queue list` prints the ids\n"
    );
}

#[test]
fn a_spool_that_is_not_there_ends_with_one() {
    let queue = Queue::with_one_message();
    fs::remove_dir_all(queue.folder.path().join("spool")).unwrap();
    let ran = queue.run(&["list"], 1);
    assert!(
        ran.stderr.starts_with("error: there is no spool in "),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("\nhint: `queue.spool` is "),
        "{}",
        ran.stderr
    );
}

#[test]
fn every_filter_leaves_out_what_does_not_pass() {
    let queue = Queue::with(&[
        ("a@from.example", "b@to.example", 9),
        ("c@from.example", "d@other.example", 5),
        ("", "b@to.example", 0),
    ]);
    for (filter, expected) in [
        (&[][..], 3),
        (&["--domain", "to.example"], 2),
        (&["--domain", "[192.0.2.1]"], 0),
        (&["--from", "a@from.example"], 1),
        (&["--from", "from.example"], 2),
        (&["--from", "<>"], 1),
        (&["--to", "b@to.example", "--from", "<>"], 1),
        (&["--older-than", "7d"], 1),
        (&["--newer-than", "7d"], 2),
        (&["--newer-than", "7d", "--older-than", "1d"], 1),
        (&["--state", "incoming"], 3),
        (&["--state", "hold"], 0),
        (&["--reason", "greylisted"], 0),
        (&["--limit", "2"], 2),
        (&[queue.id.as_str()], 1),
    ] {
        let listed = queue.run(&[&["list"], filter].concat(), 0).stdout;
        assert_eq!(listed.lines().count(), expected, "{filter:?}: {listed}");
        let counted = queue.run(&[&["count", "--json"], filter].concat(), 0);
        let counted: Value = serde_json::from_str(&counted.stdout).unwrap();
        assert_eq!(counted["deliveries"], expected, "{filter:?}: {counted}");
        let dry = queue.run(&[&["hold", "--dry-run", "--json"], filter].concat(), {
            if filter.is_empty() { 2 } else { 0 }
        });
        let dry: Value = serde_json::from_str(&dry.stdout).unwrap_or_default();
        assert!(filter.is_empty() || dry["deliveries"] == expected, "{dry}");
    }
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let queue = Queue::with(&[
        ("a@from.example", "b@to.example", 1),
        ("a@from.example", "c@to.example", 0),
    ]);
    queue.run(&["hold", &queue.id], 0);
    let dry = queue.run(&["release", "--all", "--dry-run"], 0).stdout;
    let id = &queue.id;
    assert!(
        dry.starts_with("would be released, but this is a dry run:\n1 delivery of 1 message"),
        "{dry}"
    );
    assert!(
        dry.contains(&format!("\n{id}  hold      <a@from.example>")),
        "{dry}"
    );
    let removed = queue
        .run(&["remove", "--from", "from.example", "--dry-run"], 0)
        .stdout;
    assert!(removed.contains("2 deliveries of 2 messages"), "{removed}");
    assert_eq!(
        queue.run(&["count"], 0).stdout.lines().next(),
        removed.lines().nth(1)
    );
    let held = queue.run(&["list", "--state", "hold"], 0).stdout;
    assert_eq!(held.lines().count(), 1, "{held}");
}

#[test]
fn what_is_to_be_changed_must_be_said() {
    let queue = Queue::with_one_message();
    for (arguments, message) in [
        (&["remove"][..], "it is not said which messages"),
        (
            &["remove", "--all", "--domain", "to.example"],
            "cannot be used with",
        ),
        (&["list", "--state", "active"], "there is no such state"),
        (&["list", "--from", "a@"], "--from \"a@\": "),
        (&["list", "--older-than", "soon"], "not a duration"),
        (&["why", "a b"], "\"a b\": "),
    ] {
        let stderr = queue.run(arguments, 2).stderr;
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
        assert!(stderr.contains("\nhint: "), "{arguments:?}: {stderr}");
    }
    assert_eq!(queue.run(&["list"], 0).stdout.lines().count(), 1);
}

#[test]
fn it_is_said_in_words_why_mail_waits() {
    let queue = Queue::with_one_message();
    let id = queue.id.as_str();
    let why = queue.run(&["why", id], 0).stdout;
    for words in [
        "is from <a@from.example>, has 21 octets",
        "To to.example, for <b@to.example>:\n  It has not been tried yet.",
        "No gateway runs on this spool; it is tried when one does.",
        &format!("byrnie queue hold {id} "),
    ] {
        assert!(why.contains(words), "{words}\n{why}");
    }
    queue.run(&["hold", id], 0);
    let why = queue.run(&["why", id], 0).stdout;
    for words in [
        "An operator holds it back; `byrnie queue release` lets it go on.",
        &format!("byrnie queue release {id} "),
    ] {
        assert!(why.contains(words), "{words}\n{why}");
    }
    let why = queue.run(&["why", "to.example"], 0).stdout;
    for words in [
        "1 delivery in the queue for to.example.",
        &format!("The oldest is {id}, "),
        "1 delivery held back by an operator.",
        "byrnie policy to.example",
    ] {
        assert!(why.contains(words), "{words}\n{why}");
    }
    let json = queue.run(&["why", "to.example", "--json"], 0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["states"]["hold"], 1, "{json}");
    assert_eq!(json["destination"], Value::Null, "{json}");
    queue.run(&["remove", id], 0);
    let why = queue.run(&["why", id], 1).stderr;
    assert!(why.starts_with("error: no message in the queue"), "{why}");
    let why = queue.run(&["why", "to.example"], 0).stdout;
    assert!(why.starts_with("Nothing waits for to.example."), "{why}");
}

#[test]
fn a_backup_is_a_spool_and_is_checked() {
    let queue = Queue::with_one_message();
    let folder = queue.folder.path().join("copy");
    let copied = queue.run(&["backup", folder.to_str().unwrap()], 0).stdout;
    assert!(
        copied.ends_with("copy: 1 message, 21 octets: 0 damaged\n"),
        "{copied}"
    );
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let again = queue.run(&["backup", folder.to_str().unwrap()], 1);
    assert!(again.stderr.contains("it exists"), "{}", again.stderr);
    fs::remove_dir_all(queue.folder.path().join("spool")).unwrap();
    fs::rename(folder, queue.folder.path().join("spool")).unwrap();
    assert_eq!(queue.run(&["list"], 0).stdout.lines().count(), 1);
}

#[test]
fn damage_is_named_and_put_aside() {
    let queue = Queue::with_one_message();
    let good = queue.run(&["verify"], 0).stdout;
    assert_eq!(good, "1 message, 21 octets: 0 damaged\n");
    let database = queue.folder.path().join("spool/spool.sqlite3");
    let mut octets = fs::read(&database).unwrap();
    let body = b"Subject: x\r\n\r\nhello\r\n";
    let at = octets.windows(body.len()).position(|part| part == body);
    octets[at.unwrap()] = b'X';
    fs::write(&database, octets).unwrap();
    let bad = queue.run(&["verify"], 1);
    let id = queue.id.as_str();
    let named = format!("1 message, 0 octets: 1 damaged\n{id}: ");
    assert!(bad.stdout.starts_with(&named), "{}", bad.stdout);
    assert!(bad.stderr.contains("put aside"), "{}", bad.stderr);
    let listed = queue.run(&["list", "--state", "corrupt"], 0).stdout;
    assert!(listed.starts_with(id), "{listed}");
    let why = queue.run(&["why", id], 0).stdout;
    assert!(
        why.contains("What is on disk is not what was written"),
        "{why}"
    );
}

#[test]
fn without_a_gateway_there_is_nothing_to_watch_or_to_reload() {
    let queue = Queue::with_one_message();
    let configuration = queue.folder.path().join("b.toml");
    let configuration = configuration.to_str().unwrap();
    for (arguments, code, message) in [
        (
            &["top", "--once"][..],
            1,
            "error: no gateway runs on the spool ",
        ),
        (
            &["top", "--json"],
            1,
            "error: no gateway runs on the spool ",
        ),
        (&["top"], 2, "error: the live view needs a terminal\nhint: "),
        (&["reload"], 1, "error: no gateway runs on the spool "),
    ] {
        let ran = byrnie(&[arguments, &["--config", configuration]].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with(message), "{arguments:?}: {ran:?}");
    }
}

/// A spool that nobody works on.
struct Queue {
    /// Holds the configuration and the spool.
    folder: TempDir,
    /// The first message's id.
    id: String,
}

impl Queue {
    fn with_one_message() -> Self {
        Self::with(&[("a@from.example", "b@to.example", 0)])
    }

    /// Messages with a sender, a recipient and an age in days, the oldest first.
    fn with(messages: &[(&str, &str, u64)]) -> Self {
        let folder = TempDir::new().unwrap();
        let configuration = "version = 1\n[queue]\nspool = \"spool\"\n";
        fs::write(folder.path().join("b.toml"), configuration).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ids = runtime.block_on(async {
            let options = SqliteOptions::in_directory(folder.path().join("spool"));
            let store = SqliteStore::open(options).unwrap();
            let mut ids = Vec::new();
            for (sender, recipient, days) in messages {
                // A little in the past, so that it is older than what comes.
                let now = SystemClock.now().0 - days * 86_400 - 60;
                ids.push(insert(&store, sender, recipient, UnixTime(now)).await);
            }
            ids
        });
        Self {
            folder,
            id: ids.first().unwrap().to_string(),
        }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        let configuration = self.folder.path().join("b.toml");
        let tail = ["--config", configuration.to_str().unwrap()];
        let ran = byrnie(&[&["queue"], arguments, &tail].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        ran
    }
}

/// Puts a message into a spool.
async fn insert(store: &SqliteStore, sender: &str, recipient: &str, at: UnixTime) -> QueueId {
    let id = store.next_id(at);
    let recipient: Mailbox = recipient.parse().unwrap();
    let envelope = Envelope {
        reverse_path: sender.parse().unwrap(),
        recipients: vec![recipient.clone()],
        body: BodyType::SevenBit,
        smtputf8: Smtputf8::NotUsed,
        tls_demand: TlsDemand::None,
    };
    let delivery = NewDelivery {
        next_hop: recipient.domain.clone(),
        recipients: vec![recipient],
        due_at: at,
        expires_at: UnixTime(at.0 + 10 * 86_400),
    };
    let octets = b"Subject: x\r\n\r\nhello\r\n";
    let message = NewMessage::whole(id, envelope, at, octets, vec![delivery]);
    store.insert(message).await.unwrap();
    id
}
