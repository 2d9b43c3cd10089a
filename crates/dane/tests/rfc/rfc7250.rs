//! Raw public keys in TLS: a server may show a bare key, which records `3 1 x` can name (behaviour
//! rule 20).

use byrnie_dane::Presented;

use crate::rfc::support::Authority;
use crate::rfc::support::check;
use crate::rfc::support::other;
use crate::rfc::support::tlsa;

#[test]
fn a_bare_key_is_matched_by_records_about_the_key() {
    let server = Authority::root();
    let shown = Presented::RawKey(server.key().into());
    for parameters in ["3 1 0", "3 1 1", "3 1 2"] {
        check(
            &[tlsa(parameters, &server.certificate)],
            &shown,
            &format!("matched {parameters} at depth 0 for any name"),
        );
        check(&[other(parameters)], &shown, "differs");
    }
}

#[test]
fn a_bare_key_is_not_matched_by_records_about_certificates() {
    let server = Authority::root();
    let shown = Presented::RawKey(server.key().into());
    for parameters in ["3 0 0", "3 0 1", "3 0 2", "2 0 0", "2 1 0", "2 1 1"] {
        check(
            &[tlsa(parameters, &server.certificate)],
            &shown,
            "the server shows a bare key and no certificate",
        );
    }
}
