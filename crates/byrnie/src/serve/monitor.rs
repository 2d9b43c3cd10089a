//! The local port for monitoring: `/healthz`, `/readyz` and `/metrics` over HTTP/1.1.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::Full;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Knows the numbers.
pub(crate) trait Measure: Send + Sync + 'static {
    /// All numbers as they stand now, in the text format of `OpenMetrics`.
    fn measure(&self) -> String;
}

/// What the port tells.
pub(crate) struct Monitor<M> {
    /// Every number that byrnie counts.
    numbers: M,
    /// Whether mail is taken.
    ready: AtomicBool,
}

impl<M: Measure> Monitor<M> {
    /// Tells these numbers, and that mail is not taken yet.
    pub(crate) fn new(numbers: M) -> Self {
        Self {
            numbers,
            ready: AtomicBool::new(false),
        }
    }

    /// Says from now on that mail is taken.
    pub(crate) fn now_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Says from now on that mail is not taken.
    pub(crate) fn no_longer_ready(&self) {
        self.ready.store(false, Ordering::Release);
    }

    /// Answers one request.
    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        }
        match path {
            "/healthz" => plain(StatusCode::OK, "alive\n"),
            "/readyz" if self.ready.load(Ordering::Acquire) => plain(StatusCode::OK, "ready\n"),
            "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/metrics" => openmetrics(self.numbers.measure()),
            _ => plain(
                StatusCode::NOT_FOUND,
                "served here: /healthz, /readyz, /metrics\n",
            ),
        }
    }
}

/// Serves `monitor` on `listener` until `shutdown` ends.
pub(crate) async fn serve<M: Measure>(
    listener: TcpListener,
    monitor: Arc<Monitor<M>>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // No descriptors left, or the client is gone already: neither is helped by hurrying.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Over the limit the connection is closed at once.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            continue;
        };
        let monitor = Arc::clone(&monitor);
        tokio::spawn(async move {
            let service = service_fn(async |request: Request<Incoming>| {
                let response = monitor.respond(request.method(), request.uri().path());
                Ok::<_, Infallible>(response)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away early is its own business.
            let _gone = tokio::time::timeout(REQUEST_TIMEOUT * 2, connection).await;
            drop(slot);
        });
    }
}

/// A response of one line.
fn plain(status: StatusCode, line: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(line.as_bytes())));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// The numbers, in the text format of `OpenMetrics`.
fn openmetrics(numbers: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(numbers)));
    let media_type =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// A monitor or two, and somebody with a browser.
const CONNECTIONS_MAX: usize = 16;

/// How long a client may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn readiness_follows_the_gateway() {
        let monitor = Monitor::new(OneThing);
        check(&monitor, Method::GET, "/healthz", 200, "alive\n").await;
        check(&monitor, Method::GET, "/readyz", 503, "not ready\n").await;
        monitor.now_ready();
        check(&monitor, Method::GET, "/readyz", 200, "ready\n").await;
        monitor.no_longer_ready();
        check(&monitor, Method::GET, "/readyz", 503, "not ready\n").await;
    }

    #[tokio::test]
    async fn only_what_is_served_is_served() {
        let monitor = Monitor::new(OneThing);
        check(
            &monitor,
            Method::POST,
            "/metrics",
            405,
            "only GET is served here\n",
        )
        .await;
        check(
            &monitor,
            Method::GET,
            "/",
            404,
            "served here: /healthz, /readyz, /metrics\n",
        )
        .await;
    }

    #[tokio::test]
    async fn numbers_travel_over_a_real_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(
            listener,
            Arc::new(Monitor::new(OneThing)),
            async move { stopped.await.unwrap_or_default() },
        ));

        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("things_total 1\n"), "{answer}");

        stop.send(()).unwrap();
        server.await.unwrap();
    }

    /// Counted once.
    struct OneThing;

    impl Measure for OneThing {
        fn measure(&self) -> String {
            String::from("things_total 1\n# EOF\n")
        }
    }

    async fn check(
        monitor: &Monitor<OneThing>,
        method: Method,
        path: &str,
        status: u16,
        body: &str,
    ) {
        let response = monitor.respond(&method, path);
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes, body.as_bytes(), "{method} {path}");
    }
}
