//! Asking an HTTPS server one thing, over a connection of its own.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::Uri;
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header;
use hyper::header::HeaderValue;
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

/// Asks HTTPS servers, each over a connection of its own, and follows no redirects.
#[derive(Clone)]
pub struct HttpsClient<R> {
    resolver: Arc<R>,
    tls: TlsConnector,
    deadline: Duration,
}

impl<R: Resolve> HttpsClient<R> {
    /// A client that trusts the authorities of `tls`.
    ///
    /// `tls` comes from [`Roots::https_client_config`](crate::tls::Roots::https_client_config).
    #[must_use]
    pub fn new(resolver: Arc<R>, tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            resolver,
            tls: TlsConnector::from(tls),
            deadline: EXCHANGE_TIMEOUT,
        }
    }

    /// Gives a whole exchange this time, instead of [`EXCHANGE_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Asks for what lies under a URL: what comes back has at most `body_max` octets. Under another status
    /// than 200 they are not read.
    ///
    /// # Errors
    /// There is no such answer within the time.
    pub async fn get(
        &self,
        url: &HttpsUrl,
        media_type: &'static str,
        body_max: usize,
    ) -> Result<Response<Bytes>, HttpsError> {
        let accept = HeaderValue::from_static(media_type);
        let mut request = Request::new(Full::default());
        request.headers_mut().insert(header::ACCEPT, accept);
        self.exchange(url, request, Some(body_max)).await
    }

    /// Hands over a body with these header fields; the status of the answer says what became of it.
    ///
    /// # Errors
    /// There is no answer within the time.
    pub async fn post(
        &self,
        url: &HttpsUrl,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<StatusCode, HttpsError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        let answer = self.exchange(url, request, None).await?;
        Ok(answer.status())
    }

    /// Sends a request and takes the answer, its body only if that may have octets.
    async fn exchange(
        &self,
        url: &HttpsUrl,
        request: Request<Full<Bytes>>,
        body_max: Option<usize>,
    ) -> Result<Response<Bytes>, HttpsError> {
        let exchange = Box::pin(async {
            let addresses = self.addresses(&url.host).await?;
            let stream = connect(&addresses, url.port).await?;
            let stream = self.handshake(stream, &url.host).await?;
            send(stream, addressed(request, url)?, body_max).await
        });
        timeout(self.deadline, exchange)
            .await
            .unwrap_or(Err(HttpsError::TimedOut))
    }

    /// The addresses of a host, IPv6 first, as many as are tried of each family.
    ///
    /// Whether they are signed does not matter, as the certificate proves the host. An answer that
    /// fails validation is none.
    async fn addresses(&self, host: &DomainName) -> Result<Vec<IpAddr>, HttpsError> {
        let (ipv6, ipv4) = tokio::join!(
            self.resolver.lookup(host, RecordType::Aaaa),
            self.resolver.lookup(host, RecordType::A),
        );
        let mut addresses = Vec::new();
        let mut error = None;
        for answer in [ipv6, ipv4] {
            match addresses_in(answer) {
                // Some of each, as a machine may have no way to one of the two.
                Ok(found) => addresses.extend(found.into_iter().take(ADDRESSES_MAX / 2)),
                Err(why) => error = Some(why),
            }
        }
        match (addresses.is_empty(), error) {
            (false, _) => Ok(addresses),
            (true, Some(why)) => Err(HttpsError::Lookup(why)),
            (true, None) => Err(HttpsError::NoAddress),
        }
    }

    /// TLS with a host.
    async fn handshake(
        &self,
        stream: TcpStream,
        host: &DomainName,
    ) -> Result<TlsStream<TcpStream>, HttpsError> {
        let name = ServerName::try_from(String::from(host.as_str()))
            .map_err(|_| HttpsError::NotAHostName)?;
        let handshake = self.tls.connect(name, stream).await;
        handshake.map_err(|error| HttpsError::from_handshake(&error))
    }
}

/// A connection to the first address that takes one.
async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, HttpsError> {
    let mut error = io::ErrorKind::AddrNotAvailable;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => error = why.kind(),
            Err(_) => error = io::ErrorKind::TimedOut,
        }
    }
    Err(HttpsError::Connect(error))
}

/// A request that says for whom it is.
fn addressed(
    mut request: Request<Full<Bytes>>,
    url: &HttpsUrl,
) -> Result<Request<Full<Bytes>>, HttpsError> {
    let authority = match url.port {
        HTTPS_PORT => url.host.to_string(),
        port => format!("{}:{port}", url.host),
    };
    let authority = HeaderValue::try_from(authority).map_err(|_| HttpsError::NotAHostName)?;
    *request.uri_mut() = url.target.clone();
    let headers = request.headers_mut();
    headers.insert(header::HOST, authority);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

/// Sends a request and takes the answer.
async fn send(
    stream: TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
    body_max: Option<usize>,
) -> Result<Response<Bytes>, HttpsError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(RESPONSE_HEADERS_MAX)
        .max_buf_size(RESPONSE_HEAD_OCTETS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| HttpsError::from_http(&error))?;
    let exchange = async move {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| HttpsError::from_http(&error))?;
        read(response, body_max).await
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

/// Takes the body of an answer, if it is wanted.
async fn read(
    response: Response<Incoming>,
    body_max: Option<usize>,
) -> Result<Response<Bytes>, HttpsError> {
    let (head, body) = response.into_parts();
    let Some(body_max) = body_max.filter(|_| head.status == StatusCode::OK) else {
        return Ok(Response::from_parts(head, Bytes::new()));
    };
    // A host that announces too much is not listened to.
    let announced = usize::try_from(body.size_hint().lower());
    if !announced.is_ok_and(|announced| announced <= body_max) {
        return Err(HttpsError::TooLong);
    }
    match Limited::new(body, body_max).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpsError::TooLong),
        Err(_) => Err(HttpsError::BrokenOff),
    }
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

/// An `https` URL whose host is a name: RFC 9110, Section 4.2.2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpsUrl {
    host: DomainName,
    port: u16,
    /// Path and query.
    target: Uri,
}

impl HttpsUrl {
    /// A path, which begins with a slash, at a host's port.
    ///
    /// # Errors
    /// It is no path.
    pub fn new(host: DomainName, port: u16, path: &str) -> Result<Self, InvalidUrl> {
        let target: Uri = path.parse().map_err(|_| InvalidUrl)?;
        match target.authority() {
            None if path.len() <= URL_OCTETS_MAX => Ok(Self { host, port, target }),
            None | Some(_) => Err(InvalidUrl),
        }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &DomainName {
        &self.host
    }
}

impl FromStr for HttpsUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        // What stands behind `#` is not sent.
        let text = text.split('#').next().unwrap_or_default();
        if text.len() > URL_OCTETS_MAX {
            return Err(InvalidUrl);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidUrl)?;
        let authority = uri.authority().ok_or(InvalidUrl)?;
        // A name and a password have no business in a URL: RFC 9110, Section 4.2.4.
        if uri.scheme_str() != Some("https") || authority.as_str().contains('@') {
            return Err(InvalidUrl);
        }
        let host = authority.host().parse().map_err(|_| InvalidUrl)?;
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, "")) | None => HTTPS_PORT,
            Some((_, port)) => port.parse().map_err(|_| InvalidUrl)?,
        };
        let path = uri.path_and_query().map_or("/", |target| target.as_str());
        Self::new(host, port, path)
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            HTTPS_PORT => write!(f, "https://{}{}", self.host, self.target),
            port => write!(f, "https://{}:{port}{}", self.host, self.target),
        }
    }
}

/// A text is no URL that can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidUrl;

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a URL such as https://host.example/path")
    }
}

impl std::error::Error for InvalidUrl {}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum HttpsError {
    /// The answer ended before it was complete.
    BrokenOff,
    /// The certificate does not prove the host.
    Certificate(String),
    /// No address of the host takes connections.
    Connect(io::ErrorKind),
    /// The answer is not HTTP.
    Http(String),
    /// The addresses of the host could not be looked up.
    Lookup(LookupError),
    /// The host has no address.
    NoAddress,
    /// The host has a name that no certificate can carry.
    NotAHostName,
    /// It took too long.
    TimedOut,
    /// There is no TLS with the host, for another reason than its certificate.
    Tls(String),
    /// The body of the answer has more octets than it may.
    TooLong,
}

impl HttpsError {
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

impl fmt::Display for HttpsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenOff => f.write_str("the host broke off its answer"),
            Self::Certificate(why) => write!(f, "the certificate of the host is refused: {why}"),
            Self::Connect(why) => write!(f, "the host takes no connection: {why}"),
            Self::Http(why) => write!(f, "the host does not speak HTTP: {why}"),
            Self::Lookup(why) => write!(f, "the host could not be looked up: {why}"),
            Self::NoAddress => f.write_str("the host has no address"),
            Self::NotAHostName => f.write_str("the host has no name for a certificate"),
            Self::TimedOut => f.write_str("the host took too long"),
            Self::Tls(why) => write!(f, "there is no TLS with the host: {why}"),
            Self::TooLong => f.write_str("the answer is too long"),
        }
    }
}

impl std::error::Error for HttpsError {}

/// Where HTTPS hosts listen by their standard.
pub const HTTPS_PORT: u16 = 443;

/// How long a whole exchange may take, lookups included: the minute that RFC 8461, Section 3.3 suggests.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one address has to take a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many addresses of a host are tried, half of them of each family.
pub const ADDRESSES_MAX: usize = 4;

/// How long a URL may be.
pub const URL_OCTETS_MAX: usize = 2_048;

/// How many header fields an answer may have.
const RESPONSE_HEADERS_MAX: usize = 64;

/// How many octets the head of an answer, or one piece of its body, may have.
const RESPONSE_HEAD_OCTETS_MAX: usize = 32 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_the_scheme_https_and_a_host_with_a_name() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let url: Option<HttpsUrl> = text.parse().ok();
            let shown = url.map(|url| url.to_string());
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
        check("https://a.example", Some("https://a.example/"));
        check(
            "https://A.example:443/v1?x=y#z",
            Some("https://a.example/v1?x=y"),
        );
        check(
            "https://a.example:8443/v1",
            Some("https://a.example:8443/v1"),
        );
        check("https://a.example:/v1", Some("https://a.example/v1"));
        check("http://a.example/v1", None);
        check("https://user@a.example/v1", None);
        check("https://a.example:65536/", None);
        check("https://[::1]/", None);
        check("https:///v1", None);
        check("/v1", None);
        check("a.example", None);
        check("", None);
        check(&format!("https://a.example/{}", "x".repeat(2_048)), None);
    }

    #[test]
    fn a_path_is_not_a_url() {
        let host: DomainName = "a.example".parse().unwrap();
        HttpsUrl::new(host.clone(), 443, "/v1").unwrap();
        for path in ["", "https://b.example/v1", "/a b"] {
            HttpsUrl::new(host.clone(), 443, path).unwrap_err();
        }
    }
}
