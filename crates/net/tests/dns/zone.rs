//! A zone that signs itself, and proves what it does not hold.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use bytes::Bytes;
use domain::base::Name;
use domain::base::NameBuilder;
use domain::base::Record;
use domain::base::Rtype;
use domain::base::Ttl;
use domain::base::iana::Class;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::Nsec3HashAlgorithm;
use domain::base::name::FlattenInto;
use domain::crypto::sign::GenerateParams;
use domain::crypto::sign::KeyPair;
use domain::crypto::sign::generate;
use domain::dnssec::common::nsec3_hash;
use domain::dnssec::sign::keys::SigningKey;
use domain::dnssec::sign::records::Rrset;
use domain::dnssec::sign::signatures::rrsigs::sign_rrset;
use domain::dnssec::validator::base::DnskeyExt;
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

/// A record of the bed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rec {
    pub(crate) owner: Name<Bytes>,
    pub(crate) ttl: u32,
    pub(crate) data: ZoneRecordData<Bytes, Name<Bytes>>,
}

impl Rec {
    pub(crate) fn rtype(&self) -> Rtype {
        self.record().rtype()
    }

    pub(crate) fn record(&self) -> Record<Name<Bytes>, ZoneRecordData<Bytes, Name<Bytes>>> {
        let ttl = Ttl::from_secs(self.ttl);
        Record::new(self.owner.clone(), Class::IN, ttl, self.data.clone())
    }

    /// The type that a signature covers.
    pub(crate) fn covers(&self) -> Option<Rtype> {
        if let ZoneRecordData::Rrsig(rrsig) = &self.data {
            Some(rrsig.type_covered())
        } else {
            None
        }
    }
}

/// How a zone hangs in its parent, and how it denies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Signing {
    /// Not signed.
    Unsigned,
    /// Signed, with NSEC.
    Nsec,
    /// Signed, with NSEC3.
    Nsec3 { iterations: u16, opt_out: bool },
}

/// A zone.
pub(crate) struct Zone {
    pub(crate) apex: Name<Bytes>,
    signing: Signing,
    key: SigningKey<Bytes, KeyPair>,
    /// Inception and expiration of all signatures, in seconds from now.
    pub(crate) validity: (i64, i64),
    /// More keys in the key set, published and not used.
    pub(crate) idle_keys: usize,
    /// Keys of other algorithms in the key set, published and not used.
    pub(crate) other_keys: Vec<GenerateParams>,
    /// Whether the parent also has a DS record for a key that is not in the key set yet.
    pub(crate) rolling: bool,
    /// Replaces the algorithm in the DS record.
    pub(crate) ds_algorithm: Option<u8>,
    /// Replaces the digest in the DS record.
    pub(crate) ds_corrupt: bool,
    pub(crate) records: BTreeMap<Name<Bytes>, Vec<Rec>>,
}

impl Zone {
    pub(crate) fn new(apex: &str, signing: Signing, text: &str) -> Self {
        Self::with_params(apex, signing, &GenerateParams::EcdsaP256Sha256, text)
    }

    pub(crate) fn with_params(
        apex: &str,
        signing: Signing,
        params: &GenerateParams,
        text: &str,
    ) -> Self {
        Self::with_flags(apex, signing, params, 257, text)
    }

    /// With 256, its key may not become a trust anchor.
    pub(crate) fn with_flags(
        apex: &str,
        signing: Signing,
        params: &GenerateParams,
        flags: u16,
        text: &str,
    ) -> Self {
        let apex = name(apex);
        let (secret, public) = generate(params, flags).unwrap();
        let pair = KeyPair::from_bytes(&secret, &public).unwrap();
        let mut zone = Self {
            key: SigningKey::new(apex.clone(), flags, pair),
            apex,
            signing,
            validity: (-3600, 86_400),
            idle_keys: 0,
            other_keys: Vec::new(),
            rolling: false,
            ds_algorithm: None,
            ds_corrupt: false,
            records: BTreeMap::new(),
        };
        zone.add("@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\n");
        zone.add(text);
        zone
    }

    /// Adds records in the form of a zone file.
    pub(crate) fn add(&mut self, text: &str) {
        let mut file = Zonefile::new();
        file.set_origin(self.apex.clone());
        file.set_default_class(Class::IN);
        file.extend_from_slice(format!("$TTL 300\n{text}\n").as_bytes());
        while let Some(entry) = file.next_entry().unwrap() {
            let Entry::Record(record) = entry else {
                panic!("only records");
            };
            let record: Record<Name<Bytes>, ZoneRecordData<Bytes, Name<Bytes>>> =
                record.flatten_into();
            let rec = Rec {
                owner: record.owner().clone(),
                ttl: record.ttl().as_secs(),
                data: record.data().clone(),
            };
            self.records.entry(rec.owner.clone()).or_default().push(rec);
        }
    }

    pub(crate) fn put(&mut self, owner: &Name<Bytes>, data: ZoneRecordData<Bytes, Name<Bytes>>) {
        let rec = Rec {
            owner: owner.clone(),
            ttl: 300,
            data,
        };
        self.records.entry(owner.clone()).or_default().push(rec);
    }

    pub(crate) fn dnskey(&self) -> Dnskey<Bytes> {
        self.key.dnskey().convert()
    }

    /// The DS record for the parent.
    pub(crate) fn ds(&self) -> Ds<Bytes> {
        let key = self.key.dnskey();
        let digest = key.digest(&self.apex, DigestAlgorithm::SHA256).unwrap();
        let mut digest = digest.as_ref().to_vec();
        if self.ds_corrupt {
            digest[0] ^= 1;
        }
        let algorithm = self
            .ds_algorithm
            .map_or_else(|| key.algorithm(), |number| number.into());
        let digest = Bytes::from(digest);
        Ds::new(key.key_tag(), algorithm, DigestAlgorithm::SHA256, digest).unwrap()
    }

    /// The DS record in presentation form, as a trust anchor.
    pub(crate) fn anchor(&self) -> String {
        format!("{} IN DS {}", self.apex.fmt_with_dot(), self.ds())
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.signing != Signing::Unsigned
    }

    /// Adds the DNSKEY records.
    pub(crate) fn finish(&mut self) {
        if !self.is_signed() {
            return;
        }
        let apex = self.apex.clone();
        let key = self.dnskey();
        self.put(&apex, ZoneRecordData::Dnskey(key));
        let idle = (0..self.idle_keys).map(|_| GenerateParams::EcdsaP256Sha256);
        for params in idle.chain(std::mem::take(&mut self.other_keys)) {
            let (_, idle) = generate(&params, 256).unwrap();
            self.put(&apex, ZoneRecordData::Dnskey(idle.convert()));
        }
    }

    pub(crate) fn set(&self, owner: &Name<Bytes>, rtype: Rtype) -> Vec<Rec> {
        let records = self.records.get(owner).into_iter().flatten();
        records
            .filter(|rec| rec.rtype() == rtype)
            .cloned()
            .collect()
    }

    /// The set with its signature, as if at another owner if it comes from a wildcard.
    pub(crate) fn signed(&self, set: &[Rec], owner: &Name<Bytes>) -> Vec<Rec> {
        let mut all = set.to_vec();
        if self.is_signed() && !set.is_empty() {
            all.push(self.sign(set));
        }
        for rec in &mut all {
            rec.owner = owner.clone();
        }
        all
    }

    /// The signature of a set.
    pub(crate) fn sign(&self, set: &[Rec]) -> Rec {
        let records: Vec<_> = set.iter().map(Rec::record).collect();
        let set_of = Rrset::new_from_owned(&records).unwrap();
        let now = i64::try_from(SystemClock.now().0).unwrap();
        let at = |offset| Timestamp::from(u32::try_from(now + offset).unwrap());
        let (inception, expiration) = self.validity;
        let signature = sign_rrset(&self.key, &set_of, at(inception), at(expiration)).unwrap();
        Rec {
            owner: set[0].owner.clone(),
            ttl: set[0].ttl,
            data: ZoneRecordData::Rrsig(signature.data().clone()),
        }
    }

    /// Whether a name exists, if only because another lies below it.
    pub(crate) fn exists(&self, name: &Name<Bytes>) -> bool {
        self.records.keys().any(|owner| owner.ends_with(name))
    }

    pub(crate) fn closest_encloser(&self, name: &Name<Bytes>) -> Name<Bytes> {
        name.iter_suffixes()
            .find(|suffix| self.exists(suffix))
            .unwrap()
    }

    /// The ancestor of a name one label below another.
    fn next_closer(name: &Name<Bytes>, encloser: &Name<Bytes>) -> Name<Bytes> {
        name.iter_suffixes()
            .find(|suffix| suffix.parent().as_ref() == Some(encloser))
            .unwrap()
    }

    /// Whether a name is a delegation.
    fn is_cut(&self, owner: &Name<Bytes>) -> bool {
        *owner != self.apex && !self.set(owner, Rtype::NS).is_empty()
    }

    fn types_at(&self, owner: &Name<Bytes>) -> BTreeSet<Rtype> {
        let records = self.records.get(owner).into_iter().flatten();
        records.map(Rec::rtype).collect()
    }

    fn bitmap(types: &BTreeSet<Rtype>) -> RtypeBitmap<Bytes> {
        let mut builder = RtypeBitmap::<Bytes>::builder();
        for rtype in types {
            builder.add(*rtype).unwrap();
        }
        builder.finalize()
    }

    /// Proof that a name does not exist, a name that does, or a wildcard that does.
    pub(crate) fn deny(&self, name: &Name<Bytes>, wildcard: Wildcard) -> Vec<Rec> {
        match self.signing {
            Signing::Unsigned => Vec::new(),
            Signing::Nsec => self.deny_with_nsec(name, wildcard),
            Signing::Nsec3 { .. } => self.deny_with_nsec3(name, wildcard),
        }
    }

    fn deny_with_nsec(&self, name: &Name<Bytes>, wildcard: Wildcard) -> Vec<Rec> {
        let mut about = vec![name.clone()];
        if !self.exists(name) && wildcard == Wildcard::Mention {
            about.push(star(&self.closest_encloser(name)));
        }
        let mut proofs = Vec::new();
        for name in about {
            let covering = self.records.range(..=name).next_back();
            let (owner, _) = covering.unwrap_or_else(|| self.records.iter().next_back().unwrap());
            let mut after = self
                .records
                .range::<Name<Bytes>, _>((
                    std::ops::Bound::Excluded(owner.clone()),
                    std::ops::Bound::Unbounded,
                ))
                .map(|(owner, _)| owner.clone());
            let next = after.next().unwrap_or_else(|| self.apex.clone());
            let mut types = self.types_at(owner);
            types.extend([Rtype::NSEC, Rtype::RRSIG]);
            let nsec = Rec {
                owner: owner.clone(),
                ttl: 60,
                data: ZoneRecordData::Nsec(Nsec::new(next, Self::bitmap(&types))),
            };
            if !proofs.contains(&nsec) {
                proofs.push(nsec);
            }
        }
        proofs
            .iter()
            .flat_map(|nsec| self.signed(std::slice::from_ref(nsec), &nsec.owner))
            .collect()
    }

    fn deny_with_nsec3(&self, name: &Name<Bytes>, wildcard: Wildcard) -> Vec<Rec> {
        let hash_of_name = self.hash(name);
        let chain = self.nsec3_chain();
        let mut about = Vec::new();
        if chain.contains_key(&hash_of_name) {
            about.push(hash_of_name);
        } else {
            let in_chain = |name: &Name<Bytes>| chain.contains_key(&self.hash(name));
            let encloser = name.iter_suffixes().find(in_chain).unwrap();
            about.push(self.hash(&encloser));
            about.push(self.hash(&Self::next_closer(name, &encloser)));
            if wildcard == Wildcard::Mention {
                about.push(self.hash(&star(&encloser)));
            }
        }
        let mut proofs = Vec::new();
        for hash in about {
            let covering = chain.range(..=hash).next_back();
            let (hash, _) = covering.unwrap_or_else(|| chain.iter().next_back().unwrap());
            let nsec3 = self.nsec3_at(hash, &chain);
            if !proofs.contains(&nsec3) {
                proofs.push(nsec3);
            }
        }
        proofs
            .iter()
            .flat_map(|nsec3| self.signed(std::slice::from_ref(nsec3), &nsec3.owner))
            .collect()
    }

    fn hash(&self, name: &Name<Bytes>) -> Vec<u8> {
        let Signing::Nsec3 { iterations, .. } = self.signing else {
            panic!("no NSEC3 here");
        };
        let salt = Nsec3Salt::<Bytes>::empty();
        let hash: OwnerHash<Vec<u8>> =
            nsec3_hash(name, Nsec3HashAlgorithm::SHA1, iterations, &salt).unwrap();
        hash.as_slice().to_vec()
    }

    /// All names by their hash, empty non-terminals too.
    fn nsec3_chain(&self) -> BTreeMap<Vec<u8>, Name<Bytes>> {
        let Signing::Nsec3 { opt_out, .. } = self.signing else {
            panic!("no NSEC3 here");
        };
        let left_out = |owner: &Name<Bytes>| {
            opt_out && self.is_cut(owner) && self.set(owner, Rtype::DS).is_empty()
        };
        let owners = self.records.keys().filter(|owner| !left_out(owner));
        owners
            .flat_map(|owner| owner.iter_suffixes())
            .filter(|owner| owner.ends_with(&self.apex))
            .map(|owner| (self.hash(&owner), owner))
            .collect()
    }

    fn nsec3_at(&self, hash: &[u8], chain: &BTreeMap<Vec<u8>, Name<Bytes>>) -> Rec {
        let Signing::Nsec3 {
            iterations,
            opt_out,
        } = self.signing
        else {
            panic!("no NSEC3 here");
        };
        let after = (
            std::ops::Bound::Excluded(hash.to_vec()),
            std::ops::Bound::Unbounded,
        );
        let next = chain
            .range::<Vec<u8>, _>(after)
            .map(|(hash, _)| hash)
            .next();
        let next = next.unwrap_or_else(|| chain.keys().next().unwrap());
        let mut types = self.types_at(&chain[hash]);
        if !types.is_empty() {
            types.insert(Rtype::RRSIG);
        }
        let label = OwnerHash::from_octets(hash.to_vec()).unwrap().to_string();
        let nsec3 = Nsec3::new(
            Nsec3HashAlgorithm::SHA1,
            u8::from(opt_out),
            iterations,
            Nsec3Salt::empty(),
            OwnerHash::from_octets(Bytes::from(next.clone())).unwrap(),
            Self::bitmap(&types),
        );
        Rec {
            owner: below(&label, &self.apex),
            ttl: 60,
            data: ZoneRecordData::Nsec3(nsec3),
        }
    }
}

/// Whether a denial needs to speak of the wildcard that would match.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wildcard {
    Mention,
    IsTheAnswer,
}

/// A name from its text.
pub(crate) fn name(text: &str) -> Name<Bytes> {
    if text.is_empty() || text == "." {
        return Name::root_bytes();
    }
    Name::bytes_from_str(text).unwrap()
}

/// `label.parent`.
pub(crate) fn below(label: &str, parent: &Name<Bytes>) -> Name<Bytes> {
    let mut builder = NameBuilder::new_bytes();
    builder.append_label(label.as_bytes()).unwrap();
    builder.append_origin(parent).unwrap()
}

/// `*.parent`.
pub(crate) fn star(parent: &Name<Bytes>) -> Name<Bytes> {
    below("*", parent)
}
