//! A connection that is ready for mail.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_policy::Requirement;
use byrnie_smtp::BodyRoom;
use byrnie_smtp::Channel;
use byrnie_smtp::ClientAction;
use byrnie_smtp::ClientFault;
use byrnie_smtp::ClientPhase;
use byrnie_smtp::Transaction;
use byrnie_smtp::TransactionOutcome;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio::time::timeout;
use tracing::debug;

use super::AttemptError;
use super::AttemptFault;
use super::CONNECTION;
use super::Plan;
use super::Target;
use super::wire::MailStream;
use super::wire::Wire;
use crate::tls::Clearance;
use crate::tls::TlsFacts;

/// A connection that is ready for mail, under the requirement that it was made for.
///
/// Invariant: made with the [`Clearance`] that the requirement is met, without which there is no
/// connection, and so no mail.
pub struct Connection {
    /// The session and its stream.
    wire: Wire<Box<dyn MailStream>>,
    /// What is known about it.
    channel: ChannelFacts,
    /// The witness that mail may travel on it.
    clearance: Clearance,
    /// All that it was made for.
    requirement: Requirement,
    /// Whether it may be used on.
    condition: Condition,
    /// When it stood ready for the first time.
    begun: Instant,
    /// Messages that were sent over it, or should have been.
    messages: u32,
}

/// What is known about a connection, for receipts and reports.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelFacts {
    /// The name in the MX record; none for an address literal.
    pub host: Option<DomainName>,
    /// Where it is.
    pub address: SocketAddr,
    /// What the server's greeting said.
    pub greeting: String,
    /// What the mail travels in.
    pub security: ChannelSecurity,
}

/// What mail travels in.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelSecurity {
    /// Nothing.
    Clear {
        /// The failure of TLS, on this connection or on one before it, behind which it goes on like this.
        after: Option<Box<AttemptError>>,
    },
    /// TLS.
    Tls(TlsFacts),
}

impl fmt::Display for ChannelSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clear { after: None } => f.write_str("clear text"),
            Self::Clear { after: Some(error) } => write!(f, "clear text after {error}"),
            Self::Tls(facts) => write!(f, "{} {}", facts.version, facts.cipher_suite),
        }
    }
}

impl Connection {
    /// A connection whose session stands ready.
    pub(super) fn new<S>(
        wire: Wire<S>,
        target: &Target<'_>,
        security: ChannelSecurity,
        clearance: Clearance,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let greeting = wire.session.greeting().map(ToString::to_string);
        Self {
            wire: wire.boxed(),
            channel: ChannelFacts {
                host: target.host.cloned(),
                address: target.address,
                greeting: greeting.unwrap_or_default(),
                security,
            },
            clearance,
            requirement: target.requirement.clone(),
            condition: Condition::Sound,
            begun: Instant::now(),
            messages: 0,
        }
    }

    /// Tells after which failure this connection was made.
    pub(super) fn after(mut self, plan: Plan, failure: AttemptError) -> Self {
        match (&mut self.channel.security, plan) {
            (ChannelSecurity::Clear { after }, Plan::ClearText) => *after = Some(Box::new(failure)),
            (ChannelSecurity::Clear { .. }, Plan::Certificate | Plan::RawKey)
            | (ChannelSecurity::Tls(_), _) => {}
        }
        self
    }

    /// What is known about it.
    #[must_use]
    pub fn channel(&self) -> &ChannelFacts {
        &self.channel
    }

    /// Whether it was made for exactly this, so that it may be shared.
    #[must_use]
    pub fn is_for(
        &self,
        host: Option<&DomainName>,
        address: SocketAddr,
        requirement: &Requirement,
    ) -> bool {
        self.channel.address == address
            && self.channel.host.as_ref() == host
            && self.requirement == *requirement
            && self.clearance.is_for(&requirement.tls)
    }

    /// How long ago it stood ready for the first time.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How many messages were sent over it, or should have been.
    pub(super) fn messages(&self) -> u32 {
        self.messages
    }

    /// Whether the server has said nothing unasked, such as that it closes.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.wire.is_quiet()
    }

    /// Whether another transaction may begin on it.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.condition == Condition::Sound && self.wire.session.is_reusable()
    }

    /// Whether the server offers `REQUIRETLS`, under TLS.
    pub(super) fn offers_require_tls(&self) -> bool {
        let session = &self.wire.session;
        session.channel() == Channel::Tls && session.offered().require_tls
    }

    /// Sends a message; the octets of `message` are its content, with any line ends.
    ///
    /// # Errors
    /// Says how far it came. Where nothing was sent because the server lacks an extension, the
    /// connection may be used on; else [`is_reusable`](Self::is_reusable) says whether it may.
    pub async fn send(
        &mut self,
        transaction: Transaction,
        message: impl MessageSource,
    ) -> Result<TransactionOutcome, AttemptError> {
        self.messages = self.messages.saturating_add(1);
        self.wire.begin_transaction(transaction.size);
        let sent = transact(&self.clearance, &mut self.wire, transaction, message).await;
        self.wire.end_transaction();
        match &sent {
            Ok(outcome) => {
                let accepted = outcome
                    .recipients
                    .iter()
                    .filter(|(_, answer)| answer.is_ok());
                debug!(
                    target: CONNECTION,
                    recipients = outcome.recipients.len(),
                    accepted = accepted.count(),
                    reply = %outcome.reply,
                    "sent"
                );
            }
            Err(failure) => {
                if !matches!(failure.fault, AttemptFault::Unsupported(_)) {
                    self.condition = Condition::Broken;
                }
                debug!(target: CONNECTION, %failure, "not sent");
            }
        }
        sent
    }

    /// Takes leave and closes, without waiting for long.
    ///
    /// Behind a message that broke off nothing more is written, not even what layers below hold back:
    /// the server may read on in the message, and would take the rest of it, written at the wrong
    /// place or too late, for its end.
    pub async fn quit(mut self) {
        if !self.is_reusable() {
            debug!(target: CONNECTION, "left without a word");
            return;
        }
        let limit = self.wire.timeouts.quit;
        let leave = async {
            self.wire.session.quit();
            let last = self.wire.exchange().await?;
            let closed = self.wire.close().await;
            closed.map_err(|error| self.wire.error(AttemptFault::Network(error.kind())))?;
            Ok::<_, AttemptError>(last)
        };
        if let Ok(Err(failure)) = timeout(limit, leave).await {
            debug!(target: CONNECTION, %failure, "left without a word");
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("channel", &self.channel)
            .field("clearance", &self.clearance)
            .field("condition", &self.condition)
            .finish_non_exhaustive()
    }
}

/// Whether a connection may be used on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Condition {
    /// It may, if its session says so too.
    Sound,
    /// Something went wrong on it.
    Broken,
}

/// Sends a message, which takes the witness that it may travel on this connection.
async fn transact<S: AsyncRead + AsyncWrite + Send + Unpin>(
    _: &Clearance,
    wire: &mut Wire<S>,
    transaction: Transaction,
    message: impl MessageSource,
) -> Result<TransactionOutcome, AttemptError> {
    wire.session
        .begin(transaction)
        .map_err(|lacking| AttemptError {
            phase: ClientPhase::Ready,
            fault: AttemptFault::Unsupported(lacking),
        })?;
    let action = match wire.exchange().await? {
        ClientAction::Body => hand_over(wire, message).await?,
        action @ (ClientAction::Read
        | ClientAction::Ready
        | ClientAction::Handshake
        | ClientAction::TlsRefused(_)
        | ClientAction::Done(_)
        | ClientAction::Closed) => action,
    };
    match action {
        ClientAction::Done(outcome) => Ok(outcome),
        ClientAction::Read
        | ClientAction::Ready
        | ClientAction::Handshake
        | ClientAction::TlsRefused(_)
        | ClientAction::Body
        | ClientAction::Closed => Err(wire.error(AttemptFault::Server(ClientFault::OutOfTurn))),
    }
}

/// Where the octets of a message come from.
pub trait MessageSource: Send {
    /// The next piece, of any size; an empty one behind the last.
    ///
    /// An error means that the message cannot be read, or is not whole: it is then not sent to its end.
    fn piece(&mut self) -> impl Future<Output = io::Result<&[u8]>> + Send;
}

impl MessageSource for &[u8] {
    async fn piece(&mut self) -> io::Result<&[u8]> {
        Ok(std::mem::take(self))
    }
}

/// Hands over the message, piece by piece.
///
/// Pieces go out together up to a bound, so that a small message and its end are one write.
async fn hand_over<S: AsyncRead + AsyncWrite + Send + Unpin>(
    wire: &mut Wire<S>,
    mut message: impl MessageSource,
) -> Result<ClientAction, AttemptError> {
    loop {
        let piece = message.piece().await;
        let piece = piece.map_err(|error| wire.error(AttemptFault::Message(error.kind())))?;
        if piece.is_empty() {
            wire.session.body_end();
            return match wire.flush_watching().await? {
                Some(action) => Ok(action),
                None => {
                    wire.end_transaction();
                    wire.exchange().await
                }
            };
        }
        for chunk in piece.chunks(CHUNK_OCTETS) {
            if let Some(done) = hand_over_chunk(wire, chunk).await? {
                return Ok(done);
            }
        }
    }
}

/// Hands over a part of the message once there is room; gives an action if the message is not wanted
/// any more.
async fn hand_over_chunk<S: AsyncRead + AsyncWrite + Send + Unpin>(
    wire: &mut Wire<S>,
    chunk: &[u8],
) -> Result<Option<ClientAction>, AttemptError> {
    loop {
        let action = match wire.session.body_room() {
            BodyRoom::Open => {
                wire.session.body(chunk);
                if wire.session.output().len() < WRITE_OCTETS_MIN {
                    return Ok(None);
                }
                return Ok(wire.flush_watching().await?.filter(is_done));
            }
            // What is waited for is the answer to what may not have been written yet.
            BodyRoom::Full => match wire.flush_watching().await? {
                Some(action) => action,
                None => wire.read_reply().await?,
            },
            BodyRoom::Closed => return wire.exchange().await.map(Some),
        };
        if is_done(&action) {
            return Ok(Some(action));
        }
    }
}

/// Whether the transaction is at its end.
fn is_done(action: &ClientAction) -> bool {
    match action {
        ClientAction::Done(_) => true,
        ClientAction::Read
        | ClientAction::Ready
        | ClientAction::Handshake
        | ClientAction::TlsRefused(_)
        | ClientAction::Body
        | ClientAction::Closed => false,
    }
}

/// How much of a message is a chunk, where the server takes chunks.
const CHUNK_OCTETS: usize = 64 * 1_024;

/// How much of a message is written at once, unless it ends before. What gathers is at most twice a
/// chunk more, as every octet of it might be a line end.
const WRITE_OCTETS_MIN: usize = 64 * 1_024;
