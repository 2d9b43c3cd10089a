//! Which policies were applied to a session, and how it fared under each: behaviour rule 38.

use std::net::IpAddr;
use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_mta_sts::Mode;
use byrnie_mta_sts::Policy;
use byrnie_net::smtp::client::AttemptError;
use byrnie_net::smtp::client::AttemptFault;
use byrnie_net::smtp::client::ChannelSecurity;
use byrnie_net::tls::TlsFailure;
use byrnie_policy::Decision;
use byrnie_policy::Evidence;
use byrnie_policy::HostDecision;
use byrnie_policy::HostVerdict;
use byrnie_policy::Reason;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsSource;
use byrnie_policy::TlsRequirement;
use byrnie_policy::TlsaEvidence;
use byrnie_tlsrpt::FailureDetails;
use byrnie_tlsrpt::PolicyDescription;
use byrnie_tlsrpt::PolicyType;
use byrnie_tlsrpt::ResultType;
use byrnie_tlsrpt::SessionOutcome;
use byrnie_tlsrpt::SessionResult;

/// A connection that was made, as far as reports tell of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Handshake {
    /// From where it was made.
    pub(crate) local: Option<IpAddr>,
    /// Where it led.
    pub(crate) address: IpAddr,
    /// What came of TLS.
    pub(crate) end: HandshakeEnd,
}

/// What came of TLS on a connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HandshakeEnd {
    /// It holds; perhaps the certificate would fail an MTA-STS policy.
    Tls {
        /// Why it would.
        observed: Option<Fault>,
    },
    /// There is none, and mail may travel all the same.
    Clear(Fault),
    /// What was demanded does not hold.
    Failed(Fault),
    /// The certificate satisfies no TLSA record, which says nothing about other policies.
    Mismatch(Fault),
}

/// What went wrong with TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    result_type: ResultType,
    /// What we call it.
    reason: Option<String>,
}

impl Fault {
    /// One of which reports have a word, and we may have more.
    fn new(result_type: &str, reason: Option<String>) -> Self {
        Self {
            result_type: ResultType::from(result_type),
            reason: reason.map(|reason| reason.chars().take(REASON_CHARS_MAX).collect()),
        }
    }

    /// That of an attempt, if it is one of TLS's.
    fn of(error: &AttemptError) -> Option<Self> {
        // What a host says in its replies is not repeated: it may say something else each time.
        let reason = tls_failure(error).map(ToString::to_string);
        let result_type = error.result_type()?;
        Some(Self::new(result_type, reason))
    }
}

/// Why there was no TLS with a host that tried it.
fn tls_failure(error: &AttemptError) -> Option<&TlsFailure> {
    if let AttemptFault::Tls(failure) = &error.fault {
        return Some(failure);
    }
    None
}

impl Handshake {
    /// A connection over which mail can travel.
    pub(crate) fn made(local: Option<IpAddr>, address: IpAddr, security: &ChannelSecurity) -> Self {
        let end = match security {
            ChannelSecurity::Tls(facts) => HandshakeEnd::Tls {
                observed: facts.sts_observed.as_ref().map(|fault| {
                    let reason = Some(fault.to_string());
                    Fault::new(fault.result_type(), reason)
                }),
            },
            ChannelSecurity::Clear { after } => {
                let fault = after.as_deref().and_then(Fault::of);
                let not_offered = || Fault::new("starttls-not-supported", None);
                HandshakeEnd::Clear(fault.unwrap_or_else(not_offered))
            }
        };
        Self {
            local,
            address,
            end,
        }
    }

    /// A connection that came to nothing because of TLS; `None` if it was because of anything else.
    pub(crate) fn failed(
        local: Option<IpAddr>,
        address: IpAddr,
        error: &AttemptError,
    ) -> Option<Self> {
        let fault = Fault::of(error)?;
        let end = match matches!(tls_failure(error), Some(TlsFailure::Dane(_))) {
            true => HandshakeEnd::Mismatch(fault),
            false => HandshakeEnd::Failed(fault),
        };
        Some(Self {
            local,
            address,
            end,
        })
    }

    /// What went wrong as far as no certificate is concerned.
    fn fault(&self) -> Option<&Fault> {
        match &self.end {
            HandshakeEnd::Tls { .. } => None,
            HandshakeEnd::Clear(fault)
            | HandshakeEnd::Failed(fault)
            | HandshakeEnd::Mismatch(fault) => Some(fault),
        }
    }
}

/// How a connection to a host fared under each policy that was applied: a DANE and an MTA-STS policy
/// where both exist, and without any as one of which none was found.
pub(crate) fn session_results(
    evidence: &Evidence,
    host: &DomainName,
    tls: &TlsRequirement,
    handshake: &Handshake,
) -> Vec<SessionResult> {
    let told = |fault: &Fault| FailureDetails {
        sending_mta_ip: handshake.local,
        receiving_mx_hostname: Some(host.to_string()),
        receiving_ip: Some(handshake.address),
        failure_reason_code: fault.reason.clone(),
        ..FailureDetails::of_type(fault.result_type.clone())
    };
    let result = |policy, fault: Option<&Fault>| ended(policy, fault.map(told));
    let mut results = Vec::new();
    if let Some(policy) = dane_policy(evidence, host) {
        results.push(match tls {
            TlsRequirement::Dane { .. } => result(policy, handshake.fault()),
            // Records that nobody can use demand encryption alone.
            TlsRequirement::Opportunistic
            | TlsRequirement::Encrypt
            | TlsRequirement::MtaSts { .. } => {
                result(policy, Some(&Fault::new("tlsa-invalid", None)))
            }
        });
    }
    if let Some(policy) = sts_policy(evidence) {
        let unnamed = Fault::new("validation-failure", Some(String::from(UNNAMED)));
        let of_policy = policy_fault(&evidence.sts);
        let is_named = active_policy(&evidence.sts).is_none_or(|policy| policy.permits(host));
        let ended = match (&of_policy, &handshake.end) {
            (Some(fault), _) => Some(result(policy, Some(fault))),
            (None, _) if !is_named => Some(result(policy, Some(&unnamed))),
            (None, HandshakeEnd::Mismatch(_)) => None,
            (None, HandshakeEnd::Tls { observed }) => Some(result(policy, observed.as_ref())),
            (None, HandshakeEnd::Clear(fault) | HandshakeEnd::Failed(fault)) => {
                Some(result(policy, Some(fault)))
            }
        };
        results.extend(ended.map(|mut result| {
            result.failures.extend(refresh_failure(&evidence.sts));
            result
        }));
    }
    if dane_policy(evidence, host).is_none() && sts_policy(evidence).is_none() {
        results.push(result(no_policy(evidence), handshake.fault()));
    }
    results
}

/// What is to be told of an attempt that could not even connect: each policy that stood in the way.
pub(crate) fn obstacle_results(evidence: &Evidence, decision: &Decision) -> Vec<SessionResult> {
    if decision.usable_hosts().next().is_some() {
        return Vec::new();
    }
    let bogus = |error: &LookupError| match error {
        LookupError::Bogus(_) => Some(ResultType::DnssecInvalid),
        LookupError::Failed(_) => None,
    };
    if let Err(error) = &evidence.mx {
        let failure = bogus(error).map(FailureDetails::of_type);
        let results = failure.map(|failure| ended(no_policy(evidence), Some(failure)));
        return results.into_iter().collect();
    }
    let mut results = Vec::new();
    for host in &decision.hosts {
        let failure = |result_type, reason: Option<&str>| FailureDetails {
            receiving_mx_hostname: Some(host.host.to_string()),
            failure_reason_code: reason.map(String::from),
            ..FailureDetails::of_type(result_type)
        };
        let known = evidence.hosts.iter().find(|known| known.host == host.host);
        if let Some(TlsaEvidence::Failed(error)) = known.map(|known| &known.tlsa)
            && host.verdict == HostVerdict::Wait
            && let Some(result_type) = bogus(error)
        {
            let policy = PolicyDescription {
                policy_type: PolicyType::Tlsa,
                policy_domain: host.host.to_string(),
                ..PolicyDescription::default()
            };
            results.push(ended(policy, Some(failure(result_type, None))));
        }
        if host.reasons.contains(&Reason::StsExcludesHost)
            && let Some(policy) = sts_policy(evidence)
        {
            let failure = failure(ResultType::ValidationFailure, Some(UNNAMED));
            results.push(ended(policy, Some(failure)));
        }
        if lacks_dane(host) {
            let policy = sts_policy(evidence).unwrap_or_else(|| no_policy(evidence));
            let failure = failure(ResultType::DaneRequired, None);
            results.push(ended(policy, Some(failure)));
        }
    }
    results
}

/// Whether the operator demands DANE of a host that does not offer it.
fn lacks_dane(host: &HostDecision) -> bool {
    host.reasons.iter().any(|reason| {
        matches!(
            reason,
            Reason::OperatorDemandUnmet {
                demanded: Strength::Dane,
                ..
            }
        )
    })
}

/// A session under a policy that succeeded, or failed in one way.
fn ended(policy: PolicyDescription, failure: Option<FailureDetails>) -> SessionResult {
    SessionResult {
        policy: Arc::new(policy),
        outcome: match failure {
            None => SessionOutcome::Succeeded,
            Some(_) => SessionOutcome::Failed,
        },
        failures: failure.into_iter().collect(),
    }
}

/// The TLSA records of a host, usable or not.
fn dane_policy(evidence: &Evidence, host: &DomainName) -> Option<PolicyDescription> {
    let host = evidence.hosts.iter().find(|known| known.host == *host)?;
    let TlsaEvidence::Found { base, records } = &host.tlsa else {
        return None;
    };
    //= https://www.rfc-editor.org/rfc/rfc8460#section-1.1
    //# For DANE, the
    //# Policy Domain is the "TLSA base domain" of the receiving SMTP
    //# server
    Some(PolicyDescription {
        policy_type: PolicyType::Tlsa,
        policy_string: records.iter().map(ToString::to_string).collect(),
        policy_domain: base.to_string(),
        mx_host: Vec::new(),
    })
}

/// The MTA-STS policy, also one that is promised and cannot be had.
fn sts_policy(evidence: &Evidence) -> Option<PolicyDescription> {
    let promised = PolicyDescription {
        policy_type: PolicyType::Sts,
        policy_domain: evidence.domain.to_string(),
        ..PolicyDescription::default()
    };
    if policy_fault(&evidence.sts).is_some() {
        return Some(promised);
    }
    active_policy(&evidence.sts).map(|policy| PolicyDescription {
        policy_string: policy.to_string().lines().map(String::from).collect(),
        mx_host: policy.mx().iter().map(ToString::to_string).collect(),
        ..promised
    })
}

/// A policy that is enforced or tested.
fn active_policy(sts: &StsEvidence) -> Option<&Policy> {
    match sts {
        StsEvidence::Policy { policy, .. } => {
            Some(policy).filter(|policy| policy.mode != Mode::None)
        }
        StsEvidence::NotAsked
        | StsEvidence::Absent
        | StsEvidence::FetchFailed(_)
        | StsEvidence::RecordUnknown(_)
        | StsEvidence::StoreUnreadable(_) => None,
    }
}

/// Why a promised policy cannot be had.
fn policy_fault(sts: &StsEvidence) -> Option<Fault> {
    match sts {
        StsEvidence::FetchFailed(failure) => {
            Some(Fault::new(failure.result_type, Some(failure.why.clone())))
        }
        StsEvidence::NotAsked
        | StsEvidence::Absent
        | StsEvidence::RecordUnknown(_)
        | StsEvidence::StoreUnreadable(_)
        | StsEvidence::Policy { .. } => None,
    }
}

/// Why a policy that is in force could not be fetched again: behaviour rule 24.
fn refresh_failure(sts: &StsEvidence) -> Option<FailureDetails> {
    let StsEvidence::Policy {
        source: StsSource::CachedAfterFailure(failure),
        ..
    } = sts
    else {
        return None;
    };
    let fault = Fault::new(failure.result_type, Some(failure.why.clone()));
    Some(FailureDetails {
        failure_reason_code: fault.reason,
        ..FailureDetails::of_type(fault.result_type)
    })
}

/// That there is no policy.
fn no_policy(evidence: &Evidence) -> PolicyDescription {
    PolicyDescription {
        policy_type: PolicyType::NoPolicyFound,
        policy_domain: evidence.domain.to_string(),
        ..PolicyDescription::default()
    }
}

/// What we call it when an MTA-STS policy does not name a host.
const UNNAMED: &str = "the policy does not name the MX host";

/// How long what we call a failure may be.
const REASON_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use byrnie_base::Secured;
    use byrnie_base::Security;
    use byrnie_policy::HostEvidence;
    use byrnie_policy::Mx;
    use byrnie_policy::MxRrset;
    use byrnie_policy::StsFailure;
    use byrnie_policy::decide;

    use super::*;
    use crate::testing::no_evidence;

    #[test]
    fn rule_38_a_result_for_each_policy_that_was_applied() {
        let tls = || HandshakeEnd::Tls { observed: None };
        let failed = || HandshakeEnd::Failed(fault("starttls-not-supported"));
        let mismatch = || HandshakeEnd::Mismatch(fault("tlsa-invalid"));
        let dane = || found(&[USABLE]);
        let none = || TlsaEvidence::Absent(Security::Secure);
        check(dane(), absent(), tls(), &["tlsa mx.a.example kept"]);
        check(
            dane(),
            enforce("mx.a.example"),
            tls(),
            &["tlsa mx.a.example kept", "sts a.example kept"],
        );
        check(
            dane(),
            enforce("mx.a.example"),
            failed(),
            &[
                "tlsa mx.a.example starttls-not-supported",
                "sts a.example starttls-not-supported",
            ],
        );
        // What TLSA records say of a certificate is nothing that MTA-STS says.
        check(
            dane(),
            enforce("mx.a.example"),
            mismatch(),
            &["tlsa mx.a.example tlsa-invalid"],
        );
        check(
            none(),
            enforce("mx.a.example"),
            tls(),
            &["sts a.example kept"],
        );
        check(none(), absent(), tls(), &["no-policy-found a.example kept"]);
        check(
            none(),
            absent(),
            HandshakeEnd::Clear(fault("starttls-not-supported")),
            &["no-policy-found a.example starttls-not-supported"],
        );
        check(
            found(&["0 1 1 00"]),
            absent(),
            tls(),
            &["tlsa mx.a.example tlsa-invalid"],
        );
    }

    #[test]
    fn a_policy_that_is_tested_or_cannot_be_had_is_told_of() {
        let none = || TlsaEvidence::Absent(Security::Secure);
        let observed = || HandshakeEnd::Tls {
            observed: Some(fault("certificate-expired")),
        };
        let testing = |mx: &str| policy("testing", mx);
        check(
            none(),
            testing("mx.a.example"),
            observed(),
            &["sts a.example certificate-expired"],
        );
        let tls = || HandshakeEnd::Tls { observed: None };
        check(
            none(),
            testing("other.a.example"),
            tls(),
            &["sts a.example validation-failure"],
        );
        check(
            none(),
            policy("none", "mx.a.example"),
            observed(),
            &["no-policy-found a.example kept"],
        );
        for result_type in ["sts-policy-fetch-error", "sts-webpki-invalid"] {
            let failure = StsFailure {
                why: String::from("status 404"),
                result_type,
            };
            let expected = format!("sts a.example {result_type}");
            check(
                none(),
                StsEvidence::FetchFailed(failure),
                tls(),
                &[&expected],
            );
        }
    }

    #[test]
    fn rule_24_that_a_policy_in_force_could_not_be_fetched_again_is_told_of() {
        let StsEvidence::Policy { policy, age, .. } = enforce("mx.a.example") else {
            panic!("no policy");
        };
        let source = StsSource::CachedAfterFailure(StsFailure {
            why: String::from("status 404"),
            result_type: "sts-policy-fetch-error",
        });
        let kept = StsEvidence::Policy {
            policy,
            source,
            age,
        };
        let evidence = evidence(TlsaEvidence::Absent(Security::Secure), kept);
        let ends = [
            (
                HandshakeEnd::Tls { observed: None },
                SessionOutcome::Succeeded,
                1,
            ),
            (
                HandshakeEnd::Failed(fault("certificate-expired")),
                SessionOutcome::Failed,
                2,
            ),
        ];
        for (end, outcome, failures) in ends {
            let [result] = &results(&evidence, end)[..] else {
                panic!("one policy, one result");
            };
            assert_eq!(result.outcome, outcome);
            assert_eq!(result.failures.len(), failures);
            let last = result.failures.last().unwrap();
            assert_eq!(last.result_type, ResultType::StsPolicyFetchError);
            assert_eq!(last.failure_reason_code.as_deref(), Some("status 404"));
        }
    }

    #[test]
    fn what_stands_in_the_way_of_a_connection_is_told_of() {
        let bogus = || LookupError::Bogus(String::from("expired"));
        check_obstacles(
            &evidence(TlsaEvidence::Failed(bogus()), absent()),
            &["tlsa mx.a.example dnssec-invalid"],
        );
        let unreachable = LookupError::Failed(String::from("SERVFAIL"));
        check_obstacles(&evidence(TlsaEvidence::Failed(unreachable), absent()), &[]);
        check_obstacles(
            &evidence(
                TlsaEvidence::Absent(Security::Secure),
                enforce("other.example"),
            ),
            &["sts a.example validation-failure"],
        );
        let mut demanding = evidence(TlsaEvidence::Absent(Security::Secure), absent());
        check_obstacles(&demanding, &[]);
        demanding.rule.at_least = Strength::Dane;
        check_obstacles(&demanding, &["no-policy-found a.example dane-required"]);
        let mut unknown = no_evidence(&name("a.example"));
        unknown.mx = Err(bogus());
        check_obstacles(&unknown, &["no-policy-found a.example dnssec-invalid"]);
    }

    #[test]
    fn a_failure_says_where_it_happened() {
        let evidence = evidence(found(&[USABLE]), absent());
        let results = results(&evidence, HandshakeEnd::Mismatch(fault("tlsa-invalid")));
        let [failure] = &results[0].failures[..] else {
            panic!("{results:?}");
        };
        assert_eq!(failure.sending_mta_ip, Some([192, 0, 2, 9].into()));
        assert_eq!(failure.receiving_ip, Some([192, 0, 2, 1].into()));
        assert_eq!(
            failure.receiving_mx_hostname.as_deref(),
            Some("mx.a.example")
        );
        assert_eq!(results[0].policy.policy_string, [USABLE]);
    }

    #[track_caller]
    fn check(tlsa: TlsaEvidence, sts: StsEvidence, end: HandshakeEnd, expected: &[&str]) {
        assert_eq!(shown(&results(&evidence(tlsa, sts), end)), expected);
    }

    #[track_caller]
    fn check_obstacles(evidence: &Evidence, expected: &[&str]) {
        let results = obstacle_results(evidence, &decide(evidence));
        assert_eq!(shown(&results), expected);
    }

    fn results(evidence: &Evidence, end: HandshakeEnd) -> Vec<SessionResult> {
        let decision = decide(evidence);
        let host = &evidence.hosts[0].host;
        let usable = decision.usable_hosts().next();
        let tls = &usable.expect("the host may be used").1.tls;
        let handshake = Handshake {
            local: Some([192, 0, 2, 9].into()),
            address: [192, 0, 2, 1].into(),
            end,
        };
        session_results(evidence, host, tls, &handshake)
    }

    fn shown(results: &[SessionResult]) -> Vec<String> {
        let shown = results.iter().map(|result| {
            let end = match &result.failures[..] {
                [] => "kept",
                [failure] => failure.result_type.as_str(),
                several => panic!("{several:?}"),
            };
            let failed = result.outcome == SessionOutcome::Failed;
            assert_eq!(failed, !result.failures.is_empty());
            let policy = &result.policy;
            format!(
                "{} {} {end}",
                policy.policy_type.as_str(),
                policy.policy_domain
            )
        });
        shown.collect()
    }

    /// A signed domain with one host.
    fn evidence(tlsa: TlsaEvidence, sts: StsEvidence) -> Evidence {
        let host = name("mx.a.example");
        let mx = Mx {
            preference: 10,
            host: host.clone(),
        };
        Evidence {
            mx: Ok(Secured::secure(MxRrset::Hosts(vec![mx]))),
            hosts: vec![HostEvidence {
                host,
                preference: 10,
                expanded: None,
                alias: None,
                ipv4: Ok(Secured::secure(vec![[192, 0, 2, 1].into()])),
                ipv6: Ok(Secured::secure(Vec::new())),
                tlsa,
            }],
            sts,
            ..no_evidence(&name("a.example"))
        }
    }

    fn found(records: &[&str]) -> TlsaEvidence {
        TlsaEvidence::Found {
            base: name("mx.a.example"),
            records: records.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn absent() -> StsEvidence {
        StsEvidence::Absent
    }

    fn enforce(mx: &str) -> StsEvidence {
        policy("enforce", mx)
    }

    fn policy(mode: &str, mx: &str) -> StsEvidence {
        let text = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
        StsEvidence::Policy {
            policy: Policy::parse(text.as_bytes()).unwrap(),
            source: StsSource::Cached,
            age: Duration::ZERO,
        }
    }

    fn fault(result_type: &str) -> Fault {
        Fault::new(result_type, None)
    }

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    const USABLE: &str = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000";
}
