//! Calls to the store that fail and are made again.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_store::DeliveryId;
use byrnie_store::QueueId;
use byrnie_store::StoreError;
use tokio::time;
use tokio::time::Instant;

use super::QueueConfig;
use super::live::StoreHealth;

/// How many calls to the store fail and are being repeated.
#[derive(Clone, Debug, Default)]
pub(super) struct Failing(Arc<AtomicUsize>);

impl Failing {
    /// A call has failed; it counts until the result is dropped.
    fn begin(&self) -> FailingCall {
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
#[derive(Debug)]
struct FailingCall(Failing);

impl Drop for FailingCall {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a call to the store is about, for people.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    /// The message.
    pub(super) queue_id: Option<QueueId>,
    /// The delivery.
    pub(super) delivery: Option<DeliveryId>,
}

/// A call to the store, made again after growing pauses. While it fails, no attempt is begun.
#[derive(Debug)]
pub(super) struct Repeated<'a> {
    failing: &'a Failing,
    what: &'static str,
    about: About,
    /// The next pause.
    pause: Duration,
    /// How long it may hold up others.
    holds_up_max: Duration,
    /// Since when it fails.
    since: Option<Instant>,
    /// While it holds up others.
    call: Option<FailingCall>,
}

/// What is to be done about a call that has failed again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// It is made again.
    Again,
    /// It has failed for as long as one call may hold up all others.
    Lasting,
    /// The store has ended, and soon the daemon will.
    Ended,
}

impl<'a> Repeated<'a> {
    /// A call that has not failed yet.
    pub(super) fn new(
        failing: &'a Failing,
        what: &'static str,
        about: About,
        config: &QueueConfig,
    ) -> Self {
        Self {
            failing,
            what,
            about,
            pause: config.poll_interval,
            holds_up_max: config.store_wait_max,
            since: None,
            call: None,
        }
    }

    /// Takes note of a failure, and waits until the call may be made again.
    pub(super) async fn failed(&mut self, error: &StoreError) -> Next {
        self.tell(error);
        if *error == StoreError::Closed {
            return Next::Ended;
        }
        let since = match self.since {
            Some(since) => since,
            None => {
                self.call = Some(self.failing.begin());
                *self.since.insert(Instant::now())
            }
        };
        time::sleep(self.pause).await;
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        match since.elapsed() < self.holds_up_max {
            true => Next::Again,
            false => Next::Lasting,
        }
    }

    /// Tells of a failure. Once the store has ended, it fails for good: nothing is begun any more.
    pub(super) fn tell(&self, error: &StoreError) {
        let (what, About { queue_id, delivery }) = (self.what, self.about);
        let queue_id = queue_id.map(tracing::field::display);
        let delivery = delivery.map(tracing::field::debug);
        tracing::error!(target: "byrnie::queue", what, queue_id, delivery, %error, "the store failed");
        if *error == StoreError::Closed {
            self.failing.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Holds up nobody any more.
    pub(super) fn let_go(&mut self) {
        self.call = None;
    }
}

/// The longest pause behind a failure of the store: so long after its end the queue stands still.
const PAUSE_MAX: Duration = Duration::from_secs(10);
