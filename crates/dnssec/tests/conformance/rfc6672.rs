//! CNAME and DNAME: each step has its own security, and the whole has the least (RFC 6672, Section 5.3).

use std::time::Duration;

use byrnie_base::Security;
use byrnie_dnssec::Failure;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use domain::base::Ttl;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::NOW;
use crate::world::World;
use crate::world::Zone;
use crate::world::moved;
use crate::world::name;
use crate::world::parse_question;

use Security::{Insecure, Secure};

#[test]
fn each_step_is_judged_and_the_least_counts() {
    check("www.org. A", "secure", Kind::Answer, &[]);
    check("to-secure.org. A", "secure", Kind::Answer, &[Secure]);
    check("to-insecure.org. A", "insecure", Kind::Answer, &[Secure]);
    check("back.plain. A", "insecure", Kind::Answer, &[Insecure]);
    check(
        "there-and-back.org. A",
        "insecure",
        Kind::Answer,
        &[Secure, Insecure],
    );
    check("to-nothing.org. A", "secure", Kind::NxDomain, &[Secure]);
    check("to-secure.org. MX", "secure", Kind::NoData, &[Secure]);
    check("to-secure.org. CNAME", "secure", Kind::Answer, &[]);
    check("www.moved.org. A", "secure", Kind::Answer, &[Secure]);
    check("nx.moved.org. A", "secure", Kind::NxDomain, &[Secure]);
    check("www.gone.org. A", "insecure", Kind::Answer, &[Secure]);
    check("x.wild.org. A", "secure", Kind::Answer, &[Secure]);

    #[track_caller]
    fn check(question: &str, word: &str, kind: Kind, steps: &[Security]) {
        let verdict = world().ask(question);
        let found = (verdict.status.word(), verdict.kind);
        assert_eq!(found, (word, kind), "{question}: {}", verdict.status);
        let found: Vec<Security> = verdict
            .steps
            .iter()
            .map(byrnie_dnssec::Hop::security)
            .collect();
        assert_eq!(found, steps, "{question}");
    }
}

#[test]
fn a_step_that_is_bogus_makes_the_whole_bogus() {
    let verdict = world().ask_tampered("to-secure.org. A", |question, reply| {
        if question.rtype == Rtype::A {
            reply.answer.retain(|record| record.rtype() != Rtype::RRSIG);
        }
    });
    assert_eq!((verdict.status.word(), verdict.kind), ("bogus", Kind::None));
}

#[test]
fn an_unsigned_cname_injected_before_a_signed_target_is_bogus() {
    let world = world();
    let injected = world.zones[1].signed("to-secure.org.", Rtype::CNAME)[0].clone();
    let verdict = world.ask_tampered("www.org. A", |question, reply| {
        if *question == parse_question("www.org. A") {
            let (class, ttl) = (injected.class(), injected.ttl());
            let data = injected.data().clone();
            reply.answer = vec![crate::world::Record::new(
                name("www.org."),
                class,
                ttl,
                data,
            )];
            reply
                .answer
                .extend(world.zones[2].signed("www.net.", Rtype::A));
        }
    });
    assert_eq!(verdict.status.word(), "bogus");
}

#[test]
fn a_chain_that_the_answer_breaks_off_is_asked_for() {
    let verdict = world().ask_tampered("to-secure.org. A", |question, reply| {
        if question.name == name("to-secure.org.") {
            reply
                .answer
                .retain(|record| *record.owner() == name("to-secure.org."));
        }
    });
    assert_eq!(
        (verdict.status, verdict.kind),
        (Status::Secure, Kind::Answer)
    );
}

#[test]
fn the_absence_at_the_end_of_a_chain_is_asked_for_if_its_proof_is_missing() {
    let verdict = world().ask_tampered("to-nothing.org. A", |question, reply| {
        if question.name == name("to-nothing.org.") {
            reply.remove(Rtype::NSEC);
        }
    });
    assert_eq!(
        (verdict.status, verdict.kind),
        (Status::Secure, Kind::NxDomain)
    );
}

#[test]
fn a_loop_fails() {
    let verdict = world().ask("loop1.org. A");
    assert!(matches!(
        verdict.status,
        Status::Failed(Failure::CnameLoop(_))
    ));
    let verdict = world().ask("self.org. A");
    assert!(matches!(
        verdict.status,
        Status::Failed(Failure::CnameLoop(_))
    ));
}

#[test]
fn a_dname_that_makes_a_name_too_long_fails() {
    let world = world();
    let question = format!("{}long.org. A", format!("{}.", "a".repeat(60)).repeat(4));
    let dname = world.zones[1].signed("long.org.", Rtype::DNAME);
    let verdict = world.drive(&world.validator(), &question, |asked| {
        let mut reply = crate::world::Reply::default();
        if *asked == parse_question(&question) {
            reply.answer.clone_from(&dname);
        } else {
            reply = world.reply(asked);
        }
        Some(reply.message(asked))
    });
    assert_eq!(
        verdict.status,
        Status::Failed(Failure::NameTooLong(name("long.org.")))
    );
}

/// Section 3.1: with the TTL of the DNAME.
#[test]
fn a_question_for_a_cname_below_a_dname_ends_with_the_one_that_follows_from_it() {
    check(
        "www.moved.org. CNAME",
        "secure",
        "www.moved.org. 3600 IN CNAME www.net.",
    );
    check(
        "nx.moved.org. CNAME",
        "secure",
        "nx.moved.org. 3600 IN CNAME nx.net.",
    );
    check(
        "x.y.moved.plain. CNAME",
        "insecure",
        "x.y.moved.plain. 3600 IN CNAME x.y.net.",
    );

    #[track_caller]
    fn check(question: &str, word: &str, record: &str) {
        let verdict = world().ask(question);
        assert_eq!((verdict.status.word(), verdict.kind), (word, Kind::Answer));
        assert_eq!(verdict.answer.unwrap().presentation(), [record]);
        assert_eq!(verdict.steps, []);
    }
}

#[test]
fn what_an_upstream_synthesizes_is_not_looked_at() {
    let verdict = world().ask_tampered("www.moved.org. A", |asked, reply| {
        if asked.rtype == Rtype::A {
            let cname = world().zones[1].signed("to-insecure.org.", Rtype::CNAME);
            reply.answer.insert(0, moved(&cname[0], "www.moved.org."));
        }
    });
    assert_eq!(verdict.status, Status::Secure);
    assert_eq!(verdict.steps[0].target, name("www.net."));
}

#[test]
fn the_cname_that_an_upstream_synthesizes_is_not_looked_at_even_if_asked_for() {
    let verdict = world().ask_tampered("www.moved.org. CNAME", |asked, reply| {
        if asked.rtype == Rtype::CNAME {
            let cname = world().zones[1].signed("to-insecure.org.", Rtype::CNAME);
            reply.answer.push(moved(&cname[0], "www.moved.org."));
        }
    });
    assert_eq!(verdict.status, Status::Secure);
    let answer = verdict.answer.unwrap().presentation();
    assert_eq!(answer, ["www.moved.org. 3600 IN CNAME www.net."]);
}

#[test]
fn the_whole_may_be_kept_no_longer_than_each_step() {
    for question in ["to-secure.org. A", "www.moved.org. A"] {
        let verdict = world().ask_tampered(question, |asked, reply| {
            if *asked == parse_question(question) {
                // The alias and its signature.
                for record in &mut reply.answer[..2] {
                    record.set_ttl(Ttl::from_secs(5));
                }
            }
        });
        assert_eq!((verdict.status, verdict.ttl), (Status::Secure, 5));
    }
}

#[test]
fn a_denial_beside_an_alias_is_taken_for_the_end_of_it_without_asking_again() {
    let world = world();
    let verdict = world.ask("to-nothing.org. A");
    assert_eq!(
        (verdict.status, verdict.kind),
        (Status::Secure, Kind::NxDomain)
    );
    assert!(!world.asked.borrow().contains(&parse_question("nx.net. A")));
}

/// A CNAME stands alone at its name, but names below it may exist.
#[test]
fn below_a_cname_there_may_be_a_zone() {
    let world = World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, "alias CNAME www\nwww A 192.0.2.1"),
        Zone::new("child.alias.org.", Denial::Nsec, "www A 192.0.2.2"),
    ]);
    let cut = parse_question("alias.org. DS");
    let verdict = world.ask_tampered("www.child.alias.org. A", |asked, reply| {
        // What is denied is at the end of the alias.
        if *asked == cut {
            reply.authority.clear();
        }
    });
    assert_eq!(verdict.status, Status::Secure);
    assert!(world.asked.borrow().contains(&cut));
}

/// Where an answer is not signed, and should be.
#[test]
fn below_a_dname_no_zone_is_looked_for() {
    let question = "a.b.c.d.e.moved.org. A";
    let world = world();
    let forged = moved(
        &world.zones[1].signed("www.org.", Rtype::A)[0],
        "a.b.c.d.e.moved.org.",
    );
    let verdict = world.ask_tampered(question, |asked, reply| {
        if asked.rtype == Rtype::A {
            reply.answer = vec![forged.clone()];
        }
    });
    assert!(matches!(&verdict.status, Status::Bogus(fault) if fault.rule == Rule::NotSigned));
    let asked = world.asked.borrow();
    assert!(asked.contains(&parse_question("e.moved.org. DS")));
    assert!(!asked.contains(&parse_question("c.d.e.moved.org. DS")));
}

#[test]
fn that_a_wildcard_alias_is_no_zone_is_kept_as_long_as_its_proof() {
    let world = world();
    let validator = world.validator();
    let forged = moved(
        &world.zones[1].signed("www.org.", Rtype::A)[0],
        "a.wild.org.",
    );
    for (later, asks) in [(0, true), (6, false), (7, true)] {
        world.asked.borrow_mut().clear();
        let now = NOW + Duration::from_secs(later);
        let verdict = world.drive_at(now, &validator, "a.wild.org. A", |asked| {
            let mut reply = world.reply(asked);
            if asked.rtype == Rtype::A {
                reply.answer = vec![forged.clone()];
            }
            for record in &mut reply.authority {
                record.set_ttl(Ttl::from_secs(7));
            }
            Some(reply.message(asked))
        });
        assert_eq!(verdict.status.word(), "bogus");
        let cut = parse_question("a.wild.org. DS");
        assert_eq!(world.asked.borrow().contains(&cut), asks, "{later}");
    }
}

#[test]
fn a_dname_at_the_apex_leaves_the_apex_alone_and_moves_all_below() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = World::new(vec![
            Zone::new(".", Denial::Nsec, ""),
            Zone::new("old.", denial, "@ DNAME net.\n@ A 192.0.2.1"),
            Zone::new("net.", denial, "www A 192.0.2.2"),
        ]);
        for (question, kind, steps) in [
            ("old. A", Kind::Answer, 0),
            ("old. TXT", Kind::NoData, 0),
            ("old. DNAME", Kind::Answer, 0),
            ("www.old. A", Kind::Answer, 1),
            ("nx.old. A", Kind::NxDomain, 1),
            ("nx.old. DNAME", Kind::NxDomain, 1),
        ] {
            let verdict = world.ask(question);
            let found = (verdict.status, verdict.kind, verdict.steps.len());
            assert_eq!(found, (Status::Secure, kind, steps), "{question}");
        }
    }
}

/// RFC 4592, Section 4.4.
#[test]
fn a_dname_from_a_wildcard_can_be_asked_for_and_leads_nowhere() {
    let text = "*.wild DNAME net.\nwww A 192.0.2.1";
    let world = World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, text),
        Zone::new("net.", Denial::Nsec, "www A 192.0.2.2"),
    ]);
    let verdict = world.ask("x.wild.org. DNAME");
    assert_eq!(
        (&verdict.status, verdict.kind),
        (&Status::Secure, Kind::Answer)
    );

    let shown = world.reply(&parse_question("x.wild.org. DNAME"));
    let verdict = world.ask_tampered("www.x.wild.org. A", |asked, reply| {
        if asked.rtype == Rtype::A {
            reply.clone_from(&shown);
        }
    });
    assert!(
        matches!(&verdict.status, Status::Bogus(fault) if fault.rule == Rule::WildcardNotAllowed),
        "{}",
        verdict.status
    );
}

#[test]
fn an_unsigned_dname_in_a_signed_zone_is_bogus() {
    let verdict = world().ask_tampered("www.org. A", |asked, reply| {
        if asked.rtype == Rtype::A {
            let dname = world().zones[1].signed("moved.org.", Rtype::DNAME);
            reply.answer = vec![moved(&dname[0], "org.")];
        }
    });
    assert_eq!(verdict.status.word(), "bogus");
}

/// An answer with the code of an error is none, but the aliases in it lead on.
#[test]
fn an_error_is_about_the_name_at_the_end_of_the_aliases() {
    let world = world();
    let ask = |question: &str| {
        world.drive(&world.validator(), question, |asked| {
            let mut message = world.reply(asked).message(asked);
            if asked.name.to_string() == question.split_once(". ").unwrap().0
                && asked.rtype == Rtype::A
            {
                message[3] |= 2;
            }
            Some(message)
        })
    };
    assert_eq!(ask("to-secure.org. A").status, Status::Secure);
    assert!(matches!(
        ask("www.org. A").status,
        Status::Failed(Failure::Rcode(_, 2))
    ));
}

fn world() -> World {
    let long = "b".repeat(63);
    let text = format!(
        "www A 192.0.2.1
to-secure CNAME www.net.
to-insecure CNAME www.plain.
there-and-back CNAME back.plain.
to-nothing CNAME nx.net.
moved DNAME net.
gone DNAME plain.
long DNAME {long}.net.
*.wild CNAME www.net.
loop1 CNAME loop2
loop2 CNAME loop1
self CNAME self
"
    );
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, &text),
        Zone::new("net.", Denial::Nsec3(0), "www A 192.0.2.2"),
        Zone::new(
            "plain.",
            Denial::Unsigned,
            "www A 192.0.2.3\nback CNAME www.org.\nmoved DNAME net.",
        ),
    ])
}
