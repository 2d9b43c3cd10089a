//! A gateway that sends all mail to one host.

use super::Case;
use super::Expected;
use super::Protection;
use super::Scenario;
use super::Step;
use super::dane::simple;
use crate::LabError;
use crate::authority::Lifetime;
use crate::authority::self_signed;
use crate::inject::Submission;
use crate::mail_host::Conduct;
use crate::world::Site;

/// Where the gateway of these scenarios sends all mail.
pub(crate) const SMART_HOST: &str = "smart.test";

/// The scenarios of this topic.
pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "smart-host",
        title: "All mail goes to a smart host: what that promises and what the message demands counts",
        setup: |site| {
            simple(site, SMART_HOST)?;
            // Whose own host must get nothing, however safe it is.
            simple(site, "behind-smart.test")
        },
        steps: || {
            [
                held_to_its_promise(),
                held_to_what_a_message_demands_of_it(),
            ]
            .into_iter()
            .flatten()
            .collect()
        },
    }]
}

/// While the smart host promises DANE, nothing less will do.
fn held_to_its_promise() -> Vec<Step> {
    let waits = |to, reason| Step::Send(vec![Case::new(to, Expected::Waits(reason))]);
    let safely = Expected::Delivered(Protection::Dane);
    vec![
        Step::Send(vec![arrives("first@behind-smart.test", safely)]),
        Step::Change {
            said: "the smart host shows a key that its TLSA record does not name",
            how: |site| {
                let identity = self_signed(&["mx.smart.test"], Lifetime::Current)?;
                conduct(site, Conduct::tls(identity.acceptor()?))
            },
        },
        waits("second@behind-smart.test", "no TLSA record matches"),
        Step::Change {
            said: "the smart host offers no TLS",
            how: |site| conduct(site, Conduct::clear()),
        },
        waits("third@behind-smart.test", "STARTTLS"),
        Step::Change {
            said: "the smart host shows the key of a new TLSA record",
            how: |site| {
                let identity = self_signed(&["mx.smart.test"], Lifetime::Current)?;
                site.tlsa("mx.smart.test", &[identity.tlsa(3, 1, 1)])?;
                conduct(site, Conduct::tls(identity.acceptor()?))
            },
        },
        Step::Expire,
        Step::Later(arrives("second@behind-smart.test", safely)),
        Step::Later(arrives("third@behind-smart.test", safely)),
    ]
}

/// Once it promises nothing, mail goes as it can, but for what its sender demands.
fn held_to_what_a_message_demands_of_it() -> Vec<Step> {
    let encrypted = Expected::Delivered(Protection::Encrypted);
    let in_clear = Expected::Delivered(Protection::Clear);
    let nobody_knows = Expected::Waits("no known authority");
    vec![
        Step::Change {
            said: "the smart host's TLSA records are withdrawn",
            how: |site| site.tlsa_withdraw("mx.smart.test"),
        },
        Step::Expire,
        Step::Send(vec![
            arrives("fourth@behind-smart.test", encrypted),
            Case {
                submission: Submission::StartTls,
                parameters: "REQUIRETLS",
                ..Case::new("fifth@behind-smart.test", nobody_knows)
            },
        ]),
        Step::Change {
            said: "the smart host offers no TLS",
            how: |site| conduct(site, Conduct::clear()),
        },
        Step::Send(vec![arrives("sixth@behind-smart.test", in_clear)]),
    ]
}

/// A message that the smart host gets.
fn arrives(to: &'static str, expected: Expected) -> Case {
    Case {
        host: Some("mx.smart.test"),
        ..Case::new(to, expected)
    }
}

/// From now on, the smart host behaves so.
fn conduct(site: &mut Site, conduct: Conduct) -> Result<(), LabError> {
    site.set_conduct("mx.smart.test", conduct)
}
