//! `[tlsrpt]`: TLS reports.

use std::path::PathBuf;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use serde::Deserialize;
use serde::Serialize;

use super::defaults;
use super::file::TlsrptReceive;
use super::text::Listen;
use super::text::Span;

/// `[tlsrpt]`: those that we send, of how TLS with the hosts of recipient domains went.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tlsrpt {
    /// Whom recipient domains may ask; nobody is sent a report if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<Mailbox>,
    /// Who reports; the domain of `from` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) organization: Option<String>,
    /// Who sends the mails; `contact` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Mailbox>,
    /// The name in the DNS under which the public key for the mails' signatures stands; together with
    /// `dkim_key_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dkim_selector: Option<DomainName>,
    /// The private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dkim_key_file: Option<PathBuf>,
    /// Over which time the reports of a day are spread.
    pub(crate) spread: Span,
    /// Where other mail servers on this machine tell of their sessions, by libtlsrpt.
    pub(crate) collect: Vec<Listen>,
    /// Those that others send about us.
    pub(crate) receive: TlsrptReceive,
}

impl Default for Tlsrpt {
    fn default() -> Self {
        Self {
            contact: None,
            organization: None,
            from: None,
            dkim_selector: None,
            dkim_key_file: None,
            spread: defaults::TLSRPT_SPREAD,
            collect: Vec::new(),
            receive: TlsrptReceive::default(),
        }
    }
}

impl Tlsrpt {
    /// Who sends the mails; `None` if nobody is sent a report.
    pub(crate) fn sender(&self) -> Option<&Mailbox> {
        let contact = self.contact.as_ref()?;
        Some(self.from.as_ref().unwrap_or(contact))
    }

    /// The domain that stands for who reports; `None` if nobody is sent a report.
    pub(crate) fn domain(&self) -> Option<&DomainName> {
        match &self.sender()?.domain {
            MailDomain::Name(name) => Some(name),
            MailDomain::Literal(_) => None,
        }
    }
}
