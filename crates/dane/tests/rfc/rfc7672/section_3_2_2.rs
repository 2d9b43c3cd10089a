//! Section 3.2.2: the names that count under usage 2.

use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_dane::ReferenceIdentifiers;

use crate::rfc::support::Authority;
use crate::rfc::support::chain;
use crate::rfc::support::check_names;
use crate::rfc::support::tlsa;

#[test]
fn behind_a_secure_mx_answer_the_base_and_both_next_hops_count() {
    check("mx.example.com", Security::Secure, Ok("mx.example.com"));
    check("example.org", Security::Secure, Ok("example.org"));
    check("example.net", Security::Secure, Ok("example.net"));
    check("mx2.example.com", Security::Secure, Err("mx2.example.com"));
    check("example.com", Security::Secure, Err("example.com"));
}

#[test]
fn behind_an_insecure_mx_answer_the_base_alone_counts() {
    check("mx.example.com", Security::Insecure, Ok("mx.example.com"));
    check("example.org", Security::Insecure, Err("example.org"));
    check("example.net", Security::Insecure, Err("example.net"));
}

/// Checks a certificate for `presented` at `mx.example.com`, a host of `example.org`, which is an
/// alias of `example.net`.
#[track_caller]
fn check(presented: &str, mx: Security, expected: Result<&str, &str>) {
    let root = Authority::root();
    let host = root.host_with(&[presented], |_| ());
    let reference = ReferenceIdentifiers::new(
        "mx.example.com".parse().unwrap(),
        &"example.org".parse().unwrap(),
        Some(&Secured::secure("example.net".parse().unwrap())),
        mx,
    );
    let expected = match expected {
        Ok(name) => format!("matched 2 1 1 at depth 1 for {name}"),
        Err(name) => format!("the server's certificate is for {name}"),
    };
    check_names(
        &[tlsa("2 1 1", &root.certificate)],
        &reference,
        &chain(&[&host.certificate, &root.certificate]),
        &expected,
    );
}
