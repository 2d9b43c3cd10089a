//! Records that are not what was written: they are put aside with a report, and the rest goes on.

use super::DELIVERED;
use super::NOW;
use super::Outcome;
use super::TestSpool;
use super::envelope;
use super::of;
use crate::Became;
use crate::CHUNK_OCTETS;
use crate::Claimed;
use crate::DeliveryState;
use crate::Filter;
use crate::NewMessage;
use crate::QueueCommands;
use crate::Spool;
use crate::StoreError;

/// Damages the deferred delivery of one message, or that message; the other one must not suffer.
async fn damaged_by(damage: &str) -> (TestSpool, Claimed) {
    let spool = TestSpool::new();
    let bad = spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.finish(&claim, Outcome::Defer).await;
    let good = spool.accept(&["b@two.example"]).await;
    let (message, delivery) = (bad.to_i64(), claim.delivery.0);
    spool.run(
        &damage
            .replace("MESSAGE", &message.to_string())
            .replace("DELIVERY", &delivery.to_string()),
    );
    let spool = spool.crash();
    let verified = spool.store.verify_all(|_| {}).await.unwrap();
    assert!(verified.damaged_total > 0, "{damage} is not noticed");

    let claimed = spool.store.claim(claim.delivery).await.unwrap();
    let due = spool.due(NOW).await;
    assert_eq!(due.len(), 1, "{damage}");
    let claim = spool.claim(&due[0]).await;
    assert_eq!(claim.queue_id, good);
    assert_eq!(spool.finish(&claim, DELIVERED).await, Became::Retired);
    (spool, claimed)
}

#[tokio::test]
async fn a_damaged_record_is_put_aside_and_the_rest_goes_on() {
    for damage in [
        "UPDATE deliveries SET floor = NULL WHERE id = DELIVERY",
        "UPDATE deliveries SET floor = '' WHERE id = DELIVERY",
        "UPDATE deliveries SET floor = '\"opportunistic\"' WHERE id = DELIVERY",
        "UPDATE deliveries SET next_hop = 'evil.example' WHERE id = DELIVERY",
        "UPDATE deliveries SET recipients = '[]' WHERE id = DELIVERY",
        "UPDATE deliveries SET recipients = replace(recipients, 'a@', 'x@') WHERE id = DELIVERY",
        "UPDATE deliveries SET sender = 'x@origin.example' WHERE id = DELIVERY",
        "UPDATE deliveries SET attempts = 0 WHERE id = DELIVERY",
        "UPDATE deliveries SET expires_at = 0 WHERE id = DELIVERY",
        "UPDATE deliveries SET first_delivery = 0 WHERE id = DELIVERY",
        "UPDATE deliveries SET deliveries = 5 WHERE id = DELIVERY",
        "UPDATE deliveries SET delay_warning = 1 WHERE id = DELIVERY",
        "UPDATE deliveries SET state = 9 WHERE id = DELIVERY",
        "UPDATE deliveries SET checksum = checksum + 1 WHERE id = DELIVERY",
        "UPDATE deliveries SET message_id = message_id + 77 WHERE id = DELIVERY",
        "UPDATE messages SET envelope = '{}' WHERE id = MESSAGE",
        "UPDATE messages SET envelope = replace(envelope, 'sender', 'sander') WHERE id = MESSAGE",
        "UPDATE messages SET size = size + 1 WHERE id = MESSAGE",
        "UPDATE messages SET received_at = 0 WHERE id = MESSAGE",
        "UPDATE messages SET body = x'00' WHERE id = MESSAGE",
        "UPDATE messages SET body = NULL WHERE id = MESSAGE",
        "UPDATE messages SET body_checksum = NULL WHERE id = MESSAGE",
        "DELETE FROM messages WHERE id = MESSAGE",
    ] {
        let (spool, claimed) = damaged_by(damage).await;
        let Claimed::Damaged(found) = claimed else {
            panic!("{damage} gives {claimed:?}");
        };
        let depth = spool.store.depth();
        assert_eq!(
            depth.deliveries_in(DeliveryState::Corrupt),
            1,
            "{damage}: {found:?}"
        );
        assert_eq!(depth.deliveries_in(DeliveryState::Deferred), 0, "{damage}");
        // It is there for the operator, with the reason, and it can go.
        let listed = spool.store.list(super::everything()).await.unwrap();
        assert_eq!(listed.len(), 1, "{damage}");
        assert_eq!(listed[0].state, DeliveryState::Corrupt, "{damage}");
        assert_eq!(listed[0].last_reason, Some(found.what), "{damage}");
        assert_eq!(spool.release(super::everything(), NOW).await, Ok(vec![]));
        let removed = spool.remove(super::everything()).await.unwrap();
        assert_eq!(removed.len(), 1, "{damage}");
        assert_eq!(spool.count("deliveries"), 0, "{damage}");
    }
}

/// What it says about its message is not to be believed: that may be the message of another.
#[tokio::test]
async fn a_damaged_delivery_is_removed_without_a_message_that_still_has_others() {
    for damage in [
        "UPDATE deliveries SET message_id = OTHER, deliveries = 1 WHERE id = DELIVERY",
        "UPDATE deliveries SET message_id = OTHER WHERE id = DELIVERY",
        "UPDATE deliveries SET first_delivery = first_delivery + 77 WHERE id = DELIVERY",
        "UPDATE deliveries SET deliveries = 1 WHERE id = DELIVERY",
        "UPDATE deliveries SET deliveries = 0 WHERE id = DELIVERY",
    ] {
        let spool = TestSpool::new();
        let bad = spool.accept(&["a@one.example", "b@two.example"]).await;
        let other = spool.accept(&["c@three.example"]).await;
        let deliveries = spool.due(NOW).await;
        assert_eq!(deliveries[0].queue_id, bad);
        let delivery = deliveries[0].delivery.0.to_string();
        let damage = damage.replace("DELIVERY", &delivery);
        spool.run(&damage.replace("OTHER", &other.to_i64().to_string()));
        let claimed = spool.store.claim(deliveries[0].delivery).await.unwrap();
        assert!(matches!(claimed, Claimed::Damaged(_)), "{damage}");
        let filter = Filter {
            state: Some(DeliveryState::Corrupt),
            ..super::everything()
        };
        spool.remove(filter).await.unwrap();
        for delivery in &deliveries[1..] {
            let claimed = spool.store.claim(delivery.delivery).await.unwrap();
            assert!(
                matches!(claimed, Claimed::Ready(..)),
                "{damage}: {claimed:?}"
            );
        }
    }
}

/// What the claim does not read is not a reason to stop: a due time is at most a retry too early.
#[tokio::test]
async fn what_people_change_for_many_at_once_is_not_part_of_the_checksum() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example"]).await;
    spool.run("UPDATE deliveries SET due_at = 5, last_reason = 'none'");
    let claim = spool.claim_one(NOW).await;
    assert_eq!(claim.due_at.0, 5);
}

#[tokio::test]
async fn a_page_of_what_waits_names_what_is_damaged_and_goes_on() {
    let spool = TestSpool::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(spool.accept(&["a@one.example"]).await);
    }
    spool.run(&format!(
        "UPDATE deliveries SET next_hop = 'x.example' WHERE message_id = {}",
        ids[1].to_i64()
    ));
    let page = spool.store.waiting(None, 3).await.unwrap();
    let waiting: Vec<_> = page.waiting.iter().map(|one| one.queue_id).collect();
    assert_eq!(waiting, [ids[0], ids[2]]);
    assert_eq!(page.damaged.len(), 1);
    assert_eq!(page.damaged[0].queue_id, ids[1]);
    let depth = spool.store.depth();
    assert_eq!(depth.deliveries_in(DeliveryState::Corrupt), 1);
    assert_eq!(spool.store.waiting(None, 3).await.unwrap().damaged, []);
}

#[tokio::test]
async fn a_damaged_piece_is_never_given_away() {
    for damage in [
        "UPDATE pieces SET octets = x'00' WHERE place = 1",
        "UPDATE pieces SET checksum = checksum + 1 WHERE place = 1",
        // Two pieces that are intact, each in the other's place.
        "UPDATE pieces SET place = place + 10; UPDATE pieces SET place = 11 - place",
    ] {
        let spool = TestSpool::new();
        let to = ["a@one.example"];
        let octets = vec![b'x'; CHUNK_OCTETS * 2 - 1];
        let id = spool.store.next_id(NOW);
        let message = NewMessage::whole(id, envelope(&to), NOW, &octets, super::deliveries(&to));
        spool.store.insert(message).await.unwrap();
        spool.run(damage);
        let piece = spool.store.piece(id, 1).await;
        assert!(
            matches!(piece, Err(StoreError::Damaged(_))),
            "{damage}: {piece:?}"
        );
        let verified = spool.store.verify_all(|_| {}).await.unwrap();
        assert_eq!(verified.damaged_total, 1, "{damage}");
        // What was sent in part is put aside by whoever sent it, also while it is tried.
        let claim = spool.claim_one(NOW).await;
        let what = String::from("piece 1");
        spool.store.mark_corrupt(id, what).await.unwrap();
        assert_eq!(
            spool.finish(&claim, Outcome::Defer).await,
            Became::Kept(DeliveryState::Corrupt)
        );
        let queued = spool.store.show(id).await.unwrap().queued.unwrap();
        assert_eq!(queued.deliveries[0].last_reason.as_deref(), Some("piece 1"));
    }
}

/// The attempt has ended all the same: its receipts count, and nobody is told twice.
#[tokio::test]
async fn a_delivery_that_is_damaged_while_it_is_tried_is_put_aside() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.run("UPDATE deliveries SET recipients = '[]'");
    let bounce = super::whole(spool.store.next_id(NOW), &["sender@origin.example"]);
    let end = crate::AttemptEnd {
        bounce: Some(bounce.clone()),
        ..super::end_of(&claim, DELIVERED)
    };
    let finished = spool.store.finish(end.clone()).await.unwrap();
    assert_eq!(finished.became, Became::Kept(DeliveryState::Corrupt));
    assert_eq!(finished.accepted.len(), 1);
    let bounced = spool.claim_one(NOW).await;
    assert_eq!(bounced.queue_id, bounce.id());
    spool.finish(&bounced, DELIVERED).await;
    let finished = spool.store.finish(end).await.unwrap();
    assert_eq!(finished.became, Became::AlreadyGone);
    assert_eq!(finished.accepted.len(), 0);
    assert_eq!(spool.count("messages"), 1);
    assert_eq!(spool.store.show(id).await.unwrap().receipts.len(), 1);
    assert_eq!(spool.remove(of(id)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_receipt_is_left_out() {
    for damage in [
        "UPDATE receipts SET at = at + 1",
        "UPDATE receipts SET receipt = '{}'",
        "UPDATE circumstances SET circumstances = replace(circumstances, 'dane', 'none')",
    ] {
        let spool = TestSpool::new();
        let id = spool.accept(&["a@one.example"]).await;
        let claim = spool.claim_one(NOW).await;
        spool.finish(&claim, Outcome::Defer).await;
        assert_eq!(spool.store.show(id).await.unwrap().receipts.len(), 1);
        spool.run(damage);
        let shown = spool.store.show(id).await.unwrap();
        assert_eq!(shown.receipts, [], "{damage}");
        assert!(shown.queued.is_some());
    }
}

#[test]
fn the_word_of_sqlite_alone_puts_nothing_aside() {
    for code in [rusqlite::ffi::SQLITE_CORRUPT, rusqlite::ffi::SQLITE_NOTADB] {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let failure = super::super::failure(&error);
        assert!(matches!(failure, StoreError::Unreadable(_)), "{failure}");
    }
}
