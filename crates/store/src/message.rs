//! A message on its way into the spool.

use std::mem;
use std::sync::Arc;

use aws_lc_rs::digest;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_smtp::Envelope;

use crate::QueueId;
use crate::Spool;
use crate::StoreError;

/// A message as it comes in, piece by piece; dropped before [`commit`](Self::commit) it never was.
///
/// Memory is bounded: past [`SPILL_OCTETS`] what has arrived is written ahead.
pub struct Incoming<S: Spool> {
    spool: Arc<S>,
    id: QueueId,
    digest: digest::Context,
    size: u64,
    /// The piece being filled; at most [`CHUNK_OCTETS`].
    filling: Vec<u8>,
    /// Full pieces that are not yet staged; at most [`SPILL_OCTETS`] in all.
    full: Vec<Vec<u8>>,
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
            digest: digest::Context::new(&digest::SHA256),
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
        self.digest.update(octets);
        self.size += length(octets);
        while !octets.is_empty() {
            let room = CHUNK_OCTETS - self.filling.len();
            let (now, later) = octets.split_at(room.min(octets.len()));
            self.filling.extend_from_slice(now);
            octets = later;
            if self.filling.len() == CHUNK_OCTETS {
                self.full.push(mem::take(&mut self.filling));
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
    ) -> Result<(), StoreError> {
        let mut pieces = mem::take(&mut self.full);
        if !self.filling.is_empty() {
            pieces.push(mem::take(&mut self.filling));
        }
        let message = NewMessage {
            id: self.id,
            envelope,
            received_at,
            size: self.size,
            digest: self.digest.clone(),
            staged: self.staged,
            pieces,
            deliveries,
        };
        self.spool.insert(message).await?;
        // Nothing is left for the drop to take back.
        self.staged = 0;
        Ok(())
    }

    /// Writes the full pieces ahead.
    async fn spill(&mut self) -> Result<(), StoreError> {
        let pieces = mem::take(&mut self.full);
        let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        let first = self.staged;
        // Counted first: a call that fails, or is cancelled, may have reached the disk.
        self.staged = first.saturating_add(count);
        self.spool.stage(self.id, first, pieces).await
    }
}

impl<S: Spool> Drop for Incoming<S> {
    fn drop(&mut self) {
        if self.staged > 0 {
            self.spool.abandon(self.id);
        }
    }
}

/// A message that is ready to be made durable.
#[derive(Clone)]
pub struct NewMessage {
    /// Its name.
    pub(crate) id: QueueId,
    /// Its envelope.
    pub(crate) envelope: Envelope,
    /// When it arrived.
    pub(crate) received_at: UnixTime,
    /// Octets in all.
    pub(crate) size: u64,
    /// Over all octets.
    pub(crate) digest: digest::Context,
    /// Pieces on disk already.
    pub(crate) staged: u32,
    /// The pieces behind them.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// What is to be done with it.
    pub(crate) deliveries: Vec<NewDelivery>,
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
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(octets);
        Self {
            id,
            envelope,
            received_at,
            size: length(octets),
            digest,
            staged: 0,
            pieces: octets.chunks(CHUNK_OCTETS).map(<[u8]>::to_vec).collect(),
            deliveries,
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

/// The checksum of a message: SHA-256 over its octets, then its envelope as it is stored.
pub(crate) fn checksum(mut octets: digest::Context, envelope: &str) -> Vec<u8> {
    octets.update(envelope.as_bytes());
    octets.finish().as_ref().to_vec()
}

/// How many octets there are.
fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

/// Octets of a piece of a message on disk; the last one may have fewer.
pub const CHUNK_OCTETS: usize = 64 * 1024;

/// Octets of one incoming message that are held in memory before they are written ahead.
pub const SPILL_OCTETS: usize = 4 * CHUNK_OCTETS;
