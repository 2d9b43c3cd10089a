//! Rules 10 to 21: DANE.

use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_policy::HostEvidence;
use byrnie_policy::MxRrset;
use byrnie_policy::TlsRequirement;
use byrnie_policy::TlsaEvidence;
use byrnie_policy::decide;
use insta::assert_snapshot;

use crate::explain;
use crate::support::ANCHOR;
use crate::support::GOOD;
use crate::support::PKIX;
use crate::support::answered;
use crate::support::bogus;
use crate::support::dane_host;
use crate::support::domain;
use crate::support::failed;
use crate::support::found;
use crate::support::host;
use crate::support::name;

#[test]
fn rule_10_secure_mx_address_and_record_demand_dane() {
    let mx = dane_host(10, "mx.example.org", &[GOOD]);
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx])), @r#"
    example.org: dane
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at mx.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
}

#[test]
fn rule_11_hosts_with_and_without_dane_stand_side_by_side() {
    let hosts = vec![
        dane_host(10, "mx1.example.org", &[GOOD]),
        host(20, "mx2.example.net", Security::Insecure),
    ];
    assert_snapshot!(explain(&domain(Security::Secure, hosts)), @r#"
    example.org: opportunistic
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx1.example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at mx1.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
      20 mx2.example.net: opportunistic TLS
        at 192.0.2.1
        DANE does not apply to it, as its addresses are unsigned.
    "#);
}

#[test]
fn rule_12_next_hop_names_count_only_behind_a_secure_mx_answer() {
    let mut evidence = domain(
        Security::Secure,
        vec![dane_host(10, "mx.example.net", &[GOOD])],
    );
    check_names(&evidence, &["example.org"]);
    evidence.expanded_domain = Some(Secured::secure(name("real.example.org")));
    check_names(&evidence, &["example.org", "real.example.org"]);
    evidence.expanded_domain = Some(Secured::insecure(name("real.example.org")));
    check_names(&evidence, &["example.org"]);
    evidence.expanded_domain = Some(Secured::secure(name("real.example.org")));
    evidence.mx = evidence.mx.map(|mx| Secured::insecure(mx.value));
    evidence.rule.insecure_mx = byrnie_policy::InsecureMx::UseTlsa;
    check_names(&evidence, &[]);
}

/// So what is demanded of a host is the same for all domains that it serves.
#[test]
fn rule_12_names_are_left_out_of_a_demand_where_no_record_makes_them_count() {
    for (records, names) in [
        (&[GOOD][..], &["mx.example.net"][..]),
        (&[GOOD, PKIX], &["mx.example.net"]),
        (&[GOOD, ANCHOR], &["mx.example.net", "example.org"]),
    ] {
        let host = dane_host(10, "mx.example.net", records);
        let decision = decide(&domain(Security::Secure, vec![host]));
        let requirement = decision.hosts[0].verdict.requirement().unwrap();
        let reduced = requirement.tls.reduced();
        let TlsRequirement::Dane { reference, .. } = &reduced else {
            panic!("{reduced:?}");
        };
        assert!(
            reference
                .names()
                .map(ToString::to_string)
                .eq(names.iter().copied())
        );
    }
}

#[test]
fn rule_13_and_14_unusable_records_beside_a_usable_one_are_set_aside() {
    let mx = dane_host(10, "mx.example.org", &[PKIX, GOOD, "3 1 1 00", "9 9 9 ab"]);
    let evidence = domain(Security::Secure, vec![mx]);
    assert_snapshot!(explain(&evidence), @r#"
    example.org: dane
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at mx.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
        TLSA record 1 1 1 00000000000000000000000000000000000000000000000000000000000000bb is of no use for mail: usages 0 and 1 ask for a public authority, which mail does not have.
        TLSA record 3 1 1 00 is of no use for mail: the digest has the wrong length.
        TLSA record 9 9 9 ab is of no use for mail: the certificate usage is unknown.
    "#);
    let decision = decide(&evidence);
    let (_, requirement) = decision.usable_hosts().next().unwrap();
    let TlsRequirement::Dane { records, .. } = &requirement.tls else {
        panic!("{requirement:?}");
    };
    assert_eq!(records.as_slice(), [crate::support::tlsa(GOOD)]);
}

#[test]
fn rule_14_only_unusable_records_demand_encryption() {
    let mx = dane_host(10, "mx.example.org", &[PKIX]);
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx])), @r#"
    example.org: encrypt
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: encryption without authentication
        at 192.0.2.1
        TLSA record 1 1 1 00000000000000000000000000000000000000000000000000000000000000bb is of no use for mail: usages 0 and 1 ask for a public authority, which mail does not have.
        None of the signed TLSA records at mx.example.org is of use, which still demands encryption.
    "#);
}

#[test]
fn rule_15_a_proven_absence_of_records_means_no_dane() {
    for security in [Security::Secure, Security::Insecure] {
        let mx = HostEvidence {
            tlsa: TlsaEvidence::Absent(security),
            ..host(10, "mx.example.org", Security::Secure)
        };
        let decision = decide(&domain(Security::Secure, vec![mx]));
        assert_eq!(
            decision.weakest(),
            Some(byrnie_policy::Strength::Opportunistic)
        );
    }
    let mx = host(10, "mx.example.org", Security::Secure);
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx])), @r#"
    example.org: opportunistic
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: opportunistic TLS
        at 192.0.2.1
        It has no TLSA records; that is proven by DNSSEC.
    "#);
}

#[test]
fn rule_15_a_bogus_or_failed_tlsa_lookup_holds_mail_to_that_host_alone() {
    let with = |preference, host_name, tlsa| HostEvidence {
        tlsa,
        ..host(preference, host_name, Security::Secure)
    };
    let first = with(10, "mx1.example.org", TlsaEvidence::Failed(bogus()));
    let second = with(20, "mx2.example.org", TlsaEvidence::Failed(failed()));
    let third = dane_host(30, "mx3.example.org", &[GOOD]);
    let all = vec![first.clone(), second.clone(), third];
    assert_snapshot!(explain(&domain(Security::Secure, all)), @r#"
    example.org: dane
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx1.example.org: not now
        Whether it has TLSA records could not be looked up: the answer is forged or broken (the signature has expired).
      20 mx2.example.org: not now
        Whether it has TLSA records could not be looked up: no answer within 5 s.
      30 mx3.example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at mx3.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
    assert_snapshot!(explain(&domain(Security::Secure, vec![first, second])), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx1.example.org: not now
        Whether it has TLSA records could not be looked up: the answer is forged or broken (the signature has expired).
      20 mx2.example.org: not now
        Whether it has TLSA records could not be looked up: no answer within 5 s.
    "#);
}

#[test]
fn rule_15_a_question_that_nobody_asked_is_no_denial() {
    let mx = HostEvidence {
        tlsa: TlsaEvidence::NotAsked,
        ..host(10, "mx.example.org", Security::Secure)
    };
    assert_snapshot!(explain(&domain(Security::Secure, vec![mx])), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      10 mx.example.org: not now
        Its TLSA records were not looked up although they would count.
    "#);
}

#[test]
fn rule_17_a_secure_alias_counts_at_both_ends() {
    let alias = |base| HostEvidence {
        expanded: Some(Secured::secure(name("host.example.net"))),
        alias: Some(Security::Secure),
        tlsa: found(base, &[GOOD]),
        ..host(10, "mx.example.org", Security::Secure)
    };
    for base in ["host.example.net", "mx.example.org"] {
        let decision = decide(&domain(Security::Secure, vec![alias(base)]));
        assert_eq!(base_of(&decision), Some(name(base)));
    }
    let elsewhere = domain(Security::Secure, vec![alias("other.example.net")]);
    assert_eq!(base_of(&decide(&elsewhere)), None);
}

#[test]
fn rule_17_a_secure_alias_into_an_unsigned_zone_counts_at_the_original_name() {
    let alias = |base, first| HostEvidence {
        expanded: Some(Secured::insecure(name("host.example.net"))),
        alias: Some(first),
        tlsa: found(base, &[GOOD]),
        ..host(10, "mx.example.org", Security::Insecure)
    };
    let counts = |mx| base_of(&decide(&domain(Security::Secure, vec![mx])));
    let original = name("mx.example.org");
    assert_eq!(
        counts(alias("mx.example.org", Security::Secure)),
        Some(original)
    );
    assert_eq!(counts(alias("host.example.net", Security::Secure)), None);
    assert_eq!(counts(alias("mx.example.org", Security::Insecure)), None);
}

#[test]
fn a_host_that_is_named_itself_needs_no_mx_records() {
    let mut evidence = answered(Ok(Secured::secure(MxRrset::Host)));
    evidence.hosts = vec![dane_host(0, "example.org", &[GOOD])];
    assert_snapshot!(explain(&evidence), @r#"
    example.org: dane
      The next hop is this host itself; its MX records do not count.
      The domain has no MTA-STS policy.
      0 example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
}

#[test]
fn rule_19_a_domain_without_mx_is_its_own_host() {
    let mut evidence = answered(Ok(Secured::secure(MxRrset::Implicit)));
    evidence.hosts = vec![dane_host(0, "example.org", &[GOOD])];
    assert_snapshot!(explain(&evidence), @r#"
    example.org: dane
      The domain has no MX records, so it is its own mail host; that is proven by DNSSEC.
      The domain has no MTA-STS policy.
      0 example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
    evidence.mx = Ok(Secured::insecure(MxRrset::Implicit));
    evidence.hosts = vec![host(0, "example.org", Security::Insecure)];
    assert_snapshot!(explain(&evidence), @r#"
    example.org: opportunistic
      The domain has no MX records, so it is its own mail host; that is not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      0 example.org: opportunistic TLS
        at 192.0.2.1
    "#);
}

#[test]
fn rule_19_a_null_mx_refuses_mail() {
    let evidence = answered(Ok(Secured::secure(MxRrset::Null)));
    assert_snapshot!(explain(&evidence), @r#"
    example.org: reject
      The domain says that it takes no mail (null MX).
    "#);
}

/// Compares the names that a certificate may carry besides the TLSA base domain.
#[track_caller]
fn check_names(evidence: &byrnie_policy::Evidence, expected: &[&str]) {
    let decision = decide(evidence);
    let (_, requirement) = decision.usable_hosts().next().unwrap();
    let TlsRequirement::Dane { reference, .. } = &requirement.tls else {
        panic!("{requirement:?}");
    };
    assert_eq!(reference.tlsa_base, name("mx.example.net"));
    let expected: Vec<_> = expected.iter().map(|text| name(text)).collect();
    assert_eq!(reference.next_hop, expected);
}

/// The TLSA base domain of the first host that demands DANE.
fn base_of(decision: &byrnie_policy::Decision) -> Option<byrnie_base::DomainName> {
    decision
        .usable_hosts()
        .find_map(|(_, requirement)| match &requirement.tls {
            TlsRequirement::Dane { reference, .. } => Some(reference.tlsa_base.clone()),
            TlsRequirement::Opportunistic
            | TlsRequirement::Encrypt
            | TlsRequirement::MtaSts { .. } => None,
        })
}
