//! One session: moves its bytes, asks the service, keeps the time.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ServerAction;
use byrnie_smtp::ServerSession;
use byrnie_smtp::ServerWait;
use byrnie_smtp::replies;
use bytes::Buf;
use bytes::Bytes;
use rustls::ProtocolVersion;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;
use tokio_rustls::server::TlsStream;
use tracing::Span;
use tracing::debug;
use tracing::info;

use super::IncomingMessage;
use super::MailService;
use super::Running;
use super::SESSION;
use super::Server;
use super::SessionFacts;
use super::SessionTls;
use super::Setup;
use super::memory::MESSAGE_READ_OCTETS;
use super::memory::NoRoom;
use super::memory::Room;
use crate::tls::TlsVersion;

/// One session with its client.
///
/// Its futures are small, and what a message needs is allocated for the message: most sessions wait
/// for their client most of the time, and there are many of them.
pub(super) struct Conversation<M: MailService> {
    /// What all sessions share.
    server: Arc<Server<M>>,
    /// By what it goes.
    setup: Arc<Setup>,
    /// What to do.
    session: ServerSession,
    /// What the service learns about the session.
    facts: SessionFacts,
    /// The message that the service takes.
    incoming: Option<UnderWay<M::Incoming>>,
    /// What was read and not taken yet.
    input: Bytes,
    /// What the session waits for, and since when.
    waiting: (ServerWait, Instant),
    /// Whether the session may go on.
    stopping: watch::Receiver<Running>,
    /// How many messages were accepted.
    messages: u64,
    /// How many refused commands were held against the client.
    errors: u64,
}

impl<M: MailService> Conversation<M> {
    /// A session that begins.
    pub(super) fn new(
        server: Arc<Server<M>>,
        setup: Arc<Setup>,
        facts: SessionFacts,
        stopping: watch::Receiver<Running>,
    ) -> Self {
        let session = ServerSession::new(Arc::clone(&setup.settings));
        Self {
            waiting: (session.wait(), Instant::now()),
            server,
            setup,
            session,
            facts,
            incoming: None,
            input: Bytes::new(),
            stopping,
            messages: 0,
            errors: 0,
        }
    }

    /// Plays the session to its end.
    pub(super) async fn run<S>(&mut self, mut stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let ended = match self.converse(&mut stream).await {
            Ok(Leave::StartTls) => Box::pin(self.run_under_tls(stream)).await,
            Ok(Leave::Close) => Box::pin(close(&mut stream)).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => info!(target: SESSION, messages = self.messages, "ended"),
            Err(error) => {
                info!(target: SESSION, messages = self.messages, %error, "broken off");
            }
        }
    }

    /// Makes the handshake, and goes on under TLS.
    async fn run_under_tls<S>(&mut self, stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        // What came in clear text has no part in what follows.
        self.input = Bytes::new();
        self.incoming = None;
        let mut stream = Box::pin(self.start_tls(stream)).await?;
        match self.converse(&mut *stream).await? {
            Leave::Close => Box::pin(close(&mut *stream)).await,
            Leave::StartTls => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Makes the handshake, and notes what came of it.
    async fn start_tls<S>(&mut self, stream: S) -> io::Result<Box<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let tls = self.setup.tls.as_ref();
        let tls = tls.ok_or(io::ErrorKind::Unsupported)?;
        let handshake = timeout(self.setup.config.timeouts.handshake, tls.accept(stream));
        let stream = Box::new(handshake.await.map_err(|_| io::ErrorKind::TimedOut)??);
        let connection = stream.get_ref().1;
        let suite = connection.negotiated_cipher_suite();
        let suite = suite
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or_default();
        let facts = SessionTls {
            version: if connection.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
                TlsVersion::Tls12
            } else {
                TlsVersion::Tls13
            },
            // The library marks the suites of TLS 1.3 in a way that IANA does not.
            cipher_suite: suite.replacen("TLS13_", "TLS_", 1),
        };
        Span::current().record("tls", tracing::field::display(&facts));
        self.facts.tls = Some(facts);
        self.facts.hello = None;
        self.session.tls_started();
        Ok(stream)
    }

    /// Moves bytes until the session ends, or goes on under TLS.
    async fn converse<S>(&mut self, stream: &mut S) -> io::Result<Leave>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let mut action = self.advance();
        loop {
            action = match action {
                ServerAction::Read => match self.flush_and_read(stream).await? {
                    Some(action) => action,
                    None => return Ok(Leave::Close),
                },
                ServerAction::StartTls => {
                    self.flush(stream).await?;
                    return Ok(Leave::StartTls);
                }
                ServerAction::Close => {
                    self.incoming = None;
                    self.flush(stream).await?;
                    return Ok(Leave::Close);
                }
                ServerAction::AskRecipient { .. }
                | ServerAction::Begin(_)
                | ServerAction::Write
                | ServerAction::Commit
                | ServerAction::Abort => match Box::pin(self.take_message(stream, action)).await? {
                    Some(action) => action,
                    None => return Ok(Leave::Close),
                },
            };
        }
    }

    /// Asks the service what the session asks, and reads on, until no message is under way.
    ///
    /// Says what comes next, unless the client has closed.
    async fn take_message<S>(
        &mut self,
        stream: &mut S,
        mut action: ServerAction,
    ) -> io::Result<Option<ServerAction>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        loop {
            match action {
                ServerAction::Read if self.session.is_between_messages() => {
                    return Ok(Some(action));
                }
                ServerAction::Read => match self.flush_and_read(stream).await? {
                    Some(next) => {
                        action = next;
                        continue;
                    }
                    None => return Ok(None),
                },
                ServerAction::AskRecipient {
                    reverse_path,
                    recipient,
                } => {
                    self.note_hello();
                    let question =
                        self.server
                            .service
                            .recipient(&self.facts, &reverse_path, &recipient);
                    let answer = question.await;
                    self.session.recipient_answered(answer);
                }
                ServerAction::Begin(envelope) => {
                    self.note_hello();
                    let answer = self.begin(envelope).await;
                    self.session.begun(answer);
                }
                ServerAction::Write => {
                    let answer = self.write().await;
                    self.session.written(answer);
                }
                ServerAction::Commit => {
                    let answer = self.commit().await;
                    self.session.committed(answer);
                }
                ServerAction::Abort => self.incoming = None,
                ServerAction::StartTls | ServerAction::Close => return Ok(Some(action)),
            }
            action = self.advance();
        }
    }

    /// Lets the session go on with what was read before.
    fn advance(&mut self) -> ServerAction {
        let (consumed, action) = self.session.advance(&self.input);
        self.input.advance(consumed);
        action
    }

    /// Lets the service learn how the client greeted.
    fn note_hello(&mut self) {
        let hello = self.session.hello();
        if hello != self.facts.hello.as_ref() {
            self.facts.hello = hello.cloned();
            if let Some(hello) = hello {
                Span::current().record("client", tracing::field::display(&hello.name));
            }
        }
    }

    /// Lets the service begin to take a message, if there is room for it.
    async fn begin(&mut self, envelope: Envelope) -> Result<(), Reply> {
        let server = &self.server;
        let host = &self.setup.config.host;
        let in_rate = server
            .rates
            .begin_message(&self.setup.config.rates, self.facts.peer.ip());
        in_rate.map_err(|refused| refused.reply(host))?;
        let room = server.memory.begin().await;
        let room = room.map_err(|NoRoom| replies::no_room())?;
        let message = server.service.begin(&self.facts, envelope).await?;
        self.incoming = Some(UnderWay { message, room });
        Ok(())
    }

    /// Lets the service take part of the message.
    async fn write(&mut self) -> Result<(), Reply> {
        let Some(under_way) = &mut self.incoming else {
            return Ok(());
        };
        let answer = under_way.write(self.session.chunk()).await;
        if answer.is_err() {
            self.incoming = None;
        }
        answer
    }

    /// Lets the service make the message durable.
    async fn commit(&mut self) -> Result<Reply, Reply> {
        let Some(UnderWay { mut message, room }) = self.incoming.take() else {
            return Err(replies::message_lost());
        };
        message.note_content(self.session.content());
        let answer = message.commit().await;
        drop(room);
        match &answer {
            Ok(reply) => {
                self.messages += 1;
                info!(target: SESSION, %reply, "message accepted");
            }
            Err(reply) => info!(target: SESSION, %reply, "message refused"),
        }
        answer
    }

    /// Writes the replies that have gathered, in one go.
    async fn flush<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        let output = self.session.output();
        if output.is_empty() {
            return Ok(());
        }
        let write = async {
            stream.write_all(output).await?;
            stream.flush().await
        };
        timeout(self.setup.config.timeouts.block, write)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        *output = Vec::new();
        Ok(())
    }

    /// Answers, and reads more, unless time is up or the server is told to stop.
    ///
    /// Says what comes next, unless the client has closed.
    async fn flush_and_read<S>(&mut self, stream: &mut S) -> io::Result<Option<ServerAction>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(reply) = self.too_many_errors() {
            self.session.close(&reply);
            return Ok(Some(self.advance()));
        }
        self.flush(stream).await?;
        let deadline = self.deadline();
        let may_stop = self.session.is_between_messages();
        if may_stop && *self.stopping.borrow() == Running::No {
            self.session.shut_down();
            return Ok(Some(self.advance()));
        }
        let (session, rest) = (&mut self.session, &mut self.input);
        let read = poll_fn(|context| poll_advance(context, stream, session, rest));
        tokio::select! {
            biased;
            read = timeout_at(deadline, read) => match read {
                Ok(read) => return read,
                Err(_) => {
                    debug!(target: SESSION, "time is up");
                    self.session.timed_out();
                }
            },
            Ok(_) = self.stopping.wait_for(|running| *running == Running::No), if may_stop => {
                self.session.shut_down();
            }
        }
        Ok(Some(self.advance()))
    }

    /// Holds refused commands against the client; says so where they were too many.
    fn too_many_errors(&mut self) -> Option<Reply> {
        let errors = self.session.errors();
        let new = errors - self.errors;
        if new == 0 {
            return None;
        }
        self.errors = errors;
        let server = &self.server;
        let noted = server
            .rates
            .note_errors(&self.setup.config.rates, self.facts.peer.ip(), new);
        let refused = noted.err()?;
        Some(refused.reply(&self.setup.config.host))
    }

    /// When the wait for more must end.
    ///
    /// A command has so much time as a whole, and a message for each piece and as a whole, so that a
    /// client that sends an octet now and then gains nothing.
    fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        let wait = self.session.wait();
        if self.waiting.0 != wait {
            self.waiting = (wait, now);
        }
        let since = self.waiting.1;
        let timeouts = &self.setup.config.timeouts;
        match wait {
            ServerWait::Command(_) => since + timeouts.command,
            ServerWait::Message(_) => (now + timeouts.block).min(since + timeouts.message),
        }
    }
}

/// A message that the service takes.
struct UnderWay<I> {
    /// The message.
    message: I,
    /// Its memory.
    room: Room,
}

impl<I: IncomingMessage> UnderWay<I> {
    /// Lets the service take part of the message, and makes room for the next.
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Reply> {
        self.message.write(chunk).await?;
        let fits = self.room.fit(self.message.held()).await;
        fits.map_err(|NoRoom| replies::no_room())
    }
}

/// How a session leaves a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leave {
    /// It is over.
    Close,
    /// It goes on under TLS.
    StartTls,
}

/// Reads as much as is worth reading at once, and lets the session go on with it.
///
/// Says what comes next, unless the client has closed.
fn poll_advance<S: AsyncRead + Unpin>(
    context: &mut Context<'_>,
    stream: &mut S,
    session: &mut ServerSession,
    rest: &mut Bytes,
) -> Poll<io::Result<Option<ServerAction>>> {
    let room = match session.wait() {
        ServerWait::Command(_) => COMMAND_READ_OCTETS,
        ServerWait::Message(_) => MESSAGE_READ_OCTETS,
    };
    poll_through(context, stream, room, |octets| {
        if octets.is_empty() {
            return None;
        }
        let (consumed, action) = session.advance(octets);
        *rest = Bytes::copy_from_slice(octets.get(consumed..).unwrap_or_default());
        Some(action)
    })
}

/// Reads up to `room` octets, and shows them to `look`; none at the end of the stream.
///
/// They pass through a buffer of the thread, so that a session owns memory only for what its client has
/// sent and the session could not take yet, however long it waits.
fn poll_through<S: AsyncRead + Unpin, T>(
    context: &mut Context<'_>,
    stream: &mut S,
    room: usize,
    look: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    THROUGH.with_borrow_mut(|through| {
        through.resize(MESSAGE_READ_OCTETS, 0);
        let through = through.get_mut(..room).unwrap_or_default();
        let mut buffer = ReadBuf::new(through);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(look(buffer.filled())))
    })
}

thread_local! {
    /// What is read passes through it.
    static THROUGH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Closes so that the client can still read the last reply.
///
/// Where octets are left unread, closing resets the connection, and the client loses the reply.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    let linger = async {
        stream.shutdown().await?;
        let mut room = LINGER_OCTETS_MAX;
        while room > 0 {
            let piece = room.min(MESSAGE_READ_OCTETS);
            let read = poll_fn(|context| poll_through(context, stream, piece, <[u8]>::len));
            match read.await? {
                0 => break,
                octets => room -= octets,
            }
        }
        Ok::<(), io::Error>(())
    };
    // The client may have gone already, and has had its last reply then.
    if let Ok(Err(error)) = timeout(LINGER, linger).await {
        debug!(target: SESSION, %error, "the client has gone");
    }
    Ok(())
}

/// How much is read at once while a command is waited for.
const COMMAND_READ_OCTETS: usize = 4 * 1_024;

/// How long the client has to close.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// How many octets are read in vain while the client closes.
const LINGER_OCTETS_MAX: usize = 1_024 * 1_024;
