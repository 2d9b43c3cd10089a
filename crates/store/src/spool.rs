//! What the daemon does with messages and deliveries.

use std::future::Future;
use std::time::Duration;

use byrnie_base::UnixTime;

use crate::AttemptEnd;
use crate::Claimed;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::Finished;
use crate::NewMessage;
use crate::QueueId;
use crate::Room;
use crate::StoreError;

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
        pieces: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets staged pieces, soon. Does not wait.
    fn abandon(&self, id: QueueId);

    /// Makes a message durable, with all its deliveries.
    fn insert(&self, message: NewMessage) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// After a start: what was active is due at once, what was staged is forgotten.
    fn recover(&self, now: UnixTime) -> impl Future<Output = Result<Recovered, StoreError>> + Send;

    /// After the clock was set back: what would fall due after `latest` is due at once.
    fn hasten(
        &self,
        now: UnixTime,
        latest: UnixTime,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Takes deliveries that are due, earliest first, as far as there is room.
    fn claim(
        &self,
        now: UnixTime,
        room: Room,
    ) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// When the next delivery falls due for which there is room.
    fn next_due(
        &self,
        room: Room,
    ) -> impl Future<Output = Result<Option<UnixTime>, StoreError>> + Send;

    /// Records what an attempt came to.
    fn finish(&self, end: AttemptEnd) -> impl Future<Output = Result<Finished, StoreError>> + Send;

    /// Gives a claim back as if it had not been taken; it is due at `due_at`.
    fn unclaim(
        &self,
        delivery: DeliveryId,
        due_at: UnixTime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads a message and compares it with its checksum.
    fn verify(&self, id: QueueId) -> impl Future<Output = Result<Integrity, StoreError>> + Send;

    /// Puts all deliveries of a message aside as [`DeliveryState::Corrupt`].
    fn mark_corrupt(
        &self,
        id: QueueId,
        what: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// One piece of a message; `None` behind the last.
    fn piece(
        &self,
        id: QueueId,
        place: u32,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// How much lies in the spool.
    fn depth(&self) -> impl Future<Output = Result<Depth, StoreError>> + Send;

    /// Drops receipts that are too many or too old, or that fill a spool which is nearly full; returns
    /// how many.
    fn prune(&self, now: UnixTime) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// What a start found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Deliveries that were active when the last daemon ended.
    pub resumed: u64,
    /// Messages that had been staged and were never accepted.
    pub abandoned: u64,
}

/// Whether a message is what was accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Integrity {
    /// It is.
    Intact,
    /// It is not, for this reason.
    Damaged(String),
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
