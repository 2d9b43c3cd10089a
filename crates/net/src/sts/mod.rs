//! MTA-STS policies over HTTPS: RFC 8461, Section 3.3, and the life of what was fetched.
//!
//! ```text
//! StsPolicies::find ─► TXT record ┐
//!                      PolicyCache ┴► plan ─► (FetchPolicy ─► PolicyCache) ─► StsEvidence
//! ```
//!
//! [`StsPolicies`] follows `byrnie-mta-sts`'s rules: what is kept, when it is fetched again and what
//! counts when that fails. [`StsFetcher`] fetches, [`PolicyCache`] keeps; both are traits' sides, so
//! that the rules can be tested without a network and the policies can live in any store.

mod cache;
mod fetch;
mod policies;
mod slots;

pub use cache::CacheError;
pub use cache::MEMORY_POLICIES_MAX;
pub use cache::MemoryPolicyCache;
pub use cache::PolicyCache;
pub use fetch::FetchError;
pub use fetch::FetchPolicy;
pub use fetch::StsFetcher;
pub use policies::FoundPolicy;
pub use policies::REFRESH_BATCH_MAX;
pub use policies::REFRESH_CONCURRENCY;
pub use policies::REFRESH_RETRY;
pub use policies::RefreshReport;
pub use policies::StsPolicies;
pub use slots::DOMAINS_REMEMBERED_MAX;
