//! How far a long command is, for somebody who watches standard error.

use std::fmt;
use std::io;
use std::io::IsTerminal;
use std::io::Write;

/// One line that is written over again and again; nothing where nobody watches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Whether anybody is told.
    is_told: bool,
}

impl Progress {
    /// Tells a terminal.
    pub(crate) fn new() -> Self {
        Self {
            is_told: io::stderr().is_terminal(),
        }
    }

    /// Tells nobody.
    pub(crate) fn silent() -> Self {
        Self { is_told: false }
    }

    /// So much is done.
    pub(crate) fn tell(self, done: u64, total: u64, what: &str) {
        if self.is_told {
            say(format_args!("\r{done} of {total} {what}"));
        }
    }

    /// Clears the line for what is printed next.
    pub(crate) fn make_way(self) {
        if self.is_told {
            say(format_args!("\r\x1b[K"));
        }
    }
}

/// Tells the terminal something that nobody misses if it cannot be told.
fn say(text: fmt::Arguments<'_>) {
    drop(io::stderr().write_fmt(text));
}
