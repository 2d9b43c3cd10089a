//! Why there is no TLS, by whose fault, and what a report says about it.

use std::fmt;
use std::io;
use std::sync::Arc;

use byrnie_dane::Mismatch;
use byrnie_dane::MismatchKind;
use rustls::AlertDescription;
use rustls::CertificateError;
use rustls::OtherError;

/// Why a handshake did not end in a connection that mail may travel on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The host refused our handshake.
    Alert(AlertDescription),
    /// The host's certificate fails the public authorities' rules, which MTA-STS demands.
    Certificate(CertificateFault),
    /// The host's certificate satisfies no TLSA record.
    Dane(Mismatch),
    /// The host, or we, could not go on with the handshake.
    Handshake(rustls::Error),
    /// The connection broke.
    Network(io::ErrorKind),
    /// The handshake is not signed with the key that the host showed: it is not the host's key.
    Signature,
}

impl TlsFailure {
    /// The result type of a TLS report: RFC 8460, Section 4.3.
    #[must_use]
    pub fn result_type(&self) -> &'static str {
        match self {
            Self::Certificate(fault) => fault.result_type(),
            Self::Dane(mismatch) => match mismatch.kind() {
                // "None of the records in the RRset were found to be valid."
                MismatchKind::NoRecordMatches => "tlsa-invalid",
                MismatchKind::NotTrusted => "certificate-not-trusted",
                MismatchKind::Expired => "certificate-expired",
                MismatchKind::OtherName => "certificate-host-mismatch",
            },
            Self::Alert(_) | Self::Handshake(_) | Self::Network(_) | Self::Signature => {
                "validation-failure"
            }
        }
    }

    /// Whether the host may be one that has a bare key and no certificate (RFC 7250), so that a new
    /// connection with [`handshake_with_raw_key`](super::TlsClient::handshake_with_raw_key) may
    /// succeed where this one did not.
    #[must_use]
    pub fn suggests_raw_key(&self) -> bool {
        matches!(
            self,
            Self::Alert(
                AlertDescription::HandshakeFailure
                    | AlertDescription::UnsupportedCertificate
                    | AlertDescription::MissingExtension
            )
        )
    }

    /// What the library is told of a host that does not show what is demanded; read back by
    /// [`from_io`](Self::from_io).
    pub(super) fn into_library(self) -> rustls::Error {
        let judgement = OtherError(Arc::new(self));
        rustls::Error::InvalidCertificate(CertificateError::Other(judgement))
    }

    /// Finds out what the driver's error means.
    pub(super) fn from_io(error: &io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(
                error
                @ rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(ours))),
            ) => {
                let judgement = ours.downcast_ref::<Self>().cloned();
                judgement.unwrap_or_else(|| Self::Handshake(error.clone()))
            }
            Some(rustls::Error::InvalidCertificate(
                CertificateError::BadSignature
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
            )) => Self::Signature,
            Some(other) => Self::Handshake(other.clone()),
            None => Self::Network(error.kind()),
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(alert) => write!(f, "the host refused the handshake ({alert:?})"),
            Self::Certificate(fault) => fault.fmt(f),
            Self::Dane(mismatch) => mismatch.fmt(f),
            Self::Handshake(why) => write!(f, "the handshake failed ({why})"),
            Self::Network(kind) => write!(f, "the connection broke in the handshake ({kind})"),
            Self::Signature => f.write_str("the handshake is not signed with the key it shows"),
        }
    }
}

impl std::error::Error for TlsFailure {}

/// Why a certificate fails the rules of public authorities: RFC 8461, Section 4.2.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateFault(pub(super) rustls::Error);

impl CertificateFault {
    /// The result type of a TLS report: RFC 8460, Section 4.3.1.
    #[must_use]
    pub fn result_type(&self) -> &'static str {
        match self.kind() {
            FaultKind::Dates => "certificate-expired",
            FaultKind::OtherName => "certificate-host-mismatch",
            FaultKind::UnknownAuthority | FaultKind::Unacceptable => "certificate-not-trusted",
        }
    }

    /// Sorts the many errors of the library.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign, non-exhaustive enum; what is not told apart is told by its name"
    )]
    fn kind(&self) -> FaultKind {
        let rustls::Error::InvalidCertificate(fault) = &self.0 else {
            return FaultKind::Unacceptable;
        };
        match fault {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => FaultKind::Dates,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                FaultKind::OtherName
            }
            CertificateError::UnknownIssuer => FaultKind::UnknownAuthority,
            _ => FaultKind::Unacceptable,
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            FaultKind::Dates => f.write_str("the certificate is not within its dates"),
            FaultKind::OtherName => f.write_str("the certificate is for another name"),
            FaultKind::UnknownAuthority => {
                f.write_str("the certificate comes from no known authority")
            }
            FaultKind::Unacceptable => write!(f, "the certificate is not acceptable ({})", self.0),
        }
    }
}

/// What reports and people tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FaultKind {
    /// Past or before its dates.
    Dates,
    /// For another host.
    OtherName,
    /// No path to a known authority.
    UnknownAuthority,
    /// Anything else that is wrong with it or with its path.
    Unacceptable,
}

#[cfg(test)]
mod tests {
    use byrnie_dane::RecordFault;
    use byrnie_dane::TlsaRecord;
    use byrnie_dane::Unusable;

    use super::*;

    #[test]
    fn every_failure_has_a_result_type_that_reports_know() {
        let record: TlsaRecord = "3 1 1".parse().unwrap();
        let other_name = RecordFault::OtherName {
            presented: Vec::new(),
        };
        let dane = |faults: &[RecordFault]| {
            let faults = faults.iter().map(|fault| (record.clone(), fault.clone()));
            TlsFailure::Dane(Mismatch {
                faults: faults.collect(),
            })
        };
        let unusable = RecordFault::Unusable(Unusable::NoData);
        check(&dane(&[]), "tlsa-invalid");
        check(&dane(std::slice::from_ref(&unusable)), "tlsa-invalid");
        check(
            &dane(&[unusable, RecordFault::TooManyPaths]),
            "certificate-not-trusted",
        );
        check(
            &dane(&[other_name, RecordFault::TooManyPaths]),
            "certificate-host-mismatch",
        );
        let certificate = |fault| {
            TlsFailure::Certificate(CertificateFault(rustls::Error::InvalidCertificate(fault)))
        };
        check(
            &certificate(CertificateError::NotValidYet),
            "certificate-expired",
        );
        check(
            &certificate(CertificateError::BadEncoding),
            "certificate-not-trusted",
        );
        check(&TlsFailure::Signature, "validation-failure");
        check(
            &TlsFailure::Network(io::ErrorKind::ConnectionReset),
            "validation-failure",
        );
    }

    #[track_caller]
    fn check(failure: &TlsFailure, expected: &str) {
        assert_eq!(failure.result_type(), expected);
        let text = failure.to_string();
        assert!(!text.ends_with('.') && !text.is_empty(), "{text}");
    }
}
