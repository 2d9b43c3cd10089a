//! What the gateway did in the last minutes, for people who come when something has happened already.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use byrnie_mta::Figures;
use byrnie_mta::Live;
use byrnie_mta::Metrics;
use byrnie_mta::QueueHandle;
use byrnie_net::dns::Resolver;
use byrnie_store::Flushes;
use byrnie_store::SqliteStore;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use crate::control::Done;
use crate::control::Recent;
use crate::control::Sample;

/// Remembers what was done.
pub(super) struct History {
    /// Where mail is counted.
    metrics: Arc<Metrics>,
    /// Where questions are counted.
    resolver: Resolver,
    /// Where waits for the disk are counted.
    store: Arc<SqliteStore>,
    /// One each [`INTERVAL`], the oldest first.
    moments: Mutex<VecDeque<Moment>>,
}

/// What had been done at a moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    done: Done,
    /// Deliveries in the queue.
    deliveries: u64,
}

impl History {
    /// Nothing was done yet.
    pub(super) fn new(metrics: Arc<Metrics>, resolver: Resolver, store: Arc<SqliteStore>) -> Self {
        Self {
            metrics,
            resolver,
            store,
            moments: Mutex::default(),
        }
    }

    /// Looks again and again, until `shutdown` ends.
    pub(super) async fn keep(&self, queue: &QueueHandle, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                _ = ticks.tick() => {}
            }
            let Some(live) = queue.live(0).await else {
                return;
            };
            let moment = self.moment(&live);
            let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
            if moments.len() >= MOMENTS_MAX {
                moments.pop_front();
            }
            moments.push_back(moment);
        }
    }

    /// What has been done by now.
    fn moment(&self, live: &Live) -> Moment {
        Moment {
            at: Instant::now(),
            done: self.done(live),
            deliveries: u64::try_from(live.counts.deliveries).unwrap_or(u64::MAX),
        }
    }

    /// What was done since the start.
    pub(super) fn done(&self, live: &Live) -> Done {
        let Figures {
            accepted_tls,
            accepted_clear,
            sent_authenticated,
            sent_encrypted,
            sent_clear,
            connections,
            reused,
        } = self.metrics.figures();
        let Flushes {
            flushes,
            changes,
            microseconds,
        } = self.store.flushes();
        let dns = self.resolver.stats().snapshot();
        Done {
            accepted_tls,
            accepted_clear,
            attempts: live.totals.attempts,
            delivered: live.totals.delivered,
            deferred: live.totals.deferred,
            bounced: live.totals.bounced,
            sent_authenticated,
            sent_encrypted,
            sent_clear,
            connections,
            reused,
            dns_lookups: dns.secure + dns.insecure + dns.bogus + dns.failed,
            dns_hits: dns.cache_hits,
            flushes,
            changes,
            flush_microseconds: microseconds,
        }
    }

    /// What was done in the last minute.
    pub(super) fn recent(&self, live: &Live) -> Recent {
        let now = self.moment(live);
        let moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let since = moments.iter().rev().take(RECENT_MOMENTS).next_back();
        since.map_or_else(Recent::default, |since| Recent {
            seconds: now.at.duration_since(since.at).as_secs_f64(),
            done: now.done.since(since.done),
        })
    }

    /// The last minutes, the oldest sample first.
    pub(super) fn past(&self) -> Vec<Sample> {
        let moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let next = moments.iter().skip(1);
        let pairs = moments.iter().zip(next);
        pairs
            .map(|(before, after)| sample(*before, *after))
            .collect()
    }
}

/// What was done between two moments.
fn sample(before: Moment, after: Moment) -> Sample {
    let done = after.done.since(before.done);
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let per_second = |number: u64| {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        f64::from(number) / seconds.max(f64::EPSILON)
    };
    Sample {
        accepted: per_second(done.accepted_tls + done.accepted_clear),
        delivered: per_second(done.delivered),
        deferred: per_second(done.deferred),
        deliveries: after.deliveries,
    }
}

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Ten minutes.
const MOMENTS_MAX: usize = 301;

/// One minute.
const RECENT_MOMENTS: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sample_is_what_was_done_per_second() {
        let before = Moment {
            at: Instant::now(),
            done: Done {
                accepted_tls: 10,
                accepted_clear: 10,
                delivered: 5,
                ..Done::default()
            },
            deliveries: 9,
        };
        let after = Moment {
            at: before.at + Duration::from_secs(2),
            done: Done {
                accepted_tls: 14,
                accepted_clear: 16,
                delivered: 6,
                ..before.done
            },
            deliveries: 3,
        };
        let expected = Sample {
            accepted: 5.0,
            delivered: 0.5,
            deferred: 0.0,
            deliveries: 3,
        };
        assert_eq!(sample(before, after), expected);
        // Nothing is divided by nothing.
        assert!(sample(before, before).accepted.is_finite());
    }
}
