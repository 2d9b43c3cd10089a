//! Upstreams that leave DNSSEC records out, put them elsewhere, or claim what is not so (behaviour rules 5, 6
//! and 8). Whatever they do, a signed zone is never insecure.

use byrnie_base::Security;
use byrnie_net::dns::Answer;
use domain::base::Rtype;
use domain::base::iana::Rcode;
use domain::rdata::ZoneRecordData;

use crate::bed::Asked;
use crate::bed::Bed;
use crate::bed::Reply;
use crate::bed::lookup;
use crate::bed::resolver;
use crate::check;
use crate::check_reason;
use crate::relay::Datagram;
use crate::relay::Octets;
use crate::relay::Relay;
use crate::relay::framed;
use crate::relay::with;
use crate::world;
use crate::zone::Rec;

/// Questions to zones that are signed, and to one that is not, with their right endings.
const QUESTIONS: [(&str, &str, &str); 8] = [
    ("mx.signed.example", "A", "secure answer"),
    ("mx.signed.example", "TXT", "secure nodata"),
    ("no.signed.example", "A", "secure nxdomain"),
    ("a.wild.signed.example", "A", "secure answer"),
    ("alias.signed.example", "A", "secure: secure answer"),
    ("mx.hashed.example", "A", "secure answer"),
    ("no.hashed.example", "A", "secure nxdomain"),
    ("mx.unsigned.example", "A", "insecure answer"),
];

/// How a lookup may end if the upstream harms it.
#[derive(Clone, Copy)]
enum Ending {
    /// As if nothing had happened.
    Right,
    /// As if nothing had happened, or without a value.
    RightOrNone,
}

/// Asserts how lookups end over an upstream that does this to its answers.
async fn check_endings(
    ending: Ending,
    what: &str,
    tamper: impl Fn(&Asked, &mut Reply) + Send + Sync + 'static,
) {
    let bed = Bed::start(world().tamper(tamper)).await;
    for (name, rtype, expected) in QUESTIONS {
        let answer = bed.lookup(name, rtype).await;
        match (ending, answer.security()) {
            (Ending::RightOrNone, None) => {}
            // Without signatures nobody can tell that something is missing.
            (Ending::RightOrNone, Some(Security::Insecure)) if expected.starts_with("insecure") => {
            }
            (Ending::Right | Ending::RightOrNone, _) => check_in(&answer, expected, what),
        }
    }
}

/// Asserts how a lookup ended, and says in what case.
#[track_caller]
fn check_in(answer: &Answer, expected: &str, what: &str) {
    println!("{what}: {} {}", answer.name, answer.record_type);
    check(answer, expected);
}

/// Takes the signatures of a type out of some records.
fn unsign(records: &mut Vec<Rec>, covered: Rtype) {
    records.retain(|rec| {
        if let ZoneRecordData::Rrsig(rrsig) = &rec.data {
            rrsig.type_covered() != covered
        } else {
            true
        }
    });
}

/// The types whose signatures or records may be missing.
const TYPES: [Rtype; 8] = [
    Rtype::A,
    Rtype::CNAME,
    Rtype::DS,
    Rtype::DNSKEY,
    Rtype::NSEC,
    Rtype::NSEC3,
    Rtype::SOA,
    Rtype::RRSIG,
];

#[tokio::test]
async fn signatures_that_are_missing_from_one_type_make_nothing_insecure() {
    for covered in TYPES {
        check_endings(Ending::RightOrNone, "unsigned", move |_, reply| {
            unsign(&mut reply.answer, covered);
            unsign(&mut reply.authority, covered);
        })
        .await;
    }
}

#[tokio::test]
async fn records_that_are_missing_make_nothing_insecure() {
    for missing in TYPES {
        check_endings(Ending::RightOrNone, "missing", move |_, reply| {
            reply.answer.retain(|rec| rec.rtype() != missing);
            reply.authority.retain(|rec| rec.rtype() != missing);
        })
        .await;
    }
}

#[tokio::test]
async fn sections_that_are_missing_make_nothing_insecure() {
    check_endings(Ending::RightOrNone, "answer", |_, reply| {
        reply.answer.clear();
    })
    .await;
    check_endings(Ending::RightOrNone, "authority", |_, reply| {
        reply.authority.clear();
    })
    .await;
    check_endings(
        Ending::RightOrNone,
        "signatures in authority",
        |_, reply| {
            reply.authority.retain(|rec| rec.rtype() != Rtype::RRSIG);
        },
    )
    .await;
}

#[tokio::test]
async fn the_order_of_records_means_nothing() {
    check_endings(Ending::Right, "backwards", |_, reply| {
        reply.answer.reverse();
        reply.authority.reverse();
    })
    .await;
}

#[tokio::test]
async fn records_in_the_wrong_section_make_nothing_insecure() {
    check_endings(Ending::RightOrNone, "all in answer", |_, reply| {
        reply.answer.append(&mut reply.authority);
    })
    .await;
    check_endings(Ending::RightOrNone, "all in authority", |_, reply| {
        reply.authority.append(&mut reply.answer);
    })
    .await;
    check_endings(
        Ending::RightOrNone,
        "signatures in authority",
        |_, reply| {
            let of_answer = reply.answer.clone();
            reply.answer.retain(|rec| rec.rtype() != Rtype::RRSIG);
            let signatures = of_answer
                .into_iter()
                .filter(|rec| rec.rtype() == Rtype::RRSIG);
            reply.authority.extend(signatures);
        },
    )
    .await;
}

#[tokio::test]
async fn an_answer_with_everybody_elses_records_is_right() {
    check_endings(Ending::Right, "twice", |_, reply| {
        let again = reply.answer.clone();
        reply.answer.extend(again);
        let again = reply.authority.clone();
        reply.authority.extend(again);
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_forgets_the_do_bit_strips_dnssec() {
    let bed = Bed::start(world().tamper(|_, reply| reply.strip())).await;
    for (name, rtype, _) in QUESTIONS {
        let answer = bed.lookup(name, rtype).await;
        check(&answer, "failed none");
        check_reason(&answer, "upstream strips DNSSEC");
    }
}

#[tokio::test]
async fn an_upstream_without_edns_strips_dnssec() {
    for rcode in [None, Some(Rcode::FORMERR)] {
        let without_edns = world().tamper(move |_, reply| {
            reply.strip();
            reply.edns = false;
            if let Some(rcode) = rcode {
                reply.refuse(rcode);
            }
        });
        let (old, good) = (Bed::start(without_edns).await, Bed::start(world()).await);
        let mut config = good.config();
        config.upstreams = vec![old.address];
        let alone = resolver(&config);
        config.upstreams = vec![old.address, good.address];
        let with_second = resolver(&config);
        for (name, rtype, expected) in QUESTIONS {
            check(&lookup(&alone, name, rtype).await, "failed none");
            // The old one may answer for an unsigned zone only when another has shown that it is one.
            check(&lookup(&with_second, name, rtype).await, expected);
        }
    }
}

#[tokio::test]
async fn the_ad_bit_of_an_upstream_means_nothing_to_who_validates() {
    let stripped = Bed::start(world().tamper(|_, reply| reply.strip())).await;
    check_claimed(
        &stripped,
        [
            ("mx.signed.example", "failed none"),
            ("mx.unsigned.example", "failed none"),
        ],
    )
    .await;
    let honest = Bed::start(world()).await;
    check_claimed(
        &honest,
        [
            ("mx.signed.example", "secure answer"),
            ("mx.unsigned.example", "insecure answer"),
        ],
    )
    .await;
}

/// Asks over an upstream that sets the AD bit in every answer.
async fn check_claimed(bed: &Bed, expected: [(&str, &str); 2]) {
    let claim = |answer: &[u8]| with(answer, 3, answer[3] | 0x20);
    let relay = Relay::start(
        bed,
        move |exchange| vec![Datagram::Sent(claim(&exchange.answer))],
        move |_, exchange| Octets::Sent(framed(&claim(&exchange.answer))),
    )
    .await;
    let mut config = bed.config();
    config.upstreams = vec![relay.address];
    let resolver = resolver(&config);
    for (name, ending) in expected {
        check(&lookup(&resolver, name, "A").await, ending);
    }
}

#[tokio::test]
async fn a_validating_upstream_that_ignores_the_cd_bit_makes_bogus_answers_fail() {
    let world = world().tamper(|asked, reply| {
        if asked.is("mx.signed.example", Rtype::A) {
            reply.refuse(Rcode::SERVFAIL);
        }
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("mx.signed.example", "A").await;
    check(&answer, "failed none");
    check_reason(&answer, "SERVFAIL");
    let answer = bed.lookup("mx.signed.example", "AAAA").await;
    assert_eq!(answer.security(), Some(Security::Secure));
}
