//! What a sender may demand or lift: RFC 8689; and handing mail in over TLS.

use super::Case;
use super::Expected;
use super::Protection;
use super::Scenario;
use super::dane::simple;
use super::dane::wrong;
use crate::LabError;
use crate::authority::Lifetime;
use crate::authority::self_signed;
use crate::inject::Submission;
use crate::mail_host::Conduct;
use crate::mail_host::Extension;
use crate::world::Site;

/// The scenarios of this topic.
#[expect(clippy::too_many_lines, reason = "one list, read from top to bottom")]
pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "requiretls",
            title: "REQUIRETLS is demanded, and the host offers it",
            setup: |site| offering(site, "req-good.test", Extension::Offered),
            steps: || {
                let expected = Expected::Delivered(Protection::Dane);
                require_tls("user@req-good.test", expected).alone()
            },
        },
        Scenario {
            name: "requiretls-unsupported",
            title: "REQUIRETLS is demanded, and no host offers it",
            setup: |site| offering(site, "req-bad.test", Extension::NotOffered),
            steps: || require_tls("user@req-bad.test", Expected::Bounced("5.7.30")).alone(),
        },
        Scenario {
            name: "requiretls-in-clear",
            title: "REQUIRETLS is not taken on a session in clear text",
            setup: |site| offering(site, "req-clear.test", Extension::Offered),
            steps: || {
                let case = require_tls("user@req-clear.test", Expected::Refused("530"));
                Case {
                    submission: Submission::Clear,
                    ..case
                }
                .alone()
            },
        },
        Scenario {
            name: "tls-required-no",
            title: "TLS-Required: No lifts DANE for a message that must arrive",
            setup: |site| {
                simple(site, "req-no.test")?;
                site.tlsa("mx.req-no.test", &[wrong()])
            },
            steps: || {
                let expected = Expected::Delivered(Protection::Encrypted);
                Case {
                    headers: "TLS-Required: No\r\n",
                    ..Case::new("user@req-no.test", expected)
                }
                .because(&["TLS-Required: No"])
                .alone()
            },
        },
        Scenario {
            name: "submission-starttls",
            title: "Mail is handed in over TLS",
            setup: |site| simple(site, "sub-tls.test"),
            steps: || {
                let expected = Expected::Delivered(Protection::Dane);
                Case {
                    submission: Submission::StartTls,
                    ..Case::new("user@sub-tls.test", expected)
                }
                .alone()
            },
        },
        Scenario {
            name: "commands-injected",
            title: "Commands arrive ahead of the handshake, to be obeyed after it",
            setup: |site| simple(site, "sub-injected.test"),
            steps: || {
                let to = "user@sub-injected.test";
                Case {
                    submission: Submission::StartTlsWithInjectedCommands,
                    ..Case::new(to, Expected::Refused("503"))
                }
                .alone()
            },
        },
    ]
}

/// A signed domain with one honest host that offers REQUIRETLS or does not.
fn offering(site: &mut Site, domain: &str, require_tls: Extension) -> Result<(), LabError> {
    let host = format!("mx.{domain}");
    site.signed(domain)?;
    site.mx(domain, &[(10, &host)])?;
    let identity = self_signed(&[&host], Lifetime::Current)?;
    let conduct = Conduct {
        require_tls,
        ..Conduct::tls(identity.acceptor()?)
    };
    site.mail_host(&host, conduct)?;
    site.tlsa(&host, &[identity.tlsa(3, 1, 1)])
}

/// A message that demands TLS on its whole way.
fn require_tls(to: &'static str, expected: Expected) -> Case {
    Case {
        submission: Submission::StartTls,
        parameters: "REQUIRETLS",
        ..Case::new(to, expected)
    }
}
