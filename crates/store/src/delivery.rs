//! One message for one next hop, from its claim to its end.

use std::fmt;
use std::sync::Arc;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_policy::Strength;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use serde::Deserialize;
use serde::Serialize;

use crate::Accepted;
use crate::Body;
use crate::NewMessage;
use crate::QueueId;
use crate::Receipt;
use crate::check::check_of;

/// Names a delivery within its spool; larger ones were accepted later.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct DeliveryId(pub(crate) i64);

/// Where a delivery stands on disk. That one is being tried is known to the daemon alone.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Accepted and not yet tried.
    Incoming,
    /// Tried; waits for the next attempt.
    Deferred,
    /// Held back by the operator.
    Hold,
    /// Something of it does not match its checksum; never sent, kept for the operator.
    Corrupt,
}

impl DeliveryState {
    /// All of them, in the order of a delivery's life.
    pub const ALL: [Self; 4] = [Self::Incoming, Self::Deferred, Self::Hold, Self::Corrupt];

    /// The word for it on disk, on the command line and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
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

    /// The number for it on disk.
    pub(crate) fn to_number(self) -> i64 {
        match self {
            Self::Incoming => 0,
            Self::Deferred => 1,
            Self::Hold => 2,
            Self::Corrupt => 3,
        }
    }

    /// The state of this number.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.to_number() == number)
    }

    /// The state of this number, for counting: one that makes no sense is damage.
    pub(crate) fn or_corrupt(number: i64) -> Self {
        Self::from_number(number).unwrap_or(Self::Corrupt)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Names the sender of a message where senders take turns.
///
/// Addresses that differ only behind the first character of their local part that is no letter share a
/// name: many mailings give each message a sender of its own, `bounce-4711@list.example`, and would
/// otherwise have the turns of thousands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SenderKey(u64);

impl SenderKey {
    /// The name of a sender; the null path is one too.
    #[must_use]
    pub fn of(sender: &ReversePath) -> Self {
        Self::of_text(&sender.to_string())
    }

    /// The name of a sender as it is written.
    pub(crate) fn of_text(sender: &str) -> Self {
        let (local_part, domain) = sender.rsplit_once('@').unwrap_or((sender, ""));
        let letters = local_part
            .split(|c: char| !c.is_alphabetic())
            .next()
            .unwrap_or_default();
        let (letters, domain) = (letters.to_lowercase(), domain.to_lowercase());
        let check = check_of([letters.as_bytes(), domain.as_bytes()]);
        Self(u64::from_ne_bytes(check.to_ne_bytes()))
    }
}

/// A delivery that waits for its time, as compactly as a scheduler keeps it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its message.
    pub queue_id: QueueId,
    /// Where it goes.
    pub next_hop: MailDomain,
    /// From whom.
    pub sender: SenderKey,
    /// When it is tried next.
    pub due_at: UnixTime,
    /// Attempts so far.
    pub attempts: u32,
    /// When to give up.
    pub expires_at: UnixTime,
    /// Whether the sender was told that it takes long.
    pub delay_warning: DelayWarning,
}

/// What [`Spool::claim`](crate::Spool::claim) found.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// It can be tried; with the body if that is small enough to have been read with it.
    Ready(Box<Claim>, Option<Body>),
    /// It is damaged, and now [`DeliveryState::Corrupt`].
    Damaged(Damaged),
    /// It is not there any more, or held back: there is nothing to do for now.
    Gone,
}

/// A message or delivery whose record does not match its checksum.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
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
    pub envelope: Arc<Envelope>,
    /// Octets of the message.
    pub size: u64,
    /// When the message was accepted.
    pub received_at: UnixTime,
    /// When it is or was to be tried.
    pub due_at: UnixTime,
    /// When to give up.
    pub expires_at: UnixTime,
    /// The strength that no attempt may fall below.
    pub floor: Option<Strength>,
    /// Why the last attempt did not succeed.
    pub last_reason: Option<String>,
    /// Whether the sender knows that it takes long.
    pub delay_warning: DelayWarning,
}

/// Whether the sender was told that a delivery takes long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DelayWarning {
    /// Not yet.
    Unsent,
    /// Once, which is enough.
    Sent,
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
    /// Its message.
    pub queue_id: QueueId,
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
    /// The warning that the recipients that remain have to wait; the delivery then counts as
    /// [`DelayWarning::Sent`].
    pub delay_warning: Option<NewMessage>,
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

/// What [`Spool::finish`](crate::Spool::finish) did.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What became of the delivery.
    pub became: Became,
    /// The bounce and the delay warning that went in with it, ready to be tried. They are here again if
    /// the call is repeated because its answer was lost.
    pub accepted: Vec<Accepted>,
}

/// What became of a delivery when its attempt was recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Became {
    /// Nothing is left to do for it; it is gone.
    Retired,
    /// Recipients remain; it is tried again when the attempt's end said.
    Deferred,
    /// Recipients remain, in this state: somebody held it back meanwhile, or it was found damaged.
    Kept(DeliveryState),
    /// This attempt was recorded before, or somebody removed the delivery meanwhile.
    AlreadyGone,
}
