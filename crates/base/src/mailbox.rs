//! Mailboxes: RFC 5321, Section 4.1.2; RFC 6531, Section 3.3 for UTF-8 in them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::DomainName;
use crate::InvalidDomainName;

/// `local-part@domain`, as it stands between the angle brackets of `MAIL FROM` and `RCPT TO`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mailbox {
    /// What only the host that is responsible for `domain` may interpret.
    pub local_part: LocalPart,
    /// Where the mailbox lives.
    pub domain: MailDomain,
}

impl Mailbox {
    /// Whether it can be named only in a session that speaks SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        !self.local_part.as_str().is_ascii()
    }
}

impl FromStr for Mailbox {
    type Err = InvalidMailbox;

    fn from_str(text: &str) -> Result<Self, InvalidMailbox> {
        let (local_part, domain) = text.rsplit_once('@').ok_or(InvalidMailbox::NoAt)?;
        Ok(Self {
            local_part: local_part.parse()?,
            domain: domain.parse()?,
        })
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
}

/// The part before the `@`, kept exactly as it was written, quotes and case included.
///
/// Invariant: a `Dot-string` or a `Quoted-string` of at most 64 octets; UTF-8 beyond ASCII may stand
/// wherever a letter may.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LocalPart(Box<str>);

impl LocalPart {
    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LocalPart {
    type Err = InvalidMailbox;

    fn from_str(text: &str) -> Result<Self, InvalidMailbox> {
        if text.is_empty() {
            return Err(InvalidMailbox::EmptyLocalPart);
        }
        if text.len() > LOCAL_PART_OCTETS_MAX {
            return Err(InvalidMailbox::LocalPartTooLong);
        }
        let well_formed = match text.strip_prefix('"') {
            Some(rest) => rest.strip_suffix('"').is_some_and(is_quoted_content),
            None => text.split('.').all(is_atom),
        };
        if !well_formed {
            return Err(InvalidMailbox::BadLocalPart);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part after the `@`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MailDomain {
    /// A domain name, whose MX records say where mail goes.
    Name(DomainName),
    /// An address literal such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

impl MailDomain {
    /// The domain name, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&DomainName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Literal(_) => None,
        }
    }
}

impl FromStr for MailDomain {
    type Err = InvalidMailbox;

    fn from_str(text: &str) -> Result<Self, InvalidMailbox> {
        let Some(inside) = text.strip_prefix('[') else {
            return text.parse().map(Self::Name).map_err(InvalidMailbox::Domain);
        };
        let inside = inside.strip_suffix(']').ok_or(InvalidMailbox::BadLiteral)?;
        let address = match inside.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inside
                .get(5..)
                .and_then(|text| text.parse().ok())
                .map(IpAddr::V6),
            Some(_) | None => inside.parse().ok().map(IpAddr::V4),
        };
        address.map(Self::Literal).ok_or(InvalidMailbox::BadLiteral)
    }
}

impl fmt::Display for MailDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Self::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(Mailbox, MailDomain);

/// Why a text is not a mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidMailbox {
    /// `[…]` holds neither an IPv4 address nor `IPv6:` and an IPv6 address.
    BadLiteral,
    /// The local part is neither a dot-string nor a quoted string.
    BadLocalPart,
    /// The domain is not a domain name.
    Domain(InvalidDomainName),
    /// Nothing stands before the `@`.
    EmptyLocalPart,
    /// The local part has more than 64 octets.
    LocalPartTooLong,
    /// There is no `@`.
    NoAt,
}

impl fmt::Display for InvalidMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLiteral => f.write_str("the address literal holds no address"),
            Self::BadLocalPart => {
                f.write_str("the local part is neither a dot-string nor a quoted string")
            }
            Self::Domain(why) => why.fmt(f),
            Self::EmptyLocalPart => f.write_str("nothing stands before the @"),
            Self::LocalPartTooLong => f.write_str("the local part is longer than 64 octets"),
            Self::NoAt => f.write_str("there is no @"),
        }
    }
}

impl std::error::Error for InvalidMailbox {}

/// `Atom` of RFC 5321, Section 4.1.2, with `UTF8-non-ascii` of RFC 6531, Section 3.3.
fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| {
            c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_letter(c)
        })
}

/// `*QcontentSMTP`: printable ASCII and UTF-8, with `"` and `\` only behind a `\`.
fn is_quoted_content(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let allowed = match c {
            '"' => false,
            '\\' => chars.next().is_some_and(|c| (' '..='~').contains(&c)),
            c => (' '..='~').contains(&c) || is_utf8_letter(c),
        };
        if !allowed {
            return false;
        }
    }
    true
}

/// Beyond ASCII and not a control character, so that nothing invisible breaks a log line.
fn is_utf8_letter(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// RFC 5321, Section 4.5.3.1.1.
const LOCAL_PART_OCTETS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_read_back_as_they_were_written() {
        for text in [
            "a@example.org",
            "O'Brien+tag@example.org",
            "\"two words\"@example.org",
            "\"with \\\" quote\"@example.org",
            "\"a@b\"@example.org",
            "grüße@example.org",
            "postmaster@[192.0.2.1]",
            "postmaster@[IPv6:2001:db8::1]",
        ] {
            assert_eq!(text.parse::<Mailbox>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused_with_the_reason() {
        check("nobody", InvalidMailbox::NoAt);
        check("@example.org", InvalidMailbox::EmptyLocalPart);
        check("a..b@example.org", InvalidMailbox::BadLocalPart);
        check(".a@example.org", InvalidMailbox::BadLocalPart);
        check("a b@example.org", InvalidMailbox::BadLocalPart);
        check("a\r\nb@example.org", InvalidMailbox::BadLocalPart);
        check("\"open@example.org", InvalidMailbox::BadLocalPart);
        check("\"trailing\\\"@example.org", InvalidMailbox::BadLocalPart);
        check("<a@example.org", InvalidMailbox::BadLocalPart);
        check("a@[127.0.0.1", InvalidMailbox::BadLiteral);
        check("a@[2001:db8::1]", InvalidMailbox::BadLiteral);
        check("a@[IPv6:127.0.0.1]", InvalidMailbox::BadLiteral);
        check("a@", InvalidMailbox::Domain(InvalidDomainName::Empty));
        let long = format!("{}@example.org", "a".repeat(65));
        check(&long, InvalidMailbox::LocalPartTooLong);
    }

    #[track_caller]
    fn check(text: &str, why: InvalidMailbox) {
        assert_eq!(text.parse::<Mailbox>(), Err(why), "{text:?}");
    }
}
