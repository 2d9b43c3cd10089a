//! A recursive resolver over a few zones, which can be told to misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use byrnie_base::DomainName;
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
use domain::base::Rtype;
use domain::base::ToName;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::Rcode;
use domain::rdata::Cname;
use domain::rdata::Ds;
use domain::rdata::ZoneRecordData;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::zone::Rec;
use crate::zone::Wildcard;
use crate::zone::Zone;
use crate::zone::below;
use crate::zone::name;
use crate::zone::star;

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
    /// What becomes of it.
    pub(crate) fate: Fate,
}

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is sent.
    Sent,
    /// It is sent, and the connection ends with it.
    SentLast,
    /// It is not sent.
    Lost,
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

/// Changes a reply.
trait Tamper: Fn(&Asked, &mut Reply) + Send + Sync {}

impl<F: Fn(&Asked, &mut Reply) + Send + Sync> Tamper for F {}

/// Zones, and what is done to answers from them.
pub(crate) struct World {
    zones: Vec<Zone>,
    tampers: Vec<Box<dyn Tamper>>,
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
            let next = self.zones[child].rolling.then(|| {
                let digest = Bytes::from(vec![7; 32]);
                Ds::new(7, ds.algorithm(), DigestAlgorithm::SHA256, digest).unwrap()
            });
            let signed = self.zones[child].is_signed();
            let parent = self.zone_mut(&above);
            parent.put(&apex, ZoneRecordData::Ns(ns));
            if signed && parent.is_signed() {
                parent.put(&apex, ZoneRecordData::Ds(ds));
                if let Some(next) = next {
                    parent.put(&apex, ZoneRecordData::Ds(next));
                }
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
            fate: Fate::Sent,
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
        if let ZoneRecordData::Cname(cname) = &set[0].data
            && rtype != Rtype::CNAME
        {
            return Some(cname.cname().clone());
        }
        return None;
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
        if reply.fate == Fate::Lost {
            return None;
        }
        if let Some(octets) = reply.octets {
            return Some((octets, reply.fate == Fate::SentLast));
        }
        let size = opt.map_or(512, |opt| usize::from(opt.udp_payload_size()));
        let full = write(&message, &reply, Truncation::Whole);
        if carrier == Carrier::Udp && full.len() > size {
            return Some((write(&message, &reply, Truncation::Cut), false));
        }
        Some((full, reply.fate == Fate::SentLast))
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
