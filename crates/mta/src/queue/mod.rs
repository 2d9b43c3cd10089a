//! The queue: takes deliveries as they fall due, and keeps what came of them.
//!
//! The order of due times, and what counts as due, live in the store; in memory are only the
//! deliveries in progress, up to a configured number. So a restart has nothing to rebuild, and what
//! people change in the store is noticed at the next poll.

mod schedule;
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
use byrnie_store::AttemptEnd;
use byrnie_store::Claim;
use byrnie_store::DeliveryId;
use byrnie_store::Integrity;
use byrnie_store::RecipientEnd;
use byrnie_store::RecipientState;
use byrnie_store::Room;
use byrnie_store::Spool;
use byrnie_store::StoreError;
use tokio::sync::Notify;
use tokio::task;
use tokio::task::JoinSet;
use tokio::time;
use tracing::Instrument;

pub use self::schedule::RetrySchedule;
use crate::bounce::Bouncer;
use crate::bounce::Failed;
use crate::bounce::FailedEnd;
use crate::delivery::Deliver;
use crate::delivery::Fate;
use crate::delivery::Report;
use crate::events;

/// How the queue works.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// When to try again.
    pub retry: RetrySchedule,
    /// How long to try before a message goes back to its sender. Default 5 days.
    pub lifetime: Duration,
    /// Deliveries in progress at once, slow ones not counted. Default 100.
    ///
    /// At most half of them are retries: what failed before, and may fail again and again, does not
    /// keep new mail from hosts that answer.
    pub deliveries_max: u32,
    /// Slow deliveries in progress at once; those past it count as the others do. Default 200.
    ///
    /// A slow one mostly waits for a host that does not answer, and costs little; so the living do not
    /// wait behind the dead.
    pub slow_deliveries_max: u32,
    /// How long a delivery is in progress before it is slow. Default 5 seconds.
    pub slow_after: Duration,
    /// Deliveries in progress at once for one next hop. Default 10.
    pub deliveries_per_next_hop_max: u32,
    /// How often to look for what people changed; also the wait behind a failure of the store.
    /// Default 1 second.
    pub poll_interval: Duration,
    /// How long deliveries in progress may go on once the end was asked for. Default 30 seconds.
    pub shutdown_wait_max: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            retry: RetrySchedule::default(),
            lifetime: Duration::from_secs(5 * 86_400),
            deliveries_max: 100,
            slow_deliveries_max: 200,
            slow_after: Duration::from_secs(5),
            deliveries_per_next_hop_max: 10,
            poll_interval: Duration::from_secs(1),
            shutdown_wait_max: Duration::from_secs(30),
        }
    }
}

/// Takes deliveries as they fall due.
pub(crate) struct Queue<S, D, C> {
    /// Where everything is kept.
    pub(crate) spool: Arc<S>,
    /// Tries deliveries.
    pub(crate) deliver: Arc<D>,
    /// Writes to senders.
    pub(crate) bouncer: Bouncer<S>,
    /// Tells the time.
    pub(crate) clock: Arc<C>,
    /// How to work.
    pub(crate) config: QueueConfig,
    /// Rung when something new has come in.
    pub(crate) wake: Arc<Notify>,
}

impl<S: Spool, D: Deliver, C: Clock> Queue<S, D, C> {
    /// Works until `shutdown`, then ends what is in progress, within a bounded time.
    pub(crate) async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut progress = Progress {
            // Nobody knows how the clock was set while no daemon ran.
            looked_at: UnixTime(u64::MAX),
            ..Progress::default()
        };
        tokio::select! {
            () = &mut shutdown => return,
            () = self.recover() => {}
        }
        loop {
            let wait = self.start_due(&mut progress).await;
            tokio::select! {
                // Whatever else has happened, nothing is begun once the end is known.
                biased;
                () = &mut shutdown => break,
                Some(ended) = progress.tasks.join_next_with_id() => {
                    self.after(&mut progress, ended);
                }
                () = self.wake.notified() => {}
                () = time::sleep(wait) => {}
            }
        }
        self.end(progress).await;
    }

    /// Takes over what the last daemon left.
    async fn recover(&self) {
        loop {
            match self.spool.recover(self.clock.now()).await {
                Ok(found) => {
                    let (resumed, abandoned) = (found.resumed, found.abandoned);
                    tracing::info!(target: "byrnie::queue", resumed, abandoned, "started");
                    return;
                }
                Err(error) => self.store_failed("recover", &error).await,
            }
        }
    }

    /// Corrects what was put off by a clock that ran ahead: no wait is longer than the longest.
    async fn hasten(&self, now: UnixTime) -> Result<(), StoreError> {
        let latest = now + self.config.retry.wait_longest();
        let hastened = self.spool.hasten(now, latest).await?;
        tracing::debug!(target: "byrnie::queue", hastened, "looked at the clock");
        Ok(())
    }

    /// Starts everything that is due and has room; says how long to wait at most.
    async fn start_due(self: &Arc<Self>, progress: &mut Progress) -> Duration {
        loop {
            let room = progress.room(&self.config, self.clock.monotonic());
            if room.total == 0 {
                return self.config.poll_interval;
            }
            let now = self.clock.now();
            if now < progress.looked_at
                && let Err(error) = self.hasten(now).await
            {
                self.store_failed("look at the clock", &error).await;
                return Duration::ZERO;
            }
            progress.looked_at = now;
            match self.spool.next_due(room.clone()).await {
                Ok(Some(due_at)) if due_at <= now => {}
                Ok(Some(due_at)) => return due_at.since(now).min(self.config.poll_interval),
                Ok(None) => return self.config.poll_interval,
                Err(error) => {
                    self.store_failed("look for work", &error).await;
                    return Duration::ZERO;
                }
            }
            match self.spool.claim(now, room).await {
                Ok(claimed) => {
                    for damaged in claimed.damaged {
                        events::corrupt(damaged.queue_id, &damaged.what);
                    }
                    for claim in claimed.claims {
                        self.start(progress, claim);
                    }
                }
                Err(error) => {
                    self.store_failed("claim", &error).await;
                    return Duration::ZERO;
                }
            }
        }
    }

    /// Starts one attempt.
    fn start(self: &Arc<Self>, progress: &mut Progress, claim: Claim) {
        let span = tracing::info_span!(
            target: "byrnie::attempt",
            "attempt",
            queue_id = %claim.queue_id,
            domain = %claim.next_hop,
            attempt = claim.attempt,
        );
        let running = Running {
            delivery: claim.delivery,
            next_hop: claim.next_hop.clone(),
            attempt: claim.attempt,
            since: self.clock.monotonic(),
        };
        let queue = Arc::clone(self);
        let task = async move { queue.attempt(&claim).await };
        let handle = progress.tasks.spawn(task.instrument(span));
        progress.running.insert(handle.id(), running);
    }

    /// Tries a delivery once and keeps what came of it.
    async fn attempt(&self, claim: &Claim) {
        match self.spool.verify(claim.queue_id).await {
            Ok(Integrity::Intact) => {}
            Ok(Integrity::Damaged(what)) => {
                events::corrupt(claim.queue_id, &what);
                return self.put_aside(claim, &what).await;
            }
            Err(error) => {
                self.store_failed("read", &error).await;
                self.give_back(claim.delivery).await;
                return;
            }
        }
        let report = self.deliver.deliver(claim).await;
        self.record(claim, report).await;
    }

    /// Keeps what an attempt came to; goes on trying while the store fails.
    async fn record(&self, claim: &Claim, report: Report) {
        let now = self.clock.now();
        let sorted = Sorted::new(claim, &report, now);
        let bounce = loop {
            match self.bouncer.compose(claim, &sorted.failed, now).await {
                Ok(bounce) => break bounce,
                Err(error) if error.is_passing() => self.store_failed("bounce", &error).await,
                Err(error) => {
                    // The delivery stays active and is tried again after the next start.
                    return self.store_failed("bounce", &error).await;
                }
            }
        };
        let wait = self.config.retry.wait_after(claim.attempt, fastrand::f64());
        let end = AttemptEnd {
            delivery: claim.delivery,
            attempt: claim.attempt,
            ended: sorted.ended.clone(),
            next_attempt_at: (now + wait).min(claim.expires_at),
            floor: report.floor,
            reason: sorted.waiting.as_ref().map(|(_, reason)| reason.clone()),
            receipts: report.receipts,
            bounce,
        };
        loop {
            match self.spool.finish(end.clone()).await {
                Ok(_) => break,
                Err(error) if error.is_passing() => self.store_failed("record", &error).await,
                Err(error) => return self.store_failed("record", &error).await,
            }
        }
        sorted.tell(claim, &end, now);
        if end.bounce.is_some() {
            self.wake.notify_one();
        }
    }

    /// Puts a damaged message aside; goes on trying while the store fails.
    async fn put_aside(&self, claim: &Claim, what: &str) {
        loop {
            match self
                .spool
                .mark_corrupt(claim.queue_id, what.to_owned())
                .await
            {
                Ok(()) => return,
                Err(error) if error.is_passing() => self.store_failed("put aside", &error).await,
                // The delivery stays active and is looked at again after the next start.
                Err(error) => return self.store_failed("put aside", &error).await,
            }
        }
    }

    /// Makes a delivery due again as if it had not been tried; goes on trying while the store fails.
    async fn give_back(&self, delivery: DeliveryId) {
        loop {
            let due_at = self.clock.now() + self.config.poll_interval;
            match self.spool.unclaim(delivery, due_at).await {
                Ok(()) => return,
                Err(error) if error.is_passing() => self.store_failed("give back", &error).await,
                // The delivery stays active and is due after the next start.
                Err(error) => return self.store_failed("give back", &error).await,
            }
        }
    }

    /// Takes note of the end of an attempt.
    fn after(
        self: &Arc<Self>,
        progress: &mut Progress,
        ended: Result<(task::Id, ()), task::JoinError>,
    ) {
        match ended {
            Ok((id, ())) => drop(progress.running.remove(&id)),
            Err(error) => {
                tracing::error!(target: "byrnie::queue", %error, "an attempt has panicked");
                if let Some(running) = progress.running.remove(&error.id()) {
                    let (queue, delivery) = (Arc::clone(self), running.delivery);
                    let task = async move { queue.give_back(delivery).await };
                    let handle = progress.tasks.spawn(task);
                    progress.running.insert(handle.id(), running);
                }
            }
        }
    }

    /// Lets attempts come to their end; gives back those that do not in time.
    async fn end(&self, mut progress: Progress) {
        let mut told = time::interval(PROGRESS_INTERVAL);
        let all_ended = async {
            while !progress.tasks.is_empty() {
                tokio::select! {
                    Some(ended) = progress.tasks.join_next_with_id() => {
                        if let Ok((id, ())) = ended {
                            progress.running.remove(&id);
                        }
                    }
                    _ = told.tick() => {
                        let deliveries = progress.tasks.len();
                        tracing::info!(target: "byrnie::serve", deliveries, "ending: deliveries are left");
                    }
                }
            }
        };
        if time::timeout(self.config.shutdown_wait_max, all_ended)
            .await
            .is_err()
        {
            progress.tasks.shutdown().await;
        }
        for Running { delivery, .. } in progress.running.into_values() {
            if let Err(error) = self.spool.unclaim(delivery, self.clock.now()).await {
                tracing::error!(target: "byrnie::queue", %error, "could not give back");
            }
        }
    }

    /// Tells of a failure of the store, and waits so as not to spin.
    async fn store_failed(&self, what: &'static str, error: &StoreError) {
        tracing::error!(target: "byrnie::queue", what, %error, "the store failed");
        time::sleep(self.config.poll_interval).await;
    }
}

/// How often is told what the end waits for.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Attempts in progress.
#[derive(Default)]
struct Progress {
    tasks: JoinSet<()>,
    /// What each task works on.
    running: HashMap<task::Id, Running>,
    /// The time of the last look for work.
    looked_at: UnixTime,
}

/// An attempt in progress.
struct Running {
    delivery: DeliveryId,
    next_hop: MailDomain,
    /// Which attempt it is: 1 for the first.
    attempt: u32,
    since: Instant,
}

impl Running {
    /// Whether it was tried before.
    fn is_retry(&self) -> bool {
        self.attempt > 1
    }
}

impl Progress {
    /// What else can be started.
    fn room(&self, config: &QueueConfig, now: Instant) -> Room {
        let mut by_hop: HashMap<&MailDomain, u32> = HashMap::new();
        for running in self.running.values() {
            *by_hop.entry(&running.next_hop).or_default() += 1;
        }
        let count = |which: &dyn Fn(&Running) -> bool| {
            let number = self.running.values().filter(|one| which(one)).count();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let is_slow = |one: &Running| now.saturating_duration_since(one.since) >= config.slow_after;
        // Neither among the slow ones do retries take the places of first attempts.
        let slow_retries =
            count(&|one| is_slow(one) && one.is_retry()).min(half(config.slow_deliveries_max));
        let slow_firsts = count(&|one| is_slow(one) && !one.is_retry())
            .min(config.slow_deliveries_max.saturating_sub(slow_retries));
        let retries = count(&Running::is_retry).saturating_sub(slow_retries);
        let firsts = count(&|one| !one.is_retry()).saturating_sub(slow_firsts);
        let total = config
            .deliveries_max
            .saturating_sub(retries.saturating_add(firsts));
        Room {
            total,
            retries: half(config.deliveries_max)
                .saturating_sub(retries)
                .min(total),
            per_next_hop: config.deliveries_per_next_hop_max,
            in_progress: by_hop
                .into_iter()
                .map(|(hop, count)| (hop.clone(), count))
                .collect(),
        }
    }
}

/// Half of a bound, and not nothing.
fn half(bound: u32) -> u32 {
    bound.div_ceil(2)
}

/// The recipients of a claim, by what is to be done about them.
struct Sorted {
    /// For the store: recipients that something final happened to.
    ended: Vec<RecipientEnd>,
    /// For the sender: recipients that are given up.
    failed: Vec<Failed>,
    /// How many were delivered, and the last reply.
    delivered: Option<(usize, String)>,
    /// How many wait, and why the first does.
    waiting: Option<(usize, String)>,
}

impl Sorted {
    /// Sorts a report's recipients; those that would have to wait past the end of their time are
    /// given up.
    fn new(claim: &Claim, report: &Report, now: UnixTime) -> Self {
        let mut sorted = Self {
            ended: Vec::new(),
            failed: Vec::new(),
            delivered: None,
            waiting: None,
        };
        let expired = now >= claim.expires_at;
        for (recipient, fate) in claim.recipients.iter().zip(&report.fates) {
            let (state, reply) = match fate {
                Fate::Delivered(reply) => {
                    let count = sorted.delivered.as_ref().map_or(0, |(count, _)| *count);
                    sorted.delivered = Some((count + 1, reply.to_string()));
                    (RecipientState::Delivered, reply)
                }
                Fate::Deferred(trouble) if !expired => {
                    let waiting = sorted
                        .waiting
                        .get_or_insert_with(|| (0, trouble.reply.to_string()));
                    waiting.0 += 1;
                    continue;
                }
                Fate::Deferred(trouble) | Fate::Bounced(trouble) => {
                    sorted.failed.push(Failed {
                        mailbox: recipient.mailbox.clone(),
                        trouble: trouble.clone(),
                        end: match fate {
                            Fate::Deferred(_) => FailedEnd::OutOfTime,
                            Fate::Bounced(_) | Fate::Delivered(_) => FailedEnd::ForGood,
                        },
                    });
                    (RecipientState::Bounced, &trouble.reply)
                }
            };
            sorted.ended.push(RecipientEnd {
                position: recipient.position,
                state,
                reply: Some(reply.clone()),
            });
        }
        sorted
    }

    /// Tells the log.
    fn tell(&self, claim: &Claim, end: &AttemptEnd, now: UnixTime) {
        if let Some((count, reply)) = &self.delivered {
            events::delivered(claim, *count, reply);
        }
        if let Some((count, reason)) = &self.waiting {
            events::deferred(claim, *count, reason, end.next_attempt_at.since(now));
        }
        if let Some(first) = self.failed.first() {
            let reason = first.trouble.reply.to_string();
            let bounce = end.bounce.as_ref().map(byrnie_store::NewMessage::id);
            events::bounced(claim, self.failed.len(), &reason, bounce);
            if bounce.is_none() {
                events::bounce_dropped(claim, &reason);
            }
        }
    }
}
