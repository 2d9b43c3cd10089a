//! Behaviour rule 23: fetching over HTTPS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_mta_sts::Field;
use byrnie_mta_sts::POLICY_OCTETS_MAX;
use byrnie_mta_sts::PolicyError;
use byrnie_net::dns::Answer;
use byrnie_net::dns::Explanation;
use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::https::HttpsError;
use byrnie_net::sts::FetchError;
use byrnie_net::sts::FetchPolicy;
use byrnie_net::sts::StsFetcher;
use byrnie_net::tls::Roots;
use byrnie_net::tls::server_acceptor;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::date_time_ymd;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::world::enforce;
use crate::world::name;

/// The policy host of `example.org`.
const HOST: &str = "mta-sts.example.org";

#[tokio::test]
async fn the_policy_is_fetched_from_its_path_on_its_host() {
    let authority = Authority::new();
    let server = Server::start(
        &authority.identity(&[HOST]),
        response(&enforce("mx.example.org")),
    );
    let (result, request) = server.fetch(&authority).await;
    assert_eq!(result, Ok(enforce("mx.example.org")));
    let request = request.unwrap().to_ascii_lowercase();
    assert!(
        request.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains(&format!("\r\nhost: {HOST}:")), "{request}");
}

#[tokio::test]
async fn a_wildcard_certificate_is_a_certificate_for_the_host() {
    let authority = Authority::new();
    let server = Server::start(
        &authority.identity(&["*.example.org"]),
        response(&enforce("a.b")),
    );
    assert_eq!(server.fetch(&authority).await.0, Ok(enforce("a.b")));
}

#[tokio::test]
async fn a_certificate_that_does_not_prove_the_host_is_refused() {
    let authority = Authority::new();
    let mut expired = CertificateParams::new(vec![String::from(HOST)]).unwrap();
    expired.not_before = date_time_ymd(2001, 1, 1);
    expired.not_after = date_time_ymd(2002, 1, 1);
    let mut common_name_only = CertificateParams::new(Vec::new()).unwrap();
    common_name_only
        .distinguished_name
        .push(DnType::CommonName, HOST);
    for identity in [
        authority.identity(&["example.org"]),
        authority.identity(&["mta-sts.example.net"]),
        authority.sign(&expired),
        authority.sign(&common_name_only),
        Authority::new().identity(&[HOST]),
    ] {
        let server = Server::start(&identity, response(&enforce("mx.example.org")));
        let (result, request) = server.fetch(&authority).await;
        let error = result.unwrap_err();
        assert!(
            matches!(error, FetchError::Https(HttpsError::Certificate(_))),
            "{error}"
        );
        assert_eq!(error.result_type(), "sts-webpki-invalid");
        assert_eq!(request, None);
    }
}

#[tokio::test]
async fn only_status_200_counts_and_redirects_are_not_followed() {
    for status in [201, 204, 301, 302, 307, 404, 500, 503] {
        let response = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\
             Location: https://mta-sts.example.org/elsewhere\r\n\r\n"
        );
        check(response.as_bytes(), Err(FetchError::Status(status))).await;
    }
}

#[tokio::test]
async fn the_file_must_be_text_plain() {
    let good = enforce("mx.example.org");
    for (media_type, expected) in [
        ("Content-Type: text/plain\r\n", Ok(good.clone())),
        (
            "content-type: TEXT/plain ; charset=\"utf-8\"\r\n",
            Ok(good.clone()),
        ),
        ("Content-Type: text/html\r\n", Err(FetchError::MediaType)),
        ("Content-Type: \r\n", Err(FetchError::MediaType)),
        ("", Err(FetchError::MediaType)),
    ] {
        let length = good.len();
        let head = format!("HTTP/1.1 200 OK\r\n{media_type}Content-Length: {length}\r\n\r\n");
        check(format!("{head}{good}").as_bytes(), expected).await;
    }
}

#[tokio::test]
async fn a_body_may_be_chunked_or_end_with_the_connection() {
    let body = enforce("mx.example.org");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    check(chunked.as_bytes(), Ok(body.clone())).await;
    check(format!("{head}\r\n{body}").as_bytes(), Ok(body)).await;
}

#[tokio::test]
async fn a_file_that_is_no_policy_is_refused_with_the_reason() {
    let missing = PolicyError::Missing(Field::Version);
    check(&response("mode: none\n"), Err(FetchError::Policy(missing))).await;
    let bytes = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".as_slice(),
        b"\xff",
    ];
    let not_text = PolicyError::NotUtf8 { line: 1 };
    check(&bytes.concat(), Err(FetchError::Policy(not_text))).await;
}

#[tokio::test]
async fn a_file_has_a_greatest_size_however_it_is_sent() {
    let too_long = || Err(FetchError::Policy(PolicyError::TooLong));
    let good = enforce("mx.example.org");
    let padding = POLICY_OCTETS_MAX - good.len() - "x: \n".len();
    let longest = format!("{good}x: {}\n", "y".repeat(padding));
    check(&response(&longest), Ok(longest.clone())).await;
    check(&response(&format!("{longest}\n")), too_long()).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    check(format!("{head}\r\n{longest}\n").as_bytes(), too_long()).await;
    let boasting = format!("{head}Content-Length: 99999999999\r\n\r\n");
    check(boasting.as_bytes(), too_long()).await;
}

#[tokio::test]
async fn a_host_that_breaks_off_or_speaks_something_else_is_an_error() {
    let broken = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nver";
    check(
        broken.as_bytes(),
        Err(FetchError::Https(HttpsError::BrokenOff)),
    )
    .await;
    check(b"", Err(FetchError::Https(HttpsError::BrokenOff))).await;
    for garbage in [
        "220 mx.example.org ESMTP\r\n".to_owned(),
        "x".repeat(100_000),
    ] {
        let result = fetch(garbage.as_bytes()).await;
        assert!(
            matches!(result, Err(FetchError::Https(HttpsError::Http(_)))),
            "{result:?}"
        );
    }
    let many = "X: y\r\n".repeat(1_000);
    let result = fetch(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes()).await;
    assert!(
        matches!(result, Err(FetchError::Https(HttpsError::Http(_)))),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_host_without_tls_is_an_error() {
    let listener = bind();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        // Read until the client is gone.
        _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let result = fetcher(&Authority::new(), address)
        .fetch(&name("example.org"))
        .await;
    assert!(
        matches!(result, Err(FetchError::Https(HttpsError::Tls(_)))),
        "{result:?}"
    );
    server.await.unwrap();
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_an_error() {
    let address = bind().local_addr().unwrap();
    let result = fetcher(&Authority::new(), address)
        .fetch(&name("example.org"))
        .await;
    assert_eq!(
        result,
        Err(FetchError::Https(HttpsError::Connect(
            std::io::ErrorKind::ConnectionRefused
        )))
    );
}

#[tokio::test]
async fn a_silent_host_ends_with_the_deadline() {
    let listener = bind();
    let address = listener.local_addr().unwrap();
    let fetcher = fetcher(&Authority::new(), address).with_timeout(Duration::from_millis(50));
    let result = fetcher.fetch(&name("example.org")).await;
    assert_eq!(result, Err(FetchError::Https(HttpsError::TimedOut)));
    drop(listener);
}

#[tokio::test]
async fn the_policy_host_must_be_found() {
    let authority = Authority::new();
    let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let fetcher = |dns| StsFetcher::new(Arc::new(dns), authority.tls()).with_port(address.port());
    let domain = name("example.org");

    let bogus = LookupError::Bogus(String::from("expired"));
    let dns = OneHost(Err(bogus.clone()));
    assert_eq!(
        fetcher(dns).fetch(&domain).await,
        Err(FetchError::Https(HttpsError::Lookup(bogus)))
    );
    let dns = OneHost(Ok(Outcome::NxDomain));
    assert_eq!(
        fetcher(dns).fetch(&domain).await,
        Err(FetchError::Https(HttpsError::NoAddress))
    );

    let long: DomainName = format!("{}example", "a.".repeat(121)).parse().unwrap();
    let dns = OneHost(Ok(Outcome::NxDomain));
    assert_eq!(
        fetcher(dns).fetch(&long).await,
        Err(FetchError::NameTooLong)
    );
}

/// What a good host's answer makes the fetcher say.
async fn check(answer: &[u8], expected: Result<String, FetchError>) {
    let result = fetch(answer).await;
    assert_eq!(result, expected, "{}", String::from_utf8_lossy(answer));
}

/// Fetches from a host with a good certificate that answers with these octets.
async fn fetch(answer: &[u8]) -> Result<String, FetchError> {
    let authority = Authority::new();
    let server = Server::start(&authority.identity(&[HOST]), answer.to_vec());
    server.fetch(&authority).await.0
}

/// A good answer with this body.
fn response(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A policy host that serves one connection.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) request: oneshot::Receiver<String>,
}

impl Server {
    /// Starts a host that shows a certificate, takes one request, answers with octets and closes.
    pub(crate) fn start(identity: &Identity, answer: Vec<u8>) -> Self {
        let listener = bind();
        let address = listener.local_addr().unwrap();
        let acceptor = server_acceptor(identity.chain.as_bytes(), identity.key.as_bytes()).unwrap();
        let (tell, request) = oneshot::channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut received = Vec::new();
            while !is_whole(&received) {
                if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            tell.send(String::from_utf8(received).unwrap()).unwrap();
            // A client that has seen enough closes first.
            _ = stream.write_all(&answer).await;
            _ = stream.shutdown().await;
        });
        Self { address, request }
    }

    /// Fetches the policy of `example.org`; also gives the request, if one arrived.
    async fn fetch(self, authority: &Authority) -> (Result<String, FetchError>, Option<String>) {
        let result = fetcher(authority, self.address)
            .fetch(&name("example.org"))
            .await;
        (result, self.request.await.ok())
    }
}

/// Whether a request has come with its body.
fn is_whole(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.split_once("content-length: ");
    let length = length.map_or("0", |(_, length)| length.lines().next().unwrap());
    body.len() >= length.parse().unwrap()
}

/// A listener on a free port of the loopback interface.
fn bind() -> TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    TcpListener::from_std(listener).unwrap()
}

/// A fetcher that trusts one authority and finds every policy host at one address.
fn fetcher(authority: &Authority, address: SocketAddr) -> StsFetcher<OneHost> {
    let found = match address.ip() {
        std::net::IpAddr::V4(address) => RecordData::A(address),
        std::net::IpAddr::V6(address) => RecordData::Aaaa(address),
    };
    let dns = OneHost(Ok(Outcome::Records(vec![found])));
    StsFetcher::new(Arc::new(dns), authority.tls()).with_port(address.port())
}

/// A resolver with one answer to every question for IPv4 addresses, and no IPv6 addresses.
pub(crate) struct OneHost(pub(crate) Result<Outcome, LookupError>);

impl Resolve for OneHost {
    async fn lookup(&self, owner: &DomainName, record_type: RecordType) -> Answer {
        let outcome = match record_type {
            RecordType::A => self.0.clone(),
            RecordType::Aaaa
            | RecordType::Mx
            | RecordType::Tlsa
            | RecordType::Txt
            | RecordType::Other(_) => Ok(Outcome::NoData),
        };
        Answer {
            name: owner.clone(),
            record_type,
            steps: Vec::new(),
            outcome: outcome.map(|value| Secured {
                security: Security::Insecure,
                value,
            }),
            ttl: Duration::from_secs(60),
            explanation: Explanation::default(),
        }
    }
}

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key in PEM form.
pub(crate) struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    /// An authority that nobody has heard of.
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate for these names.
    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| String::from(*name)).collect();
        self.sign(&CertificateParams::new(names).unwrap())
    }

    /// A certificate as it is asked for.
    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A configuration that trusts this authority besides the public ones.
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        let roots = Roots::public().with_pem(self.pem.as_bytes()).unwrap();
        roots.https_client_config().unwrap()
    }
}
