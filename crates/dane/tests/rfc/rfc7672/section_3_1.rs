//! Section 3.1: usages 0 and 1 are not for mail (behaviour rule 14).

use byrnie_dane::UsableRecords;

use crate::rfc::support::Authority;
use crate::rfc::support::chain;
use crate::rfc::support::check;
use crate::rfc::support::tlsa;

#[test]
fn usages_0_and_1_match_nothing_even_if_they_would() {
    let root = Authority::root();
    let host = root.host();
    let shown = chain(&[&host.certificate, &root.certificate]);
    let records = [
        tlsa("0 1 1", &root.certificate),
        tlsa("1 1 1", &host.certificate),
    ];
    let reason = "usages 0 and 1 ask for a public authority, which mail does not have";
    check(&records, &shown, &format!("{reason}; {reason}"));
    let sorted = UsableRecords::partition(&records);
    assert!(sorted.usable.is_empty());
    assert_eq!(sorted.unusable.len(), 2);
}

#[test]
fn unknown_parameters_match_nothing() {
    let shown = chain(&[&Authority::root().host().certificate]);
    for (record, reason) in [
        ("4 1 1 ab", "the certificate usage is unknown"),
        ("3 2 1 ab", "the selector is unknown"),
        ("3 1 3 ab", "the matching type is unknown"),
        ("3 1 1", "the record has no data"),
    ] {
        check(&[record.parse().unwrap()], &shown, reason);
    }
}
