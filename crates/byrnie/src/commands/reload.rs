//! `byrnie reload`: the running gateway reads its configuration again.

use std::process::ExitCode;

use crate::cli::ReloadArgs;
use crate::config;
use crate::control;
use crate::control::Reloaded;
use crate::control::Request;
use crate::failure::Failure;
use crate::output;

/// Runs `byrnie reload`.
pub(crate) fn run(args: &ReloadArgs) -> Result<ExitCode, Failure> {
    let file = config::load(args.config.config.as_deref())?;
    let spool = &file.queue.spool;
    let reloaded: Option<Reloaded> = control::ask(spool, &Request::Reload)?;
    let reloaded = reloaded.ok_or_else(|| control::nobody_there(spool))?;
    if args.json {
        output::print_json(&reloaded)?;
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &reloaded.warnings {
        output::warn(format_args!("{}: {warning}", reloaded.file.display()));
    }
    let mut lines = format!("{}: read again\n", reloaded.file.display());
    if reloaded.in_force.is_empty() && reloaded.after_restart.is_empty() {
        lines.push_str("nothing has changed\n");
    }
    for (what, keys) in [
        ("in force now", &reloaded.in_force),
        ("unchanged until a restart", &reloaded.after_restart),
    ] {
        for key in keys {
            lines.push_str(&format!("{what}: {key}\n"));
        }
    }
    output::print(output::visible(&lines))?;
    Ok(ExitCode::SUCCESS)
}
