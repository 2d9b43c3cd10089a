//! Compact denial of existence: a record at the very name, made for the question.

use byrnie_dnssec::Failure;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use byrnie_dnssec::Verdict;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
use crate::world::nsec;
use crate::world::parse_question;

/// The pseudo-type of a name that does not exist (Section 2).
const NXNAME: Rtype = Rtype::from_int(128);

#[test]
fn a_name_that_does_not_exist_is_nodata_or_nxdomain_as_the_code_says() {
    for (nxdomain, kind) in [(false, Kind::NoData), (true, Kind::NxDomain)] {
        let verdict = ask("nx.org. A", "nx.org.", &[NXNAME], nxdomain);
        assert_eq!((verdict.status, verdict.kind), (Status::Secure, kind));
    }
}

#[test]
fn an_empty_non_terminal_or_a_name_with_other_types_is_nodata_whatever_the_code() {
    for nxdomain in [false, true] {
        for types in [&[][..], &[Rtype::TXT]] {
            let verdict = ask("ent.org. A", "ent.org.", types, nxdomain);
            let found = (verdict.status, verdict.kind);
            assert_eq!(found, (Status::Secure, Kind::NoData));
        }
    }
}

#[test]
fn the_denial_of_one_name_is_none_of_another_or_of_a_type_that_it_lists() {
    check("other.org. A", "nx.org.", &[NXNAME]);
    check("a.nx.org. A", "nx.org.", &[NXNAME, Rtype::NS]);
    check("www.org. A", "www.org.", &[Rtype::A]);
    check("www.org. A", "www.org.", &[Rtype::CNAME]);

    #[track_caller]
    fn check(question: &str, owner: &str, types: &[Rtype]) {
        let verdict = ask(question, owner, types, false);
        let Status::Bogus(fault) = verdict.status else {
            panic!("{question}: {}", verdict.status);
        };
        assert_eq!(fault.rule, Rule::DenialUnproven);
    }
}

/// The walk to an unsigned answer below a name that does not exist ends there.
#[test]
fn below_a_name_that_does_not_exist_is_no_zone() {
    let world = world();
    let asked_for = "a.b.c.nx.org. A";
    let verdict = world.ask_tampered(asked_for, |asked, reply| {
        if asked.rtype == Rtype::DS && asked.name.to_string() == "nx.org" {
            *reply = denial(&world, "nx.org.", &[NXNAME], false);
        } else if *asked == parse_question(asked_for) {
            reply.strip();
        }
    });
    assert_eq!(verdict.status.word(), "bogus");
    let asked = world.asked.borrow();
    assert!(
        !asked.contains(&parse_question("c.nx.org. DS")),
        "{asked:?}"
    );
}

#[test]
fn the_pseudo_type_itself_cannot_be_asked_for() {
    let verdict = world().ask("www.org. TYPE128");
    assert_eq!(
        verdict.status,
        Status::Failed(Failure::UnsignableType(NXNAME))
    );
}

/// Asks while the zone's denial is replaced by one compact record.
fn ask(question: &str, owner: &str, types: &[Rtype], nxdomain: bool) -> Verdict {
    let world = world();
    world.ask_tampered(question, |asked, reply| {
        if *asked == parse_question(question) {
            *reply = denial(&world, owner, types, nxdomain);
        }
    })
}

/// A compact denial.
fn denial(world: &World, owner: &str, types: &[Rtype], nxdomain: bool) -> crate::world::Reply {
    let org = &world.zones[1];
    let all: Vec<Rtype> = types
        .iter()
        .copied()
        .chain([Rtype::RRSIG, Rtype::NSEC])
        .collect();
    let record = nsec(owner, &format!("\\000.{owner}"), &all);
    let mut authority = org.signed("org.", Rtype::SOA);
    authority.extend(org.signed_anew(&[record]));
    crate::world::Reply {
        nxdomain,
        answer: Vec::new(),
        authority,
    }
}

fn world() -> World {
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, "www A 192.0.2.1\na.ent A 192.0.2.2"),
    ])
}
