//! What to keep and when to fetch again: RFC 8461, Sections 3.3, 5.1 and 10.2.

use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;

use crate::Policy;
use crate::PolicyError;
use crate::PolicyId;

/// A policy as it is kept, with what the rules about keeping it need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CachedPolicy {
    /// The policy domain.
    pub domain: DomainName,
    /// The `id` of the TXT record when the policy was fetched.
    pub id: PolicyId,
    /// When the policy was last fetched.
    pub fetched_at: UnixTime,
    /// The file as it was served, for reports and for people.
    pub body: String,
    /// Invariant: what `body` says.
    policy: Policy,
}

impl CachedPolicy {
    /// Keeps a file that was just fetched, or one read back from where it was kept.
    ///
    /// # Errors
    /// The file is no policy.
    pub fn new(
        domain: DomainName,
        id: PolicyId,
        fetched_at: UnixTime,
        body: String,
    ) -> Result<Self, PolicyError> {
        let policy = body.parse()?;
        Ok(Self {
            domain,
            id,
            fetched_at,
            body,
            policy,
        })
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Until when the policy counts; from that second on it does not.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.fetched_at + self.policy.max_age
    }

    /// Whether the policy still counts.
    #[must_use]
    pub fn is_alive(&self, now: UnixTime) -> bool {
        now < self.expires_at()
    }

    /// Time since the policy was last fetched.
    #[must_use]
    pub fn age(&self, now: UnixTime) -> Duration {
        now.since(self.fetched_at)
    }

    /// Whether the background should fetch the policy again, whatever its TXT record says.
    ///
    /// That is daily, or at half its life if it lives less than two days, and earlier by `jitter`:
    /// between zero and [`REFRESH_JITTER_MAX`], the same for the same policy each time, different
    /// for different policies, so that a fleet does not fetch everything in one second.
    ///
    /// An id that never changes must not keep a policy from being renewed, as a policy that is
    /// fetched only once expires.
    #[must_use]
    pub fn is_refresh_due(&self, now: UnixTime, jitter: Duration) -> bool {
        let interval = REFRESH_INTERVAL.min(self.policy.max_age / 2);
        let early = jitter.min(REFRESH_JITTER_MAX).min(interval / 4);
        self.age(now) >= interval - early
    }
}

/// What to do about a domain's policy before mail is sent there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plan {
    /// Use the cached policy as it is.
    UseCached,
    /// Fetch; if that fails, the cached policy counts.
    FetchOrUseCached,
    /// A fetch failed a moment ago: use the cached policy, and say so.
    UseCachedAfterFailure,
    /// Fetch; if that fails, there is no policy.
    Fetch,
    /// A fetch failed a moment ago: there is no policy, and it is said why.
    FailedAlready,
    /// The domain does not take part.
    NoPolicy,
}

/// Says what to do about a domain's policy before mail is sent there.
///
/// `cached` is what the cache holds, dead or alive; `published` the id in the TXT record, `None` if
/// there is no usable record; `failed_at` when the last fetch failed, if none has succeeded since.
#[must_use]
pub fn plan(
    cached: Option<&CachedPolicy>,
    published: Option<&PolicyId>,
    failed_at: Option<UnixTime>,
    now: UnixTime,
) -> Plan {
    let failed_lately = failed_at.is_some_and(|at| now.since(at) < FETCH_FAILURE_MEMORY);
    let alive = cached.filter(|cached| cached.is_alive(now));
    match (alive, published) {
        // A bad or missing TXT record does not cancel a living policy: whoever can suppress the
        // record could otherwise suppress the policy. Section 3.3 lets a policy that is neither
        // discovered nor fetched anew count for as long as it lives.
        (Some(_), None) => Plan::UseCached,
        (Some(cached), Some(id)) if cached.id == *id => Plan::UseCached,
        (Some(_), Some(_)) if failed_lately => Plan::UseCachedAfterFailure,
        (Some(_), Some(_)) => Plan::FetchOrUseCached,
        (None, Some(_)) if failed_lately => Plan::FailedAlready,
        (None, Some(_)) => Plan::Fetch,
        (None, None) => Plan::NoPolicy,
    }
}

/// How often the background fetches a policy again.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// How much earlier than daily chance may make it.
pub const REFRESH_JITTER_MAX: Duration = Duration::from_secs(4 * 60 * 60);

/// For how long a failed fetch is not tried again before mail is sent: Section 3.3's five minutes.
pub const FETCH_FAILURE_MEMORY: Duration = Duration::from_secs(5 * 60);
