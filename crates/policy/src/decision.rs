//! What must hold when mail is sent, for each MX host.

use std::net::IpAddr;

use byrnie_base::DomainName;
use byrnie_dane::ReferenceIdentifiers;
use byrnie_dane::TlsaRecord;
use serde::Deserialize;
use serde::Serialize;

use crate::Reason;

/// The answer of [`decide`](crate::decide): what mail to one domain needs, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// The next-hop domain.
    pub domain: DomainName,
    /// The whole in one word.
    pub verdict: Verdict,
    /// One for each MX host, lowest preference first; equal preferences in the order of names.
    pub hosts: Vec<HostDecision>,
    /// Why, as far as it concerns the whole domain.
    pub reasons: Vec<Reason>,
}

/// What one MX host may be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostDecision {
    /// The name in the MX record.
    pub host: DomainName,
    /// Its preference.
    pub preference: u16,
    /// Where to connect: the addresses that the requirement covers, IPv6 first.
    pub addresses: Vec<IpAddr>,
    /// Whether to connect, and what must hold then.
    pub verdict: HostVerdict,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// Whether a host may be connected to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostVerdict {
    /// It may, under this requirement.
    Use(Requirement),
    /// Not now: something that must be known could not be found out.
    Wait,
    /// Not at all, as the domain's own policy excludes it; another host may serve.
    Skip,
}

/// What must hold on the connection before the first byte of a message may travel.
///
/// Immutable once decided, part of the key under which connections are shared, and the same at every
/// attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Requirement {
    /// What TLS must prove.
    pub tls: TlsRequirement,
    /// Whether the host must offer REQUIRETLS (RFC 8689).
    pub require_tls: RequireTls,
    /// An MTA-STS policy in testing mode that is watched, and reported, but not enforced.
    pub sts_observation: StsObservation,
}

/// What TLS must prove: Postfix's "security level".
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TlsRequirement {
    /// TLS if it is offered, unauthenticated; clear text otherwise.
    Opportunistic,
    /// TLS, unauthenticated.
    Encrypt,
    /// TLS with a certificate from a public authority that names the MX host (RFC 8461).
    MtaSts {
        /// The name that the certificate must carry, and that is sent as SNI.
        mx_host: DomainName,
    },
    /// TLS with a certificate that satisfies TLSA records (RFC 7672).
    Dane {
        /// The usable records, of which one must match; never empty.
        records: Vec<TlsaRecord>,
        /// The names that count under usage 2.
        reference: ReferenceIdentifiers,
    },
}

impl TlsRequirement {
    /// Its place in the order of strength.
    #[must_use]
    pub fn strength(&self) -> Strength {
        match self {
            Self::Opportunistic => Strength::Opportunistic,
            Self::Encrypt => Strength::Encrypt,
            Self::MtaSts { .. } => Strength::MtaSts,
            Self::Dane { .. } => Strength::Dane,
        }
    }
}

/// Requirements in order of strength, without their data.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// TLS if it is offered.
    #[default]
    Opportunistic,
    /// TLS without authentication.
    Encrypt,
    /// A certificate from a public authority.
    MtaSts,
    /// A certificate that the domain's own signed zone names.
    Dane,
}

/// Whether the host must offer REQUIRETLS.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum RequireTls {
    /// It need not.
    #[default]
    NotDemanded,
    /// It must, and the message is sent with it.
    Demanded,
}

/// An MTA-STS policy in testing mode.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum StsObservation {
    /// There is none.
    #[default]
    None,
    /// There is one; a certificate that would fail it is reported.
    Watch,
}

/// A decision in one word, for the whole domain.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every host that may be used demands DANE.
    Dane,
    /// Every host that may be used is authenticated, at least one of them by MTA-STS.
    MtaSts,
    /// Every host that may be used is encrypted, at least one of them without authentication.
    Encrypt,
    /// At least one host that may be used takes mail in clear text.
    Opportunistic,
    /// No host may be used now; the mail waits.
    Wait,
    /// No host will ever do; the mail is refused or bounced at once.
    Reject,
}
