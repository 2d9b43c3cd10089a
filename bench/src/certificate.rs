//! `smtpbench certificate`: a self-signed P-256 certificate for the sink or a relay.

use std::fs;

use rcgen::CertifiedKey;
use rcgen::PublicKeyData;
use rcgen::generate_simple_self_signed;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use serde_json::json;

use crate::failure::Failure;

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write PREFIX.crt and PREFIX.key, in PEM
    #[arg(long, value_name = "PREFIX")]
    out: String,
    /// Name in the certificate
    #[arg(long)]
    name: String,
}

/// Writes both files and prints the record that pins the key.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![options.name.clone()])?;
    fs::write(format!("{}.crt", options.out), cert.pem())?;
    fs::write(format!("{}.key", options.out), signing_key.serialize_pem())?;

    let suite = TLS13_AES_128_GCM_SHA256
        .tls13()
        .ok_or_else(|| Failure::new("the library lacks the suite with SHA-256"))?;
    let digest = suite
        .common
        .hash_provider
        .hash(&signing_key.subject_public_key_info());
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    println!("{}", json!({ "tlsa": format!("3 1 1 {hex}") }));
    Ok(())
}
