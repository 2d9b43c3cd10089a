//! Section 5.2, DANE-TA(2): the record names the authority in which the path must end (behaviour
//! rule 12).

use byrnie_dane::TlsaRecord;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::GeneralSubtree;
use rcgen::IsCa;
use rcgen::KeyUsagePurpose;
use rcgen::NameConstraints;

use crate::rfc::support::Authority;
use crate::rfc::support::HOST;
use crate::rfc::support::Host;
use crate::rfc::support::chain;
use crate::rfc::support::check;
use crate::rfc::support::expired;
use crate::rfc::support::not_yet_valid;
use crate::rfc::support::other;
use crate::rfc::support::tlsa;
use crate::rfc::support::version_1;

/// Every combination of selector and matching type.
const PARAMETERS: [&str; 6] = ["2 0 0", "2 0 1", "2 0 2", "2 1 0", "2 1 1", "2 1 2"];

const NO_PATH: &str = "no path leads to the authority it names";
const NOT_SENT: &str = "the server sends no certificate of the authority it names";

#[test]
fn any_authority_above_the_server_can_be_the_anchor() {
    let root = Authority::root();
    let middle = root.authority("Middle");
    let host = middle.host();
    let shown = chain(&[&host.certificate, &middle.certificate, &root.certificate]);
    for parameters in PARAMETERS {
        check(
            &[tlsa(parameters, &middle.certificate)],
            &shown,
            &format!("matched {parameters} at depth 1 for mx.example.org"),
        );
        check(
            &[tlsa(parameters, &root.certificate)],
            &shown,
            &format!("matched {parameters} at depth 2 for mx.example.org"),
        );
    }
}

#[test]
fn the_order_of_the_authorities_does_not_matter() {
    let root = Authority::root();
    let middle = root.authority("Middle");
    let host = middle.host();
    let stranger = Authority::root();
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &chain(&[
            &host.certificate,
            &stranger.certificate,
            &root.certificate,
            &middle.certificate,
        ]),
        "matched 2 1 1 at depth 2 for mx.example.org",
    );
}

#[test]
fn an_anchor_that_is_not_sent_must_stand_in_the_record() {
    let root = Authority::root();
    let middle = root.authority("Middle");
    let host = middle.host();
    let shown = chain(&[&host.certificate, &middle.certificate]);
    for parameters in PARAMETERS {
        let expected = match parameters {
            "2 0 0" | "2 1 0" => format!("matched {parameters} at depth 2 for mx.example.org"),
            _ => NOT_SENT.to_owned(),
        };
        check(&[tlsa(parameters, &root.certificate)], &shown, &expected);
    }
    let alone = chain(&[&host.certificate]);
    for parameters in ["2 0 0", "2 1 0"] {
        check(
            &[tlsa(parameters, &middle.certificate)],
            &alone,
            &format!("matched {parameters} at depth 1 for mx.example.org"),
        );
        check(
            &[tlsa(parameters, &root.certificate)],
            &alone,
            NO_PATH_OR_SIGNATURE[usize::from(parameters == "2 1 0")],
        );
    }
}

/// With a certificate, the names show that there is no path; with a bare key, the signature does.
const NO_PATH_OR_SIGNATURE: [&str; 2] = [
    NO_PATH,
    "a certificate on the path is not signed by its issuer",
];

#[test]
fn an_anchor_must_have_signed_what_stands_below_it() {
    let host = Authority::root().host();
    // The same name, another key.
    let impostor = Authority::root();
    let shown = chain(&[&host.certificate, &impostor.certificate]);
    for parameters in PARAMETERS {
        check(
            &[tlsa(parameters, &impostor.certificate)],
            &shown,
            "a certificate on the path is not signed by its issuer",
        );
    }
}

#[test]
fn a_matching_certificate_beside_the_path_is_no_anchor() {
    let host = Authority::root().host();
    let middle = Authority::root().authority("Stranger");
    check(
        &[tlsa("2 1 1", &middle.certificate)],
        &chain(&[&host.certificate, &middle.certificate]),
        NO_PATH,
    );
}

#[test]
fn the_servers_own_certificate_is_no_anchor() {
    let itself = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    };
    for host in [
        Host::self_signed(&[HOST], |_| ()),
        Host::self_signed(&[HOST], itself),
    ] {
        for parameters in ["2 0 1", "2 0 2", "2 1 1", "2 1 2"] {
            check(
                &[tlsa(parameters, &host.certificate)],
                &chain(&[&host.certificate]),
                "it names the server's own certificate, not an authority above it",
            );
        }
    }
}

#[test]
fn every_certificate_below_the_anchor_must_be_in_force() {
    let root = Authority::root();
    let check_dates = |odd: fn(&mut CertificateParams), expected| {
        let host = root.host_with(&[HOST], odd);
        let shown = chain(&[&host.certificate, &root.certificate]);
        check(&[tlsa("2 1 1", &root.certificate)], &shown, expected);

        let middle = root.authority_with("Middle", odd);
        let host = middle.host();
        let shown = chain(&[&host.certificate, &middle.certificate, &root.certificate]);
        check(&[tlsa("2 1 1", &root.certificate)], &shown, expected);
    };
    check_dates(expired, "a certificate on the path has expired");
    check_dates(not_yet_valid, "a certificate on the path is not yet valid");
}

#[test]
fn the_anchors_certificate_must_be_in_force() {
    for (odd, expected) in [
        (
            expired as fn(&mut CertificateParams),
            "the authority's certificate has expired",
        ),
        (
            not_yet_valid,
            "the authority's certificate is not yet valid",
        ),
    ] {
        let root = Authority::root_with(odd);
        let host = root.host();
        for parameters in PARAMETERS {
            check(
                &[tlsa(parameters, &root.certificate)],
                &chain(&[&host.certificate, &root.certificate]),
                expected,
            );
        }
        // Not sent: the certificate in the record has dates, the key in the record has none.
        let alone = chain(&[&host.certificate]);
        check(&[tlsa("2 0 0", &root.certificate)], &alone, expected);
        check(
            &[tlsa("2 1 0", &root.certificate)],
            &alone,
            "matched 2 1 0 at depth 1 for mx.example.org",
        );
    }
}

#[test]
fn the_anchor_must_be_an_authority() {
    let no_authority = "the certificate it names says that it is no authority";
    check_root(|params| params.is_ca = IsCa::ExplicitNoCa, no_authority);
    check_root(
        |params| {
            params.is_ca = IsCa::NoCa;
            params.key_usages.clear();
        },
        no_authority,
    );
    check_root(
        |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
        no_authority,
    );
    check_root(
        |params| params.key_usages.clear(),
        "matched 2 1 1 at depth 1 for mx.example.org",
    );
    check_root(
        |params| params.is_ca = IsCa::NoCa,
        "matched 2 1 1 at depth 1 for mx.example.org",
    );
}

#[test]
fn an_anchor_of_version_1_is_taken_at_the_records_word() {
    let root = Authority::root().operated(version_1);
    let host = root.host();
    check(
        &[tlsa("2 0 1", &root.certificate)],
        &chain(&[&host.certificate, &root.certificate]),
        "matched 2 0 1 at depth 1 for mx.example.org",
    );
}

#[test]
fn the_path_may_be_no_longer_than_an_authority_allows() {
    let too_long = "the path is longer than an authority allows";
    for (allowed, expected) in [
        (0, too_long),
        (1, "matched 2 1 1 at depth 2 for mx.example.org"),
    ] {
        let root = Authority::root_with(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(allowed));
        });
        let middle = root.authority("Middle");
        let host = middle.host();
        check(
            &[tlsa("2 1 1", &root.certificate)],
            &chain(&[&host.certificate, &middle.certificate, &root.certificate]),
            expected,
        );
    }
    let root = Authority::root();
    let middle = root.authority_with("Middle", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let lowest = middle.authority("Lowest");
    let host = lowest.host();
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &chain(&[
            &host.certificate,
            &lowest.certificate,
            &middle.certificate,
            &root.certificate,
        ]),
        too_long,
    );
}

#[test]
fn an_authority_may_limit_the_names_below_it() {
    for (permitted, expected) in [
        ("example.org", "matched 2 1 1 at depth 1 for mx.example.org"),
        ("example.com", "an authority may not vouch for this name"),
    ] {
        check_root(
            |params| {
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName(permitted.to_owned())],
                    excluded_subtrees: Vec::new(),
                });
            },
            expected,
        );
    }
}

#[test]
fn what_signs_must_be_an_authority() {
    let root = Authority::root();
    let middle = root.authority_with("Middle", |params| params.is_ca = IsCa::ExplicitNoCa);
    let host = middle.host();
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &chain(&[&host.certificate, &middle.certificate, &root.certificate]),
        "a certificate on the path is no authority",
    );
}

#[test]
fn the_servers_certificate_must_be_meant_for_servers() {
    check_leaf(
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        "matched 2 1 1 at depth 1 for mx.example.org",
    );
    check_leaf(
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        "a certificate on the path is not meant for servers",
    );
    check_leaf(
        |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        "the server shows the certificate of an authority",
    );
}

#[test]
fn the_servers_certificate_must_be_of_version_3() {
    let root = Authority::root();
    let host = root.operate(root.host(), version_1);
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &chain(&[&host.certificate, &root.certificate]),
        "a certificate on the path is not of version 3",
    );
}

#[test]
fn more_records_of_authorities_than_anyone_has_are_not_all_tried() {
    let root = Authority::root();
    let host = root.host();
    let impostor = Authority::root();
    let records: Vec<TlsaRecord> = std::iter::repeat_n(tlsa("2 0 0", &impostor.certificate), 40)
        .chain([tlsa("2 0 0", &root.certificate)])
        .collect();
    let shown = chain(&[&host.certificate]);
    let outcome = byrnie_dane::verify(
        &records,
        &crate::rfc::support::base(HOST),
        &shown,
        crate::rfc::support::NOW,
    );
    let mismatch = outcome.unwrap_err();
    assert_eq!(
        mismatch.faults[40].1,
        byrnie_dane::RecordFault::TooManyPaths
    );
}

#[test]
fn records_without_a_counterpart_say_so() {
    let root = Authority::root();
    let host = root.host();
    let shown = chain(&[&host.certificate, &root.certificate]);
    check(&[other("2 1 1")], &shown, NOT_SENT);
    check(
        &[other("2 0 0")],
        &shown,
        "a certificate on the path is not signed by its issuer",
    );
}

/// Checks `2 1 1` of an odd root that has signed an ordinary host.
#[track_caller]
fn check_root(odd: impl FnOnce(&mut CertificateParams), expected: &str) {
    let root = Authority::root_with(odd);
    let host = root.host();
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &chain(&[&host.certificate, &root.certificate]),
        expected,
    );
}

/// Checks `2 1 1` of an ordinary root that has signed an odd host.
#[track_caller]
fn check_leaf(odd: impl FnOnce(&mut CertificateParams), expected: &str) {
    let root = Authority::root();
    let host = root.host_with(&[HOST], odd);
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &chain(&[&host.certificate, &root.certificate]),
        expected,
    );
}
