//! The messages of a run: who sends them and who receives them make the same ones.
//!
//! No two messages of a run are equal. Header and body follow from the number of the message, so that
//! the sink can say of each whether the relay changed it.

use std::io::Write as _;

use memchr::memmem;

/// Octets of a line of a body, with its end.
const LINE: usize = 76;

/// Octets of text from which bodies are cut.
const POOL: usize = (1 << 20) / LINE * LINE;

/// Lines between the beginnings of one body and the next; prime to the number of lines there are.
const STRIDE: usize = 7919;

/// The line of the header that holds the message's number.
const ID: &[u8] = b"\r\nX-Bench-Id: ";

/// The line of the header that holds the octets of the body.
const LENGTH: &[u8] = b"\r\nX-Bench-Len: ";

/// What ends a message on the wire, after the end of its last line.
pub(crate) const FINAL_DOT: &[u8] = b".\r\n";

/// Makes messages and recognizes them.
pub(crate) struct Messages {
    pool: Vec<u8>,
    scratch: Vec<u8>,
}

/// What the sink thinks of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recognized {
    /// The message with this number, as it was sent.
    Intact(u64),
    /// It says that it is the message with this number, and is not as it was sent.
    Altered(u64),
    /// Not a message of this program.
    Foreign,
}

impl Messages {
    /// Text from a small generator: it does not compress to nothing, no line of it begins with a dot, and
    /// it is the same in every run.
    pub(crate) fn new() -> Self {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut pool = Vec::with_capacity(POOL);
        while pool.len() < POOL {
            for _ in 0..LINE - 2 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                pool.push(ALPHABET[(state >> 40) as usize % 64]);
            }
            pool.extend_from_slice(b"\r\n");
        }
        Self {
            pool,
            scratch: Vec::new(),
        }
    }

    /// Writes message `id` to `recipient`, with a body of `size` octets and the final dot.
    pub(crate) fn compose(&self, id: u64, size: usize, recipient: &[u8], wire: &mut Vec<u8>) {
        wire.clear();
        wire.extend_from_slice(b"To: <");
        wire.extend_from_slice(recipient);
        wire.extend_from_slice(b">\r\n");
        self.rest(id, size, wire);
    }

    /// Looks at a message as it came over the wire, with its final dot.
    pub(crate) fn recognize(&mut self, wire: &[u8]) -> Recognized {
        let head = memmem::find(wire, b"\r\n\r\n").map_or(wire, |end| &wire[..end + 2]);
        let Some(id) = number(head, ID) else {
            return Recognized::Foreign;
        };
        // A length that is out of bounds is not from here.
        let Some(size) = number(head, LENGTH).filter(|size| *size <= wire.len() as u64) else {
            return Recognized::Altered(id);
        };
        let mut expected = std::mem::take(&mut self.scratch);
        expected.clear();
        self.rest(id, size as usize, &mut expected);
        // What a relay adds, it adds on top.
        let intact = wire.ends_with(&expected);
        self.scratch = expected;
        match intact {
            true => Recognized::Intact(id),
            false => Recognized::Altered(id),
        }
    }

    /// All of a message but the line that names the recipient.
    fn rest(&self, id: u64, size: usize, wire: &mut Vec<u8>) {
        // Writing into memory does not fail.
        let _ = write!(
            wire,
            "From: Bench <sender@client.bench.test>\r\nSubject: bench {id}\r\n\
             Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <{id}@client.bench.test>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\
             X-Bench-Id: {id}\r\nX-Bench-Len: {size}\r\n\r\n"
        );
        let end = wire.len() + size;
        let mut at = (id as usize).wrapping_mul(STRIDE) % (POOL / LINE) * LINE;
        while wire.len() < end {
            let octets = (end - wire.len()).min(POOL - at);
            wire.extend_from_slice(&self.pool[at..at + octets]);
            at = 0;
        }
        end_last_line(wire);
        wire.extend_from_slice(FINAL_DOT);
    }
}

/// Makes the last two octets the end of a line, and the only one there.
fn end_last_line(wire: &mut [u8]) {
    if let [.., before, cr, lf] = wire {
        if *before == b'\r' {
            *before = b'x';
        }
        (*cr, *lf) = (b'\r', b'\n');
    }
}

/// The number after `name` in a header.
fn number(head: &[u8], name: &[u8]) -> Option<u64> {
    let value = &head[memmem::find(head, name)? + name.len()..];
    let digits = value
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    std::str::from_utf8(&value[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message `id`, after `change` has been made to it.
    fn recognized(id: u64, size: usize, change: impl FnOnce(&mut Vec<u8>)) -> Recognized {
        let mut messages = Messages::new();
        let mut wire = Vec::new();
        messages.compose(id, size, b"user@bench.test", &mut wire);
        change(&mut wire);
        messages.recognize(&wire)
    }

    #[test]
    fn what_is_sent_is_recognized_with_what_relays_add() {
        for size in [2, 75, 76, 77, 1024, 76_800, POOL + 5] {
            for id in [0, 1, 13_796, 999_999] {
                assert_eq!(
                    recognized(id, size, |_| ()),
                    Recognized::Intact(id),
                    "{size}"
                );
            }
        }
        let received = b"Received: from client\r\n\tby relay\r\n";
        let relayed = recognized(7, 1024, |wire| drop(wire.splice(..0, *received)));
        assert_eq!(relayed, Recognized::Intact(7));
    }

    #[test]
    fn each_octet_of_body_and_header_counts() {
        let flip = |from_end: usize| {
            move |wire: &mut Vec<u8>| {
                let at = wire.len() - from_end;
                wire[at] ^= 1;
            }
        };
        assert_eq!(recognized(7, 1024, flip(500)), Recognized::Altered(7));
        assert_eq!(recognized(7, 1024, flip(1100)), Recognized::Altered(7));
        let shorter = recognized(7, 1024, |wire| wire.truncate(wire.len() - 100));
        assert_eq!(shorter, Recognized::Altered(7));
        let endless = recognized(7, 1024, |wire| {
            let at = memmem::find(wire, b"1024").unwrap();
            wire.splice(at..at, *b"9999999");
        });
        assert_eq!(endless, Recognized::Altered(7));
    }

    #[test]
    fn other_mail_is_foreign() {
        let mut messages = Messages::new();
        assert_eq!(
            messages.recognize(b"Subject: hi\r\n\r\nhi\r\n.\r\n"),
            Recognized::Foreign
        );
        assert_eq!(messages.recognize(b".\r\n"), Recognized::Foreign);
    }

    #[test]
    fn no_body_holds_a_line_with_a_dot_in_front() {
        let messages = Messages::new();
        assert_eq!(memmem::find(&messages.pool, b"\n."), None);
    }
}
