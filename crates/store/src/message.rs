//! A message on its way into the spool.

use std::mem;
use std::sync::Arc;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_smtp::Envelope;

use crate::Claim;
use crate::QueueId;
use crate::Spool;
use crate::StoreError;
use crate::check::check_of;

/// A message as it comes in, piece by piece; dropped before [`commit`](Self::commit) it never was.
///
/// Memory is bounded: past [`SPILL_OCTETS`] what has arrived is written ahead.
pub struct Incoming<S: Spool> {
    spool: Arc<S>,
    id: QueueId,
    size: u64,
    /// The piece being filled; at most [`CHUNK_OCTETS`].
    filling: Vec<u8>,
    /// Full pieces that are not yet staged; at most [`SPILL_OCTETS`] in all.
    full: Vec<Piece>,
    /// Pieces on disk.
    staged: u32,
}

impl<S: Spool> Incoming<S> {
    /// An empty message with a new id.
    pub fn begin(spool: Arc<S>, now: UnixTime) -> Self {
        let id = spool.next_id(now);
        Self {
            spool,
            id,
            size: 0,
            filling: Vec::new(),
            full: Vec::new(),
            staged: 0,
        }
    }

    /// The name of the message.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Octets so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends to the message.
    ///
    /// # Errors
    /// The store could not take pieces ahead; the message must be refused.
    pub async fn write(&mut self, mut octets: &[u8]) -> Result<(), StoreError> {
        self.size += length(octets);
        while !octets.is_empty() {
            let room = CHUNK_OCTETS - self.filling.len();
            let (now, later) = octets.split_at(room.min(octets.len()));
            self.filling.extend_from_slice(now);
            octets = later;
            if self.filling.len() == CHUNK_OCTETS {
                self.full.push(Piece::new(mem::take(&mut self.filling)));
            }
            if self.full.len() * CHUNK_OCTETS >= SPILL_OCTETS {
                self.spill().await?;
            }
        }
        Ok(())
    }

    /// Makes the message durable.
    ///
    /// # Errors
    /// The message must be refused; [`StoreError`] says whether it makes sense to try again.
    pub async fn commit(
        mut self,
        envelope: Envelope,
        received_at: UnixTime,
        deliveries: Vec<NewDelivery>,
    ) -> Result<Accepted, StoreError> {
        let mut pieces = mem::take(&mut self.full);
        if !self.filling.is_empty() {
            pieces.push(Piece::new(mem::take(&mut self.filling)));
        }
        let message = NewMessage {
            id: self.id,
            envelope: Arc::new(envelope),
            received_at,
            size: self.size,
            staged: self.staged,
            body: Body(pieces.into()),
            deliveries: deliveries.into(),
        };
        let accepted = self.spool.insert(message).await?;
        // Nothing is left for the drop to take back.
        self.staged = 0;
        Ok(accepted)
    }

    /// Writes the full pieces ahead.
    async fn spill(&mut self) -> Result<(), StoreError> {
        let pieces = mem::take(&mut self.full);
        let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        let first = self.staged;
        // Counted first: a call that fails, or is cancelled, may have reached the disk.
        self.staged = first.saturating_add(count);
        self.spool.stage(self.id, first, Body(pieces.into())).await
    }
}

impl<S: Spool> Drop for Incoming<S> {
    fn drop(&mut self) {
        if self.staged > 0 {
            self.spool.abandon(self.id);
        }
    }
}

/// A message that is ready to be made durable. A copy shares the octets.
#[derive(Clone)]
pub struct NewMessage {
    /// Its name.
    pub(crate) id: QueueId,
    /// Its envelope.
    pub(crate) envelope: Arc<Envelope>,
    /// When it arrived.
    pub(crate) received_at: UnixTime,
    /// Octets in all.
    pub(crate) size: u64,
    /// Pieces on disk already.
    pub(crate) staged: u32,
    /// What is behind them.
    pub(crate) body: Body,
    /// What is to be done with it.
    pub(crate) deliveries: Arc<[NewDelivery]>,
}

impl NewMessage {
    /// A small message that is in memory as a whole, such as a bounce.
    #[must_use]
    pub fn whole(
        id: QueueId,
        envelope: Envelope,
        received_at: UnixTime,
        octets: &[u8],
        deliveries: Vec<NewDelivery>,
    ) -> Self {
        let pieces = octets.chunks(CHUNK_OCTETS).map(<[u8]>::to_vec);
        Self {
            id,
            envelope: Arc::new(envelope),
            received_at,
            size: length(octets),
            staged: 0,
            body: Body(pieces.map(Piece::new).collect()),
            deliveries: deliveries.into(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Its envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Octets in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl std::fmt::Debug for NewMessage {
    /// Without the content, which belongs in no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewMessage")
            .field("id", &self.id)
            .field("size", &self.size)
            .field("deliveries", &self.deliveries)
            .finish_non_exhaustive()
    }
}

/// What is to be done with a message for one next hop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewDelivery {
    /// Where it goes.
    pub next_hop: MailDomain,
    /// For whom; never empty.
    pub recipients: Vec<Mailbox>,
    /// When to try first.
    pub due_at: UnixTime,
    /// When to give up.
    pub expires_at: UnixTime,
}

/// The octets of a message in memory. A copy shares them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Body(pub(crate) Arc<[Piece]>);

impl Body {
    /// The octets, in order.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(|piece| piece.octets.as_slice())
    }

    /// One piece; `None` behind the last.
    #[must_use]
    pub fn piece(&self, place: usize) -> Option<&[u8]> {
        self.0.get(place).map(|piece| piece.octets.as_slice())
    }

    /// How many octets there are.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.pieces().map(length).sum()
    }
}

/// Part of a message, with its checksum.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Piece {
    /// At most [`CHUNK_OCTETS`].
    pub(crate) octets: Vec<u8>,
    /// Over the octets.
    pub(crate) check: i64,
}

impl Piece {
    /// Computes the checksum.
    pub(crate) fn new(octets: Vec<u8>) -> Self {
        let check = check_of([octets.as_slice()]);
        Self { octets, check }
    }
}

impl std::fmt::Debug for Piece {
    /// Without the content, which belongs in no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece")
            .field("octets", &self.octets.len())
            .finish_non_exhaustive()
    }
}

/// A message that is durable, ready for its first attempts without another look at the disk.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its name.
    pub queue_id: QueueId,
    /// One for each delivery, in the order given.
    pub claims: Vec<Claim>,
    /// All octets; `None` if some were written ahead and are on disk only.
    pub body: Option<Body>,
}

/// How many octets there are.
fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

/// Octets of a piece of a message on disk; the last one may have fewer.
pub const CHUNK_OCTETS: usize = 64 * 1024;

/// Octets of one incoming message that are held in memory before they are written ahead.
pub const SPILL_OCTETS: usize = 4 * CHUNK_OCTETS;
