//! `byrnie dane verify`: the exit code is the answer.

use std::fmt::Write;
use std::fs;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::hash::HashAlgorithm;
use tempfile::TempDir;

use crate::support::Ran;
use crate::support::byrnie;

#[test]
fn a_chain_that_satisfies_ends_with_zero() {
    let host = Host::new();
    let digest = host.digest();
    let ran = host.verify(&["--tlsa", &format!("3 1 1 {digest}")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.stdout,
        format!("satisfied: matched TLSA 3 1 1 {digest}\n")
    );

    // One good record among bad ones is enough.
    let wrong = format!("3 1 1 {}", "0".repeat(64));
    let ran = host.verify(&["--tlsa", &wrong, "--tlsa", &format!("3 1 1 {digest}")]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_chain_that_does_not_ends_with_one_and_the_reason() {
    let host = Host::new();
    let wrong = format!("3 1 1 {}", "0".repeat(64));
    let ran = host.verify(&["--tlsa", &wrong, "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["satisfied"], false);
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("no TLSA record matches"), "{reason}");
    assert!(reason.contains(&host.digest()), "{reason}");
}

#[test]
fn the_time_counts_where_the_usage_says_so() {
    let host = Host::new();
    let record = format!("2 1 1 {}", sha256(&host.authority));
    let name = ["--tlsa", &record, "--name", "mx.example.org"];
    for (at, code) in [
        ("2026-06-01T00:00:00Z", 0),
        ("2020-01-01T00:00:00Z", 1),
        ("2099-01-01T00:00:00Z", 1),
    ] {
        let ran = host.verify(&[&name[..], &["--at", at]].concat());
        assert_eq!(ran.code, code, "{at}: {ran:?}");
    }
}

#[test]
fn input_that_cannot_be_read_ends_with_two() {
    let host = Host::new();
    check(
        &host.verify(&["--tlsa", "3 1 1 zz"]),
        "error: `--tlsa` \"3 1 1 zz\": 'z' is no hexadecimal digit at offset 6\n",
    );
    check(
        &host.verify(&["--tlsa", "3 1 1 00", "--at", "yesterday"]),
        "error: `--at` \"yesterday\" is not a time after 1970\n",
    );
    check(
        &byrnie(&[
            "dane",
            "verify",
            "--tlsa",
            "3 1 1 00",
            "--chain",
            "/nonexistent",
        ]),
        "error: /nonexistent: No such file or directory (os error 2)\n",
    );
    let file = host.folder.path().join("empty.pem");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    check(
        &byrnie(&["dane", "verify", "--tlsa", "3 1 1 00", "--chain", file]),
        &format!("error: {file}: the file has no certificate and no public key\n"),
    );
}

#[track_caller]
fn check(ran: &Ran, error: &str) {
    assert!(ran.stderr.starts_with(error), "{}", ran.stderr);
    assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
}

/// A mail host with a certificate from an authority of its own.
struct Host {
    /// Holds the chain.
    folder: TempDir,
    /// The host's key.
    key: KeyPair,
    /// The authority's key.
    authority: KeyPair,
}

impl Host {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (key, authority) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&authority).unwrap();
        let issuer = Issuer::new(params, &authority);

        let mut params = CertificateParams::new([String::from("mx.example.org")]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let chain = leaf.pem() + &root.pem();
        fs::write(folder.path().join("chain.pem"), chain).unwrap();
        Self {
            folder,
            key,
            authority,
        }
    }

    /// The SHA-256 digest of the host's key, in hexadecimal.
    fn digest(&self) -> String {
        sha256(&self.key)
    }

    fn verify(&self, arguments: &[&str]) -> Ran {
        let chain = self.folder.path().join("chain.pem");
        let fixed = ["dane", "verify", "--chain", chain.to_str().unwrap()];
        byrnie(&[&fixed[..], arguments].concat())
    }
}

/// The SHA-256 digest of a public key, in hexadecimal.
fn sha256(key: &KeyPair) -> String {
    let provider = aws_lc_rs::default_provider();
    let hash = provider
        .cipher_suites
        .iter()
        .filter_map(|suite| suite.tls13())
        .map(|suite| suite.common.hash_provider)
        .find(|hash| hash.algorithm() == HashAlgorithm::SHA256)
        .unwrap();
    let digest = hash.hash(&key.subject_public_key_info());
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, octet| {
            write!(text, "{octet:02x}").unwrap();
            text
        })
}
