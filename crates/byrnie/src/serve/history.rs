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
use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use crate::control::Done;
use crate::control::Sample;

/// Remembers what was done.
pub(super) struct History {
    /// Where mail is counted.
    metrics: Arc<Metrics>,
    /// Where questions are counted.
    resolver: Resolver,
    /// One sample each [`INTERVAL`], the oldest first.
    samples: Mutex<VecDeque<Sample>>,
}

impl History {
    /// Nothing was done yet.
    pub(super) fn new(metrics: Arc<Metrics>, resolver: Resolver) -> Self {
        Self {
            metrics,
            resolver,
            samples: Mutex::default(),
        }
    }

    /// Looks again and again, until `shutdown` ends.
    pub(super) async fn keep(&self, queue: &QueueHandle, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut ticks = interval(INTERVAL);
        // A sample that comes late is one of a longer time.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<(tokio::time::Instant, Done)> = None;
        loop {
            let now = tokio::select! {
                () = &mut shutdown => return,
                now = ticks.tick() => now,
            };
            let Some(live) = queue.live(0).await else {
                return;
            };
            let done = self.done(&live);
            if let Some((before, done_before)) = last {
                let sample = sample(
                    done,
                    done_before,
                    now.duration_since(before),
                    live.counts.deliveries,
                );
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                if samples.len() >= SAMPLES_MAX {
                    samples.pop_front();
                }
                samples.push_back(sample);
            }
            last = Some((now, done));
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
        }
    }

    /// The last minutes, the oldest sample first.
    pub(super) fn past(&self) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().copied().collect()
    }
}

/// What was done in a time, at whose end so many deliveries are in the queue.
fn sample(done: Done, before: Done, time: Duration, deliveries: usize) -> Sample {
    let per_second = |now: u64, then: u64| {
        let number = u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX);
        f64::from(number) / time.as_secs_f64().max(f64::EPSILON)
    };
    let accepted = |done: Done| done.accepted_tls + done.accepted_clear;
    Sample {
        accepted: per_second(accepted(done), accepted(before)),
        delivered: per_second(done.delivered, before.delivered),
        deferred: per_second(done.deferred, before.deferred),
        deliveries: u64::try_from(deliveries).unwrap_or(u64::MAX),
    }
}

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Ten minutes.
const SAMPLES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_what_was_done_per_second() {
        let before = Done {
            accepted_tls: 10,
            accepted_clear: 10,
            delivered: 5,
            ..Done::default()
        };
        let done = Done {
            accepted_tls: 14,
            accepted_clear: 16,
            delivered: 6,
            ..before
        };
        let expected = Sample {
            accepted: 5.0,
            delivered: 0.5,
            deferred: 0.0,
            deliveries: 3,
        };
        assert_eq!(sample(done, before, Duration::from_secs(2), 3), expected);
        // Nothing is divided by nothing.
        assert!(sample(done, before, Duration::ZERO, 3).accepted.is_finite());
    }
}
