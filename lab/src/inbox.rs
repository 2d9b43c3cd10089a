//! What arrived, at any mail host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A message that a mail host took over: its reply to the end of the data was, or was about to be,
/// positive.
#[derive(Clone, Debug)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// The host's name.
    pub host: String,
    /// Where the connection came from.
    pub peer: SocketAddr,
    /// The argument of MAIL, with its parameters, e.g. `<a@b> SIZE=100`.
    pub reverse_path: String,
    /// The arguments of RCPT.
    pub recipients: Vec<String>,
    /// What the connection was protected by.
    pub tls: Option<TlsSeen>,
    /// The message, transparency undone.
    pub message: Vec<u8>,
    /// The value of its [`ID_HEADER`].
    pub id: Option<String>,
}

/// What a host sees of a TLS connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsSeen {
    /// The version, e.g. `TLSv1_3`.
    pub version: String,
    /// The name that the client asked for.
    pub sni: Option<String>,
}

/// The header that carries a message's mark through the program under test.
pub const ID_HEADER: &str = "X-Lab-Id";

impl Received {
    /// Finds the mark in a message.
    pub(crate) fn id_of(message: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(message);
        text.lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(ID_HEADER)?.strip_prefix(':'))
            .map(|value| String::from(value.trim()))
    }
}

/// Everything that arrived anywhere, in order; a cheap handle.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Wakes whoever waits at each arrival.
    received: Arc<watch::Sender<Vec<Received>>>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            received: Arc::new(watch::Sender::new(Vec::new())),
        }
    }
}

impl Inbox {
    /// Notes an arrival.
    pub(crate) fn add(&self, received: Received) {
        self.received.send_modify(|all| all.push(received));
    }

    /// What arrived so far and satisfies `wanted`.
    #[must_use]
    pub fn find(&self, wanted: impl Fn(&Received) -> bool) -> Vec<Received> {
        let all = self.received.borrow();
        all.iter().filter(|one| wanted(one)).cloned().collect()
    }

    /// What arrived since the last time, which is forgotten here.
    pub(crate) fn take(&self) -> Vec<Received> {
        let mut taken = Vec::new();
        self.received.send_if_modified(|all| {
            std::mem::swap(all, &mut taken);
            false
        });
        taken
    }

    /// Waits until what arrived satisfies `enough`; false if it never does within `limit`.
    pub async fn wait(&self, limit: Duration, enough: impl FnMut(&Vec<Received>) -> bool) -> bool {
        let mut watcher = self.received.subscribe();
        let waited = tokio::time::timeout(limit, watcher.wait_for(enough)).await;
        matches!(waited, Ok(Ok(_)))
    }
}
