//! DANE: RFC 7672.

use super::Case;
use super::Expected;
use super::Protection;
use super::Scenario;
use crate::LabError;
use crate::authority::Authority;
use crate::authority::Lifetime;
use crate::authority::self_signed;
use crate::dns::RecordSet;
use crate::dns::TlsaData;
use crate::mail_host::Conduct;
use crate::mail_host::Starttls;
use crate::middle::Tampering;
use crate::world::RECORD_TTL;
use crate::world::Site;

/// The scenarios of this topic.
#[expect(clippy::too_many_lines, reason = "one list, read from top to bottom")]
pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "dane-ee",
            title: "The host's key is the one that its TLSA record names",
            setup: |site| simple(site, "dane-ee.test"),
            steps: || {
                Case::new("user@dane-ee.test", Expected::Delivered(Protection::Dane))
                    .because(&["TLSA records stand at mx.dane-ee.test"])
                    .alone()
            },
        },
        Scenario {
            name: "dane-ee-nsec3",
            title: "The same in zones that prove absence by NSEC3",
            setup: |site| {
                site.signed_nsec3("dane-nsec3.example")?;
                site.mx("dane-nsec3.example", &[(10, "mx.dane-nsec3.example")])?;
                site.dane_host("mx.dane-nsec3.example")
            },
            steps: || delivered("user@dane-nsec3.example"),
        },
        Scenario {
            name: "dane-ta",
            title: "A private authority that the TLSA record names has signed the host's certificate",
            setup: |site| authority(site, "dane-ta.test", "mx.dane-ta.test"),
            steps: || delivered("user@dane-ta.test"),
        },
        Scenario {
            name: "dane-ta-wrong-name",
            title: "The private authority has signed a certificate for somebody else",
            setup: |site| authority(site, "dane-ta-name.test", "mx.elsewhere.test"),
            steps: || {
                waits(
                    "user@dane-ta-name.test",
                    "certificate is for mx.elsewhere.test",
                )
            },
        },
        Scenario {
            name: "dane-ee-expired",
            title: "An expired certificate for a wrong name is good when its key is named by DANE-EE",
            setup: |site| {
                let domain = "dane-expired.test";
                site.signed(domain)?;
                site.mx(domain, &[(10, "mx.dane-expired.test")])?;
                let identity = self_signed(&["wrong.invalid"], Lifetime::Expired)?;
                site.mail_host("mx.dane-expired.test", Conduct::tls(identity.acceptor()?))?;
                site.tlsa("mx.dane-expired.test", &[identity.tlsa(3, 1, 1)])
            },
            steps: || delivered("user@dane-expired.test"),
        },
        Scenario {
            name: "dane-mismatch",
            title: "The host's key is not the one that its TLSA record names",
            setup: |site| {
                simple(site, "dane-mismatch.test")?;
                site.tlsa("mx.dane-mismatch.test", &[wrong()])
            },
            steps: || waits("user@dane-mismatch.test", "no TLSA record matches"),
        },
        Scenario {
            name: "dane-alternatives",
            title: "One TLSA record among wrong and unusable ones matches",
            setup: |site| {
                let domain = "dane-many.test";
                site.signed(domain)?;
                site.mx(domain, &[(10, "mx.dane-many.test")])?;
                let identity = self_signed(&["mx.dane-many.test"], Lifetime::Current)?;
                site.mail_host("mx.dane-many.test", Conduct::tls(identity.acceptor()?))?;
                let short = TlsaData {
                    data: vec![1, 2, 3],
                    ..wrong()
                };
                let records = [
                    wrong(),
                    short,
                    identity.tlsa(1, 1, 1),
                    identity.tlsa(3, 0, 2),
                ];
                site.tlsa("mx.dane-many.test", &records)
            },
            steps: || delivered("user@dane-many.test"),
        },
        Scenario {
            name: "dane-second-host",
            title: "The first host's key is wrong, the second host's is right",
            setup: |site| {
                let domain = "dane-second.test";
                site.signed(domain)?;
                site.mx(
                    domain,
                    &[(10, "mx1.dane-second.test"), (20, "mx2.dane-second.test")],
                )?;
                site.dane_host("mx1.dane-second.test")?;
                site.tlsa("mx1.dane-second.test", &[wrong()])?;
                site.dane_host("mx2.dane-second.test")
            },
            steps: || {
                let expected = Expected::Delivered(Protection::Dane);
                Case {
                    host: Some("mx2.dane-second.test"),
                    ..Case::new("user@dane-second.test", expected)
                }
                .alone()
            },
        },
        Scenario {
            name: "dane-cname",
            title: "The MX host is an alias, and the TLSA record stands at what it stands for",
            setup: |site| {
                site.signed("dane-cname.test")?;
                site.signed("dane-hoster.example")?;
                site.mx("dane-cname.test", &[(10, "mx.dane-cname.test")])?;
                let alias = RecordSet::cname(RECORD_TTL, "mx.dane-hoster.example")?;
                site.world.zones.set("mx.dane-cname.test", alias)?;
                site.dane_host("mx.dane-hoster.example")
            },
            steps: || delivered("user@dane-cname.test"),
        },
        Scenario {
            name: "dane-wildcard",
            title: "The MX host's name comes from a wildcard alias in an NSEC3 zone",
            setup: |site| {
                let domain = "dane-wild.example";
                site.signed_nsec3(domain)?;
                site.mx(domain, &[(10, "some.hosts.dane-wild.example")])?;
                let alias = RecordSet::cname(RECORD_TTL, "mx.dane-wild.example")?;
                site.world.zones.set("*.hosts.dane-wild.example", alias)?;
                site.dane_host("mx.dane-wild.example")
            },
            steps: || delivered("user@dane-wild.example"),
        },
        Scenario {
            name: "dane-no-mx",
            title: "A signed domain without MX records is its own host, and DANE applies",
            setup: |site| {
                site.signed("dane-bare.test")?;
                site.dane_host("dane-bare.test")
            },
            steps: || delivered("user@dane-bare.test"),
        },
        Scenario {
            name: "dane-usage-0-1",
            title: "Only records of usage 0 and 1: TLS is demanded, with anybody",
            setup: |site| unusable(site, "dane-pkix.test", Offer::Starttls),
            steps: || {
                let expected = Expected::Delivered(Protection::Encrypted);
                Case::new("user@dane-pkix.test", expected)
                    .because(&["still demands encryption"])
                    .alone()
            },
        },
        Scenario {
            name: "dane-usage-0-1-clear",
            title: "Only records of usage 0 and 1, and no STARTTLS",
            setup: |site| unusable(site, "dane-pkix-clear.test", Offer::Nothing),
            steps: || waits("user@dane-pkix-clear.test", "STARTTLS"),
        },
        Scenario {
            name: "starttls-stripped",
            title: "A man in the middle cuts STARTTLS out of what the host offers",
            setup: |site| {
                let tampering = Tampering::StripStarttls;
                attacked(site, "dane-stripped.test", tampering)
            },
            steps: || waits("user@dane-stripped.test", "STARTTLS"),
        },
        Scenario {
            name: "starttls-refused",
            title: "The host offers STARTTLS and answers 454 to it",
            setup: |site| {
                simple(site, "dane-454.test")?;
                let conduct = Conduct {
                    starttls: Starttls::Refused,
                    ..Conduct::clear()
                };
                site.set_conduct("mx.dane-454.test", conduct)
            },
            steps: || waits("user@dane-454.test", "STARTTLS"),
        },
        Scenario {
            name: "certificate-replaced",
            title: "A man in the middle does the handshake with a certificate of its own",
            setup: |site| {
                let identity = self_signed(&["mx.dane-replaced.test"], Lifetime::Current)?;
                let tampering = Tampering::ReplaceCertificate(identity.acceptor()?);
                attacked(site, "dane-replaced.test", tampering)
            },
            steps: || waits("user@dane-replaced.test", "no TLSA record matches"),
        },
        Scenario {
            name: "replies-injected",
            title: "Replies arrive ahead of the handshake, to be believed after it",
            setup: |site| {
                let domain = "dane-injected.test";
                site.signed(domain)?;
                site.mx(domain, &[(10, "mx.dane-injected.test")])?;
                let identity = self_signed(&["mx.dane-injected.test"], Lifetime::Current)?;
                let conduct = Conduct {
                    starttls: Starttls::WithInjectedReplies(identity.acceptor()?),
                    ..Conduct::clear()
                };
                site.mail_host("mx.dane-injected.test", conduct)?;
                site.tlsa("mx.dane-injected.test", &[identity.tlsa(3, 1, 1)])
            },
            steps: || waits("user@dane-injected.test", "injected"),
        },
    ]
}

/// A signed domain with one honest host.
pub(super) fn simple(site: &mut Site, domain: &str) -> Result<(), LabError> {
    let host = format!("mx.{domain}");
    site.signed(domain)?;
    site.mx(domain, &[(10, &host)])?;
    site.dane_host(&host)
}

/// A signed domain with one host whose certificate a private authority has signed.
fn authority(site: &mut Site, domain: &str, certified_name: &str) -> Result<(), LabError> {
    let host = format!("mx.{domain}");
    site.signed(domain)?;
    site.mx(domain, &[(10, &host)])?;
    let anchor = Authority::root("Private Anchor")?;
    let identity = anchor.issue_with_anchor(&[certified_name], Lifetime::Current)?;
    site.mail_host(&host, Conduct::tls(identity.acceptor()?))?;
    site.tlsa(&host, &[anchor.tlsa(0, 1)])
}

/// What a host with unusable records offers.
#[derive(Clone, Copy)]
enum Offer {
    /// TLS.
    Starttls,
    /// Clear text alone.
    Nothing,
}

/// A signed domain with one host whose records are all of usage 0 and 1.
fn unusable(site: &mut Site, domain: &str, offer: Offer) -> Result<(), LabError> {
    let host = format!("mx.{domain}");
    site.signed(domain)?;
    site.mx(domain, &[(10, &host)])?;
    let identity = self_signed(&[&host], Lifetime::Current)?;
    let conduct = match offer {
        Offer::Starttls => Conduct::tls(identity.acceptor()?),
        Offer::Nothing => Conduct::clear(),
    };
    site.mail_host(&host, conduct)?;
    site.tlsa(&host, &[identity.tlsa(0, 0, 1), identity.tlsa(1, 1, 1)])
}

/// A signed domain with one honest host and somebody in front of it.
fn attacked(site: &mut Site, domain: &str, tampering: Tampering) -> Result<(), LabError> {
    let host = format!("mx.{domain}");
    site.signed(domain)?;
    site.mx(domain, &[(10, &host)])?;
    let identity = self_signed(&[&host], Lifetime::Current)?;
    site.mail_host_behind(&host, Conduct::tls(identity.acceptor()?), tampering)?;
    site.tlsa(&host, &[identity.tlsa(3, 1, 1)])
}

/// A record that no key of the lab matches.
pub(super) fn wrong() -> TlsaData {
    TlsaData {
        usage: 3,
        selector: 1,
        matching_type: 1,
        data: vec![0x5a; 32],
    }
}

/// One message that arrives, authenticated by DANE.
pub(super) fn delivered(to: &'static str) -> Vec<super::Step> {
    Case::new(to, Expected::Delivered(Protection::Dane)).alone()
}

/// One message that waits.
pub(super) fn waits(to: &'static str, text: &'static str) -> Vec<super::Step> {
    Case::new(to, Expected::Waits(text)).alone()
}
