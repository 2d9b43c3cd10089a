//! The resolver on UDP and TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use domain::base::Message;
use domain::base::MessageBuilder;
use domain::base::Name;
use domain::base::Rtype;
use domain::base::ToName;
use domain::base::iana::Class;
use domain::base::iana::Rcode;
use domain::base::message_builder::AnswerBuilder;
use domain::base::rdata::UnknownRecordData;
use domain::base::record::Record;
use domain::base::record::Ttl;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::DnsFault;
use super::Lookup;
use super::SignedSet;
use super::Zones;
use crate::LabError;
use crate::clock;

/// The one recursive resolver of the miniature internet; stops when dropped.
#[derive(Debug)]
pub struct DnsServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What the two listeners share.
    shared: Arc<Shared>,
    /// The two listeners.
    _tasks: JoinSet<()>,
}

impl DnsServer {
    /// Listens on UDP and TCP.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start(address: SocketAddr, zones: Zones) -> Result<Self, LabError> {
        let doing = || format!("listen on {address} for the resolver");
        let udp = UdpSocket::bind(address)
            .await
            .map_err(LabError::io(doing()))?;
        let tcp = TcpListener::bind(address)
            .await
            .map_err(LabError::io(doing()))?;
        let shared = Arc::new(Shared {
            zones,
            delay: Mutex::new(Duration::ZERO),
            log: Mutex::new(Vec::new()),
            started: Instant::now(),
            in_work: Arc::new(Semaphore::new(QUERIES_MAX)),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(Arc::new(udp), Arc::clone(&shared)));
        tasks.spawn(serve_tcp(tcp, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _tasks: tasks,
        })
    }

    /// From now on, answers leave that much later: a simulated round trip.
    pub fn set_delay(&self, delay: Duration) {
        *self
            .shared
            .delay
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// How many round trips the queries since `from` took in sequence, each as long as `delay`:
    /// queries that were asked side by side count once.
    #[must_use]
    pub fn round_trips(&self, from: Duration, delay: Duration) -> usize {
        let mut count = 0;
        let mut answered = Duration::ZERO;
        for query in self.queries().iter().filter(|query| query.at >= from) {
            if count == 0 || query.at >= answered {
                count += 1;
                answered = query.at + delay;
            }
        }
        count
    }

    /// Every query so far, in the order of arrival.
    #[must_use]
    pub fn queries(&self) -> Vec<Query> {
        self.shared
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A question that was asked.
#[derive(Clone, Debug)]
pub struct Query {
    /// The name.
    pub name: Name<Vec<u8>>,
    /// The type.
    pub rtype: Rtype,
    /// When it arrived, after the start of the server.
    pub at: Duration,
    /// Over what.
    pub transport: Transport,
}

/// What a query came over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A connection.
    Tcp,
}

/// What both listeners need.
#[derive(Debug)]
struct Shared {
    /// What is answered.
    zones: Zones,
    /// How late answers leave.
    delay: Mutex<Duration>,
    /// Every query so far, at most [`LOG_MAX`].
    log: Mutex<Vec<Query>>,
    /// When the server started.
    started: Instant,
    /// Bounds the queries in work.
    in_work: Arc<Semaphore>,
}

impl Shared {
    /// The answer's octets, after the delay; `None` for silence.
    async fn answer(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let message = Message::from_octets(query).ok()?;
        let question = message.sole_question().ok()?;
        let mut name: Name<Vec<u8>> = question.qname().to_name();
        name.make_canonical();
        let rtype = question.qtype();
        self.record(name.clone(), rtype, transport);
        let delay = *self.delay.lock().unwrap_or_else(PoisonError::into_inner);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let wanted = Wanted::of(&message, transport);
        match self.zones.question_fault(&name, rtype) {
            Some(DnsFault::Silent) => return None,
            Some(DnsFault::Code(rcode)) => return encode(&message, &only(rcode), wanted),
            Some(DnsFault::Truncated) if transport == Transport::Udp => {
                return truncated(&message, wanted);
            }
            Some(
                DnsFault::Truncated
                | DnsFault::Forged(_)
                | DnsFault::BogusSignature
                | DnsFault::ExpiredSignature
                | DnsFault::FutureSignature
                | DnsFault::StrippedSignature,
            )
            | None => {}
        }
        let lookup = self.zones.lookup(&name, rtype, clock::now());
        let lookup = lookup.unwrap_or_else(|_| only(Rcode::SERVFAIL));
        let octets = encode(&message, &lookup, wanted)?;
        if octets.len() > wanted.size_max {
            return truncated(&message, wanted);
        }
        Some(octets)
    }

    /// Writes a query into the log.
    fn record(&self, name: Name<Vec<u8>>, rtype: Rtype, transport: Transport) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() < LOG_MAX {
            log.push(Query {
                name,
                rtype,
                at: self.started.elapsed(),
                transport,
            });
        }
    }
}

/// What the client asked for besides the question.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Whether it sent an OPT record.
    edns: bool,
    /// Whether it wants signatures and proofs.
    dnssec: bool,
    /// The longest answer that it takes, in octets.
    size_max: usize,
}

impl Wanted {
    /// Reads the OPT record: RFC 6891.
    fn of(message: &Message<&[u8]>, transport: Transport) -> Self {
        let opt = message.opt();
        let udp_max = opt.as_ref().map_or(PLAIN_UDP_MAX, |opt| {
            opt.udp_payload_size().max(PLAIN_UDP_MAX)
        });
        Self {
            edns: opt.is_some(),
            dnssec: opt.is_some_and(|opt| opt.dnssec_ok()),
            size_max: match transport {
                Transport::Udp => usize::from(udp_max.min(OWN_UDP_MAX)),
                Transport::Tcp => usize::from(u16::MAX),
            },
        }
    }
}

/// An answer that is nothing but a code.
fn only(rcode: Rcode) -> Lookup {
    Lookup {
        rcode,
        answer: Vec::new(),
        authority: Vec::new(),
    }
}

/// An answer that says: ask again over TCP.
fn truncated(query: &Message<&[u8]>, wanted: Wanted) -> Option<Vec<u8>> {
    let mut octets = encode(query, &only(Rcode::NOERROR), wanted)?;
    // RFC 1035, Section 4.1.1: TC is the second lowest bit of the third octet.
    *octets.get_mut(2)? |= 0x02;
    Some(octets)
}

/// The octets of an answer; `None` only if a record is longer than any message.
fn encode(query: &Message<&[u8]>, lookup: &Lookup, wanted: Wanted) -> Option<Vec<u8>> {
    let mut builder: AnswerBuilder<Vec<u8>> = MessageBuilder::new_vec()
        .start_answer(query, lookup.rcode)
        .ok()?;
    builder.header_mut().set_ra(true);
    builder.header_mut().set_cd(query.header().cd());
    for record in lookup.answer.iter().flat_map(|set| records(set, wanted)) {
        builder.push(record).ok()?;
    }
    let mut builder = builder.authority();
    for record in lookup.authority.iter().flat_map(|set| records(set, wanted)) {
        builder.push(record).ok()?;
    }
    let mut builder = builder.additional();
    if wanted.edns {
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(OWN_UDP_MAX);
                opt.set_dnssec_ok(wanted.dnssec);
                Ok(())
            })
            .ok()?;
    }
    Some(builder.finish())
}

/// The records of a set, and its signature, as far as the client wants them.
fn records(
    signed: &SignedSet,
    wanted: Wanted,
) -> impl Iterator<Item = Record<Name<Vec<u8>>, UnknownRecordData<Vec<u8>>>> {
    let rtype = signed.set.rtype;
    let proof = rtype == Rtype::NSEC || rtype == Rtype::NSEC3;
    let data = signed
        .set
        .data
        .iter()
        .filter(move |_| wanted.dnssec || !proof);
    let rrsig = signed.rrsig.iter().filter(move |_| wanted.dnssec);
    data.map(move |data| (rtype, data))
        .chain(rrsig.map(|data| (Rtype::RRSIG, data)))
        .filter_map(|(rtype, data)| {
            let ttl = Ttl::from_secs(signed.set.ttl);
            let data = UnknownRecordData::from_octets(rtype, data.clone()).ok()?;
            Some(Record::new(signed.owner.clone(), Class::IN, ttl, data))
        })
}

/// Answers datagrams until the server is dropped.
async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut work = JoinSet::new();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // An error here is the echo of a client that went away.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        while work.try_join_next().is_some() {}
        let query = buffer.get(..length).unwrap_or_default().to_vec();
        let Ok(permit) = Arc::clone(&shared.in_work).try_acquire_owned() else {
            continue;
        };
        let (socket, shared) = (Arc::clone(&socket), Arc::clone(&shared));
        work.spawn(async move {
            if let Some(answer) = shared.answer(&query, Transport::Udp).await {
                // A client that went away asks again if it wants to.
                let _ = socket.send_to(&answer, client).await;
            }
            drop(permit);
        });
    }
}

/// Answers connections until the server is dropped.
async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut work = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while work.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&shared.in_work).try_acquire_owned() else {
            continue;
        };
        let shared = Arc::clone(&shared);
        work.spawn(async move {
            // A broken connection concerns its client alone.
            let _ = serve_connection(stream, &shared).await;
            drop(permit);
        });
    }
}

/// Answers one connection, one query after the other: RFC 7766.
async fn serve_connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        if let Some(answer) = shared.answer(&query, Transport::Tcp).await {
            let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
            let mut framed = length.to_be_bytes().to_vec();
            framed.extend_from_slice(&answer);
            stream.write_all(&framed).await?;
        }
    }
}

/// Queries in work at once; further ones are dropped, as a busy resolver does.
const QUERIES_MAX: usize = 4096;

/// Queries that the log keeps.
const LOG_MAX: usize = 1_000_000;

/// The longest answer without EDNS in octets: RFC 1035, Section 4.2.1.
const PLAIN_UDP_MAX: u16 = 512;

/// The longest answer that is sent in one datagram, in octets: the value of DNS flag day 2020.
const OWN_UDP_MAX: u16 = 1232;
