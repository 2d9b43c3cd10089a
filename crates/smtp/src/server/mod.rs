//! The server's side of a session: RFC 5321, Sections 3 and 4, as a relay plays it.

mod incoming;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use memchr::memchr;

pub use self::settings::ServerLimits;
pub use self::settings::ServerSettings;
pub use self::settings::StartTls;

use self::incoming::Incoming;
use self::incoming::IncomingStep;
use crate::Channel;
use crate::Chunk;
use crate::Command;
use crate::Envelope;
use crate::ForwardPath;
use crate::HelloKind;
use crate::MailFrom;
use crate::Octets;
use crate::RcptTo;
use crate::Reply;
use crate::ReversePath;
use crate::Smtputf8;
use crate::TlsDemand;
use crate::replies;

/// The server's side of a session, without I/O.
///
/// The driver calls [`advance`](Self::advance) with what it has read, drops as many octets as were
/// taken, and does what the action says. Replies gather in [`output`](Self::output); the driver writes
/// them before it reads again, so that pipelined commands are answered in one write (RFC 2920,
/// Section 3.2). Four actions are questions; `advance` does nothing until they are answered.
///
/// Invariant: holds no more than a command line, a chunk as long as what it was given to read, the
/// recipients of one message within their limit, and the replies to one input.
#[derive(Debug)]
pub struct ServerSession {
    /// What the session was told before it began.
    settings: Arc<ServerSettings>,
    /// What the octets travel in.
    channel: Channel,
    /// How the client greeted.
    hello: Option<Hello>,
    /// What `MAIL` began.
    transaction: Option<Transaction>,
    /// The message that comes in.
    incoming: Option<(Incoming, Announced)>,
    /// The command with which the last message began.
    message_began: u64,
    /// What the session waits for.
    phase: Phase,
    /// The command line that is not complete yet.
    line: Vec<u8>,
    /// How many octets this line has, those beyond the bound included.
    line_octets: usize,
    /// The replies that were not written yet.
    output: Vec<u8>,
    /// What the service must take of a message.
    chunk: Vec<u8>,
    /// How many commands were read.
    commands: u64,
    /// How many of them were refused.
    errors: u64,
}

/// How a client greeted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// What it calls itself.
    pub name: MailDomain,
    /// By which command.
    pub kind: HelloKind,
}

/// What the driver must do.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum ServerAction {
    /// All was taken: write the output, then read more and call [`ServerSession::advance`] again.
    Read,
    /// Ask the service about a recipient; answer by [`ServerSession::recipient_answered`].
    AskRecipient {
        /// The sender of the message.
        reverse_path: ReversePath,
        /// The recipient to ask about.
        recipient: Mailbox,
    },
    /// Begin a message; answer by [`ServerSession::begun`].
    Begin(Envelope),
    /// Let the message take [`ServerSession::chunk`]; answer by [`ServerSession::written`].
    Write,
    /// Let the message become durable; answer by [`ServerSession::committed`].
    Commit,
    /// Let the message be forgotten; no answer is needed.
    Abort,
    /// Write the output and begin the handshake; answer by [`ServerSession::tls_started`]. Where the
    /// handshake fails, close. Let a message that is under way be forgotten.
    StartTls,
    /// Write the output and close; let a message that is under way be forgotten.
    Close,
}

/// What a session waits for while it reads, which says how long it may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerWait {
    /// A command, the so-manieth of the session.
    Command(u64),
    /// A message, which began with the so-manieth command of the session.
    Message(u64),
}

impl ServerSession {
    /// A session that begins with a greeting.
    #[must_use]
    pub fn new(settings: Arc<ServerSettings>) -> Self {
        let mut session = Self {
            channel: Channel::Clear,
            hello: None,
            transaction: None,
            incoming: None,
            message_began: 0,
            phase: Phase::Command,
            line: Vec::new(),
            line_octets: 0,
            output: Vec::new(),
            chunk: Vec::new(),
            commands: 0,
            errors: 0,
            settings,
        };
        session.answer(&replies::greeting(&session.settings.host));
        session
    }

    /// Goes on with what was read, and says how many octets of it were taken.
    pub fn advance(&mut self, input: &[u8]) -> (usize, ServerAction) {
        let mut rest = input;
        loop {
            let (consumed, action) = match self.phase {
                Phase::Command => self.read_command(rest),
                Phase::Incoming => self.read_message(rest),
                Phase::Asking(_) | Phase::Beginning | Phase::Writing | Phase::Committing => {
                    (0, Some(ServerAction::Read))
                }
                Phase::Handshake => (0, Some(ServerAction::StartTls)),
                Phase::Closed => (rest.len(), Some(ServerAction::Close)),
            };
            rest = rest.get(consumed..).unwrap_or_default();
            if let Some(action) = action {
                return (input.len() - rest.len(), action);
            }
        }
    }

    /// The replies that were not written yet; the driver clears them once they are.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What the service must take of a message, after [`ServerAction::Write`].
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// What octets the message held so far.
    ///
    /// Many clients send octets beyond ASCII without declaring them, and no server refuses that any
    /// more; whoever sends the message on should declare them.
    #[must_use]
    pub fn content(&self) -> Octets {
        let incoming = self.incoming.as_ref();
        incoming.map_or(Octets::Ascii, |(incoming, _)| incoming.content())
    }

    /// How the client greeted, if it did.
    #[must_use]
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// How many commands were refused so far.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// What the session waits for while it reads.
    #[must_use]
    pub fn wait(&self) -> ServerWait {
        match self.incoming {
            // Also between chunks: a message has its time, however many commands bring it.
            Some(_) => ServerWait::Message(self.message_began),
            None => ServerWait::Command(self.commands),
        }
    }

    /// Takes the service's answer about a recipient.
    pub fn recipient_answered(&mut self, answer: Result<(), Reply>) {
        let Phase::Asking(recipient) = std::mem::replace(&mut self.phase, Phase::Command) else {
            return;
        };
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        match answer {
            Ok(()) => {
                transaction.recipients.push(recipient);
                self.answer(&replies::recipient_ok());
            }
            Err(reply) => {
                transaction.refusals = Refusals::Some;
                self.answer(&reply);
            }
        }
    }

    /// Takes the service's answer to the beginning of a message.
    pub fn begun(&mut self, answer: Result<(), Reply>) {
        let Some((incoming, announced)) = &mut self.incoming else {
            return;
        };
        self.phase = Phase::Incoming;
        match (answer, *announced) {
            (Ok(()), Announced::Data) => {
                incoming.begun();
                self.answer(&replies::go_ahead());
            }
            (Ok(()), Announced::Bdat) => incoming.begun(),
            (Err(reply), Announced::Data) => {
                self.end_transaction();
                self.answer(&reply);
            }
            (Err(reply), Announced::Bdat) => incoming.refused_by_service(reply),
        }
    }

    /// Takes the service's answer to part of a message; after a refusal it holds nothing of it.
    pub fn written(&mut self, answer: Result<(), Reply>) {
        self.chunk.clear();
        self.phase = Phase::Incoming;
        if let Some((incoming, _)) = &mut self.incoming
            && let Err(reply) = answer
        {
            incoming.refused_by_service(reply);
        }
    }

    /// Takes the service's answer to a complete message.
    pub fn committed(&mut self, answer: Result<Reply, Reply>) {
        self.end_transaction();
        match answer {
            Ok(reply) | Err(reply) => self.answer(&reply),
        }
    }

    /// Begins anew under TLS.
    ///
    //= https://www.rfc-editor.org/rfc/rfc3207#section-4.2
    //# The server MUST discard any knowledge
    //# obtained from the client, such as the argument to the EHLO command,
    //# which was not obtained from the TLS negotiation itself.
    pub fn tls_started(&mut self) {
        self.channel = Channel::Tls;
        self.hello = None;
        self.transaction = None;
        self.incoming = None;
        self.line.clear();
        self.line_octets = 0;
        self.output.clear();
        self.phase = Phase::Command;
    }

    /// The client let the time pass that it had; the driver writes the output and closes.
    pub fn timed_out(&mut self) {
        let reply = match self.wait() {
            ServerWait::Command(_) => replies::command_too_slow(&self.settings.host),
            ServerWait::Message(_) => replies::message_too_slow(&self.settings.host),
        };
        self.close_with(&reply);
    }

    /// Whether the session may be ended without loss: no message is under way.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.phase == Phase::Command && self.incoming.is_none()
    }

    /// The driver has a reason to end the session: it writes the output, with this reply, and closes.
    pub fn close(&mut self, reply: &Reply) {
        if self.phase != Phase::Closed {
            self.close_with(reply);
        }
    }

    /// The server is told to stop; the driver writes the output and closes.
    pub fn shut_down(&mut self) {
        self.close_with(&replies::shutting_down(&self.settings.host));
    }
}

impl ServerSession {
    /// Reads up to the end of a command line, and obeys the command.
    fn read_command(&mut self, input: &[u8]) -> (usize, Option<ServerAction>) {
        if input.is_empty() {
            return (0, Some(ServerAction::Read));
        }
        let limit = self.settings.limits.command_line_octets;
        let Some(end) = memchr(b'\n', input) else {
            return (input.len(), self.keep_line(input, limit));
        };
        let (piece, behind) = input.split_at_checked(end + 1).unwrap_or((input, &[]));
        let octets = self.line_octets + piece.len();
        let action = if octets > limit {
            self.refuse(&replies::command_too_long(limit));
            None
        } else if self.line.is_empty() {
            self.obey_line(piece, behind)
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(piece);
            self.obey_line(&line, behind)
        };
        self.line = Vec::new();
        self.line_octets = 0;
        (piece.len(), action)
    }

    /// Keeps part of a command line, as much of it as is within the bound.
    fn keep_line(&mut self, piece: &[u8], limit: usize) -> Option<ServerAction> {
        let room = limit.saturating_sub(self.line.len()).min(piece.len());
        self.line
            .extend_from_slice(piece.get(..room).unwrap_or_default());
        self.line_octets += piece.len();
        if self.line_octets > limit.saturating_mul(OVERLONG_LINES_MAX) {
            let reply = replies::command_too_long(limit);
            self.close_with(&reply);
        }
        None
    }

    /// Obeys a command line that is within its bound.
    fn obey_line(&mut self, line: &[u8], behind: &[u8]) -> Option<ServerAction> {
        let text = line.strip_suffix(b"\r\n");
        // What one server reads as one line and the next as two is how commands are smuggled.
        let Some(text) = text.filter(|text| !text.contains(&b'\r')) else {
            self.close_with(&replies::bare_line_end());
            return None;
        };
        self.commands += 1;
        if self.commands > self.settings.limits.commands {
            let reply = replies::too_many_commands(&self.settings.host);
            self.close_with(&reply);
            return None;
        }
        match Command::parse(text) {
            Ok(command) => self.obey(command, behind),
            Err(error) => {
                self.refuse(&error.reply());
                None
            }
        }
    }

    /// Obeys a command; `behind` is what was read behind its line.
    fn obey(&mut self, command: Command, behind: &[u8]) -> Option<ServerAction> {
        match command {
            Command::Bdat(chunk) => return self.bdat(chunk),
            Command::Data => return self.data(),
            Command::Ehlo(name) => return self.greet(name, HelloKind::Ehlo),
            Command::Helo(name) => return self.greet(name, HelloKind::Helo),
            Command::Rcpt(rcpt) => return self.rcpt(rcpt),
            Command::Rset => {
                let action = self.end_transaction();
                self.answer(&replies::ok());
                return action;
            }
            Command::StartTls => self.start_tls(behind),
            Command::Mail(mail) => self.mail(mail),
            Command::Expn => self.refuse(&replies::not_implemented()),
            Command::Help => self.answer(&replies::help()),
            Command::Noop => self.answer(&replies::ok()),
            Command::Quit => self.close_with(&replies::bye(&self.settings.host)),
            Command::Vrfy => self.answer(&replies::cannot_verify()),
        }
        None
    }

    /// `EHLO` and `HELO`, which also do what `RSET` does: RFC 5321, Section 4.1.4.
    fn greet(&mut self, name: MailDomain, kind: HelloKind) -> Option<ServerAction> {
        let action = self.end_transaction();
        self.hello = Some(Hello { name, kind });
        let host = &self.settings.host;
        let reply = match kind {
            HelloKind::Ehlo => replies::ehlo(host, self.extensions()),
            HelloKind::Helo => replies::helo(host),
        };
        self.answer(&reply);
        action
    }

    /// What is offered now.
    fn extensions(&self) -> Vec<String> {
        let mut extensions = vec![
            "PIPELINING".to_owned(),
            format!("SIZE {}", self.settings.limits.message_octets),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "CHUNKING".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
        ];
        match (self.channel, self.settings.start_tls) {
            (Channel::Clear, StartTls::Offered) => extensions.push("STARTTLS".to_owned()),
            (Channel::Clear, StartTls::NotOffered) => {}
            (Channel::Tls, _) => extensions.push("REQUIRETLS".to_owned()),
        }
        extensions
    }

    /// `STARTTLS`: RFC 3207, Section 4.
    fn start_tls(&mut self, behind: &[u8]) {
        match (self.channel, self.settings.start_tls) {
            (Channel::Tls, _) => self.refuse(&replies::tls_already()),
            (Channel::Clear, StartTls::NotOffered) => self.refuse(&replies::tls_not_offered()),
            // Someone on the way may have put commands there, to be obeyed under TLS.
            (Channel::Clear, StartTls::Offered) if !behind.is_empty() => {
                self.close_with(&replies::tls_injection());
            }
            (Channel::Clear, StartTls::Offered) => {
                self.answer(&replies::start_tls());
                self.phase = Phase::Handshake;
            }
        }
    }

    /// `MAIL`: RFC 5321, Section 4.1.1.2.
    fn mail(&mut self, mail: MailFrom) {
        let octets_max = self.settings.limits.message_octets;
        if self.hello.is_none() {
            self.refuse(&replies::bad_sequence("EHLO or HELO"));
        } else if self.transaction.is_some() {
            self.refuse(&replies::nested_mail());
        } else if mail.tls_demand == TlsDemand::RequireTls && self.channel == Channel::Clear {
            self.refuse(&replies::require_tls_needs_tls());
        } else if mail.size.is_some_and(|octets| octets > octets_max) {
            self.refuse(&replies::message_too_big(octets_max));
        } else {
            self.transaction = Some(Transaction {
                mail,
                recipients: Vec::new(),
                refusals: Refusals::None,
            });
            self.answer(&replies::sender_ok());
        }
    }

    /// `RCPT`: RFC 5321, Section 4.1.1.3.
    fn rcpt(&mut self, rcpt: RcptTo) -> Option<ServerAction> {
        let recipients_max = self.settings.limits.recipients;
        let Some(transaction) = &self.transaction else {
            self.refuse(&replies::bad_sequence("MAIL"));
            return None;
        };
        if self.incoming.is_some() {
            self.refuse(&replies::chunks_under_way());
            return None;
        }
        if rcpt.smtputf8 == Smtputf8::Used && transaction.mail.smtputf8 == Smtputf8::NotUsed {
            self.refuse(&replies::needs_smtputf8());
            return None;
        }
        if transaction.recipients.len() >= recipients_max {
            self.answer(&replies::too_many_recipients(recipients_max));
            return None;
        }
        let recipient = match rcpt.path {
            ForwardPath::Mailbox(mailbox) => mailbox,
            ForwardPath::Postmaster => self.postmaster()?,
        };
        let reverse_path = transaction.mail.reverse_path.clone();
        self.phase = Phase::Asking(recipient.clone());
        Some(ServerAction::AskRecipient {
            reverse_path,
            recipient,
        })
    }

    /// Whoever runs this server; `postmaster` is always a local part.
    fn postmaster(&self) -> Option<Mailbox> {
        Some(Mailbox {
            local_part: "postmaster".parse().ok()?,
            domain: MailDomain::Name(self.settings.host.clone()),
        })
    }

    /// `DATA`: RFC 5321, Section 4.1.1.4.
    fn data(&mut self) -> Option<ServerAction> {
        let limits = self.settings.limits;
        if let Some(reply) = self.message_obstacle() {
            self.refuse(&reply);
            return None;
        }
        if self.incoming.is_some() {
            self.refuse(&replies::chunks_under_way());
            return None;
        }
        self.begin(Incoming::with_dot(&limits), Announced::Data)
    }

    /// `BDAT`: RFC 3030, Section 2; the octets of a chunk follow even where it is refused.
    fn bdat(&mut self, chunk: Chunk) -> Option<ServerAction> {
        let limits = self.settings.limits;
        if let Some((incoming, _)) = &mut self.incoming {
            incoming.next_chunk(chunk);
            self.phase = Phase::Incoming;
            return None;
        }
        if let Some(reply) = self.message_obstacle() {
            let incoming = Incoming::refused_chunk(chunk, &limits, reply);
            self.set_incoming(incoming, Announced::Bdat);
            self.phase = Phase::Incoming;
            return None;
        }
        self.begin(Incoming::with_chunks(chunk, &limits), Announced::Bdat)
    }

    /// Asks the service to begin a message.
    fn begin(&mut self, incoming: Incoming, announced: Announced) -> Option<ServerAction> {
        let envelope = self.transaction.as_mut()?.take_envelope();
        self.set_incoming(incoming, announced);
        self.phase = Phase::Beginning;
        Some(ServerAction::Begin(envelope))
    }

    /// A message begins to come in, with the present command.
    fn set_incoming(&mut self, incoming: Incoming, announced: Announced) {
        self.incoming = Some((incoming, announced));
        self.message_began = self.commands;
    }

    /// Why no message may begin now.
    fn message_obstacle(&self) -> Option<Reply> {
        let Some(transaction) = &self.transaction else {
            return Some(replies::bad_sequence("MAIL"));
        };
        match transaction.refusals {
            _ if !transaction.recipients.is_empty() => None,
            Refusals::None => Some(replies::bad_sequence("RCPT")),
            Refusals::Some => Some(replies::no_valid_recipients()),
        }
    }

    /// Reads on in a message.
    fn read_message(&mut self, input: &[u8]) -> (usize, Option<ServerAction>) {
        let limits = self.settings.limits;
        let mut chunk = std::mem::take(&mut self.chunk);
        let Some((incoming, _)) = &mut self.incoming else {
            self.phase = Phase::Command;
            return (0, None);
        };
        let (consumed, step) = match incoming.step() {
            IncomingStep::Read if !input.is_empty() => incoming.read(input, &limits, &mut chunk),
            step @ (IncomingStep::Abort
            | IncomingStep::ChunkEnd(_)
            | IncomingStep::End
            | IncomingStep::GiveUp
            | IncomingStep::Read
            | IncomingStep::Write) => (0, step),
        };
        self.chunk = chunk;
        let action = match step {
            IncomingStep::Abort => Some(ServerAction::Abort),
            IncomingStep::Read if consumed > 0 => None,
            IncomingStep::Read => Some(ServerAction::Read),
            IncomingStep::Write => {
                self.phase = Phase::Writing;
                Some(ServerAction::Write)
            }
            IncomingStep::ChunkEnd(octets) => self.end_chunk(octets),
            IncomingStep::End => self.end_message(),
            IncomingStep::GiveUp => {
                let reply = replies::message_too_big(limits.message_octets);
                let reply = incoming.refusal().cloned().unwrap_or(reply);
                self.close_with(&reply);
                None
            }
        };
        (consumed, action)
    }

    /// Answers a chunk that is not the last.
    ///
    /// A chunk that fails ends the transaction; further chunks are refused one by one.
    fn end_chunk(&mut self, octets: u64) -> Option<ServerAction> {
        self.phase = Phase::Command;
        let (incoming, _) = self.incoming.as_ref()?;
        match incoming.refusal().cloned() {
            None => self.answer(&replies::chunk_ok(octets)),
            Some(reply) => {
                self.end_transaction();
                self.refuse(&reply);
            }
        }
        None
    }

    /// Answers a complete message, or has it made durable.
    fn end_message(&mut self) -> Option<ServerAction> {
        let limits = self.settings.limits;
        let (incoming, _) = self.incoming.as_mut()?;
        if incoming.complete(&limits) == IncomingStep::Abort {
            return Some(ServerAction::Abort);
        }
        let doubtful = incoming.end_is_doubtful();
        let Some(reply) = incoming.refusal().cloned() else {
            self.phase = Phase::Committing;
            return Some(ServerAction::Commit);
        };
        self.end_transaction();
        if doubtful {
            self.close_with(&reply);
        } else {
            self.refuse(&reply);
        }
        None
    }

    /// Ends a transaction; where the service holds part of a message, it must forget it.
    fn end_transaction(&mut self) -> Option<ServerAction> {
        let incoming = self.incoming.take();
        let taken = incoming.is_some_and(|(incoming, _)| incoming.is_taken_by_service());
        self.transaction = None;
        self.chunk = Vec::new();
        self.phase = Phase::Command;
        taken.then_some(ServerAction::Abort)
    }

    /// Answers a command.
    fn answer(&mut self, reply: &Reply) {
        reply.render(&mut self.output);
    }

    /// Answers a command that is the client's error, of which there is a limit.
    fn refuse(&mut self, reply: &Reply) {
        self.answer(reply);
        self.errors += 1;
        if self.errors >= self.settings.limits.errors {
            let reply = replies::too_many_errors(&self.settings.host);
            self.close_with(&reply);
        }
    }

    /// Answers for the last time.
    fn close_with(&mut self, reply: &Reply) {
        self.answer(reply);
        self.phase = Phase::Closed;
    }
}

/// What a session waits for.
#[derive(Debug, Eq, PartialEq)]
enum Phase {
    /// A command line.
    Command,
    /// The service's answer about a recipient.
    Asking(Mailbox),
    /// The service's answer to the beginning of a message.
    Beginning,
    /// Octets of a message.
    Incoming,
    /// The service's answer to part of a message.
    Writing,
    /// The service's answer to a complete message.
    Committing,
    /// The end of the handshake.
    Handshake,
    /// Nothing more.
    Closed,
}

/// What `MAIL` began.
#[derive(Debug)]
struct Transaction {
    /// What it said.
    mail: MailFrom,
    /// The recipients that were accepted.
    recipients: Vec<Mailbox>,
    /// Whether any recipient was refused.
    refusals: Refusals,
}

impl Transaction {
    /// The envelope, once the message begins.
    fn take_envelope(&mut self) -> Envelope {
        Envelope {
            reverse_path: self.mail.reverse_path.clone(),
            recipients: std::mem::take(&mut self.recipients),
            body: self.mail.body,
            smtputf8: self.mail.smtputf8,
            tls_demand: self.mail.tls_demand,
        }
    }
}

/// What announced a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Announced {
    /// `DATA`.
    Data,
    /// `BDAT`.
    Bdat,
}

/// Whether any recipient was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refusals {
    /// None was.
    None,
    /// At least one was.
    Some,
}

/// How many times the bound of a command line is read in vain, in search of the line's end.
const OVERLONG_LINES_MAX: usize = 32;
