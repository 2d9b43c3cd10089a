//! The same check for files: what stands behind `byrnie dane verify`.

use std::fmt;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::pem::SectionKind;

use crate::Match;
use crate::Mismatch;
use crate::Presented;
use crate::TlsaRecord;
use crate::verify::CHAIN_CERTIFICATES_MAX;
use crate::verify::verify_names;

/// Checks a file of certificates, the server's own first, against TLSA records.
///
/// A single `PUBLIC KEY` in place of the certificates stands for a server that shows a bare key
/// (RFC 7250). Usage 2 needs at least one name in `names`. The inner result is the answer.
///
/// # Errors
/// The file cannot be read; says where.
pub fn verify_pem(
    records: &[TlsaRecord],
    chain_pem: &[u8],
    names: &[DomainName],
    at: UnixTime,
) -> Result<Result<Match, Mismatch>, UnreadablePem> {
    let presented = read(chain_pem)?;
    let names: Vec<&DomainName> = names.iter().collect();
    Ok(verify_names(records, &names, &presented, at))
}

/// Reads what a server shows out of a file.
fn read(chain_pem: &[u8]) -> Result<Presented<'static>, UnreadablePem> {
    let mut chain: Vec<CertificateDer<'static>> = Vec::new();
    let mut key = None;
    for (position, section) in Section::pem_slice_iter(chain_pem).enumerate() {
        let section = section.map_err(|why| UnreadablePem {
            section: position + 1,
            fault: why.into(),
        })?;
        let at = |fault| UnreadablePem {
            section: position + 1,
            fault,
        };
        match section {
            Section::Certificate(certificate) if key.is_none() => {
                crate::public_key(&certificate).map_err(|_| at(PemFault::NotACertificate))?;
                if chain.len() == CHAIN_CERTIFICATES_MAX {
                    return Err(at(PemFault::TooMany));
                }
                chain.push(certificate);
            }
            Section::Key(spki) if key.is_none() && chain.is_empty() => {
                crate::certificate::check_public_key(&spki).map_err(|_| at(PemFault::NotAKey))?;
                key = Some(spki);
            }
            Section::Certificate(_) | Section::Key(_) => return Err(at(PemFault::Mixed)),
        }
    }
    match (key, chain.is_empty()) {
        (Some(key), _) => Ok(Presented::RawKey(key)),
        (None, false) => Ok(Presented::Chain(chain)),
        (None, true) => Err(UnreadablePem {
            section: 1,
            fault: PemFault::Absent,
        }),
    }
}

/// A section that says what a server shows. Others, such as private keys, are passed over.
enum Section {
    /// `CERTIFICATE`.
    Certificate(CertificateDer<'static>),
    /// `PUBLIC KEY`.
    Key(SubjectPublicKeyInfoDer<'static>),
}

impl PemObject for Section {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign, non-exhaustive enum of which two variants matter"
    )]
    fn from_pem(kind: SectionKind, der: Vec<u8>) -> Option<Self> {
        match kind {
            SectionKind::Certificate => Some(Self::Certificate(der.into())),
            SectionKind::PublicKey => Some(Self::Key(der.into())),
            _ => None,
        }
    }
}

/// Why a file does not say what a server shows, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnreadablePem {
    /// The certificate or key at fault, counted from 1.
    pub section: usize,
    /// What is wrong with it.
    pub fault: PemFault,
}

impl fmt::Display for UnreadablePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            PemFault::Absent => f.write_str("the file has no certificate and no public key"),
            PemFault::BadBase64 => write!(f, "section {} is not base64", self.section),
            PemFault::BadFrame => write!(
                f,
                "section {} does not begin or end as PEM does",
                self.section
            ),
            PemFault::Mixed => write!(
                f,
                "section {} does not belong here: a bare key stands alone",
                self.section
            ),
            PemFault::NotACertificate => write!(f, "section {} is not a certificate", self.section),
            PemFault::NotAKey => write!(f, "section {} is not a public key", self.section),
            PemFault::TooMany => write!(
                f,
                "section {} is one more than the {CHAIN_CERTIFICATES_MAX} certificates that are read",
                self.section
            ),
        }
    }
}

impl std::error::Error for UnreadablePem {}

/// What is wrong with a section.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PemFault {
    /// There is none.
    Absent,
    /// What stands between the lines is not base64.
    BadBase64,
    /// The BEGIN or END line is broken or missing.
    BadFrame,
    /// A key beside certificates, or a second key.
    Mixed,
    /// The octets are not a certificate.
    NotACertificate,
    /// The octets are not a SubjectPublicKeyInfo.
    NotAKey,
    /// More certificates than are read.
    TooMany,
}

impl From<pem::Error> for PemFault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign, non-exhaustive enum; all the rest is about the frame"
    )]
    fn from(why: pem::Error) -> Self {
        match why {
            pem::Error::Base64Decode(_) => Self::BadBase64,
            _ => Self::BadFrame,
        }
    }
}
