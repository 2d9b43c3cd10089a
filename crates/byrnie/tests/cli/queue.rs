//! `byrnie queue`: why mail waits, and steering it, without a daemon.

use std::fs;

use byrnie_base::UnixTime;
use byrnie_smtp::BodyType;
use byrnie_smtp::Envelope;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_store::NewDelivery;
use byrnie_store::NewMessage;
use byrnie_store::Spool;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
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
    assert_eq!(held, format!("{id}: 1 delivery held\n"));
    let shown = queue.run(&["show", id], 0).stdout;
    assert!(
        shown.contains("to to.example: hold after 0 attempts, waits for `byrnie queue release`"),
        "{shown}"
    );

    let released = queue.run(&["release", id, "--json"], 0).stdout;
    assert_eq!(
        released,
        format!("{{\"queue_id\":\"{id}\",\"action\":\"release\",\"deliveries\":1}}\n")
    );
    queue.run(&["retry", "--all"], 0);

    let removed = queue.run(&["remove", id], 0).stdout;
    assert_eq!(removed, format!("{id}: 1 delivery removed\n"));
    assert_eq!(queue.run(&["list"], 0).stdout, "");
}

#[test]
fn machines_read_everything_about_a_message() {
    let queue = Queue::with_one_message();
    let shown = queue.run(&["show", &queue.id, "--json"], 0).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
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

/// A spool that nobody works on.
struct Queue {
    /// Holds the configuration and the spool.
    folder: TempDir,
    /// The message's id.
    id: String,
}

impl Queue {
    fn with_one_message() -> Self {
        let folder = TempDir::new().unwrap();
        let configuration = "version = 1\n[queue]\nspool = \"spool\"\n";
        fs::write(folder.path().join("b.toml"), configuration).unwrap();
        let now = UnixTime(1_800_000_000);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let id = runtime.block_on(async {
            let options = SqliteOptions::in_directory(folder.path().join("spool"));
            let store = SqliteStore::open(options).unwrap();
            let id = store.next_id(now);
            let recipient: byrnie_base::Mailbox = "b@to.example".parse().unwrap();
            let envelope = Envelope {
                reverse_path: "a@from.example".parse().unwrap(),
                recipients: vec![recipient.clone()],
                body: BodyType::SevenBit,
                smtputf8: Smtputf8::NotUsed,
                tls_demand: TlsDemand::None,
            };
            let delivery = NewDelivery {
                next_hop: recipient.domain.clone(),
                recipients: vec![recipient],
                due_at: now,
                expires_at: UnixTime(now.0 + 1_000),
            };
            let octets = b"Subject: x\r\n\r\nhello\r\n";
            let message = NewMessage::whole(id, envelope, now, octets, vec![delivery]);
            store.insert(message).await.unwrap();
            id
        });
        Self {
            folder,
            id: id.to_string(),
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
