//! Advice in the words of Postfix: postconf(5), `smtp_tls_policy_maps`; `socketmap_table(5)`;
//! `TLSRPT_README`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use byrnie_base::DomainName;
use byrnie_mta_sts::MxPattern;

use super::advice::Advice;
use super::advice::PolicyInForce;
use super::advice::Secure;
use super::advice::exactly;
use crate::judge::Considered;

/// The maps that Postfix may ask, by what it understands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Map {
    /// `postfix`: every Postfix from 3.4 on.
    Plain,
    /// `postfix-tlsrpt`: Postfix 3.10 and later, which reports what it made of a policy. Others take these
    /// attributes for errors.
    Tlsrpt,
}

impl Map {
    /// The map of a name.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"postfix" => Some(Self::Plain),
            b"postfix-tlsrpt" => Some(Self::Tlsrpt),
            _ => None,
        }
    }
}

/// What Postfix is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// The policy.
    Found(String),
    /// Postfix's own settings hold.
    NotFound,
    /// The mail waits.
    Temporary(String),
    /// The mail waits, and somebody has to change a setting.
    Permanent(String),
}

impl Answer {
    /// The answer that says this to whoever asks this map.
    pub(crate) fn new(advice: &Advice<'_>, map: Map) -> Self {
        match advice {
            Advice::Nothing => Self::NotFound,
            Advice::Encrypt => Self::Found(String::from("encrypt")),
            Advice::Dane => Self::Found(String::from("dane")),
            Advice::DaneOnly => Self::Found(String::from("dane-only")),
            Advice::Secure(secure) => Self::Found(secured(secure, map)),
            Advice::Wait(why) => Self::Temporary(why.clone()),
        }
    }

    /// The answer as the payload of a netstring, less than 100,000 octets long.
    pub(crate) fn payload(&self) -> String {
        match self {
            Self::Found(policy) => format!("OK {policy}"),
            Self::NotFound => String::from("NOTFOUND "),
            Self::Temporary(why) => format!("TEMP {why}"),
            Self::Permanent(why) => format!("PERM {why}"),
        }
    }
}

/// What Postfix would be told; `None` where its own settings hold.
#[must_use]
pub fn postfix_policy(considered: &Considered) -> Option<String> {
    let advice = Advice::new(&considered.evidence, &considered.decision);
    match Answer::new(&advice, Map::Plain) {
        Answer::Found(policy) => Some(policy),
        Answer::NotFound | Answer::Temporary(_) | Answer::Permanent(_) => None,
    }
}

/// A policy that demands certificates from public authorities.
fn secured(secure: &Secure<'_>, map: Map) -> String {
    let text = matching(&secure.names, &secure.hosts)
        + &match (map, &secure.policy) {
            (Map::Tlsrpt, Some(policy)) => {
                attributes(policy, &secure.names) + &policy_strings(policy)
            }
            (Map::Tlsrpt, None) | (Map::Plain, _) => String::new(),
        };
    if text.len() <= POLICY_OCTETS_MAX {
        return text;
    }
    // A policy with names by the thousand: those that matter now are few.
    let names = exactly(&secure.hosts);
    matching(&names, &secure.hosts)
        + &match (map, &secure.policy) {
            (Map::Tlsrpt, Some(policy)) => attributes(policy, &names),
            (Map::Tlsrpt, None) | (Map::Plain, _) => String::new(),
        }
}

/// The names that a certificate may carry, and the host's own as SNI.
///
/// Postfix looks for them in the certificate, whatever the host is called, and its way to say `*.x` holds at
/// any depth. Whoever forges MX records would need but a certificate for some name below; so in the place of
/// a pattern stand the hosts that it covers now.
fn matching(names: &[MxPattern], hosts: &[&DomainName]) -> String {
    let mut seen = BTreeSet::new();
    let mut text = String::from("secure match=");
    for pattern in names {
        let covered = hosts.iter().copied().filter(|host| pattern.matches(host));
        let exact = match pattern {
            MxPattern::Exact(name) => Some(name),
            MxPattern::OneLabelUnder(_) => None,
        };
        for name in exact.into_iter().chain(covered) {
            if seen.insert(name) {
                let delimiter = if seen.len() == 1 { "" } else { ":" };
                // Writing to a string does not fail.
                _ = write!(text, "{delimiter}{name}");
            }
        }
    }
    text + " servername=hostname"
}

/// What Postfix reports about a policy, and by which names of hosts it is held.
fn attributes(policy: &PolicyInForce<'_>, names: &[MxPattern]) -> String {
    let PolicyInForce {
        domain,
        seconds_left,
        ..
    } = policy;
    let mut text = format!(" policy_type=sts policy_domain={domain} policy_ttl={seconds_left}");
    for name in names {
        // Writing to a string does not fail.
        _ = write!(text, " mx_host_pattern={name}");
    }
    text
}

/// The policy line by line.
fn policy_strings(policy: &PolicyInForce<'_>) -> String {
    let text = policy.policy.to_string();
    let lines = text.lines();
    lines
        .map(|line| format!(" {{ policy_string = {line} }}"))
        .collect()
}

/// The longest policy: Postfix takes replies of up to 100,000 octets, of which `OK` and a space need some.
const POLICY_OCTETS_MAX: usize = 99_990;
