//! What the gateway does when commands ask for it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use byrnie_base::MailDomain;
use byrnie_mta::Live;
use byrnie_mta::Loading;
use byrnie_mta::MtaControl;
use byrnie_mta::QueueHandle;
use byrnie_mta::StoreHealth;
use byrnie_mta::scheduler::LaneView;
use byrnie_store::Spool;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use rustix::fs::statvfs;
use serde::Serialize;
use serde_json::Value;
use tracing::warn;

use super::door::Obey;
use super::helm::Helm;
use super::history::History;
use super::receiving::Receiving;
use super::reload::Reloader;
use crate::control::ActiveDelivery;
use crate::control::DamagedMessage;
use crate::control::Destination;
use crate::control::Disk;
use crate::control::Glance;
use crate::control::QueueCounts;
use crate::control::Request;
use crate::control::Spot;
use crate::failure::Failure;

/// Does what commands ask for.
pub(super) struct Butler {
    /// Reads the configuration again.
    pub(super) reloader: Arc<Reloader>,
    /// Where the mail is.
    pub(super) store: Arc<SqliteStore>,
    /// Where that lies.
    pub(super) options: SqliteOptions,
    /// What takes it in.
    pub(super) control: MtaControl,
    /// What sends it.
    pub(super) queue: QueueHandle,
    /// Where deliveries are changed.
    pub(super) helm: Helm<SqliteStore, QueueHandle>,
    /// What was done of late.
    pub(super) history: History,
    /// Where TLS reports are kept.
    pub(super) receiving: Arc<Receiving>,
}

impl Obey for Butler {
    async fn obey(&self, request: Request) -> Result<Value, Failure> {
        match request {
            Request::Reload => {
                let reloader = Arc::clone(&self.reloader);
                answer(&Reloader::reload_aside(reloader).await?)
            }
            Request::Steer { action, selection } => {
                answer(&self.helm.steer(action, &selection).await?)
            }
            Request::Look {
                destinations,
                named,
            } => answer(&self.look(destinations, named).await?),
            Request::TakeReport { octets } => answer(&self.receiving.take(&octets).await?),
            Request::PutAside { damaged } => {
                self.put_aside(&damaged).await?;
                Ok(Value::Null)
            }
            Request::PublishAnew { domain } => answer(&self.reloader.publish_anew(&domain).await?),
        }
    }
}

/// What is sent back.
pub(super) fn answer(value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::runtime(error.to_string()))
}

impl Butler {
    /// Sees to it that damaged messages are never sent.
    async fn put_aside(&self, damaged: &[DamagedMessage]) -> Result<(), Failure> {
        for message in damaged {
            let (queue_id, reason) = (message.queue_id, &message.what);
            let marked = self.store.mark_corrupt(queue_id, reason.clone()).await;
            marked.map_err(|error| Failure::store(&error))?;
            warn!(target: "byrnie::queue", %queue_id, %reason, "corrupt");
        }
        Ok(())
    }

    /// What is going on.
    async fn look(&self, destinations: u32, named: Vec<MailDomain>) -> Result<Glance, Failure> {
        let most = destinations.min(DESTINATIONS_MAX);
        let most = usize::try_from(most).unwrap_or_default();
        let ending = || Failure::runtime("the gateway is ending").hint("look again once it runs");
        let live = self.queue.live(most).await.ok_or_else(ending)?;
        let mut spots = Vec::new();
        for domain in named.into_iter().take(NAMED_MAX) {
            let lane = self.queue.lane(domain.clone()).await;
            let destination = lane.as_ref().map(destination);
            spots.push(Spot {
                domain,
                destination,
            });
        }
        let active = live.active.iter().map(|active| ActiveDelivery {
            delivery: active.delivery,
            domain: MailDomain::clone(&active.next_hop),
            milliseconds: milliseconds(active.since),
        });
        Ok(Glance {
            at: live.at,
            loading: live.loading == Loading::UnderWay,
            store_failing: live.store == StoreHealth::Failing,
            queue: self.counts(&live),
            done: self.history.done(&live),
            recent: self.history.recent(&live),
            disk: self.disk(),
            sessions: number(self.control.sessions()),
            destinations: live.lanes.iter().map(destination).collect(),
            active: active.collect(),
            spots,
            past: self.history.past(),
        })
    }

    /// The disk under the spool; what cannot be measured counts as 0.
    fn disk(&self) -> Disk {
        let database = self.options.database();
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let log = database.with_extension(LOG_EXTENSION);
        let free = statvfs(&self.options.directory);
        Disk {
            spool_octets: size(&database).saturating_add(size(&log)),
            free_octets: free.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        }
    }

    /// How much waits.
    fn counts(&self, live: &Live) -> QueueCounts {
        let depth = self.store.depth();
        QueueCounts {
            messages: depth.messages,
            oldest_seconds: depth.age_of_oldest(live.at).as_secs(),
            states: depth.deliveries,
            deferred: number(live.counts.deferred),
            due: number(live.counts.waiting),
            in_progress: live.counts.in_progress.into(),
            slow: live.counts.in_progress_slowly.into(),
            destinations: number(live.counts.lanes),
            octets_in_memory: live.handed_over_octets,
        }
    }
}

/// A lane, for people.
fn destination(lane: &LaneView) -> Destination {
    Destination {
        domain: MailDomain::clone(&lane.next_hop),
        deliveries: lane.deliveries,
        due: lane.due,
        in_progress: lane.in_progress,
        window: lane.window,
        closed_until: lane.closed_until,
        trouble: lane.trouble.clone(),
        attempt_milliseconds: milliseconds(lane.attempt_time),
    }
}

/// A length of time.
fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How many.
fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What stands behind the dot in the name of the log that belongs to the database.
const LOG_EXTENSION: &str = "sqlite3-wal";

/// Next hops in one answer; whoever wants more asks for them by name.
const DESTINATIONS_MAX: u32 = 1_000;

/// Next hops that can be named in one question: those of one message.
const NAMED_MAX: usize = 1_000;
