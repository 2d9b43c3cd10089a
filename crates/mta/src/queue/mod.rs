//! The queue: tries deliveries as they fall due, and keeps what came of them.
//!
//! One task, the [`Queue`], owns the [`Scheduler`](scheduler::Scheduler), which knows everything that
//! waits. It is told of mail that was accepted, of attempts that have ended and of what people changed,
//! and begins attempts, each a task of its own. It never waits for the disk: what is in progress lies
//! in memory alone, and what is on disk is due again after a crash.

mod attempt;
mod failing;
mod handover;
mod inlet;
mod live;
mod memory;
mod outcome;
mod schedule;
pub mod scheduler;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::MailDomain;
use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_smtp::ReversePath;
use byrnie_store::Claim;
use byrnie_store::DelayWarning;
use byrnie_store::DeliveryId;
use byrnie_store::SenderKey;
use byrnie_store::Spool;
use byrnie_store::Waiting;
use byrnie_store::WaitingPage;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time;

use self::attempt::Attempts;
use self::failing::Failing;
use self::handover::HandedOver;
use self::inlet::Event;
use self::inlet::Fresh;
pub(crate) use self::inlet::Inlet;
pub(crate) use self::inlet::Outlet;
use self::inlet::Tally;
use self::inlet::sender_number;
pub use self::live::ACTIVE_SHOWN_MAX;
pub use self::live::Active;
pub use self::live::Live;
pub use self::live::Loading;
pub use self::live::QueueHandle;
pub use self::live::StoreHealth;
pub use self::live::Totals;
use self::memory::Fruitless;
use self::memory::Withdrawn;
pub use self::schedule::RetrySchedule;
use self::scheduler::Bounds;
use self::scheduler::Delivery;
use self::scheduler::Ended;
use self::scheduler::Known;
use self::scheduler::Now;
use self::scheduler::Recorded;
use self::scheduler::Scheduler;
use self::scheduler::Standing;
use self::scheduler::Times;
use self::scheduler::Tried;
use crate::bounce::Bouncer;
use crate::delivery::Deliver;
use crate::events;

/// How the queue works.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// When to try again.
    pub retry: RetrySchedule,
    /// How long to try before a message goes back to its sender. Default 5 days.
    pub lifetime: Duration,
    /// How long a message waits before its sender is told so, once; `None` for never. Default 4 hours.
    pub delay_warning: Option<Duration>,
    /// Deliveries in progress at once, slow ones not counted. Default 200.
    ///
    /// At most half of them are retries, and at most three of four go to next hops of which nobody knows
    /// whether they answer: so new mail to hosts that answer always has places.
    pub deliveries_max: u32,
    /// Slow deliveries in progress at once, shared out likewise; those past it count as the others do.
    /// Default 4,000.
    ///
    /// A slow one mostly waits for a host that does not answer, and costs little. With a time-out of 30
    /// seconds, 100 silent hosts are found out in a second, beside twice as many that answer.
    pub slow_deliveries_max: u32,
    /// How long a delivery is in progress before it is slow. Default 1 second.
    pub slow_after: Duration,
    /// Deliveries in progress at once for one next hop. Default 20.
    ///
    /// There are fewer at first, after 421 replies, and while no host answers.
    pub deliveries_per_next_hop_max: u32,
    /// Octets of messages that are kept in memory for their first attempts. Default 64 MiB.
    ///
    /// Messages past it are read back from disk; the last quarter is for next hops that are known to
    /// answer, so that mail for others takes nothing from them.
    pub handover_octets_max: u64,
    /// How often to look at the clock, which may be set; also the first wait behind a failure of the
    /// store. Default 1 second.
    pub poll_interval: Duration,
    /// How long one thing that cannot be read holds up all others. Default 30 seconds.
    pub store_wait_max: Duration,
    /// How long deliveries in progress may go on once the end was asked for. Default 30 seconds.
    pub shutdown_wait_max: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            retry: RetrySchedule::default(),
            lifetime: Duration::from_secs(5 * 86_400),
            delay_warning: Some(Duration::from_secs(4 * 3_600)),
            deliveries_max: 200,
            slow_deliveries_max: 4_000,
            slow_after: Duration::from_secs(1),
            deliveries_per_next_hop_max: 20,
            handover_octets_max: 64 << 20,
            poll_interval: Duration::from_secs(1),
            store_wait_max: Duration::from_secs(30),
            shutdown_wait_max: Duration::from_secs(30),
        }
    }
}

impl QueueConfig {
    /// When a sender is told that a message takes long.
    fn warn_at(&self, received_at: UnixTime) -> Option<UnixTime> {
        self.delay_warning.map(|wait| received_at + wait)
    }

    /// When a delivery is to be tried even if no host of its next hop answers: to give it up, or to warn
    /// its sender.
    fn deadline(&self, claim: &Claim, warned: DelayWarning) -> UnixTime {
        match claim.envelope.reverse_path {
            ReversePath::Mailbox(_) => {
                self.warning_or_end(claim.received_at, claim.expires_at, warned)
            }
            ReversePath::Null => claim.expires_at,
        }
    }

    /// The same for what was read from the disk.
    fn deadline_of_waiting(&self, waiting: &Waiting) -> UnixTime {
        if waiting.sender == SenderKey::of(&ReversePath::Null) {
            return waiting.expires_at;
        }
        let received_at = waiting.queue_id.arrived_at();
        self.warning_or_end(received_at, waiting.expires_at, waiting.delay_warning)
    }

    /// When something is to be said to a sender: that it takes long, or that it was in vain.
    fn warning_or_end(
        &self,
        received_at: UnixTime,
        expires_at: UnixTime,
        warned: DelayWarning,
    ) -> UnixTime {
        match (warned, self.warn_at(received_at)) {
            (DelayWarning::Unsent, Some(warn_at)) => warn_at.min(expires_at),
            (DelayWarning::Unsent, None) | (DelayWarning::Sent, _) => expires_at,
        }
    }

    /// What the scheduler is told. A next hop is not left alone for longer than one message would wait.
    fn bounds(&self) -> Bounds {
        let shortest = self.retry.wait_after(1, 0.0);
        Bounds {
            attempts_max: self.deliveries_max,
            slow_attempts_max: self.slow_deliveries_max,
            slow_after: self.slow_after,
            attempts_per_lane_max: self.deliveries_per_next_hop_max,
            closed_min: CLOSED_MIN.min(shortest),
            closed_max: CLOSED_MAX.min(self.retry.wait_longest()),
        }
    }
}

/// What the queue is made of.
pub(crate) struct QueueParts<S, D, C> {
    /// Where everything is kept.
    pub(crate) spool: Arc<S>,
    /// Tries deliveries.
    pub(crate) deliver: Arc<D>,
    /// Writes to senders.
    pub(crate) bouncer: Bouncer<S>,
    /// Tells the time.
    pub(crate) clock: Arc<C>,
    /// How to work.
    pub(crate) config: Arc<Current<QueueConfig>>,
    /// The way in, for what comes of attempts.
    pub(crate) inlet: Inlet,
}

/// Tries deliveries as they fall due.
pub(crate) struct Queue<S, D, C> {
    attempts: Arc<Attempts<S, D, C>>,
    /// The last delivery that was accepted before this queue was made.
    last_before: DeliveryId,
    /// How it works at the moment.
    config: Arc<QueueConfig>,
    scheduler: Scheduler<DeliveryId>,
    handed_over: HandedOver,
    /// Attempts in progress, and since when.
    active: HashMap<DeliveryId, Instant>,
    /// Attempts whose outcome is being recorded.
    recording: usize,
    /// Attempts that came to nothing.
    fruitless: Fruitless<DeliveryId>,
    /// Deliveries that were withdrawn before they were known.
    withdrawn: Withdrawn<DeliveryId>,
    tasks: JoinSet<()>,
    totals: Totals,
    loading: Loading,
}

impl<S: Spool, D: Deliver, C: Clock> Queue<S, D, C> {
    /// A queue that knows of nothing yet.
    pub(crate) fn new(parts: QueueParts<S, D, C>) -> Self {
        let config = parts.config.get();
        let bounds = config.bounds();
        let wait_max = config.retry.wait_longest();
        Self {
            last_before: parts.spool.last_delivery(),
            attempts: Arc::new(Attempts {
                spool: parts.spool,
                deliver: parts.deliver,
                bouncer: parts.bouncer,
                clock: parts.clock,
                config: parts.config,
                inlet: parts.inlet,
                failing: Failing::default(),
            }),
            scheduler: Scheduler::new(bounds, wait_max),
            config,
            handed_over: HandedOver::default(),
            active: HashMap::new(),
            recording: 0,
            fruitless: Fruitless::new(),
            withdrawn: Withdrawn::new(),
            tasks: JoinSet::new(),
            totals: Totals::default(),
            loading: Loading::UnderWay,
        }
    }

    /// Works until `shutdown`, then ends what is in progress, within a bounded time.
    pub(crate) async fn run(mut self, outlet: Outlet, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut events = outlet.0;
        let mut batch = Vec::with_capacity(EVENTS_AT_ONCE);
        let (page_read, mut pages) = mpsc::channel(PAGES_AHEAD);
        let (attempts, last) = (Arc::clone(&self.attempts), self.last_before);
        let loading = self
            .tasks
            .spawn(async move { attempts.load(last, page_read).await });
        loop {
            self.start_due();
            tokio::select! {
                // Whatever else has happened, nothing is begun once the end is known.
                biased;
                () = &mut shutdown => break,
                _ = events.recv_many(&mut batch, EVENTS_AT_ONCE) => {
                    batch.drain(..).for_each(|event| self.take(event));
                }
                page = pages.recv(), if self.loading == Loading::UnderWay => self.load(page),
                () = time::sleep(self.wait()) => {}
            }
            while self.tasks.try_join_next().is_some() {}
        }
        // What has not begun waits for the next start.
        loading.abort();
        let wait_max = self.config.shutdown_wait_max;
        if time::timeout(wait_max, self.end()).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    /// Lets attempts come to their end, and tells how many are left.
    async fn end(&mut self) {
        let mut told = time::interval(PROGRESS_INTERVAL);
        while !self.tasks.is_empty() {
            tokio::select! {
                _ = self.tasks.join_next() => {}
                _ = told.tick() => {
                    let deliveries = self.tasks.len();
                    tracing::info!(target: "byrnie::serve", deliveries, "ending: deliveries are left");
                }
            }
        }
    }

    /// The time, both ways.
    fn now(&self) -> Now {
        Now {
            time: self.attempts.clock.now(),
            monotonic: self.attempts.clock.monotonic(),
        }
    }

    /// Begins everything that is due and has room.
    fn start_due(&mut self) {
        let now = self.now();
        self.scheduler.advance(now);
        while self.recording < RECORDINGS_MAX
            && self.attempts.failing.health() == StoreHealth::Working
            && let Some(delivery) = self.scheduler.next(now.monotonic)
        {
            self.totals.attempts += 1;
            self.active.insert(delivery, now.monotonic);
            let mut given = self.handed_over.remove(delivery);
            if let Some(given) = &mut given
                && self.attempts.inlet.is_short_of_memory()
                && can_wait(&self.scheduler, delivery)
            {
                given.give_memory_back();
            }
            let attempts = Arc::clone(&self.attempts);
            let fruitless = self.fruitless.number(delivery);
            self.tasks.spawn(attempts.make(delivery, given, fruitless));
        }
    }

    /// How long nothing need be done.
    fn wait(&self) -> Duration {
        let poll = self.config.poll_interval;
        let now = self.now();
        let due_in = self.scheduler.due_at().map(|at| at.since(now.time));
        let slow_in = if self.scheduler.is_short_of_places() {
            let slow_at = self.scheduler.slow_at();
            slow_at.map(|at| at.saturating_duration_since(now.monotonic))
        } else {
            None
        };
        poll.min(due_in.unwrap_or(poll))
            .min(slow_in.unwrap_or(poll))
            .max(WAIT_MIN)
    }

    /// Takes note of what has happened.
    fn take(&mut self, event: Event) {
        match event {
            Event::Fresh(sender, deliveries) => {
                for fresh in deliveries {
                    self.totals.accepted += 1;
                    self.make_room();
                    self.add_fresh(sender, fresh);
                }
            }
            Event::Ended(delivery, end) => {
                self.active.remove(&delivery);
                self.recording += 1;
                let ended = Ended {
                    answer: end.answer,
                    trouble: end.trouble.as_deref(),
                    took: end.took,
                };
                self.scheduler.ended(delivery, ended, fastrand::f64());
            }
            Event::Recorded(delivery, recorded, tally) => {
                self.fruitless.forget(delivery);
                self.settle(delivery, recorded);
                self.count(tally);
            }
            Event::Lost(delivery) => {
                let fruitless = self.fruitless.note(delivery);
                let wait = self.config.retry.wait_after(fruitless, fastrand::f64());
                let domain = self.scheduler.next_hop(delivery);
                tracing::error!(
                    target: "byrnie::queue",
                    ?delivery,
                    domain = domain.map(tracing::field::display),
                    next_attempt_in = wait.as_secs(),
                    "an attempt came to nothing"
                );
                self.settle(delivery, Recorded::Untouched(self.now().time + wait));
            }
            Event::Due(changed) => {
                for waiting in changed {
                    self.withdrawn.forget(waiting.delivery);
                    if self.scheduler.hurry(waiting.delivery, waiting.due_at) == Known::No {
                        self.add(&waiting);
                    }
                }
            }
            Event::Withdrawn(changed) => {
                let now = self.now().monotonic;
                for delivery in changed {
                    if self.scheduler.withdraw(delivery) == Known::No {
                        self.withdrawn.note(delivery, now);
                    }
                    self.fruitless.forget(delivery);
                    self.handed_over.remove(delivery);
                }
            }
            Event::Reconfigured => {
                self.config = self.attempts.config.get();
                let wait_max = self.config.retry.wait_longest();
                self.scheduler.set_bounds(self.config.bounds(), wait_max);
            }
            // Who asked may have gone away.
            Event::Look(lanes_max, answer) => drop(answer.send(self.look(lanes_max))),
            Event::LookAt(next_hop, answer) => drop(answer.send(self.scheduler.lane(&next_hop))),
        }
    }

    /// An attempt has come to its end in every way.
    fn settle(&mut self, delivery: DeliveryId, recorded: Recorded) {
        // Without an answer of the hosts, it was not counted among what is being recorded.
        if self.active.remove(&delivery).is_none() {
            self.recording = self.recording.saturating_sub(1);
        }
        self.scheduler.recorded(delivery, recorded);
    }

    /// Counts what was done.
    fn count(&mut self, tally: Tally) {
        self.totals.delivered += tally.delivered;
        self.totals.deferred += tally.deferred;
        self.totals.bounced += tally.bounced;
    }

    /// Takes in a delivery that was just accepted.
    fn add_fresh(&mut self, sender: SenderKey, fresh: Fresh) {
        let given = match fresh {
            Fresh::OnDisk(waiting) => return self.add(&waiting),
            Fresh::HandedOver(given) => given,
        };
        let claim = &given.claim;
        let delivery = claim.delivery;
        let now = self.attempts.clock.monotonic();
        if self.withdrawn.contains(delivery, now) {
            return;
        }
        let known = self.scheduler.add(Delivery {
            key: delivery,
            next_hop: &claim.next_hop,
            sender: sender_number(sender),
            tried: Tried::Never,
            times: Times {
                due_at: claim.due_at,
                deadline: self.config.deadline(claim, claim.delay_warning),
            },
        });
        // What was read from the disk meanwhile may have been tried already.
        if known == Known::No {
            self.handed_over.insert(delivery, given);
        }
    }

    /// Gives memory back while it is short, so that there is some for the mail that comes next.
    fn make_room(&mut self) {
        for _ in 0..LOOKS_PER_FRESH {
            if !self.attempts.inlet.is_short_of_memory() {
                return;
            }
            let scheduler = &self.scheduler;
            self.handed_over
                .look_at_next(|delivery| can_wait(scheduler, delivery));
        }
    }

    /// Takes in a delivery that lies on disk.
    fn add(&mut self, waiting: &Waiting) {
        self.scheduler.add(Delivery {
            key: waiting.delivery,
            next_hop: &waiting.next_hop,
            sender: sender_number(waiting.sender),
            tried: match waiting.attempts {
                0 => Tried::Never,
                1.. => Tried::Before,
            },
            times: Times {
                due_at: waiting.due_at,
                deadline: self.config.deadline_of_waiting(waiting),
            },
        });
    }

    /// Takes in a page of what lies on disk; `None` behind the last.
    fn load(&mut self, page: Option<WaitingPage>) {
        let Some(page) = page else {
            self.loading = Loading::Done;
            let deliveries = self.scheduler.counts().deliveries;
            tracing::info!(target: "byrnie::queue", deliveries, "all that waits is known");
            return;
        };
        for damaged in page.damaged {
            events::corrupt(damaged.queue_id, &damaged.what);
        }
        for waiting in &page.waiting {
            self.add(waiting);
        }
    }

    /// What is going on.
    fn look(&self, lanes_max: usize) -> Live {
        let now = self.now();
        let mut active: Vec<Active> = self
            .active
            .iter()
            .filter_map(|(delivery, since)| {
                Some(Active {
                    delivery: *delivery,
                    next_hop: Arc::<MailDomain>::clone(self.scheduler.next_hop(*delivery)?),
                    since: now.monotonic.saturating_duration_since(*since),
                })
            })
            .collect();
        active.sort_unstable_by_key(|active| std::cmp::Reverse(active.since));
        active.truncate(ACTIVE_SHOWN_MAX);
        Live {
            at: now.time,
            loading: self.loading,
            store: self.attempts.failing.health(),
            counts: self.scheduler.counts(),
            recording: self.recording,
            handed_over_octets: self.attempts.inlet.handed_over_octets(),
            totals: self.totals,
            lanes: self.scheduler.longest_lanes(lanes_max),
            active,
        }
    }
}

/// Whether nobody knows that the next hop of a delivery answers: its mail may lie here for hours, and the
/// time to read it back is little beside that for its hosts.
fn can_wait(scheduler: &Scheduler<DeliveryId>, delivery: DeliveryId) -> bool {
    scheduler.standing(delivery) != Some(Standing::Proven)
}

/// Deliveries that are looked at for each one that comes while memory is short: so more can be given back
/// than is taken.
const LOOKS_PER_FRESH: usize = 4;

/// How long a next hop is left alone at first when no host answers: a host that restarts is back by
/// then.
const CLOSED_MIN: Duration = Duration::from_secs(60);

/// How long a next hop is left alone at most: so much later than necessary is its mail sent.
const CLOSED_MAX: Duration = Duration::from_secs(30 * 60);

/// Outcomes that are being recorded at once; past it nothing is begun, so that the store sets the pace.
const RECORDINGS_MAX: usize = 1_000;

/// Events that are looked at before attempts are begun.
const EVENTS_AT_ONCE: usize = 256;

/// Pages that are read ahead at the start.
const PAGES_AHEAD: usize = 1;

/// How often is told what the end waits for.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Events come when they come; the clock is not looked at more often than this.
const WAIT_MIN: Duration = Duration::from_millis(10);
