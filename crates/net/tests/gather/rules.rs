//! Behaviour rules 1 to 21, as far as they are about what is asked.

use std::time::Duration;

use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_net::dns::Answer;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::RecordType;
use byrnie_net::gather::Destination;
use byrnie_net::gather::DestinationHosts;
use byrnie_net::gather::MX_HOSTS_MAX;
use byrnie_net::gather::REUSE_MAX;
use byrnie_policy::DaneRule;
use byrnie_policy::DomainRule;
use byrnie_policy::InsecureMx;
use byrnie_policy::MxRrset;
use byrnie_policy::TlsaEvidence;
use byrnie_smtp::TlsDemand;

use crate::world::TTL;
use crate::world::World;
use crate::world::bogus;
use crate::world::failed;
use crate::world::failure;
use crate::world::ipv6;
use crate::world::name;
use crate::world::nothing;
use crate::world::nowhere;
use crate::world::over;
use crate::world::records;
use crate::world::tlsa;

#[tokio::test(start_paused = true)]
async fn rule_1_an_mx_lookup_without_an_answer_is_no_answer() {
    for answer in [failed(), bogus()] {
        let world = World::new();
        let error = answer.outcome.clone().unwrap_err();
        world.dns.set("example.org", RecordType::Mx, answer);
        let evidence = world.gather().await;
        assert_eq!(evidence.mx, Err(error));
        assert_eq!(evidence.hosts, []);
    }
}

#[tokio::test(start_paused = true)]
async fn rule_2_tlsa_is_never_asked_for_behind_insecure_addresses() {
    // The world panics at a question that it has no answer for.
    let world = one_host(Security::Secure);
    world.dns.host("mx.example.org", Security::Insecure);
    assert_eq!(tlsa_evidence(&world).await, TlsaEvidence::NotAsked);
}

#[tokio::test(start_paused = true)]
async fn rule_3_tlsa_is_asked_for_behind_an_insecure_mx_answer_only_if_the_operator_says_so() {
    let world = one_host(Security::Insecure);
    assert_eq!(tlsa_evidence(&world).await, TlsaEvidence::NotAsked);

    world.dns.tlsa("mx.example.org", tlsa(Security::Secure));
    let trusting = DomainRule {
        insecure_mx: InsecureMx::UseTlsa,
        ..DomainRule::default()
    };
    let evidence = world.gather_under(trusting).await.evidence;
    assert_found(&evidence.hosts[0].tlsa, "mx.example.org");

    let ignoring = DomainRule {
        dane: DaneRule::DangerIgnore,
        ..trusting
    };
    let evidence = world.gather_under(ignoring).await.evidence;
    assert_eq!(evidence.hosts[0].tlsa, TlsaEvidence::NotAsked);
}

#[tokio::test(start_paused = true)]
async fn rule_4_each_family_keeps_its_own_status() {
    let world = one_host(Security::Secure);
    world.dns.set("mx.example.org", RecordType::Aaaa, bogus());
    world.dns.tlsa("mx.example.org", tlsa(Security::Secure));
    let host = world.gather().await.hosts.remove(0);
    assert!(host.ipv4.is_ok_and(|ipv4| ipv4.is_secure()));
    assert!(matches!(host.ipv6, Err(LookupError::Bogus(_))));
    assert_found(&host.tlsa, "mx.example.org");
}

#[tokio::test(start_paused = true)]
async fn a_host_with_ipv6_alone_has_dane_too() {
    let world = one_host(Security::Secure);
    let only = records(Security::Secure, vec![ipv6()]);
    world.dns.set("mx.example.org", RecordType::Aaaa, only);
    world
        .dns
        .set("mx.example.org", RecordType::A, nowhere(Security::Secure));
    world.dns.tlsa("mx.example.org", tlsa(Security::Secure));
    let host = world.gather().await.hosts.remove(0);
    assert_eq!(host.ipv4, Ok(Secured::secure(Vec::new())));
    assert_found(&host.tlsa, "mx.example.org");
}

/// RFC 7672, Section 2.2.3: the port is part of the name.
#[tokio::test(start_paused = true)]
async fn tlsa_records_are_those_of_the_port_that_was_agreed_on() {
    let mut world = one_host(Security::Secure);
    world.gatherer = world.gatherer.with_tlsa_port(587);
    let owner = "_587._tcp.mx.example.org";
    let answer = tlsa(Security::Secure);
    world.dns.set(owner, RecordType::Tlsa, answer);
    assert_found(&tlsa_evidence(&world).await, "mx.example.org");
}

/// The world panics at a question for MX records, which it has no answer for.
#[tokio::test(start_paused = true)]
async fn a_host_that_is_named_itself_is_asked_for_no_mx_records() {
    let world = World::new();
    world.dns.host("example.org", Security::Secure);
    world.dns.txt("example.org", &[]);
    let answer = tlsa(Security::Secure);
    world
        .dns
        .set("_465._tcp.example.org", RecordType::Tlsa, answer);
    let destination = Destination {
        domain: name("example.org"),
        hosts: DestinationHosts::Itself,
        port: 465,
    };
    let (demand, rule) = (TlsDemand::None, DomainRule::default());
    let gathering = world.gatherer.gather_at(&destination, demand, rule, None);
    let evidence = gathering.await.evidence;
    assert_eq!(evidence.mx, Ok(Secured::secure(MxRrset::Host)));
    assert_found(&evidence.hosts[0].tlsa, "example.org");
}

#[tokio::test(start_paused = true)]
async fn rule_15_a_tlsa_answer_is_found_absent_or_failed() {
    let cases: [(Answer, TlsaEvidence); 5] = [
        (
            nothing(Security::Secure),
            TlsaEvidence::Absent(Security::Secure),
        ),
        (
            nowhere(Security::Insecure),
            TlsaEvidence::Absent(Security::Insecure),
        ),
        (
            tlsa(Security::Insecure),
            TlsaEvidence::Absent(Security::Insecure),
        ),
        (failed(), TlsaEvidence::Failed(failure())),
        (
            bogus(),
            TlsaEvidence::Failed(LookupError::Bogus(String::from("expired"))),
        ),
    ];
    for (answer, expected) in cases {
        let world = one_host(Security::Secure);
        world.dns.tlsa("mx.example.org", answer);
        assert_eq!(tlsa_evidence(&world).await, expected);
    }
}

/// Whoever drops the answers about one family must not thereby hide where the aliases lead.
#[tokio::test(start_paused = true)]
async fn rule_17_aliases_are_those_of_the_family_that_has_addresses() {
    let steps = [(Security::Secure, "mx.example.org", "host.example.net")];
    for silent in [failed(), bogus(), nothing(Security::Secure)] {
        let world = one_host(Security::Secure);
        world.dns.set("mx.example.org", RecordType::A, silent);
        let addresses = records(Security::Secure, vec![ipv6()]);
        let answer = over(addresses, &steps);
        world.dns.set("mx.example.org", RecordType::Aaaa, answer);
        world.dns.tlsa("host.example.net", tlsa(Security::Secure));
        world.dns.tlsa("mx.example.org", nothing(Security::Secure));
        assert_found(&tlsa_evidence(&world).await, "host.example.net");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_17_behind_a_secure_alias_the_expanded_name_goes_first() {
    let world = alias(Security::Secure, Security::Secure);
    world.dns.tlsa("host.example.net", tlsa(Security::Secure));
    world.dns.tlsa("mx.example.org", tlsa(Security::Secure));
    let host = world.gather().await.hosts.remove(0);
    assert_eq!(
        host.expanded,
        Some(Secured::secure(name("host.example.net")))
    );
    assert_eq!(host.alias, Some(Security::Secure));
    assert_found(&host.tlsa, "host.example.net");

    world
        .dns
        .tlsa("host.example.net", nothing(Security::Secure));
    assert_found(&tlsa_evidence(&world).await, "mx.example.org");

    // The first candidate must be denied, not merely silent.
    world.dns.tlsa("host.example.net", failed());
    assert_eq!(tlsa_evidence(&world).await, TlsaEvidence::Failed(failure()));

    // Records of the first candidate need no answer about the second.
    world.dns.tlsa("host.example.net", tlsa(Security::Secure));
    world.dns.tlsa("mx.example.org", failed());
    assert_found(&tlsa_evidence(&world).await, "host.example.net");
}

#[tokio::test(start_paused = true)]
async fn rule_17_behind_a_secure_alias_into_an_unsigned_zone_the_original_name_counts() {
    let world = alias(Security::Secure, Security::Insecure);
    world.dns.tlsa("mx.example.org", tlsa(Security::Secure));
    let host = world.gather().await.hosts.remove(0);
    assert_eq!(
        host.expanded,
        Some(Secured::secure(name("host.example.net")))
    );
    assert_eq!(host.ipv4.map(|ipv4| ipv4.security), Ok(Security::Insecure));
    assert_found(&host.tlsa, "mx.example.org");
}

#[tokio::test(start_paused = true)]
async fn rule_17_behind_an_insecure_alias_tlsa_is_never_asked_for() {
    let world = alias(Security::Insecure, Security::Secure);
    let host = world.gather().await.hosts.remove(0);
    assert_eq!(
        host.expanded,
        Some(Secured::insecure(name("host.example.net")))
    );
    assert_eq!(host.tlsa, TlsaEvidence::NotAsked);
}

#[tokio::test(start_paused = true)]
async fn rule_17_of_several_aliases_the_first_speaks_for_the_original_name() {
    let world = one_host(Security::Secure);
    let steps = [
        (Security::Secure, "mx.example.org", "middle.example.com"),
        (Security::Insecure, "middle.example.com", "host.example.net"),
    ];
    behind(&world, &steps, Security::Secure);
    world.dns.tlsa("mx.example.org", tlsa(Security::Secure));
    let host = world.gather().await.hosts.remove(0);
    assert_eq!(
        host.expanded,
        Some(Secured::insecure(name("host.example.net")))
    );
    assert_found(&host.tlsa, "mx.example.org");
}

#[tokio::test(start_paused = true)]
async fn rule_17_every_alias_of_a_tlsa_owner_must_be_secure() {
    let world = one_host(Security::Secure);
    let owner = "_25._tcp.mx.example.org";
    let hop = |security| {
        over(
            tlsa(Security::Secure),
            &[(security, owner, "tlsa.example.net")],
        )
    };
    world.dns.tlsa("mx.example.org", hop(Security::Secure));
    assert_found(&tlsa_evidence(&world).await, "mx.example.org");
    world.dns.tlsa("mx.example.org", hop(Security::Insecure));
    let absent = TlsaEvidence::Absent(Security::Insecure);
    assert_eq!(tlsa_evidence(&world).await, absent);
}

#[tokio::test(start_paused = true)]
async fn rule_19_a_domain_without_mx_is_its_own_host() {
    for security in [Security::Secure, Security::Insecure] {
        let world = World::new();
        world
            .dns
            .set("example.org", RecordType::Mx, nothing(security));
        world.dns.host("example.org", security);
        if security == Security::Secure {
            world.dns.tlsa("example.org", tlsa(security));
        }
        let evidence = world.gather().await;
        let value = MxRrset::Implicit;
        assert_eq!(evidence.mx, Ok(Secured { security, value }));
        assert_eq!(evidence.hosts[0].host, name("example.org"));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_19_null_mx_and_nxdomain_name_no_host() {
    let world = World::new();
    world.dns.mx("example.org", Security::Secure, &[(0, ".")]);
    let evidence = world.gather().await;
    assert_eq!(evidence.mx, Ok(Secured::secure(MxRrset::Null)));
    assert_eq!(evidence.hosts, []);

    world
        .dns
        .set("example.org", RecordType::Mx, nowhere(Security::Insecure));
    let evidence = world.gather().await;
    assert_eq!(evidence.mx, Ok(Secured::insecure(MxRrset::NoSuchDomain)));
    assert_eq!(evidence.hosts, []);
}

#[tokio::test(start_paused = true)]
async fn a_null_mx_beside_hosts_is_passed_over() {
    let world = World::new();
    let named = [(0, "."), (10, "mx.example.org")];
    world.dns.mx("example.org", Security::Insecure, &named);
    world.dns.host("mx.example.org", Security::Insecure);
    let evidence = world.gather().await;
    assert_eq!(evidence.hosts.len(), 1);
    assert_eq!(evidence.hosts[0].host, name("mx.example.org"));
}

#[tokio::test(start_paused = true)]
async fn an_mx_answer_is_no_better_proven_than_the_aliases_that_lead_to_it() {
    for (alias, end, whole) in [
        (Security::Secure, Security::Secure, Security::Secure),
        (Security::Insecure, Security::Secure, Security::Insecure),
        (Security::Secure, Security::Insecure, Security::Insecure),
    ] {
        let world = one_host(Security::Insecure);
        world.dns.tlsa("mx.example.org", nothing(Security::Secure));
        let named = RecordData::Mx {
            preference: 10,
            host: Some(name("mx.example.org")),
        };
        let steps = [(alias, "example.org", "real.example.net")];
        let answer = over(records(end, vec![named]), &steps);
        world.dns.set("example.org", RecordType::Mx, answer);
        let evidence = world.gather().await;
        assert_eq!(evidence.mx.map(|mx| mx.security), Ok(whole));
        let expanded = Secured {
            security: alias,
            value: name("real.example.net"),
        };
        assert_eq!(evidence.expanded_domain, Some(expanded));
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_named_twice_is_looked_up_once() {
    let world = World::new();
    let named = [(20, "mx.example.org"), (10, "MX.example.org")];
    world.dns.mx("example.org", Security::Insecure, &named);
    world.dns.host("mx.example.org", Security::Insecure);
    let evidence = world.gather().await;
    assert_eq!(evidence.hosts.len(), 1);
    assert_eq!(evidence.hosts[0].preference, 10);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_hosts_are_looked_up_the_preferred_ones_first() {
    let world = World::new();
    let hosts: Vec<String> = (0..MX_HOSTS_MAX + 5)
        .map(|n| format!("mx{n}.example.org"))
        .collect();
    let named: Vec<(u16, &str)> = (0..).zip(hosts.iter().map(String::as_str)).collect();
    world.dns.mx("example.org", Security::Insecure, &named);
    for host in &hosts[..MX_HOSTS_MAX] {
        world.dns.host(host, Security::Insecure);
    }
    let evidence = world.gather().await;
    assert_eq!(evidence.hosts.len(), MX_HOSTS_MAX);
    assert_eq!(evidence.hosts[0].host, name("mx0.example.org"));
}

#[tokio::test(start_paused = true)]
async fn evidence_is_used_again_as_long_as_every_answer_lives_but_not_for_ever() {
    let world = one_host(Security::Secure);
    let reuse = async || world.gather_under(DomainRule::default()).await.reuse;
    let with_ttl = |ttl| Answer {
        ttl: Duration::from_secs(ttl),
        ..tlsa(Security::Secure)
    };
    world.dns.tlsa("mx.example.org", with_ttl(9_999));
    assert_eq!(reuse().await, TTL);
    world.dns.tlsa("mx.example.org", with_ttl(7));
    assert_eq!(reuse().await, Duration::from_secs(7));
    world.dns.tlsa("mx.example.org", failed());
    assert_eq!(reuse().await, Duration::ZERO);

    let world = World::new();
    let for_ever = Answer {
        ttl: Duration::MAX,
        ..nowhere(Security::Secure)
    };
    world
        .dns
        .set("example.org", RecordType::Mx, for_ever.clone());
    world
        .dns
        .set("_mta-sts.example.org", RecordType::Txt, for_ever);
    let gathered = world.gather_under(DomainRule::default()).await;
    assert_eq!(gathered.reuse, REUSE_MAX);
}

/// A domain with one host in a signed zone; the MX answer has this security.
fn one_host(mx: Security) -> World {
    let world = World::new();
    world.dns.mx("example.org", mx, &[(10, "mx.example.org")]);
    world.dns.host("mx.example.org", Security::Secure);
    world
}

/// A domain whose host is an alias of this security; its target's zone has that security.
fn alias(step: Security, target: Security) -> World {
    let world = one_host(Security::Secure);
    behind(
        &world,
        &[(step, "mx.example.org", "host.example.net")],
        target,
    );
    world
}

/// Puts the addresses of the host behind aliases.
fn behind(world: &World, steps: &[(Security, &str, &str)], target: Security) {
    let address = RecordData::A([192, 0, 2, 1].into());
    let ipv4 = over(records(target, vec![address]), steps);
    let ipv6 = over(nothing(target), steps);
    world.dns.set("mx.example.org", RecordType::A, ipv4);
    world.dns.set("mx.example.org", RecordType::Aaaa, ipv6);
}

/// What is found out about TLSA records of the one host.
async fn tlsa_evidence(world: &World) -> TlsaEvidence {
    world.gather().await.hosts.remove(0).tlsa
}

/// Demands that records were found under this base domain.
#[track_caller]
fn assert_found(evidence: &TlsaEvidence, expected: &str) {
    match evidence {
        TlsaEvidence::Found { base, records } => {
            assert_eq!(*base, name(expected));
            assert_eq!(records.len(), 1);
        }
        TlsaEvidence::NotAsked | TlsaEvidence::Absent(_) | TlsaEvidence::Failed(_) => {
            panic!("{evidence:?}")
        }
    }
}
