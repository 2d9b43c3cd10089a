//! The local port for monitoring: `/healthz`, `/readyz` and `/metrics` over HTTP/1.1.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use byrnie_net::http::ConnectionLimits;
use byrnie_net::http::HttpClientFacts;
use byrnie_net::http::Respond;
use http_body_util::Full;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;

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
    fn tell(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
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

impl<M: Measure> Respond for Monitor<M> {
    async fn respond(&self, request: Request<Bytes>, _: &HttpClientFacts) -> Response<Full<Bytes>> {
        self.tell(request.method(), request.uri().path())
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
pub(crate) const CONNECTIONS: ConnectionLimits = ConnectionLimits {
    in_all: 16,
    per_client: 16,
    per_network: 16,
};

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

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
        let response = monitor.tell(&method, path);
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes, body.as_bytes(), "{method} {path}");
    }
}
