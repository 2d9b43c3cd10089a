//! MTA-STS policies in the store, where they survive a restart (behaviour rule 24).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_mta_sts::CachedPolicy;
use byrnie_net::dns::Resolve;
use byrnie_net::sts::CacheError;
use byrnie_net::sts::FetchPolicy;
use byrnie_net::sts::PolicyCache;
use byrnie_net::sts::StsPolicies;
use byrnie_store::StoreError;
use byrnie_store::StsRecord;
use byrnie_store::StsRecords;
use tokio::time;

/// Keeps policies in the store.
#[derive(Debug)]
pub struct StoredPolicies<S>(Arc<S>);

impl<S: StsRecords> StoredPolicies<S> {
    /// Keeps policies in this store.
    #[must_use]
    pub fn new(store: Arc<S>) -> Self {
        Self(store)
    }
}

impl<S: StsRecords> PolicyCache for StoredPolicies<S> {
    async fn get(&self, domain: &DomainName) -> Result<Option<CachedPolicy>, CacheError> {
        let record = self.0.sts_record(domain).await;
        let record = record.map_err(|error| unreadable(&error))?;
        record.as_ref().map(policy).transpose()
    }

    async fn put(&self, policy: CachedPolicy) -> Result<(), CacheError> {
        let record = StsRecord {
            domain: policy.domain,
            id: policy.id.to_string(),
            body: policy.body,
            fetched_at: policy.fetched_at,
        };
        let put = self.0.put_sts_record(record).await;
        put.map_err(|error| unreadable(&error))
    }

    async fn remove(&self, domain: &DomainName) -> Result<(), CacheError> {
        let removed = self.0.remove_sts_record(domain).await;
        removed.map_err(|error| unreadable(&error))
    }

    async fn stale(
        &self,
        fetched_before: UnixTime,
        limit: u32,
    ) -> Result<Vec<CachedPolicy>, CacheError> {
        let records = self.0.stale_sts_records(fetched_before, limit).await;
        let records = records.map_err(|error| unreadable(&error))?;
        // One that cannot be read must not let all others expire.
        let policies = records.iter().filter_map(|record| match policy(record) {
            Ok(policy) => Some(policy),
            Err(error) => {
                tracing::error!(%error, "a policy is not refreshed");
                None
            }
        });
        Ok(policies.collect())
    }
}

/// A policy from what was kept.
fn policy(record: &StsRecord) -> Result<CachedPolicy, CacheError> {
    let broken = |why: &dyn std::fmt::Display| CacheError {
        why: format!("the kept policy of {} cannot be read: {why}", record.domain),
    };
    let id = record.id.parse().map_err(|why| broken(&why))?;
    CachedPolicy::new(
        record.domain.clone(),
        id,
        record.fetched_at,
        record.body.clone(),
    )
    .map_err(|why| broken(&why))
}

/// The store could not be used.
fn unreadable(error: &StoreError) -> CacheError {
    CacheError {
        why: error.to_string(),
    }
}

/// Renews policies ahead of their end, until `shutdown`.
pub(crate) async fn refresh<R: Resolve, C: PolicyCache, F: FetchPolicy>(
    policies: &StsPolicies<R, C, F>,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            () = time::sleep(REFRESH_INTERVAL) => {}
        }
        let refreshed = tokio::select! {
            () = &mut shutdown => return,
            refreshed = Box::pin(policies.refresh_due()) => refreshed,
        };
        match refreshed {
            Ok(report) => tracing::debug!(?report, "refreshed MTA-STS policies"),
            Err(error) => tracing::error!(%error, "cannot refresh MTA-STS policies"),
        }
    }
}

/// How often to look for policies to renew.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use byrnie_store::SqliteOptions;
    use byrnie_store::SqliteStore;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_policy_comes_back_as_it_was_kept() {
        let directory = TempDir::new().unwrap();
        let options = SqliteOptions::in_directory(directory.path());
        let store = SqliteStore::open(options.clone()).unwrap();
        let kept = CachedPolicy::new(
            "a.example".parse().unwrap(),
            "20260101".parse().unwrap(),
            UnixTime(5),
            String::from("version: STSv1\r\nmode: enforce\r\nmx: mx.a.example\r\nmax_age: 9\r\n"),
        )
        .unwrap();
        let cache = StoredPolicies::new(Arc::new(store));
        cache.put(kept.clone()).await.unwrap();
        drop(cache);

        let store = SqliteStore::open(options).unwrap();
        let cache = StoredPolicies::new(Arc::new(store));
        assert_eq!(cache.get(&kept.domain).await, Ok(Some(kept.clone())));
        assert_eq!(cache.stale(UnixTime(6), 9).await, Ok(vec![kept.clone()]));
        cache.remove(&kept.domain).await.unwrap();
        assert_eq!(cache.get(&kept.domain).await, Ok(None));
    }

    #[tokio::test]
    async fn a_policy_that_cannot_be_read_is_no_missing_policy() {
        let directory = TempDir::new().unwrap();
        let store = SqliteStore::open(SqliteOptions::in_directory(directory.path())).unwrap();
        let domain: DomainName = "a.example".parse().unwrap();
        let record = StsRecord {
            domain: domain.clone(),
            id: String::from("1"),
            body: String::from("rubbish"),
            fetched_at: UnixTime(5),
        };
        store.put_sts_record(record).await.unwrap();
        let cache = StoredPolicies::new(Arc::new(store));
        assert!(cache.get(&domain).await.is_err());

        // It does not keep others from being renewed.
        let body = "version: STSv1\nmode: enforce\nmx: mx.b.example\nmax_age: 9\n";
        let good = CachedPolicy::new(
            "b.example".parse().unwrap(),
            "1".parse().unwrap(),
            UnixTime(6),
            String::from(body),
        )
        .unwrap();
        cache.put(good.clone()).await.unwrap();
        assert_eq!(cache.stale(UnixTime(7), 9).await, Ok(vec![good]));
    }
}
