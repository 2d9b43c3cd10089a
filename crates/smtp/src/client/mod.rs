//! The client's side of a session: RFC 5321, Sections 3 and 4, as a relay plays it.

mod error;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;

use byrnie_base::MailDomain;

pub use self::error::ClientError;
pub use self::error::ClientFault;
pub use self::error::ClientPhase;
pub use self::transaction::Transaction;
pub use self::transaction::TransactionOutcome;
pub use self::transaction::Unsupported;

use crate::BodyWriter;
use crate::Capabilities;
use crate::Channel;
use crate::Framing;
use crate::Reply;
use crate::ReplyClass;
use crate::ReplyReader;

/// The client's side of a session, without I/O.
///
/// The driver calls [`advance`](Self::advance) with what it has read, drops as many octets as were
/// taken, and does what the action says. Commands gather in [`output`](Self::output); the driver writes
/// them before it reads again. After [`ClientAction::Ready`] it may call [`start_tls`](Self::start_tls),
/// [`begin`](Self::begin) or [`quit`](Self::quit).
///
/// Invariant: holds one reply, the commands of one pipelined group, one chunk of the message, and one
/// reply for each recipient.
#[derive(Debug)]
pub struct ClientSession {
    /// What this client calls itself.
    name: MailDomain,
    /// What the octets travel in.
    channel: Channel,
    /// What the server's greeting said.
    greeting: Option<Reply>,
    /// What the server offers on this channel.
    offered: Capabilities,
    /// The reply that is being read.
    reader: ReplyReader,
    /// What was asked and not answered yet.
    expected: VecDeque<Expected>,
    /// The commands that were not written yet.
    output: Vec<u8>,
    /// The transaction that is under way.
    sending: Option<Box<Sending>>,
    /// Whether the server may still hold parts of a transaction.
    remains: Remains,
    /// Whether the connection may be used on.
    health: Health,
    /// How many replies were read.
    replies: u64,
}

/// What the driver must do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum ClientAction {
    /// Write the output, then read more and call [`ClientSession::advance`] again.
    Read,
    /// The session stands ready for a command.
    Ready,
    /// Begin the handshake; then call [`ClientSession::tls_established`], or close.
    Handshake,
    /// The server does not begin TLS; the session stands ready for another command.
    TlsRefused(Reply),
    /// Hand over the message by [`ClientSession::body`] and [`ClientSession::body_end`].
    Body,
    /// The transaction is at its end.
    Done(TransactionOutcome),
    /// The server has taken leave.
    Closed,
}

/// Whether the message may be handed over now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyRoom {
    /// A piece may be handed over.
    Open,
    /// Replies must be read first.
    Full,
    /// The transaction has failed: hand over nothing more.
    Closed,
}

impl ClientSession {
    /// A session that waits for the server's greeting.
    #[must_use]
    pub fn new(name: MailDomain) -> Self {
        Self {
            name,
            channel: Channel::Clear,
            greeting: None,
            offered: Capabilities::default(),
            reader: ReplyReader::default(),
            expected: VecDeque::from([Expected::Greeting]),
            output: Vec::new(),
            sending: None,
            remains: Remains::Nothing,
            health: Health::Good,
            replies: 0,
        }
    }

    /// Goes on with what was read, and says how many octets of it were taken.
    ///
    /// # Errors
    /// Says why the session cannot go on; the connection is then of no further use.
    pub fn advance(&mut self, input: &[u8]) -> Result<(usize, ClientAction), ClientError> {
        let advanced = self.take(input);
        if advanced.is_err() {
            self.health = Health::Broken;
        }
        advanced
    }

    /// The commands that were not written yet; the driver clears them once they are.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What the session waits for.
    #[must_use]
    pub fn phase(&self) -> ClientPhase {
        match (self.expected.front(), &self.sending) {
            (Some(expected), _) => expected.phase(),
            (None, Some(sending)) if sending.stage == Stage::Body => ClientPhase::Body,
            (None, Some(_) | None) => ClientPhase::Ready,
        }
    }

    /// How many replies were read; each one is waited for anew.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// What the octets travel in.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// What the server offers on this channel.
    #[must_use]
    pub fn offered(&self) -> &Capabilities {
        &self.offered
    }

    /// What the server's greeting said.
    #[must_use]
    pub fn greeting(&self) -> Option<&Reply> {
        self.greeting.as_ref()
    }

    /// Whether another transaction may begin on this connection.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.health == Health::Good && self.phase() == ClientPhase::Ready
    }

    /// Asks the server to begin TLS.
    pub fn start_tls(&mut self) {
        self.ask(Expected::StartTls, "STARTTLS\r\n");
    }

    /// Greets anew under TLS.
    ///
    //= https://www.rfc-editor.org/rfc/rfc3207#section-4.2
    //# The client MUST discard any knowledge
    //# obtained from the server, such as the list of SMTP service extensions,
    //# which was not obtained from the TLS negotiation itself.
    pub fn tls_established(&mut self) {
        self.channel = Channel::Tls;
        self.offered = Capabilities::default();
        self.reader = ReplyReader::default();
        self.expected.clear();
        self.output.clear();
        self.greet();
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Says what the server would have to offer; it was sent nothing.
    pub fn begin(&mut self, transaction: Transaction) -> Result<(), Unsupported> {
        transaction.check(&self.offered, self.channel)?;
        if self.remains == Remains::Transaction {
            self.ask(Expected::Rset, "RSET\r\n");
        }
        let framing = if self.offered.chunking {
            Framing::Counted
        } else {
            Framing::Dot
        };
        self.sending = Some(Box::new(Sending {
            replies: Vec::with_capacity(transaction.recipients.len()),
            asked: 0,
            stage: Stage::Mail,
            body: BodyWriter::new(framing),
            framing,
            chunk: Vec::new(),
            sender_refusal: None,
            verdict: None,
            transaction,
        }));
        self.fill();
        Ok(())
    }

    /// Whether a piece of the message may be handed over now.
    #[must_use]
    pub fn body_room(&self) -> BodyRoom {
        let Some(sending) = &self.sending else {
            return BodyRoom::Closed;
        };
        let chunks_max = if self.offered.pipelining {
            CHUNKS_OUTSTANDING_MAX
        } else {
            1
        };
        match sending.stage {
            Stage::Body if self.expected.len() < chunks_max => BodyRoom::Open,
            Stage::Body => BodyRoom::Full,
            Stage::Mail | Stage::Recipients | Stage::Replies => BodyRoom::Closed,
        }
    }

    /// Hands over a piece of the message; whatever stands for a line end is sent as CR LF.
    pub fn body(&mut self, piece: &[u8]) {
        let Some(sending) = &mut self.sending else {
            return;
        };
        match sending.framing {
            Framing::Dot => sending.body.write(piece, &mut self.output),
            Framing::Counted => {
                if !sending.chunk.is_empty() {
                    let octets = sending.chunk.len();
                    command(&mut self.output, format_args!("BDAT {octets}\r\n"));
                    self.output.append(&mut sending.chunk);
                    self.expected.push_back(Expected::Chunk);
                }
                sending.body.write(piece, &mut sending.chunk);
            }
        }
    }

    /// Ends the message.
    pub fn body_end(&mut self) {
        let Some(sending) = &mut self.sending else {
            return;
        };
        let body = std::mem::replace(&mut sending.body, BodyWriter::new(sending.framing));
        match sending.framing {
            Framing::Dot => body.finish(&mut self.output),
            Framing::Counted => {
                body.finish(&mut sending.chunk);
                let octets = sending.chunk.len();
                command(&mut self.output, format_args!("BDAT {octets} LAST\r\n"));
                self.output.append(&mut sending.chunk);
            }
        }
        sending.stage = Stage::Replies;
        self.expected.push_back(Expected::End);
    }

    /// Takes leave.
    pub fn quit(&mut self) {
        self.ask(Expected::Quit, "QUIT\r\n");
    }
}

impl ClientSession {
    /// Takes what was read, reply by reply.
    fn take(&mut self, input: &[u8]) -> Result<(usize, ClientAction), ClientError> {
        let mut rest = input;
        loop {
            if rest.is_empty() {
                return Ok((input.len(), self.standing()));
            }
            let phase = self.phase();
            // What is there already cannot answer a command that was not even written. While a message
            // is handed over, earlier chunks are answered all the same.
            if !self.output.is_empty() && phase != ClientPhase::Body && phase != ClientPhase::End {
                return Err(self.error(ClientFault::OutOfTurn));
            }
            let (consumed, reply) = self
                .reader
                .read(rest)
                .map_err(|error| self.error(ClientFault::Garbage(error)))?;
            rest = rest.get(consumed..).unwrap_or_default();
            if let Some(reply) = reply
                && let Some(action) = self.take_reply(reply, rest)?
            {
                return Ok((input.len() - rest.len(), action));
            }
        }
    }

    /// What is to be done as long as nothing more is read.
    fn standing(&self) -> ClientAction {
        match &self.sending {
            Some(sending) if sending.stage == Stage::Body => ClientAction::Body,
            Some(_) | None if self.expected.is_empty() => ClientAction::Ready,
            Some(_) | None => ClientAction::Read,
        }
    }

    /// Takes a reply; `behind` is what was read behind it.
    fn take_reply(
        &mut self,
        reply: Reply,
        behind: &[u8],
    ) -> Result<Option<ClientAction>, ClientError> {
        let phase = self.phase();
        self.replies += 1;
        let expected = self.expected.pop_front();
        let reply = match expected {
            // What a server offers is read from the text.
            Some(Expected::Ehlo) if reply.is_success() => reply,
            Some(_) | None => reply.shortened(),
        };
        let Some(expected) = expected else {
            return self.take_unasked(reply);
        };
        let error = |why| ClientError { phase, why };
        if reply.is_closing() && expected != Expected::Quit {
            return Err(error(ClientFault::Closing(reply)));
        }
        match expected {
            Expected::Greeting | Expected::Ehlo | Expected::Helo => {
                return self.take_hello(expected, reply);
            }
            Expected::StartTls if !reply.is_success() => {
                return Ok(Some(ClientAction::TlsRefused(reply)));
            }
            Expected::StartTls if behind.is_empty() => return Ok(Some(ClientAction::Handshake)),
            Expected::StartTls => return Err(error(ClientFault::InjectedBeforeTls)),
            Expected::Quit => return Ok(Some(ClientAction::Closed)),
            Expected::Rset if reply.is_success() => self.remains = Remains::Nothing,
            Expected::Rset => return Err(error(ClientFault::Unexpected(reply))),
            Expected::Mail | Expected::Recipient | Expected::Data => {
                let intermediate = reply.class() == ReplyClass::Intermediate;
                if intermediate != (expected == Expected::Data) && !is_failure(&reply) {
                    return Err(error(ClientFault::Unexpected(reply)));
                }
                self.take_envelope_reply(expected, reply);
            }
            Expected::Chunk | Expected::End if reply.class() == ReplyClass::Intermediate => {
                return Err(error(ClientFault::Unexpected(reply)));
            }
            // Nobody can have accepted what was not even written to its end.
            Expected::End if !self.output.is_empty() && reply.is_success() => {
                return Err(error(ClientFault::OutOfTurn));
            }
            Expected::Chunk | Expected::End => self.take_body_reply(expected, reply),
        }
        self.fill();
        Ok(self.outcome())
    }

    /// Takes a reply that nothing was asked for.
    ///
    /// In the middle of the message it may refuse the message; the server then reads on in it, or
    /// closes, so that the connection is of no further use.
    fn take_unasked(&mut self, reply: Reply) -> Result<Option<ClientAction>, ClientError> {
        if reply.is_closing() {
            return Err(self.error(ClientFault::Closing(reply)));
        }
        match &mut self.sending {
            Some(sending) if sending.stage == Stage::Body && is_failure(&reply) => {
                sending.verdict = Some(reply);
                sending.stage = Stage::Replies;
                self.health = Health::Broken;
                Ok(self.outcome())
            }
            Some(_) | None => Err(self.error(ClientFault::OutOfTurn)),
        }
    }

    /// Takes the greeting, and the reply to ours.
    fn take_hello(
        &mut self,
        expected: Expected,
        reply: Reply,
    ) -> Result<Option<ClientAction>, ClientError> {
        match (expected, reply.class()) {
            (Expected::Greeting, ReplyClass::Success) => {
                self.greeting = Some(reply);
                self.greet();
                Ok(None)
            }
            (Expected::Ehlo, ReplyClass::Success) => {
                self.offered = Capabilities::from_reply(&reply);
                Ok(Some(ClientAction::Ready))
            }
            // RFC 5321, Section 3.2: a server that knows no EHLO may know HELO.
            (Expected::Ehlo, ReplyClass::PermanentFailure) => {
                let command = format!("HELO {}\r\n", self.name);
                self.ask(Expected::Helo, &command);
                Ok(None)
            }
            (_, ReplyClass::Success) => {
                self.offered = Capabilities::default();
                Ok(Some(ClientAction::Ready))
            }
            (_, ReplyClass::Intermediate) => Err(ClientError {
                phase: expected.phase(),
                why: ClientFault::Unexpected(reply),
            }),
            (_, ReplyClass::TransientFailure | ReplyClass::PermanentFailure) => Err(ClientError {
                phase: expected.phase(),
                why: ClientFault::Rejected(reply),
            }),
        }
    }

    /// Takes the reply to `MAIL`, `RCPT` or `DATA`.
    fn take_envelope_reply(&mut self, expected: Expected, reply: Reply) {
        let Some(sending) = &mut self.sending else {
            return;
        };
        match expected {
            Expected::Mail if is_failure(&reply) => sending.sender_refusal = Some(reply),
            Expected::Mail => self.remains = Remains::Transaction,
            Expected::Recipient => sending.replies.push(reply),
            Expected::Data if is_failure(&reply) => {
                sending.stage = Stage::Replies;
                sending.verdict = Some(reply);
            }
            Expected::Data if sending.has_recipients() => sending.stage = Stage::Body,
            // The server wants a message for nobody: it gets an empty one.
            Expected::Data => {
                sending.stage = Stage::Replies;
                self.ask(Expected::End, ".\r\n");
            }
            Expected::Greeting
            | Expected::Ehlo
            | Expected::Helo
            | Expected::StartTls
            | Expected::Rset
            | Expected::Chunk
            | Expected::End
            | Expected::Quit => {}
        }
    }

    /// Takes the reply to a chunk, or to the end of the message.
    fn take_body_reply(&mut self, expected: Expected, reply: Reply) {
        let Some(sending) = &mut self.sending else {
            return;
        };
        let failed = is_failure(&reply);
        if expected == Expected::End && !failed {
            self.remains = Remains::Nothing;
        }
        if failed && !self.output.is_empty() {
            self.health = Health::Broken;
        }
        if sending.verdict.is_none() && (failed || expected == Expected::End) {
            sending.verdict = Some(reply);
        }
        if failed {
            sending.stage = Stage::Replies;
        }
    }

    /// Asks what can be asked now: one thing, or a group where the server takes them pipelined.
    ///
    /// A group is sent only when all before it was answered, so that neither side can block the other
    /// by not reading.
    fn fill(&mut self) {
        let group = if self.offered.pipelining {
            PIPELINED_COMMANDS_MAX
        } else {
            1
        };
        let pending = !self.expected.is_empty();
        if pending && !(self.offered.pipelining && self.expected.front() == Some(&Expected::Rset)) {
            return;
        }
        while self.expected.len() < group {
            let Some(sending) = &mut self.sending else {
                return;
            };
            let Some(expected) = sending.next_command(&self.offered, &mut self.output) else {
                return;
            };
            self.expected.push_back(expected);
        }
    }

    /// What became of the transaction, once all replies are in.
    fn outcome(&mut self) -> Option<ClientAction> {
        let sending = self.sending.as_mut()?;
        if !self.expected.is_empty() || sending.stage != Stage::Replies {
            return None;
        }
        let sending = self.sending.take()?;
        Some(ClientAction::Done(sending.outcome()))
    }

    /// Greets the server.
    fn greet(&mut self) {
        let command = format!("EHLO {}\r\n", self.name);
        self.ask(Expected::Ehlo, &command);
    }

    /// Sends a command, and expects a reply.
    fn ask(&mut self, expected: Expected, command: &str) {
        self.output.extend_from_slice(command.as_bytes());
        self.expected.push_back(expected);
    }

    /// An error in the present phase.
    fn error(&self, why: ClientFault) -> ClientError {
        ClientError {
            phase: self.phase(),
            why,
        }
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expected {
    /// Nothing: the server speaks first.
    Greeting,
    /// `EHLO`.
    Ehlo,
    /// `HELO`.
    Helo,
    /// `STARTTLS`.
    StartTls,
    /// `RSET`.
    Rset,
    /// `MAIL`.
    Mail,
    /// `RCPT`.
    Recipient,
    /// `DATA`.
    Data,
    /// A chunk that is not the last.
    Chunk,
    /// The end of the message.
    End,
    /// `QUIT`.
    Quit,
}

impl Expected {
    /// What the session waits for.
    fn phase(self) -> ClientPhase {
        match self {
            Self::Greeting => ClientPhase::Greeting,
            Self::Ehlo | Self::Helo => ClientPhase::Hello,
            Self::StartTls => ClientPhase::StartTls,
            Self::Rset | Self::Mail => ClientPhase::Mail,
            Self::Recipient => ClientPhase::Recipient,
            Self::Data => ClientPhase::Data,
            Self::Chunk | Self::End => ClientPhase::End,
            Self::Quit => ClientPhase::Quit,
        }
    }
}

/// A transaction that is under way.
#[derive(Debug)]
struct Sending {
    /// What is sent.
    transaction: Transaction,
    /// What comes next.
    stage: Stage,
    /// About how many recipients the server was asked.
    asked: usize,
    /// What it said about them.
    replies: Vec<Reply>,
    /// How the end of the message is marked.
    framing: Framing,
    /// Puts line ends and dots right.
    body: BodyWriter,
    /// A chunk that waits to learn whether it is the last.
    chunk: Vec<u8>,
    /// Why the server wants nothing from this sender.
    sender_refusal: Option<Reply>,
    /// The reply that decided about the message.
    verdict: Option<Reply>,
}

impl Sending {
    /// Writes the next command of the envelope, if it can be sent now.
    fn next_command(&mut self, offered: &Capabilities, output: &mut Vec<u8>) -> Option<Expected> {
        match self.stage {
            Stage::Mail => {
                self.stage = Stage::Recipients;
                self.transaction.mail(offered, output);
                Some(Expected::Mail)
            }
            Stage::Recipients if self.sender_refusal.is_some() => {
                self.stage = Stage::Replies;
                None
            }
            Stage::Recipients => self.next_recipient(output),
            Stage::Body | Stage::Replies => None,
        }
    }

    /// The command about the next recipient, or the one that announces the message.
    ///
    /// `DATA` goes out with the recipients, as it takes a further command to send the message; chunks
    /// need no leave, and so wait until a recipient is accepted.
    fn next_recipient(&mut self, output: &mut Vec<u8>) -> Option<Expected> {
        if let Some(recipient) = self.transaction.recipients.get(self.asked) {
            self.asked += 1;
            command(output, format_args!("RCPT TO:<{recipient}>\r\n"));
            return Some(Expected::Recipient);
        }
        let all_answered = self.replies.len() == self.transaction.recipients.len();
        if all_answered && !self.has_recipients() {
            self.stage = Stage::Replies;
            return None;
        }
        match self.framing {
            Framing::Dot => {
                self.stage = Stage::Replies;
                output.extend_from_slice(b"DATA\r\n");
                Some(Expected::Data)
            }
            Framing::Counted => {
                if all_answered {
                    self.stage = Stage::Body;
                }
                None
            }
        }
    }

    /// Whether the server wants the message for anyone.
    fn has_recipients(&self) -> bool {
        self.sender_refusal.is_none() && self.replies.iter().any(Reply::is_success)
    }

    /// What the server said about the message and each of its recipients.
    fn outcome(self) -> TransactionOutcome {
        let nobody = !self.has_recipients();
        let last = self.replies.last().cloned();
        let reply = match (self.sender_refusal.clone(), self.verdict, last) {
            (Some(refusal), _, _) => refusal,
            (None, _, Some(refusal)) if nobody => refusal,
            (None, Some(verdict), _) => verdict,
            (None, None, _) => Reply::plain(503, "there are no recipients"),
        };
        let sender_refused = self.sender_refusal.is_some();
        let mut replies = self.replies.into_iter();
        let recipients = self
            .transaction
            .recipients
            .into_iter()
            .map(|recipient| {
                let answer = match replies.next() {
                    Some(refusal) if is_failure(&refusal) && !sender_refused => Err(refusal),
                    Some(_) | None if is_failure(&reply) => Err(reply.clone()),
                    Some(_) | None => Ok(reply.clone()),
                };
                (recipient, answer)
            })
            .collect();
        TransactionOutcome { recipients, reply }
    }
}

/// Writes a command.
fn command(output: &mut Vec<u8>, line: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    _ = output.write_fmt(line);
}

/// What comes next in a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// `MAIL`.
    Mail,
    /// `RCPT`, and what announces the message.
    Recipients,
    /// The message.
    Body,
    /// Only replies.
    Replies,
}

/// Whether the server may still hold parts of a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Remains {
    /// It holds none.
    Nothing,
    /// It may; `RSET` goes before the next one.
    Transaction,
}

/// Whether the connection may be used on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Health {
    /// It may.
    Good,
    /// It may not: the two sides may not agree on what comes next.
    Broken,
}

/// Whether a reply is a failure, transient or permanent.
fn is_failure(reply: &Reply) -> bool {
    match reply.class() {
        ReplyClass::TransientFailure | ReplyClass::PermanentFailure => true,
        ReplyClass::Success | ReplyClass::Intermediate => false,
    }
}

/// How many commands are sent before their replies are read; RFC 2920, Section 3.1 leaves it to the
/// client to stay within what the connection holds.
const PIPELINED_COMMANDS_MAX: usize = 100;

/// How many chunks are sent before their replies are read.
const CHUNKS_OUTSTANDING_MAX: usize = 8;
