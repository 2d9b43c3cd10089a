//! Chains of aliases, each link with its own status (behaviour rule 4).

use byrnie_net::dns::ALIASES_MAX;
use domain::base::Rtype;

use crate::HOSTS;
use crate::bed::Bed;
use crate::bed::World;
use crate::bed::lookup;
use crate::check;
use crate::check_reason;
use crate::world;
use crate::zone::Signing;
use crate::zone::Zone;
use crate::zone::name;
use crate::zones;

#[tokio::test]
async fn each_alias_has_its_own_status() {
    let bed = Bed::start(world()).await;
    let resolver = bed.resolver();
    for (name, expected) in [
        ("alias.signed.example", "secure: secure answer"),
        ("outward.signed.example", "secure: insecure answer"),
        ("outward.hashed.example", "secure: insecure answer"),
        (
            "inward.unsigned.example",
            "insecure, secure: insecure answer",
        ),
        ("inward.signed.example", "secure, secure: secure answer"),
        ("dangling.signed.example", "secure: secure nxdomain"),
        ("dangling.unsigned.example", "insecure: insecure nxdomain"),
        ("mx.tree.hashed.example", "secure: secure answer"),
        ("mx.tree.unsigned.example", "insecure: insecure answer"),
        (
            "outward.tree.hashed.example",
            "secure, secure: insecure answer",
        ),
    ] {
        let answer = lookup(&resolver, name, "A").await;
        check(&answer, expected);
    }
    let answer = lookup(&resolver, "mx.tree.hashed.example", "A").await;
    assert_eq!(answer.final_name().as_str(), "mx.signed.example");
    check(
        &lookup(&resolver, "alias.signed.example", "CNAME").await,
        "secure answer",
    );
    check(
        &lookup(&resolver, "tree.signed.example", "DNAME").await,
        "secure answer",
    );
}

#[tokio::test]
async fn the_end_keeps_its_own_status() {
    let bed = Bed::start(world()).await;
    let answer = bed.lookup("inward.unsigned.example", "A").await;
    assert!(answer.outcome.unwrap().is_secure());
    assert!(!answer.steps[0].is_secure());
    assert!(answer.steps[1].is_secure());
}

#[tokio::test]
async fn an_upstream_that_stops_at_an_alias_is_asked_on() {
    let world = world().tamper(|asked, reply| {
        reply.answer.retain(|rec| rec.owner == asked.name);
        if reply.answer.iter().any(|rec| rec.rtype() == Rtype::CNAME) {
            reply.authority.clear();
        }
    });
    let bed = Bed::start(world).await;
    check(
        &bed.lookup("inward.unsigned.example", "A").await,
        "insecure, secure: insecure answer",
    );
    assert_eq!(bed.count("mx.signed.example", Rtype::A), 1);
}

#[tokio::test]
async fn a_bogus_link_makes_the_whole_bogus() {
    let world = world().tamper(|_, reply| {
        let alias = name("alias.signed.example");
        reply
            .answer
            .retain(|rec| rec.owner != alias || rec.rtype() != Rtype::RRSIG);
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("inward.unsigned.example", "A").await;
    check(&answer, "insecure: bogus none");
    check_reason(&answer, "alias.signed.example. CNAME");
}

#[tokio::test]
async fn aliases_that_lead_nowhere_fail() {
    let bed = Bed::start(world()).await;
    let answer = bed.lookup("loop1.signed.example", "A").await;
    check(&answer, "secure, secure: failed none");
    check_reason(&answer, "comes back to loop1.signed.example");
    let answer = bed.lookup("strange.signed.example", "A").await;
    check(&answer, "failed none");
    check_reason(&answer, r"a\ b.signed.example.");
}

#[tokio::test]
async fn a_loop_across_answers_fails() {
    let world = world().tamper(|asked, reply| {
        reply.answer.retain(|rec| rec.owner == asked.name);
    });
    let bed = Bed::start(world).await;
    let answer = bed.lookup("loop1.signed.example", "A").await;
    check(&answer, "secure, secure: failed none");
    check_reason(&answer, "comes back to loop1.signed.example");
}

#[tokio::test]
async fn as_many_aliases_as_the_bound_says_are_followed() {
    let chain = |length: usize| {
        let mut text = HOSTS.to_owned();
        for link in 1..length {
            text.push_str(&format!("c{link} CNAME c{}\n", link + 1));
        }
        text.push_str(&format!("c{length} CNAME mx\n"));
        let mut all = zones();
        all[2] = Zone::new("signed.example", Signing::Nsec, &text);
        World::new(all)
    };
    let bed = Bed::start(chain(ALIASES_MAX)).await;
    let answer = bed.lookup("c1.signed.example", "A").await;
    assert_eq!(answer.steps.len(), ALIASES_MAX);
    assert!(answer.outcome.unwrap().is_secure());
    let bed = Bed::start(chain(ALIASES_MAX + 1)).await;
    let answer = bed.lookup("c1.signed.example", "A").await;
    check_reason(&answer, "too many CNAME and DNAME records");
}
