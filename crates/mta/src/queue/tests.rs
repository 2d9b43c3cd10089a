//! The queue, with a store on disk, a clock that the test moves, and attempts that the test ends.

use std::sync::Arc;
use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_net::current::Current;
use byrnie_policy::Strength;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use byrnie_smtp::TlsDemand;
use byrnie_store::Accepted;
use byrnie_store::DelayWarning;
use byrnie_store::DeliveryState;
use byrnie_store::Filter;
use byrnie_store::Listed;
use byrnie_store::QueueCommands;
use byrnie_store::QueueId;
use byrnie_store::SenderKey;
use byrnie_store::Spool;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use byrnie_store::Waiting;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time;

use super::Inlet;
use super::Live;
use super::Loading;
use super::Queue;
use super::QueueConfig;
use super::QueueHandle;
use super::QueueParts;
use super::RetrySchedule;
use super::StoreHealth;
use super::scheduler::Answer;
use crate::bounce::Bouncer;
use crate::delivery::Content;
use crate::delivery::Fate;
use crate::delivery::Report;
use crate::delivery::Trouble;
use crate::testing::Fault;
use crate::testing::FaultySpool;
use crate::testing::Job;
use crate::testing::Jobs;
use crate::testing::LIFETIME;
use crate::testing::PATIENCE;
use crate::testing::START;
use crate::testing::TestClock;
use crate::testing::TestDeliver;
use crate::testing::accept;
use crate::testing::accept_octets;
use crate::testing::envelope;
use crate::testing::mailbox;
use crate::testing::new_store;
use crate::testing::reply;

#[tokio::test]
async fn what_is_delivered_leaves_the_queue() {
    let mut world = World::new();
    let id = world.accept(&["a@one.example"]).await;
    let job = world.jobs.next().await;
    assert_eq!((job.claim.queue_id, job.claim.attempt), (id, 1));
    job.end(delivered(1));
    world.until_empty().await;
}

#[tokio::test]
async fn what_is_deferred_comes_back_after_growing_waits() {
    let mut world = World::with(|config| config.delay_warning = None);
    world.accept(&["a@one.example"]).await;
    let mut waits = Vec::new();
    for attempt in 1..=8 {
        let job = world.jobs.next().await;
        assert_eq!(job.claim.attempt, attempt);
        let now = world.now();
        job.end(deferred(1));
        let line = world.until_deferred(attempt).await;
        assert_eq!(line.last_reason.as_deref(), Some("450 4.2.0 greylisted"));
        let wait = line.next_attempt_at.unwrap().since(now);
        waits.push(wait.as_secs() / 60);
        world.pass(wait);
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 240, 240]);
}

#[tokio::test]
async fn nothing_is_tried_before_its_time() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    world.pass(Duration::from_secs(299));
    // Once this one is tried, the other one has been passed over.
    world.accept(&["b@two.example"]).await;
    assert_eq!(world.jobs.next().await.claim.attempt, 1);
    assert!(world.jobs.is_idle());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.jobs.next().await.claim.attempt, 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_puts_nothing_off() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    world.clock.set_back(Duration::from_secs(86_400));
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(2).await;

    // Also where nobody saw it happen.
    world.queue.abort();
    world.clock.set_back(Duration::from_secs(86_400));
    let mut world = world.restart().await;
    assert_eq!(world.jobs.next().await.claim.attempt, 3);
}

#[tokio::test]
async fn at_the_end_of_its_time_a_message_goes_back() {
    let mut world = World::with(|config| config.delay_warning = None);
    world.accept(&["a@one.example"]).await;
    world.pass(LIFETIME - Duration::from_secs(60));
    world.jobs.next().await.end(deferred(1));
    let line = world.until_deferred(1).await;
    // The last attempt is made at the end of the time, not after it.
    assert_eq!(line.next_attempt_at, Some(START + LIFETIME));
    world.pass(Duration::from_secs(60));
    world.jobs.next().await.end(deferred(1));

    let bounce = world.jobs.next().await;
    let text = world.text(bounce.claim.queue_id).await;
    assert!(
        text.contains(
            "Final-Recipient: rfc822; a@one.example\r\nAction: failed\r\nStatus: 5.4.7\r\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("Diagnostic-Code: smtp; 450 4.2.0 greylisted\r\n"),
        "{text}"
    );
    assert!(text.contains("for 120 hours"), "{text}");
}

#[tokio::test]
async fn recipients_of_one_message_have_fates_of_their_own() {
    let mut world = World::new();
    let id = world
        .accept(&["a@one.example", "b@one.example", "c@one.example"])
        .await;
    let fates = vec![delivered_fate(), deferred_fate(), bounced_fate()];
    world.jobs.next().await.end(report(fates));

    let bounce = world.jobs.next().await;
    let text = world.text(bounce.claim.queue_id).await;
    assert!(
        text.contains("Final-Recipient: rfc822; c@one.example\r\n"),
        "{text}"
    );
    assert!(!text.contains("a@one.example") && !text.contains("b@one.example"));
    assert_eq!(
        bounce.claim.recipients[0].mailbox,
        mailbox("sender@origin.example")
    );
    bounce.end(delivered(1));
    world.until_deferred(1).await;
    world.pass(Duration::from_secs(300));

    let job = world.jobs.next().await;
    assert_eq!(job.claim.queue_id, id);
    let left: Vec<String> = job
        .claim
        .recipients
        .iter()
        .map(|recipient| recipient.mailbox.to_string())
        .collect();
    assert_eq!(left, ["b@one.example"]);
    job.end(delivered(1));
    world.until_empty().await;
}

/// Behaviour rule 34: the way back may be a worse one than the message demanded.
#[tokio::test]
async fn a_bounce_tells_no_more_than_the_message_allows() {
    for (demand, tells) in [(TlsDemand::None, true), (TlsDemand::RequireTls, false)] {
        let mut world = World::new();
        let mut envelope = envelope("sender@origin.example", &["a@one.example"]);
        envelope.tls_demand = demand;
        world.accept_envelope(envelope).await;
        world.jobs.next().await.end(report(vec![bounced_fate()]));
        let bounce = world.jobs.next().await;
        let text = world.text(bounce.claim.queue_id).await;
        assert!(text.contains("m1@origin.example"), "{text}");
        assert_eq!(text.contains("secret plans"), tells, "{text}");
    }
}

#[tokio::test]
async fn two_domains_of_one_message_go_their_own_ways() {
    let mut world = World::new();
    world.accept(&["a@one.example", "b@two.example"]).await;
    for _ in 0..2 {
        let job = world.jobs.next().await;
        assert_eq!(job.claim.recipients.len(), 1);
        let end = match job.claim.next_hop.to_string().as_str() {
            "one.example" => deferred(1),
            _ => delivered(1),
        };
        job.end(end);
    }
    let lines = world.until(|lines| lines.len() == 1).await;
    assert_eq!(lines[0].next_hop.to_string(), "one.example");
    world.until_deferred(1).await;
}

#[tokio::test]
async fn a_bounce_of_a_bounce_is_dropped() {
    let mut world = World::new();
    world
        .accept_envelope(envelope("", &["a@one.example"]))
        .await;
    world.jobs.next().await.end(report(vec![bounced_fate()]));
    world.until_empty().await;
    assert!(world.jobs.is_idle());
}

/// The bounce and what it retires are one: whatever the store does, there is exactly one bounce.
#[tokio::test]
async fn a_failing_store_neither_loses_nor_doubles_a_bounce() {
    for faults in [
        vec![Fault::Fails],
        vec![Fault::FailsButPersists],
        vec![Fault::Fails, Fault::Fails],
        vec![Fault::FailsButPersists, Fault::Fails],
    ] {
        let mut world = World::new();
        *world.faulty.finish.lock().unwrap() = faults.clone();
        world.accept(&["a@one.example"]).await;
        world.jobs.next().await.end(report(vec![bounced_fate()]));
        let bounce = world.jobs.next().await;
        assert_eq!(
            bounce.claim.next_hop.to_string(),
            "origin.example",
            "{faults:?}"
        );
        bounce.end(delivered(1));
        world.until_empty().await;
        assert!(world.jobs.is_idle(), "{faults:?}");
    }
}

#[tokio::test]
async fn no_more_is_in_progress_than_there_is_room_for() {
    let mut world = World::with(|config| {
        config.deliveries_max = 3;
        config.deliveries_per_next_hop_max = 2;
        config.slow_deliveries_max = 0;
    });
    world.until_live(|live| live.loading == Loading::Done).await;
    let waiting = [
        world.accept_quietly("a@busy.example").await,
        world.accept_quietly("a@busy.example").await,
        world.accept_quietly("a@busy.example").await,
        world.accept_quietly("a@busy.example").await,
        world.accept_quietly("b@other.example").await,
        world.accept_quietly("c@third.example").await,
    ];
    waiting.into_iter().for_each(|one| world.inlet.accept(one));
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(world.jobs.next().await);
    }
    // Each next hop has its turn before one has a second.
    assert_eq!(
        hops(&jobs),
        ["busy.example", "other.example", "third.example"]
    );
    assert!(world.jobs.is_idle());

    for _ in 0..2 {
        jobs.remove(1).end(delivered(1));
        jobs.insert(1, world.jobs.next().await);
        jobs.sort_by_key(|job| job.claim.next_hop.to_string());
    }
    assert_eq!(
        hops(&jobs),
        ["busy.example", "busy.example", "third.example"]
    );
    jobs.remove(2).end(delivered(1));
    // There is a place, but not for the busy one.
    world.until_live(|live| live.counts.in_progress == 2).await;
    assert!(world.jobs.is_idle());
    jobs.remove(0).end(delivered(1));
    assert_eq!(hops(&[world.jobs.next().await]), ["busy.example"]);
    assert!(world.jobs.is_idle());
}

#[tokio::test]
async fn what_is_reconfigured_counts_for_what_begins_and_ends_then() {
    let mut world = World::with(|config| {
        config.deliveries_max = 1;
        config.slow_deliveries_max = 0;
    });
    world.accept(&["a@one.example"]).await;
    world.accept(&["b@two.example"]).await;
    let first = world.jobs.next().await;
    world.until_live(|live| live.counts.waiting == 1).await;
    assert!(world.jobs.is_idle());

    let soon = Duration::from_secs(7);
    world.reconfigure(|config| {
        config.deliveries_max = 2;
        config.retry.wait_min = soon;
    });
    let second = world.jobs.next().await;
    second.end(deferred(1));
    let deferred = world.until_deferred(1).await;
    assert_eq!(deferred.next_attempt_at, Some(START + soon));

    world.reconfigure(|config| config.deliveries_max = 1);
    world.accept(&["c@three.example"]).await;
    world.until_live(|live| live.counts.waiting == 1).await;
    assert!(world.jobs.is_idle());
    first.end(delivered(1));
    assert_eq!(hops(&[world.jobs.next().await]), ["three.example"]);
}

#[tokio::test]
async fn retries_leave_room_for_first_attempts() {
    let mut world = World::with(|config| {
        config.deliveries_max = 8;
        config.slow_deliveries_max = 0;
    });
    for number in 0..10 {
        world.accept(&[&format!("a@dead{number}.example")]).await;
        world.jobs.next().await.end(deferred(1));
        world
            .until(|lines| lines.iter().all(|line| line.attempts == 1))
            .await;
    }
    world.pass(Duration::from_secs(300));
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(world.jobs.next().await);
    }
    assert!(jobs.iter().all(|job| job.claim.attempt == 2));
    for name in ["alive", "lively"] {
        world.accept(&[&format!("b@{name}.example")]).await;
        let job = world.jobs.next().await;
        assert_eq!(job.claim.next_hop.to_string(), format!("{name}.example"));
        jobs.push(job);
    }
    world.until_live(|live| live.counts.waiting == 6).await;
    assert!(world.jobs.is_idle());
}

#[tokio::test]
async fn slow_attempts_make_room_up_to_a_bound() {
    let mut world = World::with(|config| {
        config.deliveries_max = 2;
        config.slow_deliveries_max = 3;
        config.slow_after = Duration::ZERO;
    });
    for number in 0..6 {
        world.accept(&[&format!("a@dead{number}.example")]).await;
    }
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(world.jobs.next().await);
    }
    let live = world.live().await;
    assert_eq!((live.counts.deliveries, live.counts.in_progress), (6, 5));
    assert_eq!(live.active.len(), 5);
    assert!(world.jobs.is_idle());
    slow.remove(0).end(delivered(1));
    world.jobs.next().await;
}

#[tokio::test]
async fn a_next_hop_whose_hosts_are_silent_is_left_alone_for_a_while() {
    let mut world = World::new();
    for _ in 0..5 {
        world.accept(&["a@silent.example"]).await;
    }
    let first = [world.jobs.next().await, world.jobs.next().await];
    first.into_iter().for_each(|job| job.end(silent(1)));
    let live = world
        .until_live(|live| live.counts.deferred == 2 && live.counts.waiting == 3)
        .await;
    let lane = &live.lanes[0];
    assert!(lane.closed_until.is_some_and(|until| until > world.now()));
    assert_eq!(lane.trouble.as_deref(), Some("450 4.2.0 greylisted"));
    assert!(world.jobs.is_idle());

    // Then one is tried, and once a host has answered the others follow.
    world.pass(Duration::from_secs(67));
    let probe = world.jobs.next().await;
    assert_eq!(probe.claim.attempt, 1);
    world.until_live(|live| live.counts.in_progress == 1).await;
    assert!(world.jobs.is_idle());
    probe.end(delivered(1));
    for _ in 0..2 {
        world.jobs.next().await.end(delivered(1));
    }
}

#[tokio::test]
async fn what_waits_for_a_silent_next_hop_goes_back_at_the_end_of_its_time() {
    let mut world = World::with(|config| config.delay_warning = None);
    for _ in 0..5 {
        world.accept(&["a@silent.example"]).await;
    }
    let first = [world.jobs.next().await, world.jobs.next().await];
    first.into_iter().for_each(|job| job.end(silent(1)));
    // Another one is tried once in a while; the last one is not.
    for (deferred, wait) in [(2, 70), (3, 140)] {
        let settled = |live: &Live| live.counts.deferred == deferred && live.recording == 0;
        world.until_live(settled).await;
        world.pass(Duration::from_secs(wait));
        world.jobs.next().await.end(silent(1));
    }
    world.until_live(|live| live.counts.deferred == 4).await;
    world.pass(LIFETIME);
    let mut bounced = 0;
    while bounced < 5 {
        let job = world.jobs.next().await;
        if job.claim.next_hop.to_string() == "origin.example" {
            bounced += 1;
            job.end(delivered(1));
        } else {
            job.end(silent(1));
        }
    }
    world.until_empty().await;
}

#[tokio::test]
async fn a_sender_is_told_once_that_a_message_takes_long() {
    let mut world = World::new();
    world.accept(&["a@one.example", "b@one.example"]).await;
    let mut attempts = 0;
    let warning = loop {
        let job = world.jobs.next().await;
        if job.claim.next_hop.to_string() == "origin.example" {
            break job;
        }
        attempts += 1;
        job.end(deferred(2));
        let line = world.until_deferred(attempts).await;
        world.pass(line.next_attempt_at.unwrap().since(world.now()));
    };
    // 5, 10, 20, 40, 80, 160 minutes: the seventh attempt is the first past four hours.
    assert_eq!(attempts, 7);
    assert_eq!(warning.claim.envelope.reverse_path, ReversePath::Null);
    let text = world.text(warning.claim.queue_id).await;
    let facts = "Final-Recipient: rfc822; b@one.example\r\nAction: delayed\r\nStatus: 4.2.0\r\n";
    assert!(text.contains(facts), "{text}");
    assert!(text.contains("Will-Retry-Until: "), "{text}");
    warning.end(deferred(1));

    // Neither again, also by the next daemon, nor about the warning itself.
    let mut world = world.restart().await;
    for _ in 0..6 {
        world.pass(Duration::from_secs(6 * 3_600));
        for _ in 0..2 {
            let job = world.jobs.next().await;
            let recipients = job.claim.recipients.len();
            job.end(deferred(recipients));
        }
        world.until_live(|live| live.counts.deferred == 2).await;
    }
    assert_eq!(world.lines().await.len(), 2);
}

/// Whenever it is tried next: a lane without hosts that answer lets it through then.
#[tokio::test]
async fn the_time_of_a_warning_is_known_after_a_restart() {
    let world = World::new();
    world.accept(&["a@one.example"]).await;
    let page = world.store.waiting(None, 1).await.unwrap();
    let waiting = page.waiting.into_iter().next().unwrap();
    let arrival = waiting.queue_id.arrived_at();
    let config = QueueConfig::default();
    let warn_at = arrival + config.delay_warning.unwrap();
    let null = SenderKey::of(&ReversePath::Null);
    for hours in [1, 5] {
        let due_at = arrival + Duration::from_secs(hours * 3_600);
        let unsent = Waiting {
            due_at,
            ..waiting.clone()
        };
        assert_eq!(config.deadline_of_waiting(&unsent), warn_at);
        let bounce = Waiting {
            sender: null,
            ..unsent.clone()
        };
        let sent = Waiting {
            delay_warning: DelayWarning::Sent,
            ..unsent
        };
        for waiting in [bounce, sent] {
            assert_eq!(config.deadline_of_waiting(&waiting), waiting.expires_at);
        }
    }
}

#[tokio::test]
async fn nobody_is_warned_where_warnings_are_off() {
    let mut world = World::with(|config| config.delay_warning = None);
    world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    world.pass(LIFETIME / 2);
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(2).await;
    assert_eq!(world.lines().await.len(), 1);
}

#[tokio::test]
async fn a_first_attempt_has_the_message_in_memory_as_far_as_there_is_room() {
    let mut world = World::with(|config| config.handover_octets_max = 2_100);
    let mut given = Vec::new();
    for _ in 0..3 {
        world.accept(&["a@one.example"]).await;
        given.push(world.live().await.handed_over_octets);
    }
    assert!(
        given[0] > 0 && given[1] == given[0] * 2 && given[2] == given[1],
        "{given:?}"
    );
    let mut in_memory = Vec::new();
    world.pass(Duration::ZERO);
    let mut jobs = vec![world.jobs.next().await, world.jobs.next().await];
    in_memory.extend(jobs.iter().map(|job| job.claim.queue_id));
    jobs.remove(0).end(delivered(1));
    let third = world.jobs.next().await;
    assert!(!in_memory.contains(&third.claim.queue_id));
    third.end(delivered(1));
    jobs.remove(0).end(delivered(1));
    world.until_empty().await;
    world.until_live(|live| live.handed_over_octets == 0).await;
}

/// A part of the memory is for mail to hosts that answer, whatever waits for those that do not.
#[tokio::test]
async fn what_waits_for_silent_hosts_takes_no_memory_from_other_mail() {
    let octets = octets_of_one_message().await;
    let mut world = World::with(|config| config.handover_octets_max = 8 * octets);
    world.accept(&["a@living.example"]).await;
    world.jobs.next().await.end(delivered(1));
    world.until_live(|live| live.totals.delivered == 1).await;
    for _ in 0..20 {
        world.accept(&["a@silent.example"]).await;
        world.live().await;
    }
    let tried = [world.jobs.next().await, world.jobs.next().await];
    check_fast_path(&mut world).await;

    // What gave its memory back is none the worse for it.
    tried.into_iter().for_each(|job| job.end(delivered(1)));
    for _ in 0..18 {
        let job = world.jobs.next().await;
        assert!(job.body.is_some());
        job.end(delivered(1));
    }
    world.until_empty().await;
    world.until_live(|live| live.handed_over_octets == 0).await;
}

#[tokio::test]
async fn what_is_tried_at_hosts_that_may_not_answer_takes_no_memory_from_other_mail() {
    let octets = octets_of_one_message().await;
    let mut world = World::with(|config| config.handover_octets_max = 4 * octets);
    world.accept(&["a@living.example"]).await;
    world.jobs.next().await.end(delivered(1));
    world.until_live(|live| live.totals.delivered == 1).await;
    let mut tried = Vec::new();
    for number in 0..6 {
        world.accept(&[&format!("a@new{number}.example")]).await;
        tried.push(world.jobs.next().await);
    }
    let in_memory: Vec<bool> = tried.iter().map(|job| job.body.is_some()).collect();
    assert_eq!(in_memory, [true, true, true, false, false, false]);
    check_fast_path(&mut world).await;
    tried.into_iter().for_each(|job| job.end(delivered(1)));
    world.until_empty().await;
}

#[tokio::test]
async fn what_was_delivered_and_put_off_and_given_up_is_counted() {
    let mut world = World::new();
    world
        .accept(&["a@one.example", "b@one.example", "c@one.example"])
        .await;
    let fates = vec![delivered_fate(), deferred_fate(), bounced_fate()];
    world.jobs.next().await.end(report(fates));
    world.jobs.next().await.end(delivered(1));
    let live = world.until_live(|live| live.totals.delivered == 2).await;
    let totals = live.totals;
    assert_eq!((totals.accepted, totals.attempts), (2, 2));
    assert_eq!((totals.deferred, totals.bounced), (1, 1));
}

#[tokio::test]
async fn the_floor_goes_along_to_every_later_attempt() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    let job = world.jobs.next().await;
    assert_eq!(job.claim.floor, None);
    job.end(Report {
        floor: Some(Strength::Dane),
        ..deferred(1)
    });
    world.until_deferred(1).await;
    let mut world = world.restart().await;
    world.pass(Duration::from_secs(300));
    assert_eq!(world.jobs.next().await.claim.floor, Some(Strength::Dane));
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_daemon_ended() {
    let mut world = World::new();
    let id = world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    world.pass(Duration::from_secs(300));
    let _lost = world.jobs.next().await;
    let mut world = world.restart().await;
    let job = world.jobs.next().await;
    assert_eq!((job.claim.queue_id, job.claim.attempt), (id, 2));
    job.end(delivered(1));
    world.until_empty().await;
}

#[tokio::test]
async fn changes_by_people_are_noticed() {
    let mut world = World::new();
    let id = world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    let filter = Filter {
        ids: vec![id],
        ..Filter::default()
    };

    let due = world
        .store
        .retry(filter.clone(), world.now(), |due| world.handle.due(due));
    assert_eq!(due.await, Ok(1));
    let job = world.jobs.next().await;
    assert_eq!(job.claim.attempt, 2);
    // A hold that comes while an attempt is made counts once it has failed.
    let held = world
        .store
        .hold(filter.clone(), |held| world.handle.withdrawn(held));
    assert_eq!(held.await, Ok(1));
    job.end(deferred(1));
    world
        .until(|lines| lines.iter().all(|line| line.attempts == 2))
        .await;
    world.until_live(|live| live.counts.deliveries == 0).await;
    assert_eq!(world.lines().await[0].state, DeliveryState::Hold);
    world.pass(LIFETIME / 2);
    world.accept(&["b@two.example"]).await;
    world.jobs.next().await.end(delivered(1));
    assert!(world.jobs.is_idle());

    let due = world
        .store
        .release(filter.clone(), world.now(), |due| world.handle.due(due));
    assert_eq!(due.await, Ok(1));
    let job = world.jobs.next().await;
    assert_eq!(job.claim.attempt, 3);
    let removed = world
        .store
        .remove(filter, |removed| world.handle.withdrawn(removed));
    assert_eq!(removed.await, Ok(1));
    job.end(deferred(1));
    world.until_empty().await;
}

/// Whatever order the queue hears of things in: what is on disk counts.
#[tokio::test]
async fn what_was_held_or_removed_is_not_tried_even_if_nobody_says_so() {
    let mut world = World::new();
    let id = world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    let filter = Filter {
        ids: vec![id],
        ..Filter::default()
    };
    world.store.hold(filter, |_| {}).await.unwrap();
    world.pass(Duration::from_secs(300));
    world.until_live(|live| live.counts.deliveries == 0).await;
    assert!(world.jobs.is_idle());
}

#[tokio::test]
async fn a_shutdown_lets_attempts_end() {
    // With room for one, the second cannot have been begun before the end was known.
    let mut world = World::with(|config| {
        config.deliveries_max = 1;
        config.slow_deliveries_max = 0;
    });
    world.accept(&["a@one.example"]).await;
    let job = world.jobs.next().await;
    world.stop.take().unwrap().send(()).unwrap();
    world.accept(&["b@two.example"]).await;
    job.end(delivered(1));
    time::timeout(PATIENCE, &mut world.queue)
        .await
        .unwrap()
        .unwrap();
    // The one that came later waits for the next daemon.
    let lines = world.lines().await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].state, DeliveryState::Incoming);
}

#[tokio::test]
async fn a_shutdown_breaks_off_what_does_not_end() {
    let mut world = World::with(|config| {
        config.shutdown_wait_max = Duration::from_millis(10);
    });
    world.accept(&["a@one.example"]).await;
    let _endless = world.jobs.next().await;
    world.stop.take().unwrap().send(()).unwrap();
    time::timeout(PATIENCE, &mut world.queue)
        .await
        .unwrap()
        .unwrap();
    let lines = world.lines().await;
    assert_eq!(lines[0].state, DeliveryState::Incoming);
    let mut world = world.restart().await;
    assert_eq!(world.jobs.next().await.claim.attempt, 1);
}

#[tokio::test]
async fn an_attempt_that_panics_is_made_again_after_growing_waits() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    for minutes in [5, 10, 20] {
        world.jobs.next().await.panic();
        let settled = |live: &Live| live.counts.deferred == 1 && live.recording == 0;
        let live = world.until_live(settled).await;
        assert_eq!(live.counts.in_progress, 0);
        world.pass(Duration::from_secs(minutes * 60 - 1));
        // Once this one is tried, the other one has been passed over.
        world.accept(&["b@two.example"]).await;
        let other = world.jobs.next().await;
        assert_eq!(other.claim.next_hop.to_string(), "two.example");
        assert!(world.jobs.is_idle());
        other.end(delivered(1));
        world.pass(Duration::from_secs(1));
    }
    // One that came to something begins anew.
    let job = world.jobs.next().await;
    assert_eq!(job.claim.attempt, 1);
    job.end(deferred(1));
    world.until_deferred(1).await;
    world.pass(Duration::from_secs(300));
    world.jobs.next().await.panic();
    world.until_live(|live| live.counts.deferred == 1).await;
    world.pass(Duration::from_secs(300));
    assert_eq!(world.jobs.next().await.claim.attempt, 2);
}

#[tokio::test]
async fn what_is_deferred_comes_back_even_if_the_store_said_that_it_failed() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    *world.faulty.finish.lock().unwrap() = vec![Fault::FailsButPersists];
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    let settled = |live: &Live| live.recording == 0 && live.counts.in_progress == 0;
    world.until_live(settled).await;
    world.pass(Duration::from_secs(300));
    assert_eq!(world.jobs.next().await.claim.attempt, 2);
}

/// While the store does not take what came of one attempt, no other is begun, and nothing is lost.
#[tokio::test]
async fn a_failing_store_holds_back_new_attempts() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    let job = world.jobs.next().await;
    *world.faulty.finish.lock().unwrap() = vec![Fault::Fails; 6];
    job.end(deferred(1));
    world
        .until_live(|live| failing(live) && live.recording == 1)
        .await;
    world.accept(&["b@two.example"]).await;
    world.until_live(|live| live.counts.deliveries == 2).await;
    assert!(world.jobs.is_idle());
    let job = world.jobs.next().await;
    assert!(world.faulty.finish.lock().unwrap().is_empty());
    assert_eq!(hops(&[job]), ["two.example"]);
    world.until_deferred(1).await;
}

#[tokio::test]
async fn a_store_that_cannot_be_read_for_a_while_loses_nothing() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    *world.faulty.claim.lock().unwrap() = vec![StoreError::Busy, StoreError::Full];
    world.pass(Duration::from_secs(300));
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(2).await;

    world.start_faults = vec![StoreError::Busy, StoreError::Io(String::from("broken"))];
    let mut world = world.restart().await;
    world.pass(Duration::from_secs(3_600));
    world.jobs.next().await.end(delivered(1));
    world.until_empty().await;
}

/// Else what was delivered would go again after the next start.
#[tokio::test]
async fn what_was_delivered_is_recorded_however_the_store_fails() {
    let errors = [
        StoreError::Refused(String::from("no")),
        StoreError::Unreadable(String::from("a block")),
        StoreError::Attached,
    ];
    for error in errors {
        let mut world = World::with(|config| config.store_wait_max = Duration::ZERO);
        world.accept(&["a@one.example"]).await;
        *world.faulty.finish.lock().unwrap() = vec![Fault::Is(error); 5];
        world.jobs.next().await.end(delivered(1));
        // It stays so for as long as that takes.
        world.until_live(failing).await;
        world.until_empty().await;
        world
            .until_live(|live| live.store == StoreHealth::Working)
            .await;
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_as_it_is_damaged_is_put_aside() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    let damaged = StoreError::Damaged(String::from("bits"));
    *world.faulty.finish.lock().unwrap() = vec![Fault::Is(damaged)];
    world.jobs.next().await.end(delivered(1));
    let is_aside = |line: &Listed| line.state == DeliveryState::Corrupt;
    let lines = world.until(|lines| lines.iter().all(is_aside)).await;
    assert_eq!(lines[0].last_reason.as_deref(), Some("bits"));
    world.until_live(|live| live.counts.deliveries == 0).await;
    let world = world.restart().await;
    let live = world.until_live(|live| live.loading == Loading::Done).await;
    assert_eq!(live.counts.deliveries, 0);
}

#[tokio::test]
async fn nothing_is_begun_once_the_store_has_ended() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    *world.faulty.finish.lock().unwrap() = vec![Fault::Is(StoreError::Closed)];
    world.jobs.next().await.end(delivered(1));
    let settled = |live: &Live| live.counts.deliveries == 0 && live.recording == 0;
    let live = world.until_live(settled).await;
    assert_eq!(live.store, StoreHealth::Failing);
    world.accept(&["b@two.example"]).await;
    world.until_live(|live| live.counts.waiting == 1).await;
    assert!(world.jobs.is_idle());
}

#[tokio::test]
async fn what_cannot_be_read_holds_up_others_once_and_not_for_long() {
    let mut world = World::with(|config| config.store_wait_max = Duration::from_millis(300));
    world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;
    let broken = || StoreError::Io(String::from("a block"));
    *world.faulty.claim.lock().unwrap() = vec![broken(); 1_000];
    world.pass(Duration::from_secs(300));
    world.until_live(failing).await;
    world.accept(&["b@two.example"]).await;
    let other = world.jobs.next().await;
    assert_eq!(other.claim.next_hop.to_string(), "two.example");
    other.end(delivered(1));
    for minutes in [5, 10] {
        world.until_live(|live| live.counts.deferred == 1).await;
        *world.faulty.claim.lock().unwrap() = vec![broken()];
        world.pass(Duration::from_secs(minutes * 60));
    }
    world.until_live(|live| live.counts.deferred == 1).await;
    world.pass(Duration::from_secs(20 * 60));
    assert_eq!(world.jobs.next().await.claim.attempt, 2);
}

#[tokio::test]
async fn what_comes_in_is_sent_while_what_waits_cannot_be_read() {
    let mut world = World::with(|config| config.store_wait_max = Duration::from_millis(300));
    world.accept_quietly("a@one.example").await;
    world.start_faults = vec![StoreError::Io(String::from("a block")); 1_000];
    let mut world = world.restart().await;
    world.until_live(failing).await;
    world.accept(&["b@two.example"]).await;
    assert_eq!(hops(&[world.jobs.next().await]), ["two.example"]);
    world.faulty.waiting.lock().unwrap().clear();
    assert_eq!(hops(&[world.jobs.next().await]), ["one.example"]);
}

/// What can be read of the header goes along, and the rest does not hold up the bounce.
#[tokio::test]
async fn a_bounce_does_without_what_cannot_be_read() {
    let cases = [
        (0, StoreError::Damaged(String::from("bits"))),
        (1, StoreError::Damaged(String::from("bits"))),
        (1, StoreError::Unreadable(String::from("a block"))),
        (1, StoreError::Io(String::from("a block"))),
    ];
    for broken in cases {
        let mut world = World::with(|config| {
            config.handover_octets_max = 0;
            config.store_wait_max = Duration::from_millis(30);
        });
        *world.faulty.piece.lock().unwrap() = Some(broken.clone());
        let header = format!("Subject: early\r\n{}", "Filler: long\r\n".repeat(6_000));
        let octets = format!("{header}\r\nbody\r\n");
        let envelope = envelope("sender@origin.example", &["a@one.example"]);
        let accepted = accept_octets(&world.store, octets.as_bytes(), envelope, START).await;
        world.inlet.accept(accepted);
        world.jobs.next().await.end(report(vec![bounced_fate()]));
        let bounce = world.jobs.next().await;
        let text = world.text(bounce.claim.queue_id).await;
        assert!(
            text.contains("550 5.1.1 no such user"),
            "{broken:?}: {text}"
        );
        assert_eq!(text.contains("Subject: early"), broken.0 > 0, "{broken:?}");
    }
}

/// Word of it may come after it was read from the disk, delivered and forgotten.
#[tokio::test]
async fn what_is_accepted_after_the_start_is_not_read_from_the_disk_as_well() {
    let mut world = World::new();
    world.accept_quietly("a@one.example").await;
    world.start_faults = vec![StoreError::Busy; 4];
    let mut world = world.restart().await;
    let late = world.accept_quietly("b@two.example").await;
    world.until_live(|live| live.loading == Loading::Done).await;
    let job = world.jobs.next().await;
    assert_eq!(job.claim.next_hop.to_string(), "one.example");
    job.end(delivered(1));
    world.until_live(|live| live.counts.deliveries == 0).await;
    assert!(world.jobs.is_idle());
    world.inlet.accept(late);
    assert_eq!(hops(&[world.jobs.next().await]), ["two.example"]);
}

/// An operator may be quicker than word of what was accepted.
#[tokio::test]
async fn what_was_withdrawn_before_it_was_known_is_not_sent() {
    let mut world = World::new();
    let accepted = world.accept_quietly("a@one.example").await;
    let filter = Filter {
        ids: vec![accepted.queue_id],
        ..Filter::default()
    };
    let held = world
        .store
        .hold(filter.clone(), |held| world.handle.withdrawn(held));
    assert_eq!(held.await, Ok(1));
    world.inlet.accept(accepted);
    world.accept(&["b@two.example"]).await;
    let other = world.jobs.next().await;
    assert_eq!(other.claim.next_hop.to_string(), "two.example");
    other.end(delivered(1));
    world.until_live(|live| live.counts.deliveries == 0).await;
    assert!(world.jobs.is_idle());
    // Released, it goes.
    let due = world
        .store
        .release(filter, world.now(), |due| world.handle.due(due));
    assert_eq!(due.await, Ok(1));
    assert_eq!(hops(&[world.jobs.next().await]), ["one.example"]);
}

#[tokio::test]
async fn all_that_waits_is_known_after_a_start() {
    let world = World::new();
    for number in 0..30 {
        world
            .accept_quietly(&format!("a@domain{number}.example"))
            .await;
    }
    let mut world = world.restart().await;
    let mut seen = Vec::new();
    for _ in 0..30 {
        let job = world.jobs.next().await;
        assert!(job.body.is_some());
        seen.push(job.claim.queue_id);
        job.end(delivered(1));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 30);
    world.until_empty().await;
}

#[tokio::test]
async fn a_damaged_message_is_put_aside_and_the_rest_goes_on() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    *world.faulty.mark_corrupt.lock().unwrap() = vec![StoreError::Busy];
    world.jobs.next().await.end(Report {
        content: Content::Damaged,
        ..deferred(1)
    });
    let lines = world
        .until(|lines| {
            lines
                .iter()
                .all(|line| line.state == DeliveryState::Corrupt)
        })
        .await;
    let reason = lines[0].last_reason.as_deref();
    assert_eq!(reason, Some("the message does not match its checksum"));
    world.accept(&["b@two.example"]).await;
    assert_eq!(hops(&[world.jobs.next().await]), ["two.example"]);
}

/// A queue at work.
struct World {
    store: Arc<SqliteStore>,
    faulty: Arc<FaultySpool>,
    directory: TempDir,
    clock: Arc<TestClock>,
    inlet: Inlet,
    handle: QueueHandle,
    settings: Arc<Current<QueueConfig>>,
    jobs: Jobs,
    stop: Option<oneshot::Sender<()>>,
    queue: JoinHandle<()>,
    /// What goes wrong when the next daemon reads what waits.
    start_faults: Vec<StoreError>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut QueueConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        let (store, directory) = new_store();
        let faulty = FaultySpool::new(Arc::clone(&store));
        Self::start(store, faulty, directory, Arc::new(TestClock::new()), config)
    }

    fn start(
        store: Arc<SqliteStore>,
        faulty: FaultySpool,
        directory: TempDir,
        clock: Arc<TestClock>,
        config: QueueConfig,
    ) -> Self {
        let (deliver, jobs) = TestDeliver::new();
        let faulty = Arc::new(faulty);
        let (inlet, outlet) = Inlet::new(config.handover_octets_max);
        let settings = Arc::new(Current::new(config));
        let queue = Queue::new(QueueParts {
            spool: Arc::clone(&faulty),
            deliver: Arc::new(deliver),
            bouncer: Bouncer {
                spool: Arc::clone(&faulty),
                hostname: "relay.example".parse().unwrap(),
                route: Arc::default(),
                queue: Arc::clone(&settings),
            },
            clock: Arc::clone(&clock),
            config: Arc::clone(&settings),
            inlet: inlet.clone(),
        });
        let (stop, stopped) = oneshot::channel();
        let queue = tokio::spawn(queue.run(outlet, async {
            _ = stopped.await;
        }));
        Self {
            store,
            settings,
            faulty,
            directory,
            clock,
            handle: QueueHandle::new(inlet.clone()),
            inlet,
            jobs,
            stop: Some(stop),
            queue,
            start_faults: Vec::new(),
        }
    }

    /// Lets the queue go by another configuration.
    fn reconfigure(&self, change: impl FnOnce(&mut QueueConfig)) {
        let mut config = QueueConfig::clone(&self.settings.get());
        change(&mut config);
        self.settings.replace(config);
        self.handle.reconfigured();
    }

    /// Kills this daemon and starts another one.
    async fn restart(self) -> Self {
        if !self.queue.is_finished() {
            self.queue.abort();
            _ = self.queue.await;
        }
        let faulty = FaultySpool::new(Arc::clone(&self.store));
        *faulty.waiting.lock().unwrap() = self.start_faults;
        let config = QueueConfig::clone(&self.settings.get());
        Self::start(self.store, faulty, self.directory, self.clock, config)
    }

    async fn accept(&self, recipients: &[&str]) -> QueueId {
        self.accept_envelope(envelope("sender@origin.example", recipients))
            .await
    }

    async fn accept_envelope(&self, envelope: Envelope) -> QueueId {
        let accepted = accept(&self.store, envelope, self.now()).await;
        let id = accepted.queue_id;
        self.inlet.accept(accepted);
        id
    }

    /// Makes a message durable, and does not tell the queue.
    async fn accept_quietly(&self, recipient: &str) -> Accepted {
        let envelope = envelope("sender@origin.example", &[recipient]);
        accept(&self.store, envelope, self.now()).await
    }

    async fn live(&self) -> Live {
        self.handle.live(10).await.unwrap()
    }

    /// Waits until the queue looks like this from inside.
    async fn until_live(&self, wanted: impl Fn(&Live) -> bool) -> Live {
        let looking = async {
            loop {
                let live = self.live().await;
                if wanted(&live) {
                    return live;
                }
                time::sleep(Duration::from_millis(2)).await;
            }
        };
        let found = time::timeout(PATIENCE, looking).await;
        found.expect("the queue never looked as it should")
    }

    fn now(&self) -> UnixTime {
        byrnie_net::clock::Clock::now(self.clock.as_ref())
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn lines(&self) -> Vec<Listed> {
        self.store.list(Filter::default()).await.unwrap()
    }

    /// Waits until the queue looks like this.
    async fn until(&self, wanted: impl Fn(&[Listed]) -> bool) -> Vec<Listed> {
        let looking = async {
            loop {
                let lines = self.lines().await;
                if wanted(&lines) {
                    return lines;
                }
                time::sleep(Duration::from_millis(2)).await;
            }
        };
        let found = time::timeout(PATIENCE, looking).await;
        found.expect("the queue never looked as it should")
    }

    async fn until_empty(&self) {
        self.until(<[Listed]>::is_empty).await;
    }

    /// Waits until a delivery has so many attempts behind it and waits.
    async fn until_deferred(&self, attempts: u32) -> Listed {
        let is_it =
            |line: &Listed| line.attempts == attempts && line.state == DeliveryState::Deferred;
        let lines = self.until(|lines| lines.iter().any(is_it)).await;
        lines.into_iter().find(is_it).unwrap()
    }

    /// The text of a message.
    async fn text(&self, id: QueueId) -> String {
        let octets = self.store.piece(id, 0).await.unwrap().unwrap();
        String::from_utf8(octets).unwrap()
    }
}

/// About how much memory a message to one recipient takes.
async fn octets_of_one_message() -> u64 {
    let world = World::new();
    world.accept(&["a@one.example"]).await;
    world.live().await.handed_over_octets
}

/// Mail to a host that is known to answer is delivered without being read back.
async fn check_fast_path(world: &mut World) {
    *world.faulty.claim.lock().unwrap() = vec![StoreError::Busy];
    world.accept(&["b@living.example"]).await;
    let job = world.jobs.next().await;
    assert_eq!(job.claim.next_hop.to_string(), "living.example");
    assert_eq!(world.faulty.claim.lock().unwrap().drain(..).len(), 1);
    job.end(delivered(1));
}

fn failing(live: &Live) -> bool {
    live.store == StoreHealth::Failing
}

fn hops(jobs: &[Job]) -> Vec<String> {
    let mut hops: Vec<String> = jobs
        .iter()
        .map(|job| job.claim.next_hop.to_string())
        .collect();
    hops.sort();
    hops
}

fn report(fates: Vec<Fate>) -> Report {
    Report {
        fates,
        floor: None,
        receipts: vec![],
        answer: Answer::Answered,
        content: Content::Intact,
    }
}

/// Times for tests: without chance, and the clock is looked at often.
fn config() -> QueueConfig {
    QueueConfig {
        retry: RetrySchedule {
            jitter: 0.0,
            ..RetrySchedule::default()
        },
        poll_interval: Duration::from_millis(10),
        ..QueueConfig::default()
    }
}

fn silent(recipients: usize) -> Report {
    Report {
        answer: Answer::Silent,
        ..deferred(recipients)
    }
}

fn delivered(recipients: usize) -> Report {
    report(vec![delivered_fate(); recipients])
}

fn deferred(recipients: usize) -> Report {
    report(vec![deferred_fate(); recipients])
}

fn delivered_fate() -> Fate {
    Fate::Delivered(reply("250 2.0.0 ok"))
}

fn deferred_fate() -> Fate {
    Fate::Deferred(trouble(reply("450 4.2.0 greylisted")))
}

fn bounced_fate() -> Fate {
    Fate::Bounced(trouble(reply("550 5.1.1 no such user")))
}

fn trouble(reply: Reply) -> Trouble {
    Trouble {
        reply,
        host: Some("mx.example".parse().unwrap()),
    }
}
