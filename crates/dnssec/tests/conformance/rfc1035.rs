//! Answers that break the format of messages: RFC 1035, Sections 3.1 and 4.1, with RFC 2181 and 6891.

use std::cell::Cell;

use byrnie_dnssec::Failure;
use byrnie_dnssec::Status;

use crate::octets::Octets;
use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
use crate::world::parse_question;

/// Section 4.1.1.
#[test]
fn a_header_must_be_that_of_a_whole_answer_to_a_query() {
    let header = |flags| Octets::with_flags(flags, [1, 0, 0, 0]).question("www.org.", 1, 1);
    check(
        Octets(vec![]),
        "the answer is malformed at octet 0, in the header: the message ends too early",
    );
    check(
        Octets(vec![0; 11]),
        "the answer is malformed at octet 10, in the header: the message ends too early",
    );
    check(header(0x0100), "a query came where an answer should be");
    check(header(0x8380), "the answer is truncated");
    check(header(0xa180), "the answer is to opcode 4, not 0");
    // Authoritative or not, with all bits that mean nothing here.
    check_read(header(0x85f0));
}

/// Section 4.1.2.
#[test]
fn the_question_must_be_the_one_that_was_asked() {
    let other = "the answer belongs to another question";
    let header = |count| Octets::with_flags(0x8180, [count, 0, 0, 0]);
    check(header(1).question("www.com.", 1, 1), other);
    check(header(1).question("www.org.", 28, 1), other);
    check(header(1).question("www.org.", 1, 3), other);
    let twice = header(2)
        .question("www.org.", 1, 1)
        .question("www.org.", 1, 1);
    check(twice, other);
    check(header(0), "the answer does not repeat the question");
    check_read(header(1).question("WWW.oRG.", 1, 1));
}

/// Section 4.1.1: each count, too high and too low.
#[test]
fn counts_that_promise_more_than_there_is_are_refused_with_the_section() {
    let question = |count| Octets::with_flags(0x8180, [count, 0, 0, 0]).question("www.org.", 1, 1);
    check(
        question(2),
        "the answer is malformed at octet 25, in question 2: the message ends too early",
    );
    for (counts, section) in [
        ([1, 0, 0], "answer"),
        ([0, 1, 0], "authority"),
        ([0, 0, 1], "additional"),
    ] {
        check(
            Octets::answer(counts),
            &format!(
                "the answer is malformed at octet 25, in record 1 of the {section} section: the message ends too early"
            ),
        );
        let most = counts.map(|count| count * u16::MAX);
        check(
            Octets::answer(most).record(1, &[127, 0, 0, 1]),
            &format!(
                "the answer is malformed at octet 41, in record 2 of the {section} section: the message ends too early"
            ),
        );
    }
    // What is behind the last record is not looked at.
    check_read(Octets::answer([0, 0, 0]).record(1, &[]));
    check_read(Octets::answer([0, 0, 0]).raw(b"junk"));
}

/// Section 4.1.3: a record that ends at each of its octets.
#[test]
fn a_record_that_is_cut_off_is_refused_with_the_place() {
    let whole = Octets::answer([1, 0, 0]).record(1, &[127, 0, 0, 1]);
    check_read(whole.clone());
    for (octets, at) in [
        (26, 26),
        (27, 27),
        (28, 27),
        (30, 29),
        (34, 31),
        (36, 35),
        (40, 37),
    ] {
        let cut = Octets(whole.0[..octets].to_vec());
        check(
            cut,
            &format!(
                "the answer is malformed at octet {at}, in record 1 of the answer section: the message ends too early"
            ),
        );
    }
}

/// Section 3.1.
#[test]
fn a_name_has_labels_of_63_octets_and_255_in_all() {
    let first = "in record 1 of the answer section";
    let unknown =
        |at| format!("the answer is malformed at octet {at}, {first}: a label of an unknown kind");
    for kind in [0x40, 0x7f, 0x80, 0xbf] {
        check(Octets::answer([1, 0, 0]).raw(&[kind]), &unknown(25));
    }
    let long = |last| {
        let labels = Octets::answer([1, 0, 0]).label(63).label(63).label(63);
        labels.label(last).raw(&[0]).fixed(1, 1, 0)
    };
    check_read(long(61));
    check(
        long(62),
        &format!("the answer is malformed at octet 280, {first}: a name is longer than 255 octets"),
    );
    // By compression: 249 octets and `www.org.`'s nine make too many.
    let compressed = |last| {
        let labels = Octets::answer([1, 0, 0]).label(63).label(63).label(63);
        labels.label(last).pointer(12).fixed(1, 1, 0)
    };
    check_read(compressed(53));
    check(
        compressed(54),
        &format!("the answer is malformed at octet 20, {first}: a name is longer than 255 octets"),
    );
}

/// Section 4.1.4.
#[test]
fn pointers_lead_back_and_never_in_a_ring() {
    let first = "in record 1 of the answer section";
    let forward =
        |at| format!("the answer is malformed at octet {at}, {first}: a name does not point back");
    let answer = || Octets::answer([1, 0, 0]);
    check(answer().pointer(25), &forward(25));
    check(answer().pointer(27), &forward(25));
    check(answer().pointer(0x3fff), &forward(25));
    check(answer().label(1).pointer(25), &forward(27));
    check(
        answer().pointer(4),
        &format!("the answer is malformed at octet 25, {first}: a name points into the header"),
    );
    // A name in the data of one record, and the next one's owner that leads into it and back.
    let ring = Octets::answer([2, 0, 0])
        .record(16, &[1, b'x', 0xc0, 37])
        .pointer(37);
    check(
        ring,
        "the answer is malformed at octet 39, in record 2 of the answer section: a name does not point back",
    );
    // Pointers to pointers are lawful as long as they lead back.
    let mut chain = Octets::answer([1, 0, 0]).record(16, &[0xc0, 12, 0xc0, 37, 0xc0, 39]);
    chain.0[7] = 2;
    check_read(chain.pointer(41).fixed(1, 1, 0));
}

/// Section 3.3: data of no octets, of each type that has names or lengths inside.
#[test]
fn data_that_is_too_short_for_its_type_is_refused_with_the_place() {
    let short = "the answer is malformed at octet 37, in record 1 of the answer section: the record data ends too early";
    for rtype in [2, 5, 6, 12, 15, 33, 35, 39, 46, 47] {
        check(Octets::answer([1, 0, 0]).record(rtype, &[]), short);
        // Nor does it help that other records follow.
        let more = Octets::answer([2, 0, 0]).record(rtype, &[]);
        check(more.record(1, &[127, 0, 0, 1]), short);
    }
    // The data of these is not looked into before it is used.
    for rtype in [1, 16, 28, 43, 48, 50, 51, 52, 65_280] {
        check_read(Octets::answer([1, 0, 0]).record(rtype, &[]));
    }
}

/// Section 4.1.3: RDLENGTH.
#[test]
fn data_that_goes_on_behind_its_end_is_refused_with_the_place() {
    let answer = || Octets::answer([1, 0, 0]);
    let behind = |at| {
        format!(
            "the answer is malformed at octet {at}, in record 1 of the answer section: the record data goes on behind its end"
        )
    };
    check(answer().record(5, &[0xc0, 16, 0]), &behind(39));
    check(answer().record(15, &[0, 10, 0, 0]), &behind(40));
    let lying = answer().pointer(12).fixed(1, 1, 5).raw(&[127, 0, 0, 1]);
    check(
        lying,
        "the answer is malformed at octet 37, in record 1 of the answer section: the message ends too early",
    );
    // A name in the data ends behind the data.
    let lying = answer().pointer(12).fixed(5, 1, 2).name("org.");
    check(
        lying,
        "the answer is malformed at octet 38, in record 1 of the answer section: the record data ends too early",
    );
}

/// RFC 2181, Section 5 and 8; RFC 1035, Section 3.2.4.
#[test]
fn records_of_other_classes_are_passed_over() {
    let chaos = Octets::answer([1, 0, 0]).pointer(12).fixed(1, 3, 4);
    check_read(chaos.raw(&[127, 0, 0, 1]));
    let broken = Octets::answer([1, 0, 0]).pointer(12).fixed(5, 3, 1);
    check(
        broken.raw(&[0x40]),
        "the answer is malformed at octet 37, in record 1 of the answer section: a label of an unknown kind",
    );
}

/// RFC 6891, Section 6.1.
#[test]
fn there_is_at_most_one_opt_record_and_it_has_no_owner() {
    let opt = |octets: Octets| octets.raw(&[0]).fixed(41, 4_096, 0);
    check(
        opt(opt(Octets::answer([0, 0, 2]))),
        "the answer is malformed at octet 36, in record 2 of the additional section: a second OPT record",
    );
    let owned = Octets::answer([0, 0, 1]).record(41, &[]);
    check(
        owned,
        "the answer is malformed at octet 25, in record 1 of the additional section: an OPT record has an owner",
    );
    let mut zeroed = opt(Octets::answer([0, 0, 1]));
    zeroed.0[30..34].fill(0);
    check_read(zeroed);
}

/// RFC 4034, Section 3.1.7: a signer's name must not be compressed, and can be read if it is.
#[test]
fn a_signature_is_read_with_whatever_it_holds() {
    let rrsig = |signer: &[u8], signature: &[u8]| {
        let fixed = [
            0, 1, 15, 2, 0, 0, 14, 16, 0x6b, 0x50, 0, 0, 0x6b, 0x40, 0, 0, 0, 1,
        ];
        let data = [&fixed, signer, signature].concat();
        Octets::answer([1, 0, 0]).record(46, &data)
    };
    check_read(rrsig(&[0], &[]));
    check_read(rrsig(&[0xc0, 16], &[]));
    check_read(rrsig(&[0], &[7; 600]));
    check(
        rrsig(&[], &[]),
        "the answer is malformed at octet 55, in record 1 of the answer section: the record data ends too early",
    );
}

/// An answer that cannot be read, and what is said of it.
#[track_caller]
fn check(answer: Octets, expected: &str) {
    let status = status(answer);
    let Status::Failed(Failure::BadMessage(question, why)) = status else {
        panic!("{status}, not: {expected}");
    };
    assert_eq!(question, parse_question("www.org. A"));
    assert_eq!(why.to_string(), expected);
}

/// An answer that can be read, though there is nothing in it to believe.
#[track_caller]
fn check_read(answer: Octets) {
    let status = status(answer);
    assert_eq!(status.word(), "bogus", "{status}");
}

/// What an answer in the place of a signed one ends in.
fn status(answer: Octets) -> Status {
    let answer = Cell::new(Some(answer.0));
    let world = World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, "www A 192.0.2.1"),
    ]);
    let verdict = world.drive(&world.validator(), "www.org. A", |asked| {
        if *asked == parse_question("www.org. A") {
            return answer.take();
        }
        Some(world.reply(asked).message(asked))
    });
    verdict.status
}
