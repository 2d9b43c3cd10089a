//! Why a session with a server cannot go on.

use std::fmt;

use crate::Reply;
use crate::ReplyError;

/// Why a session with a server cannot go on, and how far it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientError {
    /// What the session waited for.
    pub phase: ClientPhase,
    /// What is wrong.
    pub why: ClientFault,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase, self.why)
    }
}

impl std::error::Error for ClientError {}

/// What is wrong with what a server said.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientFault {
    /// It closes the connection: try later.
    Closing(Reply),
    /// It wants no session: what to do follows from the reply's class.
    Rejected(Reply),
    /// It said something that is no reply: try later, or elsewhere.
    Garbage(ReplyError),
    /// Its reply cannot follow this command: try later, or elsewhere.
    Unexpected(Reply),
    /// It replied before it was asked: try later, or elsewhere.
    OutOfTurn,
    /// Something came behind the reply to `STARTTLS` in clear text: somebody on the way may have put
    /// it there, so that the handshake is a failure.
    InjectedBeforeTls,
}

impl fmt::Display for ClientFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closing(reply) => write!(f, "the server closes the connection: {reply}"),
            Self::Rejected(reply) => write!(f, "the server wants no session: {reply}"),
            Self::Garbage(error) => write!(f, "the server broke the protocol: {error}"),
            Self::Unexpected(reply) => write!(f, "this reply cannot come here: {reply}"),
            Self::OutOfTurn => f.write_str("the server replied before it was asked"),
            Self::InjectedBeforeTls => f.write_str("replies were injected before TLS"),
        }
    }
}

/// How far an attempt came; what it waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClientPhase {
    /// The connection.
    Connect,
    /// The server's greeting.
    Greeting,
    /// The reply to `EHLO` or `HELO`.
    Hello,
    /// The reply to `STARTTLS`.
    StartTls,
    /// The end of the handshake.
    Handshake,
    /// Nothing: the session stands ready.
    Ready,
    /// The reply to `MAIL`, or to the `RSET` before it.
    Mail,
    /// The reply to `RCPT`.
    Recipient,
    /// The reply to `DATA`.
    Data,
    /// That the message is written.
    Body,
    /// The reply to the end of the message, or to a chunk.
    End,
    /// The reply to `QUIT`.
    Quit,
}

impl fmt::Display for ClientPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Hello => "hello",
            Self::StartTls => "starttls",
            Self::Handshake => "handshake",
            Self::Ready => "ready",
            Self::Mail => "mail",
            Self::Recipient => "recipient",
            Self::Data => "data",
            Self::Body => "body",
            Self::End => "end-of-message",
            Self::Quit => "quit",
        })
    }
}
