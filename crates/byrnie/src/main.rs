//! byrnie: makes the way of an e-mail verifiable.
//!
//! This crate is wiring: the command line ([`cli`]), one file per command ([`commands`]), the
//! configuration ([`config`]), what people and machines read ([`output`], [`failure`]).

mod cli;
mod commands;
mod config;
mod failure;
mod output;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
