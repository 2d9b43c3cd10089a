//! The client's side of a handshake under a requirement.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_policy::TlsRequirement;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::Error;
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::DnsName;
use rustls_pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Clearance;
use super::Fingerprint;
use super::Roots;
use super::TlsFacts;
use super::TlsFailure;
use super::TlsVersion;
use super::sessions::Sessions;
use super::sessions::Setup;
use super::sessions::Tickets;
use super::verifier::HandshakeVerifier;
use super::verifier::KeyForm;
use super::verifier::Verdict;

/// Makes handshakes. Cheap to clone.
#[derive(Clone)]
pub struct TlsClient {
    /// The cryptography.
    provider: Arc<CryptoProvider>,
    /// The public authorities' rules.
    public: Arc<WebPkiServerVerifier>,
    /// What may be resumed.
    sessions: Arc<Sessions>,
}

impl TlsClient {
    /// A client that knows these authorities, for the requirements to which authorities matter.
    ///
    /// # Errors
    /// There are no authorities at all.
    pub fn new(roots: &Roots) -> Result<Self, Error> {
        let provider = super::provider();
        let public = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(roots.store()),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|why| Error::General(why.to_string()))?;
        Ok(Self {
            provider,
            public,
            sessions: Arc::default(),
        })
    }

    /// Makes a handshake with a mail host, which must meet `requirement`.
    ///
    /// `mx_host` is the name in the MX record, or `None` for an address literal. The name sent as
    /// SNI is the TLSA base domain under DANE, else the MX host; none for an address literal
    /// (behaviour rule 18). How long it may take is the caller's to say.
    ///
    /// # Errors
    /// The handshake failed or the requirement is not met; the stream is gone.
    pub async fn handshake<'a, S>(
        &self,
        stream: S,
        requirement: &TlsRequirement,
        mx_host: impl Into<Option<&'a DomainName>>,
        now: UnixTime,
    ) -> Result<TlsSession<S>, TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.handshake_as(
            stream,
            requirement,
            mx_host.into(),
            KeyForm::Certificate,
            now,
        )
        .await
    }

    /// The same with a host that has a bare key and no certificate (RFC 7250), which only TLSA
    /// records `3 1 x` can name.
    ///
    /// The library offers a host either certificates or bare keys, never both, and bare keys under
    /// TLS 1.3 alone, so this takes a connection of its own; [`TlsFailure::suggests_raw_key`] says when one is worth it.
    ///
    /// # Errors
    /// As for [`handshake`](Self::handshake); also if the host shows a certificate after all.
    pub async fn handshake_with_raw_key<'a, S>(
        &self,
        stream: S,
        requirement: &TlsRequirement,
        mx_host: impl Into<Option<&'a DomainName>>,
        now: UnixTime,
    ) -> Result<TlsSession<S>, TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.handshake_as(stream, requirement, mx_host.into(), KeyForm::RawKey, now)
            .await
    }

    /// Makes a handshake in which the host is asked for one form of its key.
    async fn handshake_as<S>(
        &self,
        stream: S,
        requirement: &TlsRequirement,
        mx_host: Option<&DomainName>,
        key_form: KeyForm,
        now: UnixTime,
    ) -> Result<TlsSession<S>, TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let make = || self.setup(requirement, mx_host, key_form);
        let setup = match key_form {
            KeyForm::Certificate => self.sessions.setup(mx_host, requirement, now, make),
            KeyForm::RawKey => make(),
        };
        let Setup {
            verifier,
            mut config,
        } = setup.map_err(TlsFailure::Handshake)?;
        config.time_provider = Arc::new(Passed(now));
        let name = server_name(requirement, mx_host);
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| TlsFailure::from_io(&error))?;
        // The library has had this judged in a full handshake, and not in a resumed one.
        let verdict = verifier.judge_connection(stream.get_ref().1, now);
        let verdict = verdict.inspect_err(|_| self.sessions.forget(&verifier))?;
        let facts = facts(stream.get_ref().1, verdict)?;
        Ok(TlsSession {
            stream,
            facts,
            clearance: Clearance::for_met(requirement),
        })
    }

    /// How handshakes with one host under one requirement are made.
    fn setup(
        &self,
        requirement: &TlsRequirement,
        mx_host: Option<&DomainName>,
        key_form: KeyForm,
    ) -> Result<Setup, Error> {
        let verifier = Arc::new(HandshakeVerifier {
            requirement: requirement.clone(),
            mx_host: mx_host.cloned(),
            key_form,
            public: Arc::clone(&self.public),
            algorithms: self.provider.signature_verification_algorithms,
            judged: Mutex::default(),
        });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<HandshakeVerifier>::clone(&verifier))
            .with_no_client_auth();
        config.resumption = match key_form {
            KeyForm::Certificate => Resumption::store(Arc::new(Tickets::new())),
            KeyForm::RawKey => Resumption::disabled(),
        };
        Ok(Setup { verifier, config })
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

/// An encrypted connection that meets its requirement.
#[derive(Debug)]
pub struct TlsSession<S> {
    /// The connection.
    pub stream: TlsStream<S>,
    /// What is known about it.
    pub facts: TlsFacts,
    /// The witness that mail may travel on it.
    pub clearance: Clearance,
}

/// The name to send as SNI. An address is never sent, and stands for "no name" here.
fn server_name(requirement: &TlsRequirement, mx_host: Option<&DomainName>) -> ServerName<'static> {
    let name = match requirement {
        TlsRequirement::Dane { reference, .. } => Some(&reference.tlsa_base),
        TlsRequirement::MtaSts { mx_host } => Some(mx_host),
        TlsRequirement::Opportunistic | TlsRequirement::Encrypt => mx_host,
    };
    name.and_then(|name| DnsName::try_from(name.as_str().to_owned()).ok())
        .map_or_else(
            || ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()),
            ServerName::DnsName,
        )
}

/// What is known after a handshake.
fn facts(connection: &ClientConnection, verdict: Verdict) -> Result<TlsFacts, TlsFailure> {
    let incomplete = || TlsFailure::Handshake(Error::HandshakeNotComplete);
    let version = connection
        .protocol_version()
        .and_then(TlsVersion::from_library)
        .ok_or_else(incomplete)?;
    let suite = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .ok_or_else(incomplete)?;
    let leaf = connection
        .peer_certificates()
        .and_then(|chain| chain.first())
        .ok_or_else(incomplete)?;
    let leaf_sha256 = <[u8; 32]>::try_from(digest(&SHA256, leaf).as_ref())
        .map(Fingerprint)
        .map_err(|_| incomplete())?;
    Ok(TlsFacts {
        version,
        // The library marks the suites of TLS 1.3 in a way that IANA does not.
        cipher_suite: suite.replacen("TLS13_", "TLS_", 1),
        leaf_sha256,
        authentication: verdict.authentication,
        sts_observed: verdict.sts_observed,
    })
}

/// The time as it was passed in.
#[derive(Debug)]
struct Passed(UnixTime);

impl TimeProvider for Passed {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        let Self(now) = self;
        let since_epoch = Duration::from_secs(now.0);
        Some(rustls_pki_types::UnixTime::since_unix_epoch(since_epoch))
    }
}
