//! Section 5.1, DANE-EE(3): the record vouches for the server's certificate or key, and nothing
//! else about it is looked at (behaviour rule 10).

use rcgen::BasicConstraints;
use rcgen::CustomExtension;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;

use crate::rfc::support::Authority;
use crate::rfc::support::HOST;
use crate::rfc::support::Host;
use crate::rfc::support::broken_extensions;
use crate::rfc::support::broken_key;
use crate::rfc::support::chain;
use crate::rfc::support::check;
use crate::rfc::support::expired;
use crate::rfc::support::impossible_dates;
use crate::rfc::support::not_yet_valid;
use crate::rfc::support::other;
use crate::rfc::support::tlsa;
use crate::rfc::support::version_1;

/// Every combination of selector and matching type.
const PARAMETERS: [&str; 6] = ["3 0 0", "3 0 1", "3 0 2", "3 1 0", "3 1 1", "3 1 2"];

#[test]
fn a_matching_certificate_needs_nothing_else() {
    let root = Authority::root();
    check_host(&root.host());
    check_host(&root.host_with(&[HOST], expired));
    check_host(&root.host_with(&[HOST], not_yet_valid));
    check_host(&root.host_with(&["somebody.else.example"], |_| ()));
    check_host(&root.host_with(&[], |_| ()));
    check_host(&root.host_with(&[HOST], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    }));
    check_host(&root.host_with(&[HOST], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    }));
    check_host(&root.host_with(&[HOST], |params| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions.push(unknown);
    }));
    check_host(&Host::self_signed(&[HOST], |_| ()));
}

#[test]
fn a_matching_certificate_may_be_malformed_around_its_key() {
    let host = || Host::self_signed(&[HOST], |_| ());
    check_host(&host().operated(version_1));
    check_host(&host().operated(|fields| impossible_dates(fields)));
    check_host(&host().operated(broken_extensions));
}

#[test]
fn a_certificate_without_a_readable_key_can_be_matched_as_a_whole_only() {
    let host = Host::self_signed(&[HOST], |_| ()).operated(|fields| broken_key(fields));
    let shown = chain(&[&host.certificate]);
    check(
        &[tlsa("3 0 1", &host.certificate)],
        &shown,
        "matched 3 0 1 at depth 0 for any name",
    );
    check(
        &[other("3 1 1")],
        &shown,
        "the server's certificate is malformed",
    );
}

#[test]
fn only_the_servers_own_certificate_counts() {
    let root = Authority::root();
    let host = root.host();
    let shown = chain(&[&host.certificate, &root.certificate]);
    for parameters in PARAMETERS {
        check(&[tlsa(parameters, &root.certificate)], &shown, "differs");
    }
}

#[test]
fn what_follows_the_servers_own_certificate_does_not_matter() {
    let host = Authority::root().host();
    let record = tlsa("3 1 1", &host.certificate);
    let garbage = vec![0xff; 100].into();
    let stranger = Authority::root().certificate;
    check(
        &[record],
        &chain(&[&host.certificate, &garbage, &stranger]),
        "matched 3 1 1 at depth 0 for any name",
    );
}

#[test]
fn a_server_that_shows_nothing_matches_nothing() {
    check(
        &[other("3 1 1"), other("2 1 1")],
        &chain(&[]),
        "the server shows no certificate; the server shows no certificate",
    );
}

/// Checks that every form of record matches this certificate, and no other record does.
#[track_caller]
fn check_host(host: &Host) {
    let shown = chain(&[&host.certificate]);
    for parameters in PARAMETERS {
        check(
            &[tlsa(parameters, &host.certificate)],
            &shown,
            &format!("matched {parameters} at depth 0 for any name"),
        );
        check(&[other(parameters)], &shown, "differs");
    }
}
