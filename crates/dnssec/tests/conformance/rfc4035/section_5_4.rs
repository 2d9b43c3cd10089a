//! Authenticated denial of existence.

use byrnie_dnssec::Kind;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
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

#[test]
fn the_proof_counts_and_not_the_response_code() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = world(denial);
        for (question, kind) in ABSENCES {
            let verdict = world.ask_tampered(question, |_, reply| reply.nxdomain ^= true);
            assert_eq!(
                (verdict.status.word(), verdict.kind),
                ("secure", kind),
                "{question}"
            );
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
fn a_denial_may_be_kept_as_long_as_the_soa_minimum_says() {
    let verdict = world(Denial::Nsec).ask("nx.org. A");
    assert_eq!((verdict.kind, verdict.ttl), (Kind::NxDomain, 300));
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
