//! What the validator costs without a network: signatures of each algorithm, hashes, whole answers.
//!
//!     cargo bench -p byrnie-dnssec
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench that cannot go on stops"
)]

mod signer;

use std::collections::HashMap;
use std::hint::black_box;

use aws_lc_rs::digest;
use byrnie_base::UnixTime;
use byrnie_dnssec::Limits;
use byrnie_dnssec::Question;
use byrnie_dnssec::Sha1Policy;
use byrnie_dnssec::Status;
use byrnie_dnssec::Step;
use byrnie_dnssec::TrustAnchors;
use byrnie_dnssec::Validator;
use byrnie_dnssec::Verdict;
use bytes::Bytes;
use criterion::BatchSize;
use criterion::Criterion;
use criterion::Throughput;
use domain::base::Name;
use domain::base::Rtype;

use crate::signer::KEY_SIGNING;
use crate::signer::Key;
use crate::signer::RecordSet;
use crate::signer::Signer;
use crate::signer::message;
use crate::signer::question;
use crate::signer::wire;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    signatures(&mut criterion);
    denials(&mut criterion);
    chains(&mut criterion);
    criterion.final_summary();
}

/// An answer with one signature by a key that is proven already, for each algorithm.
fn signatures(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answers by one signature");
    group.throughput(Throughput::Elements(1));
    for (title, algorithm, bits) in [
        ("8 RSA-2048 SHA-256", 8, 2048),
        ("8 RSA-4096 SHA-256", 8, 4096),
        ("10 RSA-2048 SHA-512", 10, 2048),
        ("13 ECDSA P-256", 13, 0),
        ("14 ECDSA P-384", 14, 0),
        ("15 Ed25519", 15, 0),
        ("16 Ed448", 16, 0),
    ] {
        let key = Key::generate(algorithm, bits);
        let (zone, validator) = single_zone(&key, |zone, signer| {
            zone.add("mx.zone.test.", Rtype::A, 0, &signed_address(signer), None);
        });
        let asked = ask("mx.zone.test.", Rtype::A);
        group.bench_function(title, |bencher| {
            bencher.iter(|| {
                let verdict = zone.drive(&validator, black_box(&asked));
                assert_eq!(verdict.work.signature_checks, 1);
            });
        });
    }
    group.finish();
}

/// A name that does not exist, by the hashes of NSEC3 with more or fewer iterations.
fn denials(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("NSEC3 denials, three hashes and one signature");
    group.throughput(Throughput::Elements(1));
    let key = Key::generate(13, 0);
    for iterations in [0, 10, 150] {
        let (zone, validator) = single_zone(&key, |zone, signer| {
            let denial = nsec3_of_apex(signer, iterations);
            let nothing = RecordSet::default();
            zone.add("gone.zone.test.", Rtype::A, 3, &nothing, Some(&denial));
        });
        let asked = ask("gone.zone.test.", Rtype::A);
        group.bench_function(format!("{iterations} iterations"), |bencher| {
            bencher.iter(|| {
                let verdict = zone.drive(&validator, black_box(&asked));
                assert_eq!(verdict.work.nsec3_rounds, 3 * (u32::from(iterations) + 1));
            });
        });
    }
    group.finish();
}

/// A mail exchange in a signed zone of a signed top-level domain, with nothing known and with all of
/// it known; root and top-level domain sign with RSA-2048, the zone with P-256.
fn chains(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("whole chains");
    group.throughput(Throughput::Elements(1));
    let (rsa, ecdsa) = (Key::generate(8, 2048), Key::generate(13, 0));
    let root = Signer::new(".", &rsa, KEY_SIGNING);
    let test = Signer::new("test.", &rsa, KEY_SIGNING);
    let zone = Signer::new("zone.test.", &ecdsa, KEY_SIGNING);
    let mut world = World::default();
    world.add_keys(".", &root);
    world.add_ds("test.", &test, &root);
    world.add_keys("test.", &test);
    world.add_ds("zone.test.", &zone, &test);
    world.add_keys("zone.test.", &zone);
    let exchange = [&[0, 10][..], &wire("mx.zone.test.")].concat();
    let set = zone.sign("zone.test.", Rtype::MX.to_int(), vec![exchange]);
    world.add("zone.test.", Rtype::MX, 0, &set, None);
    let asked = ask("zone.test.", Rtype::MX);
    let new = || validator_of(&root, ".");

    group.bench_function("cold", |bencher| {
        bencher.iter_batched(
            new,
            |validator| {
                let verdict = world.drive(&validator, &asked);
                assert_eq!(verdict.work.signature_checks, 6);
                validator
            },
            BatchSize::SmallInput,
        );
    });
    let validator = new();
    world.drive(&validator, &asked);
    group.bench_function("warm", |bencher| {
        bencher.iter(|| world.drive(&validator, black_box(&asked)));
    });
    group.finish();
}

/// Recorded answers.
#[derive(Default)]
struct World {
    answers: HashMap<Question, Vec<u8>>,
}

impl World {
    /// Records an answer.
    fn add(
        &mut self,
        name: &str,
        rtype: Rtype,
        rcode: u8,
        answer: &RecordSet,
        authority: Option<&RecordSet>,
    ) {
        let nothing = RecordSet::default();
        let asked = question(name, rtype.to_int());
        let octets = message(&asked, rcode, answer, authority.unwrap_or(&nothing));
        self.answers.insert(ask(name, rtype), octets);
    }

    /// Records the key of a zone.
    fn add_keys(&mut self, apex: &str, signer: &Signer<'_>) {
        let keys = signer.sign(apex, Rtype::DNSKEY.to_int(), vec![signer.dnskey()]);
        self.add(apex, Rtype::DNSKEY, 0, &keys, None);
    }

    /// Records what a zone says about the key of another.
    fn add_ds(&mut self, apex: &str, child: &Signer<'_>, parent: &Signer<'_>) {
        let ds = parent.sign(apex, Rtype::DS.to_int(), vec![child.ds()]);
        self.add(apex, Rtype::DS, 0, &ds, None);
    }

    /// Validates; it must be secure.
    fn drive(&self, validator: &Validator, asked: &Question) -> Box<Verdict> {
        let (mut validation, mut step) = validator.start(asked.clone(), NOW);
        let mut open = Vec::new();
        loop {
            match step {
                Step::Done(verdict) => {
                    assert_eq!(verdict.status, Status::Secure);
                    return verdict;
                }
                Step::NeedsMore(questions) => open.extend(questions),
            }
            let next = open.pop().unwrap();
            step = validation.handle_answer(&next, &self.answers[&next], NOW);
        }
    }
}

/// A zone that is a trust anchor, and a validator that has proven its keys and keeps no denials.
fn single_zone(key: &Key, fill: impl Fn(&mut World, &Signer<'_>)) -> (World, Validator) {
    let signer = Signer::new("zone.test.", key, KEY_SIGNING);
    let mut zone = World::default();
    zone.add_keys("zone.test.", &signer);
    zone.add("warm.zone.test.", Rtype::A, 0, &warm_address(&signer), None);
    fill(&mut zone, &signer);
    let validator = validator_of(&signer, "zone.test.");
    zone.drive(&validator, &ask("warm.zone.test.", Rtype::A));
    (zone, validator)
}

/// A validator that trusts one zone's key.
fn validator_of(signer: &Signer<'_>, apex: &str) -> Validator {
    let ds = signer.ds();
    let digest: String = ds[4..].iter().map(|octet| format!("{octet:02x}")).collect();
    let tag = u16::from_be_bytes([ds[0], ds[1]]);
    let anchor = format!("{apex} IN DS {tag} {} {} {digest}\n", ds[2], ds[3]);
    let limits = Limits {
        denial_zones_max: 0,
        ..Limits::default()
    };
    let anchors = TrustAnchors::parse(&anchor).unwrap();
    Validator::new(anchors, limits, Sha1Policy::default())
}

/// The address that is asked for again and again.
fn signed_address(signer: &Signer<'_>) -> RecordSet {
    signer.sign("mx.zone.test.", Rtype::A.to_int(), vec![vec![192, 0, 2, 1]])
}

/// The address that makes the zone's keys known.
fn warm_address(signer: &Signer<'_>) -> RecordSet {
    let address = vec![vec![192, 0, 2, 2]];
    signer.sign("warm.zone.test.", Rtype::A.to_int(), address)
}

/// The only NSEC3 record of a zone that has nothing but its apex: it covers all other names.
fn nsec3_of_apex(signer: &Signer<'_>, iterations: u16) -> RecordSet {
    let mut hash = wire("zone.test.");
    for _ in 0..=iterations {
        hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &hash)
            .as_ref()
            .to_vec();
    }
    let label = domain::utils::base32::encode_string_hex(&hash).to_ascii_lowercase();
    let mut data = vec![1, 0];
    data.extend(iterations.to_be_bytes());
    data.extend([0, 20]);
    data.extend(&hash);
    // SOA and DNSKEY.
    data.extend([0, 7, 2, 0, 0, 0, 0, 0, 0x80]);
    let owner = format!("{label}.zone.test.");
    signer.sign(&owner, Rtype::NSEC3.to_int(), vec![data])
}

/// A question.
fn ask(name: &str, rtype: Rtype) -> Question {
    Question::new(Name::<Bytes>::bytes_from_str(name).unwrap(), rtype)
}

/// A time at which the signatures are valid.
const NOW: UnixTime = UnixTime(1_800_000_000);
