//! How a command fails: one line, a hint under it, and an exit code.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use byrnie_store::StoreError;

use crate::config::ConfigError;
use crate::control::Fault;
use crate::control::Refused;
use crate::output;

/// Why a command could not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Lower case, one line, no full stop.
    message: String,
    /// What to do about it.
    hint: Option<String>,
    /// Whose fault it is.
    kind: FailureKind,
}

/// Whose fault a failure is; decides the exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FailureKind {
    /// The world's: exit code 1.
    Runtime,
    /// The caller's: bad usage, a bad configuration, unreadable input; exit code 2.
    Usage,
    /// Nobody reads the output any more: exit code 0, and nothing is said.
    ReaderGone,
}

impl Failure {
    /// Something outside did not work: exit code 1.
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            kind: FailureKind::Runtime,
        }
    }

    /// The command line or a file is wrong: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            kind: FailureKind::Usage,
        }
    }

    /// The spool did not do what was asked.
    pub(crate) fn store(error: &StoreError) -> Self {
        let failure = Self::runtime(error.to_string());
        if matches!(error, StoreError::NoSuchMessage(_)) {
            return failure.hint("`byrnie queue list` prints the ids");
        }
        if error.is_passing() {
            return failure.hint("try again in a moment");
        }
        failure
    }

    /// The same with advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What has happened.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, if anybody knows.
    pub(crate) fn advice(&self) -> &str {
        self.hint.as_deref().unwrap_or_default()
    }

    /// The same with the place before it.
    #[must_use]
    pub(crate) fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Writes the failure to standard error and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let paint = output::Paint::for_stderr();
        let mut lines = format!("{} {}\n", paint.red("error:"), self.message);
        if let Some(hint) = &self.hint {
            lines.push_str(&format!("{} {hint}\n", paint.bold("hint:")));
        }
        match self.kind {
            FailureKind::ReaderGone => return ExitCode::SUCCESS,
            FailureKind::Runtime | FailureKind::Usage => {}
        }
        // There is nowhere left to say that standard error is closed.
        let _closed = io::stderr().lock().write_all(lines.as_bytes());
        match self.kind {
            FailureKind::ReaderGone => ExitCode::SUCCESS,
            FailureKind::Runtime => ExitCode::from(1),
            FailureKind::Usage => ExitCode::from(2),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::usage(error.to_string());
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self {
            message: refused.message,
            hint: refused.hint,
            kind: match refused.fault {
                Fault::Runtime => FailureKind::Runtime,
                Fault::Usage => FailureKind::Usage,
            },
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            message: failure.message,
            hint: failure.hint,
            fault: match failure.kind {
                FailureKind::Runtime | FailureKind::ReaderGone => Fault::Runtime,
                FailureKind::Usage => Fault::Usage,
            },
        }
    }
}

impl From<io::Error> for Failure {
    /// For writing to standard output alone; other I/O says what it was about.
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() == io::ErrorKind::BrokenPipe {
            true => FailureKind::ReaderGone,
            false => FailureKind::Runtime,
        };
        Self {
            message: format!("cannot write to standard output: {error}"),
            hint: None,
            kind,
        }
    }
}
