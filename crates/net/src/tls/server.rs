//! The server's side, for incoming mail and for HTTPS.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem;
use rustls_pki_types::pem::PemObject;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

/// A certificate chain and its key, both in PEM form.
#[derive(Clone, Copy)]
pub struct ServerIdentity<'a> {
    /// The server's own certificate first, then those of the authorities above it.
    pub certificate_pem: &'a [u8],
    /// The private key, in PKCS #8, PKCS #1 or SEC 1 form.
    pub key_pem: &'a [u8],
}

/// An acceptor for TLS 1.2 and 1.3 with one certificate.
///
/// # Errors
/// Says what of the two files cannot be used.
pub fn server_acceptor(
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<TlsAcceptor, InvalidServerIdentity> {
    server_acceptor_for(&[ServerIdentity {
        certificate_pem,
        key_pem,
    }])
}

/// An acceptor with several certificates, such as one for ECDSA and one for RSA; a client gets the
/// first whose signatures it can check.
///
/// # Errors
/// Says what cannot be used, for the first identity that cannot be.
pub fn server_acceptor_for(
    identities: &[ServerIdentity<'_>],
) -> Result<TlsAcceptor, InvalidServerIdentity> {
    let certified = certified_keys(identities)?;
    let config = server_config(Arc::new(FirstThatFits(certified)))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// An acceptor for HTTPS: a client names a host (RFC 6066, Section 3) and gets a certificate that carries this
/// name, of several the first whose signatures it can check. There is no connection for who names none of
/// them, or nothing. HTTP/2 and HTTP/1.1 are offered.
///
/// # Errors
/// Says what cannot be used, for the first identity that cannot be.
pub fn https_acceptor(
    identities: &[ServerIdentity<'_>],
) -> Result<TlsAcceptor, InvalidServerIdentity> {
    let by_name = ByName::new(certified_keys(identities)?)?;
    let mut config = server_config(Arc::new(by_name))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The host names for which the first certificate of a file stands, in lower case; those of wildcards with
/// their asterisk.
///
/// # Errors
/// Says what of the file cannot be used.
pub fn certified_names(certificate_pem: &[u8]) -> Result<Vec<String>, InvalidServerIdentity> {
    names_in(&read_chain(certificate_pem)?)
}

/// The same of a chain that was read: RFC 9525, Section 6.3.
fn names_in(chain: &[CertificateDer<'_>]) -> Result<Vec<String>, InvalidServerIdentity> {
    let leaf = chain.first().ok_or(InvalidServerIdentity::NoCertificate)?;
    let leaf = EndEntityCert::try_from(leaf)
        .map_err(|_| InvalidServerIdentity::UnreadableCertificate { certificate: 1 })?;
    let names = leaf.valid_dns_names();
    Ok(names.map(str::to_ascii_lowercase).collect())
}

/// Certificate chains with their keys, at least one.
fn certified_keys(
    identities: &[ServerIdentity<'_>],
) -> Result<Vec<Arc<CertifiedKey>>, InvalidServerIdentity> {
    let provider = super::provider();
    let certified = identities
        .iter()
        .map(|identity| {
            let chain = read_chain(identity.certificate_pem)?;
            let key = provider
                .key_provider
                .load_private_key(read_key(identity.key_pem)?)
                .map_err(|_| InvalidServerIdentity::UnsupportedKey)?;
            let leaf = chain.first().ok_or(InvalidServerIdentity::NoCertificate)?;
            let expected = byrnie_dane::public_key(leaf)
                .map_err(|_| InvalidServerIdentity::UnreadableCertificate { certificate: 1 })?;
            // A key that cannot tell its public half is taken at its word.
            if key.public_key().is_some_and(|actual| actual != expected) {
                return Err(InvalidServerIdentity::OtherKey);
            }
            Ok(Arc::new(CertifiedKey::new(chain, key)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    match certified.is_empty() {
        true => Err(InvalidServerIdentity::NoCertificate),
        false => Ok(certified),
    }
}

/// TLS 1.2 and 1.3 for clients, with certificates from there.
fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, InvalidServerIdentity> {
    let mut config = ServerConfig::builder_with_provider(super::provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| InvalidServerIdentity::UnsupportedKey)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    // Clients that come back are spared the costly half of the handshake, and the server keeps nothing
    // for them: what it needs travels in the ticket, under keys that never leave this process and are
    // replaced every six hours. Where the system has no randomness for keys, there are no tickets.
    if let Ok(ticketer) = Ticketer::new() {
        config.ticketer = ticketer;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = TICKETS;
    }
    Ok(config)
}

/// How many tickets a client gets: it uses each once (RFC 8446, Appendix C.4), and gets the next with
/// the connection for which it was used.
const TICKETS: usize = 1;

/// Reads the certificates of a file.
fn read_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidServerIdentity> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let unreadable = InvalidServerIdentity::UnreadableCertificate {
            certificate: chain.len() + 1,
        };
        let certificate: CertificateDer<'static> = certificate.map_err(|_| unreadable)?;
        byrnie_dane::public_key(&certificate).map_err(|_| unreadable)?;
        chain.push(certificate);
    }
    match chain.is_empty() {
        true => Err(InvalidServerIdentity::NoCertificate),
        false => Ok(chain),
    }
}

/// Reads the first private key of a file.
fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidServerIdentity> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|why| {
        if matches!(why, pem::Error::NoItemsFound) {
            InvalidServerIdentity::NoKey
        } else {
            InvalidServerIdentity::UnreadableKey
        }
    })
}

/// Chooses the first certificate whose signatures the client can check.
#[derive(Debug)]
struct FirstThatFits(Vec<Arc<CertifiedKey>>);

impl FirstThatFits {
    /// The first for a client with these ways to check signatures.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let Self(certified) = self;
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        certified.iter().find(fits).cloned()
    }
}

impl ResolvesServerCert for FirstThatFits {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(client_hello.signature_schemes())
    }
}

/// Chooses by the name that a client asks for.
#[derive(Debug)]
struct ByName(
    /// The names in lower case, those of wildcards with their asterisk.
    HashMap<String, FirstThatFits>,
);

impl ByName {
    /// Files certificates by the names in them.
    fn new(certified: Vec<Arc<CertifiedKey>>) -> Result<Self, InvalidServerIdentity> {
        let mut by_name = HashMap::new();
        for certified in certified {
            for name in names_in(&certified.cert)? {
                let FirstThatFits(all) = by_name
                    .entry(name)
                    .or_insert_with(|| FirstThatFits(Vec::new()));
                all.push(Arc::clone(&certified));
            }
        }
        Ok(Self(by_name))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Self(by_name) = self;
        let name = client_hello.server_name()?.to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            by_name.get(&format!("*.{parent}"))
        };
        let fitting = by_name.get(&name).or_else(wildcard)?;
        fitting.choose(client_hello.signature_schemes())
    }
}

/// Why a certificate and a key cannot serve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidServerIdentity {
    /// The certificate file has no certificate.
    NoCertificate,
    /// The key file has no private key.
    NoKey,
    /// The key belongs to another certificate.
    OtherKey,
    /// A certificate cannot be read.
    UnreadableCertificate {
        /// Which, counted from 1.
        certificate: usize,
    },
    /// The key file is not PEM.
    UnreadableKey,
    /// The key is of a kind, or a size, that TLS here does not use.
    UnsupportedKey,
}

impl fmt::Display for InvalidServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("the certificate file has no certificate"),
            Self::NoKey => f.write_str("the key file has no private key"),
            Self::OtherKey => f.write_str("the key does not belong to the first certificate"),
            Self::UnreadableCertificate { certificate } => {
                write!(f, "certificate {certificate} of the file cannot be read")
            }
            Self::UnreadableKey => f.write_str("the key file is not in PEM form"),
            Self::UnsupportedKey => f.write_str("the private key is malformed or not supported"),
        }
    }
}

impl std::error::Error for InvalidServerIdentity {}
