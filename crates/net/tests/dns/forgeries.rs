//! Answers that somebody tampered with (behaviour rules 5 and 6).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use domain::base::Rtype;
use domain::base::iana::Rcode;
use domain::rdata::Rrsig;
use domain::rdata::ZoneRecordData;

use crate::HOSTS;
use crate::NSEC3;
use crate::OPT_OUT;
use crate::bed::Bed;
use crate::bed::Reply;
use crate::bed::World;
use crate::bed::lookup;
use crate::check;
use crate::check_reason;
use crate::world;
use crate::zone::Rec;
use crate::zone::Signing;
use crate::zone::Zone;
use crate::zone::name;
use crate::zones;

#[tokio::test]
async fn changed_records_are_bogus() {
    let world = world().tamper(|asked, reply| {
        if asked.is("mx.signed.example", Rtype::A) {
            let forged = [203, 0, 113, 1].into();
            reply.answer[0].data = ZoneRecordData::A(domain::rdata::A::new(forged));
        }
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("mx.signed.example", "A").await;
    check(&answer, "bogus none");
    check_reason(&answer, "mx.signed.example. A: ");
    check(
        &bed.lookup("mx.signed.example", "AAAA").await,
        "secure answer",
    );
}

#[tokio::test]
async fn signatures_count_between_their_dates_alone() {
    for (validity, reason) in [
        ((-14_400, -7200), "it expired at"),
        ((7200, 14_400), "it is valid only from"),
    ] {
        let mut all = zones();
        all[2].validity = validity;
        // The keys are needed to see that the zone is signed: only the records are out of date.
        let bed = Bed::start(World::new(all)).await;
        let answer = bed.lookup("mx.signed.example", "A").await;
        check(&answer, "bogus none");
        check_reason(&answer, reason);
        let answer = bed.lookup("no.signed.example", "A").await;
        check(&answer, "bogus none");
        check_reason(&answer, reason);
    }
}

#[tokio::test]
async fn records_without_their_signature_are_bogus_where_the_zone_is_signed() {
    let world = world().tamper(|asked, reply| {
        if asked.rtype == Rtype::A {
            reply.strip();
        }
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("mx.signed.example", "A").await;
    check(&answer, "bogus none");
    check_reason(&answer, "it is not signed by its zone, which is signed");
    check(&bed.lookup("no.signed.example", "A").await, "bogus none");
    check(
        &bed.lookup("mx.unsigned.example", "A").await,
        "insecure answer",
    );
}

#[tokio::test]
async fn a_delegation_without_its_proof_is_bogus_and_never_insecure() {
    let world = world().tamper(|asked, reply| {
        if asked.is("signed.example", Rtype::DS) {
            reply.answer.clear();
            reply.authority.clear();
        }
    });
    let bed = Bed::start(world).await;
    check(&bed.lookup("mx.signed.example", "A").await, "bogus none");
}

#[tokio::test]
async fn the_denial_of_another_delegation_proves_nothing() {
    let honest = world();
    let (soa, denials) = honest.all_denials("example");
    let of_unsigned: Vec<Rec> = denials
        .into_iter()
        .filter(|proof| proof[0].owner == name("unsigned.example"))
        .flatten()
        .collect();
    assert!(!of_unsigned.is_empty());
    let world = honest.tamper(move |asked, reply| {
        if asked.is("signed.example", Rtype::DS) {
            reply.answer.clear();
            reply.authority = [soa.clone(), of_unsigned.clone()].concat();
        }
        if asked.is("mx.signed.example", Rtype::A) {
            reply.strip();
        }
    });
    let bed = Bed::start(world).await;
    check(&bed.lookup("mx.signed.example", "A").await, "bogus none");
}

#[tokio::test]
async fn a_parent_cannot_deny_what_lies_in_a_signed_zone_below_it() {
    for signing in [
        Signing::Nsec,
        NSEC3,
        OPT_OUT,
        Signing::Nsec3 {
            iterations: 150,
            opt_out: false,
        },
    ] {
        let honest = World::new(vec![
            Zone::new("", Signing::Nsec, ""),
            Zone::new("example", signing, ""),
            Zone::new("signed.example", Signing::Nsec, HOSTS),
            Zone::new("unsigned.example", Signing::Unsigned, HOSTS),
        ]);
        let (soa, denials) = honest.all_denials("example");
        assert!((2..=4).contains(&denials.len()), "{denials:?}");
        let subsets = 1_usize << denials.len();
        // Whoever forges an answer chooses which denials to show, and which code.
        let choice = Arc::new(AtomicUsize::new(0));
        let chosen = Arc::clone(&choice);
        let world = honest.tamper(move |asked, reply| {
            if asked.rtype != Rtype::TLSA && asked.rtype != Rtype::MX {
                return;
            }
            let choice = chosen.load(Ordering::Relaxed);
            reply.answer.clear();
            reply.authority.clone_from(&soa);
            for (index, denial) in denials.iter().enumerate() {
                if choice & (1 << index) != 0 {
                    reply.authority.extend_from_slice(denial);
                }
            }
            reply.rcode = if choice < subsets {
                Rcode::NXDOMAIN
            } else {
                Rcode::NOERROR
            };
        });
        let bed = Bed::start(world).await;
        for number in 0..2 * subsets {
            choice.store(number, Ordering::Relaxed);
            let resolver = bed.resolver();
            let answer = lookup(&resolver, "_25._tcp.mx.signed.example", "TLSA").await;
            check(&answer, "bogus none");
            check(
                &lookup(&resolver, "signed.example", "MX").await,
                "bogus none",
            );
        }
    }
}

#[tokio::test]
async fn a_signature_that_names_an_unsigned_zone_as_signer_does_not_make_records_insecure() {
    check_foreign_signer("unsigned.example").await;
    check_foreign_signer("plain.optout.example").await;
}

/// Forges an answer and a denial whose signatures name a signer that has no say in them.
async fn check_foreign_signer(signer: &'static str) {
    let forge = move |reply: &mut Reply| {
        let foreign = |rec: &mut Rec| {
            if let ZoneRecordData::Rrsig(rrsig) = &rec.data {
                rec.data = ZoneRecordData::Rrsig(
                    Rrsig::new(
                        rrsig.type_covered(),
                        rrsig.algorithm(),
                        rrsig.labels(),
                        rrsig.original_ttl(),
                        rrsig.expiration(),
                        rrsig.inception(),
                        rrsig.key_tag(),
                        name(signer),
                        rrsig.signature().clone(),
                    )
                    .unwrap(),
                );
            }
        };
        reply.answer.iter_mut().for_each(foreign);
        reply.authority.iter_mut().for_each(foreign);
    };
    let world = world().tamper(move |asked, reply| {
        if asked.name.ends_with(&name("signed.example"))
            && !matches!(asked.rtype, Rtype::DS | Rtype::DNSKEY)
        {
            forge(reply);
        }
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("mx.signed.example", "A").await;
    check(&answer, "bogus none");
    check_reason(&answer, "signed by its zone, which is signed");
    let answer = bed.lookup("_25._tcp.no.signed.example", "TLSA").await;
    check(&answer, "bogus none");
    check_reason(&answer, "signed by its zone, which is signed");
    let answer = bed.lookup("alias.signed.example", "A").await;
    check(&answer, "bogus none");
}

#[tokio::test]
async fn junk_beside_an_answer_does_no_harm() {
    let world = world().tamper(|asked, reply| {
        if asked.is("mx.signed.example", Rtype::A) {
            let mut junk = reply.answer[0].clone();
            junk.owner = name("elsewhere.signed.example");
            reply.answer.push(junk.clone());
            reply.authority.push(junk);
        }
    });
    let bed = Bed::start(world).await;
    check(&bed.lookup("mx.signed.example", "A").await, "secure answer");
}

#[tokio::test]
async fn a_forged_alias_is_bogus() {
    let world = world().tamper(|asked, reply| {
        if asked.is("mx.signed.example", Rtype::A) {
            reply.answer.clear();
            reply.answer.push(Rec {
                owner: asked.name.clone(),
                ttl: 300,
                data: ZoneRecordData::Cname(domain::rdata::Cname::new(name("mx.unsigned.example"))),
            });
        }
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("mx.signed.example", "A").await;
    check(&answer, "bogus none");
    check_reason(&answer, "mx.signed.example. CNAME");
}
