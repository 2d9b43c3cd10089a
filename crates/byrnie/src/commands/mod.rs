//! One file per command.

mod anchors;
mod completions;
mod config;
mod dane;
mod dns;
mod lab;
mod man;
mod mta_sts;
mod policy;
mod queue;
mod reload;
mod report;
mod spool;
mod top;

use std::process::ExitCode;

use crate::cli::Cli;
use crate::cli::Command;
use crate::failure::Failure;
use crate::serve;

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Top(args) => top::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Dns(args) => dns::run(&args),
        Command::Anchors(args) => anchors::run(&args),
        Command::Dane(command) => dane::run(&command),
        Command::Queue(command) => queue::run(&command),
        Command::Report(command) => report::run(&command),
        Command::MtaSts(command) => mta_sts::run(&command),
        Command::Config(command) => config::run(command),
        Command::Completions { shell } => completions::run(shell),
        Command::Man => man::run(),
    }
}
