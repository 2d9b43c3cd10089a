//! Netstrings, in which Postfix's socketmap speaks: the number of octets, `:`, the octets, `,`.

use std::fmt;

/// What stands at the start of a buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Frame<'a> {
    /// A whole netstring, and what follows it.
    Whole {
        /// The octets in it.
        payload: &'a [u8],
        /// What follows.
        rest: &'a [u8],
    },
    /// The start of one, or nothing.
    Partial,
    /// No netstring, or one that is too long; where the next one begins is unknown.
    Broken(BrokenNetstring),
}

/// Why octets are no netstring that is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BrokenNetstring {
    /// It does not begin with a number in digits without leading zeros, and a colon.
    Length,
    /// It announces more than [`PAYLOAD_OCTETS_MAX`].
    TooLong,
    /// It does not end where it has to.
    End,
}

impl fmt::Display for BrokenNetstring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("the request does not begin with its length"),
            Self::TooLong => write!(f, "the request is longer than {PAYLOAD_OCTETS_MAX} octets"),
            Self::End => f.write_str("the request does not end where its length says"),
        }
    }
}

/// Looks at the start of a buffer.
#[must_use]
pub fn frame(buffer: &[u8]) -> Frame<'_> {
    let mut length = 0;
    let mut digits = 0;
    let mut octets = buffer.iter();
    loop {
        match octets.next() {
            None => return Frame::Partial,
            Some(b':') if digits > 0 => break,
            // "00" is none; "0" is the empty one.
            Some(digit @ b'0'..=b'9') if digits == 0 || length > 0 => {
                digits += 1;
                length = length * 10 + usize::from(digit - b'0');
                if length > PAYLOAD_OCTETS_MAX {
                    return Frame::Broken(BrokenNetstring::TooLong);
                }
            }
            Some(_) => return Frame::Broken(BrokenNetstring::Length),
        }
    }
    match octets.as_slice().split_at_checked(length) {
        Some((payload, [b',', rest @ ..])) => Frame::Whole { payload, rest },
        Some((_, [])) | None => Frame::Partial,
        Some((_, [_, ..])) => Frame::Broken(BrokenNetstring::End),
    }
}

/// Writes a netstring behind what is in a buffer.
pub(crate) fn append(buffer: &mut Vec<u8>, payload: &[u8]) {
    buffer.extend_from_slice(payload.len().to_string().as_bytes());
    buffer.push(b':');
    buffer.extend_from_slice(payload);
    buffer.push(b',');
}

/// The longest payload that is taken: Postfix asks with up to 10,000 octets behind the map's name.
pub const PAYLOAD_OCTETS_MAX: usize = 12_000;

/// The longest netstring that is taken, with its length in digits, its colon and its comma.
pub(crate) const FRAME_OCTETS_MAX: usize = PAYLOAD_OCTETS_MAX + 7;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    #[test]
    fn a_netstring_is_taken_apart() {
        whole("0:,", "", "");
        whole("3:abc,", "abc", "");
        whole("3:abc,4:next", "abc", "4:next");
        whole("5:a:b,c,rest", "a:b,c", "rest");
        whole("12:postfix a.de,", "postfix a.de", "");
    }

    #[test]
    fn what_has_not_come_is_waited_for() {
        for text in ["", "1", "12", "3:", "3:ab", "3:abc", "0:", "12000:abc"] {
            assert_eq!(frame(text.as_bytes()), Frame::Partial, "{text:?}");
        }
    }

    #[test]
    fn lies_about_the_length_are_noticed() {
        for (text, why) in [
            (":", BrokenNetstring::Length),
            ("-1:a,", BrokenNetstring::Length),
            (" 1:a,", BrokenNetstring::Length),
            ("1 :a,", BrokenNetstring::Length),
            ("00:,", BrokenNetstring::Length),
            ("03:abc,", BrokenNetstring::Length),
            ("abc", BrokenNetstring::Length),
            ("GET / HTTP/1.1\r\n", BrokenNetstring::Length),
            ("12001:", BrokenNetstring::TooLong),
            ("1048576:", BrokenNetstring::TooLong),
            ("99999999999999999999999999", BrokenNetstring::TooLong),
            ("2:abc,", BrokenNetstring::End),
            ("0:abc,", BrokenNetstring::End),
        ] {
            assert_eq!(frame(text.as_bytes()), Frame::Broken(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payload in vec(any::<u8>(), 0..2_000), rest in vec(any::<u8>(), 0..9)) {
            let mut buffer = Vec::new();
            append(&mut buffer, &payload);
            assert!(buffer.len() <= FRAME_OCTETS_MAX);
            for end in 0..buffer.len() {
                assert_eq!(frame(&buffer[..end]), Frame::Partial);
            }
            buffer.extend_from_slice(&rest);
            assert_eq!(frame(&buffer), Frame::Whole { payload: &payload, rest: &rest });
        }
    }

    #[track_caller]
    fn whole(text: &str, payload: &str, rest: &str) {
        let expected = Frame::Whole {
            payload: payload.as_bytes(),
            rest: rest.as_bytes(),
        };
        assert_eq!(frame(text.as_bytes()), expected, "{text:?}");
    }
}
