//! One message for one next hop, from its claim to its end.

use std::fmt;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_policy::Strength;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use serde::Deserialize;
use serde::Serialize;

use crate::NewMessage;
use crate::QueueId;
use crate::Receipt;

/// Names a delivery within its spool.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeliveryId(pub(crate) i64);

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Accepted and not yet tried.
    Incoming,
    /// Being tried.
    Active,
    /// Tried; waits for the next attempt.
    Deferred,
    /// Held back by the operator.
    Hold,
    /// The message does not match its checksum; never sent, kept for the operator.
    Corrupt,
}

impl DeliveryState {
    /// All of them, in the order of a delivery's life.
    pub const ALL: [Self; 5] = [
        Self::Incoming,
        Self::Active,
        Self::Deferred,
        Self::Hold,
        Self::Corrupt,
    ];

    /// The word for it on disk, on the command line and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Active => "active",
            Self::Deferred => "deferred",
            Self::Hold => "hold",
            Self::Corrupt => "corrupt",
        }
    }

    /// The state of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much the caller of [`Spool::claim`](crate::Spool::claim) can work on.
#[derive(Clone, Debug)]
pub struct Room {
    /// Deliveries in all.
    pub total: u32,
    /// Deliveries that were tried before, as part of all. The rest is for first attempts, so that
    /// mail for hosts that answer does not wait behind mail for hosts that never do.
    pub retries: u32,
    /// Deliveries for one next hop, those in progress included.
    pub per_next_hop: u32,
    /// Next hops with deliveries in progress, and how many.
    pub in_progress: Vec<(MailDomain, u32)>,
}

/// What [`Spool::claim`](crate::Spool::claim) found.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// Deliveries that are now active and the caller's to finish.
    pub claims: Vec<Claim>,
    /// Deliveries that turned out to be damaged; they are now [`DeliveryState::Corrupt`].
    pub damaged: Vec<Damaged>,
}

/// A delivery whose record does not make sense.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damaged {
    /// The message.
    pub queue_id: QueueId,
    /// What is wrong.
    pub what: String,
}

/// A delivery to be tried.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its message.
    pub queue_id: QueueId,
    /// Which attempt this is: 1 for the first.
    pub attempt: u32,
    /// Where it goes.
    pub next_hop: MailDomain,
    /// The recipients that nothing final has happened to; never empty.
    pub recipients: Vec<PendingRecipient>,
    /// The envelope with which the message was accepted; its recipients are those of all deliveries.
    pub envelope: Envelope,
    /// Octets of the message.
    pub size: u64,
    /// When the message was accepted.
    pub received_at: UnixTime,
    /// When to give up.
    pub expires_at: UnixTime,
    /// The strength that no attempt may fall below.
    pub floor: Option<Strength>,
    /// Why the last attempt did not succeed.
    pub last_reason: Option<String>,
}

/// A recipient that nothing final has happened to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PendingRecipient {
    /// Its place within the delivery.
    pub position: u32,
    /// The mailbox.
    pub mailbox: Mailbox,
}

/// What an attempt came to; stored as a whole or not at all.
#[derive(Clone, Debug)]
pub struct AttemptEnd {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The attempt that the claim named. An attempt is recorded once; a second time changes nothing.
    pub attempt: u32,
    /// Recipients that something final happened to. The others are tried again.
    pub ended: Vec<RecipientEnd>,
    /// When those that remain are tried again.
    pub next_attempt_at: UnixTime,
    /// The strength that no later attempt may fall below.
    pub floor: Option<Strength>,
    /// Why recipients remain.
    pub reason: Option<String>,
    /// What to keep of the attempt.
    pub receipts: Vec<Receipt>,
    /// The bounce for the recipients that are given up.
    pub bounce: Option<NewMessage>,
}

/// The final thing that happened to a recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecipientEnd {
    /// Its place within the delivery.
    pub position: u32,
    /// What happened.
    pub state: RecipientState,
    /// What the host said.
    pub reply: Option<Reply>,
}

/// Where one recipient of a delivery stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientState {
    /// Nothing final has happened.
    Pending,
    /// The next hop took responsibility.
    Delivered,
    /// Given up; the sender is told.
    Bounced,
}

impl RecipientState {
    /// The word for it on disk.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Bounced => "bounced",
        }
    }

    /// The state of this word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Bounced]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// What became of a delivery when its attempt was recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finished {
    /// Nothing is left to do for it; it is gone.
    Retired,
    /// Recipients remain, in this state.
    Remains(DeliveryState),
    /// This attempt was recorded before, or the delivery is gone.
    AlreadyRecorded,
}
