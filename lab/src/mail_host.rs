//! Mail hosts: an SMTP server of the lab's own, honest or not.
//!
//! It speaks enough of RFC 5321 to take mail from any client that keeps to it, and is written
//! independently of the program under test, so that a shared misunderstanding cannot hide.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::LabError;
use crate::inbox::Inbox;
use crate::inbox::Received;
use crate::inbox::TlsSeen;
use crate::listening::Listening;

/// A mail host with a name and an address; stops when dropped.
#[derive(Debug)]
pub struct MailHost {
    /// Its name, as it greets.
    pub name: String,
    /// Where it listens, when it does.
    pub address: SocketAddr,
    /// What its connections share.
    shared: Arc<Shared>,
    /// There while it listens.
    listening: Option<Listening>,
}

impl MailHost {
    /// A host that does not listen yet.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr, conduct: Conduct, inbox: Inbox) -> Self {
        Self {
            name: String::from(name),
            address,
            shared: Arc::new(Shared {
                name: String::from(name),
                conduct: Mutex::new(conduct),
                conducts: AtomicUsize::new(0),
                inbox,
                greylisted: Mutex::default(),
                sessions: AtomicUsize::new(0),
                greeted: AtomicUsize::new(0),
            }),
            listening: None,
        }
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn up(&mut self) -> Result<(), LabError> {
        let shared = Arc::clone(&self.shared);
        let serve = move |stream| serve(stream, Arc::clone(&shared));
        self.listening = Some(Listening::start(self.address, &self.name, serve).await?);
        Ok(())
    }

    /// Stops listening: connections are refused from now on.
    pub async fn down(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.stop().await;
        }
    }

    /// From the next command on, the host behaves so, as if it had been started anew: sessions that are
    /// open take no further message.
    pub fn set_conduct(&self, conduct: Conduct) {
        let current = self.shared.conduct.lock();
        *current.unwrap_or_else(PoisonError::into_inner) = conduct;
        self.shared.conducts.fetch_add(1, Ordering::SeqCst);
    }

    /// From the next command on, nothing is wrong with the host.
    pub fn mend(&self) {
        let conduct = self.shared.conduct.lock();
        conduct.unwrap_or_else(PoisonError::into_inner).fault = None;
    }

    /// The sessions that are open now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.sessions.load(Ordering::SeqCst)
    }

    /// The sessions that there were so far.
    #[must_use]
    pub fn sessions_ever(&self) -> usize {
        self.shared.greeted.load(Ordering::SeqCst)
    }
}

/// How a host behaves.
#[derive(Clone)]
pub struct Conduct {
    /// What it does about STARTTLS.
    pub starttls: Starttls,
    /// Whether it offers REQUIRETLS (RFC 8689), on TLS connections.
    pub require_tls: Extension,
    /// Whether it offers CHUNKING (RFC 3030).
    pub chunking: Extension,
    /// What else is wrong with it.
    pub fault: Option<MailFault>,
}

impl std::fmt::Debug for Conduct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {:?}", self.starttls, self.fault)
    }
}

impl Conduct {
    /// An honest host that shows this certificate.
    #[must_use]
    pub fn tls(acceptor: TlsAcceptor) -> Self {
        Self {
            starttls: Starttls::Offered(acceptor),
            ..Self::clear()
        }
    }

    /// An honest host that has never heard of TLS.
    #[must_use]
    pub fn clear() -> Self {
        Self {
            starttls: Starttls::NotOffered,
            require_tls: Extension::NotOffered,
            chunking: Extension::Offered,
            fault: None,
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn with_fault(self, fault: MailFault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }
}

/// What a host does about STARTTLS: RFC 3207.
#[derive(Clone)]
pub enum Starttls {
    /// It does not offer it, or somebody on the path cut the offer out.
    NotOffered,
    /// It offers it and keeps the promise.
    Offered(TlsAcceptor),
    /// It offers it and answers 454.
    Refused,
    /// It offers it, and replies for the time after the handshake arrive before it, in one packet with
    /// the 220: what an attacker on the path can add.
    WithInjectedReplies(TlsAcceptor),
}

impl std::fmt::Debug for Starttls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotOffered => "NotOffered",
            Self::Offered(_) => "Offered",
            Self::Refused => "Refused",
            Self::WithInjectedReplies(_) => "WithInjectedReplies",
        })
    }
}

/// Whether a host offers an extension.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extension {
    /// It does.
    Offered,
    /// It does not.
    NotOffered,
}

/// What else can be wrong with a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MailFault {
    /// It greets with this line, such as `421 4.3.2 busy`, and closes.
    Greeting(&'static str),
    /// It closes the connection without a word.
    Drop,
    /// It takes connections and never says anything.
    Silent,
    /// It writes one octet of its replies a second.
    OctetBySecond,
    /// It closes the connection in the middle of the message.
    DropInData,
    /// It resets the connection in the middle of the message.
    ResetInData,
    /// It takes a message over and closes the connection before it says so.
    TakeWithoutReply,
    /// It closes the connection after each message, without a word.
    CloseWhenIdle,
    /// It turns a second message on the same connection away with 421.
    OneMessage,
    /// It takes a recipient only when it is asked for it a second time.
    Greylist,
    /// It answers RCPT with this line.
    ReplyToRecipient(&'static str),
    /// It answers the end of the data with this line.
    ReplyToMessage(&'static str),
    /// It takes its time before each reply.
    Slow(Duration),
    /// Its reply to EHLO never ends.
    EndlessReply,
}

/// What the connections of a host share.
#[derive(Debug)]
struct Shared {
    /// The host's name.
    name: String,
    /// How it behaves now.
    conduct: Mutex<Conduct>,
    /// How often that has changed.
    conducts: AtomicUsize,
    /// Where its messages go.
    inbox: Inbox,
    /// Recipients that were turned away once.
    greylisted: Mutex<BTreeSet<String>>,
    /// Open sessions.
    sessions: AtomicUsize,
    /// Sessions so far.
    greeted: AtomicUsize,
}

impl Shared {
    fn conduct(&self) -> Conduct {
        let conduct = self.conduct.lock();
        conduct.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a recipient is asked for the first time.
    fn is_new(&self, recipient: &str) -> bool {
        let greylisted = self.greylisted.lock();
        greylisted
            .unwrap_or_else(PoisonError::into_inner)
            .insert(String::from(recipient))
    }
}

/// Counts a session for as long as it lives, however it ends.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.sessions.fetch_add(1, Ordering::SeqCst);
        shared.greeted.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One connection from greeting to end.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _counted = Counted::new(&shared);
    let Ok(peer) = stream.peer_addr() else {
        return;
    };
    let mut session = Session::new(Arc::clone(&shared), peer);
    let conduct = shared.conduct();
    let greeting = match conduct.fault {
        Some(MailFault::Drop) => return,
        Some(MailFault::Silent) => {
            // Until the client has had enough.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            return;
        }
        Some(MailFault::Greeting(line)) => format!("{line}\r\n"),
        Some(
            MailFault::OctetBySecond
            | MailFault::DropInData
            | MailFault::ResetInData
            | MailFault::TakeWithoutReply
            | MailFault::CloseWhenIdle
            | MailFault::OneMessage
            | MailFault::Greylist
            | MailFault::ReplyToRecipient(_)
            | MailFault::ReplyToMessage(_)
            | MailFault::Slow(_)
            | MailFault::EndlessReply,
        )
        | None => format!("220 {} ESMTP lab\r\n", shared.name),
    };
    // Whatever breaks the connection from here on is the client's own business.
    if say(&mut stream, &greeting, &conduct).await.is_err() || !greeting.starts_with("220") {
        return;
    }
    let acceptor = match session.run(&mut stream).await {
        Ok(End::StartTls(acceptor)) => acceptor,
        Ok(End::Reset) => return reset(&stream),
        Ok(End::Closed) | Err(_) => return,
    };
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let (_, tls) = stream.get_ref();
    session.tls = Some(TlsSeen {
        version: format!("{:?}", tls.protocol_version()),
        sni: tls.server_name().map(String::from),
    });
    session.forget();
    if let Ok(End::Reset) = session.run(&mut stream).await {
        return reset(stream.get_ref().0);
    }
    let _ = stream.shutdown().await;
}

/// Has the connection reset when it is dropped.
fn reset(stream: &TcpStream) {
    // Without this it is closed, which the scenario then shows.
    let _ = stream.set_zero_linger();
}

/// Writes a reply as fast as the host wants.
async fn say<S: AsyncWrite + Unpin>(
    stream: &mut S,
    reply: &str,
    conduct: &Conduct,
) -> io::Result<()> {
    if conduct.fault != Some(MailFault::OctetBySecond) {
        stream.write_all(reply.as_bytes()).await?;
        return stream.flush().await;
    }
    for octet in reply.bytes() {
        stream.write_all(&[octet]).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// How a stretch of a session ends.
enum End {
    /// The client is gone, or was sent away.
    Closed,
    /// The connection is to be reset.
    Reset,
    /// The handshake comes next.
    StartTls(TlsAcceptor),
}

/// What a session remembers.
struct Session {
    /// The host.
    shared: Arc<Shared>,
    /// The client.
    peer: SocketAddr,
    /// How often the host's conduct had changed when the session began.
    conducts: usize,
    /// What protects the session.
    tls: Option<TlsSeen>,
    /// The argument of MAIL.
    reverse_path: Option<String>,
    /// The arguments of RCPT.
    recipients: Vec<String>,
    /// What BDAT has brought so far.
    chunks: Vec<u8>,
    /// Messages that were taken over.
    messages: usize,
}

impl Session {
    fn new(shared: Arc<Shared>, peer: SocketAddr) -> Self {
        Self {
            conducts: shared.conducts.load(Ordering::SeqCst),
            shared,
            peer,
            tls: None,
            reverse_path: None,
            recipients: Vec::new(),
            chunks: Vec::new(),
            messages: 0,
        }
    }

    /// Ends the transaction.
    fn forget(&mut self) {
        self.reverse_path = None;
        self.recipients.clear();
        self.chunks.clear();
    }

    /// Serves commands until the end, or until the handshake. What the client sent ahead of the
    /// handshake is dropped with the buffer.
    async fn run<S>(&mut self, stream: &mut S) -> io::Result<End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = BufReader::new(stream);
        loop {
            let Some(line) = read_line(&mut stream).await? else {
                return Ok(End::Closed);
            };
            let conduct = self.shared.conduct();
            let text = String::from_utf8_lossy(&line).into_owned();
            let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
            let verb = verb.to_ascii_uppercase();
            if let Some(end) = self.goes_wrong(&verb, &mut stream, &conduct).await? {
                return Ok(end);
            }
            let messages = self.messages;
            let reply = match verb.as_str() {
                "EHLO" => {
                    self.forget();
                    self.capabilities(&conduct)
                }
                "HELO" => {
                    self.forget();
                    format!("250 {}\r\n", self.shared.name)
                }
                "STARTTLS" => match self.start_tls(&conduct) {
                    (reply, Some(acceptor)) => {
                        say(&mut stream, &reply, &conduct).await?;
                        return Ok(End::StartTls(acceptor));
                    }
                    (reply, None) => reply,
                },
                "MAIL" if self.conducts != self.shared.conducts.load(Ordering::SeqCst) => {
                    stream.write_all(b"421 4.3.2 started anew\r\n").await?;
                    stream.flush().await?;
                    return Ok(End::Closed);
                }
                "MAIL" => self.mail(rest),
                "RCPT" => self.recipient(rest, &conduct),
                "DATA" if self.recipients.is_empty() => bad_sequence(),
                "DATA" => {
                    stream.write_all(b"354 go ahead\r\n").await?;
                    let Some(message) = read_data(&mut stream, &conduct).await? else {
                        return Ok(End::Closed);
                    };
                    self.take(message, &conduct)
                }
                "BDAT" => match self.chunk(rest, &mut stream, &conduct).await? {
                    Some(reply) => reply,
                    None => return Ok(End::Closed),
                },
                "RSET" => {
                    self.forget();
                    String::from("250 2.0.0 forgotten\r\n")
                }
                "NOOP" => String::from("250 2.0.0 fine\r\n"),
                "QUIT" => {
                    stream.write_all(b"221 2.0.0 bye\r\n").await?;
                    return Ok(End::Closed);
                }
                _ => String::from("500 5.5.1 what?\r\n"),
            };
            let took = self.messages > messages;
            if took && conduct.fault == Some(MailFault::TakeWithoutReply) {
                return Ok(End::Closed);
            }
            say(&mut stream, &reply, &conduct).await?;
            if took && conduct.fault == Some(MailFault::CloseWhenIdle) {
                return Ok(End::Closed);
            }
        }
    }

    /// What a faulty host does instead of serving a command; `None` if it serves it.
    async fn goes_wrong<S>(
        &self,
        verb: &str,
        stream: &mut BufReader<S>,
        conduct: &Conduct,
    ) -> io::Result<Option<End>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match (conduct.fault.as_ref(), verb) {
            (Some(MailFault::Slow(wait)), _) => {
                tokio::time::sleep(*wait).await;
                Ok(None)
            }
            (Some(MailFault::EndlessReply), "EHLO") => endless(stream).await.map(Some),
            (Some(MailFault::OneMessage), "MAIL") if self.messages > 0 => {
                let reply = "421 4.7.0 one message is enough for one connection\r\n";
                say(stream, reply, conduct).await?;
                Ok(Some(End::Closed))
            }
            (Some(MailFault::ResetInData), "DATA" | "BDAT") => {
                if verb == "DATA" {
                    say(stream, "354 go ahead\r\n", conduct).await?;
                }
                stream.read_exact(&mut [0; 64]).await?;
                Ok(Some(End::Reset))
            }
            (_, _) => Ok(None),
        }
    }

    /// The reply to EHLO.
    fn capabilities(&self, conduct: &Conduct) -> String {
        let mut lines = vec![
            self.shared.name.as_str(),
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        ];
        if conduct.chunking == Extension::Offered {
            lines.push("CHUNKING");
        }
        let offers_tls = !matches!(conduct.starttls, Starttls::NotOffered);
        if offers_tls && self.tls.is_none() {
            lines.push("STARTTLS");
        }
        // RFC 8689, Section 2: only over TLS.
        if conduct.require_tls == Extension::Offered && self.tls.is_some() {
            lines.push("REQUIRETLS");
        }
        let mut reply = String::new();
        for line in lines {
            reply.push_str(&format!("250-{line}\r\n"));
        }
        reply.push_str("250 SIZE 104857600\r\n");
        reply
    }

    /// The reply to STARTTLS, and with whom the handshake is done.
    fn start_tls(&self, conduct: &Conduct) -> (String, Option<TlsAcceptor>) {
        if self.tls.is_some() {
            return (bad_sequence(), None);
        }
        match &conduct.starttls {
            Starttls::NotOffered => (String::from("502 5.5.1 not here\r\n"), None),
            Starttls::Refused => (String::from("454 4.7.0 not now\r\n"), None),
            Starttls::Offered(acceptor) => {
                (String::from("220 2.0.0 ready\r\n"), Some(acceptor.clone()))
            }
            Starttls::WithInjectedReplies(acceptor) => {
                (String::from(INJECTED_REPLIES), Some(acceptor.clone()))
            }
        }
    }

    /// The reply to MAIL.
    fn mail(&mut self, rest: &str) -> String {
        if self.reverse_path.is_some() {
            return bad_sequence();
        }
        self.reverse_path = Some(String::from(argument(rest)));
        String::from("250 2.1.0 sender ok\r\n")
    }

    /// The reply to RCPT.
    fn recipient(&mut self, rest: &str, conduct: &Conduct) -> String {
        if self.reverse_path.is_none() {
            return bad_sequence();
        }
        if let Some(MailFault::ReplyToRecipient(line)) = conduct.fault {
            return format!("{line}\r\n");
        }
        if conduct.fault == Some(MailFault::Greylist) && self.shared.is_new(argument(rest)) {
            return String::from("450 4.2.0 not the first time\r\n");
        }
        self.recipients.push(String::from(argument(rest)));
        String::from("250 2.1.5 recipient ok\r\n")
    }

    /// The reply to BDAT, after its chunk is read; `None` if the connection ends in it.
    async fn chunk<S>(
        &mut self,
        rest: &str,
        stream: &mut BufReader<S>,
        conduct: &Conduct,
    ) -> io::Result<Option<String>>
    where
        S: AsyncRead + Unpin,
    {
        let mut words = rest.split_ascii_whitespace();
        let size = words.next().and_then(|word| word.parse::<usize>().ok());
        let Some(size) = size.filter(|size| self.chunks.len() + size <= MESSAGE_OCTETS_MAX) else {
            return Ok(None);
        };
        let mut chunk = vec![0; size];
        stream.read_exact(&mut chunk).await?;
        if self.recipients.is_empty() {
            return Ok(Some(bad_sequence()));
        }
        if conduct.fault == Some(MailFault::DropInData) {
            return Ok(None);
        }
        self.chunks.extend_from_slice(&chunk);
        if words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("LAST"))
        {
            let message = std::mem::take(&mut self.chunks);
            return Ok(Some(self.take(message, conduct)));
        }
        Ok(Some(format!("250 2.0.0 {size} octets\r\n")))
    }

    /// Takes a message over, and gives the reply.
    fn take(&mut self, message: Vec<u8>, conduct: &Conduct) -> String {
        if let Some(MailFault::ReplyToMessage(line)) = conduct.fault {
            self.forget();
            return format!("{line}\r\n");
        }
        let id = Received::id_of(&message);
        self.shared.inbox.add(Received {
            at: Instant::now(),
            host: self.shared.name.clone(),
            peer: self.peer,
            reverse_path: self.reverse_path.clone().unwrap_or_default(),
            recipients: self.recipients.clone(),
            tls: self.tls.clone(),
            message,
            id,
        });
        self.forget();
        self.messages += 1;
        String::from("250 2.0.0 taken over by the lab\r\n")
    }
}

/// What follows the first colon of MAIL and RCPT.
fn argument(rest: &str) -> &str {
    rest.split_once(':').map_or(rest, |(_, path)| path).trim()
}

/// The reply to a command out of turn.
fn bad_sequence() -> String {
    String::from("503 5.5.1 out of turn\r\n")
}

/// One line without its end; `None` at the end of the stream or when it is too long.
async fn read_line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    (&mut *stream)
        .take(LINE_OCTETS_MAX)
        .read_until(b'\n', &mut line)
        .await?;
    Ok(line.strip_suffix(b"\r\n").map(<[u8]>::to_vec))
}

/// The lines after DATA up to the single dot, transparency undone; `None` if they never end.
async fn read_data<S: AsyncRead + Unpin>(
    stream: &mut BufReader<S>,
    conduct: &Conduct,
) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    loop {
        let Some(line) = read_line(stream).await? else {
            return Ok(None);
        };
        if conduct.fault == Some(MailFault::DropInData) || message.len() > MESSAGE_OCTETS_MAX {
            return Ok(None);
        }
        if line == b"." {
            return Ok(Some(message));
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        message.extend_from_slice(b"\r\n");
    }
}

/// Writes lines of a reply until the client has had enough.
async fn endless<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<End> {
    for _ in 0..ENDLESS_LINES {
        stream.write_all(b"250-and one more thing\r\n").await?;
    }
    Ok(End::Closed)
}

/// The reply to STARTTLS, and in the same packet a reply to the EHLO that will follow the
/// handshake and to whatever comes then.
const INJECTED_REPLIES: &str = "220 2.0.0 ready\r\n250-evil.example\r\n250 SIZE 1\r\n\
                                250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n250 2.0.0 stolen\r\n";

/// Octets of a line with its end: more than any standard asks for.
const LINE_OCTETS_MAX: u64 = 64 * 1024;

/// Octets of a message: more than `SIZE` promises.
const MESSAGE_OCTETS_MAX: usize = 110 << 20;

/// More than any client should read; some 250 MB.
const ENDLESS_LINES: u32 = 10_000_000;

#[cfg(test)]
mod tests;
