//! `byrnie queue`: the mail that waits, why it waits, and steering it.
//!
//! What only looks reads the database, beside the gateway, and asks the gateway for what it alone knows.
//! What changes anything is done by the gateway; if none runs, by the command, under the gateway's lock.

mod list;
mod show;
mod steer;
mod upkeep;
mod why;

use std::path::Path;
use std::process::ExitCode;

use byrnie_base::MailDomain;
use byrnie_store::QueueCommands;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;

use crate::cli::ConfigArgs;
use crate::cli::QueueCommand;
use crate::cli::QueueOneArgs;
use crate::config;
use crate::config::File;
use crate::control;
use crate::control::Action;
use crate::control::Glance;
use crate::control::Request;
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

/// The spool of a configuration, beside a gateway that may be working on it.
struct Spool {
    /// To read.
    store: SqliteStore,
    /// The configuration.
    file: File,
}

impl Spool {
    /// Opens it for reading.
    fn look(args: &ConfigArgs) -> Result<Self, Failure> {
        let file = config::load(args.config.as_deref())?;
        let store = SqliteStore::attach(SqliteOptions::in_directory(&file.queue.spool));
        let store = store.map_err(|error| {
            let failure = Failure::runtime(error.to_string());
            if matches!(error, StoreError::OlderSchema { .. }) {
                return failure.hint("`byrnie serve` brings it to this version when it starts");
            }
            failure.hint(format!(
                "`queue.spool` is {}; name the gateway's configuration with `--config`, and run as its user",
                file.queue.spool.display()
            ))
        })?;
        Ok(Self { store, file })
    }

    /// Where it is.
    fn path(&self) -> &Path {
        &self.file.queue.spool
    }

    /// What the gateway knows besides, about these next hops; `None` if none runs.
    fn glance(&self, named: Vec<MailDomain>) -> Result<Option<Glance>, Failure> {
        let request = Request::Look {
            destinations: 0,
            named,
        };
        control::ask(self.path(), &request)
    }

    /// The store to be changed, where no gateway runs.
    fn alone(&self) -> Result<SqliteStore, Failure> {
        let options = SqliteOptions::in_directory(self.path());
        SqliteStore::open(options).map_err(|error| {
            if error == StoreError::Locked {
                return Failure::runtime("a gateway works on the spool and cannot be asked")
                    .hint("it is just starting or ending: try again in a moment");
            }
            Failure::store(&error)
        })
    }
}
