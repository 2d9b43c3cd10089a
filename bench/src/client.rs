//! The sending side of SMTP, as far as it is needed to measure a server.

use std::net::IpAddr;
use std::net::SocketAddr;

use memchr::memchr;
use memchr::memmem;
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// Longest reply that is read, with all its lines.
const REPLY_MAX: usize = 64 * 1024;

/// The first digit of a reply that says yes.
pub(crate) const YES: u8 = b'2';

/// The first digit of the reply that asks for the message.
pub(crate) const GO_ON: u8 = b'3';

/// What a connection runs over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to a server that has greeted.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    /// What was read; up to `taken` it has been looked at.
    replies: Vec<u8>,
    taken: usize,
    /// How TLS was agreed on, if it was.
    pub(crate) handshake: Option<HandshakeKind>,
}

impl Client {
    /// Connects, from an address of one's choice if there is one, and greets; over TLS if there is a connector.
    pub(crate) async fn connect(
        to: SocketAddr,
        from: Option<IpAddr>,
        connector: Option<&TlsConnector>,
    ) -> Result<Self, Failure> {
        let tcp = open(to, from).await?;
        let mut client = Self::over(tcp);
        client.reply(YES).await?;
        client.greet().await?;
        let Some(connector) = connector else {
            return Ok(client);
        };
        client.send(b"STARTTLS\r\n").await?;
        client.reply(YES).await?;
        let name = ServerName::try_from("mx.bench.test")?;
        let tls = connector.connect(name, client.stream).await?;
        let handshake = tls.get_ref().1.handshake_kind();
        let mut client = Self::over(tls);
        client.handshake = handshake;
        client.greet().await?;
        Ok(client)
    }

    /// Sends commands, or a message.
    pub(crate) async fn send(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(octets).await?;
        Ok(self.stream.flush().await?)
    }

    /// Waits for one reply, and returns all its lines if its code begins with `class`.
    pub(crate) async fn reply(&mut self, class: u8) -> Result<&[u8], Failure> {
        if self.taken == self.replies.len() {
            self.replies.clear();
            self.taken = 0;
        }
        let begin = self.taken;
        let wanted = loop {
            let Some(length) = memchr(b'\n', &self.replies[self.taken..]) else {
                if !self.more().await? {
                    return Err(Failure::new("the server closed the connection"));
                }
                continue;
            };
            let line = &self.replies[self.taken..self.taken + length];
            let (first, more) = (line.first() == Some(&class), line.get(3) == Some(&b'-'));
            self.taken += length + 1;
            if !more {
                break first;
            }
        };
        let lines = &self.replies[begin..self.taken];
        match wanted {
            true => Ok(lines),
            false => Err(Failure::new(String::from_utf8_lossy(lines).trim_end())),
        }
    }

    /// Waits until the server says or does something, and returns what it said.
    pub(crate) async fn overhear(&mut self) -> Result<String, Failure> {
        while self.more().await? {}
        Ok(String::from_utf8_lossy(&self.replies[self.taken..]).into_owned())
    }

    /// Ends the session in order; what goes wrong now matters to nobody.
    pub(crate) async fn quit(mut self) {
        if self.send(b"QUIT\r\n").await.is_ok() {
            drop(self.reply(YES).await);
            drop(self.stream.shutdown().await);
        }
    }

    /// A session over a stream on which the next octet is the server's.
    fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            replies: Vec::with_capacity(512),
            taken: 0,
            handshake: None,
        }
    }

    /// EHLO, and that commands may follow each other without waiting.
    async fn greet(&mut self) -> Result<(), Failure> {
        self.send(b"EHLO client.bench.test\r\n").await?;
        match memmem::find(self.reply(YES).await?, b"PIPELINING") {
            Some(_) => Ok(()),
            None => Err(Failure::new("the server does not offer PIPELINING")),
        }
    }

    /// Reads what has come; false at the end.
    async fn more(&mut self) -> Result<bool, Failure> {
        if self.replies.len() > REPLY_MAX {
            return Err(Failure::new("an endless reply"));
        }
        Ok(self.stream.read_buf(&mut self.replies).await? > 0)
    }
}

/// A connection on which nothing waits for company.
async fn open(to: SocketAddr, from: Option<IpAddr>) -> Result<TcpStream, Failure> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let tcp = socket.connect(to).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}
