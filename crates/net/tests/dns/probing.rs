//! Whether the way to the upstream lets DNSSEC through (behaviour rule 8).

use byrnie_net::dns::Mode;
use byrnie_net::dns::TrustAnchors;
use byrnie_net::dns::UpstreamHealth;
use domain::base::Rtype;
use domain::base::iana::Rcode;
use tokio::sync::oneshot;

use crate::bed::Bed;
use crate::bed::Fate;
use crate::bed::World;
use crate::bed::lookup;
use crate::bed::resolver;
use crate::check;
use crate::check_reason;
use crate::trust_ad;
use crate::world;
use crate::zones;

#[tokio::test]
async fn a_good_upstream_is_fit() {
    let bed = Bed::start(world()).await;
    let report = bed.resolver().probe().await;
    assert!(report.is_usable(), "{report}");
    assert_eq!(report.upstreams, [(bed.address, UpstreamHealth::Fit)]);
}

#[tokio::test]
async fn the_probe_says_what_is_wrong() {
    check_probe(
        world().tamper(|_, reply| reply.strip()),
        "strips DNSSEC: it leaves",
    )
    .await;
    let without_edns = world().tamper(|_, reply| {
        reply.strip();
        reply.edns = false;
    });
    check_probe(without_edns, "does not understand EDNS").await;
    let without_edns = world().tamper(|_, reply| {
        reply.refuse(Rcode::FORMERR);
        reply.edns = false;
    });
    check_probe(without_edns, "does not understand EDNS").await;
    let refusing = world().tamper(|_, reply| reply.refuse(Rcode::REFUSED));
    check_probe(refusing, "REFUSED").await;
    check_probe(
        world().tamper(|_, reply| reply.fate = Fate::Lost),
        "no answer within",
    )
    .await;
    let mut outdated = zones();
    outdated[0].validity = (-14_400, -7200);
    check_probe(World::new(outdated), "it expired at").await;
    let without_keys = world().tamper(|asked, reply| {
        if asked.rtype == Rtype::DNSKEY {
            reply.answer.clear();
        }
    });
    check_probe(without_keys, "there is no DNSKEY record at .").await;
}

#[tokio::test]
async fn the_wrong_anchor_is_noticed() {
    let bed = Bed::start(world()).await;
    let mut config = bed.config();
    config.mode = Mode::Validate {
        anchors: TrustAnchors::root(),
    };
    let report = resolver(&config).probe().await;
    assert!(!report.is_usable());
    assert!(
        report
            .to_string()
            .contains("do not lead to the trust anchor"),
        "{report}"
    );
}

#[tokio::test]
async fn one_fit_upstream_is_enough() {
    let stripping = Bed::start(world().tamper(|_, reply| reply.strip())).await;
    let good = Bed::start(world()).await;
    let mut config = good.config();
    config.upstreams = vec![stripping.address, good.address];
    let resolver = resolver(&config);
    let report = resolver.probe().await;
    assert!(report.is_usable());
    assert_eq!(report.upstreams[0].1, UpstreamHealth::StripsSignatures);
    assert_eq!(report.upstreams[1].1, UpstreamHealth::Fit);
    check(
        &lookup(&resolver, "mx.signed.example", "A").await,
        "secure answer",
    );
    check(
        &lookup(&resolver, "mx.unsigned.example", "A").await,
        "insecure answer",
    );
}

#[tokio::test]
async fn an_upstream_that_strips_signatures_makes_lookups_fail() {
    let bed = Bed::start(world().tamper(|_, reply| reply.strip())).await;
    let resolver = bed.resolver();
    for (name, rtype) in [
        ("mx.signed.example", "A"),
        ("no.signed.example", "A"),
        ("_25._tcp.mx.signed.example", "TLSA"),
        ("mx.unsigned.example", "A"),
    ] {
        let answer = lookup(&resolver, name, rtype).await;
        check(&answer, "failed none");
        check_reason(&answer, "upstream strips DNSSEC");
    }
}

#[tokio::test]
async fn an_upstream_that_is_trusted_must_validate() {
    let bed = Bed::start(world()).await;
    let report = resolver(&trust_ad::config(&bed)).probe().await;
    assert_eq!(report.upstreams, [(bed.address, UpstreamHealth::Fit)]);
    let bed = Bed::start(world().tamper(|_, reply| reply.secure = false)).await;
    let report = resolver(&trust_ad::config(&bed)).probe().await;
    assert!(report.to_string().contains("does not validate"), "{report}");
}

#[tokio::test]
async fn the_running_probe_publishes_what_it_finds_until_it_is_told_to_stop() {
    let bed = Bed::start(world().tamper(|_, reply| reply.strip())).await;
    let resolver = bed.resolver();
    let mut health = resolver.health();
    assert!(health.borrow().is_none());
    let (stop, stopped) = oneshot::channel::<()>();
    let watching = resolver.watch(async {
        stopped.await.unwrap();
    });
    let looking = async {
        health.changed().await.unwrap();
        let report = health.borrow_and_update().clone().unwrap();
        assert!(!report.is_usable());
        stop.send(()).unwrap();
    };
    tokio::join!(watching, looking);
}

/// Asserts what the probe says about an upstream that is not fit.
async fn check_probe(world: World, expected: &str) {
    let bed = Bed::start(world).await;
    let mut config = bed.config();
    config.rounds = 1;
    let report = resolver(&config).probe().await;
    assert!(!report.is_usable(), "{report}");
    assert!(report.to_string().contains(expected), "{report}");
}
