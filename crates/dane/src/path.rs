//! From the server's certificate up to the authority that a record names: RFC 5280, Section 6.
//!
//! The path is built and checked by `webpki`: signatures, dates, basicConstraints, path lengths and
//! name constraints below the anchor, and extended key usage. What `webpki` leaves to those who
//! choose an anchor is checked here, as OpenSSL does it and therefore most senders of mail do: the
//! anchor's certificate must be in force, must be an authority, and its path length counts.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use byrnie_base::UnixTime;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::Der;
use rustls_pki_types::TrustAnchor;
use webpki::ALL_VERIFICATION_ALGS;
use webpki::EndEntityCert;
use webpki::KeyUsage;
use webpki::VerifiedPath;
use webpki::anchor_from_trusted_cert;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use crate::certificate;

/// Where a path may end.
pub(crate) struct Anchor<'a> {
    /// The name and the key; several names if only the key is known.
    trust: Vec<TrustAnchor<'a>>,
    /// The most authorities that may stand between the anchor and the server.
    path_length_max: Option<u32>,
    /// Whether the anchor limits the names below it.
    name_constraints: NameConstraints,
}

/// Whether names are limited somewhere on a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NameConstraints {
    /// Somewhere they are.
    Present,
    /// Nowhere.
    Absent,
}

impl<'a> Anchor<'a> {
    /// An authority known by its whole certificate.
    pub(crate) fn certificate(
        certificate: &'a CertificateDer<'a>,
        now: UnixTime,
    ) -> Result<Self, PathFault> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| PathFault::AnchorUnreadable)?;
        check_in_force(&parsed, now)?;
        let path_length_max = check_authority(&parsed)?;
        let trust =
            anchor_from_trusted_cert(certificate).map_err(|_| PathFault::AnchorUnreadable)?;
        Ok(Self {
            name_constraints: match trust.name_constraints {
                Some(_) => NameConstraints::Present,
                None => NameConstraints::Absent,
            },
            trust: vec![trust],
            path_length_max,
        })
    }

    /// An authority of which nothing but the key is known: the key may have signed any certificate
    /// of the chain, whatever name stands there as the issuer's.
    pub(crate) fn key(key: &'a [u8], chain: &'a [CertificateDer<'a>]) -> Result<Self, PathFault> {
        let content = key_content(key).ok_or(PathFault::AnchorUnreadable)?;
        let mut issuers: Vec<&[u8]> = chain
            .iter()
            .filter_map(|certificate| certificate::issuer(certificate).ok())
            .collect();
        issuers.sort_unstable();
        issuers.dedup();
        Ok(Self {
            trust: issuers
                .into_iter()
                .map(|issuer| TrustAnchor {
                    subject: Der::from_slice(issuer),
                    subject_public_key_info: Der::from_slice(content),
                    name_constraints: None,
                })
                .collect(),
            path_length_max: None,
            name_constraints: NameConstraints::Absent,
        })
    }
}

/// A path that holds.
pub(crate) struct Path {
    /// Certificates below the anchor: 1 if the anchor signed the server's own certificate.
    pub(crate) depth: usize,
    /// Whether names are limited anywhere on the path.
    pub(crate) name_constraints: NameConstraints,
}

/// Checks the path from the first certificate of `chain` up to `anchor`.
pub(crate) fn verify(
    chain: &[CertificateDer<'_>],
    anchor: &Anchor<'_>,
    now: UnixTime,
) -> Result<Path, PathFault> {
    let Some((leaf, authorities)) = chain.split_first() else {
        return Err(PathFault::Path(webpki::Error::BadDer));
    };
    let leaf = EndEntityCert::try_from(leaf).map_err(PathFault::Path)?;
    let now = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.0));
    let short_enough = |path: &VerifiedPath<'_>| {
        let between = path.intermediate_certificates().count();
        match anchor.path_length_max {
            Some(max) if u32::try_from(between).map_or(true, |between| between > max) => {
                Err(webpki::Error::PathLenConstraintViolated)
            }
            Some(_) | None => Ok(()),
        }
    };
    let path = leaf
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchor.trust,
            authorities,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&short_enough),
        )
        .map_err(PathFault::Path)?;
    let constrained = anchor.name_constraints == NameConstraints::Present
        || path
            .intermediate_certificates()
            .any(|authority| limits_names(&authority.der()));
    Ok(Path {
        depth: path.intermediate_certificates().count() + 1,
        name_constraints: match constrained {
            true => NameConstraints::Present,
            false => NameConstraints::Absent,
        },
    })
}

/// Why there is no path from the server's certificate to an anchor.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PathFault {
    /// The anchor's certificate is past its notAfter.
    AnchorExpired,
    /// The anchor's certificate says that it is no authority.
    AnchorIsNoAuthority,
    /// The anchor's certificate is before its notBefore.
    AnchorNotYetValid,
    /// The anchor's certificate cannot be parsed.
    AnchorUnreadable,
    /// The path up to the anchor does not hold.
    Path(webpki::Error),
}

impl PathFault {
    /// Whether the only thing wrong is that a date has passed.
    #[must_use]
    pub fn is_expiry(&self) -> bool {
        matches!(
            self,
            Self::AnchorExpired | Self::Path(webpki::Error::CertExpired { .. })
        )
    }
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnchorExpired => f.write_str("the authority's certificate has expired"),
            Self::AnchorIsNoAuthority => {
                f.write_str("the certificate it names says that it is no authority")
            }
            Self::AnchorNotYetValid => f.write_str("the authority's certificate is not yet valid"),
            Self::AnchorUnreadable => f.write_str("the authority's certificate is malformed"),
            Self::Path(why) => f.write_str(&describe(why)),
        }
    }
}

/// Says in words what `webpki` says in the names of its variants.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign, non-exhaustive enum; what is not told apart is told by its name"
)]
fn describe(why: &webpki::Error) -> Cow<'static, str> {
    use webpki::Error;
    match why {
        Error::CertExpired { .. } => "a certificate on the path has expired".into(),
        Error::CertNotValidYet { .. } => "a certificate on the path is not yet valid".into(),
        Error::UnknownIssuer => "no path leads to the authority it names".into(),
        Error::InvalidSignatureForPublicKey => {
            "a certificate on the path is not signed by its issuer".into()
        }
        Error::CaUsedAsEndEntity => "the server shows the certificate of an authority".into(),
        Error::EndEntityUsedAsCa => "a certificate on the path is no authority".into(),
        Error::PathLenConstraintViolated => "the path is longer than an authority allows".into(),
        Error::NameConstraintViolation => "an authority may not vouch for this name".into(),
        Error::UnsupportedCertVersion => "a certificate on the path is not of version 3".into(),
        Error::RequiredEkuNotFoundContext(_) => {
            "a certificate on the path is not meant for servers".into()
        }
        other => format!("the path does not hold ({other:?})").into(),
    }
}

/// Whether a certificate is between its dates.
fn check_in_force(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), PathFault> {
    let now = ASN1Time::from_timestamp(now.as_i64()).map_err(|_| PathFault::AnchorExpired)?;
    let validity = certificate.validity();
    if now < validity.not_before {
        return Err(PathFault::AnchorNotYetValid);
    }
    if now > validity.not_after {
        return Err(PathFault::AnchorExpired);
    }
    Ok(())
}

/// Whether a certificate is that of an authority, and how long paths below it may be.
///
/// Versions before 3 have no extensions in which to say it, so they are taken at the record's word.
fn check_authority(certificate: &X509Certificate<'_>) -> Result<Option<u32>, PathFault> {
    if certificate.version() != X509Version::V3 {
        return Ok(None);
    }
    let key_usage = certificate
        .key_usage()
        .map_err(|_| PathFault::AnchorUnreadable)?;
    let basic = certificate
        .basic_constraints()
        .map_err(|_| PathFault::AnchorUnreadable)?;
    let may_sign = key_usage.map(|usage| usage.value.key_cert_sign());
    let is_authority = match &basic {
        Some(basic) => basic.value.ca && may_sign != Some(false),
        None => may_sign == Some(true),
    };
    match is_authority {
        true => Ok(basic.and_then(|basic| basic.value.path_len_constraint)),
        false => Err(PathFault::AnchorIsNoAuthority),
    }
}

/// Whether a certificate limits the names below it; one that cannot be parsed might.
fn limits_names(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).map_or(true, |(_, certificate)| {
        !matches!(certificate.name_constraints(), Ok(None))
    })
}

/// A SubjectPublicKeyInfo without its tag and length, as trust anchors hold it.
fn key_content(key: &[u8]) -> Option<&[u8]> {
    let (rest, item) = x509_parser::asn1_rs::Any::from_der(key).ok()?;
    rest.is_empty().then_some(item.data)
}
