//! Answers from the DNS with their DNSSEC status.
//!
//! The rest of byrnie sees [`Resolve`] alone. Which validator stands behind it is nobody else's
//! business. The way of a question:
//!
//! ```text
//! Resolver::lookup ─► cache ─► flight ─► upstream ─► message::plan ─► validate ─► Answer
//!                              (one for              (one step for    (chain: DS and
//!                              all askers)            every alias)     DNSKEY records)
//! ```
//!
//! Every lookup ends in exactly one of four ways: secure, insecure, bogus or failed. Only the first
//! two have a value, and only they can say that something does not exist.

use std::future::Future;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;

mod anchors;
mod cache;
mod chain;
mod config;
mod flight;
mod message;
mod probe;
mod record;
mod report;
mod resolv_conf;
mod resolver;
mod stats;
mod stream;
mod upstream;
mod validate;

pub use anchors::ANCHORS_MAX;
pub use anchors::AnchorFault;
pub use anchors::InvalidAnchors;
pub use anchors::TrustAnchors;
pub use cache::CacheBounds;
pub use config::DNS_OVER_TLS_PORT;
pub use config::DnsConfig;
pub use config::InvalidDnsConfig;
pub use config::Mode;
pub use config::Transport;
pub use config::TrustedPath;
pub use config::TtlBounds;
pub use config::UPSTREAM_HOLD;
pub use config::UPSTREAMS_MAX;
pub use probe::ProbeReport;
pub use probe::UpstreamHealth;
pub use record::InvalidRecordType;
pub use record::RecordData;
pub use record::RecordType;
pub use report::LookupReport;
pub use report::ReportKind;
pub use report::ReportStatus;
pub use report::StepReport;
pub use resolv_conf::NAMESERVERS_MAX;
pub use resolv_conf::nameservers;
pub use resolver::ALIASES_MAX;
pub use resolver::Resolver;
pub use stats::DnsCounts;
pub use stats::DnsStats;

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

impl Answer {
    /// The security of the whole: of the weakest of the aliases and the end. `None` if the lookup
    /// ended without a value.
    #[must_use]
    pub fn security(&self) -> Option<Security> {
        let end = self.outcome.as_ref().ok()?.security;
        Some(self.path_security().min(end))
    }

    /// The security of the aliases alone; secure if there are none.
    #[must_use]
    pub fn path_security(&self) -> Security {
        let weakest = self.steps.iter().map(|step| step.security).min();
        weakest.unwrap_or(Security::Secure)
    }

    /// The name that the outcome is about: the target of the last alias, or the name asked for.
    #[must_use]
    pub fn final_name(&self) -> &DomainName {
        self.steps
            .last()
            .map_or(&self.name, |step| &step.value.target)
    }

    /// About how much memory it takes, for the bounds of the cache.
    fn octets(&self) -> usize {
        let steps: usize = self.steps.iter().map(|step| step.value.octets()).sum();
        let outcome = match &self.outcome {
            Ok(secured) => match &secured.value {
                Outcome::Records(records) => records.iter().map(RecordData::octets).sum(),
                Outcome::NoData | Outcome::NxDomain => 0,
            },
            Err(error) => error.reason().len(),
        };
        // The name stands in the key of the cache as well.
        size_of::<Self>() + 2 * self.name.as_str().len() + steps + outcome
    }
}

/// One CNAME, or one DNAME with the CNAME that follows from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alias {
    /// The alias.
    pub owner: DomainName,
    /// What it stands for.
    pub target: DomainName,
}

impl Alias {
    /// About how much memory it takes.
    fn octets(&self) -> usize {
        size_of::<Self>() + self.owner.as_str().len() + self.target.as_str().len()
    }
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
