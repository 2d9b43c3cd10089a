//! Trust anchors below the root, and negative ones (RFC 7646; RFC 4035, Section 4.2).

use byrnie_dnssec::InsecureProof;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Status;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use domain::base::iana::Rtype;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
use crate::world::name;

#[test]
fn an_island_is_secure_by_an_anchor_of_its_own() {
    let (world, mut anchors) = world();
    check(&world, &anchors, "www.island.org. A", "insecure");
    anchors.extend(TrustAnchors::parse(&world.zones[2].anchor_text()).unwrap());
    check(&world, &anchors, "www.island.org. A", "secure");
    check(&world, &anchors, "www.org. A", "secure");
}

#[test]
fn an_anchor_that_matches_no_key_makes_its_zone_bogus_even_where_a_higher_one_would_do() {
    let (world, mut anchors) = world();
    let text = format!("org. IN DS 1 15 2 {}", "00".repeat(32));
    anchors.extend(TrustAnchors::parse(&text).unwrap());
    check(&world, &anchors, "www.org. A", "bogus");
    check(&world, &anchors, ". SOA", "secure");
}

#[test]
fn without_any_anchor_a_name_is_insecure() {
    let (world, _) = world();
    let mut anchors = TrustAnchors::default();
    anchors.extend(TrustAnchors::parse(&world.zones[2].anchor_text()).unwrap());
    check(&world, &anchors, "www.org. A", "insecure");
    check(&world, &anchors, "www.island.org. A", "secure");
}

#[test]
fn below_a_negative_anchor_nothing_is_validated() {
    let (world, mut anchors) = world();
    anchors.add_negative(name("broken.org."));
    let verdict = ask(&world, &anchors, "www.broken.org. A");
    let Status::Insecure(why) = verdict else {
        panic!("not insecure");
    };
    assert_eq!(
        (why.at, why.proof),
        (name("broken.org."), InsecureProof::NegativeAnchor)
    );
    check(&world, &anchors, "www.org. A", "secure");
}

#[test]
fn a_negative_anchor_need_not_be_where_a_zone_begins() {
    let (world, mut anchors) = world();
    anchors.add_negative(name("host.org."));
    check(&world, &anchors, "host.org. A", "insecure");
    check(&world, &anchors, "_25._tcp.host.org. TXT", "insecure");
    check(&world, &anchors, "nx.host.org. A", "insecure");
    check(&world, &anchors, "www.org. A", "secure");
    // The DS records of a zone belong to the one above.
    check(&world, &anchors, "host.org. DS", "secure");
}

#[test]
fn of_a_negative_and_a_positive_anchor_the_deeper_counts_and_at_one_name_the_negative() {
    let (world, mut anchors) = world();
    anchors.add_negative(name("org."));
    anchors.extend(TrustAnchors::parse(&world.zones[2].anchor_text()).unwrap());
    check(&world, &anchors, "www.org. A", "insecure");
    check(&world, &anchors, "www.broken.org. A", "insecure");
    check(&world, &anchors, "www.island.org. A", "secure");
    check(&world, &anchors, ". SOA", "secure");
    anchors.add_negative(name("island.org."));
    check(&world, &anchors, "www.island.org. A", "insecure");
}

/// Such zones often do not exist for anybody else, and their parent says so.
#[test]
fn a_kept_denial_from_above_an_anchor_or_a_negative_one_says_nothing_about_names_below() {
    let (world, anchors) = world();
    let inside = Zone::new("inside.org.", Denial::Nsec, "www A 192.0.2.5");
    let mut with_positive = anchors.clone();
    with_positive.extend(TrustAnchors::parse(&inside.anchor_text()).unwrap());
    let mut with_negative = anchors;
    with_negative.add_negative(name("inside.org."));
    let inner = World::new(vec![inside]);
    for (anchors, word) in [(with_positive, "secure"), (with_negative, "insecure")] {
        let validator = validator(anchors);
        let ask = |question| {
            world.drive(&validator, question, |asked| {
                let is_inside = asked.name.ends_with(&name("inside.org."));
                let world = if is_inside { &inner } else { &world };
                Some(world.reply(asked).message(asked))
            })
        };
        let denied = ask("nx.org. A");
        assert_eq!(
            (denied.status.word(), denied.kind),
            ("secure", Kind::NxDomain)
        );
        let verdict = ask("www.inside.org. A");
        assert_eq!((verdict.status.word(), verdict.kind), (word, Kind::Answer));
    }
}

#[test]
fn what_is_broken_above_an_anchor_or_a_negative_one_does_not_matter_below() {
    let (mut world, mut anchors) = world();
    anchors.extend(TrustAnchors::parse(&world.zones[2].anchor_text()).unwrap());
    anchors.add_negative(name("broken.org."));
    world
        .zone("org.")
        .sign_set_with(&[], &name("org."), Rtype::DNSKEY);
    let validator = validator(anchors);
    for (question, word) in [
        ("www.org. A", "bogus"),
        ("www.island.org. A", "secure"),
        ("www.broken.org. A", "insecure"),
    ] {
        let verdict = world.drive(&validator, question, |asked| {
            Some(world.reply(asked).message(asked))
        });
        assert_eq!(verdict.status.word(), word, "{question}");
    }
}

#[track_caller]
fn check(world: &World, anchors: &TrustAnchors, question: &str, word: &str) {
    let status = ask(world, anchors, question);
    assert_eq!(status.word(), word, "{question}: {status}");
}

fn ask(world: &World, anchors: &TrustAnchors, question: &str) -> Status {
    let verdict = world.drive(&validator(anchors.clone()), question, |asked| {
        Some(world.reply(asked).message(asked))
    });
    verdict.status
}

fn validator(anchors: TrustAnchors) -> Validator {
    Validator::new(anchors, Limits::default(), Sha1Policy::default())
}

fn world() -> (World, TrustAnchors) {
    let mut island = Zone::new("island.org.", Denial::Nsec, "www A 192.0.2.1");
    island.ds = Some(Vec::new());
    let mut broken = Zone::new("broken.org.", Denial::Nsec, "www A 192.0.2.2");
    broken.ds = Some(Zone::new("broken.org.", Denial::Nsec, "").ds_records());
    let world = World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new(
            "org.",
            Denial::Nsec,
            "www A 192.0.2.3\nhost A 192.0.2.4\n_25._tcp.host TXT x",
        ),
        island,
        broken,
    ]);
    let mut anchors = TrustAnchors::default();
    anchors.extend(TrustAnchors::parse(&world.zones[0].anchor_text()).unwrap());
    (world, anchors)
}
