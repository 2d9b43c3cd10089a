//! What people do with the queue.

use byrnie_base::UnixTime;
use byrnie_policy::Strength;
use byrnie_smtp::ReversePath;
use tempfile::TempDir;

use super::LATER;
use super::NOW;
use super::Outcome;
use super::SqliteStore;
use super::TestSpool;
use super::domain;
use super::everything;
use super::mailbox;
use super::of;
use super::reply;
use super::whole;
use crate::Counted;
use crate::DeliveryState;
use crate::Filter;
use crate::Progress;
use crate::QueueCommands;
use crate::QueueId;
use crate::RecipientState;
use crate::SenderFilter;
use crate::Spool;
use crate::StoreError;
use crate::Waiting;

#[tokio::test]
async fn commands_say_what_they_changed() {
    let spool = TestSpool::new();
    let first = spool.accept(&["a@one.example"]).await;
    let second = spool.accept(&["b@two.example"]).await;
    let due = spool.due(NOW).await;
    let line = |id, hop, state| format!("{id} {hop} {state} 1");

    let held = spool.hold(of(first)).await.unwrap();
    assert_eq!(held, [due[0].delivery]);
    assert_eq!(
        spool.lines().await,
        [
            line(first, "one.example", "hold"),
            line(second, "two.example", "incoming")
        ]
    );
    assert_eq!(spool.hold(of(first)).await, Ok(vec![]));
    assert_eq!(spool.due(NOW).await, [due[1].clone()]);
    let released = spool.release(of(first), NOW).await.unwrap();
    assert_eq!(released, [due[0].clone()]);
    let claim = spool.claim_one(NOW).await;
    assert_eq!(claim.queue_id, first);
    spool.finish(&claim, Outcome::Defer).await;
    let retried = spool.retry(of(first), NOW).await.unwrap();
    assert_eq!(retried.len(), 1);
    assert_eq!((retried[0].attempts, retried[0].due_at), (1, NOW));
    let claim = spool.claim_one(NOW).await;
    assert_eq!((claim.queue_id, claim.attempt), (first, 2));
    let removed = spool.remove(of(first)).await.unwrap();
    assert_eq!(removed, [due[0].delivery]);
    assert_eq!(
        spool.lines().await,
        [line(second, "two.example", "incoming")]
    );
    assert_eq!(
        spool.remove(of(first)).await,
        Err(StoreError::NoSuchMessage(first))
    );
}

#[tokio::test]
async fn an_attached_store_reads_and_does_not_write() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let attached = SqliteStore::attach(spool.options()).unwrap();
    assert_eq!(attached.list(everything()).await.unwrap().len(), 1);
    assert!(attached.show(id).await.unwrap().queued.is_some());
    let refused = attached.hold(everything(), |_| {}).await;
    assert_eq!(refused, Err(StoreError::Attached));
    let refused = attached.insert(whole(attached.next_id(NOW), &["a@one.example"]));
    assert_eq!(refused.await.map(|_| ()), Err(StoreError::Attached));
    // It sees what comes in, and the daemon is not in its way.
    spool.accept(&["b@two.example"]).await;
    assert_eq!(attached.list(everything()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_list_is_filtered_and_can_be_continued() {
    let spool = TestSpool::new();
    let first = spool.accept(&["a@one.example", "b@two.example"]).await;
    let second = spool.accept(&["c@one.example"]).await;
    spool.hold(of(second)).await.unwrap();
    let claim = spool.claim_one(NOW).await;
    spool.finish(&claim, Outcome::Defer).await;
    let old = spool.store.next_id(UnixTime(NOW.0 + 50));
    spool
        .store
        .insert(whole(old, &["d@four.example"]))
        .await
        .unwrap();
    let last = spool.due(NOW).await.pop().unwrap().delivery;

    let check = async |set: &dyn Fn(&mut Filter), expected: &[QueueId]| {
        let mut filter = everything();
        set(&mut filter);
        let listed = spool.store.list(filter.clone()).await.unwrap();
        let ids: Vec<QueueId> = listed.iter().map(|line| line.queue_id).collect();
        assert_eq!(ids, expected, "{filter:?}");
    };
    check(&|_| {}, &[first, first, second, old]).await;
    check(&|f| f.ids = vec![first], &[first, first]).await;
    check(&|f| f.ids = vec![old, second, old], &[second, old]).await;
    check(
        &|f| f.next_hop = Some(domain("one.example")),
        &[first, second],
    )
    .await;
    check(&|f| f.state = Some(DeliveryState::Hold), &[second]).await;
    let path = |path| Some(SenderFilter::Path(path));
    check(&|f| f.sender = path(ReversePath::Null), &[]).await;
    let sender = ReversePath::Mailbox(mailbox("sender@origin.example"));
    check(
        &|f| f.sender = path(sender.clone()),
        &[first, first, second, old],
    )
    .await;
    let domain_of = |name| Some(SenderFilter::Domain(domain(name)));
    check(
        &|f| f.sender = domain_of("origin.example"),
        &[first, first, second, old],
    )
    .await;
    check(&|f| f.sender = domain_of("rigin.example"), &[]).await;
    check(&|f| f.recipient = Some(mailbox("b@two.example")), &[first]).await;
    check(&|f| f.recipient = Some(mailbox("b@two.exampl")), &[]).await;
    check(
        &|f| f.received_before = Some(UnixTime(NOW.0 + 50)),
        &[first, first, second],
    )
    .await;
    check(&|f| f.received_since = Some(UnixTime(NOW.0 + 50)), &[old]).await;
    check(&|f| f.reason = Some(String::from("GREY")), &[first]).await;
    check(&|f| f.after = Some(claim.delivery), &[first, second, old]).await;
    check(&|f| f.after = Some(last), &[]).await;
    check(&|f| f.limit = 1, &[first]).await;
    check(&|f| f.limit = 0, &[]).await;
}

#[tokio::test]
async fn a_count_is_that_of_all_that_pass() {
    let spool = TestSpool::new();
    for _ in 0..2 {
        spool.accept(&["a@one.example", "b@two.example"]).await;
    }
    let counted = async |set: &dyn Fn(&mut Filter)| {
        let mut filter = Filter {
            limit: 1,
            ..Filter::default()
        };
        set(&mut filter);
        let Counted {
            messages,
            deliveries,
        } = spool.store.count(filter).await.unwrap();
        (messages, deliveries)
    };
    assert_eq!(counted(&|_| {}).await, (2, 4));
    assert_eq!(
        counted(&|f| f.next_hop = Some(domain("one.example"))).await,
        (2, 2)
    );
    assert_eq!(
        counted(&|f| f.state = Some(DeliveryState::Hold)).await,
        (0, 0)
    );
}

#[tokio::test]
async fn a_limit_bounds_what_a_command_changes() {
    let spool = TestSpool::new();
    for _ in 0..3 {
        spool.accept(&["a@one.example"]).await;
    }
    let filter = Filter {
        limit: 2,
        ..everything()
    };
    assert_eq!(spool.remove(filter.clone()).await.unwrap().len(), 2);
    assert_eq!(spool.remove(filter).await.unwrap().len(), 1);
}

/// More than one page, so that the pages join.
#[tokio::test]
async fn commands_reach_a_long_queue_as_a_whole() {
    let spool = TestSpool::new();
    let to: Vec<String> = (0..2_500).map(|n| format!("a@d{n}.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    spool.accept(&to).await;
    let counted = Counted {
        messages: 1,
        deliveries: 2_500,
    };
    assert_eq!(spool.store.count(everything()).await, Ok(counted));
    assert_eq!(spool.hold(everything()).await.unwrap().len(), 2_500);
    let depth = spool.store.depth();
    assert_eq!(depth.deliveries_in(DeliveryState::Hold), 2_500);
    assert_eq!(spool.remove(everything()).await.unwrap().len(), 2_500);
    assert_eq!(spool.count("messages"), 0);
}

/// What is on disk counts, whatever becomes of the rest: the queue must know of it.
#[tokio::test]
async fn what_was_changed_before_a_failure_is_told() {
    let spool = TestSpool::new();
    let to: Vec<String> = (0..2_500).map(|n| format!("a@d{n}.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    spool.accept(&to).await;
    let broken = spool.due(NOW).await.pop().unwrap().delivery;
    spool.run(&format!(
        "CREATE TRIGGER broken BEFORE UPDATE ON deliveries WHEN old.id = {}
         BEGIN SELECT raise(ABORT, 'broken'); END",
        broken.0 + 500
    ));
    let mut held = Vec::new();
    let failed = spool.store.hold(everything(), |page| held.extend(page));
    assert!(matches!(failed.await, Err(StoreError::Refused(_))));
    assert_eq!(held.len(), 1_000);
    let mut released = 0;
    let count = |page: Vec<Waiting>| released += page.len();
    let failed = spool.store.release(everything(), NOW, count).await;
    assert_eq!((failed, released), (Ok(1_000), 1_000));
}

/// Who schedules them may not have heard that they were released.
#[tokio::test]
async fn what_was_never_tried_can_be_retried() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let due = spool.retry(of(id), LATER).await.unwrap();
    assert_eq!((due[0].attempts, due[0].due_at), (0, LATER));
    assert_eq!(
        spool.lines().await,
        [format!("{id} one.example incoming 1")]
    );
}

#[tokio::test]
async fn show_says_why_a_message_waits() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example", "b@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    let delivered_one = Outcome::First(RecipientState::Delivered);
    spool.finish(&claim, delivered_one).await;
    let queued = spool.store.show(id).await.unwrap().queued.unwrap();
    let delivery = &queued.deliveries[0];
    assert_eq!(delivery.next_attempt_at, Some(LATER));
    assert_eq!(delivery.last_reason.as_deref(), Some("greylisted"));
    assert_eq!(delivery.attempts, 1);
    assert_eq!(delivery.floor, Some(Strength::Dane));
    assert_eq!(delivery.recipients[0].state, RecipientState::Delivered);
    assert_eq!(delivery.recipients[0].reply, Some(reply()));
    assert_eq!(delivery.recipients[1].state, RecipientState::Pending);
    let unknown = spool.store.next_id(NOW);
    assert_eq!(
        spool.store.show(unknown).await,
        Err(StoreError::NoSuchMessage(unknown))
    );
}

/// While mail comes in: what was there when it began is in it, and it is whole.
#[tokio::test]
async fn a_backup_is_a_spool() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let elsewhere = TempDir::new().unwrap();
    let path = elsewhere.path().join(super::DATABASE_FILE);
    let mut reports: Vec<Progress> = Vec::new();
    let (copied, _) = tokio::join!(
        spool.store.backup(&path, |done| reports.push(done)),
        spool.accept(&["b@two.example"]),
    );
    copied.unwrap();
    let last = reports.last().unwrap();
    assert!(last.total > 0 && last.done == last.total);
    let again = spool.store.backup(&path, |_| {}).await;
    assert!(matches!(again, Err(StoreError::Io(_))), "{again:?}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1);

    let copy = TestSpool::open_in(elsewhere, |_| {});
    assert!(copy.store.show(id).await.unwrap().queued.is_some());
    let verified = copy.store.verify_all(|_| {}).await.unwrap();
    assert_eq!(verified.damaged_total, 0);
}

#[tokio::test]
async fn verification_looks_at_everything_and_changes_nothing() {
    let spool = TestSpool::new();
    let mut octets = 0;
    for number in 0..150 {
        let id = spool.accept(&["a@one.example", "b@two.example"]).await;
        octets += u64::try_from(super::BODY.len()).unwrap();
        if number % 50 == 0 {
            let id = id.to_i64();
            spool.run(&format!("UPDATE messages SET body = x'00' WHERE id = {id}"));
        }
    }
    let before = spool.dump();
    let mut reports: Vec<Progress> = Vec::new();
    let verified = spool
        .store
        .verify_all(|done| reports.push(done))
        .await
        .unwrap();
    let last = Progress {
        done: 450,
        total: 450,
    };
    assert_eq!(reports.last(), Some(&last));
    assert_eq!((verified.messages, verified.damaged_total), (150, 3));
    assert_eq!(verified.octets, octets / 150 * 147);
    assert_eq!(verified.damaged.len(), 3);
    assert_eq!(spool.dump(), before);
}
