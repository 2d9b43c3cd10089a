//! A copy of the spool while it is in use.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::thread;

use rusqlite::Connection;
use rusqlite::backup::Backup;
use rusqlite::backup::StepResult;
use tokio::sync::mpsc;

use super::SqliteStore;
use super::connect_for_reading;
use super::failure;
use super::io_failure;
use super::open_private;
use crate::Progress;
use crate::StoreError;

/// Writes the spool as it is now to a new file.
pub(super) async fn backup(
    store: &SqliteStore,
    path: &Path,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<(), StoreError> {
    let (from, to) = (store.path(), path.to_owned());
    let (report, mut reports) = mpsc::channel(REPORTS_WAITING_MAX);
    // A thread of its own: a copy takes as long as it takes, and readers have other things to do.
    let copying = thread::Builder::new()
        .name(String::from("spool-backup"))
        .spawn(move || copy(&from, &to, &report))
        .map_err(|error| StoreError::Io(error.to_string()))?;
    while let Some(done) = reports.recv().await {
        progress(done);
    }
    // The channel is closed because the thread has ended.
    let ended = copying.join();
    ended.unwrap_or_else(|_| Err(StoreError::Io(String::from("the copying has panicked"))))
}

/// Copies to a file beside the new one, which then takes its name.
fn copy(from: &Path, to: &Path, report: &mpsc::Sender<Progress>) -> Result<(), StoreError> {
    if to.exists() {
        return Err(StoreError::Io(format!("{}: it exists", to.display())));
    }
    let partial = PathBuf::from(format!("{}.partial", to.display()));
    drop(fs::remove_file(&partial));
    let copied = copy_pages(from, &partial, report).and_then(|()| {
        File::open(&partial)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&partial, to))
            .and_then(|()| sync_directory(to))
            .map_err(|error| io_failure(to, &error))
    });
    if copied.is_err() {
        drop(fs::remove_file(&partial));
    }
    copied
}

/// Copies every page as it is at the beginning.
fn copy_pages(from: &Path, to: &Path, report: &mpsc::Sender<Progress>) -> Result<(), StoreError> {
    let source = connect_for_reading(from)?;
    // Its own snapshot: else the copy would begin anew with each message that comes in meanwhile.
    let snapshot = source
        .unchecked_transaction()
        .map_err(|error| failure(&error))?;
    snapshot
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(|error| failure(&error))?;
    drop(open_private(to)?);
    let mut target = Connection::open(to).map_err(|error| failure(&error))?;
    let backup = Backup::new(&snapshot, &mut target).map_err(|error| failure(&error))?;
    loop {
        let step = backup
            .step(PAGES_AT_ONCE)
            .map_err(|error| failure(&error))?;
        let pages = backup.progress();
        let number = |pages| u64::try_from(pages).unwrap_or(0);
        let total = number(pages.pagecount);
        // Nobody who listens has gone, or has stopped to: then neither need this go on.
        report
            .blocking_send(Progress {
                done: total.saturating_sub(number(pages.remaining)),
                total,
            })
            .map_err(|_| StoreError::Closed)?;
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            StepResult::Busy | StepResult::Locked => return Err(StoreError::Busy),
            _ => return Err(StoreError::Refused(String::from("an unknown step"))),
        }
    }
}

/// Makes the new name durable.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Pages that are copied between two reports: 16 MiB.
const PAGES_AT_ONCE: i32 = 4_096;

/// Reports that wait to be heard; then the copying waits.
const REPORTS_WAITING_MAX: usize = 1;
