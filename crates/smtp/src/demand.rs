//! What a message itself demands of TLS: RFC 8689.

use serde::Deserialize;
use serde::Serialize;

/// What a message itself demands of TLS on its way.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsDemand {
    /// Nothing: the recipient domain's promises count.
    #[default]
    None,
    /// `REQUIRETLS` in `MAIL FROM`: every next hop is authenticated and offers REQUIRETLS.
    RequireTls,
    /// The header field `TLS-Required: No`: the sender prefers delivery to protection, which lifts
    /// DANE and MTA-STS.
    TlsNotRequired,
}
