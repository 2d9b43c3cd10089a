//! Section 4.3: Result Types.

use byrnie_tlsrpt::ResultType;

#[test]
fn each_type_of_the_rfc_has_its_name() {
    // 4.3.1, negotiation failures.
    check("starttls-not-supported", &ResultType::StarttlsNotSupported);
    check(
        "certificate-host-mismatch",
        &ResultType::CertificateHostMismatch,
    );
    check("certificate-expired", &ResultType::CertificateExpired);
    check(
        "certificate-not-trusted",
        &ResultType::CertificateNotTrusted,
    );
    check("validation-failure", &ResultType::ValidationFailure);
    // 4.3.2.1, DANE.
    check("tlsa-invalid", &ResultType::TlsaInvalid);
    check("dnssec-invalid", &ResultType::DnssecInvalid);
    check("dane-required", &ResultType::DaneRequired);
    // 4.3.2.2, MTA-STS.
    check("sts-policy-fetch-error", &ResultType::StsPolicyFetchError);
    check("sts-policy-invalid", &ResultType::StsPolicyInvalid);
    check("sts-webpki-invalid", &ResultType::StsWebpkiInvalid);
}

#[test]
fn names_are_read_without_regard_to_case() {
    let read = ResultType::from("Certificate-Expired");
    assert_eq!(read, ResultType::CertificateExpired);
}

#[test]
fn a_type_that_the_rfc_does_not_list_is_kept() {
    let unlisted = ResultType::Other(String::from("quantum-failure"));
    check("quantum-failure", &unlisted);
}

#[track_caller]
fn check(name: &str, expected: &ResultType) {
    assert_eq!(expected.to_string(), name);
    assert_eq!(&ResultType::from(name), expected);
}
