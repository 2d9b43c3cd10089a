//! The store in one SQLite database.

mod anchors;
mod backup;
mod commands;
mod finish;
mod migrate;
mod outgoing;
mod receipts;
mod received;
mod results;
mod rows;
mod spool;
mod sts;
#[cfg(test)]
mod tests;
mod verify;
mod worker;
mod writing;

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_base::UnixTime;
use rusqlite::Connection;
use rusqlite::ErrorCode;
use rusqlite::OpenFlags;

use self::migrate::SCHEMA_VERSION;
use self::migrate::migrate;
use self::worker::Workers;
use self::writing::Counters;
use self::writing::FlushCounts;
pub use self::writing::Flushes;
use self::writing::Writing;
use crate::DeliveryId;
use crate::QueueId;
use crate::StoreError;
use crate::queue_id::IdSource;

/// Where the spool lies and how large it may grow.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The directory that holds the database and nothing else; made if it is missing.
    pub directory: PathBuf,
    /// How much is kept.
    pub bounds: SpoolBounds,
    /// Octets that must be free on the disk for a message to be accepted. What is in the queue needs
    /// some of them to leave it: on a full disk, nothing could even be recorded as delivered.
    /// Default 64 MiB.
    pub free_min: u64,
    /// MTA-STS policies that are kept. Default 100,000.
    pub sts_records_max: u64,
}

impl SqliteOptions {
    /// The defaults, for a directory.
    #[must_use]
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            bounds: SpoolBounds::default(),
            free_min: 64 << 20,
            sts_records_max: 100_000,
        }
    }

    /// The file that holds the spool, and that a backup must be named as to be one.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join(DATABASE_FILE)
    }
}

/// How much is kept; can be exchanged while the store is at work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpoolBounds {
    /// Octets on disk past which no message is accepted. What is in the queue still leaves it.
    /// Default 10 GiB.
    pub size_max: u64,
    /// Receipts that are kept. Default 1,000,000.
    pub receipts_max: u64,
    /// How long receipts are kept. Default 30 days.
    pub receipt_age_max: Duration,
}

impl Default for SpoolBounds {
    fn default() -> Self {
        Self {
            size_max: 10 << 30,
            receipts_max: 1_000_000,
            receipt_age_max: Duration::from_secs(30 * 86_400),
        }
    }
}

/// The store in one SQLite database: write-ahead log, full synchronisation, one writing thread.
#[derive(Debug)]
pub struct SqliteStore {
    // Dropped in this order: the threads end before the lock goes.
    /// The threads that use the database.
    workers: Workers,
    /// How much there is, as of the last commit.
    counters: Arc<Mutex<Counters>>,
    /// How the disk takes what is written.
    flushes: Arc<FlushCounts>,
    /// Names for new messages.
    ids: IdSource,
    /// Names for new deliveries.
    delivery_ids: DeliveryIds,
    /// The last name given before this start; what was staged under such names and not accepted
    /// has lost its sender.
    last_before: Option<QueueId>,
    /// What it was opened with.
    options: SqliteOptions,
    /// How much is kept at the moment.
    bounds: Arc<Mutex<SpoolBounds>>,
    /// Keeps a second daemon away; `None` for commands.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the spool for a daemon: makes it if it is missing, and brings it to this version.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another daemon works on it, and whatever the disk has to say.
    pub fn open(options: SqliteOptions) -> Result<Self, StoreError> {
        make_directory(&options.directory)?;
        let lock = lock(&options.directory.join(LOCK_FILE))?;
        let path = options.database();
        // SQLite gives its other files the mode of this one.
        open_private(&path)?;
        let mut writer = connect(&path)?;
        migrate(&mut writer)?;
        writer
            .pragma_update(None, "cache_size", -WRITER_CACHE_KIB)
            .map_err(|error| failure(&error))?;
        Self::start(Some(writer), options, Some(lock))
    }

    /// Opens the spool for reading, while a daemon works on it or not.
    ///
    /// Changes are [`StoreError::Attached`], and nothing is counted for [`Spool::depth`](crate::Spool).
    ///
    /// # Errors
    /// [`StoreError::NoSpool`] if there is none, [`StoreError::OlderSchema`] or
    /// [`StoreError::NewerSchema`] if it is not of this version.
    pub fn attach(options: SqliteOptions) -> Result<Self, StoreError> {
        let path = options.database();
        if !path.is_file() {
            let directory = options.directory.display().to_string();
            return Err(StoreError::NoSpool(directory));
        }
        let found = schema_version(&connect(&path)?)?;
        if found < SCHEMA_VERSION {
            return Err(StoreError::OlderSchema {
                found,
                known: SCHEMA_VERSION,
            });
        }
        Self::start(None, options, None)
    }

    /// Opens the readers and starts the threads.
    fn start(
        writer: Option<Connection>,
        options: SqliteOptions,
        lock: Option<File>,
    ) -> Result<Self, StoreError> {
        let path = options.database();
        let readers = (0..READERS)
            .map(|_| connect_for_reading(&path))
            .collect::<Result<Vec<_>, _>>()?;
        let counters = Arc::new(Mutex::new(Counters::default()));
        let flushes = Arc::new(FlushCounts::default());
        let bounds = Arc::new(Mutex::new(options.bounds));
        let (mut last_before, mut last_delivery) = (None, 0);
        let mut writing = None;
        if let Some(db) = writer {
            (last_before, last_delivery) = last_names(&db)?;
            writing = Some(Writing::new(
                db,
                options.clone(),
                Arc::clone(&bounds),
                Arc::clone(&counters),
                Arc::clone(&flushes),
            )?);
        }
        Ok(Self {
            workers: Workers::start(writing, readers)?,
            counters,
            flushes,
            ids: IdSource::after(last_before),
            delivery_ids: DeliveryIds(AtomicI64::new(last_delivery.saturating_add(1))),
            last_before,
            options,
            bounds,
            _lock: lock,
        })
    }

    /// How the disk took what was written so far.
    #[must_use]
    pub fn flushes(&self) -> Flushes {
        self.flushes.read()
    }

    /// Waits until every change that was asked for before is on disk, or has failed: for who ends the
    /// process.
    ///
    /// # Errors
    /// The disk does not take anything.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.workers.write(|_| Ok(())).await
    }

    /// From now on these count: for what is accepted at once, for what is dropped at the next
    /// [`Spool::prune`](crate::Spool::prune).
    pub fn set_bounds(&self, bounds: SpoolBounds) {
        *worker::lock(&self.bounds) = bounds;
    }

    /// How much is kept at the moment.
    fn bounds(&self) -> SpoolBounds {
        *worker::lock(&self.bounds)
    }

    /// Where the database lies.
    fn path(&self) -> PathBuf {
        self.options.database()
    }
}

/// Hands out the ids of deliveries. Those of one message are consecutive.
#[derive(Debug)]
struct DeliveryIds(
    /// The next one.
    AtomicI64,
);

impl DeliveryIds {
    /// The first of so many.
    fn take(&self, number: usize) -> i64 {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.0.fetch_add(number, Ordering::Relaxed)
    }

    /// The last one that was handed out, now or before the start.
    fn last(&self) -> DeliveryId {
        DeliveryId(self.0.load(Ordering::Relaxed).saturating_sub(1))
    }
}

/// The last message and the last delivery that the database knows.
fn last_names(db: &Connection) -> Result<(Option<QueueId>, i64), StoreError> {
    let (message, delivery): (Option<i64>, Option<i64>) = db
        .query_row(
            "SELECT (SELECT max(id) FROM (SELECT max(id) AS id FROM messages
                     UNION ALL SELECT max(message_id) FROM receipts
                     UNION ALL SELECT max(message_id) FROM pieces)),
                    (SELECT max(id) FROM deliveries)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(|error| failure(&error))?;
    Ok((message.and_then(QueueId::from_i64), delivery.unwrap_or(0)))
}

/// Makes a directory with all that is missing on the way to it, so that a power cut does not take it
/// back with everything in it.
fn make_directory(directory: &Path) -> Result<(), StoreError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = directory.ancestors().take_while(is_missing).collect();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)
        .map_err(|error| io_failure(directory, &error))?;
    for made in missing {
        let parent = made
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|error| io_failure(parent, &error))?;
    }
    Ok(())
}

/// Takes the lock that a daemon holds for as long as it lives.
fn lock(path: &Path) -> Result<File, StoreError> {
    let file = open_private(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(io_failure(path, &error)),
    }
}

/// Opens or makes a file that nobody else may read.
fn open_private(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|error| io_failure(path, &error))
}

/// Opens a connection with the settings that durability rests on.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_WAIT_MAX)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // There are none, and looking for them costs.
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "journal_size_limit", LOG_OCTETS_MAX)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
        Ok(connection)
    });
    opened.map_err(|error| {
        if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
            StoreError::NotASpool
        } else {
            failure(&error)
        }
    })
}

/// Opens a connection that cannot write.
fn connect_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(|error| failure(&error))?;
    Ok(connection)
}

/// The schema version on disk, if the database is ours; 0 if it is empty.
fn schema_version(connection: &Connection) -> Result<i64, StoreError> {
    let number = |pragma: &str| -> Result<i64, StoreError> {
        connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .map_err(|error| failure(&error))
    };
    let found = number("user_version")?;
    let application = number("application_id")?;
    if application != APPLICATION_ID && (application, found) != (0, 0) {
        return Err(StoreError::NotASpool);
    }
    if found > SCHEMA_VERSION {
        return Err(StoreError::NewerSchema {
            found,
            known: SCHEMA_VERSION,
        });
    }
    Ok(found)
}

/// What an error of SQLite's means for the caller.
fn failure(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    let Some(code) = error.sqlite_error_code() else {
        // A value of a type or range that was never written.
        return StoreError::Damaged(text);
    };
    if code == ErrorCode::DiskFull {
        StoreError::Full
    } else if matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) {
        StoreError::Busy
    } else if matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) {
        StoreError::Unreadable(text)
    } else if matches!(
        code,
        ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
    ) {
        StoreError::Io(text)
    } else {
        StoreError::Refused(text)
    }
}

/// What an error of the file system's means for the caller.
fn io_failure(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Io(format!("{}: {error}", path.display()))
}

/// A time from the database.
fn time(seconds: i64) -> UnixTime {
    UnixTime(u64::try_from(seconds).unwrap_or(0))
}

/// A count from the database.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A small count from the database.
fn small(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// A value as the JSON text that is stored.
fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused(error.to_string()))
}

/// The database in the spool's directory.
const DATABASE_FILE: &str = "spool.sqlite3";

/// The file whose lock a daemon holds.
const LOCK_FILE: &str = "daemon.lock";

/// Mail is nobody else's business.
const DIRECTORY_MODE: u32 = 0o700;

/// Mail is nobody else's business.
const FILE_MODE: u32 = 0o600;

/// "byrn" in ASCII, in the header of the database file.
const APPLICATION_ID: i64 = 0x6279_726e;

/// Connections that read, each with its own thread.
const READERS: usize = 2;

/// How long to wait for another process that writes.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this after a burst.
const LOG_OCTETS_MAX: i64 = 64 << 20;

/// Statements kept ready; more than there are.
const STATEMENTS_CACHED_MAX: usize = 64;

/// Pages of the log, 16 MiB, after which it is written to its place. Pages of messages that have gone
/// by then are used again by others, and go to their place once for all of them.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Pages that the writer keeps in memory, in KiB.
const WRITER_CACHE_KIB: i64 = 16 << 10;
