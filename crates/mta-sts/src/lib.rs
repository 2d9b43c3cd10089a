//! SMTP MTA Strict Transport Security (MTA-STS), [RFC 8461].
//!
//! A domain without DNSSEC can still promise that its mail hosts speak TLS with a certificate from a
//! public authority: it says so in a small file on a web server, its *policy*, and a TXT record tells
//! when that file has changed. A sender keeps the policy for as long as the policy asks, so that
//! an attacker who cuts it off from the web server tomorrow gains nothing.
//!
//! This crate parses, matches and says when to fetch; it never does I/O and never reads the clock.
//!
//! | RFC 8461 section | here |
//! |---|---|
//! | 3.1 MTA-STS TXT records | [`StsRecord`] |
//! | 3.2 MTA-STS policies | [`Policy`] |
//! | 3.3 HTTPS policy fetching | [`policy_host`], [`POLICY_PATH`] |
//! | 4.1 policy application, MX host validation | [`MxPattern`] |
//! | 3.1 and 3.2, what we publish ourselves | [`Published`] |
//! | 5.1 and 10.2: when to fetch, what to keep | [`CachedPolicy`], [`plan`] |
//!
//! [RFC 8461]: https://www.rfc-editor.org/rfc/rfc8461

mod cache;
mod lint;
mod mx_pattern;
mod policy;
mod publish;
mod record;

pub use cache::CachedPolicy;
pub use cache::FETCH_FAILURE_MEMORY;
pub use cache::Plan;
pub use cache::REFRESH_INTERVAL;
pub use cache::REFRESH_JITTER_MAX;
pub use cache::plan;
pub use lint::Finding;
pub use lint::Seen;
pub use lint::lint;
pub use mx_pattern::MxPattern;
pub use policy::Field;
pub use policy::MX_PATTERNS_MAX;
pub use policy::Mode;
pub use policy::POLICY_OCTETS_MAX;
pub use policy::Policy;
pub use policy::PolicyError;
pub use publish::Published;
pub use record::InvalidPolicyId;
pub use record::PolicyId;
pub use record::RecordError;
pub use record::RecordFault;
pub use record::StsRecord;

use byrnie_base::DomainName;
use byrnie_base::InvalidDomainName;

/// The path under which the policy host serves the policy: RFC 8461, Section 3.3.
pub const POLICY_PATH: &str = "/.well-known/mta-sts.txt";

/// The host that serves a policy domain's policy: `mta-sts.` and the domain.
///
/// # Errors
/// The domain is so long that no name can stand below it; it cannot have a policy.
pub fn policy_host(policy_domain: &DomainName) -> Result<DomainName, InvalidDomainName> {
    policy_domain.prefixed("mta-sts")
}

/// Where a policy domain's TXT record stands: `_mta-sts.` and the domain.
///
/// # Errors
/// The domain is so long that no name can stand below it; it cannot have a policy.
pub fn record_owner(policy_domain: &DomainName) -> Result<DomainName, InvalidDomainName> {
    policy_domain.prefixed("_mta-sts")
}
