//! Certificate authorities and the certificates of hosts.

use std::sync::Arc;

use aws_lc_rs::digest;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::PublicKeyData;
use rcgen::date_time_ymd;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use crate::LabError;
use crate::dns::TlsaData;

/// Somebody who signs certificates: the stand-in for the public authorities, or a private anchor.
pub struct Authority {
    /// Its certificate and key.
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What stands above it, from itself up to but without the root of the public authorities.
    path: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// A self-signed authority.
    ///
    /// # Errors
    /// The certificate could not be made.
    pub fn root(common_name: &str) -> Result<Self, LabError> {
        let issuer = CertifiedIssuer::self_signed(ca_params(common_name)?, KeyPair::generate()?)?;
        Ok(Self {
            issuer,
            path: Vec::new(),
        })
    }

    /// An authority below this one.
    ///
    /// # Errors
    /// The certificate could not be made.
    pub fn intermediate(&self, common_name: &str) -> Result<Self, LabError> {
        let params = ca_params(common_name)?;
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate()?, &self.issuer)?;
        let mut path = vec![issuer.der().clone()];
        path.extend(self.path.iter().cloned());
        Ok(Self { issuer, path })
    }

    /// A server certificate for these names, with what stands between it and the root.
    ///
    /// # Errors
    /// The certificate could not be made.
    pub fn issue(&self, names: &[&str], lifetime: Lifetime) -> Result<Identity, LabError> {
        let key = KeyPair::generate()?;
        let leaf = leaf_params(names, lifetime)?.signed_by(&key, &self.issuer)?;
        let mut chain = vec![leaf.der().clone()];
        chain.extend(self.path.iter().cloned());
        Ok(Identity::new(chain, &key))
    }

    /// As [`issue`](Self::issue), with this authority's own certificate at the end: what a host
    /// sends whose TLSA record names the authority.
    ///
    /// # Errors
    /// The certificate could not be made.
    pub fn issue_with_anchor(
        &self,
        names: &[&str],
        lifetime: Lifetime,
    ) -> Result<Identity, LabError> {
        let mut identity = self.issue(names, lifetime)?;
        identity.chain.push(self.issuer.der().clone());
        Ok(identity)
    }

    /// Its certificate in PEM form.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The TLSA record that names it: usage 2.
    #[must_use]
    pub fn tlsa(&self, selector: u8, matching_type: u8) -> TlsaData {
        let spki = self.issuer.key().subject_public_key_info();
        association(2, selector, matching_type, self.issuer.der(), &spki)
    }
}

/// A certificate that nobody vouches for.
///
/// # Errors
/// The certificate could not be made.
pub fn self_signed(names: &[&str], lifetime: Lifetime) -> Result<Identity, LabError> {
    let key = KeyPair::generate()?;
    let leaf = leaf_params(names, lifetime)?.self_signed(&key)?;
    Ok(Identity::new(vec![leaf.der().clone()], &key))
}

/// Whether a certificate's time is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifetime {
    /// It holds for decades.
    Current,
    /// It ended years ago.
    Expired,
}

/// A certificate with its chain and key: what a host shows.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Leaf first, as sent.
    chain: Vec<CertificateDer<'static>>,
    /// PKCS #8.
    key: Vec<u8>,
    /// The leaf's SubjectPublicKeyInfo.
    spki: Vec<u8>,
}

impl Identity {
    fn new(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        Self {
            chain,
            key: key.serialize_der(),
            spki: key.subject_public_key_info(),
        }
    }

    /// A TLSA record that names the leaf, under any usage, right or wrong.
    #[must_use]
    pub fn tlsa(&self, usage: u8, selector: u8, matching_type: u8) -> TlsaData {
        let leaf = self.chain.first().map(|leaf| leaf.as_ref());
        let leaf = leaf.unwrap_or_default();
        association(usage, selector, matching_type, leaf, &self.spki)
    }

    /// The chain in PEM form, leaf first.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        let blocks = self.chain.iter().map(|der| pem("CERTIFICATE", der));
        blocks.collect()
    }

    /// The key in PEM form.
    #[must_use]
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// A TLS server that shows it.
    ///
    /// # Errors
    /// TLS could not be configured.
    pub fn acceptor(&self) -> Result<TlsAcceptor, LabError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The parameters of an authority's certificate.
fn ca_params(common_name: &str) -> Result<CertificateParams, LabError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    Ok(params)
}

/// The parameters of a server's certificate.
fn leaf_params(names: &[&str], lifetime: Lifetime) -> Result<CertificateParams, LabError> {
    let texts: Vec<String> = names.iter().copied().map(String::from).collect();
    let mut params = CertificateParams::new(texts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = names.first() {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = match lifetime {
        Lifetime::Current => date_time_ymd(2049, 1, 1),
        Lifetime::Expired => date_time_ymd(2021, 1, 1),
    };
    Ok(params)
}

/// The TLSA record for a certificate: RFC 6698, Section 2.1.
fn association(usage: u8, selector: u8, matching_type: u8, der: &[u8], spki: &[u8]) -> TlsaData {
    let selected = if selector == 0 { der } else { spki };
    let data = match matching_type {
        1 => digest::digest(&digest::SHA256, selected).as_ref().to_vec(),
        2 => digest::digest(&digest::SHA512, selected).as_ref().to_vec(),
        _ => selected.to_vec(),
    };
    TlsaData {
        usage,
        selector,
        matching_type,
        data,
    }
}

/// One block of PEM: RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, chunk) in der.chunks(3).enumerate() {
        if at > 0 && at % PEM_GROUPS_PER_LINE == 0 {
            text.push('\n');
        }
        let octet = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = (octet(0) << 16) | (octet(1) << 8) | octet(2);
        for position in 0..4 {
            let digit = usize::try_from((group >> (18 - 6 * position)) & 63).unwrap_or(0);
            let letter = BASE64.get(digit).copied().unwrap_or(b'=');
            let used = position <= u32::try_from(chunk.len()).unwrap_or(0);
            text.push(if used { char::from(letter) } else { '=' });
        }
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

/// 64 characters.
const PEM_GROUPS_PER_LINE: usize = 16;

/// RFC 4648, Section 4.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn pem_text_reads_back_as_the_same_octets() {
        for length in [1usize, 2, 3, 47, 48, 49, 1000] {
            let der: Vec<u8> = (0..length)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect();
            let text = pem("CERTIFICATE", &der);
            let back = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!(back.as_ref(), der, "{length} octets");
        }
    }

    #[test]
    fn an_identity_below_an_intermediate_sends_the_intermediate_but_not_the_root() {
        let root = Authority::root("Root").unwrap();
        let intermediate = root.intermediate("Intermediate").unwrap();
        let identity = intermediate
            .issue(&["mx.example"], Lifetime::Current)
            .unwrap();
        assert_eq!(identity.chain.len(), 2);
        assert_eq!(identity.chain[1], *intermediate.issuer.der());
    }

    #[test]
    fn digests_have_the_length_of_their_matching_type() {
        let identity = self_signed(&["mx.example"], Lifetime::Expired).unwrap();
        assert_eq!(identity.tlsa(3, 1, 1).data.len(), 32);
        assert_eq!(identity.tlsa(3, 0, 2).data.len(), 64);
        assert_eq!(identity.tlsa(3, 1, 0).data, identity.spki);
    }
}
