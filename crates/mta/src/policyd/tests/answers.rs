//! A decision in the words of others, rule by rule.

use std::net::Ipv4Addr;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_policy::DomainRule;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::InsecureMx;
use byrnie_policy::Mx;
use byrnie_policy::MxRrset;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsSource;
use byrnie_policy::TlsaEvidence;
use byrnie_policy::decide;
use byrnie_smtp::TlsDemand;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::prop_oneof;
use proptest::proptest;

use crate::policyd::advice::Advice;
use crate::policyd::exim;
use crate::policyd::postfix::Answer;
use crate::policyd::postfix::Map;

#[test]
fn dane_at_every_host_is_demanded_at_every_host() {
    check(
        &signed(&[("mx1", Tlsa::Good)]),
        "OK dane-only",
        "level=dane-only",
    );
    let two = signed(&[("mx1", Tlsa::Good), ("mx2", Tlsa::Good)]);
    check(&two, "OK dane-only", "level=dane-only");
}

#[test]
fn a_host_without_tlsa_records_beside_one_with_them_is_asked_for_nothing() {
    let mixed = signed(&[("mx1", Tlsa::Good), ("mx2", Tlsa::None)]);
    check(&mixed, "OK dane", "level=dane");
}

#[test]
fn rule_14_unusable_records_alone_demand_encryption() {
    check(
        &signed(&[("mx1", Tlsa::Bad)]),
        "OK encrypt",
        "level=encrypt",
    );
    // DANE notices by itself where records cannot be used.
    let mixed = signed(&[("mx1", Tlsa::Bad), ("mx2", Tlsa::None)]);
    check(&mixed, "OK dane", "level=dane");
    let mixed = signed(&[("mx1", Tlsa::Bad), ("mx2", Tlsa::Good)]);
    check(&mixed, "OK dane", "level=dane");
}

#[test]
fn nothing_is_said_where_nothing_is_promised() {
    check(&signed(&[("mx1", Tlsa::None)]), "NOTFOUND ", "level=none");
    check(&unsigned(&["mx1", "mx2"]), "NOTFOUND ", "level=none");
    for mode in ["testing", "none"] {
        let watched = with_policy(unsigned(&["mx1"]), mode, &["mx1.example.org"]);
        check(&watched, "NOTFOUND ", "level=none");
    }
}

#[test]
fn rule_26_an_enforced_policy_demands_its_names() {
    let enforced = with_policy(
        unsigned(&["mx1"]),
        "enforce",
        &["mx1.example.org", "*.mx.example.net"],
    );
    check(
        &enforced,
        "OK secure match=mx1.example.org servername=hostname",
        "level=secure match=mx1.example.org:*.mx.example.net",
    );
    check_tlsrpt(
        &enforced,
        "OK secure match=mx1.example.org servername=hostname policy_type=sts \
         policy_domain=example.org policy_ttl=597600 mx_host_pattern=mx1.example.org \
         mx_host_pattern=*.mx.example.net { policy_string = version: STSv1 } \
         { policy_string = mode: enforce } { policy_string = mx: mx1.example.org } \
         { policy_string = mx: *.mx.example.net } { policy_string = max_age: 604800 }",
    );
    // Postfix would take a pattern for names of any depth, at any host.
    let patterns = ["*.example.org", "mx1.example.org"];
    let patterns = with_policy(unsigned(&["mx1", "mx2"]), "enforce", &patterns);
    check(
        &patterns,
        "OK secure match=mx1.example.org:mx2.example.org servername=hostname",
        "level=secure match=*.example.org:mx1.example.org",
    );
    // No host is named: the mail waits, as the policy may be about to change.
    let excluded = with_policy(unsigned(&["mx1"]), "enforce", &["mx9.example.org"]);
    let why = "example.org: The MTA-STS policy names none of the mail hosts that could be used.";
    check_waits(&excluded, why);
}

#[test]
fn rule_28_dane_wins_over_an_enforced_policy_and_never_falls_through_to_it() {
    let names = ["mx1.example.org", "mx2.example.org"];
    let dane = with_policy(signed(&[("mx1", Tlsa::Good)]), "enforce", &names);
    check(&dane, "OK dane-only", "level=dane-only");
    check_tlsrpt(&dane, "OK dane-only");
    // A certificate that MTA-STS would take must not do where TLSA records are.
    let mixed = signed(&[("mx1", Tlsa::Good), ("mx2", Tlsa::None)]);
    let mixed = with_policy(mixed, "enforce", &names);
    check(&mixed, "OK dane-only", "level=dane-only");
    check_tlsrpt(&mixed, "OK dane-only");
    // Nor where they may be, and cannot be had: that host is left out.
    let obscured = signed(&[("mx1", Tlsa::Failed), ("mx2", Tlsa::None)]);
    let obscured = with_policy(obscured, "enforce", &["*.example.org"]);
    check(
        &obscured,
        "OK secure match=mx2.example.org servername=hostname",
        "level=secure match=mx2.example.org",
    );
    let said = Answer::new(&Advice::new(&obscured, &decide(&obscured)), Map::Tlsrpt);
    let said = said.payload();
    assert!(
        said.contains(" mx_host_pattern=mx2.example.org {"),
        "{said}"
    );
    assert!(
        said.contains("{ policy_string = mx: *.example.org }"),
        "{said}"
    );
    // Records that cannot be used do not set the policy aside.
    let unusable = with_policy(
        signed(&[("mx1", Tlsa::Bad)]),
        "enforce",
        &["mx1.example.org"],
    );
    check(
        &unusable,
        "OK secure match=mx1.example.org servername=hostname",
        "level=secure match=mx1.example.org",
    );
}

#[test]
fn one_broken_host_does_not_hold_up_the_domain() {
    let broken = signed(&[("mx1", Tlsa::Failed), ("mx2", Tlsa::Good)]);
    check(&broken, "OK dane-only", "level=dane-only");
    // Postfix asks for the records of the first one itself, and leaves it out if it gets none.
    let broken = signed(&[("mx1", Tlsa::Failed), ("mx2", Tlsa::None)]);
    check(&broken, "OK dane", "level=dane");
    let all = signed(&[("mx1", Tlsa::Failed)]);
    let why = "example.org, host mx1.example.org: Whether it has TLSA records could not be looked \
               up: no answer within 5 s.";
    check_waits(&all, why);
    // Where DANE is out of the question, a host without an address is just that.
    let mut unsigned = unsigned(&["mx1", "mx2"]);
    unsigned.hosts[0].ipv4 = Err(failed());
    unsigned.hosts[0].ipv6 = Err(failed());
    check(&unsigned, "NOTFOUND ", "level=none");
}

#[test]
fn hosts_that_were_not_looked_up_may_demand_dane() {
    let mut many = signed(&[("mx1", Tlsa::None)]);
    let left_out = Mx {
        preference: 20,
        host: name("mx2.example.org"),
    };
    if let Ok(Secured {
        value: MxRrset::Hosts(hosts),
        ..
    }) = &mut many.mx
    {
        hosts.push(left_out);
    }
    check(&many, "OK dane", "level=dane");
}

#[test]
fn a_domain_that_cannot_be_reached_is_left_to_whoever_asks() {
    for rrset in [MxRrset::Null, MxRrset::NoSuchDomain] {
        let mut nowhere = signed(&[]);
        nowhere.mx = Ok(Secured::secure(rrset));
        check(&nowhere, "NOTFOUND ", "level=none");
    }
}

#[test]
fn whoever_finds_a_way_to_a_domain_that_has_none_is_held_to_what_it_demands() {
    let nowhere = |rrset| {
        let mut evidence = signed(&[]);
        evidence.mx = Ok(Secured::secure(rrset));
        evidence
    };
    let enforced = with_policy(
        nowhere(MxRrset::NoSuchDomain),
        "enforce",
        &["*.example.org"],
    );
    check_waits(
        &enforced,
        "example.org: The domain does not exist; that is proven by DNSSEC.",
    );
    for at_least in [Strength::Encrypt, Strength::MtaSts, Strength::Dane] {
        let mut held = nowhere(MxRrset::Null);
        held.rule.at_least = at_least;
        check_waits(
            &held,
            "example.org: The domain says that it takes no mail (null MX).",
        );
    }
}

#[test]
fn rule_1_what_cannot_be_known_makes_mail_wait() {
    let mut unknown = signed(&[]);
    unknown.mx = Err(LookupError::Bogus(String::from(
        "a \"signature\" has expired",
    )));
    let why = "example.org: The MX records could not be looked up: the answer is forged or \
               broken (a \"signature\" has expired).";
    check_waits(&unknown, why);
    // Rule 29.
    let mut unreadable = signed(&[("mx1", Tlsa::Good)]);
    unreadable.sts = StsEvidence::StoreUnreadable(String::from("the disk is gone"));
    let decision = decide(&unreadable);
    let advice = Advice::new(&unreadable, &decision);
    assert!(matches!(advice, Advice::Wait(_)), "{advice:?}");
}

#[test]
fn the_operator_s_rules_count() {
    let at_least = |strength, mut evidence: Evidence| {
        evidence.rule.at_least = strength;
        evidence
    };
    let plain = at_least(Strength::Encrypt, unsigned(&["mx1"]));
    check(&plain, "OK encrypt", "level=encrypt");
    // "dane" would let mail go to the second host in clear text.
    let mixed = signed(&[("mx1", Tlsa::Good), ("mx2", Tlsa::None)]);
    let mixed = at_least(Strength::Encrypt, mixed);
    check(&mixed, "OK dane-only", "level=dane-only");
    let named = at_least(Strength::MtaSts, unsigned(&["mx1", "mx2"]));
    check(
        &named,
        "OK secure match=mx1.example.org:mx2.example.org servername=hostname",
        "level=secure match=mx1.example.org:mx2.example.org",
    );
    // There is no policy to report about.
    check_tlsrpt(
        &named,
        "OK secure match=mx1.example.org:mx2.example.org servername=hostname",
    );
    let some = signed(&[("mx1", Tlsa::Good), ("mx2", Tlsa::None)]);
    let some = at_least(Strength::Dane, some);
    check(&some, "OK dane-only", "level=dane-only");
    let none = at_least(Strength::Dane, signed(&[("mx1", Tlsa::None)]));
    let decision = decide(&none);
    assert!(matches!(Advice::new(&none, &decision), Advice::Wait(_)));
}

#[test]
fn tlsa_records_behind_an_unsigned_mx_answer_are_asked_for_in_a_way_that_works() {
    let trusting = |strength| {
        let mut evidence = signed(&[("mx1", Tlsa::Good)]);
        let unsigned = evidence.mx.unwrap().value;
        evidence.mx = Ok(Secured::insecure(unsigned));
        evidence.rule = DomainRule {
            at_least: strength,
            insecure_mx: InsecureMx::UseTlsa,
            ..DomainRule::default()
        };
        evidence
    };
    // Postfix sends nothing to such a domain under "dane-only".
    check(&trusting(Strength::Opportunistic), "OK dane", "level=dane");
    check(&trusting(Strength::Dane), "OK dane-only", "level=dane-only");
    // Whoever forges the MX answer must not get around the policy: "dane" asks nothing of his host.
    let policed = with_policy(
        trusting(Strength::Opportunistic),
        "enforce",
        &["mx1.example.org"],
    );
    let decision = decide(&policed);
    let advice = Advice::new(&policed, &decision);
    assert!(
        matches!(&advice, Advice::Wait(why) if why.contains("use-tlsa")),
        "{advice:?}"
    );
}

#[test]
fn a_policy_of_a_thousand_names_fits_into_an_answer() {
    let names: Vec<String> = (0..999)
        .map(|number| format!("{}.host{number}.example.org", "a".repeat(35)))
        .collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("*.example.org");
    let evidence = with_policy(unsigned(&["mx1", "mx2"]), "enforce", &names);
    let decision = decide(&evidence);
    let advice = Advice::new(&evidence, &decision);
    let plain = Answer::new(&advice, Map::Plain).payload();
    assert!(plain.contains(":mx2.example.org servername"), "{plain}");
    assert!((50_000..100_000).contains(&plain.len()), "{}", plain.len());
    // With each name three times it does not fit any more: those that matter now do.
    check_tlsrpt(
        &evidence,
        "OK secure match=mx1.example.org:mx2.example.org servername=hostname policy_type=sts \
         policy_domain=example.org policy_ttl=597600 mx_host_pattern=mx1.example.org \
         mx_host_pattern=mx2.example.org",
    );
    let matching = "level=secure match=mx1.example.org:mx2.example.org";
    assert_eq!(exim::line(&advice), matching);
}

proptest! {
    /// Whatever is known: the word for the domain demands of each host at least what was decided.
    #[test]
    fn no_host_is_asked_for_less_than_was_decided(
        hosts in proptest::collection::vec(tlsas(), 1..4),
        is_signed in proptest::bool::ANY,
        policy in proptest::sample::select(vec![None, Some("*.example.org"), Some("mx0.example.org")]),
        insecure_mx in proptest::sample::select(vec![InsecureMx::NoDane, InsecureMx::UseTlsa]),
        at_least in proptest::sample::select(vec![
            Strength::Opportunistic, Strength::Encrypt, Strength::MtaSts, Strength::Dane,
        ]),
    ) {
        let names: Vec<String> = (0..hosts.len()).map(|number| format!("mx{number}")).collect();
        let hosts: Vec<(&str, Tlsa)> = names.iter().map(String::as_str).zip(hosts).collect();
        let mut evidence = signed(&hosts);
        if !is_signed {
            evidence.mx = evidence.mx.map(|mx| Secured::insecure(mx.value));
        }
        if let Some(pattern) = policy {
            evidence = with_policy(evidence, "enforce", &[pattern]);
        }
        evidence.rule = DomainRule { at_least, insecure_mx, ..DomainRule::default() };
        let decision = decide(&evidence);
        let advice = Advice::new(&evidence, &decision);
        // Where anybody may have written the MX answer, hosts that a policy does not name are out of reach.
        if policy.is_some() && !is_signed {
            let excluding = matches!(advice, Advice::Secure(_) | Advice::DaneOnly | Advice::Wait(_));
            assert!(excluding, "{advice:?}");
        }
        for (host, requirement) in decision.usable_hosts() {
            let has_records = host.reasons.iter().any(|reason| {
                matches!(reason, byrnie_policy::Reason::TlsaUsable { .. })
            });
            let unusable = host.reasons.iter().any(|reason| {
                matches!(reason, byrnie_policy::Reason::TlsaAllUnusable { .. })
            });
            // What the other MTA demands of this host by that word.
            let demanded = match &advice {
                Advice::Nothing => Strength::Opportunistic,
                Advice::Encrypt => Strength::Encrypt,
                Advice::Dane if has_records => Strength::Dane,
                Advice::Dane if unusable => Strength::Encrypt,
                Advice::Dane => Strength::Opportunistic,
                Advice::DaneOnly => Strength::Dane,
                Advice::Secure(secure) => {
                    assert!(secure.names.iter().any(|name| name.matches(&host.host)));
                    Strength::MtaSts
                }
                // Too much for one word.
                Advice::Wait(_) if policy.is_some() && insecure_mx == InsecureMx::UseTlsa => continue,
                Advice::Wait(why) => panic!("{why}"),
            };
            assert!(demanded >= requirement.tls.strength(), "{advice:?} for {host:?}");
        }
        // A host whose TLSA records cannot be had is used by nobody who does not ask for them.
        for host in &decision.hosts {
            let obscured = host.reasons.iter().any(|reason| {
                matches!(reason, byrnie_policy::Reason::TlsaUnknown { .. })
            });
            let left_out = match &advice {
                Advice::Dane | Advice::DaneOnly | Advice::Wait(_) => true,
                Advice::Secure(secure) => !secure.names.iter().any(|name| name.matches(&host.host)),
                Advice::Nothing | Advice::Encrypt => false,
            };
            assert!(!obscured || left_out, "{advice:?} for {host:?}");
        }
    }
}

/// What is known about a host's TLSA records.
#[derive(Clone, Copy, Debug)]
enum Tlsa {
    Good,
    Bad,
    None,
    Failed,
}

fn tlsas() -> impl Strategy<Value = Tlsa> {
    prop_oneof![
        Just(Tlsa::Good),
        Just(Tlsa::Bad),
        Just(Tlsa::None),
        Just(Tlsa::Failed)
    ]
}

#[track_caller]
fn check(evidence: &Evidence, postfix: &str, line: &str) {
    let decision = decide(evidence);
    let advice = Advice::new(evidence, &decision);
    let answer = Answer::new(&advice, Map::Plain).payload();
    assert_eq!(answer, postfix, "{}", decision.explanation());
    assert!(answer.len() < 100_000);
    assert_eq!(exim::line(&advice), line, "{}", decision.explanation());
}

#[track_caller]
fn check_tlsrpt(evidence: &Evidence, postfix: &str) {
    let answer = Answer::new(&Advice::new(evidence, &decide(evidence)), Map::Tlsrpt).payload();
    assert_eq!(answer, postfix);
    assert!(answer.len() < 100_000);
}

#[track_caller]
fn check_waits(evidence: &Evidence, why: &str) {
    let postfix = format!("TEMP {why}");
    let line = format!("level=defer reason=\"{}\"", why.replace('"', "'"));
    check(evidence, &postfix, &line);
}

/// `example.org`, signed, with these hosts.
fn signed(hosts: &[(&str, Tlsa)]) -> Evidence {
    let hosts = hosts.iter().map(|&(label, tlsa)| HostEvidence {
        tlsa: match tlsa {
            Tlsa::Good => found(label, "3 1 1"),
            Tlsa::Bad => found(label, "1 1 1"),
            Tlsa::None => TlsaEvidence::Absent(Security::Secure),
            Tlsa::Failed => TlsaEvidence::Failed(failed()),
        },
        ..host(label, Security::Secure)
    });
    domain(Security::Secure, hosts.collect())
}

/// `example.org`, unsigned, with these hosts.
fn unsigned(hosts: &[&str]) -> Evidence {
    let hosts = hosts.iter().map(|label| host(label, Security::Insecure));
    domain(Security::Insecure, hosts.collect())
}

fn domain(security: Security, hosts: Vec<HostEvidence>) -> Evidence {
    let records = hosts.iter().map(|host| Mx {
        preference: host.preference,
        host: host.host.clone(),
    });
    Evidence {
        domain: name("example.org"),
        expanded_domain: None,
        mx: Ok(Secured {
            security,
            value: MxRrset::Hosts(records.collect()),
        }),
        hosts,
        sts: StsEvidence::Absent,
        rule: DomainRule::default(),
        message: TlsDemand::None,
        floor: None,
    }
}

fn host(label: &str, security: Security) -> HostEvidence {
    HostEvidence {
        host: name(&format!("{label}.example.org")),
        preference: 10,
        expanded: None,
        alias: None,
        ipv4: Ok(Secured {
            security,
            value: vec![Ipv4Addr::new(192, 0, 2, 1)],
        }),
        ipv6: Ok(Secured {
            security,
            value: Vec::new(),
        }),
        tlsa: TlsaEvidence::NotAsked,
    }
}

fn found(label: &str, kind: &str) -> TlsaEvidence {
    TlsaEvidence::Found {
        base: name(&format!("{label}.example.org")),
        records: vec![format!("{kind} {}", "ab".repeat(32)).parse().unwrap()],
    }
}

fn with_policy(mut evidence: Evidence, mode: &str, mx: &[&str]) -> Evidence {
    let mx: String = mx.iter().map(|mx| format!("mx: {mx}\n")).collect();
    let body = format!("version: STSv1\nmode: {mode}\n{mx}max_age: 604800\n");
    evidence.sts = StsEvidence::Policy {
        policy: body.parse().unwrap(),
        source: StsSource::Cached,
        age: Duration::from_secs(7_200),
    };
    evidence
}

fn failed() -> LookupError {
    LookupError::Failed(String::from("no answer within 5 s"))
}

fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}
