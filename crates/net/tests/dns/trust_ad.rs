//! Answers that the upstream validated (behaviour rules 4 and 9).

use byrnie_net::dns::DnsConfig;
use byrnie_net::dns::Mode;
use byrnie_net::dns::Resolver;
use byrnie_net::dns::TrustedPath;
use domain::base::Rtype;
use domain::base::iana::Rcode;

use crate::bed::Bed;
use crate::bed::lookup;
use crate::check;
use crate::check_reason;
use crate::world;

#[tokio::test]
async fn the_ad_bit_decides() {
    let bed = Bed::start(world()).await;
    let resolver = trusting(&bed);
    for (name, rtype, expected) in [
        ("mx.signed.example", "A", "secure answer"),
        ("no.signed.example", "A", "secure nxdomain"),
        ("mx.signed.example", "TXT", "secure nodata"),
        ("mx.unsigned.example", "A", "insecure answer"),
        ("no.unsigned.example", "A", "insecure nxdomain"),
    ] {
        check(&lookup(&resolver, name, rtype).await, expected);
    }
}

#[tokio::test]
async fn each_alias_of_a_mixed_chain_is_asked_for_on_its_own() {
    let bed = Bed::start(world()).await;
    let resolver = trusting(&bed);
    for (name, expected) in [
        ("alias.signed.example", "secure: secure answer"),
        ("outward.signed.example", "secure: insecure answer"),
        (
            "inward.unsigned.example",
            "insecure, secure: insecure answer",
        ),
        ("mx.tree.unsigned.example", "insecure: insecure answer"),
        (
            "outward.tree.hashed.example",
            "secure, secure: insecure answer",
        ),
    ] {
        check(&lookup(&resolver, name, "A").await, expected);
    }
}

#[tokio::test]
async fn what_the_upstream_refuses_only_while_it_validates_is_bogus() {
    let world = world().tamper(|asked, reply| {
        let bogus = asked.rtype == Rtype::A && !asked.checking_disabled;
        if bogus || asked.rtype == Rtype::TXT {
            reply.refuse(Rcode::SERVFAIL);
        }
    });
    let bed = Bed::start(world).await;
    let resolver = trusting(&bed);
    let answer = lookup(&resolver, "mx.signed.example", "A").await;
    check(&answer, "bogus none");
    check_reason(&answer, "the upstream finds it bogus");
    let answer = lookup(&resolver, "mx.signed.example", "TXT").await;
    check(&answer, "failed none");
}

#[tokio::test]
async fn no_other_upstream_overrules_a_refusal() {
    let refusing = Bed::start(world().tamper(|asked, reply| {
        if !asked.checking_disabled {
            reply.refuse(Rcode::SERVFAIL);
        }
    }))
    .await;
    let other = Bed::start(world()).await;
    let mut config = config(&refusing);
    config.upstreams.push(other.address);
    let answer = lookup(&crate::bed::resolver(&config), "mx.signed.example", "A").await;
    check(&answer, "bogus none");
}

#[tokio::test]
async fn an_upstream_that_does_not_validate_makes_nothing_insecure() {
    let bed = Bed::start(world().tamper(|_, reply| reply.secure = false)).await;
    let answer = lookup(&trusting(&bed), "mx.unsigned.example", "A").await;
    check(&answer, "failed none");
    check_reason(&answer, "does not validate");
}

/// A configuration that trusts the bed.
pub(crate) fn config(bed: &Bed) -> DnsConfig {
    let mut config = bed.config();
    config.mode = Mode::TrustAd {
        path: TrustedPath::Loopback,
        known_signed: None,
    };
    config
}

fn trusting(bed: &Bed) -> Resolver {
    crate::bed::resolver(&config(bed))
}
