//! Hosts that misbehave: what becomes of their mail, and that it delays no other.

use std::time::Duration;

use super::Case;
use super::Copies;
use super::Expected;
use super::Protection;
use super::Scenario;
use super::Step;
use super::dane::delivered;
use super::dane::simple;
use super::smtp::faulty;
use crate::LabError;
use crate::mail_host::MailFault;
use crate::world::Presence;
use crate::world::Site;

/// The scenarios of this topic.
#[expect(clippy::too_many_lines, reason = "one list, read from top to bottom")]
pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "silent-host",
            title: "The host takes connections and never answers; nobody else waits for it",
            setup: |site| {
                with_neighbour(
                    site,
                    "bad-silent.test",
                    MailFault::Silent,
                    "next-to-bad-silent.test",
                )
            },
            steps: || {
                beside(
                    "user@bad-silent.test",
                    "user@next-to-bad-silent.test",
                    |site| site.want_mail_host("mx.bad-silent.test", Presence::Down),
                )
            },
        },
        Scenario {
            name: "dripping-host",
            title: "The host writes one octet a second; nobody else waits for it",
            setup: |site| {
                with_neighbour(
                    site,
                    "bad-drip.test",
                    MailFault::OctetBySecond,
                    "next-to-bad-drip.test",
                )
            },
            steps: || {
                beside("user@bad-drip.test", "user@next-to-bad-drip.test", |site| {
                    site.want_mail_host("mx.bad-drip.test", Presence::Down)
                })
            },
        },
        Scenario {
            name: "endless-host",
            title: "The host's replies never end; nobody else waits for it",
            setup: |site| {
                with_neighbour(
                    site,
                    "bad-endless.test",
                    MailFault::EndlessReply,
                    "next-to-bad-endless.test",
                )
            },
            steps: || {
                beside(
                    "user@bad-endless.test",
                    "user@next-to-bad-endless.test",
                    |site| site.want_mail_host("mx.bad-endless.test", Presence::Down),
                )
            },
        },
        Scenario {
            name: "reply-lost",
            title: "The host takes the message and goes away before it says so: one copy for each attempt",
            setup: |site| faulty(site, "bad-lost.test", MailFault::TakeWithoutReply),
            steps: || {
                let to = "user@bad-lost.test";
                vec![
                    Step::Send(vec![Case::new(to, Expected::Waits(""))]),
                    Step::Change {
                        said: "the host says what it does",
                        how: |site| site.mend_mail_host("mx.bad-lost.test"),
                    },
                    Step::Later(Case {
                        copies: Copies::OneForEachAttempt,
                        ..Case::new(to, Expected::Delivered(Protection::Dane))
                    }),
                ]
            },
        },
        Scenario {
            name: "reset-in-data",
            title: "The host resets the connection in the middle of the message, and takes it later",
            setup: |site| faulty(site, "bad-reset.test", MailFault::ResetInData),
            steps: || {
                let to = "user@bad-reset.test";
                vec![
                    Step::Send(vec![Case::new(to, Expected::Waits(""))]),
                    Step::Change {
                        said: "the host reads to the end",
                        how: |site| site.mend_mail_host("mx.bad-reset.test"),
                    },
                    Step::Later(Case::new(to, Expected::Delivered(Protection::Dane))),
                ]
            },
        },
        Scenario {
            name: "busy-for-ever",
            title: "The host answers 450 until the message's time is over: it goes back",
            setup: |site| {
                let fault = MailFault::ReplyToRecipient("450 4.2.1 later");
                faulty(site, "bad-busy.test", fault)
            },
            steps: || {
                let to = "user@bad-busy.test";
                vec![
                    Step::Send(vec![Case::new(to, Expected::Waits("450"))]),
                    Step::Later(Case::new(to, Expected::Bounced("4.2.1"))),
                ]
            },
        },
        Scenario {
            name: "closes-when-idle",
            title: "The host closes the connection after each message without a word",
            setup: |site| faulty(site, "bad-closes.test", MailFault::CloseWhenIdle),
            steps: || {
                one_by_one(&[
                    "first@bad-closes.test",
                    "second@bad-closes.test",
                    "third@bad-closes.test",
                ])
            },
        },
        Scenario {
            name: "one-message",
            title: "The host takes one message on each connection, and answers the next with 421",
            setup: |site| faulty(site, "bad-single.test", MailFault::OneMessage),
            steps: || {
                one_by_one(&[
                    "first@bad-single.test",
                    "second@bad-single.test",
                    "third@bad-single.test",
                ])
            },
        },
    ]
}

/// A domain whose host has a fault, and an honest one next to it.
fn with_neighbour(
    site: &mut Site,
    domain: &str,
    fault: MailFault,
    neighbour: &str,
) -> Result<(), LabError> {
    faulty(site, domain, fault)?;
    simple(site, neighbour)
}

/// A message for the faulty host, which waits, with more than are sent to one host at once; and one for its neighbour,
/// which does not. In the end the host is gone, so that nobody needs to wait for it.
fn beside(
    to: &'static str,
    neighbour: &'static str,
    gone: fn(&mut Site) -> Result<(), LabError>,
) -> Vec<Step> {
    let crowded = Case {
        crowd: CROWD,
        ..Case::new(to, Expected::Waits(""))
    };
    let prompt = Case {
        within: Some(PROMPT_MAX),
        ..Case::new(neighbour, Expected::Delivered(Protection::Dane))
    };
    vec![
        Step::Send(vec![crowded, prompt]),
        Step::Change {
            said: "the host goes down",
            how: gone,
        },
    ]
}

/// Messages that arrive, each after the one before.
fn one_by_one(recipients: &[&'static str]) -> Vec<Step> {
    recipients.iter().flat_map(|to| delivered(to)).collect()
}

/// More than are sent to one destination at once.
const CROWD: usize = 25;

/// Shorter than any time limit of the program under test in the lab: who waits for the faulty host takes longer.
const PROMPT_MAX: Duration = Duration::from_secs(9);
