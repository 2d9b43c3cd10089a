//! The rules of an attempt, with decisions and hosts that the test makes up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::MailDomain;
use byrnie_net::clock::Clock;
use byrnie_policy::Decision;
use byrnie_policy::HostDecision;
use byrnie_policy::HostVerdict;
use byrnie_policy::Reason;
use byrnie_policy::RequireTls;
use byrnie_policy::Requirement;
use byrnie_policy::Strength;
use byrnie_policy::StsObservation;
use byrnie_policy::TlsRequirement;
use byrnie_policy::Verdict;
use byrnie_smtp::TlsDemand;
use byrnie_store::AttemptOutcome;
use byrnie_store::Body;
use byrnie_store::Claim;

use super::AddressOrder;
use super::Content;
use super::Courier;
use super::Decide;
use super::Deliver;
use super::DownAddresses;
use super::Failure;
use super::FailureClass;
use super::Fate;
use super::Offer;
use super::Offered;
use super::Report;
use super::Ruling;
use super::Session;
use super::Target;
use super::Terms;
use super::Trouble;
use crate::Guarantee;
use crate::Metrics;
use crate::Route;
use crate::SmartHost;
use crate::scheduler::Answer;
use crate::testing::TestClock;
use crate::testing::claim_of;
use crate::testing::envelope;
use crate::testing::mailbox;
use crate::testing::new_store;
use crate::testing::next_hop;
use crate::testing::no_evidence;
use crate::testing::reply;

#[tokio::test]
async fn the_first_host_that_serves_gets_the_message() {
    let world = World::new()
        .domain(
            "one.example",
            &[
                host("mx1.example", 10, "192.0.2.1"),
                host("mx2.example", 20, "192.0.2.2"),
            ],
        )
        .accepts("192.0.2.1");
    let report = world.deliver("one.example").await;
    assert_eq!(fates(&report), "delivered");
    assert_eq!(world.tried(), ["192.0.2.1"]);
    let receipt = &report.receipts[0];
    assert_eq!(receipt.outcome, AttemptOutcome::Delivered);
    assert_eq!(receipt.circumstances.host, Some(name("mx1.example")));
    assert_eq!(receipt.circumstances.demanded, Some(Strength::MtaSts));
    assert_eq!(receipt.reply, Some(reply("250 2.0.0 ok")));
}

#[tokio::test]
async fn a_failure_of_one_host_leads_to_the_next() {
    for class in [
        FailureClass::NextHost,
        FailureClass::Security,
        FailureClass::Missing,
    ] {
        let world = World::new()
            .domain(
                "one.example",
                &[
                    host("mx2.example", 20, "192.0.2.2"),
                    host("mx1.example", 10, "192.0.2.1"),
                ],
            )
            .fails("192.0.2.1", class, "451 4.7.5 no")
            .accepts("192.0.2.2");
        let report = world.deliver("one.example").await;
        assert_eq!(fates(&report), "delivered", "{class:?}");
        assert_eq!(world.tried(), ["192.0.2.1", "192.0.2.2"]);
        let outcomes: Vec<AttemptOutcome> = report.receipts.iter().map(|r| r.outcome).collect();
        assert_eq!(
            outcomes,
            [AttemptOutcome::NextHost, AttemptOutcome::Delivered]
        );
    }
}

#[tokio::test]
async fn the_queue_is_told_what_the_hosts_made_of_being_asked() {
    let rows = [
        (FailureClass::NextHost, None, Answer::Silent),
        (
            FailureClass::NextHost,
            Some(FailureClass::NextHost),
            Answer::Silent,
        ),
        (
            FailureClass::NextHost,
            Some(FailureClass::Later),
            Answer::Busy,
        ),
        (
            FailureClass::NextHost,
            Some(FailureClass::Security),
            Answer::Answered,
        ),
        (FailureClass::Later, None, Answer::Busy),
        (FailureClass::GiveUp, None, Answer::Answered),
    ];
    for (first, second, answer) in rows {
        let mut world = World::new().fails("192.0.2.1", first, "451 4.4.1 first");
        let mut hosts = vec![host("mx1.example", 10, "192.0.2.1")];
        if let Some(second) = second {
            world = world.fails("192.0.2.2", second, "451 4.4.2 second");
            hosts.push(host("mx2.example", 20, "192.0.2.2"));
        }
        let world = world.domain("one.example", &hosts);
        let report = world.deliver("one.example").await;
        assert_eq!(report.answer, answer, "{first:?}, {second:?}");
        assert_eq!(report.content, Content::Intact);
    }
    let hosts = [host("mx1.example", 10, "192.0.2.1")];
    let world = World::new()
        .domain("one.example", &hosts)
        .accepts("192.0.2.1");
    assert_eq!(world.deliver("one.example").await.answer, Answer::Answered);
    let world = World::new().domain("one.example", &hosts);
    world.goes_down("192.0.2.1");
    assert_eq!(world.deliver("one.example").await.answer, Answer::Silent);
}

/// Hosts that could not be asked for want of room here keep their lane open, and are blamed for nothing.
#[tokio::test]
async fn no_host_is_blamed_for_what_this_machine_lacks() {
    for (first, second, expected, blamed) in [
        (
            Answer::NoRoom,
            Answer::Silent,
            Answer::NoRoom,
            Some("mx2.example"),
        ),
        (Answer::Silent, Answer::NoRoom, Answer::NoRoom, None),
        (
            Answer::NotAsked,
            Answer::Silent,
            Answer::Silent,
            Some("mx2.example"),
        ),
        (Answer::NotAsked, Answer::NotAsked, Answer::NotAsked, None),
    ] {
        let fails = |answer| {
            let mut offered = offered(&[]);
            offered.failure = Some(Failure {
                answer,
                ..failure(FailureClass::NextHost, "451 4.4.5 no")
            });
            offered
        };
        let hosts = [
            host("mx1.example", 10, "192.0.2.1"),
            host("mx2.example", 20, "192.0.2.2"),
        ];
        let world = World::new()
            .domain("one.example", &hosts)
            .offers("192.0.2.1", fails(first))
            .offers("192.0.2.2", fails(second));
        let report = world.deliver("one.example").await;
        assert_eq!(report.answer, expected, "{first:?}, {second:?}");
        let trouble = Trouble {
            reply: reply("451 4.4.5 no"),
            host: blamed.map(name),
        };
        let fate = Fate::Deferred(trouble);
        assert_eq!(report.fates, [fate], "{first:?}, {second:?}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_offered_to_no_other_host() {
    let world = World::new()
        .domain(
            "one.example",
            &[
                host("mx1.example", 10, "192.0.2.1"),
                host("mx2.example", 20, "192.0.2.2"),
            ],
        )
        .fails("192.0.2.1", FailureClass::Damaged, "451 4.3.0 unreadable");
    let report = world.deliver("one.example").await;
    assert_eq!(report.content, Content::Damaged);
    assert_eq!(fates(&report), "deferred 451 4.3.0 unreadable");
    assert_eq!(world.tried(), ["192.0.2.1"]);
}

#[tokio::test]
async fn what_follows_when_no_host_is_left_depends_on_the_failures() {
    let classes = [
        (
            FailureClass::NextHost,
            FailureClass::NextHost,
            "deferred 451 4.4.2 second",
        ),
        (
            FailureClass::NextHost,
            FailureClass::Security,
            "deferred 451 4.4.2 second",
        ),
        (
            FailureClass::Security,
            FailureClass::Security,
            "deferred 451 4.4.2 second",
        ),
        (
            FailureClass::Missing,
            FailureClass::Security,
            "deferred 451 4.4.2 second",
        ),
        (
            FailureClass::NextHost,
            FailureClass::Missing,
            "deferred 451 4.4.2 second",
        ),
        (
            FailureClass::Missing,
            FailureClass::Missing,
            "bounced 451 4.4.2 second",
        ),
        (
            FailureClass::Later,
            FailureClass::NextHost,
            "deferred 451 4.4.1 first",
        ),
        (
            FailureClass::GiveUp,
            FailureClass::NextHost,
            "bounced 451 4.4.1 first",
        ),
    ];
    for (first, second, expected) in classes {
        let world = World::new()
            .domain(
                "one.example",
                &[
                    host("mx1.example", 10, "192.0.2.1"),
                    host("mx2.example", 20, "192.0.2.2"),
                ],
            )
            .fails("192.0.2.1", first, "451 4.4.1 first")
            .fails("192.0.2.2", second, "451 4.4.2 second");
        let report = world.deliver("one.example").await;
        assert_eq!(fates(&report), expected, "{first:?}, {second:?}");
        let last = report.receipts.last().unwrap();
        assert_ne!(
            last.outcome,
            AttemptOutcome::NextHost,
            "{first:?}, {second:?}"
        );
    }
}

#[tokio::test]
async fn a_host_that_may_be_used_later_keeps_a_message_from_bouncing() {
    let mut later = host("mx2.example", 20, "192.0.2.2");
    later.verdict = HostVerdict::Wait;
    let world = World::new()
        .domain(
            "one.example",
            &[host("mx1.example", 10, "192.0.2.1"), later],
        )
        .fails("192.0.2.1", FailureClass::Missing, "550 5.7.30 no");
    let report = world.deliver("one.example").await;
    assert_eq!(fates(&report), "deferred 550 5.7.30 no");
    assert_eq!(world.tried(), ["192.0.2.1"]);
}

#[tokio::test]
async fn hosts_that_may_not_be_used_are_never_tried() {
    for verdict in [HostVerdict::Wait, HostVerdict::Skip] {
        let mut excluded = host("mx1.example", 10, "192.0.2.1");
        excluded.verdict = verdict.clone();
        let world = World::new()
            .domain(
                "one.example",
                &[excluded, host("mx2.example", 20, "192.0.2.2")],
            )
            .accepts("192.0.2.1")
            .accepts("192.0.2.2");
        world.deliver("one.example").await;
        assert_eq!(world.tried(), ["192.0.2.2"], "{verdict:?}");
    }
}

#[tokio::test]
async fn a_decision_without_hosts_defers_or_bounces_at_once() {
    let cases = [
        (Verdict::Reject, Reason::NullMx, "bounced 556 5.1.10"),
        (
            Verdict::Wait,
            Reason::MxUnknown {
                error: LookupError::Bogus(String::from("no signature")),
            },
            "deferred 451 4.7.5",
        ),
    ];
    for (verdict, reason, expected) in cases {
        let world = World::new().without_hosts("one.example", verdict, reason);
        let report = world.deliver("one.example").await;
        assert!(fates(&report).starts_with(expected), "{}", fates(&report));
        assert_eq!(report.receipts.len(), 1);
        assert_eq!(report.receipts[0].circumstances.host, None);
        assert!(world.tried().is_empty());
    }
}

/// Behaviour rule 34 says "after the last MX", so one that was not tried keeps the message waiting.
#[tokio::test]
async fn hosts_past_the_bound_of_one_attempt_keep_a_message_from_bouncing() {
    let hosts: Vec<HostDecision> = (1..=11)
        .map(|number| {
            host(
                &format!("mx{number}.example"),
                number,
                &format!("192.0.2.{number}"),
            )
        })
        .collect();
    let mut world = World::new().domain("one.example", &hosts);
    for number in 1..=11 {
        let address = format!("192.0.2.{number}");
        world = world.fails(&address, FailureClass::Missing, "550 5.7.30 no");
    }
    let report = world.deliver("one.example").await;
    assert_eq!(world.tried().len(), 10);
    assert_eq!(fates(&report), "deferred 550 5.7.30 no");
}

/// A domain may have forty addresses, each of which takes its time to say nothing.
#[tokio::test(start_paused = true)]
async fn an_attempt_does_not_go_on_to_further_hosts_for_ever() {
    let hosts: Vec<HostDecision> = (1..=10)
        .map(|number| {
            host(
                &format!("mx{number}.example"),
                number,
                &format!("192.0.2.{number}"),
            )
        })
        .collect();
    let mut world = World::new().domain("one.example", &hosts);
    for number in 1..=10 {
        let address = format!("192.0.2.{number}");
        world = world.fails(&address, FailureClass::Missing, "550 5.7.30 no");
    }
    *world.offer.takes.lock().unwrap() = Duration::from_secs(300);
    let report = world.deliver("one.example").await;
    assert_eq!(world.tried(), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(fates(&report), "deferred 550 5.7.30 no");
    let outcomes: Vec<AttemptOutcome> = report.receipts.iter().map(|r| r.outcome).collect();
    assert_eq!(
        outcomes,
        [AttemptOutcome::NextHost, AttemptOutcome::Deferred]
    );
}

#[tokio::test]
async fn each_recipient_gets_its_own_answer() {
    let world = World::new()
        .domain("one.example", &[host("mx1.example", 10, "192.0.2.1")])
        .answers(
            "192.0.2.1",
            &[
                "250 2.0.0 ok",
                "550 5.1.1 unknown",
                "450 4.2.0 later",
                "250 2.0.0 ok",
            ],
        );
    let claim = world
        .claim(&[
            "a@one.example",
            "b@one.example",
            "c@one.example",
            "d@one.example",
        ])
        .await;
    let report = world.courier.deliver(&claim, None).await;
    assert_eq!(
        fates(&report),
        "delivered, bounced 550 5.1.1 unknown, deferred 450 4.2.0 later, delivered"
    );
    let receipts: Vec<(AttemptOutcome, usize)> = report
        .receipts
        .iter()
        .map(|receipt| (receipt.outcome, receipt.recipients.len()))
        .collect();
    assert_eq!(
        receipts,
        [
            (AttemptOutcome::Delivered, 2),
            (AttemptOutcome::Bounced, 1),
            (AttemptOutcome::Deferred, 1)
        ]
    );
}

#[tokio::test]
async fn recipients_that_were_answered_are_not_offered_to_the_next_host() {
    let mut partly = offered(&["250 2.0.0 ok"]);
    partly.replies.push(None);
    partly.failure = Some(failure(FailureClass::Later, "451 4.4.2 gone"));
    let world = World::new()
        .domain(
            "one.example",
            &[
                host("mx1.example", 10, "192.0.2.1"),
                host("mx2.example", 20, "192.0.2.2"),
            ],
        )
        .offers("192.0.2.1", partly);
    let claim = world.claim(&["a@one.example", "b@one.example"]).await;
    let report = world.courier.deliver(&claim, None).await;
    assert_eq!(fates(&report), "delivered, deferred 451 4.4.2 gone");
    assert_eq!(world.tried(), ["192.0.2.1"]);
}

#[tokio::test]
async fn the_floor_is_raised_and_never_lowered() {
    let world = World::new()
        .domain("one.example", &[host("mx1.example", 10, "192.0.2.1")])
        .accepts("192.0.2.1");
    let mut claim = world.claim(&["a@one.example"]).await;
    for (before, after) in [
        (None, Strength::MtaSts),
        (Some(Strength::Opportunistic), Strength::MtaSts),
        (Some(Strength::Dane), Strength::Dane),
    ] {
        claim.floor = before;
        let report = world.courier.deliver(&claim, None).await;
        assert_eq!(report.floor, Some(after));
        let (_, terms) = world.asked().pop().unwrap();
        assert_eq!(terms.floor, before);
    }

    let reason = Reason::MxUnknown {
        error: LookupError::Failed(String::from("time-out")),
    };
    let world = World::new().without_hosts("one.example", Verdict::Wait, reason);
    claim.floor = Some(Strength::Dane);
    let report = world.courier.deliver(&claim, None).await;
    assert_eq!(report.floor, Some(Strength::Dane));
}

#[tokio::test]
async fn what_the_domain_promises_is_the_floor_even_where_no_host_may_be_tried() {
    let world = World::new().without_hosts("one.example", Verdict::Wait, Reason::NoHostNamed);
    for decision in world.decide.decisions.lock().unwrap().values_mut() {
        decision.promised = Some(Strength::MtaSts);
    }
    let report = world.deliver("one.example").await;
    assert!(fates(&report).starts_with("deferred"));
    assert_eq!(report.floor, Some(Strength::MtaSts));
}

/// Behaviour rule 30: one host, two domains, of which one demands what the host cannot prove.
#[tokio::test]
async fn two_domains_on_one_host_are_held_to_their_own_requirements() {
    let mut strict = host("mx.example", 10, "192.0.2.1");
    strict.verdict = HostVerdict::Wait;
    let mut lax = host("mx.example", 10, "192.0.2.1");
    lax.verdict = HostVerdict::Use(requirement(TlsRequirement::Opportunistic));
    let world = World::new()
        .domain("strict.example", &[strict])
        .domain("lax.example", &[lax])
        .accepts("192.0.2.1");
    assert!(fates(&world.deliver("strict.example").await).starts_with("deferred"));
    assert_eq!(fates(&world.deliver("lax.example").await), "delivered");
    let targets = world.offer.targets.lock().unwrap();
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].requirement.tls, TlsRequirement::Opportunistic);
}

#[tokio::test]
async fn the_message_and_its_sender_have_their_say() {
    let world = World::new()
        .domain("one.example", &[host("mx1.example", 10, "192.0.2.1")])
        .accepts("192.0.2.1");
    let sender = Guarantee::SenderDomain(name("origin.example"));
    world.courier.guarantees.replace(vec![sender]);
    let mut claim = world.claim(&["a@one.example"]).await;
    Arc::make_mut(&mut claim.envelope).tls_demand = TlsDemand::RequireTls;
    world.courier.deliver(&claim, None).await;
    let expected = Terms {
        demand: TlsDemand::RequireTls,
        floor: None,
        at_least: Strength::MtaSts,
    };
    assert_eq!(world.asked(), [(next_hop("one.example"), expected)]);
}

#[tokio::test]
async fn an_address_literal_has_no_host_name() {
    let world = World::new()
        .domain(
            "[192.0.2.1]",
            &[host("1.2.0.192.in-addr.arpa", 0, "192.0.2.1")],
        )
        .accepts("192.0.2.1");
    assert_eq!(fates(&world.deliver("[192.0.2.1]").await), "delivered");
    assert_eq!(world.offer.targets.lock().unwrap()[0].host, None);
}

/// Behaviour rule 27: what counts is what the smart host promises, for mail that waits as well.
#[tokio::test]
async fn a_smart_host_s_promises_count_for_all_mail() {
    let mut world = World::new()
        .domain("one.example", &[host("mx1.example", 10, "192.0.2.1")])
        .domain("relay.example", &[host("mx2.example", 10, "192.0.2.2")])
        .accepts("192.0.2.1")
        .accepts("192.0.2.2");
    let smart_host = SmartHost {
        domain: next_hop("relay.example"),
        port: None,
    };
    world.courier.route = Arc::new(Route::SmartHost(smart_host));
    assert_eq!(fates(&world.deliver("one.example").await), "delivered");
    assert_eq!(world.tried(), ["192.0.2.2"]);
    let (asked, _) = world.asked().pop().unwrap();
    assert_eq!(asked, next_hop("relay.example"));
}

/// Mail that was accepted for a smart host goes by what its recipients' domains promise once there is
/// none any more, and never to that host.
#[tokio::test]
async fn without_the_smart_host_each_domain_is_asked_in_its_turn() {
    let world = World::new()
        .domain("one.example", &[host("mx1.example", 10, "192.0.2.1")])
        .domain("two.example", &[host("mx2.example", 10, "192.0.2.2")])
        .domain("relay.example", &[host("mx3.example", 10, "192.0.2.3")])
        .accepts("192.0.2.1")
        .accepts("192.0.2.2")
        .accepts("192.0.2.3");
    let mut claim = world.claim(&["a@one.example"]).await;
    claim.next_hop = next_hop("relay.example");
    let report = world.courier.deliver(&claim, None).await;
    assert_eq!(fates(&report), "delivered");
    assert_eq!(report.receipts[0].next_hop, next_hop("one.example"));

    let mut second = claim.recipients[0].clone();
    second.position += 1;
    second.mailbox = mailbox("b@two.example");
    claim.recipients.push(second);
    let waits = "deferred 451 4.3.5 the smart host that it was accepted for is no longer configured, \
                 and its recipients' domains are tried in turns";
    for (attempt, expected) in [
        (2, format!("delivered, {waits}")),
        (3, format!("{waits}, delivered")),
    ] {
        claim.attempt = attempt;
        let report = world.courier.deliver(&claim, None).await;
        assert_eq!(fates(&report), expected);
        assert_eq!(report.receipts[0].recipients.len(), 1);
    }
    assert_eq!(world.tried(), ["192.0.2.1", "192.0.2.1", "192.0.2.2"]);
}

#[tokio::test]
async fn hosts_that_did_not_answer_lately_are_tried_last() {
    let world = World::new()
        .domain(
            "one.example",
            &[
                host("mx1.example", 10, "192.0.2.1"),
                host("mx2.example", 20, "192.0.2.2"),
            ],
        )
        .fails("192.0.2.1", FailureClass::NextHost, "451 4.4.1 no")
        .fails("192.0.2.2", FailureClass::NextHost, "451 4.4.1 no");
    world.goes_down("192.0.2.1");
    world.deliver("one.example").await;
    assert_eq!(world.tried(), ["192.0.2.2", "192.0.2.1"]);
}

/// The memory puts off and does nothing else: neither is another host used, nor is less demanded.
#[tokio::test]
async fn mail_waits_while_no_host_answers_but_is_tried_at_the_end_of_its_time() {
    let world = World::new()
        .domain("one.example", &[host("mx1.example", 10, "192.0.2.1")])
        .accepts("192.0.2.1");
    world.goes_down("192.0.2.1");
    let mut claim = world.claim(&["a@one.example"]).await;
    let report = world.courier.deliver(&claim, None).await;
    assert!(fates(&report).starts_with("deferred 451 4.4.1"));
    assert_eq!(report.receipts[0].outcome, AttemptOutcome::Deferred);
    assert_eq!(report.floor, Some(Strength::MtaSts));
    assert!(world.tried().is_empty());

    claim.expires_at = world.courier.clock.now();
    let report = world.courier.deliver(&claim, None).await;
    assert_eq!(fates(&report), "delivered");
    let demanded = &world.offer.targets.lock().unwrap()[0].requirement.tls;
    assert_eq!(demanded.strength(), Strength::MtaSts);
}

#[tokio::test]
async fn clear_text_after_a_failure_of_tls_is_kept_in_the_receipt() {
    let offered = Session {
        fell_back_after: Some(String::from("handshake: no common cipher suite")),
        ..offered(&["250 2.0.0 ok"])
    };
    let world = World::new()
        .domain("one.example", &[host("mx1.example", 10, "192.0.2.1")])
        .offers("192.0.2.1", offered);
    let report = world.deliver("one.example").await;
    let reasons = report.receipts[0].circumstances.reasons.join(" ");
    assert!(reasons.contains("no common cipher suite"), "{reasons}");
}

/// A courier among made-up decisions and hosts.
struct World {
    courier: Courier<TestDecide, Arc<TestOffer>, TestClock>,
    decide: Arc<TestDecide>,
    offer: Arc<TestOffer>,
}

#[derive(Default)]
struct TestDecide {
    decisions: Mutex<HashMap<MailDomain, Decision>>,
    asked: Mutex<Vec<(MailDomain, Terms)>>,
}

impl Decide for TestDecide {
    async fn decide(&self, next_hop: &MailDomain, terms: Terms) -> Arc<Ruling> {
        self.asked.lock().unwrap().push((next_hop.clone(), terms));
        let decision = self.decisions.lock().unwrap()[next_hop].clone();
        Arc::new(Ruling::new(no_evidence(&decision.domain), decision))
    }
}

#[derive(Default)]
struct TestOffer {
    offers: Mutex<HashMap<IpAddr, Session>>,
    targets: Mutex<Vec<Target>>,
    /// How long each offer takes.
    takes: Mutex<Duration>,
}

impl Offer for Arc<TestOffer> {
    async fn offer(&self, _: &Claim, _: Option<&Body>, target: &Target) -> Offered {
        self.targets.lock().unwrap().push(target.clone());
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let address = target.addresses[0];
        let session = self.offers.lock().unwrap()[&address.ip()].clone();
        Offered {
            unreached: vec![],
            session: Some(Session { address, ..session }),
            handshakes: vec![],
        }
    }
}

impl World {
    fn new() -> Self {
        let (decide, offer) = (Arc::<TestDecide>::default(), Arc::<TestOffer>::default());
        let courier = Courier {
            decide: Arc::clone(&decide),
            offer: Arc::clone(&offer),
            clock: Arc::new(TestClock::new()),
            metrics: Arc::new(Metrics::new()),
            port: 25,
            addresses: AddressOrder::default(),
            down: Arc::new(DownAddresses::new(Duration::from_secs(300))),
            route: Arc::default(),
            guarantees: Arc::default(),
            recorder: None,
        };
        Self {
            courier,
            decide,
            offer,
        }
    }

    fn domain(self, domain: &str, hosts: &[HostDecision]) -> Self {
        let usable = hosts
            .iter()
            .any(|host| host.verdict.requirement().is_some());
        let verdict = if usable {
            Verdict::MtaSts
        } else {
            Verdict::Wait
        };
        self.decision(domain, verdict, hosts, vec![])
    }

    fn without_hosts(self, domain: &str, verdict: Verdict, reason: Reason) -> Self {
        self.decision(domain, verdict, &[], vec![reason])
    }

    fn decision(
        self,
        domain: &str,
        verdict: Verdict,
        hosts: &[HostDecision],
        reasons: Vec<Reason>,
    ) -> Self {
        let decision = Decision {
            domain: name("decided.example"),
            verdict,
            hosts: hosts.to_vec(),
            reasons,
            promised: None,
        };
        self.decide
            .decisions
            .lock()
            .unwrap()
            .insert(next_hop(domain), decision);
        self
    }

    fn accepts(self, address: &str) -> Self {
        self.answers(address, &["250 2.0.0 ok"])
    }

    fn answers(self, address: &str, answers: &[&str]) -> Self {
        self.offers(address, offered(answers))
    }

    fn fails(self, address: &str, class: FailureClass, text: &str) -> Self {
        let mut offered = offered(&[]);
        offered.failure = Some(failure(class, text));
        self.offers(address, offered)
    }

    fn offers(self, address: &str, offered: Session) -> Self {
        let address = address.parse().unwrap();
        self.offer.offers.lock().unwrap().insert(address, offered);
        self
    }

    fn goes_down(&self, address: &str) {
        let address = SocketAddr::new(address.parse().unwrap(), 25);
        self.courier.down.failed(address);
    }

    async fn claim(&self, recipients: &[&str]) -> Claim {
        let (store, _directory) = new_store();
        claim_of(&store, envelope("sender@origin.example", recipients)).await
    }

    async fn deliver(&self, domain: &str) -> Report {
        let claim = self.claim(&[&format!("a@{domain}")]).await;
        self.courier.deliver(&claim, None).await
    }

    fn tried(&self) -> Vec<String> {
        let targets = self.offer.targets.lock().unwrap();
        targets
            .iter()
            .map(|target| target.addresses[0].ip().to_string())
            .collect()
    }

    fn asked(&self) -> Vec<(MailDomain, Terms)> {
        self.decide.asked.lock().unwrap().clone()
    }
}

fn offered(answers: &[&str]) -> Session {
    Session {
        address: SocketAddr::from(([0; 4], 0)),
        tls: None,
        fell_back_after: None,
        replies: answers
            .iter()
            .map(|text| reply(text))
            .map(|reply| {
                Some(if reply.is_success() {
                    Ok(reply)
                } else {
                    Err(reply)
                })
            })
            .collect(),
        failure: None,
    }
}

fn failure(class: FailureClass, text: &str) -> Failure {
    Failure {
        class,
        reply: reply(text),
        answer: match class {
            FailureClass::NextHost => Answer::Silent,
            FailureClass::Later => Answer::Busy,
            FailureClass::Damaged => Answer::NotAsked,
            FailureClass::Security | FailureClass::Missing | FailureClass::GiveUp => {
                Answer::Answered
            }
        },
    }
}

fn host(host: &str, preference: u16, address: &str) -> HostDecision {
    HostDecision {
        host: name(host),
        preference,
        addresses: vec![address.parse().unwrap()],
        verdict: HostVerdict::Use(requirement(TlsRequirement::MtaSts {
            mx_host: name(host),
        })),
        reasons: vec![],
    }
}

fn requirement(tls: TlsRequirement) -> Requirement {
    Requirement {
        tls,
        require_tls: RequireTls::NotDemanded,
        sts_observation: StsObservation::None,
    }
}

fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}

/// The fates in words.
fn fates(report: &Report) -> String {
    let words: Vec<String> = report
        .fates
        .iter()
        .map(|fate| match fate {
            Fate::Delivered(_) => String::from("delivered"),
            Fate::Deferred(trouble) => format!("deferred {}", trouble.reply),
            Fate::Bounced(trouble) => format!("bounced {}", trouble.reply),
        })
        .collect();
    words.join(", ")
}
