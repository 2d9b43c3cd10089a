//! Domain names as lists of labels.

use std::cmp::Ordering;
use std::fmt;

/// A name in lower case, its labels from left to right without the root.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Name(pub(crate) Vec<Vec<u8>>);

impl Name {
    /// The root.
    pub(crate) const fn root() -> Self {
        Self(Vec::new())
    }

    /// `label.self`.
    pub(crate) fn below(&self, label: &[u8]) -> Self {
        let mut labels = vec![label.to_ascii_lowercase()];
        labels.extend(self.0.iter().cloned());
        Self(labels)
    }

    /// `*.self`.
    pub(crate) fn wildcard(&self) -> Self {
        self.below(b"*")
    }

    /// The name one label shorter; the root is its own parent.
    pub(crate) fn parent(&self) -> Self {
        Self(self.0.iter().skip(1).cloned().collect())
    }

    /// The right-most `count` labels.
    pub(crate) fn suffix(&self, count: usize) -> Self {
        Self(self.0.iter().skip(self.0.len() - count).cloned().collect())
    }

    /// The number of labels.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is `other` or lies below it.
    pub(crate) fn ends_with(&self, other: &Self) -> bool {
        self.0.ends_with(&other.0)
    }

    /// Whether its first label is an asterisk.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.0.first().is_some_and(|label| label == b"*")
    }

    /// The wire form.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(32);
        for label in &self.0 {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        wire
    }

    /// Reads an uncompressed name, and says how long it was.
    pub(crate) fn read(wire: &[u8]) -> Option<(Self, usize)> {
        let mut labels = Vec::new();
        let mut at = 0;
        loop {
            let length = usize::from(*wire.get(at)?);
            at += 1;
            if length == 0 {
                return Some((Self(labels), at));
            }
            if length > 63 {
                return None;
            }
            labels.push(wire.get(at..at + length)?.to_ascii_lowercase());
            at += length;
        }
    }

    /// The octets of the wire form.
    pub(crate) fn octets(&self) -> usize {
        self.0.iter().map(|label| label.len() + 1).sum::<usize>() + 1
    }
}

impl Ord for Name {
    /// The canonical order: RFC 4034, Section 6.1.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for label in &self.0 {
            for octet in label {
                match octet {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*octet))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(*octet))?,
                    octet => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}
