//! Answers from the DNS with their DNSSEC status.
//!
//! The rest of byrnie sees [`Resolve`] alone. Which validator stands behind it is nobody else's
//! business. The way of a question:
//!
//! ```text
//! Resolver::lookup ─► cache ─► flight ─► validate ◄──► source ◄──► upstream
//!                              (one for  (drives the   (what the validator wants to know:
//!                              all       crate         the question itself, DS and DNSKEY
//!                              askers)   `dnssec`)     records, side by side)
//!                                            └─► Verdict ─► Answer
//! ```
//!
//! Every lookup ends in exactly one of four ways: secure, insecure, bogus or failed. Only the first
//! two have a value, and only they can say that something does not exist.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_base::Security;
use byrnie_dnssec::Insecure;
use byrnie_dnssec::Link;

mod anchor_book;
mod cache;
mod config;
mod datagram;
mod flight;
mod follow;
mod message;
mod probe;
mod query_name;
mod record;
mod report;
mod resolv_conf;
mod resolver;
mod source;
mod stats;
mod stream;
mod upstream;
mod validate;

pub use anchor_book::AnchorBook;
pub use anchor_book::AnchorRefresh;
pub use anchor_book::AnchorReport;
pub use anchor_book::AnchorSource;
pub use anchor_book::AnchorState;
pub use anchor_book::AnchorUpdates;
pub use anchor_book::KeepAnchors;
pub use anchor_book::KeepError;
pub use anchor_book::KeyReport;
pub use anchor_book::NegativeAnchor;
pub use anchor_book::NegativeReport;
pub use anchor_book::ZoneReport;
pub use byrnie_dnssec::ANCHORS_MAX;
pub use byrnie_dnssec::AnchorFault;
pub use byrnie_dnssec::InvalidAnchors;
pub use byrnie_dnssec::TrustAnchors;
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
pub use follow::ANCHOR_WAIT_MAX;
pub use follow::AnchorFollower;
pub use follow::HINT_DEAD;
pub use probe::ProbeReport;
pub use probe::UpstreamHealth;
pub use query_name::QueryName;
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
    /// How it was proven, for people to read.
    pub explanation: Explanation,
}

/// How an answer was proven. Nothing is decided by it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Explanation {
    /// The zones from the trust anchor down; empty where somebody else validates.
    pub chain: Vec<Arc<Link>>,
    /// Where the chain ends, and by which proof, if the answer is insecure.
    pub insecure: Option<Insecure>,
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
        path_security(&self.steps)
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
        // The links of the chain are shared with the validator's cache.
        let chain = self.explanation.chain.len() * size_of::<Arc<Link>>();
        size_of::<Self>() + 2 * self.name.as_str().len() + steps + outcome + chain
    }
}

/// The security of the weakest of the aliases; secure if there are none.
fn path_security(steps: &[Secured<Alias>]) -> Security {
    let weakest = steps.iter().map(|step| step.security).min();
    weakest.unwrap_or(Security::Secure)
}

/// One CNAME, or one DNAME with the CNAME that follows from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alias {
    /// The alias; only who asks for a name that no host has can meet another.
    pub owner: QueryName,
    /// What it stands for.
    pub target: DomainName,
}

impl Alias {
    /// About how much memory it takes.
    fn octets(&self) -> usize {
        size_of::<Self>() + self.owner.octets() + self.target.as_str().len()
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
