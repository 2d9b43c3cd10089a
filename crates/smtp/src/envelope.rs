//! The envelope: what a message's transport needs to know, and the message does not contain.

use std::fmt;
use std::str::FromStr;

use byrnie_base::InvalidMailbox;
use byrnie_base::Mailbox;
use serde::Deserialize;
use serde::Serialize;

use crate::TlsDemand;

/// Who gets bounces, who gets the message, and what the transport must be able to do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Envelope {
    /// `MAIL FROM`.
    pub reverse_path: ReversePath,
    /// `RCPT TO`, in the order given; never empty once accepted.
    pub recipients: Vec<Mailbox>,
    /// `BODY=` of RFC 6152 and RFC 3030.
    pub body: BodyType,
    /// Whether the message was handed over with `SMTPUTF8` (RFC 6531).
    pub smtputf8: Smtputf8,
    /// What the message demands of TLS on its way.
    pub tls_demand: TlsDemand,
}

/// Where bounces go.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReversePath {
    /// `<>`: a bounce itself, or mail that wants none.
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl FromStr for ReversePath {
    type Err = InvalidMailbox;

    /// Reads what stands between the angle brackets; nothing there is the null path.
    fn from_str(text: &str) -> Result<Self, InvalidMailbox> {
        if text.is_empty() {
            return Ok(Self::Null);
        }
        text.parse().map(Self::Mailbox)
    }
}

impl fmt::Display for ReversePath {
    /// Without the angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// What octets the message may have: RFC 6152, RFC 3030.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyType {
    /// `7BIT`, or no `BODY` parameter.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// Whether the message was handed over with `SMTPUTF8`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Smtputf8 {
    /// Addresses and header are ASCII.
    #[default]
    NotUsed,
    /// Addresses or header may hold UTF-8; the next hop must offer SMTPUTF8.
    Used,
}
