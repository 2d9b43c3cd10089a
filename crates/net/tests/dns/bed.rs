//! A signed internet of a few zones, and a recursive resolver over it that can be told to misbehave.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use byrnie_base::DomainName;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::Answer;
use byrnie_net::dns::DnsConfig;
use byrnie_net::dns::Mode;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::dns::Resolver;
use byrnie_net::dns::TrustAnchors;
use bytes::Bytes;
use domain::base::Message;
use domain::base::MessageBuilder;
use domain::base::Name;
use domain::base::NameBuilder;
use domain::base::Record;
use domain::base::Rtype;
use domain::base::ToName;
use domain::base::Ttl;
use domain::base::iana::Class;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::Nsec3HashAlgorithm;
use domain::base::iana::Rcode;
use domain::base::name::FlattenInto;
use domain::crypto::sign::GenerateParams;
use domain::crypto::sign::KeyPair;
use domain::crypto::sign::generate;
use domain::dnssec::common::nsec3_hash;
use domain::dnssec::sign::keys::SigningKey;
use domain::dnssec::sign::records::Rrset;
use domain::dnssec::sign::signatures::rrsigs::sign_rrset;
use domain::dnssec::validator::base::DnskeyExt;
use domain::rdata::Cname;
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
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

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

    fn record(&self) -> Record<Name<Bytes>, ZoneRecordData<Bytes, Name<Bytes>>> {
        let ttl = Ttl::from_secs(self.ttl);
        Record::new(self.owner.clone(), Class::IN, ttl, self.data.clone())
    }

    /// The type that a signature covers.
    pub(crate) fn covers(&self) -> Option<Rtype> {
        match &self.data {
            ZoneRecordData::Rrsig(rrsig) => Some(rrsig.type_covered()),
            _ => None,
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
    /// Replaces the algorithm in the DS record.
    pub(crate) ds_algorithm: Option<u8>,
    /// Replaces the digest in the DS record.
    pub(crate) ds_corrupt: bool,
    records: BTreeMap<Name<Bytes>, Vec<Rec>>,
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
        let apex = name(apex);
        let (secret, public) = generate(params, 257).unwrap();
        let pair = KeyPair::from_bytes(&secret, &public).unwrap();
        let mut zone = Self {
            key: SigningKey::new(apex.clone(), 257, pair),
            apex: apex.clone(),
            signing,
            validity: (-3600, 86_400),
            idle_keys: 0,
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

    fn put(&mut self, owner: &Name<Bytes>, data: ZoneRecordData<Bytes, Name<Bytes>>) {
        let rec = Rec {
            owner: owner.clone(),
            ttl: 300,
            data,
        };
        self.records.entry(owner.clone()).or_default().push(rec);
    }

    fn dnskey(&self) -> Dnskey<Bytes> {
        self.key.dnskey().convert()
    }

    /// The DS record for the parent.
    fn ds(&self) -> Ds<Bytes> {
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

    fn is_signed(&self) -> bool {
        self.signing != Signing::Unsigned
    }

    /// Adds the DNSKEY records.
    fn finish(&mut self) {
        if !self.is_signed() {
            return;
        }
        let apex = self.apex.clone();
        let key = self.dnskey();
        self.put(&apex, ZoneRecordData::Dnskey(key));
        for _ in 0..self.idle_keys {
            let (_, idle) = generate(&GenerateParams::EcdsaP256Sha256, 256).unwrap();
            self.put(&apex, ZoneRecordData::Dnskey(idle.convert()));
        }
    }

    fn set(&self, owner: &Name<Bytes>, rtype: Rtype) -> Vec<Rec> {
        let records = self.records.get(owner).into_iter().flatten();
        records
            .filter(|rec| rec.rtype() == rtype)
            .cloned()
            .collect()
    }

    /// The set with its signature, as if at another owner if it comes from a wildcard.
    fn signed(&self, set: &[Rec], owner: &Name<Bytes>) -> Vec<Rec> {
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
    fn exists(&self, name: &Name<Bytes>) -> bool {
        self.records.keys().any(|owner| owner.ends_with(name))
    }

    fn closest_encloser(&self, name: &Name<Bytes>) -> Name<Bytes> {
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
    fn deny(&self, name: &Name<Bytes>, wildcard: Wildcard) -> Vec<Rec> {
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
enum Wildcard {
    Mention,
    IsTheAnswer,
}

/// An answer on its way, to be tampered with.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) rcode: Rcode,
    pub(crate) answer: Vec<Rec>,
    pub(crate) authority: Vec<Rec>,
    /// Whether every zone that had a part in it is secure.
    pub(crate) secure: bool,
    /// Whether it has an OPT record.
    pub(crate) edns: bool,
    /// Sent in place of the message.
    pub(crate) octets: Option<Vec<u8>>,
    /// Not sent at all.
    pub(crate) lost: bool,
    /// The connection ends with it.
    pub(crate) last: bool,
}

impl Reply {
    /// Without any record.
    pub(crate) fn refuse(&mut self, rcode: Rcode) {
        self.rcode = rcode;
        self.answer.clear();
        self.authority.clear();
        self.secure = false;
    }

    /// Without signatures and denials.
    pub(crate) fn strip(&mut self) {
        let keep = |rec: &Rec| !matches!(rec.rtype(), Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3);
        self.answer.retain(keep);
        self.authority.retain(keep);
    }
}

/// A question as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) name: Name<Bytes>,
    pub(crate) rtype: Rtype,
    pub(crate) checking_disabled: bool,
    pub(crate) over_tcp: bool,
}

impl Asked {
    pub(crate) fn is(&self, other: &str, rtype: Rtype) -> bool {
        self.rtype == rtype && self.name == name(other)
    }
}

/// Zones, and what is done to answers from them.
pub(crate) struct World {
    zones: Vec<Zone>,
    tampers: Vec<Box<dyn Fn(&Asked, &mut Reply) + Send + Sync>>,
}

impl World {
    /// The first zone is the root.
    pub(crate) fn new(zones: Vec<Zone>) -> Self {
        let mut world = Self {
            zones,
            tampers: Vec::new(),
        };
        world.delegate();
        world
    }

    pub(crate) fn tamper(
        mut self,
        tamper: impl Fn(&Asked, &mut Reply) + Send + Sync + 'static,
    ) -> Self {
        self.tampers.push(Box::new(tamper));
        self
    }

    /// The start of authority of a zone, and everything that it ever denies.
    pub(crate) fn all_denials(&self, apex: &str) -> (Vec<Rec>, Vec<Vec<Rec>>) {
        let apex = name(apex);
        let zone = self.zones.iter().find(|zone| zone.apex == apex).unwrap();
        let soa = zone.signed(&zone.set(&apex, Rtype::SOA), &apex);
        let mut denials: Vec<Vec<Rec>> = Vec::new();
        for number in 0..100 {
            let name = below(&format!("n{number}"), &apex);
            for proof in zone.deny(&name, Wildcard::Mention).chunks(2) {
                if denials.iter().all(|known| known[0] != proof[0]) {
                    denials.push(proof.to_vec());
                }
            }
        }
        for owner in zone.records.keys() {
            for proof in zone.deny(owner, Wildcard::IsTheAnswer).chunks(2) {
                if denials.iter().all(|known| known[0] != proof[0]) {
                    denials.push(proof.to_vec());
                }
            }
        }
        (soa, denials)
    }

    pub(crate) fn anchor(&self) -> String {
        self.zones[0].anchor()
    }

    pub(crate) fn anchor_of(&self, apex: &str) -> String {
        let apex = name(apex);
        let zone = self.zones.iter().find(|zone| zone.apex == apex);
        zone.unwrap().anchor()
    }

    /// Hangs each zone into its parent.
    fn delegate(&mut self) {
        for zone in &mut self.zones {
            zone.finish();
        }
        for child in 0..self.zones.len() {
            let apex = self.zones[child].apex.clone();
            let Some(above) = apex.parent() else {
                continue;
            };
            let ns = domain::rdata::Ns::new(below("ns", &apex));
            let ds = self.zones[child].ds();
            let signed = self.zones[child].is_signed() && self.zones[child].ds_algorithm != Some(0);
            let parent = self.zone_mut(&above);
            parent.put(&apex, ZoneRecordData::Ns(ns));
            if signed && parent.is_signed() {
                parent.put(&apex, ZoneRecordData::Ds(ds));
            }
        }
    }

    fn zone_mut(&mut self, name: &Name<Bytes>) -> &mut Zone {
        let zones = self.zones.iter_mut();
        zones
            .filter(|zone| name.ends_with(&zone.apex))
            .max_by_key(|zone| zone.apex.label_count())
            .unwrap()
    }

    fn zone(&self, name: &Name<Bytes>, rtype: Rtype) -> &Zone {
        let zones = self.zones.iter();
        zones
            .filter(|zone| name.ends_with(&zone.apex))
            .filter(|zone| rtype != Rtype::DS || zone.apex != *name || name.is_root())
            .max_by_key(|zone| zone.apex.label_count())
            .unwrap()
    }

    fn is_secure(&self, zone: &Zone) -> bool {
        let Some(above) = zone.apex.parent() else {
            return zone.is_signed();
        };
        let parent = self.zone(&above, Rtype::A);
        !parent.set(&zone.apex, Rtype::DS).is_empty() && self.is_secure(parent)
    }

    /// What an honest resolver answers.
    fn resolve(&self, asked: &Asked) -> Reply {
        let mut reply = Reply {
            rcode: Rcode::NOERROR,
            answer: Vec::new(),
            authority: Vec::new(),
            secure: true,
            edns: true,
            octets: None,
            lost: false,
            last: false,
        };
        let mut name = asked.name.clone();
        for _ in 0..40 {
            let zone = self.zone(&name, asked.rtype);
            reply.secure &= self.is_secure(zone);
            match step(zone, &name, asked.rtype, &mut reply) {
                Some(target) => name = target,
                None => break,
            }
        }
        for tamper in &self.tampers {
            tamper(asked, &mut reply);
        }
        reply
    }
}

/// Adds what one zone has to say; returns the name to go on with after an alias.
fn step(zone: &Zone, name: &Name<Bytes>, rtype: Rtype, reply: &mut Reply) -> Option<Name<Bytes>> {
    let dname = name.iter_suffixes().skip(1).find_map(|above| {
        let set = zone.set(&above, Rtype::DNAME);
        (!set.is_empty()).then_some((above, set))
    });
    if let Some((above, set)) = dname {
        let ZoneRecordData::Dname(dname) = &set[0].data else {
            panic!("a DNAME");
        };
        let mut builder = NameBuilder::new_bytes();
        let depth = name.label_count() - above.label_count();
        for label in name.iter().take(depth) {
            builder.append_label(label.as_slice()).unwrap();
        }
        let target = builder.append_origin(dname.dname()).unwrap();
        reply.answer.extend(zone.signed(&set, &above));
        reply.answer.push(Rec {
            owner: name.clone(),
            ttl: 0,
            data: ZoneRecordData::Cname(Cname::new(target.clone())),
        });
        return Some(target);
    }
    let exists = zone.exists(name);
    let source = if exists {
        name.clone()
    } else {
        star(&zone.closest_encloser(name))
    };
    for found in [rtype, Rtype::CNAME] {
        let set = zone.set(&source, found);
        if set.is_empty() {
            continue;
        }
        reply.answer.extend(zone.signed(&set, name));
        if !exists {
            reply
                .authority
                .extend(zone.deny(name, Wildcard::IsTheAnswer));
        }
        return match &set[0].data {
            ZoneRecordData::Cname(cname) if rtype != Rtype::CNAME => Some(cname.cname().clone()),
            _ => None,
        };
    }
    let soa = zone.set(&zone.apex, Rtype::SOA);
    reply.authority.extend(zone.signed(&soa, &zone.apex));
    reply.authority.extend(zone.deny(name, Wildcard::Mention));
    if !exists && !zone.exists(&source) {
        reply.rcode = Rcode::NXDOMAIN;
    }
    None
}

/// A resolver over a world, on a port of the loopback interface, for as long as it lives.
pub(crate) struct Bed {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    world: World,
    asked: Mutex<Vec<Asked>>,
    /// Each answer takes one permit for good, if there is a gate.
    gate: Option<Semaphore>,
}

impl Bed {
    pub(crate) async fn start(world: World) -> Self {
        Self::start_with(world, None, None).await
    }

    /// Speaks TLS over its connections.
    pub(crate) async fn start_tls(world: World, tls: TlsAcceptor) -> Self {
        Self::start_with(world, None, Some(tls)).await
    }

    /// Answers only as many questions as permits are added to the gate.
    pub(crate) async fn start_gated(world: World) -> Self {
        Self::start_with(world, Some(Semaphore::new(0)), None).await
    }

    async fn start_with(world: World, gate: Option<Semaphore>, tls: Option<TlsAcceptor>) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // Another test may hold the port for TCP.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (Arc::new(udp), tcp);
            }
        };
        let shared = Arc::new(Shared {
            world,
            asked: Mutex::new(Vec::new()),
            gate,
        });
        let mut tasks = JoinSet::new();
        let address = udp.local_addr().unwrap();
        tasks.spawn(serve_udp(udp, Arc::clone(&shared)));
        tasks.spawn(serve_tcp(tcp, tls, Arc::clone(&shared)));
        Self {
            address,
            shared,
            _tasks: tasks,
        }
    }

    pub(crate) fn open_gate(&self, answers: usize) {
        self.shared.gate.as_ref().unwrap().add_permits(answers);
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How often this was asked so far.
    pub(crate) fn count(&self, name: &str, rtype: Rtype) -> usize {
        let asked = self.asked();
        asked.iter().filter(|asked| asked.is(name, rtype)).count()
    }

    /// A configuration that validates from the world's root.
    pub(crate) fn config(&self) -> DnsConfig {
        let anchors = TrustAnchors::parse(&self.shared.world.anchor()).unwrap();
        let mut config = DnsConfig::new(vec![self.address], Mode::Validate { anchors });
        config.attempt_timeout = std::time::Duration::from_millis(300);
        config
    }

    pub(crate) fn resolver(&self) -> Resolver {
        resolver(&self.config())
    }

    /// Asks a new resolver.
    pub(crate) async fn lookup(&self, name: &str, rtype: &str) -> Answer {
        lookup(&self.resolver(), name, rtype).await
    }
}

pub(crate) fn resolver(config: &DnsConfig) -> Resolver {
    Resolver::new(config, Arc::new(SystemClock)).unwrap()
}

pub(crate) async fn lookup(resolver: &Resolver, name: &str, rtype: &str) -> Answer {
    let name: DomainName = name.parse().unwrap();
    let rtype: RecordType = rtype.parse().unwrap();
    resolver.lookup(&name, rtype).await
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let question = buffer[..length].to_vec();
        let (socket, shared) = (Arc::clone(&socket), Arc::clone(&shared));
        answers.spawn(async move {
            if let Some((answer, _)) = shared.answer(question, Carrier::Udp).await {
                socket.send_to(&answer, from).await.unwrap();
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                None => serve_stream(stream, shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve_stream(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn serve_stream(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.unwrap();
        let Some((answer, last)) = shared.answer(question, Carrier::Tcp).await else {
            return;
        };
        let mut framed = u16::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
        framed.extend(answer);
        if stream.write_all(&framed).await.is_err() || stream.flush().await.is_err() || last {
            return;
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Carrier {
    Udp,
    Tcp,
}

impl Shared {
    /// The answer, and whether the connection ends with it.
    async fn answer(&self, question: Vec<u8>, carrier: Carrier) -> Option<(Vec<u8>, bool)> {
        let message = Message::from_octets(Bytes::from(question)).ok()?;
        let first = message.first_question().unwrap();
        let asked = Asked {
            name: first.qname().to_name(),
            rtype: first.qtype(),
            checking_disabled: message.header().cd(),
            over_tcp: carrier == Carrier::Tcp,
        };
        let opt = message.opt();
        assert!(message.header().rd(), "resolvers are asked to recurse");
        assert!(
            opt.as_ref().is_some_and(|opt| opt.dnssec_ok()),
            "signatures are asked for"
        );
        self.asked.lock().unwrap().push(asked.clone());
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        let reply = self.world.resolve(&asked);
        if reply.lost {
            return None;
        }
        if let Some(octets) = reply.octets {
            return Some((octets, reply.last));
        }
        let size = opt.map_or(512, |opt| usize::from(opt.udp_payload_size()));
        let full = write(&message, &reply, Truncation::Whole);
        if carrier == Carrier::Udp && full.len() > size {
            return Some((write(&message, &reply, Truncation::Cut), false));
        }
        Some((full, reply.last))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Truncation {
    Whole,
    Cut,
}

fn write(question: &Message<Bytes>, reply: &Reply, truncation: Truncation) -> Vec<u8> {
    let builder = MessageBuilder::new_vec();
    let mut builder = builder.start_answer(question, reply.rcode).unwrap();
    let header = builder.header_mut();
    header.set_ra(true);
    header.set_cd(question.header().cd());
    header.set_tc(truncation == Truncation::Cut);
    header.set_ad(reply.secure && question.header().ad() && !question.header().cd());
    if truncation == Truncation::Whole {
        for rec in &reply.answer {
            builder.push(rec.record()).unwrap();
        }
    }
    let mut builder = builder.authority();
    if truncation == Truncation::Whole {
        for rec in &reply.authority {
            builder.push(rec.record()).unwrap();
        }
    }
    let mut builder = builder.additional();
    if reply.edns {
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(4096);
                opt.set_dnssec_ok(true);
                Ok(())
            })
            .unwrap();
    }
    builder.finish()
}

/// A name from its text.
pub(crate) fn name(text: &str) -> Name<Bytes> {
    if text.is_empty() || text == "." {
        return Name::root_bytes();
    }
    Name::bytes_from_str(text).unwrap()
}

/// `label.parent`.
fn below(label: &str, parent: &Name<Bytes>) -> Name<Bytes> {
    let mut builder = NameBuilder::new_bytes();
    builder.append_label(label.as_bytes()).unwrap();
    builder.append_origin(parent).unwrap()
}

/// `*.parent`.
fn star(parent: &Name<Bytes>) -> Name<Bytes> {
    below("*", parent)
}
