//! `byrnie serve`: the gateway, from its configuration to its end.
//!
//! ```text
//! configuration ─► spool opened ─► listeners bound ─► monitor ─► DNS probed ─► mail taken: ready
//!                                                                                   │
//!    exit code 0 ◄── monitor closed ◄── deliveries ended ◄── sessions ended ◄── signal
//! ```

mod butler;
mod common;
mod descriptors;
mod door;
mod gateway;
mod helm;
mod history;
mod life;
mod listening;
mod monitor;
mod policyd;
mod receiving;
mod reload;
mod settings;
mod tlsrpt;
mod web;

use std::process::ExitCode;

use crate::cli::ServeArgs;
use crate::config;
use crate::failure::Failure;
use crate::log;
use crate::resolving;
use crate::runtime;

/// Runs `byrnie serve`.
pub(crate) fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    let file = resolving::settings(&args.config, &args.resolve)?;
    config::check_files(&file, args.config.path())?;
    let log = log::start(file.log.format, &file.log.level)?;
    runtime::block_on(gateway::run(args, &file, log))?;
    Ok(ExitCode::SUCCESS)
}
