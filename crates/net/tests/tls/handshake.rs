//! What is negotiated, what is sent, and what a host that is not the host can achieve.

use std::sync::Arc;

use byrnie_dane::ReferenceIdentifiers;
use byrnie_net::tls::TlsFailure;
use byrnie_net::tls::TlsVersion;
use byrnie_policy::TlsRequirement;
use rcgen::KeyPair;
use rustls::AlertDescription;
use rustls::SupportedProtocolVersion;
use rustls::version::TLS12;
use rustls::version::TLS13;
use tokio::io::AsyncWriteExt;

use crate::tls::support::Authority;
use crate::tls::support::Form;
use crate::tls::support::HOST;
use crate::tls::support::Host;
use crate::tls::support::Identity;
use crate::tls::support::NOW;
use crate::tls::support::client;
use crate::tls::support::dane;
use crate::tls::support::greet;
use crate::tls::support::host_name;
use crate::tls::support::meet;
use crate::tls::support::meet_over;
use crate::tls::support::mta_sts;
use crate::tls::support::show;

const BOTH: [(&SupportedProtocolVersion, TlsVersion); 2] =
    [(&TLS12, TlsVersion::Tls12), (&TLS13, TlsVersion::Tls13)];

#[tokio::test]
async fn every_kind_of_key_signs_handshakes_in_both_versions() {
    let kinds = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ];
    for kind in kinds {
        let identity = Identity::self_signed_with(kind, |_| ());
        let requirement = dane(&[identity.tlsa("3 1 1", 0)]);
        for (theirs, ours) in BOTH {
            let acceptor = Host::new(&identity).acceptor(&[theirs]);
            let session = meet_over(&client(), &acceptor, &requirement).await.unwrap();
            assert_eq!(session.facts.version, ours);
        }
    }
}

#[tokio::test]
async fn a_certificate_of_version_1_signs_handshakes_in_both_versions() {
    let identity = Identity::version_1();
    let requirement = dane(&[identity.tlsa("3 1 1", 0)]);
    for (theirs, ours) in BOTH {
        let acceptor = Host::new(&identity).acceptor(&[theirs]);
        let session = meet_over(&client(), &acceptor, &requirement).await.unwrap();
        assert_eq!(session.facts.version, ours);
    }
}

#[tokio::test]
async fn the_facts_say_what_was_negotiated_and_with_whom() {
    let identity = Identity::self_signed(|_| ());
    let fingerprint = identity
        .tlsa("3 0 1", 0)
        .to_string()
        .split_off("3 0 1 ".len());
    for (version, suites) in [
        (&TLS12, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (&TLS13, "TLS_AES_256_GCM_SHA384"),
    ] {
        let acceptor = Host::new(&identity).acceptor(&[version]);
        let session = meet_over(&client(), &acceptor, &TlsRequirement::Encrypt)
            .await
            .unwrap();
        assert_eq!(session.facts.cipher_suite, suites);
        assert_eq!(session.facts.leaf_sha256.to_string(), fingerprint);
    }
}

#[tokio::test]
async fn whoever_shows_anothers_certificate_is_refused_under_every_requirement() {
    let authority = Authority::new();
    let host = authority.issue(&[HOST], |_| ());
    let requirements = [
        TlsRequirement::Opportunistic,
        TlsRequirement::Encrypt,
        mta_sts(),
        dane(&[host.tlsa("3 1 1", 0)]),
        dane(&[host.tlsa("2 1 1", 1)]),
    ];
    let thieves = [
        KeyPair::generate().unwrap(),
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
    ];
    for thief in &thieves {
        let shown = show(host.chain.clone(), thief);
        let impostor = Host::showing(shown, Form::Certificates);
        for (version, _) in BOTH {
            for requirement in &requirements {
                let acceptor = impostor.acceptor(&[version]);
                let outcome = meet_over(&authority.client(), &acceptor, requirement).await;
                assert_eq!(outcome.unwrap_err(), TlsFailure::Signature);
            }
        }
    }
}

#[tokio::test]
async fn the_name_sent_is_the_tlsa_base_under_dane_and_else_the_mx_host() {
    let identity = Identity::self_signed(|_| ());
    let base = "base.example.net";
    let under_dane = TlsRequirement::Dane {
        records: vec![identity.tlsa("3 1 1", 0)],
        reference: ReferenceIdentifiers {
            tlsa_base: base.parse().unwrap(),
            next_hop: vec!["example.org".parse().unwrap()],
        },
    };
    for (requirement, mx_host, expected) in [
        (under_dane, Some(host_name()), Some(base)),
        (TlsRequirement::Encrypt, Some(host_name()), Some(HOST)),
        (TlsRequirement::Opportunistic, Some(host_name()), Some(HOST)),
        (TlsRequirement::Opportunistic, None, None),
    ] {
        let host = Host::new(&identity);
        let acceptor = host.acceptor(rustls::ALL_VERSIONS);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(async move { greet(&acceptor, theirs).await });
        client()
            .handshake(ours, &requirement, mx_host.as_ref(), NOW)
            .await
            .unwrap();
        server.await.unwrap();
        let asked = host.asked.lock().unwrap().clone();
        assert_eq!(asked, [expected.map(str::to_owned)]);
    }
    let host = Host::new(&identity);
    let _ = meet(&client(), &host, &mta_sts()).await;
    assert_eq!(*host.asked.lock().unwrap(), [Some(HOST.to_owned())]);
}

#[tokio::test]
async fn a_host_with_a_bare_key_is_met_on_a_connection_of_its_own() {
    let identity = Identity::self_signed(|_| ());
    let host = Host::with_raw_key(&identity.key);
    let good = dane(&[identity.tlsa("3 1 1", 0)]);

    let failure = meet(&client(), &host, &good).await.unwrap_err();
    assert_eq!(
        failure,
        TlsFailure::Alert(AlertDescription::HandshakeFailure)
    );
    assert!(failure.suggests_raw_key());

    let matched = meet_raw(&host, &good).await.unwrap();
    assert!(matched.starts_with("matched TLSA 3 1 1 "), "{matched}");
    for parameters in ["3 0 1", "2 1 1"] {
        let bad = dane(&[identity.tlsa(parameters, 0)]);
        let failure = meet_raw(&host, &bad).await.unwrap_err();
        assert_eq!(failure.result_type(), "tlsa-invalid");
        assert!(!failure.suggests_raw_key());
    }
    let thief = KeyPair::generate().unwrap();
    let bare = rcgen::PublicKeyData::subject_public_key_info(&identity.key);
    let impostor = Host::showing(show(vec![bare.into()], &thief), Form::RawKey);
    assert_eq!(meet_raw(&impostor, &good).await, Err(TlsFailure::Signature));
}

#[tokio::test]
async fn a_host_without_a_bare_key_fails_where_one_is_asked_for() {
    let identity = Identity::self_signed(|_| ());
    let requirement = dane(&[identity.tlsa("3 1 1", 0)]);
    let outcome = meet_raw(&Host::new(&identity), &requirement).await;
    assert_eq!(outcome.unwrap_err().result_type(), "validation-failure");
}

#[tokio::test]
async fn what_is_not_tls_is_a_failure_and_never_a_panic() {
    for answer in [
        &b""[..],
        b"250 ok\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x03\x03\xff\xff",
        &[0; 4096],
    ] {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        let outcome = client()
            .handshake(ours, &TlsRequirement::Opportunistic, &host_name(), NOW)
            .await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.result_type(), "validation-failure", "{failure}");
    }
}

/// Meets a host with the request for a bare key; says how it was authenticated.
async fn meet_raw(host: &Arc<Host>, requirement: &TlsRequirement) -> Result<String, TlsFailure> {
    // Bare keys are a matter of TLS 1.3 in the library.
    let acceptor = host.acceptor(&[&TLS13]);
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(async move { greet(&acceptor, theirs).await });
    let outcome = client()
        .handshake_with_raw_key(ours, requirement, &host_name(), NOW)
        .await;
    let told = outcome.map(|session| session.facts.authentication.to_string());
    server.await.unwrap();
    told
}
