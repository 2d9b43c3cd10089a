//! The life of policies: found, kept, fetched again, and enforced while they live.

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::UnixTime;
use byrnie_mta_sts::CachedPolicy;
use byrnie_mta_sts::FETCH_FAILURE_MEMORY;
use byrnie_mta_sts::Plan;
use byrnie_mta_sts::PolicyId;
use byrnie_mta_sts::REFRESH_JITTER_MAX;
use byrnie_mta_sts::StsRecord;
use byrnie_mta_sts::plan;
use byrnie_mta_sts::record_owner;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsFailure;
use byrnie_policy::StsSource;
use futures_util::StreamExt;
use futures_util::stream;

use super::CacheError;
use super::FetchError;
use super::FetchPolicy;
use super::PolicyCache;
use super::slots::Failure;
use super::slots::Slots;
use crate::clock::Clock;
use crate::dns::Answer;
use crate::dns::Outcome;
use crate::dns::RecordData;
use crate::dns::RecordType;
use crate::dns::Resolve;

/// Knows the policy of every domain, as well as it can be known.
pub struct StsPolicies<R, C, F> {
    resolver: Arc<R>,
    cache: Arc<C>,
    fetcher: F,
    clock: Arc<dyn Clock>,
    slots: Slots,
}

/// What is known about a domain's policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundPolicy {
    /// The evidence for the decision.
    pub evidence: StsEvidence,
    /// How long it may be used again.
    pub ttl: Duration,
}

/// What a round of refreshing came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RefreshReport {
    /// Policies fetched again.
    pub refreshed: u32,
    /// Policies that could not be fetched and live on.
    pub failed: u32,
    /// Policies that could not be fetched and were dead already, and are forgotten.
    pub forgotten: u32,
}

/// What the TXT record says.
enum Published {
    /// There is a policy with this id.
    Policy(PolicyId),
    /// There is none.
    Nothing,
    /// There is a record, but none to go by.
    Unusable(String),
    /// Nobody knows.
    Unknown(LookupError),
}

impl Published {
    /// The id, if there is a record to go by.
    fn id(&self) -> Option<&PolicyId> {
        match self {
            Self::Policy(id) => Some(id),
            Self::Nothing | Self::Unusable(_) | Self::Unknown(_) => None,
        }
    }
}

impl<R: Resolve, C: PolicyCache, F: FetchPolicy> StsPolicies<R, C, F> {
    /// Brings a resolver, a cache and a fetcher together.
    #[must_use]
    pub fn new(resolver: Arc<R>, cache: Arc<C>, fetcher: F, clock: Arc<dyn Clock>) -> Self {
        Self {
            resolver,
            cache,
            fetcher,
            clock,
            slots: Slots::default(),
        }
    }

    /// Finds out what MTA-STS says about a domain, fetching its policy where the rules say so.
    pub async fn find(&self, domain: &DomainName) -> FoundPolicy {
        let ((published, ttl), cached) =
            tokio::join!(self.published(domain), self.cache.get(domain));
        let evidence = match cached {
            Ok(cached) => self.follow_plan(domain, &published, cached).await,
            Err(error) => Err(error),
        };
        let evidence = evidence.unwrap_or_else(|error| StsEvidence::StoreUnreadable(error.why));
        let ttl = ttl.min(self.lasting(&evidence));
        FoundPolicy { evidence, ttl }
    }

    /// Fetches once more a policy that names none of the domain's hosts (behaviour rule 26).
    ///
    /// `None` if it was fetched, or could not be fetched, in the last five minutes; otherwise what
    /// is known now, which is the old policy if the fetch fails.
    pub async fn find_again(&self, domain: &DomainName) -> Option<FoundPolicy> {
        let slot = self.slots.of(domain, self.clock.now());
        let mut failure = slot.lock().await;
        let cached = self.cache.get(domain).await.ok()??;
        let now = self.clock.now();
        if cached.age(now) < FETCH_FAILURE_MEMORY || failed_lately(failure.as_ref(), now) {
            return None;
        }
        let (published, ttl) = self.published(domain).await;
        let id = published.id().unwrap_or(&cached.id);
        let evidence = match self.fetch_into_cache(domain, id).await {
            Ok(fetched) => living(&fetched, StsSource::Fetched, self.clock.now()),
            Err(error) => {
                let why = told(&error);
                *failure = Some(self.failure(why.clone()));
                living(&cached, StsSource::CachedAfterFailure(why), now)
            }
        };
        let ttl = ttl.min(self.lasting(&evidence));
        Some(FoundPolicy { evidence, ttl })
    }

    /// Fetches again every policy that is due, a few at a time (behaviour rule 24).
    ///
    /// To be called every few minutes. A policy that fails is tried again after [`REFRESH_RETRY`];
    /// one that is dead and still fails is forgotten.
    ///
    /// # Errors
    /// The cache could not be read.
    pub async fn refresh_due(&self) -> Result<RefreshReport, CacheError> {
        let now = self.clock.now();
        let stale = self.cache.stale(now, REFRESH_BATCH_MAX).await?;
        let due = stale
            .into_iter()
            .filter(|cached| cached.is_refresh_due(now, jitter(cached)));
        let counts = RefreshCounts::default();
        stream::iter(due)
            .for_each_concurrent(REFRESH_CONCURRENCY, |cached| {
                let counts = &counts;
                async move { self.refresh(&cached, counts).await }
            })
            .await;
        Ok(counts.report())
    }

    /// Fetches one policy again, unless that was done since it was found to be due.
    async fn refresh(&self, stale: &CachedPolicy, counts: &RefreshCounts) {
        let domain = &stale.domain;
        let slot = self.slots.of(domain, self.clock.now());
        let mut failure = slot.lock().await;
        // A round takes its time. What mail has brought in meanwhile is neither fetched again nor, if
        // that fails, forgotten in the place of what has expired.
        let cached = match self.cache.get(domain).await {
            Ok(Some(cached)) if cached.fetched_at <= stale.fetched_at => cached,
            Ok(Some(_) | None) => return,
            Err(error) => {
                tracing::warn!(%domain, %error, "a policy is not refreshed");
                return;
            }
        };
        let now = self.clock.now();
        if failure
            .as_ref()
            .is_some_and(|failure| now.since(failure.at) < REFRESH_RETRY)
        {
            return;
        }
        // Whatever the record says, the policy is fetched; without a record it keeps its id.
        let (published, _) = self.published(domain).await;
        let id = published.id().unwrap_or(&cached.id);
        match self.fetch_into_cache(domain, id).await {
            Ok(_) => {
                *failure = None;
                counts.refreshed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if cached.is_alive(self.clock.now()) => {
                tracing::warn!(%domain, %error, "an MTA-STS policy cannot be refreshed");
                *failure = Some(self.failure(told(&error)));
                counts.failed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::info!(%domain, %error, "an MTA-STS policy has expired");
                if let Err(error) = self.cache.remove(domain).await {
                    tracing::warn!(%domain, %error, "an expired policy stays in the cache");
                }
                counts.forgotten.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Looks the TXT record up.
    async fn published(&self, domain: &DomainName) -> (Published, Duration) {
        let Ok(owner) = record_owner(domain) else {
            return (Published::Nothing, Duration::MAX);
        };
        let answer = self.resolver.lookup(&owner, RecordType::Txt).await;
        let ttl = answer.ttl;
        (published_in(answer), ttl)
    }

    /// Does what the rules say about a record and what is cached.
    async fn follow_plan(
        &self,
        domain: &DomainName,
        published: &Published,
        cached: Option<CachedPolicy>,
    ) -> Result<StsEvidence, CacheError> {
        let now = self.clock.now();
        match (plan(cached.as_ref(), published.id(), None, now), &cached) {
            (Plan::UseCached, Some(cached)) => Ok(living(cached, StsSource::Cached, now)),
            (Plan::NoPolicy | Plan::UseCached, _) => Ok(without_policy(published)),
            (
                Plan::Fetch
                | Plan::FetchOrUseCached
                | Plan::FailedAlready
                | Plan::UseCachedAfterFailure,
                _,
            ) => self.fetch_alone(domain, published).await,
        }
    }

    /// Fetches, unless somebody else has just done so for the same domain.
    async fn fetch_alone(
        &self,
        domain: &DomainName,
        published: &Published,
    ) -> Result<StsEvidence, CacheError> {
        let slot = self.slots.of(domain, self.clock.now());
        let mut failure = slot.lock().await;
        // What was true before the wait for the lock may be so no longer.
        let cached = self.cache.get(domain).await?;
        let now = self.clock.now();
        let failed_at = failure.as_ref().map(|failure| failure.at);
        let plan = plan(cached.as_ref(), published.id(), failed_at, now);
        let why = match (plan, published.id()) {
            (Plan::Fetch | Plan::FetchOrUseCached, Some(id)) => {
                match self.fetch_into_cache(domain, id).await {
                    Ok(fetched) => {
                        *failure = None;
                        return Ok(living(&fetched, StsSource::Fetched, self.clock.now()));
                    }
                    Err(error) => {
                        tracing::info!(%domain, %error, "an MTA-STS policy cannot be fetched");
                        *failure = Some(self.failure(told(&error)));
                        Some(told(&error))
                    }
                }
            }
            (Plan::FailedAlready | Plan::UseCachedAfterFailure, _) => {
                failure.as_ref().map(|failure| failure.why.clone())
            }
            (Plan::Fetch | Plan::FetchOrUseCached | Plan::UseCached | Plan::NoPolicy, _) => None,
        };
        let alive = cached.filter(|cached| cached.is_alive(now));
        Ok(match (alive, why) {
            (Some(cached), None) => living(&cached, StsSource::Cached, now),
            (Some(cached), Some(why)) => living(&cached, StsSource::CachedAfterFailure(why), now),
            (None, Some(why)) => StsEvidence::FetchFailed(why),
            (None, None) => without_policy(published),
        })
    }

    /// Fetches a policy and keeps it.
    async fn fetch_into_cache(
        &self,
        domain: &DomainName,
        id: &PolicyId,
    ) -> Result<CachedPolicy, FetchError> {
        let body = self.fetcher.fetch(domain).await?;
        let now = self.clock.now();
        let policy =
            CachedPolicy::new(domain.clone(), id.clone(), now, body).map_err(FetchError::Policy)?;
        // A policy that cannot be kept still holds for this decision.
        if let Err(error) = self.cache.put(policy.clone()).await {
            tracing::warn!(%domain, %error, "a fetched policy could not be kept");
        }
        Ok(policy)
    }

    /// A failure that ends now.
    fn failure(&self, why: StsFailure) -> Failure {
        Failure {
            at: self.clock.now(),
            why,
        }
    }

    /// For how long evidence stays true, the TXT record aside.
    fn lasting(&self, evidence: &StsEvidence) -> Duration {
        match evidence {
            StsEvidence::NotAsked | StsEvidence::Absent => Duration::MAX,
            StsEvidence::FetchFailed(_) => FETCH_FAILURE_MEMORY,
            StsEvidence::RecordUnknown(_) | StsEvidence::StoreUnreadable(_) => Duration::ZERO,
            StsEvidence::Policy {
                policy,
                source,
                age,
            } => {
                let life = policy.max_age.saturating_sub(*age);
                match source {
                    StsSource::Fetched | StsSource::Cached => life,
                    StsSource::CachedAfterFailure(_) => life.min(FETCH_FAILURE_MEMORY),
                }
            }
        }
    }
}

/// Counts of one round, shared by those that run side by side.
#[derive(Debug, Default)]
struct RefreshCounts {
    refreshed: AtomicU32,
    failed: AtomicU32,
    forgotten: AtomicU32,
}

impl RefreshCounts {
    /// The counts as they stand.
    fn report(&self) -> RefreshReport {
        RefreshReport {
            refreshed: self.refreshed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            forgotten: self.forgotten.load(Ordering::Relaxed),
        }
    }
}

/// A failure, for the decision.
fn told(error: &FetchError) -> StsFailure {
    StsFailure {
        why: error.to_string(),
        result_type: error.result_type(),
    }
}

/// A policy that is alive.
fn living(cached: &CachedPolicy, source: StsSource, now: UnixTime) -> StsEvidence {
    StsEvidence::Policy {
        policy: cached.policy().clone(),
        source,
        age: cached.age(now),
    }
}

/// What a record says where no policy is alive and none is to be fetched.
fn without_policy(published: &Published) -> StsEvidence {
    match published {
        Published::Policy(_) | Published::Nothing => StsEvidence::Absent,
        Published::Unusable(why) => StsEvidence::FetchFailed(StsFailure {
            why: why.clone(),
            result_type: "sts-policy-invalid",
        }),
        Published::Unknown(error) => StsEvidence::RecordUnknown(error.clone()),
    }
}

/// What an answer to the TXT question says.
fn published_in(answer: Answer) -> Published {
    let records = match answer.outcome {
        Ok(outcome) => match outcome.value {
            Outcome::Records(records) => records,
            Outcome::NoData | Outcome::NxDomain => return Published::Nothing,
        },
        Err(error) => return Published::Unknown(error),
    };
    let texts = records.iter().filter_map(|record| match record {
        RecordData::Txt(text) => Some(text.as_slice()),
        RecordData::A(_)
        | RecordData::Aaaa(_)
        | RecordData::Mx { .. }
        | RecordData::Tlsa(_)
        | RecordData::Other(_) => None,
    });
    match StsRecord::select(texts) {
        Ok(Some(record)) => Published::Policy(record.id),
        Ok(None) => Published::Nothing,
        Err(error) => Published::Unusable(format!("its TXT record cannot be used: {error}")),
    }
}

/// Whether a failure still keeps others from trying.
fn failed_lately(failure: Option<&Failure>, now: UnixTime) -> bool {
    failure.is_some_and(|failure| now.since(failure.at) < FETCH_FAILURE_MEMORY)
}

/// How much earlier than others one policy is refreshed: the same each time it is asked for, and
/// spread evenly over policies.
fn jitter(cached: &CachedPolicy) -> Duration {
    let mut hasher = DefaultHasher::new();
    (&cached.domain, cached.fetched_at).hash(&mut hasher);
    Duration::from_secs(hasher.finish() % (REFRESH_JITTER_MAX.as_secs() + 1))
}

/// How many policies one round of refreshing looks at, the oldest first.
pub const REFRESH_BATCH_MAX: u32 = 2_000;

/// How many policies are refreshed side by side.
pub const REFRESH_CONCURRENCY: usize = 8;

/// How long a policy that could not be refreshed is left alone.
pub const REFRESH_RETRY: Duration = Duration::from_secs(60 * 60);
