//! The terminal: taken over while something is drawn on it, and given back as it was.

use std::io;
use std::io::IsTerminal;
use std::io::Write;

use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use rustix::termios::tcgetattr;
use rustix::termios::tcgetwinsize;
use rustix::termios::tcsetattr;

use crate::failure::Failure;

/// A terminal that shows another screen than the shell's; given back when this is dropped.
pub(super) struct Screen {
    /// How the terminal was.
    before: Termios,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn take() -> Result<Self, Failure> {
        let none = |why: &str| {
            Failure::usage(format!("the live view needs a terminal{why}"))
                .hint("`byrnie top --once` prints what is going on, `--json` for machines")
        };
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(none(""));
        }
        let before = tcgetattr(io::stdin()).map_err(|error| none(&format!(": {error}")))?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)
            .map_err(|error| none(&format!(": {error}")))?;
        let screen = Self { before };
        say(b"\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody left to tell if the terminal has gone.
        _ = say(b"\x1b[?25h\x1b[?1049l");
        _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Draws lines in the place of what was there. What does not change does not flicker.
pub(super) fn draw(lines: &[String]) -> Result<(), Failure> {
    let mut text = String::from("\x1b[H");
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push_str("\r\n");
        }
        text.push_str(line);
        text.push_str("\x1b[K");
    }
    text.push_str("\x1b[J");
    say(text.as_bytes())?;
    Ok(())
}

/// Columns and lines of the terminal; `None` if there is none.
pub(super) fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// Writes to the terminal.
fn say(octets: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(octets)?;
    stdout.flush()
}
