//! Clarifications: what the parent's side of a zone cut must not deny (Section 4).

use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
use crate::world::nsec;
use crate::world::parse_question;

#[test]
fn the_denial_of_a_delegation_says_nothing_of_the_child() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        for question in [
            "child.org. A",
            "www.child.org. A",
            "nx.child.org. A",
            "child.org. NS",
        ] {
            for nxdomain in [false, true] {
                // The parent's whole chain, in place of the child's answer.
                let verdict = world.ask_tampered(question, |asked, reply| {
                    if *asked == parse_question(question) {
                        *reply = world.reply(&parse_question("nx.org. A"));
                        reply.nxdomain = nxdomain;
                    }
                });
                assert_eq!(
                    rule(&verdict.status),
                    Some(&Rule::DenialUnproven),
                    "{question}"
                );
            }
        }
    }
}

#[test]
fn the_denial_of_the_childs_apex_says_nothing_of_ds_records() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = World::new(vec![
            Zone::new(".", Denial::Nsec, ""),
            Zone::new("org.", Denial::Nsec, ""),
            Zone::new("child.org.", denial, ""),
        ]);
        // The child's own word that it has no DS records.
        let verdict = world.ask_tampered("child.org. A", |asked, reply| {
            if *asked == parse_question("child.org. DS") {
                *reply = world.reply(&parse_question("child.org. SRV"));
            }
        });
        assert_eq!(verdict.status.word(), "bogus", "{denial:?}");
    }
}

#[test]
fn the_denial_of_a_name_with_a_cname_is_no_denial() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        let verdict = world.ask_tampered("alias.org. TXT", |asked, reply| {
            if asked.rtype == Rtype::TXT {
                *reply = world.reply(&parse_question("nx.org. A"));
                reply.nxdomain = false;
            }
        });
        assert_eq!(
            rule(&verdict.status),
            Some(&Rule::DenialUnproven),
            "{denial:?}"
        );
    }
}

#[test]
fn the_denial_of_a_name_with_a_dname_says_nothing_of_what_is_below() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        let verdict = world.ask_tampered("www.moved.org. A", |asked, reply| {
            if *asked == parse_question("www.moved.org. A") {
                *reply = world.reply(&parse_question("nx.org. A"));
            }
        });
        assert_eq!(
            rule(&verdict.status),
            Some(&Rule::DenialUnproven),
            "{denial:?}"
        );
    }
}

#[test]
fn an_nsec_record_from_a_wildcard_denies_nothing() {
    // The NSEC record of the wildcard has no A bit; expanded, it would deny the name's A record.
    let world = world(Denial::Nsec);
    let wildcard = world.zones[1].signed("*.wild.org.", Rtype::NSEC);
    let verdict = world.ask_tampered("there.wild.org. A", |asked, reply| {
        if asked.rtype == Rtype::A {
            reply.answer.clear();
            reply.authority = wildcard
                .iter()
                .map(|record| {
                    let owner = crate::world::name("there.wild.org.");
                    let (class, ttl) = (record.class(), record.ttl());
                    crate::world::Record::new(owner, class, ttl, record.data().clone())
                })
                .collect();
        }
    });
    assert_eq!(rule(&verdict.status), Some(&Rule::DenialUnproven));
}

//= https://www.rfc-editor.org/rfc/rfc6840#section-4.4
//= type=test
//# The validator also MUST check for the
//# presence of the NS bit in the matching NSEC (or NSEC3) RR
#[test]
fn the_types_in_a_record_count() {
    // At the name itself.
    check("www.org. AAAA", "www.org.", "x.org.", &[Rtype::A], "secure");
    check(
        "www.org. AAAA",
        "www.org.",
        "x.org.",
        &[Rtype::AAAA],
        "bogus",
    );
    check(
        "www.org. AAAA",
        "www.org.",
        "x.org.",
        &[Rtype::CNAME],
        "bogus",
    );
    check("www.org. AAAA", "www.org.", "x.org.", &[Rtype::NS], "bogus");
    check("www.org. DS", "www.org.", "x.org.", &[Rtype::NS], "secure");
    check("www.org. DS", "www.org.", "x.org.", &[Rtype::DS], "bogus");
    check("www.org. DS", "www.org.", "x.org.", &[Rtype::SOA], "bogus");
    // Above the name.
    check("b.a.org. A", "a.org.", "c.org.", &[Rtype::A], "secure");
    check("b.a.org. A", "a.org.", "c.org.", &[Rtype::NS], "bogus");
    check("b.a.org. A", "a.org.", "c.org.", &[Rtype::DNAME], "bogus");
    check(
        "b.a.org. A",
        "a.org.",
        "c.org.",
        &[Rtype::NS, Rtype::SOA],
        "secure",
    );
}

#[test]
fn the_span_of_a_record_counts() {
    // Beside the name, up to the end of the zone, and from its only name to itself.
    check(
        "b.org. A",
        "org.",
        "c.org.",
        &[Rtype::NS, Rtype::SOA],
        "secure",
    );
    check(
        "d.org. A",
        "org.",
        "c.org.",
        &[Rtype::NS, Rtype::SOA],
        "bogus",
    );
    check(
        "c.org. A",
        "org.",
        "c.org.",
        &[Rtype::NS, Rtype::SOA],
        "bogus",
    );
    check(
        "b.org. A",
        "org.",
        "org.",
        &[Rtype::NS, Rtype::SOA],
        "secure",
    );
    check("z.org. A", "y.org.", "org.", &[Rtype::A], "bogus");
    // The closest encloser follows from the next name, and so does which wildcard there is not.
    check("c.b.org. A", "a.org.", "x.b.org.", &[Rtype::A], "secure");
    check("c.b.org. A", "*.b.org.", "x.b.org.", &[Rtype::A], "bogus");
    // What a zone signs outside of itself says nothing.
    check("x.org. A", "net.", "z.org.", &[Rtype::A], "bogus");
    // The next name lies below: the name exists and has nothing, and no wildcard applies.
    check("b.org. A", "org.", "x.b.org.", &[Rtype::SOA], "secure");
}

/// Asks while the zone's proof is replaced by one record, with a signature.
#[track_caller]
fn check(question: &str, owner: &str, next: &str, types: &[Rtype], word: &str) {
    let world = world(Denial::Nsec);
    let record = nsec(owner, next, types);
    let verdict = world.ask_tampered(question, |asked, reply| {
        if *asked == parse_question(question) {
            reply.answer.clear();
            reply.authority = world.zones[1].signed_anew(std::slice::from_ref(&record));
        }
    });
    assert_eq!(verdict.status.word(), word, "{question} {record}");
}

#[test]
fn what_a_record_says_of_a_delegation_depends_on_its_types_and_span() {
    check("plain.org.", "z.org.", &[Rtype::NS], None);
    check(
        "plain.org.",
        "z.org.",
        &[Rtype::NS, Rtype::DS],
        Some(&Rule::NoDsUnproven),
    );
    check(
        "plain.org.",
        "z.org.",
        &[Rtype::NS, Rtype::SOA],
        Some(&Rule::NoDsUnproven),
    );
    check(
        "org.",
        "plain.org.",
        &[Rtype::SOA],
        Some(&Rule::NoDsUnproven),
    );
    check(
        "plain.org.",
        "org.",
        &[Rtype::DS],
        Some(&Rule::NoDsUnproven),
    );
    // No delegation at all, by the types, or because there is no such name: then it must be signed.
    check("plain.org.", "z.org.", &[Rtype::A], Some(&Rule::NotSigned));
    check("org.", "z.org.", &[Rtype::SOA], Some(&Rule::NotSigned));
    check(
        "org.",
        "x.www.plain.org.",
        &[Rtype::SOA],
        Some(&Rule::NotSigned),
    );

    #[track_caller]
    fn check(owner: &str, next: &str, types: &[Rtype], expected: Option<&Rule>) {
        let world = World::new(vec![
            Zone::new(".", Denial::Nsec, ""),
            Zone::new("org.", Denial::Nsec, ""),
            Zone::new("plain.org.", Denial::Unsigned, "www A 192.0.2.1"),
        ]);
        let record = nsec(owner, next, types);
        let verdict = world.ask_tampered("www.plain.org. A", |asked, reply| {
            if asked.rtype == Rtype::DS && asked.name.label_count() > 2 {
                reply.answer.clear();
                reply.authority = world.zones[1].signed_anew(std::slice::from_ref(&record));
            }
        });
        assert_eq!(
            rule(&verdict.status),
            expected,
            "{record}: {}",
            verdict.status
        );
    }
}

fn rule(status: &Status) -> Option<&Rule> {
    match status {
        Status::Bogus(fault) => Some(&fault.rule),
        Status::Secure | Status::Insecure(_) | Status::Failed(_) => None,
    }
}

fn world(denial: Denial) -> World {
    let text = "www A 192.0.2.1
alias CNAME www
moved DNAME child.org.
*.wild TXT wild
there.wild A 192.0.2.2
";
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", denial, text),
        Zone::new("child.org.", denial, "www A 192.0.2.3"),
    ])
}
