//! A server session that answers a script, with a service that takes all mail.

use std::sync::Arc;

use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Envelope;
use byrnie_smtp::Reply;
use byrnie_smtp::ServerAction;
use byrnie_smtp::ServerLimits;
use byrnie_smtp::ServerSession;
use byrnie_smtp::ServerSettings;
use byrnie_smtp::StartTls;

/// A server session with a service that takes all mail, but for recipients that begin with `no`.
pub(super) struct Server {
    /// The session.
    pub(super) session: ServerSession,
    /// What was received and not taken yet.
    input: Vec<u8>,
    /// The message that is under way.
    under_way: Option<(Envelope, Vec<u8>)>,
    /// The messages that were accepted.
    pub(super) accepted: Vec<(Envelope, Vec<u8>)>,
    /// Whether the session is over.
    pub(super) closed: bool,
    /// Whether a handshake was begun.
    pub(super) handshake: bool,
}

impl Server {
    /// A session with the default limits, that has sent its greeting.
    pub(super) fn new() -> Self {
        Self::with_limits(ServerLimits::default())
    }

    /// The same with other limits.
    pub(super) fn with_limits(limits: ServerLimits) -> Self {
        let settings = ServerSettings {
            host: "mx.example".parse().unwrap(),
            start_tls: StartTls::Offered,
            limits,
        };
        Self {
            session: ServerSession::new(Arc::new(settings)),
            input: Vec::new(),
            under_way: None,
            accepted: Vec::new(),
            closed: false,
            handshake: false,
        }
    }

    /// A session whose client has greeted in clear text.
    pub(super) fn greeted() -> Self {
        let mut server = Self::new();
        server.hear(b"EHLO client.example\r\n");
        server
    }

    /// A session whose client has greeted under TLS.
    pub(super) fn under_tls() -> Self {
        let mut server = Self::new();
        server.hear(b"STARTTLS\r\n");
        assert!(server.handshake);
        server.session.tls_started();
        server.hear(b"EHLO client.example\r\n");
        server
    }

    /// Receives octets; gives what it sends.
    pub(super) fn hear(&mut self, octets: &[u8]) -> String {
        self.input.extend_from_slice(octets);
        let mut said = Vec::new();
        loop {
            let (consumed, action) = self.session.advance(&self.input);
            self.input.drain(..consumed);
            said.append(self.session.output());
            match action {
                ServerAction::Read => break,
                ServerAction::AskRecipient { recipient, .. } => {
                    let unknown = recipient.local_part.as_str().starts_with("no");
                    let status = EnhancedStatus::new(5, 1, 1);
                    let refusal = unknown.then(|| Reply::new(550, status, "unknown"));
                    self.session.recipient_answered(refusal.map_or(Ok(()), Err));
                }
                ServerAction::Begin(envelope) => {
                    self.under_way = Some((envelope, Vec::new()));
                    self.session.begun(Ok(()));
                }
                ServerAction::Write => {
                    let chunk = self.session.chunk();
                    self.under_way.as_mut().unwrap().1.extend_from_slice(chunk);
                    self.session.written(Ok(()));
                }
                ServerAction::Commit => {
                    self.accepted.extend(self.under_way.take());
                    let status = EnhancedStatus::new(2, 0, 0);
                    self.session.committed(Ok(Reply::new(250, status, "kept")));
                }
                ServerAction::Abort => self.under_way = None,
                ServerAction::StartTls => {
                    self.handshake = true;
                    self.input.clear();
                    break;
                }
                ServerAction::Close => {
                    self.closed = true;
                    break;
                }
            }
        }
        String::from_utf8(said).unwrap()
    }

    /// Receives a command line; gives the codes of the replies, with their enhanced status.
    pub(super) fn codes(&mut self, lines: &str) -> Vec<String> {
        let said = self.hear(lines.as_bytes());
        said.lines()
            .filter(|line| line.as_bytes().get(3) == Some(&b' '))
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect()
    }
}
