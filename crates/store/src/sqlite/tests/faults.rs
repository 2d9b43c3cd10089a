//! Storage calls times failures. A call that fails leaves what was there or has done what it was to do,
//! is repeated without harm, and works again without a restart once the failure is over.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::Connection;

use super::super::SqliteOptions;
use super::super::writing::Writing;
use super::DELIVERED;
use super::NOW;
use super::Outcome;
use super::TestSpool;
use super::end_of;
use super::everything;
use super::of;
use super::records::anchor_record;
use super::records::sts_record;
use super::whole;
use crate::AnchorRecords;
use crate::AttemptEnd;
use crate::Became;
use crate::Body;
use crate::Claim;
use crate::Incoming;
use crate::NewMessage;
use crate::QueueCommands;
use crate::QueueId;
use crate::RecipientState;
use crate::SPILL_OCTETS;
use crate::Spool;
use crate::StoreError;
use crate::StsRecords;
use crate::message::Piece;

/// Every call that changes something.
#[derive(Clone, Copy, Debug)]
enum Call {
    Insert,
    InsertLarge,
    Stage,
    FinishDeferred,
    FinishRetired,
    FinishBounced,
    Recover,
    MarkCorrupt,
    Hold,
    Release,
    Retry,
    Remove,
    Prune,
    PutSts,
    RemoveSts,
    PutAnchor,
}

const CALLS: [Call; 16] = [
    Call::Insert,
    Call::InsertLarge,
    Call::Stage,
    Call::FinishDeferred,
    Call::FinishRetired,
    Call::FinishBounced,
    Call::Recover,
    Call::MarkCorrupt,
    Call::Hold,
    Call::Release,
    Call::Retry,
    Call::Remove,
    Call::Prune,
    Call::PutSts,
    Call::RemoveSts,
    Call::PutAnchor,
];

/// What befalls the database.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Each statement that changes a row fails.
    Fails,
    /// There is no page left.
    DiskFull,
    /// Somebody else writes for longer than the store is willing to wait.
    TakesTooLong,
    /// Somebody else writes for a while.
    TakesLong,
}

const FAULTS: [Fault; 4] = [
    Fault::Fails,
    Fault::DiskFull,
    Fault::TakesTooLong,
    Fault::TakesLong,
];

#[tokio::test]
async fn a_call_leaves_nothing_half_done_and_works_again_when_the_failure_is_over() {
    for fault in FAULTS {
        let mut failed = 0;
        for call in CALLS {
            let what = format!("{call:?} while {fault:?}");
            let reference = TestSpool::new();
            let claim = prepare(&reference).await;
            let id = reference.store.next_id(NOW);
            make(&reference, call, &claim, id).await.unwrap();

            let spool = TestSpool::new();
            let claim = prepare(&spool).await;
            let id = spool.store.next_id(NOW);
            let before = spool.dump();
            let befallen = Befallen::begin(&spool, fault).await;
            let outcome = make(&spool, call, &claim, id).await;
            befallen.end(&spool).await;
            if let Err(error) = &outcome {
                failed += 1;
                assert!(is_of(fault, error), "{what}: {error:?}");
                assert_eq!(spool.dump(), before, "{what}");
            }
            // Either way it may be called again, also by who comes after a crash.
            let crashed = spool.crash_copy();
            for spool in [spool, crashed] {
                make(&spool, call, &claim, id).await.expect(&what);
                assert_eq!(shape(&spool).await, shape(&reference).await, "{what}");
                let verified = spool.store.verify_all(|_| {}).await.unwrap();
                assert_eq!(verified.damaged_total, 0, "{what}");
                let counted = spool.store.depth();
                assert_eq!(spool.crash().store.depth(), counted, "{what}");
            }
        }
        let expected = match fault {
            // A recovery with nothing to forget writes nothing.
            Fault::Fails => failed >= 14,
            Fault::TakesTooLong => failed == CALLS.len(),
            // Most calls need no more room.
            Fault::DiskFull => failed >= 3,
            Fault::TakesLong => failed == 0,
        };
        assert!(expected, "{failed} calls failed while {fault:?}");
    }
}

/// A call that fails may have reached the disk all the same. Whoever repeats it, before or after a
/// crash, gets what one call would have given.
#[tokio::test]
async fn a_call_that_failed_after_it_was_durable_can_be_repeated() {
    for call in CALLS {
        let spool = TestSpool::new();
        let claim = prepare(&spool).await;
        let id = spool.store.next_id(NOW);
        make(&spool, call, &claim, id).await.unwrap();
        let once = spool.dump();
        make(&spool, call, &claim, id).await.unwrap();
        assert_eq!(spool.dump(), once, "{call:?} repeated");

        let spool = spool.crash();
        assert_eq!(spool.dump(), once, "{call:?} and a crash");
        make(&spool, call, &claim, id).await.unwrap();
        assert_eq!(spool.dump(), once, "{call:?} repeated after a crash");
    }
}

/// The batch is made again one by one.
#[tokio::test]
async fn a_failing_call_does_not_touch_its_neighbours() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.run("ALTER TABLE receipts RENAME TO elsewhere");
    // One message goes in before the failing call has changed something, one behind it.
    let bounce = Some(whole(spool.store.next_id(NOW), &["s@origin.example"]));
    let ended = AttemptEnd {
        bounce,
        ..end_of(&claim, Outcome::Defer)
    };
    let insert = |to: &'static str| {
        let message = whole(spool.store.next_id(NOW), &[to]);
        spool.store.insert(message)
    };
    let blocker = Blocker::begin(&spool);
    let (first, failed, second, ()) = tokio::join!(
        insert("b@two.example"),
        spool.store.finish(ended),
        insert("c@three.example"),
        async { blocker.end() },
    );
    assert!(failed.is_err());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(spool.lines().await.len(), 3);
    assert_eq!(spool.store.depth().messages, 3);
}

#[tokio::test]
async fn a_thread_that_panics_leaves_nobody_waiting_and_is_missed() {
    let spool = TestSpool::new();
    let insert = |to: &'static str| {
        let insertion = spool.store.insert(whole(spool.store.next_id(NOW), &[to]));
        async { insertion.await.map(|_| ()) }
    };
    let broken = |_: &mut Writing| -> Result<(), StoreError> { panic!("a fault of ours") };
    let blocker = Blocker::begin(&spool);
    let patience = Duration::from_secs(20);
    let answers = tokio::time::timeout(patience, async {
        tokio::join!(
            insert("a@one.example"),
            spool.store.workers.write(broken),
            insert("b@two.example"),
            async { blocker.end() },
            spool.store.ended(),
        )
    });
    let answers = answers.await.expect("the writer is not missed");
    let closed = Err(StoreError::Closed);
    // The first may have been alone in a batch of its own.
    assert!(answers.0 == closed || answers.0.is_ok(), "{answers:?}");
    assert_eq!((answers.1, answers.2), (closed.clone(), closed.clone()));
    assert_eq!(insert("c@three.example").await, closed);

    let spool = TestSpool::new();
    let broken = |_: &Connection| -> Result<(), StoreError> { panic!("a fault of ours") };
    assert_eq!(spool.store.workers.read(broken).await, closed);
    let missed = tokio::time::timeout(patience, spool.store.ended()).await;
    assert!(missed.is_ok(), "the reader is not missed");
}

/// Whoever ends the process waits for what nobody else waits for any more.
#[tokio::test]
async fn what_was_asked_for_before_is_on_disk_once_the_store_has_settled() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    let mut ending = Box::pin(spool.store.finish(end_of(&claim, DELIVERED)));
    let blocker = Blocker::begin(&spool);
    let asked = tokio::time::timeout(Duration::ZERO, &mut ending).await;
    assert!(asked.is_err());
    drop(ending);
    let (settled, ()) = tokio::join!(spool.store.settle(), async { blocker.end() });
    assert_eq!(settled, Ok(()));
    assert_eq!(spool.crash_copy().count("deliveries"), 0);
}

/// What a transaction has left behind that could neither be committed nor given up.
#[test]
fn a_transaction_that_was_left_open_does_not_reach_the_disk() {
    let spool = TestSpool::new();
    let TestSpool { directory, store } = spool;
    drop(store);
    let path = directory.path().join(super::DATABASE_FILE);
    let (counters, flushes) = (Arc::default(), Arc::default());
    let options = SqliteOptions::in_directory(directory.path());
    let db = super::super::connect(&path).unwrap();
    let bounds = Arc::new(Mutex::new(options.bounds));
    let mut writing = Writing::new(db, options, bounds, counters, flushes).unwrap();
    let anchor = |zone: &str| format!("INSERT INTO anchors VALUES ('{zone}', '', x'')");
    writing.begin().unwrap();
    writing.run(&anchor("left"), []).unwrap();
    writing.begin().unwrap();
    writing.run(&anchor("kept"), []).unwrap();
    writing.commit(1).unwrap();
    let zones: Vec<String> = writing
        .db
        .prepare("SELECT zone FROM anchors")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(zones, ["kept"]);
}

#[tokio::test]
async fn a_full_spool_takes_nothing_in_and_still_lets_go() {
    let spool = TestSpool::with(|options| options.bounds.size_max = 336 * 1024);
    let big = |spool: &TestSpool| {
        let to = ["a@one.example"];
        let id = spool.store.next_id(NOW);
        let octets = vec![b'x'; 30_000];
        NewMessage::whole(
            id,
            super::envelope(&to),
            NOW,
            &octets,
            super::deliveries(&to),
        )
    };
    let mut accepted = 0;
    let refused = loop {
        match spool.store.insert(big(&spool)).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full);
    assert!((2..8).contains(&accepted), "{accepted}");
    let mut incoming = Incoming::begin(Arc::clone(&spool.store), NOW);
    let staged = incoming.write(&vec![0; SPILL_OCTETS]).await;
    assert_eq!(staged, Err(StoreError::Full));

    let claim = spool.claim_one(NOW).await;
    assert_eq!(spool.finish(&claim, DELIVERED).await, Became::Retired);
    assert!(spool.store.insert(big(&spool)).await.is_ok());
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_nothing_in_and_still_lets_go() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example"]).await;
    let TestSpool { directory, store } = spool;
    drop(store);
    let spool = TestSpool::open_in(directory, |options| options.free_min = u64::MAX);
    let refused = whole(spool.store.next_id(NOW), &["a@one.example"]);
    let refused = spool.store.insert(refused).await.map(|_| ());
    assert_eq!(refused, Err(StoreError::Full));

    let claim = spool.claim_one(NOW).await;
    assert_eq!(spool.finish(&claim, DELIVERED).await, Became::Retired);
}

/// A fault that lasts.
enum Befallen {
    /// Until the triggers are dropped.
    Triggers,
    /// Until the setting is taken back.
    Setting(&'static str),
    /// Until somebody else has written.
    Blocked(Blocker),
    /// Until somebody else has written, which is soon.
    BlockedFor(std::thread::JoinHandle<()>),
}

impl Befallen {
    async fn begin(spool: &TestSpool, fault: Fault) -> Self {
        match fault {
            Fault::Fails => {
                for (number, (table, what)) in triggers().enumerate() {
                    spool.run(&format!(
                        "CREATE TRIGGER broken_{number} BEFORE {what} ON {table}
                         BEGIN SELECT raise(ABORT, 'broken'); END"
                    ));
                }
                Self::Triggers
            }
            Fault::DiskFull => {
                // SQLite takes the present size for the least there can be.
                set(spool, "PRAGMA max_page_count = 1").await;
                Self::Setting("PRAGMA max_page_count = 4294967294")
            }
            Fault::TakesTooLong => {
                set(spool, "PRAGMA busy_timeout = 1").await;
                Self::Blocked(Blocker::begin(spool))
            }
            Fault::TakesLong => {
                let blocker = Blocker::begin(spool);
                Self::BlockedFor(std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(30));
                    blocker.end();
                }))
            }
        }
    }

    async fn end(self, spool: &TestSpool) {
        match self {
            Self::Triggers => {
                for (number, _) in triggers().enumerate() {
                    spool.run(&format!("DROP TRIGGER broken_{number}"));
                }
            }
            Self::Setting(over) => set(spool, over).await,
            Self::Blocked(blocker) => {
                blocker.end();
                set(spool, "PRAGMA busy_timeout = 5000").await;
            }
            Self::BlockedFor(thread) => thread.join().unwrap(),
        }
    }
}

/// Each way to change each table.
fn triggers() -> impl Iterator<Item = (&'static str, &'static str)> {
    let tables = [
        "messages",
        "pieces",
        "deliveries",
        "receipts",
        "circumstances",
        "sts_policies",
        "anchors",
    ];
    tables
        .into_iter()
        .flat_map(|table| ["INSERT", "UPDATE", "DELETE"].map(|what| (table, what)))
}

/// Changes how the writing connection works.
async fn set(spool: &TestSpool, pragma: &'static str) {
    spool
        .store
        .workers
        .write(move |writing| {
            writing
                .db
                .prepare(pragma)
                .and_then(|mut statement| {
                    let mut rows = statement.query([])?;
                    while rows.next()?.is_some() {}
                    Ok(())
                })
                .map_err(|error| super::super::failure(&error))
        })
        .await
        .unwrap();
}

/// Somebody else who writes.
struct Blocker(Connection);

impl Blocker {
    fn begin(spool: &TestSpool) -> Self {
        let connection = spool.connection();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }

    fn end(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// Whether an error is what the fault makes of it.
fn is_of(fault: Fault, error: &StoreError) -> bool {
    match fault {
        Fault::Fails => matches!(error, StoreError::Refused(_)),
        Fault::DiskFull => *error == StoreError::Full,
        Fault::TakesTooLong => *error == StoreError::Busy,
        Fault::TakesLong => false,
    }
}

/// What is there, but for the ids of deliveries, of which a failed call may have used some up.
async fn shape(spool: &TestSpool) -> (Vec<String>, Vec<usize>) {
    let tables = [
        "messages",
        "pieces",
        "deliveries",
        "receipts",
        "circumstances",
    ];
    let others = ["sts_policies", "anchors"];
    let counts = tables
        .into_iter()
        .chain(others)
        .map(|table| spool.count(table));
    (spool.lines().await, counts.collect())
}

/// One delivery that is tried, one held, one deferred, one waiting; the claim of the first.
async fn prepare(spool: &TestSpool) -> Claim {
    let held = spool.accept(&["held@hold.example"]).await;
    spool.hold(of(held)).await.unwrap();
    let deferred = spool.accept(&["deferred@later.example"]).await;
    let claim = spool.claim_one(NOW).await;
    assert_eq!(claim.queue_id, deferred);
    spool.finish(&claim, Outcome::Defer).await;
    spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.accept(&["b@two.example"]).await;
    let policy = sts_record("old.example", NOW);
    spool.store.put_sts_record(policy).await.unwrap();
    claim
}

async fn make(spool: &TestSpool, call: Call, claim: &Claim, id: QueueId) -> Result<(), StoreError> {
    let store = &spool.store;
    let large = |to: &[&str]| {
        NewMessage::whole(
            id,
            super::envelope(to),
            NOW,
            &vec![b'x'; 200_000],
            super::deliveries(to),
        )
    };
    match call {
        Call::Insert => store
            .insert(whole(id, &["a@one.example"]))
            .await
            .map(|_| ()),
        Call::InsertLarge => store.insert(large(&["a@one.example"])).await.map(|_| ()),
        Call::Stage => {
            let pieces = [vec![1; 60_000], vec![2]].map(Piece::new);
            store.stage(id, 0, Body(pieces.into())).await
        }
        Call::FinishDeferred => {
            let end = end_of(claim, Outcome::Defer);
            store.finish(end).await.map(|_| ())
        }
        Call::FinishRetired => store.finish(end_of(claim, DELIVERED)).await.map(|_| ()),
        Call::FinishBounced => {
            let end = AttemptEnd {
                bounce: Some(large(&["sender@origin.example"])),
                ..end_of(claim, Outcome::All(RecipientState::Bounced))
            };
            store.finish(end).await.map(|_| ())
        }
        Call::Recover => store.recover(NOW).await.map(|_| ()),
        Call::MarkCorrupt => {
            let what = String::from("bits");
            store.mark_corrupt(claim.queue_id, what).await
        }
        Call::Hold => store.hold(everything(), |_| {}).await.map(drop),
        Call::Release => store.release(everything(), NOW, |_| {}).await.map(drop),
        Call::Retry => store.retry(everything(), NOW, |_| {}).await.map(drop),
        Call::Remove => store.remove(everything(), |_| {}).await.map(drop),
        Call::Prune => {
            let later = byrnie_base::UnixTime(NOW.0 + 100 * 86_400);
            store.prune(later).await.map(|_| ())
        }
        Call::PutAnchor => store.put_anchor_record(anchor_record("{}")).await,
        Call::PutSts => store.put_sts_record(sts_record("a.example", NOW)).await,
        Call::RemoveSts => {
            let domain = "old.example".parse().unwrap();
            store.remove_sts_record(&domain).await
        }
    }
}
