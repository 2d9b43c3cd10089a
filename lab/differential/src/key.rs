//! Keys of every algorithm, and what is made with them.

use std::sync::Arc;

use aws_lc_rs::agreement;
use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use aws_lc_rs::signature::RSA_PKCS1_SHA512;
use aws_lc_rs::signature::RsaKeyPair;
use ed448_goldilocks::SigningKey as Ed448KeyPair;

use crate::name::Name;

/// A private key with the public key field of its DNSKEY record.
#[derive(Clone)]
pub(crate) struct Key {
    /// RFC 4034, Appendix A.1.
    pub(crate) algorithm: u8,
    /// The public key field.
    public: Arc<Vec<u8>>,
    pair: Arc<Pair>,
}

/// The private part.
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Ed448(Box<Ed448KeyPair>),
    Rsa(RsaKeyPair),
    /// An algorithm that nobody supports.
    Unknown,
}

impl Key {
    /// Whether nobody supports its algorithm.
    pub(crate) fn is_unsupported(&self) -> bool {
        UNKNOWN.contains(&self.algorithm)
    }

    /// Its DNSKEY data with these flags.
    pub(crate) fn dnskey(&self, flags: u16) -> Vec<u8> {
        let mut data = flags.to_be_bytes().to_vec();
        data.extend_from_slice(&[3, self.algorithm]);
        data.extend_from_slice(&self.public);
        data
    }

    /// A signature over a message.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).expect("ECDSA signs");
                signature.as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ed448(pair) => pair.sign_raw(message).to_bytes().to_vec(),
            Pair::Rsa(pair) => {
                let padding = if self.algorithm == RSASHA512 {
                    &RSA_PKCS1_SHA512
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .expect("RSA signs");
                signature
            }
            Pair::Unknown => digest::digest(&digest::SHA512, message).as_ref().to_vec(),
        }
    }
}

/// The key tag of DNSKEY data: RFC 4034, Appendix B.
pub(crate) fn tag(dnskey: &[u8]) -> u16 {
    let sum: u32 = dnskey
        .iter()
        .enumerate()
        .map(|(at, octet)| u32::from(*octet) << (8 * (1 - at % 2)))
        .sum();
    (sum + (sum >> 16)) as u16
}

/// DS data for DNSKEY data: RFC 4034, Section 5.1.4. Unknown digest types get a digest of no meaning.
pub(crate) fn ds(owner: &Name, dnskey: &[u8], digest_type: u8) -> Vec<u8> {
    let function = match digest_type {
        1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        4 => &digest::SHA384,
        _ => &digest::SHA256,
    };
    let hashed = [owner.wire().as_slice(), dnskey].concat();
    let mut data = tag(dnskey).to_be_bytes().to_vec();
    data.extend_from_slice(&[dnskey[3], digest_type]);
    data.extend_from_slice(digest::digest(function, &hashed).as_ref());
    data
}

/// The keys that all generated zones share: making them anew would take longer than anything else.
///
/// They are the same in every run, but for those of RSA; no decision depends on their octets.
pub(crate) struct Keys(Vec<Vec<Key>>);

impl Keys {
    /// Makes the keys.
    pub(crate) fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(KEYS_SEED);
        let rsa: Vec<Key> = (0..RSA_KEYS).map(|_| rsa()).collect();
        let rsa512 = rsa.iter().map(|key| Key {
            algorithm: RSASHA512,
            ..key.clone()
        });
        let rsa512 = rsa512.collect();
        let many =
            |random: &mut fastrand::Rng, count: usize, make: fn(&mut fastrand::Rng) -> Key| {
                (0..count).map(|_| make(random)).collect()
            };
        Self(vec![
            rsa,
            rsa512,
            many(&mut random, 12, |random| ecdsa(random, ECDSAP256)),
            many(&mut random, 4, |random| ecdsa(random, ECDSAP384)),
            many(&mut random, 12, ed25519),
            many(&mut random, 3, ed448),
            many(&mut random, 6, unknown),
        ])
    }

    /// A key of a supported algorithm, mostly a fast one.
    pub(crate) fn any(&self, random: &mut fastrand::Rng) -> Key {
        let kind = match random.u8(..100) {
            0..4 => 0,
            4..7 => 1,
            7..60 => 2,
            60..64 => 3,
            64..98 => 4,
            _ => 5,
        };
        random
            .choice(&self.0[kind])
            .expect("there are keys")
            .clone()
    }

    /// A key of an algorithm that nobody supports.
    pub(crate) fn unsupported(&self, random: &mut fastrand::Rng) -> Key {
        random.choice(&self.0[6]).expect("there are keys").clone()
    }

    /// The key of the root, in every run and tree.
    pub(crate) fn root(&self) -> Key {
        self.0[2][0].clone()
    }
}

fn rsa() -> Key {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("RSA keys can be made");
    // RFC 3110, Section 2: the length of the exponent, the exponent, the modulus.
    let mut public = vec![3, 1, 0, 1];
    // PKCS #1: the heads of the sequence and of the modulus with its leading zero, then 2048 bits.
    public.extend_from_slice(&pair.public_key().as_ref()[9..265]);
    key(RSASHA256, public, Pair::Rsa(pair))
}

fn ecdsa(random: &mut fastrand::Rng, algorithm: u8) -> Key {
    let (signing, agreeing, octets) = if algorithm == ECDSAP256 {
        (&ECDSA_P256_SHA256_FIXED_SIGNING, &agreement::ECDH_P256, 32)
    } else {
        (&ECDSA_P384_SHA384_FIXED_SIGNING, &agreement::ECDH_P384, 48)
    };
    // Below the order of the group with all but a vanishing probability.
    let private: Vec<u8> = (0..octets).map(|_| random.u8(..0xff)).collect();
    let point = agreement::PrivateKey::from_private_key(agreeing, &private)
        .and_then(|key| Ok(key.compute_public_key()?.as_ref().to_vec()))
        .expect("a private key has a public one");
    let pair = EcdsaKeyPair::from_private_key_and_public_key(signing, &private, &point)
        .expect("the two belong together");
    key(algorithm, point[1..].to_vec(), Pair::Ecdsa(pair))
}

fn ed25519(random: &mut fastrand::Rng) -> Key {
    let seed: Vec<u8> = (0..32).map(|_| random.u8(..)).collect();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any seed will do");
    let public = pair.public_key().as_ref().to_vec();
    key(ED25519, public, Pair::Ed25519(pair))
}

fn ed448(random: &mut fastrand::Rng) -> Key {
    let seed: Vec<u8> = (0..57).map(|_| random.u8(..)).collect();
    let pair = Ed448KeyPair::try_from(seed.as_slice()).expect("any seed will do");
    let public = pair.verifying_key().to_bytes().to_vec();
    key(ED448, public, Pair::Ed448(Box::new(pair)))
}

fn unknown(random: &mut fastrand::Rng) -> Key {
    let public = (0..40).map(|_| random.u8(..)).collect();
    let algorithm = *random.choice(&UNKNOWN).expect("there are some");
    key(algorithm, public, Pair::Unknown)
}

fn key(algorithm: u8, public: Vec<u8>, pair: Pair) -> Key {
    Key {
        algorithm,
        public: Arc::new(public),
        pair: Arc::new(pair),
    }
}

const RSASHA256: u8 = 8;
const RSASHA512: u8 = 10;
const ECDSAP256: u8 = 13;
const ECDSAP384: u8 = 14;
const ED25519: u8 = 15;
const ED448: u8 = 16;

/// Unassigned numbers, and one for private use.
const UNKNOWN: [u8; 4] = [100, 200, 245, 253];

/// RSA keys; each takes a good part of a second to make.
const RSA_KEYS: usize = 3;

/// Any number, always the same.
const KEYS_SEED: u64 = 0x6279_726e_6965;
