//! The store, call by call. Here stand what the tests share and the ordinary course of things.

mod commands;
mod damage;
mod faults;
mod migration;
mod model;
mod outgoing;
mod received;
mod records;

use std::fs;
use std::sync::Arc;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_policy::Strength;
use byrnie_smtp::BodyType;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::TlsDemand;
use rusqlite::Connection;
use tempfile::TempDir;

use super::DATABASE_FILE;
use super::SqliteOptions;
use super::SqliteStore;
use crate::Accepted;
use crate::AttemptEnd;
use crate::AttemptOutcome;
use crate::Became;
use crate::CHUNK_OCTETS;
use crate::Circumstances;
use crate::Claim;
use crate::Claimed;
use crate::DelayWarning;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::Filter;
use crate::Finished;
use crate::Incoming;
use crate::NewDelivery;
use crate::NewMessage;
use crate::QueueCommands;
use crate::QueueId;
use crate::Receipt;
use crate::RecipientEnd;
use crate::RecipientState;
use crate::Recovered;
use crate::SPILL_OCTETS;
use crate::SenderKey;
use crate::Spool;
use crate::StoreError;
use crate::Waiting;

#[tokio::test]
async fn an_accepted_message_survives_a_crash() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example", "b@two.example"]).await;

    let spool = spool.crash();
    assert_eq!(
        spool.lines().await,
        [
            format!("{id} one.example incoming 1"),
            format!("{id} two.example incoming 1")
        ]
    );
    assert_eq!(spool.octets(id).await, BODY);
}

#[test]
fn every_commit_reaches_the_disk() {
    let spool = TestSpool::new();
    let connection = super::connect(&spool.directory.path().join(DATABASE_FILE)).unwrap();
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    let full: i64 = connection
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .unwrap();
    assert_eq!((mode.as_str(), full), ("wal", 2));
}

#[tokio::test]
async fn waits_for_the_disk_are_counted() {
    let spool = TestSpool::new();
    let before = spool.store.flushes();
    spool.accept(&["a@one.example"]).await;
    let after = spool.store.flushes();
    assert_eq!(after.flushes, before.flushes + 1);
    assert_eq!(after.changes, before.changes + 1);
    assert!(after.microseconds > before.microseconds);
}

/// What is handed over in memory and what is read back after a crash are the same.
#[tokio::test]
async fn a_first_attempt_needs_no_look_at_the_disk() {
    for size in [0, 1, CHUNK_OCTETS, CHUNK_OCTETS + 1] {
        let spool = TestSpool::new();
        let octets: Vec<u8> = (0..size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        let to = ["a@one.example", "b@one.example", "c@two.example"];
        let message = NewMessage::whole(
            spool.store.next_id(NOW),
            envelope(&to),
            NOW,
            &octets,
            deliveries(&to),
        );
        let accepted = spool.store.insert(message).await.unwrap();
        let body = accepted.body.unwrap();
        assert_eq!(body.octets(), u64::try_from(size).unwrap());
        assert_eq!(body.pieces().collect::<Vec<_>>().concat(), octets);
        assert_eq!(accepted.claims.len(), 2);

        let spool = spool.crash();
        for claim in accepted.claims {
            let Claimed::Ready(read, in_row) = spool.store.claim(claim.delivery).await.unwrap()
            else {
                panic!("{size} octets cannot be claimed");
            };
            assert_eq!(*read, claim, "{size}");
            assert_eq!(in_row.is_some(), size <= CHUNK_OCTETS, "{size}");
            assert!(in_row.is_none_or(|read| read == body), "{size}");
        }
        assert_eq!(spool.octets(accepted.queue_id).await, octets, "{size}");
    }
}

#[tokio::test]
async fn what_was_being_tried_waits_after_a_crash_as_it_was() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.finish(&claim, Outcome::Defer).await;
    assert_eq!(spool.claim_one(LATER).await.attempt, 2);

    let spool = spool.crash();
    let recovered = spool.store.recover(LATER).await.unwrap();
    assert_eq!(recovered, Recovered { abandoned: 0 });
    assert_eq!(spool.due(NOW).await, []);
    let claim = spool.claim_one(LATER).await;
    assert_eq!((claim.queue_id, claim.attempt), (id, 2));
    assert_eq!(claim.floor, Some(Strength::Dane));
    assert_eq!(claim.last_reason.as_deref(), Some("greylisted"));
    assert_eq!(claim.delay_warning, DelayWarning::Unsent);
}

#[tokio::test]
async fn a_large_message_is_written_ahead_in_bounded_pieces() {
    let spool = TestSpool::new();
    let octets: Vec<u8> = (0..SPILL_OCTETS * 2 + 12_345)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let mut incoming = Incoming::begin(Arc::clone(&spool.store), NOW);
    let id = incoming.id();
    for part in octets.chunks(10_007) {
        incoming.write(part).await.unwrap();
    }
    assert_eq!(spool.count("pieces"), 8);
    assert!(spool.lines().await.is_empty());
    let to = ["a@one.example"];
    let accepted = incoming.commit(envelope(&to), NOW, deliveries(&to)).await;
    assert_eq!(accepted.unwrap().body, None);

    let spool = spool.crash();
    assert_eq!(spool.octets(id).await, octets);
    let first = spool.store.piece(id, 0).await.unwrap().unwrap();
    assert_eq!(first.len(), CHUNK_OCTETS);
}

#[tokio::test]
async fn a_message_that_is_not_committed_never_was() {
    let spool = TestSpool::new();
    let mut incoming = Incoming::begin(Arc::clone(&spool.store), NOW);
    incoming.write(&vec![0; SPILL_OCTETS]).await.unwrap();
    assert_eq!(spool.count("pieces"), 4);
    drop(incoming);
    // The pieces go before the next change.
    spool.accept(&["a@one.example"]).await;
    assert_eq!(spool.count("pieces"), 0);

    let mut incoming = Incoming::begin(Arc::clone(&spool.store), NOW);
    incoming.write(&vec![0; SPILL_OCTETS]).await.unwrap();
    // A recovery does not touch what is on its way in since the start.
    let recovered = spool.store.recover(NOW).await.unwrap();
    assert_eq!(recovered, Recovered::default());
    assert_eq!(spool.count("pieces"), 4);
    let crashed = spool.crash();
    let recovered = crashed.store.recover(NOW).await.unwrap();
    assert_eq!(recovered, Recovered { abandoned: 1 });
    assert_eq!(crashed.count("pieces"), 0);
}

#[tokio::test]
async fn a_commit_that_lost_its_staged_pieces_is_refused() {
    let spool = TestSpool::new();
    let mut message = whole(spool.store.next_id(NOW), &["a@one.example"]);
    message.staged = 2;
    let id = message.id();
    let refused = spool.store.insert(message).await.map(|_| ());
    assert_eq!(refused, Err(StoreError::NoSuchMessage(id)));
    assert!(spool.lines().await.is_empty());
}

/// Nobody answers for it: its client was not told that it was taken.
#[tokio::test]
async fn a_message_whose_client_went_away_before_the_answer_is_forgotten() {
    let spool = TestSpool::new();
    for number in 0..20 {
        let gone = whole(spool.store.next_id(NOW), &["gone@one.example"]);
        let again = gone.clone();
        let mut insertion = Box::pin(spool.store.insert(gone));
        // Asked for at least; on some rounds also made.
        let turn = std::time::Duration::from_micros(100 * number);
        let answered = tokio::time::timeout(turn, &mut insertion).await;
        drop(insertion);
        let kept = spool.accept(&["a@one.example"]).await;
        let left = spool.lines().await;
        match answered {
            Ok(accepted) => assert_eq!(left.len(), 2, "{:?}", accepted.unwrap().queue_id),
            Err(_) => assert_eq!(left, [format!("{kept} one.example incoming 1")]),
        }
        // It may come again under its name, and then it stays.
        spool.store.insert(again).await.unwrap();
        assert_eq!(spool.lines().await.len(), 2);
        spool.remove(everything()).await.unwrap();
        assert_eq!(spool.count("messages"), 0);
    }
}

#[tokio::test]
async fn waiting_deliveries_come_in_pages() {
    let spool = TestSpool::new();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(spool.accept(&["a@one.example"]).await);
    }
    let held = ids.remove(2);
    spool.hold(of(held)).await.unwrap();
    let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = spool.store.waiting(after, 2).await.unwrap();
        found.extend(page.waiting.iter().map(|waiting| waiting.queue_id));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (ids, 3));
    let page = spool.store.waiting(None, 1).await.unwrap();
    assert_eq!(
        page.waiting[0],
        Waiting {
            delivery: page.next.unwrap(),
            queue_id: page.waiting[0].queue_id,
            next_hop: domain("one.example"),
            sender: SenderKey::of(&ReversePath::Mailbox(mailbox("sender@origin.example"))),
            due_at: NOW,
            attempts: 0,
            expires_at: UnixTime(NOW.0 + 432_000),
            delay_warning: DelayWarning::Unsent,
        }
    );
}

#[test]
fn senders_of_one_mailing_share_a_key() {
    let key = |text: &str| SenderKey::of(&ReversePath::Mailbox(mailbox(text)));
    assert_eq!(key("bounce-1@list.example"), key("Bounce+x=y@LIST.example"));
    assert_eq!(key("0100018f@list.example"), key("77@list.example"));
    assert_ne!(key("anna@list.example"), key("berta@list.example"));
    assert_ne!(key("anna@list.example"), key("anna@other.example"));
    assert_ne!(SenderKey::of(&ReversePath::Null), key("1@list.example"));
}

#[tokio::test]
async fn a_message_goes_with_its_last_recipient_and_its_receipts_stay() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example", "b@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    assert_eq!(claim.recipients.len(), 2);
    let delivered_one = Outcome::First(RecipientState::Delivered);
    assert_eq!(spool.finish(&claim, delivered_one).await, Became::Deferred);

    let claim = spool.claim_one(LATER).await;
    assert_eq!(claim.recipients.len(), 1);
    assert_eq!(claim.recipients[0].mailbox, mailbox("b@one.example"));
    assert_eq!(spool.finish(&claim, DELIVERED).await, Became::Retired);

    for table in ["messages", "pieces", "deliveries"] {
        assert_eq!(spool.count(table), 0, "{table}");
    }
    let shown = spool.store.show(id).await.unwrap();
    assert_eq!(shown.queued, None);
    assert_eq!(shown.receipts, [receipt(&claim, 1), receipt(&claim, 2)]);
}

#[tokio::test]
async fn a_message_stays_until_its_last_delivery_is_done() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let spool = TestSpool::new();
        let to = ["a@one.example", "b@two.example", "c@three.example"];
        let size = CHUNK_OCTETS + 1;
        let message = NewMessage::whole(
            spool.store.next_id(NOW),
            envelope(&to),
            NOW,
            &vec![b'x'; size],
            deliveries(&to),
        );
        let claims = spool.store.insert(message).await.unwrap().claims;
        for (done, which) in order.into_iter().enumerate() {
            assert_eq!(spool.count("messages"), 1, "{order:?}");
            assert_eq!(spool.count("pieces"), 2, "{order:?}");
            assert_eq!(spool.count("deliveries"), 3 - done, "{order:?}");
            spool.finish(&claims[which], DELIVERED).await;
        }
        assert_eq!(spool.count("messages"), 0, "{order:?}");
        assert_eq!(spool.count("pieces"), 0, "{order:?}");
    }
}

#[tokio::test]
async fn a_bounce_stands_with_what_it_retires_or_not_at_all() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    let bounce = whole(spool.store.next_id(NOW), &["sender@origin.example"]);
    let end = AttemptEnd {
        bounce: Some(bounce.clone()),
        ..end_of(&claim, Outcome::All(RecipientState::Bounced))
    };

    // Without a table for messages, the whole call fails.
    spool.run("ALTER TABLE messages RENAME TO elsewhere");
    assert!(matches!(
        spool.store.finish(end.clone()).await,
        Err(StoreError::Refused(_))
    ));
    spool.run("ALTER TABLE elsewhere RENAME TO messages");
    assert_eq!(
        spool.lines().await,
        [format!("{id} one.example incoming 1")]
    );
    assert_eq!(spool.count("receipts"), 0);

    let finished = spool.store.finish(end).await.unwrap();
    assert_eq!(finished.became, Became::Retired);
    let [accepted] = &finished.accepted[..] else {
        panic!("the bounce is not handed over");
    };
    assert_eq!(accepted.queue_id, bounce.id());
    assert_eq!(
        spool.lines().await,
        [format!("{} origin.example incoming 1", bounce.id())]
    );
}

/// Else the bounce would lie there until the next start.
#[tokio::test]
async fn a_finish_whose_answer_was_lost_hands_its_messages_over_again() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example", "b@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    let end = AttemptEnd {
        bounce: Some(whole(spool.store.next_id(NOW), &["sender@origin.example"])),
        delay_warning: Some(whole(spool.store.next_id(NOW), &["sender@origin.example"])),
        ..end_of(&claim, Outcome::First(RecipientState::Bounced))
    };
    let claims_of = |finished: &Finished| -> Vec<Claim> {
        let accepted = finished.accepted.iter();
        accepted
            .flat_map(|one: &Accepted| one.claims.clone())
            .collect()
    };
    let first = spool.store.finish(end.clone()).await.unwrap();
    assert_eq!((first.became, first.accepted.len()), (Became::Deferred, 2));
    let second = spool.store.finish(end).await.unwrap();
    assert_eq!(second.became, Became::AlreadyGone);
    assert_eq!(claims_of(&second), claims_of(&first));
    assert_eq!(spool.count("messages"), 3);
    let claim = spool.claim_one(LATER).await;
    assert_eq!(claim.delay_warning, DelayWarning::Sent);
}

#[tokio::test]
async fn hold_and_remove_reach_a_delivery_while_it_is_tried() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.hold(of(id)).await.unwrap();
    assert_eq!(
        spool.finish(&claim, Outcome::Defer).await,
        Became::Kept(DeliveryState::Hold)
    );
    assert_eq!(spool.due(LATER).await, []);
    let gone = spool.store.claim(claim.delivery).await.unwrap();
    assert!(matches!(gone, Claimed::Gone));
    let queued = spool.store.show(id).await.unwrap().queued.unwrap();
    assert_eq!(queued.deliveries[0].attempts, 1);

    spool.release(of(id), LATER).await.unwrap();
    let claim = spool.claim_one(LATER).await;
    assert_eq!(claim.attempt, 2);
    spool.remove(of(id)).await.unwrap();
    let end = AttemptEnd {
        bounce: Some(whole(spool.store.next_id(NOW), &["sender@origin.example"])),
        ..end_of(&claim, Outcome::All(RecipientState::Bounced))
    };
    let finished = spool.store.finish(end).await.unwrap();
    // Nobody is told of what somebody removed, and yet it is known what was tried.
    assert_eq!(finished.became, Became::AlreadyGone);
    assert_eq!(spool.count("messages"), 0);
    assert_eq!(spool.store.show(id).await.unwrap().receipts.len(), 2);
}

#[tokio::test]
async fn a_held_delivery_that_was_delivered_is_done() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.hold(of(id)).await.unwrap();
    assert_eq!(spool.finish(&claim, DELIVERED).await, Became::Retired);
    assert_eq!(spool.count("messages"), 0);
}

#[tokio::test]
async fn depth_counts_without_being_told() {
    let spool = TestSpool::new();
    assert_eq!(spool.store.depth().oldest, None);
    let id = spool.accept(&["a@one.example", "b@two.example"]).await;
    spool.hold(everything()).await.unwrap();
    spool.accept(&["c@three.example"]).await;
    let depth = spool.store.depth();
    assert_eq!(depth.messages, 2);
    assert_eq!(depth.deliveries_in(DeliveryState::Hold), 2);
    assert_eq!(depth.deliveries_in(DeliveryState::Incoming), 1);
    assert_eq!(depth.oldest, Some(id.arrived_at()));
    assert_eq!(
        depth.age_of_oldest(LATER),
        std::time::Duration::from_secs(300)
    );
    assert_eq!(spool.crash().store.depth(), depth);
}

#[test]
fn one_spool_has_one_daemon() {
    let spool = TestSpool::new();
    assert_eq!(
        SqliteStore::open(spool.options()).map(|_| ()),
        Err(StoreError::Locked)
    );
    let options = spool.options();
    drop(spool.store);
    assert!(SqliteStore::open(options).is_ok());
}

#[test]
fn nobody_else_may_read_the_spool() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let spool = directory.path().join("spool");
    let _store = SqliteStore::open(SqliteOptions::in_directory(&spool)).unwrap();
    assert_eq!(
        fs::metadata(&spool).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for file in fs::read_dir(&spool).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.path());
    }
}

/// What an attempt comes to.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Defer,
    First(RecipientState),
    All(RecipientState),
}

/// The ordinary case.
const DELIVERED: Outcome = Outcome::All(RecipientState::Delivered);

/// A store in a directory of its own.
struct TestSpool {
    store: Arc<SqliteStore>,
    directory: TempDir,
}

impl TestSpool {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other bounds.
    fn with(set: impl FnOnce(&mut SqliteOptions)) -> Self {
        Self::open_in(TempDir::new().unwrap(), set)
    }

    /// On what is in a directory.
    fn open_in(directory: TempDir, set: impl FnOnce(&mut SqliteOptions)) -> Self {
        let mut options = SqliteOptions::in_directory(directory.path());
        set(&mut options);
        let store = Arc::new(SqliteStore::open(options).unwrap());
        Self { store, directory }
    }

    fn options(&self) -> SqliteOptions {
        self.store.options.clone()
    }

    /// What another process finds after this one was killed: the files as they are now.
    fn crash(self) -> Self {
        self.crash_copy()
    }

    /// The same, while this one lives on.
    fn crash_copy(&self) -> Self {
        let directory = TempDir::new().unwrap();
        for file in fs::read_dir(self.directory.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
        }
        // Memory shared between processes does not outlive them.
        _ = fs::remove_file(directory.path().join(format!("{DATABASE_FILE}-shm")));
        let path = directory.path().to_owned();
        let before = self.options();
        Self::open_in(directory, |options| {
            *options = SqliteOptions {
                directory: path,
                ..before
            };
        })
    }

    async fn accept(&self, recipients: &[&str]) -> QueueId {
        let mut incoming = Incoming::begin(Arc::clone(&self.store), NOW);
        let id = incoming.id();
        incoming.write(BODY).await.unwrap();
        let deliveries = deliveries(recipients);
        incoming
            .commit(envelope(recipients), NOW, deliveries)
            .await
            .unwrap();
        id
    }

    async fn retry(&self, filter: Filter, now: UnixTime) -> Result<Vec<Waiting>, StoreError> {
        let mut changed = Vec::new();
        let store = &self.store;
        let number = store.retry(filter, now, |page| changed.extend(page)).await;
        told(number, changed)
    }

    async fn hold(&self, filter: Filter) -> Result<Vec<DeliveryId>, StoreError> {
        let mut changed = Vec::new();
        let store = &self.store;
        let number = store.hold(filter, |page| changed.extend(page)).await;
        told(number, changed)
    }

    async fn release(&self, filter: Filter, now: UnixTime) -> Result<Vec<Waiting>, StoreError> {
        let mut changed = Vec::new();
        let store = &self.store;
        let number = store
            .release(filter, now, |page| changed.extend(page))
            .await;
        told(number, changed)
    }

    async fn remove(&self, filter: Filter) -> Result<Vec<DeliveryId>, StoreError> {
        let mut changed = Vec::new();
        let store = &self.store;
        let number = store.remove(filter, |page| changed.extend(page)).await;
        told(number, changed)
    }

    /// What is due, in the order of acceptance.
    async fn due(&self, now: UnixTime) -> Vec<Waiting> {
        let page = self.store.waiting(None, 1000).await.unwrap();
        assert_eq!(page.damaged, []);
        let mut due = page.waiting;
        due.retain(|waiting| waiting.due_at <= now);
        due
    }

    async fn claim(&self, waiting: &Waiting) -> Claim {
        match self.store.claim(waiting.delivery).await.unwrap() {
            Claimed::Ready(claim, _) => *claim,
            Claimed::Damaged(found) => panic!("{found:?}"),
            Claimed::Gone => panic!("{waiting:?} is gone"),
        }
    }

    /// The first that is due.
    async fn claim_one(&self, now: UnixTime) -> Claim {
        self.claim(self.due(now).await.first().expect("nothing is due"))
            .await
    }

    async fn finish(&self, claim: &Claim, outcome: Outcome) -> Became {
        let finished = self.store.finish(end_of(claim, outcome)).await.unwrap();
        assert!(finished.accepted.is_empty());
        finished.became
    }

    async fn lines(&self) -> Vec<String> {
        let listed = self.store.list(everything()).await.unwrap();
        listed
            .iter()
            .map(|l| format!("{} {} {} {}", l.queue_id, l.next_hop, l.state, l.pending))
            .collect()
    }

    async fn octets(&self, id: QueueId) -> Vec<u8> {
        let mut octets = Vec::new();
        for place in 0.. {
            match self.store.piece(id, place).await.unwrap() {
                Some(piece) => octets.extend(piece),
                None => break,
            }
        }
        octets
    }

    fn connection(&self) -> Connection {
        let connection = Connection::open(self.directory.path().join(DATABASE_FILE)).unwrap();
        connection
            .busy_timeout(std::time::Duration::from_secs(5))
            .unwrap();
        connection
    }

    fn run(&self, sql: &str) {
        self.connection().execute_batch(sql).unwrap();
    }

    fn count(&self, table: &str) -> usize {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = self
            .connection()
            .query_row(&sql, [], |row| row.get(0))
            .unwrap();
        usize::try_from(count).unwrap()
    }

    /// Every row of every table.
    fn dump(&self) -> Vec<String> {
        let connection = self.connection();
        let tables = "messages pieces deliveries receipts circumstances sts_policies anchors";
        let mut rows = Vec::new();
        for table in tables.split(' ') {
            let mut statement = connection
                .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
                .unwrap();
            let columns = statement.column_count();
            let mut found = statement.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                let values: Vec<String> = (0..columns)
                    .map(|column| format!("{:?}", row.get_ref(column).unwrap()))
                    .collect();
                rows.push(format!("{table}: {}", values.join(" ")));
            }
        }
        rows
    }
}

fn everything() -> Filter {
    Filter {
        limit: u32::MAX,
        ..Filter::default()
    }
}

/// What a command told of, which must be as much as it counted.
#[track_caller]
fn told<T>(number: Result<u64, StoreError>, changed: Vec<T>) -> Result<Vec<T>, StoreError> {
    let number = number?;
    assert_eq!(number, u64::try_from(changed.len()).unwrap());
    Ok(changed)
}

fn of(id: QueueId) -> Filter {
    Filter {
        ids: vec![id],
        ..everything()
    }
}

fn end_of(claim: &Claim, outcome: Outcome) -> AttemptEnd {
    let (count, state) = match outcome {
        Outcome::Defer => (0, RecipientState::Pending),
        Outcome::First(state) => (1, state),
        Outcome::All(state) => (claim.recipients.len(), state),
    };
    AttemptEnd {
        delivery: claim.delivery,
        queue_id: claim.queue_id,
        attempt: claim.attempt,
        ended: claim
            .recipients
            .iter()
            .take(count)
            .map(|recipient| RecipientEnd {
                position: recipient.position,
                state,
                reply: Some(reply()),
            })
            .collect(),
        next_attempt_at: LATER,
        floor: Some(Strength::Dane),
        reason: Some(String::from("greylisted")),
        receipts: vec![receipt(claim, claim.attempt)],
        bounce: None,
        delay_warning: None,
    }
}

fn receipt(claim: &Claim, attempt: u32) -> Receipt {
    Receipt {
        queue_id: claim.queue_id,
        next_hop: claim.next_hop.clone(),
        attempt,
        at: NOW,
        outcome: AttemptOutcome::Deferred,
        recipients: vec![mailbox("a@one.example")],
        circumstances: Arc::new(Circumstances {
            demanded: Some(Strength::Dane),
            reasons: vec![String::from("TLSA records are secure")],
            ..Circumstances::default()
        }),
        reply: Some(reply()),
        reason: None,
    }
}

fn reply() -> Reply {
    Reply {
        code: 450,
        enhanced: None,
        lines: vec![String::from("greylisted")],
    }
}

fn whole(id: QueueId, recipients: &[&str]) -> NewMessage {
    NewMessage::whole(id, envelope(recipients), NOW, BODY, deliveries(recipients))
}

fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        reverse_path: ReversePath::Mailbox(mailbox("sender@origin.example")),
        recipients: recipients.iter().map(|text| mailbox(text)).collect(),
        body: BodyType::SevenBit,
        smtputf8: Smtputf8::NotUsed,
        tls_demand: TlsDemand::None,
    }
}

fn deliveries(recipients: &[&str]) -> Vec<NewDelivery> {
    let mut deliveries: Vec<NewDelivery> = Vec::new();
    for mailbox in recipients.iter().map(|text| mailbox(text)) {
        match deliveries.iter_mut().find(|d| d.next_hop == mailbox.domain) {
            Some(delivery) => delivery.recipients.push(mailbox),
            None => deliveries.push(NewDelivery {
                next_hop: mailbox.domain.clone(),
                recipients: vec![mailbox],
                due_at: NOW,
                expires_at: UnixTime(NOW.0 + 432_000),
            }),
        }
    }
    deliveries
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

fn domain(text: &str) -> MailDomain {
    text.parse().unwrap()
}

const NOW: UnixTime = UnixTime(1_800_000_000);

const LATER: UnixTime = UnixTime(NOW.0 + 300);

const BODY: &[u8] = b"Subject: hello\r\n\r\nworld\r\n";
