//! The judge of what a host shows, under one requirement.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_dane::Presented;
use byrnie_policy::TlsRequirement;
use rustls::CertificateError;
use rustls::ClientConnection;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::PeerMisbehaved;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::DnsName;
use rustls_pki_types::ServerName;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;

use super::Authentication;
use super::CertificateFault;
use super::TlsFailure;

/// Judges one host under one requirement, which it never exchanges for another.
#[derive(Debug)]
pub(super) struct HandshakeVerifier {
    /// What must be proven.
    pub(super) requirement: TlsRequirement,
    /// The name in the MX record; `None` for an address literal.
    pub(super) mx_host: Option<DomainName>,
    /// What the host is asked to show.
    pub(super) key_form: KeyForm,
    /// The public authorities' rules.
    pub(super) public: Arc<WebPkiServerVerifier>,
    /// How signatures are checked.
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// What came out last, as the same is asked in a handshake and behind it.
    pub(super) judged: Mutex<Option<Judged>>,
}

/// A verdict, and about what it is.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    shown: Vec<CertificateDer<'static>>,
    now: UnixTime,
    verdict: Verdict,
}

/// What a host is asked to show of itself. The library lets a client ask for one or the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeyForm {
    /// A chain of certificates.
    Certificate,
    /// A bare key: RFC 7250.
    RawKey,
}

/// What was found of a host that meets the requirement.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// How it was authenticated.
    pub(super) authentication: Authentication,
    /// What MTA-STS would have said.
    pub(super) sts_observed: Option<CertificateFault>,
}

impl HandshakeVerifier {
    /// Judges what the host of a connection has shown, now or when the session began that was resumed.
    pub(super) fn judge_connection(
        &self,
        connection: &ClientConnection,
        now: UnixTime,
    ) -> Result<Verdict, TlsFailure> {
        let shown = connection.peer_certificates().unwrap_or_default();
        let judged = self.judged().clone();
        if let Some(judged) = judged
            && judged.now == now
            && judged.shown == shown
        {
            return Ok(judged.verdict);
        }
        match shown.split_first() {
            Some((leaf, authorities)) => self.judge(leaf, authorities, now),
            None => Err(TlsFailure::Handshake(Error::NoCertificatesPresented)),
        }
    }

    /// What was judged last.
    fn judged(&self) -> MutexGuard<'_, Option<Judged>> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a chain, the host's own certificate (or its bare key) first.
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        authorities: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Verdict, TlsFailure> {
        let authentication = match &self.requirement {
            TlsRequirement::Opportunistic | TlsRequirement::Encrypt => Authentication::None,
            TlsRequirement::MtaSts { mx_host } => {
                self.judge_publicly(mx_host, leaf, authorities, now)
                    .map_err(TlsFailure::Certificate)?;
                Authentication::PublicAuthority {
                    mx_host: mx_host.clone(),
                }
            }
            TlsRequirement::Dane { records, reference } => {
                let presented = match self.key_form {
                    KeyForm::Certificate => Presented::Chain(
                        std::iter::once(leaf)
                            .chain(authorities)
                            .map(|certificate| CertificateDer::from(certificate.as_ref()))
                            .collect(),
                    ),
                    KeyForm::RawKey => {
                        Presented::RawKey(SubjectPublicKeyInfoDer::from(leaf.as_ref()))
                    }
                };
                byrnie_dane::verify(records, reference, &presented, now)
                    .map(Authentication::Dane)
                    .map_err(TlsFailure::Dane)?
            }
        };
        let sts_observed = match (&authentication, &self.mx_host) {
            (Authentication::PublicAuthority { .. }, _) | (_, None) => None,
            (Authentication::None | Authentication::Dane(_), Some(mx_host)) => {
                self.judge_publicly(mx_host, leaf, authorities, now).err()
            }
        };
        Ok(Verdict {
            authentication,
            sts_observed,
        })
    }

    /// Applies the public authorities' rules, as RFC 8461, Section 4.2 demands them.
    fn judge_publicly(
        &self,
        mx_host: &DomainName,
        leaf: &CertificateDer<'_>,
        authorities: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateFault> {
        let name = DnsName::try_from(mx_host.as_str()).map_err(|_| {
            CertificateFault(Error::InvalidCertificate(CertificateError::NotValidForName))
        })?;
        let now = Duration::from_secs(now.0);
        let now = rustls_pki_types::UnixTime::since_unix_epoch(now);
        self.public
            .verify_server_cert(leaf, authorities, &ServerName::DnsName(name), &[], now)
            .map(drop)
            .map_err(CertificateFault)
    }

    /// The key with which the host must have signed the handshake.
    ///
    /// It is found without a judgement on the certificate around it, which a TLSA record of usage 3
    /// makes irrelevant (RFC 7672, Section 3.1.1).
    fn key<'a>(&self, leaf: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, Error> {
        match self.key_form {
            KeyForm::Certificate => byrnie_dane::public_key(leaf)
                .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding)),
            KeyForm::RawKey => Ok(SubjectPublicKeyInfoDer::from(leaf.as_ref())),
        }
    }
}

impl ServerCertVerifier for HandshakeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: rustls_pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = UnixTime(now.as_secs());
        let verdict = self
            .judge(end_entity, intermediates, now)
            .map_err(TlsFailure::into_library)?;
        let shown = std::iter::once(end_entity).chain(intermediates);
        *self.judged() = Some(Judged {
            shown: shown.map(|shown| shown.clone().into_owned()).collect(),
            now,
            verdict,
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = self.key(cert)?;
        let key = RawPublicKeyEntity::try_from(&key)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let (_, candidates) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == dss.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // In TLS 1.2 a scheme does not say which curve the key is on, so each is tried; at most one
        // fits the key.
        let valid = candidates.iter().any(|algorithm| {
            key.verify_signature(*algorithm, message, dss.signature())
                .is_ok()
        });
        match valid {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &self.key(cert)?, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.key_form == KeyForm::RawKey
    }
}
