//! Reading replies from a server that may mean harm.

use std::fmt;

use crate::EnhancedStatus;
use crate::Reply;
use crate::reply::visible;

/// Puts replies together from bytes as they arrive.
///
/// A line ends with LF, with or without CR before it: a reply is never passed on as a command, so that
/// being lenient here gives nobody a lever. Octets that are no UTF-8, and characters that only steer a
/// terminal, are replaced. After an error the connection is of no further use.
///
/// Invariant: holds at most [`REPLY_OCTETS_MAX`] octets in at most [`REPLY_LINES_MAX`] lines.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The line that is not complete yet.
    partial: Vec<u8>,
    /// What the complete lines of this reply hold.
    lines: Vec<String>,
    /// The code of the first line.
    code: Option<u16>,
    /// How many octets this reply has so far.
    octets: usize,
}

impl ReplyReader {
    /// Reads up to the end of one reply, and says how many octets that took.
    ///
    /// # Errors
    /// Says what is wrong in which line of the reply.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), ReplyError> {
        let mut consumed = 0;
        for piece in input.split_inclusive(|&octet| octet == b'\n') {
            consumed += piece.len();
            self.append(piece)?;
            if piece.ends_with(b"\n")
                && let Some(reply) = self.end_line()?
            {
                return Ok((consumed, Some(reply)));
            }
        }
        Ok((consumed, None))
    }

    /// Whether part of a reply has been read.
    #[must_use]
    pub fn is_mid_reply(&self) -> bool {
        self.octets > 0
    }

    /// Takes part of a line, within the bounds.
    fn append(&mut self, piece: &[u8]) -> Result<(), ReplyError> {
        let line_room = REPLY_LINE_OCTETS_MAX - self.partial.len();
        let reply_room = REPLY_OCTETS_MAX - self.octets;
        if piece.len() > line_room.min(reply_room) {
            return Err(self.error(if line_room < reply_room {
                InvalidReply::LineTooLong
            } else {
                InvalidReply::TooLong
            }));
        }
        self.octets += piece.len();
        self.partial.extend_from_slice(piece);
        Ok(())
    }

    /// Reads the line that has just been completed; gives the reply if it was the last one.
    fn end_line(&mut self) -> Result<Option<Reply>, ReplyError> {
        let line = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, last, text) = split_line(line).map_err(|why| self.error(why))?;
        if let Some(first) = self.code
            && first != code
        {
            return Err(self.error(InvalidReply::CodeChanged { first, now: code }));
        }
        if self.lines.len() >= REPLY_LINES_MAX {
            return Err(self.error(InvalidReply::TooManyLines));
        }
        self.code = Some(code);
        self.lines.push(text);
        self.partial.clear();
        if last == Position::Last {
            let lines = std::mem::take(self).lines;
            return Ok(Some(assemble(code, lines)));
        }
        Ok(None)
    }

    /// An error in the line that is being read.
    fn error(&self, why: InvalidReply) -> ReplyError {
        ReplyError {
            line: self.lines.len() + 1,
            why,
        }
    }
}

/// What is wrong with a reply, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplyError {
    /// The line of the reply, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: InvalidReply,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the reply: {}", self.line, self.why)
    }
}

impl std::error::Error for ReplyError {}

/// Why octets are not a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidReply {
    /// The code is followed by neither a space nor a hyphen.
    BadSeparator,
    /// Not the code of the first line.
    CodeChanged {
        /// The code of the first line.
        first: u16,
        /// The code of this line.
        now: u16,
    },
    /// The line has more than [`REPLY_LINE_OCTETS_MAX`] octets.
    LineTooLong,
    /// The line does not begin with a code from 200 to 599.
    NoCode,
    /// The reply has more than [`REPLY_OCTETS_MAX`] octets.
    TooLong,
    /// The reply has more than [`REPLY_LINES_MAX`] lines.
    TooManyLines,
}

impl fmt::Display for InvalidReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSeparator => f.write_str("neither a space nor a hyphen follows the code"),
            Self::CodeChanged { first, now } => {
                write!(f, "the code is {now}, but the first line has {first}")
            }
            Self::LineTooLong => write!(f, "longer than {REPLY_LINE_OCTETS_MAX} octets"),
            Self::NoCode => f.write_str("does not begin with a code from 200 to 599"),
            Self::TooLong => write!(f, "the reply is longer than {REPLY_OCTETS_MAX} octets"),
            Self::TooManyLines => write!(f, "the reply has more than {REPLY_LINES_MAX} lines"),
        }
    }
}

/// How long a line of a reply may be, line end included; RFC 5321, Section 4.5.3.1.5 says 512, and
/// some servers go beyond it.
pub const REPLY_LINE_OCTETS_MAX: usize = 2_048;

/// How many lines a reply may have.
pub const REPLY_LINES_MAX: usize = 128;

/// How many octets a reply may have, codes and line ends included.
pub const REPLY_OCTETS_MAX: usize = 16 * 1_024;

/// Whether more lines follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Position {
    /// The code is followed by a hyphen.
    Inner,
    /// The code is followed by a space or by nothing.
    Last,
}

/// Splits a line without its end into code, position and text.
fn split_line(line: &[u8]) -> Result<(u16, Position, String), InvalidReply> {
    let (digits, rest) = line.split_at_checked(3).ok_or(InvalidReply::NoCode)?;
    let well_formed =
        digits.iter().all(u8::is_ascii_digit) && matches!(digits.first(), Some(b'2'..=b'5'));
    if !well_formed {
        return Err(InvalidReply::NoCode);
    }
    let code = digits
        .iter()
        .fold(0, |code, &digit| code * 10 + u16::from(digit - b'0'));
    let (position, text) = match rest.split_first() {
        None => (Position::Last, rest),
        Some((b' ', text)) => (Position::Last, text),
        Some((b'-', text)) => (Position::Inner, text),
        Some(_) => return Err(InvalidReply::BadSeparator),
    };
    let text = String::from_utf8_lossy(text);
    Ok((code, position, text.chars().map(readable).collect()))
}

/// A character that takes no more room than the octets it stands for.
fn readable(c: char) -> char {
    match c {
        char::REPLACEMENT_CHARACTER => '?',
        c => visible(c),
    }
}

/// Takes the enhanced status off the lines, where the first has one.
fn assemble(code: u16, lines: Vec<String>) -> Reply {
    let class = u8::try_from(code / 100).unwrap_or_default();
    let enhanced = lines
        .first()
        .and_then(|line| EnhancedStatus::split_from(line, class))
        .map(|(status, _)| status);
    let lines = lines
        .into_iter()
        .map(|line| match EnhancedStatus::split_from(&line, class) {
            Some((status, rest)) if Some(status) == enhanced => rest.to_owned(),
            Some(_) | None => line,
        })
        .collect();
    Reply {
        code,
        enhanced,
        lines,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replies_of_one_and_of_many_lines_are_read() {
        check(b"250 ok\r\n", &Reply::plain(250, "ok"));
        check(b"250\r\n", &Reply::plain(250, ""));
        check(b"250 ok\n", &Reply::plain(250, "ok"));
        let status = EnhancedStatus::new(5, 1, 1);
        check(b"550 5.1.1 no\r\n", &Reply::new(550, status, "no"));
        let expected = Reply {
            code: 550,
            enhanced: Some(status),
            lines: vec!["no".into(), "such".into(), "user".into()],
        };
        check(b"550-5.1.1 no\r\n550-such\r\n550 5.1.1 user\r\n", &expected);
        check(b"250 \xff\x1b[1m\r\n", &Reply::plain(250, "??[1m"));
        check(b"550 2.1.1 odd\r\n", &Reply::plain(550, "2.1.1 odd"));
    }

    #[test]
    fn what_is_no_reply_is_refused_with_the_place() {
        refuse(b"hello\r\n", 1, InvalidReply::NoCode);
        refuse(b"\r\n", 1, InvalidReply::NoCode);
        refuse(b"150 x\r\n", 1, InvalidReply::NoCode);
        refuse(b"600 x\r\n", 1, InvalidReply::NoCode);
        refuse(b"250_x\r\n", 1, InvalidReply::BadSeparator);
        refuse(b"250-a\r\n25 b\r\n", 2, InvalidReply::NoCode);
        let changed = InvalidReply::CodeChanged {
            first: 250,
            now: 220,
        };
        refuse(b"250-a\r\n220 b\r\n", 2, changed);
    }

    #[test]
    fn endless_replies_are_cut_off() {
        refuse(&[b'2'; 5_000], 1, InvalidReply::LineTooLong);
        refuse(&b"250-\r\n".repeat(10_000), 129, InvalidReply::TooManyLines);
        let line = [b"250-".as_slice(), &[b'x'; 1_018], b"\r\n"].concat();
        refuse(&line.repeat(100), 17, InvalidReply::TooLong);
    }

    #[test]
    fn a_reader_stops_at_the_end_of_one_reply() {
        let mut reader = ReplyReader::default();
        let (consumed, reply) = reader.read(b"250 a\r\n550 b\r\n").unwrap();
        assert_eq!((consumed, reply), (7, Some(Reply::plain(250, "a"))));
        assert!(!reader.is_mid_reply());
    }

    proptest! {
        #[test]
        fn reading_what_was_rendered_gives_the_reply(
            code in 200_u16..=599,
            status in proptest::option::of((0_u16..=999, 0_u16..=999)),
            lines in proptest::collection::vec("[a-zA-Z0-9äöü<>@: -]{0,60}", 1..20),
        ) {
            let class = u8::try_from(code / 100).unwrap();
            let enhanced = status.map(|(subject, detail)| EnhancedStatus::new(class, subject, detail));
            let reply = Reply { code, enhanced, lines };
            let mut wire = Vec::new();
            reply.render(&mut wire);
            let (consumed, read) = ReplyReader::default().read(&wire).unwrap();
            prop_assert_eq!(consumed, wire.len());
            prop_assert_eq!(read, Some(reply));
        }

        #[test]
        fn any_octets_in_any_pieces_give_the_same_answer(
            octets in octets(),
            pieces in proptest::collection::vec(1_usize..700, 1..50),
        ) {
            let whole = read_all(&octets, &[octets.len().max(1)]);
            prop_assert_eq!(read_all(&octets, &pieces), whole);
        }
    }

    /// Octets that often look like replies.
    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"250-".to_vec()),
            Just(b"250 2.0.0 ".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..900),
            Just(vec![b'x'; 1_000]),
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    /// Reads in pieces of the given lengths, over and over.
    fn read_all(octets: &[u8], pieces: &[usize]) -> (Vec<Reply>, Option<ReplyError>) {
        let mut reader = ReplyReader::default();
        let mut replies = Vec::new();
        let mut rest = octets;
        for &length in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (mut piece, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            while !piece.is_empty() {
                match reader.read(piece) {
                    Ok((consumed, reply)) => {
                        if let Some(reply) = reply {
                            let text: usize = reply.lines.iter().map(String::len).sum();
                            assert!(text <= REPLY_OCTETS_MAX);
                            replies.push(reply);
                        }
                        piece = &piece[consumed..];
                    }
                    Err(error) => return (replies, Some(error)),
                }
                assert!(reader.partial.len() <= REPLY_LINE_OCTETS_MAX);
            }
        }
        (replies, None)
    }

    #[track_caller]
    fn check(wire: &[u8], expected: &Reply) {
        let (consumed, reply) = ReplyReader::default().read(wire).unwrap();
        assert_eq!(consumed, wire.len());
        assert_eq!(reply.as_ref(), Some(expected));
    }

    #[track_caller]
    fn refuse(wire: &[u8], line: usize, why: InvalidReply) {
        assert_eq!(
            ReplyReader::default().read(wire),
            Err(ReplyError { line, why })
        );
    }
}
