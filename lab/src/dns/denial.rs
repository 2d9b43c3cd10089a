//! Proof that something does not exist: NSEC (RFC 4034) and NSEC3 (RFC 5155).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use aws_lc_rs::digest;
use domain::base::Name;
use domain::base::Rtype;

use super::RecordSet;
use super::record::parent;
use super::record::prefixed;
use super::zones::NEGATIVE_TTL;
use super::zones::Zone;

/// How a zone proves absence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denial {
    /// By the names that do exist.
    Nsec,
    /// By their hashes.
    Nsec3 {
        /// Additional rounds; RFC 9276 asks for 0.
        iterations: u16,
        /// Whether unsigned delegations are left out.
        opt_out: OptOut,
    },
}

/// Whether unsigned delegations are left out of the NSEC3 chain: RFC 5155, Section 6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OptOut {
    /// Every name is in the chain.
    No,
    /// Unsigned delegations are not, and nothing can be proven about them.
    Yes,
}

impl Zone {
    /// Proves that `name` exists and `rtype` does not exist there.
    pub(super) fn prove_no_data(
        &self,
        denial: Denial,
        name: &Name<Vec<u8>>,
    ) -> BTreeMap<Name<Vec<u8>>, RecordSet> {
        let mut proof = Proof::new(self, denial);
        match denial {
            Denial::Nsec if self.has_records(name) => proof.nsec_matching(name),
            // An empty non-terminal has no NSEC of its own.
            Denial::Nsec => proof.nsec_covering(name),
            Denial::Nsec3 { .. } => {
                if !proof.nsec3_matching(name) {
                    // An unsigned delegation under opt-out: RFC 5155, Section 7.2.4.
                    proof.nsec3_closest_encloser(name);
                }
            }
        }
        proof.links
    }

    /// Proves that `name` does not exist and that no wildcard stands for it.
    pub(super) fn prove_no_name(
        &self,
        denial: Denial,
        name: &Name<Vec<u8>>,
    ) -> BTreeMap<Name<Vec<u8>>, RecordSet> {
        let mut proof = Proof::new(self, denial);
        let encloser = self.closest_encloser(name);
        let wildcard = prefixed(b"*", &encloser);
        match denial {
            Denial::Nsec => {
                proof.nsec_covering(name);
                if let Some(wildcard) = wildcard {
                    proof.nsec_covering(&wildcard);
                }
            }
            Denial::Nsec3 { .. } => {
                proof.nsec3_closest_encloser(name);
                if let Some(wildcard) = wildcard {
                    proof.nsec3_covering(&wildcard);
                }
            }
        }
        proof.links
    }

    /// Proves that no name stands between a wildcard and the `name` made from it.
    pub(super) fn prove_wildcard(
        &self,
        denial: Denial,
        name: &Name<Vec<u8>>,
    ) -> BTreeMap<Name<Vec<u8>>, RecordSet> {
        let mut proof = Proof::new(self, denial);
        match denial {
            Denial::Nsec => proof.nsec_covering(name),
            Denial::Nsec3 { .. } => {
                proof.nsec3_covering(&next_closer(name, &self.closest_encloser(name)));
            }
        }
        proof.links
    }

    /// Proves that the wildcard which stands for `name` has no records of the type.
    pub(super) fn prove_wildcard_no_data(
        &self,
        denial: Denial,
        name: &Name<Vec<u8>>,
        wildcard: &Name<Vec<u8>>,
    ) -> BTreeMap<Name<Vec<u8>>, RecordSet> {
        let mut proof = Proof::new(self, denial);
        match denial {
            Denial::Nsec => {
                proof.nsec_covering(name);
                proof.nsec_matching(wildcard);
            }
            Denial::Nsec3 { .. } => {
                proof.nsec3_closest_encloser(name);
                proof.nsec3_matching(wildcard);
            }
        }
        proof.links
    }
}

/// Collects the links of one proof.
struct Proof<'a> {
    /// The zone that proves.
    zone: &'a Zone,
    /// NSEC3 parameters; no matter for NSEC.
    iterations: u16,
    /// NSEC3 parameters; no matter for NSEC.
    opt_out: OptOut,
    /// For NSEC3: hash to the name it stands for.
    hashes: BTreeMap<[u8; 20], Name<Vec<u8>>>,
    /// By owner, so that no link is sent twice.
    links: BTreeMap<Name<Vec<u8>>, RecordSet>,
}

impl<'a> Proof<'a> {
    fn new(zone: &'a Zone, denial: Denial) -> Self {
        let (iterations, opt_out) = match denial {
            Denial::Nsec => (0, OptOut::No),
            Denial::Nsec3 {
                iterations,
                opt_out,
            } => (iterations, opt_out),
        };
        let hashes = match denial {
            Denial::Nsec => BTreeMap::new(),
            Denial::Nsec3 { .. } => chain_names(zone, opt_out)
                .into_iter()
                .map(|name| (nsec3_hash(&name, iterations), name))
                .collect(),
        };
        Self {
            zone,
            iterations,
            opt_out,
            hashes,
            links: BTreeMap::new(),
        }
    }

    /// Adds the NSEC record of `name` itself.
    fn nsec_matching(&mut self, name: &Name<Vec<u8>>) {
        let next = self
            .zone
            .names()
            .find(|other| *other > name)
            .unwrap_or(&self.zone.apex);
        let mut data = next.as_slice().to_vec();
        let mut types = self.zone.types_for_denial(name);
        types.extend([Rtype::RRSIG, Rtype::NSEC]);
        data.extend(bitmap(&types));
        let set = RecordSet::new(Rtype::NSEC, NEGATIVE_TTL, vec![data]);
        self.links.insert(name.clone(), set);
    }

    /// Adds the NSEC record of the last name before `name`.
    fn nsec_covering(&mut self, name: &Name<Vec<u8>>) {
        let before = self.zone.names().filter(|other| *other < name).last();
        let owner = before.unwrap_or(&self.zone.apex).clone();
        self.nsec_matching(&owner);
    }

    /// Adds the NSEC3 record of `name` itself, if the chain has it.
    fn nsec3_matching(&mut self, name: &Name<Vec<u8>>) -> bool {
        let hash = nsec3_hash(name, self.iterations);
        let found = self.hashes.contains_key(&hash);
        if found {
            self.nsec3_at(hash);
        }
        found
    }

    /// Adds the NSEC3 record whose span has the hash of `name` in it.
    fn nsec3_covering(&mut self, name: &Name<Vec<u8>>) {
        let hash = nsec3_hash(name, self.iterations);
        let before = self.hashes.range(..hash).next_back();
        let owner = before.or_else(|| self.hashes.last_key_value());
        if let Some((owner, _)) = owner {
            self.nsec3_at(*owner);
        }
    }

    /// RFC 5155, Section 7.2.1: the closest encloser that is in the chain, and the next closer name
    /// that is not.
    fn nsec3_closest_encloser(&mut self, name: &Name<Vec<u8>>) {
        let mut closer = name.clone();
        while let Some(encloser) = parent(&closer) {
            if self.nsec3_matching(&encloser) {
                self.nsec3_covering(&closer);
                return;
            }
            closer = encloser;
        }
    }

    /// Adds the NSEC3 record with this hash.
    fn nsec3_at(&mut self, hash: [u8; 20]) {
        let after = (
            std::ops::Bound::Excluded(hash),
            std::ops::Bound::Unbounded::<[u8; 20]>,
        );
        let next = self.hashes.range(after).next();
        let next = next.or_else(|| self.hashes.first_key_value());
        let (Some((next, _)), Some(name)) = (next, self.hashes.get(&hash)) else {
            return;
        };
        let mut data = vec![NSEC3_SHA1, u8::from(self.opt_out == OptOut::Yes)];
        data.extend_from_slice(&self.iterations.to_be_bytes());
        data.push(0);
        data.push(20);
        data.extend_from_slice(next);
        let mut types = self.zone.types_for_denial(name);
        if !types.is_empty() && types != [Rtype::NS] {
            types.push(Rtype::RRSIG);
        }
        data.extend(bitmap(&types));
        if let Some(owner) = prefixed(base32hex(&hash).as_bytes(), &self.zone.apex) {
            let set = RecordSet::new(Rtype::NSEC3, NEGATIVE_TTL, vec![data]);
            self.links.insert(owner, set);
        }
    }
}

/// Every name that the NSEC3 chain speaks of: those with records, and the empty ones between.
fn chain_names(zone: &Zone, opt_out: OptOut) -> BTreeSet<Name<Vec<u8>>> {
    let mut names = BTreeSet::new();
    for name in zone.names() {
        if opt_out == OptOut::Yes && zone.is_unsigned_delegation(name) {
            continue;
        }
        let mut at = Some(name.clone());
        while let Some(name) = at {
            let above = parent(&name).filter(|_| name != zone.apex);
            names.insert(name);
            at = above;
        }
    }
    names
}

/// `encloser` and one label more of `name`.
fn next_closer(name: &Name<Vec<u8>>, encloser: &Name<Vec<u8>>) -> Name<Vec<u8>> {
    let mut closer = name.clone();
    while let Some(above) = parent(&closer) {
        if above == *encloser {
            break;
        }
        closer = above;
    }
    closer
}

/// The type bit maps field: RFC 4034, Section 4.1.2.
fn bitmap(types: &[Rtype]) -> Vec<u8> {
    let mut windows: BTreeMap<u8, [u8; 32]> = BTreeMap::new();
    for rtype in types {
        let [window, low] = rtype.to_int().to_be_bytes();
        let map = windows.entry(window).or_insert([0; 32]);
        if let Some(octet) = map.get_mut(usize::from(low / 8)) {
            *octet |= 0x80 >> (low % 8);
        }
    }
    let mut wire = Vec::new();
    for (window, map) in windows {
        let used = map.iter().rposition(|octet| *octet != 0);
        let octets = map.get(..=used.unwrap_or(0)).unwrap_or_default();
        wire.push(window);
        wire.push(u8::try_from(octets.len()).unwrap_or_default());
        wire.extend_from_slice(octets);
    }
    wire
}

/// RFC 5155, Section 5, without salt.
fn nsec3_hash(name: &Name<Vec<u8>>, iterations: u16) -> [u8; 20] {
    let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let mut hash = digest::digest(sha1, name.as_slice());
    for _ in 0..iterations {
        hash = digest::digest(sha1, hash.as_ref());
    }
    <[u8; 20]>::try_from(hash.as_ref()).unwrap_or_default()
}

/// Base 32 with the extended hex alphabet, without padding, lower-case: RFC 4648, Section 7.
fn base32hex(octets: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0u32, 0u32);
    for octet in octets {
        bits = (bits << 8) | u32::from(*octet);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.extend(char::from_digit((bits >> count) & 31, 32));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        text.extend(char::from_digit((bits << (5 - count)) & 31, 32));
    }
    text
}

/// RFC 5155, Section 11.
const NSEC3_SHA1: u8 = 1;

#[cfg(test)]
mod tests {
    use super::super::dns_name;
    use super::*;

    #[test]
    fn base32hex_agrees_with_rfc_4648() {
        for (octets, text) in [
            ("", ""),
            ("f", "co"),
            ("fo", "cpng"),
            ("foo", "cpnmu"),
            ("foob", "cpnmuog"),
            ("fooba", "cpnmuoj1"),
            ("foobar", "cpnmuoj1e8"),
        ] {
            assert_eq!(base32hex(octets.as_bytes()), text);
        }
    }

    #[test]
    fn a_hash_without_salt_is_sha1_of_the_wire_form() {
        let root = dns_name(".").unwrap();
        let expected = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[0]);
        assert_eq!(nsec3_hash(&root, 0), expected.as_ref());
    }

    #[test]
    fn a_bitmap_has_a_window_for_each_block_of_256_types() {
        // RFC 4034, Section 4.3: A, MX, RRSIG, NSEC and TYPE1234.
        let types = [Rtype::A, Rtype::MX, Rtype::RRSIG, Rtype::NSEC];
        let mut all = types.to_vec();
        all.push(Rtype::from_int(1234));
        let mut expected = vec![0, 6, 0x40, 0x01, 0, 0, 0, 0x03, 4, 27];
        expected.extend([0; 26]);
        expected.push(0x20);
        assert_eq!(bitmap(&all), expected);
    }
}
