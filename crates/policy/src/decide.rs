//! The one total function.

use std::collections::BTreeSet;
use std::net::IpAddr;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_dane::ReferenceIdentifiers;
use byrnie_dane::UsableRecords;
use byrnie_mta_sts::Mode;
use byrnie_mta_sts::Policy;
use byrnie_smtp::TlsDemand;

use crate::DaneRule;
use crate::Decision;
use crate::Evidence;
use crate::HostDecision;
use crate::HostEvidence;
use crate::HostVerdict;
use crate::InsecureMx;
use crate::MxRrset;
use crate::Reason;
use crate::RequireTls;
use crate::Requirement;
use crate::Strength;
use crate::StsEvidence;
use crate::StsFailure;
use crate::StsObservation;
use crate::StsSource;
use crate::TlsRequirement;
use crate::TlsaEvidence;
use crate::Verdict;
use crate::reason::AddressFamily;

/// Decides what mail to a domain needs.
///
/// Every host is judged by the same steps in the same order: does the domain's policy name it, has
/// it addresses, what do DANE and MTA-STS promise for it, and is that enough for the operator, for
/// the message and for what an earlier attempt was held to. A step can raise the requirement or
/// end the judgment; none can lower what an earlier step found.
#[must_use]
pub fn decide(evidence: &Evidence) -> Decision {
    match &evidence.mx {
        Err(error) => {
            let error = error.clone();
            without_hosts(evidence, Verdict::Wait, Reason::MxUnknown { error })
        }
        Ok(mx) => match &mx.value {
            MxRrset::Null => denied(evidence, mx.security, Reason::NullMx),
            MxRrset::NoSuchDomain => {
                let security = mx.security;
                denied(evidence, security, Reason::NoSuchDomain { security })
            }
            MxRrset::Implicit | MxRrset::Hosts(_) | MxRrset::Literal | MxRrset::Host => {
                judge_domain(evidence, &mx.value, mx.security)
            }
        },
    }
}

/// The decision about a domain that is said to take no mail.
///
/// Where mail goes to authenticated hosts alone, an answer that nobody has signed does not bounce it:
/// whoever forges it could as well forge MX records, which makes mail wait (behaviour rule 26).
fn denied(evidence: &Evidence, security: Security, reason: Reason) -> Decision {
    let term = sts_term(evidence, security);
    if security == Security::Secure || !is_authentication_due(evidence, term) {
        return without_hosts(evidence, Verdict::Reject, reason);
    }
    let mut decision = without_hosts(evidence, Verdict::Wait, reason);
    decision.reasons.extend(sts_reasons(&evidence.sts, term));
    decision.reasons.push(Reason::DenialUnsigned);
    decision
}

/// Whether mail to the domain may go to authenticated hosts alone, whatever the DNS says about it now: by
/// its policy, by the operator's rule or by what an earlier attempt was held to.
fn is_authentication_due(evidence: &Evidence, term: StsTerm<'_>) -> bool {
    let by_policy = match term {
        StsTerm::Enforce(_) | StsTerm::Unknown => true,
        StsTerm::Nothing | StsTerm::Watch(_) => false,
    };
    by_policy
        || evidence.rule.at_least >= Strength::MtaSts
        || evidence.floor >= Some(Strength::MtaSts)
}

/// The decision about a domain of which no host needs to be looked at.
fn without_hosts(evidence: &Evidence, verdict: Verdict, reason: Reason) -> Decision {
    // Without an MX answer nothing is proven by it; a policy that is alive holds all the same.
    let term = sts_term(evidence, Security::Insecure);
    Decision {
        domain: evidence.domain.clone(),
        verdict,
        hosts: Vec::new(),
        reasons: vec![reason],
        promised: promised_by(term),
    }
}

/// What a policy that is enforced promises of each host, whether or not one may be used now.
fn promised_by(term: StsTerm<'_>) -> Option<Strength> {
    match term {
        StsTerm::Enforce(_) => Some(Strength::MtaSts),
        StsTerm::Nothing | StsTerm::Watch(_) | StsTerm::Unknown => None,
    }
}

/// The decision about a domain with mail hosts.
fn judge_domain(evidence: &Evidence, rrset: &MxRrset, security: Security) -> Decision {
    let terms = Terms::of(evidence, rrset, security);
    let named = named_hosts(evidence, rrset);
    let mut reasons = terms.reasons(evidence, rrset);

    let mut hosts: Vec<&HostEvidence> = evidence
        .hosts
        .iter()
        .filter(|host| named.contains(&host.host))
        .collect();
    hosts.sort_by(|a, b| (a.preference, &a.host).cmp(&(b.preference, &b.host)));
    let left_out = named
        .iter()
        .filter(|name| !hosts.iter().any(|host| host.host == ***name))
        .count();
    if left_out > 0 && !hosts.is_empty() {
        reasons.push(Reason::HostsLeftOut { count: left_out });
    }

    let judged: Vec<Judged> = hosts.iter().map(|host| terms.judge(host)).collect();
    let (verdict, conclusion) = conclude(&judged, left_out);
    reasons.extend(conclusion);
    Decision {
        domain: evidence.domain.clone(),
        verdict,
        hosts: judged.into_iter().map(|judged| judged.decision).collect(),
        reasons,
        promised: promised_by(terms.sts),
    }
}

/// The hosts that the MX answer names; evidence about any other host is not looked at.
fn named_hosts<'a>(evidence: &'a Evidence, rrset: &'a MxRrset) -> BTreeSet<&'a DomainName> {
    match rrset {
        MxRrset::Hosts(records) => records.iter().map(|mx| &mx.host).collect(),
        MxRrset::Implicit | MxRrset::Literal | MxRrset::Host => BTreeSet::from([&evidence.domain]),
        MxRrset::Null | MxRrset::NoSuchDomain => BTreeSet::new(),
    }
}

/// What holds for every host of the domain alike.
struct Terms<'a> {
    evidence: &'a Evidence,
    dane: DaneTerm,
    sts: StsTerm<'a>,
    /// Whether the host names come from the recipient's address or from a signed answer.
    names: HostNames,
    /// How well the MX answer is proven.
    mx: Security,
}

/// Whether TLSA records are looked at.
#[derive(Clone, Copy, Eq, PartialEq)]
enum DaneTerm {
    Applies,
    /// The MX answer is insecure.
    InsecureMx,
    /// The operator said so.
    Ignored,
    /// The message said so.
    Lifted,
}

/// What MTA-STS demands of every host.
#[derive(Clone, Copy)]
enum StsTerm<'a> {
    /// Nothing, for whatever reason.
    Nothing,
    /// To be named by this policy, and authenticated.
    Enforce(&'a Policy),
    /// To be watched.
    Watch(&'a Policy),
    /// It cannot be known now.
    Unknown,
}

/// How well the host names are proven before MTA-STS is asked.
#[derive(Clone, Copy, Eq, PartialEq)]
enum HostNames {
    /// By the recipient's address itself, or by DNSSEC.
    Proven,
    /// Whoever forged the MX answer chose them.
    Unproven,
    /// There is none: the next hop is an address.
    Absent,
}

/// Why a host may not be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Obstacle {
    /// Something is unknown or too weak, which may change.
    Wait,
    /// The policy does not name it.
    Excluded,
    /// It has no address.
    NoAddress,
    /// It cannot be authenticated as REQUIRETLS demands.
    NotForRequireTls,
}

/// The judgment of one host with its obstacle, from which the whole is concluded.
struct Judged {
    decision: HostDecision,
    obstacle: Option<Obstacle>,
}

impl<'a> Terms<'a> {
    /// Draws up what holds for every host.
    fn of(evidence: &'a Evidence, rrset: &MxRrset, security: Security) -> Self {
        let mx_secure = security == Security::Secure;
        let names = match rrset {
            MxRrset::Literal => HostNames::Absent,
            MxRrset::Implicit | MxRrset::Host => HostNames::Proven,
            MxRrset::Hosts(_) if mx_secure => HostNames::Proven,
            MxRrset::Hosts(_) | MxRrset::Null | MxRrset::NoSuchDomain => HostNames::Unproven,
        };
        Self {
            evidence,
            dane: dane_term(evidence, security),
            sts: sts_term(evidence, security),
            names,
            mx: security,
        }
    }

    /// The reasons that concern every host.
    fn reasons(&self, evidence: &Evidence, rrset: &MxRrset) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if let Ok(mx) = &evidence.mx {
            let security = mx.security;
            reasons.push(match rrset {
                MxRrset::Literal => Reason::AddressLiteral,
                MxRrset::Host => Reason::HostGiven,
                MxRrset::Implicit => Reason::ImplicitMx { security },
                MxRrset::Hosts(_) | MxRrset::Null | MxRrset::NoSuchDomain => {
                    Reason::MxAnswered { security }
                }
            });
            if security == Security::Insecure && self.dane == DaneTerm::Applies {
                reasons.push(Reason::OperatorTrustsInsecureMx);
            }
        }
        match self.dane {
            DaneTerm::Applies | DaneTerm::Lifted => {}
            DaneTerm::InsecureMx if self.names == HostNames::Absent => {}
            DaneTerm::InsecureMx => reasons.push(Reason::DaneNeedsSecureMx),
            DaneTerm::Ignored => reasons.push(Reason::OperatorIgnoresDane),
        }
        reasons.extend(sts_reasons(&evidence.sts, self.sts));
        match evidence.message {
            TlsDemand::None => {}
            TlsDemand::RequireTls => reasons.push(Reason::MessageRequiresTls),
            TlsDemand::TlsNotRequired if is_lifted(evidence) => {
                reasons.push(Reason::MessageLiftsTls);
            }
            TlsDemand::TlsNotRequired => reasons.push(Reason::MessageCannotLiftTls),
        }
        let strength = evidence.rule.at_least;
        if strength > Strength::Opportunistic {
            reasons.push(Reason::OperatorAtLeast { strength });
        }
        if let Some(strength) = evidence
            .floor
            .filter(|&floor| floor > Strength::Opportunistic)
        {
            reasons.push(Reason::EarlierAttempt { strength });
        }
        reasons
    }

    /// Judges one host.
    fn judge(&self, host: &HostEvidence) -> Judged {
        let mut reasons = Vec::new();
        let mut addresses = Vec::new();
        let result = self.requirement(host, &mut addresses, &mut reasons);
        let (verdict, obstacle) = match result {
            Ok(requirement) => (HostVerdict::Use(requirement), None),
            Err(Obstacle::Wait) => (HostVerdict::Wait, Some(Obstacle::Wait)),
            Err(obstacle) => (HostVerdict::Skip, Some(obstacle)),
        };
        let decision = HostDecision {
            host: host.host.clone(),
            preference: host.preference,
            addresses,
            verdict,
            reasons,
        };
        Judged { decision, obstacle }
    }

    /// What must hold for one host, found in steps of which each knows the result of the last.
    fn requirement(
        &self,
        host: &HostEvidence,
        addresses: &mut Vec<IpAddr>,
        reasons: &mut Vec<Reason>,
    ) -> Result<Requirement, Obstacle> {
        self.pass_policy(host, reasons)?;
        *addresses = self.usable_addresses(host, reasons)?;
        let dane = self.dane_promise(host, reasons)?;
        let promised = self.promise(host, dane);
        let tls = self.raise_for_operator(host, promised, reasons)?;
        let tls = self.raise_for_require_tls(host, tls, reasons)?;
        self.hold_floor(&tls, reasons)?;
        Ok(Requirement {
            tls,
            require_tls: match self.evidence.message {
                TlsDemand::RequireTls => RequireTls::Demanded,
                TlsDemand::None | TlsDemand::TlsNotRequired => RequireTls::NotDemanded,
            },
            sts_observation: match self.sts {
                StsTerm::Watch(_) => StsObservation::Watch,
                StsTerm::Nothing | StsTerm::Enforce(_) | StsTerm::Unknown => StsObservation::None,
            },
        })
    }

    /// Stops at a host that the domain's policy excludes, DANE or not (behaviour rule 28).
    fn pass_policy(&self, host: &HostEvidence, reasons: &mut Vec<Reason>) -> Result<(), Obstacle> {
        match self.sts {
            StsTerm::Nothing => Ok(()),
            StsTerm::Unknown => Err(Obstacle::Wait),
            StsTerm::Enforce(policy) if policy.permits(&host.host) => {
                reasons.push(Reason::StsNamesHost);
                Ok(())
            }
            StsTerm::Enforce(_) => {
                reasons.push(Reason::StsExcludesHost);
                Err(Obstacle::Excluded)
            }
            StsTerm::Watch(policy) => {
                reasons.push(match policy.permits(&host.host) {
                    true => Reason::StsNamesHost,
                    false => Reason::StsTestingDoesNotNameHost,
                });
                Ok(())
            }
        }
    }

    /// The addresses of one host; that it has none must be signed where mail goes to authenticated hosts
    /// alone.
    fn usable_addresses(
        &self,
        host: &HostEvidence,
        reasons: &mut Vec<Reason>,
    ) -> Result<Vec<IpAddr>, Obstacle> {
        let found = usable_addresses(host, reasons);
        let denied = matches!(found, Err(Obstacle::NoAddress)) && !denies_addresses_securely(host);
        if denied && is_authentication_due(self.evidence, self.sts) {
            reasons.push(Reason::DenialUnsigned);
            return Err(Obstacle::Wait);
        }
        found
    }

    /// What DANE demands of one host; `None` where it does not apply or there are no records.
    fn dane_promise(
        &self,
        host: &HostEvidence,
        reasons: &mut Vec<Reason>,
    ) -> Result<Option<TlsRequirement>, Obstacle> {
        if self.dane != DaneTerm::Applies {
            return Ok(None);
        }
        let candidates = host.tlsa_candidates();
        if candidates.is_empty() {
            reasons.push(Reason::AddressesInsecure);
            return Ok(None);
        }
        match &host.tlsa {
            TlsaEvidence::NotAsked => {
                // Only a denial is evidence of absence, and nobody has asked for one.
                reasons.push(Reason::TlsaMissed);
                Err(Obstacle::Wait)
            }
            TlsaEvidence::Absent(security) => {
                let security = *security;
                reasons.push(Reason::TlsaAbsent { security });
                Ok(None)
            }
            TlsaEvidence::Failed(error) => {
                let error = error.clone();
                reasons.push(Reason::TlsaUnknown { error });
                Err(Obstacle::Wait)
            }
            // The records do not stand where they would count for this host.
            TlsaEvidence::Found { base, .. } if !candidates.contains(base) => {
                reasons.push(Reason::AddressesInsecure);
                Ok(None)
            }
            TlsaEvidence::Found { base, records } => {
                let sorted = UsableRecords::partition(records);
                Ok(Some(self.dane_requirement(base, sorted, reasons)))
            }
        }
    }

    /// What a set of TLSA records demands: RFC 7672, Section 2.2.
    fn dane_requirement(
        &self,
        base: &DomainName,
        sorted: UsableRecords,
        reasons: &mut Vec<Reason>,
    ) -> TlsRequirement {
        let base = base.clone();
        let usable = !sorted.usable.is_empty();
        if usable {
            let records = sorted.usable.iter();
            reasons.push(Reason::TlsaUsable {
                base: base.clone(),
                records: records.map(|r| r.abbreviated().to_string()).collect(),
            });
        }
        for (record, why) in &sorted.unusable {
            reasons.push(Reason::TlsaRecordUnusable {
                record: record.abbreviated().to_string(),
                why: why.to_string(),
            });
        }
        if usable {
            return TlsRequirement::Dane {
                records: sorted.usable,
                reference: ReferenceIdentifiers::new(
                    base,
                    &self.evidence.domain,
                    self.evidence.expanded_domain.as_ref(),
                    self.mx,
                ),
            };
        }
        reasons.push(Reason::TlsaAllUnusable { base });
        TlsRequirement::Encrypt
    }

    /// The stronger of what DANE and MTA-STS promise.
    ///
    /// DANE with usable records always wins (behaviour rule 28). Records of which none is usable
    /// demand encryption alone; an enforced policy demands more, so it is not set aside by them.
    fn promise(&self, host: &HostEvidence, dane: Option<TlsRequirement>) -> TlsRequirement {
        let sts = match self.sts {
            StsTerm::Enforce(_) => TlsRequirement::MtaSts {
                mx_host: host.host.clone(),
            },
            StsTerm::Nothing | StsTerm::Watch(_) | StsTerm::Unknown => {
                TlsRequirement::Opportunistic
            }
        };
        match dane {
            Some(dane) if dane.strength() > sts.strength() => dane,
            Some(_) | None => sts,
        }
    }

    /// Raises a requirement to what the operator demands.
    fn raise_for_operator(
        &self,
        host: &HostEvidence,
        promised: TlsRequirement,
        reasons: &mut Vec<Reason>,
    ) -> Result<TlsRequirement, Obstacle> {
        let demanded = self.evidence.rule.at_least;
        if promised.strength() >= demanded {
            return Ok(promised);
        }
        let raised = match demanded {
            Strength::Opportunistic => Some(promised.clone()),
            Strength::Encrypt => Some(TlsRequirement::Encrypt),
            // A certificate proves a name. Where a forged MX answer could have chosen the name, it
            // proves something only if the name lies within the recipient's own domain.
            Strength::MtaSts if self.proves_name(host) || self.is_within_domain(host) => {
                Some(TlsRequirement::MtaSts {
                    mx_host: host.host.clone(),
                })
            }
            Strength::MtaSts => {
                if self.names == HostNames::Unproven {
                    reasons.push(Reason::HostNameUnproven);
                }
                None
            }
            // Nobody can demand records that the domain does not publish.
            Strength::Dane => None,
        };
        let Some(raised) = raised else {
            let promised = promised.strength();
            reasons.push(Reason::OperatorDemandUnmet { demanded, promised });
            return Err(Obstacle::Wait);
        };
        reasons.push(Reason::RaisedForOperator { strength: demanded });
        Ok(raised)
    }

    /// Raises a requirement to an authenticated one where the message demands REQUIRETLS.
    ///
    /// RFC 8689, Section 4.2.1: the host name must come from a signed MX answer or be named by an
    /// MTA-STS policy, and its certificate must be authenticated, by DANE or a public authority.
    fn raise_for_require_tls(
        &self,
        host: &HostEvidence,
        tls: TlsRequirement,
        reasons: &mut Vec<Reason>,
    ) -> Result<TlsRequirement, Obstacle> {
        match self.evidence.message {
            TlsDemand::None | TlsDemand::TlsNotRequired => Ok(tls),
            TlsDemand::RequireTls if !self.proves_name(host) => {
                reasons.push(Reason::NotForRequireTls);
                Err(Obstacle::NotForRequireTls)
            }
            TlsDemand::RequireTls if tls.strength() >= Strength::MtaSts => Ok(tls),
            TlsDemand::RequireTls => {
                reasons.push(Reason::RaisedForRequireTls);
                Ok(TlsRequirement::MtaSts {
                    mx_host: host.host.clone(),
                })
            }
        }
    }

    /// Stops at a requirement that is weaker than what an earlier attempt was held to.
    fn hold_floor(&self, tls: &TlsRequirement, reasons: &mut Vec<Reason>) -> Result<(), Obstacle> {
        let now = tls.strength();
        match self.evidence.floor {
            Some(earlier) if now < earlier => {
                reasons.push(Reason::WeakerThanEarlier { earlier, now });
                Err(Obstacle::Wait)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a certificate with the host's name proves that the host serves the domain.
    fn proves_name(&self, host: &HostEvidence) -> bool {
        let named = match self.sts {
            StsTerm::Enforce(policy) | StsTerm::Watch(policy) => policy.permits(&host.host),
            StsTerm::Nothing | StsTerm::Unknown => false,
        };
        named || self.names == HostNames::Proven
    }

    /// Whether the host's name lies within the recipient's own domain.
    fn is_within_domain(&self, host: &HostEvidence) -> bool {
        self.names != HostNames::Absent && host.host.is_at_or_below(&self.evidence.domain)
    }
}

/// Whether the message lifts what the recipient's domain promises.
///
/// It cannot lift what the operator demands: authentication is then had in whichever way the
/// domain offers it, as if the message had said nothing.
fn is_lifted(evidence: &Evidence) -> bool {
    evidence.message == TlsDemand::TlsNotRequired && evidence.rule.at_least < Strength::MtaSts
}

/// Whether TLSA records are looked at.
fn dane_term(evidence: &Evidence, mx: Security) -> DaneTerm {
    if is_lifted(evidence) {
        return DaneTerm::Lifted;
    }
    match evidence.rule.dane {
        DaneRule::DangerIgnore => return DaneTerm::Ignored,
        DaneRule::Apply => {}
    }
    match (mx, evidence.rule.insecure_mx) {
        (Security::Secure, _) | (Security::Insecure, InsecureMx::UseTlsa) => DaneTerm::Applies,
        (Security::Insecure, InsecureMx::NoDane) => DaneTerm::InsecureMx,
    }
}

/// What MTA-STS demands of every host.
fn sts_term(evidence: &Evidence, mx: Security) -> StsTerm<'_> {
    if is_lifted(evidence) {
        return StsTerm::Nothing;
    }
    match &evidence.sts {
        StsEvidence::NotAsked | StsEvidence::Absent | StsEvidence::FetchFailed(_) => {
            StsTerm::Nothing
        }
        StsEvidence::StoreUnreadable(_) => StsTerm::Unknown,
        StsEvidence::RecordUnknown(error) => match record_unknown(error, mx) {
            Security::Secure => StsTerm::Unknown,
            Security::Insecure => StsTerm::Nothing,
        },
        StsEvidence::Policy { policy, .. } => match policy.mode {
            Mode::Enforce => StsTerm::Enforce(policy),
            Mode::Testing => StsTerm::Watch(policy),
            Mode::None => StsTerm::Nothing,
        },
    }
}

/// Whether an unknown TXT record lies in a zone that proves what it says.
///
/// In a signed zone somebody may be hiding the record, so mail waits. In an unsigned zone whoever
/// can hide it could as well deny it, so that waiting would protect from nobody and would stop mail
/// to each domain whose servers stumble over names with an underscore.
fn record_unknown(error: &LookupError, mx: Security) -> Security {
    match error {
        LookupError::Bogus(_) => Security::Secure,
        LookupError::Failed(_) => mx,
    }
}

/// What there is to say about MTA-STS.
fn sts_reasons(sts: &StsEvidence, term: StsTerm<'_>) -> Vec<Reason> {
    match sts {
        StsEvidence::NotAsked => vec![Reason::StsOff],
        StsEvidence::Absent => vec![Reason::StsAbsent],
        StsEvidence::FetchFailed(failure) => {
            let why = failure.why.clone();
            vec![Reason::StsFetchFailed { why }]
        }
        StsEvidence::StoreUnreadable(why) => vec![Reason::StsStoreUnreadable { why: why.clone() }],
        StsEvidence::RecordUnknown(error) => {
            let error = error.clone();
            vec![match term {
                StsTerm::Unknown => Reason::StsRecordUnknown { error },
                StsTerm::Nothing | StsTerm::Enforce(_) | StsTerm::Watch(_) => {
                    Reason::StsRecordUnknownInsecure { error }
                }
            }]
        }
        StsEvidence::Policy {
            policy,
            source,
            age,
        } => {
            let age_seconds = age.as_secs();
            let mut reasons = vec![match policy.mode {
                Mode::Enforce => Reason::StsEnforced { age_seconds },
                Mode::Testing => Reason::StsTesting { age_seconds },
                Mode::None => Reason::StsModeNone,
            }];
            match source {
                StsSource::Fetched | StsSource::Cached => {}
                StsSource::CachedAfterFailure(StsFailure { why, .. }) => {
                    reasons.push(Reason::StsCachedAfterFailure { why: why.clone() });
                }
            }
            reasons
        }
    }
}

/// The addresses of one host, IPv6 first; a family that could not be looked up is left out.
fn usable_addresses(
    host: &HostEvidence,
    reasons: &mut Vec<Reason>,
) -> Result<Vec<IpAddr>, Obstacle> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut unknown = 0;
    match &host.ipv6 {
        Ok(found) => addresses.extend(found.value.iter().copied().map(IpAddr::V6)),
        Err(error) => {
            unknown += 1;
            reasons.push(family_unknown(AddressFamily::Ipv6, error));
        }
    }
    match &host.ipv4 {
        Ok(found) => addresses.extend(found.value.iter().copied().map(IpAddr::V4)),
        Err(error) => {
            unknown += 1;
            reasons.push(family_unknown(AddressFamily::Ipv4, error));
        }
    }
    match (addresses.is_empty(), unknown) {
        (false, _) => Ok(addresses),
        (true, 0) => {
            reasons.push(Reason::NoAddress);
            Err(Obstacle::NoAddress)
        }
        (true, _) => {
            reasons.push(Reason::AddressesUnknown);
            Err(Obstacle::Wait)
        }
    }
}

/// Whether it is signed for both families that there is no address.
fn denies_addresses_securely(host: &HostEvidence) -> bool {
    let ipv4 = host.ipv4.as_ref().is_ok_and(Secured::is_secure);
    let ipv6 = host.ipv6.as_ref().is_ok_and(Secured::is_secure);
    ipv4 && ipv6
}

/// A family of addresses that could not be looked up.
fn family_unknown(family: AddressFamily, error: &LookupError) -> Reason {
    Reason::FamilyUnknown {
        family,
        error: error.clone(),
    }
}

/// The whole in one word, and the reason if no host may be used.
fn conclude(judged: &[Judged], left_out: usize) -> (Verdict, Option<Reason>) {
    let weakest = judged
        .iter()
        .filter_map(|judged| judged.decision.verdict.requirement())
        .map(|requirement| requirement.tls.strength())
        .min();
    if let Some(weakest) = weakest {
        return (Verdict::from(weakest), None);
    }
    let has = |obstacle| {
        judged
            .iter()
            .any(|judged| judged.obstacle == Some(obstacle))
    };
    if has(Obstacle::Wait) {
        return (Verdict::Wait, None);
    }
    // A policy that names no host may be about to change, or the MX records may be forged.
    if has(Obstacle::Excluded) {
        return (Verdict::Wait, Some(Reason::NoHostNamed));
    }
    if judged.is_empty() || left_out > 0 {
        return (Verdict::Wait, Some(Reason::NoHostLookedUp));
    }
    let reason = match has(Obstacle::NotForRequireTls) {
        true => Reason::NoHostForRequireTls,
        false => Reason::NoHostHasAddress,
    };
    (Verdict::Reject, Some(reason))
}
