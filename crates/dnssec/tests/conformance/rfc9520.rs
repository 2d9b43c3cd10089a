//! What is broken is not asked about again and again (Section 3.2; RFC 4035, Section 4.7).

use std::time::Duration;

use byrnie_dnssec::LinkVerdict;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use byrnie_dnssec::Validator;
use byrnie_dnssec::Verdict;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::NOW;
use crate::world::World;
use crate::world::Zone;
use crate::world::name;
use crate::world::parse_question;

#[test]
fn in_a_bogus_zone_nothing_is_asked_or_checked_again_for_half_a_minute() {
    let world = world();
    let validator = world.validator();
    let first = ask(&world, &validator, "www.broken.org. A", 0);
    assert_ne!(*world.asked.borrow(), []);
    for question in ["mx.broken.org. MX", "a.b.broken.org. A", "broken.org. TXT"] {
        let again = ask(&world, &validator, question, 29);
        assert_eq!(again.status, first.status, "{question}");
        assert_eq!(*world.asked.borrow(), [], "{question}");
        assert_eq!(again.work.signature_checks, 0);
        let chain: Vec<String> = again
            .chain
            .iter()
            .map(|link| link.zone.to_string())
            .collect();
        assert_eq!(chain[1..], ["org", "broken.org"]);
        let last = &again.chain[2].verdict;
        assert!(matches!(last, LinkVerdict::Bogus(_)));
    }
    ask(&world, &validator, "www.broken.org. A", 31);
    assert_ne!(*world.asked.borrow(), []);
}

#[test]
fn an_alias_into_a_bogus_zone_ends_there() {
    let world = world();
    let validator = world.validator();
    ask(&world, &validator, "www.broken.org. A", 0);
    let verdict = ask(&world, &validator, "alias.org. A", 0);
    assert_eq!(verdict.status.word(), "bogus");
    assert!(
        world
            .asked
            .borrow()
            .iter()
            .all(|asked| asked.rtype == Rtype::A)
    );
}

#[test]
fn what_lies_beside_or_above_a_bogus_zone_is_asked_all_the_same() {
    let world = world();
    let validator = world.validator();
    ask(&world, &validator, "www.broken.org. A", 0);
    for question in ["www.org. A", "broken.org. DS", "org. NS"] {
        let verdict = ask(&world, &validator, question, 0);
        assert_eq!(verdict.status, Status::Secure, "{question}");
    }
}

#[test]
fn a_delegation_without_proof_is_remembered_as_well() {
    let world = world();
    let validator = world.validator();
    for (question, asks) in [("www.plain.org. A", true), ("mx.plain.org. MX", false)] {
        world.asked.borrow_mut().clear();
        let verdict = world.drive(&validator, question, |asked| {
            let mut reply = world.reply(asked);
            if asked.rtype == Rtype::DS {
                reply.remove(Rtype::NSEC);
            }
            Some(reply.message(asked))
        });
        assert!(
            matches!(&verdict.status, Status::Bogus(fault) if fault.rule == Rule::NoDsUnproven)
        );
        assert_eq!(!world.asked.borrow().is_empty(), asks);
    }
}

#[test]
fn forgetting_what_a_name_rests_on_forgets_that_it_was_bogus() {
    let world = world();
    let validator = world.validator();
    let ask_again = || {
        ask(&world, &validator, "www.broken.org. A", 0);
        let keys = parse_question("broken.org. DNSKEY");
        world.asked.borrow().contains(&keys)
    };
    assert!(ask_again());
    assert!(!ask_again());
    validator.forget_above(&name("www.other.org."));
    assert!(!ask_again());
    validator.forget_above(&name("broken.org."));
    assert!(ask_again());
    validator.forget();
    assert!(ask_again());
}

#[test]
fn a_failure_to_answer_is_not_taken_for_a_bogus_zone() {
    let world = world();
    let validator = world.validator();
    let silent = world.drive(&validator, "www.org. A", |asked| {
        (asked.rtype != Rtype::DNSKEY).then(|| world.reply(asked).message(asked))
    });
    assert_eq!(silent.status.word(), "failed");
    assert_eq!(
        ask(&world, &validator, "www.org. A", 0).status,
        Status::Secure
    );
}

#[test]
fn the_memory_can_be_switched_off() {
    let mut world = world();
    world.limits.broken_zone_ttl = Duration::ZERO;
    let validator = world.validator();
    for _ in 0..2 {
        ask(&world, &validator, "www.broken.org. A", 0);
        assert_ne!(*world.asked.borrow(), []);
    }
}

/// Asks some seconds later, and notes only what was asked this time.
fn ask(world: &World, validator: &Validator, question: &str, later: u64) -> Verdict {
    world.asked.borrow_mut().clear();
    let now = NOW + Duration::from_secs(later);
    world.drive_at(now, validator, question, |asked| {
        Some(world.reply(asked).message(asked))
    })
}

fn world() -> World {
    let mut broken = Zone::new("broken.org.", Denial::Nsec, "www A 192.0.2.1\nmx MX 1 www");
    broken.ds = Some(Zone::new("broken.org.", Denial::Nsec, "").ds_records());
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new(
            "org.",
            Denial::Nsec,
            "www A 192.0.2.2\nalias CNAME www.broken.org.",
        ),
        broken,
        Zone::new("plain.org.", Denial::Unsigned, "www A 192.0.2.3"),
    ])
}
