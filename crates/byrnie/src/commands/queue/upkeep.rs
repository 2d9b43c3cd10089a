//! `byrnie queue verify` and `backup`: is everything whole, and a copy of it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;

use byrnie_store::QueueCommands;
use byrnie_store::Spool as _;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::Verified;
use serde::Serialize;

use super::list::messages;
use crate::cli::QueueBackupArgs;
use crate::cli::QueueVerifyArgs;
use crate::commands::spool::Spool;
use crate::control;
use crate::control::DamagedMessage;
use crate::control::Request;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::runtime;

/// Runs `byrnie queue verify`.
pub(super) fn verify(args: &QueueVerifyArgs) -> Result<ExitCode, Failure> {
    let spool = Spool::look(&args.config)?;
    let verified = look(&spool.store)?;
    if args.json {
        output::print_json(&verified)?;
    } else {
        let mut text = format!(
            "{}, {} octets: {} damaged\n",
            messages(verified.messages),
            verified.octets,
            verified.damaged_total
        );
        for damaged in &verified.damaged {
            text.push_str(&format!("{}: {}\n", damaged.queue_id, damaged.what));
        }
        output::print(output::visible(&text))?;
    }
    if verified.damaged_total == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    put_aside(&spool, &verified)?;
    if !args.json {
        output::warn(
            "what is damaged is put aside as corrupt and never sent; `byrnie queue remove ID` drops it",
        );
    }
    Ok(ExitCode::from(1))
}

/// Compares everything with its checksums, and says on a terminal how far it is.
fn look(store: &SqliteStore) -> Result<Verified, Failure> {
    let progress = Progress::new();
    let verified = runtime::block_on(async {
        let tell = |it: byrnie_store::Progress| progress.tell(it.done, it.total, "looked at");
        let verified = store.verify_all(tell).await;
        verified.map_err(|error| Failure::store(&error))
    });
    progress.make_way();
    verified
}

/// Sees to it that what is damaged is never sent.
fn put_aside(spool: &Spool, verified: &Verified) -> Result<(), Failure> {
    let damaged = verified.damaged.iter().map(|damaged| DamagedMessage {
        queue_id: damaged.queue_id,
        what: damaged.what.clone(),
    });
    let damaged: Vec<DamagedMessage> = damaged.collect();
    let request = Request::PutAside {
        damaged: damaged.clone(),
    };
    if control::ask::<()>(spool.path(), &request)?.is_some() {
        return Ok(());
    }
    let store = spool.alone()?;
    runtime::block_on(async {
        for message in damaged {
            let marked = store.mark_corrupt(message.queue_id, message.what).await;
            marked.map_err(|error| Failure::store(&error))?;
        }
        Ok(())
    })
}

/// Runs `byrnie queue backup`.
pub(super) fn backup(args: &QueueBackupArgs) -> Result<ExitCode, Failure> {
    let spool = Spool::look(&args.config)?;
    let copy = SqliteOptions::in_directory(&args.folder);
    let folder = DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(&args.folder);
    folder.map_err(|error| {
        Failure::runtime(format!("{}: {error}", args.folder.display()))
            .hint("name a folder that is empty, or that can be made")
    })?;
    let progress = Progress::new();
    let written = runtime::block_on(async {
        let tell = |it: byrnie_store::Progress| progress.tell(it.done, it.total, "pages copied");
        let written = spool.store.backup(&copy.database(), tell).await;
        written.map_err(|error| {
            Failure::runtime(error.to_string()).hint("name a folder that is empty")
        })
    });
    progress.make_way();
    written?;
    let copy = SqliteStore::attach(copy).map_err(|error| Failure::store(&error))?;
    let verified = look(&copy)?;
    if args.json {
        output::print_json(&Copied {
            folder: &args.folder,
            verified: &verified,
        })?;
    } else {
        output::print(format_args!(
            "{}: {}, {} octets: {} damaged\n",
            args.folder.display(),
            messages(verified.messages),
            verified.octets,
            verified.damaged_total
        ))?;
    }
    if verified.damaged_total == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::runtime("the copy has damaged messages in it")
        .hint("`byrnie queue verify` says whether the spool has them too"))
}

/// A copy that was looked at, for machines.
#[derive(Serialize)]
struct Copied<'a> {
    /// Where it is.
    folder: &'a Path,
    /// What was found.
    #[serde(flatten)]
    verified: &'a Verified,
}

/// What lies in a backup is as private as mail.
const FOLDER_MODE: u32 = 0o700;
