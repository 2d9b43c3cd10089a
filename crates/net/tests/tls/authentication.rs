//! Which hosts meet which requirement.

use byrnie_dane::ReferenceIdentifiers;
use byrnie_dane::TlsaRecord;
use byrnie_net::tls::Authentication;
use byrnie_net::tls::TlsClient;
use byrnie_net::tls::TlsFailure;
use byrnie_net::tls::TlsSession;
use byrnie_policy::Strength;
use byrnie_policy::TlsRequirement;
use rcgen::CertificateParams;
use rcgen::DnType;
use tokio::io::DuplexStream;

use crate::tls::support::Authority;
use crate::tls::support::HOST;
use crate::tls::support::Host;
use crate::tls::support::Identity;
use crate::tls::support::client;
use crate::tls::support::dane;
use crate::tls::support::expired;
use crate::tls::support::host_name;
use crate::tls::support::meet;
use crate::tls::support::mta_sts;

#[tokio::test]
async fn a_key_that_a_record_names_needs_nothing_else() {
    let odd: [fn(&mut CertificateParams); 3] =
        [|_| (), expired, |params| params.subject_alt_names.clear()];
    for odd in odd {
        check_key(&Identity::self_signed(odd)).await;
    }
    check_key(&Identity::version_1()).await;
    check_key(&Authority::new().issue(&["somebody.else.example"], |_| ())).await;
}

#[tokio::test]
async fn a_key_that_no_record_names_is_refused() {
    let host = Identity::self_signed(|_| ());
    let other = Identity::self_signed(|_| ()).tlsa("3 1 1", 0);
    let outcome = meet(&client(), &Host::new(&host), &dane(&[other])).await;
    refused(&outcome, "tlsa-invalid");
    // Not even a certificate from a public authority heals it.
    let authority = Authority::new();
    let host = authority.issue(&[HOST], |_| ());
    let other = Identity::self_signed(|_| ()).tlsa("3 1 1", 0);
    let outcome = meet(&authority.client(), &Host::new(&host), &dane(&[other])).await;
    refused(&outcome, "tlsa-invalid");
}

#[tokio::test]
async fn under_usage_2_path_dates_and_name_count() {
    check_anchor(&[HOST], |_| (), Ok(())).await;
    check_anchor(&["*.example.org"], |_| (), Ok(())).await;
    check_anchor(&["example.net"], |_| (), Ok(())).await;
    check_anchor(
        &["other.example.org"],
        |_| (),
        Err("certificate-host-mismatch"),
    )
    .await;
    check_anchor(&[HOST], expired, Err("certificate-expired")).await;
}

#[tokio::test]
async fn under_usage_2_public_authorities_do_not_count() {
    let public = Authority::new();
    let host = public.issue(&[HOST], |_| ());
    let mut private = Authority::new().issue(&[HOST], |_| ());
    // The private authority's certificate is sent beside the chain, and has signed nothing in it.
    let record = private.tlsa("2 0 1", 1);
    let shown = Identity {
        chain: vec![host.chain[0].clone(), private.chain.remove(1)],
        ..host
    };
    let outcome = meet(&public.client(), &Host::new(&shown), &dane(&[record])).await;
    refused(&outcome, "certificate-not-trusted");
}

#[tokio::test]
async fn under_mta_sts_the_public_rules_count() {
    let authority = Authority::new();
    let trusting = authority.client();
    check_public(&trusting, &authority.issue(&[HOST], |_| ()), Ok(())).await;
    check_public(
        &trusting,
        &authority.issue(&["*.example.org"], |_| ()),
        Ok(()),
    )
    .await;
    check_public(
        &client(),
        &authority.issue(&[HOST], |_| ()),
        Err("certificate-not-trusted"),
    )
    .await;
    check_public(
        &trusting,
        &authority.issue(&["example.org"], |_| ()),
        Err("certificate-host-mismatch"),
    )
    .await;
    check_public(
        &trusting,
        &authority.issue(&[HOST], expired),
        Err("certificate-expired"),
    )
    .await;
    check_public(
        &trusting,
        &authority.issue(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, HOST);
        }),
        Err("certificate-host-mismatch"),
    )
    .await;
    check_public(
        &trusting,
        &Identity::self_signed(|_| ()),
        Err("certificate-not-trusted"),
    )
    .await;
}

#[tokio::test]
async fn weaker_requirements_take_any_certificate_and_say_what_mta_sts_would() {
    let authority = Authority::new();
    let rows = [
        (authority.issue(&[HOST], |_| ()), None),
        (
            authority.issue(&["example.org"], |_| ()),
            Some("certificate-host-mismatch"),
        ),
        (
            authority.issue(&[HOST], expired),
            Some("certificate-expired"),
        ),
        (
            Identity::self_signed(|_| ()),
            Some("certificate-not-trusted"),
        ),
        (Identity::version_1(), Some("certificate-not-trusted")),
    ];
    for (host, observed) in rows {
        for requirement in [TlsRequirement::Opportunistic, TlsRequirement::Encrypt] {
            let session = meet(&authority.client(), &Host::new(&host), &requirement)
                .await
                .unwrap();
            assert_eq!(session.facts.authentication, Authentication::None);
            let would_fail = session.facts.sts_observed.as_ref();
            assert_eq!(would_fail.map(|fault| fault.result_type()), observed);
            assert!(session.clearance.is_for(&requirement));
        }
        let requirement = dane(&[host.tlsa("3 0 1", 0)]);
        let session = meet(&authority.client(), &Host::new(&host), &requirement)
            .await
            .unwrap();
        let would_fail = session.facts.sts_observed.as_ref();
        assert_eq!(would_fail.map(|fault| fault.result_type()), observed);
    }
}

#[tokio::test]
async fn a_clearance_is_for_the_requirement_that_was_met_and_no_other() {
    let host = Identity::self_signed(|_| ());
    let requirement = dane(&[host.tlsa("3 1 1", 0)]);
    let session = meet(&client(), &Host::new(&host), &requirement)
        .await
        .unwrap();
    assert_eq!(session.clearance.strength(), Strength::Dane);
    assert!(session.clearance.is_for(&requirement));
    assert!(!session.clearance.is_for(&mta_sts()));
    assert!(!session.clearance.is_for(&TlsRequirement::Encrypt));
    assert!(!session.clearance.is_for(&dane(&[host.tlsa("3 0 1", 0)])));
}

/// Checks that a record of the host's key lets mail through.
async fn check_key(host: &Identity) {
    for parameters in ["3 1 1", "3 0 2", "3 1 0"] {
        let record = host.tlsa(parameters, 0);
        let outcome = meet(
            &client(),
            &Host::new(host),
            &dane(std::slice::from_ref(&record)),
        )
        .await;
        authenticated(&outcome, &record);
    }
}

/// Checks a record of the authority, found at the MX host of `example.net`.
async fn check_anchor(names: &[&str], odd: fn(&mut CertificateParams), expected: Result<(), &str>) {
    let host = Authority::new().issue(names, odd);
    for parameters in ["2 0 1", "2 1 1", "2 0 0"] {
        let record = host.tlsa(parameters, 1);
        let requirement = TlsRequirement::Dane {
            records: vec![record.clone()],
            reference: ReferenceIdentifiers {
                tlsa_base: host_name(),
                next_hop: vec!["example.net".parse().unwrap()],
            },
        };
        let outcome = meet(&client(), &Host::new(&host), &requirement).await;
        match expected {
            Ok(()) => authenticated(&outcome, &record),
            Err(result_type) => refused(&outcome, result_type),
        }
    }
}

/// Checks a certificate under MTA-STS.
async fn check_public(client: &TlsClient, host: &Identity, expected: Result<(), &str>) {
    let outcome = meet(client, &Host::new(host), &mta_sts()).await;
    match expected {
        Ok(()) => {
            let session = outcome.unwrap();
            assert_eq!(
                session.facts.authentication.to_string(),
                "certificate of a public authority for mx.example.org"
            );
            assert_eq!(session.facts.sts_observed, None);
            assert!(session.clearance.is_for(&mta_sts()));
        }
        Err(result_type) => refused(&outcome, result_type),
    }
}

/// The handshake must have matched this record.
#[track_caller]
fn authenticated(outcome: &Result<TlsSession<DuplexStream>, TlsFailure>, record: &TlsaRecord) {
    let authentication = &outcome.as_ref().unwrap().facts.authentication;
    let told = authentication.to_string();
    let Authentication::Dane(matched) = authentication else {
        panic!("{told}");
    };
    assert_eq!(&matched.record, record);
    let expected = format!("matched TLSA {}", record.abbreviated());
    assert!(told.starts_with(&expected), "{told}");
}

/// The handshake must have failed for this reason.
#[track_caller]
fn refused(outcome: &Result<TlsSession<DuplexStream>, TlsFailure>, result_type: &str) {
    let failure = outcome.as_ref().unwrap_err();
    assert_eq!(failure.result_type(), result_type, "{failure}");
}
