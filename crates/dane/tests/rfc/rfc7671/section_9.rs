//! Section 9, digest algorithm agility: of two digests of the same thing the stronger counts.

use crate::rfc::support::Authority;
use crate::rfc::support::chain;
use crate::rfc::support::check;
use crate::rfc::support::other;
use crate::rfc::support::tlsa;

const SUPERSEDED: &str = "a record with a stronger digest stands beside it";

#[test]
fn a_weaker_digest_does_not_count_beside_a_stronger_one() {
    let root = Authority::root();
    let host = root.host();
    let shown = chain(&[&host.certificate, &root.certificate]);
    check(
        &[tlsa("3 1 1", &host.certificate), other("3 1 2")],
        &shown,
        &format!("{SUPERSEDED}; differs"),
    );
    check(
        &[tlsa("2 1 1", &root.certificate), other("2 1 2")],
        &shown,
        &format!("{SUPERSEDED}; the server sends no certificate of the authority it names"),
    );
    check(
        &[other("3 1 1"), tlsa("3 1 2", &host.certificate)],
        &shown,
        "matched 3 1 2 at depth 0 for any name",
    );
}

#[test]
fn digests_of_another_usage_or_selector_supersede_nothing() {
    let root = Authority::root();
    let host = root.host();
    let shown = chain(&[&host.certificate, &root.certificate]);
    for beside in ["2 1 2", "3 0 2"] {
        check(
            &[other(beside), tlsa("3 1 1", &host.certificate)],
            &shown,
            "matched 3 1 1 at depth 0 for any name",
        );
    }
}

#[test]
fn full_data_always_counts() {
    let host = Authority::root().host();
    check(
        &[other("3 1 2"), tlsa("3 1 0", &host.certificate)],
        &chain(&[&host.certificate]),
        "matched 3 1 0 at depth 0 for any name",
    );
}

#[test]
fn an_unusable_record_supersedes_nothing() {
    let host = Authority::root().host();
    check(
        &[
            "3 1 2 00".parse().unwrap(),
            tlsa("3 1 1", &host.certificate),
        ],
        &chain(&[&host.certificate]),
        "matched 3 1 1 at depth 0 for any name",
    );
}
