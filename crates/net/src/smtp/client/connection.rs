//! A connection that is ready for mail.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;

use byrnie_base::DomainName;
use byrnie_policy::TlsRequirement;
use byrnie_smtp::BodyRoom;
use byrnie_smtp::Channel;
use byrnie_smtp::ClientAction;
use byrnie_smtp::ClientFault;
use byrnie_smtp::ClientPhase;
use byrnie_smtp::Transaction;
use byrnie_smtp::TransactionOutcome;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::time::timeout;
use tracing::debug;
use tracing::info;

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
    /// Whether it may be used on.
    condition: Condition,
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
        /// The failure of TLS on another connection, after which this one was made.
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
            condition: Condition::Sound,
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

    /// Whether it was made for exactly this requirement on TLS, so that it may be shared.
    #[must_use]
    pub fn is_for(&self, requirement: &TlsRequirement) -> bool {
        self.clearance.is_for(requirement)
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
        transaction: &Transaction,
        message: impl AsyncRead + Send,
    ) -> Result<TransactionOutcome, AttemptError> {
        let sent = transact(&self.clearance, &mut self.wire, transaction, message).await;
        match &sent {
            Ok(outcome) => {
                let accepted = outcome
                    .recipients
                    .iter()
                    .filter(|(_, answer)| answer.is_ok());
                info!(
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
                info!(target: CONNECTION, %failure, "not sent");
            }
        }
        sent
    }

    /// Takes leave and closes, without waiting for long.
    pub async fn quit(mut self) {
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
    transaction: &Transaction,
    message: impl AsyncRead + Send,
) -> Result<TransactionOutcome, AttemptError> {
    wire.session
        .begin(transaction.clone())
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

/// Hands over the message, piece by piece.
async fn hand_over<S: AsyncRead + AsyncWrite + Send + Unpin>(
    wire: &mut Wire<S>,
    message: impl AsyncRead + Send,
) -> Result<ClientAction, AttemptError> {
    let mut message = pin!(message);
    let mut piece = vec![0; PIECE_OCTETS];
    loop {
        let action = match wire.session.body_room() {
            BodyRoom::Open => {
                let read = message.read(&mut piece).await;
                let read = read.map_err(|error| wire.error(AttemptFault::Message(error.kind())))?;
                match piece.get(..read) {
                    Some(octets) if read > 0 => wire.session.body(octets),
                    Some(_) | None => {
                        wire.session.body_end();
                        return match wire.flush_watching().await? {
                            Some(action) => Ok(action),
                            None => wire.exchange().await,
                        };
                    }
                }
                wire.flush_watching().await?
            }
            BodyRoom::Full => Some(wire.read_reply().await?),
            BodyRoom::Closed => return wire.exchange().await,
        };
        if let Some(done @ ClientAction::Done(_)) = action {
            return Ok(done);
        }
    }
}

/// How much of a message is handed over at once: a chunk, where the server takes chunks.
const PIECE_OCTETS: usize = 64 * 1_024;
