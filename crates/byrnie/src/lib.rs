//! byrnie: makes the way of an e-mail verifiable.
//!
//! This crate is wiring: the command line, one file per command, the configuration, what people and
//! machines read. What byrnie knows about mail lies in the crates below it.

mod cli;
mod commands;
mod config;
mod control;
mod failure;
mod kept_anchors;
mod known_policies;
mod log;
mod output;
mod policy_report;
mod progress;
mod publishing;
mod reports;
mod resolving;
mod rules;
mod runtime;
mod selection;
mod serve;
mod signals;
mod usage;

use std::path::Path;
use std::process::ExitCode;

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let ran = usage::parse().and_then(|cli| match cli {
        Some(cli) => commands::run(cli),
        None => Ok(ExitCode::SUCCESS),
    });
    match ran {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Whether a text is a configuration; files that it names are not looked at.
///
/// # Errors
/// Says what is wrong, and on which line.
pub fn check_configuration(text: &str) -> Result<(), String> {
    match config::parse(text, Path::new("byrnie.toml")) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
