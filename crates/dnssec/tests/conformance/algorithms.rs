//! Signatures of every supported algorithm, made by other software.

use byrnie_dnssec::Limits;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rtype;
use domain::base::name::FlattenInto;
use domain::zonefile::inplace::Entry;
use domain::zonefile::inplace::Zonefile;

use crate::world::Denial;
use crate::world::Record;
use crate::world::Reply;
use crate::world::World;
use crate::world::Zone;
use crate::world::covered;

#[test]
fn signatures_of_every_supported_algorithm_verify() {
    for (zone, policy, word) in [
        ("rsasha1.lab.", Sha1Policy::Validate, "secure"),
        ("rsasha1.lab.", Sha1Policy::Ignore, "insecure"),
        ("nsec3rsasha1.lab.", Sha1Policy::Validate, "secure"),
        ("nsec3rsasha1.lab.", Sha1Policy::Ignore, "insecure"),
        ("rsa1024k.lab.", Sha1Policy::Ignore, "secure"),
        ("rsa4096.lab.", Sha1Policy::Ignore, "secure"),
        ("rsa512.lab.", Sha1Policy::Ignore, "secure"),
        ("good-p256.lab.", Sha1Policy::Ignore, "secure"),
        ("good-p384.lab.", Sha1Policy::Ignore, "secure"),
        ("good-ed.lab.", Sha1Policy::Ignore, "secure"),
        ("ed448.lab.", Sha1Policy::Ignore, "secure"),
    ] {
        assert_eq!(ask(zone, policy, |_| {}), word, "{zone} {policy:?}");
    }
}

#[test]
fn signatures_with_any_octet_changed_do_not() {
    for zone in [
        "rsa1024k.lab.",
        "rsa512.lab.",
        "good-p256.lab.",
        "good-p384.lab.",
        "good-ed.lab.",
        "ed448.lab.",
    ] {
        for position in 0..64 {
            let word = ask(zone, Sha1Policy::Ignore, |message| {
                let last = message.len() - 1;
                message[last - position] ^= 1;
            });
            assert_eq!(word, "bogus", "{zone} {position}");
        }
    }
}

/// Asks for the address of a zone's mail host, with a change to the answer on the way.
fn ask(zone: &str, sha1: Sha1Policy, tamper: impl Fn(&mut Vec<u8>)) -> &'static str {
    let world = World::new(vec![Zone::new(".", Denial::Nsec, "")]);
    let records = records();
    let mut anchors = TrustAnchors::default();
    for record in &records {
        if record.rtype() == Rtype::DNSKEY && record.owner() == &crate::world::name(zone) {
            let owner = record.owner().fmt_with_dot();
            let text = format!("{owner} IN DNSKEY {}", record.data());
            anchors.extend(TrustAnchors::parse(&text).unwrap());
        }
    }
    let validator = Validator::new(anchors, Limits::default(), sha1);
    let verdict = world.drive(&validator, &format!("mx.{zone} A"), |question| {
        let answer = records
            .iter()
            .filter(|record| *record.owner() == question.name && covered(record) == question.rtype)
            .cloned()
            .collect();
        let reply = Reply {
            answer,
            ..Reply::default()
        };
        let mut message = reply.message(question);
        if question.rtype == Rtype::A {
            tamper(&mut message);
        }
        Some(message)
    });
    verdict.status.word()
}

/// The records of the file.
fn records() -> Vec<Record> {
    let mut zonefile = Zonefile::from(include_str!("algorithms.zone"));
    zonefile.set_default_class(domain::base::iana::Class::IN);
    zonefile.set_origin(Name::<Bytes>::root_bytes());
    let mut records = Vec::new();
    while let Some(Entry::Record(record)) = zonefile.next_entry().unwrap() {
        records.push(record.flatten_into());
    }
    records
}
