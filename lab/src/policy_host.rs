//! Policy hosts: HTTPS servers of MTA-STS policies (RFC 8461, Section 3.3), good and bad.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::LabError;
use crate::listening::Listening;

/// One policy host; stops when dropped.
#[derive(Debug)]
pub struct PolicyHost {
    /// Its name: `mta-sts.` and the policy domain.
    pub name: String,
    /// Where it listens, when it does.
    pub address: SocketAddr,
    /// What its connections share.
    shared: Arc<Shared>,
    /// There while it listens.
    listening: Option<Listening>,
}

impl PolicyHost {
    /// A host that does not listen yet.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr, acceptor: TlsAcceptor, answer: HttpAnswer) -> Self {
        Self {
            name: String::from(name),
            address,
            shared: Arc::new(Shared {
                acceptor,
                answer: Mutex::new(answer),
                asked: Mutex::new(Vec::new()),
            }),
            listening: None,
        }
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn up(&mut self) -> Result<(), LabError> {
        let shared = Arc::clone(&self.shared);
        let serve = move |stream| {
            let shared = Arc::clone(&shared);
            async move {
                // Whatever breaks a connection is its client's own business.
                let _ = serve(stream, &shared).await;
            }
        };
        self.listening = Some(Listening::start(self.address, &self.name, serve).await?);
        Ok(())
    }

    /// Stops listening: connections are refused from now on.
    pub async fn down(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.stop().await;
        }
    }

    /// From now on, every request is answered so.
    pub fn set_answer(&self, answer: HttpAnswer) {
        let current = self.shared.answer.lock();
        *current.unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// The request lines so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let asked = self.shared.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The answer to every request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HttpAnswer {
    /// 200, `text/plain` and this policy.
    Policy(String),
    /// 200 with this media type and this policy.
    WithMediaType(&'static str, String),
    /// A code and nothing else.
    Status(u16),
    /// 301 to this place.
    Redirect(String),
    /// The connection is accepted and closed before the handshake: what a filter on the path does.
    Blocked,
}

impl HttpAnswer {
    /// The policy of RFC 8461, Section 3.2.
    #[must_use]
    pub fn policy(mode: &str, mx_patterns: &[&str]) -> Self {
        let mut text = format!("version: STSv1\r\nmode: {mode}\r\nmax_age: 86400\r\n");
        for pattern in mx_patterns {
            text.push_str(&format!("mx: {pattern}\r\n"));
        }
        Self::Policy(text)
    }

    /// The response in wire form; `None` for no response.
    fn wire(&self) -> Option<String> {
        let (status, header, body) = match self {
            Self::Policy(body) => ("200 OK", "Content-Type: text/plain", body.as_str()),
            Self::WithMediaType(media_type, body) => {
                let header = format!("Content-Type: {media_type}");
                return Some(response("200 OK", &header, body));
            }
            Self::Status(code) => {
                return Some(response(
                    &format!("{code} no"),
                    "Content-Type: text/plain",
                    "",
                ));
            }
            Self::Redirect(to) => {
                return Some(response("301 there", &format!("Location: {to}"), ""));
            }
            Self::Blocked => return None,
        };
        Some(response(status, header, body))
    }
}

/// What the connections of a policy host share.
struct Shared {
    /// Its certificate.
    acceptor: TlsAcceptor,
    /// What it answers now.
    answer: Mutex<HttpAnswer>,
    /// The request lines so far, at most [`REQUESTS_MAX`].
    asked: Mutex<Vec<String>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.answer)
    }
}

/// One response that is the last on its connection.
fn response(status: &str, header: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// One connection: one request, one response.
async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let answer = {
        let answer = shared.answer.lock();
        answer.unwrap_or_else(PoisonError::into_inner).clone()
    };
    let Some(wire) = answer.wire() else {
        return Ok(());
    };
    let mut stream = shared.acceptor.accept(stream).await?;
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 || request.len() > REQUEST_OCTETS_MAX {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&request);
    let line = text.lines().next().unwrap_or_default();
    {
        let asked = shared.asked.lock();
        let mut asked = asked.unwrap_or_else(PoisonError::into_inner);
        if asked.len() < REQUESTS_MAX {
            asked.push(String::from(line));
        }
    }
    let wire = match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
        ["GET", POLICY_PATH, _] => wire,
        _ => response("404 no", "Content-Type: text/plain", ""),
    };
    stream.write_all(wire.as_bytes()).await?;
    stream.shutdown().await
}

/// RFC 8461, Section 3.3.
const POLICY_PATH: &str = "/.well-known/mta-sts.txt";

/// Octets of a request's head.
const REQUEST_OCTETS_MAX: usize = 16 * 1024;

/// Request lines that are kept.
const REQUESTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ClientConfig;
    use rustls::RootCertStore;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::ServerName;
    use rustls_pki_types::pem::PemObject;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::address::AddressPlan;
    use crate::authority::Authority;
    use crate::authority::Lifetime;

    #[tokio::test]
    async fn each_answer_reaches_the_client_as_it_is_meant() {
        let policy = HttpAnswer::policy("enforce", &["mx.a.test", "*.b.test"]);
        let HttpAnswer::Policy(text) = policy.clone() else {
            panic!("{policy:?}");
        };
        assert!(text.contains("\r\nmx: *.b.test\r\n"), "{text}");
        let redirect = HttpAnswer::Redirect(String::from("https://else.test/"));
        for (answer, path, expected) in [
            (policy.clone(), POLICY_PATH, text.as_str()),
            (policy, "/else", "HTTP/1.1 404"),
            (HttpAnswer::Status(503), POLICY_PATH, "HTTP/1.1 503"),
            (redirect, POLICY_PATH, "Location: https://else.test/"),
            (
                HttpAnswer::WithMediaType("text/html", String::new()),
                POLICY_PATH,
                "Content-Type: text/html",
            ),
        ] {
            let response = ask(answer.clone(), path).await.unwrap();
            assert!(response.contains(expected), "{answer:?}: {response}");
        }
        assert!(ask(HttpAnswer::Blocked, POLICY_PATH).await.is_err());
    }

    async fn ask(answer: HttpAnswer, path: &str) -> io::Result<String> {
        let name = "mta-sts.a.test";
        let root = Authority::root("Root").unwrap();
        let acceptor = root
            .issue(&[name], Lifetime::Current)
            .unwrap()
            .acceptor()
            .unwrap();
        let mut plan = AddressPlan::draw().unwrap();
        let address = SocketAddr::from((plan.draw_address().unwrap(), plan.https_port));
        let mut host = PolicyHost::new(name, address, acceptor, answer);
        host.up().await.unwrap();
        let mut roots = RootCertStore::empty();
        let anchor = CertificateDer::from_pem_slice(root.pem().as_bytes()).unwrap();
        roots.add(anchor).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(name).unwrap(), stream)
            .await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        assert_eq!(host.requests().len(), 1);
        Ok(response)
    }
}
