//! What arrived, counted life by life of the program, and what is to be said of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::letters::DESTINATIONS;
use super::letters::Letters;
use super::letters::Manner;
use crate::inbox::Received;
use crate::play::SENDER_DOMAIN;

/// Counts what arrives. A life is the time from a start of the program to its death.
#[derive(Debug)]
pub(crate) struct Tally {
    /// What was sent.
    letters: Letters,
    /// When each life so far ended.
    deaths: Vec<Instant>,
    /// When storage did not work.
    disturbances: Vec<(Instant, Instant)>,
    /// By letter and destination, in the order of arrival.
    copies: BTreeMap<(u64, usize), Vec<Copy>>,
    /// What arrived otherwise than it was sent.
    altered: Vec<String>,
}

/// A letter that arrived, or whose return arrived.
#[derive(Clone, Copy, Debug)]
struct Copy {
    /// The life in which it was sent.
    life: usize,
    /// When it arrived.
    at: Instant,
}

impl Tally {
    /// Nothing has arrived.
    pub(crate) fn new(letters: Letters) -> Self {
        Self {
            letters,
            deaths: Vec::new(),
            disturbances: Vec::new(),
            copies: BTreeMap::new(),
            altered: Vec::new(),
        }
    }

    /// Counts arrivals of the life that goes on.
    pub(crate) fn count(&mut self, arrived: Vec<Received>) {
        for received in arrived {
            let known = match received.id.as_deref() {
                Some(id) => self.delivered(id, &received),
                None => self.returned(&received),
            };
            if known.is_none() && self.altered.len() < NAMED_MAX {
                let (host, to) = (&received.host, &received.recipients);
                self.altered.push(format!(
                    "at {host} for {to:?}, marked {:?}, {} octets",
                    received.id,
                    received.message.len()
                ));
            }
        }
    }

    /// A life ended; everything of it has been counted.
    pub(crate) fn died(&mut self, at: Instant) {
        self.deaths.push(at);
    }

    /// The program could not note anything in this time.
    pub(crate) fn disturbed(&mut self, from: Instant, until: Instant) {
        self.disturbances.push((from, until));
    }

    /// Whether something has arrived for a letter's destination.
    pub(crate) fn has(&self, number: u64, destination: usize) -> bool {
        self.copies.contains_key(&(number, destination))
    }

    /// Whether something has arrived for everything that was taken.
    pub(crate) fn has_all(&self, taken: &BTreeMap<u64, Vec<usize>>) -> bool {
        let mut owed = taken
            .iter()
            .flat_map(|(number, to)| to.iter().map(|destination| (*number, *destination)));
        owed.all(|(number, destination)| self.has(number, destination))
    }

    /// Letters that came to an end at one destination, however often.
    pub(crate) fn len(&self) -> usize {
        self.copies.len()
    }

    /// Judges everything, given which letters were taken for which destinations.
    pub(crate) fn judge(&self, taken: &BTreeMap<u64, Vec<usize>>) -> Verdicts {
        let mut verdicts = Verdicts {
            taken: taken.len(),
            altered: self.altered.clone(),
            ..Verdicts::default()
        };
        for (number, destinations) in taken {
            for destination in destinations {
                verdicts.owed += 1;
                if !self.has(*number, *destination) {
                    verdicts.lost.push(place(*number, *destination));
                }
            }
        }
        for ((number, destination), copies) in &self.copies {
            let was_taken = taken.get(number).is_some_and(|to| to.contains(destination));
            match was_taken {
                true => count_up(&mut verdicts.copies, copies.len()),
                false => verdicts.unacknowledged += 1,
            }
            if manner(*destination) == Some(Manner::Refuses) {
                verdicts.returned += 1;
            }
            let pairs = copies.windows(2);
            let unexcused =
                pairs.filter(|pair| !matches!(pair, [one, two] if self.excuses(*one, *two)));
            if unexcused.count() > 0 {
                verdicts.repeated.push(place(*number, *destination));
            }
        }
        verdicts
    }

    /// Whether there is an excuse for a second copy. A death is one: it came in a later life, and the first was so short
    /// before the end of its own that the program need not have noted it. So is storage that did not work then.
    fn excuses(&self, one: Copy, two: Copy) -> bool {
        let death = self.deaths.get(one.life);
        let died = one.life < two.life && death.is_some_and(|death| *death < one.at + FLIGHT_MAX);
        let disturbed = |(from, until): &(Instant, Instant)| {
            *from < one.at + FLIGHT_MAX && one.at < *until + FLIGHT_MAX
        };
        died || self.disturbances.iter().any(disturbed)
    }

    /// Counts a delivery; `None` if it is not what was sent.
    fn delivered(&mut self, id: &str, received: &Received) -> Option<()> {
        let letter = self.letters.letter(id.parse().ok()?);
        let sender = format!("<{}>", letter.sender());
        let whole = received.message.ends_with(letter.body().as_bytes());
        if !whole || !received.reverse_path.starts_with(&sender) {
            return None;
        }
        for recipient in &received.recipients {
            let mailbox = recipient.split(['<', '>']).nth(1)?;
            self.copy(letter.number, mailbox, received.at)?;
        }
        Some(())
    }

    /// Counts a return: the recipients that the report names; `None` if it is none.
    fn returned(&mut self, received: &Received) -> Option<()> {
        let recipient = received.recipients.first()?;
        let local = recipient.strip_prefix("<m")?.split_once('@')?;
        if !received.reverse_path.starts_with("<>") || !local.1.starts_with(SENDER_DOMAIN) {
            return None;
        }
        let number = local.0.parse().ok()?;
        let text = String::from_utf8_lossy(&received.message);
        let mut named = 0;
        for line in text.lines() {
            if let Some(mailbox) = line.strip_prefix("Final-Recipient: rfc822;") {
                self.copy(number, mailbox.trim(), received.at)?;
                named += 1;
            }
        }
        (named > 0).then_some(())
    }

    /// Notes that a letter came to its end for a mailbox; `None` if it never was for it.
    fn copy(&mut self, number: u64, mailbox: &str, at: Instant) -> Option<()> {
        let (local, domain) = mailbox.split_once('@')?;
        let destination = DESTINATIONS.iter().position(|it| it.domain == domain)?;
        let letter = self.letters.letter(number);
        if local != format!("m{number}") || !letter.destinations.contains(&destination) {
            return None;
        }
        let copy = Copy {
            life: self.deaths.len(),
            at,
        };
        let copies = self.copies.entry((number, destination)).or_default();
        copies.push(copy);
        Some(())
    }
}

/// What is to be said of a load.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdicts {
    /// Letters that the program took: it answered 250 to the end of their data.
    pub taken: usize,
    /// Their recipients: how often something must arrive.
    pub owed: usize,
    /// How many of these came to their end once, twice, three times and more often.
    pub copies: [usize; 4],
    /// Letters that were returned to their sender.
    pub returned: usize,
    /// Letters that arrived although no client knows that they were taken: the program died, or the session broke,
    /// between the two.
    pub unacknowledged: usize,
    /// Letters that were taken and never came to an end: must be empty.
    pub lost: Vec<String>,
    /// Letters that arrived again although no death of the program excuses it: must be empty.
    pub repeated: Vec<String>,
    /// What arrived otherwise than it was sent: must be empty.
    pub altered: Vec<String>,
    /// What the program logged of what is named here.
    pub log: Vec<String>,
}

impl Verdicts {
    /// Whether the rule was kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.lost.is_empty() && self.repeated.is_empty() && self.altered.is_empty()
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [once, twice, thrice, more] = self.copies;
        writeln!(f, "messages taken            {:8}", self.taken)?;
        writeln!(f, "  their recipients        {:8}", self.owed)?;
        writeln!(f, "  ended once              {once:8}")?;
        writeln!(f, "  ended twice             {twice:8}")?;
        writeln!(f, "  ended three times       {thrice:8}")?;
        writeln!(f, "  ended more often        {more:8}")?;
        writeln!(f, "  returned to the sender  {:8}", self.returned)?;
        writeln!(f, "arrived without a 250     {:8}", self.unacknowledged)?;
        writeln!(f, "lost                      {:8}", self.lost.len())?;
        writeln!(f, "repeated without excuse   {:8}", self.repeated.len())?;
        writeln!(f, "altered                   {:8}", self.altered.len())?;
        for (what, list) in [
            ("lost", &self.lost),
            ("repeated", &self.repeated),
            ("altered", &self.altered),
            ("log", &self.log),
        ] {
            for one in list {
                writeln!(f, "{what}: {one}")?;
            }
        }
        Ok(())
    }
}

/// One more that came to its end so often.
fn count_up(counts: &mut [usize; 4], copies: usize) {
    let place = copies.clamp(1, counts.len()) - 1;
    if let Some(count) = counts.get_mut(place) {
        *count += 1;
    }
}

/// What the host of a destination does.
fn manner(destination: usize) -> Option<Manner> {
    DESTINATIONS.get(destination).map(|it| it.manner)
}

/// A letter at one destination, for people.
fn place(number: u64, destination: usize) -> String {
    let domain = DESTINATIONS
        .get(destination)
        .map_or("nowhere", |it| it.domain);
    format!("m{number}@{domain}")
}

/// How long the program may take to note that a host has a letter: with what is younger when it dies, it may begin
/// again.
pub(crate) const FLIGHT_MAX: Duration = Duration::from_secs(2);

/// Letters that are named in a report.
const NAMED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_must_arrive_and_only_a_death_excuses_a_second_copy() {
        // Numbers of letters in the order of arrival; `|` is a death, `~` a time in which anybody would have noted what
        // had arrived.
        check("1 2 3", "1 2 3", [3, 0, 0, 0], 0, 0).await;
        check("1 | 2 3", "1 2 3", [3, 0, 0, 0], 0, 0).await;
        check("1 | 1 2", "1 2", [1, 1, 0, 0], 0, 0).await;
        check("1 | | 1", "1", [0, 1, 0, 0], 0, 0).await;
        check("1 | 1 | 1", "1", [0, 0, 1, 0], 0, 0).await;
        check("1 | 2", "1 2 3", [2, 0, 0, 0], 1, 0).await;
        check("1 1 | 2", "1 2", [1, 1, 0, 0], 0, 1).await;
        check("1 | 1 1", "1", [0, 0, 1, 0], 0, 1).await;
        check("1 ~ | 1", "1", [0, 1, 0, 0], 0, 1).await;
        check("1 | 1 ~ | 1", "1", [0, 0, 1, 0], 0, 1).await;
        // Not known to be taken, but arrived: no fault.
        check("1 2", "1", [1, 0, 0, 0], 0, 0).await;
        check("", "1", [0, 0, 0, 0], 1, 0).await;
    }

    #[track_caller]
    fn check(
        story: &'static str,
        taken: &'static str,
        copies: [usize; 4],
        lost: usize,
        repeated: usize,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let letters = Letters { seed: 1 };
            let mut tally = Tally::new(letters);
            for word in story.split_ascii_whitespace() {
                match word {
                    "|" => tally.died(Instant::now()),
                    "~" => tokio::time::sleep(2 * FLIGHT_MAX).await,
                    number => tally.count(vec![received(letters, number)]),
                }
            }
            let taken = taken.split_ascii_whitespace().map(|number| {
                let number = number.parse().unwrap();
                (number, vec![letters.letter(number).destinations[0]])
            });
            let verdicts = tally.judge(&taken.collect());
            assert_eq!(verdicts.copies, copies, "{caller}: {story}");
            assert_eq!(verdicts.lost.len(), lost, "{caller}: {story}");
            assert_eq!(verdicts.repeated.len(), repeated, "{caller}: {story}");
            assert_eq!(verdicts.altered, [""; 0], "{caller}: {story}");
        }
    }

    #[test]
    fn what_was_exchanged_cut_or_made_up_is_seen() {
        let letters = Letters { seed: 1 };
        let whole = || received(letters, "1");
        let seen = |received: Received| {
            let mut tally = Tally::new(letters);
            tally.count(vec![received]);
            (tally.len(), tally.altered.len())
        };
        assert_eq!(seen(whole()), (1, 0));
        let altered = [
            Received {
                message: received(letters, "2").message,
                ..whole()
            },
            Received {
                message: whole().message.split_last().unwrap().1.to_vec(),
                ..whole()
            },
            Received {
                recipients: received(letters, "2").recipients,
                ..whole()
            },
            Received {
                reverse_path: String::from("<>"),
                ..whole()
            },
            Received {
                id: None,
                ..whole()
            },
        ];
        for received in altered {
            assert_eq!(seen(received.clone()), (0, 1), "{received:?}");
        }
    }

    #[test]
    fn a_return_counts_for_the_recipients_that_it_names() {
        let letters = Letters { seed: 1 };
        let to = letters.letter(1).recipients().remove(0);
        let report = |text: String| Received {
            reverse_path: String::from("<>"),
            recipients: vec![format!("<m1@{SENDER_DOMAIN}>")],
            message: text.into_bytes(),
            id: None,
            ..received(letters, "1")
        };
        let seen = |received: Received| {
            let mut tally = Tally::new(letters);
            tally.count(vec![received]);
            (tally.len(), tally.altered.len())
        };
        let named = format!("Final-Recipient: rfc822; {to}\r\n");
        assert_eq!(seen(report(named)), (1, 0));
        assert_eq!(seen(report(String::from("sorry\r\n"))), (0, 1));
        let stranger = "Final-Recipient: rfc822; m1@else.test\r\n";
        assert_eq!(seen(report(String::from(stranger))), (0, 1));
    }

    /// A letter at its first destination.
    fn received(letters: Letters, number: &str) -> Received {
        let letter = letters.letter(number.parse().unwrap());
        Received {
            at: Instant::now(),
            host: String::from("mx.test"),
            peer: std::net::SocketAddr::from(([127, 0, 0, 1], 25)),
            reverse_path: format!("<{}>", letter.sender()),
            recipients: vec![format!("<{}>", letter.recipients().remove(0))],
            tls: None,
            message: format!("X: y\r\n\r\n{}", letter.body()).into_bytes(),
            id: Some(String::from(number)),
        }
    }
}
