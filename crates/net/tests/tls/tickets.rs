//! What clients that come back are spared.

use std::sync::Arc;

use byrnie_net::tls::server_acceptor;
use rustls::ClientConfig;
use rustls::HandshakeKind;
use rustls::RootCertStore;
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs;
use rustls::version::TLS12;
use rustls::version::TLS13;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn a_client_that_comes_back_resumes_in_both_versions() {
    let identity = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let (certificate, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
    let acceptor = server_acceptor(certificate.as_bytes(), key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(identity.cert.der().clone()).unwrap();
    for version in [&TLS12, &TLS13] {
        let client = client(roots.clone(), version);
        let full = meet(&acceptor, &client).await;
        assert!(matches!(full, HandshakeKind::Full), "{version:?}");
        for _ in 0..3 {
            let kind = meet(&acceptor, &client).await;
            assert!(matches!(kind, HandshakeKind::Resumed), "{version:?}");
        }
    }
}

/// A client that keeps its tickets.
fn client(roots: RootCertStore, version: &'static SupportedProtocolVersion) -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Makes a connection, and lets an octet travel both ways.
async fn meet(acceptor: &TlsAcceptor, client: &TlsConnector) -> HandshakeKind {
    let (ours, theirs) = tokio::io::duplex(16 * 1_024);
    let name = "mx.example.org".try_into().unwrap();
    let (server, client) = tokio::join!(acceptor.accept(ours), client.connect(name, theirs));
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    server.write_all(b"x").await.unwrap();
    server.flush().await.unwrap();
    // The ticket of TLS 1.3 comes before it.
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    server.get_ref().1.handshake_kind().unwrap()
}
