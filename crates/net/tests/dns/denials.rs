//! Proof that something does not exist (behaviour rules 1 and 5).

use domain::base::Rtype;

use crate::bed::Bed;
use crate::bed::World;
use crate::bed::lookup;
use crate::check;
use crate::check_reason;
use crate::world;
use crate::zone::Signing;
use crate::zone::Zone;
use crate::zones;

#[tokio::test]
async fn absence_is_as_secure_as_its_proof() {
    let bed = Bed::start(world()).await;
    let resolver = bed.resolver();
    for (zone, status) in [
        ("signed.example", "secure"),
        ("hashed.example", "secure"),
        ("unsigned.example", "insecure"),
        ("plain.optout.example", "insecure"),
    ] {
        let nodata = format!("{status} nodata");
        let nxdomain = format!("{status} nxdomain");
        let host = format!("mx.{zone}");
        check(&lookup(&resolver, &host, "TXT").await, &nodata);
        let name = format!("no.{zone}");
        check(&lookup(&resolver, &name, "A").await, &nxdomain);
        let deep = format!("_25._tcp.no.{zone}");
        check(&lookup(&resolver, &deep, "TLSA").await, &nxdomain);
        let empty = format!("empty.{zone}");
        check(&lookup(&resolver, &empty, "A").await, &nodata);
    }
}

#[tokio::test]
async fn absence_under_opt_out_is_insecure() {
    let bed = Bed::start(world()).await;
    let resolver = bed.resolver();
    check(
        &lookup(&resolver, "no.optout.example", "A").await,
        "insecure nxdomain",
    );
    check(
        &lookup(&resolver, "mx.optout.example", "TXT").await,
        "secure nodata",
    );
    check(
        &lookup(&resolver, "plain.optout.example", "DS").await,
        "insecure nodata",
    );
}

#[tokio::test]
async fn the_absence_of_a_ds_record_is_proven_by_the_parent() {
    let bed = Bed::start(world()).await;
    check(&bed.lookup("unsigned.example", "DS").await, "secure nodata");
}

#[tokio::test]
async fn a_denial_without_its_proof_is_bogus() {
    for missing in [Rtype::NSEC, Rtype::NSEC3] {
        let world = world().tamper(move |asked, reply| {
            if asked.rtype == Rtype::A || asked.rtype == Rtype::TXT {
                reply
                    .authority
                    .retain(|rec| rec.rtype() != missing && rec.covers() != Some(missing));
            }
        });
        let bed = Bed::start(world).await;
        let zone = if missing == Rtype::NSEC {
            "signed.example"
        } else {
            "hashed.example"
        };
        let answer = bed.lookup(&format!("no.{zone}"), "A").await;
        check(&answer, "bogus none");
        check_reason(&answer, "nothing proves that it does not exist");
        let answer = bed.lookup(&format!("mx.{zone}"), "TXT").await;
        check(&answer, "bogus none");
        let answer = bed.lookup(&format!("x.wild.{zone}"), "A").await;
        check(&answer, "bogus none");
    }
}

#[tokio::test]
async fn a_denial_of_what_exists_is_bogus() {
    // The answer about one name in place of that about another.
    let world = world().tamper(|asked, reply| {
        if asked.is("_25._tcp.mx.signed.example", Rtype::TLSA) {
            reply.answer.clear();
            reply.authority.retain(|rec| rec.rtype() != Rtype::NSEC);
        }
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("_25._tcp.mx.signed.example", "TLSA").await;
    check(&answer, "bogus none");
    check_reason(&answer, "nothing proves that it does not exist");
}

#[tokio::test]
async fn an_empty_answer_without_a_word_is_insecure_where_nothing_is_signed() {
    let world = world().tamper(|asked, reply| {
        if asked.rtype == Rtype::TXT {
            reply.authority.clear();
        }
    });
    let bed = Bed::start(world).await;
    check(
        &bed.lookup("mx.unsigned.example", "TXT").await,
        "insecure nodata",
    );
    let answer = bed.lookup("mx.signed.example", "TXT").await;
    check(&answer, "bogus none");
    check_reason(&answer, "nothing proves that it does not exist");
}

#[tokio::test]
async fn too_many_hash_iterations_make_a_denial_insecure() {
    let mut all = zones();
    let signing = Signing::Nsec3 {
        iterations: 151,
        opt_out: false,
    };
    all[3] = Zone::new("hashed.example", signing, crate::HOSTS);
    let bed = Bed::start(World::new(all)).await;
    check(
        &bed.lookup("no.hashed.example", "A").await,
        "insecure nxdomain",
    );
    check(&bed.lookup("mx.hashed.example", "A").await, "secure answer");
}
