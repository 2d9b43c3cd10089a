//! The recursive resolvers that are asked, one after the other until one answers.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use domain::base::Message;
use domain::base::MessageBuilder;
use domain::base::Name;
use domain::base::Rtype;
use domain::base::iana::OptRcode;
use domain::net::client::dgram;
use domain::net::client::dgram::QueryErrorKind;
use domain::net::client::protocol::UdpConnect;
use domain::net::client::request;
use domain::net::client::request::ComposeRequest;
use domain::net::client::request::RequestMessage;
use domain::net::client::request::SendRequest;

use super::config::DnsConfig;
use super::config::InvalidDnsConfig;
use super::config::Transport;
use super::config::UPSTREAM_HOLD;
use super::stats::DnsStats;
use super::stream::Streams;
use crate::clock::Clock;

/// The upstreams of a resolver.
#[derive(Clone)]
pub(super) struct Upstreams {
    /// Each of them, in the order of the configuration.
    all: Vec<Arc<Upstream>>,
    /// How many times to go through them.
    rounds: u8,
    /// What an error from an upstream means.
    refusals: Refusals,
    /// For holding down those that do not answer.
    clock: Arc<dyn Clock>,
    /// Where questions are counted.
    stats: Arc<DnsStats>,
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.all).finish()
    }
}

/// What an answer such as SERVFAIL from an upstream means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusals {
    /// It cannot answer; another may.
    TryNext,
    /// It may be its verdict on a bogus answer, which no other upstream shall overrule.
    AreFinal,
}

/// One upstream.
pub(super) struct Upstream {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// Datagrams, unless TCP or TLS are to be used from the start.
    udp: Option<dgram::Connection<UdpConnect>>,
    /// Connections.
    streams: Streams,
    /// How long one answer may take.
    attempt_timeout: Duration,
    /// Until when it is asked only after the others.
    held_until: Mutex<Option<Instant>>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A question to an upstream.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Question {
    /// The name asked for.
    pub(super) name: Name<Bytes>,
    /// The type asked for.
    pub(super) rtype: Rtype,
    /// What the upstream shall do about DNSSEC.
    pub(super) checking: Checking,
}

/// What an upstream shall do about DNSSEC. The signatures are asked for either way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Checking {
    /// Nothing: the CD bit (RFC 4035, Section 3.2.2).
    Disabled,
    /// Validate, and say so with the AD bit.
    ByUpstream,
}

/// An answer, and who gave it.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// The answer.
    pub(super) message: Message<Bytes>,
    /// The upstream, by its place in the configuration.
    pub(super) upstream: usize,
}

impl Upstreams {
    /// Connects to nobody yet.
    pub(super) fn new(
        config: &DnsConfig,
        refusals: Refusals,
        clock: Arc<dyn Clock>,
        stats: Arc<DnsStats>,
    ) -> Result<Self, InvalidDnsConfig> {
        let all = config
            .upstreams
            .iter()
            .map(|&address| Upstream::new(address, config, &clock).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            all,
            rounds: config.rounds,
            refusals,
            clock,
            stats,
        })
    }

    /// The upstreams, in the order of the configuration.
    pub(super) fn all(&self) -> &[Arc<Upstream>] {
        &self.all
    }

    /// The same, with one upstream alone.
    pub(super) fn only(&self, upstream: &Arc<Upstream>) -> Self {
        Self {
            all: vec![Arc::clone(upstream)],
            ..self.clone()
        }
    }

    /// Asks one upstream after the other until one has an answer.
    ///
    /// If all of them refuse, one of their refusals is the answer.
    ///
    /// # Errors
    /// Says what went wrong with each of them.
    pub(super) async fn ask(&self, question: &Question) -> Result<Reply, String> {
        let mut refusal = None;
        let mut faults: Vec<String> = Vec::new();
        let mut refused: Vec<usize> = Vec::new();
        for round in 0..self.rounds {
            for (index, upstream) in self.in_order() {
                if refused.contains(&index) {
                    continue;
                }
                let message = match self.ask_one(&upstream, question).await {
                    Ok(message) => message,
                    Err(fault) => {
                        self.hold(&upstream);
                        if round == 0 {
                            faults.push(format!("{}: {fault}", upstream.address));
                        }
                        continue;
                    }
                };
                let reply = Reply {
                    message,
                    upstream: index,
                };
                if self.is_final(&reply.message) {
                    return Ok(reply);
                }
                refused.push(index);
                refusal = Some(reply);
            }
        }
        refusal.ok_or_else(|| faults.join("; "))
    }

    /// Asks this upstream once.
    pub(super) async fn ask_one(
        &self,
        upstream: &Upstream,
        question: &Question,
    ) -> Result<Message<Bytes>, String> {
        let request = request(question).ok_or("the question cannot be put into a message")?;
        if let Some(udp) = &upstream.udp {
            self.stats.count_upstream_query();
            let answer = udp.send_request(request.clone()).get_response().await;
            let answer = answer.map_err(|error| upstream.fault(&error))?;
            if !answer.header().tc() {
                return Ok(answer);
            }
            //= https://www.rfc-editor.org/rfc/rfc2181#section-9
            //# When a DNS client receives a reply with TC
            //# set, it should ignore that response, and query again, using a
            //# mechanism, such as a TCP connection, that will permit larger replies.
            self.stats.count_truncated();
        }
        self.stats.count_upstream_query();
        let answer = upstream.streams.ask(request);
        match tokio::time::timeout(upstream.attempt_timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(io_fault(&error)),
            Err(_) => Err(upstream.silence()),
        }
    }

    /// Asks this upstream only after the others for a while.
    pub(super) fn hold(&self, upstream: &Upstream) {
        let until = self.clock.monotonic().checked_add(UPSTREAM_HOLD);
        *upstream.held() = until;
    }

    /// The upstreams with their places, those that are held down last.
    fn in_order(&self) -> Vec<(usize, Arc<Upstream>)> {
        let now = self.clock.monotonic();
        let mut order: Vec<(usize, Arc<Upstream>)> = self.all.iter().cloned().enumerate().collect();
        order.sort_by_key(|(_, upstream)| upstream.is_held(now));
        order
    }

    /// Whether no other upstream needs to be asked.
    fn is_final(&self, message: &Message<Bytes>) -> bool {
        let rcode = message.opt_rcode();
        rcode == OptRcode::NOERROR
            || rcode == OptRcode::NXDOMAIN
            || (rcode == OptRcode::SERVFAIL && self.refusals == Refusals::AreFinal)
    }
}

impl Upstream {
    /// Connects to nobody yet.
    fn new(
        address: SocketAddr,
        config: &DnsConfig,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, InvalidDnsConfig> {
        let udp = match config.transport {
            Transport::Udp => {
                let mut datagrams = dgram::Config::new();
                datagrams.set_read_timeout(config.attempt_timeout);
                datagrams.set_max_retries(0);
                datagrams.set_max_parallel(DATAGRAMS_MAX);
                datagrams.set_udp_payload_size(Some(UDP_PAYLOAD_OCTETS));
                datagrams.set_recv_size(usize::from(u16::MAX));
                let connect = UdpConnect::new(address);
                Some(dgram::Connection::with_config(connect, datagrams))
            }
            Transport::Tcp | Transport::Tls { .. } => None,
        };
        Ok(Self {
            address,
            udp,
            streams: Streams::new(address, &config.transport, Arc::clone(clock))?,
            attempt_timeout: config.attempt_timeout,
            held_until: Mutex::new(None),
        })
    }

    /// Whether it is asked only after the others.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held().is_some_and(|until| now < until)
    }

    /// Until when it is asked only after the others.
    fn held(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.held_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong with a datagram.
    fn fault(&self, error: &request::Error) -> String {
        let request::Error::Dgram(error) = error else {
            return error.to_string();
        };
        match error.kind() {
            QueryErrorKind::Timeout => self.silence(),
            QueryErrorKind::Connect | QueryErrorKind::Send | QueryErrorKind::Receive => {
                error.to_string()
            }
        }
    }

    /// What to say when nothing came.
    fn silence(&self) -> String {
        format!("no answer within {:?}", self.attempt_timeout)
    }
}

/// What went wrong with a connection.
fn io_fault(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        "the connection was closed early".to_owned()
    } else {
        error.to_string()
    }
}

/// The message that asks a question.
fn request(question: &Question) -> Option<RequestMessage<Vec<u8>>> {
    let mut message = MessageBuilder::new_vec();
    let header = message.header_mut();
    header.set_rd(true);
    match question.checking {
        Checking::Disabled => header.set_cd(true),
        // RFC 6840, Section 5.7: the bit in a question asks for the bit in the answer.
        Checking::ByUpstream => header.set_ad(true),
    }
    let mut message = message.question();
    message.push((&question.name, question.rtype)).ok()?;
    let mut request = RequestMessage::new(message.into_message()).ok()?;
    request.set_udp_payload_size(UDP_PAYLOAD_OCTETS);
    request.set_dnssec_ok(true);
    Some(request)
}

/// How large a datagram may be, so that it is not cut into fragments on any usual path.
const UDP_PAYLOAD_OCTETS: u16 = 1232;

/// At most this many questions to one upstream wait for datagrams at a time.
const DATAGRAMS_MAX: usize = 512;
