//! SMTP without promises, and hosts that misbehave.

use super::Case;
use super::Expected;
use super::Protection;
use super::Scenario;
use super::Step;
use super::dane::delivered;
use super::dane::simple;
use super::dane::waits;
use super::dns::unsigned;
use crate::LabError;
use crate::authority::Lifetime;
use crate::authority::self_signed;
use crate::mail_host::Conduct;
use crate::mail_host::Extension;
use crate::mail_host::MailFault;
use crate::world::Presence;
use crate::world::Site;

/// The scenarios of this topic.
#[expect(clippy::too_many_lines, reason = "one list, read from top to bottom")]
pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "opportunistic",
            title: "No DANE and no MTA-STS: TLS with anybody, as it is offered",
            setup: |site| unsigned(site, "plain.test"),
            steps: || arrives("user@plain.test", Protection::Encrypted),
        },
        Scenario {
            name: "opportunistic-signed",
            title: "A signed domain that proves that it has neither DANE nor MTA-STS",
            setup: |site| {
                site.signed_nsec3("plain-signed.example")?;
                site.mx("plain-signed.example", &[(10, "mx.plain-signed.example")])?;
                let identity = self_signed(&["mx.plain-signed.example"], Lifetime::Current)?;
                site.mail_host(
                    "mx.plain-signed.example",
                    Conduct::tls(identity.acceptor()?),
                )
            },
            steps: || arrives("user@plain-signed.example", Protection::Encrypted),
        },
        Scenario {
            name: "opportunistic-clear",
            title: "No promise, and no TLS either: clear text",
            setup: |site| {
                unsigned(site, "plain-clear.test")?;
                site.set_conduct("mx.plain-clear.test", Conduct::clear())
            },
            steps: || arrives("user@plain-clear.test", Protection::Clear),
        },
        Scenario {
            name: "null-mx",
            title: "A domain that takes no mail (RFC 7505)",
            setup: |site| {
                site.signed("null.test")?;
                site.mx("null.test", &[(0, ".")])
            },
            steps: || Case::new("user@null.test", Expected::Bounced("5.1.10")).alone(),
        },
        Scenario {
            name: "host-down-then-up",
            title: "The host is down at first; the retry delivers, no less authenticated",
            setup: |site| {
                simple(site, "smtp-down.test")?;
                site.want_mail_host("mx.smtp-down.test", Presence::Down)
            },
            steps: || {
                let to = "user@smtp-down.test";
                vec![
                    Step::Send(vec![Case::new(to, Expected::Waits("connect"))]),
                    Step::Change {
                        said: "the host comes up",
                        how: |site| site.want_mail_host("mx.smtp-down.test", Presence::Up),
                    },
                    Step::Later(Case::new(to, Expected::Delivered(Protection::Dane))),
                ]
            },
        },
        Scenario {
            name: "greeting-421",
            title: "The host is busy and says so in its greeting",
            setup: |site| faulty(site, "smtp-421.test", MailFault::Greeting("421 4.3.2 busy")),
            steps: || waits("user@smtp-421.test", "421"),
        },
        Scenario {
            name: "recipient-450",
            title: "The host does not want the recipient now",
            setup: |site| {
                let fault = MailFault::ReplyToRecipient("450 4.2.1 later");
                faulty(site, "smtp-450.test", fault)
            },
            steps: || waits("user@smtp-450.test", "450"),
        },
        Scenario {
            name: "recipient-550",
            title: "The host does not know the recipient",
            setup: |site| {
                let fault = MailFault::ReplyToRecipient("550 5.1.1 nobody here");
                faulty(site, "smtp-550.test", fault)
            },
            steps: || Case::new("user@smtp-550.test", Expected::Bounced("5.1.1")).alone(),
        },
        Scenario {
            name: "message-554",
            title: "The host does not like the message",
            setup: |site| {
                let fault = MailFault::ReplyToMessage("554 5.6.0 not like this");
                faulty(site, "smtp-554.test", fault)
            },
            steps: || Case::new("user@smtp-554.test", Expected::Bounced("5.6.0")).alone(),
        },
        Scenario {
            name: "dropped-connection",
            title: "The host goes away in the middle of the message",
            setup: |site| faulty(site, "smtp-drop.test", MailFault::DropInData),
            steps: || waits("user@smtp-drop.test", ""),
        },
        Scenario {
            name: "endless-reply",
            title: "The host's reply to EHLO never ends",
            setup: |site| faulty(site, "smtp-endless.test", MailFault::EndlessReply),
            steps: || waits("user@smtp-endless.test", ""),
        },
        Scenario {
            name: "slow-host",
            title: "The host takes its time before each reply",
            setup: |site| {
                let wait = std::time::Duration::from_millis(200);
                faulty(site, "smtp-slow.test", MailFault::Slow(wait))
            },
            steps: || delivered("user@smtp-slow.test"),
        },
        Scenario {
            name: "no-chunking",
            title: "A host without CHUNKING gets the message by DATA, dots and all",
            setup: |site| {
                let domain = "smtp-data.test";
                let host = "mx.smtp-data.test";
                site.signed(domain)?;
                site.mx(domain, &[(10, host)])?;
                let identity = self_signed(&[host], Lifetime::Current)?;
                let conduct = Conduct {
                    chunking: Extension::NotOffered,
                    ..Conduct::tls(identity.acceptor()?)
                };
                site.mail_host(host, conduct)?;
                site.tlsa(host, &[identity.tlsa(3, 1, 1)])
            },
            steps: || delivered("user@smtp-data.test"),
        },
    ]
}

/// A signed domain with one host that satisfies its TLSA record and has a fault.
pub(super) fn faulty(site: &mut Site, domain: &str, fault: MailFault) -> Result<(), LabError> {
    let host = format!("mx.{domain}");
    site.signed(domain)?;
    site.mx(domain, &[(10, &host)])?;
    let identity = self_signed(&[&host], Lifetime::Current)?;
    let conduct = Conduct::tls(identity.acceptor()?).with_fault(fault);
    site.mail_host(&host, conduct)?;
    site.tlsa(&host, &[identity.tlsa(3, 1, 1)])
}

/// One message that arrives without authentication.
fn arrives(to: &'static str, protection: Protection) -> Vec<Step> {
    Case::new(to, Expected::Delivered(protection)).alone()
}
