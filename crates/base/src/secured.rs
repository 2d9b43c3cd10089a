//! How well a value from the DNS is proven: RFC 4033, Section 5.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// A value from the DNS together with its DNSSEC status.
///
/// There is no bogus `Secured`: an answer that fails validation has no value, only a
/// [`LookupError`]. A `Secured` is the only form in which a DNS answer reaches the decision.
#[must_use = "the security of a DNS answer must be looked at before its value is used"]
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Secured<T> {
    /// How well `value` is proven.
    pub security: Security,
    /// What the DNS says.
    pub value: T,
}

impl<T> Secured<T> {
    /// A value with a chain of signatures from a trust anchor.
    pub const fn secure(value: T) -> Self {
        Self {
            security: Security::Secure,
            value,
        }
    }

    /// A value that is proven to come from an unsigned part of the DNS.
    pub const fn insecure(value: T) -> Self {
        Self {
            security: Security::Insecure,
            value,
        }
    }

    /// Whether the value has a chain of signatures from a trust anchor.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.security == Security::Secure
    }

    /// The same security for a reference to the value.
    pub fn as_ref(&self) -> Secured<&T> {
        Secured {
            security: self.security,
            value: &self.value,
        }
    }

    /// The same security for something computed from the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Secured<U> {
        Secured {
            security: self.security,
            value: f(self.value),
        }
    }

    /// The value, no better proven than what led to it.
    pub fn reached_over(self, path: Security) -> Self {
        Self {
            security: self.security.min(path),
            value: self.value,
        }
    }
}

/// The two states of a DNS answer that has a value.
///
/// Ordered: the security of a chain is the minimum of its links.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// Proven to lie in an unsigned part of the DNS: anybody on the path could have written it.
    Insecure,
    /// Signed, with an unbroken chain from a trust anchor.
    Secure,
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insecure => "insecure",
            Self::Secure => "secure",
        })
    }
}

/// Why a DNS question has no answer that may be used.
///
/// Never evidence of absence: whoever meets one waits (behaviour rule 1).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "status", content = "reason")]
pub enum LookupError {
    /// An answer came and failed DNSSEC validation. Says which record and which rule.
    Bogus(String),
    /// No usable answer came: time-out, SERVFAIL, REFUSED, NOTIMP, a broken message.
    Failed(String),
}

impl LookupError {
    /// The reason without the status in front of it.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Bogus(reason) | Self::Failed(reason) => reason,
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bogus(reason) => write!(f, "bogus: {reason}"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl std::error::Error for LookupError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_no_better_proven_than_the_path_to_it() {
        let (secure, insecure) = (Secured::secure(1), Secured::insecure(1));
        assert_eq!(secure.reached_over(Security::Secure), secure);
        assert_eq!(secure.reached_over(Security::Insecure), insecure);
        assert_eq!(insecure.reached_over(Security::Secure), insecure);
    }
}
