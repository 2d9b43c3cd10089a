//! The MTA-STS policies that the gateway knows, for looking at a domain without the gateway.

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_mta::StoredPolicies;
use byrnie_mta_sts::CachedPolicy;
use byrnie_net::sts::CacheError;
use byrnie_net::sts::MemoryPolicyCache;
use byrnie_net::sts::PolicyCache;
use byrnie_store::SqliteStore;

/// What the gateway keeps, and what was fetched since; only the gateway writes into its spool.
#[derive(Debug)]
pub(crate) struct KnownPolicies {
    /// The gateway's, where there is a spool that may be read.
    kept: Option<StoredPolicies<SqliteStore>>,
    /// Fetched by this run, and gone with it.
    fetched: MemoryPolicyCache,
}

impl KnownPolicies {
    /// Starts from what the gateway keeps.
    pub(crate) fn new(kept: Option<StoredPolicies<SqliteStore>>) -> Self {
        Self {
            kept,
            fetched: MemoryPolicyCache::default(),
        }
    }
}

impl PolicyCache for KnownPolicies {
    async fn get(&self, domain: &DomainName) -> Result<Option<CachedPolicy>, CacheError> {
        match (self.fetched.get(domain).await?, &self.kept) {
            (Some(fetched), _) => Ok(Some(fetched)),
            (None, Some(kept)) => kept.get(domain).await,
            (None, None) => Ok(None),
        }
    }

    async fn put(&self, policy: CachedPolicy) -> Result<(), CacheError> {
        self.fetched.put(policy).await
    }

    async fn remove(&self, domain: &DomainName) -> Result<(), CacheError> {
        self.fetched.remove(domain).await
    }

    async fn stale(
        &self,
        fetched_before: UnixTime,
        limit: u32,
    ) -> Result<Vec<CachedPolicy>, CacheError> {
        self.fetched.stale(fetched_before, limit).await
    }
}
