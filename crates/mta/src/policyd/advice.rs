//! A decision in the terms of an MTA that makes its connections itself.
//!
//! It has one word for a whole domain where a decision has one requirement for each host. Where that
//! word cannot say the same, it says more, never less: a host that should be authenticated by its TLSA
//! records is never left to MTA-STS, and one about which too little is known is left out where the other
//! MTA would not notice by itself.

use byrnie_base::DomainName;
use byrnie_mta_sts::Mode;
use byrnie_mta_sts::MxPattern;
use byrnie_mta_sts::Policy;
use byrnie_policy::Decision;
use byrnie_policy::Evidence;
use byrnie_policy::HostDecision;
use byrnie_policy::HostVerdict;
use byrnie_policy::Reason;
use byrnie_policy::Requirement;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::Verdict;

/// What the other MTA is to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Advice<'a> {
    /// What it does anyway: nothing is demanded, or it will see for itself that there is no way.
    Nothing,
    /// TLS, without authentication.
    Encrypt,
    /// TLSA records where a host has some, and nothing elsewhere.
    Dane,
    /// TLSA records at every host.
    DaneOnly,
    /// A certificate from a public authority.
    Secure(Secure<'a>),
    /// To come again later.
    Wait(String),
}

/// Which certificates count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Secure<'a> {
    /// One of these must be the host's name and stand in its certificate.
    pub(crate) names: Vec<MxPattern>,
    /// The hosts that may be used now; `names` covers them.
    pub(crate) hosts: Vec<&'a DomainName>,
    /// The policy that says so; `None` where it is the operator who does.
    pub(crate) policy: Option<PolicyInForce<'a>>,
}

/// An enforced policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PolicyInForce<'a> {
    /// Whose it is.
    pub(crate) domain: &'a DomainName,
    /// What it says.
    pub(crate) policy: &'a Policy,
    /// For how many seconds it may still be used without another look.
    pub(crate) seconds_left: u64,
}

impl<'a> Advice<'a> {
    /// What follows from a decision and what it rests upon.
    pub(crate) fn new(evidence: &'a Evidence, decision: &'a Decision) -> Self {
        match decision.verdict {
            // Nobody to be reached, and nothing to be kept: the other MTA bounces the mail itself.
            Verdict::Reject if !is_demanding(evidence) => Self::Nothing,
            // If it finds a way all the same, it sees other records, and must not go by them.
            Verdict::Reject | Verdict::Wait => {
                let reply = decision.reply().map(|reply| reply.lines.join(" "));
                Self::Wait(reply.unwrap_or_default())
            }
            Verdict::Dane | Verdict::MtaSts | Verdict::Encrypt | Verdict::Opportunistic => {
                Hosts::new(evidence, decision).advice()
            }
        }
    }
}

/// The hosts of a domain of which at least one may be used.
struct Hosts<'a> {
    evidence: &'a Evidence,
    usable: Vec<(&'a HostDecision, &'a Requirement)>,
    /// Whether a host may demand DANE, and nobody knows.
    obscured: bool,
}

impl<'a> Hosts<'a> {
    fn new(evidence: &'a Evidence, decision: &'a Decision) -> Self {
        let dane_is_out = decision.reasons.iter().any(|reason| {
            matches!(
                reason,
                Reason::DaneNeedsSecureMx | Reason::OperatorIgnoresDane
            )
        });
        let mut verdicts = decision.hosts.iter().map(|host| &host.verdict);
        let unknown = verdicts.any(|verdict| *verdict == HostVerdict::Wait)
            || decision
                .reasons
                .iter()
                .any(|reason| matches!(reason, Reason::HostsLeftOut { .. }));
        Self {
            evidence,
            usable: decision.usable_hosts().collect(),
            obscured: unknown && !dane_is_out,
        }
    }

    /// The one word that demands of each host at least what was decided.
    fn advice(&self) -> Advice<'a> {
        let has = |strength| self.strengths().any(|found| found == strength);
        if has(Strength::Dane) {
            let is_signed = self.has_signed_mx();
            return match (policy_in_force(self.evidence), has(Strength::MtaSts)) {
                // Nothing says both: "dane" would let mail go to hosts that the policy does not name, and
                // "dane-only" nowhere at all.
                (Some(_), _) if !is_signed => Advice::Wait(self.both_behind_unsigned_mx()),
                (_, true) => Advice::DaneOnly,
                (_, false) => self.dane(),
            };
        }
        if has(Strength::MtaSts) {
            return Advice::Secure(self.secure());
        }
        if self.obscured {
            return self.dane();
        }
        match (has(Strength::Encrypt), has(Strength::Opportunistic)) {
            (true, false) => Advice::Encrypt,
            // Encryption is due where TLSA records cannot be used: DANE says so itself.
            (true, true) => self.dane(),
            (false, _) => Advice::Nothing,
        }
    }

    /// DANE where hosts have it, if all others demand nothing that it would not notice by itself.
    fn dane(&self) -> Advice<'a> {
        let all_dane = self.strengths().all(|found| found == Strength::Dane);
        let expressible =
            self.usable
                .iter()
                .all(|(host, requirement)| match requirement.tls.strength() {
                    Strength::Opportunistic | Strength::Dane => true,
                    Strength::Encrypt => host
                        .reasons
                        .iter()
                        .any(|reason| matches!(reason, Reason::TlsaAllUnusable { .. })),
                    Strength::MtaSts => false,
                });
        // "dane-only" is no way to a domain whose MX answer is not signed, which the operator permits.
        let demanded = self.evidence.rule.at_least > Strength::Opportunistic;
        match expressible && (!all_dane || (!self.has_signed_mx() && !demanded)) {
            true => Advice::Dane,
            false => Advice::DaneOnly,
        }
    }

    /// Whether nobody can have put other hosts into the MX answer.
    fn has_signed_mx(&self) -> bool {
        self.evidence.mx.as_ref().is_ok_and(|mx| mx.is_secure())
    }

    /// Why a domain is waited for whose TLSA records count behind an unsigned MX answer.
    fn both_behind_unsigned_mx(&self) -> String {
        let domain = &self.evidence.domain;
        format!(
            "{domain}: its MX records are not signed, and its MTA-STS policy and the TLSA records of its hosts \
             cannot both be asked for; take insecure_mx = \"use-tlsa\" out of the rule for it"
        )
    }

    /// The names that count under MTA-STS.
    fn secure(&self) -> Secure<'a> {
        let hosts: Vec<&DomainName> = self.usable.iter().map(|(host, _)| &host.host).collect();
        let policy = policy_in_force(self.evidence);
        let names = match policy {
            Some(PolicyInForce { policy, .. }) if !self.obscured => policy.mx().to_vec(),
            // A host that may have TLSA records must not be used without them.
            Some(_) | None => exactly(&hosts),
        };
        Secure {
            names,
            hosts,
            policy,
        }
    }

    /// What each usable host demands.
    fn strengths(&self) -> impl Iterator<Item = Strength> {
        let usable = self.usable.iter();
        usable.map(|(_, requirement)| requirement.tls.strength())
    }
}

/// The policy that is enforced, if there is one.
fn policy_in_force(evidence: &Evidence) -> Option<PolicyInForce<'_>> {
    match &evidence.sts {
        StsEvidence::Policy { policy, age, .. } if policy.mode == Mode::Enforce => {
            Some(PolicyInForce {
                domain: &evidence.domain,
                policy,
                seconds_left: policy.max_age.saturating_sub(*age).as_secs(),
            })
        }
        StsEvidence::Policy { .. }
        | StsEvidence::NotAsked
        | StsEvidence::Absent
        | StsEvidence::FetchFailed(_)
        | StsEvidence::RecordUnknown(_)
        | StsEvidence::StoreUnreadable(_) => None,
    }
}

/// Whether mail to the domain is held to something wherever it goes.
fn is_demanding(evidence: &Evidence) -> bool {
    evidence.rule.at_least > Strength::Opportunistic || policy_in_force(evidence).is_some()
}

/// Patterns that stand for these hosts alone.
pub(crate) fn exactly(hosts: &[&DomainName]) -> Vec<MxPattern> {
    let hosts = hosts.iter().map(|&host| MxPattern::Exact(host.clone()));
    hosts.collect()
}
