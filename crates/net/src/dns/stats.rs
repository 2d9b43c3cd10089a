//! What the resolver counts.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use byrnie_base::LookupError;
use byrnie_base::Security;

use super::Answer;

/// Counters of one resolver, since it was made.
///
/// Others read them whenever they like; they are never reset.
#[derive(Debug, Default)]
pub struct DnsStats {
    /// Lookups that ended secure, along the whole chain of aliases.
    secure: AtomicU64,
    /// Lookups that ended insecure.
    insecure: AtomicU64,
    /// Lookups that ended bogus.
    bogus: AtomicU64,
    /// Lookups that failed.
    failed: AtomicU64,
    /// Lookups answered from the cache.
    cache_hits: AtomicU64,
    /// Questions sent to an upstream, each try and each transport on its own.
    upstream_queries: AtomicU64,
    /// Questions asked again over TCP because the answer did not fit into a datagram.
    truncated: AtomicU64,
    /// Refreshes of trust anchors that went well.
    anchor_refreshes: AtomicU64,
    /// Refreshes of trust anchors that failed.
    anchor_failures: AtomicU64,
    /// Refreshes of trust anchors whose result could not be stored.
    anchors_not_kept: AtomicU64,
    /// Trust anchors all of whose keys are revoked, at present.
    dead_anchors: AtomicU64,
    /// Negative trust anchors that count, at present.
    negative_anchors: AtomicU64,
}

impl DnsStats {
    /// All counters as they stand now.
    #[must_use]
    pub fn snapshot(&self) -> DnsCounts {
        DnsCounts {
            secure: self.secure.load(Ordering::Relaxed),
            insecure: self.insecure.load(Ordering::Relaxed),
            bogus: self.bogus.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            cache_hits: self.cache_hits.load(Ordering::Relaxed),
            upstream_queries: self.upstream_queries.load(Ordering::Relaxed),
            truncated: self.truncated.load(Ordering::Relaxed),
            anchor_refreshes: self.anchor_refreshes.load(Ordering::Relaxed),
            anchor_failures: self.anchor_failures.load(Ordering::Relaxed),
            anchors_not_kept: self.anchors_not_kept.load(Ordering::Relaxed),
            dead_anchors: self.dead_anchors.load(Ordering::Relaxed),
            negative_anchors: self.negative_anchors.load(Ordering::Relaxed),
        }
    }

    /// Counts a finished lookup by its status.
    pub(super) fn count_answer(&self, answer: &Answer) {
        let counter = match (&answer.outcome, answer.security()) {
            (Err(LookupError::Bogus(_)), _) => &self.bogus,
            (Err(LookupError::Failed(_)), _) => &self.failed,
            (Ok(_), Some(Security::Secure)) => &self.secure,
            (Ok(_), Some(Security::Insecure) | None) => &self.insecure,
        };
        add_one(counter);
    }

    /// Counts a lookup that the cache answered.
    pub(super) fn count_cache_hit(&self) {
        add_one(&self.cache_hits);
    }

    /// Counts a question on its way to an upstream.
    pub(super) fn count_upstream_query(&self) {
        add_one(&self.upstream_queries);
    }

    /// Counts a refresh of a trust anchor that went well.
    pub(super) fn count_anchor_refresh(&self) {
        add_one(&self.anchor_refreshes);
    }

    /// Counts a refresh of a trust anchor that failed.
    pub(super) fn count_anchor_failure(&self) {
        add_one(&self.anchor_failures);
    }

    /// Counts a refresh of a trust anchor whose result could not be stored.
    pub(super) fn count_anchor_not_kept(&self) {
        add_one(&self.anchors_not_kept);
    }

    /// Notes how many anchors have no key left, and how many negative ones count.
    pub(super) fn set_anchors(&self, dead: usize, negative: usize) {
        let set = |gauge: &AtomicU64, count| {
            gauge.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        set(&self.dead_anchors, dead);
        set(&self.negative_anchors, negative);
    }

    /// Counts an answer that did not fit into a datagram.
    pub(super) fn count_truncated(&self) {
        add_one(&self.truncated);
    }
}

/// The counters of [`DnsStats`] at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DnsCounts {
    /// Lookups that ended secure, along the whole chain of aliases.
    pub secure: u64,
    /// Lookups that ended insecure.
    pub insecure: u64,
    /// Lookups that ended bogus.
    pub bogus: u64,
    /// Lookups that failed.
    pub failed: u64,
    /// Lookups answered from the cache.
    pub cache_hits: u64,
    /// Questions sent to an upstream, each try and each transport on its own.
    pub upstream_queries: u64,
    /// Questions asked again over TCP because the answer did not fit into a datagram.
    pub truncated: u64,
    /// Refreshes of trust anchors that went well.
    pub anchor_refreshes: u64,
    /// Refreshes of trust anchors that failed.
    pub anchor_failures: u64,
    /// Refreshes of trust anchors whose result could not be stored.
    pub anchors_not_kept: u64,
    /// Trust anchors all of whose keys are revoked, at present.
    pub dead_anchors: u64,
    /// Negative trust anchors that count, at present.
    pub negative_anchors: u64,
}

/// One more; the counters guard nothing, so that no order is needed.
fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
