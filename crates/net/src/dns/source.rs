//! Where the validator's questions are answered.
//!
//! What it learns, it remembers itself. Here a question is asked once however many wait for the
//! answer, and failures are remembered for some seconds (RFC 9520).

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use byrnie_dnssec::Question;
use bytes::Bytes;
use domain::base::Message;
use domain::base::iana::OptRcode;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::future::Shared;

use super::cache::Cache;
use super::cache::CacheBounds;
use super::config::TtlBounds;
use super::flight::Flights;
use super::message::extended_error;
use super::upstream;
use super::upstream::Checking;
use super::upstream::Upstreams;
use crate::clock::Clock;

/// Asks the upstreams for the validator. Cheap to clone.
#[derive(Clone)]
pub(super) struct Source {
    /// What all clones share.
    shared: Arc<SourceShared>,
}

/// What the clones of a [`Source`] share.
struct SourceShared {
    /// Whom to ask.
    upstreams: Upstreams,
    /// For expiry.
    clock: Arc<dyn Clock>,
    /// How long failures are kept.
    ttl: TtlBounds,
    /// Failures.
    failures: Mutex<Cache<Question, Reply>>,
    /// Questions under way, with the generation that they were asked in.
    flights: Flights<(Question, u64), Reply>,
    /// How often everything was forgotten. What was asked for before that is not remembered after.
    generation: AtomicU64,
}

/// An answer as it came, or the reason why there is none.
pub(super) type Reply = Result<Message<Bytes>, Arc<str>>;

impl Source {
    /// Knows nothing yet.
    pub(super) fn new(
        upstreams: Upstreams,
        clock: Arc<dyn Clock>,
        ttl: TtlBounds,
        bounds: CacheBounds,
    ) -> Self {
        Self {
            shared: Arc::new(SourceShared {
                upstreams,
                clock,
                ttl,
                failures: Mutex::new(Cache::new(bounds)),
                flights: Flights::new(),
                generation: AtomicU64::new(0),
            }),
        }
    }

    /// Asks, unless that failed of late or is under way.
    pub(super) fn ask(&self, question: &Question) -> Shared<BoxFuture<'static, Reply>> {
        let now = self.shared.clock.monotonic();
        if let Some((failure, _)) = self.shared.failures().get(question, now) {
            return std::future::ready(failure).boxed().shared();
        }
        let shared = Arc::clone(&self.shared);
        let generation = shared.generation.load(Ordering::Relaxed);
        let asked = question.clone();
        self.shared
            .flights
            .join((question.clone(), generation), move || {
                async move { shared.ask(asked, generation).await }.boxed()
            })
    }

    /// Forgets everything: the upstream turned out to be unfit.
    pub(super) fn forget(&self) {
        let mut failures = self.shared.failures();
        self.shared.generation.fetch_add(1, Ordering::Relaxed);
        failures.clear();
    }
}

impl SourceShared {
    /// Asks the upstreams and remembers failures.
    async fn ask(&self, question: Question, generation: u64) -> Reply {
        let asked = upstream::Question {
            name: question.name.clone(),
            rtype: question.rtype,
            checking: Checking::Disabled,
        };
        let reply: Reply = match self.upstreams.ask(&asked).await {
            Ok(reply) => match refusal(&reply.message) {
                Some(refusal) => Err(refusal.into()),
                None => Ok(reply.message),
            },
            Err(why) => Err(why.into()),
        };
        if let Err(why) = &reply
            && let Some(expires) = self.clock.monotonic().checked_add(self.ttl.failure)
        {
            let weight = why.len() + 2 * question.name.len() + ENTRY_OCTETS;
            let mut failures = self.failures();
            if self.generation.load(Ordering::Relaxed) == generation {
                failures.put(question, reply.clone(), weight, expires);
            }
        }
        reply
    }

    /// The failures of late.
    fn failures(&self) -> std::sync::MutexGuard<'_, Cache<Question, Reply>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the upstream says instead of an answer, with its explanation, if that is all it says.
fn refusal(message: &Message<Bytes>) -> Option<String> {
    let rcode = message.opt_rcode();
    let is_answer = rcode == OptRcode::NOERROR || rcode == OptRcode::NXDOMAIN;
    if is_answer || message.header_counts().ancount() > 0 {
        return None;
    }
    Some(match extended_error(message) {
        Some(error) => format!("the upstream answers {rcode} ({error})"),
        None => format!("the upstream answers {rcode}"),
    })
}

/// About how many octets an entry of the cache takes besides its content.
const ENTRY_OCTETS: usize = 200;
