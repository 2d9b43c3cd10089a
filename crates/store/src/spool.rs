//! What the daemon does with messages and deliveries.

use std::future::Future;
use std::time::Duration;

use byrnie_base::UnixTime;

use crate::Accepted;
use crate::AttemptEnd;
use crate::Body;
use crate::Claimed;
use crate::Damaged;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::Finished;
use crate::NewMessage;
use crate::QueueId;
use crate::StoreError;
use crate::Waiting;

/// Keeps messages until every recipient has been served or given up.
///
/// A call that changes something has reached the disk when it returns `Ok`; a call that fails may
/// have reached it too ([`StoreError::Io`]) and may be repeated: no call does its work twice.
pub trait Spool: Send + Sync + 'static {
    /// A name for a message that is about to arrive.
    fn next_id(&self, now: UnixTime) -> QueueId;

    /// Writes pieces of a message ahead of its [`insert`](Self::insert), so that memory stays bounded.
    ///
    /// `first` is the place of the first piece. Pieces without a message vanish at the next
    /// [`recover`](Self::recover).
    fn stage(
        &self,
        id: QueueId,
        first: u32,
        pieces: Body,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets a message that was not accepted, with what was staged of it, soon. Does not wait.
    fn abandon(&self, id: QueueId);

    /// Makes a message durable, with all its deliveries.
    ///
    /// A message whose insertion failed, or whose caller went away before it was told, is forgotten
    /// even if it has reached the disk: nobody answers for it. It may be inserted again.
    fn insert(
        &self,
        message: NewMessage,
    ) -> impl Future<Output = Result<Accepted, StoreError>> + Send;

    /// After a start: what was staged and never accepted is forgotten.
    fn recover(&self, now: UnixTime) -> impl Future<Output = Result<Recovered, StoreError>> + Send;

    /// The last delivery that has a name so far.
    fn last_delivery(&self) -> DeliveryId;

    /// A page of what waits for an attempt, in the order of acceptance, behind `after`: at most `limit`.
    ///
    /// What cannot be read is put aside as
    /// [`DeliveryState::Corrupt`] and named.
    fn waiting(
        &self,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> impl Future<Output = Result<WaitingPage, StoreError>> + Send;

    /// Reads a delivery that is to be tried. Changes nothing, unless it is damaged.
    fn claim(
        &self,
        delivery: DeliveryId,
    ) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// One piece of a message, compared with its checksum; `None` behind the last.
    ///
    /// [`StoreError::Damaged`] if it is not what was written; the rest of the message must then not be
    /// sent.
    fn piece(
        &self,
        id: QueueId,
        place: u32,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Puts all deliveries of a message aside as [`DeliveryState::Corrupt`].
    fn mark_corrupt(
        &self,
        id: QueueId,
        what: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records what an attempt came to, once, with the bounce and the warning that it caused.
    fn finish(&self, end: AttemptEnd) -> impl Future<Output = Result<Finished, StoreError>> + Send;

    /// Waits until the store has failed for good: a part of it has panicked, calls are
    /// [`StoreError::Closed`], and only a new start helps.
    fn ended(&self) -> impl Future<Output = ()> + Send;

    /// How much lies in the spool, from memory.
    fn depth(&self) -> Depth;

    /// Drops receipts that are too many or too old, or that fill a spool which is nearly full; returns
    /// how many.
    fn prune(&self, now: UnixTime) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// What a start found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Messages that had been staged and were never accepted.
    pub abandoned: u64,
}

/// Part of what waits for an attempt.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WaitingPage {
    /// In the order of acceptance.
    pub waiting: Vec<Waiting>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<DeliveryId>,
    /// What of this page could not be read and was put aside.
    pub damaged: Vec<Damaged>,
}

/// How much lies in the spool.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Depth {
    /// Messages.
    pub messages: u64,
    /// Deliveries by state; every state is there.
    pub deliveries: Vec<(DeliveryState, u64)>,
    /// When the oldest message arrived.
    pub oldest: Option<UnixTime>,
}

impl Depth {
    /// How many deliveries are in a state.
    #[must_use]
    pub fn deliveries_in(&self, state: DeliveryState) -> u64 {
        self.deliveries
            .iter()
            .find(|(counted, _)| *counted == state)
            .map_or(0, |(_, count)| *count)
    }

    /// How long the oldest message has been here.
    #[must_use]
    pub fn age_of_oldest(&self, now: UnixTime) -> Duration {
        self.oldest
            .map_or(Duration::ZERO, |oldest| now.since(oldest))
    }
}
