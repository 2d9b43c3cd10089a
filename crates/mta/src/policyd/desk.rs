//! Where questions are taken, as many at once as is good.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use byrnie_net::gather::Destination;
use byrnie_policy::Verdict;
use tokio::sync::Semaphore;
use tokio::time;
use tokio::time::Instant;

use super::counts::Counts;
use crate::Metrics;
use crate::judge::Considered;

/// Decides about destinations.
pub trait Consider: Send + Sync + 'static {
    /// What is known about a destination, and what follows from it.
    fn consider(&self, destination: &Destination) -> impl Future<Output = Arc<Considered>> + Send;

    /// A number that is another one after each change of the rules.
    fn edition(&self) -> u64;
}

/// Takes questions, as many at once as is good.
#[derive(Debug)]
pub struct Desk<D> {
    decider: Arc<D>,
    places: Semaphore,
    counts: Counts,
}

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Busy {
    /// There are too many of them.
    Crowded,
    /// It takes too long.
    Slow,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crowded => "too many lookups are under way",
            Self::Slow => "the lookup takes too long",
        })
    }
}

impl std::error::Error for Busy {}

impl<D: Consider> Desk<D> {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(decider: Arc<D>, metrics: &Metrics) -> Self {
        Self {
            decider,
            places: Semaphore::new(LOOKUPS_MAX),
            counts: metrics.policyd.clone(),
        }
    }

    /// What is known about a destination, and what follows from it.
    ///
    /// # Errors
    /// Too much is asked, or it takes too long.
    pub async fn consider(&self, destination: &Destination) -> Result<Arc<Considered>, Busy> {
        self.counts.looked_up();
        let _place = self.places.try_acquire().map_err(|_| Busy::Crowded)?;
        let considering = self.decider.consider(destination);
        let considered = time::timeout(LOOKUP_TIME_MAX, considering).await;
        considered.map_err(|_| Busy::Slow)
    }

    /// A number that is another one after each change of the rules.
    pub(super) fn edition(&self) -> u64 {
        self.decider.edition()
    }
}

impl Considered {
    /// Until when an answer that rests upon this may be given.
    #[must_use]
    pub fn good_until(&self) -> Instant {
        let lifetime = match self.decision.verdict {
            Verdict::Wait => AFTER_FAILURE,
            Verdict::Dane
            | Verdict::MtaSts
            | Verdict::Encrypt
            | Verdict::Opportunistic
            | Verdict::Reject => self.reuse.clamp(AFTER_FAILURE, ANSWER_LIFETIME_MAX),
        };
        self.at + lifetime
    }
}

/// How many questions are looked into at once: some hundred processes of Postfix ask one each, and a
/// cold start asks of many domains whose servers are slow.
const LOOKUPS_MAX: usize = 4_096;

/// How long one question may take. Postfix waits for 100 seconds.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(80);

/// How long an answer is given after a lookup failed: those who ask at once get the same, and a
/// failure that is over is forgotten soon.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How long an answer is given at most, however long its TTLs are: negative trust anchors expire, and
/// anchors are revoked.
const ANSWER_LIFETIME_MAX: Duration = Duration::from_secs(5 * 60);
