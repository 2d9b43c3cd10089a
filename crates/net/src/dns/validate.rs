//! The seam to the validator: an RRset or a denial goes in, a verdict comes out.
//!
//! Behind it stands the validator of the crate `domain`, one message with one question at a time.
//! It is not given answers as they came, because it relies on things that whoever forges an answer
//! can choose:
//!
//! - It takes an RRset for insecure if the zone that its first signature names as signer is
//!   insecure, whichever zone that is. Only signatures by a zone that the owner lies in, at or below
//!   the trust anchor that holds for the owner, are passed on.
//! - It remembers signatures that it verified, and does not look at their dates again. Only
//!   signatures that are valid now are passed on.
//! - It refuses an answer for any bogus RRset in it, whether that matters or not. Only what proves
//!   the one thing asked is passed on.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::Security;
use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Message;
use domain::base::Name;
use domain::base::Rtype;
use domain::base::Ttl;
use domain::base::iana::Rcode;
use domain::base::opt::ExtendedError;
use domain::dnssec::validator::context;
use domain::dnssec::validator::context::ValidationContext;
use domain::dnssec::validator::context::ValidationState;
use domain::rdata::A;
use domain::rdata::AllRecordData;
use futures_util::FutureExt;

use super::anchors::TrustAnchors;
use super::chain::ChainSource;
use super::config::TtlBounds;
use super::message::Denial;
use super::message::DenialKind;
use super::message::NotValidNow;
use super::message::Proof;
use super::message::RrSet;
use super::message::WireRecord;
use super::message::WireSignature;
use super::message::compose;
use crate::clock::Clock;

/// Tells secure from insecure from bogus.
pub(super) struct Validator {
    /// Where the chains of trust begin.
    anchors: TrustAnchors,
    /// Where the links of the chains come from.
    chain: ChainSource,
    /// For the validity of signatures.
    clock: Arc<dyn Clock>,
    /// How long the validator may remember that something is bogus.
    failure_ttl: Duration,
    /// The validator, with what it knows.
    current: Mutex<Current>,
}

/// The validator that is in use.
struct Current {
    /// It.
    context: Arc<ValidationContext<ChainSource>>,
    /// When it was last replaced because of a bogus answer.
    renewed: Option<Instant>,
}

/// What validation says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It holds, with this security.
    Holds(Security),
    /// It is bogus, for this reason.
    Bogus(String),
    /// It cannot be said, for this reason.
    Failed(String),
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator")
            .field("anchors", &self.anchors)
            .finish_non_exhaustive()
    }
}

impl Validator {
    /// A validator that knows nothing but its anchors.
    pub(super) fn new(
        anchors: TrustAnchors,
        chain: ChainSource,
        clock: Arc<dyn Clock>,
        ttl: TtlBounds,
    ) -> Self {
        let current = Current {
            context: Arc::new(fresh_context(&anchors, &chain, ttl.failure)),
            renewed: None,
        };
        Self {
            anchors,
            chain,
            clock,
            failure_ttl: ttl.failure,
            current: Mutex::new(current),
        }
    }

    /// Where the links of the chains come from.
    pub(super) fn chain(&self) -> &ChainSource {
        &self.chain
    }

    /// Where the chains of trust begin.
    pub(super) fn anchors(&self) -> TrustAnchors {
        self.anchors.clone()
    }

    /// The zones that chains of trust begin at.
    pub(super) fn anchor_zones(&self) -> Vec<Name<Bytes>> {
        self.anchors.owners()
    }

    /// The verdict on an RRset.
    pub(super) async fn records(&self, proof: &Proof) -> Verdict {
        let set = &proof.set;
        let verdict = self.try_records(proof).await;
        if matches!(verdict, Verdict::Bogus(_)) && self.renew(&set.owner) {
            return self.try_records(proof).await;
        }
        verdict
    }

    /// The verdict on a denial of a type at a name, or of the name.
    pub(super) async fn denial(
        &self,
        name: &Name<Bytes>,
        rtype: Rtype,
        denial: &Denial,
    ) -> Verdict {
        let verdict = self.try_denial(name, rtype, denial).await;
        if matches!(verdict, Verdict::Bogus(_)) && self.renew(name) {
            return self.try_denial(name, rtype, denial).await;
        }
        verdict
    }

    /// Forgets all that was validated and fetched: the upstream turned out to be unfit.
    pub(super) fn forget(&self) {
        self.chain.forget();
        self.current().context = Arc::new(self.fresh());
    }

    /// The verdict with what is known at present.
    async fn try_records(&self, proof: &Proof) -> Verdict {
        let set = &proof.set;
        let now = self.clock.now();
        let message = compose(
            (&set.owner, set.rtype),
            Rcode::NOERROR,
            [set],
            &proof.denials,
            |set, signature| self.is_credible(set, signature, now),
        );
        let verdict = self.judge(message, &set.owner).await;
        self.explain(verdict, set.rtype, set)
    }

    /// The verdict with what is known at present.
    async fn try_denial(&self, name: &Name<Bytes>, rtype: Rtype, denial: &Denial) -> Verdict {
        let Some(soa) = &denial.soa else {
            return self.unproven_denial(name, rtype).await;
        };
        let rcode = match denial.kind {
            DenialKind::NoData => Rcode::NOERROR,
            DenialKind::NxDomain => Rcode::NXDOMAIN,
        };
        let now = self.clock.now();
        let message = compose(
            (name, rtype),
            rcode,
            [],
            std::iter::once(soa).chain(&denial.denials),
            |set, signature| self.is_credible(set, signature, now),
        );
        let verdict = self.judge(message, name).await;
        match verdict {
            Verdict::Bogus(why) if soa.signatures.is_empty() => Verdict::Bogus(format!(
                "the denial of {} {rtype} is not signed though its zone is: {why}",
                name.fmt_with_dot()
            )),
            Verdict::Bogus(why) => Verdict::Bogus(format!(
                "the denial of {} {rtype} proves nothing: {}",
                name.fmt_with_dot(),
                self.signature_fault(soa).unwrap_or(why)
            )),
            // That a zone cannot prove its denials (opt-out, too many hash iterations), or is not
            // signed, says something about the names in it, and nothing about those in a signed
            // zone below it. Whoever forges an answer chooses the zone.
            Verdict::Holds(Security::Insecure) => self.unproven_denial(name, rtype).await,
            Verdict::Holds(Security::Secure) | Verdict::Failed(_) => verdict,
        }
    }

    /// A denial without anything that could prove it holds only if nothing there is signed, as an
    /// unsigned record would.
    async fn unproven_denial(&self, name: &Name<Bytes>, rtype: Rtype) -> Verdict {
        let stand_in = RrSet {
            owner: name.clone(),
            rtype: Rtype::A,
            records: vec![WireRecord {
                ttl: Ttl::ZERO,
                data: AllRecordData::A(A::from_octets(0, 0, 0, 0)),
            }],
            signatures: Vec::new(),
        };
        let question = (name, Rtype::A);
        let message = compose(question, Rcode::NOERROR, [&stand_in], [], |_, _| true);
        match self.judge(message, name).await {
            Verdict::Bogus(_) => Verdict::Bogus(format!(
                "the denial of {} {rtype} came without a proof though its zone is signed",
                name.fmt_with_dot()
            )),
            verdict @ (Verdict::Holds(_) | Verdict::Failed(_)) => verdict,
        }
    }

    /// Has the validator look at a message with one question.
    async fn judge(&self, message: Option<Message<Bytes>>, name: &Name<Bytes>) -> Verdict {
        let Some(mut message) = message else {
            return Verdict::Failed("the answer is too long to be validated".to_owned());
        };
        let context = Arc::clone(&self.current().context);
        let judging = Box::pin(context.validate_msg::<Bytes, Vec<u8>>(&mut message));
        // It is not free of panics that an answer can bring about; none shall end more than the
        // lookup that met it.
        let (state, error) = match AssertUnwindSafe(judging).catch_unwind().await {
            Ok(Ok(judged)) => judged,
            Ok(Err(error)) => {
                return Verdict::Failed(format!("the answer cannot be validated: {error}"));
            }
            Err(_) => return Verdict::Failed("the validator gave up on the answer".to_owned()),
        };
        match state {
            ValidationState::Secure => Verdict::Holds(Security::Secure),
            // Indeterminate lies outside of all trust anchors: nothing vouches for it.
            ValidationState::Insecure | ValidationState::Indeterminate => {
                Verdict::Holds(Security::Insecure)
            }
            ValidationState::Bogus => match self.chain.failure_above(name) {
                Some(why) => Verdict::Failed(format!("the chain of trust is not to be had: {why}")),
                None => Verdict::Bogus(fault_text(error.as_ref())),
            },
        }
    }

    /// Says which record a bogus verdict is about, and what can be seen to be wrong with it.
    fn explain(&self, verdict: Verdict, rtype: Rtype, set: &RrSet) -> Verdict {
        let Verdict::Bogus(why) = verdict else {
            return verdict;
        };
        let why = self.signature_fault(set).unwrap_or(why);
        Verdict::Bogus(format!("{} {rtype}: {why}", set.owner.fmt_with_dot()))
    }

    /// What is wrong with all signatures of an RRset at a glance, if something is.
    fn signature_fault(&self, set: &RrSet) -> Option<String> {
        let now = self.clock.now();
        let last = set.signatures.last();
        let Some(last) = last else {
            return Some("there is no signature though the zone is signed".to_owned());
        };
        if set
            .signatures
            .iter()
            .any(|signature| self.is_credible(set, signature, now))
        {
            return None;
        }
        let tag = last.data.key_tag();
        Some(match last.validity(now) {
            Err(NotValidNow::Expired) => format!("the signature by key {tag} has expired"),
            Err(NotValidNow::NotYetValid) => format!("the signature by key {tag} is not valid yet"),
            Ok(()) => format!(
                "the signature names {} as its signer, which cannot sign this",
                last.data.signer_name().fmt_with_dot()
            ),
        })
    }

    /// Whether a signature may be shown to the validator.
    fn is_credible(&self, set: &RrSet, signature: &WireSignature, now: UnixTime) -> bool {
        let signer = signature.data.signer_name();
        signature.validity(now).is_ok()
            && set.owner.ends_with(signer)
            && self
                .anchor_for(&set.owner, set.rtype)
                .is_none_or(|anchor| signer.ends_with(&anchor))
    }

    /// The zone with the trust anchor that holds for records at a name.
    fn anchor_for(&self, name: &Name<Bytes>, rtype: Rtype) -> Option<Name<Bytes>> {
        if rtype == Rtype::DS {
            // The DS records of a zone belong to its parent.
            return self.anchors.zone_of(&name.parent()?).cloned();
        }
        self.anchors.zone_of(name).cloned()
    }

    /// Has what is known about the chain to a name fetched anew, if that was not done just now.
    ///
    /// A bogus answer may be no worse than a key that changed since its zone was looked at; and
    /// nothing that somebody slipped in shall last. The pause between two renewals keeps those who
    /// like to be bogus from keeping the validator busy.
    fn renew(&self, name: &Name<Bytes>) -> bool {
        let now = self.clock.monotonic();
        let mut current = self.current();
        let recent = |renewed| now.saturating_duration_since(renewed) < RENEWAL_PAUSE;
        if current.renewed.is_some_and(recent) {
            return false;
        }
        current.renewed = Some(now);
        current.context = Arc::new(self.fresh());
        drop(current);
        self.chain.forget_above(name);
        true
    }

    /// A validator that knows nothing.
    fn fresh(&self) -> ValidationContext<ChainSource> {
        fresh_context(&self.anchors, &self.chain, self.failure_ttl)
    }

    /// The validator in use.
    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A validator that knows nothing but the anchors.
fn fresh_context(
    anchors: &TrustAnchors,
    chain: &ChainSource,
    failure_ttl: Duration,
) -> ValidationContext<ChainSource> {
    let mut config = context::Config::new();
    config.set_max_node_cache(NODES_MAX);
    config.set_max_usig_cache(SIGNATURES_MAX);
    config.set_max_isig_cache(SIGNATURES_MAX);
    config.set_max_validity(NODE_VALIDITY_MAX);
    config.set_max_bogus_validity(failure_ttl);
    config.set_nsec3_iter_insecure(NSEC3_ITERATIONS_MAX);
    ValidationContext::with_config(anchors.for_validator(), chain.clone(), config)
}

/// What the validator says about a fault.
fn fault_text(error: Option<&ExtendedError<Vec<u8>>>) -> String {
    let text = error.and_then(|error| error.text()?.ok());
    let text = text.map_or_else(
        || "no chain of trust leads to it".to_owned(),
        ToString::to_string,
    );
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // "Bad signature" reads on as "bad signature", but "NSEC3" stays.
        (Some(first), Some(second)) if second.is_lowercase() => {
            let rest: String = std::iter::once(second).chain(chars).collect();
            format!("{}{rest}", first.to_ascii_lowercase())
        }
        (_, _) => text,
    }
}

/// How many zones and names the validator remembers the status of.
const NODES_MAX: u64 = 20_000;

/// How many verified signatures the validator remembers, of answers and of the chain each. It keeps
/// the signed octets with each: 64 KiB at most, 16 MiB in all.
const SIGNATURES_MAX: u64 = 256;

/// How long the validator relies on what it knows about a zone before it walks the chain again, over
/// links that are kept here as long as they may be. Its default of a week would hold for links that
/// it could not prove as well.
const NODE_VALIDITY_MAX: Duration = Duration::from_secs(60);

/// A zone with more NSEC3 iterations is insecure: RFC 9276, Section 3.2 and Appendix A.
const NSEC3_ITERATIONS_MAX: u16 = 100;

/// The pause between two renewals of what is known.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);
