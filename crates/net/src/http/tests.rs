//! The server over real connections.

use std::io;

use hyper::Method;
use hyper::client::conn::http2 as client_http2;
use rcgen::CertificateParams;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::ServerIdentity;
use crate::tls::https_acceptor;

#[tokio::test]
async fn a_request_is_answered_in_clear_text() {
    let world = World::start(Echo, ConnectionLimits::default());
    let answer = world
        .exchange(
            "POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nPOST /a?b hi None"), "{answer}");
}

#[tokio::test]
async fn a_body_has_as_many_octets_as_the_service_takes() {
    let world = World::start(Echo, ConnectionLimits::default());
    for (request, expected) in [
        (
            "POST / HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfour",
            "200",
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfives",
            "413",
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n",
            "413",
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
            "413",
        ),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "200"),
        (
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
            "413",
        ),
        ("not HTTP\r\n\r\n", "400"),
    ] {
        let answer = world.exchange(request).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, expected, "{request}");
    }
}

#[tokio::test]
async fn whoever_is_slow_holds_no_more_memory_than_has_come() {
    let world = World::start(Echo, ConnectionLimits::default());
    let room = &world.server.bodies;
    let mut slow = world.connect().await;
    slow.write_all(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nf")
        .await
        .unwrap();
    until(|| room.available_permits() == BODIES_KIB_MAX - 1).await;
    // All the rest is taken.
    let rest = u32::try_from(BODIES_KIB_MAX - 1).unwrap();
    let rest = room.try_acquire_many(rest).unwrap();
    let other = "POST / HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfour";
    let answer = world.exchange(other).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let bare = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answer = world.exchange(bare).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(rest);
    let answer = world.exchange(other).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(slow);
    until(|| room.available_permits() == BODIES_KIB_MAX).await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let world = World::start(Echo, ConnectionLimits::default());
    let answer = world
        .exchange(&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000)))
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn without_a_place_a_connection_is_closed_at_once() {
    let limits = ConnectionLimits {
        in_all: 1,
        ..ConnectionLimits::default()
    };
    let world = World::start(Echo, limits);
    let mut first = world.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    until(|| world.server.connections() == 1).await;
    let mut second = world.connect().await;
    assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(world.server.refused(), 1);
    // Whoever has a place keeps it.
    first.write_all(b"Connection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_left() {
    let world = World::start(Echo, ConnectionLimits::default());
    for said in [
        "",
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nfo",
    ] {
        let begun = Instant::now();
        let mut stream = world.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        _ = stream.read_to_end(&mut Vec::new()).await;
        let took = begun.elapsed();
        assert!(
            took >= HEAD_MAX && took <= BODY_MAX + IDLE_MAX,
            "{said:?}: {took:?}"
        );
    }
}

#[tokio::test]
async fn at_the_end_a_request_under_way_is_answered() {
    let (answer, wait) = oneshot::channel();
    let world = World::start(Slow(Mutex::new(Some(wait))), ConnectionLimits::default());
    let mut stream = world.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let taken = || world.server.service().0.lock().unwrap().is_none();
    until(taken).await;
    world.stop.send(()).unwrap();
    answer.send(()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    world.serving.await.unwrap();
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name_and_strangers_get_none() {
    let (one, other) = (Identity::new("a.example"), Identity::new("*.b.example"));
    let world = World::over_tls(&[&one, &other]);
    for (host, trusted, expected) in [
        ("a.example", &one, true),
        ("x.b.example", &other, true),
        ("X.B.example", &other, true),
        ("b.example", &other, false),
        ("x.y.b.example", &other, false),
        ("c.example", &one, false),
    ] {
        let answer = world.ask_over_tls(host, trusted).await;
        let expected = expected.then(|| format!("GET / {}", host.to_ascii_lowercase()));
        assert_eq!(answer.ok(), expected, "{host}");
    }
}

#[tokio::test]
async fn certificates_are_exchanged_while_connections_go_on() {
    let (old, new) = (Identity::new("a.example"), Identity::new("a.example"));
    let world = World::over_tls(&[&old]);
    let stream = world.connect_over_tls("a.example", &old).await.unwrap();
    world.server.replace_tls(acceptor(&[&new]));
    assert_eq!(get(stream, "a.example").await, "GET / a.example");
    world.ask_over_tls("a.example", &old).await.unwrap_err();
    world.ask_over_tls("a.example", &new).await.unwrap();
}

/// Says what it was asked, and by which name.
struct Echo;

impl Respond for Echo {
    fn body_octets_max(&self, head: &request::Parts) -> usize {
        match head.method == Method::POST {
            true => 4,
            false => 0,
        }
    }

    async fn respond(
        &self,
        request: Request<Bytes>,
        client: &HttpClientFacts,
    ) -> Response<Full<Bytes>> {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let path = request.uri().path_and_query().unwrap();
        let text = match &client.server_name {
            Some(name) => format!("{} {path} {name}", request.method()),
            None => format!("{} {path} {body} None", request.method()),
        };
        Response::new(Full::from(text))
    }
}

/// Answers when it is told to.
struct Slow(Mutex<Option<oneshot::Receiver<()>>>);

impl Respond for Slow {
    async fn respond(&self, _: Request<Bytes>, _: &HttpClientFacts) -> Response<Full<Bytes>> {
        let wait = self.0.lock().unwrap().take().unwrap();
        wait.await.unwrap();
        empty(StatusCode::OK)
    }
}

/// A server and where it listens.
struct World<S> {
    server: Arc<HttpServer<S>>,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl World<Echo> {
    fn over_tls(identities: &[&Identity]) -> Self {
        let server = HttpServer::new(Echo, ConnectionLimits::default());
        Self::serve(server.with_tls(acceptor(identities)))
    }

    /// A request over HTTP/2 to a host whose certificate is trusted.
    async fn ask_over_tls(&self, host: &str, trusted: &Identity) -> io::Result<String> {
        let stream = self.connect_over_tls(host, trusted).await?;
        Ok(get(stream, host).await)
    }

    async fn connect_over_tls(
        &self,
        host: &str,
        trusted: &Identity,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(String::from(host)).unwrap();
        let stream = self.connect().await;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }
}

impl<S: Respond> World<S> {
    fn start(service: S, limits: ConnectionLimits) -> Self {
        Self::serve(HttpServer::new(service, limits))
    }

    fn serve(server: HttpServer<S>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let server = Arc::new(server);
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&server).serve(listener, async { _ = stopped.await });
        Self {
            server,
            address,
            stop,
            serving: tokio::spawn(serving),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends octets, and reads to the end.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        // Who is refused early may not take all of it, and may cut the connection.
        _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }
}

/// One request over a connection of HTTP/2.
async fn get(stream: tokio_rustls::client::TlsStream<TcpStream>, host: &str) -> String {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = client_http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("https://{host}/"))
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// A certificate that vouches for itself.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Identity {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![String::from(name)]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.into(),
            key: key.serialize_pem(),
        }
    }
}

fn acceptor(identities: &[&Identity]) -> TlsAcceptor {
    let identities: Vec<_> = identities
        .iter()
        .map(|identity| ServerIdentity {
            certificate_pem: identity.pem.as_bytes(),
            key_pem: identity.key.as_bytes(),
        })
        .collect();
    https_acceptor(&identities).unwrap()
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}
