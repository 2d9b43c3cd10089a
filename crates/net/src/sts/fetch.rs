//! One fetch of one policy: RFC 8461, Section 3.3.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_mta_sts::POLICY_OCTETS_MAX;
use byrnie_mta_sts::POLICY_PATH;
use byrnie_mta_sts::Policy;
use byrnie_mta_sts::PolicyError;
use byrnie_mta_sts::policy_host;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::dns::Answer;
use crate::dns::Outcome;
use crate::dns::RecordData;
use crate::dns::RecordType;
use crate::dns::Resolve;

/// Fetches policies.
pub trait FetchPolicy: Send + Sync + 'static {
    /// Fetches the policy file of a policy domain; what comes back is a policy.
    ///
    /// Always ends, within a time that the implementation documents.
    fn fetch(&self, domain: &DomainName)
    -> impl Future<Output = Result<String, FetchError>> + Send;
}

/// Fetches policies over HTTPS, each over a connection of its own.
#[derive(Clone)]
pub struct StsFetcher<R> {
    resolver: Arc<R>,
    tls: TlsConnector,
    port: u16,
    deadline: Duration,
}

impl<R: Resolve> StsFetcher<R> {
    /// A fetcher that trusts the authorities of `tls` and connects to [`HTTPS_PORT`].
    ///
    /// `tls` comes from [`Roots::https_client_config`](crate::tls::Roots::https_client_config).
    #[must_use]
    pub fn new(resolver: Arc<R>, tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            resolver,
            tls: TlsConnector::from(tls),
            port: HTTPS_PORT,
            deadline: FETCH_TIMEOUT,
        }
    }

    /// Connects to another port.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Gives a whole fetch this time, instead of [`FETCH_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The fetch, without its deadline.
    async fn fetch_slowly(&self, domain: &DomainName) -> Result<String, FetchError> {
        let host = policy_host(domain).map_err(|_| FetchError::NameTooLong)?;
        let addresses = self.addresses(&host).await?;
        let stream = self.connect(&addresses).await?;
        let stream = self.handshake(stream, &host).await?;
        let response = self.request(stream, &host).await?;
        Policy::parse(&response).map_err(FetchError::Policy)?;
        String::from_utf8(response.into()).map_err(|_| FetchError::Policy(NOT_UTF8))
    }

    /// The addresses of the policy host, IPv6 first, as many as are tried.
    ///
    /// Whether they are signed does not matter, as the certificate proves the host. An answer that
    /// fails validation is none.
    async fn addresses(&self, host: &DomainName) -> Result<Vec<IpAddr>, FetchError> {
        let (ipv6, ipv4) = tokio::join!(
            self.resolver.lookup(host, RecordType::Aaaa),
            self.resolver.lookup(host, RecordType::A),
        );
        let mut addresses = Vec::new();
        let mut error = None;
        for answer in [ipv6, ipv4] {
            match addresses_in(answer) {
                Ok(found) => addresses.extend(found),
                Err(why) => error = Some(why),
            }
        }
        addresses.truncate(POLICY_ADDRESSES_MAX);
        match (addresses.is_empty(), error) {
            (false, _) => Ok(addresses),
            (true, Some(why)) => Err(FetchError::Lookup(why)),
            (true, None) => Err(FetchError::NoAddress),
        }
    }

    /// A connection to the first address that takes one.
    async fn connect(&self, addresses: &[IpAddr]) -> Result<TcpStream, FetchError> {
        let mut error = io::ErrorKind::AddrNotAvailable;
        for address in addresses {
            let address = SocketAddr::new(*address, self.port);
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(why)) => error = why.kind(),
                Err(_) => error = io::ErrorKind::TimedOut,
            }
        }
        Err(FetchError::Connect(error))
    }

    /// TLS with the policy host.
    async fn handshake(
        &self,
        stream: TcpStream,
        host: &DomainName,
    ) -> Result<TlsStream<TcpStream>, FetchError> {
        let name = ServerName::try_from(String::from(host.as_str()))
            .map_err(|_| FetchError::NotAHostName)?;
        let handshake = self.tls.connect(name, stream).await;
        handshake.map_err(|error| FetchError::from_handshake(&error))
    }

    /// Asks for the policy file and takes the answer.
    async fn request(
        &self,
        stream: TlsStream<TcpStream>,
        host: &DomainName,
    ) -> Result<Bytes, FetchError> {
        let authority = match self.port {
            HTTPS_PORT => host.to_string(),
            port => format!("{host}:{port}"),
        };
        let request = Request::get(POLICY_PATH)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "text/plain")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchError::NotAHostName)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(RESPONSE_HEADERS_MAX)
            .max_buf_size(RESPONSE_HEAD_OCTETS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| FetchError::from_http(&error))?;
        let exchange = async move {
            let response = sender.send_request(request).await;
            read(response.map_err(|error| FetchError::from_http(&error))?).await
        };
        // The connection must be driven while the answer comes; once it has ended, the answer is
        // there or never will be.
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            _ = connection => exchange.await,
        }
    }
}

impl<R: Resolve> FetchPolicy for StsFetcher<R> {
    async fn fetch(&self, domain: &DomainName) -> Result<String, FetchError> {
        let fetch = Box::pin(self.fetch_slowly(domain));
        timeout(self.deadline, fetch)
            .await
            .unwrap_or(Err(FetchError::TimedOut))
    }
}

/// The body of an answer that is a policy file as far as HTTP can tell.
async fn read(response: Response<Incoming>) -> Result<Bytes, FetchError> {
    //= https://www.rfc-editor.org/rfc/rfc8461#section-3.3
    //# HTTP 3xx redirects MUST NOT be followed
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let media_type = media_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
    if !media_type.as_deref().is_some_and(is_plain_text) {
        return Err(FetchError::MediaType);
    }
    // A host that announces too much is not listened to.
    let announced = usize::try_from(response.size_hint().lower());
    if !announced.is_ok_and(|announced| announced <= POLICY_OCTETS_MAX) {
        return Err(FetchError::Policy(PolicyError::TooLong));
    }
    match Limited::new(response, POLICY_OCTETS_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(FetchError::Policy(PolicyError::TooLong))
        }
        Err(_) => Err(FetchError::BrokenOff),
    }
}

/// Whether a `Content-Type` is `text/plain`, with whatever parameters.
fn is_plain_text(value: &str) -> bool {
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/plain")
}

/// The addresses in an answer.
fn addresses_in(answer: Answer) -> Result<Vec<IpAddr>, LookupError> {
    let records = match answer.outcome?.value {
        Outcome::Records(records) => records,
        Outcome::NoData | Outcome::NxDomain => Vec::new(),
    };
    let addresses = records.into_iter().filter_map(|record| match record {
        RecordData::A(address) => Some(IpAddr::V4(address)),
        RecordData::Aaaa(address) => Some(IpAddr::V6(address)),
        RecordData::Mx { .. } | RecordData::Tlsa(_) | RecordData::Txt(_) | RecordData::Other(_) => {
            None
        }
    });
    Ok(addresses.collect())
}

/// Why a policy could not be fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FetchError {
    /// The answer ended before it was complete.
    BrokenOff,
    /// The certificate does not prove the policy host.
    Certificate(String),
    /// No address of the policy host takes connections.
    Connect(io::ErrorKind),
    /// The answer is not HTTP.
    Http(String),
    /// The addresses of the policy host could not be looked up.
    Lookup(LookupError),
    /// The answer is not `text/plain`.
    MediaType,
    /// The domain is too long for a policy host to stand below it.
    NameTooLong,
    /// The policy host has no address.
    NoAddress,
    /// The policy host has a name that no certificate can carry.
    NotAHostName,
    /// The file is no policy.
    Policy(PolicyError),
    /// The answer has this status instead of 200; redirects are not followed.
    Status(u16),
    /// It took too long.
    TimedOut,
    /// There is no TLS with the policy host, for another reason than its certificate.
    Tls(String),
}

impl FetchError {
    /// The result type for reports: RFC 8460, Section 4.3.2.2.
    #[must_use]
    pub const fn result_type(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "sts-webpki-invalid",
            Self::Policy(_) => "sts-policy-invalid",
            Self::BrokenOff
            | Self::Connect(_)
            | Self::Http(_)
            | Self::Lookup(_)
            | Self::MediaType
            | Self::NameTooLong
            | Self::NoAddress
            | Self::NotAHostName
            | Self::Status(_)
            | Self::TimedOut
            | Self::Tls(_) => "sts-policy-fetch-error",
        }
    }

    /// Finds out what a failed handshake means.
    fn from_handshake(error: &io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate(why.to_string()),
            Some(other) => Self::Tls(other.to_string()),
            None => Self::Tls(error.kind().to_string()),
        }
    }

    /// Finds out what an error of the HTTP library means.
    fn from_http(error: &hyper::Error) -> Self {
        match error.is_incomplete_message() || error.is_canceled() {
            true => Self::BrokenOff,
            false => Self::Http(error.to_string()),
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenOff => f.write_str("the policy host broke off its answer"),
            Self::Certificate(why) => {
                write!(f, "the certificate of the policy host is refused: {why}")
            }
            Self::Connect(why) => write!(f, "the policy host takes no connection: {why}"),
            Self::Http(why) => write!(f, "the policy host does not speak HTTP: {why}"),
            Self::Lookup(why) => write!(f, "the policy host could not be looked up: {why}"),
            Self::MediaType => f.write_str("the policy file is not served as text/plain"),
            Self::NameTooLong => f.write_str("the domain is too long to have a policy host"),
            Self::NoAddress => f.write_str("the policy host has no address"),
            Self::NotAHostName => f.write_str("the policy host has no name for a certificate"),
            Self::Policy(why) => write!(f, "the policy file is refused: {why}"),
            Self::Status(status @ 300..400) => write!(
                f,
                "the policy host answers with status {status}, and redirects are not followed"
            ),
            Self::Status(status) => write!(f, "the policy host answers with status {status}"),
            Self::TimedOut => f.write_str("the policy host took too long"),
            Self::Tls(why) => write!(f, "there is no TLS with the policy host: {why}"),
        }
    }
}

impl std::error::Error for FetchError {}

/// Where policy hosts listen unless the configuration says otherwise.
pub const HTTPS_PORT: u16 = 443;

/// How long a whole fetch may take, lookups included: the minute that Section 3.3 suggests.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one address of the policy host has to take a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many addresses of a policy host are tried.
pub const POLICY_ADDRESSES_MAX: usize = 4;

/// How many header fields an answer may have.
const RESPONSE_HEADERS_MAX: usize = 64;

/// How many octets the head of an answer, or one piece of its body, may have.
const RESPONSE_HEAD_OCTETS_MAX: usize = 32 * 1024;

/// What cannot happen after the file was parsed.
const NOT_UTF8: PolicyError = PolicyError::NotUtf8 { line: 1 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_text_plain_with_any_parameters() {
        for (value, expected) in [
            ("text/plain", true),
            ("Text/Plain; charset=utf-8", true),
            ("text/plain ;x", true),
            ("text/plainly", false),
            ("text/html", false),
            ("application/text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_plain_text(value), expected, "{value:?}");
        }
    }

    #[test]
    fn every_failure_has_its_result_type() {
        for (error, result_type) in [
            (FetchError::Status(404), "sts-policy-fetch-error"),
            (FetchError::TimedOut, "sts-policy-fetch-error"),
            (
                FetchError::Policy(PolicyError::TooLong),
                "sts-policy-invalid",
            ),
            (FetchError::Certificate(String::new()), "sts-webpki-invalid"),
        ] {
            assert_eq!(error.result_type(), result_type, "{error}");
        }
    }
}
