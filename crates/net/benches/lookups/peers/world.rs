//! A signed name space of the shape that mail meets: a root, top-level domains, many domains.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::signer::KEY_SIGNING;
use crate::signer::Key;
use crate::signer::RecordSet;
use crate::signer::Signer;
use crate::signer::message;
use crate::signer::question;
use crate::signer::wire;

/// Every answer there is, and what may be asked.
///
/// Root and top-level domains sign with RSA-2048, so does every tenth domain; the others sign with
/// P-256. Each has a key-signing and a zone-signing key.
pub(crate) struct World {
    /// By the question on the wire: the answer, with id 0.
    pub(crate) answers: HashMap<Vec<u8>, Vec<u8>>,
    /// What a relay asks of each domain, [`QUESTIONS_PER_DOMAIN`] for each: MX, the addresses of the
    /// host, TLSA; then addresses in one zone.
    pub(crate) questions: Vec<(String, u16)>,
    /// How many of the questions are about distinct domains.
    pub(crate) in_domains: usize,
    /// The root's anchor, as a line of a zone file.
    pub(crate) anchor: String,
}

impl World {
    /// Signs so many domains, and one that has so many hosts.
    pub(crate) fn new(domains: usize, hosts: usize) -> Self {
        let rsa: Vec<Key> = (0..RSA_KEYS).map(|_| Key::generate(RSA, 2048)).collect();
        let ecdsa: Vec<Key> = (0..ECDSA_KEYS).map(|_| Key::generate(P256, 0)).collect();
        let root = Zone::new(".", &rsa[0], &rsa[1]);
        let ds = root.key_signing.ds();
        let digest = ds[4..].iter().fold(String::new(), |mut digest, octet| {
            write!(digest, "{octet:02x}").unwrap();
            digest
        });
        let tag = u16::from_be_bytes([ds[0], ds[1]]);
        let mut world = Self {
            answers: HashMap::new(),
            questions: Vec::new(),
            in_domains: 0,
            anchor: format!(". IN DS {tag} {} {} {digest}\n", ds[2], ds[3]),
        };
        world.add_keys(&root);
        let top: Vec<Zone<'_>> = TOP_LEVEL
            .iter()
            .zip(rsa.chunks(2).skip(1))
            .map(|(apex, keys)| Zone::new(apex, &keys[0], &keys[1]))
            .collect();
        for zone in &top {
            world.add_delegation(zone, &root);
        }
        for number in 0..domains {
            let pool = if number % 10 == 9 { &rsa } else { &ecdsa };
            let parent = &top[number % top.len()];
            let apex = format!("d{number}.{}", parent.apex);
            let keys = (&pool[number % pool.len()], &pool[(number + 1) % pool.len()]);
            let zone = Zone::new(&apex, keys.0, keys.1);
            world.add_delegation(&zone, parent);
            world.add_mail(&zone, number);
        }
        world.in_domains = world.questions.len();
        let apex = format!("many.{}", top[0].apex);
        let many = Zone::new(&apex, &ecdsa[0], &ecdsa[1]);
        world.add_delegation(&many, &top[0]);
        for number in 0..hosts {
            let owner = format!("h{number}.{apex}");
            world.add_asked(&many, &owner, TYPE_A, address(number, 4));
        }
        world
    }

    /// What a relay asks about a domain.
    fn add_mail(&mut self, zone: &Zone<'_>, number: usize) {
        let host = format!("mx.{}", zone.apex);
        let exchange = [&[0, 10][..], &wire(&host)].concat();
        self.add_asked(zone, &zone.apex, TYPE_MX, exchange);
        self.add_asked(zone, &host, TYPE_A, address(number, 4));
        self.add_asked(zone, &host, TYPE_AAAA, address(number, 16));
        let associated = [&[3, 1, 1][..], &address(number, 32)].concat();
        self.add_asked(zone, &format!("_25._tcp.{host}"), TYPE_TLSA, associated);
    }

    /// One record that will be asked for.
    fn add_asked(&mut self, zone: &Zone<'_>, owner: &str, rtype: u16, data: Vec<u8>) {
        let set = zone.zone_signing.sign(owner, rtype, vec![data]);
        self.add(owner, rtype, &set);
        self.questions.push((owner.to_owned(), rtype));
    }

    /// A zone's keys, and what its parent says of them.
    fn add_delegation(&mut self, zone: &Zone<'_>, parent: &Zone<'_>) {
        let ds = vec![zone.key_signing.ds()];
        let set = parent.zone_signing.sign(&zone.apex, TYPE_DS, ds);
        self.add(&zone.apex, TYPE_DS, &set);
        self.add_keys(zone);
    }

    /// A zone's keys.
    fn add_keys(&mut self, zone: &Zone<'_>) {
        let keys = vec![zone.key_signing.dnskey(), zone.zone_signing.dnskey()];
        let set = zone.key_signing.sign(&zone.apex, TYPE_DNSKEY, keys);
        self.add(&zone.apex, TYPE_DNSKEY, &set);
    }

    /// An answer.
    fn add(&mut self, owner: &str, rtype: u16, set: &RecordSet) {
        let asked = question(owner, rtype);
        let octets = message(&asked, 0, set, &RecordSet::default());
        self.answers.insert(asked, octets);
    }
}

/// A zone and its keys.
struct Zone<'a> {
    apex: String,
    key_signing: Signer<'a>,
    zone_signing: Signer<'a>,
}

impl<'a> Zone<'a> {
    fn new(apex: &str, key_signing: &'a Key, zone_signing: &'a Key) -> Self {
        Self {
            apex: apex.to_owned(),
            key_signing: Signer::new(apex, key_signing, KEY_SIGNING),
            zone_signing: Signer::new(apex, zone_signing, ZONE_SIGNING),
        }
    }
}

/// So many octets that differ from number to number.
fn address(number: usize, octets: usize) -> Vec<u8> {
    let number = number.to_be_bytes();
    number.iter().rev().cycle().take(octets).copied().collect()
}

/// What a relay asks of each domain.
pub(crate) const QUESTIONS_PER_DOMAIN: usize = 4;

/// The top-level domains.
const TOP_LEVEL: [&str; 3] = ["alpha.", "beta.", "gamma."];

/// Two for the root and for each top-level domain; making them takes longest.
const RSA_KEYS: usize = 2 + 2 * TOP_LEVEL.len();

/// The keys of the domains are taken from so many.
const ECDSA_KEYS: usize = 64;

/// A zone key without the SEP bit: RFC 4034, Section 2.1.1.
const ZONE_SIGNING: u16 = 256;

/// RSA/SHA-256: RFC 5702.
const RSA: u8 = 8;

/// ECDSA P-256: RFC 6605.
const P256: u8 = 13;

const TYPE_A: u16 = 1;
const TYPE_MX: u16 = 15;
const TYPE_AAAA: u16 = 28;
const TYPE_DS: u16 = 43;
const TYPE_DNSKEY: u16 = 48;
const TYPE_TLSA: u16 = 52;
