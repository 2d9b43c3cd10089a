//! Authenticated denial of existence.

use byrnie_dnssec::Kind;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use domain::base::Ttl;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::Reply;
use crate::world::World;
use crate::world::Zone;
use crate::world::covered;
use crate::world::nsec;
use crate::world::parse_question;

/// Every way to be absent: question, what is proven, and another question whose proof must not do.
const ABSENCES: [(&str, Kind); 12] = [
    ("www.org. AAAA", Kind::NoData),
    ("org. SRV", Kind::NoData),
    ("nx.org. A", Kind::NxDomain),
    ("a.b.c.nx.org. A", Kind::NxDomain),
    ("below.www.org. A", Kind::NxDomain),
    ("ent.org. A", Kind::NoData),
    ("b.ent.org. A", Kind::NoData),
    ("x.ent.org. A", Kind::NxDomain),
    ("a.wild.org. A", Kind::NoData),
    ("wild.org. TXT", Kind::NoData),
    ("www.org. DS", Kind::NoData),
    ("signed.org. DS", Kind::Answer),
];

#[test]
fn absence_of_every_kind_is_secure_by_nsec_and_nsec3() {
    for denial in [Denial::Nsec, Denial::Nsec3(0), Denial::Nsec3(10)] {
        let world = world(denial);
        for (question, kind) in ABSENCES {
            let verdict = world.ask(question);
            let found = (verdict.status.word(), verdict.kind);
            assert_eq!(
                found,
                ("secure", kind),
                "{denial:?} {question}: {}",
                verdict.status
            );
        }
    }
}

/// As Unbound has it: NXDOMAIN with the NSEC record of a name that exists is what old servers say of
/// empty non-terminals.
#[test]
fn a_response_code_that_contradicts_the_proof_is_bogus() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        for (question, kind) in ABSENCES {
            let verdict = world.ask_tampered(question, |asked, reply| {
                reply.nxdomain ^= *asked == parse_question(question);
            });
            let expected = if (kind, denial) == (Kind::NoData, Denial::Nsec) {
                None
            } else {
                Some(&Rule::CodeContradicted)
            };
            assert_eq!(rule(&verdict.status), expected, "{denial:?} {question}");
        }
    }
}

#[test]
fn absence_without_all_of_its_proof_is_bogus() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        for (question, _) in ABSENCES.iter().filter(|(_, kind)| *kind != Kind::Answer) {
            let verdict = world.ask_tampered(question, |asked, reply| {
                if *asked == parse_question(question) {
                    reply.remove(Rtype::NSEC);
                    reply.remove(Rtype::NSEC3);
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

#[test]
fn no_set_of_true_proofs_denies_what_exists() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        for question in [
            "www.org. A",
            "a.b.ent.org. A",
            "a.wild.org. TXT",
            "alias.org. AAAA",
            "www.signed.org. A",
            "org. SOA",
            "signed.org. DS",
        ] {
            // All the denial records that there are, in place of the answer.
            let verdict = world.ask_tampered(question, |asked, reply| {
                if *asked == parse_question(question) {
                    let denials = world.reply(&parse_question("nx.org. A"));
                    reply.answer.clear();
                    reply.authority = denials.authority;
                    reply
                        .authority
                        .extend(world.reply(&parse_question("nx.signed.org. A")).authority);
                }
            });
            assert_eq!(verdict.status.word(), "bogus", "{denial:?} {question}");
        }
    }
}

#[test]
fn no_part_of_true_proofs_denies_what_exists() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        let proof = world.reply(&parse_question("nx.org. A")).authority;
        // Names whose hashes lie in several spans, beside the wildcard's own.
        for question in [
            "a.wild.org. TXT",
            "b.wild.org. TXT",
            "c.wild.org. TXT",
            "d.wild.org. TXT",
            "www.org. A",
            "alias.org. AAAA",
        ] {
            for (left_out, nxdomain) in (0..proof.len()).flat_map(|at| [(at, true), (at, false)]) {
                let verdict = world.ask_tampered(question, |asked, reply| {
                    if *asked == parse_question(question) {
                        reply.answer.clear();
                        reply.nxdomain = nxdomain;
                        reply.authority.clone_from(&proof);
                        let owner = reply.authority[left_out].owner().clone();
                        reply.authority.retain(|record| *record.owner() != owner);
                    }
                });
                assert_eq!(
                    verdict.status.word(),
                    "bogus",
                    "{denial:?} {question} {left_out}"
                );
            }
        }
    }
}

#[test]
fn a_denial_may_be_kept_as_long_as_the_soa_minimum_says() {
    let verdict = world(Denial::Nsec).ask("nx.org. A");
    assert_eq!((verdict.kind, verdict.ttl), (Kind::NxDomain, 300));
}

/// What counts for a resolver that says `AD` (Section 3.2.3) counts here: all of the authority section.
#[test]
fn a_denial_beside_a_record_of_the_zone_that_is_not_authentic_is_bogus() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        check(
            &world,
            &|reply| {
                reply.authority.retain(|record| {
                    record.rtype() != Rtype::RRSIG || covered(record) != Rtype::SOA
                });
            },
            Some(&Rule::NotSigned),
        );
        check(
            &world,
            &|reply| {
                // Another serial number.
                let soa = Zone::new("org.", Denial::Nsec, "@ SOA ns h 2 1 1 1 1")
                    .signed("org.", Rtype::SOA);
                reply
                    .authority
                    .retain(|record| record.rtype() != Rtype::SOA);
                reply.authority.push(soa[1].clone());
            },
            Some(&Rule::WrongSignature),
        );
        check(
            &world,
            &|reply| {
                reply
                    .authority
                    .push(nsec("junk.org.", "junl.org.", &[Rtype::A]));
            },
            Some(&Rule::NotSigned),
        );
        // No SOA at all is a pity, but the proof is the same.
        check(&world, &|reply| reply.remove(Rtype::SOA), None);
        // What is not the zone's is not looked at.
        check(
            &world,
            &|reply| {
                reply
                    .authority
                    .push(nsec("junk.net.", "junl.net.", &[Rtype::A]));
            },
            None,
        );
    }

    #[track_caller]
    fn check(world: &World, tamper: &dyn Fn(&mut Reply), expected: Option<&Rule>) {
        for question in ["nx.org. A", "www.org. AAAA", "a.wild.org. TXT"] {
            let soa = world.reply(&parse_question("nx.org. A")).authority;
            let verdict = world.ask_tampered(question, |asked, reply| {
                if *asked == parse_question(question) {
                    if !reply
                        .authority
                        .iter()
                        .any(|record| record.rtype() == Rtype::SOA)
                    {
                        reply.authority.clone_from(&soa);
                    }
                    tamper(reply);
                }
            });
            assert_eq!(rule(&verdict.status), expected, "{question}");
        }
    }
}

#[test]
fn a_denial_may_be_kept_no_longer_than_its_records() {
    let world = world(Denial::Nsec);
    for (question, rtype) in [
        ("nx.org. A", Rtype::NSEC),
        ("nx.org. A", Rtype::SOA),
        ("a.wild.org. TXT", Rtype::NSEC),
    ] {
        let verdict = world.ask_tampered(question, |_, reply| {
            for record in &mut reply.authority {
                if record.rtype() == rtype {
                    record.set_ttl(Ttl::from_secs(7));
                }
            }
        });
        assert_eq!(
            (verdict.status, verdict.ttl),
            (Status::Secure, 7),
            "{question} {rtype}"
        );
    }
}

/// Nothing but the deepest zone of the name can have denied it.
#[test]
fn what_a_zone_above_signed_beside_a_denial_does_not_matter() {
    let world = world(Denial::Nsec);
    let above = world.zones[0].signed(".", Rtype::SOA);
    for question in ["nx.org. A", "www.org. AAAA"] {
        let verdict = world.ask_tampered(question, |asked, reply| {
            if *asked == parse_question(question) {
                reply.authority.splice(0..0, above.clone());
            }
        });
        assert_eq!(verdict.status, Status::Secure, "{question}");
    }
}

#[test]
fn the_root_has_no_ds_records_and_its_own_word_for_it() {
    let verdict = world(Denial::Nsec).ask(". DS");
    assert_eq!(
        (verdict.status, verdict.kind),
        (Status::Secure, Kind::NoData)
    );
}

/// RFC 4592, Section 2.2.2: a wildcard that exists only because of names below it answers as well.
#[test]
fn a_wildcard_without_records_makes_nodata_of_what_would_be_nxdomain() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let org = Zone::new("org.", denial, "x.* A 192.0.2.1");
        let world = World::new(vec![Zone::new(".", Denial::Nsec, ""), org]);
        let verdict = world.ask_tampered("nx.org. A", |_, reply| reply.nxdomain = false);
        assert_eq!(
            (verdict.status, verdict.kind),
            (Status::Secure, Kind::NoData),
            "{denial:?}"
        );
    }
}

/// The proof that the wildcard applies and the denial at the end of the alias stand in one section.
#[test]
fn a_wildcard_alias_into_a_zone_below_may_lead_to_nothing() {
    for (denial, below) in [
        (Denial::Nsec, Denial::Nsec3(0)),
        (Denial::Nsec3(0), Denial::Nsec),
    ] {
        let world = World::new(vec![
            Zone::new(".", Denial::Nsec, ""),
            Zone::new(
                "org.",
                denial,
                "*.wild CNAME nx.signed\n*.data CNAME www.signed",
            ),
            Zone::new("signed.org.", below, "www A 192.0.2.4"),
        ]);
        for (question, kind) in [
            ("a.wild.org. A", Kind::NxDomain),
            ("a.data.org. TXT", Kind::NoData),
        ] {
            let verdict = world.ask(question);
            assert_eq!(verdict.status, Status::Secure, "{question}");
            assert_eq!(verdict.kind, kind, "{question}");
        }
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
a.b.ent A 192.0.2.2
*.wild TXT wild
alias CNAME www
";
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", denial, text),
        Zone::new("signed.org.", Denial::Nsec, "www A 192.0.2.4"),
    ])
}
