//! `byrnie config`: is this file good, and what could it say?

use std::path::Path;
use std::process::ExitCode;

use crate::cli::ConfigCommand;
use crate::config;
use crate::failure::Failure;
use crate::output;

/// Runs `byrnie config`.
pub(crate) fn run(command: ConfigCommand) -> Result<ExitCode, Failure> {
    match command {
        ConfigCommand::Check { file } => {
            check(file.as_deref().unwrap_or(Path::new(config::DEFAULT_PATH)))?;
        }
        ConfigCommand::Defaults => output::print(config::COMMENTED_DEFAULTS)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(path: &Path) -> Result<(), Failure> {
    let file = config::load(Some(path))?;
    config::check_files(&file, path)?;
    output::print(format_args!("{}: good\n", path.display()))
}
