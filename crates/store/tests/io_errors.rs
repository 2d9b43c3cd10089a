//! Errors of the file system itself, through all of SQLite: a limit on how large files may become, which
//! holds for a process and so needs one of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on stops, and its process says that it came to its end"
)]

use std::env;
use std::process::Command;
use std::sync::Arc;

use byrnie_base::UnixTime;
use byrnie_smtp::BodyType;
use byrnie_smtp::Envelope;
use byrnie_smtp::ReversePath;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use byrnie_store::AttemptEnd;
use byrnie_store::Became;
use byrnie_store::Claim;
use byrnie_store::Filter;
use byrnie_store::NewDelivery;
use byrnie_store::NewMessage;
use byrnie_store::QueueCommands;
use byrnie_store::QueueId;
use byrnie_store::RecipientEnd;
use byrnie_store::RecipientState;
use byrnie_store::Spool;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use rustix::process::Resource;
use rustix::process::Rlimit;

#[test]
fn what_fails_to_be_written_is_refused_and_works_again_without_a_restart() {
    if env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        return runtime.unwrap().block_on(inside());
    }
    // Signal 25, SIGXFSZ, would end the process where a write is to fail.
    let ended = Command::new("sh")
        .args(["-c", "trap '' 25; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains(DONE), "{ended:?}");
}

async fn inside() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions::in_directory(directory.path());
    let store = Arc::new(SqliteStore::open(options.clone()).unwrap());
    let mut there = Vec::new();
    let mut claims = Vec::new();
    for _ in 0..20 {
        let message = message(&store);
        there.push(message.id());
        claims.extend(store.insert(message).await.unwrap().claims);
    }

    let log = directory.path().join("spool.sqlite3-wal");
    limit(Some(log.metadata().unwrap().len()));
    let refused = message(&store);
    for _ in 0..3 {
        let error = store.insert(refused.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::Io(_)), "{error:?}");
    }
    let end = delivered(&claims[0]);
    let error = store.finish(end.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Io(_)), "{error:?}");
    // Reading goes on.
    assert_eq!(listed(&store).await, there);

    limit(None);
    assert_eq!(store.finish(end).await.unwrap().became, Became::Retired);
    let again = message(&store);
    there.push(again.id());
    store.insert(again).await.unwrap();
    there.remove(0);
    assert_eq!(listed(&store).await, there);

    drop(store);
    let store = SqliteStore::open(options).unwrap();
    assert_eq!(listed(&store).await, there);
    let verified = store.verify_all(|_| {}).await.unwrap();
    assert_eq!((verified.messages, verified.damaged_total), (20, 0));
    println!("{DONE}");
}

/// Lets files become so large at most.
fn limit(octets: Option<u64>) {
    let maximum = rustix::process::getrlimit(Resource::Fsize).maximum;
    let current = octets.or(maximum);
    rustix::process::setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

async fn listed(store: &SqliteStore) -> Vec<QueueId> {
    let listed = store.list(Filter::default()).await.unwrap();
    listed.iter().map(|line| line.queue_id).collect()
}

fn message(store: &SqliteStore) -> NewMessage {
    let recipient: byrnie_base::Mailbox = "a@one.example".parse().unwrap();
    let delivery = NewDelivery {
        next_hop: recipient.domain.clone(),
        recipients: vec![recipient.clone()],
        due_at: NOW,
        expires_at: UnixTime(NOW.0 + 1000),
    };
    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        recipients: vec![recipient],
        body: BodyType::SevenBit,
        smtputf8: Smtputf8::NotUsed,
        tls_demand: TlsDemand::None,
    };
    let octets = vec![b'x'; 40_000];
    NewMessage::whole(store.next_id(NOW), envelope, NOW, &octets, vec![delivery])
}

fn delivered(claim: &Claim) -> AttemptEnd {
    AttemptEnd {
        delivery: claim.delivery,
        queue_id: claim.queue_id,
        attempt: claim.attempt,
        ended: vec![RecipientEnd {
            position: 0,
            state: RecipientState::Delivered,
            reply: None,
        }],
        next_attempt_at: NOW,
        floor: None,
        reason: None,
        receipts: vec![],
        bounce: None,
        delay_warning: None,
    }
}

/// Set in the process that has the limit.
const INSIDE: &str = "BYRNIE_TEST_FILE_SIZE_LIMIT";

/// What that process says in the end.
const DONE: &str = "all of it was done";

/// The test, for that process to run.
const NAME: &str = "what_fails_to_be_written_is_refused_and_works_again_without_a_restart";

const NOW: UnixTime = UnixTime(1_800_000_000);
