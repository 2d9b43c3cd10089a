//! The spool as commands see it.

use std::path::Path;

use byrnie_base::MailDomain;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;

use crate::cli::ConfigArgs;
use crate::config;
use crate::config::File;
use crate::control;
use crate::control::Glance;
use crate::control::Request;
use crate::failure::Failure;

/// The spool of a configuration, beside a gateway that may be working on it.
pub(super) struct Spool {
    /// To read.
    pub(super) store: SqliteStore,
    /// The configuration.
    pub(super) file: File,
}

impl Spool {
    /// Opens it for reading.
    pub(super) fn look(args: &ConfigArgs) -> Result<Self, Failure> {
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
    pub(super) fn path(&self) -> &Path {
        &self.file.queue.spool
    }

    /// What the gateway knows besides, about these next hops; `None` if none runs.
    pub(super) fn glance(&self, named: Vec<MailDomain>) -> Result<Option<Glance>, Failure> {
        let request = Request::Look {
            destinations: 0,
            named,
        };
        control::ask(self.path(), &request)
    }

    /// The store to be changed, where no gateway runs.
    pub(super) fn alone(&self) -> Result<SqliteStore, Failure> {
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
