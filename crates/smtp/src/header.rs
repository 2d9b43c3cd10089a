//! The little that a relay must know of a message's header section: RFC 5322, Section 2.2.

use crate::TlsDemand;

/// The header section of a message, read as it passes by, up to a bound.
///
/// A relay does not parse a message; it looks for a few fields, and hands the header section back with
/// bounces. Whatever lies beyond the bound does not count, so that no header makes it hold more.
///
/// Invariant: holds at most [`HEADER_OCTETS_MAX`] octets.
#[derive(Clone, Debug, Default)]
pub struct HeaderLines {
    /// The octets of the header section, line ends included, without the empty line.
    octets: Vec<u8>,
    /// Whether the header section goes on.
    state: HeaderState,
}

impl HeaderLines {
    /// Reads a piece of a message; what belongs to the body is passed over.
    pub fn read(&mut self, piece: &[u8]) {
        for octet in piece {
            if self.state == HeaderState::Ended {
                return;
            }
            if self.octets.len() >= HEADER_OCTETS_MAX {
                self.state = HeaderState::Ended;
                return;
            }
            self.octets.push(*octet);
            if *octet == b'\n' {
                self.end_line();
            }
        }
    }

    /// Whether the header section is complete, or cut off at the bound.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == HeaderState::Ended
    }

    /// The octets of the header section, line ends included, without the empty line after it.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// How many fields have that name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.values(name).count()
    }

    /// What the message demands of TLS by its header: RFC 8689, Section 3.
    ///
    /// `REQUIRETLS` in `MAIL FROM` is the stronger word: the caller heeds that one first.
    #[must_use]
    pub fn tls_demand(&self) -> TlsDemand {
        // RFC 8689, Section 3 knows just the value `No`, and says nothing of two fields; two that
        // differ are no clear word, so that the stricter reading stands.
        let mut values = self.values("TLS-Required").peekable();
        if values.peek().is_some() && values.all(|value| value.eq_ignore_ascii_case("No")) {
            TlsDemand::TlsNotRequired
        } else {
            TlsDemand::None
        }
    }

    /// The values of the fields with that name, unfolded and without spaces around them.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = String> {
        let mut fields: Vec<Vec<u8>> = Vec::new();
        let mut within = false;
        for line in self.octets.split_inclusive(|&octet| octet == b'\n') {
            let continues = matches!(line.first(), Some(b' ' | b'\t'));
            if continues {
                if within && let Some(field) = fields.last_mut() {
                    field.extend_from_slice(line);
                }
                continue;
            }
            let value = field_value(line, name);
            within = value.is_some();
            fields.extend(value.map(<[u8]>::to_vec));
        }
        fields.into_iter().map(|field| {
            let text = String::from_utf8_lossy(&field);
            let words: Vec<&str> = text.split_whitespace().collect();
            words.join(" ")
        })
    }

    /// Looks at the line that has just been completed.
    fn end_line(&mut self) {
        let before = self.octets.strip_suffix(b"\r\n");
        let before = before.or_else(|| self.octets.strip_suffix(b"\n"));
        let empty = before.is_some_and(|before| before.is_empty() || before.ends_with(b"\n"));
        if empty {
            let length = before.map_or(0, <[u8]>::len);
            self.octets.truncate(length);
            self.state = HeaderState::Ended;
        }
    }
}

/// Whether a header section goes on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum HeaderState {
    /// Lines are still part of it.
    #[default]
    Open,
    /// The empty line, or the bound, was reached.
    Ended,
}

/// How much of a header section is looked at.
pub const HEADER_OCTETS_MAX: usize = 256 * 1_024;

/// What follows the colon, where the line begins with that name.
fn field_value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    // RFC 5322, Section 4.5 once allowed spaces before the colon.
    rest.trim_ascii_start().strip_prefix(b":")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tls_required_no_is_found_in_the_header_only() {
        check("TLS-Required: No\r\n\r\n", TlsDemand::TlsNotRequired);
        check("From: a\r\ntls-required:no\r\n", TlsDemand::TlsNotRequired);
        check("TLS-Required:\r\n no\r\n\r\n", TlsDemand::TlsNotRequired);
        check("TLS-Required: Yes\r\n\r\n", TlsDemand::None);
        check("TLS-Required: No, really\r\n\r\n", TlsDemand::None);
        check(
            "TLS-Required: No\r\nTLS-Required: Yes\r\n\r\n",
            TlsDemand::None,
        );
        check("X-TLS-Required: No\r\n\r\n", TlsDemand::None);
        check("Subject: a\r\n TLS-Required: No\r\n\r\n", TlsDemand::None);
        check("Subject: a\r\n\r\nTLS-Required: No\r\n", TlsDemand::None);
        check("\r\nTLS-Required: No\r\n", TlsDemand::None);
    }

    #[test]
    fn a_header_beyond_the_bound_is_cut_off() {
        let mut header = HeaderLines::default();
        for _ in 0..10_000 {
            header.read(&[b'x'; 100]);
        }
        assert!(header.is_complete());
        assert_eq!(header.octets().len(), HEADER_OCTETS_MAX);
    }

    #[test]
    fn the_empty_line_is_not_part_of_the_header() {
        let mut header = HeaderLines::default();
        header.read(b"A: b\r\n\r\nbody");
        assert_eq!(header.octets(), b"A: b\r\n");
    }

    proptest! {
        #[test]
        fn pieces_do_not_change_the_header(
            message in "[A:\r\n b]{0,60}",
            cut in 0_usize..60,
        ) {
            let (first, second) = message.as_bytes().split_at(cut.min(message.len()));
            let mut pieces = HeaderLines::default();
            pieces.read(first);
            pieces.read(second);
            let mut whole = HeaderLines::default();
            whole.read(message.as_bytes());
            prop_assert_eq!(pieces.octets(), whole.octets());
            prop_assert_eq!(pieces.count("A"), whole.count("A"));
        }
    }

    #[track_caller]
    fn check(message: &str, expected: TlsDemand) {
        let mut header = HeaderLines::default();
        header.read(message.as_bytes());
        assert_eq!(header.tls_demand(), expected, "{message:?}");
    }
}
