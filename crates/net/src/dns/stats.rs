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
}

/// One more; the counters guard nothing, so that no order is needed.
fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
