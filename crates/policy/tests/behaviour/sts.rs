//! Rules 22 to 30: MTA-STS.

use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::MxRrset;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsFailure;
use byrnie_policy::StsSource;
use byrnie_policy::TlsaEvidence;
use byrnie_policy::Verdict;
use byrnie_policy::decide;
use byrnie_smtp::TlsDemand;
use insta::assert_snapshot;

use crate::explain;
use crate::support::GOOD;
use crate::support::PKIX;
use crate::support::answered;
use crate::support::bogus;
use crate::support::dane_host;
use crate::support::domain;
use crate::support::failed;
use crate::support::host;
use crate::support::policy;

#[test]
fn rule_24_the_cached_policy_is_enforced_when_a_newer_one_cannot_be_fetched() {
    let source = StsSource::CachedAfterFailure(StsFailure {
        why: String::from("status 503"),
        result_type: "sts-policy-fetch-error",
    });
    let evidence = unsigned(policy("enforce", &["mx1.example.org"], source));
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      The MTA-STS policy could not be fetched again (status 503); the known one stays in force.
      10 mx1.example.org: a certificate from a public authority
        at 192.0.2.1
        The MTA-STS policy names it.
      20 mx2.example.org: not used
        The MTA-STS policy does not name it, so it gets no mail.
    "#);
}

#[test]
fn rule_25_a_policy_that_cannot_be_fetched_and_is_not_cached_is_none() {
    let evidence = unsigned(fetch_failed("status 503"));
    assert_snapshot!(explain(&evidence), @r#"
    example.org: opportunistic
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain announces an MTA-STS policy that cannot be fetched (status 503), and none is known from before.
      10 mx1.example.org: opportunistic TLS
        at 192.0.2.1
      20 mx2.example.org: opportunistic TLS
        at 192.0.2.1
    "#);
}

#[test]
fn a_record_that_cannot_be_looked_up_counts_where_it_could_have_been_proven() {
    // Bogus: somebody tampers with a signed zone.
    assert_snapshot!(explain(&unsigned(StsEvidence::RecordUnknown(bogus()))), @r#"
    example.org: wait
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      Whether the domain has an MTA-STS policy could not be looked up: the answer is forged or broken (the signature has expired).
      10 mx1.example.org: not now
      20 mx2.example.org: not now
    "#);
    // No answer from an unsigned zone: whoever can do that can deny the record as well.
    assert_snapshot!(explain(&unsigned(StsEvidence::RecordUnknown(failed()))), @r#"
    example.org: opportunistic
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The MTA-STS record could not be looked up (failed: no answer within 5 s); as the zone is unsigned, that counts as none.
      10 mx1.example.org: opportunistic TLS
        at 192.0.2.1
      20 mx2.example.org: opportunistic TLS
        at 192.0.2.1
    "#);
    // No answer from a signed zone: somebody may be hiding the record.
    let signed = Evidence {
        sts: StsEvidence::RecordUnknown(failed()),
        ..domain(
            Security::Secure,
            vec![dane_host(10, "mx.example.org", &[GOOD])],
        )
    };
    assert_snapshot!(explain(&signed), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      Whether the domain has an MTA-STS policy could not be looked up: no answer within 5 s.
      10 mx.example.org: not now
    "#);
}

#[test]
fn rule_26_enforce_skips_hosts_that_are_not_named() {
    let evidence = unsigned(policy("enforce", &["mx2.example.org"], StsSource::Fetched));
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      10 mx1.example.org: not used
        The MTA-STS policy does not name it, so it gets no mail.
      20 mx2.example.org: a certificate from a public authority
        at 192.0.2.1
        The MTA-STS policy names it.
    "#);
}

#[test]
fn rule_26_enforce_that_names_no_host_means_wait() {
    let evidence = unsigned(policy("enforce", &["*.example.com"], StsSource::Fetched));
    assert_snapshot!(explain(&evidence), @r#"
    example.org: wait
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      The MTA-STS policy names none of the mail hosts that could be used.
      10 mx1.example.org: not used
        The MTA-STS policy does not name it, so it gets no mail.
      20 mx2.example.org: not used
        The MTA-STS policy does not name it, so it gets no mail.
    "#);
}

#[test]
fn rule_26_testing_delivers_and_watches() {
    let evidence = unsigned(policy("testing", &["mx1.example.org"], StsSource::Fetched));
    assert_snapshot!(explain(&evidence), @r#"
    example.org: opportunistic
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain only tests its MTA-STS policy, fetched 2 hours ago: failures are reported and stop no mail.
      10 mx1.example.org: opportunistic TLS, watched for MTA-STS
        at 192.0.2.1
        The MTA-STS policy names it.
      20 mx2.example.org: opportunistic TLS, watched for MTA-STS
        at 192.0.2.1
        The MTA-STS policy does not name it, which is only reported.
    "#);
}

#[test]
fn mode_none_counts_as_no_policy() {
    let evidence = unsigned(policy("none", &[], StsSource::Cached));
    assert_snapshot!(explain(&evidence), @r#"
    example.org: opportunistic
      The MX records are not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain has switched its MTA-STS policy off.
      10 mx1.example.org: opportunistic TLS
        at 192.0.2.1
      20 mx2.example.org: opportunistic TLS
        at 192.0.2.1
    "#);
}

#[test]
fn rule_28_dane_wins_where_it_applies_and_the_other_hosts_need_mta_sts() {
    let evidence = Evidence {
        sts: policy("enforce", &["*.example.org"], StsSource::Cached),
        ..domain(
            Security::Secure,
            vec![
                dane_host(10, "mx1.example.org", &[GOOD]),
                host(20, "mx2.example.org", Security::Secure),
            ],
        )
    };
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are proven by DNSSEC.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      10 mx1.example.org: DANE
        at 192.0.2.1
        The MTA-STS policy names it.
        Signed TLSA records stand at mx1.example.org: 3 1 1 00000000000000000000000000000000000000000000000000000000000000aa.
      20 mx2.example.org: a certificate from a public authority
        at 192.0.2.1
        The MTA-STS policy names it.
        It has no TLSA records; that is proven by DNSSEC.
    "#);
}

#[test]
fn rule_28_a_dane_failure_is_not_healed_by_mta_sts() {
    let mx = HostEvidence {
        tlsa: TlsaEvidence::Failed(failed()),
        ..host(10, "mx1.example.org", Security::Secure)
    };
    let evidence = Evidence {
        sts: policy("enforce", &["mx1.example.org"], StsSource::Cached),
        ..domain(Security::Secure, vec![mx])
    };
    assert_snapshot!(explain(&evidence), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      10 mx1.example.org: not now
        The MTA-STS policy names it.
        Whether it has TLSA records could not be looked up: no answer within 5 s.
    "#);
}

#[test]
fn rule_28_under_enforce_a_host_with_dane_that_is_not_named_is_skipped() {
    let evidence = Evidence {
        sts: policy("enforce", &["mx2.example.org"], StsSource::Cached),
        ..domain(
            Security::Secure,
            vec![
                dane_host(10, "mx1.example.org", &[GOOD]),
                host(20, "mx2.example.org", Security::Secure),
            ],
        )
    };
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are proven by DNSSEC.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      10 mx1.example.org: not used
        The MTA-STS policy does not name it, so it gets no mail.
      20 mx2.example.org: a certificate from a public authority
        at 192.0.2.1
        The MTA-STS policy names it.
        It has no TLSA records; that is proven by DNSSEC.
    "#);
}

#[test]
fn unusable_tlsa_records_do_not_set_an_enforced_policy_aside() {
    let evidence = Evidence {
        sts: policy("enforce", &["mx1.example.org"], StsSource::Cached),
        ..domain(
            Security::Secure,
            vec![dane_host(10, "mx1.example.org", &[PKIX])],
        )
    };
    assert_snapshot!(explain(&evidence), @r#"
    example.org: mta-sts
      The MX records are proven by DNSSEC.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      10 mx1.example.org: a certificate from a public authority
        at 192.0.2.1
        The MTA-STS policy names it.
        TLSA record 1 1 1 00000000000000000000000000000000000000000000000000000000000000bb is of no use for mail: usages 0 and 1 ask for a public authority, which mail does not have.
        None of the signed TLSA records at mx1.example.org is of use, which still demands encryption.
    "#);
}

#[test]
fn rule_29_an_unreadable_store_means_wait_even_under_dane() {
    let evidence = Evidence {
        sts: StsEvidence::StoreUnreadable(String::from("disk I/O error")),
        ..domain(
            Security::Secure,
            vec![dane_host(10, "mx.example.org", &[GOOD])],
        )
    };
    assert_snapshot!(explain(&evidence), @r#"
    example.org: wait
      The MX records are proven by DNSSEC.
      Stored MTA-STS policies cannot be read here: disk I/O error.
      10 mx.example.org: not now
    "#);
}

#[test]
fn rule_26_a_denial_that_nobody_signed_does_not_bounce_mail_under_enforce() {
    for (kind, words) in [
        (MxRrset::NoSuchDomain, "does not exist"),
        (MxRrset::Null, "takes no mail"),
    ] {
        let answer = |security| Evidence {
            sts: enforced(),
            ..answered(Ok(Secured {
                security,
                value: kind.clone(),
            }))
        };
        let forged = decide(&answer(Security::Insecure));
        assert_eq!(forged.verdict, Verdict::Wait, "{kind:?}");
        assert!(forged.explanation().to_string().contains(words));
        assert!(forged.reply().unwrap().to_string().starts_with("451 4.7.5"));
        assert_eq!(decide(&answer(Security::Secure)).verdict, Verdict::Reject);
        let unpromised = Evidence {
            sts: StsEvidence::Absent,
            ..answer(Security::Insecure)
        };
        assert_eq!(decide(&unpromised).verdict, Verdict::Reject);
    }
}

#[test]
fn rule_26_a_named_host_whose_addresses_are_denied_unsigned_means_wait() {
    let without_address = |security| {
        let mut evidence = unsigned(enforced());
        for host in &mut evidence.hosts {
            host.ipv4 = Ok(Secured {
                security,
                value: Vec::new(),
            });
            host.ipv6 = Ok(Secured {
                security,
                value: Vec::new(),
            });
        }
        evidence.hosts.pop();
        evidence
    };
    let mut evidence = without_address(Security::Insecure);
    evidence.mx = Ok(Secured::insecure(MxRrset::Implicit));
    evidence.domain = evidence.hosts[0].host.clone();
    assert_snapshot!(explain(&evidence), @r#"
    mx1.example.org: wait
      The domain has no MX records, so it is its own mail host; that is not signed.
      DANE does not apply, as the MX records are unsigned.
      The domain enforces an MTA-STS policy, fetched 2 hours ago.
      10 mx1.example.org: not now
        The MTA-STS policy names it.
        It has no address.
        That is not signed, and mail to the domain goes to authenticated hosts alone, so it waits.
    "#);
    let mut proven = without_address(Security::Secure);
    proven.mx = evidence.mx.clone();
    proven.domain = evidence.domain;
    assert_eq!(decide(&proven).verdict, Verdict::Reject);
}

/// The same for what the operator or an earlier attempt holds the mail to: forged MX records would make
/// it wait.
#[test]
fn rule_26_no_denial_that_nobody_signed_bounces_mail_to_authenticated_hosts() {
    let (wait, reject) = (Verdict::Wait, Verdict::Reject);
    for (at_least, floor, expected) in [
        (Strength::Opportunistic, None, reject),
        (Strength::Encrypt, Some(Strength::Encrypt), reject),
        (Strength::MtaSts, None, wait),
        (Strength::Opportunistic, Some(Strength::MtaSts), wait),
        (Strength::Opportunistic, Some(Strength::Dane), wait),
    ] {
        for security in [Security::Insecure, Security::Secure] {
            let expected = match security {
                Security::Secure => reject,
                Security::Insecure => expected,
            };
            for mut evidence in denials(security) {
                evidence.rule.at_least = at_least;
                evidence.floor = floor;
                let verdict = decide(&evidence).verdict;
                assert_eq!(verdict, expected, "{at_least:?} {floor:?} {evidence:?}");
            }
        }
    }
}

/// What is stored of a policy cannot be read: perhaps it is enforced.
#[test]
fn rule_26_a_denial_that_nobody_signed_waits_for_a_policy_that_cannot_be_read() {
    for mut evidence in denials(Security::Insecure) {
        evidence.sts = StsEvidence::StoreUnreadable(String::from("disk I/O error"));
        assert_eq!(decide(&evidence).verdict, Verdict::Wait, "{evidence:?}");
    }
}

/// A domain without a policy that does not exist, takes no mail, or has no address.
fn denials(security: Security) -> [Evidence; 3] {
    let no_address = |host: HostEvidence| HostEvidence {
        ipv4: Ok(Secured {
            security,
            value: Vec::new(),
        }),
        ipv6: Ok(Secured {
            security,
            value: Vec::new(),
        }),
        ..host
    };
    let mut implicit = unsigned(StsEvidence::Absent);
    implicit.hosts.truncate(1);
    implicit.hosts = implicit.hosts.into_iter().map(no_address).collect();
    implicit.mx = Ok(Secured::insecure(MxRrset::Implicit));
    implicit.domain = implicit.hosts[0].host.clone();
    let denied = |value| answered(Ok(Secured { security, value }));
    [
        denied(MxRrset::NoSuchDomain),
        denied(MxRrset::Null),
        implicit,
    ]
}

/// Whoever keeps mail waiting until the policy has expired must not get it then.
#[test]
fn an_enforced_policy_is_the_floor_even_where_no_host_may_be_used() {
    let elsewhere = policy("enforce", &["mx.example.net"], StsSource::Cached);
    let unknown = Evidence {
        sts: enforced(),
        ..answered(Err(failed()))
    };
    for waiting in [unsigned(elsewhere), unknown] {
        let first = decide(&waiting);
        assert_eq!(first.verdict, Verdict::Wait);
        assert_eq!(first.floor(), Some(Strength::MtaSts));
        let expired = Evidence {
            floor: first.floor(),
            ..unsigned(fetch_failed("blocked"))
        };
        assert_eq!(decide(&expired).verdict, Verdict::Wait);

        let lifted = Evidence {
            message: TlsDemand::TlsNotRequired,
            ..waiting
        };
        assert_ne!(decide(&lifted).floor(), Some(Strength::MtaSts));
    }
    for weaker in [
        policy("testing", &["mx.example.net"], StsSource::Cached),
        StsEvidence::Absent,
    ] {
        let floor = decide(&unsigned(weaker)).floor();
        assert_eq!(floor, Some(Strength::Opportunistic));
    }
}

/// An enforced policy that names the first host of [`unsigned`].
fn enforced() -> StsEvidence {
    policy("enforce", &["mx1.example.org"], StsSource::Cached)
}

/// A domain in an unsigned zone with two hosts.
fn unsigned(sts: StsEvidence) -> Evidence {
    let hosts = [(10, "mx1.example.org"), (20, "mx2.example.org")];
    let hosts = hosts.map(|(preference, name)| host(preference, name, Security::Insecure));
    Evidence {
        sts,
        ..domain(Security::Insecure, hosts.into())
    }
}

/// A policy that could not be fetched.
fn fetch_failed(why: &str) -> StsEvidence {
    StsEvidence::FetchFailed(StsFailure {
        why: why.to_owned(),
        result_type: "sts-policy-fetch-error",
    })
}
