//! One fetch of one policy: RFC 8461, Section 3.3.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_mta_sts::POLICY_OCTETS_MAX;
use byrnie_mta_sts::POLICY_PATH;
use byrnie_mta_sts::Policy;
use byrnie_mta_sts::PolicyError;
use byrnie_mta_sts::policy_host;
use hyper::StatusCode;
use hyper::header;

use crate::dns::Resolve;
use crate::https::HTTPS_PORT;
use crate::https::HttpsClient;
use crate::https::HttpsError;
use crate::https::HttpsUrl;

/// Fetches policies.
pub trait FetchPolicy: Send + Sync + 'static {
    /// Fetches the policy file of a policy domain; what comes back is a policy.
    ///
    /// Always ends, within a time that the implementation documents.
    fn fetch(&self, domain: &DomainName)
    -> impl Future<Output = Result<String, FetchError>> + Send;
}

/// Fetches policies over HTTPS, each over a connection of its own.
#[derive(Clone)]
pub struct StsFetcher<R> {
    https: HttpsClient<R>,
    port: u16,
}

impl<R: Resolve> StsFetcher<R> {
    /// A fetcher that trusts the authorities of `tls` and connects to [`HTTPS_PORT`].
    ///
    /// `tls` comes from [`Roots::https_client_config`](crate::tls::Roots::https_client_config).
    #[must_use]
    pub fn new(resolver: Arc<R>, tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            https: HttpsClient::new(resolver, tls),
            port: HTTPS_PORT,
        }
    }

    /// Connects to another port.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Gives a whole fetch this time, instead of
    /// [`EXCHANGE_TIMEOUT`](crate::https::EXCHANGE_TIMEOUT).
    #[must_use]
    pub fn with_timeout(self, deadline: Duration) -> Self {
        Self {
            https: self.https.with_timeout(deadline),
            ..self
        }
    }
}

impl<R: Resolve> FetchPolicy for StsFetcher<R> {
    async fn fetch(&self, domain: &DomainName) -> Result<String, FetchError> {
        let host = policy_host(domain).map_err(|_| FetchError::NameTooLong)?;
        let url = HttpsUrl::new(host, self.port, POLICY_PATH);
        let url = url.map_err(|_| FetchError::Https(HttpsError::NotAHostName))?;
        let response = match self.https.get(&url, "text/plain", POLICY_OCTETS_MAX).await {
            Err(HttpsError::TooLong) => return Err(FetchError::Policy(PolicyError::TooLong)),
            response => response.map_err(FetchError::Https)?,
        };
        //= https://www.rfc-editor.org/rfc/rfc8461#section-3.3
        //# HTTP 3xx redirects MUST NOT be followed
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let media_type = response.headers().get(header::CONTENT_TYPE);
        let media_type = media_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
        if !media_type.as_deref().is_some_and(is_plain_text) {
            return Err(FetchError::MediaType);
        }
        let body = response.into_body();
        Policy::parse(&body).map_err(FetchError::Policy)?;
        String::from_utf8(body.into()).map_err(|_| FetchError::Policy(NOT_UTF8))
    }
}

/// Whether a `Content-Type` is `text/plain`, with whatever parameters.
fn is_plain_text(value: &str) -> bool {
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/plain")
}

/// Why a policy could not be fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FetchError {
    /// There is no answer from the policy host.
    Https(HttpsError),
    /// The answer is not `text/plain`.
    MediaType,
    /// The domain is too long for a policy host to stand below it.
    NameTooLong,
    /// The file is no policy.
    Policy(PolicyError),
    /// The answer has this status instead of 200; redirects are not followed.
    Status(u16),
}

impl FetchError {
    /// The result type for reports: RFC 8460, Section 4.3.2.2.
    #[must_use]
    pub const fn result_type(&self) -> &'static str {
        match self {
            Self::Https(HttpsError::Certificate(_)) => "sts-webpki-invalid",
            Self::Policy(_) => "sts-policy-invalid",
            Self::Https(_) | Self::MediaType | Self::NameTooLong | Self::Status(_) => {
                "sts-policy-fetch-error"
            }
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https(why) => write!(f, "the policy cannot be fetched: {why}"),
            Self::MediaType => f.write_str("the policy file is not served as text/plain"),
            Self::NameTooLong => f.write_str("the domain is too long to have a policy host"),
            Self::Policy(why) => write!(f, "the policy file is refused: {why}"),
            Self::Status(status @ 300..400) => write!(
                f,
                "the policy host answers with status {status}, and redirects are not followed"
            ),
            Self::Status(status) => write!(f, "the policy host answers with status {status}"),
        }
    }
}

impl std::error::Error for FetchError {}

/// What cannot happen after the file was parsed.
const NOT_UTF8: PolicyError = PolicyError::NotUtf8 { line: 1 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_text_plain_with_any_parameters() {
        for (value, expected) in [
            ("text/plain", true),
            ("Text/Plain; charset=utf-8", true),
            ("text/plain ;x", true),
            ("text/plainly", false),
            ("text/html", false),
            ("application/text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_plain_text(value), expected, "{value:?}");
        }
    }

    #[test]
    fn every_failure_has_its_result_type() {
        for (error, result_type) in [
            (FetchError::Status(404), "sts-policy-fetch-error"),
            (
                FetchError::Https(HttpsError::TimedOut),
                "sts-policy-fetch-error",
            ),
            (
                FetchError::Policy(PolicyError::TooLong),
                "sts-policy-invalid",
            ),
            (
                FetchError::Https(HttpsError::Certificate(String::new())),
                "sts-webpki-invalid",
            ),
        ] {
            assert_eq!(error.result_type(), result_type, "{error}");
        }
    }
}
