//! Replies: RFC 5321, Section 4.2, with the enhanced codes of RFC 3463.

use std::fmt;
use std::io::Write;

use byrnie_base::is_unprintable;
use serde::Deserialize;
use serde::Serialize;

/// A reply to a command.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reply {
    /// Three digits, 200 to 599.
    pub code: u16,
    /// `class.subject.detail`, where the server gave one.
    pub enhanced: Option<EnhancedStatus>,
    /// The lines of text, without codes and line ends; at least one, which may be empty.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line with an enhanced code.
    #[must_use]
    pub fn new(code: u16, enhanced: EnhancedStatus, text: impl Into<String>) -> Self {
        Self {
            code,
            enhanced: Some(enhanced),
            lines: vec![text.into()],
        }
    }

    /// A reply of one line where RFC 2034 allows no enhanced code: greetings, `EHLO` and 354.
    #[must_use]
    pub fn plain(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            enhanced: None,
            lines: vec![text.into()],
        }
    }

    /// What the first digit says; anything that is no success and no failure is a violation.
    #[must_use]
    pub fn class(&self) -> ReplyClass {
        match self.code {
            200..=299 => ReplyClass::Success,
            300..=399 => ReplyClass::Intermediate,
            400..=499 => ReplyClass::TransientFailure,
            _ => ReplyClass::PermanentFailure,
        }
    }

    /// Whether the command succeeded.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.class() == ReplyClass::Success
    }

    /// Whether the server says that it is about to close the connection.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.code == SERVICE_CLOSING
    }

    /// The reply with no more text than is worth keeping: at most [`REPLY_KEPT_OCTETS_MAX`] octets in at
    /// most [`REPLY_KEPT_LINES_MAX`] lines. Where something was left out, an ellipsis says so.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        let mut left_out = self.lines.len() > REPLY_KEPT_LINES_MAX;
        self.lines.truncate(REPLY_KEPT_LINES_MAX);
        let mut room = REPLY_KEPT_OCTETS_MAX - ELLIPSIS.len_utf8();
        let cut = self.lines.iter_mut().position(|line| {
            let octets = line.len();
            line.truncate(boundary_before(line, room));
            room -= line.len();
            line.len() < octets
        });
        if let Some(last) = cut {
            self.lines.truncate(last + 1);
            left_out = true;
        }
        if left_out && let Some(last) = self.lines.last_mut() {
            last.push(ELLIPSIS);
        }
        self.lines.shrink_to_fit();
        self
    }

    /// The enhanced status, or the one that stands for the whole class.
    #[must_use]
    pub fn status(&self) -> EnhancedStatus {
        self.enhanced.unwrap_or_else(|| {
            let class = match self.class() {
                ReplyClass::Success | ReplyClass::Intermediate => 2,
                ReplyClass::TransientFailure => 4,
                ReplyClass::PermanentFailure => 5,
            };
            EnhancedStatus::new(class, 0, 0)
        })
    }

    /// Appends the reply as it stands on the wire.
    ///
    /// What would only steer a terminal becomes `?`, and text beyond the bound of a line goes on in a further line,
    /// so that no text can break the reply.
    pub fn render(&self, out: &mut Vec<u8>) {
        let empty = [String::new()];
        let lines = match self.lines.as_slice() {
            [] => &empty,
            lines => lines,
        };
        let mut pieces = lines.iter().flat_map(|line| wrap(line)).peekable();
        while let Some(piece) = pieces.next() {
            let separator = if pieces.peek().is_some() { '-' } else { ' ' };
            // Writing to a vector cannot fail.
            _ = write!(out, "{}{separator}", self.code);
            if let Some(status) = self.enhanced {
                _ = write!(out, "{status}");
                if !piece.is_empty() {
                    out.push(b' ');
                }
            }
            if piece.contains(is_unprintable) {
                _ = piece
                    .chars()
                    .try_for_each(|c| write!(out, "{}", visible(c)));
            } else {
                out.extend_from_slice(piece.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The lines of text, joined for people and logs.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }
}

impl fmt::Display for Reply {
    /// On one line: `550 5.1.1 no such user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.enhanced {
            write!(f, " {status}")?;
        }
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            f.write_str(" ")?;
            for c in line.chars() {
                fmt::Write::write_char(f, visible(c))?;
            }
        }
        Ok(())
    }
}

/// What the first digit of a reply says: RFC 5321, Section 4.2.1.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ReplyClass {
    /// `2yz`: done.
    Success,
    /// `3yz`: go on.
    Intermediate,
    /// `4yz`: try again later.
    TransientFailure,
    /// `5yz`: do not try again.
    PermanentFailure,
}

/// `class.subject.detail`: RFC 3463, Section 2.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct EnhancedStatus {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What the status is about, 0 to 999.
    pub subject: u16,
    /// The detail, 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// The status `class.subject.detail`.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }

    /// Splits a leading status off a line of text: `5.1.1 no` gives `5.1.1` and `no`.
    ///
    /// Gives nothing where the line begins with anything else, or where the class is not the one that
    /// the reply's code demands.
    #[must_use]
    pub fn split_from(line: &str, class: u8) -> Option<(Self, &str)> {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut numbers = first.split('.');
        let status = Self {
            class: number(numbers.next()?)?.try_into().ok()?,
            subject: number(numbers.next()?)?,
            detail: number(numbers.next()?)?,
        };
        (numbers.next().is_none() && status.class == class).then_some((status, rest))
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One to three digits without leading zeros, as RFC 3463 wants them.
fn number(digits: &str) -> Option<u16> {
    let plain = matches!(digits.len(), 1..=3)
        && digits.bytes().all(|octet| octet.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok()).flatten()
}

/// Cuts a line of text so that each piece fits into a reply line; an empty line is one piece.
fn wrap(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest.take()?;
        if line.len() <= REPLY_TEXT_OCTETS_MAX {
            return Some(line);
        }
        let end = boundary_before(line, REPLY_TEXT_OCTETS_MAX);
        let (piece, behind) = line.split_at_checked(end)?;
        rest = Some(behind);
        Some(piece)
    })
}

/// The last place up to `octets` where a text can be cut.
fn boundary_before(text: &str, octets: usize) -> usize {
    let mut ends = (0..=octets.min(text.len())).rev();
    ends.find(|&end| text.is_char_boundary(end))
        .unwrap_or_default()
}

/// Nothing that could end a line or hide in a terminal.
pub(crate) fn visible(c: char) -> char {
    if is_unprintable(c) { '?' } else { c }
}

/// How many octets of text are kept of a reply, over all its lines. What a host says about each of a
/// thousand recipients lies in memory, in the spool and in receipts; the longest that large providers
/// send, with an explanation and an address of further help, has some 700.
pub const REPLY_KEPT_OCTETS_MAX: usize = 1_024;

/// How many lines are kept of a reply.
pub const REPLY_KEPT_LINES_MAX: usize = 16;

/// Stands for what was left out.
const ELLIPSIS: char = '…';

/// What one line of text may hold so that the line with its codes stays within the 512 octets of
/// RFC 5321, Section 4.5.3.1.5.
const REPLY_TEXT_OCTETS_MAX: usize = 490;

/// The code by which a server announces that it closes: RFC 5321, Section 3.8.
const SERVICE_CLOSING: u16 = 421;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_carries_the_codes() {
        let reply = Reply {
            code: 550,
            enhanced: Some(EnhancedStatus::new(5, 1, 1)),
            lines: vec!["no such user".into(), String::new(), "sorry".into()],
        };
        check(
            &reply,
            "550-5.1.1 no such user\r\n550-5.1.1\r\n550 5.1.1 sorry\r\n",
        );
        assert_eq!(reply.to_string(), "550 5.1.1 no such user sorry");
    }

    #[test]
    fn a_short_reply_is_kept_as_it_is() {
        let lines = vec!["x".repeat(1_000), String::new(), "é".repeat(10)];
        let reply = reply_of(lines);
        assert_eq!(reply.clone().shortened(), reply);
    }

    #[test]
    fn a_long_reply_ends_where_enough_is_kept() {
        for (lines, kept) in [
            // One octet of room is left behind the first: not enough for the next character.
            (
                vec!["x".repeat(1_020), "é".repeat(10), "y".into()],
                vec!["x".repeat(1_020), "…".into()],
            ),
            (vec!["é".repeat(600)], vec![format!("{}…", "é".repeat(510))]),
            (
                vec!["a".to_owned(); 17],
                [vec!["a".to_owned(); 15], vec!["a…".to_owned()]].concat(),
            ),
        ] {
            assert_eq!(reply_of(lines).shortened(), reply_of(kept));
        }
    }

    #[test]
    fn no_text_can_break_a_reply() {
        check(&Reply::plain(250, "a\r\n250 b\0"), "250 a??250 b?\r\n");
        let long = Reply::plain(250, "ä".repeat(500));
        let mut out = Vec::new();
        long.render(&mut out);
        for line in out.split_inclusive(|&octet| octet == b'\n') {
            assert!(line.len() <= 512);
        }
        let nothing = Reply {
            code: 250,
            enhanced: None,
            lines: Vec::new(),
        };
        check(&nothing, "250 \r\n");
    }

    #[test]
    fn a_status_is_read_only_where_it_is_one() {
        let status = EnhancedStatus::new(5, 7, 30);
        assert_eq!(
            EnhancedStatus::split_from("5.7.30 no", 5),
            Some((status, "no"))
        );
        assert_eq!(EnhancedStatus::split_from("5.7.30", 5), Some((status, "")));
        for text in [
            "",
            "5",
            "5.7",
            "5.7.30.1 x",
            "5.7.030 x",
            "5.7.1000 x",
            "5..1",
            "+5.7.30",
            "2.7.30 x",
        ] {
            assert_eq!(EnhancedStatus::split_from(text, 5), None, "{text:?}");
        }
    }

    #[test]
    fn a_missing_status_is_that_of_the_class() {
        assert_eq!(Reply::plain(450, "").status(), EnhancedStatus::new(4, 0, 0));
        assert_eq!(Reply::plain(550, "").status(), EnhancedStatus::new(5, 0, 0));
        assert_eq!(Reply::plain(250, "").status(), EnhancedStatus::new(2, 0, 0));
    }

    #[track_caller]
    fn reply_of(lines: Vec<String>) -> Reply {
        Reply {
            code: 550,
            enhanced: None,
            lines,
        }
    }

    fn check(reply: &Reply, wire: &str) {
        let mut out = Vec::new();
        reply.render(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), wire);
    }
}
