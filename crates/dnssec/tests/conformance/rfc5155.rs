//! NSEC3: opt-out (Sections 6 and 8) and the number of iterations (Section 10.3; RFC 9276, Section 3.2).

use byrnie_dnssec::InsecureProof;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Status;
use byrnie_dnssec::Verdict;
use domain::base::iana::Nsec3HashAlgorithm;
use domain::base::iana::Rtype;
use domain::rdata::Nsec3param;
use domain::rdata::ZoneRecordData;
use domain::rdata::nsec3::Nsec3Salt;

use crate::world::Denial;
use crate::world::Nsec3Fields;
use crate::world::Nsec3Span;
use crate::world::Record;
use crate::world::World;
use crate::world::Zone;
use crate::world::nsec3;
use crate::world::parse_question;

#[test]
fn in_an_opt_out_span_only_what_has_a_record_of_its_own_is_secure() {
    let world = world(Denial::Nsec3OptOut);
    check(&world, "www.org. A", "secure", Kind::Answer);
    check(&world, "www.org. AAAA", "secure", Kind::NoData);
    check(&world, "b.ent.org. A", "secure", Kind::NoData);
    check(&world, "nx.org. A", "insecure", Kind::NxDomain);
    check(&world, "a.wild.org. TXT", "insecure", Kind::Answer);
    check(&world, "a.wild.org. A", "insecure", Kind::NoData);
    check(&world, "*.wild.org. TXT", "secure", Kind::Answer);
    check(&world, "unsigned.org. DS", "insecure", Kind::NoData);
    check(&world, "deep.co.org. DS", "insecure", Kind::NoData);
    check(&world, "signed.org. DS", "secure", Kind::Answer);
}

#[test]
fn without_opt_out_the_same_is_secure() {
    let world = world(Denial::Nsec3(0));
    check(&world, "nx.org. A", "secure", Kind::NxDomain);
    check(&world, "a.wild.org. TXT", "secure", Kind::Answer);
    check(&world, "unsigned.org. DS", "secure", Kind::NoData);
    check(&world, "co.org. DS", "secure", Kind::NoData);
}

#[test]
fn opt_out_does_not_deny_names_that_have_a_record() {
    let world = world(Denial::Nsec3OptOut);
    for question in [
        "www.org. A",
        "signed.org. DS",
        "*.wild.org. TXT",
        "org. SOA",
    ] {
        for nxdomain in [false, true] {
            let verdict = world.ask_tampered(question, |asked, reply| {
                if *asked == parse_question(question) {
                    *reply = world.reply(&parse_question("nx.org. A"));
                    reply.nxdomain = nxdomain;
                }
            });
            assert_eq!(verdict.status.word(), "bogus", "{question}");
        }
    }
}

#[test]
fn an_nxdomain_in_an_opt_out_span_needs_proof_that_no_wildcard_applies() {
    let world = world(Denial::Nsec3OptOut);
    let verdict = world.ask_tampered("a.wild.org. TXT", |asked, reply| {
        if asked.rtype == Rtype::TXT {
            reply.answer.clear();
            reply.nxdomain = true;
        }
    });
    assert_eq!(verdict.status.word(), "bogus");
}

#[test]
fn what_proves_no_more_than_that_records_are_missing_is_no_nxdomain() {
    for (nxdomain, word) in [(false, "insecure"), (true, "bogus")] {
        let verdict = world(Denial::Nsec3OptOut).ask_tampered("a.wild.org. A", |asked, reply| {
            if asked.rtype == Rtype::A {
                reply.nxdomain = nxdomain;
            }
        });
        assert_eq!(verdict.status.word(), word, "{nxdomain}");
    }
}

#[test]
fn up_to_150_iterations_are_done_and_beyond_a_denial_is_insecure() {
    for (iterations, word) in [
        (0, "secure"),
        (150, "secure"),
        (151, "insecure"),
        (2_500, "insecure"),
    ] {
        let world = world(Denial::Nsec3(iterations));
        check(&world, "nx.org. A", word, Kind::NxDomain);
        check(&world, "www.org. AAAA", word, Kind::NoData);
        check(&world, "a.wild.org. TXT", word, Kind::Answer);
        check(&world, "www.org. A", "secure", Kind::Answer);
        if word == "insecure" {
            let Status::Insecure(why) = world.ask("nx.org. A").status else {
                panic!("not insecure");
            };
            assert_eq!(why.proof, InsecureProof::TooManyIterations(iterations));
        }
    }
}

#[test]
fn a_wildcard_whose_costly_proof_an_upstream_dropped_is_insecure() {
    for (iterations, word) in [(151, "insecure"), (150, "bogus")] {
        let world = world(Denial::Nsec3(iterations));
        let verdict = world.ask_tampered("a.wild.org. TXT", |_, reply| reply.remove(Rtype::NSEC3));
        assert_eq!(verdict.status.word(), word, "{iterations}");
    }
}

/// Only where it is the zone's own word that it takes more, and nothing else is there instead.
#[test]
fn a_wildcard_whose_costly_proof_was_replaced_is_bogus() {
    let zone = world(Denial::Nsec3(151));
    let fields = Nsec3Fields {
        span: Nsec3Span::Everything,
        algorithm: 1,
        flags: 2, // unknown
        iterations: 0,
        types: vec![Rtype::TXT],
    };
    let ignored = zone.zones[1].signed_anew(&[nsec3("org.", "org.", fields)]);
    let verdict = zone.ask_tampered("a.wild.org. TXT", |asked, reply| {
        if asked.rtype == Rtype::TXT {
            reply.authority.clone_from(&ignored);
        }
    });
    assert_eq!(verdict.status.word(), "bogus");

    let verdict = world(Denial::Nsec3(150)).ask_tampered("a.wild.org. TXT", |asked, reply| {
        reply.remove(Rtype::NSEC3);
        if asked.rtype == Rtype::NSEC3PARAM {
            let (algorithm, salt) = (Nsec3HashAlgorithm::SHA1, Nsec3Salt::empty());
            let costly = Nsec3param::new(algorithm, 0, 500, salt);
            *reply.answer[0].data_mut() = ZoneRecordData::Nsec3param(costly);
        }
    });
    assert_eq!(verdict.status.word(), "bogus");
}

//= https://www.rfc-editor.org/rfc/rfc5155#section-8.1
//= type=test
//# A validator MUST ignore NSEC3 RRs with unknown hash types.
//
//= https://www.rfc-editor.org/rfc/rfc5155#section-8.2
//= type=test
//# A validator MUST ignore NSEC3 RRs with a Flag fields value other than
//# zero or one.
#[test]
fn records_of_unknown_hash_functions_or_flags_are_ignored() {
    check(1, 0, "secure");
    check(1, 1, "secure");
    check(1, 2, "bogus");
    check(1, 129, "bogus");
    check(0, 0, "bogus");
    check(2, 0, "bogus");

    #[track_caller]
    fn check(algorithm: u8, flags: u8, word: &str) {
        let fields = Nsec3Fields {
            span: Nsec3Span::Everything,
            algorithm,
            flags,
            iterations: 0,
            types: vec![Rtype::A, Rtype::RRSIG],
        };
        let verdict = ask_with("www.org. AAAA", &[nsec3("org.", "www.org.", fields)]);
        assert_eq!(verdict.status.word(), word, "{algorithm} {flags}");
    }
}

#[test]
fn records_of_a_second_chain_are_ignored() {
    let record_of = |span, at: &str, iterations| {
        let fields = Nsec3Fields {
            span,
            algorithm: 1,
            flags: 0,
            iterations,
            types: vec![Rtype::TXT],
        };
        nsec3("org.", at, fields)
    };
    let record = |at: &str, iterations| record_of(Nsec3Span::Everything, at, iterations);
    // Encloser and next closer name by one chain, or each by another.
    let proven = ask_with("nx.org. A", &[record("org.", 1)]);
    assert_eq!(
        (proven.status, proven.kind),
        (Status::Secure, Kind::NxDomain)
    );
    let mixed = ask_with("nx.org. A", &[record("other.org.", 1), record("org.", 2)]);
    assert_eq!(mixed.status.word(), "bogus");
    let encloser = record_of(Nsec3Span::Nothing, "org.", 1);
    let mixed = ask_with("nx.org. A", &[encloser, record("other.org.", 2)]);
    assert_eq!(mixed.status.word(), "bogus");
    // Nor does a second chain, costly to follow, make the first insecure.
    let costly = ask_with("nx.org. A", &[record("org.", 1), record("org.", 500)]);
    assert_eq!(costly.status, Status::Secure);
}

//= https://www.rfc-editor.org/rfc/rfc9276#section-3.2
//= type=test
//# a validating resolver
//# returning an insecure response MUST still validate the signature over the NSEC3 record to
//# ensure the iteration count was not altered since record publication
#[test]
fn a_number_of_iterations_that_is_not_signed_makes_nothing_insecure() {
    let fields = || Nsec3Fields {
        span: Nsec3Span::Everything,
        algorithm: 1,
        flags: 0,
        iterations: 500,
        types: vec![Rtype::TXT],
    };
    let signed = ask_with("nx.org. A", &[nsec3("org.", "org.", fields())]);
    assert_eq!(signed.status.word(), "insecure");
    let unsigned = world(Denial::Nsec3(0)).ask_tampered("nx.org. A", |asked, reply| {
        if asked.rtype == Rtype::A {
            reply.authority = vec![nsec3("org.", "org.", fields())];
        }
    });
    assert_eq!(unsigned.status.word(), "bogus");
}

/// Section 8.5: without the types asked for, and without a CNAME; Section 8.3: no record of a cut or a
/// DNAME shows that nothing is below.
#[test]
fn the_types_in_a_record_count() {
    check("www.org. AAAA", "www.org.", &[Rtype::A], "secure");
    check("www.org. AAAA", "www.org.", &[Rtype::AAAA], "bogus");
    check("www.org. AAAA", "www.org.", &[Rtype::CNAME], "bogus");
    check("www.org. AAAA", "www.org.", &[Rtype::NS], "bogus");
    check(
        "www.org. AAAA",
        "www.org.",
        &[Rtype::NS, Rtype::SOA],
        "secure",
    );
    check("www.org. DS", "www.org.", &[Rtype::NS], "secure");
    check("www.org. DS", "www.org.", &[Rtype::NS, Rtype::DS], "bogus");
    check("www.org. DS", "www.org.", &[Rtype::NS, Rtype::SOA], "bogus");
    check("nx.org. A", "org.", &[Rtype::NS, Rtype::SOA], "secure");
    check("nx.org. A", "org.", &[], "secure");
    check("nx.org. A", "org.", &[Rtype::NS], "bogus");
    check("nx.org. A", "org.", &[Rtype::DNAME], "bogus");

    #[track_caller]
    fn check(question: &str, at: &str, types: &[Rtype], word: &str) {
        let fields = Nsec3Fields {
            span: Nsec3Span::Everything,
            algorithm: 1,
            flags: 0,
            iterations: 0,
            types: types.to_vec(),
        };
        let verdict = ask_with(question, &[nsec3("org.", at, fields)]);
        assert_eq!(verdict.status.word(), word, "{question} {types:?}");
    }
}

/// Asks while the zone's proof is replaced by these records, each with a signature.
fn ask_with(question: &str, records: &[Record]) -> Verdict {
    let world = world(Denial::Nsec3(0));
    world.ask_tampered(question, |asked, reply| {
        if *asked == parse_question(question) {
            reply.answer.clear();
            reply.authority.clear();
            for record in records {
                let set = std::slice::from_ref(record);
                reply.authority.extend(world.zones[1].signed_anew(set));
            }
        }
    })
}

#[track_caller]
fn check(world: &World, question: &str, word: &str, kind: Kind) {
    let verdict = world.ask(question);
    let found = (verdict.status.word(), verdict.kind);
    assert_eq!(found, (word, kind), "{question}: {}", verdict.status);
}

fn world(denial: Denial) -> World {
    let text = "www A 192.0.2.1
a.b.ent A 192.0.2.2
*.wild TXT wild
";
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", denial, text),
        Zone::new("signed.org.", Denial::Nsec, ""),
        Zone::new("unsigned.org.", Denial::Unsigned, ""),
        Zone::new("deep.co.org.", Denial::Unsigned, ""),
    ])
}
