//! The decision: from [`Evidence`] to one requirement for each MX host.
//!
//! [`decide`] is one total function without I/O, clock or randomness. It is the only place in
//! byrnie that decides whether mail may travel without authenticated TLS.

mod decide;
mod decision;
mod evidence;
mod explain;
mod reason;

pub use decide::decide;
pub use decision::Decision;
pub use decision::HostDecision;
pub use decision::HostVerdict;
pub use decision::RequireTls;
pub use decision::Requirement;
pub use decision::Strength;
pub use decision::StsObservation;
pub use decision::TlsRequirement;
pub use decision::Verdict;
pub use evidence::DaneRule;
pub use evidence::DomainRule;
pub use evidence::Evidence;
pub use evidence::HostEvidence;
pub use evidence::InsecureMx;
pub use evidence::Mx;
pub use evidence::MxRrset;
pub use evidence::StsEvidence;
pub use evidence::StsFailure;
pub use evidence::StsSource;
pub use evidence::TlsaEvidence;
pub use explain::Explanation;
pub use reason::AddressFamily;
pub use reason::Reason;
