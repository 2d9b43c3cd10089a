//! Random trees of zones: root, top-level domains, zones below them.

use byrnie_base::UnixTime;

use crate::key;
use crate::key::Keys;
use crate::message::A;
use crate::message::AAAA;
use crate::message::CNAME;
use crate::message::DNAME;
use crate::message::DNSKEY;
use crate::message::DS;
use crate::message::MX;
use crate::message::NS;
use crate::message::NSEC3PARAM;
use crate::message::SOA;
use crate::message::TLSA;
use crate::message::TXT;
use crate::name::Name;
use crate::zone;
use crate::zone::Denial;
use crate::zone::Security;
use crate::zone::Validity;
use crate::zone::Zone;
use crate::zone::ZoneKey;

/// All zones of one case, the root first.
pub(crate) struct Tree {
    pub(crate) zones: Vec<Zone>,
    /// Whether positive answers bring the zone's NS records along.
    pub(crate) authority_ns: bool,
}

impl Tree {
    /// The zone that answers for a name; for DS records the one above a cut.
    pub(crate) fn zone_for(&self, name: &Name, rtype: u16) -> &Zone {
        self.zones
            .iter()
            .filter(|zone| name.ends_with(&zone.apex))
            .filter(|zone| rtype != DS || zone.apex != *name || name.len() == 0)
            .max_by_key(|zone| zone.apex.len())
            .expect("the root is above every name")
    }

    /// A tree with nothing but the root.
    pub(crate) fn root(keys: &Keys, now: UnixTime) -> Self {
        let validity = Validity {
            inception: seconds(now) - 10 * DAY,
            expiration: seconds(now) + 10 * DAY,
        };
        let key = ZoneKey {
            key: keys.root(),
            flags: KSK,
            signs_keys: true,
            signs_data: true,
        };
        let mut root = Zone::new(
            Name::root(),
            vec![key],
            Denial::NsecOfSelf,
            Security::Secure,
            validity,
        );
        set_apex(&mut root, 86_400);
        Self {
            zones: vec![root],
            authority_ns: false,
        }
    }

    /// A random tree whose top-level domains bear the number of the case.
    pub(crate) fn random(
        random: &mut fastrand::Rng,
        keys: &Keys,
        number: u64,
        now: UnixTime,
    ) -> Self {
        let mut tree = Self::root(keys, now);
        tree.authority_ns = random.u8(..4) == 0;
        let mut maker = Maker {
            random,
            keys,
            now,
            tree,
        };
        maker.add_zone(0, &[format!("c{number}").into_bytes()]);
        if maker.random.u8(..5) == 0 {
            maker.add_zone(0, &[format!("d{number}").into_bytes()]);
        }
        for _ in 0..maker.random.u8(1..5) {
            let parent = maker.random.usize(1..maker.tree.zones.len());
            let label = format!("s{}", maker.tree.zones.len()).into_bytes();
            let label = if maker.random.u8(..8) == 0 {
                [label.as_slice(), &[0, 0xff, b'.']].concat()
            } else {
                label
            };
            let labels = match maker.random.u8(..6) {
                0 => vec![label, b"ent".to_vec()],
                _ => vec![label],
            };
            maker.add_zone(parent, &labels);
        }
        maker.fill();
        maker.tree
    }

    /// Every name that has records, from the top-level domains down.
    pub(crate) fn names(&self) -> Vec<Name> {
        let zones = self.zones.iter().skip(1);
        zones.flat_map(|zone| zone.sets.keys().cloned()).collect()
    }
}

/// What makes a tree.
struct Maker<'a> {
    random: &'a mut fastrand::Rng,
    keys: &'a Keys,
    now: UnixTime,
    tree: Tree,
}

impl Maker<'_> {
    /// Adds a zone below another one, with its delegation.
    fn add_zone(&mut self, parent: usize, labels: &[Vec<u8>]) {
        let mut apex = self.tree.zones[parent].apex.clone();
        for label in labels.iter().rev() {
            apex = apex.below(label);
        }
        let parent_is_secure = self.tree.zones[parent].security;
        let kind = self.random.u8(..100);
        let keys = match kind {
            0..10 => Vec::new(),
            10..15 => self.unsupported_keys(),
            _ => self.zone_keys(),
        };
        // DS records: none for an island; of a digest that nobody supports.
        let ds = match kind {
            0..10 | 15..20 => Vec::new(),
            20..23 => self.ds(&apex, &keys, &[77]),
            _ => {
                let digests = self.digests();
                self.ds(&apex, &keys, digests)
            }
        };
        let security = match kind {
            0..23 => Security::Insecure,
            _ => parent_is_secure,
        };
        let denial = self.denial();
        let validity = Validity {
            inception: seconds(self.now) - self.random.u32(2 * DAY..30 * DAY),
            expiration: seconds(self.now) + self.random.u32(2 * DAY..30 * DAY),
        };
        let ttl = self.ttl();
        let mut zone = Zone::new(apex.clone(), keys, denial, security, validity);
        set_apex(&mut zone, ttl);
        self.tree.zones.push(zone);
        let parent = &mut self.tree.zones[parent];
        parent.set(&apex, NS, ttl, vec![apex.below(b"ns").wire()]);
        if !ds.is_empty() {
            parent.set(&apex, DS, ttl, ds);
        }
    }

    /// Keys that work, in one of the arrangements that are met.
    fn zone_keys(&mut self) -> Vec<ZoneKey> {
        let first = self.keys.any(self.random);
        let other = |flags, signs_keys, signs_data, key| ZoneKey {
            key,
            flags,
            signs_keys,
            signs_data,
        };
        let mut keys = vec![other(KSK, true, true, first.clone())];
        match self.random.u8(..100) {
            0..45 => {}
            // A key-signing key and a zone-signing key.
            45..65 => {
                keys[0].signs_data = false;
                let mut zone_key = self.keys.any(self.random);
                for _ in 0..20 {
                    if zone_key.algorithm == first.algorithm {
                        break;
                    }
                    zone_key = self.keys.any(self.random);
                }
                keys.push(other(ZSK, false, true, zone_key));
            }
            // Two that do everything, often of two algorithms.
            65..78 => keys.push(other(KSK, true, true, self.keys.any(self.random))),
            // One that is published ahead.
            78..86 => keys.push(other(KSK, false, false, self.keys.any(self.random))),
            // One that has been revoked and says so: RFC 5011, Section 2.1.
            86..90 => keys.push(other(
                KSK | REVOKED,
                true,
                false,
                self.keys.any(self.random),
            )),
            // One that is no zone key, which yet signs.
            90..94 => keys.push(other(0, true, true, self.keys.any(self.random))),
            // One of an unknown algorithm, which signs, too.
            _ => keys.push(other(KSK, true, true, self.keys.unsupported(self.random))),
        }
        // The same key may have been drawn twice.
        keys.dedup_by(|one, two| one.dnskey() == two.dnskey());
        if self.random.bool() {
            keys.reverse();
        }
        keys
    }

    /// Keys of algorithms that nobody supports.
    fn unsupported_keys(&mut self) -> Vec<ZoneKey> {
        vec![ZoneKey {
            key: self.keys.unsupported(self.random),
            flags: KSK,
            signs_keys: true,
            signs_data: true,
        }]
    }

    /// The digests of DS records.
    fn digests(&mut self) -> &'static [u8] {
        match self.random.u8(..20) {
            0..12 => &[2],
            12..14 => &[4],
            14..16 => &[1],
            16..18 => &[1, 2],
            18 => &[2, 4],
            _ => &[2, 99],
        }
    }

    /// DS records for all keys that may vouch for others, and sometimes for one that is yet to come.
    fn ds(&mut self, apex: &Name, keys: &[ZoneKey], digests: &[u8]) -> Vec<Vec<u8>> {
        let mut dnskeys: Vec<Vec<u8>> = keys
            .iter()
            .filter(|key| key.flags == KSK)
            .map(ZoneKey::dnskey)
            .collect();
        let works = keys
            .iter()
            .any(|key| key.flags == KSK && !key.key.is_unsupported());
        if works && self.random.u8(..10) == 0 {
            dnskeys.push(self.keys.any(self.random).dnskey(KSK));
        }
        if digests != [77] && self.random.u8(..20) == 0 {
            dnskeys.push(self.keys.unsupported(self.random).dnskey(KSK));
        }
        let mut ds: Vec<Vec<u8>> = dnskeys
            .iter()
            .flat_map(|dnskey| digests.iter().map(|digest| key::ds(apex, dnskey, *digest)))
            .collect();
        self.random.shuffle(&mut ds);
        ds
    }

    /// A way of denying.
    fn denial(&mut self) -> Denial {
        if self.random.bool() {
            return Denial::Nsec;
        }
        let salt_octets = *self.random.choice(&[0, 0, 1, 8]).expect("not empty");
        Denial::Nsec3 {
            salt: (0..salt_octets).map(|_| self.random.u8(..)).collect(),
            iterations: match self.random.u8(..20) {
                0..12 => 0,
                12..17 => self.random.u16(1..20),
                17..19 => *self.random.choice(&[149, 150, 151]).expect("not empty"),
                _ => 500,
            },
            opt_out: self.random.u8(..3) == 0,
        }
    }

    /// A TTL.
    fn ttl(&mut self) -> u32 {
        *self
            .random
            .choice(&[5, 60, 300, 3600, 86_400, 604_800])
            .expect("not empty")
    }

    /// Puts records into the zones.
    fn fill(&mut self) {
        for at in 1..self.tree.zones.len() {
            let apex = self.tree.zones[at].apex.clone();
            let mut labels = LABELS.to_vec();
            self.random.shuffle(&mut labels);
            for label in labels.into_iter().take(self.random.usize(1..6)) {
                let name = apex.below(label);
                self.fill_name(at, &name);
            }
            for rtype in [TXT, MX] {
                if self.random.u8(..3) == 0 {
                    self.add_set(at, &apex.clone(), rtype);
                }
            }
        }
        // Aliases come last, when there is something to point at.
        for at in 1..self.tree.zones.len() {
            for label in [&b"alias"[..], b"alias2"] {
                if self.random.u8(..2) == 0 {
                    self.fill_alias(at, label);
                }
            }
        }
    }

    /// Puts records at, above or below a name.
    fn fill_name(&mut self, at: usize, name: &Name) {
        match self.random.u8(..12) {
            0..6 => {}
            6 => return self.fill_name(at, &name.below(b"x").below(b"deep")),
            7..10 => return self.add_set(at, &name.wildcard(), TXT),
            10 => {
                self.add_set(at, &name.below(b"*"), MX);
                return self.add_set(at, &name.below(b"here"), A);
            }
            // An asterisk that is no wildcard.
            _ => return self.add_set(at, &name.wildcard().below(b"inner"), A),
        }
        for rtype in [A, AAAA, TXT, MX, UNKNOWN_TYPE] {
            if self.random.u8(..3) == 0 {
                self.add_set(at, name, rtype);
            }
        }
        if self.random.u8(..3) == 0 {
            self.add_set(at, &name.below(b"_tcp").below(b"_25"), TLSA);
        }
        if !self.tree.zones[at].exists(name) {
            self.add_set(at, name, A);
        }
    }

    /// Puts a CNAME or DNAME into a zone.
    fn fill_alias(&mut self, at: usize, label: &[u8]) {
        let apex = self.tree.zones[at].apex.clone();
        let names = self.tree.names();
        let mut target = self.random.choice(&names).expect("there are names").clone();
        if self.random.u8(..4) == 0 {
            target = target.below(b"not");
        }
        let (owner, rtype) = match self.random.u8(..6) {
            0 => (apex.below(b"dn").below(label), DNAME),
            1 => (apex.below(label).wildcard(), CNAME),
            _ => (apex.below(label), CNAME),
        };
        if rtype == DNAME {
            let zones = &self.tree.zones;
            target = zones[self.random.usize(1..zones.len())].apex.clone();
        }
        let mut wire = target.wire();
        if self.random.u8(..4) == 0 {
            wire.make_ascii_uppercase();
        }
        let ttl = self.ttl();
        self.tree.zones[at].set(&owner, rtype, ttl, vec![wire]);
    }

    /// Puts a set of one type at a name.
    fn add_set(&mut self, at: usize, owner: &Name, rtype: u16) {
        let count = self.random.usize(1..4);
        let mut data: Vec<Vec<u8>> = (0..count).map(|_| self.data(owner, rtype)).collect();
        data.sort();
        data.dedup();
        self.random.shuffle(&mut data);
        let ttl = self.ttl();
        self.tree.zones[at].set(owner, rtype, ttl, data);
    }

    /// Data of a type.
    fn data(&mut self, owner: &Name, rtype: u16) -> Vec<u8> {
        let random = &mut *self.random;
        let mut octets = |count: usize| -> Vec<u8> { (0..count).map(|_| random.u8(..)).collect() };
        match rtype {
            A => octets(4),
            AAAA => octets(16),
            TXT => [vec![9], octets(9)].concat(),
            MX => {
                let mut data = vec![0];
                data.extend(octets(1));
                data.extend(owner.below(b"Mx").wire());
                if data[1] % 4 == 0 {
                    data[2..].make_ascii_uppercase();
                }
                data
            }
            TLSA => [vec![3, 1, 1], octets(32)].concat(),
            _ => octets(7),
        }
    }
}

/// Adds what every zone has at its apex.
fn set_apex(zone: &mut Zone, ttl: u32) {
    let apex = zone.apex.clone();
    zone.set(&apex, SOA, ttl, vec![zone::soa(&apex)]);
    zone.set(&apex, NS, ttl, vec![apex.below(b"ns").wire()]);
    if zone.keys.is_empty() {
        return;
    }
    let dnskeys = zone.keys.iter().map(ZoneKey::dnskey).collect();
    zone.set(&apex, DNSKEY, ttl, dnskeys);
    if let Some(data) = zone::nsec3param(&zone.denial) {
        zone.set(&apex, NSEC3PARAM, ttl, vec![data]);
    }
}

/// The time as signatures have it.
pub(crate) fn seconds(now: UnixTime) -> u32 {
    now.0 as u32
}

/// In seconds.
pub(crate) const DAY: u32 = 86_400;

/// Zone key and secure entry point: RFC 4034, Section 2.1.1.
pub(crate) const KSK: u16 = 257;

/// Zone key.
pub(crate) const ZSK: u16 = 256;

/// RFC 5011, Section 7.
pub(crate) const REVOKED: u16 = 0x80;

/// A type that nobody knows: RFC 3597.
pub(crate) const UNKNOWN_TYPE: u16 = 65_280;

/// First labels of names, odd ones among them.
const LABELS: [&[u8]; 12] = [
    b"www",
    b"mx",
    b"a",
    b"zzz",
    b"wild",
    b"-",
    b"\x00",
    b"\x01\x02",
    b"\xff\xfe",
    b"a b",
    b"dot.ted",
    b"long-long-long-long-long-long-long-long-long-long-long-long-63x",
];
