//! Answers from the DNS with their DNSSEC status.
//!
//! The rest of byrnie sees [`Resolve`] alone. Which validator stands behind it is nobody else's
//! business.

use std::future::Future;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_dane::TlsaRecord;

/// Asks the DNS.
pub trait Resolve: Send + Sync + 'static {
    /// Looks up the records of one type at one name, following aliases.
    ///
    /// Always ends, within the configured time-out, in an answer that says how far it got.
    fn lookup(
        &self,
        name: &DomainName,
        record_type: RecordType,
    ) -> impl Future<Output = Answer> + Send;
}

/// The answer to a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The name asked for.
    pub name: DomainName,
    /// The type asked for.
    pub record_type: RecordType,
    /// The aliases on the way, each with its own security; secure ones may lead to insecure ones and
    /// the other way round.
    pub steps: Vec<Secured<Alias>>,
    /// What stands at the end, with the security of that end alone.
    pub outcome: Result<Secured<Outcome>, LookupError>,
    /// How long the answer may be kept, between the configured floor and ceiling.
    pub ttl: Duration,
}

/// One CNAME, or one DNAME with the CNAME that follows from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alias {
    /// The alias.
    pub owner: DomainName,
    /// What it stands for.
    pub target: DomainName,
}

/// What stands at the end of the aliases.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// An RRset; never empty.
    Records(Vec<RecordData>),
    /// The name exists and has no records of the type; proven where the outcome is secure.
    NoData,
    /// The name does not exist; proven where the outcome is secure.
    NxDomain,
}

/// A record, as far as byrnie understands it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail exchange; the host is `None` for the root (RFC 7505's null MX).
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The host.
        host: Option<DomainName>,
    },
    /// Certificate associations.
    Tlsa(TlsaRecord),
    /// The character strings of a TXT record, joined.
    Txt(Vec<u8>),
    /// Any other record, in presentation form.
    Other(String),
}

/// Record types that byrnie asks for, and any other for people who look.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchanges.
    Mx,
    /// Certificate associations.
    Tlsa,
    /// Text.
    Txt,
    /// Any other, by number.
    Other(u16),
}
