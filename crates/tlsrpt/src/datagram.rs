//! Datagrams of [libtlsrpt], in which Postfix 3.10 and later tells how its sessions went.
//!
//! A datagram is a JSON object about one session with one domain. Its short keys are those of
//! libtlsrpt's protocol, version 1; what is missing in it, and what is new, is taken as leniently as
//! `tlsrpt-collectd` does, which byrnie replaces.
//!
//! [libtlsrpt]: https://github.com/sys4/libtlsrpt

use std::fmt;
use std::sync::Arc;

use byrnie_base::DomainName;
use serde::Deserialize;

use crate::FailureDetails;
use crate::PolicyDescription;
use crate::PolicyType;
use crate::ResultType;
use crate::SessionOutcome;
use crate::SessionResult;

/// What a datagram says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Datagram {
    /// Whose hosts the session was with.
    pub domain: DomainName,
    /// How it fared under each policy.
    pub results: Vec<SessionResult>,
}

impl Datagram {
    /// Reads a datagram. The record of the domain that is in it is not looked at: it is asked for again
    /// when the report is sent.
    ///
    /// # Errors
    /// It is none of libtlsrpt's, or says more than one can.
    pub fn parse(octets: &[u8]) -> Result<Self, DatagramError> {
        let wire: Wire = serde_json::from_slice(octets)
            .map_err(|error| DatagramError::Malformed(error.to_string()))?;
        let name = wire.domain.trim_end_matches('.');
        let domain: DomainName = name.parse().map_err(|_| DatagramError::Domain)?;
        if wire.policies.len() > POLICIES_MAX {
            return Err(DatagramError::TooMuch);
        }
        let results = wire.policies.into_iter();
        let results = results.map(|policy| policy.result(&domain));
        Ok(Self {
            results: results.collect::<Result<_, _>>()?,
            domain,
        })
    }
}

/// A datagram as it comes.
#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "d")]
    domain: String,
    #[serde(default)]
    policies: Vec<WirePolicy>,
}

/// How a session fared under a policy, as it comes.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WirePolicy {
    policy_type: u16,
    #[serde(default)]
    policy_domain: Option<String>,
    #[serde(default)]
    policy_string: Vec<String>,
    #[serde(default)]
    mx_host: Vec<String>,
    #[serde(rename = "f")]
    failed: Flag,
    #[serde(default)]
    failure_details: Vec<WireFailure>,
}

/// A flag, as it comes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Number(i64),
    Word(bool),
}

/// What went wrong, as it comes.
#[derive(Deserialize)]
struct WireFailure {
    #[serde(default, rename = "c")]
    code: u16,
    #[serde(default, rename = "s")]
    sending_ip: Option<String>,
    #[serde(default, rename = "n")]
    mx_host: Option<String>,
    #[serde(default, rename = "h")]
    mx_helo: Option<String>,
    #[serde(default, rename = "r")]
    receiving_ip: Option<String>,
    #[serde(default, rename = "a")]
    information: Option<String>,
    #[serde(default, rename = "f")]
    reason: Option<String>,
}

impl WirePolicy {
    /// What it says.
    fn result(self, domain: &DomainName) -> Result<SessionResult, DatagramError> {
        let strings = self.policy_string.iter().chain(&self.mx_host);
        if self.failure_details.len() > FAILURES_MAX || strings.count() > STRINGS_MAX {
            return Err(DatagramError::TooMuch);
        }
        let policy_type = match self.policy_type {
            1 => PolicyType::Tlsa,
            2 => PolicyType::Sts,
            9 => PolicyType::NoPolicyFound,
            other => return Err(DatagramError::PolicyType(other)),
        };
        let outcome = match self.failed {
            Flag::Number(0) | Flag::Word(false) => SessionOutcome::Succeeded,
            Flag::Number(_) | Flag::Word(true) => SessionOutcome::Failed,
        };
        let policy = PolicyDescription {
            policy_type,
            policy_string: self.policy_string,
            // Behaviour rule 38: it is always there.
            policy_domain: self.policy_domain.unwrap_or_else(|| domain.to_string()),
            mx_host: self.mx_host,
        };
        let failures = self.failure_details.into_iter().map(WireFailure::details);
        Ok(SessionResult {
            policy: Arc::new(policy),
            outcome,
            failures: failures.collect(),
        })
    }
}

impl WireFailure {
    /// What it says.
    fn details(self) -> FailureDetails {
        let result_type = match self.code {
            201 => ResultType::StarttlsNotSupported,
            202 => ResultType::CertificateHostMismatch,
            203 => ResultType::CertificateNotTrusted,
            204 => ResultType::CertificateExpired,
            301 => ResultType::StsPolicyFetchError,
            302 => ResultType::StsPolicyInvalid,
            303 => ResultType::StsWebpkiInvalid,
            304 => ResultType::TlsaInvalid,
            305 => ResultType::DnssecInvalid,
            306 => ResultType::DaneRequired,
            // 205, and what later versions may add: something that no other word is for.
            _ => ResultType::ValidationFailure,
        };
        let address = |text: Option<String>| text.and_then(|text| text.parse().ok());
        FailureDetails {
            sending_mta_ip: address(self.sending_ip),
            receiving_mx_hostname: self.mx_host,
            receiving_mx_helo: self.mx_helo,
            receiving_ip: address(self.receiving_ip),
            additional_information: self.information,
            failure_reason_code: self.reason,
            ..FailureDetails::of_type(result_type)
        }
    }
}

/// Why a datagram is not counted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DatagramError {
    /// The domain is none.
    Domain,
    /// It is no JSON of this form.
    Malformed(String),
    /// A policy is of a kind that reports do not know.
    PolicyType(u16),
    /// It says more than one session can come to.
    TooMuch,
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain => f.write_str("the domain is not a domain name"),
            Self::Malformed(why) => write!(f, "it does not have the form of libtlsrpt: {why}"),
            Self::PolicyType(number) => write!(f, "there is no policy type {number}"),
            Self::TooMuch => f.write_str("it says more than one session can come to"),
        }
    }
}

impl std::error::Error for DatagramError {}

/// How large a datagram may be: the most that Linux lets a process send with its usual settings.
pub const DATAGRAM_OCTETS_MAX: usize = 256 * 1024;

/// Policies of one session: one TLSA record set for each MX host that was tried, and an MTA-STS policy.
const POLICIES_MAX: usize = 100;

/// Failures under one policy: one for each address that was tried.
const FAILURES_MAX: usize = 1_000;

/// Strings that describe one policy: what RFC 8461 lets a policy file have is far below.
const STRINGS_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postfix_tells_is_understood() {
        let good = r#"{"dpv":"1","d": "Example.COM.","pr": "v=TLSRPTv1;rua=mailto:r@example.com",
            "policies":[{"policy-type":1,"policy-domain": "mx.example.com",
                "policy-string":["3 1 1 ab"],"t":0,"f":0}]}"#;
        check(good, Ok("example.com tlsa mx.example.com kept"));
        let sts = r#"{"dpv":"1","d":"a.example","pr":"","policies":[
            {"policy-type":2,"policy-domain":"a.example","policy-string":["version: STSv1","mode: enforce"],
             "mx-host":["*.a.example"],"failure-details":[
                {"c":202,"s":"192.0.2.1","n":"mx.a.example","r":"2001:db8::1","h":"mx","f":"X"},
                {"c":999}],"t":2,"f":1},
            {"policy-type":9,"t":0,"f":false}]}"#;
        check(
            sts,
            Ok(
                "a.example sts a.example failed certificate-host-mismatch validation-failure, \
                no-policy-found a.example kept",
            ),
        );
        let datagram = Datagram::parse(sts.as_bytes()).unwrap();
        let failure = &datagram.results[0].failures[0];
        assert_eq!(failure.sending_mta_ip, "192.0.2.1".parse().ok());
        assert_eq!(failure.receiving_ip, "2001:db8::1".parse().ok());
        assert_eq!(
            failure.receiving_mx_hostname.as_deref(),
            Some("mx.a.example")
        );
        assert_eq!(failure.receiving_mx_helo.as_deref(), Some("mx"));
        assert_eq!(failure.failure_reason_code.as_deref(), Some("X"));
        assert_eq!(datagram.results[0].policy.mx_host, ["*.a.example"]);
        // A session that was given up before a policy was known.
        check(r#"{"dpv":"1","d":"a.example","pr":""}"#, Ok("a.example"));
        check(r#"{"d":"a.example","new":[{}]}"#, Ok("a.example"));
    }

    #[test]
    fn what_is_none_of_libtlsrpt_is_refused() {
        #[track_caller]
        fn malformed(text: &str) {
            let error = Datagram::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, DatagramError::Malformed(_)), "{error}");
        }
        malformed("");
        malformed("{");
        malformed("[]");
        malformed(r#"{"policies":[]}"#);
        malformed(r#"{"d":"a.example","policies":[{"policy-type":1}]}"#);
        malformed(r#"{"d":"a.example","policies":[{"policy-type":-1,"f":0}]}"#);
        malformed(&"[".repeat(100_000));
        check(r#"{"d":"a b"}"#, Err(DatagramError::Domain));
        check(r#"{"d":""}"#, Err(DatagramError::Domain));
        let unknown = r#"{"d":"a.example","policies":[{"policy-type":3,"f":0}]}"#;
        check(unknown, Err(DatagramError::PolicyType(3)));
        let policy = r#"{"policy-type":9,"f":0}"#;
        let many = vec![policy; POLICIES_MAX + 1].join(",");
        let many = format!(r#"{{"d":"a.example","policies":[{many}]}}"#);
        check(&many, Err(DatagramError::TooMuch));
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, DatagramError>) {
        let shown = Datagram::parse(text.as_bytes()).map(|datagram| {
            let results = datagram.results.iter().map(|result| {
                let outcome = match result.outcome {
                    SessionOutcome::Succeeded => "kept",
                    SessionOutcome::Failed => "failed",
                };
                let policy = &result.policy;
                let mut shown = format!(
                    "{} {} {outcome}",
                    policy.policy_type.as_str(),
                    policy.policy_domain
                );
                for failure in &result.failures {
                    shown += &format!(" {}", failure.result_type);
                }
                shown
            });
            let results: Vec<String> = results.collect();
            format!("{} {}", datagram.domain, results.join(", "))
                .trim()
                .to_owned()
        });
        assert_eq!(shown, expected.map(String::from), "{text}");
    }
}
