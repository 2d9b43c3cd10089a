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
use domain::net::client::request::ComposeRequest;
use domain::net::client::request::RequestMessage;
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::config::DnsConfig;
use super::config::InvalidDnsConfig;
use super::config::Transport;
use super::config::UPSTREAM_HOLD;
use super::datagram::Datagrams;
use super::datagram::Received;
use super::stats::DnsStats;
use super::stream::Streams;
use crate::clock::Clock;

/// The upstreams of a resolver.
#[derive(Clone)]
pub(super) struct Upstreams {
    /// Each of them, in the order of the configuration.
    all: Vec<Arc<Upstream>>,
    /// How long to wait for one before the next is asked as well.
    attempt_timeout: Duration,
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
    udp: Option<Datagrams>,
    /// Connections.
    streams: Streams,
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
            .map(|&address| Upstream::new(address, config, &clock, &stats).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            all,
            attempt_timeout: config.attempt_timeout,
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
    /// Those that were asked before are still listened to and asked again: what is slow in coming
    /// may come yet. If all of them refuse, one of their refusals is the answer.
    ///
    /// # Errors
    /// Says what went wrong with each of them.
    pub(super) async fn ask(&self, question: &Question) -> Result<Reply, String> {
        let request = request(question).ok_or("the question cannot be put into a message")?;
        let mut waiting = self.in_order().into_iter().peekable();
        let mut talks = FuturesUnordered::new();
        let mut refusal = None;
        let mut faults: Vec<String> = Vec::new();
        loop {
            if let Some((index, upstream)) = waiting.next() {
                let talk = self.ask_patiently(upstream, request.clone());
                talks.push(talk.map(move |outcome| (index, outcome)));
            }
            let turn = if waiting.peek().is_some() {
                self.attempt_timeout
            } else {
                Duration::MAX
            };
            match tokio::time::timeout(turn, talks.next()).await {
                // Now it is the next one's turn.
                Err(_) => {}
                Ok(None) => break,
                Ok(Some((_, Err(fault)))) => faults.push(fault),
                Ok(Some((upstream, Ok(message)))) => {
                    let reply = Reply { message, upstream };
                    if self.is_final(&reply.message) {
                        return Ok(reply);
                    }
                    refusal = Some(reply);
                }
            }
        }
        refusal.ok_or_else(|| faults.join("; "))
    }

    /// Asks this upstream until it answers, has failed too often, or the time is over.
    async fn ask_patiently(
        &self,
        upstream: Arc<Upstream>,
        request: RequestMessage<Vec<u8>>,
    ) -> Result<Message<Bytes>, String> {
        // As many upstreams as there are take turns.
        let turns = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let pause = self.attempt_timeout.saturating_mul(turns);
        let patience = pause.saturating_mul(self.rounds.into());
        let asking = async {
            let mut fault = String::new();
            for _ in 0..self.rounds {
                match upstream.ask(&request, pause, &self.stats).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => fault = io_fault(&error),
                }
                self.hold(&upstream);
            }
            Err(fault)
        };
        let mut asking = std::pin::pin!(tokio::time::timeout(patience, asking));
        let outcome = match tokio::time::timeout(self.attempt_timeout, &mut asking).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.hold(&upstream);
                asking.await
            }
        };
        outcome
            .unwrap_or_else(|_| Err(format!("no answer within {patience:?}")))
            .map_err(|fault| format!("{}: {fault}", upstream.address))
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
        stats: &Arc<DnsStats>,
    ) -> Result<Self, InvalidDnsConfig> {
        let udp = match config.transport {
            Transport::Udp => Some(Datagrams::new(address, Arc::clone(stats))),
            Transport::Tcp | Transport::Tls { .. } => None,
        };
        Ok(Self {
            address,
            udp,
            streams: Streams::new(address, &config.transport, Arc::clone(clock))?,
            held_until: Mutex::new(None),
        })
    }

    /// Asks, first with a datagram where that is allowed. The caller sets the time limit.
    ///
    /// # Errors
    /// Socket or connection failed, or what came over the connection is no answer.
    async fn ask(
        &self,
        request: &RequestMessage<Vec<u8>>,
        pause: Duration,
        stats: &DnsStats,
    ) -> io::Result<Message<Bytes>> {
        if let Some(udp) = &self.udp
            && let Received::Whole(answer) = udp.ask(request.clone(), pause).await?
        {
            return Ok(answer);
        }
        stats.count_upstream_query();
        self.streams.ask(request.clone(), pause).await
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
}

/// What went wrong with a socket or a connection.
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
