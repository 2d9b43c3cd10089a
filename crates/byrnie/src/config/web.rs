//! `[web]` and `[[mta_sts]]`: public pages, and the policies on them.

use std::net::SocketAddr;
use std::path::PathBuf;

use byrnie_base::DomainName;
use byrnie_mta_sts::Mode;
use serde::Deserialize;
use serde::Serialize;

use super::defaults;
use super::text::MxPatternText;
use super::text::Span;

/// `[web]`: the public HTTPS server.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Web {
    /// Where to listen; nowhere if it names no address.
    pub(crate) listen: Vec<SocketAddr>,
    /// The most connections at once: in all.
    pub(crate) max_connections: usize,
    /// The most from one address.
    pub(crate) max_connections_per_client: usize,
    /// Certificates with their keys, chosen by the name that a client asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) certificate: Vec<WebCertificate>,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            max_connections: defaults::WEB_MAX_CONNECTIONS,
            max_connections_per_client: defaults::WEB_MAX_CONNECTIONS_PER_CLIENT,
            certificate: Vec::new(),
        }
    }
}

/// `[[web.certificate]]`: a certificate chain and its key, PEM.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebCertificate {
    /// The chain.
    pub(crate) certificate_file: PathBuf,
    /// The key.
    pub(crate) key_file: PathBuf,
}

/// `[[mta_sts]]`: the policy that some domains publish (RFC 8461).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MtaSts {
    /// Whose policy it is.
    pub(crate) domains: Vec<DomainName>,
    /// What senders do when it cannot be met.
    #[serde(default = "testing")]
    pub(crate) mode: Mode,
    /// The mail hosts; those of the MX records if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mx: Option<Vec<MxPatternText>>,
    /// How long senders keep it.
    #[serde(default = "max_age")]
    pub(crate) max_age: Span,
}

/// The mode to begin with.
fn testing() -> Mode {
    Mode::Testing
}

/// How long senders keep a policy.
fn max_age() -> Span {
    defaults::STS_MAX_AGE
}
