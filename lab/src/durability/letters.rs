//! The messages of a load: each follows from the seed and its number alone, so that nobody needs to keep it.

use fastrand::Rng;

use crate::inbox::ID_HEADER;
use crate::mail_host::Conduct;
use crate::mail_host::MailFault;
use crate::play::SENDER_DOMAIN;

/// How much mail is handed in, and of which kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoadPlan {
    /// The least number of messages that must be taken; there are more if the rest lasts longer.
    pub messages: usize,
    /// Connections that hand them in at the same time.
    pub connections: usize,
    /// What everything that looks like chance is drawn from.
    pub seed: u64,
}

/// All letters of one load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letters {
    /// What they are drawn from.
    pub(crate) seed: u64,
}

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Letter {
    /// Its number, which is its mark.
    pub(crate) number: u64,
    /// Where it goes: places in [`DESTINATIONS`], in their order, each once.
    pub(crate) destinations: Vec<usize>,
    /// The least number of octets of its body.
    octets: usize,
}

impl Letters {
    /// The letter with this number.
    pub(crate) fn letter(self, number: u64) -> Letter {
        let mut rng = Rng::with_seed(self.seed ^ number.wrapping_mul(NUMBER_SPREAD));
        let first = rng.usize(..DESTINATIONS.len());
        let mut destinations = vec![first];
        if rng.u8(..100) < SEVERAL_PERCENT {
            let step = rng.usize(1..DESTINATIONS.len());
            destinations.push((first + step) % DESTINATIONS.len());
            destinations.sort_unstable();
        }
        let octets = match rng.u8(..100) {
            0..75 => rng.usize(200..2_000),
            75..94 => rng.usize(2_000..20_000),
            // Past what fits into one record of any store.
            94..99 => rng.usize(60_000..150_000),
            _ => rng.usize(300_000..700_000),
        };
        Letter {
            number,
            destinations,
            octets,
        }
    }
}

impl Letter {
    /// Whom it comes from, without brackets.
    pub(crate) fn sender(&self) -> String {
        format!("m{}@{SENDER_DOMAIN}", self.number)
    }

    /// Whom it goes to, without brackets.
    pub(crate) fn recipients(&self) -> Vec<String> {
        let domains = self
            .destinations
            .iter()
            .filter_map(|at| DESTINATIONS.get(*at));
        domains
            .map(|destination| format!("m{}@{}", self.number, destination.domain))
            .collect()
    }

    /// Header and body with the end of the data, transparency done: no line of it begins with a dot.
    pub(crate) fn data(&self) -> String {
        let Self { number, .. } = self;
        format!(
            "From: <{}>\r\nSubject: {number}\r\nMessage-ID: <{number}@lab.invalid>\r\n\
             Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n{ID_HEADER}: {number}\r\n\r\n{}.\r\n",
            self.sender(),
            self.body()
        )
    }

    /// The body: each line tells its letter and its place, so that nothing can be exchanged unnoticed.
    pub(crate) fn body(&self) -> String {
        let mut body = String::with_capacity(self.octets + 100);
        let mut line = 0;
        while body.len() < self.octets {
            line += 1;
            let mark = format!("letter {} line {line} ", self.number);
            body.push_str(&mark);
            body.push_str("so that every octet of it is known to whoever counts letters.\r\n");
        }
        body.push_str("the end\r\n");
        body
    }
}

/// A domain that letters go to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    /// Its name.
    pub(crate) domain: &'static str,
    /// What its host does.
    pub(crate) manner: Manner,
}

/// What the host of a destination does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// Takes mail in clear text.
    Clear,
    /// Takes mail over TLS, authenticated by DANE.
    Dane,
    /// Takes a recipient only when it is asked a second time.
    Greylists,
    /// Knows no recipient.
    Refuses,
}

impl Manner {
    /// How a host in clear text behaves so; `None` for one with TLS.
    pub(crate) fn in_clear(self) -> Option<Conduct> {
        match self {
            Self::Clear => Some(Conduct::clear()),
            Self::Dane => None,
            Self::Greylists => Some(Conduct::clear().with_fault(MailFault::Greylist)),
            Self::Refuses => {
                let fault = MailFault::ReplyToRecipient("550 5.1.1 nobody here");
                Some(Conduct::clear().with_fault(fault))
            }
        }
    }
}

/// Where letters go.
pub(crate) const DESTINATIONS: [Destination; 6] = [
    Destination {
        domain: "sink-a.test",
        manner: Manner::Clear,
    },
    Destination {
        domain: "sink-b.test",
        manner: Manner::Clear,
    },
    Destination {
        domain: "sink-c.test",
        manner: Manner::Clear,
    },
    Destination {
        domain: "sink-dane.test",
        manner: Manner::Dane,
    },
    Destination {
        domain: "sink-grey.test",
        manner: Manner::Greylists,
    },
    Destination {
        domain: "sink-refuses.test",
        manner: Manner::Refuses,
    },
];

/// Letters of a hundred that go to two destinations.
const SEVERAL_PERCENT: u8 = 20;

/// Sets the draws of neighbouring numbers apart.
const NUMBER_SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_follow_from_the_seed_and_reach_every_destination_and_size() {
        let letters = Letters { seed: 7 };
        let mut reached = [0; DESTINATIONS.len()];
        let mut sizes = [0; 2];
        for number in 0..500 {
            let letter = letters.letter(number);
            assert_eq!(letter, letters.letter(number));
            assert!(letter.destinations.is_sorted_by(|a, b| a < b), "{letter:?}");
            letter.destinations.iter().for_each(|at| reached[*at] += 1);
            sizes[usize::from(letter.octets > 64 * 1024)] += 1;
        }
        assert!(reached.iter().all(|count| *count > 20), "{reached:?}");
        assert!(sizes.iter().all(|count| *count > 5), "{sizes:?}");
    }

    #[test]
    fn no_line_of_the_data_but_the_last_begins_with_a_dot() {
        let data = Letters { seed: 1 }.letter(3).data();
        let dots = data.lines().filter(|line| line.starts_with('.')).count();
        assert_eq!(dots, 1);
        assert!(data.ends_with("\r\n.\r\n"));
    }
}
