//! What holds for every chain and every set of records.

use std::sync::LazyLock;

use byrnie_dane::CertUsage;
use byrnie_dane::MatchingType;
use byrnie_dane::Presented;
use byrnie_dane::TlsaRecord;
use byrnie_dane::public_key;
use byrnie_dane::verify;
use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::prop_assert_eq;
use proptest::prop_oneof;
use proptest::proptest;
use rustls_pki_types::CertificateDer;

use crate::rfc::support::Authority;
use crate::rfc::support::HOST;
use crate::rfc::support::Host;
use crate::rfc::support::NOW;
use crate::rfc::support::base;
use crate::rfc::support::tlsa;

/// A host and its two authorities, made once.
static WORLD: LazyLock<(Authority, Authority, Host)> = LazyLock::new(|| {
    let root = Authority::root();
    let middle = root.authority("Middle");
    let host = middle.host();
    (root, middle, host)
});

proptest! {
    #[test]
    fn no_octets_panic(
        chain in vec(vec(any::<u8>(), 0..300), 0..4),
        rdata in vec(vec(any::<u8>(), 3..80), 0..6),
        raw in any::<bool>(),
    ) {
        let records: Vec<TlsaRecord> =
            rdata.iter().map(|rdata| TlsaRecord::from_wire(rdata).unwrap()).collect();
        let presented = match chain.first() {
            Some(first) if raw => Presented::RawKey(first.clone().into()),
            _ => Presented::Chain(chain.into_iter().map(CertificateDer::from).collect()),
        };
        prop_assert!(verify(&records, &base(HOST), &presented, NOW).is_err());
    }

    #[test]
    fn no_damage_to_a_chain_panics(
        which in 0..3_usize,
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut chain = certificates();
        let mut octets = chain[which].to_vec();
        for (place, octet) in damage {
            let place = place.index(octets.len());
            octets[place] = octet;
        }
        chain[which] = octets.into();
        let _ = public_key(&chain[which]);
        let presented = Presented::Chain(chain);
        for record in good_records() {
            let _ = verify(&[record], &base(HOST), &presented, NOW);
        }
    }

    #[test]
    fn a_chain_cut_short_does_not_panic(which in 0..3_usize, length in 0..400_usize) {
        let mut chain = certificates();
        let mut octets = chain[which].to_vec();
        octets.truncate(length);
        chain[which] = octets.into();
        let presented = Presented::Chain(chain);
        let _ = verify(&good_records(), &base(HOST), &presented, NOW);
    }

    #[test]
    fn a_good_record_among_bad_ones_matches_wherever_it_stands(
        good in 0..12_usize,
        bad in vec(bad_record(), 0..12),
        place in any::<proptest::sample::Index>(),
    ) {
        let good = good_records().swap_remove(good);
        // A stronger digest of the same part supersedes a weaker one, by design.
        let mut records: Vec<TlsaRecord> = bad
            .into_iter()
            .filter(|bad| {
                (bad.usage, bad.selector) != (good.usage, good.selector)
                    || bad.matching_type != MatchingType::Sha512
                    || good.matching_type != MatchingType::Sha256
            })
            .collect();
        let presented = Presented::Chain(certificates());
        prop_assert!(verify(&records, &base(HOST), &presented, NOW).is_err());
        records.insert(place.index(records.len() + 1), good.clone());
        let matched = verify(&records, &base(HOST), &presented, NOW);
        prop_assert_eq!(matched.map(|matched| matched.record), Ok(good));
    }

    #[test]
    fn every_record_has_exactly_one_reason(bad in vec(bad_record(), 0..12)) {
        let presented = Presented::Chain(certificates());
        let mismatch = verify(&bad, &base(HOST), &presented, NOW).unwrap_err();
        let explained: Vec<TlsaRecord> =
            mismatch.faults.iter().map(|(record, _)| record.clone()).collect();
        prop_assert_eq!(explained, bad);
    }
}

/// The chain of the host.
fn certificates() -> Vec<CertificateDer<'static>> {
    let (root, middle, host) = &*WORLD;
    vec![
        host.certificate.clone(),
        middle.certificate.clone(),
        root.certificate.clone(),
    ]
}

/// Every kind of record that the chain matches.
fn good_records() -> Vec<TlsaRecord> {
    let (root, _, host) = &*WORLD;
    let mut records = Vec::new();
    for selector in [0, 1] {
        for matching_type in [0, 1, 2] {
            let parameters = format!("{selector} {matching_type}");
            records.push(tlsa(&format!("3 {parameters}"), &host.certificate));
            records.push(tlsa(&format!("2 {parameters}"), &root.certificate));
        }
    }
    records
}

/// Records that the chain does not match.
fn bad_record() -> impl Strategy<Value = TlsaRecord> {
    let any_record = vec(any::<u8>(), 3..80);
    let digest = (2..4_u8, 0..2_u8, vec(any::<u8>(), 32), any::<bool>());
    prop_oneof![
        any_record.prop_map(|rdata| TlsaRecord::from_wire(&rdata).unwrap()),
        digest.prop_map(|(usage, selector, data, long)| TlsaRecord {
            usage: CertUsage::from(usage),
            selector: selector.into(),
            matching_type: if long {
                MatchingType::Sha512
            } else {
                MatchingType::Sha256
            },
            data: data.repeat(1 + usize::from(long)),
        }),
        Just("3 1 1".parse().unwrap()),
    ]
}
