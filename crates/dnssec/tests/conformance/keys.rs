//! Which keys may sign what (RFC 4034, Section 2.1; RFC 4035, Sections 2.2 and 5.3.1; RFC 5011,
//! Section 2.1; RFC 6840, Sections 5.11 and 6.2).

use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::Rtype;
use domain::base::iana::SecurityAlgorithm;
use domain::crypto::sign::GenerateParams;
use domain::rdata::Dnskey;
use domain::rdata::Rrsig;
use domain::rdata::ZoneRecordData;

use crate::world::Denial;
use crate::world::Record;
use crate::world::World;
use crate::world::Zone;
use crate::world::dnskey;
use crate::world::ds;
use crate::world::name;
use crate::world::new_key_with;
use crate::world::record;

/// Flags of a zone-signing key.
const ZSK: u16 = 256;

/// Flags of a key-signing key.
const KSK: u16 = 257;

/// The bit of a revoked key.
const REVOKED: u16 = 128;

#[test]
fn a_key_set_counts_only_if_a_key_that_the_ds_records_vouch_for_signed_it() {
    // Two keys; the DS record is for the first.
    check(&[0, 1], None);
    check(&[0], None);
    check(&[1], Some(&Rule::NoSuchKey));
    check(&[], Some(&Rule::NotSigned));

    #[track_caller]
    fn check(signers: &[usize], expected: Option<&Rule>) {
        let mut world = world(&[KSK, ZSK]);
        world
            .zone("org.")
            .sign_set_with(signers, &name("org."), Rtype::DNSKEY);
        assert_eq!(
            rule(&world.ask("www.org. A").status).as_ref(),
            expected,
            "{signers:?}"
        );
    }
}

#[test]
fn any_zone_key_of_the_set_may_sign_other_records() {
    for signer in [0, 1] {
        let mut world = world(&[KSK, ZSK]);
        world
            .zone("org.")
            .sign_set_with(&[signer], &name("www.org."), Rtype::A);
        assert_eq!(world.ask("www.org. A").status, Status::Secure);
    }
}

//= https://www.rfc-editor.org/rfc/rfc4034#section-2.1.1
//= type=test
//# If bit 7 has value 0, then the DNSKEY record holds some
//# other type of DNS public key and MUST NOT be used to verify RRSIGs
//# that cover RRsets.
#[test]
fn keys_without_the_zone_flag_and_revoked_ones_sign_nothing() {
    // As the key that a DS record points at; the SEP flag is no matter.
    check_first(KSK, None);
    check_first(ZSK, None);
    check_first(1, Some(&Rule::NoKeyMatchesDs));
    check_first(KSK | REVOKED, Some(&Rule::NoKeyMatchesDs));
    // As the key that signed the data.
    check_second(ZSK, None);
    check_second(KSK, None);
    check_second(0, Some(&Rule::NoSuchKey));
    check_second(ZSK | REVOKED, Some(&Rule::NoSuchKey));

    #[track_caller]
    fn check_first(flags: u16, expected: Option<&Rule>) {
        assert_eq!(
            rule(&world(&[flags]).ask("www.org. A").status).as_ref(),
            expected,
            "{flags}"
        );
    }

    #[track_caller]
    fn check_second(flags: u16, expected: Option<&Rule>) {
        let mut world = world(&[KSK, flags]);
        world
            .zone("org.")
            .sign_set_with(&[1], &name("www.org."), Rtype::A);
        assert_eq!(
            rule(&world.ask("www.org. A").status).as_ref(),
            expected,
            "{flags}"
        );
    }
}

/// RFC 6840, Section 5.11: one path is enough, though the zone should be signed by all algorithms.
#[test]
fn where_ds_records_list_several_algorithms_one_signature_by_one_of_them_is_enough() {
    let algorithms = [GenerateParams::Ed25519, GenerateParams::EcdsaP256Sha256];
    for signer in [0, 1] {
        let org = Zone::with_algorithms("org.", Denial::Nsec, &algorithms, "www A 192.0.2.1");
        let mut world = World::new(vec![root(), org]);
        let org = world.zone("org.");
        for (owner, rtype) in [("www.org.", Rtype::A), ("org.", Rtype::DNSKEY)] {
            org.sign_set_with(&[signer], &name(owner), rtype);
        }
        assert_eq!(world.ask("www.org. A").status, Status::Secure, "{signer}");
    }
}

/// The keys of a zone that is nowhere anchored are as good as none, even where they are asked for.
#[test]
fn the_keys_themselves_are_judged_like_any_records() {
    for (flags, signers, word) in [
        (&[KSK, ZSK][..], &[0, 1][..], "secure"),
        (&[KSK, ZSK], &[1], "bogus"),
        (&[KSK | REVOKED], &[0], "bogus"),
    ] {
        let mut world = world(flags);
        world
            .zone("org.")
            .sign_set_with(signers, &name("org."), Rtype::DNSKEY);
        assert_eq!(world.ask("org. DNSKEY").status.word(), word);
    }
}

/// A zone above may sign what lies below a cut of its own: it could as well replace the child's keys.
#[test]
fn a_signature_by_a_zone_above_counts() {
    let world = World::new(vec![
        root(),
        Zone::new("org.", Denial::Nsec, ""),
        Zone::new("child.org.", Denial::Nsec, "www A 192.0.2.1"),
    ]);
    let org = &world.zones[1];
    let verdict = world.ask_tampered("www.child.org. A", |asked, reply| {
        if asked.rtype == Rtype::A {
            let set: Vec<Record> = vec![reply.answer[0].clone()];
            reply.answer = org.signed_anew(&set);
        }
    });
    assert_eq!(verdict.status, Status::Secure);
}

/// Each key of an anchor is enough, as is each digest; one of another key is as good as none.
#[test]
fn anchors_may_be_keys_or_digests_and_one_that_fits_is_enough() {
    let world = World::new(vec![root()]);
    let key = dnskey(&world.zones[0].keys[0]);
    let other = dnskey(&new_key_with(".", &GenerateParams::Ed25519, KSK));
    let digest = |key, digest| format!(". DS {}\n", ds(&name("."), key, digest));
    let (sha256, sha384) = (DigestAlgorithm::SHA256, DigestAlgorithm::SHA384);
    for (text, word) in [
        (format!(". DNSKEY {key}\n"), "secure"),
        (digest(&key, sha256), "secure"),
        (digest(&key, sha384), "secure"),
        (format!(". DNSKEY {other}\n"), "bogus"),
        (digest(&other, sha256), "bogus"),
        (format!(". DNSKEY {other}\n. DNSKEY {key}\n"), "secure"),
        (
            format!(". DNSKEY {other}\n{}", digest(&key, sha256)),
            "secure",
        ),
    ] {
        let anchors = TrustAnchors::parse(&text).unwrap();
        let validator = Validator::new(anchors, world.limits.clone(), world.sha1);
        let verdict = world.drive(&validator, ". SOA", |asked| {
            Some(world.reply(asked).message(asked))
        });
        assert_eq!(verdict.status.word(), word, "{text}");
    }
}

/// Anybody can claim that such a key made a signature: it would make every answer insecure.
#[test]
fn what_only_a_key_of_an_unsupported_size_signed_is_bogus_where_the_zone_has_another() {
    let mut org = Zone::new("org.", Denial::Nsec, "www A 192.0.2.1");
    let field = [&[5, 2, 0, 0, 0, 1][..], &[0xab; 128]].concat(); // an exponent of 34 bits
    let large = Dnskey::new(ZSK, 3, SecurityAlgorithm::RSASHA256, field.into()).unwrap();
    org.ds = Some(org.ds_records());
    let apex = org.apex.clone();
    org.add(record(&apex, 3600, ZoneRecordData::Dnskey(large.clone())));
    let world = World::new(vec![root(), org]);
    assert_eq!(world.ask("www.org. A").status, Status::Secure);
    let verdict = world.ask_tampered("www.org. A", |asked, reply| {
        if asked.rtype != Rtype::A {
            return;
        }
        let ZoneRecordData::Rrsig(old) = reply.answer[1].data().clone() else {
            panic!("not a signature");
        };
        let claimed = Rrsig::new(
            old.type_covered(),
            large.algorithm(),
            old.labels(),
            old.original_ttl(),
            old.expiration(),
            old.inception(),
            large.key_tag(),
            old.signer_name().clone(),
            old.signature().clone(),
        );
        *reply.answer[1].data_mut() = ZoneRecordData::Rrsig(claimed.unwrap());
    });
    assert_eq!(rule(&verdict.status), Some(Rule::NoSuchKey));
}

/// The rule that is broken.
fn rule(status: &Status) -> Option<Rule> {
    match status {
        Status::Bogus(fault) => Some(fault.rule.clone()),
        Status::Secure => None,
        Status::Insecure(_) | Status::Failed(_) => panic!("{status}"),
    }
}

/// A world where `org.` has keys with these flags, all of which sign, and a DS record for the first.
fn world(flags: &[u16]) -> World {
    let mut org = Zone::new("org.", Denial::Nsec, "www A 192.0.2.1");
    org.keys = flags
        .iter()
        .map(|flags| new_key_with("org.", &GenerateParams::Ed25519, *flags))
        .collect();
    let key = dnskey(&org.keys[0]);
    org.ds = Some(vec![ds(&org.apex, &key, DigestAlgorithm::SHA256)]);
    World::new(vec![root(), org])
}

fn root() -> Zone {
    Zone::new(".", Denial::Nsec, "")
}
