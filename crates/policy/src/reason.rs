//! Why a decision is what it is, as data.

/// One step of the reasoning.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {}
