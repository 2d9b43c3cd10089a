//! How often a validation waits for the upstream, and how much it asks.

use byrnie_dnssec::Step;
use byrnie_dnssec::Verdict;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::SecurityAlgorithm;
use domain::rdata::Ds;

use crate::world::Denial;
use crate::world::NOW;
use crate::world::World;
use crate::world::Zone;
use crate::world::parse_question;

#[test]
fn a_signed_answer_takes_two_round_trips_however_deep_its_zone_lies() {
    let deep = Zone::new("a.b.c.d.e.org.", Denial::Nsec, "www A 192.0.2.1");
    let mut world = world(deep);
    world.limits.questions_ahead_max = 20;
    let (verdict, rounds) = ask(&world, "www.a.b.c.d.e.org. A");
    assert_eq!((verdict.status.word(), rounds), ("secure", 2));
}

#[test]
fn an_unsigned_zone_ten_labels_deep_takes_few_round_trips() {
    let deep = Zone::new(
        "a.b.c.d.e.f.g.h.i.org.",
        Denial::Unsigned,
        "www A 192.0.2.1",
    );
    let world = world(deep);
    let (verdict, rounds) = ask(&world, "www.a.b.c.d.e.f.g.h.i.org. A");
    assert_eq!(verdict.status.word(), "insecure");
    // The answer; org's DS records, its keys; then labels one, two, four and what is left.
    assert!(rounds <= 7, "{rounds}");
}

#[test]
fn a_shallow_unsigned_zone_costs_no_question_ahead() {
    let world = world(Zone::new(
        "plain.org.",
        Denial::Unsigned,
        "_25._tcp.mx A 192.0.2.1",
    ));
    ask(&world, "_25._tcp.mx.plain.org. A");
    let asked = world.asked.borrow();
    let expected = [
        "_25._tcp.mx.plain.org. A",
        ". DNSKEY",
        "org. DS",
        "org. DNSKEY",
        "plain.org. DS",
    ];
    assert_eq!(*asked, expected.map(parse_question));
}

#[test]
fn no_keys_are_asked_for_where_no_ds_record_is_supported() {
    let mut plain = Zone::new("plain.org.", Denial::Unsigned, "www A 192.0.2.1");
    let (algorithm, digest) = (SecurityAlgorithm::from_int(200), DigestAlgorithm::SHA256);
    plain.ds = Some(vec![
        Ds::new(1, algorithm, digest, vec![0; 32].into()).unwrap(),
    ]);
    let world = world(plain);
    let (verdict, _) = ask(&world, "www.plain.org. A");
    assert_eq!(verdict.status.word(), "insecure");
    let asked = world.asked.borrow();
    assert!(!asked.contains(&parse_question("plain.org. DNSKEY")));
}

#[test]
fn no_zone_is_expected_at_or_below_an_underscore() {
    let mut world = world(Zone::new("mx.org.", Denial::Nsec, "_25._tcp A 192.0.2.1"));
    world.limits.zones_ahead_max = 5;
    let (verdict, _) = ask(&world, "_25._tcp.mx.org. A");
    assert_eq!(verdict.status.word(), "secure");
    let asked = world.asked.borrow();
    assert!(asked.contains(&parse_question("mx.org. DS")));
    assert!(!asked.contains(&parse_question("_tcp.mx.org. DS")));
}

/// Answers all questions of a round before the next; the verdict and the number of rounds.
fn ask(world: &World, question: &str) -> (Verdict, usize) {
    let (mut validation, mut step) = world.validator().start(parse_question(question), NOW);
    let mut rounds = 0;
    loop {
        let open = match step {
            Step::Done(verdict) => return (*verdict, rounds),
            Step::NeedsMore(questions) => questions,
        };
        rounds += 1;
        let mut next = Vec::new();
        step = Step::NeedsMore(Vec::new());
        for asked in open {
            world.asked.borrow_mut().push(asked.clone());
            let message = world.reply(&asked).message(&asked);
            match validation.handle_answer(&asked, &message, NOW) {
                Step::Done(verdict) => return (*verdict, rounds),
                Step::NeedsMore(questions) => next.extend(questions),
            }
        }
        if let Step::NeedsMore(questions) = &mut step {
            questions.append(&mut next);
        }
    }
}

fn world(zone: Zone) -> World {
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, ""),
        zone,
    ])
}
