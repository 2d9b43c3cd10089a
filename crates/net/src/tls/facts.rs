//! What is known about a connection after its handshake, for receipts, reports and logs.

use std::fmt;

use byrnie_base::DomainName;
use byrnie_dane::Match;
use rustls::ProtocolVersion;

use super::CertificateFault;

/// What was negotiated, with whom, and how that was proven.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsFacts {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite, as IANA names it.
    pub cipher_suite: String,
    /// What the host showed: its certificate, or its bare key.
    pub leaf_sha256: Fingerprint,
    /// How the host was authenticated.
    pub authentication: Authentication,
    /// Why the certificate would fail an MTA-STS policy for the MX host; `None` if it would pass, or
    /// if the host has no name.
    pub sts_observed: Option<CertificateFault>,
}

/// A version of TLS; there are no others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// TLS 1.2: RFC 5246.
    Tls12,
    /// TLS 1.3: RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// The version, if it is one of the two.
    pub(super) fn from_library(version: ProtocolVersion) -> Option<Self> {
        [
            (ProtocolVersion::TLSv1_2, Self::Tls12),
            (ProtocolVersion::TLSv1_3, Self::Tls13),
        ]
        .into_iter()
        .find_map(|(theirs, ours)| (theirs == version).then_some(ours))
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

/// How a host was authenticated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Authentication {
    /// It was not: the requirement did not ask for it.
    None,
    /// A certificate from a public authority names the host.
    PublicAuthority {
        /// The host.
        mx_host: DomainName,
    },
    /// A TLSA record names its certificate, its key or its authority.
    Dane(Match),
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("not authenticated"),
            Self::PublicAuthority { mx_host } => {
                write!(f, "certificate of a public authority for {mx_host}")
            }
            Self::Dane(matched) => matched.fmt(f),
        }
    }
}

/// The SHA-256 digest of what a host showed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
