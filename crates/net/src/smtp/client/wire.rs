//! Moves the bytes of a session.

use std::io;

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
use tokio::io::ReadHalf;
use tokio::io::WriteHalf;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::AttemptError;
use super::AttemptFault;
use super::ClientTimeouts;

/// A session and the stream on which it is played.
pub(super) struct Wire<S> {
    /// Where replies come from.
    reader: ReadHalf<S>,
    /// Where commands go.
    writer: WriteHalf<S>,
    /// What to do.
    pub(super) session: ClientSession,
    /// What was read and not taken yet.
    input: BytesMut,
    /// What the session waits for, and until when.
    waiting: Option<(ClientPhase, u64, Instant)>,
    /// How long it may wait.
    pub(super) timeouts: ClientTimeouts,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire<S> {
    /// A session on a stream, on which nothing was read yet.
    pub(super) fn new(stream: S, session: ClientSession, timeouts: ClientTimeouts) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            session,
            input: BytesMut::new(),
            waiting: None,
            timeouts,
        }
    }

    /// The stream and the session, without anything that was read.
    pub(super) fn into_parts(self) -> (S, ClientSession) {
        (self.reader.unsplit(self.writer), self.session)
    }

    /// The same, whatever the stream is.
    pub(super) fn boxed(self) -> Wire<Box<dyn MailStream>>
    where
        S: 'static,
    {
        let stream: Box<dyn MailStream> = Box::new(self.reader.unsplit(self.writer));
        let (reader, writer) = tokio::io::split(stream);
        Wire {
            reader,
            writer,
            session: self.session,
            input: self.input,
            waiting: self.waiting,
            timeouts: self.timeouts,
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
        let limit = self.timeouts.block;
        // All of it has so much time, so that a server that takes an octet now and then gains nothing.
        let deadline = Instant::now() + limit;
        let mut written = 0;
        loop {
            let output = self.session.output();
            let rest = output.get(written..).unwrap_or_default();
            if rest.is_empty() {
                output.clear();
                return self.flush_stream().await.map(|()| None);
            }
            self.input.reserve(READ_OCTETS);
            let mut space = (&mut self.input).limit(READ_OCTETS);
            let moved = tokio::select! {
                sent = timeout_at(deadline, self.writer.write(rest)) => match sent {
                    Ok(Ok(sent)) => Moved::Out(sent),
                    Ok(Err(error)) => Moved::Broken(error),
                    Err(_) => return Err(self.error(AttemptFault::Timeout(limit))),
                },
                read = self.reader.read_buf(&mut space) => match read {
                    Ok(0) => Moved::Broken(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => Moved::In,
                    Err(error) => Moved::Broken(error),
                },
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
        self.writer.shutdown().await
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
        let output = self.session.output();
        if output.is_empty() {
            return Ok(());
        }
        let limit = self.timeouts.of(phase);
        let error = |fault| AttemptError { phase, fault };
        let write = async {
            self.writer.write_all(output).await?;
            self.writer.flush().await
        };
        timeout(limit, write)
            .await
            .map_err(|_| error(AttemptFault::Timeout(limit)))?
            .map_err(|failure| error(AttemptFault::Network(failure.kind())))?;
        output.clear();
        Ok(())
    }

    /// Lets layers below write what they hold back.
    async fn flush_stream(&mut self) -> Result<(), AttemptError> {
        let limit = self.timeouts.block;
        timeout(limit, self.writer.flush())
            .await
            .map_err(|_| self.error(AttemptFault::Timeout(limit)))?
            .map_err(|failure| self.error(AttemptFault::Network(failure.kind())))
    }

    /// Reads more; each reply has so much time as a whole, so that a server that sends an octet now and
    /// then gains nothing.
    async fn read(&mut self) -> Result<(), AttemptError> {
        let (phase, replies) = (self.session.phase(), self.session.replies());
        let limit = self.timeouts.of(phase);
        let deadline = match self.waiting {
            Some((before, read, deadline)) if (before, read) == (phase, replies) => deadline,
            Some(_) | None => Instant::now() + limit,
        };
        self.waiting = Some((phase, replies, deadline));
        if self.input.is_empty() {
            self.input = BytesMut::with_capacity(READ_OCTETS);
        }
        self.input.reserve(READ_OCTETS);
        let mut space = (&mut self.input).limit(READ_OCTETS);
        let read = timeout_at(deadline, self.reader.read_buf(&mut space)).await;
        match read {
            Ok(Ok(0)) => Err(self.error(AttemptFault::Network(io::ErrorKind::UnexpectedEof))),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(failure)) => Err(self.error(AttemptFault::Network(failure.kind()))),
            Err(_) => Err(self.error(AttemptFault::Timeout(limit))),
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

/// How much is read at once; a reply is rarely longer.
const READ_OCTETS: usize = 4 * 1_024;

/// How long the reply of a server that has closed is waited for.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);
