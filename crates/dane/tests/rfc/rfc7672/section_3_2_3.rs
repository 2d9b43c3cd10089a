//! Section 3.2.3: how the names of a certificate are compared under usage 2.

use rcgen::CertificateParams;
use rcgen::CustomExtension;
use rcgen::GeneralSubtree;
use rcgen::NameConstraints;
use rcgen::SanType;

use crate::rfc::support::Authority;
use crate::rfc::support::HOST;
use crate::rfc::support::chain;
use crate::rfc::support::check;
use crate::rfc::support::common_name;
use crate::rfc::support::tlsa;

const MATCHED: &str = "matched 2 1 1 at depth 1 for mx.example.org";

#[test]
fn any_dns_name_of_the_certificate_may_match() {
    check_host(&["a.example", HOST], |_| (), MATCHED);
    check_host(&["MX.EXAMPLE.ORG"], |_| (), MATCHED);
    check_host(
        &["a.example", "b.example"],
        |_| (),
        "the server's certificate is for a.example, b.example",
    );
    check_host(&[], |_| (), "the server's certificate carries no name");
}

#[test]
fn a_wildcard_covers_exactly_one_label() {
    check_host(&["*.example.org"], |_| (), MATCHED);
    check_host(
        &["*.mx.example.org"],
        |_| (),
        "the server's certificate is for *.mx.example.org",
    );
    check_host(&["*.org"], |_| (), "the server's certificate is for *.org");
}

#[test]
fn the_common_name_counts_only_without_dns_names() {
    check_host(&[], common_name(HOST), MATCHED);
    check_host(&[], common_name("*.example.org"), MATCHED);
    check_host(
        &["a.example"],
        common_name(HOST),
        "the server's certificate is for a.example",
    );
    check_host(
        &[],
        |params| {
            params
                .subject_alt_names
                .push(SanType::IpAddress([192, 0, 2, 1].into()));
            common_name(HOST)(params);
        },
        MATCHED,
    );
}

#[test]
fn an_unreadable_subject_alt_name_does_not_bring_the_common_name_back() {
    for (content, expected) in [
        (vec![0x30, 0x01], "the path does not hold (BadDer)"),
        // A list whose only name claims to be longer than the list.
        (
            vec![0x30, 0x02, 0x82, 0x05],
            "the server's certificate is malformed",
        ),
    ] {
        check_host(
            &[],
            |params| {
                let unreadable = CustomExtension::from_oid_content(&[2, 5, 29, 17], content);
                params.custom_extensions.push(unreadable);
                common_name(HOST)(params);
            },
            expected,
        );
    }
}

#[test]
fn a_common_name_does_not_escape_name_constraints() {
    let limit = |params: &mut CertificateParams| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    };
    let refused = "the server's certificate is for mx.example.org";

    let root = Authority::root();
    let middle = root.authority_with("Middle", limit);
    let host = middle.host_with(&[], common_name(HOST));
    let shown = chain(&[&host.certificate, &middle.certificate, &root.certificate]);
    check(&[tlsa("2 1 1", &middle.certificate)], &shown, refused);
    check(&[tlsa("2 1 1", &root.certificate)], &shown, refused);

    let root = Authority::root_with(limit);
    let middle = root.authority("Middle");
    let host = middle.host_with(&[], common_name(HOST));
    let shown = chain(&[&host.certificate, &middle.certificate, &root.certificate]);
    check(&[tlsa("2 1 1", &root.certificate)], &shown, refused);
    // Below an anchor that limits nothing, what stands above the anchor does not matter.
    check(&[tlsa("2 1 1", &middle.certificate)], &shown, MATCHED);
}

/// Checks a certificate for these names.
#[track_caller]
fn check_host(names: &[&str], odd: impl FnOnce(&mut CertificateParams), expected: &str) {
    let root = Authority::root();
    let host = root.host_with(names, odd);
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &chain(&[&host.certificate, &root.certificate]),
        expected,
    );
}
