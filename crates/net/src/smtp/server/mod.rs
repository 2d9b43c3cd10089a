//! Taking mail: a listener, its sessions, and the service that they ask.

mod conversation;
mod memory;
mod rates;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_smtp::Channel;
use byrnie_smtp::Envelope;
use byrnie_smtp::Hello;
use byrnie_smtp::HelloKind;
use byrnie_smtp::Octets;
use byrnie_smtp::Protocol;
use byrnie_smtp::Reply;
use byrnie_smtp::ReversePath;
use byrnie_smtp::ServerLimits;
use byrnie_smtp::ServerSettings;
use byrnie_smtp::Smtputf8;
use byrnie_smtp::StartTls;
use byrnie_smtp::replies;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::Instrument;
use tracing::debug;
use tracing::info;
use tracing::info_span;
use tracing::warn;

pub use self::rates::ClientRates;
pub use self::rates::Rate;

use self::conversation::Conversation;
use self::memory::Memory;
use self::rates::Rates;
use crate::clock::Clock;
use crate::current::Current;
pub use crate::occupancy::ConnectionLimits;
use crate::occupancy::Occupancy;
use crate::occupancy::Place;
use crate::occupancy::Refusal;
use crate::tls::TlsVersion;

/// What decides about mail: asked by sessions, one question at a time.
pub trait MailService: Send + Sync + 'static {
    /// A message that it has begun to take.
    type Incoming: IncomingMessage;

    /// Whether a client may connect.
    ///
    /// # Errors
    /// Gives the reply that the client gets in place of a greeting.
    fn admit(&self, peer: SocketAddr) -> Result<(), Reply>;

    /// Whether a message from `reverse_path` to `recipient` is welcome.
    fn recipient(
        &self,
        session: &SessionFacts,
        reverse_path: &ReversePath,
        recipient: &Mailbox,
    ) -> impl Future<Output = Result<(), Reply>> + Send;

    /// Begins to take a message.
    fn begin(
        &self,
        session: &SessionFacts,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Self::Incoming, Reply>> + Send;
}

/// A message that a service has begun to take; to drop it is to forget it.
pub trait IncomingMessage: Send {
    /// Takes part of the message, with CR LF for line ends and without the dots of the transport.
    ///
    /// After an error the message is dropped.
    fn write(&mut self, chunk: &[u8]) -> impl Future<Output = Result<(), Reply>> + Send;

    /// Learns what octets the message held, just before it is committed.
    ///
    /// Clients send octets beyond ASCII without saying so in `MAIL FROM`; whoever sends the message on
    /// should declare them.
    fn note_content(&mut self, _content: Octets) {}

    /// How many octets of the message are in memory.
    fn held(&self) -> usize;

    /// Makes the complete message durable; only then may it answer with success.
    fn commit(self) -> impl Future<Output = Result<Reply, Reply>> + Send;
}

/// What a service learns about the session that asks.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionFacts {
    /// A name that no other session of this listener has.
    pub id: String,
    /// Where the client connected from.
    pub peer: SocketAddr,
    /// How the client greeted; always there once a recipient is asked about.
    pub hello: Option<Hello>,
    /// What was negotiated, where the session is under TLS.
    pub tls: Option<SessionTls>,
    /// When the client connected.
    pub started: UnixTime,
}

impl SessionFacts {
    /// How a message came, for its `Received` header field.
    #[must_use]
    pub fn protocol(&self, smtputf8: Smtputf8) -> Protocol {
        Protocol {
            hello: self
                .hello
                .as_ref()
                .map_or(HelloKind::Ehlo, |hello| hello.kind),
            channel: if self.tls.is_some() {
                Channel::Tls
            } else {
                Channel::Clear
            },
            smtputf8,
        }
    }
}

/// What was negotiated with a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionTls {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite, as IANA names it.
    pub cipher_suite: String,
}

impl fmt::Display for SessionTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.cipher_suite)
    }
}

/// How a server works. What it is told meanwhile counts for the sessions that begin then.
#[derive(Clone)]
pub struct ServerConfig {
    /// The name of this server, in its greeting.
    pub host: DomainName,
    /// The bounds of a session.
    pub limits: ServerLimits,
    /// How long a session waits.
    pub timeouts: ServerTimeouts,
    /// How many connections there may be at once.
    pub connections: ConnectionLimits,
    /// How often each client may do what it does.
    pub rates: ClientRates,
    /// How many octets of memory all messages under way may take; does not change. Default: 256 MiB;
    /// where it is less than 1 MiB, no large message fits.
    pub message_memory_octets: usize,
    /// Tells when a session began.
    pub clock: Arc<dyn Clock>,
}

impl ServerConfig {
    /// The defaults.
    #[must_use]
    pub fn new(host: DomainName, clock: Arc<dyn Clock>) -> Self {
        Self {
            host,
            limits: ServerLimits::default(),
            timeouts: ServerTimeouts::default(),
            connections: ConnectionLimits::default(),
            rates: ClientRates::default(),
            message_memory_octets: MESSAGE_MEMORY_OCTETS,
            clock,
        }
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("host", &self.host)
            .field("limits", &self.limits)
            .field("timeouts", &self.timeouts)
            .field("connections", &self.connections)
            .field("rates", &self.rates)
            .field("message_memory_octets", &self.message_memory_octets)
            .finish_non_exhaustive()
    }
}

/// The memory of all messages under way, where nothing else is said: 2,000 small ones at a moment.
pub const MESSAGE_MEMORY_OCTETS: usize = 256 * 1_024 * 1_024;

/// How long a session waits, phase by phase.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerTimeouts {
    /// For a complete command; RFC 5321, Section 4.5.3.2.7 wants at least 5 minutes. Default: 5
    /// minutes.
    pub command: Duration,
    /// For the next octets of a message, and for the client to take a reply. Default: 5 minutes.
    pub block: Duration,
    /// For a whole message. Default: 1 hour.
    pub message: Duration,
    /// For the handshake. Default: 1 minute.
    pub handshake: Duration,
    /// For sessions with a message under way, when the server is told to stop. Default: 30 seconds.
    pub drain: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            block: Duration::from_secs(300),
            message: Duration::from_secs(3_600),
            handshake: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}

/// By what a session goes, to its end.
struct Setup {
    /// How the server works.
    config: ServerConfig,
    /// What sessions are told before they begin.
    settings: Arc<ServerSettings>,
    /// Makes handshakes.
    tls: Option<TlsAcceptor>,
}

impl Setup {
    /// With this configuration; TLS is offered where it can be had.
    fn new(config: ServerConfig, tls: Option<TlsAcceptor>) -> Self {
        let settings = ServerSettings {
            host: config.host.clone(),
            start_tls: match tls {
                Some(_) => StartTls::Offered,
                None => StartTls::NotOffered,
            },
            limits: config.limits,
        };
        Self {
            settings: Arc::new(settings),
            tls,
            config,
        }
    }
}

/// Changes how a server works, and looks into it.
#[derive(Clone)]
pub struct ServerControl {
    /// By what the next session goes.
    current: Arc<Current<Setup>>,
    /// How many connections there are.
    occupancy: Arc<Occupancy>,
}

impl ServerControl {
    /// The sessions that begin from now on go by this. Those under way end by what they began with.
    pub fn reconfigure(&self, config: ServerConfig, tls: Option<TlsAcceptor>) {
        self.current.replace(Setup::new(config, tls));
    }

    /// How many clients are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.occupancy.connections()
    }
}

impl fmt::Debug for ServerControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerControl")
            .field("occupancy", &self.occupancy)
            .finish_non_exhaustive()
    }
}

/// What all sessions share, those of several listeners too.
pub struct Server<M> {
    /// By what the next session goes.
    current: Arc<Current<Setup>>,
    /// What sessions ask.
    service: M,
    /// How many connections there are.
    occupancy: Arc<Occupancy>,
    /// What clients did of late.
    rates: Rates,
    /// The memory of the messages under way.
    memory: Memory,
}

impl<M: MailService> Server<M> {
    /// A server where nobody has come yet.
    #[must_use]
    pub fn new(config: ServerConfig, tls: Option<TlsAcceptor>, service: M) -> Self {
        Self {
            service,
            occupancy: Arc::default(),
            rates: Rates::default(),
            memory: Memory::new(config.message_memory_octets),
            current: Arc::new(Current::new(Setup::new(config, tls))),
        }
    }

    /// What changes how it works.
    #[must_use]
    pub fn control(&self) -> ServerControl {
        ServerControl {
            current: Arc::clone(&self.current),
            occupancy: Arc::clone(&self.occupancy),
        }
    }

    /// Whether a client may connect; takes its place.
    ///
    /// Whoever is not admitted leaves no trace in the tables, which hold those who are.
    fn admit(&self, config: &ServerConfig, peer: SocketAddr) -> Result<Place, Reply> {
        let host = &config.host;
        self.service.admit(peer)?;
        let place = Occupancy::enter(&self.occupancy, config.connections, peer.ip());
        let place = place.map_err(|refused| no_place(refused, host))?;
        let in_rate = self.rates.connect(&config.rates, peer.ip());
        in_rate.map_err(|refused| refused.reply(host))?;
        Ok(place)
    }
}

impl<M> fmt::Debug for Server<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.current.get().config)
            .finish_non_exhaustive()
    }
}

/// Takes mail until `shutdown` is done; then tells the clients, and waits for the messages under way.
pub async fn serve<M: MailService>(
    listener: TcpListener,
    server: Arc<Server<M>>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = pin!(shutdown);
    let (stop, stopping) = watch::channel(Running::Yes);
    let mut sessions = JoinSet::new();
    let mut reception = Reception {
        server,
        stopping,
        sessions: 0,
    };
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                note_panic(&ended);
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(session) = reception.receive(stream, peer) {
                        sessions.spawn(session);
                    }
                }
                // Mostly too many open files, which passes when sessions end.
                Err(error) => {
                    warn!(target: SESSION, %error, "no connection could be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(Running::No);
    let drain = async {
        while let Some(ended) = sessions.join_next().await {
            note_panic(&ended);
        }
    };
    let drain_max = reception.server.current.get().config.timeouts.drain;
    if timeout(drain_max, drain).await.is_err() {
        warn!(target: SESSION, left = sessions.len(), "sessions are cut off");
        sessions.shutdown().await;
    }
}

/// Decides who gets a session, and begins it.
struct Reception<M> {
    /// What all sessions share.
    server: Arc<Server<M>>,
    /// Whether sessions may go on.
    stopping: watch::Receiver<Running>,
    /// How many sessions began.
    sessions: u64,
}

impl<M: MailService> Reception<M> {
    /// Gives a client its session, or its refusal.
    fn receive(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<impl Future<Output = ()> + Send + use<M>> {
        let setup = self.server.current.get();
        let place = match self.server.admit(&setup.config, peer) {
            Ok(place) => place,
            Err(reply) => {
                info!(target: SESSION, %peer, %reply, "refused");
                let mut line = Vec::new();
                reply.render(&mut line);
                // The buffer of a new connection is empty; a client for which even that fails gets
                // nothing.
                if let Err(error) = stream.try_write(&line) {
                    debug!(target: SESSION, %peer, %error, "the refusal was not written");
                }
                return None;
            }
        };
        self.sessions += 1;
        let started = setup.config.clock.now();
        let facts = SessionFacts {
            id: format!("{:x}-{:x}", started.0, self.sessions),
            peer,
            hello: None,
            tls: None,
            started,
        };
        let span = info_span!(
            target: SESSION,
            "session",
            id = %facts.id,
            %peer,
            client = tracing::field::Empty,
            tls = tracing::field::Empty,
        );
        let mut conversation = Box::new(Conversation::new(
            Arc::clone(&self.server),
            setup,
            facts,
            self.stopping.clone(),
        ));
        let session = async move {
            // A reply is complete when it is written: nothing is gained by waiting for more.
            if let Err(error) = stream.set_nodelay(true) {
                debug!(target: SESSION, %error, "no delay");
            }
            conversation.run(stream).await;
            drop(place);
        };
        Some(session.instrument(span))
    }
}

/// Whether sessions may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Running {
    /// They may.
    Yes,
    /// They end as soon as nothing is lost.
    No,
}

/// What a client is told for whom there is no place.
fn no_place(refused: Refusal, host: &DomainName) -> Reply {
    match refused {
        Refusal::Full => replies::too_many_connections(host),
        Refusal::ClientFull => replies::too_many_connections_from_you(host),
        Refusal::NetworkFull => replies::too_many_connections_from_your_network(host),
    }
}

/// Says so where a session came to an end that it should not have.
fn note_panic(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        warn!(target: SESSION, %error, "a session broke");
    }
}

/// How long no connection is accepted after that has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the log lines of sessions come from.
const SESSION: &str = "byrnie::session";
