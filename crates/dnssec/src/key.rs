//! A zone's public keys: RFC 4034, Section 2; RFC 3110, 5702, 6605 and 8080.

use std::ops::RangeInclusive;
use std::sync::OnceLock;

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

/// One key of a DNSKEY set.
#[derive(Debug)]
pub(crate) struct Key {
    /// The record.
    pub(crate) dnskey: Dnskey<Bytes>,
    /// Its key tag: RFC 4034, Appendix B.
    pub(crate) tag: u16,
    /// The key as the primitive wants it, once it was needed; `None` if its size or form is not
    /// supported.
    ready: OnceLock<Option<PublicKey>>,
}

impl Key {
    /// A key that is made ready when it is needed first: a zone may list many, and use one.
    pub(crate) fn new(dnskey: Dnskey<Bytes>) -> Self {
        Self {
            tag: dnskey.key_tag(),
            ready: OnceLock::new(),
            dnskey,
        }
    }

    /// About how much memory it takes: the record, and several times as much to be ready.
    pub(crate) fn octets(&self) -> usize {
        size_of::<Self>() + READY_OCTETS + 4 * self.dnskey.public_key().len()
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

    /// The record with the REVOKE bit: RFC 5011, Section 7.
    pub(crate) fn revoked_form(&self) -> Option<Dnskey<Bytes>> {
        let (flags, protocol) = (self.dnskey.flags() | FLAG_REVOKE, self.dnskey.protocol());
        let public_key = self.dnskey.public_key().clone();
        Dnskey::new(flags, protocol, self.dnskey.algorithm(), public_key).ok()
    }

    /// Whether the size and form of the key are supported.
    pub(crate) fn is_usable(&self) -> bool {
        self.ready().is_some()
    }

    /// Whether `signature` over `message` was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.ready() {
            Some(PublicKey::AwsLc(key)) => key.verify_sig(message, signature).is_ok(),
            Some(PublicKey::Ed448(key)) => <&[u8; ED448_SIGNATURE_OCTETS]>::try_from(signature)
                .ok()
                .map(Ed448Signature::from)
                .is_some_and(|signature| key.verify_raw(&signature, message).is_ok()),
            None => false,
        }
    }

    /// The key as the primitive wants it.
    fn ready(&self) -> Option<&PublicKey> {
        let field = self.dnskey.public_key();
        let ready = || PublicKey::new(self.dnskey.algorithm(), field);
        self.ready.get_or_init(ready).as_ref()
    }

    /// What one check of a signature costs, [`Limits::signature_cost_max`](crate::Limits) has the unit.
    pub(crate) fn check_cost(&self) -> u32 {
        match self.dnskey.algorithm() {
            SecurityAlgorithm::ED448 => ED448_COST,
            SecurityAlgorithm::ECDSAP384SHA384 => P384_COST,
            _ if self.dnskey.public_key().len() > LARGE_KEY_OCTETS => LARGE_KEY_COST,
            _ => 1,
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
///
/// `None` for a modulus outside of what the primitive verifies with; it would find out only then.
fn rsa_der(field: &[u8]) -> Option<Vec<u8>> {
    let (exponent, modulus) = match field.split_first()? {
        (0, rest) => {
            let (length, rest) = rest.split_at_checked(2)?;
            let length = u16::from_be_bytes(length.try_into().ok()?);
            rest.split_at_checked(usize::from(length))?
        }
        (length, rest) => rest.split_at_checked(usize::from(*length))?,
    };
    let zeros = modulus.iter().take_while(|octet| **octet == 0).count();
    let leading_zero_bits = modulus.get(zeros)?.leading_zeros();
    let bits = (modulus.len() - zeros) * 8 - usize::try_from(leading_zero_bits).ok()?;
    if !RSA_BITS.contains(&bits) {
        return None;
    }
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

/// The sizes of RSA keys that are supported. RFC 5702, Section 2 allows from 512 and 1,024 bits on and
/// up to 4,096; the primitive draws the line at what can be broken today. It takes no exponent of more
/// than 33 bits either, lest a key costs too much: what signers choose has 2, 17 or 33.
const RSA_BITS: RangeInclusive<usize> = 1_024..=8_192;

/// A check takes nine tenths of a millisecond.
const ED448_COST: u32 = 9;

/// A check takes a good two tenths of a millisecond, and more where there is no assembly for it.
const P384_COST: u32 = 4;

/// An RSA key of more octets than 4,096 bits and an exponent need is large.
const LARGE_KEY_OCTETS: usize = 520;

/// For an RSA key of up to 8,192 bits, with the largest exponent.
const LARGE_KEY_COST: u32 = 32;

/// RFC 4034, Section 2.1.2.
const PROTOCOL: u8 = 3;

/// RFC 5011, Section 7.
const FLAG_REVOKE: u16 = 128;

/// RFC 8080, Section 3.
const ED448_KEY_OCTETS: usize = 57;

/// RFC 8080, Section 4.
const ED448_SIGNATURE_OCTETS: usize = 114;

/// ITU-T X.690, Section 8.3.
const DER_INTEGER: u8 = 0x02;

/// ITU-T X.690, Section 8.9.
const DER_SEQUENCE: u8 = 0x30;

/// About what a key takes that is ready to verify, whatever its size.
const READY_OCTETS: usize = 600;

#[cfg(test)]
mod tests {
    use domain::base::iana::DigestAlgorithm;

    use super::*;

    #[test]
    fn rsa_keys_come_with_short_and_long_exponents() {
        // RFC 3110, Section 2: one octet of length, or zero and two octets.
        let modulus = [0xab; 256];
        let short = [&[3, 1, 0, 1][..], &modulus].concat();
        let long = [&[0, 0, 3, 1, 0, 1][..], &modulus].concat();
        assert_eq!(rsa_der(&short), rsa_der(&long));
        let der = rsa_der(&short).unwrap();
        // SEQUENCE of 266 octets, INTEGER of 257 octets with the leading zero.
        assert_eq!(
            der[..9],
            [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]
        );
        assert_eq!(der[der.len() - 5..], [0x02, 0x03, 0x01, 0x00, 0x01]);
    }

    #[test]
    fn keys_of_a_wrong_size_or_form_are_not_usable() {
        let rsa = |octets: usize| [&[3, 1, 0, 1][..], &vec![0xab; octets - 1], &[0x01]].concat();
        check(SecurityAlgorithm::RSASHA256, &rsa(128), true);
        check(SecurityAlgorithm::RSASHA256, &rsa(64), false);
        check(SecurityAlgorithm::RSASHA256, &rsa(2_048), false);
        check(SecurityAlgorithm::RSASHA256, &[], false);
        check(SecurityAlgorithm::RSASHA256, &[0], false);
        check(SecurityAlgorithm::RSASHA256, &[0, 0xff, 0xff, 1], false);
        check(SecurityAlgorithm::RSASHA256, &[200, 1], false);
        check(SecurityAlgorithm::ECDSAP256SHA256, &[1; 64], false); // no point of the curve
        check(SecurityAlgorithm::ECDSAP256SHA256, &[1; 63], false);
        check(SecurityAlgorithm::ECDSAP384SHA384, &[1; 97], false);
        check(SecurityAlgorithm::ED25519, &[1; 31], false);
        check(SecurityAlgorithm::ED448, &[1; 56], false);
        check(SecurityAlgorithm::RSAMD5, &rsa(128), false);

        #[track_caller]
        fn check(algorithm: SecurityAlgorithm, field: &[u8], usable: bool) {
            let field = Bytes::copy_from_slice(field);
            let key = Key::new(Dnskey::new(257, PROTOCOL, algorithm, field).unwrap());
            assert_eq!(key.is_usable(), usable, "{algorithm}");
            assert!(!key.verifies(b"message", b"signature"));
        }
    }

    /// Signers choose 3, 65537 and, long ago, 4294967297, which has 33 bits.
    #[test]
    fn rsa_exponents_of_up_to_33_bits_are_supported() {
        check(&[1, 0, 0, 0, 1], &MODULUS_OF_F5, true);
        check(&[2, 0, 0, 0, 1], &MODULUS_OF_F5, false);
        check(&[1], &MODULUS_OF_F5, false);
        check(&[1, 0, 0], &MODULUS_OF_F5, false); // even
        check(&[0xff; 64], &MODULUS_OF_F5, false);

        #[track_caller]
        fn check(exponent: &[u8], modulus: &[u8], usable: bool) {
            let length = u8::try_from(exponent.len()).unwrap();
            let field = Bytes::from([&[length], exponent, modulus].concat());
            let dnskey = Dnskey::new(257, PROTOCOL, SecurityAlgorithm::RSASHA256, field);
            let key = Key::new(dnskey.unwrap());
            assert_eq!(key.is_usable(), usable, "{exponent:?}");
            assert_eq!(key.verifies(b"message", &SIGNATURE_BY_F5), usable);
            assert!(!key.verifies(b"massage", &SIGNATURE_BY_F5));
        }
    }

    /// RFC 4035, Section 5.2: the tag and the algorithm as well as the digest.
    #[test]
    fn a_ds_record_is_for_a_key_if_all_of_it_fits() {
        let field = Bytes::from_static(&[1; 32]);
        let dnskey = Dnskey::new(257, PROTOCOL, SecurityAlgorithm::ED25519, field).unwrap();
        let key = Key::new(dnskey);
        let hashed = [&[0, 1, 1, PROTOCOL, 15][..], &[1; 32]].concat();
        let right = digest::digest(&digest::SHA256, &hashed);
        let (tag, algorithm) = (key.tag, SecurityAlgorithm::ED25519);
        check(&key, tag, algorithm, right.as_ref(), true);
        check(&key, tag + 1, algorithm, right.as_ref(), false);
        check(
            &key,
            tag,
            SecurityAlgorithm::RSASHA256,
            right.as_ref(),
            false,
        );
        check(&key, tag, algorithm, &[0; 32], false);

        #[track_caller]
        fn check(key: &Key, tag: u16, algorithm: SecurityAlgorithm, digest: &[u8], fits: bool) {
            let digest = Bytes::copy_from_slice(digest);
            let ds = Ds::new(tag, algorithm, DigestAlgorithm::SHA256, digest).unwrap();
            let root = Name::root_bytes();
            assert_eq!(key.matches(&root, &ds, Sha1Policy::Validate), fits, "{ds}");
        }
    }

    #[test]
    fn only_keys_for_zones_sign_zone_data() {
        for (flags, protocol, is_one) in [
            (256, 3, true),
            (257, 3, true),
            (257 | 128, 3, false), // revoked
            (1, 3, false),         // not a zone key
            (256, 2, false),
        ] {
            let algorithm = SecurityAlgorithm::ED25519;
            let dnskey = Dnskey::new(flags, protocol, algorithm, Bytes::from_static(&[1; 32]));
            assert_eq!(Key::new(dnskey.unwrap()).is_zone_key(), is_one, "{flags}");
        }
    }

    /// The modulus of an RSA key with the exponent 4294967297, made by OpenSSL.
    const MODULUS_OF_F5: [u8; 128] = [
        0xc0, 0x3d, 0xc4, 0x7b, 0x2f, 0x60, 0xb1, 0x8b, 0x7b, 0xe0, 0x95, 0x3b, 0x74, 0xb6, 0xe1,
        0x53, 0x6d, 0xaf, 0x05, 0x5b, 0xae, 0xe2, 0x7a, 0x39, 0xf2, 0x60, 0xb0, 0x77, 0xf6, 0x7c,
        0xaf, 0x5d, 0x7b, 0xa2, 0x4b, 0xbd, 0x3b, 0xb8, 0xf9, 0xd1, 0xc4, 0x35, 0x88, 0x2f, 0xb7,
        0x76, 0xec, 0x59, 0xa2, 0x1c, 0x31, 0x11, 0x6c, 0xde, 0xa8, 0xf3, 0x97, 0xa2, 0x60, 0x49,
        0xef, 0x10, 0x48, 0x62, 0xa0, 0x9a, 0xee, 0xf8, 0xb1, 0xc8, 0x3c, 0xcf, 0x9d, 0xb0, 0xd5,
        0x27, 0x48, 0x90, 0xe6, 0xa3, 0xbf, 0x51, 0x50, 0x79, 0x6c, 0xb0, 0x3c, 0x31, 0x07, 0x3b,
        0xa0, 0x8e, 0x7d, 0xe3, 0xfd, 0xf5, 0x99, 0xac, 0x9e, 0x79, 0xa5, 0x0b, 0x4b, 0xe0, 0xd1,
        0xb6, 0x03, 0xb5, 0x1d, 0x8d, 0x17, 0x09, 0xa8, 0xc1, 0x91, 0x81, 0x16, 0xf0, 0xb1, 0xc9,
        0x90, 0xe4, 0xb0, 0x87, 0x27, 0x59, 0x0c, 0x79,
    ];

    /// What OpenSSL signed with it: `message`, by algorithm 8.
    const SIGNATURE_BY_F5: [u8; 128] = [
        0x57, 0x4f, 0x55, 0xcc, 0x54, 0x9e, 0x98, 0xd1, 0xea, 0xd2, 0x14, 0x4a, 0x81, 0x7f, 0x02,
        0xed, 0xff, 0xa1, 0x98, 0xd5, 0x8e, 0x2b, 0xc6, 0xc5, 0x5b, 0x7c, 0x42, 0xe6, 0xad, 0xdd,
        0x06, 0xf4, 0x08, 0x32, 0x1f, 0x5f, 0x88, 0xb1, 0xfa, 0x8f, 0x53, 0xf5, 0x79, 0xd1, 0xca,
        0x63, 0x7a, 0x8d, 0x43, 0xa6, 0xb2, 0x56, 0x7b, 0x12, 0xea, 0xae, 0x1a, 0x3a, 0x3a, 0x5f,
        0x17, 0xbd, 0x7a, 0xbf, 0xd6, 0xc4, 0xa8, 0xf6, 0x2b, 0x1b, 0xf3, 0xa8, 0xc9, 0xa2, 0x66,
        0x00, 0x95, 0x8d, 0xc5, 0x73, 0xe9, 0x78, 0x12, 0xaf, 0x6a, 0x6b, 0x41, 0x0b, 0x64, 0x91,
        0x61, 0x70, 0xb2, 0xe1, 0xc1, 0xa7, 0xea, 0x6e, 0x4e, 0x88, 0xe3, 0x7f, 0xb4, 0x44, 0xc5,
        0x9f, 0x9c, 0xa3, 0x22, 0xdf, 0xf1, 0x89, 0x22, 0xba, 0xbc, 0xa4, 0xc1, 0x3f, 0x82, 0x89,
        0x3e, 0x8b, 0x1e, 0x0b, 0x06, 0x34, 0x70, 0x78,
    ];
}
