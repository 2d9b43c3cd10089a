//! What the writing thread works with: its connection, and what it keeps in memory about the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::Params;

use super::SpoolBounds;
use super::SqliteOptions;
use super::count;
use super::failure;
use super::io_failure;
use super::receipts::note_circumstances;
use super::received::octets_kept;
use super::worker::lock;
use crate::DeliveryState;
use crate::Depth;
use crate::QueueId;
use crate::StoreError;

/// The connection that writes, and what belongs to its open transaction.
#[derive(Debug)]
pub(super) struct Writing {
    /// The connection.
    pub(super) db: Connection,
    /// What the store was opened with.
    options: SqliteOptions,
    /// How much is kept at the moment.
    bounds: Arc<Mutex<SpoolBounds>>,
    /// What has been committed, for whoever asks.
    counters: Arc<Mutex<Counters>>,
    /// How the disk takes it, for whoever asks.
    flushes: Arc<FlushCounts>,
    /// What the open transaction adds to it.
    change: Counters,
    /// Whether messages come or go in it, even if as many come as go.
    messages_moved: bool,
    /// Octets that may still be added in the open transaction; `None` until somebody asks.
    room: Option<u64>,
    /// Circumstances that are on disk, and since when nobody has to say again that they are used.
    interned: HashMap<i64, i64>,
    /// Those that the open transaction has written.
    interned_now: Vec<(i64, i64)>,
}

/// How the disk takes what is written.
#[derive(Debug, Default)]
pub(super) struct FlushCounts {
    flushes: AtomicU64,
    changes: AtomicU64,
    microseconds: AtomicU64,
}

impl FlushCounts {
    /// One more, with so many changes, which took so long.
    fn note(&self, changes: usize, took: Duration) {
        let changes = u64::try_from(changes).unwrap_or(u64::MAX);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.flushes.fetch_add(1, Relaxed);
        self.changes.fetch_add(changes, Relaxed);
        self.microseconds.fetch_add(took, Relaxed);
    }

    /// As it is now.
    pub(super) fn read(&self) -> Flushes {
        Flushes {
            flushes: self.flushes.load(Relaxed),
            changes: self.changes.load(Relaxed),
            microseconds: self.microseconds.load(Relaxed),
        }
    }
}

/// How the disk took what was written since the spool was opened; from two of them a rate is made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flushes {
    /// How often it was waited for.
    pub flushes: u64,
    /// How many changes shared these waits.
    pub changes: u64,
    /// How long the waits were in all.
    pub microseconds: u64,
}

/// The time, to see how long the disk takes.
#[expect(clippy::disallowed_methods, reason = "nothing is decided by it")]
fn now() -> Instant {
    Instant::now()
}

/// Where a transaction stood before a change.
#[derive(Debug)]
pub(super) struct Mark {
    /// Rows that the connection had changed.
    rows: u64,
    /// What the transaction had added.
    change: Counters,
}

impl Writing {
    /// Counts what is there.
    pub(super) fn new(
        db: Connection,
        options: SqliteOptions,
        bounds: Arc<Mutex<SpoolBounds>>,
        counters: Arc<Mutex<Counters>>,
        flushes: Arc<FlushCounts>,
    ) -> Result<Self, StoreError> {
        *lock(&counters) = Counters::read(&db)?;
        Ok(Self {
            db,
            options,
            bounds,
            counters,
            flushes,
            change: Counters::default(),
            messages_moved: false,
            room: None,
            interned: HashMap::new(),
            interned_now: Vec::new(),
        })
    }

    /// Opens a transaction. One that could not be given up when it failed goes first: it would go to the
    /// disk with this one, or keep this one from being opened for ever.
    pub(super) fn begin(&mut self) -> Result<(), StoreError> {
        self.roll_back();
        self.change = Counters::default();
        self.messages_moved = false;
        self.room = None;
        self.interned_now.clear();
        self.run("BEGIN IMMEDIATE", []).map(|_| ())
    }

    /// Makes the transaction durable, with so many changes.
    pub(super) fn commit(&mut self, changes: usize) -> Result<(), StoreError> {
        let oldest = self.messages_moved.then(|| oldest(&self.db));
        let oldest = oldest.transpose()?;
        let begun = now();
        self.run("COMMIT", [])?;
        self.flushes.note(changes, begun.elapsed());
        let mut counters = lock(&self.counters);
        counters.add(&self.change);
        if let Some(oldest) = oldest {
            counters.oldest = oldest;
        }
        if self.interned.len() > INTERNED_MAX {
            self.interned.clear();
        }
        self.interned.extend(self.interned_now.drain(..));
        Ok(())
    }

    /// Gives the transaction up, if the failure has not done so already.
    pub(super) fn roll_back(&mut self) {
        if !self.db.is_autocommit() {
            // If that fails, the next transaction tries it again.
            _ = self.run("ROLLBACK", []);
        }
    }

    /// Notes where the transaction stands.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            rows: self.db.total_changes(),
            change: self.change.clone(),
        }
    }

    /// Whether a change that failed has left the transaction as it was.
    pub(super) fn is_unchanged_since(&mut self, mark: &Mark) -> bool {
        self.change.clone_from(&mark.change);
        self.db.total_changes() == mark.rows && !self.db.is_autocommit()
    }

    /// Runs a statement; returns how many rows it touched.
    pub(super) fn run(&self, sql: &str, parameters: impl Params) -> Result<u64, StoreError> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map(|rows| u64::try_from(rows).unwrap_or(u64::MAX))
            .map_err(|error| failure(&error))
    }

    /// Counts messages that come or, with a negative number, go.
    pub(super) fn count_messages(&mut self, more: i64) {
        self.change.messages += more;
        self.messages_moved = true;
    }

    /// Counts deliveries that come into a state or, with a negative number, leave it.
    pub(super) fn count_deliveries(&mut self, state: DeliveryState, more: i64) {
        *self.change.of(state) += more;
    }

    /// Refuses more octets than the spool may hold, or than the disk has room for.
    pub(super) fn take_room(&mut self, octets: u64) -> Result<(), StoreError> {
        let room = match self.room {
            Some(room) => room,
            None => room(&self.db, &self.options, lock(&self.bounds).size_max)?,
        };
        let left = room.checked_sub(octets);
        self.room = Some(left.unwrap_or(room));
        left.map(|_| ()).ok_or(StoreError::Full)
    }

    /// Refuses more octets of reports of others than the disk has room for. What they take of it is not mail's:
    /// [`octets_used`].
    pub(super) fn look_for_room_on_disk(&self, octets: u64) -> Result<(), StoreError> {
        match octets <= room_on_disk(&self.options)? {
            true => Ok(()),
            false => Err(StoreError::Full),
        }
    }

    /// Keeps circumstances, unless they are known to be on disk.
    pub(super) fn intern(&mut self, id: i64, text: &str, used_at: i64) -> Result<(), StoreError> {
        let is_known = |noted: &i64| used_at < noted.saturating_add(USE_NOTED_EVERY);
        if self.interned.get(&id).is_some_and(is_known)
            || self
                .interned_now
                .iter()
                .any(|(known, noted)| *known == id && is_known(noted))
        {
            return Ok(());
        }
        note_circumstances(&self.db, id, text, used_at)?;
        self.interned_now.push((id, used_at));
        Ok(())
    }

    /// Drops circumstances that no receipt refers to any more, if the oldest is of this time.
    pub(super) fn forget_circumstances(&mut self, oldest: i64) -> Result<(), StoreError> {
        self.interned.clear();
        self.run(
            "DELETE FROM circumstances WHERE used_at < ?1",
            [oldest.saturating_sub(2 * USE_NOTED_EVERY)],
        )
        .map(|_| ())
    }
}

/// How much lies in the spool, or comes and goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Counters {
    /// Messages.
    messages: i64,
    /// [`DeliveryState::Incoming`].
    incoming: i64,
    /// [`DeliveryState::Deferred`].
    deferred: i64,
    /// [`DeliveryState::Hold`].
    hold: i64,
    /// [`DeliveryState::Corrupt`].
    corrupt: i64,
    /// The oldest message.
    oldest: Option<QueueId>,
}

impl Counters {
    /// Counts what is in the database.
    fn read(db: &Connection) -> Result<Self, StoreError> {
        let mut counters = Self {
            oldest: oldest(db)?,
            ..Self::default()
        };
        counters.messages = db
            .query_row("SELECT count(*) FROM messages", [], |row| row.get(0))
            .map_err(|error| failure(&error))?;
        let mut statement = db
            .prepare("SELECT state, count(*) FROM deliveries GROUP BY state")
            .map_err(|error| failure(&error))?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .map_err(|error| failure(&error))?;
        for row in rows {
            let (state, number) = row.map_err(|error| failure(&error))?;
            *counters.of(DeliveryState::or_corrupt(state)) += number;
        }
        Ok(counters)
    }

    /// The counter of a state.
    fn of(&mut self, state: DeliveryState) -> &mut i64 {
        match state {
            DeliveryState::Incoming => &mut self.incoming,
            DeliveryState::Deferred => &mut self.deferred,
            DeliveryState::Hold => &mut self.hold,
            DeliveryState::Corrupt => &mut self.corrupt,
        }
    }

    /// Adds what a transaction has changed.
    fn add(&mut self, change: &Self) {
        self.messages += change.messages;
        let mut change = change.clone();
        for state in DeliveryState::ALL {
            *self.of(state) += *change.of(state);
        }
    }

    /// As it is shown.
    pub(super) fn depth(&self) -> Depth {
        let mut counters = self.clone();
        Depth {
            messages: count(self.messages),
            deliveries: DeliveryState::ALL
                .into_iter()
                .map(|state| (state, count(*counters.of(state))))
                .collect(),
            oldest: self.oldest.map(QueueId::arrived_at),
        }
    }
}

/// The oldest message.
fn oldest(db: &Connection) -> Result<Option<QueueId>, StoreError> {
    db.prepare_cached("SELECT min(id) FROM messages")
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, Option<i64>>(0)))
        .map(|id| id.and_then(QueueId::from_i64))
        .map_err(|error| failure(&error))
}

/// Octets that may be added to the spool.
fn room(db: &Connection, options: &SqliteOptions, size_max: u64) -> Result<u64, StoreError> {
    let below_max = size_max.saturating_sub(octets_used(db)?);
    Ok(below_max.min(room_on_disk(options)?))
}

/// Octets that may be written before the disk has too little left.
fn room_on_disk(options: &SqliteOptions) -> Result<u64, StoreError> {
    let disk = rustix::fs::statvfs(&options.directory)
        .map_err(|error| io_failure(&options.directory, &error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // Everything is written twice: to the log, and from there to its place.
    Ok(free.saturating_sub(options.free_min) / 2)
}

/// Octets of the database that hold something, without the reports of others, which have a bound of their own:
/// strangers send them, and mail must not wait for that.
pub(super) fn octets_used(db: &Connection) -> Result<u64, StoreError> {
    let number = |pragma: &str| -> Result<u64, StoreError> {
        db.prepare_cached(pragma)
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map(count)
            .map_err(|error| failure(&error))
    };
    let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
    let octets = pages.saturating_mul(number("PRAGMA page_size")?);
    Ok(octets.saturating_sub(octets_kept(db)?))
}

/// How long circumstances count as used without another word: so the row is not written with each
/// receipt. In seconds.
const USE_NOTED_EVERY: i64 = 86_400;

/// Circumstances that are remembered as being on disk, at some 50 octets each.
const INTERNED_MAX: usize = 65_536;
