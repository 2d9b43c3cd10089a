//! Domain names: RFC 1034, Section 3.1; RFC 5890 for the A-label form.

use std::fmt;
use std::str::FromStr;

/// A fully-qualified domain name in A-label form, lower-case, without the trailing dot.
///
/// At most 253 octets, labels of 1 to 63 octets out of letters, digits, `-` and `_`. The root has no
/// `DomainName`: nothing that byrnie sends mail to, or looks up by configuration, is the root.
///
/// Invariant: the text satisfies the rules above, so that comparing two names compares their text.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DomainName(Box<str>);

impl DomainName {
    /// The name as text, e.g. `mx1.example.com`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Splits off the left-most label: `mx1.example.com` gives `("mx1", "example.com")`.
    #[must_use]
    pub fn split_first_label(&self) -> Option<(&str, &str)> {
        self.0.split_once('.')
    }

    /// The name one label shorter; `None` above a top-level domain.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.split_first_label()
            .map(|(_, parent)| Self(parent.into()))
    }

    /// `prefix.self`, where `prefix` is one or more labels such as `_25._tcp`.
    ///
    /// # Errors
    /// The result is longer than 253 octets, or `prefix` is not made of labels.
    pub fn prefixed(&self, prefix: &str) -> Result<Self, InvalidDomainName> {
        Self::from_ascii(&format!("{prefix}.{}", self.0))
    }

    /// Whether `self` is `ancestor` or lies below it.
    #[must_use]
    pub fn is_at_or_below(&self, ancestor: &Self) -> bool {
        self.0
            .strip_suffix(ancestor.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Parses a name that must be in A-label form already, such as one from the wire.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn from_ascii(text: &str) -> Result<Self, InvalidDomainName> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(InvalidDomainName::Empty);
        }
        if name.len() > NAME_OCTETS_MAX {
            return Err(InvalidDomainName::TooLong);
        }
        for label in name.split('.') {
            if label.is_empty() {
                return Err(InvalidDomainName::EmptyLabel);
            }
            if label.len() > LABEL_OCTETS_MAX {
                return Err(InvalidDomainName::LabelTooLong);
            }
            if let Some(c) = label.chars().find(|&c| !is_label_char(c)) {
                return Err(InvalidDomainName::BadCharacter(c));
            }
        }
        Ok(Self(name.to_ascii_lowercase().into_boxed_str()))
    }
}

impl FromStr for DomainName {
    type Err = InvalidDomainName;

    /// Parses a name in A-label or U-label form; U-labels become A-labels (UTS 46).
    fn from_str(text: &str) -> Result<Self, InvalidDomainName> {
        if text.is_ascii() {
            return Self::from_ascii(text);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| InvalidDomainName::BadUnicode)?;
        Self::from_ascii(&ascii)
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl serde::Serialize for DomainName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for DomainName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidDomainName {
    /// A character other than a letter, a digit, `-` or `_`.
    BadCharacter(char),
    /// The text has non-ASCII characters and no A-label form (UTS 46).
    BadUnicode,
    /// There is nothing but perhaps a dot.
    Empty,
    /// Two dots in a row, or one at the start.
    EmptyLabel,
    /// A label has more than 63 octets.
    LabelTooLong,
    /// The name has more than 253 octets.
    TooLong,
}

impl fmt::Display for InvalidDomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCharacter(c) => write!(f, "{c:?} cannot stand in a domain name"),
            Self::BadUnicode => f.write_str("the name has no A-label form"),
            Self::Empty => f.write_str("the domain name is empty"),
            Self::EmptyLabel => f.write_str("the domain name has an empty label"),
            Self::LabelTooLong => {
                f.write_str("a label of the domain name is longer than 63 octets")
            }
            Self::TooLong => f.write_str("the domain name is longer than 253 octets"),
        }
    }
}

impl std::error::Error for InvalidDomainName {}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// 255 octets on the wire leave 253 for the text without the trailing dot: RFC 1035, Section 2.3.4.
const NAME_OCTETS_MAX: usize = 253;

/// RFC 1035, Section 2.3.4.
const LABEL_OCTETS_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_without_the_trailing_dot() {
        check("MX1.Example.COM.", Ok("mx1.example.com"));
        check("_25._tcp.mx.example", Ok("_25._tcp.mx.example"));
        check("bücher.example", Ok("xn--bcher-kva.example"));
        check("BÜCHER.example.", Ok("xn--bcher-kva.example"));
        let longest = "a.".repeat(127);
        check(&longest, Ok(longest.trim_end_matches('.')));
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        check("", Err(InvalidDomainName::Empty));
        check(".", Err(InvalidDomainName::Empty));
        check("a..b", Err(InvalidDomainName::EmptyLabel));
        check(".a", Err(InvalidDomainName::EmptyLabel));
        check("a b", Err(InvalidDomainName::BadCharacter(' ')));
        check("a/b", Err(InvalidDomainName::BadCharacter('/')));
        check("[127.0.0.1]", Err(InvalidDomainName::BadCharacter('[')));
        check(&"a".repeat(64), Err(InvalidDomainName::LabelTooLong));
        check(&"a.".repeat(128), Err(InvalidDomainName::TooLong));
        check("\u{fffd}.example", Err(InvalidDomainName::BadUnicode));
    }

    #[test]
    fn a_prefix_may_not_push_a_name_over_its_bound() {
        let name: DomainName = format!("{}com", "a.".repeat(120)).parse().unwrap();
        assert_eq!(
            name.prefixed("_25._tcp.mail"),
            Err(InvalidDomainName::TooLong)
        );
    }

    #[test]
    fn below_means_at_a_label_boundary() {
        let parent: DomainName = "example.com".parse().unwrap();
        for (name, below) in [
            ("example.com", true),
            ("mx.example.com", true),
            ("badexample.com", false),
            ("com", false),
        ] {
            let name: DomainName = name.parse().unwrap();
            assert_eq!(name.is_at_or_below(&parent), below, "{name}");
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, InvalidDomainName>) {
        let parsed = text.parse::<DomainName>();
        assert_eq!(
            parsed.as_ref().map(DomainName::as_str),
            expected.as_ref().copied(),
            "{text:?}"
        );
    }
}
