//! Putting mail into the program under test: a small SMTP client of the lab's own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::LabError;
use crate::inbox::ID_HEADER;

/// A message as a user writes it.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Its mark, by which it is found again: letters, digits and `-`.
    pub id: String,
    /// The reverse-path without brackets.
    pub from: String,
    /// The recipients without brackets.
    pub to: Vec<String>,
    /// How it is handed in.
    pub submission: Submission,
    /// Parameters of MAIL, such as `REQUIRETLS`.
    pub parameters: &'static str,
    /// More header lines, each with its line end.
    pub headers: &'static str,
    /// How many octets the body is filled up with.
    pub padding: usize,
}

/// How a message is handed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Submission {
    /// In clear text.
    Clear,
    /// After STARTTLS.
    StartTls,
    /// After STARTTLS, and as an attacker on the path would have it: with commands in the packet of
    /// STARTTLS that must have no effect.
    StartTlsWithInjectedCommands,
}

impl Mail {
    /// The header and the body, ready to be sent but for transparency.
    #[must_use]
    pub fn text(&self) -> String {
        let to = self.to.join(", ");
        format!(
            "From: <{}>\r\nTo: {to}\r\nSubject: {}\r\nMessage-ID: <{}@lab.invalid>\r\n\
             Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n{ID_HEADER}: {}\r\n{}\r\n{}",
            self.from,
            self.id,
            self.id,
            self.id,
            self.headers,
            self.body()
        )
    }

    /// The body; its lines begin with dots where that may go wrong.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = String::from("The first line.\r\n.one dot\r\n..two dots\r\n...\r\n");
        while body.len() < self.padding {
            body.push_str("Sixty-four octets, so that a kilobyte is sixteen lines of text.\r\n");
        }
        body.push_str("The last line.\r\n");
        body
    }
}

/// Hands mail in to one server.
#[derive(Clone)]
pub struct Injector {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Its name in its certificate.
    name: ServerName<'static>,
    /// Trusts the lab's public authorities.
    connector: TlsConnector,
}

impl Injector {
    /// For a server that shows a certificate with `name` below the roots in `roots_pem`.
    ///
    /// # Errors
    /// The roots or the name cannot be used.
    pub fn new(address: SocketAddr, name: &str, roots_pem: &str) -> Result<Self, LabError> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots_pem.as_bytes()).flatten() {
            roots.add(root)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(String::from(name))
            .map_err(|_| LabError::Name(String::from(name)))?;
        Ok(Self {
            address,
            name,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Hands one message in; gives the reply to the end of its data.
    ///
    /// # Errors
    /// The server said no, or went away: then it may or may not have the message.
    pub async fn inject(&self, mail: &Mail) -> Result<String, InjectError> {
        let work = async {
            let mut stream = BufReader::new(TcpStream::connect(self.address).await?);
            expect(&mut stream, "the greeting", "220").await?;
            command(&mut stream, "EHLO client.lab.invalid", "250").await?;
            match mail.submission {
                Submission::Clear => transaction(&mut stream, mail).await,
                Submission::StartTls => {
                    command(&mut stream, "STARTTLS", "220").await?;
                    let mut stream = self.handshake(stream.into_inner()).await?;
                    command(&mut stream, "EHLO client.lab.invalid", "250").await?;
                    transaction(&mut stream, mail).await
                }
                Submission::StartTlsWithInjectedCommands => {
                    let injected = "STARTTLS\r\nMAIL FROM:<evil@attacker.invalid>";
                    command(&mut stream, injected, "220").await?;
                    let mut stream = self.handshake(stream.into_inner()).await?;
                    command(&mut stream, "EHLO client.lab.invalid", "250").await?;
                    // An injected MAIL that had taken effect would let this pass.
                    let recipient = format!("RCPT TO:<{}>", mail.to.join(","));
                    command(&mut stream, &recipient, "503").await?;
                    transaction(&mut stream, mail).await
                }
            }
        };
        tokio::time::timeout(INJECT_MAX, work)
            .await
            .unwrap_or(Err(InjectError::TimedOut))
    }

    /// The handshake after the 220 to STARTTLS.
    async fn handshake(
        &self,
        stream: TcpStream,
    ) -> io::Result<BufReader<tokio_rustls::client::TlsStream<TcpStream>>> {
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        Ok(BufReader::new(stream))
    }
}

/// From MAIL to the reply to the end of the data, and QUIT.
async fn transaction<S>(stream: &mut BufReader<S>, mail: &Mail) -> Result<String, InjectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = format!("MAIL FROM:<{}> {}", mail.from, mail.parameters);
    command(stream, line.trim_end(), "250").await?;
    for recipient in &mail.to {
        command(stream, &format!("RCPT TO:<{recipient}>"), "25").await?;
    }
    command(stream, "DATA", "354").await?;
    let mut data = String::new();
    for line in mail.text().split_inclusive("\r\n") {
        // RFC 5321, Section 4.5.2.
        if line.starts_with('.') {
            data.push('.');
        }
        data.push_str(line);
    }
    data.push('.');
    let reply = command(stream, &data, "250").await?;
    // The message is taken over; how the server says good-bye does not matter.
    let _ = command(stream, "QUIT", "221").await;
    Ok(reply)
}

/// Sends a line and reads the reply, which must begin so.
async fn command<S>(
    stream: &mut BufReader<S>,
    line: &str,
    expected: &str,
) -> Result<String, InjectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    stream.flush().await?;
    expect(stream, line.lines().next_back().unwrap_or(line), expected).await
}

/// Reads one reply, which must begin so.
async fn expect<S>(
    stream: &mut BufReader<S>,
    after: &str,
    expected: &str,
) -> Result<String, InjectError>
where
    S: AsyncRead + Unpin,
{
    let mut reply = String::new();
    for _ in 0..REPLY_LINES_MAX {
        let mut line = String::new();
        (&mut *stream)
            .take(REPLY_LINE_OCTETS_MAX)
            .read_line(&mut line)
            .await?;
        if line.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        reply.push_str(line.trim_end());
        if line.as_bytes().get(3) != Some(&b'-') {
            break;
        }
        reply.push('\n');
    }
    if reply.starts_with(expected) {
        return Ok(reply);
    }
    Err(InjectError::Refused {
        after: String::from(after),
        reply,
    })
}

/// Why a message was not handed in.
#[derive(Debug)]
pub enum InjectError {
    /// The connection broke.
    Io(io::Error),
    /// The server answered otherwise than it must.
    Refused {
        /// What was sent.
        after: String,
        /// What came back.
        reply: String,
    },
    /// The server took longer than [`INJECT_MAX`].
    TimedOut,
}

impl fmt::Display for InjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(source) => write!(f, "the connection broke: {source}"),
            Self::Refused { after, reply } => write!(f, "{reply} (after {after})"),
            Self::TimedOut => f.write_str("no reply in time"),
        }
    }
}

impl std::error::Error for InjectError {}

impl From<io::Error> for InjectError {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

/// How long handing in one message may take.
pub const INJECT_MAX: Duration = Duration::from_secs(30);

/// Lines of one reply.
const REPLY_LINES_MAX: usize = 100;

/// Octets of one line of a reply.
const REPLY_LINE_OCTETS_MAX: u64 = 4096;
