//! `byrnie config`: is this file good, and what could it say?

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::ConfigCheckArgs;
use crate::cli::ConfigCommand;
use crate::config;
use crate::failure::Failure;
use crate::output;
use crate::resolving;

/// Runs `byrnie config`.
pub(crate) fn run(command: ConfigCommand) -> Result<ExitCode, Failure> {
    match command {
        ConfigCommand::Check(args) => return check(&args),
        ConfigCommand::Defaults => output::print(config::COMMENTED_DEFAULTS)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(args: &ConfigCheckArgs) -> Result<ExitCode, Failure> {
    let default = Path::new(config::DEFAULT_PATH);
    let path = args.file.as_deref().unwrap_or(default);
    let now = resolving::clock().now();
    let checked = config::load(Some(path)).and_then(|file| {
        config::check_files(&file, path)?;
        config::check_public_files(&file, path)?;
        config::check_lifetimes(&file, path, now)?;
        Ok(config::warnings(&file, now))
    });
    if !args.json {
        for warning in checked? {
            output::warn(format_args!("{}: {warning}", path.display()));
        }
        output::print(format_args!("{}: good\n", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (warnings, error) = match checked {
        Ok(warnings) => (warnings, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    output::print_json(&Checked {
        file: path,
        good: error.is_none(),
        line: error.as_ref().and_then(|error| error.line),
        message: error.as_ref().map(|error| error.message.as_str()),
        hint: error.as_ref().and_then(|error| error.hint.as_deref()),
        warnings,
    })?;
    Ok(match error {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::from(2),
    })
}

/// What `config check --json` prints.
#[derive(Serialize)]
struct Checked<'a> {
    /// The file.
    file: &'a Path,
    /// Whether it can be used.
    good: bool,
    /// The line of the first fault.
    line: Option<usize>,
    /// The first fault.
    message: Option<&'a str>,
    /// What to do about it.
    hint: Option<&'a str>,
    /// What is no fault, and yet should be looked at.
    warnings: Vec<String>,
}
