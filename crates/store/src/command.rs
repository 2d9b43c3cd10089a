//! What people do with the queue.

use std::future::Future;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_policy::Strength;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use serde::Serialize;

use crate::DeliveryState;
use crate::QueueId;
use crate::Receipt;
use crate::RecipientState;
use crate::StoreError;

/// Looks into the queue and changes it, also while a daemon works on it.
///
/// A daemon takes notice at its next poll. What is being tried at that moment is tried to the end:
/// a hold or a removal then takes effect on what remains.
pub trait QueueCommands: Send + Sync + 'static {
    /// Deliveries in the order of their messages' arrival.
    fn list(
        &self,
        filter: ListFilter,
    ) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;

    /// Everything known about one message: why is it waiting, and what was tried?
    fn show(&self, id: QueueId) -> impl Future<Output = Result<Shown, StoreError>> + Send;

    /// Makes deferred deliveries due at once; returns how many.
    fn retry(
        &self,
        selection: Selection,
        now: UnixTime,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Holds deliveries back; returns how many.
    fn hold(&self, selection: Selection) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Lets held deliveries go on at once; returns how many.
    fn release(
        &self,
        selection: Selection,
        now: UnixTime,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Removes messages without telling anybody; returns of how many deliveries.
    fn remove(&self, selection: Selection) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Which messages a command is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Selection {
    /// One; it must exist.
    Message(QueueId),
    /// All in the queue.
    All,
}

/// Which deliveries to list.
#[derive(Clone, Debug)]
pub struct ListFilter {
    /// Only for this next hop.
    pub next_hop: Option<MailDomain>,
    /// Only from this reverse path.
    pub sender: Option<ReversePath>,
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only messages behind this one, to go on where a list ended.
    pub after: Option<QueueId>,
    /// At most so many messages, each with all its deliveries that pass; so a list that goes on behind
    /// the last message leaves nothing out.
    pub limit: u32,
}

impl Default for ListFilter {
    /// The first hundred messages.
    fn default() -> Self {
        Self {
            next_hop: None,
            sender: None,
            state: None,
            after: None,
            limit: 100,
        }
    }
}

/// One line of a list.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Listed {
    /// The message.
    pub queue_id: QueueId,
    /// Where bounces go; empty for the null path.
    pub sender: String,
    /// Where it goes.
    pub next_hop: MailDomain,
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
    /// Where it goes.
    pub next_hop: MailDomain,
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
