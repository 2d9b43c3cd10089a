//! One zone: its text, its keys, its signatures, its answers.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bytes::Bytes;
use domain::base::Name;
use domain::base::Ttl;
use domain::base::iana::Class;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::Nsec3HashAlgorithm;
use domain::base::iana::Rtype;
use domain::base::name::FlattenInto;
use domain::base::name::ToLabelIter;
use domain::crypto::common::DigestBuilder;
use domain::crypto::common::DigestType;
use domain::crypto::sign::GenerateParams;
use domain::crypto::sign::KeyPair;
use domain::crypto::sign::generate;
use domain::dnssec::common::nsec3_hash;
use domain::dnssec::sign::keys::SigningKey;
use domain::dnssec::sign::records::Rrset;
use domain::dnssec::sign::signatures::rrsigs::sign_rrset;
use domain::rdata::Dnskey;
use domain::rdata::Ds;
use domain::rdata::Nsec;
use domain::rdata::Nsec3;
use domain::rdata::ZoneRecordData;
use domain::rdata::dnssec::RtypeBitmap;
use domain::rdata::dnssec::Timestamp;
use domain::rdata::nsec3::Nsec3Salt;
use domain::rdata::nsec3::OwnerHash;
use domain::zonefile::inplace::Entry;
use domain::zonefile::inplace::Zonefile;

use super::NOW;
use super::Reply;
use super::name;

/// A record as it stands in a zone.
pub(crate) type Record = domain::base::Record<Name<Bytes>, ZoneRecordData<Bytes, Name<Bytes>>>;

/// How a zone denies existence, if it is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Denial {
    /// By NSEC records.
    Nsec,
    /// By NSEC3 records with so many iterations.
    Nsec3(u16),
    /// By NSEC3 records that leave out unsigned delegations.
    Nsec3OptOut,
    /// It is not signed.
    Unsigned,
}

/// A zone under construction, and then signed.
pub(crate) struct Zone {
    pub(crate) apex: Name<Bytes>,
    denial: Denial,
    /// The keys that sign, in the order of the DNSKEY set.
    pub(crate) keys: Vec<SigningKey<Bytes, KeyPair>>,
    /// The DS records at the parent, if they are not those of the keys.
    pub(crate) ds: Option<Vec<Ds<Bytes>>>,
    /// Seconds from now to the time when the signatures expire, and since when they are valid.
    pub(crate) validity: (i64, i64),
    records: BTreeMap<(Name<Bytes>, Rtype), Vec<Record>>,
    signatures: BTreeMap<(Name<Bytes>, Rtype), Vec<Record>>,
}

impl Zone {
    /// A zone with one Ed25519 key and some records; SOA and NS are added.
    pub(crate) fn new(apex: &str, denial: Denial, text: &str) -> Self {
        Self::with_algorithms(apex, denial, &[GenerateParams::Ed25519], text)
    }

    /// A zone with one key of each algorithm.
    pub(crate) fn with_algorithms(
        apex: &str,
        denial: Denial,
        algorithms: &[GenerateParams],
        text: &str,
    ) -> Self {
        let algorithms = if denial == Denial::Unsigned {
            &[]
        } else {
            algorithms
        };
        let mut zone = Self {
            apex: name(apex),
            denial,
            keys: algorithms
                .iter()
                .map(|algorithm| new_key(apex, algorithm))
                .collect(),
            ds: None,
            validity: (-100_000, 100_000),
            records: BTreeMap::new(),
            signatures: BTreeMap::new(),
        };
        zone.add_text("@ SOA ns hostmaster 1 7200 3600 1209600 300\n@ NS ns\n");
        zone.add_text(text);
        zone
    }

    /// Adds records.
    fn add_text(&mut self, text: &str) {
        let mut zonefile = Zonefile::from(format!("$TTL 3600\n{text}\n").as_str());
        zonefile.set_origin(self.apex.clone());
        zonefile.set_default_class(Class::IN);
        while let Some(Entry::Record(record)) = zonefile.next_entry().unwrap() {
            self.add(record.flatten_into());
        }
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, record: Record) {
        let key = (record.owner().clone(), record.rtype());
        self.records.entry(key).or_default().push(record);
    }

    /// Adds a delegation.
    pub(crate) fn delegate(&mut self, child: &Name<Bytes>, ds: Vec<Ds<Bytes>>) {
        let ns = ZoneRecordData::Ns(domain::rdata::Ns::new(child.clone()));
        self.add(record(child, 3600, ns));
        for ds in ds {
            self.add(record(child, 3600, ZoneRecordData::Ds(ds)));
        }
    }

    /// The DS records for the parent.
    pub(crate) fn ds_records(&self) -> Vec<Ds<Bytes>> {
        self.ds.clone().unwrap_or_else(|| {
            let keys = self.keys.iter().map(dnskey);
            keys.map(|key| ds(&self.apex, &key, DigestAlgorithm::SHA256))
                .collect()
        })
    }

    /// The zone's keys as a trust anchor.
    pub(crate) fn anchor_text(&self) -> String {
        let keys = self.keys.iter().map(dnskey);
        keys.map(|key| format!("{} IN DNSKEY {key}\n", self.apex.fmt_with_dot()))
            .collect()
    }

    /// Adds DNSKEY and denial records, and signs all that is the zone's own.
    pub(crate) fn sign(&mut self) {
        if self.denial == Denial::Unsigned {
            return;
        }
        for key in self.keys.iter().map(dnskey).collect::<Vec<_>>() {
            let data = ZoneRecordData::Dnskey(key);
            self.add(record(&self.apex.clone(), 3600, data));
        }
        match self.denial {
            Denial::Nsec => self.add_nsec(),
            Denial::Nsec3(iterations) => self.add_nsec3(iterations, false),
            Denial::Nsec3OptOut => self.add_nsec3(0, true),
            Denial::Unsigned => {}
        }
        let keys: Vec<_> = self.records.keys().cloned().collect();
        for (owner, rtype) in keys {
            let at_cut = self.is_cut(&owner) && ![Rtype::DS, Rtype::NSEC].contains(&rtype);
            if !at_cut && !self.is_glue(&owner) {
                self.sign_set(&owner, rtype);
            }
        }
    }

    /// Signs one record set anew.
    pub(crate) fn sign_set(&mut self, owner: &Name<Bytes>, rtype: Rtype) {
        let all: Vec<usize> = (0..self.keys.len()).collect();
        self.sign_set_with(&all, owner, rtype);
    }

    /// Signs one record set anew, with some of the keys.
    pub(crate) fn sign_set_with(&mut self, keys: &[usize], owner: &Name<Bytes>, rtype: Rtype) {
        let set = &self.records[&(owner.clone(), rtype)];
        let keys = keys.iter().map(|at| &self.keys[*at]);
        let signatures = keys.map(|key| self.signature(key, set)).collect();
        self.signatures.insert((owner.clone(), rtype), signatures);
    }

    /// A signature over records.
    pub(crate) fn signature(&self, key: &SigningKey<Bytes, KeyPair>, set: &[Record]) -> Record {
        let rrset = Rrset::new_from_owned(set).unwrap();
        let at = |offset: i64| {
            let seconds = i64::try_from(NOW.0).unwrap() + offset;
            Timestamp::from(u32::try_from(seconds).unwrap())
        };
        let (from, until) = self.validity;
        let signature = sign_rrset(key, &rrset, at(from), at(until)).unwrap();
        let (class, ttl) = (signature.class(), signature.ttl());
        let owner = signature.owner().clone();
        Record::new(
            owner,
            class,
            ttl,
            ZoneRecordData::Rrsig(signature.into_data()),
        )
    }

    /// Records that the zone does not have, with its signature.
    pub(crate) fn signed_anew(&self, set: &[Record]) -> Vec<Record> {
        let signature = self.signature(&self.keys[0], set);
        set.iter().cloned().chain([signature]).collect()
    }

    /// The records of a type at a name, with their signatures.
    pub(crate) fn signed(&self, owner: &str, rtype: Rtype) -> Vec<Record> {
        let key = (name(owner), rtype);
        let both = [self.records.get(&key), self.signatures.get(&key)];
        both.into_iter().flatten().flatten().cloned().collect()
    }

    /// Adds what the zone says about a name to a reply; the name that a CNAME leads to, if one does.
    pub(crate) fn answer(
        &self,
        owner: &Name<Bytes>,
        rtype: Rtype,
        reply: &mut Reply,
    ) -> Option<Name<Bytes>> {
        if let Some((dname, target)) = self.dname_above(owner) {
            reply
                .answer
                .extend(self.signed_at(&dname, Rtype::DNAME, &dname));
            return Some(target);
        }
        let (source, is_wildcard) = self.source(owner);
        let Some(source) = source else {
            reply.nxdomain = true;
            self.deny(reply);
            return None;
        };
        for found in [rtype, Rtype::CNAME] {
            let set = self.signed_at(&source, found, owner);
            if set.is_empty() {
                continue;
            }
            if is_wildcard {
                self.deny(reply);
            }
            let target = set.iter().find_map(|record| {
                let ZoneRecordData::Cname(cname) = record.data() else {
                    return None;
                };
                (rtype != Rtype::CNAME).then(|| cname.cname().clone())
            });
            reply.answer.extend(set);
            return target;
        }
        self.deny(reply);
        None
    }

    /// Adds the SOA and, for brevity, every denial record of the zone.
    fn deny(&self, reply: &mut Reply) {
        reply
            .authority
            .extend(self.signed_at(&self.apex, Rtype::SOA, &self.apex));
        for (owner, rtype) in self.records.keys() {
            if [Rtype::NSEC, Rtype::NSEC3].contains(rtype) {
                let set = self.signed_at(owner, *rtype, owner);
                if !reply.authority.contains(&set[0]) {
                    reply.authority.extend(set);
                }
            }
        }
    }

    /// A set with its signatures, shown at another name if a wildcard makes it.
    fn signed_at(&self, source: &Name<Bytes>, rtype: Rtype, owner: &Name<Bytes>) -> Vec<Record> {
        let key = (source.clone(), rtype);
        [self.records.get(&key), self.signatures.get(&key)]
            .into_iter()
            .flatten()
            .flatten()
            .map(|record| {
                let (class, ttl) = (record.class(), record.ttl());
                Record::new(owner.clone(), class, ttl, record.data().clone())
            })
            .collect()
    }

    /// The name whose records answer for a name, and whether it is a wildcard.
    fn source(&self, owner: &Name<Bytes>) -> (Option<Name<Bytes>>, bool) {
        if self.exists(owner) {
            return (Some(owner.clone()), false);
        }
        let encloser = owner
            .iter_suffixes()
            .find(|suffix| self.exists(suffix))
            .unwrap();
        let wildcard = name(&format!("*.{}", encloser.fmt_with_dot()).replace("*..", "*."));
        (self.exists(&wildcard).then_some(wildcard), true)
    }

    /// Whether a name has records, or names below it have.
    fn exists(&self, owner: &Name<Bytes>) -> bool {
        self.records
            .keys()
            .any(|(name, rtype)| *rtype != Rtype::NSEC3 && name.ends_with(owner))
    }

    /// The DNAME above a name, and where it leads.
    fn dname_above(&self, owner: &Name<Bytes>) -> Option<(Name<Bytes>, Name<Bytes>)> {
        self.records.iter().find_map(|((above, rtype), set)| {
            if *rtype != Rtype::DNAME || !owner.ends_with(above) || owner == above {
                return None;
            }
            let ZoneRecordData::Dname(dname) = set[0].data() else {
                return None;
            };
            let kept = owner.label_count() - above.label_count();
            let prefix: Vec<String> = owner
                .iter_labels()
                .take(kept)
                .map(|l| l.to_string())
                .collect();
            let target = format!("{}.{}", prefix.join("."), dname.dname().fmt_with_dot());
            Some((above.clone(), name(&target)))
        })
    }

    /// Whether a name is delegated.
    fn is_cut(&self, owner: &Name<Bytes>) -> bool {
        *owner != self.apex && self.records.contains_key(&(owner.clone(), Rtype::NS))
    }

    /// Whether a name lies below a delegation.
    fn is_glue(&self, owner: &Name<Bytes>) -> bool {
        owner
            .iter_suffixes()
            .skip(1)
            .any(|suffix| suffix.ends_with(&self.apex) && self.is_cut(&suffix))
    }

    /// The types at each name that the zone speaks for.
    fn types(&self) -> BTreeMap<Name<Bytes>, BTreeSet<Rtype>> {
        let mut types: BTreeMap<Name<Bytes>, BTreeSet<Rtype>> = BTreeMap::new();
        for (owner, rtype) in self.records.keys() {
            if !self.is_glue(owner) {
                types.entry(owner.clone()).or_default().insert(*rtype);
            }
        }
        types
    }

    /// Adds the NSEC chain.
    fn add_nsec(&mut self) {
        let types = self.types();
        let next = types.keys().skip(1).chain([&self.apex]).cloned();
        let chain: Vec<_> = types
            .iter()
            .zip(next)
            .map(|((owner, types), next)| {
                let mut types = types.clone();
                types.extend([Rtype::NSEC, Rtype::RRSIG]);
                let data = Nsec::new(next, bitmap(&types));
                record(owner, 300, ZoneRecordData::Nsec(data))
            })
            .collect();
        for record in chain {
            self.add(record);
        }
    }

    /// Adds the NSEC3 chain.
    fn add_nsec3(&mut self, iterations: u16, opt_out: bool) {
        let mut types = self.types();
        types.get_mut(&self.apex).unwrap().insert(Rtype::NSEC3PARAM);
        if opt_out {
            types.retain(|_, types| !types.contains(&Rtype::NS) || types.len() > 1);
        }
        // Empty non-terminals have NSEC3 records of their own.
        let owners: Vec<_> = types.keys().cloned().collect();
        for owner in owners {
            for suffix in owner.iter_suffixes() {
                if suffix.ends_with(&self.apex) {
                    types.entry(suffix).or_default();
                }
            }
        }
        let mut chain: Vec<_> = types
            .into_iter()
            .map(|(owner, mut types)| {
                if types.iter().any(|rtype| *rtype != Rtype::NS) {
                    types.insert(Rtype::RRSIG);
                }
                (hash(&owner, iterations), types)
            })
            .collect();
        chain.sort_by(|(left, _), (right, _)| left.as_slice().cmp(right.as_slice()));
        let next: Vec<_> = chain
            .iter()
            .cycle()
            .skip(1)
            .map(|(hash, _)| hash.clone())
            .take(chain.len())
            .collect();
        for ((hash, types), next) in chain.into_iter().zip(next) {
            let owner = name(&format!("{hash}.{}", self.apex.fmt_with_dot()).replace("..", "."));
            let data = Nsec3::new(
                Nsec3HashAlgorithm::SHA1,
                u8::from(opt_out),
                iterations,
                Nsec3Salt::empty(),
                next,
                bitmap(&types),
            );
            self.add(record(&owner, 300, ZoneRecordData::Nsec3(data)));
        }
        let parameters = domain::rdata::Nsec3param::new(
            Nsec3HashAlgorithm::SHA1,
            0,
            iterations,
            Nsec3Salt::empty(),
        );
        let apex = self.apex.clone();
        self.add(record(&apex, 300, ZoneRecordData::Nsec3param(parameters)));
    }
}

/// An NSEC record.
pub(crate) fn nsec(owner: &str, next: &str, types: &[Rtype]) -> Record {
    let types = types.iter().copied().collect();
    let data = Nsec::new(name(next), bitmap(&types));
    record(&name(owner), 300, ZoneRecordData::Nsec(data))
}

/// What an NSEC3 record says besides the hash that is its owner.
pub(crate) struct Nsec3Fields {
    pub(crate) span: Nsec3Span,
    pub(crate) algorithm: u8,
    pub(crate) flags: u8,
    pub(crate) iterations: u16,
    pub(crate) types: Vec<Rtype>,
}

/// Which hashes an NSEC3 record covers.
#[derive(Clone, Copy)]
pub(crate) enum Nsec3Span {
    /// All but its own.
    Everything,
    /// None.
    Nothing,
}

/// An NSEC3 record at the hash of a name.
pub(crate) fn nsec3(apex: &str, at: &str, fields: Nsec3Fields) -> Record {
    let hash = hash(&name(at), fields.iterations);
    let owner = name(&format!("{hash}.{apex}"));
    let mut next = hash.as_slice().to_vec();
    if let (Nsec3Span::Nothing, Some(last)) = (fields.span, next.last_mut()) {
        *last += 1;
    }
    let data = Nsec3::new(
        Nsec3HashAlgorithm::from_int(fields.algorithm),
        fields.flags,
        fields.iterations,
        Nsec3Salt::empty(),
        OwnerHash::from_octets(Bytes::from(next)).unwrap(),
        bitmap(&fields.types.into_iter().collect()),
    );
    record(&owner, 300, ZoneRecordData::Nsec3(data))
}

/// A new key for a zone, with the SEP bit.
pub(crate) fn new_key(apex: &str, algorithm: &GenerateParams) -> SigningKey<Bytes, KeyPair> {
    new_key_with(apex, algorithm, FLAGS)
}

/// A new key for a zone, with flags.
pub(crate) fn new_key_with(
    apex: &str,
    algorithm: &GenerateParams,
    flags: u16,
) -> SigningKey<Bytes, KeyPair> {
    let (secret, public) = generate(algorithm, flags).unwrap();
    let pair = KeyPair::from_bytes(&secret, &public).unwrap();
    SigningKey::new(name(apex), flags, pair)
}

/// The record of a key.
pub(crate) fn dnskey(key: &SigningKey<Bytes, KeyPair>) -> Dnskey<Bytes> {
    key.dnskey().convert()
}

/// The DS record of a key.
pub(crate) fn ds(apex: &Name<Bytes>, key: &Dnskey<Bytes>, digest: DigestAlgorithm) -> Ds<Bytes> {
    let mut builder = DigestBuilder::new(match digest {
        DigestAlgorithm::SHA1 => DigestType::Sha1,
        DigestAlgorithm::SHA256 => DigestType::Sha256,
        DigestAlgorithm::SHA384 => DigestType::Sha384,
        other => panic!("no such DS digest: {other:?}"),
    });
    builder.update(apex.as_slice());
    builder.update(&key.flags().to_be_bytes());
    builder.update(&[key.protocol(), key.algorithm().to_int()]);
    builder.update(key.public_key());
    let octets = Bytes::copy_from_slice(builder.finish().as_ref());
    Ds::new(key.key_tag(), key.algorithm(), digest, octets).unwrap()
}

/// A record of class IN.
pub(crate) fn record(
    owner: &Name<Bytes>,
    ttl: u32,
    data: ZoneRecordData<Bytes, Name<Bytes>>,
) -> Record {
    Record::new(owner.clone(), Class::IN, Ttl::from_secs(ttl), data)
}

/// The NSEC3 hash of a name, by other code than that under test.
fn hash(owner: &Name<Bytes>, iterations: u16) -> OwnerHash<Bytes> {
    let salt: Nsec3Salt<Bytes> = Nsec3Salt::empty();
    let hash: OwnerHash<Vec<u8>> =
        nsec3_hash(owner, Nsec3HashAlgorithm::SHA1, iterations, &salt).unwrap();
    OwnerHash::from_octets(Bytes::from(hash.into_octets())).unwrap()
}

/// A type bitmap.
fn bitmap(types: &BTreeSet<Rtype>) -> RtypeBitmap<Bytes> {
    let mut builder = RtypeBitmap::<Bytes>::builder();
    for rtype in types {
        builder.add(*rtype).unwrap();
    }
    builder.finalize()
}

/// A zone key with the SEP bit.
const FLAGS: u16 = 257;
