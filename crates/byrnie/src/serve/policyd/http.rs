//! The same decisions as JSON over HTTP, for mail servers that ask neither like Postfix nor like Exim.

use std::sync::Arc;

use byrnie_mta::policyd::Consider;
use byrnie_mta::policyd::Considered;
use byrnie_mta::policyd::Desk;
use byrnie_mta::policyd::Key;
use byrnie_mta::policyd::postfix_policy;
use byrnie_net::http::ConnectionLimits;
use byrnie_net::http::HttpClientFacts;
use byrnie_net::http::Respond;
use http_body_util::Full;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::ALLOW;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderValue;
use hyper::header::RETRY_AFTER;
use serde::Serialize;
use tokio::time::Instant;

use crate::policy_report::PolicyReport;

/// Answers requests about policies.
pub(super) struct PolicyService<D>(Arc<Desk<D>>);

impl<D: Consider> PolicyService<D> {
    /// Asks at this desk.
    pub(super) fn new(desk: Arc<Desk<D>>) -> Self {
        Self(desk)
    }

    /// The decision about what a path names.
    async fn policy(&self, name: &str) -> Response<Full<Bytes>> {
        let key = match decoded(name) {
            Some(key) => Key::parse(&key),
            None => Key::NotADomain,
        };
        let Key::Destination(destination) = key else {
            return problem(StatusCode::BAD_REQUEST, "Not a domain", &key.to_string());
        };
        match self.0.consider(&destination).await {
            Ok(considered) => json(StatusCode::OK, JSON, &Answer::new(&considered)),
            Err(busy) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut response = problem(status, "Not now", &busy.to_string());
                let later = HeaderValue::from_static(RETRY_AFTER_SECONDS);
                response.headers_mut().insert(RETRY_AFTER, later);
                response
            }
        }
    }
}

impl<D: Consider> Respond for PolicyService<D> {
    async fn respond(&self, request: Request<Bytes>, _: &HttpClientFacts) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let name = path.strip_prefix("/v1/policy/");
        if name.is_none() && path != "/openapi.json" {
            let served = "/v1/policy/DOMAIN and /openapi.json are served here";
            return problem(StatusCode::NOT_FOUND, "Not found", served);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = problem(status, "Not allowed", "only GET is served here");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match name {
            Some(name) => self.policy(name).await,
            None => with_body(StatusCode::OK, JSON, Bytes::from_static(OPENAPI.as_bytes())),
        }
    }
}

/// How many connections there may be. All may come from one address: that of the mail server.
pub(super) const CONNECTIONS: ConnectionLimits = ConnectionLimits {
    in_all: 1_000,
    per_client: 1_000,
    per_network: 1_000,
};

/// A decision, and how to hold others to it.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    report: PolicyReport,
    /// Seconds for which the answer may be kept.
    ttl: u64,
    /// The same as an entry of Postfix's `smtp_tls_policy_maps`; absent where nothing is demanded, and where
    /// the mail has to wait.
    postfix: Option<String>,
}

impl Answer {
    fn new(considered: &Considered) -> Self {
        let left = considered.good_until().duration_since(Instant::now());
        Self {
            report: PolicyReport::new(&considered.evidence, &considered.decision, Vec::new()),
            ttl: left.as_secs(),
            postfix: postfix_policy(considered),
        }
    }
}

/// What went wrong, as RFC 9457 has it.
#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
}

/// A response that says what went wrong.
fn problem(status: StatusCode, title: &str, detail: &str) -> Response<Full<Bytes>> {
    let problem = Problem {
        title,
        status: status.as_u16(),
        detail,
    };
    json(status, PROBLEM, &problem)
}

/// A response with a value.
fn json(
    status: StatusCode,
    media_type: &'static str,
    value: &impl Serialize,
) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(octets) => with_body(status, media_type, octets.into()),
        Err(_) => with_body(StatusCode::INTERNAL_SERVER_ERROR, JSON, Bytes::new()),
    }
}

/// A response with octets.
fn with_body(status: StatusCode, media_type: &'static str, octets: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(octets));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// Undoes the percent-encoding of RFC 3986, Section 2.1; `None` if it is none.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Some(octets),
            [b'%', high, low, rest @ ..] => {
                let digit = |octet: u8| char::from(octet).to_digit(16);
                let octet = digit(*high)? * 16 + digit(*low)?;
                octets.push(u8::try_from(octet).ok()?);
                rest
            }
            [b'%', ..] => return None,
            [octet, rest @ ..] => {
                octets.push(*octet);
                rest
            }
        };
    }
}

/// The description of what is served.
const OPENAPI: &str = include_str!("openapi.json");

/// RFC 8259.
const JSON: &str = "application/json";

/// RFC 9457, Section 3.
const PROBLEM: &str = "application/problem+json";

/// When to come again after having been too many: lookups take seconds.
const RETRY_AFTER_SECONDS: &str = "5";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::future::pending;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;
    use std::time::Duration;

    use byrnie_base::Secured;
    use byrnie_mta::Metrics;
    use byrnie_net::gather::Destination;
    use byrnie_policy::DomainRule;
    use byrnie_policy::Evidence;
    use byrnie_policy::HostEvidence;
    use byrnie_policy::MxRrset;
    use byrnie_policy::StsEvidence;
    use byrnie_policy::StsSource;
    use byrnie_policy::TlsaEvidence;
    use byrnie_policy::decide;
    use byrnie_smtp::TlsDemand;
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_decision_comes_with_its_reasons_and_its_lifetime() {
        let (status, media_type, answer) = ask(Method::GET, "/v1/policy/EXAMPLE.org").await;
        assert_eq!((status, media_type.as_str()), (200, JSON));
        assert_eq!(answer["domain"], "example.org");
        assert_eq!(answer["verdict"], "mta-sts");
        assert_eq!(answer["hosts"][0]["reference_names"][0], "example.org");
        assert_eq!(answer["ttl"], 60);
        let postfix = "secure match=example.org servername=hostname";
        assert_eq!(answer["postfix"], postfix);
        let (status, ..) = ask(Method::HEAD, "/v1/policy/example.org").await;
        assert_eq!(status, 200);
        let (_, _, host) = ask(Method::GET, "/v1/policy/%5bmx.example.org%5D:587").await;
        assert_eq!(host["domain"], "mx.example.org");
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_says_what_is_wrong() {
        for (method, path, status) in [
            (Method::GET, "/v1/policy/", 400),
            (Method::GET, "/v1/policy/a..b", 400),
            (Method::GET, "/v1/policy/a/b", 400),
            (Method::GET, "/v1/policy/%5B192.0.2.1%5D", 400),
            (Method::GET, "/v1/policy/.example.org", 400),
            (Method::GET, "/v1/policy/example.org:gopher", 400),
            (Method::GET, "/v1/policy/%zz.example.org", 400),
            (Method::GET, "/v1/policy/example.org%", 400),
            (Method::GET, "/v1/policy", 404),
            (Method::GET, "/", 404),
            (Method::POST, "/", 404),
            (Method::POST, "/v1/policy/example.org", 405),
            (Method::GET, "/v1/policy/slow.example.org", 503),
        ] {
            let (found, media_type, problem) = ask(method, path).await;
            assert_eq!((found, media_type.as_str()), (status, PROBLEM), "{path}");
            assert_eq!(problem["status"], status, "{path}");
            let keys = keys(&problem);
            assert_eq!(keys, described("Problem"), "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_described_is_what_is_served() {
        let (status, media_type, description) = ask(Method::GET, "/openapi.json").await;
        assert_eq!((status, media_type.as_str()), (200, JSON));
        assert_eq!(description["openapi"], "3.1.0");
        let (_, _, answer) = ask(Method::GET, "/v1/policy/example.org").await;
        assert_eq!(keys(&answer), described("Policy"));
        assert_eq!(keys(&answer["hosts"][0]), described("Host"));
        assert_eq!(keys(&answer["mta_sts"]), described("MtaSts"));
    }

    /// The status, the media type and the body of a response; an absent body is null.
    async fn ask(method: Method, path: &str) -> (u16, String, Value) {
        let service = PolicyService::new(Arc::new(Desk::new(Arc::new(Scripted), &Metrics::new())));
        let request = Request::builder().method(method).uri(path);
        let client = HttpClientFacts {
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            server_name: None,
        };
        let request = request.body(Bytes::new()).unwrap();
        let response = service.respond(request, &client).await;
        let status = response.status().as_u16();
        let media_type = response.headers()[CONTENT_TYPE].to_str().unwrap();
        let media_type = String::from(media_type);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&body).unwrap_or_default();
        (status, media_type, value)
    }

    /// The keys of an object.
    fn keys(value: &Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    /// The keys that the description has for a schema, all of which are required.
    fn described(schema: &str) -> BTreeSet<String> {
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let schema = &description["components"]["schemas"][schema];
        let required = schema["required"].as_array().unwrap();
        let required: BTreeSet<String> = required
            .iter()
            .map(|key| String::from(key.as_str().unwrap()))
            .collect();
        assert_eq!(keys(&schema["properties"]), required);
        required
    }

    /// Each domain is its own host and enforces a policy that says so; of `slow` ones nothing is heard.
    struct Scripted;

    impl Consider for Scripted {
        async fn consider(&self, destination: &Destination) -> Arc<Considered> {
            let domain = &destination.domain;
            if domain.as_str().contains("slow") {
                pending::<()>().await;
            }
            let policy = format!("version: STSv1\nmode: enforce\nmx: {domain}\nmax_age: 604800\n");
            let evidence = Evidence {
                domain: domain.clone(),
                expanded_domain: None,
                mx: Ok(Secured::insecure(MxRrset::Implicit)),
                hosts: vec![HostEvidence {
                    host: domain.clone(),
                    preference: 0,
                    expanded: None,
                    alias: None,
                    ipv4: Ok(Secured::insecure(vec![Ipv4Addr::new(192, 0, 2, 1)])),
                    ipv6: Ok(Secured::insecure(Vec::new())),
                    tlsa: TlsaEvidence::NotAsked,
                }],
                sts: StsEvidence::Policy {
                    policy: policy.parse().unwrap(),
                    source: StsSource::Fetched,
                    age: Duration::ZERO,
                },
                rule: DomainRule::default(),
                message: TlsDemand::None,
                floor: None,
            };
            Arc::new(Considered {
                decision: decide(&evidence),
                evidence,
                reuse: Duration::from_secs(60),
                at: Instant::now(),
            })
        }

        fn edition(&self) -> u64 {
            0
        }
    }
}
