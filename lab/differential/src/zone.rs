//! A zone with its keys, signatures and denials.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::OnceLock;

use aws_lc_rs::digest;

use crate::key;
use crate::key::Key;
use crate::message::CNAME;
use crate::message::DNAME;
use crate::message::DNSKEY;
use crate::message::DS;
use crate::message::MX;
use crate::message::NS;
use crate::message::NSEC;
use crate::message::NSEC3;
use crate::message::RRSIG;
use crate::message::Record;
use crate::message::SOA;
use crate::name::Name;

/// Records of one type at one name.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) ttl: u32,
    pub(crate) data: Vec<Vec<u8>>,
}

/// One key of a zone and what it does.
#[derive(Clone)]
pub(crate) struct ZoneKey {
    pub(crate) key: Key,
    pub(crate) flags: u16,
    pub(crate) signs_keys: bool,
    pub(crate) signs_data: bool,
}

impl ZoneKey {
    /// Its DNSKEY data.
    pub(crate) fn dnskey(&self) -> Vec<u8> {
        self.key.dnskey(self.flags)
    }
}

/// How a zone denies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Denial {
    /// By NSEC.
    Nsec,
    /// By NSEC records that deny nothing but themselves, so that no other tree is concerned.
    NsecOfSelf,
    /// By NSEC3.
    Nsec3 {
        salt: Vec<u8>,
        iterations: u16,
        opt_out: bool,
    },
}

/// From when until when signatures are valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Validity {
    pub(crate) inception: u32,
    pub(crate) expiration: u32,
}

/// What a zone's records are truly worth.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Security {
    Insecure,
    Secure,
}

/// One zone.
pub(crate) struct Zone {
    pub(crate) apex: Name,
    /// None if it is not signed.
    pub(crate) keys: Vec<ZoneKey>,
    pub(crate) denial: Denial,
    pub(crate) security: Security,
    pub(crate) validity: Validity,
    pub(crate) sets: BTreeMap<Name, BTreeMap<u16, Set>>,
    /// By owner and type; made when first asked for.
    signatures: Mutex<Signatures>,
    chain: OnceLock<Vec<Span>>,
}

/// The data of RRSIG records by owner and type of what they sign.
#[derive(Default)]
struct Signatures(HashMap<(Name, u16), Vec<Vec<u8>>>);

/// One record of the chain of denials.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) owner: Name,
    pub(crate) rtype: u16,
    pub(crate) data: Vec<u8>,
    /// What it is found by: the name, or its hash as a name of one label.
    key: Name,
}

impl Zone {
    /// A zone without any record.
    pub(crate) fn new(
        apex: Name,
        keys: Vec<ZoneKey>,
        denial: Denial,
        security: Security,
        validity: Validity,
    ) -> Self {
        Self {
            apex,
            keys,
            denial,
            security,
            validity,
            sets: BTreeMap::new(),
            signatures: Mutex::default(),
            chain: OnceLock::new(),
        }
    }

    /// Puts a set in its place.
    pub(crate) fn set(&mut self, owner: &Name, rtype: u16, ttl: u32, data: Vec<Vec<u8>>) {
        let types = self.sets.entry(owner.clone()).or_default();
        types.insert(rtype, Set { ttl, data });
    }

    /// The set of a type at a name.
    pub(crate) fn get(&self, owner: &Name, rtype: u16) -> Option<&Set> {
        self.sets.get(owner)?.get(&rtype)
    }

    /// Whether the name has records, or one below it has.
    pub(crate) fn exists(&self, name: &Name) -> bool {
        self.sets
            .range(name.clone()..)
            .next()
            .is_some_and(|(owner, _)| owner.ends_with(name))
    }

    /// Whether another zone begins at the name.
    pub(crate) fn is_cut(&self, name: &Name) -> bool {
        *name != self.apex && self.get(name, NS).is_some()
    }

    /// The records of a set with its signatures, expanded to `owner` if `source` is a wildcard.
    pub(crate) fn signed(&self, source: &Name, owner: &Name, rtype: u16) -> Vec<Record> {
        let Some(set) = self.get(source, rtype) else {
            return Vec::new();
        };
        let unsigned = self.is_cut(source) && rtype == NS;
        let signatures = if unsigned {
            Vec::new()
        } else {
            self.signatures(source, rtype, set)
        };
        records(owner, rtype, set, signatures)
    }

    /// The signatures over a set.
    fn signatures(&self, owner: &Name, rtype: u16, set: &Set) -> Vec<Vec<u8>> {
        let mut known = self.signatures.lock().expect("no holder panics");
        let key = (owner.clone(), rtype);
        known
            .0
            .entry(key)
            .or_insert_with(|| {
                let keys = self.keys.iter().filter(|key| {
                    if rtype == DNSKEY {
                        key.signs_keys
                    } else {
                        key.signs_data
                    }
                });
                keys.map(|key| {
                    Signing {
                        key: &key.key,
                        tag: key::tag(&key.dnskey()),
                        signer: &self.apex,
                        labels: None,
                        validity: self.validity,
                    }
                    .rrsig(owner, rtype, set)
                })
                .collect()
            })
            .clone()
    }

    /// The chain of denials; empty if the zone is not signed.
    pub(crate) fn chain(&self) -> &[Span] {
        self.chain.get_or_init(|| {
            if self.keys.is_empty() {
                return Vec::new();
            }
            match &self.denial {
                Denial::Nsec => self.nsec_chain(|next| next.clone()),
                Denial::NsecOfSelf => self.nsec_chain(|_| Name::root()),
                Denial::Nsec3 {
                    salt,
                    iterations,
                    opt_out,
                } => self.nsec3_chain(salt, *iterations, *opt_out),
            }
        })
    }

    /// The records of one link of the chain, with signatures.
    pub(crate) fn denial_records(&self, span: &Span) -> Vec<Record> {
        let set = Set {
            ttl: DENIAL_TTL,
            data: vec![span.data.clone()],
        };
        let signatures = self.signatures(&span.owner, span.rtype, &set);
        records(&span.owner, span.rtype, &set, signatures)
    }

    /// The link at a name.
    pub(crate) fn matching(&self, name: &Name) -> Option<&Span> {
        let key = self.chain_key(name);
        self.chain().iter().find(|span| span.key == key)
    }

    /// The link whose span holds a name.
    pub(crate) fn covering(&self, name: &Name) -> Option<&Span> {
        let key = self.chain_key(name);
        let chain = self.chain();
        chain
            .iter()
            .rfind(|span| span.key < key)
            .or_else(|| chain.last())
    }

    /// What a name is found by in the chain.
    fn chain_key(&self, name: &Name) -> Name {
        match &self.denial {
            Denial::Nsec | Denial::NsecOfSelf => name.clone(),
            Denial::Nsec3 {
                salt, iterations, ..
            } => Name(vec![nsec3_hash(name, salt, *iterations)]),
        }
    }

    /// The chain of NSEC records.
    fn nsec_chain(&self, next_name: impl Fn(&Name) -> Name) -> Vec<Span> {
        let owners: Vec<&Name> = self.sets.keys().collect();
        let mut chain = Vec::new();
        for (at, owner) in owners.iter().enumerate() {
            let next = owners.get(at + 1).map_or(&self.apex, |next| next);
            let mut next = next_name(next);
            if self.denial == Denial::NsecOfSelf {
                next = owner.below(&[0]);
            }
            let mut types: BTreeSet<u16> = self.sets[*owner].keys().copied().collect();
            types.extend([NSEC, RRSIG]);
            let mut data = next.wire();
            data.extend_from_slice(&bitmap(&types));
            chain.push(Span {
                owner: (*owner).clone(),
                rtype: NSEC,
                data,
                key: (*owner).clone(),
            });
        }
        chain
    }

    /// The chain of NSEC3 records.
    fn nsec3_chain(&self, salt: &[u8], iterations: u16, opt_out: bool) -> Vec<Span> {
        let mut types: BTreeMap<Name, BTreeSet<u16>> = BTreeMap::new();
        for (owner, sets) in &self.sets {
            let unsigned_cut = self.is_cut(owner) && !sets.contains_key(&DS);
            if unsigned_cut && opt_out {
                continue;
            }
            let here = types.entry(owner.clone()).or_default();
            here.extend(sets.keys().copied());
            if !unsigned_cut {
                here.insert(RRSIG);
            }
            let mut above = owner.parent();
            while above.len() > self.apex.len() {
                types.entry(above.clone()).or_default();
                above = above.parent();
            }
        }
        let hashed: BTreeMap<Vec<u8>, BTreeSet<u16>> = types
            .into_iter()
            .map(|(owner, types)| (nsec3_hash(&owner, salt, iterations), types))
            .collect();
        let hashes: Vec<&Vec<u8>> = hashed.keys().collect();
        let mut chain = Vec::new();
        for (at, (hash, types)) in hashed.iter().enumerate() {
            let next = hashes[(at + 1) % hashes.len()];
            let mut data = vec![1, u8::from(opt_out)];
            data.extend_from_slice(&iterations.to_be_bytes());
            data.push(salt.len() as u8);
            data.extend_from_slice(salt);
            data.push(next.len() as u8);
            data.extend_from_slice(next);
            data.extend_from_slice(&bitmap(types));
            chain.push(Span {
                owner: self.apex.below(&base32(hash)),
                rtype: NSEC3,
                data,
                key: Name(vec![hash.clone()]),
            });
        }
        chain
    }
}

/// A set as records with signatures.
fn records(owner: &Name, rtype: u16, set: &Set, signatures: Vec<Vec<u8>>) -> Vec<Record> {
    let record = |rtype, data| Record {
        owner: owner.wire(),
        rtype,
        ttl: set.ttl,
        data,
    };
    let data = set.data.iter().map(|data| record(rtype, data.clone()));
    let signatures = signatures.into_iter().map(|data| record(RRSIG, data));
    data.chain(signatures).collect()
}

/// What goes into a signature beside the records.
pub(crate) struct Signing<'a> {
    pub(crate) key: &'a Key,
    pub(crate) tag: u16,
    pub(crate) signer: &'a Name,
    /// The count of labels, if it is not the true one.
    pub(crate) labels: Option<u8>,
    pub(crate) validity: Validity,
}

impl Signing<'_> {
    /// The data of an RRSIG record: RFC 4034, Section 3.1.8.1.
    pub(crate) fn rrsig(&self, owner: &Name, rtype: u16, set: &Set) -> Vec<u8> {
        let true_labels = owner.len() - usize::from(owner.is_wildcard());
        let labels = self.labels.unwrap_or(true_labels as u8);
        let mut rrsig = rtype.to_be_bytes().to_vec();
        rrsig.extend_from_slice(&[self.key.algorithm, labels]);
        rrsig.extend_from_slice(&set.ttl.to_be_bytes());
        rrsig.extend_from_slice(&self.validity.expiration.to_be_bytes());
        rrsig.extend_from_slice(&self.validity.inception.to_be_bytes());
        rrsig.extend_from_slice(&self.tag.to_be_bytes());
        rrsig.extend_from_slice(&self.signer.wire());
        let signed_owner = if usize::from(labels) < true_labels {
            owner.suffix(usize::from(labels)).wildcard()
        } else {
            owner.clone()
        };
        let mut message = rrsig.clone();
        let mut data: Vec<Vec<u8>> = set.data.iter().map(|data| canonical(rtype, data)).collect();
        data.sort();
        data.dedup();
        for data in data {
            message.extend_from_slice(&signed_owner.wire());
            message.extend_from_slice(&rtype.to_be_bytes());
            message.extend_from_slice(&[0, 1]);
            message.extend_from_slice(&set.ttl.to_be_bytes());
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(&data);
        }
        rrsig.extend_from_slice(&self.key.sign(&message));
        rrsig
    }
}

/// Record data in canonical form: RFC 4034, Section 6.2.
pub(crate) fn canonical(rtype: u16, data: &[u8]) -> Vec<u8> {
    match rtype {
        NS | CNAME | DNAME => data.to_ascii_lowercase(),
        MX => {
            let (preference, host) = data.split_at(2.min(data.len()));
            [preference, &host.to_ascii_lowercase()].concat()
        }
        SOA => {
            let (names, numbers) = data.split_at(data.len().saturating_sub(20));
            [&names.to_ascii_lowercase(), numbers].concat()
        }
        _ => data.to_vec(),
    }
}

/// A type bitmap: RFC 4034, Section 4.1.2.
pub(crate) fn bitmap(types: &BTreeSet<u16>) -> Vec<u8> {
    let mut windows: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for rtype in types {
        let [window, low] = rtype.to_be_bytes();
        let octets = windows.entry(window).or_default();
        let at = usize::from(low / 8);
        octets.resize(octets.len().max(at + 1), 0);
        octets[at] |= 0x80 >> (low % 8);
    }
    let mut map = Vec::new();
    for (window, octets) in windows {
        map.extend_from_slice(&[window, octets.len() as u8]);
        map.extend_from_slice(&octets);
    }
    map
}

/// RFC 5155, Section 5.
fn nsec3_hash(name: &Name, salt: &[u8], iterations: u16) -> Vec<u8> {
    let mut hash = name.wire();
    for _ in 0..=iterations {
        hash.extend_from_slice(salt);
        hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &hash)
            .as_ref()
            .to_vec();
    }
    hash
}

/// RFC 4648, Section 7, for 20 octets.
fn base32(octets: &[u8]) -> Vec<u8> {
    octets
        .chunks(5)
        .flat_map(|chunk| {
            let bits = chunk
                .iter()
                .fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
            (0..8).rev().map(move |at| {
                b"0123456789abcdefghijklmnopqrstuv"[(bits >> (5 * at) & 31) as usize]
            })
        })
        .collect()
}

/// The TTL of denials in seconds.
const DENIAL_TTL: u32 = 300;

/// SOA data of which only the last number matters.
pub(crate) fn soa(apex: &Name) -> Vec<u8> {
    let mut data = apex.below(b"ns").wire();
    data.extend_from_slice(&apex.below(b"hostmaster").wire());
    for number in [1u32, 7200, 3600, 1_209_600, DENIAL_TTL] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    data
}

/// RFC 5155, Section 4.2.
pub(crate) fn nsec3param(denial: &Denial) -> Option<Vec<u8>> {
    let Denial::Nsec3 {
        salt, iterations, ..
    } = denial
    else {
        return None;
    };
    let mut data = vec![1, 0];
    data.extend_from_slice(&iterations.to_be_bytes());
    data.push(salt.len() as u8);
    data.extend_from_slice(salt);
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_rfc_5155_appendix_a() {
        for (labels, hash) in [
            (&["example"][..], "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            (&["a", "example"], "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            (&["*", "w", "example"], "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ] {
            let name = Name(
                labels
                    .iter()
                    .map(|label| label.as_bytes().to_vec())
                    .collect(),
            );
            let found = base32(&nsec3_hash(&name, &[0xaa, 0xbb, 0xcc, 0xdd], 12));
            assert_eq!(found, hash.as_bytes(), "{name}");
        }
    }

    #[test]
    fn a_bitmap_has_a_window_for_each_256_types() {
        // RFC 4034, Section 4.3: A MX RRSIG NSEC TYPE1234.
        let mut expected = vec![0, 6, 0x40, 0x01, 0, 0, 0, 0x03, 4, 27];
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(bitmap(&BTreeSet::from([1, 15, 46, 47, 1234])), expected);
    }
}
