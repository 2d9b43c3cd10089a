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
        let data = associate(selector, matching_type, certificate)?;
        Ok(data.map(|data| Self {
            usage,
            selector,
            matching_type,
            data,
        }))
    }
}

/// "Certificate association data" for a certificate; `None` for unassigned parameters.
pub(crate) fn associate(
    selector: Selector,
    matching_type: MatchingType,
    certificate: &CertificateDer<'_>,
) -> Result<Option<Vec<u8>>, MalformedCertificate> {
    Ok(match selector {
        Selector::Cert => association(matching_type, certificate),
        Selector::Spki => association(matching_type, &public_key(certificate)?),
        Selector::Unassigned(_) => None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_as_it_stands() {
        let (certificate, key) = make();
        let expected = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert_eq!(public_key(&certificate).unwrap().as_ref(), expected);
    }

    #[test]
    fn nothing_may_follow_a_certificate_or_stand_behind_its_signature() {
        let (certificate, _) = make();
        let mut after = certificate.to_vec();
        after.push(0);
        assert_eq!(public_key(&after.into()), Err(MalformedCertificate));

        let mut inside = certificate.to_vec();
        inside.extend([0x05, 0x00]);
        // The outer length stands in two octets behind the tag and the length's own length.
        let length = u16::from_be_bytes([inside[2], inside[3]]) + 2;
        inside[2..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(public_key(&inside.into()), Err(MalformedCertificate));
    }

    #[test]
    fn a_certificate_cut_short_anywhere_has_no_key() {
        let (certificate, _) = make();
        for length in 0..certificate.len() {
            let cut = CertificateDer::from(&certificate[..length]);
            assert_eq!(public_key(&cut), Err(MalformedCertificate), "{length}");
        }
    }

    #[test]
    fn a_record_for_a_certificate_needs_parameters_that_mean_something() {
        let (certificate, _) = make();
        let record = |selector, matching_type| {
            TlsaRecord::for_certificate(CertUsage::DaneEe, selector, matching_type, &certificate)
                .unwrap()
        };
        let length = |record: Option<TlsaRecord>| record.map(|record| record.data.len());
        assert_eq!(
            length(record(Selector::Cert, MatchingType::Sha256)),
            Some(32)
        );
        assert_eq!(
            length(record(Selector::Spki, MatchingType::Sha512)),
            Some(64)
        );
        let whole = record(Selector::Cert, MatchingType::Full);
        assert_eq!(length(whole), Some(certificate.len()));
        assert_eq!(record(Selector::Unassigned(2), MatchingType::Full), None);
        assert_eq!(record(Selector::Cert, MatchingType::Unassigned(3)), None);
    }

    fn make() -> (CertificateDer<'static>, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        (certificate.into(), key)
    }
}
