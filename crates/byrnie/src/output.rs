//! What goes to standard output, and colour where somebody looks.

use std::env;
use std::fmt;
use std::io;
use std::io::IsTerminal;
use std::io::Write;

use byrnie_base::UnixTime;
use byrnie_base::is_unprintable;
use jiff::Timestamp;
use serde::Serialize;

use crate::failure::Failure;

/// Writes `text` to standard output as it is.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}")?;
    stdout.flush()?;
    Ok(())
}

/// Writes `value` as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|error| Failure::runtime(error.to_string()))?;
    print(format_args!("{line}\n"))
}

/// Writes a line to standard error that is no failure.
pub(crate) fn warn(text: impl fmt::Display) {
    let line = format!("{} {text}\n", Paint::for_stderr().yellow("warning:"));
    // There is nowhere left to say that standard error is closed.
    _ = io::stderr().lock().write_all(line.as_bytes());
}

/// A point in time in RFC 3339's form.
pub(crate) fn time(at: UnixTime) -> String {
    match Timestamp::from_second(at.as_i64()) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => at.0.to_string(),
    }
}

/// Text that strangers may have had a hand in, without what a terminal would obey.
pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => c,
            c if is_unprintable(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// Colours text, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    /// Whether somebody sees colours.
    enabled: bool,
}

impl Paint {
    /// For standard output.
    pub(crate) fn for_stdout() -> Self {
        Self {
            enabled: colour_is_wanted() && io::stdout().is_terminal(),
        }
    }

    /// For nobody who sees colours.
    #[cfg(test)]
    pub(crate) fn for_nobody() -> Self {
        Self { enabled: false }
    }

    /// For standard error.
    pub(crate) fn for_stderr() -> Self {
        Self {
            enabled: colour_is_wanted() && io::stderr().is_terminal(),
        }
    }

    /// Whether somebody sees colours.
    pub(crate) fn is_enabled(self) -> bool {
        self.enabled
    }

    /// Bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Red: refused, failed.
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// Green: authenticated.
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Yellow: weaker than authenticated, or waiting.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.enabled {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Whether the environment allows colour: <https://no-color.org>.
pub(crate) fn colour_is_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
