//! Answers as the octets that were sent, for the next who asks with the same octets.

use std::collections::HashMap;

use tokio::time::Instant;

/// What is sent, and what is counted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reply {
    /// What is sent.
    pub(crate) octets: Box<[u8]>,
    /// What is counted.
    pub(crate) result: AnswerResult,
}

/// What an answer says, for those who count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AnswerResult {
    /// Something is demanded.
    Found,
    /// Nothing is.
    NotFound,
    /// The mail waits.
    Temporary,
    /// The question was none.
    Permanent,
}

/// Replies by their requests, of which those that nobody asks for any more make room for others.
///
/// They are kept in two generations. When the younger one is full, the older one goes, and the younger
/// one takes its place; what is asked for again joins the younger one.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    young: Generation,
    old: Generation,
    /// Of which rules they are.
    edition: u64,
}

/// Replies that came at about the same time.
#[derive(Debug, Default)]
struct Generation {
    replies: HashMap<Box<[u8]>, Kept>,
    /// The octets of all of them, with their requests.
    octets: usize,
}

/// A reply, and how long it is good.
#[derive(Debug)]
struct Kept {
    reply: Reply,
    until: Instant,
}

impl Replies {
    /// Forgets everything that was said under other rules.
    pub(crate) fn go_by(&mut self, edition: u64) {
        if self.edition != edition {
            *self = Self {
                edition,
                ..Self::default()
            };
        }
    }

    /// The reply to a request, if it is still good.
    pub(crate) fn get(&mut self, request: &[u8], now: Instant) -> Option<&Reply> {
        if !self.young.replies.contains_key(request)
            && let Some((key, kept)) = self.old.replies.remove_entry(request)
        {
            self.old.octets -= size(&key, &kept.reply);
            self.keep(key, kept);
        }
        let kept = self.young.replies.get(request)?;
        (now < kept.until).then_some(&kept.reply)
    }

    /// Keeps a reply that was made under the rules of `edition`.
    pub(crate) fn put(&mut self, request: &[u8], reply: Reply, until: Instant, edition: u64) {
        if edition == self.edition {
            self.keep(request.into(), Kept { reply, until });
        }
    }

    /// Keeps a reply among the young.
    fn keep(&mut self, request: Box<[u8]>, kept: Kept) {
        let added = size(&request, &kept.reply);
        if self.young.replies.len() >= GENERATION_MAX
            || self.young.octets + added > GENERATION_OCTETS_MAX
        {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.octets += added;
        let replaced = self.young.replies.get(&request);
        self.young.octets -= replaced.map_or(0, |replaced| size(&request, &replaced.reply));
        self.young.replies.insert(request, kept);
    }
}

/// The octets that a reply takes.
fn size(request: &[u8], reply: &Reply) -> usize {
    request.len() + reply.octets.len()
}

/// How many replies a generation has: the destinations of a large provider's day.
const GENERATION_MAX: usize = 32_768;

/// How many octets they may take. Most have less than 100; an enforced policy may have 100,000.
const GENERATION_OCTETS_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reply_is_given_as_long_as_it_is_good() {
        let now = Instant::now();
        let mut replies = Replies::default();
        replies.put(b"a", reply("A"), now + Duration::from_secs(5), 0);
        assert_eq!(replies.get(b"a", now), Some(&reply("A")));
        assert_eq!(replies.get(b"b", now), None);
        assert_eq!(replies.get(b"a", now + Duration::from_secs(5)), None);
        replies.put(b"a", reply("B"), now + Duration::from_secs(9), 0);
        let later = now + Duration::from_secs(5);
        assert_eq!(replies.get(b"a", later), Some(&reply("B")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_under_other_rules_is_not_said_again() {
        let now = Instant::now();
        let until = now + Duration::from_secs(5);
        let mut replies = Replies::default();
        replies.put(b"a", reply("A"), until, 0);
        replies.go_by(1);
        assert_eq!(replies.get(b"a", now), None);
        // It was under way when the rules changed.
        replies.put(b"a", reply("A"), until, 0);
        assert_eq!(replies.get(b"a", now), None);
        replies.put(b"a", reply("B"), until, 1);
        replies.go_by(1);
        assert_eq!(replies.get(b"a", now), Some(&reply("B")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_stays_when_others_come() {
        let now = Instant::now();
        let until = now + Duration::from_secs(5);
        let mut replies = Replies::default();
        replies.put(b"wanted", reply("A"), until, 0);
        replies.put(b"unwanted", reply("A"), until, 0);
        for number in 0..3 * GENERATION_MAX {
            replies.put(number.to_string().as_bytes(), reply("B"), until, 0);
            assert!(replies.get(b"wanted", now).is_some(), "{number}");
        }
        assert_eq!(replies.get(b"unwanted", now), None);
        let kept = replies.young.replies.len() + replies.old.replies.len();
        assert!(kept <= 2 * GENERATION_MAX, "{kept}");
    }

    #[tokio::test(start_paused = true)]
    async fn long_replies_take_no_more_room_than_many() {
        let now = Instant::now();
        let until = now + Duration::from_secs(5);
        let mut replies = Replies::default();
        let long = reply(&"x".repeat(100_000));
        for number in 0..1_000 {
            let request = number.to_string();
            replies.put(request.as_bytes(), long.clone(), until, 0);
            replies.put(request.as_bytes(), long.clone(), until, 0);
            let generations = [&replies.young, &replies.old];
            for Generation { replies, octets } in generations {
                let sizes = replies.iter().map(|(key, kept)| size(key, &kept.reply));
                assert_eq!(sizes.sum::<usize>(), *octets);
                assert!(*octets <= GENERATION_OCTETS_MAX);
            }
        }
    }

    fn reply(text: &str) -> Reply {
        Reply {
            octets: text.as_bytes().into(),
            result: AnswerResult::Found,
        }
    }
}
