//! The octets of a message on the wire: line ends, dots and their end, in both directions.
//!
//! A message that one server reads as one and the next as two is how forged mail is smuggled past
//! checks. It needs a server that takes something other than CR LF `.` CR LF for the end, or that
//! sends such a thing on. [`BodyReader`] refuses every CR and every LF that stands alone;
//! [`BodyWriter`] never writes one.

use std::fmt;

use memchr::memchr2;
use memchr::memchr2_iter;

/// How the end of a message is marked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// By a line with a single dot, as in `DATA`: RFC 5321, Section 4.5.2.
    Dot,
    /// By a number of octets, as in `BDAT`: RFC 3030.
    Counted,
}

/// Reads a message off the wire, piece by piece.
///
/// Invariant: keeps no octets of the message, only where in a line it stands.
#[derive(Debug)]
pub struct BodyReader {
    /// How the end is marked.
    framing: Framing,
    /// Where in a line the last octet stood.
    place: Place,
    /// The line that is being read, counted from 1.
    line: u64,
    /// How many octets this line has so far.
    line_octets: usize,
    /// How many octets a line may have, line end included.
    line_octets_max: usize,
    /// What is wrong with the message.
    fault: Option<BodyFault>,
    /// Whether an octet beyond ASCII was seen.
    octets: Octets,
}

impl BodyReader {
    /// A reader at the start of a message.
    #[must_use]
    pub fn new(framing: Framing, line_octets_max: usize) -> Self {
        Self {
            framing,
            place: Place::LineStart,
            line: 1,
            line_octets: 0,
            line_octets_max,
            fault: None,
            octets: Octets::Ascii,
        }
    }

    /// Reads a piece, and appends what the message holds of it to `out`, which grows by no more than
    /// the piece and one octet.
    ///
    /// Once the message has a fault, nothing more is appended. Says how many octets were read: all, or
    /// those up to the end of the message.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, BodyEnd) {
        let mut rest = input;
        while let Some((&octet, after)) = rest.split_first() {
            if self.place == Place::LineStart {
                let after = self.whole_lines(rest, out);
                if after.len() < rest.len() {
                    rest = after;
                    continue;
                }
            }
            if self.place == Place::InLine {
                let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                self.text(text, out);
                rest = after;
                if !text.is_empty() {
                    continue;
                }
            }
            match self.step(octet, out) {
                Step::Taken => rest = after,
                Step::Again => {}
                Step::End => return (input.len() - after.len(), BodyEnd::Reached),
                Step::EndBefore => return (input.len() - rest.len(), BodyEnd::Reached),
            }
        }
        (input.len(), BodyEnd::NotYet)
    }

    /// Says that a counted message is complete, as a CR at its very end stands alone.
    pub fn finish(&mut self) {
        if self.place == Place::AfterCr {
            self.alone(BodyFault::BareCr { line: self.line });
        }
    }

    /// What is wrong with the message so far.
    #[must_use]
    pub fn fault(&self) -> Option<BodyFault> {
        self.fault
    }

    /// What octets were seen so far.
    #[must_use]
    pub fn octets(&self) -> Octets {
        self.octets
    }

    /// Takes the lines at the start of `input` that are complete and have nothing to look at twice, all
    /// at once; gives what is behind them.
    fn whole_lines<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if self.fault.is_some() {
            return input;
        }
        let (mut whole, mut lines) = (0, 0);
        let mut line_ends = memchr2_iter(b'\r', b'\n', input);
        while let (Some(cr), Some(lf)) = (line_ends.next(), line_ends.next()) {
            let line = input.get(whole..=lf).unwrap_or_default();
            let plain = cr + 1 == lf
                && line.ends_with(b"\r\n")
                && line.len() <= self.line_octets_max
                && !(self.framing == Framing::Dot && line.starts_with(b"."));
            if !plain {
                break;
            }
            whole = lf + 1;
            lines += 1;
        }
        let (text, rest) = input.split_at_checked(whole).unwrap_or((&[], input));
        if !text.is_ascii() {
            self.octets = Octets::EightBit;
        }
        self.line += lines;
        out.extend_from_slice(text);
        rest
    }

    /// Takes octets that are neither CR nor LF, inside of a line.
    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.count(text.len());
        if !text.is_ascii() {
            self.octets = Octets::EightBit;
        }
        if self.fault.is_none() {
            out.extend_from_slice(text);
        }
    }

    /// Takes one octet, where lines and dots matter.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) -> Step {
        match (self.place, octet) {
            (Place::LineStart, b'.') if self.framing == Framing::Dot => {
                self.count(1);
                self.place = Place::AfterDot;
                Step::Taken
            }
            (Place::LineStart | Place::InLine, b'\r') => {
                self.count(1);
                self.place = Place::AfterCr;
                Step::Taken
            }
            (Place::LineStart | Place::InLine, b'\n') => {
                self.alone(BodyFault::BareLf { line: self.line });
                Step::Taken
            }
            (Place::AfterCr, b'\n') => {
                self.count(1);
                if self.fault.is_none() {
                    out.extend_from_slice(b"\r\n");
                }
                self.next_line();
                Step::Taken
            }
            (Place::AfterCr, _) => {
                self.alone(BodyFault::BareCr { line: self.line });
                Step::Again
            }
            (Place::AfterDot, b'\r') => {
                self.place = Place::AfterDotCr;
                Step::Taken
            }
            (Place::AfterDot, b'\n') => {
                self.alone(BodyFault::BareLf { line: self.line });
                Step::End
            }
            (Place::AfterDotCr, b'\n') => Step::End,
            (Place::AfterDotCr, _) => {
                self.alone(BodyFault::BareCr { line: self.line });
                Step::EndBefore
            }
            (Place::LineStart | Place::AfterDot | Place::InLine, _) => {
                self.place = Place::InLine;
                Step::Again
            }
        }
    }

    /// Notes a line end that is none.
    ///
    /// It counts as a line end all the same, so that whatever a client may take for the end of the
    /// message is taken for the end of this refused one.
    fn alone(&mut self, fault: BodyFault) {
        if !self.fault.is_some_and(BodyFault::is_line_end) {
            self.fault = Some(fault);
        }
        self.next_line();
    }

    /// Goes to the start of the next line.
    fn next_line(&mut self) {
        self.place = Place::LineStart;
        self.line += 1;
        self.line_octets = 0;
    }

    /// Counts octets of a line.
    fn count(&mut self, octets: usize) {
        self.line_octets = self.line_octets.saturating_add(octets);
        if self.line_octets > self.line_octets_max && self.fault.is_none() {
            self.fault = Some(BodyFault::LineTooLong { line: self.line });
        }
    }
}

/// Whether the end of a message was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyEnd {
    /// More is to come.
    NotYet,
    /// This was the end.
    Reached,
}

/// What octets a message holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Octets {
    /// None beyond ASCII.
    Ascii,
    /// At least one beyond ASCII.
    EightBit,
}

/// What is wrong with a message on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BodyFault {
    /// A CR without an LF behind it.
    BareCr {
        /// The line of the message, counted from 1.
        line: u64,
    },
    /// An LF without a CR before it.
    BareLf {
        /// The line of the message, counted from 1.
        line: u64,
    },
    /// A line beyond the bound.
    LineTooLong {
        /// The line of the message, counted from 1.
        line: u64,
    },
}

impl BodyFault {
    /// Whether it is about what ends a line, so that the two sides may not agree on where the message
    /// ended.
    #[must_use]
    pub fn is_line_end(self) -> bool {
        match self {
            Self::BareCr { .. } | Self::BareLf { .. } => true,
            Self::LineTooLong { .. } => false,
        }
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareCr { line } => write!(f, "line {line} of the message has a bare CR"),
            Self::BareLf { line } => write!(f, "line {line} of the message ends with a bare LF"),
            Self::LineTooLong { line } => write!(f, "line {line} of the message is too long"),
        }
    }
}

/// Writes a message for the wire, piece by piece.
///
/// Whatever stood for a line end, CR LF is written; the last line is ended.
#[derive(Debug)]
pub struct BodyWriter {
    /// How the end is marked.
    framing: Framing,
    /// Where in a line the last octet stood.
    place: WriterPlace,
}

impl BodyWriter {
    /// A writer at the start of a message.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            place: WriterPlace::LineStart,
        }
    }

    /// Appends a piece to `out`, which grows by no more than twice the piece.
    pub fn write(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len());
        let mut rest = match (self.place, input) {
            (WriterPlace::AfterCr, [b'\n', after @ ..]) => {
                self.place = WriterPlace::LineStart;
                after
            }
            (WriterPlace::AfterCr | WriterPlace::LineStart | WriterPlace::InLine, _) => input,
        };
        while !rest.is_empty() {
            let at_start = self.place != WriterPlace::InLine;
            if at_start && self.framing == Framing::Dot && rest.starts_with(b".") {
                out.push(b'.');
            }
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (text, after) = rest.split_at(end);
            out.extend_from_slice(text);
            (self.place, rest) = match after {
                [] => (WriterPlace::InLine, after),
                [b'\r', b'\n', after @ ..] => (WriterPlace::LineStart, after),
                [b'\r', after @ ..] => (WriterPlace::AfterCr, after),
                [_, after @ ..] => (WriterPlace::LineStart, after),
            };
            if self.place != WriterPlace::InLine {
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Ends the last line, and the message where a dot does that.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.place == WriterPlace::InLine {
            out.extend_from_slice(b"\r\n");
        }
        if self.framing == Framing::Dot {
            out.extend_from_slice(b".\r\n");
        }
    }
}

/// Where in a line a reader stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Before the first octet of a line.
    LineStart,
    /// After a dot that is the first octet of a line.
    AfterDot,
    /// After such a dot and CR.
    AfterDotCr,
    /// After any other octet.
    InLine,
    /// After a CR.
    AfterCr,
}

/// What became of an octet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// It was taken.
    Taken,
    /// It must be looked at again, from another place.
    Again,
    /// It was the last one of the message.
    End,
    /// The message ended before it.
    EndBefore,
}

/// Where in a line a writer stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WriterPlace {
    /// Before the first octet of a line.
    LineStart,
    /// Behind the line end that was written for a CR; an LF belongs to it.
    AfterCr,
    /// Behind any other octet.
    InLine,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Enough for all that the tests call a line.
    const LINE: usize = 10_000;

    #[test]
    fn dots_are_taken_off_and_the_end_is_found() {
        check(b"a\r\n.\r\nQUIT\r\n", b"a\r\n", 6);
        check(b".\r\n", b"", 3);
        check(b"..\r\n.\r\n", b".\r\n", 7);
        check(b"..a\r\n...\r\n.\r\n", b".a\r\n..\r\n", 13);
        check(b".a\r\n.\r\n", b"a\r\n", 7);
        check(b"\r\n\r\n.\r\n", b"\r\n\r\n", 7);
    }

    #[test]
    fn every_false_end_is_refused_and_ends_the_refused_message() {
        let lf = |line| BodyFault::BareLf { line };
        let cr = |line| BodyFault::BareCr { line };
        refuse(b"a\n.\nMAIL", lf(1), 4);
        refuse(b"a\n.\r\nMAIL", lf(1), 5);
        refuse(b"a\r\n.\nMAIL", lf(2), 5);
        refuse(b"a\r.\rMAIL", cr(1), 4);
        refuse(b"a\r.\r\nMAIL", cr(1), 5);
        refuse(b"a\r\n.\rMAIL", cr(2), 5);
        refuse(b"a\r\r\n.\r\nMAIL", cr(1), 7);
        refuse(b"a\n\r\n.\r\nMAIL", lf(1), 7);
        refuse(b"a\r\nb\nc\r\n.\r\n", lf(2), 11);
    }

    #[test]
    fn a_line_beyond_the_bound_is_refused_with_its_number() {
        let mut reader = BodyReader::new(Framing::Dot, 10);
        let mut out = Vec::new();
        let read = reader.read(b"12345678\r\n123456789\r\nx\r\n.\r\n", &mut out);
        assert_eq!(read, (27, BodyEnd::Reached));
        assert_eq!(reader.fault(), Some(BodyFault::LineTooLong { line: 2 }));
    }

    #[test]
    fn lines_are_counted_whether_they_come_whole_or_in_pieces() {
        for sizes in [&[1_000][..], &[1], &[3], &[7, 2]] {
            let (_, fault, _) = read(b"a\r\n..b\r\n\r\nc\r\nd\n.\r\n", sizes, Framing::Dot);
            assert_eq!(fault, Some(BodyFault::BareLf { line: 5 }), "{sizes:?}");
        }
    }

    #[test]
    fn counted_octets_may_be_dots_but_no_bare_line_ends() {
        let mut reader = BodyReader::new(Framing::Counted, LINE);
        let mut out = Vec::new();
        assert_eq!(
            reader.read(b".\r\n..\r\nx\r", &mut out),
            (9, BodyEnd::NotYet)
        );
        assert_eq!(out, b".\r\n..\r\nx");
        assert_eq!(reader.fault(), None);
        reader.finish();
        assert_eq!(reader.fault(), Some(BodyFault::BareCr { line: 3 }));
    }

    #[test]
    fn octets_beyond_ascii_are_noticed() {
        let mut reader = BodyReader::new(Framing::Dot, LINE);
        let mut out = Vec::new();
        reader.read(b"a\r\n", &mut out);
        assert_eq!(reader.octets(), Octets::Ascii);
        reader.read(b"\xc3\xa4", &mut out);
        assert_eq!(reader.octets(), Octets::EightBit);
    }

    #[test]
    fn every_line_end_is_written_as_cr_lf() {
        written(b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd\r\n.\r\n");
        written(b".\n..\n\r.", b"..\r\n...\r\n\r\n..\r\n.\r\n");
        written(b"", b".\r\n");
        written(b"a\r", b"a\r\n.\r\n");
        written(b"\r\r\n\n", b"\r\n\r\n\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_under_any_pieces(
            lines in proptest::collection::vec("[.a-zäö]{0,8}", 0..12),
            sizes in proptest::collection::vec(1_usize..9, 1..9),
            framing in prop_oneof![Just(Framing::Dot), Just(Framing::Counted)],
        ) {
            let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let wire = write(message.as_bytes(), &sizes, framing);
            let (out, fault, consumed) = read(&wire, &sizes, framing);
            prop_assert_eq!(fault, None);
            prop_assert_eq!(consumed, wire.len());
            prop_assert_eq!(out, message.as_bytes());
        }

        #[test]
        fn whatever_is_written_has_one_end_and_no_bare_line_end(
            octets in proptest::collection::vec(octet(), 0..60),
            sizes in proptest::collection::vec(1_usize..9, 1..9),
        ) {
            let wire = write(&octets, &sizes, Framing::Dot);
            prop_assert_eq!(&wire, &write(&octets, &[1_000], Framing::Dot));
            let (_, fault, consumed) = read(&wire, &[1_000], Framing::Dot);
            prop_assert_eq!(fault, None);
            prop_assert_eq!(consumed, wire.len());
            prop_assert!(wire.len() <= 2 * octets.len() + 5);
        }

        #[test]
        fn pieces_do_not_change_what_is_read(
            octets in proptest::collection::vec(octet(), 0..60),
            sizes in proptest::collection::vec(1_usize..9, 1..9),
            framing in prop_oneof![Just(Framing::Dot), Just(Framing::Counted)],
        ) {
            let (out, fault, consumed) = read(&octets, &sizes, framing);
            let (whole, whole_fault, whole_consumed) = read(&octets, &[1_000], framing);
            prop_assert_eq!(fault, whole_fault);
            prop_assert_eq!(consumed, whole_consumed);
            if fault.is_none() {
                prop_assert_eq!(out, whole);
            }
        }
    }

    /// The octets that matter, and one that does not.
    fn octet() -> impl Strategy<Value = u8> {
        prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')]
    }

    /// Writes a message in pieces of the given lengths, over and over.
    fn write(message: &[u8], sizes: &[usize], framing: Framing) -> Vec<u8> {
        let mut writer = BodyWriter::new(framing);
        let mut out = Vec::new();
        for piece in pieces(message, sizes) {
            writer.write(piece, &mut out);
        }
        writer.finish(&mut out);
        out
    }

    /// Reads a message in pieces of the given lengths, over and over, up to its end.
    fn read(wire: &[u8], sizes: &[usize], framing: Framing) -> (Vec<u8>, Option<BodyFault>, usize) {
        let mut reader = BodyReader::new(framing, LINE);
        let mut out = Vec::new();
        let mut total = 0;
        for piece in pieces(wire, sizes) {
            let (consumed, end) = reader.read(piece, &mut out);
            total += consumed;
            if end == BodyEnd::Reached {
                break;
            }
        }
        (out, reader.fault(), total)
    }

    /// Cuts octets into pieces of the given lengths, over and over.
    fn pieces<'a>(octets: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let mut rest = octets;
        let mut pieces = Vec::new();
        for &size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    #[track_caller]
    fn check(wire: &[u8], message: &[u8], end: usize) {
        let (out, fault, consumed) = read(wire, &[1_000], Framing::Dot);
        assert_eq!((out.as_slice(), fault, consumed), (message, None, end));
    }

    #[track_caller]
    fn refuse(wire: &[u8], fault: BodyFault, end: usize) {
        let (_, found, consumed) = read(wire, &[1_000], Framing::Dot);
        assert_eq!(
            (found, consumed),
            (Some(fault), end),
            "{:?}",
            wire.escape_ascii()
        );
    }

    #[track_caller]
    fn written(message: &[u8], wire: &[u8]) {
        assert_eq!(write(message, &[1_000], Framing::Dot), wire);
    }
}
