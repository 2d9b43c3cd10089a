//! Rules 34 to 37, the operator's rules and the promise that retries never weaken.

use byrnie_base::Security;
use byrnie_policy::DaneRule;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::InsecureMx;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsSource;
use byrnie_policy::TlsaEvidence;
use byrnie_smtp::TlsDemand;
use insta::assert_snapshot;

use crate::explain;
use crate::support::GOOD;
use crate::support::dane_host;
use crate::support::domain;
use crate::support::failed;
use crate::support::host;
use crate::support::policy;

#[test]
fn an_insecure_mx_answer_may_be_trusted_by_the_operator() {
    let mut evidence = domain(
        Security::Insecure,
        vec![dane_host(10, "mx.example.org", &[GOOD])],
    );
    evidence.rule.insecure_mx = InsecureMx::UseTlsa;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: dane
      The MX records are not signed.
      A local rule lets TLSA records count although the MX records are unsigned.
      The domain has no MTA-STS policy.
      10 mx.example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at mx.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
}

#[test]
fn the_operator_can_demand_encryption() {
    let mut evidence = plain("mx.example.net");
    evidence.rule.at_least = Strength::Encrypt;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: encrypt
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      A local rule demands at least encryption without authentication.
      10 mx.example.net: encryption without authentication
        at 192.0.2.1
        The local rule raises the requirement to encryption without authentication.
    "#);
}

#[test]
fn the_operator_can_demand_a_certificate_for_a_host_within_the_domain() {
    let mut evidence = plain("mx.example.org");
    evidence.rule.at_least = Strength::MtaSts;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      A local rule demands at least a certificate from a public authority.
      10 mx.example.org: a certificate from a public authority
        at 192.0.2.1
        The local rule raises the requirement to a certificate from a public authority.
    "#);
}

#[test]
fn a_certificate_for_a_host_that_anybody_could_have_named_does_not_satisfy_the_operator() {
    let mut evidence = plain("mx.example.net");
    evidence.rule.at_least = Strength::MtaSts;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: wait
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      A local rule demands at least a certificate from a public authority.
      10 mx.example.net: not now
        Its name comes from unsigned MX records and lies outside the domain, so a certificate with that name proves nothing.
        The local rule demands a certificate from a public authority, but what the domain publishes gives opportunistic TLS.
    "#);
}

#[test]
fn the_operator_cannot_have_dane_that_is_not_published() {
    let mut evidence = domain(
        Security::Secure,
        vec![
            host(10, "mx1.example.org", Security::Secure),
            dane_host(20, "mx2.example.org", &[GOOD]),
        ],
    );
    evidence.rule.at_least = Strength::Dane;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: dane
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      A local rule demands at least DANE.
      10 mx1.example.org: not now
        It has no TLSA records; that is proven by DNSSEC.
        The local rule demands DANE, but what the domain publishes gives opportunistic TLS.
      20 mx2.example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at mx2.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
}

#[test]
fn dane_can_be_switched_off_by_a_rule_that_says_danger() {
    let mx = HostEvidence {
        tlsa: TlsaEvidence::Failed(failed()),
        ..host(10, "mx.example.org", Security::Secure)
    };
    let mut evidence = domain(Security::Secure, vec![mx]);
    evidence.rule.dane = DaneRule::DangerIgnore;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: opportunistic
      The MX records are proven by DNSSEC.
      A local rule switches DANE off for this domain (danger).
      The domain has no MTA-STS policy.
      10 mx.example.org: opportunistic TLS
        at 192.0.2.1
    "#);
}

#[test]
fn rule_34_requiretls_is_met_by_dane_and_by_mta_sts() {
    let mut evidence = domain(
        Security::Secure,
        vec![dane_host(10, "mx.example.org", &[GOOD])],
    );
    evidence.message = TlsDemand::RequireTls;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: dane
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      The message demands authenticated TLS on its whole way (REQUIRETLS).
      10 mx.example.org: DANE, and REQUIRETLS
        at 192.0.2.1
        Signed TLSA records stand at mx.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);

    let mut evidence = plain("mx.example.net");
    evidence.message = TlsDemand::RequireTls;
    evidence.sts = policy("enforce", &["mx.example.net"], StsSource::Cached);
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      The message demands authenticated TLS on its whole way (REQUIRETLS).
      10 mx.example.net: a certificate from a public authority, and REQUIRETLS
        at 192.0.2.1
        The MTA-STS policy names it.
    "#);
}

#[test]
fn rule_34_requiretls_raises_where_the_host_name_is_proven() {
    let mut evidence = domain(
        Security::Secure,
        vec![host(10, "mx.example.net", Security::Insecure)],
    );
    evidence.message = TlsDemand::RequireTls;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      The message demands authenticated TLS on its whole way (REQUIRETLS).
      10 mx.example.net: a certificate from a public authority, and REQUIRETLS
        at 192.0.2.1
        DANE does not apply to it, as its addresses are unsigned.
        REQUIRETLS raises the requirement to a certificate from a public authority.
    "#);

    let mut evidence = plain("mx.example.net");
    evidence.message = TlsDemand::RequireTls;
    evidence.sts = policy("testing", &["mx.example.net"], StsSource::Cached);
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain only tests its MTA-STS policy, fetched 2 hours ago: failures are reported and stop no mail.
      The message demands authenticated TLS on its whole way (REQUIRETLS).
      10 mx.example.net: a certificate from a public authority, and REQUIRETLS, watched for MTA-STS
        at 192.0.2.1
        The MTA-STS policy names it.
        REQUIRETLS raises the requirement to a certificate from a public authority.
    "#);
}

#[test]
fn rule_34_requiretls_that_no_host_can_meet_is_refused() {
    let mut evidence = plain("mx.example.org");
    evidence.message = TlsDemand::RequireTls;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: reject
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has no MTA-STS policy.
      The message demands authenticated TLS on its whole way (REQUIRETLS).
      No mail host can be authenticated, which REQUIRETLS demands.
      10 mx.example.org: not used
        It cannot be authenticated by DANE, nor by a host name that DNSSEC or MTA-STS proves; REQUIRETLS demands that.
    "#);
}

#[test]
fn rule_34_requiretls_waits_where_a_lookup_failed() {
    let unproven = HostEvidence {
        tlsa: TlsaEvidence::Failed(failed()),
        ..host(10, "mx.example.org", Security::Secure)
    };
    let mut evidence = domain(Security::Secure, vec![unproven]);
    evidence.message = TlsDemand::RequireTls;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      The message demands authenticated TLS on its whole way (REQUIRETLS).
      10 mx.example.org: not now
        Whether it has TLSA records could not be looked up: no answer within 5 s.
    "#);
}

#[test]
fn rule_34_a_forged_mx_answer_does_not_meet_requiretls_although_the_operator_trusts_it() {
    let mut evidence = domain(
        Security::Insecure,
        vec![dane_host(10, "mx.example.net", &[GOOD])],
    );
    evidence.rule.insecure_mx = InsecureMx::UseTlsa;
    evidence.message = TlsDemand::RequireTls;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: reject
      The MX records are not signed.
      A local rule lets TLSA records count although the MX records are unsigned.
      The domain has no MTA-STS policy.
      The message demands authenticated TLS on its whole way (REQUIRETLS).
      No mail host can be authenticated, which REQUIRETLS demands.
      10 mx.example.net: not used
        Signed TLSA records stand at mx.example.net: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
        It cannot be authenticated by DANE, nor by a host name that DNSSEC or MTA-STS proves; REQUIRETLS demands that.
    "#);
}

#[test]
fn rule_34_tls_required_no_lifts_dane_and_mta_sts() {
    let failing = HostEvidence {
        tlsa: TlsaEvidence::Failed(failed()),
        ..host(10, "mx1.example.org", Security::Secure)
    };
    let hosts = vec![failing, dane_host(20, "mx2.example.org", &[GOOD])];
    for sts in [
        policy("enforce", &["mx9.example.org"], StsSource::Cached),
        StsEvidence::StoreUnreadable(String::from("disk I/O error")),
    ] {
        let evidence = Evidence {
            sts,
            message: TlsDemand::TlsNotRequired,
            ..domain(Security::Secure, hosts.clone())
        };
        let decision = byrnie_policy::decide(&evidence);
        assert_eq!(decision.usable_hosts().count(), 2);
        assert_eq!(decision.weakest(), Some(Strength::Opportunistic));
    }
    let evidence = Evidence {
        sts: policy("enforce", &["mx9.example.org"], StsSource::Cached),
        message: TlsDemand::TlsNotRequired,
        ..domain(Security::Secure, hosts)
    };
    assert_snapshot!(explain(&evidence), @r#"
    example.org: opportunistic
      The MX records are proven by DNSSEC.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      The message says TLS-Required: No, which lifts DANE and MTA-STS for it.
      10 mx1.example.org: opportunistic TLS
        at 192.0.2.1
      20 mx2.example.org: opportunistic TLS
        at 192.0.2.1
    "#);
}

#[test]
fn tls_required_no_does_not_lift_what_the_operator_demands() {
    let mut evidence = domain(
        Security::Secure,
        vec![dane_host(10, "mx.example.org", &[GOOD])],
    );
    evidence.message = TlsDemand::TlsNotRequired;
    evidence.rule.at_least = Strength::Encrypt;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: encrypt
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      The message says TLS-Required: No, which lifts DANE and MTA-STS for it.
      A local rule demands at least encryption without authentication.
      10 mx.example.org: encryption without authentication
        at 192.0.2.1
        The local rule raises the requirement to encryption without authentication.
    "#);
    evidence.rule.at_least = Strength::MtaSts;
    assert_snapshot!(explain(&evidence), @r#"
    example.org: dane
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      The message says TLS-Required: No, but a local rule demands authentication.
      A local rule demands at least a certificate from a public authority.
      10 mx.example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at mx.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
}

#[test]
fn a_retry_is_never_held_to_less_than_an_earlier_attempt() {
    let mut evidence = domain(
        Security::Secure,
        vec![
            host(10, "mx1.example.org", Security::Secure),
            dane_host(20, "mx2.example.org", &[GOOD]),
        ],
    );
    evidence.floor = Some(Strength::Dane);
    assert_snapshot!(explain(&evidence), @r#"
    example.org: dane
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      An earlier attempt was held to DANE; no later one may be weaker.
      10 mx1.example.org: not now
        It has no TLSA records; that is proven by DNSSEC.
        An earlier attempt was held to DANE; now only opportunistic TLS would hold, so the mail waits.
      20 mx2.example.org: DANE
        at 192.0.2.1
        Signed TLSA records stand at mx2.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
    "#);
    evidence.hosts.pop();
    evidence.floor = Some(Strength::MtaSts);
    assert_snapshot!(explain(&evidence), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      The domain has no MTA-STS policy.
      An earlier attempt was held to a certificate from a public authority; no later one may be weaker.
      The domain names too many mail hosts; the worst 1 were not looked up.
      10 mx1.example.org: not now
        It has no TLSA records; that is proven by DNSSEC.
        An earlier attempt was held to a certificate from a public authority; now only opportunistic TLS would hold, so the mail waits.
    "#);
}

/// A domain in an unsigned zone with one host.
fn plain(host_name: &str) -> Evidence {
    domain(
        Security::Insecure,
        vec![host(10, host_name, Security::Insecure)],
    )
}
