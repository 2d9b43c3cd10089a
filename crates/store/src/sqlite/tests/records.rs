//! What else is kept: receipts, policies and trust anchors.

use std::sync::Arc;
use std::time::Duration;

use super::DELIVERED;
use super::LATER;
use super::NOW;
use super::TestSpool;
use super::end_of;
use super::whole;
use crate::AnchorRecord;
use crate::AnchorRecords;
use crate::Circumstances;
use crate::PublishedPolicies;
use crate::PublishedSts;
use crate::QueueCommands;
use crate::Spool;
use crate::SpoolBounds;
use crate::StoreError;
use crate::StsRecord;
use crate::StsRecords;
use byrnie_base::DomainName;
use byrnie_base::UnixTime;

#[tokio::test]
async fn receipts_are_bounded_by_age_and_number() {
    let spool = TestSpool::with(|options| {
        options.bounds.receipts_max = 3;
        options.bounds.receipt_age_max = Duration::from_secs(100);
    });
    for at in 0..6 {
        spool.accept(&["a@one.example"]).await;
        let claim = spool.claim_one(NOW).await;
        let mut end = end_of(&claim, DELIVERED);
        end.receipts[0].at = UnixTime(NOW.0 + at * 50);
        spool.store.finish(end).await.unwrap();
    }
    assert_eq!(spool.store.prune(UnixTime(NOW.0 + 170)).await, Ok(3));
    assert_eq!(spool.count("receipts"), 3);
    assert_eq!(spool.store.prune(UnixTime(NOW.0 + 300)).await, Ok(1));
}

#[tokio::test]
async fn receipts_make_room_for_mail() {
    let spool = TestSpool::with(|options| options.bounds.size_max = 1024 * 1024);
    for _ in 0..10 {
        spool.accept(&["a@one.example"]).await;
        let claim = spool.claim_one(NOW).await;
        let mut end = end_of(&claim, DELIVERED);
        end.receipts[0].reason = Some("x".repeat(90_000));
        spool.store.finish(end).await.unwrap();
    }
    assert_eq!(spool.store.prune(NOW).await, Ok(5));
    assert_eq!(spool.store.prune(NOW).await, Ok(0));
}

#[tokio::test]
async fn bounds_can_be_exchanged_at_work() {
    let spool = TestSpool::new();
    for _ in 0..3 {
        spool.accept(&["a@one.example"]).await;
        let claim = spool.claim_one(NOW).await;
        spool.finish(&claim, DELIVERED).await;
    }
    let bounds = SpoolBounds::default();
    let receipts_max = 2;
    spool.store.set_bounds(SpoolBounds {
        receipts_max,
        ..bounds
    });
    assert_eq!(spool.store.prune(NOW).await, Ok(1));
    let receipt_age_max = Duration::from_secs(100);
    spool.store.set_bounds(SpoolBounds {
        receipt_age_max,
        ..bounds
    });
    assert_eq!(spool.store.prune(UnixTime(NOW.0 + 200)).await, Ok(2));
    let insert = || {
        let message = whole(spool.store.next_id(NOW), &["a@one.example"]);
        spool.store.insert(message)
    };
    spool.store.set_bounds(SpoolBounds {
        size_max: 1,
        ..bounds
    });
    assert_eq!(insert().await.map(drop), Err(StoreError::Full));
    spool.store.set_bounds(bounds);
    assert_eq!(insert().await.map(drop), Ok(()));
}

/// A day's mail over one way is one row of circumstances, and goes with the last receipt that needs it.
#[tokio::test]
async fn circumstances_are_kept_once_and_as_long_as_they_are_needed() {
    const DAY: u64 = 86_400;
    let spool =
        TestSpool::with(|options| options.bounds.receipt_age_max = Duration::from_secs(10 * DAY));
    let mut ids = Vec::new();
    for day in [0, 0, 5, 12, 20] {
        let now = UnixTime(NOW.0 + day * DAY);
        let incoming = crate::Incoming::begin(Arc::clone(&spool.store), now);
        ids.push(incoming.id());
        let to = ["a@one.example"];
        let accepted = incoming.commit(super::envelope(&to), now, super::deliveries(&to));
        let claim = accepted.await.unwrap().claims.remove(0);
        let mut end = end_of(&claim, DELIVERED);
        end.receipts[0].at = now;
        if day == 12 {
            end.receipts[0].circumstances = Arc::new(Circumstances::default());
        }
        spool.store.finish(end).await.unwrap();
    }
    assert_eq!(spool.count("circumstances"), 2);
    let expected = [(11, 3, 2), (23, 1, 1), (40, 0, 0)];
    for (day, receipts, circumstances) in expected {
        let now = UnixTime(NOW.0 + day * DAY);
        spool.store.prune(now).await.unwrap();
        assert_eq!(spool.count("receipts"), receipts, "day {day}");
        assert_eq!(spool.count("circumstances"), circumstances, "day {day}");
        for id in ids.iter().skip(5 - receipts) {
            let shown = spool.store.show(*id).await.unwrap();
            assert_eq!(shown.receipts.len(), 1, "day {day}");
        }
    }
}

#[tokio::test]
async fn circumstances_are_kept_where_the_clock_was_set_back_before_the_receipt() {
    const DAY: u64 = 86_400;
    let spool =
        TestSpool::with(|options| options.bounds.receipt_age_max = Duration::from_secs(10 * DAY));
    let mut last = None;
    // When a message came, and when it was delivered.
    for (came, delivered) in [(0, 0), (100, 20)] {
        let came = UnixTime(NOW.0 + came * DAY);
        let incoming = crate::Incoming::begin(Arc::clone(&spool.store), came);
        last = Some(incoming.id());
        let to = ["a@one.example"];
        let accepted = incoming.commit(super::envelope(&to), came, super::deliveries(&to));
        let claim = accepted.await.unwrap().claims.remove(0);
        let mut end = end_of(&claim, DELIVERED);
        end.receipts[0].at = UnixTime(NOW.0 + delivered * DAY);
        spool.store.finish(end).await.unwrap();
    }
    assert_eq!(spool.store.prune(UnixTime(NOW.0 + 21 * DAY)).await, Ok(1));
    let shown = spool.store.show(last.unwrap()).await.unwrap();
    assert_eq!(shown.receipts.len(), 1);
}

#[tokio::test]
async fn policies_survive_and_are_bounded() {
    let spool = TestSpool::with(|options| options.sts_records_max = 2);
    for (name, fetched_at) in [("a.example", 30), ("b.example", 10), ("c.example", 20)] {
        let record = sts_record(name, UnixTime(fetched_at));
        spool.store.put_sts_record(record).await.unwrap();
    }
    let spool = spool.crash();
    let get = |name: &str| {
        let (store, name) = (Arc::clone(&spool.store), name.parse().unwrap());
        async move { store.sts_record(&name).await.unwrap() }
    };
    assert_eq!(
        get("a.example").await,
        Some(sts_record("a.example", UnixTime(30)))
    );
    assert_eq!(get("b.example").await, None);
    let stale = |before| spool.store.stale_sts_records(UnixTime(before), 9);
    assert_eq!(stale(20).await, Ok(vec![]));
    assert_eq!(
        stale(21).await,
        Ok(vec![sts_record("c.example", UnixTime(20))])
    );
    spool
        .store
        .remove_sts_record(&"c.example".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(get("c.example").await, None);
    spool.run("UPDATE sts_policies SET domain = 'no name'");
    assert!(matches!(
        spool.store.stale_sts_records(LATER, 9).await,
        Err(StoreError::Damaged(_))
    ));
}

#[tokio::test]
async fn anchors_survive_and_are_not_read_when_damaged() {
    let spool = TestSpool::new();
    for state in ["first", "second"] {
        let record = anchor_record(state);
        spool.store.put_anchor_record(record).await.unwrap();
    }
    let spool = spool.crash();
    let kept = spool.store.anchor_record("example.").await;
    assert_eq!(kept, Ok(Some(anchor_record("second"))));
    assert_eq!(spool.store.anchor_record(".").await, Ok(None));
    for damage in [
        "UPDATE anchors SET state = 'secord'",
        "UPDATE anchors SET zone = '.'",
        "UPDATE anchors SET checksum = x'00'",
    ] {
        spool.run(damage);
        let zone = if damage.contains("zone") {
            "."
        } else {
            "example."
        };
        let read = spool.store.anchor_record(zone).await;
        let damaged = StoreError::Damaged(format!("the trust anchor of {zone}"));
        assert_eq!(read, Err(damaged), "{damage}");
        let mut healed = anchor_record("third");
        healed.zone = zone.to_owned();
        spool.store.put_anchor_record(healed.clone()).await.unwrap();
        assert_eq!(spool.store.anchor_record(zone).await, Ok(Some(healed)));
        spool.run("DELETE FROM anchors");
        let record = anchor_record("second");
        spool.store.put_anchor_record(record).await.unwrap();
    }
}

pub(super) fn anchor_record(state: &str) -> AnchorRecord {
    AnchorRecord {
        zone: String::from("example."),
        state: String::from(state),
    }
}

pub(super) fn sts_record(name: &str, fetched_at: UnixTime) -> StsRecord {
    StsRecord {
        domain: name.parse().unwrap(),
        id: String::from("1"),
        body: String::from("version: STSv1\n"),
        fetched_at,
    }
}

#[tokio::test]
async fn what_was_published_last_survives_a_crash() {
    let spool = TestSpool::new();
    let domain: DomainName = "a.example".parse().unwrap();
    assert_eq!(spool.store.published_sts(&domain).await, Ok(None));
    assert_eq!(spool.store.renew_published_sts(&domain).await, Ok(None));
    for text in ["first", "second"] {
        let put = spool
            .store
            .put_published_sts(&domain, String::from(text))
            .await;
        assert_eq!(put, Ok(()));
        let edition = spool.store.renew_published_sts(&domain).await.unwrap();
        assert!(edition.is_some(), "{text}");
    }
    let spool = spool.crash();
    let kept = PublishedSts {
        domain: domain.clone(),
        edition: 2,
        text: String::from("second"),
    };
    assert_eq!(spool.store.published_sts(&domain).await, Ok(Some(kept)));
}
