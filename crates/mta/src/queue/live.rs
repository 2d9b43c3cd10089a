//! The queue as it is at this moment, for people, and how they change it.

use std::sync::Arc;
use std::time::Duration;

use byrnie_base::MailDomain;
use byrnie_base::UnixTime;
use byrnie_store::Accepted;
use byrnie_store::DeliveryId;
use byrnie_store::Waiting;
use tokio::sync::oneshot;

use super::inlet::Event;
use super::inlet::Inlet;
use super::scheduler::Counts;
use super::scheduler::LaneView;

/// Looks into a queue at work, and tells it what was changed in the store.
#[derive(Clone, Debug)]
pub struct QueueHandle(Inlet);

impl QueueHandle {
    /// Of this queue.
    pub(crate) fn new(inlet: Inlet) -> Self {
        Self(inlet)
    }

    /// A message of ours is durable.
    pub(crate) fn accept(&self, accepted: Accepted) {
        self.0.accept(accepted);
    }

    /// Deliveries were made due in the store: retried or released. A next hop that was left alone
    /// because its hosts do not answer is asked again.
    pub fn due(&self, changed: Vec<Waiting>) {
        self.0.tell(Event::Due(changed));
    }

    /// Deliveries were held or removed in the store.
    pub fn withdrawn(&self, changed: Vec<DeliveryId>) {
        self.0.tell(Event::Withdrawn(changed));
    }

    /// How to work has changed in the settings that it was made with.
    pub(crate) fn reconfigured(&self) {
        self.0.tell(Event::Reconfigured);
    }

    /// The queue as it is, with the lanes that have the most deliveries; `None` once it has ended.
    pub async fn live(&self, lanes_max: usize) -> Option<Live> {
        let (answer, answered) = oneshot::channel();
        self.0.tell(Event::Look(lanes_max, answer));
        answered.await.ok()
    }

    /// What is known about one next hop; `None` if nothing is, or once the queue has ended.
    pub async fn lane(&self, next_hop: MailDomain) -> Option<LaneView> {
        let (answer, answered) = oneshot::channel();
        self.0.tell(Event::LookAt(next_hop, answer));
        answered.await.ok().flatten()
    }
}

/// The queue at one moment.
#[derive(Clone, Debug)]
pub struct Live {
    /// When.
    pub at: UnixTime,
    /// Whether all that lay on disk at the start is known.
    pub loading: Loading,
    /// Whether the store takes what it is given; if not, nothing is started.
    pub store: StoreHealth,
    /// Deliveries and lanes.
    pub counts: Counts,
    /// Attempts whose outcome is being recorded.
    pub recording: usize,
    /// Octets of messages in memory.
    pub handed_over_octets: u64,
    /// What was done since the start; from two of them a rate is made.
    pub totals: Totals,
    /// The lanes with the most deliveries, the longest first.
    pub lanes: Vec<LaneView>,
    /// Attempts in progress, the longest first; at most [`ACTIVE_SHOWN_MAX`].
    pub active: Vec<Active>,
}

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Deliveries that were accepted.
    pub accepted: u64,
    /// Attempts that were begun.
    pub attempts: u64,
    /// Recipients that hosts took responsibility for.
    pub delivered: u64,
    /// How often recipients were put off.
    pub deferred: u64,
    /// Recipients that were given up.
    pub bounced: u64,
}

/// An attempt in progress.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Active {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Where it goes.
    pub next_hop: Arc<MailDomain>,
    /// For how long.
    pub since: Duration,
}

/// Whether all that lay on disk at the start is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loading {
    /// Not yet.
    UnderWay,
    /// It is.
    Done,
}

/// Whether the store takes what it is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreHealth {
    /// It does.
    Working,
    /// It does not.
    Failing,
}

/// Attempts shown at most; who has more looks at lanes.
pub const ACTIVE_SHOWN_MAX: usize = 1_000;
