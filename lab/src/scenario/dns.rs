//! Attacks on the DNS, and faults in it.

use super::Case;
use super::Expected;
use super::Protection;
use super::Scenario;
use super::Step;
use super::dane::delivered;
use super::dane::simple;
use super::dane::waits;
use crate::LabError;
use crate::authority::Lifetime;
use crate::authority::self_signed;
use crate::dns::DnsFault;
use crate::dns::Rcode;
use crate::dns::RecordSet;
use crate::dns::Rtype;
use crate::mail_host::Conduct;
use crate::world::RECORD_TTL;
use crate::world::Site;
use crate::world::tlsa_owner;

/// The scenarios of this topic.
#[expect(clippy::too_many_lines, reason = "one list, read from top to bottom")]
pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "mx-poisoned",
            title: "Somebody on the path answers the MX question with a host of his own, unsigned",
            setup: |site| {
                simple(site, "dns-poisoned.test")?;
                site.unsigned("attacker.example")?;
                let identity = self_signed(&["mx.attacker.example"], Lifetime::Current)?;
                site.mail_host("mx.attacker.example", Conduct::tls(identity.acceptor()?))?;
                let forged = RecordSet::mx(RECORD_TTL, &[(5, "mx.attacker.example")])?;
                site.world.zones.set_fault(
                    "dns-poisoned.test",
                    Some(Rtype::MX),
                    DnsFault::Forged(forged.data),
                )
            },
            steps: || {
                waits(
                    "user@dns-poisoned.test",
                    "MX records could not be looked up",
                )
            },
        },
        Scenario {
            name: "address-poisoned",
            title: "Somebody on the path answers the address question with an address of his own",
            setup: |site| {
                simple(site, "dns-moved.test")?;
                let identity = self_signed(&["mx.dns-moved.test"], Lifetime::Current)?;
                let conduct = Conduct::tls(identity.acceptor()?);
                let address = site.hidden_mail_host("impostor", conduct)?;
                site.world.zones.set_fault(
                    "mx.dns-moved.test",
                    Some(Rtype::A),
                    DnsFault::Forged(vec![address.octets().to_vec()]),
                )
            },
            steps: || waits("user@dns-moved.test", "address"),
        },
        Scenario {
            name: "bogus-signature",
            title: "The signature over the TLSA records is wrong",
            setup: |site| tlsa_fault(site, "dns-bogus.test", DnsFault::BogusSignature),
            steps: || waits("user@dns-bogus.test", "TLSA records could not be looked up"),
        },
        Scenario {
            name: "expired-signature",
            title: "The signature over the TLSA records has ended",
            setup: |site| tlsa_fault(site, "dns-expired.test", DnsFault::ExpiredSignature),
            steps: || {
                waits(
                    "user@dns-expired.test",
                    "TLSA records could not be looked up",
                )
            },
        },
        Scenario {
            name: "stripped-signature",
            title: "The signature over the TLSA records was cut out",
            setup: |site| tlsa_fault(site, "dns-stripped.test", DnsFault::StrippedSignature),
            steps: || {
                waits(
                    "user@dns-stripped.test",
                    "TLSA records could not be looked up",
                )
            },
        },
        Scenario {
            name: "tlsa-servfail",
            title: "The TLSA question of a signed host ends in SERVFAIL",
            setup: |site| tlsa_fault(site, "dns-servfail.test", DnsFault::Code(Rcode::SERVFAIL)),
            steps: || {
                waits(
                    "user@dns-servfail.test",
                    "TLSA records could not be looked up",
                )
            },
        },
        Scenario {
            name: "tlsa-refused",
            title: "The TLSA question of a signed host ends in REFUSED",
            setup: |site| tlsa_fault(site, "dns-refused.test", DnsFault::Code(Rcode::REFUSED)),
            steps: || {
                waits(
                    "user@dns-refused.test",
                    "TLSA records could not be looked up",
                )
            },
        },
        Scenario {
            name: "tlsa-silence",
            title: "The TLSA question of a signed host is never answered",
            setup: |site| tlsa_fault(site, "dns-silent.test", DnsFault::Silent),
            steps: || {
                waits(
                    "user@dns-silent.test",
                    "TLSA records could not be looked up",
                )
            },
        },
        Scenario {
            name: "tlsa-truncated",
            title: "The TLSA answer does not fit into a datagram and is fetched over TCP",
            setup: |site| tlsa_fault(site, "dns-tcp.test", DnsFault::Truncated),
            steps: || delivered("user@dns-tcp.test"),
        },
        Scenario {
            name: "aaaa-bogus",
            title: "The proof that there is no IPv6 address is wrong; IPv4 serves, with DANE",
            setup: |site| {
                simple(site, "dns-aaaa.test")?;
                let fault = DnsFault::BogusSignature;
                let host = "mx.dns-aaaa.test";
                site.world.zones.set_fault(host, Some(Rtype::AAAA), fault)
            },
            steps: || delivered("user@dns-aaaa.test"),
        },
        Scenario {
            name: "insecure-notimp",
            title: "An unsigned domain's servers cannot even be asked for TLSA; mail flows",
            setup: |site| {
                unsigned(site, "dns-notimp.test")?;
                let owner = tlsa_owner("mx.dns-notimp.test");
                let fault = DnsFault::Code(Rcode::NOTIMP);
                site.world.zones.set_fault(&owner, None, fault)
            },
            steps: || {
                let expected = Expected::Delivered(Protection::Encrypted);
                vec![
                    Step::Send(vec![
                        Case::new("user@dns-notimp.test", expected)
                            .because(&["MX records are unsigned"]),
                    ]),
                    Step::NotAsked {
                        owner: "_25._tcp.mx.dns-notimp.test",
                        rtype: Rtype::TLSA,
                    },
                ]
            },
        },
        Scenario {
            name: "insecure-opt-out",
            title: "An unsigned domain that its parent's NSEC3 chain leaves out",
            setup: |site| unsigned(site, "dns-plain.optout"),
            steps: || {
                let expected = Expected::Delivered(Protection::Encrypted);
                Case::new("user@dns-plain.optout", expected).alone()
            },
        },
    ]
}

/// A signed domain with an honest host, and a fault upon its TLSA question.
fn tlsa_fault(site: &mut Site, domain: &str, fault: DnsFault) -> Result<(), LabError> {
    simple(site, domain)?;
    let owner = tlsa_owner(&format!("mx.{domain}"));
    let zones = &site.world.zones;
    zones.set_fault(&owner, Some(Rtype::TLSA), fault)
}

/// An unsigned domain with one host that offers TLS.
pub(super) fn unsigned(site: &mut Site, domain: &str) -> Result<(), LabError> {
    let host = format!("mx.{domain}");
    site.unsigned(domain)?;
    site.mx(domain, &[(10, &host)])?;
    let identity = self_signed(&[&host], Lifetime::Current)?;
    site.mail_host(&host, Conduct::tls(identity.acceptor()?))
}
