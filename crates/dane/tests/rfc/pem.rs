//! The check for files, which stands behind the command line.

use byrnie_base::DomainName;
use byrnie_dane::PemFault;
use byrnie_dane::TlsaRecord;
use byrnie_dane::UnreadablePem;
use byrnie_dane::verify_pem;
use rustls_pki_types::CertificateDer;

use crate::rfc::support::Authority;
use crate::rfc::support::HOST;
use crate::rfc::support::NOW;
use crate::rfc::support::explain;
use crate::rfc::support::tlsa;

#[test]
fn a_file_is_a_chain_with_the_servers_own_certificate_first() {
    let root = Authority::root();
    let host = root.host();
    let file = pem(&[&host.certificate, &root.certificate]);
    check(
        &[tlsa("3 1 1", &host.certificate)],
        &file,
        &[],
        Ok("matched 3 1 1 at depth 0 for any name"),
    );
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &file,
        &["a.example", HOST],
        Ok("matched 2 1 1 at depth 1 for mx.example.org"),
    );
    check(
        &[tlsa("3 1 1", &root.certificate)],
        &file,
        &[],
        Ok("differs"),
    );
}

#[test]
fn usage_2_needs_a_name() {
    let root = Authority::root();
    let host = root.host();
    check(
        &[tlsa("2 1 1", &root.certificate)],
        &pem(&[&host.certificate, &root.certificate]),
        &[],
        Ok("the server's certificate is for mx.example.org"),
    );
}

#[test]
fn a_file_with_one_public_key_is_a_bare_key() {
    let server = Authority::root();
    let file = frame("PUBLIC KEY", &server.key());
    let records = [tlsa("3 1 1", &server.certificate)];
    check(
        &records,
        &file,
        &[],
        Ok("matched 3 1 1 at depth 0 for any name"),
    );
    let twice = format!("{file}{file}");
    check(&records, &twice, &[], Err((2, PemFault::Mixed)));
    let mixed = format!("{file}{}", pem(&[&server.certificate]));
    check(&records, &mixed, &[], Err((2, PemFault::Mixed)));
    let mixed = format!("{}{file}", pem(&[&server.certificate]));
    check(&records, &mixed, &[], Err((2, PemFault::Mixed)));
}

#[test]
fn text_and_private_keys_between_certificates_are_passed_over() {
    let host = Authority::root().host();
    let file = format!(
        "subject=/CN=mx\n{}---\n{}",
        frame("PRIVATE KEY", b"secret"),
        pem(&[&host.certificate])
    );
    check(
        &[tlsa("3 1 1", &host.certificate)],
        &file,
        &[],
        Ok("matched 3 1 1 at depth 0 for any name"),
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_the_place() {
    let host = Authority::root().host();
    let good = pem(&[&host.certificate]);
    let refuse = |file: &str, section, fault| check(&[], file, &[], Err((section, fault)));
    refuse("", 1, PemFault::Absent);
    refuse("no certificate here\n", 1, PemFault::Absent);
    let bad = frame("CERTIFICATE", b"no certificate");
    refuse(&bad, 1, PemFault::NotACertificate);
    refuse(&format!("{good}{bad}"), 2, PemFault::NotACertificate);
    let bad = frame("PUBLIC KEY", b"no key");
    refuse(&bad, 1, PemFault::NotAKey);
    let cut = good
        .trim_end()
        .strip_suffix("-----END CERTIFICATE-----")
        .unwrap();
    refuse(cut, 1, PemFault::BadFrame);
    let bad = "-----BEGIN CERTIFICATE-----\n?!?!\n-----END CERTIFICATE-----\n";
    refuse(&format!("{good}{bad}"), 2, PemFault::BadBase64);
    refuse(&good.repeat(33), 33, PemFault::TooMany);
}

/// Certificates in PEM form.
fn pem(certificates: &[&CertificateDer<'_>]) -> String {
    certificates
        .iter()
        .map(|certificate| frame("CERTIFICATE", certificate))
        .collect()
}

/// A section of a PEM file.
fn frame(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut base64 = String::new();
    for group in der.chunks(3) {
        let bits = group
            .iter()
            .fold(0, |bits, &octet| bits << 8 | usize::from(octet));
        let bits = bits << (8 * (3 - group.len()));
        for position in 0..4 {
            base64.push(match position <= group.len() {
                true => char::from(ALPHABET[bits >> (18 - 6 * position) & 0x3f]),
                false => '=',
            });
        }
    }
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

#[track_caller]
fn check(
    records: &[TlsaRecord],
    file: &str,
    names: &[&str],
    expected: Result<&str, (usize, PemFault)>,
) {
    let names: Vec<DomainName> = names.iter().map(|name| name.parse().unwrap()).collect();
    let outcome = verify_pem(records, file.as_bytes(), &names, NOW);
    assert_eq!(
        outcome.map(|outcome| explain(&outcome)),
        expected
            .map(str::to_owned)
            .map_err(|(section, fault)| UnreadablePem { section, fault })
    );
}
