//! What went wrong with a session, in the words of reports.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

/// A result type: RFC 8460, Section 4.3.
///
/// The registry is open: a type that is not known here is kept as it was written.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ResultType {
    /// The MX host does not offer STARTTLS, or refuses it.
    StarttlsNotSupported,
    /// The certificate does not name the host.
    CertificateHostMismatch,
    /// The certificate has expired.
    CertificateExpired,
    /// No authority that counts has signed the certificate.
    CertificateNotTrusted,
    /// Something else went wrong with TLS.
    ValidationFailure,
    /// No TLSA record can be used, or none matches.
    TlsaInvalid,
    /// DNSSEC validation failed.
    DnssecInvalid,
    /// DANE is demanded, and the domain has none.
    DaneRequired,
    /// The MTA-STS policy could not be fetched.
    StsPolicyFetchError,
    /// The MTA-STS policy is not well-formed.
    StsPolicyInvalid,
    /// The certificate of the policy host is not good.
    StsWebpkiInvalid,
    /// One that RFC 8460 does not list.
    Other(String),
}

/// Each listed type with its name in reports.
const LISTED: [(ResultType, &str); 11] = [
    (ResultType::StarttlsNotSupported, "starttls-not-supported"),
    (
        ResultType::CertificateHostMismatch,
        "certificate-host-mismatch",
    ),
    (ResultType::CertificateExpired, "certificate-expired"),
    (ResultType::CertificateNotTrusted, "certificate-not-trusted"),
    (ResultType::ValidationFailure, "validation-failure"),
    (ResultType::TlsaInvalid, "tlsa-invalid"),
    (ResultType::DnssecInvalid, "dnssec-invalid"),
    (ResultType::DaneRequired, "dane-required"),
    (ResultType::StsPolicyFetchError, "sts-policy-fetch-error"),
    (ResultType::StsPolicyInvalid, "sts-policy-invalid"),
    (ResultType::StsWebpkiInvalid, "sts-webpki-invalid"),
];

impl ResultType {
    /// Its name in reports.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if let Self::Other(name) = self {
            return name;
        }
        let listed = LISTED.iter().find(|(listed, _)| listed == self);
        listed.map_or("", |(_, name)| name)
    }
}

impl From<&str> for ResultType {
    /// Names are compared without case, as reports write them in several.
    fn from(name: &str) -> Self {
        let mut listed = LISTED.iter();
        match listed.find(|(_, listed)| listed.eq_ignore_ascii_case(name)) {
            Some((listed, _)) => listed.clone(),
            None => Self::Other(name.to_owned()),
        }
    }
}

impl FromStr for ResultType {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::from(name))
    }
}

impl fmt::Display for ResultType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ResultType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self::from(name.as_str()))
    }
}

impl Serialize for ResultType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
