//! Where fetched policies are kept.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::sync::PoisonError;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_mta_sts::CachedPolicy;

/// Keeps policies.
///
/// A policy that is kept protects a domain from whoever cuts it off from its policy host, so a cache
/// that cannot be read is never taken for an empty one.
pub trait PolicyCache: Send + Sync + 'static {
    /// The policy of a domain, dead or alive.
    fn get(
        &self,
        domain: &DomainName,
    ) -> impl Future<Output = Result<Option<CachedPolicy>, CacheError>> + Send;

    /// Keeps a policy in the place of what was there.
    fn put(&self, policy: CachedPolicy) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// Forgets the policy of a domain.
    fn remove(&self, domain: &DomainName) -> impl Future<Output = Result<(), CacheError>> + Send;

    /// The policies last fetched before `fetched_before`, oldest first, at most `limit`.
    fn stale(
        &self,
        fetched_before: UnixTime,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<CachedPolicy>, CacheError>> + Send;
}

/// The cache could not be read or written; the mail that asked waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CacheError {
    /// Why, for people.
    pub why: String,
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the policy cache is out of order: {}", self.why)
    }
}

impl std::error::Error for CacheError {}

/// A cache that ends with the process: for looking at a domain, and for tests.
#[derive(Debug, Default)]
pub struct MemoryPolicyCache {
    /// Owned by whoever holds the lock, which is never held over a wait.
    policies: Mutex<BTreeMap<DomainName, CachedPolicy>>,
}

impl MemoryPolicyCache {
    /// Runs something on the policies.
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<DomainName, CachedPolicy>) -> T) -> T {
        // No step on the map leaves it half done, so that a panic elsewhere does not matter here.
        act(&mut self.policies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PolicyCache for MemoryPolicyCache {
    async fn get(&self, domain: &DomainName) -> Result<Option<CachedPolicy>, CacheError> {
        Ok(self.with(|policies| policies.get(domain).cloned()))
    }

    async fn put(&self, policy: CachedPolicy) -> Result<(), CacheError> {
        self.with(|policies| {
            if policies.len() >= MEMORY_POLICIES_MAX && !policies.contains_key(&policy.domain) {
                let oldest = policies.values().min_by_key(|policy| policy.fetched_at);
                if let Some(oldest) = oldest.map(|policy| policy.domain.clone()) {
                    policies.remove(&oldest);
                }
            }
            policies.insert(policy.domain.clone(), policy);
        });
        Ok(())
    }

    async fn remove(&self, domain: &DomainName) -> Result<(), CacheError> {
        self.with(|policies| policies.remove(domain));
        Ok(())
    }

    async fn stale(
        &self,
        fetched_before: UnixTime,
        limit: u32,
    ) -> Result<Vec<CachedPolicy>, CacheError> {
        let mut stale: Vec<CachedPolicy> = self.with(|policies| {
            let policies = policies.values();
            let stale = policies.filter(|policy| policy.fetched_at < fetched_before);
            stale.cloned().collect()
        });
        stale.sort_by(|a, b| (a.fetched_at, &a.domain).cmp(&(b.fetched_at, &b.domain)));
        stale.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(stale)
    }
}

/// How many policies a [`MemoryPolicyCache`] keeps; the oldest makes room.
pub const MEMORY_POLICIES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_policy_makes_room() {
        let cache = MemoryPolicyCache::default();
        for number in 0..=MEMORY_POLICIES_MAX {
            cache.put(policy(number)).await.unwrap();
        }
        assert_eq!(cache.get(&policy(0).domain).await, Ok(None));
        assert_eq!(cache.get(&policy(1).domain).await, Ok(Some(policy(1))));
        // One that is there already takes no room.
        cache.put(policy(2)).await.unwrap();
        assert_eq!(cache.get(&policy(1).domain).await, Ok(Some(policy(1))));
    }

    #[tokio::test]
    async fn stale_policies_come_oldest_first_and_bounded() {
        let cache = MemoryPolicyCache::default();
        for number in [3, 1, 2] {
            cache.put(policy(number)).await.unwrap();
        }
        let ages = |stale: Vec<CachedPolicy>| -> Vec<u64> {
            stale.iter().map(|policy| policy.fetched_at.0).collect()
        };
        assert_eq!(ages(cache.stale(UnixTime(3), 9).await.unwrap()), [1, 2]);
        assert_eq!(ages(cache.stale(UnixTime(9), 2).await.unwrap()), [1, 2]);
        cache.remove(&policy(1).domain).await.unwrap();
        assert_eq!(ages(cache.stale(UnixTime(9), 2).await.unwrap()), [2, 3]);
    }

    /// A policy that was fetched at second `number`.
    fn policy(number: usize) -> CachedPolicy {
        CachedPolicy::new(
            format!("d{number}.example").parse().unwrap(),
            "1".parse().unwrap(),
            UnixTime(u64::try_from(number).unwrap()),
            String::from("version: STSv1\nmode: none\nmax_age: 9\n"),
        )
        .unwrap()
    }
}
