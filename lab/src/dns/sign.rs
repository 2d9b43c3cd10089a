//! Keys and signatures: RFC 4034 with ECDSA P-256 (RFC 6605).

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::KeyPair;
use byrnie_base::UnixTime;
use domain::base::Name;

use super::RecordSet;
use super::record::label_count;
use crate::LabError;

/// The one key of a zone: it signs the key set and everything else.
#[derive(Debug)]
pub struct ZoneKey {
    /// The private part.
    pair: EcdsaKeyPair,
    /// The data of the DNSKEY record.
    dnskey: Vec<u8>,
}

impl ZoneKey {
    /// A fresh key.
    ///
    /// # Errors
    /// The machine gives no randomness.
    pub fn generate() -> Result<Self, LabError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| LabError::Crypto("make a zone key"))?;
        // RFC 6605, Section 4: the bare point without the octet 4 in front.
        let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
        let mut dnskey = DNSKEY_FLAGS.to_be_bytes().to_vec();
        dnskey.extend_from_slice(&[DNSKEY_PROTOCOL, ALGORITHM]);
        dnskey.extend_from_slice(point);
        Ok(Self { pair, dnskey })
    }

    /// The data of its DNSKEY record.
    #[must_use]
    pub fn dnskey(&self) -> &[u8] {
        &self.dnskey
    }

    /// The data of the DS record that the parent of `apex` publishes.
    #[must_use]
    pub fn ds(&self, apex: &Name<Vec<u8>>) -> Vec<u8> {
        let mut hashed = apex.as_slice().to_vec();
        hashed.extend_from_slice(&self.dnskey);
        let mut ds = self.tag().to_be_bytes().to_vec();
        ds.extend_from_slice(&[ALGORITHM, DIGEST_SHA256]);
        ds.extend_from_slice(digest::digest(&digest::SHA256, &hashed).as_ref());
        ds
    }

    /// The key tag: RFC 4034, Appendix B.
    #[must_use]
    pub fn tag(&self) -> u16 {
        let sum = self.dnskey.chunks(2).fold(0u32, |sum, pair| match pair {
            [high, low] => sum + (u32::from(*high) << 8) + u32::from(*low),
            [high] => sum + (u32::from(*high) << 8),
            _ => sum,
        });
        let folded = sum + (sum >> 16);
        u16::try_from(folded & 0xffff).unwrap_or_default()
    }

    /// The data of the RRSIG record over `set` at `owner`.
    ///
    /// For records made from a wildcard, `owner` is the wildcard.
    ///
    /// # Errors
    /// The machine refuses to sign.
    pub fn rrsig(
        &self,
        apex: &Name<Vec<u8>>,
        owner: &Name<Vec<u8>>,
        set: &RecordSet,
        validity: Validity,
    ) -> Result<Vec<u8>, LabError> {
        let wildcard = owner.first().as_slice() == b"*";
        let labels = label_count(owner) - usize::from(wildcard);
        let mut rrsig = set.rtype.to_int().to_be_bytes().to_vec();
        rrsig.extend_from_slice(&[ALGORITHM, u8::try_from(labels).unwrap_or_default()]);
        rrsig.extend_from_slice(&set.ttl.to_be_bytes());
        rrsig.extend_from_slice(&validity.expiration.to_be_bytes());
        rrsig.extend_from_slice(&validity.inception.to_be_bytes());
        rrsig.extend_from_slice(&self.tag().to_be_bytes());
        rrsig.extend_from_slice(apex.as_slice());

        let mut signed = rrsig.clone();
        for data in &set.data {
            signed.extend_from_slice(owner.as_slice());
            signed.extend_from_slice(&set.rtype.to_int().to_be_bytes());
            signed.extend_from_slice(&CLASS_IN.to_be_bytes());
            signed.extend_from_slice(&set.ttl.to_be_bytes());
            let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
            signed.extend_from_slice(&length.to_be_bytes());
            signed.extend_from_slice(data);
        }
        let signature = self
            .pair
            .sign(&SystemRandom::new(), &signed)
            .map_err(|_| LabError::Crypto("sign a record set"))?;
        rrsig.extend_from_slice(signature.as_ref());
        Ok(rrsig)
    }
}

/// From when until when a signature counts, in seconds modulo 2^32: RFC 4034, Section 3.1.5.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// The first second.
    inception: u32,
    /// The last second.
    expiration: u32,
}

impl Validity {
    /// From an hour ago for a week.
    pub(super) fn around(now: UnixTime) -> Self {
        Self::between(
            UnixTime(now.0.saturating_sub(HOUR)),
            UnixTime(now.0 + 7 * DAY),
        )
    }

    /// Over since yesterday.
    pub(super) fn expired(now: UnixTime) -> Self {
        Self::between(
            UnixTime(now.0.saturating_sub(8 * DAY)),
            UnixTime(now.0.saturating_sub(DAY)),
        )
    }

    /// Begins tomorrow.
    pub(super) fn future(now: UnixTime) -> Self {
        Self::between(UnixTime(now.0 + DAY), UnixTime(now.0 + 8 * DAY))
    }

    fn between(inception: UnixTime, expiration: UnixTime) -> Self {
        let modulo = |time: UnixTime| u32::try_from(time.0 & 0xffff_ffff).unwrap_or_default();
        Self {
            inception: modulo(inception),
            expiration: modulo(expiration),
        }
    }
}

/// Zone key and secure entry point: RFC 4034, Section 2.1.1.
const DNSKEY_FLAGS: u16 = 257;

/// RFC 4034, Section 2.1.2.
const DNSKEY_PROTOCOL: u8 = 3;

/// ECDSA P-256 with SHA-256: RFC 6605, Section 5.
const ALGORITHM: u8 = 13;

/// RFC 4509, Section 5.
const DIGEST_SHA256: u8 = 2;

/// RFC 1035, Section 3.2.4.
const CLASS_IN: u16 = 1;

/// In seconds.
const HOUR: u64 = 3600;

/// In seconds.
const DAY: u64 = 86_400;
