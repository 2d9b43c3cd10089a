//! MX host patterns: RFC 8461, Sections 3.2 and 4.1.

use std::fmt;
use std::str::FromStr;

use byrnie_base::DomainName;
use byrnie_base::InvalidDomainName;

/// One `mx` field: a host name, or `*.` and a parent under which one label may vary.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MxPattern {
    /// This name alone.
    Exact(DomainName),
    /// Every name with exactly one label before this parent.
    OneLabelUnder(DomainName),
}

impl MxPattern {
    /// Whether `host` is one of the names that the pattern stands for.
    #[must_use]
    pub fn matches(&self, host: &DomainName) -> bool {
        match self {
            Self::Exact(name) => host == name,
            // Section 4.1: a wildcard stands for the whole left-most label, and for no other.
            Self::OneLabelUnder(parent) => host
                .split_first_label()
                .is_some_and(|(_, rest)| rest == parent.as_str()),
        }
    }
}

impl FromStr for MxPattern {
    type Err = InvalidDomainName;

    fn from_str(text: &str) -> Result<Self, InvalidDomainName> {
        let (make, name): (fn(DomainName) -> Self, _) = match text.strip_prefix("*.") {
            Some(parent) => (Self::OneLabelUnder, parent),
            None => (Self::Exact, text),
        };
        name.parse().map(make)
    }
}

impl fmt::Display for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.pad(name.as_str()),
            Self::OneLabelUnder(parent) => f.pad(&format!("*.{parent}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_covers_exactly_one_label() {
        check("*.example.net", "a.example.net", true);
        check("*.example.net", "a.b.example.net", false);
        check("*.example.net", "example.net", false);
        check("*.example.net", "a.badexample.net", false);
    }

    #[test]
    fn names_are_compared_as_a_labels_without_case_and_trailing_dot() {
        check("mx1.example.com", "MX1.Example.COM.", true);
        check("MX1.EXAMPLE.COM.", "mx1.example.com", true);
        check("bücher.example", "xn--bcher-kva.example", true);
        check("*.bücher.example.", "mx.xn--bcher-kva.example", true);
        check("mx1.example.com", "mx2.example.com", false);
    }

    #[test]
    fn a_star_stands_only_as_the_whole_first_label() {
        for (text, why) in [
            ("*", InvalidDomainName::BadCharacter('*')),
            ("*.", InvalidDomainName::Empty),
            ("*a.example.net", InvalidDomainName::BadCharacter('*')),
            ("mx.*.example.net", InvalidDomainName::BadCharacter('*')),
            ("*.*.example.net", InvalidDomainName::BadCharacter('*')),
            (".example.net", InvalidDomainName::EmptyLabel),
            ("", InvalidDomainName::Empty),
        ] {
            assert_eq!(text.parse::<MxPattern>(), Err(why), "{text:?}");
        }
    }

    #[track_caller]
    fn check(pattern: &str, host: &str, expected: bool) {
        let pattern: MxPattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(&host.parse().unwrap()), expected);
    }
}
