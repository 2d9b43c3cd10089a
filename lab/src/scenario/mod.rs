//! What happens in the miniature internet, and how it must end.
//!
//! A [`Scenario`] is data: it sets its part of the world up, sends mail, perhaps changes the world
//! and sends more. The files beside this one hold the list, by topic.

mod dane;
mod dns;
mod guarantee;
mod misbehaviour;
mod smart_host;
mod smtp;
mod sts;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::LabError;
use crate::dns::Rtype;
use crate::inject::Submission;
use crate::world::Site;

/// One story with a known end.
#[derive(Clone)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it shows, in one line.
    pub title: &'static str,
    /// Sets its part of the world up.
    pub setup: fn(&mut Site) -> Result<(), LabError>,
    /// What happens then, in this order.
    pub steps: fn() -> Vec<Step>,
}

/// Every scenario, in the order of the list.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut all = dane::scenarios();
    all.extend(dns::scenarios());
    all.extend(sts::scenarios());
    all.extend(smtp::scenarios());
    all.extend(misbehaviour::scenarios());
    all.extend(guarantee::scenarios());
    all.extend(smart_host::scenarios());
    all
}

impl Scenario {
    /// Where the gateway sends all mail, if this is about one that does.
    pub(crate) fn smart_host(&self) -> Option<&'static str> {
        let mut behind = smart_host::scenarios().into_iter();
        let is_behind = behind.any(|scenario| scenario.name == self.name);
        is_behind.then_some(smart_host::SMART_HOST)
    }
}

/// One thing that happens.
pub enum Step {
    /// Messages are sent, all at once, and each comes to its end, or to its first wait.
    Send(Vec<Case>),
    /// A message that was sent earlier, and waited, comes to this end.
    Later(Case),
    /// The world changes.
    Change {
        /// What changes, for people.
        said: &'static str,
        /// How.
        how: fn(&mut Site) -> Result<(), LabError>,
    },
    /// The TTL of changeable records runs out.
    Expire,
    /// A question was never asked.
    NotAsked {
        /// The name.
        owner: &'static str,
        /// The type.
        rtype: Rtype,
    },
}

/// One message to one recipient, and how it must end.
#[derive(Clone, Debug)]
pub struct Case {
    /// The recipient.
    pub to: &'static str,
    /// How it must end.
    pub expected: Expected,
    /// Texts that the reasons of the decision must contain, in any case of letters.
    pub reasons: &'static [&'static str],
    /// The host that must have it, where several could.
    pub host: Option<&'static str>,
    /// How it is handed in.
    pub submission: Submission,
    /// Parameters of MAIL, as it is handed in; they must arrive too.
    pub parameters: &'static str,
    /// More header lines.
    pub headers: &'static str,
    /// How often it may arrive.
    pub copies: Copies,
    /// How soon it must have arrived, if that is asked.
    pub within: Option<Duration>,
    /// How many more messages go to the same domain right after it, which nobody asks about.
    pub crowd: usize,
}

/// How often a message may arrive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Copies {
    /// Once.
    One,
    /// Once for each attempt: the host never said that it had the message (RFC 1047).
    OneForEachAttempt,
}

impl Case {
    /// A plain message.
    #[must_use]
    pub fn new(to: &'static str, expected: Expected) -> Self {
        Self {
            to,
            expected,
            reasons: &[],
            host: None,
            submission: Submission::Clear,
            parameters: "",
            headers: "",
            copies: Copies::One,
            within: None,
            crowd: 0,
        }
    }

    /// With texts that the reasons must contain.
    #[must_use]
    pub fn because(self, reasons: &'static [&'static str]) -> Self {
        Self { reasons, ..self }
    }

    /// As a list of steps with nothing else in it.
    #[must_use]
    pub fn alone(self) -> Vec<Step> {
        vec![Step::Send(vec![self])]
    }
}

/// How a message must end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// It arrives, so protected.
    Delivered(Protection),
    /// It is withheld and tried again, and what is said about it contains this text.
    Waits(&'static str),
    /// It goes back to its sender with this status.
    Bounced(&'static str),
    /// It is not even taken; the reply begins so.
    Refused(&'static str),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(protection) => write!(f, "delivered, {protection}"),
            Self::Waits(_) => f.write_str("withheld, waits"),
            Self::Bounced(status) => write!(f, "returned, {status}"),
            Self::Refused(code) => write!(f, "not taken: {code}"),
        }
    }
}

/// What protected a message on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// TLS, authenticated by DANE.
    Dane,
    /// TLS, authenticated by a public authority for MTA-STS.
    MtaSts,
    /// TLS, with anybody.
    Encrypted,
    /// Nothing.
    Clear,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dane => "authenticated by DANE",
            Self::MtaSts => "authenticated for MTA-STS",
            Self::Encrypted => "encrypted",
            Self::Clear => "in clear text",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_recipients_belong_to_one_scenario() {
        let mut names = BTreeSet::new();
        let mut domains = BTreeSet::new();
        for scenario in all() {
            assert!(names.insert(scenario.name), "{} twice", scenario.name);
            assert!(!scenario.title.ends_with('.'), "{}", scenario.name);
            let mut own = BTreeSet::new();
            for step in (scenario.steps)() {
                match step {
                    Step::Send(cases) => {
                        own.extend(cases.iter().map(|case| case.to.split_once('@').unwrap().1));
                    }
                    Step::Later(_) | Step::Change { .. } | Step::Expire | Step::NotAsked { .. } => {
                    }
                }
            }
            assert!(!own.is_empty(), "{} sends nothing", scenario.name);
            for domain in own {
                assert!(domains.insert(domain), "{domain} is in two scenarios");
            }
        }
    }
}
