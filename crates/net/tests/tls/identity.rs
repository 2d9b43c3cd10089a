//! Files: our own certificates and keys, and the authorities that an operator adds.

use std::sync::Arc;

use byrnie_net::tls::InvalidRoots;
use byrnie_net::tls::InvalidServerIdentity;
use byrnie_net::tls::Roots;
use byrnie_net::tls::ServerIdentity;
use byrnie_net::tls::server_acceptor;
use byrnie_net::tls::server_acceptor_for;
use rustls::ClientConfig;
use rustls::SignatureScheme;
use rustls::version::TLS12;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::tls::support::Authority;
use crate::tls::support::HOST;
use crate::tls::support::Host;
use crate::tls::support::Identity;
use crate::tls::support::client;
use crate::tls::support::dane;
use crate::tls::support::greet;
use crate::tls::support::meet_over;

#[tokio::test]
async fn our_acceptor_shows_the_certificate_of_the_file() {
    let identity = Identity::self_signed(|_| ());
    let (certificate, key) = files(&identity);
    let acceptor = server_acceptor(certificate.as_bytes(), key.as_bytes()).unwrap();
    let requirement = dane(&[identity.tlsa("3 1 1", 0)]);
    meet_over(&client(), &acceptor, &requirement).await.unwrap();
}

#[tokio::test]
async fn a_client_gets_the_first_certificate_that_it_can_check() {
    let ecdsa = Identity::self_signed(|_| ());
    let rsa = Identity::self_signed_with(&rcgen::PKCS_RSA_SHA256, |_| ());
    let both = [files(&ecdsa), files(&rsa)];
    let both = both.each_ref().map(|(certificate, key)| ServerIdentity {
        certificate_pem: certificate.as_bytes(),
        key_pem: key.as_bytes(),
    });
    let acceptor = server_acceptor_for(&both).unwrap();
    let requirement = dane(&[ecdsa.tlsa("3 1 1", 0)]);
    meet_over(&client(), &acceptor, &requirement).await.unwrap();

    // A client that knows no ECDSA; TLS 1.2 lets it say so in its cipher suites too.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| format!("{:?}", suite.suite()).contains("_RSA_"));
    let seen = shown_to(provider, &acceptor).await;
    assert_eq!(seen, rsa.chain[0]);
}

#[test]
fn what_cannot_serve_is_refused_with_the_part_at_fault() {
    let (certificate, key) = files(&Identity::self_signed(|_| ()));
    let (other, _) = files(&Identity::self_signed(|_| ()));
    let check = |certificate: &str, key: &str, expected| {
        let outcome = server_acceptor(certificate.as_bytes(), key.as_bytes());
        assert_eq!(outcome.err(), Some(expected));
    };
    use InvalidServerIdentity as Invalid;
    check("", &key, Invalid::NoCertificate);
    check(&key, &key, Invalid::NoCertificate);
    check(&certificate, "", Invalid::NoKey);
    check(&certificate, &certificate, Invalid::NoKey);
    check(&other, &key, Invalid::OtherKey);
    let cut = key.replace("-----END PRIVATE KEY-----", "");
    check(&certificate, &cut, Invalid::UnreadableKey);
    let empty = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    check(&certificate, empty, Invalid::UnsupportedKey);
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let second = Invalid::UnreadableCertificate { certificate: 2 };
    check(&format!("{certificate}{empty}"), &key, second);
    assert_eq!(server_acceptor_for(&[]).err(), Some(Invalid::NoCertificate));
}

#[test]
fn a_file_of_authorities_must_have_some_and_all_must_be_readable() {
    let good = Authority::new().pem();
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let check = |file: &str, expected| {
        let outcome = Roots::public().with_pem(file.as_bytes());
        assert_eq!(outcome.err(), expected);
    };
    check(&good, None);
    check(&good.repeat(2), None);
    check("", Some(InvalidRoots::Empty));
    check(bad, Some(InvalidRoots::Unreadable { certificate: 1 }));
    check(
        &format!("{good}{bad}"),
        Some(InvalidRoots::Unreadable { certificate: 2 }),
    );
}

#[tokio::test]
async fn https_goes_by_the_authorities_and_by_subject_alt_name() {
    let authority = Authority::new();
    let roots = Roots::public()
        .with_pem(authority.pem().as_bytes())
        .unwrap();
    let trusting = roots.https_client_config().unwrap();
    assert_eq!(trusting.alpn_protocols, [b"http/1.1".to_vec()]);
    let public = Roots::public().https_client_config().unwrap();
    let named = authority.issue(&[HOST], |_| ());
    let other = authority.issue(&["example.org"], |_| ());
    for (config, identity, accepted) in [
        (&trusting, &named, true),
        (&trusting, &other, false),
        (&public, &named, false),
    ] {
        let acceptor = Host::new(identity).acceptor(rustls::ALL_VERSIONS);
        let outcome = connect(Arc::clone(config), &acceptor).await;
        assert_eq!(outcome.is_some(), accepted);
    }
}

/// The certificate that a client with this cryptography gets to see.
async fn shown_to(
    provider: rustls::crypto::CryptoProvider,
    acceptor: &tokio_rustls::TlsAcceptor,
) -> rustls_pki_types::CertificateDer<'static> {
    let schemes = [
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Limited(schemes.to_vec())))
        .with_no_client_auth();
    connect(Arc::new(config), acceptor).await.unwrap()
}

/// Makes an ordinary connection; the certificate shown, if the client accepts it.
async fn connect(
    config: Arc<ClientConfig>,
    acceptor: &tokio_rustls::TlsAcceptor,
) -> Option<rustls_pki_types::CertificateDer<'static>> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let acceptor = acceptor.clone();
    tokio::spawn(async move { greet(&acceptor, theirs).await });
    let name = ServerName::try_from(HOST).unwrap();
    let stream = TlsConnector::from(config).connect(name, ours).await.ok()?;
    let shown = stream.get_ref().1.peer_certificates().unwrap();
    Some(shown[0].clone().into_owned())
}

/// Accepts anything signed in one of these ways.
#[derive(Debug)]
struct Limited(Vec<SignatureScheme>);

impl rustls::client::danger::ServerCertVerifier for Limited {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls_pki_types::CertificateDer<'_>,
        _intermediates: &[rustls_pki_types::CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &rustls_pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        assert!(self.0.contains(&dss.scheme));
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls_pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// The two files of an identity.
fn files(identity: &Identity) -> (String, String) {
    (identity.pem.clone(), identity.key.serialize_pem())
}
