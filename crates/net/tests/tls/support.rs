//! Mail hosts with chosen certificates, and a client that meets them.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_dane::ReferenceIdentifiers;
use byrnie_dane::TlsaRecord;
use byrnie_net::tls::Roots;
use byrnie_net::tls::TlsClient;
use byrnie_net::tls::TlsFailure;
use byrnie_net::tls::TlsSession;
use byrnie_policy::TlsRequirement;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use rcgen::SignatureAlgorithm;
use rcgen::SigningKey;
use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;

/// When all tests take place: 2027-01-15.
pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);

/// The MX host of all tests.
pub(super) const HOST: &str = "mx.example.org";

/// A key and the certificates that are shown with it.
pub(super) struct Identity {
    pub(super) key: KeyPair,
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The first certificate, as it was issued, in PEM form.
    pub(super) pem: String,
}

impl Identity {
    /// A self-signed certificate with something odd about it.
    pub(super) fn self_signed(odd: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::self_signed_with(&rcgen::PKCS_ECDSA_P256_SHA256, odd)
    }

    /// The same with a key of a certain kind.
    pub(super) fn self_signed_with(
        algorithm: &'static SignatureAlgorithm,
        odd: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params(&[HOST], odd).self_signed(&key).unwrap();
        Self {
            key,
            pem: certificate.pem(),
            chain: vec![certificate.into()],
        }
    }

    /// A certificate of version 1: neither names nor any other extensions.
    pub(super) fn version_1() -> Self {
        let mut identity = Self::self_signed(|_| ());
        identity.chain = vec![version_1(&identity.chain[0], &identity.key)];
        identity
    }

    /// The record with parameters such as `"3 1 1"` that a certificate of the chain matches.
    pub(super) fn tlsa(&self, parameters: &str, depth: usize) -> TlsaRecord {
        let blank: TlsaRecord = parameters.parse().unwrap();
        TlsaRecord::for_certificate(
            blank.usage,
            blank.selector,
            blank.matching_type,
            &self.chain[depth],
        )
        .unwrap()
        .unwrap()
    }

    /// What a server needs to show it.
    pub(super) fn certified(&self) -> CertifiedKey {
        show(self.chain.clone(), &self.key)
    }
}

/// An authority that hosts can have certificates from.
pub(super) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Authority {
    /// A new one.
    pub(super) fn new() -> Self {
        let params = params(&[], |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        });
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            params,
            key,
            certificate,
        }
    }

    /// A host with a certificate for these names and something odd about it.
    pub(super) fn issue(
        &self,
        names: &[&str],
        odd: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params(names, |params| {
            params
                .distinguished_name
                .push(DnType::OrganizationName, "H");
            odd(params);
        })
        .signed_by(&key, &issuer)
        .unwrap();
        Identity {
            key,
            pem: certificate.pem(),
            chain: vec![certificate.into(), self.certificate.der().clone()],
        }
    }

    /// The certificate in PEM form.
    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A client that counts this authority among the public ones.
    pub(super) fn client(&self) -> TlsClient {
        TlsClient::new(&Roots::public().with_pem(self.pem().as_bytes()).unwrap()).unwrap()
    }
}

fn params(names: &[&str], odd: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Test");
    odd(&mut params);
    params
}

/// Ends a certificate's life before [`NOW`].
pub(super) fn expired(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
}

/// Ends a certificate's life so long after [`NOW`].
pub(super) fn expires_after(params: &mut CertificateParams, lifetime: Duration) {
    let midnight = rcgen::date_time_ymd(2027, 1, 15);
    params.not_after = midnight + Duration::from_secs(NOW.0 % 86_400) + lifetime;
}

/// Certificates, or a bare key, with a key that need not belong to them.
pub(super) fn show(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> CertifiedKey {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(&key).unwrap())
}

/// A server that shows what it is told to show, and remembers what it was asked for.
#[derive(Debug)]
pub(super) struct Host {
    shown: Arc<CertifiedKey>,
    form: Form,
    /// The names that clients sent as SNI.
    pub(super) asked: Mutex<Vec<Option<String>>>,
}

/// What a server has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Certificates,
    RawKey,
}

impl Host {
    /// A server that shows an identity.
    pub(super) fn new(identity: &Identity) -> Arc<Self> {
        Self::showing(identity.certified(), Form::Certificates)
    }

    /// A server that has a bare key and no certificate.
    pub(super) fn with_raw_key(key: &KeyPair) -> Arc<Self> {
        let bare = key.subject_public_key_info();
        Self::showing(show(vec![bare.into()], key), Form::RawKey)
    }

    /// A server that shows anything.
    pub(super) fn showing(shown: CertifiedKey, form: Form) -> Arc<Self> {
        Arc::new(Self {
            shown: Arc::new(shown),
            form,
            asked: Mutex::default(),
        })
    }

    /// What accepts its connections, in these versions only.
    pub(super) fn acceptor(
        self: &Arc<Self>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Host {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = client_hello.server_name().map(str::to_owned);
        self.asked.lock().unwrap().push(name);
        Some(Arc::clone(&self.shown))
    }

    fn only_raw_public_keys(&self) -> bool {
        self.form == Form::RawKey
    }
}

/// Lets `client` meet `host`, which speaks every version.
pub(super) async fn meet(
    client: &TlsClient,
    host: &Arc<Host>,
    requirement: &TlsRequirement,
) -> Result<TlsSession<DuplexStream>, TlsFailure> {
    meet_over(client, &host.acceptor(rustls::ALL_VERSIONS), requirement).await
}

/// Lets `client` meet whatever stands behind `acceptor`, and has the two exchange a greeting.
pub(super) async fn meet_over(
    client: &TlsClient,
    acceptor: &TlsAcceptor,
    requirement: &TlsRequirement,
) -> Result<TlsSession<DuplexStream>, TlsFailure> {
    let (outcome, kind) = meet_at(client, acceptor, requirement, &host_name(), NOW).await;
    // Whoever is refused learns it in the handshake, and never gets as far as its own greeting.
    assert_eq!(kind, outcome.is_ok().then_some(HandshakeKind::Full));
    outcome
}

/// The same at a time, with a host; also gives the kind of handshake that the server saw to its end.
pub(super) async fn meet_at(
    client: &TlsClient,
    acceptor: &TlsAcceptor,
    requirement: &TlsRequirement,
    mx_host: &DomainName,
    now: UnixTime,
) -> (
    Result<TlsSession<DuplexStream>, TlsFailure>,
    Option<HandshakeKind>,
) {
    let (ours, theirs) = tokio::io::duplex(BUFFER_OCTETS);
    let acceptor = acceptor.clone();
    let server = tokio::spawn(async move { greet(&acceptor, theirs).await });
    let mut outcome = client.handshake(ours, requirement, mx_host, now).await;
    if let Ok(session) = &mut outcome {
        let mut greeting = [0; 5];
        session.stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"hello");
    }
    (outcome, server.await.unwrap())
}

/// Accepts one connection and greets; says what kind of handshake it was, if there was one.
pub(super) async fn greet(acceptor: &TlsAcceptor, stream: DuplexStream) -> Option<HandshakeKind> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    stream.write_all(b"hello").await.ok()?;
    stream.flush().await.ok()?;
    stream.get_ref().1.handshake_kind()
}

/// The MX host's name.
pub(super) fn host_name() -> DomainName {
    HOST.parse().unwrap()
}

/// DANE with these records, found at the MX host's own name.
pub(super) fn dane(records: &[TlsaRecord]) -> TlsRequirement {
    TlsRequirement::Dane {
        records: records.to_vec(),
        reference: ReferenceIdentifiers {
            tlsa_base: host_name(),
            next_hop: Vec::new(),
        },
    }
}

/// MTA-STS for the MX host.
pub(super) fn mta_sts() -> TlsRequirement {
    TlsRequirement::MtaSts {
        mx_host: host_name(),
    }
}

/// The client of tests in which public authorities do not matter.
pub(super) fn client() -> TlsClient {
    TlsClient::new(&Roots::public()).unwrap()
}

/// Takes version and extensions out of a certificate, and signs it again.
fn version_1(certificate: &CertificateDer<'_>, key: &KeyPair) -> CertificateDer<'static> {
    let [to_be_signed, algorithm, _] = items(content(certificate)).try_into().unwrap();
    let fields = items(content(to_be_signed));
    let to_be_signed = der(0x30, &fields[1..7].concat());
    let signature = [vec![0], key.sign(&to_be_signed).unwrap()].concat();
    let whole = [to_be_signed, algorithm.to_vec(), der(0x03, &signature)].concat();
    der(0x30, &whole).into()
}

/// The DER items that stand one after the other.
fn items(mut octets: &[u8]) -> Vec<&[u8]> {
    let mut items = Vec::new();
    while !octets.is_empty() {
        let (header, length) = measure(octets);
        let (item, rest) = octets.split_at(header + length);
        items.push(item);
        octets = rest;
    }
    items
}

/// The content of a DER item.
fn content(item: &[u8]) -> &[u8] {
    &item[measure(item).0..]
}

/// The lengths of an item's header and content.
fn measure(item: &[u8]) -> (usize, usize) {
    match item[1] {
        0x81 => (3, usize::from(item[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([item[2], item[3]]))),
        length => (2, usize::from(length)),
    }
}

/// A DER item, its length in two octets where one is not enough.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut item = match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => vec![tag, length],
        Ok(length) => vec![tag, 0x81, length],
        Err(_) => {
            let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
            vec![tag, 0x82, high, low]
        }
    };
    item.extend(content);
    item
}

/// More than the largest flight of a handshake here.
const BUFFER_OCTETS: usize = 64 * 1024;
