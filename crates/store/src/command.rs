//! What people do with the queue.

use std::future::Future;
use std::path::Path;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_policy::Strength;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use serde::Serialize;

use crate::Damaged;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::QueueId;
use crate::Receipt;
use crate::RecipientState;
use crate::StoreError;
use crate::Waiting;

/// Looks into the queue and changes it.
///
/// An attached store looks beside a daemon at work; its changes are [`StoreError::Attached`]. Changes
/// are made by the process that holds the daemon's lock, which learns from what they return which
/// deliveries to tell its scheduler about. What is being tried at that moment is tried to the end; a
/// hold or a removal then takes effect on what remains.
pub trait QueueCommands: Send + Sync + 'static {
    /// Deliveries in the order of acceptance.
    fn list(&self, filter: Filter) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;

    /// How many pass the filter, without its `limit`: what a change would touch.
    fn count(&self, filter: Filter) -> impl Future<Output = Result<Counted, StoreError>> + Send;

    /// Everything known about one message: why is it waiting, and what was tried?
    fn show(&self, id: QueueId) -> impl Future<Output = Result<Shown, StoreError>> + Send;

    /// Makes deliveries that wait due at once. Tells of those it changed, a page as soon as it is on disk;
    /// returns how many there were.
    ///
    /// Also of those that are due already: whoever schedules them may not have heard of them.
    fn retry(
        &self,
        filter: Filter,
        now: UnixTime,
        changed: impl FnMut(Vec<Waiting>) + Send,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Holds back deliveries that wait; tells and returns as [`retry`](Self::retry) does.
    fn hold(
        &self,
        filter: Filter,
        changed: impl FnMut(Vec<DeliveryId>) + Send,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Lets held deliveries go on at once; tells and returns as [`retry`](Self::retry) does.
    fn release(
        &self,
        filter: Filter,
        now: UnixTime,
        changed: impl FnMut(Vec<Waiting>) + Send,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Removes deliveries without a word to their senders, and messages of which none is left; tells and
    /// returns as [`retry`](Self::retry) does.
    fn remove(
        &self,
        filter: Filter,
        changed: impl FnMut(Vec<DeliveryId>) + Send,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Compares every message and delivery with its checksums, page by page. Changes nothing.
    fn verify_all(
        &self,
        progress: impl FnMut(Progress) + Send,
    ) -> impl Future<Output = Result<Verified, StoreError>> + Send;

    /// Writes the spool as it is now to a new file, beside the daemon.
    ///
    /// The file appears under its name once it is complete; one that is there already is not touched.
    fn backup(
        &self,
        path: &Path,
        progress: impl FnMut(Progress) + Send,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Which deliveries a command is about: those that pass everything that is set.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only of these messages, each of which must be in the queue; all if empty.
    pub ids: Vec<QueueId>,
    /// Only for this next hop.
    pub next_hop: Option<MailDomain>,
    /// Only from this sender.
    pub sender: Option<SenderFilter>,
    /// Only if this is among the recipients, whatever has happened to it.
    pub recipient: Option<Mailbox>,
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only of messages that arrived before.
    pub received_before: Option<UnixTime>,
    /// Only of messages that arrived then or later.
    pub received_since: Option<UnixTime>,
    /// Only if this stands in the reason why the last attempt did not succeed, in whatever case.
    pub reason: Option<String>,
    /// Only behind this one, to go on where a list ended.
    pub after: Option<DeliveryId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for Filter {
    /// The first hundred deliveries.
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            next_hop: None,
            sender: None,
            recipient: None,
            state: None,
            received_before: None,
            received_since: None,
            reason: None,
            after: None,
            limit: 100,
        }
    }
}

/// From whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SenderFilter {
    /// Exactly this reverse path.
    Path(ReversePath),
    /// Any mailbox of this domain.
    Domain(MailDomain),
}

/// How much passes a filter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counted {
    /// Messages.
    pub messages: u64,
    /// Deliveries.
    pub deliveries: u64,
}

/// How far a long command is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Progress {
    /// Done so far.
    pub done: u64,
    /// In all, as far as known.
    pub total: u64,
}

/// What a look at all checksums found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Verified {
    /// Messages looked at.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// How many messages are damaged.
    pub damaged_total: u64,
    /// The first of them, at most [`DAMAGED_LISTED_MAX`].
    pub damaged: Vec<Damaged>,
}

/// Damaged messages that are named; who has more has other worries than the names.
pub const DAMAGED_LISTED_MAX: usize = 1_000;

/// One line of a list.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Listed {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The message.
    pub queue_id: QueueId,
    /// Where bounces go; empty for the null path.
    pub sender: String,
    /// Where it goes, as it is written.
    pub next_hop: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Recipients that nothing final has happened to.
    pub pending: u32,
    /// Attempts so far.
    pub attempts: u32,
    /// Octets of the message.
    pub size: u64,
    /// When the message was accepted.
    pub received_at: UnixTime,
    /// When it is tried next; `None` if no time is set.
    pub next_attempt_at: Option<UnixTime>,
    /// Why the last attempt did not succeed.
    pub last_reason: Option<String>,
}

/// Everything known about one message.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Shown {
    /// The message.
    pub queue_id: QueueId,
    /// What is still in the queue; `None` once it is done with.
    pub queued: Option<MessageView>,
    /// What was tried, oldest first.
    pub receipts: Vec<Receipt>,
}

/// A message in the queue.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct MessageView {
    /// The envelope with which it was accepted; `None` if it cannot be read any more.
    pub envelope: Option<Envelope>,
    /// Octets.
    pub size: u64,
    /// When it was accepted.
    pub received_at: UnixTime,
    /// What remains to be done.
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery in the queue.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct DeliveryView {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Where it goes, as it is written.
    pub next_hop: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next; `None` if no time is set.
    pub next_attempt_at: Option<UnixTime>,
    /// When it is given up.
    pub expires_at: UnixTime,
    /// The strength that no later attempt may fall below.
    pub floor: Option<Strength>,
    /// Why the last attempt did not succeed.
    pub last_reason: Option<String>,
    /// For whom.
    pub recipients: Vec<RecipientView>,
}

/// A recipient of a delivery.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RecipientView {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Where it stands.
    pub state: RecipientState,
    /// What the next hop said about it last.
    pub reply: Option<Reply>,
}
