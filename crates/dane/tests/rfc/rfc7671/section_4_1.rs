//! Section 4: TLSA records are alternatives (behaviour rule 13).

use crate::rfc::support::Authority;
use crate::rfc::support::chain;
use crate::rfc::support::check;
use crate::rfc::support::other;
use crate::rfc::support::tlsa;

#[test]
fn one_good_record_among_bad_ones_is_enough() {
    let root = Authority::root();
    let host = root.host();
    let shown = chain(&[&host.certificate, &root.certificate]);
    let unusable = "3 1 1 00".parse().unwrap();
    let bad = [other("3 1 1"), other("2 1 1"), other("1 1 1"), unusable];
    for (good, outcome) in [
        ("3 1 1", "matched 3 1 1 at depth 0 for any name"),
        ("3 0 0", "matched 3 0 0 at depth 0 for any name"),
    ] {
        for position in 0..=bad.len() {
            let mut records = bad.to_vec();
            records.insert(position, tlsa(good, &host.certificate));
            check(&records, &shown, outcome);
        }
    }
    for position in 0..=bad.len() {
        let mut records = bad.to_vec();
        records.insert(position, tlsa("2 0 1", &root.certificate));
        check(
            &records,
            &shown,
            "matched 2 0 1 at depth 1 for mx.example.org",
        );
    }
}

#[test]
fn each_record_that_fails_has_its_own_reason_in_its_own_place() {
    let root = Authority::root();
    let host = root.host();
    check(
        &[
            other("2 1 1"),
            other("0 1 1"),
            other("3 1 1"),
            "3 1 1 00".parse().unwrap(),
        ],
        &chain(&[&host.certificate, &root.certificate]),
        "the server sends no certificate of the authority it names; \
         usages 0 and 1 ask for a public authority, which mail does not have; \
         differs; \
         the digest has the wrong length",
    );
}

#[test]
fn without_records_nothing_matches() {
    check(&[], &chain(&[&Authority::root().host().certificate]), "");
}
