//! What is strange about a report that can be read all the same.

use std::fmt;

use serde::Serialize;
use serde::Serializer;

/// What is strange about a report.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Remark {
    /// It does not say who sends it.
    NoOrganization,
    /// It has no name.
    NoReportId,
    /// It says of no day, or of none that can be understood; that of its arrival is taken.
    NoDates,
    /// Its end lies before its start, far from it, or ahead; the day of its arrival is taken.
    AbsurdDates,
    /// A policy does not say whose it is.
    NoPolicyDomain,
    /// A policy is of a kind that nobody knows.
    UnknownPolicyType(String),
    /// More sessions failed in the ways that are listed than failed at all.
    CountsOverlap,
    /// A number is too large, or none.
    AbsurdCount,
    /// What stands where an address belongs is none, and is left out.
    NotAnAddress(String),
    /// A name is longer than one can be, and was cut.
    LongName,
    /// Failures were so many that some are only counted together.
    Summed,
    /// So many entries of a list were left out, as nobody has so many.
    LeftOut {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
    },
    /// The compressed form is damaged behind the report.
    DamagedBehind(String),
    /// Another report with other content has the same sender and name.
    SameName,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOrganization => f.write_str("it does not say who sends it"),
            Self::NoReportId => f.write_str("it has no report-id"),
            Self::NoDates => f.write_str("it has no dates; the day of its arrival is taken"),
            Self::AbsurdDates => {
                f.write_str("its dates make no sense; the day of its arrival is taken")
            }
            Self::NoPolicyDomain => f.write_str("a policy has no policy-domain"),
            Self::UnknownPolicyType(name) => write!(f, "the policy-type {name:?} is unknown"),
            Self::CountsOverlap => {
                f.write_str("more sessions failed in the ways listed than failed at all")
            }
            Self::AbsurdCount => f.write_str("a number of sessions makes no sense"),
            Self::NotAnAddress(text) => write!(f, "{text:?} is no IP address"),
            Self::LongName => f.write_str("a name is too long, and was cut"),
            Self::Summed => {
                f.write_str("of the many ways in which sessions failed, some are counted together")
            }
            Self::LeftOut { what, count } => write!(f, "{count} {what} too many were left out"),
            Self::DamagedBehind(why) => write!(f, "the gzip is damaged at its end: {why}"),
            Self::SameName => {
                f.write_str("another report with other content has the same sender and report-id")
            }
        }
    }
}

impl Serialize for Remark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
