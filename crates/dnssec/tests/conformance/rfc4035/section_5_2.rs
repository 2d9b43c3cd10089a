//! Authenticating referrals.

use byrnie_dnssec::InsecureProof;
use byrnie_dnssec::Kind;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use bytes::Bytes;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::Rtype;
use domain::base::iana::SecurityAlgorithm;
use domain::crypto::sign::GenerateParams;
use domain::rdata::Dnskey;
use domain::rdata::Ds;
use domain::rdata::ZoneRecordData;

use crate::world::Denial;
use crate::world::Record;
use crate::world::World;
use crate::world::Zone;
use crate::world::ds;
use crate::world::moved;
use crate::world::record;

#[test]
fn a_chain_of_ds_records_and_keys_is_secure_for_every_kind_of_parent() {
    for parent in [
        Denial::Nsec,
        Denial::Nsec3(0),
        Denial::Nsec3(20),
        Denial::Nsec3OptOut,
    ] {
        let world = world(parent, Denial::Nsec);
        let verdict = world.ask("www.child.org. A");
        assert_eq!(
            (&verdict.status, verdict.kind),
            (&Status::Secure, Kind::Answer),
            "{parent:?}"
        );
        let zones: Vec<String> = verdict
            .chain
            .iter()
            .map(|link| link.zone.fmt_with_dot().to_string())
            .collect();
        assert_eq!(zones, [".", "org.", "child.org."]);
    }
}

#[test]
fn a_delegation_that_is_proven_to_have_no_ds_is_insecure() {
    check(Denial::Nsec, InsecureProof::NoDs);
    check(Denial::Nsec3(0), InsecureProof::NoDs);
    check(Denial::Nsec3OptOut, InsecureProof::OptOut);
    check(Denial::Nsec3(151), InsecureProof::TooManyIterations(151));

    #[track_caller]
    fn check(parent: Denial, proof: InsecureProof) {
        let world = world(parent, Denial::Unsigned);
        let Status::Insecure(why) = world.ask("www.child.org. A").status else {
            panic!("not insecure below {parent:?}");
        };
        assert_eq!(
            (why.at, why.proof),
            (crate::world::name("child.org."), proof)
        );
    }
}

#[test]
fn a_delegation_without_proof_that_it_has_no_ds_is_bogus() {
    for parent in [Denial::Nsec, Denial::Nsec3(0), Denial::Nsec3OptOut] {
        let world = world(parent, Denial::Unsigned);
        let verdict = world.ask_tampered("www.child.org. A", |question, reply| {
            if question.rtype == Rtype::DS {
                reply.remove(Rtype::NSEC);
                reply.remove(Rtype::NSEC3);
            }
        });
        assert_eq!(
            rule(&verdict.status),
            Some(&Rule::NoDsUnproven),
            "{parent:?}"
        );
    }
}

#[test]
fn ds_records_of_unknown_algorithms_or_digests_make_a_zone_insecure_unless_there_is_another() {
    let unknown_algorithm = (SecurityAlgorithm::from_int(200), DigestAlgorithm::SHA256);
    let unknown_digest = (SecurityAlgorithm::ED25519, DigestAlgorithm::from_int(200));
    check(&[unknown_algorithm], false, "insecure");
    check(&[unknown_digest], false, "insecure");
    check(&[unknown_algorithm, unknown_digest], false, "insecure");
    check(&[unknown_algorithm, unknown_digest], true, "secure");

    #[track_caller]
    fn check(fake: &[(SecurityAlgorithm, DigestAlgorithm)], with_true_ones: bool, word: &str) {
        let mut child = child(Denial::Nsec);
        let tag = child.ds_records()[0].key_tag();
        let mut ds = if with_true_ones {
            child.ds_records()
        } else {
            Vec::new()
        };
        ds.extend(fake.iter().map(|(algorithm, digest)| {
            Ds::new(tag, *algorithm, *digest, vec![0; 32].into()).unwrap()
        }));
        child.ds = Some(ds);
        let world = World::new(vec![root(), org(Denial::Nsec), child]);
        assert_eq!(world.ask("www.child.org. A").status.word(), word);
    }
}

#[test]
fn ds_records_that_match_no_key_make_a_zone_bogus() {
    let mut child = child(Denial::Nsec);
    child.ds = Some(Zone::new("child.org.", Denial::Nsec, "").ds_records());
    let world = World::new(vec![root(), org(Denial::Nsec), child]);
    let verdict = world.ask("www.child.org. A");
    assert_eq!(rule(&verdict.status), Some(&Rule::NoKeyMatchesDs));
}

#[test]
fn a_zone_with_ds_records_and_without_keys_is_bogus() {
    let mut child = child(Denial::Unsigned);
    child.ds = Some(Zone::new("child.org.", Denial::Nsec, "").ds_records());
    let world = World::new(vec![root(), org(Denial::Nsec), child]);
    let verdict = world.ask("www.child.org. A");
    assert_eq!(rule(&verdict.status), Some(&Rule::NoDnskeys));
}

#[test]
fn a_key_set_must_be_signed_by_a_key_that_a_ds_record_vouches_for() {
    let world = world(Denial::Nsec, Denial::Nsec);
    let other = Zone::new("child.org.", Denial::Nsec, "");
    let verdict = world.ask_tampered("www.child.org. A", |question, reply| {
        if question.rtype == Rtype::DNSKEY && question.name == other.apex {
            let set: Vec<_> = reply
                .answer
                .iter()
                .filter(|r| r.rtype() == Rtype::DNSKEY)
                .cloned()
                .collect();
            reply
                .answer
                .retain(|record| record.rtype() == Rtype::DNSKEY);
            reply.answer.push(other.signature(&other.keys[0], &set));
        }
    });
    assert_eq!(rule(&verdict.status), Some(&Rule::NoSuchKey));
}

#[test]
fn every_supported_algorithm_is_secure_alone_and_beside_others() {
    // Those that keys can be made for here; the others have recorded answers of their own.
    let algorithms = [
        GenerateParams::EcdsaP256Sha256,
        GenerateParams::EcdsaP384Sha384,
        GenerateParams::Ed25519,
    ];
    for algorithm in &algorithms {
        check(std::slice::from_ref(algorithm));
    }
    check(&algorithms);

    #[track_caller]
    fn check(algorithms: &[GenerateParams]) {
        let zone = Zone::with_algorithms("child.org.", Denial::Nsec, algorithms, "www A 192.0.2.1");
        let world = World::new(vec![root(), org(Denial::Nsec), zone]);
        assert_eq!(world.ask("www.child.org. A").status, Status::Secure);
    }
}

#[test]
fn a_zone_whose_ds_records_lead_to_keys_of_an_unsupported_size_is_insecure() {
    let algorithm = SecurityAlgorithm::RSASHA256;
    let weak = [&[3, 1, 0, 1][..], &[0xab; 64]].concat(); // 512 bits
    let weak = Dnskey::new(257, 3, algorithm, weak.into()).unwrap();
    let mut child = child(Denial::Nsec);
    child.ds = Some(vec![ds(&child.apex, &weak, DigestAlgorithm::SHA256)]);
    let apex = child.apex.clone();
    child.add(record(&apex, 3600, ZoneRecordData::Dnskey(weak)));
    let world = World::new(vec![root(), org(Denial::Nsec), child]);
    let Status::Insecure(why) = world.ask("www.child.org. A").status else {
        panic!("not insecure");
    };
    assert_eq!((why.at, why.proof), (apex, InsecureProof::UnsupportedKeys));
}

/// The DNSKEY set is not proven at that point, so a key may be missing because somebody left it out.
#[test]
fn a_supported_key_that_is_left_out_does_not_make_a_zone_insecure() {
    let algorithm = SecurityAlgorithm::RSASHA256;
    let weak = [&[3, 1, 0, 1][..], &[0xab; 64]].concat(); // 512 bits
    let weak = Dnskey::new(257, 3, algorithm, weak.into()).unwrap();
    let mut child = child(Denial::Nsec);
    let mut both = child.ds_records();
    both.push(ds(&child.apex, &weak, DigestAlgorithm::SHA256));
    child.ds = Some(both);
    let apex = child.apex.clone();
    child.add(record(&apex, 3600, ZoneRecordData::Dnskey(weak)));
    let world = World::new(vec![root(), org(Denial::Nsec), child]);
    assert_eq!(world.ask("www.child.org. A").status, Status::Secure);
    let verdict = world.ask_tampered("www.child.org. A", |question, reply| {
        let is_strong = |record: &Record| {
            matches!(record.data(), ZoneRecordData::Dnskey(key) if key.algorithm() != algorithm)
        };
        if question.name == apex {
            reply.answer.retain(|record| !is_strong(record));
        }
    });
    assert_eq!(rule(&verdict.status), Some(&Rule::NoKeyMatchesDs));
}

/// Whoever is on the way chooses the order of the records, and which of them come several times.
#[test]
fn no_order_and_no_number_of_ds_records_hides_a_supported_one() {
    let unknown = |count: usize| {
        let (algorithm, digest) = (SecurityAlgorithm::from_int(200), DigestAlgorithm::SHA256);
        let digests = (0..count).map(|number| vec![u8::try_from(number).unwrap(); 32]);
        let all = digests.map(move |octets| Ds::new(1, algorithm, digest, octets.into()).unwrap());
        all.collect::<Vec<_>>()
    };
    check(unknown(1), 1);
    check(unknown(1), 100);
    check(unknown(100), 1);

    #[track_caller]
    fn check(unknown: Vec<Ds<Bytes>>, times: usize) {
        let mut child = child(Denial::Nsec);
        child.ds = Some([child.ds_records(), unknown].concat());
        let world = World::new(vec![root(), org(Denial::Nsec), child]);
        let verdict = world.ask_tampered("www.child.org. A", |_, reply| {
            let is_unknown = |record: &Record| {
                matches!(record.data(), ZoneRecordData::Ds(ds) if ds.algorithm().to_int() == 200)
            };
            let (first, last): (Vec<_>, Vec<_>) = reply.answer.drain(..).partition(is_unknown);
            let first = std::iter::repeat_n(first, times).flatten();
            reply.answer = first.chain(last).collect();
        });
        assert_eq!(verdict.status, Status::Secure, "{times} times");
    }
}

/// RFC 4592, Section 4.6: DS records delegate only the name that they stand at.
#[test]
fn ds_records_from_a_wildcard_vouch_for_nothing() {
    let mut child = child(Denial::Nsec);
    let text = format!("* DS {}", child.ds_records()[0]);
    child.ds = Some(Vec::new());
    let world = World::new(vec![root(), Zone::new("org.", Denial::Nsec, &text), child]);
    let wildcard = world.zones[1].signed("*.org.", Rtype::DS);
    let verdict = world.ask_tampered("www.child.org. A", |asked, reply| {
        if asked.rtype == Rtype::DS && asked.name.label_count() > 2 {
            let expanded = wildcard.iter().map(|record| moved(record, "child.org."));
            reply.answer = expanded.collect();
        }
    });
    assert_eq!(rule(&verdict.status), Some(&Rule::WildcardNotAllowed));
}

#[test]
fn an_unsigned_island_and_what_is_below_it_are_insecure() {
    let mut island = child(Denial::Nsec);
    island.ds = Some(Vec::new());
    let below = Zone::new("x.child.org.", Denial::Nsec, "www A 192.0.2.1");
    let world = World::new(vec![root(), org(Denial::Nsec), island, below]);
    assert_eq!(world.ask("www.child.org. A").status.word(), "insecure");
    assert_eq!(world.ask("www.x.child.org. A").status.word(), "insecure");
}

#[test]
fn zones_below_empty_non_terminals_are_found_for_every_kind_of_parent() {
    for parent in [Denial::Nsec, Denial::Nsec3(0), Denial::Nsec3OptOut] {
        for (denial, word) in [(Denial::Nsec, "secure"), (Denial::Unsigned, "insecure")] {
            let deep = Zone::new("deep.co.org.", denial, "www A 192.0.2.1");
            let world = World::new(vec![root(), org(parent), deep]);
            let status = world.ask("www.deep.co.org. A").status;
            assert_eq!(status.word(), word, "{parent:?} {denial:?}");
        }
    }
}

/// The rule that is broken.
fn rule(status: &Status) -> Option<&Rule> {
    match status {
        Status::Bogus(fault) => Some(&fault.rule),
        Status::Secure | Status::Insecure(_) | Status::Failed(_) => None,
    }
}

fn world(parent: Denial, denial: Denial) -> World {
    World::new(vec![root(), org(parent), child(denial)])
}

fn root() -> Zone {
    Zone::new(".", Denial::Nsec, "")
}

fn org(denial: Denial) -> Zone {
    Zone::new("org.", denial, "")
}

fn child(denial: Denial) -> Zone {
    Zone::new("child.org.", denial, "www A 192.0.2.1")
}
