//! Names to look up, whether a host can have them or not.

use std::fmt;
use std::str::FromStr;

use byrnie_base::DomainName;
use byrnie_base::InvalidDomainName;
use bytes::Bytes;
use domain::base::Name;

use super::record::domain_name;

/// A name to look up: a [`DomainName`], or one of those that mail does not know and the DNS does: the
/// root, one with an asterisk (`*.example.org`), or one with escapes (`a\\032b.example.org`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueryName(pub(super) NameKind);

/// Which of the two it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum NameKind {
    /// The name that a host or a mail domain may have.
    Domain(DomainName),
    /// Any other.
    Other(Name<Bytes>),
}

impl FromStr for QueryName {
    type Err = InvalidDomainName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_other = text == "." || text.contains(['*', '\\']);
        match Name::bytes_from_str(text) {
            Ok(name) if is_other => Ok(Self(NameKind::Other(name))),
            Ok(_) | Err(_) => text.parse().map(NameKind::Domain).map(Self),
        }
    }
}

impl From<&Name<Bytes>> for QueryName {
    fn from(name: &Name<Bytes>) -> Self {
        Self(match domain_name(name) {
            Some(name) => NameKind::Domain(name),
            None => NameKind::Other(name.clone()),
        })
    }
}

impl QueryName {
    /// About how much memory the name takes.
    pub(super) fn octets(&self) -> usize {
        match &self.0 {
            NameKind::Domain(name) => name.as_str().len(),
            NameKind::Other(name) => name.len(),
        }
    }
}

impl fmt::Display for QueryName {
    /// Without the trailing dot, but for the root.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            NameKind::Domain(name) => name.fmt(f),
            NameKind::Other(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_and_others_are_read() {
        for (text, shown, is_domain) in [
            ("Example.org.", "example.org", true),
            ("_25._tcp.mx.example.org", "_25._tcp.mx.example.org", true),
            (".", ".", false),
            ("*.example.org.", "*.example.org", false),
            ("a.*.example.org.", "a.*.example.org", false),
            (r"a\032b.example.org", r"a\ b.example.org", false),
        ] {
            let name: QueryName = text.parse().unwrap();
            assert_eq!(name.to_string(), shown, "{text}");
            assert_eq!(matches!(name.0, NameKind::Domain(_)), is_domain, "{text}");
        }
        for text in ["", "a..b", "a b", "*.a..b", "x\\"] {
            assert!(text.parse::<QueryName>().is_err(), "{text}");
        }
    }
}
