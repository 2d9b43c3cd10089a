//! `byrnie queue`: the mail that waits, why it waits, and steering it.
//!
//! What only looks reads the database, beside the gateway, and asks the gateway for what it alone knows.
//! What changes anything is done by the gateway; if none runs, by the command, under the gateway's lock.

mod list;
mod show;
mod steer;
mod upkeep;
mod why;

use std::process::ExitCode;

use byrnie_store::QueueCommands;

use super::spool::Spool;
use crate::cli::QueueCommand;
use crate::cli::QueueOneArgs;
use crate::control::Action;
use crate::failure::Failure;
use crate::output;
use crate::runtime;
use crate::selection::parse_id;

/// Runs `byrnie queue`.
pub(crate) fn run(command: &QueueCommand) -> Result<ExitCode, Failure> {
    match command {
        QueueCommand::List(args) => list::list(args),
        QueueCommand::Count(args) => list::count(args),
        QueueCommand::Show(args) => show(args),
        QueueCommand::Why(args) => why::run(args),
        QueueCommand::Retry(args) => steer::run(args, Action::Retry),
        QueueCommand::Hold(args) => steer::run(args, Action::Hold),
        QueueCommand::Release(args) => steer::run(args, Action::Release),
        QueueCommand::Remove(args) => steer::run(args, Action::Remove),
        QueueCommand::Verify(args) => upkeep::verify(args),
        QueueCommand::Backup(args) => upkeep::backup(args),
    }
}

fn show(args: &QueueOneArgs) -> Result<ExitCode, Failure> {
    let id = parse_id(&args.id)?;
    let spool = Spool::look(&args.config)?;
    runtime::block_on(async {
        let shown = spool.store.show(id).await;
        let shown = shown.map_err(|error| Failure::store(&error))?;
        if args.json {
            output::print_json(&shown)?;
        } else {
            output::print(output::visible(&show::text(&shown)))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
