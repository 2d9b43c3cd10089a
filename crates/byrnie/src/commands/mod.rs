//! One file per command.

mod completions;
mod config;
mod dane;
mod dns;
mod man;
mod queue;

use std::process::ExitCode;

use crate::cli::Cli;
use crate::cli::Command;
use crate::failure::Failure;

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Dns(args) => dns::run(&args),
        Command::Dane(command) => dane::run(&command),
        Command::Queue(command) => queue::run(&command),
        Command::Config(command) => config::run(command),
        Command::Completions { shell } => completions::run(shell),
        Command::Man => man::run(),
    }
}
