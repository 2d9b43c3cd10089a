//! What a verdict tells people.

use domain::base::iana::Rtype;

use byrnie_dnssec::LinkVerdict;
use byrnie_dnssec::tree;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;

#[test]
fn a_secure_answer_shows_each_zone_with_its_keys_and_dates() {
    let world = world();
    let verdict = world.ask("www.org. A");
    let tags: Vec<u16> = world
        .zones
        .iter()
        .map(|zone| zone.keys.first().map_or(0, |key| key.dnskey().key_tag()))
        .collect();
    let (root, org) = (tags[0], tags[1]);
    let expected = format!(
        "\
. secure
   key {root} ED25519 257 trusted
   signed by . {root}, 2027-01-14 04:13:20Z to 2027-01-16 11:46:40Z
   org. secure
      ds {org} ED25519 SHA-256
      key {org} ED25519 257 trusted
      signed by org. {org}, 2027-01-14 04:13:20Z to 2027-01-16 11:46:40Z
"
    );
    assert_eq!(tree(&verdict.chain), expected);
    assert_eq!(
        verdict.status.to_string(),
        "secure: signed all the way from the trust anchor"
    );
}

#[test]
fn an_insecure_answer_shows_where_the_chain_ends() {
    let verdict = world().ask("www.plain. A");
    let last = verdict.chain.last().unwrap();
    assert_eq!(last.zone.to_string(), "plain");
    assert!(matches!(last.verdict, LinkVerdict::Insecure(_)));
    assert_eq!(
        verdict.status.to_string(),
        "insecure: plain. is delegated without a DS record, as its parent proves"
    );
}

#[test]
fn a_bogus_answer_names_record_signature_and_rule() {
    let world = world();
    let verdict = world.ask_tampered("www.org. A", |question, reply| {
        if question.rtype == Rtype::A {
            let other = world.reply(&crate::world::parse_question("other.org. A"));
            let signature = reply.answer.remove(1);
            let data = other.answer[0].data().clone();
            let (owner, class, ttl) = (
                signature.owner().clone(),
                signature.class(),
                signature.ttl(),
            );
            reply.answer = vec![
                crate::world::Record::new(owner, class, ttl, data),
                signature,
            ];
        }
    });
    let tag = world.zones[1].keys[0].dnskey().key_tag();
    let expected = format!(
        "bogus: www.org. A: signature org. {tag} ED25519: it does not verify (RFC 4035, section 5.3.3)"
    );
    assert_eq!(verdict.status.to_string(), expected);
}

#[test]
fn a_broken_link_is_part_of_the_chain() {
    let verdict = world().ask("www.broken. A");
    let last = verdict.chain.last().unwrap();
    assert_eq!(last.zone.to_string(), "broken");
    assert!(matches!(last.verdict, LinkVerdict::Bogus(_)));
}

#[test]
fn a_verdict_is_data_for_machines() {
    let verdict = world().ask("away.org. A");
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(
        (&json["name"], &json["type"]),
        (&"away.org.".into(), &"A".into())
    );
    assert_eq!(
        (&json["status"], &json["kind"]),
        (&"insecure".into(), &"answer".into())
    );
    assert_eq!(json["ttl"], 3_600);
    assert_eq!(json["records"][0], "www.plain. 3600 IN A 192.0.2.2");
    assert_eq!(json["steps"][0]["target"], "www.plain.");
    assert_eq!(json["steps"][0]["status"], "secure");
    assert_eq!(json["reason"], verdict.status.to_string());
    let link = &json["chain"][1];
    assert_eq!(link["zone"], "org.");
    assert_eq!(link["verdict"], "secure");
    assert_eq!(link["ds"][0]["algorithm"], "ED25519");
    assert_eq!(link["ds"][0]["digest_type"], "SHA-256");
    assert_eq!(link["signature"]["expiration"], 1_800_100_000);
}

fn world() -> World {
    let mut broken = Zone::new("broken.", Denial::Nsec, "www A 192.0.2.2");
    broken.ds = Some(Zone::new("broken.", Denial::Nsec, "").ds_records());
    World::new(vec![
        Zone::new(".", Denial::Nsec, ""),
        Zone::new(
            "org.",
            Denial::Nsec,
            "www A 192.0.2.1\nother A 192.0.2.9\naway CNAME www.plain.",
        ),
        Zone::new("plain.", Denial::Unsigned, "www A 192.0.2.2"),
        broken,
    ])
}
