//! What holds for every piece of evidence there can be.

use std::collections::BTreeMap;

use byrnie_base::DomainName;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_policy::DaneRule;
use byrnie_policy::Decision;
use byrnie_policy::DomainRule;
use byrnie_policy::Evidence;
use byrnie_policy::HostEvidence;
use byrnie_policy::HostVerdict;
use byrnie_policy::InsecureMx;
use byrnie_policy::Mx;
use byrnie_policy::MxRrset;
use byrnie_policy::Reason;
use byrnie_policy::Strength;
use byrnie_policy::StsEvidence;
use byrnie_policy::StsFailure;
use byrnie_policy::StsSource;
use byrnie_policy::TlsRequirement;
use byrnie_policy::TlsaEvidence;
use byrnie_policy::Verdict;
use byrnie_policy::decide;
use byrnie_smtp::TlsDemand;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::proptest;
use proptest::sample::select;

use crate::support::GOOD;
use crate::support::PKIX;
use crate::support::bogus;
use crate::support::failed;
use crate::support::name;
use crate::support::policy;
use crate::support::tlsa;

/// The hosts that evidence may be about.
const HOSTS: [&str; 4] = [
    "mx1.example.org",
    "mx2.example.org",
    "mx.example.net",
    "example.org",
];

proptest! {
    #[test]
    fn deciding_always_ends_and_always_the_same_way(evidence in evidence()) {
        let decision = decide(&evidence);
        assert_eq!(decide(&evidence), decision);
        let may_go = decision.usable_hosts().next().is_some();
        assert_eq!(may_go, !matches!(decision.verdict, Verdict::Wait | Verdict::Reject));
        assert_eq!(may_go, decision.reply().is_none());
        assert_eq!(decision.weakest().map(Verdict::from), may_go.then_some(decision.verdict));
    }

    #[test]
    fn a_reply_always_says_why(evidence in evidence()) {
        let decision = decide(&evidence);
        if let Some(reply) = decision.reply() {
            let class = if decision.verdict == Verdict::Reject { 5 } else { 4 };
            assert_eq!(reply.enhanced.map(|enhanced| enhanced.class), Some(class));
            assert_eq!(reply.code / 100, u16::from(class));
            assert_ne!(reply.lines, ["example.org"]);
        }
    }

    #[test]
    fn every_reason_survives_json(evidence in evidence()) {
        let decision = decide(&evidence);
        let hosts = decision.hosts.iter().flat_map(|host| &host.reasons);
        for reason in decision.reasons.iter().chain(hosts) {
            let json = serde_json::to_string(reason).unwrap();
            let back: Reason = serde_json::from_str(&json).unwrap();
            assert_eq!(back, *reason);
        }
    }

    #[test]
    fn every_use_of_dane_has_usable_records(evidence in evidence()) {
        for (host, requirement) in decide(&evidence).usable_hosts() {
            assert!(!host.addresses.is_empty());
            match &requirement.tls {
                TlsRequirement::Dane { records, .. } => {
                    assert!(!records.is_empty());
                    assert!(records.iter().all(|record| record.usability().is_ok()));
                }
                TlsRequirement::MtaSts { mx_host } => assert_eq!(*mx_host, host.host),
                TlsRequirement::Opportunistic | TlsRequirement::Encrypt => {}
            }
        }
    }

    #[test]
    fn the_order_of_records_and_hosts_does_not_matter(
        evidence in evidence(),
        turn in 0_usize..4,
    ) {
        let mut turned = evidence.clone();
        if let Ok(Secured { value: MxRrset::Hosts(records), .. }) = &mut turned.mx {
            records.reverse();
            let by = turn.min(records.len());
            records.rotate_left(by);
        }
        turned.hosts.reverse();
        let by = turn.min(turned.hosts.len());
        turned.hosts.rotate_left(by);
        assert_eq!(decide(&turned), decide(&evidence));
    }

    #[test]
    fn an_operator_rule_never_weakens(
        evidence in evidence(),
        at_least in strength(),
        insecure_mx in select(vec![InsecureMx::NoDane, InsecureMx::UseTlsa]),
    ) {
        let mut without = evidence.clone();
        without.rule = DomainRule { dane: evidence.rule.dane, ..DomainRule::default() };
        without.floor = None;
        let mut with = without.clone();
        with.rule.at_least = at_least;
        with.rule.insecure_mx = insecure_mx;
        assert_no_weaker(&with, &without);
        for (_, requirement) in decide(&with).usable_hosts() {
            assert!(requirement.tls.strength() >= at_least);
        }
    }

    #[test]
    fn a_retry_is_never_weaker_than_its_floor(evidence in evidence(), floor in strength()) {
        let mut held = evidence.clone();
        held.floor = Some(floor);
        for (_, requirement) in decide(&held).usable_hosts() {
            assert!(requirement.tls.strength() >= floor);
        }
        let free = Evidence { floor: None, ..evidence };
        assert_no_weaker(&held, &free);
    }

    #[test]
    fn a_failed_lookup_is_never_weaker_than_nothing_there(
        evidence in evidence(),
        at in 0_usize..4,
        bogus_answer in any::<bool>(),
        nothing in security(),
    ) {
        let error = if bogus_answer { bogus() } else { failed() };
        let weakened = |change: &dyn Fn(&mut Evidence, Evidenced)| {
            let (mut broken, mut absent) = (evidence.clone(), evidence.clone());
            change(&mut broken, Evidenced::Broken);
            change(&mut absent, Evidenced::Absent);
            assert_no_weaker(&broken, &absent);
        };
        weakened(&|evidence, kind| evidence.mx = match kind {
            Evidenced::Broken => Err(error.clone()),
            Evidenced::Absent => Ok(Secured { security: nothing, value: MxRrset::Implicit }),
        });
        weakened(&|evidence, kind| evidence.sts = match kind {
            Evidenced::Broken => StsEvidence::RecordUnknown(error.clone()),
            Evidenced::Absent => StsEvidence::Absent,
        });
        weakened(&|evidence, kind| evidence.sts = match kind {
            Evidenced::Broken => StsEvidence::StoreUnreadable(String::from("broken")),
            Evidenced::Absent => StsEvidence::Absent,
        });
        if at < evidence.hosts.len() {
            weakened(&|evidence, kind| evidence.hosts[at].tlsa = match kind {
                Evidenced::Broken => TlsaEvidence::Failed(error.clone()),
                Evidenced::Absent => TlsaEvidence::Absent(nothing),
            });
            weakened(&|evidence, kind| evidence.hosts[at].ipv4 = match kind {
                Evidenced::Broken => Err(error.clone()),
                Evidenced::Absent => Ok(Secured { security: nothing, value: Vec::new() }),
            });
            weakened(&|evidence, kind| evidence.hosts[at].ipv6 = match kind {
                Evidenced::Broken => Err(error.clone()),
                Evidenced::Absent => Ok(Secured { security: nothing, value: Vec::new() }),
            });
        }
    }

    #[test]
    fn more_evidence_never_weakens(
        evidence in evidence(),
        at in 0_usize..4,
        found in tlsa_found(),
        sts in sts_policy(),
    ) {
        // What the domain promises is compared; a demand from elsewhere may be met only then.
        let evidence = promised(evidence);
        let mut bare = evidence.clone();
        bare.sts = StsEvidence::Absent;
        let mut more = evidence.clone();
        more.sts = sts;
        assert_no_weaker(&more, &bare);
        if at < evidence.hosts.len() {
            let mut bare = evidence.clone();
            bare.hosts[at].tlsa = TlsaEvidence::Absent(Security::Secure);
            let mut more = evidence;
            more.hosts[at].tlsa = found;
            assert_no_weaker(&more, &bare);
        }
    }

    #[test]
    fn a_demand_of_the_message_strengthens_and_only_the_lifting_header_weakens(
        evidence in evidence(),
    ) {
        let with = |message| Evidence { message, floor: None, ..evidence.clone() };
        assert_no_weaker(&with(TlsDemand::RequireTls), &with(TlsDemand::None));
        assert_no_weaker(&with(TlsDemand::None), &with(TlsDemand::TlsNotRequired));
    }

    #[test]
    fn a_signed_mx_answer_is_never_weaker_than_an_unsigned_one(evidence in evidence()) {
        let with = |security| {
            let mut evidence = promised(evidence.clone());
            evidence.mx = evidence.mx.map(|mx| Secured { security, ..mx });
            evidence
        };
        assert_no_weaker(&with(Security::Secure), &with(Security::Insecure));
    }
}

/// How a lookup ended in two otherwise equal worlds.
#[derive(Clone, Copy)]
enum Evidenced {
    Broken,
    Absent,
}

/// No host is held to less in the first case than in the second, and none is gained.
#[track_caller]
fn assert_no_weaker(strong: &Evidence, weak: &Evidence) {
    let (strong_decision, weak_decision) = (decide(strong), decide(weak));
    let weak_levels = levels(&weak_decision);
    for (host, level) in levels(&strong_decision) {
        // A host that is missing on the weak side was not decided upon there at all.
        if let Some(weak_level) = weak_levels.get(&host) {
            assert!(
                level >= *weak_level,
                "{host}\n{}\n-- is weaker than --\n{}",
                strong_decision.explanation(),
                weak_decision.explanation(),
            );
        }
    }
}

/// The same evidence without what the operator, the message and earlier attempts demand.
fn promised(evidence: Evidence) -> Evidence {
    Evidence {
        rule: DomainRule {
            at_least: Strength::Opportunistic,
            ..evidence.rule
        },
        message: TlsDemand::None,
        floor: None,
        ..evidence
    }
}

/// Hosts with what they are held to; one that may not be used counts as stronger than all.
fn levels(decision: &Decision) -> BTreeMap<DomainName, u8> {
    let level = |verdict: &HostVerdict| match verdict.requirement() {
        None => 4,
        Some(requirement) => match requirement.tls.strength() {
            Strength::Opportunistic => 0,
            Strength::Encrypt => 1,
            Strength::MtaSts => 2,
            Strength::Dane => 3,
        },
    };
    let hosts = decision.hosts.iter();
    hosts
        .map(|host| (host.host.clone(), level(&host.verdict)))
        .collect()
}

/// Any evidence about `example.org`.
fn evidence() -> impl Strategy<Value = Evidence> {
    let hosts = vec((select(HOSTS.to_vec()), host()), 0..4);
    (
        (
            option::of(secured(Just(name("real.example.org")))),
            mx_kind(),
            hosts,
        ),
        (sts(), rule(), message(), option::of(strength())),
    )
        .prop_map(
            |((expanded_domain, mx, hosts), (sts, rule, message, floor))| {
                // One piece of evidence for each host, as whoever gathers makes sure.
                let hosts: BTreeMap<DomainName, HostEvidence> = hosts
                    .into_iter()
                    .map(|(host, evidence)| (name(host), evidence))
                    .collect();
                let hosts: Vec<HostEvidence> = hosts
                    .into_iter()
                    .map(|(host, evidence)| evidence_for(host, evidence))
                    .collect();
                let records = hosts.iter().map(|host| Mx {
                    preference: host.preference,
                    host: host.host.clone(),
                });
                let named = MxRrset::Hosts(records.collect());
                let mx = mx.map(|mx| mx.map(|kind| kind.unwrap_or(named)));
                Evidence {
                    domain: name("example.org"),
                    expanded_domain,
                    mx,
                    hosts,
                    sts,
                    rule,
                    message,
                    floor,
                }
            },
        )
}

/// Gives a host its name, wherever the evidence says `self`.
fn evidence_for(host: DomainName, mut evidence: HostEvidence) -> HostEvidence {
    if let TlsaEvidence::Found { base, .. } = &mut evidence.tlsa
        && *base == name("self")
    {
        *base = host.clone();
    }
    evidence.host = host;
    evidence
}

/// `None` stands for the hosts that there is evidence about.
fn mx_kind() -> impl Strategy<Value = Result<Secured<Option<MxRrset>>, byrnie_base::LookupError>> {
    prop_oneof![
        8 => secured(Just(None)).prop_map(Ok),
        2 => secured(Just(Some(MxRrset::Implicit))).prop_map(Ok),
        1 => secured(Just(Some(MxRrset::Literal))).prop_map(Ok),
        1 => secured(Just(Some(MxRrset::Host))).prop_map(Ok),
        1 => secured(select(vec![Some(MxRrset::Null), Some(MxRrset::NoSuchDomain)])).prop_map(Ok),
        1 => select(vec![bogus(), failed()]).prop_map(Err),
    ]
}

/// Any evidence about a host that has no name yet.
fn host() -> impl Strategy<Value = HostEvidence> {
    let address = |found: Vec<u8>| found;
    (
        select(vec![0_u16, 10, 20]),
        option::of(secured(Just(name("host.example.net")))),
        option::of(security()),
        lookup(vec(any::<u8>(), 0..3).prop_map(address)),
        lookup(vec(any::<u8>(), 0..3).prop_map(address)),
        prop_oneof![
            Just(TlsaEvidence::NotAsked),
            security().prop_map(TlsaEvidence::Absent),
            tlsa_found(),
            tlsa_found(),
            select(vec![bogus(), failed()]).prop_map(TlsaEvidence::Failed),
        ],
    )
        .prop_map(
            |(preference, expanded, alias, ipv4, ipv6, tlsa)| HostEvidence {
                host: name("self"),
                preference,
                expanded,
                alias,
                ipv4: ipv4.map(|v4| {
                    v4.map(|v4| v4.iter().map(|&last| [192, 0, 2, last].into()).collect())
                }),
                ipv6: ipv6.map(|v6| {
                    v6.map(|v6| {
                        v6.iter()
                            .map(|&last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()].into())
                            .collect()
                    })
                }),
                tlsa,
            },
        )
}

/// Signed records, usable or not, where they count or not.
fn tlsa_found() -> impl Strategy<Value = TlsaEvidence> {
    let base = select(vec!["self", "host.example.net", "elsewhere.example"]);
    let records = vec(
        select(vec![GOOD, PKIX, "3 1 1 00", "3 1 1", "9 1 1 ab"]),
        0..3,
    );
    (base, records).prop_map(|(base, records)| TlsaEvidence::Found {
        base: name(base),
        records: records.into_iter().map(tlsa).collect(),
    })
}

/// Anything that MTA-STS can say.
fn sts() -> impl Strategy<Value = StsEvidence> {
    prop_oneof![
        4 => Just(StsEvidence::Absent),
        1 => Just(StsEvidence::NotAsked),
        1 => Just(StsEvidence::FetchFailed(StsFailure {
            why: String::from("status 404"),
            result_type: "sts-policy-fetch-error",
        })),
        1 => Just(StsEvidence::StoreUnreadable(String::from("locked"))),
        1 => select(vec![bogus(), failed()]).prop_map(StsEvidence::RecordUnknown),
        6 => sts_policy(),
    ]
}

/// Any policy.
fn sts_policy() -> impl Strategy<Value = StsEvidence> {
    let mode = select(vec!["enforce", "testing", "none"]);
    let mx = vec(
        select(vec!["*.example.org", "mx1.example.org", "mx.example.net"]),
        1..3,
    );
    let source = select(vec![
        StsSource::Fetched,
        StsSource::Cached,
        StsSource::CachedAfterFailure(StsFailure {
            why: String::from("status 404"),
            result_type: "sts-policy-fetch-error",
        }),
    ]);
    (mode, mx, source).prop_map(|(mode, mx, source)| policy(mode, &mx, source))
}

/// Any rule of the operator.
fn rule() -> impl Strategy<Value = DomainRule> {
    let dane = prop_oneof![5 => Just(DaneRule::Apply), 1 => Just(DaneRule::DangerIgnore)];
    let insecure_mx = select(vec![InsecureMx::NoDane, InsecureMx::UseTlsa]);
    (strength(), dane, insecure_mx).prop_map(|(at_least, dane, insecure_mx)| DomainRule {
        at_least,
        dane,
        insecure_mx,
    })
}

/// Any demand of a message.
fn message() -> impl Strategy<Value = TlsDemand> {
    select(vec![
        TlsDemand::None,
        TlsDemand::RequireTls,
        TlsDemand::TlsNotRequired,
    ])
}

/// Any strength, the weakest more often.
fn strength() -> impl Strategy<Value = Strength> {
    select(vec![
        Strength::Opportunistic,
        Strength::Opportunistic,
        Strength::Encrypt,
        Strength::MtaSts,
        Strength::Dane,
    ])
}

/// Any security.
fn security() -> impl Strategy<Value = Security> {
    select(vec![Security::Secure, Security::Insecure])
}

/// A value with any security.
fn secured<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Secured<T>> {
    (security(), value).prop_map(|(security, value)| Secured { security, value })
}

/// A lookup that ends in a value more often than not.
fn lookup<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Result<Secured<T>, byrnie_base::LookupError>> {
    prop_oneof![
        5 => secured(value).prop_map(Ok),
        1 => select(vec![bogus(), failed()]).prop_map(Err),
    ]
}
