//! How much room reports take, and whose make room for others.
//!
//! Mail has room of its own. Who sends a report is not known for sure, and anybody can invent senders: those
//! of whom nothing was kept a week ago count as one together, so that however many there are, they make room
//! for one another before anybody who has sent reports for longer.

use rusqlite::Connection;
use rusqlite::params;

use super::super::count;
use super::super::failure;
use super::super::rows::get;
use super::super::writing::Writing;
use super::prepared::PreparedArrival;
use super::remove;
use super::rows;
use crate::ReportBounds;
use crate::ReportSource;
use crate::StoreError;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amounts {
    /// Reports.
    pub(super) reports: u64,
    /// Things that could not be read.
    pub(super) unreadable: u64,
    /// Octets of both, about.
    pub(super) octets: u64,
    /// Failures that are known.
    pub(super) failures: u64,
    /// Those that somebody is still to be told of.
    pub(super) alerts: u64,
}

impl Amounts {
    /// As they are now.
    pub(super) fn read(db: &Connection) -> Result<Self, StoreError> {
        let sql = "SELECT reports, unreadable, octets, failures, alerts FROM tlsrpt_kept";
        let found = rows(db, sql, [], |row| {
            let number = |column| get(row, column).map(count);
            Ok(Self {
                reports: number(0)?,
                unreadable: number(1)?,
                octets: number(2)?,
                failures: number(3)?,
                alerts: number(4)?,
            })
        })?;
        let none = || StoreError::Damaged(String::from("nobody knows how many reports there are"));
        found.into_iter().next().ok_or_else(none)
    }
}

/// Octets that the reports of others and what is known from them take, about.
pub(in super::super) fn octets_kept(db: &Connection) -> Result<u64, StoreError> {
    let amounts = Amounts::read(db)?;
    let notes = amounts.failures.saturating_add(amounts.alerts);
    let notes = notes.saturating_mul(NOTE_OCTETS_MAX);
    Ok(amounts.octets.saturating_add(notes))
}

/// Whether there is room for an arrival.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Room {
    /// There is, after so many reports have made it.
    There { pushed_out: u64 },
    /// There is not, though so many have gone.
    NotYet { pushed_out: u64 },
}

/// Has others make room, as many as go in one transaction.
pub(super) fn make_room(
    writing: &Writing,
    arrival: &PreparedArrival,
    bounds: ReportBounds,
) -> Result<Room, StoreError> {
    let octets = arrival.octets();
    if octets > bounds.size_max {
        return Err(StoreError::Full);
    }
    writing.look_for_room_on_disk(octets)?;
    let is_unreadable = arrival.row.unreadable.is_some();
    let mut pushed_out = 0;
    for _ in 0..PUSHED_OUT_AT_ONCE {
        let amounts = Amounts::read(&writing.db)?;
        let is_too_large = amounts.octets.saturating_add(octets) > bounds.size_max;
        let gone = if is_unreadable && amounts.unreadable >= bounds.unreadable_max {
            remove(writing, OLDEST_UNREADABLE, 1)?
        } else if is_too_large || !is_unreadable && amounts.reports >= bounds.reports_max {
            pushed_out += 1;
            remove(writing, OLDEST_OF_THE_LARGEST, 1)?
        } else {
            return Ok(Room::There { pushed_out });
        };
        if gone == 0 {
            return Err(StoreError::Full);
        }
    }
    Ok(Room::NotYet { pushed_out })
}

/// Whose room an arrival takes; an empty name is that of all who are not known.
pub(super) fn holder(db: &Connection, arrival: &PreparedArrival) -> Result<String, StoreError> {
    let row = &arrival.row;
    let (organization, submitter) = (&row.organization, &row.submitter);
    if organization.is_empty() && submitter.is_empty() {
        return Ok(String::new());
    }
    let before = row.received_at.as_i64().saturating_sub(NEWCOMER_SECONDS);
    let is_known = || {
        db.prepare_cached(
            "SELECT 1 FROM tlsrpt_received
             WHERE organization = ?1 AND submitter = ?2 AND received_at <= ?3",
        )
        .and_then(|mut statement| statement.exists(params![organization, submitter, before]))
        .map_err(|error| failure(&error))
    };
    // An operator knows what to bring.
    Ok(match row.source == ReportSource::Import || is_known()? {
        true => format!("{organization}\n{submitter}"),
        false => String::new(),
    })
}

/// The oldest thing that could not be read.
const OLDEST_UNREADABLE: &str =
    "SELECT id FROM tlsrpt_received WHERE unreadable IS NOT NULL ORDER BY id LIMIT ?1";

/// The oldest report of whoever takes the most room.
const OLDEST_OF_THE_LARGEST: &str = "SELECT id FROM tlsrpt_received
     WHERE holder = (SELECT holder FROM tlsrpt_holders ORDER BY octets DESC LIMIT 1)
     ORDER BY id LIMIT ?1";

/// Reports that make room in one transaction, for which mail waits.
const PUSHED_OUT_AT_ONCE: u64 = 100;

/// For how long nobody is known by his reports.
const NEWCOMER_SECONDS: i64 = 7 * 86_400;

/// The most octets that a failure or an alert takes, about: three names of 253 each, and the organization's or
/// the same again in an index.
const NOTE_OCTETS_MAX: u64 = 2_048;
