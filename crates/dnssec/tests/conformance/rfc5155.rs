//! NSEC3: opt-out (Sections 6 and 8) and the number of iterations (Section 10.3; RFC 9276, Section 3.2).

use byrnie_dnssec::InsecureProof;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Status;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
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
