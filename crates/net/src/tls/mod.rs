//! TLS to mail hosts, and the witness that a requirement was met.
//!
//! [`TlsClient::handshake`] takes a connection and a requirement, and gives back an encrypted
//! connection with a [`Clearance`]: the only value under which mail may travel, and one that nothing
//! outside this module can make. Whoever has none cannot send, so that a forgotten check does not
//! compile.
//!
//! | class of requirement | certificate | signature of the handshake |
//! |---|---|---|
//! | DANE | must satisfy a TLSA record; nothing else counts | must be made with the leaf's key |
//! | MTA-STS | from a public authority, for the MX host's name | must be made with the leaf's key |
//! | encrypted, opportunistic | any | must be made with the leaf's key |
//!
//! Versions are TLS 1.2 and 1.3, and every cipher suite has forward secrecy (behaviour rule 31). A
//! session of TLS 1.3 is resumed for exactly the host and the requirement that it was made for, and what
//! the host showed then is judged again: see `sessions.rs`. Those of TLS 1.2 are never resumed, as whoever
//! learns the server's ticket key could read them. Nothing is sent before a handshake has ended.

mod clearance;
mod client;
mod facts;
mod failure;
mod roots;
mod server;
mod sessions;
mod verifier;

pub use clearance::Clearance;
pub use client::TlsClient;
pub use client::TlsSession;
pub use facts::Authentication;
pub use facts::Fingerprint;
pub use facts::TlsFacts;
pub use facts::TlsVersion;
pub use failure::CertificateFault;
pub use failure::TlsFailure;
pub use roots::InvalidRoots;
pub use roots::Roots;
pub use server::InvalidServerIdentity;
pub use server::ServerIdentity;
pub use server::certified_names;
pub use server::https_acceptor;
pub use server::server_acceptor;
pub use server::server_acceptor_for;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;

/// The cryptography of every connection.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cipher_suite_has_forward_secrecy() {
        let suites = provider().cipher_suites.clone();
        assert!(!suites.is_empty());
        for suite in suites {
            // All suites of TLS 1.3 have it; of those of TLS 1.2, those with ephemeral keys.
            let name = suite.suite().as_str().unwrap();
            let forward = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
            assert!(forward, "{name}");
        }
    }
}
