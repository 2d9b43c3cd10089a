//! What a hostile zone can make a validation cost.

use byrnie_dnssec::Bound;
use byrnie_dnssec::Failure;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Rule;
use byrnie_dnssec::Status;
use byrnie_dnssec::Step;
use byrnie_dnssec::Work;
use domain::base::Ttl;
use domain::base::iana::Rtype;
use domain::base::iana::SecurityAlgorithm;
use domain::crypto::sign::GenerateParams;
use domain::rdata::Dnskey;
use domain::rdata::Ds;
use domain::rdata::Rrsig;
use domain::rdata::ZoneRecordData;

use crate::world::Denial;
use crate::world::NOW;
use crate::world::Record;
use crate::world::World;
use crate::world::Zone;
use crate::world::nsec;
use crate::world::parse_question;
use crate::world::record;

/// CVE-2023-50387: many keys with one tag, and many signatures that claim it.
#[test]
fn colliding_key_tags_and_many_signatures_cost_a_bounded_number_of_checks() {
    let mut org = Zone::new("org.", Denial::Nsec, "www A 192.0.2.1");
    let tag = org.keys[0].dnskey().key_tag();
    for key in colliding_keys(tag, 30) {
        let apex = org.apex.clone();
        org.add(record(&apex, 3600, ZoneRecordData::Dnskey(key)));
    }
    let world = World::new(vec![root(), org]);
    let verdict = world.ask_tampered("www.org. A", |question, reply| {
        if question.rtype == Rtype::A {
            let (set, signature) = (reply.answer[0].clone(), reply.answer[1].clone());
            reply.answer = vec![set];
            reply
                .answer
                .extend((0..50).map(|change| corrupted(&signature, change)));
        }
    });
    let Status::Bogus(fault) = verdict.status else {
        panic!("{}", verdict.status);
    };
    assert_eq!(fault.rule, Rule::WrongSignature);
    let limits = Limits::default();
    let keys_per_tag = u32::try_from(limits.keys_per_tag_max).unwrap();
    // The failures of a set, the last signature's keys, and the four good ones of the chain.
    let most = limits.signature_failures_per_set_max + keys_per_tag + 4 * keys_per_tag;
    assert!(verdict.work.signature_checks <= most, "{:?}", verdict.work);
}

#[test]
fn a_good_signature_behind_a_few_bad_ones_counts() {
    let world = World::new(vec![
        root(),
        Zone::new("org.", Denial::Nsec, "www A 192.0.2.1"),
    ]);
    let ask = |bad: u8| {
        world.ask_tampered("www.org. A", |question, reply| {
            if question.rtype == Rtype::A {
                let good = reply.answer.pop().unwrap();
                reply
                    .answer
                    .extend((0..bad).map(|change| corrupted(&good, change)));
                reply.answer.push(good);
            }
        })
    };
    assert_eq!(ask(7).status, Status::Secure);
    assert_eq!(ask(8).status.word(), "bogus");
}

#[test]
fn a_validation_that_would_check_too_many_signatures_fails() {
    let mut world = World::new(vec![
        root(),
        Zone::new("org.", Denial::Nsec, "www A 192.0.2.1"),
    ]);
    world.limits.signature_checks_max = 4;
    assert_eq!(world.ask("www.org. A").status, Status::Secure);
    world.limits.signature_checks_max = 3;
    let verdict = world.ask("www.org. A");
    let failure = Failure::TooMuchWork(Bound::SignatureChecks);
    assert_eq!(verdict.status, Status::Failed(failure));
    assert_eq!(verdict.work.signature_checks, 3);
}

#[test]
fn a_validation_whose_signatures_cost_too_much_fails() {
    let text = (0..2_000)
        .map(|number| format!("www TXT {number:04}\n"))
        .collect::<String>();
    let mut world = World::new(vec![root(), Zone::new("org.", Denial::Nsec, &text)]);
    let honest = world.ask("www.org. TXT");
    assert_eq!(honest.status, Status::Secure);
    // Four checks, and some forty octets for each of the records.
    assert!(honest.work.signature_cost > 4 + 2_000 * 20 / 4_096);
    world.limits.signature_cost_max = honest.work.signature_cost;
    assert_eq!(world.ask("www.org. TXT").status, Status::Secure);
    world.limits.signature_cost_max -= 1;
    let failure = Failure::TooMuchWork(Bound::SignatureCost);
    assert_eq!(world.ask("www.org. TXT").status, Status::Failed(failure));
}

/// What takes longer than P-256 counts for more.
#[test]
fn a_check_counts_as_its_algorithm_costs() {
    for (algorithm, cost) in [
        (GenerateParams::EcdsaP256Sha256, 1),
        (GenerateParams::Ed25519, 1),
        (GenerateParams::EcdsaP384Sha384, 4),
    ] {
        let text = "www A 192.0.2.1";
        let org =
            Zone::with_algorithms("org.", Denial::Nsec, std::slice::from_ref(&algorithm), text);
        let world = World::new(vec![root(), org]);
        // The root's keys and the DS records by Ed25519, then the zone's keys and the address.
        let work = world.ask("www.org. A").work;
        assert_eq!(work.signature_cost, 2 + 2 * cost, "{algorithm:?}");
    }
}

#[test]
fn a_key_set_over_its_bound_is_bogus() {
    let mut org = Zone::new("org.", Denial::Nsec, "www A 192.0.2.1");
    for key in colliding_keys(0, 70) {
        let apex = org.apex.clone();
        org.add(record(&apex, 3600, ZoneRecordData::Dnskey(key)));
    }
    let verdict = World::new(vec![root(), org]).ask("www.org. A");
    assert!(matches!(verdict.status, Status::Bogus(fault) if fault.rule == Rule::TooManyKeys));
}

#[test]
fn the_number_of_ds_records_compared_with_keys_is_bounded() {
    for (wrong, word) in [(2, "secure"), (3, "bogus")] {
        let mut org = Zone::new("org.", Denial::Nsec, "www A 192.0.2.1");
        let right = org.ds_records().remove(0);
        let wrong = (0..wrong).map(|number| {
            let (algorithm, digest) = (right.algorithm(), right.digest_type());
            Ds::new(number, algorithm, digest, vec![0; 32].into()).unwrap()
        });
        // One that nobody supports is neither counted nor, behind the others, told of.
        let (unknown, digest) = (SecurityAlgorithm::from_int(200), right.digest_type());
        let unknown = Ds::new(9, unknown, digest, vec![0; 32].into()).unwrap();
        org.ds = Some(wrong.chain([right.clone(), unknown]).collect());
        let mut world = World::new(vec![root(), org]);
        world.limits.ds_per_zone_max = 3;
        let verdict = world.ask("www.org. A");
        assert_eq!(verdict.status.word(), word);
        if word == "secure" {
            assert_eq!(verdict.chain[1].ds.len(), 3);
        }
    }
}

/// CVE-2023-50868: deep names cost a hash for each label and iteration.
#[test]
fn hashes_for_deep_names_are_bounded() {
    let world = World::new(vec![
        root(),
        Zone::new("org.", Denial::Nsec3(150), "www A 192.0.2.1"),
    ]);
    let deep = format!("{}org. A", "a.".repeat(120));
    let verdict = world.ask(&deep);
    let failure = Failure::TooMuchWork(Bound::Nsec3Rounds);
    assert_eq!(verdict.status, Status::Failed(failure));
    assert!(verdict.work.nsec3_rounds <= Limits::default().nsec3_rounds_max);
    // A name as deep as an address in ip6.arpa is no trouble.
    let deep = format!("{}org. A", "a.".repeat(32));
    assert_eq!(world.ask(&deep).status, Status::Secure);
}

#[test]
fn iterations_beyond_the_bound_are_not_even_begun() {
    let world = World::new(vec![root(), Zone::new("org.", Denial::Nsec3(2_500), "")]);
    let Work { nsec3_rounds, .. } = world.ask("nx.org. A").work;
    assert_eq!(nsec3_rounds, 0);
}

#[test]
fn the_number_of_denial_records_looked_at_is_bounded() {
    let world = World::new(vec![root(), Zone::new("org.", Denial::Nsec, "")]);
    let verdict = world.ask_tampered("nx.org. A", |question, reply| {
        if question.rtype == Rtype::A {
            let proof = std::mem::take(&mut reply.authority);
            for number in 0..100 {
                let record = nsec(&format!("a{number}.org."), &format!("b{number}.org."), &[]);
                reply
                    .authority
                    .extend(world.zones[1].signed_anew(&[record]));
            }
            reply.authority.extend(proof);
        }
    });
    assert_eq!(verdict.status.word(), "bogus");
    let most = u32::try_from(Limits::default().denial_sets_max).unwrap();
    // And those of the chain and the SOA.
    assert!(
        verdict.work.signature_checks <= most + 4,
        "{:?}",
        verdict.work
    );
}

#[test]
fn the_number_of_hops_is_bounded() {
    let text = |hops: usize| {
        let chain: String = (0..hops)
            .map(|hop| format!("c{hop} CNAME c{}\n", hop + 1))
            .collect();
        format!("{chain}c{hops} A 192.0.2.1")
    };
    for (hops, expected) in [
        (16, Status::Secure),
        (17, Status::Failed(Failure::TooMuchWork(Bound::Hops))),
    ] {
        let world = World::new(vec![root(), Zone::new("org.", Denial::Nsec, &text(hops))]);
        assert_eq!(world.ask("c0.org. A").status, expected, "{hops}");
    }
}

#[test]
fn the_number_of_questions_is_bounded() {
    // Each label of a name that exists could be a zone cut, while nothing in the answer is signed.
    let deep = format!("{}org.", "a.".repeat(100));
    let mut world = World::new(vec![
        root(),
        Zone::new("org.", Denial::Nsec, &format!("{deep} A 192.0.2.1")),
    ]);
    world.limits.questions_max = 40;
    let verdict = world.ask_tampered(&format!("{deep} A"), |question, reply| {
        if question.rtype == Rtype::A {
            reply.strip();
        }
    });
    let failure = Failure::TooMuchWork(Bound::Questions);
    assert_eq!(verdict.status, Status::Failed(failure));
    let asked = world.asked.borrow().len();
    assert!(asked <= 40, "{asked}");
}

#[test]
fn the_number_of_questions_ahead_of_need_is_bounded() {
    // Whoever is on the way can claim any signer, as deep as a name can be.
    let deep = format!("{}org.", "a.".repeat(100));
    let org = Zone::new("org.", Denial::Nsec, "");
    let world = World::new(vec![root(), org, Zone::new(&deep, Denial::Nsec, "")]);
    let question = parse_question(&format!("{deep} A"));
    let (mut validation, mut step) = world.validator().start(question.clone(), NOW);
    let mut most = 0;
    for question in [question, parse_question(". DNSKEY")] {
        let answer = world.reply(&question).message(&question);
        step = validation.handle_answer(&question, &answer, NOW);
        if let Step::NeedsMore(asked) = &step {
            most = most.max(asked.len());
        }
    }
    assert!(matches!(step, Step::NeedsMore(_)));
    assert_eq!(most, 1 + Limits::default().questions_ahead_max);
}

#[test]
fn what_may_not_be_kept_takes_no_place() {
    let world = World::new(vec![
        root(),
        Zone::new("org.", Denial::Nsec, "www A 192.0.2.1"),
    ]);
    let validator = world.validator();
    let verdict = world.drive(&validator, "www.org. A", |asked| {
        let mut reply = world.reply(asked);
        for record in &mut reply.answer {
            record.set_ttl(Ttl::ZERO);
        }
        Some(reply.message(asked))
    });
    assert_eq!(verdict.status, Status::Secure);
    assert_eq!(validator.cached_proofs(), 0);
}

#[test]
fn the_number_of_proofs_kept_is_bounded() {
    let leaves =
        (0..30).map(|number| Zone::new(&format!("z{number}."), Denial::Nsec, "www A 192.0.2.1"));
    let mut world = World::new([root()].into_iter().chain(leaves).collect());
    world.limits.cache_entries_max = 10;
    let validator = world.validator();
    for number in 0..30 {
        let verdict = world.drive(&validator, &format!("www.z{number}. A"), |asked| {
            Some(world.reply(asked).message(asked))
        });
        assert_eq!(verdict.status, Status::Secure);
        assert!(validator.cached_proofs() <= 10);
    }
}

/// Keys that are none, with a given tag.
fn colliding_keys(tag: u16, count: u16) -> Vec<Dnskey<bytes::Bytes>> {
    let algorithm = SecurityAlgorithm::ED25519;
    let key = |low: u16, free: u16| {
        let mut octets = [0; 32];
        octets[0..2].copy_from_slice(&free.to_be_bytes());
        octets[30..32].copy_from_slice(&low.to_be_bytes());
        Dnskey::new(257, 3, algorithm, bytes::Bytes::copy_from_slice(&octets)).unwrap()
    };
    (1..=count)
        .map(|free| {
            (0..=u16::MAX)
                .map(|low| key(low, free))
                .find(|key| key.key_tag() == tag || tag == 0)
                .unwrap()
        })
        .collect()
}

/// A signature with one octet changed.
fn corrupted(signature: &Record, change: u8) -> Record {
    let ZoneRecordData::Rrsig(old) = signature.data() else {
        panic!("not a signature");
    };
    let mut octets = old.signature().to_vec();
    octets[0] ^= change + 1;
    let new = Rrsig::new(
        old.type_covered(),
        old.algorithm(),
        old.labels(),
        old.original_ttl(),
        old.expiration(),
        old.inception(),
        old.key_tag(),
        old.signer_name().clone(),
        octets.into(),
    );
    let (owner, class, ttl) = (
        signature.owner().clone(),
        signature.class(),
        signature.ttl(),
    );
    Record::new(owner, class, ttl, ZoneRecordData::Rrsig(new.unwrap()))
}

fn root() -> Zone {
    Zone::new(".", Denial::Nsec, "")
}
