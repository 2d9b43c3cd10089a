//! Upstreams that do not do their part.

use byrnie_dnssec::BadMessage;
use byrnie_dnssec::Failure;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Question;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use byrnie_dnssec::Step;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::NOW;
use crate::world::World;
use crate::world::Zone;
use crate::world::parse_question;

#[test]
fn an_upstream_that_strips_signatures_is_named_and_nothing_is_insecure() {
    let world = world();
    for question in ["www.org. A", "nx.org. A", "www.plain. A", "org. DS"] {
        let verdict = world.ask_tampered(question, |_, reply| reply.strip());
        let stripped = parse_question(". DNSKEY");
        let expected = Status::Failed(Failure::UpstreamStripsDnssec(stripped));
        assert_eq!(verdict.status, expected, "{question}");
    }
}

#[test]
fn an_upstream_that_begins_to_strip_signatures_is_told_from_a_broken_zone() {
    let world = world();
    let validator = world.validator();
    let honest = world.drive(&validator, "www.org. A", |asked| {
        Some(world.reply(asked).message(asked))
    });
    assert_eq!(honest.status, Status::Secure);
    // Now that the keys are known, a missing signature could be the zone's fault as well.
    let everywhere = world.drive(&validator, "www.org. A", |asked| {
        let mut reply = world.reply(asked);
        reply.strip();
        Some(reply.message(asked))
    });
    let control = parse_question(". SOA");
    let expected = Status::Failed(Failure::UpstreamStripsDnssec(control));
    assert_eq!(everywhere.status, expected);

    let here = world.drive(&validator, "www.org. A", |asked| {
        let mut reply = world.reply(asked);
        if asked.rtype == Rtype::A {
            reply.strip();
        }
        Some(reply.message(asked))
    });
    assert!(matches!(here.status, Status::Bogus(fault) if fault.rule == Rule::NotSigned));
}

#[test]
fn a_question_without_answer_fails_if_the_answer_is_needed() {
    let world = world();
    for silent in ["www.org. A", "org. DS", "org. DNSKEY", ". DNSKEY"] {
        let verdict = world.drive(&world.validator(), "www.org. A", |asked| {
            (*asked != parse_question(silent)).then(|| world.reply(asked).message(asked))
        });
        let Status::Failed(Failure::Transport(question, why)) = verdict.status else {
            panic!("{silent}: {}", verdict.status);
        };
        assert_eq!(
            (question, why.as_str()),
            (parse_question(silent), "timed out")
        );
        assert_eq!(verdict.kind, Kind::None);
    }
}

#[test]
fn a_question_asked_ahead_of_need_may_stay_without_answer() {
    // The child has no keys to tell, and nobody needs them.
    let world = world();
    let verdict = world.drive(&world.validator(), "www.plain. A", |asked| {
        (asked.rtype != Rtype::DNSKEY || asked.name.is_root())
            .then(|| world.reply(asked).message(asked))
    });
    assert_eq!(verdict.status.word(), "insecure");
}

#[test]
fn error_codes_fail() {
    for code in [1, 2, 4, 5] {
        let world = world();
        let verdict = world.drive(&world.validator(), "www.org. A", |asked| {
            let mut message = world.reply(asked).message(asked);
            if asked.rtype == Rtype::A {
                message.truncate(12);
                message[3] = code;
                message[4..12].fill(0);
            }
            Some(message)
        });
        let failure = Failure::Rcode(parse_question("www.org. A"), u16::from(code));
        assert_eq!(verdict.status, Status::Failed(failure));
    }
}

#[test]
fn truncated_and_mistaken_answers_fail() {
    check(|message| message[2] |= 2, BadMessage::Truncated);
    check(|message| message[2] &= 0x7f, BadMessage::NotAnAnswer);
    check(|message| message[13] ^= 1, BadMessage::OtherQuestion);

    #[track_caller]
    fn check(tamper: impl Fn(&mut Vec<u8>), expected: BadMessage) {
        let world = world();
        let verdict = world.drive(&world.validator(), "www.org. A", |asked| {
            let mut message = world.reply(asked).message(asked);
            if asked.rtype == Rtype::A {
                tamper(&mut message);
            }
            Some(message)
        });
        let failure = Failure::BadMessage(parse_question("www.org. A"), expected);
        assert_eq!(verdict.status, Status::Failed(failure));
    }
}

#[test]
fn answers_may_come_in_any_order_and_twice() {
    let world = world();
    let (mut validation, mut step) = world.validator().start(parse_question("www.org. A"), NOW);
    let mut open: Vec<Question> = Vec::new();
    let verdict = loop {
        match step {
            Step::Done(verdict) => break verdict,
            Step::NeedsMore(questions) => open.extend(questions),
        }
        let question = open.pop().unwrap();
        let message = world.reply(&question).message(&question);
        step = validation.handle_answer(&question, &message, NOW);
        if matches!(step, Step::NeedsMore(_)) {
            let Step::NeedsMore(more) = validation.handle_answer(&question, b"late", NOW) else {
                panic!("an answer that came twice ended it");
            };
            assert_eq!(more, [], "a question was asked twice");
        }
    };
    assert_eq!(verdict.status, Status::Secure);
}

#[test]
fn answers_to_what_was_not_asked_do_not_count() {
    let world = world();
    let (mut validation, mut step) = world.validator().start(parse_question("www.org. A"), NOW);
    let mut open: Vec<Question> = Vec::new();
    for question in ["org. DS", "org. DNSKEY", "org. SOA"].map(parse_question) {
        let after = validation.handle_answer(&question, b"forged", NOW);
        assert!(matches!(after, Step::NeedsMore(more) if more.is_empty()));
    }
    let verdict = loop {
        match step {
            Step::Done(verdict) => break verdict,
            Step::NeedsMore(questions) => open.extend(questions),
        }
        let question = open.pop().unwrap();
        let message = world.reply(&question).message(&question);
        step = validation.handle_answer(&question, &message, NOW);
    };
    assert_eq!(verdict.status, Status::Secure);
}

#[test]
fn types_that_cannot_be_signed_are_refused_without_asking() {
    let world = world();
    for question in ["org. ANY", "org. RRSIG", "org. AXFR"] {
        let verdict = world.ask(question);
        assert!(matches!(
            verdict.status,
            Status::Failed(Failure::UnsignableType(_))
        ));
    }
    assert_eq!(*world.asked.borrow(), []);
}

#[test]
fn keys_are_proven_once_for_all_questions() {
    let world = world();
    let validator = world.validator();
    let ask = |question| {
        world.drive(&validator, question, |asked| {
            Some(world.reply(asked).message(asked))
        })
    };
    assert_eq!(ask("www.org. A").work.signature_checks, 4); // ., org. DS, org. keys, the address
    world.asked.borrow_mut().clear();
    assert_eq!(ask("www.org. A").work.signature_checks, 1);
    assert_eq!(*world.asked.borrow(), [parse_question("www.org. A")]);
    validator.forget();
    assert_eq!(ask("www.org. A").work.signature_checks, 4);
}

fn world() -> World {
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, "www A 192.0.2.1"),
        Zone::new("plain.", Denial::Unsigned, "www A 192.0.2.2"),
    ])
}
