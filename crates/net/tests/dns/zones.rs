//! Secure and insecure answers (behaviour rules 1, 5, 6 and 7).

use byrnie_net::dns::Mode;
use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::ReportKind;
use byrnie_net::dns::ReportStatus;
use byrnie_net::dns::TrustAnchors;
use domain::base::Rtype;
use domain::crypto::sign::GenerateParams;

use crate::bed::Bed;
use crate::bed::World;
use crate::bed::lookup;
use crate::bed::resolver;
use crate::check;
use crate::world;
use crate::zone::Signing;
use crate::zone::Zone;
use crate::zones;

#[tokio::test]
async fn every_kind_of_zone_has_its_status() {
    let bed = Bed::start(world()).await;
    let resolver = bed.resolver();
    for (zone, expected) in [
        ("signed.example", "secure answer"),
        ("hashed.example", "secure answer"),
        ("optout.example", "secure answer"),
        ("plain.optout.example", "insecure answer"),
        ("unsigned.example", "insecure answer"),
    ] {
        check(&lookup(&resolver, zone, "MX").await, expected);
        let host = format!("mx.{zone}");
        check(&lookup(&resolver, &host, "A").await, expected);
        check(&lookup(&resolver, &host, "AAAA").await, expected);
        let tlsa = format!("_25._tcp.mx.{zone}");
        check(&lookup(&resolver, &tlsa, "TLSA").await, expected);
    }
    check(&lookup(&resolver, "example", "SOA").await, "secure answer");
    check(
        &lookup(&resolver, "signed.example", "DS").await,
        "secure answer",
    );
    check(
        &lookup(&resolver, "signed.example", "DNSKEY").await,
        "secure answer",
    );
}

#[tokio::test]
async fn records_come_as_they_stand() {
    let bed = Bed::start(world()).await;
    let resolver = bed.resolver();
    let mut shown = Vec::new();
    for (name, rtype) in [
        ("signed.example", "MX"),
        ("null.signed.example", "MX"),
        ("mx.signed.example", "A"),
        ("_25._tcp.mx.signed.example", "TLSA"),
        ("signed.example", "TXT"),
        ("example", "NS"),
    ] {
        let answer = lookup(&resolver, name, rtype).await;
        let Ok(secured) = answer.outcome else {
            panic!("{answer:?}");
        };
        let Outcome::Records(records) = secured.value else {
            panic!("{secured:?}");
        };
        shown.extend(records.iter().map(ToString::to_string));
    }
    shown.sort();
    assert_eq!(
        shown,
        [
            "\"v=onetwo\"",
            "0 .",
            "10 mx.signed.example.",
            "192.0.2.1",
            "192.0.2.2",
            "20 mx.unsigned.example.",
            "3 1 1 0102",
            "ns.example.",
        ]
    );
}

#[tokio::test]
async fn a_mail_host_whose_name_is_no_host_name_is_kept_apart() {
    let bed = Bed::start(world()).await;
    let answer = bed.lookup("odd.signed.example", "MX").await;
    check(&answer, "secure answer");
    let Outcome::Records(records) = answer.outcome.unwrap().value else {
        panic!("records");
    };
    let hosts: Vec<&RecordData> = records
        .iter()
        .filter(|record| matches!(record, RecordData::Mx { host: Some(_), .. }))
        .collect();
    assert_eq!(hosts.len(), 1);
    assert!(records.contains(&RecordData::Other(r"10 a\ b.signed.example.".to_owned())));
}

#[tokio::test]
async fn unknown_algorithms_and_digests_make_a_zone_insecure() {
    let mut all = zones();
    all[2].ds_algorithm = Some(200);
    let bed = Bed::start(World::new(all)).await;
    check(
        &bed.lookup("mx.signed.example", "A").await,
        "insecure answer",
    );
}

#[tokio::test]
async fn a_ds_record_that_matches_no_key_makes_a_zone_bogus() {
    let mut all = zones();
    all[2].ds_corrupt = true;
    let bed = Bed::start(World::new(all)).await;
    check(&bed.lookup("mx.signed.example", "A").await, "bogus none");
    check(&bed.lookup("mx.hashed.example", "A").await, "secure answer");
}

#[tokio::test]
async fn a_key_set_larger_than_a_datagram_validates_over_tcp() {
    let mut all = zones();
    all[2].idle_keys = 20;
    let bed = Bed::start(World::new(all)).await;
    check(&bed.lookup("mx.signed.example", "A").await, "secure answer");
    let over_tcp = bed
        .asked()
        .iter()
        .any(|asked| asked.over_tcp && asked.is("signed.example", Rtype::DNSKEY));
    assert!(over_tcp);
}

#[tokio::test]
async fn a_zone_validates_while_its_keys_are_rolled() {
    let mut all = zones();
    all[2].rolling = true;
    all[2].idle_keys = 1;
    all[2].other_keys = vec![GenerateParams::Ed25519];
    let bed = Bed::start(World::new(all)).await;
    check(&bed.lookup("mx.signed.example", "A").await, "secure answer");
    check(
        &bed.lookup("no.signed.example", "A").await,
        "secure nxdomain",
    );
}

#[tokio::test]
async fn one_anchor_of_several_is_enough() {
    let world = world();
    let anchor = world.anchor();
    let bed = Bed::start(world).await;
    let stale = format!(". IN DS 1 13 2 {}", "00".repeat(32));
    for text in [format!("{stale}\n{anchor}"), format!("{anchor}\n{stale}")] {
        let mut config = bed.config();
        config.mode = Mode::Validate {
            anchors: TrustAnchors::parse(&text).unwrap(),
        };
        let answer = lookup(&resolver(&config), "mx.signed.example", "A").await;
        check(&answer, "secure answer");
    }
}

#[tokio::test]
async fn wildcards_validate_with_the_proof_that_no_closer_name_exists() {
    let bed = Bed::start(world()).await;
    let resolver = bed.resolver();
    for (zone, expected) in [
        ("signed.example", "secure"),
        ("hashed.example", "secure"),
        ("unsigned.example", "insecure"),
    ] {
        let name = format!("any.wild.{zone}");
        check(
            &lookup(&resolver, &name, "A").await,
            &format!("{expected} answer"),
        );
        check(
            &lookup(&resolver, &name, "TXT").await,
            &format!("{expected} nodata"),
        );
        let alias = format!("any.wildalias.{zone}");
        check(
            &lookup(&resolver, &alias, "A").await,
            &format!("{expected}: {expected} answer"),
        );
    }
}

#[tokio::test]
async fn an_anchor_below_the_root_speaks_for_its_zone_alone() {
    let mut all = zones();
    all[1] = Zone::new("example", Signing::Unsigned, "");
    let world = World::new(all);
    let anchor = world.anchor_of("signed.example");
    let bed = Bed::start(world).await;
    let mut config = bed.config();
    config.mode = Mode::Validate {
        anchors: TrustAnchors::parse(&anchor).unwrap(),
    };
    let resolver = resolver(&config);
    let lookup = async |name, rtype| lookup(&resolver, name, rtype).await;
    check(&lookup("mx.signed.example", "A").await, "secure answer");
    check(&lookup("no.signed.example", "A").await, "secure nxdomain");
    check(&lookup("mx.hashed.example", "A").await, "insecure answer");
    check(
        &lookup("no.unsigned.example", "A").await,
        "insecure nxdomain",
    );
}

#[tokio::test]
async fn every_algorithm_that_validators_must_or_should_support_is_secure() {
    for params in [&GenerateParams::EcdsaP384Sha384, &GenerateParams::Ed25519] {
        let mut all = zones();
        all[2] = Zone::with_params("signed.example", Signing::Nsec, params, crate::HOSTS);
        let bed = Bed::start(World::new(all)).await;
        let answer = bed.lookup("mx.signed.example", "A").await;
        check(&answer, "secure answer");
    }
}

#[tokio::test]
async fn a_report_shows_the_chain_from_the_root_down() {
    let bed = Bed::start(world()).await;
    let resolver = bed.resolver();
    let signed = [". secure", "example. secure", "signed.example. secure"];
    let unsigned = [
        ". secure",
        "example. secure",
        "unsigned.example. insecure: is delegated without a DS record, as its parent proves",
    ];
    for (name, expected) in [
        ("mx.signed.example", signed),
        // Not a name that a host can have.
        ("*.wild.signed.example", signed),
        ("mx.unsigned.example", unsigned),
    ] {
        let rtype = "A".parse().unwrap();
        let report = resolver.report(&name.parse().unwrap(), rtype).await;
        assert_eq!(report.kind, ReportKind::Answer, "{report:#?}");
        let chain: Vec<String> = report
            .chain
            .iter()
            .map(|link| format!("{} {}", link.zone.fmt_with_dot(), link.verdict))
            .collect();
        assert_eq!(chain, expected, "{name}");
        let is_insecure = report.status == ReportStatus::Insecure;
        assert_eq!(report.reason.is_some(), is_insecure, "{report:#?}");
        let drawn = report.to_string();
        let lines = expected.map(|line| drawn.find(&format!(" {line}")).unwrap());
        assert!(lines.is_sorted(), "{drawn}");
    }
}
