//! The resolver: questions in, answers with their status out.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_dnssec::Insecure;
use byrnie_dnssec::Kind;
use byrnie_dnssec::RecordSet;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Verdict;
use bytes::Bytes;
use domain::base::Name;
use domain::base::ParsedName;
use domain::base::Rtype;
use domain::base::iana::OptRcode;
use domain::rdata::AllRecordData;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use super::Alias;
use super::Answer;
use super::Explanation;
use super::Outcome;
use super::Resolve;
use super::cache::Cache;
use super::cache::CacheBounds;
use super::config::DnsConfig;
use super::config::InvalidDnsConfig;
use super::config::Mode;
use super::config::TtlBounds;
use super::flight::Flights;
use super::message::Authentic;
use super::message::Denial;
use super::message::DenialKind;
use super::message::End;
use super::message::Hop;
use super::message::RrSet;
use super::message::Sections;
use super::message::plan;
use super::probe;
use super::probe::ProbeReport;
use super::probe::UpstreamHealth;
use super::query_name::NameKind;
use super::query_name::QueryName;
use super::record;
use super::record::RecordData;
use super::record::RecordType;
use super::report::Findings;
use super::report::LookupReport;
use super::source::Source;
use super::stats::DnsStats;
use super::upstream::Checking;
use super::upstream::Question;
use super::upstream::Refusals;
use super::upstream::Upstream;
use super::upstream::Upstreams;
use super::validate::Validator;
use super::validate::may_lack_signatures;
use crate::clock::Clock;

/// Asks upstreams, validates or has validated, and remembers. Cheap to clone.
///
/// It runs no task of its own: a lookup that nobody waits for any more is dropped, sockets and all.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// What all clones share.
    inner: Arc<Inner>,
}

/// What the clones of a [`Resolver`] share.
pub(super) struct Inner {
    /// Whom to ask.
    upstreams: Upstreams,
    /// Who validates.
    validation: Validation,
    /// How long answers are kept.
    ttl: TtlBounds,
    /// How long a lookup may take.
    lookup_timeout: Duration,
    /// The pause between probes.
    probe_interval: Duration,
    /// What the cache of answers may hold.
    cache_bounds: CacheBounds,
    /// Answers.
    cache: Mutex<Cache<Key, Arc<Answer>>>,
    /// Lookups under way, with the generation that they began in.
    flights: Flights<(Key, u64), Arc<Answer>>,
    /// How often the trust anchors were replaced. What was looked up before that is not kept after.
    generation: AtomicU64,
    /// How many more lookups may be under way.
    permits: Semaphore,
    /// What is known about the upstreams, and until when.
    known_health: Mutex<HashMap<SocketAddr, (UpstreamHealth, Instant)>>,
    /// The last report of the running probe.
    health: watch::Sender<Option<ProbeReport>>,
    /// For expiry and the validity of signatures.
    clock: Arc<dyn Clock>,
    /// What is counted.
    stats: Arc<DnsStats>,
}

/// Who validates.
pub(super) enum Validation {
    /// This process.
    Here(Box<Validator>),
    /// The upstreams, on a path that is trusted.
    ByUpstream {
        /// A name with a secure SOA record.
        known_signed: Name<Bytes>,
    },
}

/// What the cache knows an answer by.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    /// The name asked for.
    name: DomainName,
    /// The type asked for.
    record_type: RecordType,
}

/// How far a lookup got.
#[derive(Debug)]
struct Trail {
    /// The aliases so far.
    steps: Vec<Secured<Alias>>,
    /// The shortest TTL so far.
    ttl: Duration,
    /// How the answer was proven.
    explanation: Explanation,
}

impl Trail {
    /// At the start, where nothing bounds the TTL but this.
    fn new(ttl: Duration) -> Self {
        Self {
            steps: Vec::new(),
            ttl,
            explanation: Explanation::default(),
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("upstreams", &self.upstreams)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// Sets up a resolver. Asks nobody yet.
    ///
    /// # Errors
    /// The configuration cannot work or is not safe.
    pub fn new(config: &DnsConfig, clock: Arc<dyn Clock>) -> Result<Self, InvalidDnsConfig> {
        config.check()?;
        let stats = Arc::new(DnsStats::default());
        let refusals = match config.mode {
            Mode::Validate { .. } => Refusals::TryNext,
            Mode::TrustAd { .. } => Refusals::AreFinal,
        };
        let (clocks, counted) = (Arc::clone(&clock), Arc::clone(&stats));
        let upstreams = Upstreams::new(config, refusals, clocks, counted)?;
        let validation = match &config.mode {
            Mode::Validate { anchors } => {
                let validator =
                    validator(anchors, upstreams.clone(), &clock, config.ttl, config.cache);
                Validation::Here(Box::new(validator))
            }
            Mode::TrustAd { known_signed, .. } => {
                let known_signed = known_signed.as_ref().and_then(wire_name);
                Validation::ByUpstream {
                    known_signed: known_signed.unwrap_or_else(Name::root_bytes),
                }
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                upstreams,
                validation,
                ttl: config.ttl,
                lookup_timeout: config.lookup_timeout,
                probe_interval: config.probe_interval,
                cache_bounds: config.cache,
                cache: Mutex::new(Cache::new(config.cache)),
                flights: Flights::new(),
                generation: AtomicU64::new(0),
                permits: Semaphore::new(LOOKUPS_MAX),
                known_health: Mutex::new(HashMap::new()),
                health: watch::Sender::new(None),
                clock,
                stats,
            }),
        })
    }

    /// Looks up what may be no host's name, and tells what was found.
    ///
    /// Names that are no [`DomainName`] are looked up anew each time.
    pub async fn report(&self, name: &QueryName, record_type: RecordType) -> LookupReport {
        let other = match &name.0 {
            NameKind::Domain(name) => {
                return LookupReport::from(&self.lookup(name, record_type).await);
            }
            NameKind::Other(other) => other.clone(),
        };
        let record_type = RecordType::from(record_type.number());
        let (trail, outcome) = self.inner.look_up(other, record_type).await;
        LookupReport::from(Findings {
            name,
            record_type,
            steps: &trail.steps,
            outcome: &outcome,
            ttl: trail.ttl,
            explanation: &trail.explanation,
        })
    }

    /// From now on, chains of trust begin at these anchors. Whoever asks after this returns gets no
    /// answer that was validated by others.
    ///
    /// Where the upstreams validate, this means nothing.
    pub fn replace_anchors(&self, anchors: TrustAnchors) {
        let inner = &self.inner;
        if let Validation::Here(validator) = &inner.validation {
            validator.replace_anchors(anchors);
            // First the anchors, then the generation: a lookup that begins in between is validated by
            // the new ones and merely not kept.
            let mut cache = inner.cache();
            inner.generation.fetch_add(1, Ordering::AcqRel);
            cache.clear();
            drop(cache);
            // What was found out about upstreams rests on anchors as well.
            inner.healths().clear();
        }
    }

    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> &DnsStats {
        &self.inner.stats
    }

    /// The last report of [`watch`](Self::watch); `None` before the first.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Option<ProbeReport>> {
        self.inner.health.subscribe()
    }

    /// What the clones share.
    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Resolve for Resolver {
    async fn lookup(&self, name: &DomainName, record_type: RecordType) -> Answer {
        let key = Key {
            name: name.clone(),
            record_type: RecordType::from(record_type.number()),
        };
        if let Some(answer) = self.inner.cached(&key) {
            self.inner.stats.count_cache_hit();
            self.inner.stats.count_answer(&answer);
            return answer;
        }
        let inner = Arc::clone(&self.inner);
        let asked = key.clone();
        let generation = self.inner.generation.load(Ordering::Acquire);
        let answer = self.inner.flights.join((key, generation), move || {
            async move { inner.answer(asked, generation).await }.boxed()
        });
        let answer = answer.await;
        self.inner.stats.count_answer(&answer);
        Answer::clone(&answer)
    }
}

impl Inner {
    /// Whom to ask.
    pub(super) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// Who validates.
    pub(super) fn validation(&self) -> &Validation {
        &self.validation
    }

    /// How long a lookup may take.
    pub(super) fn lookup_timeout(&self) -> Duration {
        self.lookup_timeout
    }

    /// The pause between probes.
    pub(super) fn probe_interval(&self) -> Duration {
        self.probe_interval
    }

    /// Makes a report visible.
    pub(super) fn publish_health(&self, report: ProbeReport) {
        self.health.send_replace(Some(report));
    }

    /// A validator with the anchors of another that knows nothing, over these upstreams.
    pub(super) fn validator_over(&self, upstreams: Upstreams, like: &Validator) -> Validator {
        validator(
            &like.anchors(),
            upstreams,
            &self.clock,
            self.ttl,
            self.cache_bounds,
        )
    }

    /// An answer that is still fresh.
    fn cached(&self, key: &Key) -> Option<Answer> {
        let now = self.clock.monotonic();
        let (answer, ttl) = self.cache().get(key, now)?;
        Some(Answer {
            ttl,
            ..Answer::clone(&answer)
        })
    }

    /// Looks up and remembers, unless the trust anchors were replaced meanwhile: then the answer is
    /// for those alone who asked before.
    async fn answer(&self, key: Key, generation: u64) -> Arc<Answer> {
        let (trail, outcome) = match wire_name(&key.name) {
            Some(name) => self.look_up(name, key.record_type).await,
            None => (
                Trail::new(self.ttl.failure),
                Err(failed("the name has no wire form")),
            ),
        };
        let ttl = trail.ttl;
        let answer = Arc::new(Answer {
            name: key.name.clone(),
            record_type: key.record_type,
            steps: trail.steps,
            outcome,
            ttl,
            explanation: trail.explanation,
        });
        if let Some(expires) = self.clock.monotonic().checked_add(ttl) {
            let octets = answer.octets();
            let mut cache = self.cache();
            if self.generation.load(Ordering::Acquire) == generation {
                cache.put(key, Arc::clone(&answer), octets, expires);
            }
        }
        answer
    }

    /// Looks up, and ends in time.
    async fn look_up(
        &self,
        name: Name<Bytes>,
        record_type: RecordType,
    ) -> (Trail, Result<Secured<Outcome>, LookupError>) {
        let mut trail = Trail::new(self.ttl.ceiling);
        let finding = AssertUnwindSafe(Box::pin(self.find(name, record_type, &mut trail)));
        let finding = finding.catch_unwind();
        let outcome = match tokio::time::timeout(self.lookup_timeout, finding).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(failed("the resolver gave up on the answer")),
            Err(_) => Err(failed(format!("not done within {:?}", self.lookup_timeout))),
        };
        trail.ttl = match &outcome {
            Ok(_) => trail.ttl.clamp(self.ttl.floor, self.ttl.ceiling),
            Err(_) => self.ttl.failure,
        };
        (trail, outcome)
    }

    /// Looks up.
    async fn find(
        &self,
        name: Name<Bytes>,
        record_type: RecordType,
        trail: &mut Trail,
    ) -> Result<Secured<Outcome>, LookupError> {
        if record_type.is_meta() {
            return Err(failed(format!(
                "{record_type} is no type of records to look up"
            )));
        }
        let rtype = record_type.rtype();
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| failed("the resolver is closed"))?;
        match &self.validation {
            Validation::Here(validator) => {
                let question = byrnie_dnssec::Question::new(name, rtype);
                self.find_and_validate(validator, &question, trail).await
            }
            Validation::ByUpstream { known_signed } => {
                self.find_vouched(known_signed, name, rtype, trail).await
            }
        }
    }

    /// Looks up and validates. Before it says bogus, it makes sure that no upstream is to blame.
    async fn find_and_validate(
        &self,
        validator: &Validator,
        question: &byrnie_dnssec::Question,
        trail: &mut Trail,
    ) -> Result<Secured<Outcome>, LookupError> {
        let mut verdict = validator.verdict(question).await;
        if !may_lack_signatures(&verdict) {
            return self.believe(verdict, trail);
        }
        let hiding = self.hiding_upstreams(validator).await;
        if hiding.is_empty() {
            return self.believe(verdict, trail);
        }
        for upstream in &hiding {
            self.upstreams.hold(upstream);
        }
        validator.forget();
        if hiding.len() < self.upstreams.all().len() {
            verdict = validator.verdict(question).await;
            if !may_lack_signatures(&verdict) {
                return self.believe(verdict, trail);
            }
        }
        let culprits: Vec<String> = hiding
            .iter()
            .map(|upstream| upstream.address.to_string())
            .collect();
        Err(failed(format!(
            "upstream strips DNSSEC: no signatures come from {}; {}",
            culprits.join(", "),
            verdict.status
        )))
    }

    /// Puts the steps of a verdict on the trail, and takes over what stands at their end.
    fn believe(
        &self,
        verdict: Verdict,
        trail: &mut Trail,
    ) -> Result<Secured<Outcome>, LookupError> {
        let security = verdict.security();
        trail.explanation.chain = verdict.chain;
        for step in verdict.steps {
            let alias = alias(&step.name, &step.target)?;
            trail.steps.push(Secured {
                security: step.security(),
                value: alias,
            });
            note(&mut trail.explanation, step.insecure);
        }
        security?;
        let security = match verdict.end {
            None => Security::Secure,
            Some(_) => Security::Insecure,
        };
        note(&mut trail.explanation, verdict.end);
        let (value, ceiling) = match (verdict.kind, &verdict.answer) {
            (Kind::Answer, Some(set)) => (Outcome::Records(records(set)?), self.ttl.ceiling),
            (Kind::NoData, _) => (Outcome::NoData, self.ttl.negative_ceiling),
            (Kind::NxDomain, _) => (Outcome::NxDomain, self.ttl.negative_ceiling),
            (Kind::Answer, None) | (Kind::None, _) => {
                return Err(failed("the answer holds nothing"));
            }
        };
        trail.ttl = Duration::from_secs(verdict.ttl.into()).min(ceiling);
        Ok(Secured { security, value })
    }

    /// Follows the aliases to the end and takes the upstream's word for each step.
    async fn find_vouched(
        &self,
        known_signed: &Name<Bytes>,
        mut name: Name<Bytes>,
        rtype: Rtype,
        trail: &mut Trail,
    ) -> Result<Secured<Outcome>, LookupError> {
        loop {
            let (sections, upstream) = self.ask(&name, rtype, Checking::ByUpstream).await?;
            let left = ALIASES_MAX.saturating_sub(trail.steps.len());
            let plan = plan(&sections, &name, rtype, left).map_err(failed)?;
            let security = self
                .vouched_security(&sections, upstream, known_signed)
                .await?;
            // One bit speaks for all of the answer: where it is set, for each alias; where it is
            // clear, each has to be asked for on its own (behaviour rule 4).
            if security == Security::Insecure
                && let Some(hop) = plan.hops.first()
            {
                let security = self.vouched_hop(hop, known_signed).await?;
                self.follow(hop, security, trail)?;
                name = hop.target.clone();
                continue;
            }
            for hop in &plan.hops {
                self.follow(hop, security, trail)?;
            }
            match self.outcome(&plan.end, security, trail) {
                Some(outcome) => return Ok(outcome),
                None => name = plan.name,
            }
        }
    }

    /// What the upstream vouches for in an alias alone.
    async fn vouched_hop(
        &self,
        hop: &Hop,
        known_signed: &Name<Bytes>,
    ) -> Result<Security, LookupError> {
        let (sections, upstream) = self
            .ask(&hop.owner, Rtype::CNAME, Checking::ByUpstream)
            .await?;
        let same_target = sections
            .find(&hop.owner, Rtype::CNAME)
            .is_some_and(|set| set.is_alias_of(&hop.target));
        if !same_target {
            let owner = hop.owner.fmt_with_dot();
            return Err(failed(format!("the alias {owner} changed under way")));
        }
        self.vouched_security(&sections, upstream, known_signed)
            .await
    }

    /// The security that the AD bit means, if the upstream sets it where it must.
    async fn vouched_security(
        &self,
        sections: &Sections,
        upstream: usize,
        known_signed: &Name<Bytes>,
    ) -> Result<Security, LookupError> {
        if sections.authentic == Authentic::Claimed {
            return Ok(Security::Secure);
        }
        let Some(upstream) = self.upstreams.all().get(upstream) else {
            return Err(failed("the upstream is gone"));
        };
        let health = match self.known_health(upstream) {
            Some(health) => health,
            None => {
                let alone = self.upstreams.only(upstream);
                let health = probe::vouches_for(&alone, known_signed).await;
                self.remember_health(upstream, &health);
                health
            }
        };
        if health == UpstreamHealth::Fit {
            Ok(Security::Insecure)
        } else {
            Err(failed(format!("{}: {health}", upstream.address)))
        }
    }

    /// The upstreams through which signed zones look unsigned.
    async fn hiding_upstreams(&self, validator: &Validator) -> Vec<Arc<Upstream>> {
        let anchors = validator.anchors();
        let Some(zone) = anchors.validated_zones().next() else {
            return Vec::new();
        };
        let each = self.upstreams.all().iter().map(|upstream| async move {
            let health = match self.known_health(upstream) {
                Some(health) => health,
                None => {
                    let alone = self.upstreams.only(upstream);
                    let health = probe::lets_signatures_through(&alone, zone).await;
                    self.remember_health(upstream, &health);
                    health
                }
            };
            health.hides_signatures().then(|| Arc::clone(upstream))
        });
        join_all(each).await.into_iter().flatten().collect()
    }

    /// What was found out about an upstream of late.
    fn known_health(&self, upstream: &Upstream) -> Option<UpstreamHealth> {
        let now = self.clock.monotonic();
        let known = self.healths();
        let (health, until) = known.get(&upstream.address)?;
        (now < *until).then(|| health.clone())
    }

    /// Remembers what was found out about an upstream for a while.
    pub(super) fn remember_health(&self, upstream: &Upstream, health: &UpstreamHealth) {
        let keep = if *health == UpstreamHealth::Fit {
            FITNESS_KEPT
        } else {
            self.ttl.failure
        };
        if let Some(until) = self.clock.monotonic().checked_add(keep) {
            let mut known = self.healths();
            known.insert(upstream.address, (health.clone(), until));
        }
    }

    /// Asks the upstreams; answers with an error end the lookup.
    async fn ask(
        &self,
        name: &Name<Bytes>,
        rtype: Rtype,
        checking: Checking,
    ) -> Result<(Sections, usize), LookupError> {
        let question = Question {
            name: name.clone(),
            rtype,
            checking,
        };
        let reply = self.upstreams.ask(&question).await.map_err(failed)?;
        let sections = Sections::parse(&reply.message).map_err(failed)?;
        if is_answer(&sections) {
            return Ok((sections, reply.upstream));
        }
        let refusal = refusal(name, rtype, &sections);
        let may_be_a_verdict =
            checking == Checking::ByUpstream && sections.rcode == OptRcode::SERVFAIL;
        if may_be_a_verdict && self.answers_unchecked(question).await {
            return Err(LookupError::Bogus(format!(
                "the upstream finds it bogus: {refusal}"
            )));
        }
        Err(failed(refusal))
    }

    /// Whether the upstream would answer if it did not have to validate.
    async fn answers_unchecked(&self, question: Question) -> bool {
        let unchecked = Question {
            checking: Checking::Disabled,
            ..question
        };
        let reply = self.upstreams.ask(&unchecked).await;
        reply.is_ok_and(|reply| {
            Sections::parse(&reply.message).is_ok_and(|sections| is_answer(&sections))
        })
    }

    /// Puts an alias on the trail.
    fn follow(&self, hop: &Hop, security: Security, trail: &mut Trail) -> Result<(), LookupError> {
        let alias = alias(&hop.owner, &hop.target)?;
        let target = QueryName::from(&hop.target);
        if trail.steps.iter().any(|step| step.value.owner == target) {
            return Err(failed(format!("the aliases come back to {}", alias.target)));
        }
        if trail.steps.len() >= ALIASES_MAX {
            return Err(failed("too many aliases in a row"));
        }
        trail.steps.push(Secured {
            security,
            value: alias,
        });
        trail.ttl = trail.ttl.min(self.set_ttl(&hop.set, security));
        Ok(())
    }

    /// What stands at the end, with its security; `None` if the upstream stopped at an alias.
    fn outcome(
        &self,
        end: &End,
        security: Security,
        trail: &mut Trail,
    ) -> Option<Secured<Outcome>> {
        let (value, ttl) = match end {
            End::Unfollowed => return None,
            End::Records(set) => {
                let records = set
                    .records
                    .iter()
                    .map(|record| RecordData::from_wire(&record.data))
                    .collect();
                (Outcome::Records(records), self.set_ttl(set, security))
            }
            End::Denial(denial) => {
                let outcome = match denial.kind {
                    DenialKind::NoData => Outcome::NoData,
                    DenialKind::NxDomain => Outcome::NxDomain,
                };
                (outcome, self.denial_ttl(denial, security))
            }
        };
        trail.ttl = trail.ttl.min(ttl);
        Some(Secured { security, value })
    }

    /// How long an RRset may be kept.
    fn set_ttl(&self, set: &RrSet, security: Security) -> Duration {
        let now = self.clock.now();
        let signed = set
            .signatures
            .iter()
            .filter(|signature| security == Security::Secure && signature.validity(now).is_ok())
            .map(|signature| signature.ttl(now))
            .min();
        let ttl = set.ttl();
        signed.map_or(ttl, |signed| ttl.min(signed)).into_duration()
    }

    /// How long a denial may be kept: RFC 2308, Section 5.
    fn denial_ttl(&self, denial: &Denial, security: Security) -> Duration {
        let Some(soa) = &denial.soa else {
            return self.ttl.floor;
        };
        soa.soa_minimum()
            .into_iter()
            .chain([self.set_ttl(soa, security), self.ttl.negative_ceiling])
            .min()
            .unwrap_or(self.ttl.floor)
    }

    /// The cache.
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache<Key, Arc<Answer>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known about the upstreams.
    fn healths(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, (UpstreamHealth, Instant)>> {
        self.known_health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// No usable answer.
#[expect(
    clippy::needless_pass_by_value,
    reason = "so that it fits into `map_err`"
)]
fn failed(why: impl ToString) -> LookupError {
    LookupError::Failed(why.to_string())
}

/// Whether the upstream answered, if only by saying that there is nothing.
fn is_answer(sections: &Sections) -> bool {
    sections.rcode == OptRcode::NOERROR || sections.rcode == OptRcode::NXDOMAIN
}

/// What the upstream said instead of an answer.
fn refusal(name: &Name<Bytes>, rtype: Rtype, sections: &Sections) -> String {
    let rcode = sections.rcode;
    let name = name.fmt_with_dot();
    match &sections.extended_error {
        Some(error) => format!("the upstream answers {rcode} to {name} {rtype} ({error})"),
        None => format!("the upstream answers {rcode} to {name} {rtype}"),
    }
}

/// The name as the wire knows it.
fn wire_name(name: &DomainName) -> Option<Name<Bytes>> {
    Name::bytes_from_str(name.as_str()).ok()
}

/// A validator that knows nothing but its anchors.
fn validator(
    anchors: &TrustAnchors,
    upstreams: Upstreams,
    clock: &Arc<dyn Clock>,
    ttl: TtlBounds,
    cache: CacheBounds,
) -> Validator {
    let bounds = CacheBounds {
        entries_max: cache.entries_max / PROOFS_SHARE,
        octets_max: cache.octets_max,
    };
    let source = Source::new(upstreams, Arc::clone(clock), ttl, bounds);
    Validator::new(anchors.clone(), source, Arc::clone(clock), ttl, bounds)
}

/// An alias of a name that hosts can be called.
fn alias(owner: &Name<Bytes>, target: &Name<Bytes>) -> Result<Alias, LookupError> {
    match record::domain_name(target) {
        Some(target) => Ok(Alias {
            owner: owner.into(),
            target,
        }),
        None => Err(failed(format!(
            "{} is an alias of {}, which no host can be called",
            owner.fmt_with_dot(),
            target.fmt_with_dot()
        ))),
    }
}

/// The records of a set.
fn records(set: &RecordSet) -> Result<Vec<RecordData>, LookupError> {
    let records: Vec<RecordData> = set
        .parsed::<AllRecordData<Bytes, ParsedName<Bytes>>>()
        .map(|data| RecordData::from_wire(&data))
        .collect();
    if records.len() == set.data.len() {
        return Ok(records);
    }
    Err(failed(format!(
        "{} {}: a record breaks the format of its type",
        set.owner.fmt_with_dot(),
        set.rtype
    )))
}

/// Remembers the first reason why an answer is insecure.
fn note(explanation: &mut Explanation, insecure: Option<Insecure>) {
    if explanation.insecure.is_none() {
        explanation.insecure = insecure;
    }
}

/// At most this many aliases are followed, as resolvers do.
pub const ALIASES_MAX: usize = 16;

/// The validator's cache of proofs may hold this part of what the cache of answers may.
const PROOFS_SHARE: usize = 4;

/// At most this many lookups are under way; others wait their turn, within their time-out.
const LOOKUPS_MAX: usize = 1024;

/// How long an upstream that proved fit is taken to be fit.
const FITNESS_KEPT: Duration = Duration::from_secs(30);
