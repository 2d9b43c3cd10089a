//! The store, call by call, over failures and crashes.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

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
use proptest::prelude::Just;
use proptest::prelude::ProptestConfig;
use proptest::prelude::Strategy;
use proptest::prop_oneof;
use proptest::proptest;
use rusqlite::Connection;
use tempfile::TempDir;

use super::APPLICATION_ID;
use super::DATABASE_FILE;
use super::SqliteOptions;
use super::SqliteStore;
use crate::AnchorRecord;
use crate::AnchorRecords;
use crate::AttemptEnd;
use crate::AttemptOutcome;
use crate::CHUNK_OCTETS;
use crate::Claim;
use crate::DeliveryState;
use crate::Finished;
use crate::Incoming;
use crate::Integrity;
use crate::ListFilter;
use crate::NewDelivery;
use crate::NewMessage;
use crate::QueueCommands;
use crate::QueueId;
use crate::Receipt;
use crate::RecipientEnd;
use crate::RecipientState;
use crate::Recovered;
use crate::Room;
use crate::SPILL_OCTETS;
use crate::Selection;
use crate::Spool;
use crate::StoreError;
use crate::StsRecord;
use crate::StsRecords;

const NOW: UnixTime = UnixTime(1_800_000_000);

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
    assert_eq!(spool.store.verify(id).await, Ok(Integrity::Intact));
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
async fn what_was_active_is_due_after_a_crash() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.finish(&claim, Outcome::Defer).await;
    let claim = spool.claim_one(LATER).await;
    assert_eq!(claim.attempt, 2);

    let spool = spool.crash();
    let recovered = spool.store.recover(LATER).await.unwrap();
    assert_eq!(
        recovered,
        Recovered {
            resumed: 1,
            abandoned: 0
        }
    );
    let claim = spool.claim_one(LATER).await;
    assert_eq!((claim.queue_id, claim.attempt), (id, 2));
    assert_eq!(claim.floor, Some(Strength::Dane));
    assert_eq!(claim.last_reason.as_deref(), Some("greylisted"));
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
    incoming
        .commit(
            envelope(&["a@one.example"]),
            NOW,
            deliveries(&["a@one.example"]),
        )
        .await
        .unwrap();

    let spool = spool.crash();
    assert_eq!(spool.octets(id).await, octets);
    assert_eq!(spool.store.verify(id).await, Ok(Integrity::Intact));
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
    // The pieces go with the next change.
    spool.accept(&["a@one.example"]).await;
    assert_eq!(spool.count("pieces"), 1);

    let mut incoming = Incoming::begin(Arc::clone(&spool.store), NOW);
    incoming.write(&vec![0; SPILL_OCTETS]).await.unwrap();
    // A recovery does not touch what is on its way in since the start.
    let recovered = spool.store.recover(NOW).await.unwrap();
    assert_eq!(recovered, Recovered::default());
    assert_eq!(spool.count("pieces"), 5);
    let crashed = spool.crash();
    let recovered = crashed.store.recover(NOW).await.unwrap();
    assert_eq!(
        recovered,
        Recovered {
            resumed: 0,
            abandoned: 1
        }
    );
    assert_eq!(crashed.count("pieces"), 1);
}

#[tokio::test]
async fn a_commit_that_lost_its_staged_pieces_is_refused() {
    let spool = TestSpool::new();
    let mut message = whole(spool.store.next_id(NOW), &["a@one.example"]);
    message.staged = 2;
    let id = message.id();
    assert_eq!(
        spool.store.insert(message).await,
        Err(StoreError::NoSuchMessage(id))
    );
    assert!(spool.lines().await.is_empty());
}

#[tokio::test]
async fn the_earliest_is_claimed_first_and_a_busy_next_hop_blocks_nobody() {
    let spool = TestSpool::new();
    for _ in 0..20 {
        spool.accept(&["a@busy.example"]).await;
    }
    let other = spool.accept(&["b@other.example"]).await;
    let claimed = spool.store.claim(NOW, room(10, 2)).await.unwrap().claims;
    let hops: Vec<String> = claimed.iter().map(|c| c.next_hop.to_string()).collect();
    assert_eq!(hops, ["busy.example", "busy.example", "other.example"]);
    assert_eq!(claimed[2].queue_id, other);

    // With the busy one at its limit there is nothing to do, now or later.
    let full = Room {
        in_progress: vec![(domain("busy.example"), 2), (domain("other.example"), 1)],
        ..room(7, 2)
    };
    assert!(
        spool
            .store
            .claim(NOW, full.clone())
            .await
            .unwrap()
            .claims
            .is_empty()
    );
    assert_eq!(spool.store.next_due(full).await, Ok(None));
    assert_eq!(spool.store.next_due(room(1, 1)).await, Ok(Some(NOW)));
}

#[tokio::test]
async fn what_a_clock_that_ran_ahead_put_off_is_hastened() {
    let spool = TestSpool::new();
    spool.accept_at(&["a@one.example"], LATER).await;
    spool
        .accept_at(&["b@two.example"], UnixTime(LATER.0 + 1))
        .await;
    assert_eq!(spool.store.hasten(NOW, LATER).await, Ok(1));
    let claimed = spool.store.claim(NOW, room(9, 9)).await.unwrap().claims;
    let hops: Vec<String> = claimed.iter().map(|c| c.next_hop.to_string()).collect();
    assert_eq!(hops, ["two.example"]);
}

#[tokio::test]
async fn first_attempts_do_not_wait_behind_next_hops_that_fail_again_and_again() {
    let spool = TestSpool::new();
    for number in 0..30 {
        spool.accept(&[&format!("a@dead{number}.example")]).await;
    }
    for claim in spool.store.claim(NOW, room(99, 9)).await.unwrap().claims {
        spool.finish(&claim, Outcome::Defer).await;
    }
    let fresh = spool.accept_at(&["b@alive.example"], LATER).await;
    let retries_at_most = |retries| Room {
        retries,
        ..room(4, 9)
    };
    // Without room for a further attempt, only the first ones are seen.
    let due = spool.store.next_due(retries_at_most(0)).await;
    assert_eq!(due, Ok(Some(LATER)));
    let claimed = spool.store.claim(LATER, retries_at_most(2)).await.unwrap();
    let attempts: Vec<u32> = claimed.claims.iter().map(|claim| claim.attempt).collect();
    assert_eq!(attempts, [1, 2, 2]);
    assert_eq!(claimed.claims[0].queue_id, fresh);
    let due = spool.store.next_due(retries_at_most(0)).await;
    assert_eq!(due, Ok(None));
}

#[tokio::test]
async fn a_next_hop_shares_its_room_among_first_attempts_and_others() {
    let spool = TestSpool::new();
    for _ in 0..3 {
        spool.accept(&["a@one.example"]).await;
    }
    for claim in spool.store.claim(NOW, room(9, 9)).await.unwrap().claims {
        spool.finish(&claim, Outcome::Defer).await;
    }
    for _ in 0..3 {
        spool.accept_at(&["b@one.example"], LATER).await;
    }
    let claimed = spool.store.claim(LATER, room(9, 4)).await.unwrap();
    assert_eq!(claimed.claims.len(), 4);
}

#[tokio::test]
async fn nothing_is_claimed_before_its_time() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example"]).await;
    let early = UnixTime(NOW.0 - 1);
    assert!(
        spool
            .store
            .claim(early, room(9, 9))
            .await
            .unwrap()
            .claims
            .is_empty()
    );
    let claim = spool.claim_one(NOW).await;
    spool.finish(&claim, Outcome::Defer).await;
    assert!(
        spool
            .store
            .claim(NOW, room(9, 9))
            .await
            .unwrap()
            .claims
            .is_empty()
    );
    assert_eq!(spool.store.next_due(room(9, 9)).await, Ok(Some(LATER)));
}

#[tokio::test]
async fn a_message_goes_with_its_last_recipient_and_its_receipts_stay() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example", "b@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    assert_eq!(claim.recipients.len(), 2);
    let finished = spool
        .finish(&claim, Outcome::First(RecipientState::Delivered))
        .await;
    assert_eq!(finished, Finished::Remains(DeliveryState::Deferred));

    let claim = spool.claim_one(LATER).await;
    assert_eq!(claim.recipients.len(), 1);
    assert_eq!(claim.recipients[0].mailbox, mailbox("b@one.example"));
    let finished = spool
        .finish(&claim, Outcome::All(RecipientState::Delivered))
        .await;
    assert_eq!(finished, Finished::Retired);

    for table in [
        "messages",
        "pieces",
        "deliveries",
        "recipients",
        "next_hops",
    ] {
        assert_eq!(spool.count(table), 0, "{table}");
    }
    let shown = spool.store.show(id).await.unwrap();
    assert_eq!(shown.queued, None);
    assert_eq!(shown.receipts.len(), 2);
}

#[tokio::test]
async fn show_says_why_a_message_waits() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example", "b@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool
        .finish(&claim, Outcome::First(RecipientState::Delivered))
        .await;
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

    // Without a table for receipts, the whole call fails.
    spool.run("ALTER TABLE receipts RENAME TO elsewhere");
    assert!(matches!(
        spool.store.finish(end.clone()).await,
        Err(StoreError::Refused(_))
    ));
    assert_eq!(spool.lines().await, [format!("{id} one.example active 1")]);
    spool.run("ALTER TABLE elsewhere RENAME TO receipts");

    assert_eq!(spool.store.finish(end).await, Ok(Finished::Retired));
    assert_eq!(
        spool.lines().await,
        [format!("{} origin.example incoming 1", bounce.id())]
    );
}

#[tokio::test]
async fn a_failing_call_does_not_touch_its_neighbours() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    spool.run("ALTER TABLE receipts RENAME TO elsewhere");
    let ended = end_of(&claim, Outcome::Defer);
    let (failed, first, second) = tokio::join!(
        spool.store.finish(ended),
        spool
            .store
            .insert(whole(spool.store.next_id(NOW), &["b@two.example"])),
        spool
            .store
            .insert(whole(spool.store.next_id(NOW), &["c@three.example"])),
    );
    assert!(failed.is_err());
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(spool.lines().await.len(), 3);
}

/// A call that fails may have reached the disk all the same. Whoever repeats it, before or after a
/// crash, gets what one call would have given.
#[tokio::test]
async fn a_call_that_failed_after_it_was_durable_can_be_repeated() {
    for call in Call::ALL {
        let spool = TestSpool::new();
        let claim = spool.prepare().await;
        let id = spool.store.next_id(NOW);
        spool.call(call, &claim, id).await.unwrap();
        let once = spool.dump();
        spool.call(call, &claim, id).await.unwrap();
        assert_eq!(spool.dump(), once, "{call:?} repeated");

        let spool = spool.crash();
        assert_eq!(spool.dump(), once, "{call:?} and a crash");
        spool.call(call, &claim, id).await.unwrap();
        assert_eq!(spool.dump(), once, "{call:?} repeated after a crash");
    }
}

/// A call that fails before it is durable leaves what was there, and can be repeated.
#[tokio::test]
async fn a_call_that_failed_changed_nothing() {
    for call in Call::ALL {
        let spool = TestSpool::new();
        let claim = spool.prepare().await;
        let id = spool.store.next_id(NOW);
        let before = spool.dump();
        spool.run(
            "CREATE TRIGGER broken_1 BEFORE INSERT ON pieces BEGIN SELECT raise(ABORT, 'broken'); END;
             CREATE TRIGGER broken_2 BEFORE INSERT ON sts_policies BEGIN SELECT raise(ABORT, 'broken'); END;
             CREATE TRIGGER broken_4 BEFORE INSERT ON anchors BEGIN SELECT raise(ABORT, 'broken'); END;
             CREATE TRIGGER broken_3 BEFORE UPDATE ON counters BEGIN SELECT raise(ABORT, 'broken'); END;",
        );
        assert!(spool.call(call, &claim, id).await.is_err(), "{call:?}");
        spool.run("DROP TRIGGER broken_1; DROP TRIGGER broken_2; DROP TRIGGER broken_3; DROP TRIGGER broken_4;");
        assert_eq!(spool.dump(), before, "{call:?}");
        let spool = spool.crash();
        assert_eq!(spool.dump(), before, "{call:?} and a crash");
        assert!(spool.call(call, &claim, id).await.is_ok(), "{call:?}");
    }
}

#[tokio::test]
async fn commands_work_beside_the_daemon() {
    let spool = TestSpool::new();
    let first = spool.accept(&["a@one.example"]).await;
    let second = spool.accept(&["b@two.example"]).await;
    let commands = SqliteStore::attach(spool.options()).unwrap();
    let line = |id, hop, state| format!("{id} {hop} {state} 1");

    assert_eq!(commands.hold(Selection::Message(first)).await, Ok(1));
    assert_eq!(
        spool.lines().await,
        [
            line(first, "one.example", "hold"),
            line(second, "two.example", "incoming")
        ]
    );
    assert_eq!(spool.claim_one(NOW).await.queue_id, second);
    assert_eq!(
        commands.release(Selection::Message(first), NOW).await,
        Ok(1)
    );
    let claim = spool.claim_one(NOW).await;
    assert_eq!(claim.queue_id, first);
    spool.finish(&claim, Outcome::Defer).await;
    assert_eq!(commands.retry(Selection::All, NOW).await, Ok(1));
    let claim = spool.claim_one(NOW).await;
    assert_eq!((claim.queue_id, claim.attempt), (first, 2));
    spool.finish(&claim, Outcome::Defer).await;
    assert_eq!(commands.remove(Selection::Message(first)).await, Ok(1));
    assert_eq!(spool.lines().await, [line(second, "two.example", "active")]);
    assert_eq!(
        commands.remove(Selection::Message(first)).await,
        Err(StoreError::NoSuchMessage(first))
    );
}

#[tokio::test]
async fn hold_and_remove_reach_an_active_delivery_when_its_attempt_ends() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let claim = spool.claim_one(NOW).await;
    assert_eq!(spool.store.hold(Selection::All).await, Ok(1));
    assert_eq!(
        spool.finish(&claim, Outcome::Defer).await,
        Finished::Remains(DeliveryState::Hold)
    );
    assert!(
        spool
            .store
            .claim(LATER, room(9, 9))
            .await
            .unwrap()
            .claims
            .is_empty()
    );

    spool
        .store
        .release(Selection::Message(id), LATER)
        .await
        .unwrap();
    let claim = spool.claim_one(LATER).await;
    assert_eq!(spool.store.remove(Selection::Message(id)).await, Ok(1));
    assert_eq!(
        spool.finish(&claim, Outcome::Defer).await,
        Finished::Retired
    );
    assert_eq!(spool.count("messages"), 0);
}

#[tokio::test]
async fn a_removal_survives_the_end_of_the_daemon() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example", "b@two.example"]).await;
    assert_eq!(
        spool
            .store
            .claim(NOW, room(9, 9))
            .await
            .unwrap()
            .claims
            .len(),
        2
    );
    spool.store.remove(Selection::All).await.unwrap();
    let spool = spool.crash();
    spool.store.recover(NOW).await.unwrap();
    assert_eq!(spool.count("messages"), 0);
    assert_eq!(spool.count("pieces"), 0);
}

#[tokio::test]
async fn a_list_is_filtered_and_can_be_continued() {
    let spool = TestSpool::new();
    let first = spool.accept(&["a@one.example", "b@two.example"]).await;
    let second = spool.accept(&["c@one.example"]).await;
    spool.store.hold(Selection::Message(second)).await.unwrap();
    let everything = ListFilter::default;
    let rows: [(ListFilter, &[QueueId]); 6] = [
        (everything(), &[first, first, second]),
        (
            ListFilter {
                next_hop: Some(domain("one.example")),
                ..everything()
            },
            &[first, second],
        ),
        (
            ListFilter {
                state: Some(DeliveryState::Hold),
                ..everything()
            },
            &[second],
        ),
        (
            ListFilter {
                sender: Some(ReversePath::Null),
                ..everything()
            },
            &[],
        ),
        (
            ListFilter {
                after: Some(first),
                ..everything()
            },
            &[second],
        ),
        (
            ListFilter {
                limit: 1,
                ..everything()
            },
            &[first, first],
        ),
    ];
    for (filter, expected) in rows {
        let listed = spool.store.list(filter.clone()).await.unwrap();
        let ids: Vec<QueueId> = listed.iter().map(|line| line.queue_id).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
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
fn what_is_no_spool_of_this_version_is_refused() {
    let directory = TempDir::new().unwrap();
    let options = SqliteOptions::in_directory(directory.path());
    let attach = || SqliteStore::attach(options.clone()).map(|_| ());
    let open = || SqliteStore::open(options.clone()).map(|_| ());
    let path = directory.path().join(DATABASE_FILE);
    assert!(matches!(attach(), Err(StoreError::NoSpool(_))));

    fs::write(&path, "").unwrap();
    assert_eq!(
        attach(),
        Err(StoreError::OlderSchema { found: 0, known: 2 })
    );
    assert_eq!(open(), Ok(()));
    assert_eq!(attach(), Ok(()));

    let run = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    run("PRAGMA user_version = 99");
    let newer = StoreError::NewerSchema {
        found: 99,
        known: 2,
    };
    assert_eq!(open(), Err(newer.clone()));
    assert_eq!(attach(), Err(newer));
    run("PRAGMA user_version = 2; PRAGMA application_id = 7");
    assert_eq!(open(), Err(StoreError::NotASpool));
    for rest in ["-wal", "-shm"] {
        _ = fs::remove_file(directory.path().join(format!("{DATABASE_FILE}{rest}")));
    }
    fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert_eq!(open(), Err(StoreError::NotASpool));
}

#[cfg(unix)]
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

#[tokio::test]
async fn a_damaged_message_is_put_aside_and_the_rest_goes_on() {
    let spool = TestSpool::new();
    let body = spool.accept(&["a@one.example"]).await;
    let envelope = spool.accept(&["b@two.example"]).await;
    let floor = spool.accept(&["c@three.example"]).await;
    let good = spool.accept(&["d@four.example"]).await;
    spool.run(&format!(
        "UPDATE pieces SET octets = x'00' WHERE message_id = {};
         UPDATE messages SET envelope = '{{}}' WHERE id = {};
         UPDATE deliveries SET floor = 'none' WHERE message_id = {};",
        body.to_i64(),
        envelope.to_i64(),
        floor.to_i64()
    ));
    let claimed = spool.store.claim(NOW, room(9, 9)).await.unwrap();
    let mut ids: Vec<QueueId> = claimed.claims.iter().map(|c| c.queue_id).collect();
    ids.sort();
    assert_eq!(ids, [body, good]);
    let damaged: Vec<QueueId> = claimed.damaged.iter().map(|d| d.queue_id).collect();
    assert_eq!(damaged.len(), 2);
    assert!(damaged.contains(&envelope) && damaged.contains(&floor));

    let Ok(Integrity::Damaged(what)) = spool.store.verify(body).await else {
        panic!("the damage went unnoticed");
    };
    spool.store.mark_corrupt(body, what).await.unwrap();
    assert_eq!(spool.store.verify(good).await, Ok(Integrity::Intact));
    let depth = spool.store.depth().await.unwrap();
    assert_eq!(depth.deliveries_in(DeliveryState::Corrupt), 3);
    assert_eq!(depth.deliveries_in(DeliveryState::Active), 1);
    let shown = spool.store.show(body).await.unwrap().queued.unwrap();
    assert_eq!(
        shown.deliveries[0].last_reason.as_deref(),
        Some("the message does not match its checksum")
    );
    assert_eq!(spool.store.remove(Selection::Message(body)).await, Ok(1));
}

#[tokio::test]
async fn a_full_spool_takes_nothing_in_and_still_lets_go() {
    let directory = TempDir::new().unwrap();
    let options = SqliteOptions {
        size_max: 256 * 1024,
        ..SqliteOptions::in_directory(directory.path())
    };
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let spool = TestSpool { directory, store };
    let mut accepted = 0;
    let big = vec![b'x'; 30_000];
    let refused = loop {
        let id = spool.store.next_id(NOW);
        let to = ["a@one.example"];
        let message = NewMessage::whole(id, envelope(&to), NOW, &big, deliveries(&to));
        match spool.store.insert(message).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full);
    assert!((2..8).contains(&accepted), "{accepted}");
    let mut incoming = Incoming::begin(Arc::clone(&spool.store), NOW);
    let staged = incoming.write(&vec![0; SPILL_OCTETS]).await;
    assert_eq!(staged, Err(StoreError::Full));

    let claim = spool.claim_one(NOW).await;
    let finished = spool
        .finish(&claim, Outcome::All(RecipientState::Delivered))
        .await;
    assert_eq!(finished, Finished::Retired);
    let to = ["a@one.example"];
    let message = NewMessage::whole(
        spool.store.next_id(NOW),
        envelope(&to),
        NOW,
        &big,
        deliveries(&to),
    );
    assert_eq!(spool.store.insert(message).await, Ok(()));
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_nothing_in_and_still_lets_go() {
    let spool = TestSpool::new();
    spool.accept(&["a@one.example"]).await;
    let TestSpool { directory, store } = spool;
    drop(store);
    let options = SqliteOptions {
        free_min: u64::MAX,
        ..SqliteOptions::in_directory(directory.path())
    };
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let spool = TestSpool { directory, store };
    let refused = whole(spool.store.next_id(NOW), &["a@one.example"]);
    assert_eq!(spool.store.insert(refused).await, Err(StoreError::Full));
    let mut incoming = Incoming::begin(Arc::clone(&spool.store), NOW);
    let staged = incoming.write(&vec![0; SPILL_OCTETS]).await;
    assert_eq!(staged, Err(StoreError::Full));

    let claim = spool.claim_one(NOW).await;
    let delivered = Outcome::All(RecipientState::Delivered);
    assert_eq!(spool.finish(&claim, delivered).await, Finished::Retired);
}

#[tokio::test]
async fn receipts_are_bounded_by_age_and_number() {
    let directory = TempDir::new().unwrap();
    let options = SqliteOptions {
        receipts_max: 3,
        receipt_age_max: Duration::from_secs(100),
        ..SqliteOptions::in_directory(directory.path())
    };
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let spool = TestSpool { directory, store };
    for at in 0..6 {
        spool.accept(&["a@one.example"]).await;
        let claim = spool.claim_one(NOW).await;
        let mut end = end_of(&claim, Outcome::All(RecipientState::Delivered));
        end.receipts[0].at = UnixTime(NOW.0 + at * 50);
        spool.store.finish(end).await.unwrap();
    }
    assert_eq!(spool.store.prune(UnixTime(NOW.0 + 170)).await, Ok(3));
    assert_eq!(spool.count("receipts"), 3);
    assert_eq!(spool.store.prune(UnixTime(NOW.0 + 300)).await, Ok(1));
}

#[tokio::test]
async fn receipts_make_room_for_mail() {
    let directory = TempDir::new().unwrap();
    let options = SqliteOptions {
        size_max: 1024 * 1024,
        ..SqliteOptions::in_directory(directory.path())
    };
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let spool = TestSpool { directory, store };
    for _ in 0..10 {
        spool.accept(&["a@one.example"]).await;
        let claim = spool.claim_one(NOW).await;
        let mut end = end_of(&claim, Outcome::All(RecipientState::Delivered));
        end.receipts[0].reasons = vec!["x".repeat(90_000)];
        spool.store.finish(end).await.unwrap();
    }
    assert_eq!(spool.store.prune(NOW).await, Ok(5));
    assert_eq!(spool.store.prune(NOW).await, Ok(0));
}

#[tokio::test]
async fn policies_survive_and_are_bounded() {
    let directory = TempDir::new().unwrap();
    let options = SqliteOptions {
        sts_records_max: 2,
        ..SqliteOptions::in_directory(directory.path())
    };
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let spool = TestSpool { directory, store };
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

#[tokio::test]
async fn a_spool_of_the_first_version_is_brought_to_this_one() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(DATABASE_FILE);
    let old = include_str!("schema.sql");
    let first =
        format!("{old}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;");
    Connection::open(&path)
        .unwrap()
        .execute_batch(&first)
        .unwrap();
    let options = SqliteOptions::in_directory(directory.path());
    assert_eq!(
        SqliteStore::attach(options.clone()).map(|_| ()),
        Err(StoreError::OlderSchema { found: 1, known: 2 })
    );
    let store = SqliteStore::open(options).unwrap();
    store.put_anchor_record(anchor_record("x")).await.unwrap();
}

#[tokio::test]
async fn depth_counts_without_being_told() {
    let spool = TestSpool::new();
    assert_eq!(spool.store.depth().await.unwrap().oldest, None);
    let id = spool.accept(&["a@one.example", "b@two.example"]).await;
    spool.store.hold(Selection::All).await.unwrap();
    spool.accept(&["c@three.example"]).await;
    let depth = spool.store.depth().await.unwrap();
    assert_eq!(depth.messages, 2);
    assert_eq!(depth.deliveries_in(DeliveryState::Hold), 2);
    assert_eq!(depth.deliveries_in(DeliveryState::Incoming), 1);
    assert_eq!(depth.oldest, Some(id.arrived_at()));
    assert_eq!(depth.age_of_oldest(LATER), Duration::from_secs(300));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever people and daemon do, in whatever order, crashes included: the spool does what the
    /// few lines of the model say.
    #[test]
    fn the_spool_does_what_the_model_does(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async {
                let mut spool = TestSpool::new();
                let mut model = Model::default();
                for step in &steps {
                    spool = model.step(spool, *step).await;
                    assert_eq!(spool.lines().await, model.lines(), "after {step:?}");
                    model.check_counters(&spool).await;
                }
            });
    }
}

/// Something that happens to a spool.
#[derive(Clone, Copy, Debug)]
enum Step {
    Accept,
    Claim(u32),
    Finish(usize, Outcome),
    Unclaim(usize),
    Command(Command),
    Crash,
}

/// Something that a person does, to one message or to all.
#[derive(Clone, Copy, Debug)]
enum Command {
    Hold(Option<usize>),
    Release(Option<usize>),
    Retry(Option<usize>),
    Remove(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(Outcome::Defer),
        Just(Outcome::First(RecipientState::Delivered)),
        Just(Outcome::First(RecipientState::Bounced)),
        Just(Outcome::All(RecipientState::Delivered)),
    ];
    let which = || proptest::option::of(0..4_usize);
    let command = prop_oneof![
        which().prop_map(Command::Hold),
        which().prop_map(Command::Release),
        which().prop_map(Command::Retry),
        which().prop_map(Command::Remove),
    ];
    prop_oneof![
        3 => Just(Step::Accept),
        4 => (1..4_u32).prop_map(Step::Claim),
        4 => (0..4_usize, outcome).prop_map(|(which, outcome)| Step::Finish(which, outcome)),
        1 => (0..4_usize).prop_map(Step::Unclaim),
        3 => command.prop_map(Step::Command),
        1 => Just(Step::Crash),
    ]
}

/// The spool, without a disk.
#[derive(Default)]
struct Model {
    deliveries: BTreeMap<(QueueId, &'static str), ModelDelivery>,
    claims: Vec<Claim>,
}

struct ModelDelivery {
    state: DeliveryState,
    pending: usize,
    attempts: u32,
    wish: Option<Command>,
}

impl ModelDelivery {
    fn waiting(&self) -> DeliveryState {
        match self.attempts {
            0 => DeliveryState::Incoming,
            _ => DeliveryState::Deferred,
        }
    }
}

impl Model {
    async fn step(&mut self, spool: TestSpool, step: Step) -> TestSpool {
        match step {
            Step::Accept => {
                let id = spool
                    .accept(&["a@one.example", "b@one.example", "c@two.example"])
                    .await;
                for (hop, pending) in [("one.example", 2), ("two.example", 1)] {
                    let delivery = ModelDelivery {
                        state: DeliveryState::Incoming,
                        pending,
                        attempts: 0,
                        wish: None,
                    };
                    self.deliveries.insert((id, hop), delivery);
                }
            }
            Step::Claim(total) => {
                let claimed = spool.store.claim(LATER, room(total, 99)).await.unwrap();
                let due = self
                    .deliveries
                    .values()
                    .filter(|d| d.state == d.waiting())
                    .count();
                assert_eq!(
                    claimed.claims.len(),
                    due.min(usize::try_from(total).unwrap())
                );
                for claim in claimed.claims {
                    let delivery = self.of(&claim);
                    assert_eq!(claim.recipients.len(), delivery.pending);
                    assert_eq!(claim.attempt, delivery.attempts + 1);
                    delivery.state = DeliveryState::Active;
                    self.claims.push(claim);
                }
            }
            Step::Finish(which, outcome) if which < self.claims.len() => {
                let claim = self.claims.remove(which);
                spool.finish(&claim, outcome).await;
                self.finish(&claim, outcome);
            }
            Step::Unclaim(which) if which < self.claims.len() => {
                let claim = self.claims.remove(which);
                spool.store.unclaim(claim.delivery, LATER).await.unwrap();
                self.resume();
            }
            Step::Finish(..) | Step::Unclaim(_) => {}
            Step::Command(command) => self.command(&spool, command).await,
            Step::Crash => {
                let spool = spool.crash();
                spool.store.recover(LATER).await.unwrap();
                self.claims.clear();
                self.resume();
                return spool;
            }
        }
        spool
    }

    fn of(&mut self, claim: &Claim) -> &mut ModelDelivery {
        let hop = claim.next_hop.to_string();
        self.deliveries
            .iter_mut()
            .find(|((id, name), _)| *id == claim.queue_id && *name == hop)
            .unwrap()
            .1
    }

    fn finish(&mut self, claim: &Claim, outcome: Outcome) {
        let delivery = self.of(claim);
        delivery.attempts += 1;
        match outcome {
            Outcome::Defer => {}
            Outcome::First(_) => delivery.pending -= 1,
            Outcome::All(_) => delivery.pending = 0,
        }
        delivery.state = match delivery.wish.take() {
            Some(Command::Hold(_)) => DeliveryState::Hold,
            Some(Command::Remove(_)) => {
                delivery.pending = 0;
                DeliveryState::Deferred
            }
            Some(Command::Release(_) | Command::Retry(_)) | None => DeliveryState::Deferred,
        };
        self.deliveries.retain(|_, delivery| delivery.pending > 0);
    }

    /// What is active and not claimed is due again, unless somebody wished otherwise.
    fn resume(&mut self) {
        let claimed: Vec<(QueueId, String)> = self
            .claims
            .iter()
            .map(|claim| (claim.queue_id, claim.next_hop.to_string()))
            .collect();
        self.deliveries.retain(|(id, hop), delivery| {
            if delivery.state != DeliveryState::Active
                || claimed.contains(&(*id, String::from(*hop)))
            {
                return true;
            }
            delivery.state = delivery.waiting();
            match delivery.wish.take() {
                Some(Command::Remove(_)) => return false,
                Some(Command::Hold(_)) => delivery.state = DeliveryState::Hold,
                Some(Command::Release(_) | Command::Retry(_)) | None => {}
            }
            true
        });
    }

    async fn command(&mut self, spool: &TestSpool, command: Command) {
        let (Command::Hold(which)
        | Command::Release(which)
        | Command::Retry(which)
        | Command::Remove(which)) = command;
        let mut ids: Vec<QueueId> = self.deliveries.keys().map(|(id, _)| *id).collect();
        ids.dedup();
        let id = match which.map(|which| ids.get(which).copied()) {
            Some(None) => return,
            Some(Some(id)) => Some(id),
            None => None,
        };
        let selection = id.map_or(Selection::All, Selection::Message);
        match command {
            Command::Hold(_) => spool.store.hold(selection).await,
            Command::Release(_) => spool.store.release(selection, LATER).await,
            Command::Retry(_) => spool.store.retry(selection, LATER).await,
            Command::Remove(_) => spool.store.remove(selection).await,
        }
        .unwrap();
        self.deliveries.retain(|(of, _), delivery| {
            if id.is_some_and(|id| id != *of) {
                return true;
            }
            apply(delivery, command)
        });
    }

    fn lines(&self) -> Vec<String> {
        self.deliveries
            .iter()
            .map(|((id, hop), d)| format!("{id} {hop} {} {}", d.state, d.pending))
            .collect()
    }

    async fn check_counters(&self, spool: &TestSpool) {
        let depth = spool.store.depth().await.unwrap();
        for (state, count) in &depth.deliveries {
            let expected = self
                .deliveries
                .values()
                .filter(|d| d.state == *state)
                .count();
            assert_eq!(*count, u64::try_from(expected).unwrap(), "{state}");
        }
        let mut ids: Vec<QueueId> = self.deliveries.keys().map(|(id, _)| *id).collect();
        ids.dedup();
        assert_eq!(depth.messages, u64::try_from(ids.len()).unwrap());
        assert_eq!(spool.count("pieces"), ids.len());
        let wrong_hops = "SELECT count(*) FROM (
            SELECT next_hop, state, min(due_at) AS due_at FROM deliveries
            WHERE due_at IS NOT NULL GROUP BY next_hop, state EXCEPT SELECT * FROM next_hops)";
        let hops = "SELECT (SELECT count(*) FROM next_hops)
            - (SELECT count(*) FROM (SELECT DISTINCT next_hop, state FROM deliveries
               WHERE due_at IS NOT NULL))";
        let connection = Connection::open(spool.directory.path().join(DATABASE_FILE)).unwrap();
        for query in [wrong_hops, hops] {
            let wrong: i64 = connection.query_row(query, [], |row| row.get(0)).unwrap();
            assert_eq!(wrong, 0, "{query}");
        }
    }
}

/// What a command does to one delivery; false if that is its end.
fn apply(delivery: &mut ModelDelivery, command: Command) -> bool {
    let active = delivery.state == DeliveryState::Active;
    match command {
        Command::Hold(_) if active => {
            delivery.wish.get_or_insert(command);
        }
        Command::Hold(_) => delivery.state = DeliveryState::Hold,
        Command::Release(_) if active => {
            delivery
                .wish
                .take_if(|wish| matches!(wish, Command::Hold(_)));
        }
        Command::Release(_) => delivery.state = delivery.waiting(),
        Command::Retry(_) => {}
        Command::Remove(_) if active => delivery.wish = Some(command),
        Command::Remove(_) => return false,
    }
    true
}

/// Every call that changes something.
#[derive(Clone, Copy, Debug)]
enum Call {
    Insert,
    Stage,
    FinishDeferred,
    FinishRetired,
    FinishBounced,
    Unclaim,
    Recover,
    MarkCorrupt,
    Hold,
    Release,
    PutSts,
    PutAnchor,
}

impl Call {
    const ALL: [Self; 12] = [
        Self::Insert,
        Self::Stage,
        Self::FinishDeferred,
        Self::FinishRetired,
        Self::FinishBounced,
        Self::Unclaim,
        Self::Recover,
        Self::MarkCorrupt,
        Self::Hold,
        Self::Release,
        Self::PutSts,
        Self::PutAnchor,
    ];
}

/// What an attempt comes to.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Defer,
    First(RecipientState),
    All(RecipientState),
}

/// A store in a directory of its own.
struct TestSpool {
    store: Arc<SqliteStore>,
    directory: TempDir,
}

impl TestSpool {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let options = SqliteOptions::in_directory(directory.path());
        let store = Arc::new(SqliteStore::open(options).unwrap());
        Self { store, directory }
    }

    fn options(&self) -> SqliteOptions {
        SqliteOptions::in_directory(self.directory.path())
    }

    /// What another process finds after this one was killed: the files as they are now.
    fn crash(self) -> Self {
        let directory = TempDir::new().unwrap();
        for file in fs::read_dir(self.directory.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
        }
        // Memory shared between processes does not outlive them.
        _ = fs::remove_file(directory.path().join(format!("{DATABASE_FILE}-shm")));
        let options = SqliteOptions {
            directory: directory.path().into(),
            ..self.store.options.clone()
        };
        let store = Arc::new(SqliteStore::open(options).unwrap());
        Self { store, directory }
    }

    async fn accept(&self, recipients: &[&str]) -> QueueId {
        self.accept_at(recipients, NOW).await
    }

    async fn accept_at(&self, recipients: &[&str], due_at: UnixTime) -> QueueId {
        let mut incoming = Incoming::begin(Arc::clone(&self.store), NOW);
        let id = incoming.id();
        incoming.write(BODY).await.unwrap();
        let mut deliveries = deliveries(recipients);
        for delivery in &mut deliveries {
            delivery.due_at = due_at;
        }
        incoming
            .commit(envelope(recipients), NOW, deliveries)
            .await
            .unwrap();
        id
    }

    async fn claim_one(&self, now: UnixTime) -> Claim {
        let claimed = self.store.claim(now, room(1, 9)).await.unwrap();
        claimed.claims.into_iter().next().expect("nothing is due")
    }

    async fn finish(&self, claim: &Claim, outcome: Outcome) -> Finished {
        self.store.finish(end_of(claim, outcome)).await.unwrap()
    }

    /// One active, one held and one waiting delivery; the active one's claim.
    async fn prepare(&self) -> Claim {
        let held = self.accept(&["held@hold.example"]).await;
        self.store.hold(Selection::Message(held)).await.unwrap();
        self.accept(&["a@one.example"]).await;
        let claim = self.claim_one(NOW).await;
        self.accept(&["b@two.example"]).await;
        claim
    }

    async fn call(&self, call: Call, claim: &Claim, id: QueueId) -> Result<(), StoreError> {
        let store = &self.store;
        let done = |finished: Result<Finished, StoreError>| finished.map(|_| ());
        match call {
            Call::Insert => store.insert(whole(id, &["a@one.example"])).await,
            Call::Stage => store.stage(id, 0, vec![vec![1], vec![2]]).await,
            Call::FinishDeferred => done(store.finish(end_of(claim, Outcome::Defer)).await),
            Call::FinishRetired => {
                let end = end_of(claim, Outcome::All(RecipientState::Delivered));
                done(store.finish(end).await)
            }
            Call::FinishBounced => {
                let end = AttemptEnd {
                    bounce: Some(whole(id, &["sender@origin.example"])),
                    ..end_of(claim, Outcome::All(RecipientState::Bounced))
                };
                done(store.finish(end).await)
            }
            Call::Unclaim => store.unclaim(claim.delivery, NOW).await,
            Call::Recover => store.recover(NOW).await.map(|_| ()),
            Call::MarkCorrupt => {
                store
                    .mark_corrupt(claim.queue_id, String::from("bits"))
                    .await
            }
            Call::Hold => store.hold(Selection::All).await.map(|_| ()),
            Call::Release => store.release(Selection::All, NOW).await.map(|_| ()),
            Call::PutAnchor => store.put_anchor_record(anchor_record("{}")).await,
            Call::PutSts => store.put_sts_record(sts_record("a.example", NOW)).await,
        }
    }

    async fn lines(&self) -> Vec<String> {
        let listed = self.store.list(ListFilter::default()).await.unwrap();
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
        Connection::open(self.directory.path().join(DATABASE_FILE)).unwrap()
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
        let tables = "messages pieces deliveries recipients next_hops counters receipts sts_policies anchors";
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

fn end_of(claim: &Claim, outcome: Outcome) -> AttemptEnd {
    let (count, state) = match outcome {
        Outcome::Defer => (0, RecipientState::Pending),
        Outcome::First(state) => (1, state),
        Outcome::All(state) => (claim.recipients.len(), state),
    };
    AttemptEnd {
        delivery: claim.delivery,
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
        receipts: vec![receipt(claim)],
        bounce: None,
    }
}

fn receipt(claim: &Claim) -> Receipt {
    Receipt {
        queue_id: claim.queue_id,
        next_hop: claim.next_hop.clone(),
        attempt: claim.attempt,
        at: NOW,
        outcome: AttemptOutcome::Deferred,
        recipients: vec![],
        demanded: Some(Strength::Dane),
        requiretls: false,
        reasons: vec![String::from("TLSA records are secure")],
        host: None,
        address: None,
        tls: None,
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

fn anchor_record(state: &str) -> AnchorRecord {
    AnchorRecord {
        zone: String::from("example."),
        state: String::from(state),
    }
}

fn sts_record(name: &str, fetched_at: UnixTime) -> StsRecord {
    StsRecord {
        domain: name.parse().unwrap(),
        id: String::from("1"),
        body: String::from("version: STSv1\n"),
        fetched_at,
    }
}

fn room(total: u32, per_next_hop: u32) -> Room {
    Room {
        total,
        retries: total,
        per_next_hop,
        in_progress: vec![],
    }
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

fn domain(text: &str) -> MailDomain {
    text.parse().unwrap()
}

const LATER: UnixTime = UnixTime(NOW.0 + 300);

const BODY: &[u8] = b"Subject: hello\r\n\r\nworld\r\n";
