//! A signed name space that is the same in every run, and what an honest resolver says about it.
//!
//! Its keys come from fixed seeds and Ed25519 signs without chance, so that an input means the same
//! for ever. Whatever a validation calls secure must be in here.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the name space is written in this file, and its tests would be the first to fail"
)]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use byrnie_base::UnixTime;
use byrnie_dnssec::Question;
use byrnie_dnssec::TrustAnchors;
use bytes::Bytes;
use domain::base::MessageBuilder;
use domain::base::Name;
use domain::base::StaticCompressor;
use domain::base::Ttl;
use domain::base::iana::Class;
use domain::base::iana::Rcode;
use domain::base::iana::Rtype;
use domain::base::name::FlattenInto;
use domain::base::rdata::ComposeRecordData;
use domain::base::rdata::UnknownRecordData;
use domain::rdata::ZoneRecordData;
use domain::utils::base32;
use domain::zonefile::inplace::Entry;
use domain::zonefile::inplace::Zonefile;

/// The time at which everything happens, unless an input moves it.
pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);

/// The zone that belongs to the attacker: it is signed like any other, by whoever writes the input.
pub(super) const EVIL: &str = "evil.";

/// The name space.
pub(super) static TREE: LazyLock<Tree> = LazyLock::new(Tree::new);

/// A record with its data as on the wire, without compression.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) owner: Name<Bytes>,
    pub(super) rtype: Rtype,
    pub(super) ttl: u32,
    pub(super) data: Bytes,
}

/// A name space: zones, with the root first.
pub(super) struct Tree {
    pub(super) zones: Vec<Zone>,
}

/// What is true about a name and a type.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Truth {
    /// These records are signed.
    Data(Vec<Bytes>),
    /// Neither records nor a proof: another name stands for this one.
    Elsewhere,
    /// The attacker says.
    Evil,
    /// The name exists, without such records.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The chain of trust ends above.
    Unsigned,
}

impl Tree {
    /// Builds and signs the zones; the DS records of each go to the zone above.
    fn new() -> Self {
        let mut zones: Vec<Zone> = ZONES
            .iter()
            .zip(1..)
            .map(|((apex, kind, text), seed)| Zone::new(apex, *kind, text, seed))
            .collect();
        for child in 1..zones.len() {
            let (apex, ds) = (zones[child].apex.clone(), zones[child].ds());
            let parent = (0..zones.len())
                .filter(|at| zones[*at].apex != apex && apex.ends_with(&zones[*at].apex))
                .max_by_key(|at| zones[*at].apex.label_count())
                .expect("everything is below the root");
            let ns = Bytes::copy_from_slice(apex.as_slice());
            zones[parent].add(&apex, Rtype::NS, 3_600, ns);
            if let Some(ds) = ds {
                zones[parent].add(&apex, Rtype::DS, 3_600, ds);
            }
        }
        for zone in &mut zones {
            zone.sign();
        }
        Self { zones }
    }

    /// The root's key.
    pub(super) fn anchors(&self) -> TrustAnchors {
        let root = &self.zones[0];
        let ds = root.ds().expect("the root is signed");
        let tag = u16::from_be_bytes([ds[0], ds[1]]);
        let digest: String = ds[4..].iter().map(|octet| format!("{octet:02x}")).collect();
        TrustAnchors::parse(&format!(". IN DS {tag} {} 2 {digest}", ds[2]))
            .expect("the digest of a key is an anchor")
    }

    /// The zone with this apex.
    pub(super) fn zone(&self, apex: &str) -> &Zone {
        let apex = name(apex);
        let zone = self.zones.iter().find(|zone| zone.apex == apex);
        zone.expect("the zone is one of this file")
    }

    /// What an honest resolver replies.
    pub(super) fn reply(&self, question: &Question) -> Reply {
        let mut reply = Reply::default();
        let mut current = question.name.clone();
        for _ in 0..HOPS_MAX {
            let zone = self.zone_for(&current, question.rtype);
            let Some(next) = zone.answer(&current, question.rtype, &mut reply) else {
                break;
            };
            current = next;
        }
        reply
    }

    /// What is true about a name and a type, by the zones' contents alone.
    pub(super) fn truth(&self, owner: &Name<Bytes>, rtype: Rtype) -> Truth {
        let zone = self.zone_for(owner, rtype);
        match zone.kind {
            Kind::Evil => return Truth::Evil,
            Kind::Unsigned | Kind::UnknownAlgorithm => return Truth::Unsigned,
            Kind::Nsec | Kind::Nsec3 | Kind::OptOut => {}
        }
        if let Some((_, target)) = zone.dname_above(owner) {
            // The CNAME that follows from a DNAME is as true as that.
            let target = target.filter(|_| rtype == Rtype::CNAME);
            return target.map_or(Truth::Elsewhere, |target| {
                Truth::Data(vec![target.into_octets()])
            });
        }
        let is_left_out =
            zone.is_cut(owner) && !zone.sets.contains_key(&(owner.clone(), Rtype::DS));
        let source = zone.source(owner);
        let Some((source, _)) = source.filter(|_| zone.kind != Kind::OptOut || !is_left_out) else {
            return if zone.kind == Kind::OptOut {
                Truth::Unsigned
            } else {
                Truth::NxDomain
            };
        };
        if let Some(set) = zone.sets.get(&(source.clone(), rtype)) {
            return Truth::Data(set.iter().map(|record| record.data.clone()).collect());
        }
        if zone.sets.contains_key(&(source, Rtype::CNAME)) {
            return Truth::Elsewhere;
        }
        Truth::NoData
    }

    /// The zone that answers for a name; for DS records the one above a cut.
    fn zone_for(&self, owner: &Name<Bytes>, rtype: Rtype) -> &Zone {
        self.zones
            .iter()
            .filter(|zone| owner.ends_with(&zone.apex))
            .filter(|zone| rtype != Rtype::DS || zone.apex != *owner || owner.is_root())
            .max_by_key(|zone| zone.apex.label_count())
            .expect("everything is below the root")
    }
}

/// How a zone is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// By the attacker; otherwise as with [`Nsec`](Self::Nsec).
    Evil,
    /// With NSEC records.
    Nsec,
    /// With NSEC3 records.
    Nsec3,
    /// With NSEC3 records that leave out unsigned delegations.
    OptOut,
    /// With a DS record of an algorithm that nobody knows.
    UnknownAlgorithm,
    /// Not at all.
    Unsigned,
}

/// A zone with its signatures.
pub(super) struct Zone {
    pub(super) apex: Name<Bytes>,
    pub(super) kind: Kind,
    pub(super) key: Key,
    sets: BTreeMap<(Name<Bytes>, Rtype), Vec<Record>>,
    signatures: BTreeMap<(Name<Bytes>, Rtype), Record>,
}

impl Zone {
    /// A zone with the given records; SOA and NS are added.
    fn new(apex: &str, kind: Kind, text: &str, seed: u8) -> Self {
        let mut zone = Self {
            apex: name(apex),
            kind,
            key: Key::new(seed),
            sets: BTreeMap::new(),
            signatures: BTreeMap::new(),
        };
        let text = format!("$TTL 3600\n@ SOA ns hostmaster 1 2 3 4 300\n@ NS ns\n{text}\n");
        let mut zonefile = Zonefile::from(text.as_str());
        zonefile.set_origin(zone.apex.clone());
        zonefile.set_default_class(Class::IN);
        while let Some(Entry::Record(record)) = zonefile.next_entry().expect("the text is a zone") {
            let owner: Name<Bytes> = record.owner().clone().flatten_into();
            let rtype = record.rtype();
            let data: ZoneRecordData<Bytes, Name<Bytes>> = record.into_data().flatten_into();
            let mut octets = Vec::new();
            data.compose_rdata(&mut octets)
                .expect("a vector takes everything");
            zone.add(&owner, rtype, 3_600, octets.into());
        }
        zone
    }

    /// Adds a record.
    fn add(&mut self, owner: &Name<Bytes>, rtype: Rtype, ttl: u32, data: Bytes) {
        let record = Record {
            owner: owner.clone(),
            rtype,
            ttl,
            data,
        };
        let set = self.sets.entry((owner.clone(), rtype)).or_default();
        set.push(record);
    }

    /// The data of the DS record for the zone above, if it is to have one.
    fn ds(&self) -> Option<Bytes> {
        let algorithm = match self.kind {
            Kind::Unsigned => return None,
            Kind::UnknownAlgorithm => UNKNOWN,
            Kind::Evil | Kind::Nsec | Kind::Nsec3 | Kind::OptOut => ED25519,
        };
        let hashed = [self.apex.as_slice(), &self.key.dnskey(KEY_SIGNING)].concat();
        let digest = digest::digest(&digest::SHA256, &hashed);
        let head = [
            &self.key.tag(KEY_SIGNING).to_be_bytes()[..],
            &[algorithm, 2],
        ]
        .concat();
        Some([&head, digest.as_ref()].concat().into())
    }

    /// Adds DNSKEY and denial records, and signs all that is the zone's own.
    fn sign(&mut self) {
        if matches!(self.kind, Kind::Unsigned | Kind::UnknownAlgorithm) {
            return;
        }
        let (apex, dnskey) = (self.apex.clone(), self.key.dnskey(KEY_SIGNING));
        self.add(&apex, Rtype::DNSKEY, 3_600, dnskey);
        match self.kind {
            Kind::Nsec3 | Kind::OptOut => self.add_nsec3(),
            Kind::Evil | Kind::Nsec | Kind::UnknownAlgorithm | Kind::Unsigned => self.add_nsec(),
        }
        for ((owner, rtype), set) in &self.sets {
            let at_cut = self.is_cut(owner) && ![Rtype::DS, Rtype::NSEC].contains(rtype);
            if !at_cut {
                let signature = Signing::new(&self.key, &self.apex).sign(set);
                self.signatures.insert((owner.clone(), *rtype), signature);
            }
        }
    }

    /// Adds what the zone says about a name; the name to go on with, if there is one.
    fn answer(&self, owner: &Name<Bytes>, rtype: Rtype, reply: &mut Reply) -> Option<Name<Bytes>> {
        if let Some((dname, target)) = self.dname_above(owner) {
            let set = self.signed(&dname, Rtype::DNAME, &dname);
            reply.answer.extend(set);
            return target;
        }
        let Some((source, is_wildcard)) = self.source(owner) else {
            reply.nxdomain = true;
            reply.authority.extend(self.denial());
            return None;
        };
        for found in [rtype, Rtype::CNAME] {
            let set = self.signed(&source, found, owner);
            let Some(first) = set.first().cloned() else {
                continue;
            };
            reply.answer.extend(set);
            if is_wildcard {
                reply.authority.extend(self.denial());
            }
            return (found == Rtype::CNAME && rtype != Rtype::CNAME)
                .then(|| Name::from_octets(first.data).expect("the data of a CNAME is a name"));
        }
        reply.authority.extend(self.denial());
        None
    }

    /// The SOA and, for brevity, every denial record of the zone, with signatures.
    pub(super) fn denial(&self) -> Vec<Record> {
        let mut records = self.signed(&self.apex, Rtype::SOA, &self.apex);
        for (owner, rtype) in self.sets.keys() {
            if [Rtype::NSEC, Rtype::NSEC3].contains(rtype) {
                records.extend(self.signed(owner, *rtype, owner));
            }
        }
        records
    }

    /// Every record of the zone, with signatures.
    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.sets.values().flatten().chain(self.signatures.values())
    }

    /// A set with its signature, shown at another name if a wildcard makes it.
    fn signed(&self, source: &Name<Bytes>, rtype: Rtype, owner: &Name<Bytes>) -> Vec<Record> {
        let key = (source.clone(), rtype);
        let set = self.sets.get(&key).into_iter().flatten();
        set.chain(self.signatures.get(&key))
            .map(|record| Record {
                owner: owner.clone(),
                ..record.clone()
            })
            .collect()
    }

    /// The name whose records answer for a name, and whether it is a wildcard.
    fn source(&self, owner: &Name<Bytes>) -> Option<(Name<Bytes>, bool)> {
        if self.exists(owner) {
            return Some((owner.clone(), false));
        }
        let encloser = owner.iter_suffixes().find(|suffix| self.exists(suffix))?;
        let wildcard = [b"\x01*", encloser.as_slice()].concat();
        let wildcard = Name::from_octets(Bytes::from(wildcard)).ok()?;
        self.exists(&wildcard).then_some((wildcard, true))
    }

    /// Whether a name has records, or names below it have.
    fn exists(&self, owner: &Name<Bytes>) -> bool {
        self.sets
            .keys()
            .any(|(name, rtype)| *rtype != Rtype::NSEC3 && name.ends_with(owner))
    }

    /// The DNAME above a name, and where it leads unless that is too long.
    fn dname_above(&self, owner: &Name<Bytes>) -> Option<(Name<Bytes>, Option<Name<Bytes>>)> {
        self.sets.iter().find_map(|((above, rtype), set)| {
            if *rtype != Rtype::DNAME || !owner.ends_with(above) || owner == above {
                return None;
            }
            let kept = owner.len() - above.len();
            let target = [&owner.as_slice()[..kept], &set[0].data].concat();
            Some((above.clone(), Name::from_octets(target.into()).ok()))
        })
    }

    /// Whether a name is delegated.
    fn is_cut(&self, owner: &Name<Bytes>) -> bool {
        *owner != self.apex && self.sets.contains_key(&(owner.clone(), Rtype::NS))
    }

    /// The types at each name.
    fn types(&self) -> BTreeMap<Name<Bytes>, BTreeSet<Rtype>> {
        let mut types: BTreeMap<Name<Bytes>, BTreeSet<Rtype>> = BTreeMap::new();
        for (owner, rtype) in self.sets.keys() {
            types.entry(owner.clone()).or_default().insert(*rtype);
        }
        types
    }

    /// Adds the NSEC chain.
    fn add_nsec(&mut self) {
        let types = self.types();
        let next = types.keys().skip(1).chain([&self.apex]).cloned();
        let chain: Vec<_> = types.iter().zip(next).collect();
        for ((owner, types), next) in chain {
            let mut types = types.clone();
            types.extend([Rtype::NSEC, Rtype::RRSIG]);
            let data = [next.as_slice(), &bitmap(&types)].concat();
            self.add(owner, Rtype::NSEC, 300, data.into());
        }
    }

    /// Adds the NSEC3 chain.
    fn add_nsec3(&mut self) {
        let opt_out = self.kind == Kind::OptOut;
        let mut types = self.types();
        if opt_out {
            types.retain(|_, types| !types.contains(&Rtype::NS) || types.len() > 1);
        }
        // Empty non-terminals have NSEC3 records of their own.
        let owners: Vec<_> = types.keys().cloned().collect();
        for suffix in owners.iter().flat_map(Name::iter_suffixes) {
            if suffix.ends_with(&self.apex) {
                types.entry(suffix).or_default();
            }
        }
        let mut chain: Vec<_> = types
            .into_iter()
            .map(|(owner, mut types)| {
                if types.iter().any(|rtype| *rtype != Rtype::NS) {
                    types.insert(Rtype::RRSIG);
                }
                (nsec3_hash(&owner), types)
            })
            .collect();
        chain.sort();
        let next: Vec<_> = chain
            .iter()
            .cycle()
            .skip(1)
            .map(|(hash, _)| *hash)
            .take(chain.len())
            .collect();
        for ((hash, types), next) in chain.into_iter().zip(next) {
            let label = base32::encode_string_hex(&hash).to_ascii_lowercase();
            let owner = name(&format!("{label}.{}", self.apex.fmt_with_dot()));
            let head = [1, u8::from(opt_out), 0, ITERATIONS, SALT_OCTETS];
            let data = [&head, SALT, &[20], &next, &bitmap(&types)].concat();
            self.add(&owner, Rtype::NSEC3, 300, data.into());
        }
    }
}

/// What a resolver says, before it becomes a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub(super) nxdomain: bool,
    pub(super) answer: Vec<Record>,
    pub(super) authority: Vec<Record>,
}

impl Reply {
    /// The reply as a message with compressed names.
    pub(super) fn message(&self, question: &Question) -> Vec<u8> {
        let target = StaticCompressor::new(Vec::new());
        let Ok(mut builder) = MessageBuilder::from_target(target);
        builder.header_mut().set_qr(true);
        if self.nxdomain {
            builder.header_mut().set_rcode(Rcode::NXDOMAIN);
        }
        let mut builder = builder.question();
        // Records that no longer fit are left out, as an attacker would have to.
        let _fits = builder.push((&question.name, question.rtype));
        let mut builder = builder.answer();
        for record in &self.answer {
            let _fits = builder.push(record.for_builder());
        }
        let mut builder = builder.authority();
        for record in &self.authority {
            let _fits = builder.push(record.for_builder());
        }
        builder.finish().into_target()
    }
}

impl Record {
    /// The record in the form that `domain` writes.
    fn for_builder(&self) -> (&Name<Bytes>, Class, Ttl, UnknownRecordData<&[u8]>) {
        let data = UnknownRecordData::from_octets(self.rtype, self.data.as_ref());
        let data = data.expect("data of records is shorter than 64 KiB");
        (&self.owner, Class::IN, Ttl::from_secs(self.ttl), data)
    }
}

/// An Ed25519 key made from a seed of one octet.
pub(super) struct Key(Ed25519KeyPair);

impl Key {
    /// The key of a seed.
    pub(super) fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]);
        Self(pair.expect("a seed has 32 octets"))
    }

    /// The data of its DNSKEY record.
    pub(super) fn dnskey(&self, flags: u16) -> Bytes {
        let [high, low] = flags.to_be_bytes();
        let head = [high, low, 3, ED25519];
        [&head, self.0.public_key().as_ref()].concat().into()
    }

    /// Its tag: RFC 4034, Appendix B.
    pub(super) fn tag(&self, flags: u16) -> u16 {
        let pairs = self.dnskey(flags);
        let sum: u32 = pairs
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        let folded = (sum + (sum >> 16)) & 0xffff;
        u16::try_from(folded).expect("it was cut to 16 bits")
    }
}

/// A signature to be made.
pub(super) struct Signing<'a> {
    pub(super) key: &'a Key,
    pub(super) flags: u16,
    pub(super) signer: &'a Name<Bytes>,
    pub(super) from: UnixTime,
    pub(super) until: UnixTime,
}

impl<'a> Signing<'a> {
    /// A signature that is valid for some days around [`NOW`].
    pub(super) const fn new(key: &'a Key, signer: &'a Name<Bytes>) -> Self {
        Self {
            key,
            flags: KEY_SIGNING,
            signer,
            from: UnixTime(NOW.0 - VALIDITY_SECONDS),
            until: UnixTime(NOW.0 + VALIDITY_SECONDS),
        }
    }

    /// Signs a record set that has no upper-case letters: RFC 4034, Section 3.1.8.1.
    pub(super) fn sign(&self, set: &[Record]) -> Record {
        let (owner, rtype, ttl) = (&set[0].owner, set[0].rtype, set[0].ttl);
        let labels = owner.label_count() - 1 - usize::from(owner.first().is_wildcard());
        let field = |time: UnixTime| {
            u32::try_from(time.0 & 0xffff_ffff)
                .unwrap_or(0)
                .to_be_bytes()
        };
        let head = [
            &rtype.to_int().to_be_bytes()[..],
            &[ED25519, u8::try_from(labels).unwrap_or(u8::MAX)],
            &ttl.to_be_bytes(),
            &field(self.until),
            &field(self.from),
            &self.key.tag(self.flags).to_be_bytes(),
            self.signer.as_slice(),
        ]
        .concat();
        let mut signed = head.clone();
        let data: BTreeSet<&Bytes> = set.iter().map(|record| &record.data).collect();
        for data in data {
            signed.extend_from_slice(owner.as_slice());
            signed.extend_from_slice(&rtype.to_int().to_be_bytes());
            signed.extend_from_slice(&[0, 1]);
            signed.extend_from_slice(&ttl.to_be_bytes());
            let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
            signed.extend_from_slice(&length.to_be_bytes());
            signed.extend_from_slice(data);
        }
        let signature = self.key.0.sign(&signed);
        Record {
            owner: owner.clone(),
            rtype: Rtype::RRSIG,
            ttl,
            data: [&head, signature.as_ref()].concat().into(),
        }
    }
}

/// A type bitmap; all types here lie in the first window.
fn bitmap(types: &BTreeSet<Rtype>) -> Vec<u8> {
    let Some(last) = types.last() else {
        return Vec::new();
    };
    let length = last.to_int() / 8 + 1;
    let mut bits = vec![0; usize::from(length)];
    for rtype in types {
        bits[usize::from(rtype.to_int() / 8)] |= 0x80 >> (rtype.to_int() % 8);
    }
    let length = u8::try_from(length).expect("all types are below 256");
    [&[0, length], &bits[..]].concat()
}

/// The NSEC3 hash of a name without upper-case letters: RFC 5155, Section 5.
fn nsec3_hash(owner: &Name<Bytes>) -> [u8; 20] {
    let mut input = owner.as_slice().to_vec();
    for _ in 0..=ITERATIONS {
        input.extend_from_slice(SALT);
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &input);
        input = hash.as_ref().to_vec();
    }
    input.try_into().expect("SHA-1 has 20 octets")
}

/// A name from its text.
pub(super) fn name(text: &str) -> Name<Bytes> {
    Name::bytes_from_str(text).expect("the name is written in this folder")
}

/// The zones, from the root down.
const ZONES: &[(&str, Kind, &str)] = &[
    (".", Kind::Nsec, ""),
    (
        "org.",
        Kind::Nsec,
        "www A 192.0.2.1
www A 192.0.2.2
www TXT \"text with \\009 a tab\"
@ MX 10 www
alias CNAME www
far CNAME www.n3.
out CNAME www.plain.
bad CNAME www.evil.
loop CNAME loop
a.b.ent A 192.0.2.3
*.wild TXT wild
moved DNAME n3.
",
    ),
    ("sub.org.", Kind::Nsec, "www A 192.0.2.4"),
    (
        "n3.",
        Kind::Nsec3,
        "www A 192.0.2.5
a.b.ent A 192.0.2.6
*.wild TXT wild
moved DNAME org.
",
    ),
    ("sub.n3.", Kind::Nsec3, "www A 192.0.2.7"),
    ("optout.", Kind::OptOut, "www A 192.0.2.8"),
    ("safe.optout.", Kind::Nsec, "www A 192.0.2.9"),
    ("u.optout.", Kind::Unsigned, "www A 192.0.2.10"),
    ("plain.", Kind::Unsigned, "www A 192.0.2.11"),
    ("odd.", Kind::UnknownAlgorithm, "www A 192.0.2.12"),
    (EVIL, Kind::Evil, "www A 192.0.2.13"),
];

/// CNAME records that the resolver follows in one reply.
const HOPS_MAX: usize = 4;

/// RFC 8080, Section 2.
const ED25519: u8 = 15;

/// An algorithm that is not assigned.
const UNKNOWN: u8 = 200;

/// A zone key with the SEP bit: RFC 4034, Section 2.1.1.
pub(super) const KEY_SIGNING: u16 = 257;

/// How long signatures are valid before and after [`NOW`].
const VALIDITY_SECONDS: u64 = 100_000;

/// More hashing than needed, so that it is seen.
const ITERATIONS: u8 = 1;

/// The salt of the NSEC3 chains.
const SALT: &[u8] = b"salt";

/// Its length.
const SALT_OCTETS: u8 = 4;
