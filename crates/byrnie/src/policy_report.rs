//! A decision about a domain, for machines.

use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_mta_sts::Policy;
use byrnie_policy::Decision;
use byrnie_policy::Evidence;
use byrnie_policy::HostDecision;
use byrnie_policy::HostEvidence;
use byrnie_policy::HostVerdict;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsSource;
use byrnie_policy::TlsRequirement;
use byrnie_policy::TlsaEvidence;
use byrnie_policy::Verdict;
use serde::Serialize;

/// A decision with what it rests upon, for machines.
#[derive(Serialize)]
pub(crate) struct PolicyReport {
    /// The recipient domain.
    domain: String,
    /// The whole in one word.
    verdict: Verdict,
    /// Its mail hosts, in the order in which they are tried.
    hosts: Vec<Host>,
    /// What MTA-STS says.
    mta_sts: Sts,
    /// How well the MX answer is proven.
    dnssec: &'static str,
    /// Why, as far as it concerns the whole domain.
    reasons: Vec<String>,
}

/// One mail host.
#[derive(Serialize)]
struct Host {
    /// Its name.
    host: String,
    /// Lower is tried first.
    preference: u16,
    /// What must hold there.
    verdict: &'static str,
    /// Where it is connected to.
    addresses: Vec<String>,
    /// The name under which its TLSA records stand.
    tlsa_base: Option<String>,
    /// Its TLSA records.
    tlsa: Vec<String>,
    /// The names of which its certificate must carry one, where a name counts.
    reference_names: Vec<String>,
    /// Why.
    reasons: Vec<String>,
}

/// What MTA-STS says about the domain.
#[derive(Serialize)]
struct Sts {
    /// The policy, if there is one.
    policy: Option<StsPolicy>,
    /// Where it came from, or why there is none.
    source: &'static str,
    /// Seconds since it was last fetched or confirmed.
    age: Option<u64>,
    /// What went wrong.
    error: Option<String>,
}

/// A policy of MTA-STS.
#[derive(Serialize)]
struct StsPolicy {
    /// What a sender does when the policy cannot be met.
    mode: String,
    /// The hosts that it names.
    mx: Vec<String>,
    /// Seconds for which a sender may keep it.
    max_age: u64,
}

impl PolicyReport {
    /// A decision, and what it rests upon; `cuts` are reasons that the decision does not know.
    pub(crate) fn new(evidence: &Evidence, decision: &Decision, cuts: Vec<String>) -> Self {
        let hosts = decision.hosts.iter().map(|host| {
            let known = evidence.hosts.iter().find(|known| known.host == host.host);
            Host::new(host, known)
        });
        Self {
            domain: decision.domain.to_string(),
            verdict: decision.verdict,
            hosts: hosts.collect(),
            mta_sts: Sts::new(&evidence.sts),
            dnssec: dnssec(&evidence.mx),
            reasons: decision
                .reasons
                .iter()
                .map(ToString::to_string)
                .chain(cuts)
                .collect(),
        }
    }
}

impl Host {
    fn new(decision: &HostDecision, known: Option<&HostEvidence>) -> Self {
        let (tlsa_base, tlsa) = match known.map(|known| &known.tlsa) {
            Some(TlsaEvidence::Found { base, records }) => (
                Some(base.to_string()),
                records.iter().map(ToString::to_string).collect(),
            ),
            None
            | Some(TlsaEvidence::NotAsked | TlsaEvidence::Absent(_) | TlsaEvidence::Failed(_)) => {
                (None, Vec::new())
            }
        };
        let tls = decision.verdict.requirement().map(|held| &held.tls);
        let reference_names = match tls {
            Some(TlsRequirement::Dane { reference, .. }) => {
                reference.names().map(ToString::to_string).collect()
            }
            Some(TlsRequirement::MtaSts { mx_host }) => vec![mx_host.to_string()],
            Some(TlsRequirement::Encrypt | TlsRequirement::Opportunistic) | None => Vec::new(),
        };
        Self {
            host: decision.host.to_string(),
            preference: decision.preference,
            verdict: match (&decision.verdict, tls) {
                (HostVerdict::Wait, _) => "wait",
                (HostVerdict::Skip, _) | (HostVerdict::Use(_), None) => "skip",
                (HostVerdict::Use(_), Some(TlsRequirement::Dane { .. })) => "dane",
                (HostVerdict::Use(_), Some(TlsRequirement::MtaSts { .. })) => "mta-sts",
                (HostVerdict::Use(_), Some(TlsRequirement::Encrypt)) => "encrypt",
                (HostVerdict::Use(_), Some(TlsRequirement::Opportunistic)) => "opportunistic",
            },
            addresses: decision.addresses.iter().map(ToString::to_string).collect(),
            tlsa_base,
            tlsa,
            reference_names,
            reasons: decision.reasons.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Sts {
    fn new(evidence: &StsEvidence) -> Self {
        let none = |source, error| Self {
            policy: None,
            source,
            age: None,
            error,
        };
        match evidence {
            StsEvidence::NotAsked => none("not-asked", None),
            StsEvidence::Absent => none("absent", None),
            StsEvidence::RecordUnknown(error) => none("record-unknown", Some(error.to_string())),
            StsEvidence::FetchFailed(failure) => none("fetch-failed", Some(failure.why.clone())),
            StsEvidence::StoreUnreadable(why) => none("store-unreadable", Some(why.clone())),
            StsEvidence::Policy {
                policy,
                source,
                age,
            } => {
                let (source, error) = match source {
                    StsSource::Fetched => ("fetched", None),
                    StsSource::Cached => ("cached", None),
                    StsSource::CachedAfterFailure(failure) => {
                        ("cached-after-failure", Some(failure.why.clone()))
                    }
                };
                Self {
                    policy: Some(StsPolicy::new(policy)),
                    source,
                    age: Some(age.as_secs()),
                    error,
                }
            }
        }
    }
}

impl StsPolicy {
    fn new(policy: &Policy) -> Self {
        Self {
            mode: policy.mode.to_string(),
            mx: policy.mx().iter().map(ToString::to_string).collect(),
            max_age: policy.max_age.as_secs(),
        }
    }
}

/// The status of an answer in one word.
fn dnssec<T>(answer: &Result<Secured<T>, LookupError>) -> &'static str {
    match answer.as_ref().map(|found| found.security) {
        Ok(Security::Secure) => "secure",
        Ok(Security::Insecure) => "insecure",
        Err(LookupError::Bogus(_)) => "bogus",
        Err(LookupError::Failed(_)) => "failed",
    }
}
