//! What clap says about a command line that it does not understand, in our form.

use clap::CommandFactory;
use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output;

/// What the command line asks for; `None` if it asked for help, which has been printed.
///
/// # Errors
/// The command line makes no sense.
pub(crate) fn parse() -> Result<Option<Cli>, Failure> {
    let error = match Cli::try_parse() {
        Ok(cli) => return Ok(Some(cli)),
        Err(error) => error,
    };
    let kind = error.kind();
    let text = error.render();
    if kind == ErrorKind::DisplayHelp || kind == ErrorKind::DisplayVersion {
        if output::Paint::for_stdout().is_enabled() {
            output::print(text.ansi())?;
        } else {
            output::print(text)?;
        }
        return Ok(None);
    }
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Failure::usage("a command is missing").hint(asked().commands()));
    }
    Err(failure(&text.to_string()))
}

/// The first paragraph as the message, a tip or the usage as the hint.
fn failure(text: &str) -> Failure {
    let mut message = String::new();
    for line in text.lines().take_while(|line| !line.trim().is_empty()) {
        if !message.is_empty() {
            message.push(' ');
        }
        message.push_str(line.trim());
    }
    let message = message.trim_start_matches("error: ").to_owned();
    let after = |mark: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(mark));
        found.map(|rest| rest.trim().to_owned())
    };
    match after("tip: ").or_else(|| after("Usage: ")) {
        Some(hint) => Failure::usage(message).hint(hint),
        None => Failure::usage(message).hint(format!("`{} --help` says more", asked().words)),
    }
}

/// The command that a command line names, as far as it names one.
struct Asked {
    command: clap::Command,
    /// The words of the line that name it.
    words: String,
}

/// What this process was asked for.
fn asked() -> Asked {
    let mut asked = Asked {
        command: Cli::command(),
        words: String::from("byrnie"),
    };
    for word in std::env::args().skip(1) {
        let Some(command) = asked.command.find_subcommand(&word).cloned() else {
            break;
        };
        asked.command = command;
        asked.words.push(' ');
        asked.words.push_str(&word);
    }
    asked
}

impl Asked {
    /// The commands below it, for a hint.
    fn commands(&self) -> String {
        let names = self.command.get_subcommands().map(clap::Command::get_name);
        let names: Vec<&str> = names.collect();
        format!(
            "one of {}; `{} --help` says what they do",
            names.join(", "),
            self.words
        )
    }
}
