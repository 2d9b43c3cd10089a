//! The public certificate authorities, and those that an operator adds.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The authorities that count for MTA-STS, for policy hosts and for other HTTPS; never for DANE.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
}

impl Roots {
    /// The public authorities that Mozilla's root program trusts, as of the build.
    #[must_use]
    pub fn public() -> Self {
        let store = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        Self {
            store: Arc::new(store),
        }
    }

    /// The same with the authorities of a PEM file added.
    ///
    /// # Errors
    /// The file has no certificate, or one that cannot be read; says which.
    pub fn with_pem(mut self, pem: &[u8]) -> Result<Self, InvalidRoots> {
        let store = Arc::make_mut(&mut self.store);
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            count += 1;
            let unreadable = InvalidRoots::Unreadable { certificate: count };
            let certificate = certificate.map_err(|_| unreadable)?;
            store.add(certificate).map_err(|_| unreadable)?;
        }
        match count {
            0 => Err(InvalidRoots::Empty),
            1.. => Ok(self),
        }
    }

    /// The configuration for HTTPS: certificates by these authorities, host names by subjectAltName
    /// alone, HTTP/1.1.
    ///
    /// # Errors
    /// The cryptographic library offers no usable combination, which is a fault of the build.
    pub fn https_client_config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(super::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.store))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The trust anchors.
    #[must_use]
    pub fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self::public()
    }
}

/// Why a file of authorities cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidRoots {
    /// It has no certificate.
    Empty,
    /// A certificate cannot be read.
    Unreadable {
        /// Which, counted from 1.
        certificate: usize,
    },
}

impl fmt::Display for InvalidRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file has no certificate in PEM form"),
            Self::Unreadable { certificate } => {
                write!(f, "certificate {certificate} of the file cannot be read")
            }
        }
    }
}

impl std::error::Error for InvalidRoots {}
