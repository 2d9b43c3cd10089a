//! What can go wrong in the lab itself, as opposed to in the program under test.

use std::fmt;
use std::io;

/// Why the lab could not be raised, or could not go on.
///
/// A scenario that comes out otherwise than it must is no `LabError` but a
/// [`Verdict`](crate::report::Verdict).
#[derive(Debug)]
#[non_exhaustive]
pub enum LabError {
    /// A certificate could not be made.
    Certificate(rcgen::Error),
    /// A key could not be made or used.
    Crypto(&'static str),
    /// The machine refused a file, a socket or a process.
    Io {
        /// What was being done.
        doing: String,
        /// What the machine said.
        source: io::Error,
    },
    /// A text that should be a domain name is none.
    Name(String),
    /// No free port was found in [`PORT_ATTEMPTS_MAX`](crate::address::PORT_ATTEMPTS_MAX) draws.
    NoFreePort,
    /// All addresses of the lab's block are given out.
    OutOfAddresses,
    /// The program under test did something that no scenario can be built upon.
    Subject(String),
    /// TLS could not be configured with what the lab made.
    Tls(rustls::Error),
    /// `--scenario` names none that exists.
    UnknownScenario(String),
    /// A scenario speaks of a host or a zone that it did not set up.
    Unset(String),
}

impl LabError {
    /// For `map_err` upon an operation of the machine.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::Io { doing, source }
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(_) => f.write_str("cannot make a certificate"),
            Self::Crypto(what) => write!(f, "cannot {what}"),
            Self::Io { doing, .. } => write!(f, "cannot {doing}"),
            Self::Name(text) => write!(f, "{text:?} is no domain name"),
            Self::NoFreePort => f.write_str("found no free port on the loopback network"),
            Self::OutOfAddresses => f.write_str("the lab's block of addresses is used up"),
            Self::Subject(what) => write!(f, "the program under test {what}"),
            Self::Tls(_) => f.write_str("cannot configure TLS"),
            Self::UnknownScenario(name) => write!(f, "there is no scenario {name:?}"),
            Self::Unset(what) => write!(f, "the scenario never set up {what}"),
        }
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Certificate(source) => Some(source),
            Self::Io { source, .. } => Some(source),
            Self::Tls(source) => Some(source),
            Self::Crypto(_)
            | Self::Name(_)
            | Self::NoFreePort
            | Self::OutOfAddresses
            | Self::Subject(_)
            | Self::UnknownScenario(_)
            | Self::Unset(_) => None,
        }
    }
}

impl From<rcgen::Error> for LabError {
    fn from(source: rcgen::Error) -> Self {
        Self::Certificate(source)
    }
}

impl From<rustls::Error> for LabError {
    fn from(source: rustls::Error) -> Self {
        Self::Tls(source)
    }
}
