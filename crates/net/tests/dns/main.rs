//! The resolver over loopback sockets, against signed zones and resolvers that misbehave.
//!
//! Each file holds the tests of some rules of the behaviour table.

#[cfg(test)]
mod aliases;
#[cfg(test)]
mod anchors;
#[cfg(test)]
mod bed;
#[cfg(test)]
mod caching;
#[cfg(test)]
mod datagrams;
#[cfg(test)]
mod denials;
#[cfg(test)]
mod forgeries;
#[cfg(test)]
mod probing;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod stripping;
#[cfg(test)]
mod trust_ad;
#[cfg(test)]
mod upstreams;
#[cfg(test)]
mod zone;
#[cfg(test)]
mod zones;

use byrnie_base::LookupError;
use byrnie_net::dns::Answer;
use byrnie_net::dns::LookupReport;

use bed::World;
use zone::Signing;
use zone::Zone;

/// Asserts how a lookup ended: the statuses of its aliases, then the status and kind of the whole,
/// such as `secure, insecure: insecure answer`.
#[track_caller]
fn check(answer: &Answer, expected: &str) {
    let report = LookupReport::from(answer);
    let steps: Vec<String> = report
        .steps
        .iter()
        .map(|step| step.status.to_string())
        .collect();
    let mut found = format!("{} {}", report.status, report.kind);
    if !steps.is_empty() {
        found = format!("{}: {found}", steps.join(", "));
    }
    assert_eq!(found, expected, "{report:#?}");
}

/// Asserts what the reason for a failure speaks of.
#[track_caller]
fn check_reason(answer: &Answer, expected: &str) {
    let reason = answer.outcome.as_ref().err().map(LookupError::reason);
    assert!(
        reason.is_some_and(|reason| reason.contains(expected)),
        "{answer:?}"
    );
}

/// A root, a top-level domain, and zones of each kind below it.
fn zones() -> Vec<Zone> {
    vec![
        Zone::new("", Signing::Nsec, ""),
        Zone::new("example", Signing::Nsec, ""),
        Zone::new("signed.example", Signing::Nsec, HOSTS),
        Zone::new("hashed.example", NSEC3, HOSTS),
        Zone::new("optout.example", OPT_OUT, HOSTS),
        Zone::new("plain.optout.example", Signing::Unsigned, HOSTS),
        Zone::new("unsigned.example", Signing::Unsigned, HOSTS),
    ]
}

/// [`zones`], with honest answers.
fn world() -> World {
    World::new(zones())
}

/// NSEC3 as RFC 9276 recommends it.
const NSEC3: Signing = Signing::Nsec3 {
    iterations: 0,
    opt_out: false,
};

/// NSEC3 in which unsigned delegations are left out.
const OPT_OUT: Signing = Signing::Nsec3 {
    iterations: 0,
    opt_out: true,
};

/// What every zone has.
const HOSTS: &str = r"
@ MX 10 mx
@ MX 20 mx.unsigned.example.
@ TXT v=one two
mx A 192.0.2.1
mx A 192.0.2.2
mx AAAA 2001:db8::1
_25._tcp.mx TLSA 3 1 1 0102
null MX 0 .
odd MX 10 a\032b
odd MX 20 mx
alias CNAME mx
inward CNAME alias.signed.example.
outward CNAME mx.unsigned.example.
dangling CNAME nothing
strange CNAME a\032b
loop1 CNAME loop2
loop2 CNAME loop1
tree DNAME signed.example.
*.wild A 192.0.2.3
*.wildalias CNAME mx
leaf.empty A 192.0.2.4
";
