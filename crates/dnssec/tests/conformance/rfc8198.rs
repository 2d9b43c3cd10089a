//! Denials that answer other questions than they came for (Section 5).

use domain::base::Ttl;
use std::time::Duration;

use byrnie_dnssec::Kind;
use byrnie_dnssec::Validator;
use byrnie_dnssec::Verdict;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::NOW;
use crate::world::Nsec3Fields;
use crate::world::Nsec3Span;
use crate::world::World;
use crate::world::Zone;
use crate::world::moved;
use crate::world::nsec;
use crate::world::nsec3;
use crate::world::parse_question;

#[test]
fn what_a_kept_denial_proves_is_not_asked_again() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        let validator = world.validator();
        ask(&world, &validator, "nx.org. A");
        for (question, kind) in [
            ("other.org. MX", Kind::NxDomain),
            ("a.b.c.org. MX", Kind::NxDomain),
        ] {
            let verdict = ask(&world, &validator, question);
            assert_eq!(
                (verdict.status.word(), verdict.kind),
                ("secure", kind),
                "{question}"
            );
            assert!(world.asked.borrow().is_empty(), "{denial:?} {question}");
            assert!(verdict.ttl <= 300);
            assert_eq!(verdict.chain.len(), 2);
        }
    }
}

/// Some servers that sign on the fly tell of a name no type but the two that are always there, so that
/// the lack of one would hide the others.
#[test]
fn the_types_that_a_kept_denial_tells_of_a_name_count_for_its_own_question_only() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        let validator = world.validator();
        let denied = world.drive(&validator, "www.org. AAAA", |asked| {
            let mut reply = world.reply(asked);
            if asked.rtype == Rtype::AAAA {
                let types = vec![Rtype::RRSIG, Rtype::NSEC];
                let fields = Nsec3Fields {
                    span: Nsec3Span::Nothing,
                    algorithm: 1,
                    flags: 0,
                    iterations: 0,
                    types: vec![Rtype::RRSIG],
                };
                let org = &world.zones[1];
                reply.authority = org.signed_anew(&[match denial {
                    Denial::Nsec => nsec("www.org.", "x.www.org.", &types),
                    Denial::Nsec3(_) | Denial::Nsec3OptOut | Denial::Unsigned => {
                        nsec3("org.", "www.org.", fields)
                    }
                }]);
            }
            Some(reply.message(asked))
        });
        assert_eq!(
            (denied.status.word(), denied.kind),
            ("secure", Kind::NoData)
        );
        let verdict = ask(&world, &validator, "www.org. A");
        assert_eq!(
            (verdict.status.word(), verdict.kind),
            ("secure", Kind::Answer)
        );
    }
}

#[test]
fn what_exists_or_lies_below_a_cut_is_asked_all_the_same() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        let validator = world.validator();
        ask(&world, &validator, "nx.org. A");
        for (question, word) in [
            ("www.org. A", "secure"),
            ("alias.org. AAAA", "secure"),
            ("x.wild.org. TXT", "secure"),
            ("www.signed.org. A", "secure"),
            ("signed.org. DS", "secure"),
            ("www.plain.org. A", "insecure"),
            ("www.moved.org. A", "secure"),
        ] {
            let verdict = ask(&world, &validator, question);
            let truth = world.ask(question);
            assert_eq!(
                (verdict.status.word(), verdict.kind),
                (word, truth.kind),
                "{question}"
            );
        }
    }
}

#[test]
fn a_kept_denial_proves_what_is_no_signed_delegation_on_the_way_to_an_answer() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        let validator = world.validator();
        ask(&world, &validator, "nx.org. A");
        let verdict = ask(&world, &validator, "www.plain.org. A");
        assert_eq!(verdict.status.word(), "insecure");
        let asked = ["www.plain.org. A"].map(parse_question);
        assert_eq!(*world.asked.borrow(), asked, "{denial:?}");
        let zones: Vec<String> = verdict
            .chain
            .iter()
            .map(|link| link.zone.to_string())
            .collect();
        assert_eq!(zones[1..], ["org", "plain.org"]);
        // The same for a name that is no cut, or nothing, and an answer that should be signed.
        for question in ["www.org. A", "www.nothing.org. A"] {
            world.asked.borrow_mut().clear();
            let verdict = world.drive(&validator, question, |asked| {
                let mut reply = world.reply(asked);
                let unsigned = world.zones[3].signed("www.plain.org.", Rtype::A);
                let owner = asked.name.fmt_with_dot().to_string();
                reply.answer = vec![moved(&unsigned[0], &owner)];
                reply.authority.clear();
                Some(reply.message(asked))
            });
            assert_ne!(verdict.status.word(), "insecure", "{question}");
            let asked = world.asked.borrow();
            assert!(asked.iter().all(|asked| asked.rtype != Rtype::DS));
        }
    }
}

#[test]
fn an_opt_out_span_proves_no_delegation_but_its_own_question() {
    let world = world(Denial::Nsec3OptOut);
    let validator = world.validator();
    ask(&world, &validator, "nx.org. A");
    let verdict = ask(&world, &validator, "www.plain.org. A");
    assert_eq!(verdict.status.word(), "insecure");
    let ds = parse_question("plain.org. DS");
    assert!(world.asked.borrow().contains(&ds));
}

#[test]
fn an_opt_out_span_answers_nothing_else() {
    let world = world(Denial::Nsec3OptOut);
    let validator = world.validator();
    ask(&world, &validator, "nx.org. A");
    for question in ["other.org. A", "www.org. AAAA"] {
        ask(&world, &validator, question);
        assert_eq!(world.asked.borrow().len(), 1, "{question}");
    }
}

#[test]
fn costly_denials_are_not_kept() {
    let world = world(Denial::Nsec3(151));
    let validator = world.validator();
    ask(&world, &validator, "nx.org. A");
    let verdict = ask(&world, &validator, "other.org. A");
    assert_eq!(verdict.status.word(), "insecure");
    assert_eq!(world.asked.borrow().len(), 1);
    assert_eq!(verdict.work.nsec3_rounds, 0);
}

#[test]
fn denials_are_kept_no_longer_than_the_bound() {
    let mut world = world(Denial::Nsec);
    world.limits.denial_ttl_max = Duration::from_secs(10);
    let validator = world.validator();
    for (later, asked) in [(0, 4), (9, 0), (10, 1)] {
        world.asked.borrow_mut().clear();
        let question = format!("nx{later}.org. A");
        world.drive_at(
            NOW + Duration::from_secs(later),
            &validator,
            &question,
            |asked| Some(world.reply(asked).message(asked)),
        );
        assert_eq!(world.asked.borrow().len(), asked, "{later}");
    }
}

#[test]
fn a_kept_denial_does_not_outlive_the_keys_that_signed_it() {
    let world = world(Denial::Nsec);
    let validator = world.validator();
    for (later, asks) in [(0, true), (9, false), (10, true)] {
        world.asked.borrow_mut().clear();
        let now = NOW + Duration::from_secs(later);
        let question = format!("nx{later}.org. A");
        world.drive_at(now, &validator, &question, |asked| {
            let mut reply = world.reply(asked);
            if asked.rtype == Rtype::DNSKEY {
                for record in &mut reply.answer {
                    record.set_ttl(Ttl::from_secs(10));
                }
            }
            Some(reply.message(asked))
        });
        let keys = parse_question("org. DNSKEY");
        assert_eq!(world.asked.borrow().contains(&keys), asks, "{later}");
    }
}

#[test]
fn denials_can_be_switched_off() {
    let mut world = world(Denial::Nsec);
    world.limits.denial_zones_max = 0;
    let validator = world.validator();
    ask(&world, &validator, "nx.org. A");
    ask(&world, &validator, "other.org. A");
    assert_eq!(world.asked.borrow().len(), 1);
}

/// Asks, and notes only what was asked this time.
fn ask(world: &World, validator: &Validator, question: &str) -> Verdict {
    world.asked.borrow_mut().clear();
    world.drive(validator, question, |asked| {
        Some(world.reply(asked).message(asked))
    })
}

fn world(denial: Denial) -> World {
    let text = "www A 192.0.2.1
alias CNAME www
a.ent A 192.0.2.2
*.wild TXT wild
moved DNAME signed.org.
";
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", denial, text),
        Zone::new("signed.org.", denial, "www A 192.0.2.3"),
        Zone::new("plain.org.", Denial::Unsigned, "www A 192.0.2.4"),
    ])
}
