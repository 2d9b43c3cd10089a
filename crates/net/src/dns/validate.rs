//! The driver of the validator: it asks what the validator wants to know until there is a verdict.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;
use std::time::Instant;

use byrnie_dnssec::Failure;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Status;
use byrnie_dnssec::Step;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Verdict;
use bytes::Bytes;
use domain::base::Name;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::cache::CacheBounds;
use super::config::TtlBounds;
use super::resolver::ALIASES_MAX;
use super::source::Source;
use crate::clock::Clock;

/// Tells secure from insecure from bogus.
pub(super) struct Validator {
    /// The rules, and what is proven so far; others when the trust anchors change.
    rules: RwLock<byrnie_dnssec::Validator>,
    /// The bounds on what a validation may cost.
    limits: Limits,
    /// Who answers its questions.
    source: Source,
    /// For the validity of signatures, and the pause between renewals.
    clock: Arc<dyn Clock>,
    /// When proofs were last fetched anew because of a bogus answer.
    renewed: Mutex<Option<Instant>>,
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator")
            .field("anchors", self.rules().anchors())
            .finish_non_exhaustive()
    }
}

impl Validator {
    /// A validator that knows nothing but its anchors.
    pub(super) fn new(
        anchors: TrustAnchors,
        source: Source,
        clock: Arc<dyn Clock>,
        ttl: TtlBounds,
        bounds: CacheBounds,
    ) -> Self {
        let limits = Limits {
            hops_max: ALIASES_MAX,
            zones_ahead_max: ZONES_AHEAD_MAX,
            cache_entries_max: bounds.entries_max,
            cache_octets_max: bounds.octets_max,
            denial_zones_max: bounds.entries_max / ENTRIES_PER_DENIAL_ZONE,
            denial_octets_max: bounds.octets_max / OCTETS_PER_DENIAL_OCTET,
            denial_ttl_max: ttl.negative_ceiling,
            ttl_max: ttl.ceiling,
            ..Limits::default()
        };
        Self {
            rules: RwLock::new(rules(anchors, &limits)),
            limits,
            source,
            clock,
            renewed: Mutex::new(None),
        }
    }

    /// Where the chains of trust begin.
    pub(super) fn anchors(&self) -> TrustAnchors {
        self.rules().anchors().clone()
    }

    /// From now on, chains of trust begin here, and nothing proven before counts.
    ///
    /// What is being validated goes on by the anchors that it began with, and keeps its proofs where
    /// nobody looks for them any more.
    pub(super) fn replace_anchors(&self, anchors: TrustAnchors) {
        let rules = rules(anchors, &self.limits);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.source.forget();
    }

    /// Asks and judges; what is bogus by what is known, once more by what is fetched anew.
    pub(super) async fn verdict(&self, question: &Question) -> Verdict {
        let verdict = Box::pin(self.judge(question)).await;
        if let Status::Bogus(fault) = &verdict.status
            && self.renew(&fault.record.name)
        {
            return Box::pin(self.judge(question)).await;
        }
        verdict
    }

    /// Forgets all that was validated and fetched: the upstream turned out to be unfit.
    pub(super) fn forget(&self) {
        self.source.forget();
        self.rules().forget();
    }

    /// Asks and judges by what is known at present.
    ///
    /// Questions that are still open when there is a verdict are dropped.
    async fn judge(&self, question: &Question) -> Verdict {
        let (mut validation, mut step) = self.rules().start(question.clone(), self.clock.now());
        let mut open = FuturesUnordered::new();
        loop {
            match step {
                Step::Done(verdict) => return *verdict,
                Step::NeedsMore(questions) => open.extend(questions.into_iter().map(|asked| {
                    let reply = self.source.ask(&asked);
                    async { (asked, reply.await) }
                })),
            }
            // There is always one: what it needs and has no answer to was asked.
            let (asked, reply) = match open.next().await {
                Some(answered) => answered,
                None => (question.clone(), Err("nobody was asked".into())),
            };
            let now = self.clock.now();
            step = match reply {
                Ok(message) => validation.handle_answer(&asked, message.as_slice(), now),
                Err(why) => validation.handle_failure(&asked, why.to_string(), now),
            };
        }
    }

    /// The rules at present, and what is proven by them.
    fn rules(&self) -> byrnie_dnssec::Validator {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    /// Forgets what a bogus record rests on, if that was not done just now.
    ///
    /// A bogus answer may be no worse than a key that changed since its zone was looked at. The
    /// pause between two renewals keeps those who like to be bogus from keeping the validator busy.
    fn renew(&self, bogus: &Name<Bytes>) -> bool {
        let now = self.clock.monotonic();
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |renewed| now.saturating_duration_since(renewed) < RENEWAL_PAUSE;
        if renewed.is_some_and(recent) {
            return false;
        }
        *renewed = Some(now);
        drop(renewed);
        self.rules().forget_above(bogus);
        true
    }
}

/// Rules under which nothing is proven yet.
fn rules(anchors: TrustAnchors, limits: &Limits) -> byrnie_dnssec::Validator {
    byrnie_dnssec::Validator::new(anchors, limits.clone(), Sha1Policy::default())
}

/// Whether a verdict may be the fault of an upstream that hides signatures.
pub(super) fn may_lack_signatures(verdict: &Verdict) -> bool {
    match &verdict.status {
        Status::Bogus(_) | Status::Failed(Failure::UpstreamStripsDnssec(_)) => true,
        Status::Secure | Status::Insecure(_) | Status::Failed(_) => false,
    }
}

/// How many zones below the anchor are asked about ahead of time: a top-level domain and a domain
/// below it. Deeper names are seldom zones of their own.
const ZONES_AHEAD_MAX: usize = 2;

/// For one zone with denials that answer other questions there may be so many proven zones and names.
const ENTRIES_PER_DENIAL_ZONE: usize = 10;

/// For one octet of such denials there may be so many of proven zones and names.
const OCTETS_PER_DENIAL_OCTET: usize = 4;

/// The pause between two renewals of what is known.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);
