//! Sets without duplicates (Section 5); one owner, one CNAME (Section 10.1), and one DNAME (RFC 6672,
//! Section 2.4).

use byrnie_dnssec::Failure;
use byrnie_dnssec::Status;
use domain::base::iana::Rtype;
use domain::rdata::Mx;
use domain::rdata::ZoneRecordData;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
use crate::world::name;
use crate::world::parse_question;
use crate::world::record;

//= https://www.rfc-editor.org/rfc/rfc2181#section-10.1
//= type=test
//# There may be only one such canonical name for any one alias.
#[test]
fn of_several_cnames_or_dnames_none_is_followed_even_if_all_are_signed() {
    check("two.org. A", "two.org. CNAME");
    check("two.org. CNAME", "two.org. CNAME");
    check("x.twod.org. A", "twod.org. DNAME");
    check("x.twod.org. CNAME", "twod.org. DNAME");
    check("two.plain. A", "two.plain. CNAME");

    #[track_caller]
    fn check(question: &str, alias: &str) {
        let failure = Failure::SeveralTargets(parse_question(alias));
        assert_eq!(world().ask(question).status, Status::Failed(failure));
    }
}

#[test]
fn the_same_cname_twice_is_one() {
    let verdict = world().ask_tampered("one.org. A", |asked, reply| {
        if asked.rtype == Rtype::A {
            reply.answer.push(reply.answer[0].clone());
        }
    });
    assert_eq!(verdict.status, Status::Secure);
}

/// Signatures are over records without duplicates (RFC 4034, Section 6.3), so whoever is on the way
/// could add some: two MTA-STS records, for one, would be none.
#[test]
fn a_record_that_comes_again_is_there_once() {
    for question in ["one.txt.org. TXT", "mx.org. MX", "one.plain. TXT"] {
        let verdict = world().ask_tampered(question, |asked, reply| {
            if *asked == parse_question(question) {
                reply.answer.extend(reply.answer.clone());
                if let ZoneRecordData::Mx(mx) = reply.answer[0].data() {
                    let other_case = Mx::new(mx.preference(), name("HOST.org."));
                    let owner = asked.name.clone();
                    reply.answer.push(record(&owner, 3600, other_case.into()));
                }
            }
        });
        let expected = if question.contains("plain") {
            "insecure"
        } else {
            "secure"
        };
        assert_eq!(verdict.status.word(), expected);
        assert_eq!(verdict.answer.unwrap().data.len(), 1, "{question}");
    }
}

/// Records of the type asked for are the answer, whatever else the name has (RFC 1034, Section 3.6.2
/// forbids it, but not to validators).
#[test]
fn a_cname_beside_the_records_asked_for_is_not_followed() {
    let verdict = world().ask("both.org. A");
    assert_eq!(verdict.status, Status::Secure);
    assert_eq!(verdict.steps, []);
}

fn world() -> World {
    let text = "www A 192.0.2.1
one CNAME www
two CNAME www
two CNAME www.net.
twod DNAME net.
twod DNAME plain.
both CNAME www.net.
both A 192.0.2.2
one.txt TXT one
mx MX 1 host
";
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new("org.", Denial::Nsec, text),
        Zone::new("net.", Denial::Nsec, "www A 192.0.2.3\nx A 192.0.2.4"),
        Zone::new(
            "plain.",
            Denial::Unsigned,
            "two CNAME a\ntwo CNAME b\none TXT one",
        ),
    ])
}
