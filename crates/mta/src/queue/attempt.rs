//! One attempt at one delivery, from its claim to its record on disk.

use std::sync::Arc;

use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_smtp::HeaderLines;
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
use tracing::Instrument;

use super::QueueConfig;
use super::failing::About;
use super::failing::Failing;
use super::failing::Next;
use super::failing::Repeated;
use super::inlet::End;
use super::inlet::Event;
use super::inlet::Inlet;
use super::inlet::Share;
use super::inlet::Tally;
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
    /// Makes one attempt, behind so many that came to nothing. Whatever happens, even a panic, the queue
    /// is told.
    pub(super) async fn make(
        self: Arc<Self>,
        delivery: DeliveryId,
        given: Option<Box<Given>>,
        fruitless: u32,
    ) {
        let mut unfinished = Unfinished {
            delivery: Some(delivery),
            inlet: &self.inlet,
        };
        let given = match given {
            Some(given) => Ok(given),
            None => self.claim(delivery, fruitless).await,
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
            Err(Unclaimed::Gone) => (Recorded::Gone, Tally::default()),
            Err(Unclaimed::Unread) => return,
        };
        unfinished.delivery = None;
        self.inlet.tell(Event::Recorded(delivery, recorded, tally));
    }

    /// Reads all that waits up to the last delivery before the start, page by page; goes on trying while
    /// the store fails. If that takes long, what comes in is sent meanwhile.
    ///
    /// Of what is accepted later the queue is told, perhaps after it has gone: read from the disk as well,
    /// it would be sent twice.
    pub(super) async fn load(&self, last: DeliveryId, pages: mpsc::Sender<WaitingPage>) {
        let config = self.config.get();
        let repeated = |what| Repeated::new(&self.failing, what, About::default(), &config);
        let mut recovery = repeated("recover");
        while let Err(error) = self.recover().await {
            match recovery.failed(&error).await {
                Next::Again => {}
                // What was staged takes room until the next start, and does no other harm.
                Next::Lasting => break,
                Next::Ended => return,
            }
        }
        drop(recovery);
        let mut after = None;
        let mut reading = repeated("read what waits");
        loop {
            match self.spool.waiting(after, PAGE_DELIVERIES).await {
                Ok(mut page) => {
                    reading = repeated("read what waits");
                    page.waiting.retain(|waiting| waiting.delivery <= last);
                    after = page.next.filter(|next| *next < last);
                    if pages.send(page).await.is_err() || after.is_none() {
                        return;
                    }
                }
                Err(error) => match reading.failed(&error).await {
                    Next::Again => {}
                    Next::Lasting => reading.let_go(),
                    Next::Ended => return,
                },
            }
        }
    }

    /// Forgets what the last daemon had not accepted when it ended.
    async fn recover(&self) -> Result<(), StoreError> {
        let abandoned = self.spool.recover(self.clock.now()).await?.abandoned;
        tracing::info!(target: "byrnie::queue", abandoned, "started");
        Ok(())
    }

    /// Reads a delivery. One that cannot be read holds up others just once, and not for long.
    async fn claim(&self, delivery: DeliveryId, fruitless: u32) -> Result<Box<Given>, Unclaimed> {
        let about = About {
            queue_id: None,
            delivery: Some(delivery),
        };
        let mut reading = Repeated::new(&self.failing, "claim", about, &self.config.get());
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
                    return Err(Unclaimed::Gone);
                }
                Ok(Claimed::Gone) => return Err(Unclaimed::Gone),
                Err(error) if error.is_passing() && fruitless == 0 => {
                    match reading.failed(&error).await {
                        Next::Again => {}
                        Next::Lasting | Next::Ended => return Err(Unclaimed::Unread),
                    }
                }
                Err(error) => {
                    reading.tell(&error);
                    return Err(Unclaimed::Unread);
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
                let what = "the message does not match its checksum";
                self.put_aside(claim, what).await;
                (Recorded::Gone, tally)
            }
        }
    }

    /// Keeps what an attempt came to; goes on trying for as long as the store fails, since what is not
    /// kept would be sent again.
    async fn record(&self, given: &Given, report: Report, sorted: Sorted) -> Recorded {
        let (claim, now) = (&given.claim, self.clock.now());
        let (bounce, delay_warning) = self.compose(given, &sorted, now).await;
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
        let mut recording = self.repeated("record", claim);
        let finished = loop {
            match self.spool.finish(end.clone()).await {
                Ok(finished) => break finished,
                Err(StoreError::Damaged(what)) => {
                    self.put_aside(claim, &what).await;
                    return Recorded::Gone;
                }
                Err(error) => match recording.failed(&error).await {
                    Next::Again | Next::Lasting => {}
                    Next::Ended => return Recorded::Gone,
                },
            }
        };
        drop(recording);
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

    /// What the sender is to be told: a bounce, and that it takes long.
    async fn compose(
        &self,
        given: &Given,
        sorted: &Sorted,
        now: UnixTime,
    ) -> (Option<NewMessage>, Option<NewMessage>) {
        let claim = &given.claim;
        let warn = self.is_warning_due(claim, now);
        let delayed = if warn { sorted.delayed.as_slice() } else { &[] };
        if sorted.failed.is_empty() && delayed.is_empty() {
            return (None, None);
        }
        let header = self.header(given).await;
        let compose = |about| self.bouncer.compose(claim, &header, about, now);
        (compose(&sorted.failed), compose(delayed))
    }

    /// The header section of a message, as far as it can be read: a report without it is better than
    /// none.
    async fn header(&self, given: &Given) -> HeaderLines {
        let mut header = HeaderLines::default();
        if let Some(body) = &given.body {
            body.pieces().for_each(|piece| header.read(piece));
            return header;
        }
        let claim = &given.claim;
        let mut reading = self.repeated("read the header", claim);
        let mut place = 0;
        while !header.is_complete() {
            match self.spool.piece(claim.queue_id, place).await {
                Ok(Some(piece)) => {
                    header.read(&piece);
                    place += 1;
                }
                Ok(None) => break,
                Err(error) if error.is_passing() => match reading.failed(&error).await {
                    Next::Again => {}
                    Next::Lasting | Next::Ended => break,
                },
                Err(error) => {
                    reading.tell(&error);
                    break;
                }
            }
        }
        header
    }

    /// Whether the sender is to be told that a delivery takes long.
    fn is_warning_due(&self, claim: &Claim, now: UnixTime) -> bool {
        let warn_at = self.config.get().warn_at(claim.received_at);
        claim.delay_warning == DelayWarning::Unsent && warn_at.is_some_and(|at| now >= at)
    }

    /// Puts a message aside that is not what was accepted; goes on trying for a while if the store fails.
    async fn put_aside(&self, claim: &Claim, what: &str) {
        events::corrupt(claim.queue_id, what);
        let mut marking = self.repeated("put aside", claim);
        while let Err(error) = self
            .spool
            .mark_corrupt(claim.queue_id, what.to_owned())
            .await
        {
            match marking.failed(&error).await {
                Next::Again => {}
                // It is looked at again after the next start.
                Next::Lasting | Next::Ended => return,
            }
        }
    }

    /// A call to the store about a delivery, to be repeated while it fails.
    fn repeated(&self, what: &'static str, claim: &Claim) -> Repeated<'_> {
        let about = About {
            queue_id: Some(claim.queue_id),
            delivery: Some(claim.delivery),
        };
        Repeated::new(&self.failing, what, about, &self.config.get())
    }
}

/// Why there is nothing to try.
enum Unclaimed {
    /// The disk has nothing to try.
    Gone,
    /// What the disk has cannot be read at present.
    Unread,
}

/// What an attempt needs.
pub(super) struct Given {
    /// The delivery.
    pub(super) claim: Claim,
    /// The message, unless it is too large.
    pub(super) body: Option<Body>,
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

/// Tells the queue of an attempt that comes to nothing.
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

/// Deliveries that are read at once at the start: some 100 KiB.
const PAGE_DELIVERIES: u32 = 1_000;
