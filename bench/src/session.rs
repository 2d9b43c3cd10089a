//! The receiving side of SMTP without its sockets: octets in, replies and messages out.

use memchr::memchr;
use memchr::memmem;

/// Room for one read.
const READ: usize = 16 * 1024;

/// A session, or the part of it before or after STARTTLS.
pub(crate) struct Session {
    /// Whether STARTTLS is offered, and no mail taken without it.
    starttls: bool,
    /// What has come and waits for the rest of its line or message.
    waiting: Vec<u8>,
    /// How much of a message that is not complete was searched for its end.
    searched: Option<usize>,
    /// What to send.
    pub(crate) replies: Vec<u8>,
}

/// Who does what next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The client has more to say.
    Listen,
    /// Both go on over TLS.
    StartTls,
    /// The connection ends.
    Quit,
}

/// What ends a message.
const END_OF_DATA: &[u8] = b"\r\n.\r\n";

impl Session {
    /// A session in which the client speaks next.
    pub(crate) const fn new(starttls: bool) -> Self {
        Self {
            starttls,
            waiting: Vec::new(),
            searched: None,
            replies: Vec::new(),
        }
    }

    /// Where what comes next is to be put.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        if self.waiting.capacity() - self.waiting.len() < READ {
            self.waiting.reserve(READ);
        }
        &mut self.waiting
    }

    /// Handles all that has come, and hands each whole message over with its final dot.
    pub(crate) fn consume(&mut self, mut message: impl FnMut(&[u8])) -> Turn {
        let mut at = 0;
        let mut turn = Turn::Listen;
        while turn == Turn::Listen {
            let rest = &self.waiting[at..];
            if let Some(searched) = self.searched {
                let Some(length) = end_of_data(rest, searched) else {
                    self.searched = Some(rest.len().saturating_sub(END_OF_DATA.len() - 1));
                    break;
                };
                message(&rest[..length]);
                at += length;
                self.searched = None;
                self.replies.extend_from_slice(b"250 2.0.0 Ok\r\n");
            } else {
                let Some(length) = memchr(b'\n', rest) else {
                    break;
                };
                at += length + 1;
                let (reply, next) = self.answer(&rest[..length]);
                self.searched = reply.starts_with(b"354").then_some(0);
                self.replies.extend_from_slice(reply);
                turn = next;
            }
        }
        self.waiting.drain(..at);
        turn
    }

    /// The reply to one command.
    fn answer(&self, line: &[u8]) -> (&'static [u8], Turn) {
        let is = |verb: &[u8]| {
            line.get(..verb.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(verb))
        };
        let reply: &[u8] = if is(b"EHLO") && self.starttls {
            b"250-mx.bench.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n\
              250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250 STARTTLS\r\n"
        } else if is(b"EHLO") {
            b"250-mx.bench.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n\
              250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n"
        } else if is(b"STARTTLS") && self.starttls {
            return (b"220 2.0.0 Ready to start TLS\r\n", Turn::StartTls);
        } else if is(b"MAIL") && self.starttls {
            b"530 5.7.0 Must issue a STARTTLS command first\r\n"
        } else if is(b"DATA") {
            b"354 End data with <CR><LF>.<CR><LF>\r\n"
        } else if is(b"QUIT") {
            return (b"221 2.0.0 Bye\r\n", Turn::Quit);
        } else if [&b"HELO"[..], b"MAIL", b"RCPT", b"RSET", b"NOOP"]
            .into_iter()
            .any(is)
        {
            b"250 2.0.0 Ok\r\n"
        } else {
            b"502 5.5.2 Command not recognized\r\n"
        };
        (reply, Turn::Listen)
    }
}

/// The octets of a message with its final dot, once that is there; so many were searched before.
fn end_of_data(octets: &[u8], searched: usize) -> Option<usize> {
    if octets.starts_with(b".\r\n") {
        return Some(3);
    }
    let found = memmem::find(&octets[searched..], END_OF_DATA)?;
    Some(searched + found + END_OF_DATA.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that answer `pieces`, the messages in them, and whose turn it is at the end.
    fn told(starttls: bool, pieces: &[&[u8]]) -> (String, Vec<usize>, Turn) {
        let mut session = Session::new(starttls);
        let mut messages = Vec::new();
        let mut turn = Turn::Listen;
        for piece in pieces {
            session.space().extend_from_slice(piece);
            turn = session.consume(|message| messages.push(message.len()));
        }
        let replies = String::from_utf8(session.replies).unwrap();
        let last_lines = replies.lines().filter(|line| line.as_bytes()[3] == b' ');
        let codes: Vec<_> = last_lines.filter_map(|line| line.get(..3)).collect();
        (codes.join(" "), messages, turn)
    }

    const WHOLE: &[u8] =
        b"EHLO a\r\nmail from:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nA: b\r\n\r\nc\r\n.\r\n\
          MAIL FROM:<>\r\nRCPT TO:<e@f>\r\nDATA\r\n.\r\nWHAT\r\nQUIT\r\n";

    #[test]
    fn where_the_octets_are_cut_changes_nothing() {
        let expected = (
            String::from("250 250 250 354 250 250 250 354 250 502 221"),
            vec![14, 3],
            Turn::Quit,
        );
        assert_eq!(told(false, &[WHOLE]), expected);
        for at in 0..WHOLE.len() {
            assert_eq!(told(false, &[&WHOLE[..at], &WHOLE[at..]]), expected, "{at}");
        }
        let single: Vec<&[u8]> = WHOLE.chunks(1).collect();
        assert_eq!(told(false, &single), expected);
    }

    #[test]
    fn a_sink_with_tls_takes_no_mail_without() {
        let (codes, _, turn) = told(true, &[b"EHLO a\r\nMAIL FROM:<>\r\nSTARTTLS\r\nNOOP\r\n"]);
        assert_eq!((codes.as_str(), turn), ("250 530 220", Turn::StartTls));
    }
}
