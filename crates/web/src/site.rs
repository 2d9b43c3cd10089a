//! What is served, by host and path.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use byrnie_base::DomainName;
use byrnie_base::is_unprintable;
use byrnie_mta_sts::POLICY_PATH;
use byrnie_mta_sts::Published;
use byrnie_mta_sts::policy_host;
use byrnie_net::current::Current;
use byrnie_net::http::HttpClientFacts;
use byrnie_net::http::Respond;
use byrnie_net::http::empty;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderValue;
use hyper::http::request;
use tracing::debug;
use tracing::info;

/// Takes reports of others about us.
pub trait TakeReport: Send + Sync + 'static {
    /// Takes the body of a request, of this media type; says what became of it once it is durable.
    fn take(&self, media_type: &str, body: Bytes) -> impl Future<Output = Handed> + Send;
}

/// What became of a report that was handed in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handed {
    /// It is kept, now or since earlier.
    Taken,
    /// It is no report.
    Unreadable,
    /// It cannot be kept at the moment.
    NotNow,
}

/// Public pages of all our domains.
pub struct Site<T> {
    /// The policies by the hosts that serve them.
    policies: Current<HashMap<String, Arc<Published>>>,
    /// Where reports go; `None` where none are taken.
    reports: Option<T>,
    /// What was answered.
    counts: SiteCounts,
}

/// How many requests were answered in which way.
#[derive(Debug, Default)]
pub struct SiteCounts {
    /// Policies that were served.
    pub policies: AtomicU64,
    /// Reports that were handed in.
    pub reports: AtomicU64,
    /// Requests of strangers for what is not here.
    pub strangers: AtomicU64,
}

impl<T: TakeReport> Site<T> {
    /// A site without policies.
    #[must_use]
    pub fn new(reports: Option<T>) -> Self {
        Self {
            policies: Current::default(),
            reports,
            counts: SiteCounts::default(),
        }
    }

    /// From now on these are the policies.
    pub fn publish(&self, policies: impl IntoIterator<Item = Published>) {
        let by_host = policies.into_iter().filter_map(|published| {
            // A domain that is too long for a policy host has no policy.
            let host = policy_host(&published.domain).ok()?;
            Some((host.to_string(), Arc::new(published)))
        });
        self.policies.replace(by_host.collect());
    }

    /// The policies.
    #[must_use]
    pub fn policies(&self) -> Vec<Arc<Published>> {
        self.policies.get().values().cloned().collect()
    }

    /// How many requests were answered in which way.
    #[must_use]
    pub fn counts(&self) -> &SiteCounts {
        &self.counts
    }

    /// The answer to a request for a host.
    async fn answer(&self, host: &str, request: &Request<Bytes>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if path == POLICY_PATH
            && let Some(published) = self.policies.get().get(host)
        {
            if request.method() != Method::GET && request.method() != Method::HEAD {
                return only("GET, HEAD");
            }
            self.counts.policies.fetch_add(1, Ordering::Relaxed);
            return policy(published);
        }
        if path == REPORT_PATH
            && let Some(reports) = &self.reports
        {
            if request.method() != Method::POST {
                return only("POST");
            }
            self.counts.reports.fetch_add(1, Ordering::Relaxed);
            let media_type = text_of(request.headers().get(header::CONTENT_TYPE));
            return match reports.take(&media_type, request.body().clone()).await {
                Handed::Taken => empty(StatusCode::CREATED),
                Handed::Unreadable => empty(StatusCode::UNPROCESSABLE_ENTITY),
                Handed::NotNow => empty(StatusCode::SERVICE_UNAVAILABLE),
            };
        }
        self.counts.strangers.fetch_add(1, Ordering::Relaxed);
        empty(StatusCode::NOT_FOUND)
    }
}

impl<T: TakeReport> Respond for Site<T> {
    fn body_octets_max(&self, head: &request::Parts) -> usize {
        let takes = self.reports.is_some();
        match takes && head.method == Method::POST && head.uri.path() == REPORT_PATH {
            true => REPORT_OCTETS_MAX,
            false => 0,
        }
    }

    async fn respond(
        &self,
        request: Request<Bytes>,
        client: &HttpClientFacts,
    ) -> Response<Full<Bytes>> {
        let host = host_of(&request);
        // Who names one host to TLS and another one to HTTP would get a page under a certificate that does
        // not cover it: RFC 9110, Section 7.4.
        let is_ours = client.server_name.as_ref().is_none_or(|name| *name == host);
        let mut response = match is_ours {
            true => self.answer(&host, &request).await,
            false => empty(StatusCode::MISDIRECTED_REQUEST),
        };
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, ALWAYS_TLS);
        let status = response.status();
        let asked = format!(
            "{} {}{}",
            printable(request.method().as_str()),
            printable(&host),
            printable(request.uri().path()),
        );
        let agent = printable(&text_of(request.headers().get(header::USER_AGENT)));
        let client = client.peer.ip();
        // What strangers want is no news, and they can ask for a lot of it.
        if status == StatusCode::NOT_FOUND || status == StatusCode::MISDIRECTED_REQUEST {
            debug!(target: "byrnie::web", %client, asked, status = status.as_u16(), agent, "request");
        } else {
            info!(target: "byrnie::web", %client, asked, status = status.as_u16(), agent, "request");
        }
        response
    }
}

/// The host that a request is for, in lower case and without a port.
fn host_of(request: &Request<Bytes>) -> String {
    let named = match request.uri().host() {
        Some(host) => String::from(host),
        None => text_of(request.headers().get(header::HOST)),
    };
    let host = named.split(':').next().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    // What is written otherwise is the same name: RFC 5890, Section 2.3.2.4.
    host.parse::<DomainName>()
        .map_or_else(|_| host.to_ascii_lowercase(), |name| name.to_string())
}

/// The value of a field as text.
fn text_of(value: Option<&HeaderValue>) -> String {
    value.map_or_else(String::new, |value| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    })
}

/// A policy, as senders fetch it.
fn policy(published: &Published) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(published.policy.to_string()));
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    // A cache on the way must not keep an old policy beside a new id: RFC 8461, Section 3.3.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", published.id)) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// The refusal of a method: these are the ones that there are.
fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    let methods = HeaderValue::from_static(methods);
    response.headers_mut().insert(header::ALLOW, methods);
    response
}

/// A stranger's text for the log.
fn printable(text: &str) -> String {
    let visible = |c: char| if is_unprintable(c) { '?' } else { c };
    text.chars().take(LOGGED_CHARS_MAX).map(visible).collect()
}

/// Where reports are handed in.
pub const REPORT_PATH: &str = "/v1/tlsrpt";

/// How many octets a report may have as it is handed in: some hundred times the largest seen.
pub const REPORT_OCTETS_MAX: usize = 10 << 20;

/// How much of a stranger's text is logged.
const LOGGED_CHARS_MAX: usize = 200;

/// Our hosts are asked over TLS for a year: RFC 6797, Section 6.1.
const ALWAYS_TLS: HeaderValue = HeaderValue::from_static("max-age=31536000");

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use byrnie_mta_sts::Mode;
    use byrnie_mta_sts::Policy;
    use http_body_util::BodyExt;

    use super::*;

    const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 86400\n";

    #[tokio::test]
    async fn each_host_serves_the_policy_of_its_domain_and_no_other() {
        let site = site();
        for (host, expected) in [
            ("mta-sts.a.example", 200),
            ("MTA-STS.A.Example.:443", 200),
            ("mta-sts.xn--bcher-kva.example", 200),
            ("mta-sts.bücher.example", 200),
            ("a.example", 404),
            ("mta-sts.b.example", 404),
            ("mta-sts.sub.a.example", 404),
            ("", 404),
        ] {
            let (status, body) = ask(&site, "GET", host, POLICY_PATH, None).await;
            assert_eq!(status, expected, "{host}");
            assert_eq!(!body.is_empty(), expected == 200, "{host}");
        }
        let (_, body) = ask(&site, "GET", "mta-sts.a.example", POLICY_PATH, None).await;
        assert_eq!(body, POLICY);
    }

    #[tokio::test]
    async fn strangers_learn_nothing() {
        let site = site();
        for (method, path, expected) in [
            ("HEAD", POLICY_PATH, 200),
            ("POST", POLICY_PATH, 405),
            ("GET", "/", 404),
            ("GET", "/.well-known/mta-sts.txt/", 404),
            ("GET", "/.well-known/MTA-STS.txt", 404),
            ("GET", REPORT_PATH, 405),
            ("POST", "/v1/tlsrpt/", 404),
        ] {
            let answer = ask(&site, method, "mta-sts.a.example", path, None).await;
            assert_eq!(answer.0, expected, "{method} {path}");
            assert!(answer.1.is_empty() || expected == 200, "{method} {path}");
        }
        let counts = site.counts();
        assert_eq!(counts.policies.load(Ordering::Relaxed), 1);
        assert_eq!(counts.strangers.load(Ordering::Relaxed), 4);
    }

    /// RFC 9110, Section 7.4.
    #[tokio::test]
    async fn who_names_two_hosts_is_misdirected() {
        let (host, other) = ("mta-sts.a.example", "mta-sts.xn--bcher-kva.example");
        for (named, expected) in [(host, 200), (other, 421)] {
            let answer = ask(&site(), "GET", host, POLICY_PATH, Some(named)).await;
            assert_eq!(answer.0, expected, "{named}");
        }
    }

    #[tokio::test]
    async fn a_new_policy_counts_at_once() {
        let site = site();
        site.publish([published("b.example", Mode::None)]);
        let ask = async |host| ask(&site, "GET", host, POLICY_PATH, None).await.0;
        assert_eq!(ask("mta-sts.a.example").await, 404);
        assert_eq!(ask("mta-sts.b.example").await, 200);
    }

    #[tokio::test]
    async fn what_became_of_a_report_is_its_status() {
        for (handed, expected) in [
            (Handed::Taken, 201),
            (Handed::Unreadable, 422),
            (Handed::NotNow, 503),
        ] {
            let site = Site::new(Some(Reports(handed)));
            let answer = ask(&site, "POST", "any.example", REPORT_PATH, None).await;
            assert_eq!(answer, (expected, String::new()));
        }
        let none = Site::<Reports>::new(None);
        let answer = ask(&none, "POST", "any.example", REPORT_PATH, None).await;
        assert_eq!(answer.0, 404);
        for (site, octets) in [(site(), REPORT_OCTETS_MAX), (none, 0)] {
            let (head, ()) = Request::post(REPORT_PATH).body(()).unwrap().into_parts();
            assert_eq!(site.body_octets_max(&head), octets);
        }
    }

    /// What becomes of every report.
    struct Reports(Handed);

    impl TakeReport for Reports {
        async fn take(&self, media_type: &str, _: Bytes) -> Handed {
            assert_eq!(media_type, "application/tlsrpt+gzip");
            self.0
        }
    }

    fn site() -> Site<Reports> {
        let site = Site::new(Some(Reports(Handed::Taken)));
        site.publish([
            published("a.example", Mode::Enforce),
            published("xn--bcher-kva.example", Mode::Testing),
        ]);
        site
    }

    fn published(domain: &str, mode: Mode) -> Published {
        let mx = vec!["mx.a.example".parse().unwrap()];
        let policy = Policy::new(mode, Duration::from_secs(86_400), mx).unwrap();
        Published::new(domain.parse().unwrap(), policy, 0)
    }

    /// Status and body of an answer.
    async fn ask(
        site: &Site<Reports>,
        method: &str,
        host: &str,
        path: &str,
        server_name: Option<&str>,
    ) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(
                header::HOST,
                HeaderValue::from_bytes(host.as_bytes()).unwrap(),
            )
            .header(header::CONTENT_TYPE, "application/tlsrpt+gzip")
            .body(Bytes::new())
            .unwrap();
        let client = HttpClientFacts {
            peer: SocketAddr::from(([192, 0, 2, 1], 1)),
            server_name: server_name.map(String::from),
        };
        let response = site.respond(request, &client).await;
        let hsts = response.headers().get(header::STRICT_TRANSPORT_SECURITY);
        assert!(hsts.is_some(), "{host}{path}");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}
