//! Pieces of evidence to build cases from.

use std::net::Ipv4Addr;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_dane::TlsaRecord;
use byrnie_policy::DomainRule;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::Mx;
use byrnie_policy::MxRrset;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsSource;
use byrnie_policy::TlsaEvidence;
use byrnie_smtp::TlsDemand;

/// A usable record.
pub(crate) const GOOD: &str =
    "3 1 1 00000000000000000000000000000000000000000000000000000000000000aa";

/// A usable record under which names count.
pub(crate) const ANCHOR: &str =
    "2 1 1 00000000000000000000000000000000000000000000000000000000000000aa";

/// A record of usage 1, which no sender of mail can use.
pub(crate) const PKIX: &str =
    "1 1 1 00000000000000000000000000000000000000000000000000000000000000bb";

/// `example.org` with these hosts, without MTA-STS and without demands.
pub(crate) fn domain(security: Security, hosts: Vec<HostEvidence>) -> Evidence {
    let records = hosts.iter().map(|host| Mx {
        preference: host.preference,
        host: host.host.clone(),
    });
    Evidence {
        domain: name("example.org"),
        expanded_domain: None,
        mx: Ok(Secured {
            security,
            value: MxRrset::Hosts(records.collect()),
        }),
        hosts,
        sts: StsEvidence::Absent,
        rule: DomainRule::default(),
        message: TlsDemand::None,
        floor: None,
    }
}

/// `example.org` with this answer to the MX question and no host looked up.
pub(crate) fn answered(mx: Result<Secured<MxRrset>, LookupError>) -> Evidence {
    Evidence {
        mx,
        ..domain(Security::Secure, Vec::new())
    }
}

/// A host with one IPv4 address; its zone, and the denial of all else, has this security.
pub(crate) fn host(preference: u16, host: &str, security: Security) -> HostEvidence {
    HostEvidence {
        host: name(host),
        preference,
        expanded: None,
        alias: None,
        ipv4: Ok(Secured {
            security,
            value: vec![Ipv4Addr::new(192, 0, 2, 1)],
        }),
        ipv6: Ok(Secured {
            security,
            value: Vec::new(),
        }),
        tlsa: match security {
            Security::Secure => TlsaEvidence::Absent(security),
            Security::Insecure => TlsaEvidence::NotAsked,
        },
    }
}

/// A host in a signed zone with these TLSA records.
pub(crate) fn dane_host(preference: u16, host_name: &str, records: &[&str]) -> HostEvidence {
    HostEvidence {
        tlsa: found(host_name, records),
        ..host(preference, host_name, Security::Secure)
    }
}

/// Signed TLSA records at a base domain.
pub(crate) fn found(base: &str, records: &[&str]) -> TlsaEvidence {
    TlsaEvidence::Found {
        base: name(base),
        records: records.iter().map(|record| tlsa(record)).collect(),
    }
}

/// A policy two hours old.
pub(crate) fn policy(mode: &str, mx: &[&str], source: StsSource) -> StsEvidence {
    let mx: String = mx.iter().map(|mx| format!("mx: {mx}\n")).collect();
    let body = format!("version: STSv1\nmode: {mode}\n{mx}max_age: 604800\n");
    StsEvidence::Policy {
        policy: body.parse().unwrap(),
        source,
        age: Duration::from_secs(7_200),
    }
}

/// A time-out.
pub(crate) fn failed() -> LookupError {
    LookupError::Failed(String::from("no answer within 5 s"))
}

/// An expired signature.
pub(crate) fn bogus() -> LookupError {
    LookupError::Bogus(String::from("the signature has expired"))
}

/// A domain name.
pub(crate) fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}

/// A record from its presentation form.
pub(crate) fn tlsa(text: &str) -> TlsaRecord {
    text.parse().unwrap()
}
