//! Moves the bytes of a session.

use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use byrnie_smtp::ClientAction;
use byrnie_smtp::ClientFault;
use byrnie_smtp::ClientPhase;
use byrnie_smtp::ClientSession;
use bytes::Buf;
use bytes::BufMut;
use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::AttemptError;
use super::AttemptFault;
use super::ClientTimeouts;

/// A session and the stream on which it is played.
pub(super) struct Wire<S> {
    /// Where commands go, and replies come from.
    stream: S,
    /// What to do.
    pub(super) session: ClientSession,
    /// What was read and not taken yet.
    input: BytesMut,
    /// What the session waits for, and until when.
    waiting: Option<(ClientPhase, u64, Limit)>,
    /// Until when the last octet of the message must have been written.
    transaction: Option<Limit>,
    /// How long it may wait.
    pub(super) timeouts: ClientTimeouts,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire<S> {
    /// A session on a stream, on which nothing was read yet.
    pub(super) fn new(stream: S, session: ClientSession, timeouts: ClientTimeouts) -> Self {
        Self {
            stream,
            session,
            input: BytesMut::new(),
            waiting: None,
            transaction: None,
            timeouts,
        }
    }

    /// The stream and the session, without anything that was read.
    pub(super) fn into_parts(self) -> (S, ClientSession) {
        (self.stream, self.session)
    }

    /// The same, whatever the stream is.
    pub(super) fn boxed(self) -> Wire<Box<dyn MailStream>>
    where
        S: 'static,
    {
        Wire {
            stream: Box::new(self.stream),
            session: self.session,
            input: self.input,
            waiting: self.waiting,
            transaction: self.transaction,
            timeouts: self.timeouts,
        }
    }

    /// Begins a transaction with a message of so many octets, which takes bounded time.
    pub(super) fn begin_transaction(&mut self, octets: u64) {
        self.transaction = Some(Limit::of(self.timeouts.of_transaction(octets)));
    }

    /// The transaction is over, or the message was written to its end: from then on the server may have
    /// accepted it, and is given its time to say so.
    pub(super) fn end_transaction(&mut self) {
        self.transaction = None;
    }

    /// A limit for one step, or what is left for all of them.
    fn limit(&self, step: Duration) -> Limit {
        let step = Limit::of(step);
        match self.transaction {
            Some(whole) if whole.at < step.at => whole,
            Some(_) | None => step,
        }
    }

    /// Moves bytes until there is something to do but to read.
    pub(super) async fn exchange(&mut self) -> Result<ClientAction, AttemptError> {
        loop {
            self.flush().await?;
            let action = self.advance()?;
            if action != ClientAction::Read {
                return Ok(action);
            }
            // An answer may have led to further commands.
            if self.session.output().is_empty() {
                self.read().await?;
            }
        }
    }

    /// Moves bytes until the session stands ready.
    pub(super) async fn expect_ready(&mut self) -> Result<(), AttemptError> {
        match self.exchange().await? {
            ClientAction::Ready => Ok(()),
            ClientAction::Read
            | ClientAction::Handshake
            | ClientAction::TlsRefused(_)
            | ClientAction::Body
            | ClientAction::Done(_)
            | ClientAction::Closed => Err(self.error(AttemptFault::Server(ClientFault::OutOfTurn))),
        }
    }

    /// Writes what has gathered, and takes replies meanwhile: a server may refuse a message in the
    /// middle, and one that waits for us to read must not make us wait for it to read.
    ///
    /// Gives an action where one came up before all was written.
    pub(super) async fn flush_watching(&mut self) -> Result<Option<ClientAction>, AttemptError> {
        // All of it has so much time, so that a server that takes an octet now and then gains nothing.
        let limit = self.limit(self.timeouts.block);
        let mut written = 0;
        loop {
            let output = self.session.output();
            let rest = output.get(written..).unwrap_or_default();
            if rest.is_empty() {
                output.clear();
                return self.flush_stream().await.map(|()| None);
            }
            let (stream, input) = (&mut self.stream, &mut self.input);
            let moving = poll_fn(|context| {
                let sent = Pin::new(&mut *stream).poll_write(context, rest);
                match sent {
                    Poll::Ready(Ok(sent)) => Poll::Ready(Moved::Out(sent)),
                    Poll::Ready(Err(error)) => Poll::Ready(Moved::Broken(error)),
                    Poll::Pending => poll_read(stream, input, context).map(Moved::by_reading),
                }
            });
            let Ok(moved) = timeout_at(limit.at, moving).await else {
                return Err(self.error(limit.fault()));
            };
            match moved {
                Moved::Out(0) => {
                    return Err(self.error(AttemptFault::Network(io::ErrorKind::WriteZero)));
                }
                Moved::Out(sent) => written += sent,
                Moved::Broken(error) => return self.last_words(&error).await.map(Some),
                Moved::In => {
                    let action = self.advance()?;
                    if matches!(action, ClientAction::Done(_)) {
                        return Ok(Some(action));
                    }
                }
            }
        }
    }

    /// Reads once, and says what to do then.
    pub(super) async fn read_reply(&mut self) -> Result<ClientAction, AttemptError> {
        self.read().await?;
        self.advance()
    }

    /// Closes for writing.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Whether nothing has come since the last reply, not even the end: what a server says unasked is
    /// that it closes.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.input.is_empty()
            && poll_read(&mut self.stream, &mut self.input, &mut context).is_pending()
    }

    /// An error in the present phase.
    pub(super) fn error(&self, fault: AttemptFault) -> AttemptError {
        AttemptError {
            phase: self.session.phase(),
            fault,
        }
    }

    /// Hands what was read to the session.
    fn advance(&mut self) -> Result<ClientAction, AttemptError> {
        let (consumed, action) = self.session.advance(&self.input)?;
        self.input.advance(consumed);
        Ok(action)
    }

    /// Writes the commands that have gathered.
    async fn flush(&mut self) -> Result<(), AttemptError> {
        let phase = self.session.phase();
        if self.session.output().is_empty() {
            return Ok(());
        }
        let limit = self.limit(self.timeouts.of(phase));
        let output = self.session.output();
        let error = |fault| AttemptError { phase, fault };
        let write = async {
            self.stream.write_all(output).await?;
            self.stream.flush().await
        };
        timeout_at(limit.at, write)
            .await
            .map_err(|_| error(limit.fault()))?
            .map_err(|failure| error(AttemptFault::Network(failure.kind())))?;
        output.clear();
        Ok(())
    }

    /// Lets layers below write what they hold back.
    async fn flush_stream(&mut self) -> Result<(), AttemptError> {
        let limit = self.limit(self.timeouts.block);
        timeout_at(limit.at, self.stream.flush())
            .await
            .map_err(|_| self.error(limit.fault()))?
            .map_err(|failure| self.error(AttemptFault::Network(failure.kind())))
    }

    /// Reads more; each reply has so much time as a whole, so that a server that sends an octet now and
    /// then gains nothing.
    async fn read(&mut self) -> Result<(), AttemptError> {
        let (phase, replies) = (self.session.phase(), self.session.replies());
        let limit = match self.waiting {
            Some((before, read, limit)) if (before, read) == (phase, replies) => limit,
            Some(_) | None => self.limit(self.timeouts.of(phase)),
        };
        self.waiting = Some((phase, replies, limit));
        let (stream, input) = (&mut self.stream, &mut self.input);
        let reading = poll_fn(|context| poll_read(stream, input, context));
        match timeout_at(limit.at, reading).await {
            Ok(Ok(0)) => Err(self.error(AttemptFault::Network(io::ErrorKind::UnexpectedEof))),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(failure)) => Err(self.error(AttemptFault::Network(failure.kind()))),
            Err(_) => Err(self.error(limit.fault())),
        }
    }

    /// Reads what a server may have said before it closed in the middle of a message.
    async fn last_words(&mut self, broken: &io::Error) -> Result<ClientAction, AttemptError> {
        let error = self.error(AttemptFault::Network(broken.kind()));
        let words = async {
            loop {
                if let done @ ClientAction::Done(_) = self.advance()? {
                    return Ok::<_, AttemptError>(done);
                }
                self.read().await?;
            }
        };
        match timeout(LAST_WORDS, words).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(last)) if last.reply().is_some() => Err(last),
            Ok(Err(_)) | Err(_) => Err(error),
        }
    }
}

/// How long something may take.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Until when.
    at: Instant,
    /// How long that is, from when it began.
    time: Duration,
}

impl Limit {
    /// From now on.
    fn of(time: Duration) -> Self {
        Self {
            at: Instant::now() + time,
            time,
        }
    }

    /// It has taken longer.
    fn fault(self) -> AttemptFault {
        AttemptFault::Timeout(self.time)
    }
}

/// Reads more, if there is more.
fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    input.reserve(READ_OCTETS);
    let mut space = input.limit(READ_OCTETS);
    pin!(stream.read_buf(&mut space)).poll(context)
}

/// A stream on which mail travels.
pub(super) trait MailStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> MailStream for S {}

/// What moved on a stream.
#[derive(Debug)]
enum Moved {
    /// So many octets, out.
    Out(usize),
    /// Something came in.
    In,
    /// Nothing will move any more.
    Broken(io::Error),
}

impl Moved {
    /// What has happened when a stream was read.
    fn by_reading(read: io::Result<usize>) -> Self {
        match read {
            Ok(0) => Self::Broken(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Self::In,
            Err(error) => Self::Broken(error),
        }
    }
}

/// How much is read at once; a reply is rarely longer.
const READ_OCTETS: usize = 4 * 1_024;

/// How long the reply of a server that has closed is waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);
