//! Authenticating an RRset with an RRSIG RR.

use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_dnssec::Question;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use bytes::Bytes;
use domain::base::Name;
use domain::base::Ttl;
use domain::base::iana::Rtype;
use domain::base::iana::SecurityAlgorithm;
use domain::rdata::Rrsig;
use domain::rdata::ZoneRecordData;
use domain::rdata::dnssec::Timestamp;

use crate::world::Denial;
use crate::world::NOW;
use crate::world::Record;
use crate::world::World;
use crate::world::Zone;
use crate::world::moved;
use crate::world::name;
use crate::world::parse_question;

#[test]
fn a_signature_is_valid_between_its_dates_give_or_take_the_skew() {
    let at = |offset: i64| UnixTime(NOW.0.checked_add_signed(offset).unwrap());
    // A validity of 20,000 seconds allows the least skew, an hour.
    check((-10_000, 10_000), None);
    check((-20_000, 0), None);
    check((-23_500, -3_500), None);
    check((-23_700, -3_700), Some(&Rule::Expired(at(-3_700))));
    check((-23_600, -3_600), None);
    check((-23_601, -3_601), Some(&Rule::Expired(at(-3_601))));
    check((3_600, 23_600), None);
    check((3_601, 23_601), Some(&Rule::NotYetValid(at(3_601))));
    check((3_500, 23_500), None);
    check((3_700, 23_700), Some(&Rule::NotYetValid(at(3_700))));
    // One of a year allows the most, a day.
    check((-31_536_000, -86_000), None);
    check((-31_536_000, -87_000), Some(&Rule::Expired(at(-87_000))));
    // One that ends before it begins is never valid.
    check((100, -100), Some(&Rule::Expired(at(-100))));

    #[track_caller]
    fn check(validity: (i64, i64), expected: Option<&Rule>) {
        let at = |offset: i64| UnixTime(NOW.0.checked_add_signed(offset).unwrap());
        let mut world = world();
        let zone = world.zone("org.");
        zone.validity = validity;
        if validity.0 < validity.1 {
            zone.sign_set(&name("www.org."), Rtype::A);
            assert_eq!(rule(&world.ask("www.org. A").status).as_ref(), expected);
        } else {
            let verdict = world.ask_tampered("www.org. A", |_, reply| {
                change_signatures(&mut reply.answer, Rtype::A, |old| {
                    let field = |offset| Timestamp::from(u32::try_from(at(offset).0).unwrap());
                    let (from, until) = (field(validity.0), field(validity.1));
                    rebuilt(
                        old,
                        old.labels(),
                        old.original_ttl(),
                        until,
                        from,
                        old.signer_name(),
                    )
                });
            });
            assert_eq!(rule(&verdict.status).as_ref(), expected);
        }
    }
}

#[test]
fn a_signature_that_does_not_fit_the_data_is_bogus() {
    let verdict = world().ask_tampered("www.org. A", |_, reply| {
        for record in &mut reply.answer {
            if record.rtype() == Rtype::A {
                *record.data_mut() =
                    ZoneRecordData::A(domain::rdata::A::from_octets(192, 0, 2, 99));
            }
        }
    });
    assert_eq!(rule(&verdict.status), Some(Rule::WrongSignature));
}

#[test]
fn a_record_set_without_signature_in_a_signed_zone_is_bogus() {
    let verdict = world().ask_tampered("www.org. A", |question, reply| {
        if question.rtype == Rtype::A {
            reply.answer.retain(|record| record.rtype() == Rtype::A);
        }
    });
    assert_eq!(rule(&verdict.status), Some(Rule::NotSigned));
}

#[test]
fn a_signature_of_another_zone_does_not_count() {
    let world = world();
    let other = &world.zones[2];
    let verdict = world.ask_tampered("www.org. A", |question, reply| {
        if question.rtype == Rtype::A {
            let set: Vec<_> = reply
                .answer
                .iter()
                .filter(|r| r.rtype() == Rtype::A)
                .cloned()
                .collect();
            reply.answer = set.clone();
            reply.answer.push(other.signature(&other.keys[0], &set));
        }
    });
    assert_eq!(rule(&verdict.status), Some(Rule::NotSigned));
}

#[test]
fn a_signature_that_counts_more_labels_than_the_name_has_is_bogus() {
    check("www.org. A", 3, Rule::TooManyLabels);
    check("*.wild.org. TXT", 4, Rule::TooManyLabels);
    // As many as with the asterisk may be meant; only the signature is wrong now.
    check("*.wild.org. TXT", 3, Rule::WrongSignature);

    #[track_caller]
    fn check(question: &str, labels: u8, expected: Rule) {
        let asked = parse_question(question);
        let verdict = world().ask_tampered(question, |_, reply| {
            change_signatures(&mut reply.answer, asked.rtype, |old| {
                let (until, from) = (old.expiration(), old.inception());
                rebuilt(
                    old,
                    labels,
                    old.original_ttl(),
                    until,
                    from,
                    old.signer_name(),
                )
            });
        });
        assert_eq!(rule(&verdict.status), Some(expected), "{question} {labels}");
    }
}

#[test]
fn a_signature_must_name_a_key_of_the_zone_by_tag_and_algorithm() {
    check(SecurityAlgorithm::ED25519, 0, None);
    check(SecurityAlgorithm::ED25519, 1, Some(&Rule::NoSuchKey));
    check(SecurityAlgorithm::RSASHA256, 0, Some(&Rule::NoSuchKey));
    let unknown = SecurityAlgorithm::from_int(200);
    check(unknown, 0, Some(&Rule::UnsupportedAlgorithm));

    #[track_caller]
    fn check(algorithm: SecurityAlgorithm, tag_change: u16, expected: Option<&Rule>) {
        let verdict = world().ask_tampered("www.org. A", |_, reply| {
            change_signatures(&mut reply.answer, Rtype::A, |old| {
                Rrsig::new(
                    old.type_covered(),
                    algorithm,
                    old.labels(),
                    old.original_ttl(),
                    old.expiration(),
                    old.inception(),
                    old.key_tag() ^ tag_change,
                    old.signer_name().clone(),
                    old.signature().clone(),
                )
                .unwrap()
            });
        });
        assert_eq!(rule(&verdict.status).as_ref(), expected);
    }
}

#[test]
fn the_ttl_is_the_least_of_received_original_and_what_is_left_of_the_signature() {
    check(3_600, 100_000, 3_600);
    check(7_200, 100_000, 3_600);
    check(60, 100_000, 60);
    check(3_600, 500, 500);
    check(3_600, 0, 0);

    #[track_caller]
    fn check(received: u32, expires_in: i64, expected: u32) {
        let mut world = world();
        let zone = world.zone("org.");
        zone.validity = (-1_000, expires_in);
        zone.sign_set(&name("www.org."), Rtype::A);
        let verdict = world.ask_tampered("www.org. A", |question, reply| {
            if question.rtype == Rtype::A {
                for record in &mut reply.answer {
                    record.set_ttl(Ttl::from_secs(received));
                }
            }
        });
        assert_eq!((verdict.status, verdict.ttl), (Status::Secure, expected));
        assert_eq!(verdict.answer.unwrap().ttl, expected);
    }
}

/// The records that a chain rests on end with their TTLs as well.
#[test]
fn a_link_of_the_chain_is_kept_as_long_as_both_its_ds_records_and_its_keys() {
    for rtype in [Rtype::DS, Rtype::DNSKEY] {
        let world = world();
        let validator = world.validator();
        let org = name("org.");
        for (later, asks) in [(0, true), (9, false), (10, true)] {
            world.asked.borrow_mut().clear();
            let now = NOW + Duration::from_secs(later);
            let verdict = world.drive_at(now, &validator, "www.org. A", |asked| {
                let mut reply = world.reply(asked);
                if asked.name == org && asked.rtype == rtype {
                    for record in &mut reply.answer {
                        record.set_ttl(Ttl::from_secs(10));
                    }
                }
                Some(reply.message(asked))
            });
            assert_eq!(verdict.status, Status::Secure);
            let asked = world.asked.borrow();
            let asked = asked.contains(&Question::new(org.clone(), rtype));
            assert_eq!(asked, asks, "{rtype} {later}");
        }
    }
}

#[test]
fn the_case_of_names_and_the_order_and_number_of_equal_records_do_not_matter() {
    let world = world();
    let verdict = world.ask_tampered("wWw.ORG. A", |question, reply| {
        if question.rtype == Rtype::A {
            reply.answer.reverse();
            let doubled = reply.answer[1].clone();
            reply.answer.push(doubled);
        }
    });
    assert_eq!(verdict.status, Status::Secure);
    assert_eq!(world.ask("mixed.org. MX").status, Status::Secure);
}

#[test]
fn a_wildcard_answer_needs_proof_that_nothing_closer_exists() {
    for denial in [Denial::Nsec, Denial::Nsec3(0)] {
        let world = World::new(vec![root(), org(denial), other()]);
        assert_eq!(world.ask("a.wild.org. TXT").status, Status::Secure);
        assert_eq!(world.ask("a.b.wild.org. TXT").status, Status::Secure);
        // The asterisk itself is a name like any other.
        let literal = world.ask_tampered("*.wild.org. TXT", |_, reply| reply.authority.clear());
        assert_eq!(literal.status, Status::Secure);

        let bare = world.ask_tampered("a.wild.org. TXT", |question, reply| {
            if question.rtype == Rtype::TXT {
                reply.authority.clear();
            }
        });
        assert_eq!(
            rule(&bare.status),
            Some(Rule::WildcardUnproven),
            "{denial:?}"
        );

        // The wildcard's record replayed for a name that exists, or exists only for those below it,
        // or that is below one which exists.
        for owner in ["there.wild.org.", "ent.wild.org.", "x.ent.wild.org."] {
            let replayed = world.ask_tampered(&format!("{owner} TXT"), |question, reply| {
                if question.rtype == Rtype::TXT {
                    let other = world.reply(&parse_question("a.wild.org. TXT"));
                    reply.authority.clone_from(&other.authority);
                    let moved = other.answer.iter().map(|record| moved(record, owner));
                    reply.answer = moved.collect();
                }
            });
            let rule = rule(&replayed.status);
            assert_eq!(rule, Some(Rule::WildcardUnproven), "{denial:?} {owner}");
        }
    }
}

/// Replaces the signatures over a type.
fn change_signatures(
    section: &mut [Record],
    covered: Rtype,
    change: impl Fn(&Rrsig<Bytes, Name<Bytes>>) -> Rrsig<Bytes, Name<Bytes>>,
) {
    for record in section {
        if let ZoneRecordData::Rrsig(old) = record.data()
            && old.type_covered() == covered
        {
            let new = change(old);
            *record.data_mut() = ZoneRecordData::Rrsig(new);
        }
    }
}

/// A signature with other fields.
fn rebuilt(
    old: &Rrsig<Bytes, Name<Bytes>>,
    labels: u8,
    original_ttl: Ttl,
    expiration: Timestamp,
    inception: Timestamp,
    signer: &Name<Bytes>,
) -> Rrsig<Bytes, Name<Bytes>> {
    Rrsig::new(
        old.type_covered(),
        old.algorithm(),
        labels,
        original_ttl,
        expiration,
        inception,
        old.key_tag(),
        signer.clone(),
        old.signature().clone(),
    )
    .unwrap()
}

fn rule(status: &Status) -> Option<Rule> {
    match status {
        Status::Bogus(fault) => Some(fault.rule.clone()),
        Status::Secure | Status::Insecure(_) | Status::Failed(_) => None,
    }
}

fn world() -> World {
    World::new(vec![root(), org(Denial::Nsec), other()])
}

fn root() -> Zone {
    Zone::new(".", Denial::Nsec, "")
}

fn other() -> Zone {
    Zone::new("net.", Denial::Nsec, "www A 192.0.2.1")
}

fn org(denial: Denial) -> Zone {
    let text = "www A 192.0.2.1
www A 192.0.2.2
MiXeD MX 10 MaiL
*.wild TXT wild
there.wild A 192.0.2.3
a.ent.wild A 192.0.2.4
";
    Zone::new("org.", denial, text)
}
