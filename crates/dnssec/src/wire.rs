//! Reading a message from front to back: RFC 1035, Sections 3.1 and 4.1.4.

use bytes::Bytes;
use domain::base::Name;

use crate::name::NAME_OCTETS_MAX;

/// A place in a message, and where what is being read there must end.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    message: &'a Bytes,
    at: usize,
    end: usize,
    /// What to say where it ends before it should.
    too_short: &'static str,
}

/// Where reading stopped, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unreadable {
    /// Counted from the first octet of the message.
    pub(crate) offset: usize,
    /// What is wrong there.
    pub(crate) what: &'static str,
}

impl<'a> Cursor<'a> {
    /// The whole message.
    pub(crate) const fn new(message: &'a Bytes) -> Self {
        Self {
            message,
            at: 0,
            end: message.len(),
            too_short: MESSAGE_TOO_SHORT,
        }
    }

    /// The octets that are left.
    pub(crate) const fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Something wrong with what comes next.
    pub(crate) const fn fault(&self, what: &'static str) -> Unreadable {
        Unreadable {
            offset: self.at,
            what,
        }
    }

    /// The next octets as a stretch of their own: the data of a record.
    pub(crate) fn stretch(&mut self, count: usize) -> Result<Self, Unreadable> {
        if count > self.remaining() {
            return Err(self.fault(self.too_short));
        }
        let start = self.at;
        self.at += count;
        Ok(Self {
            message: self.message,
            at: start,
            end: self.at,
            too_short: DATA_TOO_SHORT,
        })
    }

    /// The next octets.
    pub(crate) fn octets(&mut self, count: usize) -> Result<Bytes, Unreadable> {
        let stretch = self.stretch(count)?;
        Ok(self.message.slice(stretch.at..stretch.end))
    }

    /// The next octet.
    pub(crate) fn octet(&mut self) -> Result<u8, Unreadable> {
        let found = self.message.get(self.at).filter(|_| self.at < self.end);
        let octet = *found.ok_or_else(|| self.fault(self.too_short))?;
        self.at += 1;
        Ok(octet)
    }

    /// The next 16 bits.
    pub(crate) fn short(&mut self) -> Result<u16, Unreadable> {
        if self.remaining() < 2 {
            return Err(self.fault(self.too_short));
        }
        Ok(u16::from_be_bytes([self.octet()?, self.octet()?]))
    }

    /// The next 32 bits.
    pub(crate) fn long(&mut self) -> Result<u32, Unreadable> {
        if self.remaining() < 4 {
            return Err(self.fault(self.too_short));
        }
        let (high, low) = (self.short()?, self.short()?);
        Ok(u32::from(high) << 16 | u32::from(low))
    }

    /// The next name, without compression.
    ///
    /// Each pointer leads to before everything of the name that was read so far, so that there are no
    /// loops; and behind the header, where names begin.
    pub(crate) fn name(&mut self) -> Result<Name<Bytes>, Unreadable> {
        let mut octets = [0; NAME_OCTETS_MAX];
        let mut length = 0;
        let mut labels = self.clone();
        let mut start = self.at;
        let mut compressed = false;
        loop {
            let place = labels.clone();
            let kind = labels.octet()?;
            if kind >= POINTER {
                let low = labels.octet()?;
                if !compressed {
                    self.at = labels.at;
                    compressed = true;
                }
                let target = usize::from(u16::from_be_bytes([kind & !POINTER, low]));
                if target < HEADER_OCTETS {
                    return Err(place.fault("a name points into the header"));
                }
                if target >= start {
                    return Err(place.fault("a name does not point back"));
                }
                start = target;
                labels = Self {
                    at: target,
                    ..Self::new(self.message)
                };
                continue;
            }
            if kind > LABEL_OCTETS_MAX {
                return Err(place.fault("a label of an unknown kind"));
            }
            let label = labels.octets(usize::from(kind))?;
            let after = length + 1 + label.len();
            let Some([first, rest @ ..]) = octets.get_mut(length..after) else {
                return Err(place.fault("a name is longer than 255 octets"));
            };
            *first = kind;
            rest.copy_from_slice(&label);
            length = after;
            if kind == 0 {
                break;
            }
        }
        if !compressed {
            self.at = labels.at;
        }
        let name = Bytes::copy_from_slice(octets.get(..length).unwrap_or_default());
        Name::from_octets(name).map_err(|_| self.fault("a name is broken"))
    }
}

/// Where the message ends in the middle of something.
const MESSAGE_TOO_SHORT: &str = "the message ends too early";

/// Where the data of a record does, by its length.
const DATA_TOO_SHORT: &str = "the record data ends too early";

/// RFC 1035, Section 4.1.1.
pub(crate) const HEADER_OCTETS: usize = 12;

/// RFC 1035, Section 2.3.4.
const LABEL_OCTETS_MAX: u8 = 63;

/// RFC 1035, Section 4.1.4: the two bits that begin a pointer.
const POINTER: u8 = 0xc0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_pointers() {
        check(b"\x01a\x02bc\x00", 0, Ok(("a.bc.", 6)));
        check(b"\x00", 0, Ok((".", 1)));
        check(b"\x01A\x00\x01b\xc0\x0c", 3, Ok(("b.A.", 7)));
        check(b"\x00\xc0\x0c", 1, Ok((".", 3)));
        check(b"\x01a\x00\xc0\x0c\xc0\x0f", 5, Ok(("a.", 7)));
    }

    #[test]
    fn a_broken_name_is_refused_with_the_place() {
        check(b"", 0, Err((0, "the message ends too early")));
        check(b"\x01", 0, Err((1, "the message ends too early")));
        check(b"\x01a", 0, Err((2, "the message ends too early")));
        check(b"\xc0", 0, Err((1, "the message ends too early")));
        check(b"\x01a\x40", 0, Err((2, "a label of an unknown kind")));
        check(b"\x80a\x00", 0, Err((0, "a label of an unknown kind")));
        check(b"\xc0\x0c", 0, Err((0, "a name does not point back")));
        check(b"\x01a\xc0\x0c", 0, Err((2, "a name does not point back")));
        check(b"\xc0\x0e\x00", 0, Err((0, "a name does not point back")));
        check(b"\xc0\x0b", 0, Err((0, "a name points into the header")));
        check(b"\xc0\x00", 0, Err((0, "a name points into the header")));
        // A ring of two: the first pointer is fine, the second comes back.
        let ring = b"\x01a\xc0\x10\x01b\xc0\x0c";
        check(ring, 4, Err((2, "a name does not point back")));
    }

    #[test]
    fn a_name_has_at_most_255_octets_plain_or_compressed() {
        let label = |octets: u8| {
            let mut label = vec![b'a'; usize::from(octets) + 1];
            label[0] = octets;
            label
        };
        let longest = [label(63), label(63), label(63), label(61), vec![0]].concat();
        assert_eq!(longest.len(), 255);
        read(&longest, 0).unwrap();
        let longer = [label(63), label(63), label(63), label(62), vec![0]].concat();
        check(&longer, 0, Err((255, "a name is longer than 255 octets")));
        let compressed = [&longest[..], &[0xc0, 12], &label(1), &[0xc0, 12]].concat();
        read(&compressed, 255).unwrap();
        check(
            &compressed,
            257,
            Err((192, "a name is longer than 255 octets")),
        );
    }

    /// Reads the name at a place in what stands behind a header.
    fn read(octets: &[u8], at: usize) -> Result<(String, usize), Unreadable> {
        let message = Bytes::from([&[0; HEADER_OCTETS], octets].concat());
        let mut cursor = Cursor::new(&message);
        cursor.octets(HEADER_OCTETS + at).unwrap();
        let name = cursor.name()?;
        Ok((name.fmt_with_dot().to_string(), cursor.at - HEADER_OCTETS))
    }

    #[track_caller]
    fn check(octets: &[u8], at: usize, expected: Result<(&str, usize), (usize, &str)>) {
        let found = read(octets, at).map_err(|why| (why.offset - HEADER_OCTETS, why.what));
        let expected = expected.map(|(name, at)| (name.to_owned(), at));
        assert_eq!(found, expected, "{octets:?}");
    }
}
