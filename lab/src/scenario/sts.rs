//! MTA-STS: RFC 8461.

use super::Case;
use super::Expected;
use super::Protection;
use super::Scenario;
use super::Step;
use super::dane::simple;
use super::dane::waits;
use super::dane::wrong;
use super::dns::unsigned;
use crate::LabError;
use crate::authority::Lifetime;
use crate::authority::self_signed;
use crate::mail_host::Conduct;
use crate::policy_host::HttpAnswer;
use crate::world::Presence;
use crate::world::Site;

/// The scenarios of this topic.
#[expect(clippy::too_many_lines, reason = "one list, read from top to bottom")]
pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "sts-enforce",
            title: "A policy is enforced, and the host satisfies it",
            setup: |site| enforced(site, "sts-good.test"),
            steps: || {
                let expected = Expected::Delivered(Protection::MtaSts);
                Case::new("user@sts-good.test", expected)
                    .because(&["enforces an MTA-STS policy"])
                    .alone()
            },
        },
        Scenario {
            name: "sts-wrong-mx",
            title: "The MX host is not one that the policy names",
            setup: |site| {
                enforced(site, "sts-mx.test")?;
                let policy = HttpAnswer::policy("enforce", &["mail.sts-mx.test"]);
                site.set_answer("sts-mx.test", policy)
            },
            steps: || waits("user@sts-mx.test", "policy"),
        },
        Scenario {
            name: "sts-self-signed",
            title: "The host shows a certificate that no public authority has signed",
            setup: |site| {
                enforced(site, "sts-self.test")?;
                let identity = self_signed(&["mx.sts-self.test"], Lifetime::Current)?;
                site.set_conduct("mx.sts-self.test", Conduct::tls(identity.acceptor()?))
            },
            steps: || waits("user@sts-self.test", "no known authority"),
        },
        Scenario {
            name: "sts-expired",
            title: "The host's certificate has expired",
            setup: |site| {
                enforced(site, "sts-expired.test")?;
                let identity = site.public_expired(&["mx.sts-expired.test"])?;
                site.set_conduct("mx.sts-expired.test", Conduct::tls(identity.acceptor()?))
            },
            steps: || waits("user@sts-expired.test", "not within its dates"),
        },
        Scenario {
            name: "sts-wrong-name",
            title: "The host's certificate is somebody else's",
            setup: |site| {
                enforced(site, "sts-name.test")?;
                let identity = site.public(&["mx.elsewhere.test"])?;
                site.set_conduct("mx.sts-name.test", Conduct::tls(identity.acceptor()?))
            },
            steps: || waits("user@sts-name.test", "for another name"),
        },
        Scenario {
            name: "sts-no-starttls",
            title: "The host of an enforced policy offers no TLS",
            setup: |site| {
                enforced(site, "sts-clear.test")?;
                site.set_conduct("mx.sts-clear.test", Conduct::clear())
            },
            steps: || waits("user@sts-clear.test", "STARTTLS"),
        },
        Scenario {
            name: "sts-testing",
            title: "A policy that is only tested stops no mail",
            setup: |site| {
                enforced(site, "sts-testing.test")?;
                let policy = HttpAnswer::policy("testing", &["mail.elsewhere.test"]);
                site.set_answer("sts-testing.test", policy)?;
                let identity = self_signed(&["mx.sts-testing.test"], Lifetime::Current)?;
                site.set_conduct("mx.sts-testing.test", Conduct::tls(identity.acceptor()?))
            },
            steps: || {
                let expected = Expected::Delivered(Protection::Encrypted);
                Case::new("user@sts-testing.test", expected)
                    .because(&["only tests its MTA-STS policy"])
                    .alone()
            },
        },
        Scenario {
            name: "sts-host-down",
            title: "The policy host is gone and the TXT record too; the cached policy holds",
            setup: |site| enforced(site, "sts-down.test"),
            steps: || {
                let good = Expected::Delivered(Protection::MtaSts);
                vec![
                    Step::Send(vec![Case::new("first@sts-down.test", good)]),
                    Step::Change {
                        said: "the policy host goes down, and the TXT record is withdrawn",
                        how: |site| {
                            site.sts_withdraw("sts-down.test")?;
                            site.want_policy_host("sts-down.test", Presence::Down)
                        },
                    },
                    Step::Expire,
                    Step::Send(vec![Case::new("second@sts-down.test", good)]),
                    Step::Change {
                        said: "the host shows a certificate that nobody has signed",
                        how: |site| {
                            let identity = self_signed(&["mx.sts-down.test"], Lifetime::Current)?;
                            site.set_conduct("mx.sts-down.test", Conduct::tls(identity.acceptor()?))
                        },
                    },
                    Step::Send(vec![Case::new(
                        "third@sts-down.test",
                        Expected::Waits("no known authority"),
                    )]),
                ]
            },
        },
        Scenario {
            name: "sts-id-changed",
            title: "The id changes and HTTPS is blocked; the cached policy holds",
            setup: |site| enforced(site, "sts-id.test"),
            steps: || {
                vec![
                    Step::Send(vec![Case::new(
                        "first@sts-id.test",
                        Expected::Delivered(Protection::MtaSts),
                    )]),
                    Step::Change {
                        said: "an attacker changes the id, blocks HTTPS and replaces the host's \
                               certificate",
                        how: |site| {
                            site.sts_id("sts-id.test", "2")?;
                            site.set_answer("sts-id.test", HttpAnswer::Blocked)?;
                            let identity = self_signed(&["mx.sts-id.test"], Lifetime::Current)?;
                            site.set_conduct("mx.sts-id.test", Conduct::tls(identity.acceptor()?))
                        },
                    },
                    Step::Expire,
                    Step::Send(vec![
                        Case::new("second@sts-id.test", Expected::Waits("no known authority"))
                            .because(&["the known one stays in force"]),
                    ]),
                ]
            },
        },
        Scenario {
            name: "sts-shared-host",
            title: "Two domains share a host; the broken policy of one does not touch the other",
            setup: |site| {
                enforced(site, "sts-one.test")?;
                site.unsigned("sts-two.test")?;
                site.mx("sts-two.test", &[(10, "mx.sts-one.test")])?;
                let policy = HttpAnswer::policy("enforce", &["mx.elsewhere.test"]);
                site.sts("sts-two.test", "1", policy)
            },
            steps: || {
                let good = Expected::Delivered(Protection::MtaSts);
                vec![Step::Send(vec![
                    Case::new("user@sts-one.test", good),
                    Case::new("user@sts-two.test", Expected::Waits("policy")),
                ])]
            },
        },
        Scenario {
            name: "sts-redirect",
            title: "A redirect is not followed: there is no policy",
            setup: |site| {
                let to = String::from("https://mta-sts.sts-good.test/.well-known/mta-sts.txt");
                answered(site, "sts-redirect.test", HttpAnswer::Redirect(to))
            },
            steps: || opportunistic("user@sts-redirect.test"),
        },
        Scenario {
            name: "sts-not-found",
            title: "The policy host answers 404: there is no policy",
            setup: |site| answered(site, "sts-404.test", HttpAnswer::Status(404)),
            steps: || opportunistic("user@sts-404.test"),
        },
        Scenario {
            name: "sts-media-type",
            title: "The policy is served as something else than plain text: there is no policy",
            setup: |site| {
                let HttpAnswer::Policy(text) = HttpAnswer::policy("enforce", &["a.test"]) else {
                    return Ok(());
                };
                let answer = HttpAnswer::WithMediaType("text/html", text);
                answered(site, "sts-html.test", answer)
            },
            steps: || opportunistic("user@sts-html.test"),
        },
        Scenario {
            name: "sts-policy-host-certificate",
            title: "The policy host's own certificate is worthless: there is no policy",
            setup: |site| {
                unsigned(site, "sts-host.test")?;
                let identity = self_signed(&["mta-sts.sts-host.test"], Lifetime::Current)?;
                let policy = HttpAnswer::policy("enforce", &["mx.elsewhere.test"]);
                site.sts_with("sts-host.test", "1", policy, &identity)
            },
            steps: || opportunistic("user@sts-host.test"),
        },
        Scenario {
            name: "dane-before-sts",
            title: "A certificate that satisfies MTA-STS does not heal a TLSA mismatch",
            setup: |site| {
                let domain = "sts-dane.test";
                simple(site, domain)?;
                site.tlsa("mx.sts-dane.test", &[wrong()])?;
                let identity = site.public(&["mx.sts-dane.test"])?;
                site.set_conduct("mx.sts-dane.test", Conduct::tls(identity.acceptor()?))?;
                let policy = HttpAnswer::policy("enforce", &["mx.sts-dane.test"]);
                site.sts(domain, "1", policy)
            },
            steps: || waits("user@sts-dane.test", "no TLSA record matches"),
        },
    ]
}

/// An unsigned domain with an enforced policy and a host that satisfies it.
fn enforced(site: &mut Site, domain: &str) -> Result<(), LabError> {
    let host = format!("mx.{domain}");
    site.unsigned(domain)?;
    site.mx(domain, &[(10, &host)])?;
    let identity = site.public(&[&host])?;
    site.mail_host(&host, Conduct::tls(identity.acceptor()?))?;
    site.sts(domain, "1", HttpAnswer::policy("enforce", &[&host]))
}

/// An unsigned domain whose policy host gives this answer.
fn answered(site: &mut Site, domain: &str, answer: HttpAnswer) -> Result<(), LabError> {
    unsigned(site, domain)?;
    site.sts(domain, "1", answer)
}

/// One message that arrives as if there were no policy.
fn opportunistic(to: &'static str) -> Vec<Step> {
    Case::new(to, Expected::Delivered(Protection::Encrypted))
        .because(&["policy that cannot be fetched"])
        .alone()
}
