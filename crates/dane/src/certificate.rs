//! As much of a certificate as DANE needs: RFC 5280, Section 4.1.
//!
//! Usage 3 vouches for a key whatever the certificate around it looks like, so the key is found by
//! walking over the fields in front of it, none of which is judged. A certificate of version 1,
//! without extensions, with dates that no calendar has or with broken extensions still has its key.

use std::fmt;

use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::SHA512;
use aws_lc_rs::digest::digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use x509_parser::asn1_rs::Any;
use x509_parser::asn1_rs::Class;
use x509_parser::asn1_rs::FromDer;
use x509_parser::asn1_rs::Tag;

use crate::CertUsage;
use crate::MatchingType;
use crate::Selector;
use crate::TlsaRecord;

/// Finds the SubjectPublicKeyInfo of a certificate, in the form in which it stands there.
///
/// # Errors
/// The octets are not a certificate up to its key, or something follows the certificate.
pub fn public_key<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'a>, MalformedCertificate> {
    let mut whole = Walk(certificate.as_ref());
    let mut certificate = Walk(whole.content(Tag::Sequence)?);
    whole.end()?;
    let mut to_be_signed = Walk(certificate.content(Tag::Sequence)?);
    certificate.content(Tag::Sequence)?; // signatureAlgorithm
    certificate.content(Tag::BitString)?; // signatureValue
    certificate.end()?;

    to_be_signed.skip_version()?;
    to_be_signed.content(Tag::Integer)?; // serialNumber
    to_be_signed.content(Tag::Sequence)?; // signature
    to_be_signed.content(Tag::Sequence)?; // issuer
    to_be_signed.content(Tag::Sequence)?; // validity
    to_be_signed.content(Tag::Sequence)?; // subject
    let key = to_be_signed.item(Tag::Sequence)?;
    check_public_key(key)?;
    Ok(key.into())
}

/// Whether octets have the form of a SubjectPublicKeyInfo: RFC 5280, Section 4.1.2.7.
pub(crate) fn check_public_key(key: &[u8]) -> Result<(), MalformedCertificate> {
    let mut whole = Walk(key);
    let mut key = Walk(whole.content(Tag::Sequence)?);
    whole.end()?;
    key.content(Tag::Sequence)?; // algorithm
    key.content(Tag::BitString)?; // subjectPublicKey
    key.end()
}

/// The issuer field of a certificate, without its tag and length, as trust anchors name it.
pub(crate) fn issuer<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<&'a [u8], MalformedCertificate> {
    let mut certificate = Walk(Walk(certificate.as_ref()).content(Tag::Sequence)?);
    let mut to_be_signed = Walk(certificate.content(Tag::Sequence)?);
    to_be_signed.skip_version()?;
    to_be_signed.content(Tag::Integer)?; // serialNumber
    to_be_signed.content(Tag::Sequence)?; // signature
    to_be_signed.content(Tag::Sequence)
}

impl TlsaRecord {
    /// The record with these parameters that `certificate` matches.
    ///
    /// # Errors
    /// The certificate has no readable key and the selector asks for it.
    ///
    /// `None` in place of a record: the selector or the matching type is unassigned.
    pub fn for_certificate(
        usage: CertUsage,
        selector: Selector,
        matching_type: MatchingType,
        certificate: &CertificateDer<'_>,
    ) -> Result<Option<Self>, MalformedCertificate> {
        let data = match selector {
            Selector::Cert => association(matching_type, certificate),
            Selector::Spki => association(matching_type, &public_key(certificate)?),
            Selector::Unassigned(_) => None,
        };
        Ok(data.map(|data| Self {
            usage,
            selector,
            matching_type,
            data,
        }))
    }
}

/// "Certificate association data" for the selected part; `None` for unassigned matching types.
pub(crate) fn association(matching_type: MatchingType, selected: &[u8]) -> Option<Vec<u8>> {
    match matching_type {
        MatchingType::Full => Some(selected.to_vec()),
        MatchingType::Sha256 => Some(digest(&SHA256, selected).as_ref().to_vec()),
        MatchingType::Sha512 => Some(digest(&SHA512, selected).as_ref().to_vec()),
        MatchingType::Unassigned(_) => None,
    }
}

/// What should be a certificate, or a key, is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MalformedCertificate;

impl fmt::Display for MalformedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is malformed before its key")
    }
}

impl std::error::Error for MalformedCertificate {}

/// DER items that stand one after the other, as far as they have not been read.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    /// The next item, tag and length included.
    fn item(&mut self, tag: Tag) -> Result<&'a [u8], MalformedCertificate> {
        let start = self.0;
        self.content(tag)?;
        start
            .get(..start.len() - self.0.len())
            .ok_or(MalformedCertificate)
    }

    /// The content of the next item, which must have the universal tag `tag`.
    fn content(&mut self, tag: Tag) -> Result<&'a [u8], MalformedCertificate> {
        let (rest, item) = Any::from_der(self.0).map_err(|_| MalformedCertificate)?;
        if item.class() != Class::Universal || item.tag() != tag {
            return Err(MalformedCertificate);
        }
        self.0 = rest;
        Ok(item.data)
    }

    /// Passes over the version, which version 1 does not have: `[0]`.
    fn skip_version(&mut self) -> Result<(), MalformedCertificate> {
        let (rest, item) = Any::from_der(self.0).map_err(|_| MalformedCertificate)?;
        if item.class() == Class::ContextSpecific && item.tag().0 == 0 {
            self.0 = rest;
        }
        Ok(())
    }

    /// Nothing may be left.
    fn end(self) -> Result<(), MalformedCertificate> {
        match self.0 {
            [] => Ok(()),
            [..] => Err(MalformedCertificate),
        }
    }
}
