//! A zone's public keys: RFC 4034, Section 2; RFC 3110, 5702, 6605 and 8080.

use aws_lc_rs::digest;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;
use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED;
use aws_lc_rs::signature::ED25519;
use aws_lc_rs::signature::ParsedPublicKey;
use aws_lc_rs::signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY;
use aws_lc_rs::signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
use aws_lc_rs::signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY;
use aws_lc_rs::signature::VerificationAlgorithm;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::SecurityAlgorithm;
use domain::rdata::Dnskey;
use domain::rdata::Ds;
use ed448_goldilocks::Signature as Ed448Signature;
use ed448_goldilocks::VerifyingKey as Ed448Key;

use crate::algorithm;
use crate::algorithm::Sha1Policy;
use crate::name;

/// One key of a DNSKEY set, ready to verify.
#[derive(Debug)]
pub(crate) struct Key {
    /// The record.
    pub(crate) dnskey: Dnskey<Bytes>,
    /// Its key tag: RFC 4034, Appendix B.
    pub(crate) tag: u16,
    /// The key as the primitive wants it; `None` if its size or form is not supported.
    public_key: Option<PublicKey>,
}

impl Key {
    /// Prepares a key.
    pub(crate) fn new(dnskey: Dnskey<Bytes>) -> Self {
        Self {
            tag: dnskey.key_tag(),
            public_key: PublicKey::new(dnskey.algorithm(), dnskey.public_key()),
            dnskey,
        }
    }

    /// Whether the record may verify signatures over zone data at all.
    ///
    //= https://www.rfc-editor.org/rfc/rfc4034#section-2.1.1
    //# If bit 7 has value 0, then the DNSKEY record holds some
    //# other type of DNS public key and MUST NOT be used to verify RRSIGs
    //# that cover RRsets.
    ///
    /// A revoked key verifies nothing but its own revocation: RFC 5011, Section 2.1.
    pub(crate) fn is_zone_key(&self) -> bool {
        self.dnskey.is_zone_key() && self.dnskey.protocol() == PROTOCOL && !self.dnskey.is_revoked()
    }

    /// Whether the size and form of the key are supported.
    pub(crate) fn is_usable(&self) -> bool {
        self.public_key.is_some()
    }

    /// Whether `signature` over `message` was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.public_key {
            Some(PublicKey::AwsLc(key)) => key.verify_sig(message, signature).is_ok(),
            Some(PublicKey::Ed448(key)) => <&[u8; ED448_SIGNATURE_OCTETS]>::try_from(signature)
                .ok()
                .map(Ed448Signature::from)
                .is_some_and(|signature| key.verify_raw(&signature, message).is_ok()),
            None => false,
        }
    }

    /// Whether the DS record is for this key: RFC 4034, Section 5.1.4.
    pub(crate) fn matches(&self, owner: &Name<Bytes>, ds: &Ds<Bytes>, sha1: Sha1Policy) -> bool {
        if self.tag != ds.key_tag() || self.dnskey.algorithm() != ds.algorithm() {
            return false;
        }
        let Some(algorithm) = algorithm::digest(ds.digest_type(), sha1) else {
            return false;
        };
        let mut hashed = Vec::with_capacity(name::NAME_OCTETS_MAX);
        name::push_canonical(&mut hashed, owner);
        hashed.extend_from_slice(&self.dnskey.flags().to_be_bytes());
        hashed.push(self.dnskey.protocol());
        hashed.push(self.dnskey.algorithm().to_int());
        hashed.extend_from_slice(self.dnskey.public_key());
        digest::digest(algorithm, &hashed).as_ref() == ds.digest().as_ref()
    }
}

/// The key material of one algorithm.
#[derive(Debug)]
enum PublicKey {
    /// RSA, ECDSA and Ed25519.
    AwsLc(ParsedPublicKey),
    /// Ed448.
    Ed448(Box<Ed448Key>),
}

impl PublicKey {
    /// Reads the public key field of a DNSKEY record.
    fn new(algorithm: SecurityAlgorithm, field: &[u8]) -> Option<Self> {
        let (verification, octets): (&'static dyn VerificationAlgorithm, Vec<u8>) = match algorithm
        {
            SecurityAlgorithm::RSASHA1 | SecurityAlgorithm::RSASHA1_NSEC3_SHA1 => (
                &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
                rsa_der(field)?,
            ),
            SecurityAlgorithm::RSASHA256 => (
                &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                rsa_der(field)?,
            ),
            SecurityAlgorithm::RSASHA512 => (
                &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                rsa_der(field)?,
            ),
            SecurityAlgorithm::ECDSAP256SHA256 => (&ECDSA_P256_SHA256_FIXED, uncompressed(field)),
            SecurityAlgorithm::ECDSAP384SHA384 => (&ECDSA_P384_SHA384_FIXED, uncompressed(field)),
            SecurityAlgorithm::ED25519 => (&ED25519, field.to_vec()),
            SecurityAlgorithm::ED448 => {
                let octets = <[u8; ED448_KEY_OCTETS]>::try_from(field).ok()?;
                let key = Ed448Key::from_bytes(&octets).ok()?;
                return Some(Self::Ed448(Box::new(key)));
            }
            _ => return None,
        };
        ParsedPublicKey::new(verification, octets)
            .ok()
            .map(Self::AwsLc)
    }
}

/// The point as SEC 1 writes it: RFC 6605, Section 4 leaves out the leading octet.
fn uncompressed(field: &[u8]) -> Vec<u8> {
    [&[4], field].concat()
}

/// RFC 3110's exponent and modulus as the `RSAPublicKey` of RFC 8017, Appendix A.1.1.
fn rsa_der(field: &[u8]) -> Option<Vec<u8>> {
    let (exponent, modulus) = match field.split_first()? {
        (0, rest) => {
            let (length, rest) = rest.split_at_checked(2)?;
            let length = u16::from_be_bytes(length.try_into().ok()?);
            rest.split_at_checked(usize::from(length))?
        }
        (length, rest) => rest.split_at_checked(usize::from(*length))?,
    };
    let mut content = der(DER_INTEGER, &der_unsigned(modulus))?;
    content.extend(der(DER_INTEGER, &der_unsigned(exponent))?);
    der(DER_SEQUENCE, &content)
}

/// An unsigned number as the content of a DER INTEGER: no leading zeros, then one if the top bit is set.
fn der_unsigned(octets: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = octets
        .iter()
        .copied()
        .skip_while(|octet| *octet == 0)
        .collect();
    if content.first().is_none_or(|first| *first >= 0x80) {
        content.insert(0, 0);
    }
    content
}

/// A DER value with its tag and length.
fn der(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?;
    let mut encoded = vec![tag];
    match length.to_be_bytes() {
        [0, low] if low < 0x80 => encoded.push(low),
        [0, low] => encoded.extend([0x81, low]),
        [high, low] => encoded.extend([0x82, high, low]),
    }
    encoded.extend_from_slice(content);
    Some(encoded)
}

/// RFC 4034, Section 2.1.2.
const PROTOCOL: u8 = 3;

/// RFC 8080, Section 3.
const ED448_KEY_OCTETS: usize = 57;

/// RFC 8080, Section 4.
const ED448_SIGNATURE_OCTETS: usize = 114;

/// ITU-T X.690, Section 8.3.
const DER_INTEGER: u8 = 0x02;

/// ITU-T X.690, Section 8.9.
const DER_SEQUENCE: u8 = 0x30;
