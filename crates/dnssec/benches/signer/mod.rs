//! Zones' keys that sign record sets, and answers on the wire that carry them.
//!
//! The benches make their own signatures, so that they can have as many zones as they like, with
//! keys of every algorithm and size. Names and data must come in canonical form already: RFC 4034,
//! Section 6.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::EcdsaSigningAlgorithm;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use aws_lc_rs::signature::RSA_PKCS1_SHA512;
use aws_lc_rs::signature::RsaEncoding;
use ed448_goldilocks::SigningKey as Ed448KeyPair;

/// The key of one zone.
pub(crate) struct Signer<'a> {
    /// The apex on the wire.
    apex: Vec<u8>,
    /// The key that signs; many zones may have the same.
    key: &'a Key,
    /// The zone's DNSKEY record.
    dnskey: Vec<u8>,
    /// The tag of that.
    tag: u16,
}

impl<'a> Signer<'a> {
    /// Gives a key to a zone, with the SEP bit or without.
    pub(crate) fn new(apex: &str, key: &'a Key, flags: u16) -> Self {
        let dnskey = [
            &flags.to_be_bytes()[..],
            &[PROTOCOL, key.algorithm],
            &key.public_key,
        ]
        .concat();
        Self {
            apex: wire(apex),
            key,
            tag: key_tag(&dnskey),
            dnskey,
        }
    }

    /// The data of the DNSKEY record.
    pub(crate) fn dnskey(&self) -> Vec<u8> {
        self.dnskey.clone()
    }

    /// The data of the DS record, with SHA-256.
    pub(crate) fn ds(&self) -> Vec<u8> {
        let hashed = [&self.apex[..], &self.dnskey].concat();
        let hash = digest::digest(&digest::SHA256, &hashed);
        [
            &self.tag.to_be_bytes()[..],
            &[self.key.algorithm, DIGEST_SHA256],
            hash.as_ref(),
        ]
        .concat()
    }

    /// A record set with its signature, valid from 2024 to 2045.
    pub(crate) fn sign(&self, owner: &str, rtype: u16, mut data: Vec<Vec<u8>>) -> RecordSet {
        data.sort_unstable();
        let mut set = RecordSet::default();
        for data in &data {
            set.push(owner, rtype, data);
        }
        let mut rrsig = rtype.to_be_bytes().to_vec();
        rrsig.extend([
            self.key.algorithm,
            u8::try_from(labels(owner).count()).unwrap(),
        ]);
        for field in [TTL, EXPIRATION, INCEPTION] {
            rrsig.extend(field.to_be_bytes());
        }
        rrsig.extend(self.tag.to_be_bytes());
        rrsig.extend(&self.apex);
        let signature = self.key.secret.sign(&[&rrsig[..], &set.octets].concat());
        rrsig.extend(signature);
        set.push(owner, TYPE_RRSIG, &rrsig);
        set
    }
}

/// A key pair of one algorithm.
pub(crate) struct Key {
    /// Its number: RFC 8624, Section 3.1.
    algorithm: u8,
    /// The public key as a DNSKEY record has it.
    public_key: Vec<u8>,
    /// What signs.
    secret: Secret,
}

impl Key {
    /// A new key; the size matters for RSA alone.
    pub(crate) fn generate(algorithm: u8, bits: usize) -> Self {
        let (secret, public_key) = match algorithm {
            8 => Secret::rsa(bits, &RSA_PKCS1_SHA256),
            10 => Secret::rsa(bits, &RSA_PKCS1_SHA512),
            13 => Secret::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            14 => Secret::ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            15 => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let public = pair.public_key().as_ref().to_vec();
                (Secret::Ed25519(pair), public)
            }
            16 => {
                let pair = Ed448KeyPair::try_from(&[42; ED448_OCTETS][..]).unwrap();
                let public = pair.verifying_key().to_bytes().to_vec();
                (Secret::Ed448(Box::new(pair)), public)
            }
            other => panic!("no keys of algorithm {other} can be made"),
        };
        Self {
            algorithm,
            public_key,
            secret,
        }
    }
}

/// What signs.
enum Secret {
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Ed448(Box<Ed448KeyPair>),
}

impl Secret {
    /// A new RSA key.
    fn rsa(bits: usize, encoding: &'static dyn RsaEncoding) -> (Self, Vec<u8>) {
        let size = match bits {
            2048 => rsa::KeySize::Rsa2048,
            4096 => rsa::KeySize::Rsa4096,
            other => panic!("no RSA keys of {other} bits can be made"),
        };
        let pair = rsa::KeyPair::generate(size).unwrap();
        // The modulus is the one long number in the DER form, before the exponent.
        let der = pair.public_key().as_ref();
        let exponent_at = der.len() - RSA_EXPONENT.len();
        let modulus_ends = exponent_at - DER_HEAD_OCTETS;
        let modulus = &der[modulus_ends - bits / 8..modulus_ends];
        assert_eq!(der[exponent_at..], RSA_EXPONENT);
        let public = [&[3], &RSA_EXPONENT[..], modulus].concat();
        (Self::Rsa(pair, encoding), public)
    }

    /// A new ECDSA key.
    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> (Self, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        // RFC 6605, Section 4 leaves out the octet that says how the point is written.
        let public = pair.public_key().as_ref()[1..].to_vec();
        (Self::Ecdsa(pair), public)
    }

    /// The signature over some octets.
    fn sign(&self, octets: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, octets, &mut signature)
                    .unwrap();
                signature
            }
            Self::Ecdsa(pair) => pair.sign(&random, octets).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(octets).as_ref().to_vec(),
            Self::Ed448(pair) => pair.sign_raw(octets).to_bytes().to_vec(),
        }
    }
}

/// Records on the wire.
#[derive(Clone, Default)]
pub(crate) struct RecordSet {
    octets: Vec<u8>,
    count: u16,
}

impl RecordSet {
    /// Adds a record.
    fn push(&mut self, owner: &str, rtype: u16, data: &[u8]) {
        self.octets.extend(wire(owner));
        self.octets.extend(rtype.to_be_bytes());
        self.octets.extend(CLASS_IN.to_be_bytes());
        self.octets.extend(TTL.to_be_bytes());
        self.octets
            .extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        self.octets.extend(data);
        self.count += 1;
    }
}

/// A question on the wire.
pub(crate) fn question(name: &str, rtype: u16) -> Vec<u8> {
    [
        &wire(name)[..],
        &rtype.to_be_bytes(),
        &CLASS_IN.to_be_bytes(),
    ]
    .concat()
}

/// A whole answer, from a recursive resolver, with id 0.
pub(crate) fn message(
    question: &[u8],
    rcode: u8,
    answer: &RecordSet,
    authority: &RecordSet,
) -> Vec<u8> {
    let mut octets = vec![0, 0, 0x81, 0x90 | rcode];
    for count in [1, answer.count, authority.count, 1] {
        octets.extend(count.to_be_bytes());
    }
    octets.extend(question);
    octets.extend(&answer.octets);
    octets.extend(&authority.octets);
    octets.extend(OPT_RECORD);
    octets
}

/// A name on the wire, from text without escapes.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(name.len() + 2);
    for label in labels(name) {
        octets.push(u8::try_from(label.len()).unwrap());
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// The labels of a name without the root.
fn labels(name: &str) -> impl Iterator<Item = &str> {
    name.split('.').filter(|label| !label.is_empty())
}

/// RFC 4034, Appendix B.
fn key_tag(dnskey: &[u8]) -> u16 {
    let mut sum: u32 = dnskey
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    sum += sum >> 16;
    u16::try_from(sum & 0xFFFF).unwrap()
}

/// A zone key with the SEP bit, which says that it signs keys: RFC 4034, Section 2.1.1.
pub(crate) const KEY_SIGNING: u16 = 257;

/// RFC 4034, Section 2.1.2.
const PROTOCOL: u8 = 3;

/// RFC 4509, Section 2.
const DIGEST_SHA256: u8 = 2;

/// How long everything may be kept, in seconds: as long as the benches run.
const TTL: u32 = 86_400;

/// 1 January 2024.
const INCEPTION: u32 = 1_704_067_200;

/// 1 January 2045.
const EXPIRATION: u32 = 2_366_841_600;

/// 65,537.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// Tag and length of the exponent.
const DER_HEAD_OCTETS: usize = 2;

/// RFC 8080, Section 3.
const ED448_OCTETS: usize = 57;

/// RFC 4034, Section 3.
const TYPE_RRSIG: u16 = 46;

/// RFC 1035, Section 3.2.4.
const CLASS_IN: u16 = 1;

/// EDNS with the DO bit and datagrams of 1,232 octets: RFC 6891, Section 6.1.2.
const OPT_RECORD: [u8; 11] = [0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0];
