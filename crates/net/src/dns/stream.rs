//! Questions over TCP and TLS: RFC 7766 and RFC 7858.
//!
//! One question at a time goes over a connection; side by side they go over connections of their
//! own, up to a bound. A connection whose question was answered waits a while for the next one. No
//! task runs in the background: who drops a question drops its connection with it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use domain::base::Message;
use domain::net::client::request::ComposeRequest;
use domain::net::client::request::RequestMessage;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::config::InvalidDnsConfig;
use super::config::Transport;
use super::message::is_whole;
use crate::clock::Clock;

/// The connections to one upstream.
pub(super) struct Streams {
    /// The upstream.
    address: SocketAddr,
    /// TLS, if the connections are to use it.
    tls: Option<Tls>,
    /// Connections that wait for a question.
    idle: Mutex<Vec<IdleStream>>,
    /// How many connections may still be made.
    permits: Semaphore,
    /// For the age of idle connections.
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// How to speak TLS with the upstream.
struct Tls {
    /// The configuration.
    connector: TlsConnector,
    /// The name that the certificate must carry.
    server_name: ServerName<'static>,
}

/// A connection that waits for a question.
struct IdleStream {
    /// The connection.
    stream: Box<dyn Duplex>,
    /// Since when it waits.
    since: Instant,
}

/// A stream in both directions.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Streams {
    /// Makes no connection yet.
    pub(super) fn new(
        address: SocketAddr,
        transport: &Transport,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidDnsConfig> {
        let tls = match transport {
            Transport::Udp | Transport::Tcp => None,
            Transport::Tls { server_name, roots } => Some(Tls {
                connector: connector(roots)?,
                server_name: server_name.clone(),
            }),
        };
        Ok(Self {
            address,
            tls,
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(STREAMS_MAX),
            clock,
        })
    }

    /// Asks a question and returns its answer. The caller sets the time limit.
    ///
    /// A connection that has waited gets no more than `pause` for it: it may be dead, and nobody has
    /// told. A new one gets [`PAUSES_MAX`] times as long.
    ///
    /// # Errors
    /// The connection failed, or what came is no answer to the question.
    pub(super) async fn ask(
        &self,
        mut request: RequestMessage<Vec<u8>>,
        pause: Duration,
    ) -> io::Result<Message<Bytes>> {
        let _permit = self.permits.acquire().await.map_err(io::Error::other)?;
        request.header_mut().set_random_id();
        if let Some(stream) = self.take_idle() {
            // The upstream may have closed it at any moment: what fails on it says nothing.
            let answer = tokio::time::timeout(pause, self.exchange(stream, &request));
            if let Ok(Ok(answer)) = answer.await {
                return Ok(answer);
            }
        }
        let patience = pause.saturating_mul(PAUSES_MAX);
        let asking = async { self.exchange(self.connect().await?, &request).await };
        tokio::time::timeout(patience, asking)
            .await
            .unwrap_or_else(|_| {
                let why = format!("no answer over TCP within {patience:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            })
    }

    /// A connection that has not waited for too long.
    fn take_idle(&self) -> Option<Box<dyn Duplex>> {
        let now = self.clock.monotonic();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|stream| now.saturating_duration_since(stream.since) < STREAM_IDLE_MAX);
        idle.pop().map(|idle| idle.stream)
    }

    /// Makes a connection.
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some(tls) => {
                let stream = tls.connector.connect(tls.server_name.clone(), tcp).await?;
                Ok(Box::new(stream))
            }
        }
    }

    /// Asks on a connection, and keeps it if all went well.
    async fn exchange(
        &self,
        mut stream: Box<dyn Duplex>,
        request: &RequestMessage<Vec<u8>>,
    ) -> io::Result<Message<Bytes>> {
        let question = request.to_vec().map_err(io::Error::other)?;
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        // The length and the message go out in one write: RFC 7766, Section 8.
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&question);
        stream.write_all(&framed).await?;
        stream.flush().await?;

        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        let answer = Message::from_octets(Bytes::from(answer))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a broken message came"))?;
        if !request.is_answer(answer.for_slice()) || !is_whole(&answer) {
            let why = "what came is no answer to the question";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.keep(stream);
        Ok(answer)
    }

    /// Puts a connection aside for the next question.
    fn keep(&self, stream: Box<dyn Duplex>) {
        let since = self.clock.monotonic();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < STREAMS_IDLE_MAX {
            idle.push(IdleStream { stream, since });
        }
    }
}

/// TLS 1.2 and 1.3 with these roots.
fn connector(roots: &Arc<RootCertStore>) -> Result<TlsConnector, InvalidDnsConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidDnsConfig::Tls(error.to_string()))?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    // The protocol's identifier in the registry of RFC 7301.
    config.alpn_protocols = vec![b"dot".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// How many pauses between two questions a new connection may last without an answer, before another is
/// made: long enough for a slow answer, short enough to try again if the connection is stuck.
const PAUSES_MAX: u32 = 2;

/// At most this many connections to one upstream at a time.
const STREAMS_MAX: usize = 32;

/// At most this many connections wait for the next question.
const STREAMS_IDLE_MAX: usize = 8;

/// A connection that has waited longer than this is closed. Servers close theirs after seconds too
/// (RFC 7766, Section 6.2.3).
const STREAM_IDLE_MAX: Duration = Duration::from_secs(5);
