//! Clarifications: what the parent's side of a zone cut must not deny (Section 4).

use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
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
