//! One attempt at one delivery, from its claim to its record on disk.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_store::AttemptEnd;
use byrnie_store::Became;
use byrnie_store::Body;
use byrnie_store::Claim;
use byrnie_store::Claimed;
use byrnie_store::DelayWarning;
use byrnie_store::DeliveryId;
use byrnie_store::NewMessage;
use byrnie_store::Spool;
use byrnie_store::StoreError;
use byrnie_store::WaitingPage;
use tokio::sync::mpsc;
use tokio::time;
use tracing::Instrument;

use super::QueueConfig;
use super::inlet::End;
use super::inlet::Event;
use super::inlet::Inlet;
use super::inlet::Share;
use super::inlet::Tally;
use super::live::StoreHealth;
use super::outcome::Sorted;
use super::scheduler::Recorded;
use super::scheduler::Times;
use crate::bounce::Bouncer;
use crate::delivery::Content;
use crate::delivery::Deliver;
use crate::delivery::Report;
use crate::events;

/// Makes attempts.
pub(super) struct Attempts<S, D, C> {
    /// Where everything is kept.
    pub(super) spool: Arc<S>,
    /// Tries deliveries.
    pub(super) deliver: Arc<D>,
    /// Writes to senders.
    pub(super) bouncer: Bouncer<S>,
    /// Tells the time.
    pub(super) clock: Arc<C>,
    /// How to work.
    pub(super) config: Arc<Current<QueueConfig>>,
    /// Where to say what came of it.
    pub(super) inlet: Inlet,
    /// Calls to the store that fail and are being repeated.
    pub(super) failing: Failing,
}

impl<S: Spool, D: Deliver, C: Clock> Attempts<S, D, C> {
    /// Makes one attempt. Whatever happens, even a panic, the queue is told.
    pub(super) async fn make(self: Arc<Self>, delivery: DeliveryId, given: Option<Box<Given>>) {
        let mut unfinished = Unfinished {
            delivery: Some(delivery),
            inlet: &self.inlet,
        };
        let given = match given {
            Some(given) => Ok(given),
            None => self.claim(delivery).await,
        };
        let (recorded, tally) = match given {
            Ok(given) => {
                let span = tracing::debug_span!(
                    target: "byrnie::attempt",
                    "attempt",
                    queue_id = %given.claim.queue_id,
                    domain = %given.claim.next_hop,
                    attempt = given.claim.attempt,
                );
                self.try_once(&given).instrument(span).await
            }
            Err(recorded) => (recorded, Tally::default()),
        };
        unfinished.delivery = None;
        self.inlet.tell(Event::Recorded(delivery, recorded, tally));
    }

    /// Reads all that lies on disk, page by page; goes on trying while the store fails.
    pub(super) async fn load(&self, pages: mpsc::Sender<WaitingPage>) {
        let mut failing = None;
        while let Err(error) = self.recover().await {
            failing.get_or_insert_with(|| self.failing.begin());
            self.store_failed("recover", &error).await;
        }
        let mut after = None;
        loop {
            match self.spool.waiting(after, PAGE_DELIVERIES).await {
                Ok(page) => {
                    failing = None;
                    after = page.next;
                    if pages.send(page).await.is_err() || after.is_none() {
                        return;
                    }
                }
                Err(error) => {
                    failing.get_or_insert_with(|| self.failing.begin());
                    self.store_failed("read what waits", &error).await;
                }
            }
        }
    }

    /// Forgets what the last daemon had not accepted when it ended.
    async fn recover(&self) -> Result<(), StoreError> {
        let abandoned = self.spool.recover(self.clock.now()).await?.abandoned;
        tracing::info!(target: "byrnie::queue", abandoned, "started");
        Ok(())
    }

    /// Reads a delivery; if there is nothing to be tried, what to do about it.
    async fn claim(&self, delivery: DeliveryId) -> Result<Box<Given>, Recorded> {
        let mut failing = None;
        loop {
            match self.spool.claim(delivery).await {
                Ok(Claimed::Ready(claim, body)) => {
                    let claim = *claim;
                    return Ok(Box::new(Given {
                        claim,
                        body,
                        share: None,
                    }));
                }
                Ok(Claimed::Damaged(damaged)) => {
                    events::corrupt(damaged.queue_id, &damaged.what);
                    return Err(Recorded::Gone);
                }
                Ok(Claimed::Gone) => return Err(Recorded::Gone),
                Err(error) if error.is_passing() => {
                    failing.get_or_insert_with(|| self.failing.begin());
                    self.store_failed("claim", &error).await;
                }
                // It may be this one alone, and must not hold up the others.
                Err(error) => {
                    self.store_failed("claim", &error).await;
                    let wait = self.config.get().retry.wait_after(1, fastrand::f64());
                    return Err(Recorded::Untouched(self.clock.now() + wait));
                }
            }
        }
    }

    /// Offers a message to its hosts, says how they took it, and records what came of it.
    async fn try_once(&self, given: &Given) -> (Recorded, Tally) {
        let claim = &given.claim;
        let began = self.clock.monotonic();
        let report = self.deliver.deliver(claim, given.body.as_ref()).await;
        let sorted = Sorted::new(claim, &report, self.clock.now());
        let end = End {
            answer: report.answer,
            trouble: sorted.waiting.as_ref().map(|(_, reason)| reason.clone()),
            took: self.clock.monotonic().saturating_duration_since(began),
        };
        self.inlet.tell(Event::Ended(claim.delivery, end));
        let (content, tally) = (report.content, sorted.tally());
        let recorded = self.record(given, report, sorted).await;
        match content {
            Content::Intact => (recorded, tally),
            Content::Damaged => {
                self.put_aside(claim).await;
                (Recorded::Gone, tally)
            }
        }
    }

    /// Keeps what an attempt came to; goes on trying while the store fails. A delivery of which that
    /// cannot be kept waits on disk, and is tried again after the next start.
    async fn record(&self, given: &Given, report: Report, sorted: Sorted) -> Recorded {
        let (claim, now) = (&given.claim, self.clock.now());
        let Some((bounce, delay_warning)) = self.compose(given, &sorted, now).await else {
            return Recorded::Gone;
        };
        let wait = self
            .config
            .get()
            .retry
            .wait_after(claim.attempt, fastrand::f64());
        let end = AttemptEnd {
            delivery: claim.delivery,
            queue_id: claim.queue_id,
            attempt: claim.attempt,
            ended: sorted.ended.clone(),
            next_attempt_at: (now + wait).min(claim.expires_at),
            floor: report.floor,
            reason: sorted.waiting.as_ref().map(|(_, reason)| reason.clone()),
            receipts: report.receipts,
            bounce,
            delay_warning,
        };
        let mut failing = None;
        let finished = loop {
            match self.spool.finish(end.clone()).await {
                Ok(finished) => break finished,
                Err(error) => {
                    failing.get_or_insert_with(|| self.failing.begin());
                    self.store_failed("record", &error).await;
                    if !error.is_passing() {
                        return Recorded::Gone;
                    }
                }
            }
        };
        sorted.tell(claim, &end, now);
        for accepted in finished.accepted {
            self.inlet.accept(accepted);
        }
        let warned = match end.delay_warning {
            Some(_) => DelayWarning::Sent,
            None => claim.delay_warning,
        };
        let again = Recorded::Again(Times {
            due_at: end.next_attempt_at,
            deadline: self.config.get().deadline(claim, warned),
        });
        match finished.became {
            Became::Deferred => again,
            // Recorded by an earlier call that was said to have failed, or removed: the disk knows.
            Became::AlreadyGone if sorted.waiting.is_some() => again,
            Became::Retired | Became::Kept(_) | Became::AlreadyGone => Recorded::Gone,
        }
    }

    /// What the sender is to be told: a bounce, and that it takes long. `None` if the store has failed
    /// for good.
    async fn compose(
        &self,
        given: &Given,
        sorted: &Sorted,
        now: UnixTime,
    ) -> Option<(Option<NewMessage>, Option<NewMessage>)> {
        let warn = self.is_warning_due(&given.claim, now);
        let delayed = if warn { sorted.delayed.as_slice() } else { &[] };
        let mut failing = None;
        loop {
            let composed = async {
                let bounce = self.bouncer.compose(given, &sorted.failed, now).await?;
                Ok((bounce, self.bouncer.compose(given, delayed, now).await?))
            };
            let error: StoreError = match composed.await {
                Ok(composed) => return Some(composed),
                Err(error) => error,
            };
            failing.get_or_insert_with(|| self.failing.begin());
            self.store_failed("bounce", &error).await;
            if !error.is_passing() {
                return None;
            }
        }
    }

    /// Whether the sender is to be told that a delivery takes long.
    fn is_warning_due(&self, claim: &Claim, now: UnixTime) -> bool {
        let warn_at = self.config.get().warn_at(claim.received_at);
        claim.delay_warning == DelayWarning::Unsent && warn_at.is_some_and(|at| now >= at)
    }

    /// Puts a message aside whose content is not what was accepted; goes on trying while the store
    /// fails.
    async fn put_aside(&self, claim: &Claim) {
        let what = "the message does not match its checksum";
        events::corrupt(claim.queue_id, what);
        let mut failing = None;
        while let Err(error) = self
            .spool
            .mark_corrupt(claim.queue_id, what.to_owned())
            .await
        {
            failing.get_or_insert_with(|| self.failing.begin());
            self.store_failed("put aside", &error).await;
            if !error.is_passing() {
                // It is looked at again after the next start.
                return;
            }
        }
    }

    /// Tells of a failure of the store, and waits so as not to spin.
    async fn store_failed(&self, what: &'static str, error: &StoreError) {
        tracing::error!(target: "byrnie::queue", what, %error, "the store failed");
        time::sleep(self.config.get().poll_interval).await;
    }
}

/// What an attempt needs.
pub(crate) struct Given {
    /// The delivery.
    pub(crate) claim: Claim,
    /// The message, unless it is too large.
    pub(crate) body: Option<Body>,
    /// Its part of the memory for what is handed over, to be given back behind the attempt.
    pub(super) share: Option<Arc<Share>>,
}

impl Given {
    /// Gives its memory back: the message is then read from the disk. What is left is small, and there is no
    /// more of it than attempts in progress.
    pub(super) fn give_memory_back(&mut self) {
        self.body = None;
        self.share = None;
    }
}

/// Tells the queue of an attempt that comes to no end.
struct Unfinished<'a> {
    delivery: Option<DeliveryId>,
    inlet: &'a Inlet,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery {
            self.inlet.tell(Event::Lost(delivery));
        }
    }
}

/// How many calls to the store fail and are being repeated.
#[derive(Clone, Debug, Default)]
pub(super) struct Failing(Arc<AtomicUsize>);

impl Failing {
    /// A call has failed; it counts until the result is dropped.
    pub(super) fn begin(&self) -> FailingCall {
        self.0.fetch_add(1, Ordering::Relaxed);
        FailingCall(self.clone())
    }

    /// Whether the store takes what it is given.
    pub(super) fn health(&self) -> StoreHealth {
        match self.0.load(Ordering::Relaxed) {
            0 => StoreHealth::Working,
            1.. => StoreHealth::Failing,
        }
    }
}

/// A call to the store that fails and is being repeated.
pub(super) struct FailingCall(Failing);

impl Drop for FailingCall {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Deliveries that are read at once at the start: some 100 KiB.
const PAGE_DELIVERIES: u32 = 1_000;
