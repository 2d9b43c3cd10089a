//! What must hold when mail is sent, for each MX host.

use std::net::IpAddr;

use byrnie_base::DomainName;
use byrnie_dane::CertUsage;
use byrnie_dane::ReferenceIdentifiers;
use byrnie_dane::TlsaRecord;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Reply;
use serde::Deserialize;
use serde::Serialize;

use crate::Reason;

/// The answer of [`decide`](crate::decide): what mail to one domain needs, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Decision {
    /// The next-hop domain.
    pub domain: DomainName,
    /// The whole in one word.
    pub verdict: Verdict,
    /// One for each MX host, lowest preference first; equal preferences in the order of names.
    pub hosts: Vec<HostDecision>,
    /// Why, as far as it concerns the whole domain.
    pub reasons: Vec<Reason>,
    /// What an enforced policy promises of each host, whether or not one may be used now.
    #[serde(skip)]
    pub promised: Option<Strength>,
}

impl Decision {
    /// The hosts that may be connected to, in the order in which to try them.
    pub fn usable_hosts(&self) -> impl Iterator<Item = (&HostDecision, &Requirement)> {
        self.hosts
            .iter()
            .filter_map(|host| host.verdict.requirement().map(|held| (host, held)))
    }

    /// The strength that no later attempt at the same delivery may fall below.
    ///
    /// That is the weakest requirement of any host that may be used. Where none may be, it is what the
    /// domain's policy promises: else whoever makes mail wait until the policy has expired would get
    /// the mail without it.
    #[must_use]
    pub fn floor(&self) -> Option<Strength> {
        self.weakest().max(self.promised)
    }

    /// The weakest requirement of any host that may be used.
    #[must_use]
    pub fn weakest(&self) -> Option<Strength> {
        self.usable_hosts()
            .map(|(_, requirement)| requirement.tls.strength())
            .min()
    }

    /// What to answer, or to put into a delivery report, for mail that may not go now or ever;
    /// `None` where at least one host may be used.
    #[must_use]
    pub fn reply(&self) -> Option<Reply> {
        match self.verdict {
            Verdict::Dane | Verdict::MtaSts | Verdict::Encrypt | Verdict::Opportunistic => None,
            Verdict::Wait => Some(self.obstacle_reply(TRANSIENT)),
            Verdict::Reject => Some(self.obstacle_reply(PERMANENT)),
        }
    }

    /// The reply of a class that the first obstacle asks for.
    fn obstacle_reply(&self, class: u8) -> Reply {
        let of_hosts = self
            .hosts
            .iter()
            .flat_map(|host| host.reasons.iter().map(move |why| (Some(&host.host), why)));
        let obstacle = self
            .reasons
            .iter()
            .map(|why| (None, why))
            .chain(of_hosts)
            .filter_map(|(host, why)| why.status().map(|status| (status, host, why)))
            .find(|((_, enhanced), _, _)| enhanced.class == class);
        let (code, enhanced, text) = match obstacle {
            Some(((code, enhanced), None, why)) => {
                (code, enhanced, format!("{}: {why}", self.domain))
            }
            Some(((code, enhanced), Some(host), why)) => (
                code,
                enhanced,
                format!("{}, host {host}: {why}", self.domain),
            ),
            // Decisions made by `decide` always say why; one read from elsewhere may not.
            None => (451, ROUTING_TROUBLE, self.domain.to_string()),
        };
        Reply {
            code,
            enhanced: Some(enhanced),
            lines: vec![printable(&text)],
        }
    }
}

/// What one MX host may be sent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
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
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostVerdict {
    /// It may, under this requirement.
    Use(Requirement),
    /// Not now: something that must be known could not be found out.
    Wait,
    /// Not at all: the domain's own policy excludes it, it has no address, or it cannot be
    /// authenticated as the message demands; another host may serve.
    Skip,
}

impl HostVerdict {
    /// What must hold, if the host may be used.
    #[must_use]
    pub fn requirement(&self) -> Option<&Requirement> {
        match self {
            Self::Use(requirement) => Some(requirement),
            Self::Wait | Self::Skip => None,
        }
    }
}

/// What must hold on the connection before the first byte of a message may travel.
///
/// Immutable once decided, part of the key under which connections are shared, and the same at every
/// attempt.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Requirement {
    /// What TLS must prove.
    pub tls: TlsRequirement,
    /// Whether the host must offer REQUIRETLS (RFC 8689).
    pub require_tls: RequireTls,
    /// An MTA-STS policy in testing mode that is watched, and reported, but not enforced.
    pub sts_observation: StsObservation,
}

/// What TLS must prove: Postfix's "security level".
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "level")]
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
        #[serde(serialize_with = "reference_names")]
        reference: ReferenceIdentifiers,
    },
}

impl TlsRequirement {
    /// The same demand without names that make no difference: under usage 3 a certificate need present
    /// none (RFC 7672, Section 3.1.1).
    ///
    /// Domains that share a host then demand the same of it, and share its connections and sessions.
    #[must_use]
    pub fn reduced(&self) -> Self {
        let names_count = |record: &TlsaRecord| record.usage == CertUsage::DaneTa;
        match self {
            Self::Dane { records, reference } if !records.iter().any(names_count) => Self::Dane {
                records: records.clone(),
                reference: ReferenceIdentifiers::without_names(reference.tlsa_base.clone()),
            },
            Self::Opportunistic | Self::Encrypt | Self::MtaSts { .. } | Self::Dane { .. } => {
                self.clone()
            }
        }
    }

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
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequireTls {
    /// It need not.
    #[default]
    NotDemanded,
    /// It must, and the message is sent with it.
    Demanded,
}

/// An MTA-STS policy in testing mode.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
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

impl From<Strength> for Verdict {
    fn from(strength: Strength) -> Self {
        match strength {
            Strength::Opportunistic => Self::Opportunistic,
            Strength::Encrypt => Self::Encrypt,
            Strength::MtaSts => Self::MtaSts,
            Strength::Dane => Self::Dane,
        }
    }
}

/// Writes reference identifiers as the list of their names, the TLSA base domain first.
fn reference_names<S: serde::Serializer>(
    reference: &ReferenceIdentifiers,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reference.names())
}

/// A text that may stand in one line of a reply, whatever a stranger's server put into a reason.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == ' ' || c.is_ascii_graphic() {
                c
            } else {
                '?'
            }
        })
        .take(REPLY_TEXT_OCTETS_MAX)
        .collect()
}

/// A reply line has at most 512 octets (RFC 5321, Section 4.5.3.1.5); codes and line end need some.
const REPLY_TEXT_OCTETS_MAX: usize = 480;

/// "Persistent transient failure": RFC 3463, Section 2.
const TRANSIENT: u8 = 4;

/// "Permanent failure": RFC 3463, Section 2.
const PERMANENT: u8 = 5;

/// "Other or undefined network or routing status": RFC 3463, Section 3.5.
const ROUTING_TROUBLE: EnhancedStatus = EnhancedStatus {
    class: 4,
    subject: 4,
    detail: 0,
};
