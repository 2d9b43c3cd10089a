//! A whole decision as text, for people.

use std::fmt;

use crate::Decision;
use crate::HostDecision;
use crate::HostVerdict;
use crate::RequireTls;
use crate::Requirement;
use crate::StsObservation;
use crate::Verdict;
use crate::reason::Level;

/// The text of a [`Decision`]: the domain and its reasons, then each host and its reasons, indented.
///
/// Made by [`Decision::explanation`]; ends without a line end.
#[derive(Clone, Copy, Debug)]
pub struct Explanation<'a>(&'a Decision);

impl Decision {
    /// The decision as lines of text.
    #[must_use]
    pub const fn explanation(&self) -> Explanation<'_> {
        Explanation(self)
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(decision) = self;
        write!(f, "{}: {}", decision.domain, decision.verdict)?;
        for reason in &decision.reasons {
            write!(f, "\n  {reason}")?;
        }
        for host in &decision.hosts {
            write_host(f, host)?;
        }
        Ok(())
    }
}

/// Writes the lines of one host.
fn write_host(f: &mut fmt::Formatter<'_>, host: &HostDecision) -> fmt::Result {
    write!(f, "\n  {} {}: ", host.preference, host.host)?;
    match &host.verdict {
        HostVerdict::Use(requirement) => write_requirement(f, requirement)?,
        HostVerdict::Wait => f.write_str("not now")?,
        HostVerdict::Skip => f.write_str("not used")?,
    }
    if let (HostVerdict::Use(_), [first, rest @ ..]) = (&host.verdict, host.addresses.as_slice()) {
        write!(f, "\n    at {first}")?;
        for address in rest {
            write!(f, ", {address}")?;
        }
    }
    for reason in &host.reasons {
        write!(f, "\n    {reason}")?;
    }
    Ok(())
}

/// Writes what must hold.
fn write_requirement(f: &mut fmt::Formatter<'_>, requirement: &Requirement) -> fmt::Result {
    write!(f, "{}", Level(requirement.tls.strength()))?;
    match requirement.require_tls {
        RequireTls::NotDemanded => {}
        RequireTls::Demanded => f.write_str(", and REQUIRETLS")?,
    }
    match requirement.sts_observation {
        StsObservation::None => {}
        StsObservation::Watch => f.write_str(", watched for MTA-STS")?,
    }
    Ok(())
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dane => "dane",
            Self::MtaSts => "mta-sts",
            Self::Encrypt => "encrypt",
            Self::Opportunistic => "opportunistic",
            Self::Wait => "wait",
            Self::Reject => "reject",
        })
    }
}
