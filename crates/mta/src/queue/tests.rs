//! The queue, with a store on disk, a clock that the test moves, and attempts that the test ends.

use std::sync::Arc;
use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_policy::Strength;
use byrnie_smtp::Reply;
use byrnie_smtp::TlsDemand;
use byrnie_store::DeliveryState;
use byrnie_store::ListFilter;
use byrnie_store::Listed;
use byrnie_store::QueueCommands;
use byrnie_store::QueueId;
use byrnie_store::Selection;
use byrnie_store::Spool;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time;

use super::Queue;
use super::QueueConfig;
use super::RetrySchedule;
use crate::bounce::Bouncer;
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
    let mut world = World::new();
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
    world.wake.notify_one();
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
    let mut world = World::new();
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
        accept(&world.store, envelope, START).await;
        world.wake.notify_one();
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
    accept(&world.store, envelope("", &["a@one.example"]), START).await;
    world.wake.notify_one();
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
    });
    for _ in 0..4 {
        world.accept_quietly(&["a@busy.example"]).await;
    }
    world.accept_quietly(&["b@other.example"]).await;
    world.accept_quietly(&["c@third.example"]).await;
    world.wake.notify_one();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(world.jobs.next().await);
    }
    assert_eq!(
        hops(&jobs),
        ["busy.example", "busy.example", "other.example"]
    );
    assert!(world.jobs.is_idle());

    // With its place free again, but not that of the busy one, only the third may go.
    jobs.remove(2).end(delivered(1));
    jobs.push(world.jobs.next().await);
    assert_eq!(
        hops(&jobs),
        ["busy.example", "busy.example", "third.example"]
    );
    jobs.remove(2).end(delivered(1));
    jobs.remove(0).end(delivered(1));
    assert_eq!(hops(&[world.jobs.next().await]), ["busy.example"]);
    assert!(world.jobs.is_idle());
}

#[tokio::test]
async fn retries_leave_room_for_first_attempts() {
    let mut world = World::with(|config| config.deliveries_max = 4);
    for number in 0..6 {
        world.accept(&[&format!("a@dead{number}.example")]).await;
        world.jobs.next().await.end(deferred(1));
        world
            .until(|lines| lines.iter().all(|line| line.attempts == 1))
            .await;
    }
    world.pass(Duration::from_secs(300));
    let retries = [world.jobs.next().await, world.jobs.next().await];
    assert!(retries.iter().all(|job| job.claim.attempt == 2));
    for name in ["alive", "lively"] {
        world.accept(&[&format!("b@{name}.example")]).await;
        let job = world.jobs.next().await;
        assert_eq!(hops(&[job]), [format!("{name}.example")]);
    }
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
        world
            .accept_quietly(&[&format!("a@dead{number}.example")])
            .await;
    }
    world.wake.notify_one();
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(world.jobs.next().await);
    }
    let is_active = |line: &&Listed| line.state == DeliveryState::Active;
    let lines = world.until(|lines| lines.len() == 6).await;
    assert_eq!(lines.iter().filter(is_active).count(), 5);
    assert!(world.jobs.is_idle());
    slow.remove(0).end(delivered(1));
    world.jobs.next().await;
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
async fn commands_from_outside_are_noticed() {
    let mut world = World::new();
    let commands =
        SqliteStore::attach(SqliteOptions::in_directory(world.directory.path())).unwrap();
    let id = world.accept(&["a@one.example"]).await;
    world.jobs.next().await.end(deferred(1));
    world.until_deferred(1).await;

    commands
        .retry(Selection::Message(id), world.now())
        .await
        .unwrap();
    let job = world.jobs.next().await;
    assert_eq!(job.claim.attempt, 2);
    // A hold that comes while an attempt is made counts once it has failed.
    commands.hold(Selection::Message(id)).await.unwrap();
    job.end(deferred(1));
    world
        .until(|lines| lines.iter().all(|line| line.state == DeliveryState::Hold))
        .await;
    world.pass(LIFETIME / 2);
    world.accept(&["b@two.example"]).await;
    world.jobs.next().await.end(delivered(1));
    assert!(world.jobs.is_idle());

    commands
        .release(Selection::Message(id), world.now())
        .await
        .unwrap();
    let job = world.jobs.next().await;
    assert_eq!(job.claim.attempt, 3);
    commands.remove(Selection::Message(id)).await.unwrap();
    job.end(deferred(1));
    world.until_empty().await;
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
async fn a_shutdown_gives_back_what_does_not_end() {
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
    assert_eq!(lines[0].next_attempt_at, Some(world.now()));
}

#[tokio::test]
async fn an_attempt_that_panics_is_made_again() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    world.jobs.next().await.panic();
    world
        .until(|lines| {
            lines
                .iter()
                .all(|line| line.state == DeliveryState::Incoming)
        })
        .await;
    world.pass(Duration::from_secs(1));
    assert_eq!(world.jobs.next().await.claim.attempt, 1);
}

#[tokio::test]
async fn a_busy_store_leaves_no_delivery_behind_that_nobody_works_on() {
    let mut world = World::new();
    world.accept(&["a@one.example"]).await;
    let job = world.jobs.next().await;
    *world.faulty.set_back.lock().unwrap() = vec![StoreError::Busy, StoreError::Full];
    job.panic();
    world
        .until(|lines| lines[0].state == DeliveryState::Incoming)
        .await;
    world.pass(Duration::from_secs(1));
    world.jobs.next().await.end(delivered(1));
    world.until_empty().await;

    *world.faulty.damaged.lock().unwrap() = Some(String::from("one octet is off"));
    *world.faulty.set_back.lock().unwrap() = vec![StoreError::Busy];
    world.accept(&["a@one.example"]).await;
    world
        .until(|lines| lines[0].state == DeliveryState::Corrupt)
        .await;
}

#[tokio::test]
async fn a_damaged_message_is_put_aside_and_the_rest_goes_on() {
    let mut world = World::new();
    *world.faulty.damaged.lock().unwrap() = Some(String::from("two bits fell over"));
    world.accept(&["a@one.example"]).await;
    let lines = world
        .until(|lines| {
            lines
                .iter()
                .all(|line| line.state == DeliveryState::Corrupt)
        })
        .await;
    assert_eq!(lines[0].last_reason.as_deref(), Some("two bits fell over"));
    world.accept(&["b@two.example"]).await;
    assert_eq!(
        world.jobs.next().await.claim.next_hop.to_string(),
        "two.example"
    );
}

/// A queue at work.
struct World {
    store: Arc<SqliteStore>,
    faulty: Arc<FaultySpool>,
    directory: TempDir,
    clock: Arc<TestClock>,
    wake: Arc<Notify>,
    jobs: Jobs,
    stop: Option<oneshot::Sender<()>>,
    queue: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut QueueConfig)) -> Self {
        let mut config = QueueConfig {
            retry: RetrySchedule {
                jitter: 0.0,
                ..RetrySchedule::default()
            },
            poll_interval: Duration::from_millis(10),
            ..QueueConfig::default()
        };
        change(&mut config);
        let (store, directory) = new_store();
        Self::start(store, directory, Arc::new(TestClock::new()), config)
    }

    fn start(
        store: Arc<SqliteStore>,
        directory: TempDir,
        clock: Arc<TestClock>,
        config: QueueConfig,
    ) -> Self {
        let (deliver, jobs) = TestDeliver::new();
        let faulty = Arc::new(FaultySpool::new(Arc::clone(&store)));
        let wake = Arc::new(Notify::new());
        let queue = Arc::new(Queue {
            spool: Arc::clone(&faulty),
            deliver: Arc::new(deliver),
            bouncer: Bouncer {
                spool: Arc::clone(&faulty),
                hostname: "relay.example".parse().unwrap(),
                route: Arc::default(),
                lifetime: LIFETIME,
            },
            clock: Arc::clone(&clock),
            config,
            wake: Arc::clone(&wake),
        });
        let (stop, stopped) = oneshot::channel();
        let queue = tokio::spawn(queue.run(async {
            _ = stopped.await;
        }));
        Self {
            store,
            faulty,
            directory,
            clock,
            wake,
            jobs,
            stop: Some(stop),
            queue,
        }
    }

    /// Kills this daemon and starts another one.
    async fn restart(self) -> Self {
        self.queue.abort();
        _ = self.queue.await;
        let config = QueueConfig {
            poll_interval: Duration::from_millis(10),
            ..QueueConfig::default()
        };
        Self::start(self.store, self.directory, self.clock, config)
    }

    async fn accept(&self, recipients: &[&str]) -> QueueId {
        let id = self.accept_quietly(recipients).await;
        self.wake.notify_one();
        id
    }

    async fn accept_quietly(&self, recipients: &[&str]) -> QueueId {
        let envelope = envelope("sender@origin.example", recipients);
        accept(&self.store, envelope, self.now()).await
    }

    fn now(&self) -> UnixTime {
        byrnie_net::clock::Clock::now(self.clock.as_ref())
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.wake.notify_one();
    }

    async fn lines(&self) -> Vec<Listed> {
        self.store.list(ListFilter::default()).await.unwrap()
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
