//! The way into the queue, and what it is told.

use std::hash::BuildHasher;
use std::hash::BuildHasherDefault;
use std::hash::DefaultHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_base::MailDomain;
use byrnie_store::Accepted;
use byrnie_store::Body;
use byrnie_store::DeliveryId;
use byrnie_store::SenderKey;
use byrnie_store::Waiting;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::attempt::Given;
use super::live::Live;
use super::scheduler::Answer;
use super::scheduler::LaneView;
use super::scheduler::Recorded;

/// Tells the queue what there is to do. Its copies lead to the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Inlet {
    events: mpsc::UnboundedSender<Event>,
    memory: Arc<Memory>,
}

/// What the queue is told.
pub(super) enum Event {
    /// Deliveries of a message that was accepted, all from one sender.
    Fresh(SenderKey, Vec<Fresh>),
    /// The hosts have spoken.
    Ended(DeliveryId, End),
    /// What came of an attempt is on disk, and how many recipients fared how.
    Recorded(DeliveryId, Recorded, Tally),
    /// An attempt came to nothing: it panicked, or the delivery could not be read.
    Lost(DeliveryId),
    /// Somebody wants deliveries to be due.
    Due(Vec<Waiting>),
    /// Somebody has held or removed deliveries.
    Withdrawn(Vec<DeliveryId>),
    /// How to work has changed.
    Reconfigured,
    /// Somebody wants to see what is going on, with at most so many lanes.
    Look(usize, oneshot::Sender<Live>),
    /// Somebody wants to see one lane.
    LookAt(MailDomain, oneshot::Sender<Option<LaneView>>),
}

/// A delivery that was accepted.
pub(super) enum Fresh {
    /// With everything that its first attempt needs.
    HandedOver(Box<Given>),
    /// To be read when its turn comes.
    OnDisk(Waiting),
}

/// How an attempt ended.
pub(super) struct End {
    /// What the hosts made of it.
    pub(super) answer: Answer,
    /// What went wrong.
    pub(super) trouble: Option<String>,
    /// How long it took.
    pub(super) took: Duration,
}

/// How many recipients fared how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    /// Those that hosts took responsibility for.
    pub(super) delivered: u64,
    /// Those that wait.
    pub(super) deferred: u64,
    /// Those that were given up.
    pub(super) bounced: u64,
}

impl Inlet {
    /// A way in, through which at most `octets_max` octets of messages are handed over at a time, and
    /// its end.
    pub(crate) fn new(octets_max: u64) -> (Self, Outlet) {
        let (events, receiver) = mpsc::unbounded_channel();
        let memory = Arc::new(Memory {
            octets: AtomicU64::new(0),
            octets_max,
        });
        (Self { events, memory }, Outlet(receiver))
    }

    /// Takes a message that is durable. Does not wait: once a message is accepted, nothing comes between
    /// it and the queue.
    pub(crate) fn accept(&self, accepted: Accepted) {
        let Some(first) = accepted.claims.first() else {
            return;
        };
        let sender = SenderKey::of(&first.envelope.reverse_path);
        let share = self.memory.share(octets_of(&accepted)).map(Arc::new);
        let body = accepted.body;
        let deliveries = accepted.claims.into_iter().map(|claim| match &share {
            Some(share) => Fresh::HandedOver(Box::new(Given {
                claim,
                body: body.clone(),
                share: Some(Arc::clone(share)),
            })),
            None => Fresh::OnDisk(Waiting {
                delivery: claim.delivery,
                queue_id: claim.queue_id,
                next_hop: claim.next_hop,
                sender,
                due_at: claim.due_at,
                attempts: claim.attempt.saturating_sub(1),
                expires_at: claim.expires_at,
                delay_warning: claim.delay_warning,
            }),
        });
        self.tell(Event::Fresh(sender, deliveries.collect()));
    }

    /// Tells the queue something; a queue that has ended does not mind, as all is on disk.
    pub(super) fn tell(&self, event: Event) {
        _ = self.events.send(event);
    }

    /// Octets that are handed over at present.
    pub(super) fn handed_over_octets(&self) -> u64 {
        self.memory.octets.load(Ordering::Relaxed)
    }

    /// Whether there may soon be no memory for mail that comes.
    pub(super) fn is_short_of_memory(&self) -> bool {
        let octets_max = self.memory.octets_max;
        self.handed_over_octets() > octets_max - octets_max / PART_KEPT_FREE
    }
}

/// The end of the way into the queue.
pub(crate) struct Outlet(pub(super) mpsc::UnboundedReceiver<Event>);

/// Memory for what is handed over.
#[derive(Debug)]
struct Memory {
    octets: AtomicU64,
    octets_max: u64,
}

impl Memory {
    /// Part of it, if there is so much.
    fn share(self: &Arc<Self>, octets: u64) -> Option<Share> {
        let taken = self.octets.fetch_add(octets, Ordering::Relaxed);
        let share = Share {
            octets,
            of: Arc::clone(self),
        };
        // Dropped, it gives back what it took.
        (taken.saturating_add(octets) <= self.octets_max).then_some(share)
    }
}

/// Part of the memory for what is handed over, until the last attempt with it has ended.
pub(super) struct Share {
    octets: u64,
    of: Arc<Memory>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.octets.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

/// About how much memory a message takes until it is delivered.
fn octets_of(accepted: &Accepted) -> u64 {
    let body = accepted.body.as_ref().map_or(0, Body::octets);
    let recipients = accepted.claims.iter().map(|claim| claim.recipients.len());
    let entries = accepted.claims.len().saturating_mul(CLAIM_OCTETS)
        + recipients.sum::<usize>().saturating_mul(RECIPIENT_OCTETS);
    body.saturating_add(u64::try_from(entries).unwrap_or(u64::MAX))
}

/// A sender, as the scheduler tells them apart: two of thousands may share their turns.
pub(super) fn sender_number(sender: SenderKey) -> u32 {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(sender);
    u32::try_from(hash >> 32).unwrap_or_default()
}

/// Which part of the memory is kept free of what can wait: with the default, seconds of mail.
const PART_KEPT_FREE: u64 = 4;

/// About what a claim takes, without its recipients.
const CLAIM_OCTETS: usize = 512;

/// About what a recipient takes, in its claim and in its envelope.
const RECIPIENT_OCTETS: usize = 192;
