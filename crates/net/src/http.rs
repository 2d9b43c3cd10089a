//! A bounded HTTP server: HTTP/1.1, over TLS also HTTP/2.
//!
//! What is served is small, and clients may be anybody. So every connection has a place within
//! [`ConnectionLimits`], a time for each of its steps, and no request is answered before all of its body is
//! there, of which the service says how much it takes.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::http::request;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::current::Current;
pub use crate::occupancy::ConnectionLimits;
use crate::occupancy::Occupancy;
use crate::occupancy::Place;

/// Answers requests.
pub trait Respond: Send + Sync + 'static {
    /// How many octets the body of a request may have: none, unless the service wants some. A request
    /// with more is answered with 413, and one whose body takes too long with 408.
    fn body_octets_max(&self, _head: &request::Parts) -> usize {
        0
    }

    /// The answer to a request.
    fn respond(
        &self,
        request: Request<Bytes>,
        client: &HttpClientFacts,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// What is known about who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpClientFacts {
    /// Where it connects from.
    pub peer: SocketAddr,
    /// The host that it named in the TLS handshake, in lower case; `None` in clear text.
    pub server_name: Option<String>,
}

/// An HTTP server, which may listen at several addresses.
pub struct HttpServer<S> {
    /// Answers requests.
    service: S,
    /// What makes TLS; `None` serves clear text.
    tls: Option<Current<TlsAcceptor>>,
    limits: ConnectionLimits,
    /// The connections that there are.
    occupancy: Arc<Occupancy>,
    /// How many connections found no place.
    refused: AtomicU64,
    /// Room for bodies that are coming in, in KiB.
    bodies: Semaphore,
}

impl<S: Respond> HttpServer<S> {
    /// A server in clear text.
    #[must_use]
    pub fn new(service: S, limits: ConnectionLimits) -> Self {
        Self {
            service,
            tls: None,
            limits,
            occupancy: Arc::default(),
            refused: AtomicU64::new(0),
            bodies: Semaphore::new(BODIES_KIB_MAX),
        }
    }

    /// The same over TLS, with an acceptor from [`https_acceptor`](crate::tls::https_acceptor).
    #[must_use]
    pub fn with_tls(self, acceptor: TlsAcceptor) -> Self {
        Self {
            tls: Some(Current::new(acceptor)),
            ..self
        }
    }

    /// From now on, new connections get certificates from this acceptor. Without TLS nothing changes.
    pub fn replace_tls(&self, acceptor: TlsAcceptor) {
        if let Some(tls) = &self.tls {
            tls.replace(acceptor);
        }
    }

    /// What answers.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.occupancy.connections()
    }

    /// How many connections found no place so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Serves clients of one listener until `shutdown` is done; requests under way are then still answered,
    /// within [`GRACE`].
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let (stop, stopping) = watch::channel(Running::Yes);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                // No descriptors left, or the client is gone already: neither is helped by hurrying.
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            match Occupancy::enter(&self.occupancy, self.limits, peer.ip()) {
                Ok(place) => {
                    let (server, stopping) = (Arc::clone(&self), stopping.clone());
                    tokio::spawn(server.attend(stream, peer, stopping, place));
                }
                // Without a place the connection is closed at once.
                Err(why) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    debug!(target: HTTP, %peer, ?why, "refused");
                }
            }
        }
        drop(listener);
        drop(stopping);
        stop.send_replace(Running::No);
        // Each connection holds a receiver until it has ended.
        _ = timeout(GRACE, stop.closed()).await;
    }

    /// Serves one connection to its end.
    async fn attend(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        stopping: watch::Receiver<Running>,
        place: Place,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(target: HTTP, %error, "no delay");
        }
        let Some(tls) = self.tls.as_ref().map(Current::get) else {
            let facts = HttpClientFacts {
                peer,
                server_name: None,
            };
            self.converse(stream, facts, Protocol::Http1, stopping)
                .await;
            return drop(place);
        };
        let Ok(Ok(stream)) = timeout(HANDSHAKE_MAX, tls.accept(stream)).await else {
            debug!(target: HTTP, %peer, "no TLS");
            return drop(place);
        };
        let (_, session) = stream.get_ref();
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            Some(_) | None => Protocol::Http1,
        };
        let facts = HttpClientFacts {
            peer,
            server_name: session.server_name().map(str::to_ascii_lowercase),
        };
        self.converse(stream, facts, protocol, stopping).await;
        drop(place);
    }

    /// Answers the requests of one connection, until it ends, or is idle for too long.
    async fn converse<T>(
        self: Arc<Self>,
        stream: T,
        facts: HttpClientFacts,
        protocol: Protocol,
        mut stopping: watch::Receiver<Running>,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new());
        let counted = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, facts) = (Arc::clone(&self), facts.clone());
            let busy = Activity::begin(&counted);
            async move {
                let response = server.answer(request, &facts).await;
                drop(busy);
                Ok::<_, Infallible>(response)
            }
        });
        let io = TokioIo::new(stream);
        let over = async {
            tokio::select! {
                _ = stopping.wait_for(|running| *running == Running::No) => {}
                () = activity.idle() => {}
            }
        };
        match protocol {
            Protocol::Http1 => {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_MAX)
                    .max_buf_size(HEAD_OCTETS_MAX)
                    .serve_connection(io, service);
                drive(connection, over).await;
            }
            Protocol::Http2 => {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(STREAMS_MAX)
                    .max_header_list_size(HEADER_LIST_OCTETS_MAX)
                    .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
                    .max_local_error_reset_streams(Some(RESET_STREAMS_MAX))
                    .max_send_buf_size(HEAD_OCTETS_MAX)
                    .serve_connection(io, service);
                drive(connection, over).await;
            }
        }
    }

    /// Takes the body of a request, and answers.
    async fn answer(
        &self,
        request: Request<Incoming>,
        facts: &HttpClientFacts,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let octets_max = self.service.body_octets_max(&head);
        // Whoever announces too much is not listened to.
        let announced = usize::try_from(body.size_hint().lower());
        if !announced.is_ok_and(|announced| announced <= octets_max) {
            return empty(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let (body, _room) = match timeout(BODY_MAX, self.collect(body, octets_max)).await {
            Ok(Ok(collected)) => collected,
            Ok(Err(status)) => return empty(status),
            Err(_) => return empty(StatusCode::REQUEST_TIMEOUT),
        };
        let request = Request::from_parts(head, body);
        self.service.respond(request, facts).await
    }

    /// Takes a body, with room for as much of it as has come: whoever is slow keeps nobody else out.
    ///
    /// # Errors
    /// The status that says why it was not taken.
    async fn collect(
        &self,
        body: Incoming,
        octets_max: usize,
    ) -> Result<(Bytes, SemaphorePermit<'_>), StatusCode> {
        let busy = |_| StatusCode::SERVICE_UNAVAILABLE;
        let mut body = Limited::new(body, octets_max);
        let mut octets = Vec::new();
        let mut room = self.bodies.try_acquire_many(0).map_err(busy)?;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => StatusCode::PAYLOAD_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            octets.extend_from_slice(&data);
            let missing = octets.len().div_ceil(1_024) - room.num_permits();
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            room.merge(self.bodies.try_acquire_many(missing).map_err(busy)?);
        }
        Ok((octets.into(), room))
    }
}

/// Drives a connection until it has ended by itself, or, when it is over, within [`GRACE`].
async fn drive(connection: impl GracefulConnection, over: impl Future<Output = ()>) {
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that goes away early is its own business.
        _ = connection.as_mut() => return,
        () = over => connection.as_mut().graceful_shutdown(),
    }
    _ = timeout(GRACE, connection).await;
}

/// An answer that is a status and nothing else.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Whether connections may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Running {
    /// They may.
    Yes,
    /// They end when their requests are answered.
    No,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// When something was last done on a connection.
struct Activity(Mutex<Since>);

/// What is being done.
struct Since {
    /// Requests that are not answered yet.
    requests: u32,
    /// When that changed last.
    at: Instant,
}

impl Activity {
    /// Nothing is done yet.
    fn new() -> Self {
        Self(Mutex::new(Since {
            requests: 0,
            at: Instant::now(),
        }))
    }

    /// A request has come, and is answered when what is returned is dropped.
    fn begin(activity: &Arc<Self>) -> Busy {
        let mut since = activity.since();
        since.requests = since.requests.saturating_add(1);
        since.at = Instant::now();
        drop(since);
        Busy(Arc::clone(activity))
    }

    /// Waits until nothing was asked for [`IDLE_MAX`].
    async fn idle(&self) {
        loop {
            let until = {
                let since = self.since();
                match since.requests {
                    0 => since.at + IDLE_MAX,
                    _ => Instant::now() + IDLE_MAX,
                }
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// What is being done.
    fn since(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut since = self.0.since();
        since.requests = since.requests.saturating_sub(1);
        since.at = Instant::now();
    }
}

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long a client may take to say what it wants.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// How long the body of a request may take.
const BODY_MAX: Duration = Duration::from_secs(60);

/// How much memory the bodies of all requests may take that are coming in or being answered; one more is
/// told to come again. 64 MiB.
const BODIES_KIB_MAX: usize = 64 * 1_024;

/// How long a connection may be idle.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long requests under way are waited for when a connection is to end.
pub const GRACE: Duration = Duration::from_secs(5);

/// How many octets the head of a request may have, or one piece of its body.
const HEAD_OCTETS_MAX: usize = 16 * 1_024;

/// The same for the decoded header of HTTP/2.
const HEADER_LIST_OCTETS_MAX: u32 = 16 * 1_024;

/// How many requests may be under way on one connection of HTTP/2.
const STREAMS_MAX: u32 = 32;

/// How many requests a client may take back before they were looked at, before its connection ends: the
/// attack of CVE-2023-44487.
const RESET_STREAMS_MAX: usize = 20;

/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the log lines come from.
const HTTP: &str = "byrnie::http";

#[cfg(test)]
mod tests;
