//! Rules 1 to 9: DNS and DNSSEC.

use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_policy::HostEvidence;
use byrnie_policy::MxRrset;
use byrnie_policy::TlsaEvidence;
use insta::assert_snapshot;

use crate::explain;
use crate::support::GOOD;
use crate::support::answered;
use crate::support::bogus;
use crate::support::dane_host;
use crate::support::domain;
use crate::support::failed;
use crate::support::found;
use crate::support::host;
use crate::support::name;

#[test]
fn rule_1_a_bogus_mx_answer_means_wait() {
    assert_snapshot!(explain(&answered(Err(bogus()))), @r#"
    example.org: wait
      The MX records could not be looked up: the answer is forged or broken (the signature has expired).
    "#);
}

#[test]
fn rule_1_a_failed_mx_lookup_means_wait() {
    assert_snapshot!(explain(&answered(Err(failed()))), @r#"
    example.org: wait
      The MX records could not be looked up: no answer within 5 s.
    "#);
}

#[test]
fn rule_1_no_address_known_means_wait() {
    let mx = HostEvidence {
        ipv4: Err(failed()),
        ipv6: Err(bogus()),
        tlsa: TlsaEvidence::NotAsked,
        ..host(10, "mx.example.org", Security::Secure)
    };
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx])), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: not now
        Its IPv6 addresses could not be looked up and are not used: the answer is forged or broken (the signature has expired).
        Its IPv4 addresses could not be looked up and are not used: no answer within 5 s.
        No address of it could be looked up.
    "#);
}

#[test]
fn rule_1_a_host_without_ipv6_waits_if_its_ipv4_lookup_fails() {
    let mx = HostEvidence {
        ipv4: Err(failed()),
        ..host(10, "mx.example.org", Security::Secure)
    };
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx])), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: not now
        Its IPv4 addresses could not be looked up and are not used: no answer within 5 s.
        No address of it could be looked up.
    "#);
}

#[test]
fn rule_2_behind_insecure_addresses_there_is_no_dane() {
    let mx = host(10, "mx.example.net", Security::Insecure);
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx.clone()])), @r#"
    example.org: opportunistic
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.net: opportunistic TLS
        at 192.0.2.1
        DANE does not apply to it, as its addresses are unsigned.
    "#);
    // Even where somebody asked, and got an error or records.
    for tlsa in [
        TlsaEvidence::Failed(failed()),
        found("mx.example.net", &[GOOD]),
    ] {
        let asked = HostEvidence { tlsa, ..mx.clone() };
        assert_eq!(
            explain(&domain(Security::Secure, vec![asked])),
            explain(&domain(Security::Secure, vec![mx.clone()])),
        );
    }
}

#[test]
fn rule_3_behind_an_insecure_mx_answer_there_is_no_dane() {
    let mx = dane_host(10, "mx.example.org", &[GOOD]);
    assert_snapshot!(explain(&domain(Security::Insecure, vec![mx])), @r#"
    example.org: opportunistic
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      10 mx.example.org: opportunistic TLS
        at 192.0.2.1
    "#);
}

#[test]
fn rule_4_a_broken_aaaa_denial_does_not_disable_dane_on_ipv4() {
    let mx = HostEvidence {
        ipv6: Err(bogus()),
        ..dane_host(10, "mx.example.org", &[GOOD])
    };
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx])), @r#"
    example.org: dane
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: DANE
        at 192.0.2.1
        Its IPv6 addresses could not be looked up and are not used: the answer is forged or broken (the signature has expired).
        Signed TLSA records stand at mx.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
}

#[test]
fn a_host_is_connected_to_over_ipv6_first() {
    let mx = HostEvidence {
        ipv6: Ok(Secured::secure(vec!["2001:db8::1".parse().unwrap()])),
        ..host(10, "mx.example.org", Security::Secure)
    };
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx])), @r#"
    example.org: opportunistic
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: opportunistic TLS
        at 2001:db8::1, 192.0.2.1
        It has no TLSA records; that is proven by DNSSEC.
    "#);
}

#[test]
fn a_domain_that_does_not_exist_is_refused_signed_or_not() {
    let gone = MxRrset::NoSuchDomain;
    assert_snapshot!(explain(&answered(Ok(Secured::secure(gone.clone())))), @r#"
    example.org: reject
      The domain does not exist; that is proven by DNSSEC.
    "#);
    assert_snapshot!(explain(&answered(Ok(Secured::insecure(gone)))), @r#"
    example.org: reject
      The domain does not exist; that is not signed.
    "#);
}

#[test]
fn hosts_without_any_address_are_skipped_and_refused_if_all_are() {
    let empty = HostEvidence {
        ipv4: Ok(Secured::secure(Vec::new())),
        ..host(10, "gone.example.org", Security::Secure)
    };
    let alive = host(20, "mx.example.org", Security::Secure);
    assert_snapshot!(explain(&domain(Security::Secure, vec![empty.clone(), alive])), @r#"
    example.org: opportunistic
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 gone.example.org: not used
        It has no address.
      20 mx.example.org: opportunistic TLS
        at 192.0.2.1
        It has no TLSA records; that is proven by DNSSEC.
    "#);
    assert_snapshot!(explain(&domain(Security::Secure, vec![empty])), @r#"
    example.org: reject
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      None of the mail hosts has an address.
      10 gone.example.org: not used
        It has no address.
    "#);
}

#[test]
fn hosts_are_tried_by_preference_and_then_by_name() {
    let hosts = ["b.example.org", "a.example.org"];
    let mut hosts: Vec<_> = hosts.map(|name| host(10, name, Security::Insecure)).into();
    hosts.push(host(5, "z.example.org", Security::Insecure));
    assert_snapshot!(explain(&domain(Security::Insecure, hosts)), @r#"
    example.org: opportunistic
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      5 z.example.org: opportunistic TLS
        at 192.0.2.1
      10 a.example.org: opportunistic TLS
        at 192.0.2.1
      10 b.example.org: opportunistic TLS
        at 192.0.2.1
    "#);
}

#[test]
fn hosts_that_were_not_looked_up_are_not_used_and_said() {
    let mut evidence = domain(
        Security::Insecure,
        vec![
            host(10, "mx1.example.org", Security::Insecure),
            host(20, "mx2.example.org", Security::Insecure),
        ],
    );
    evidence.hosts.pop();
    assert_snapshot!(explain(&evidence), @r#"
    example.org: opportunistic
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      The domain names too many mail hosts; the worst 1 were not looked up.
      10 mx1.example.org: opportunistic TLS
        at 192.0.2.1
    "#);
    evidence.hosts.pop();
    assert_snapshot!(explain(&evidence), @r#"
    example.org: wait
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      No usable mail host has been looked up.
    "#);
}

#[test]
fn a_host_that_the_mx_answer_does_not_name_is_never_used() {
    let mut evidence = domain(
        Security::Insecure,
        vec![host(10, "mx1.example.org", Security::Insecure)],
    );
    evidence
        .hosts
        .push(host(1, "evil.example", Security::Insecure));
    assert_snapshot!(explain(&evidence), @r#"
    example.org: opportunistic
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      10 mx1.example.org: opportunistic TLS
        at 192.0.2.1
    "#);

    let mut evidence = answered(Ok(Secured::secure(MxRrset::Implicit)));
    evidence.domain = name("example.net");
    evidence
        .hosts
        .push(host(0, "evil.example", Security::Secure));
    assert_snapshot!(explain(&evidence), @r#"
    example.net: wait
      The domain has no MX records, so it is its own mail host; that is proven by DNSSEC.
      The domain has no MTA-STS policy.
      No usable mail host has been looked up.
    "#);
}
