//! What is kept of every attempt, after the message is gone.

use std::net::SocketAddr;
use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_policy::Strength;
use byrnie_smtp::Reply;
use serde::Deserialize;
use serde::Serialize;

use crate::QueueId;

/// What happened when one message was offered to one host, or could be offered to none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// The message.
    pub queue_id: QueueId,
    /// Where it was to go.
    pub next_hop: MailDomain,
    /// The attempt of the delivery: 1 for the first.
    pub attempt: u32,
    /// When it ended.
    pub at: UnixTime,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// For whom.
    pub recipients: Vec<Mailbox>,
    /// What was demanded and found. Many receipts share it, in memory as on disk.
    #[serde(flatten)]
    pub circumstances: Arc<Circumstances>,
    /// The last thing that the host said.
    pub reply: Option<Reply>,
    /// Why it was not delivered.
    pub reason: Option<String>,
}

/// What of a receipt is the same for all messages that take the same way.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Circumstances {
    /// What the connection had to prove; `None` if no host could be tried.
    pub demanded: Option<Strength>,
    /// Whether the host had to offer REQUIRETLS.
    pub requiretls: bool,
    /// Why that was demanded, one sentence each.
    pub reasons: Vec<String>,
    /// The MX host.
    pub host: Option<DomainName>,
    /// The address of the host.
    pub address: Option<SocketAddr>,
    /// What TLS gave; `None` in clear text, or if there was no connection.
    pub tls: Option<TlsReceipt>,
}

/// What TLS gave.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TlsReceipt {
    /// The version, such as `TLSv1.3`.
    pub version: String,
    /// The cipher suite, by its name in the registry.
    pub cipher_suite: String,
    /// The SHA-256 digest of the host's certificate, in hexadecimal.
    pub certificate_sha256: Option<String>,
    /// How the host was authenticated, such as `matched TLSA 3 1 1 …`; `None` if it was not.
    pub authenticated_by: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// The host took responsibility.
    Delivered,
    /// It is tried again later.
    Deferred,
    /// It is given up.
    Bounced,
    /// This host would not do; another one is tried at once.
    NextHost,
}

impl AttemptOutcome {
    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::Bounced => "bounced",
            Self::NextHost => "next-host",
        }
    }
}
