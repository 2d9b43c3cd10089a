//! Sending mail: one connection to one server, under one requirement.

mod connection;
mod error;
mod pool;
#[cfg(test)]
mod tests;
mod wire;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_policy::RequireTls;
use byrnie_policy::Requirement;
use byrnie_policy::TlsRequirement;
use byrnie_smtp::ClientAction;
use byrnie_smtp::ClientFault;
use byrnie_smtp::ClientPhase;
use byrnie_smtp::ClientSession;
use byrnie_smtp::Unsupported;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio::time::timeout;
use tracing::Instrument;
use tracing::debug;
use tracing::debug_span;

pub use self::connection::ChannelFacts;
pub use self::connection::ChannelSecurity;
pub use self::connection::Connection;
pub use self::connection::MessageSource;
pub use self::error::AttemptError;
pub use self::error::AttemptFault;
pub use self::error::RetryClass;
pub use self::error::Shortage;
pub use self::pool::ConnectionPool;
pub use self::pool::Lease;
pub use self::pool::Origin;
pub use self::pool::PoolLimits;
pub use self::pool::Reached;
pub use self::pool::Unreached;

use self::wire::Wire;
use crate::clock::Clock;
use crate::current::Current;
use crate::tls::Clearance;
use crate::tls::TlsClient;
use crate::tls::TlsSession;

/// What a client is told before it begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientConfig {
    /// What it calls itself in `EHLO`.
    pub helo_name: MailDomain,
    /// How long it waits.
    pub timeouts: ClientTimeouts,
}

impl ClientConfig {
    /// The defaults.
    #[must_use]
    pub fn new(helo_name: MailDomain) -> Self {
        Self {
            helo_name,
            timeouts: ClientTimeouts::default(),
        }
    }
}

/// How long a client waits, phase by phase: RFC 5321, Section 4.5.3.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientTimeouts {
    /// For the connection. Default: 30 seconds.
    pub connect: Duration,
    /// For the greeting. Default: 5 minutes.
    pub greeting: Duration,
    /// For the reply to `EHLO`, `HELO` and `STARTTLS`. Default: 5 minutes.
    pub hello: Duration,
    /// For the handshake. Default: 1 minute.
    pub handshake: Duration,
    /// For the reply to `MAIL`. Default: 5 minutes.
    pub mail: Duration,
    /// For the reply to each `RCPT`. Default: 5 minutes.
    pub recipient: Duration,
    /// For the reply to `DATA`. Default: 2 minutes.
    pub data: Duration,
    /// For each piece of the message to be taken. Default: 3 minutes.
    pub block: Duration,
    /// For all of a transaction up to the last octet of the message, besides what its size allows at
    /// [`MESSAGE_OCTETS_PER_SECOND_MIN`]. Default: 10 minutes.
    ///
    /// RFC 5321, Section 4.5.3.2 knows only limits for each step: a server that uses them up for each of
    /// a hundred recipients would hold a connection for eight hours.
    pub transaction: Duration,
    /// For the reply to the end of the message. Default: 10 minutes.
    pub end: Duration,
    /// For the reply to `QUIT`. Default: 5 seconds.
    pub quit: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            greeting: Duration::from_secs(300),
            hello: Duration::from_secs(300),
            handshake: Duration::from_secs(60),
            mail: Duration::from_secs(300),
            recipient: Duration::from_secs(300),
            data: Duration::from_secs(120),
            block: Duration::from_secs(180),
            transaction: Duration::from_secs(600),
            end: Duration::from_secs(600),
            quit: Duration::from_secs(5),
        }
    }
}

impl ClientTimeouts {
    /// How long a transaction with a message of so many octets may take, without the reply to its end.
    fn of_transaction(&self, octets: u64) -> Duration {
        self.transaction + Duration::from_secs(octets / MESSAGE_OCTETS_PER_SECOND_MIN)
    }

    /// How long a phase may take.
    fn of(&self, phase: ClientPhase) -> Duration {
        match phase {
            ClientPhase::Connect => self.connect,
            ClientPhase::Greeting => self.greeting,
            ClientPhase::Hello | ClientPhase::StartTls => self.hello,
            ClientPhase::Handshake => self.handshake,
            ClientPhase::Ready | ClientPhase::Mail => self.mail,
            ClientPhase::Recipient => self.recipient,
            ClientPhase::Data => self.data,
            ClientPhase::Body => self.block,
            ClientPhase::End => self.end,
            ClientPhase::Quit => self.quit,
        }
    }
}

/// A server that takes a message more slowly than this is given up.
pub const MESSAGE_OCTETS_PER_SECOND_MIN: u64 = 16 * 1_024;

/// Connects to servers.
#[derive(Debug)]
pub struct SmtpClient<C> {
    /// What it calls itself in `EHLO`.
    helo_name: MailDomain,
    /// How long it waits, on connections that it makes from now on.
    timeouts: Arc<Current<ClientTimeouts>>,
    /// Makes handshakes.
    tls: TlsClient,
    /// Tells which certificates are within their dates.
    clock: Arc<C>,
}

impl<C: Clock> SmtpClient<C> {
    /// A client that connects to nobody yet.
    #[must_use]
    pub fn new(config: ClientConfig, tls: TlsClient, clock: Arc<C>) -> Self {
        Self {
            helo_name: config.helo_name,
            timeouts: Arc::new(Current::new(config.timeouts)),
            tls,
            clock,
        }
    }

    /// How long it waits; whoever replaces it changes that for the connections to come.
    #[must_use]
    pub fn timeouts(&self) -> Arc<Current<ClientTimeouts>> {
        Arc::clone(&self.timeouts)
    }

    /// Connects to a server and makes the connection ready for mail under `requirement`: greeting,
    /// `EHLO`, TLS, and `EHLO` again.
    ///
    /// `host` is the name in the MX record, or `None` for an address literal. Where the requirement is
    /// opportunistic, a handshake that fails is followed by one new connection in clear text, and the
    /// failure is told in [`Connection::channel`] (behaviour rule 32). Where DANE is demanded and the
    /// server may have a bare key, one new connection asks for that (RFC 7250).
    ///
    /// # Errors
    /// Says how far it came, by whose fault it failed, and what to do.
    pub async fn connect<'a>(
        &self,
        host: impl Into<Option<&'a DomainName>>,
        address: SocketAddr,
        requirement: &Requirement,
    ) -> Result<Connection, AttemptError> {
        let host = host.into();
        let stream = self.dial(address).await?;
        self.connect_over(stream, host, address, requirement).await
    }

    /// Makes a stream that was just opened ready for mail, as [`connect`](Self::connect) does.
    async fn connect_over(
        &self,
        stream: TcpStream,
        host: Option<&DomainName>,
        address: SocketAddr,
        requirement: &Requirement,
    ) -> Result<Connection, AttemptError> {
        let span = debug_span!(
            target: CONNECTION,
            "connection",
            host = host.map(tracing::field::display),
            %address,
            demand = ?requirement.tls.strength(),
        );
        let target = Target {
            host,
            address,
            requirement,
        };
        let connected = self.connect_in_span(stream, &target);
        Box::pin(connected).instrument(span).await
    }

    /// Connects, with a second connection where one is allowed.
    async fn connect_in_span(
        &self,
        stream: TcpStream,
        target: &Target<'_>,
    ) -> Result<Connection, AttemptError> {
        let first = self.attempt_over(stream, target, Plan::Certificate).await;
        let connected = match first {
            Err(failure) => match Plan::after(&failure, target.requirement) {
                Some(plan) => {
                    debug!(target: CONNECTION, %failure, ?plan, "trying once more");
                    let second = self.attempt(target, plan).await;
                    second.map(|connection| connection.after(plan, failure))
                }
                None => Err(failure),
            },
            Ok(connection) => Ok(connection),
        };
        match &connected {
            Ok(connection) => {
                let security = &connection.channel().security;
                debug!(target: CONNECTION, %security, "ready");
            }
            Err(failure) => debug!(target: CONNECTION, %failure, "failed"),
        }
        connected
    }

    /// Makes one connection.
    async fn attempt(&self, target: &Target<'_>, plan: Plan) -> Result<Connection, AttemptError> {
        let stream = self.dial(target.address).await?;
        self.attempt_over(stream, target, plan).await
    }

    /// Opens a stream to an address.
    async fn dial(&self, address: SocketAddr) -> Result<TcpStream, AttemptError> {
        let limit = self.timeouts.get().connect;
        let dialled = dial_patiently(limit, || TcpStream::connect(address)).await;
        let stream = dialled.map_err(|fault| AttemptError {
            phase: ClientPhase::Connect,
            fault,
        })?;
        // Commands are complete when they are written: nothing is gained by waiting for more.
        if let Err(failure) = stream.set_nodelay(true) {
            debug!(target: CONNECTION, %failure, "no delay");
        }
        Ok(stream)
    }

    /// Makes a stream ready for mail.
    async fn attempt_over<S>(
        &self,
        stream: S,
        target: &Target<'_>,
        plan: Plan,
    ) -> Result<Connection, AttemptError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let session = ClientSession::new(self.helo_name.clone());
        let timeouts = *self.timeouts.get();
        let mut wire = Wire::new(stream, session, timeouts);
        wire.expect_ready().await?;
        let connection = match self.encryption(&mut wire, target, plan).await? {
            Encryption::Tls => {
                let (stream, mut session) = wire.into_parts();
                let tls = self.handshake(stream, target, plan).await?;
                session.tls_established();
                let mut wire = Wire::new(tls.stream, session, timeouts);
                wire.expect_ready().await?;
                let security = ChannelSecurity::Tls(tls.facts);
                Connection::new(wire, target, security, tls.clearance)
            }
            Encryption::Clear(clearance, after) => {
                let security = ChannelSecurity::Clear { after };
                Connection::new(wire, target, security, clearance)
            }
        };
        if target.requirement.require_tls == RequireTls::Demanded
            && !connection.offers_require_tls()
        {
            connection.quit().await;
            return Err(AttemptError {
                phase: ClientPhase::Ready,
                fault: AttemptFault::Unsupported(Unsupported::RequireTls),
            });
        }
        Ok(connection)
    }

    /// Finds out whether the connection goes on under TLS, or may go on without.
    async fn encryption<S>(
        &self,
        wire: &mut Wire<S>,
        target: &Target<'_>,
        plan: Plan,
    ) -> Result<Encryption, AttemptError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let clear = Clearance::for_clear_text(&target.requirement.tls);
        if plan == Plan::ClearText || !wire.session.offered().starttls {
            return match clear {
                Some(clearance) => Ok(Encryption::Clear(clearance, None)),
                None => Err(AttemptError {
                    phase: ClientPhase::Hello,
                    fault: AttemptFault::StartTlsNotOffered,
                }),
            };
        }
        wire.session.start_tls();
        match wire.exchange().await? {
            ClientAction::Handshake => Ok(Encryption::Tls),
            ClientAction::TlsRefused(reply) => {
                let failure = AttemptError {
                    phase: ClientPhase::StartTls,
                    fault: AttemptFault::StartTlsRefused(reply),
                };
                match clear {
                    Some(clearance) => Ok(Encryption::Clear(clearance, Some(Box::new(failure)))),
                    None => Err(failure),
                }
            }
            ClientAction::Read
            | ClientAction::Ready
            | ClientAction::Body
            | ClientAction::Done(_)
            | ClientAction::Closed => Err(AttemptError {
                phase: ClientPhase::StartTls,
                fault: AttemptFault::Server(ClientFault::OutOfTurn),
            }),
        }
    }

    /// Makes the handshake.
    async fn handshake<S>(
        &self,
        stream: S,
        target: &Target<'_>,
        plan: Plan,
    ) -> Result<TlsSession<S>, AttemptError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let requirement = &target.requirement.tls;
        let now = self.clock.now();
        let handshake = async {
            match plan {
                Plan::RawKey => {
                    let tls = &self.tls;
                    tls.handshake_with_raw_key(stream, requirement, target.host, now)
                        .await
                }
                Plan::Certificate | Plan::ClearText => {
                    self.tls
                        .handshake(stream, requirement, target.host, now)
                        .await
                }
            }
        };
        let limit = self.timeouts.get().handshake;
        let error = |fault| AttemptError {
            phase: ClientPhase::Handshake,
            fault,
        };
        timeout(limit, handshake)
            .await
            .map_err(|_| error(AttemptFault::Timeout(limit)))?
            .map_err(|failure| error(AttemptFault::Tls(failure)))
    }
}

/// Opens a stream; while this machine has no room for one, waits for that.
///
/// Failures that are ours come at once, and would use up the attempts of all that waits.
async fn dial_patiently<S, F>(limit: Duration, dial: impl Fn() -> F) -> Result<S, AttemptFault>
where
    F: Future<Output = io::Result<S>>,
{
    let mut shortage = None;
    let dialling = async {
        loop {
            let failure = match dial().await {
                Ok(stream) => return Ok(stream),
                Err(failure) => failure,
            };
            match Shortage::behind(&failure) {
                Some(short) if short.is_passing() => shortage = Some(short),
                Some(_) | None => return Err(AttemptFault::of_dialling(&failure)),
            }
            sleep(SHORTAGE_PAUSE).await;
            shortage = None;
        }
    };
    let dialled = timeout(limit, dialling).await;
    dialled.unwrap_or_else(|_| {
        Err(match shortage {
            Some(shortage) => AttemptFault::Exhausted(shortage),
            None => AttemptFault::Timeout(limit),
        })
    })
}

/// Whom to connect to, and what must hold.
#[derive(Clone, Copy, Debug)]
struct Target<'a> {
    /// The name in the MX record; none for an address literal.
    host: Option<&'a DomainName>,
    /// Where it is.
    address: SocketAddr,
    /// What must hold.
    requirement: &'a Requirement,
}

/// How a connection is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Plan {
    /// With TLS, where it is offered; the server shows a certificate.
    Certificate,
    /// With TLS; the server shows a bare key.
    RawKey,
    /// In clear text.
    ClearText,
}

impl Plan {
    /// What may be tried on one new connection after a failure of TLS.
    fn after(failure: &AttemptError, requirement: &Requirement) -> Option<Self> {
        let bare_key = match &failure.fault {
            AttemptFault::Tls(failure) => failure.suggests_raw_key(),
            AttemptFault::Network(_)
            | AttemptFault::Timeout(_)
            | AttemptFault::Server(_)
            | AttemptFault::Unsupported(_)
            | AttemptFault::StartTlsNotOffered
            | AttemptFault::StartTlsRefused(_)
            | AttemptFault::Message(_)
            | AttemptFault::Crowded
            | AttemptFault::Exhausted(_) => false,
        };
        match (&requirement.tls, requirement.require_tls) {
            (TlsRequirement::Dane { .. }, _) if bare_key => Some(Self::RawKey),
            (TlsRequirement::Opportunistic, RequireTls::NotDemanded) => {
                failure.result_type().map(|_| Self::ClearText)
            }
            (
                TlsRequirement::Opportunistic
                | TlsRequirement::Encrypt
                | TlsRequirement::MtaSts { .. }
                | TlsRequirement::Dane { .. },
                RequireTls::NotDemanded | RequireTls::Demanded,
            ) => None,
        }
    }
}

/// How a connection goes on.
#[derive(Debug)]
enum Encryption {
    /// Under TLS.
    Tls,
    /// In clear text, which the requirement allows; why, if the server offers TLS.
    Clear(Clearance, Option<Box<AttemptError>>),
}

/// How long to wait for room on this machine before the next try.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

/// Where the log lines of connections come from.
const CONNECTION: &str = "byrnie::connection";
