//! Receipts and what they share, on the database.

use std::sync::Arc;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_smtp::Reply;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;
use serde::Deserialize;
use serde::Serialize;

use super::SqliteStore;
use super::count;
use super::failure;
use super::rows::get;
use super::small;
use super::time;
use super::to_json;
use super::writing::Writing;
use super::writing::octets_used;
use crate::AttemptOutcome;
use crate::Circumstances;
use crate::DeliveryId;
use crate::QueueId;
use crate::Receipt;
use crate::StoreError;
use crate::check::check_of;

/// What of a receipt is its own, as it is stored.
#[derive(Deserialize, Serialize)]
struct Own {
    /// Where it was to go.
    next_hop: MailDomain,
    /// How it ended.
    outcome: AttemptOutcome,
    /// For whom.
    recipients: Vec<Mailbox>,
    /// The last thing that the host said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply: Option<Reply>,
    /// Why it was not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A receipt, put into rows before the writer's time is taken.
#[derive(Clone, Debug)]
pub(super) struct PreparedReceipt {
    message_id: i64,
    delivery_id: i64,
    attempt: u32,
    place: i64,
    at: i64,
    own: String,
    circumstances: String,
    circumstances_id: i64,
    /// When its circumstances count as used: not before its message came, by whose time they are
    /// dropped. A clock that was set back meanwhile says otherwise.
    used_at: i64,
}

impl PreparedReceipt {
    /// Writes a receipt down.
    pub(super) fn new(
        receipt: &Receipt,
        delivery: DeliveryId,
        place: i64,
    ) -> Result<Self, StoreError> {
        let circumstances = to_json(&receipt.circumstances)?;
        Ok(Self {
            message_id: receipt.queue_id.to_i64(),
            delivery_id: delivery.0,
            attempt: receipt.attempt,
            place,
            at: receipt.at.as_i64(),
            own: to_json(&OwnRef {
                next_hop: &receipt.next_hop,
                outcome: receipt.outcome,
                recipients: &receipt.recipients,
                reply: receipt.reply.as_ref(),
                reason: receipt.reason.as_deref(),
            })?,
            circumstances_id: check_of([circumstances.as_bytes()]),
            circumstances,
            used_at: receipt.at.max(receipt.queue_id.arrived_at()).as_i64(),
        })
    }

    /// Writes it; the same one again changes nothing.
    pub(super) fn insert(&self, writing: &mut Writing) -> Result<(), StoreError> {
        writing.intern(self.circumstances_id, &self.circumstances, self.used_at)?;
        self.insert_own(&writing.db)
    }

    /// Writes one of an earlier version.
    pub(super) fn carry_over(&self, db: &Connection) -> Result<(), StoreError> {
        note_circumstances(db, self.circumstances_id, &self.circumstances, self.used_at)?;
        self.insert_own(db)
    }

    /// Writes what is its own.
    fn insert_own(&self, db: &Connection) -> Result<(), StoreError> {
        db.prepare_cached(
            "INSERT OR IGNORE INTO receipts (message_id, delivery_id, attempt, place, at,
                    circumstances, checksum, receipt)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                self.message_id,
                self.delivery_id,
                self.attempt,
                self.place,
                self.at,
                self.circumstances_id,
                checksum(self.at, self.circumstances_id, &self.own),
                self.own,
            ])
        })
        .map(|_| ())
        .map_err(|error| failure(&error))
    }
}

/// Writes circumstances, or that they were used again.
pub(super) fn note_circumstances(
    db: &Connection,
    id: i64,
    text: &str,
    used_at: i64,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO circumstances (id, used_at, circumstances) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET used_at = max(used_at, ?2)",
    )
    .and_then(|mut statement| statement.execute(params![id, used_at, text]))
    .map(|_| ())
    .map_err(|error| failure(&error))
}

/// [`Own`], borrowed.
#[derive(Serialize)]
struct OwnRef<'a> {
    next_hop: &'a MailDomain,
    outcome: AttemptOutcome,
    recipients: &'a [Mailbox],
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'a Reply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The checksum of a receipt.
fn checksum(at: i64, circumstances: i64, own: &str) -> i64 {
    check_of([
        at.to_le_bytes().as_slice(),
        circumstances.to_le_bytes().as_slice(),
        own.as_bytes(),
    ])
}

/// The receipts of a message, oldest first; one that cannot be read is left out.
pub(super) fn of_message(db: &Connection, id: QueueId) -> Result<Vec<Receipt>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT r.at, r.attempt, r.circumstances, r.checksum, r.receipt, c.circumstances
             FROM receipts r JOIN circumstances c ON c.id = r.circumstances
             WHERE r.message_id = ?1 ORDER BY r.at, r.delivery_id, r.attempt, r.place",
        )
        .map_err(|error| failure(&error))?;
    let rows = statement
        .query_map([id.to_i64()], |row| Ok(receipt(row, id)))
        .map_err(|error| failure(&error))?;
    let read: Vec<Option<Receipt>> = rows
        .collect::<Result<_, _>>()
        .map_err(|error| failure(&error))?;
    Ok(read.into_iter().flatten().collect())
}

/// A receipt from its row, if that is as it was written.
fn receipt(row: &Row<'_>, queue_id: QueueId) -> Option<Receipt> {
    let (at, attempt): (i64, i64) = (get(row, 0).ok()?, get(row, 1).ok()?);
    let (id, stored): (i64, i64) = (get(row, 2).ok()?, get(row, 3).ok()?);
    let (own, shared): (String, String) = (get(row, 4).ok()?, get(row, 5).ok()?);
    if checksum(at, id, &own) != stored || check_of([shared.as_bytes()]) != id {
        return None;
    }
    let own: Own = serde_json::from_str(&own).ok()?;
    let circumstances: Circumstances = serde_json::from_str(&shared).ok()?;
    Some(Receipt {
        queue_id,
        next_hop: own.next_hop,
        attempt: small(attempt),
        at: time(at),
        outcome: own.outcome,
        recipients: own.recipients,
        circumstances: Arc::new(circumstances),
        reply: own.reply,
        reason: own.reason,
    })
}

/// Drops receipts that are too old, too many, or too much for a spool that is nearly full.
pub(super) async fn prune(store: &SqliteStore, now: UnixTime) -> Result<u64, StoreError> {
    let age_max = store.bounds().receipt_age_max.as_secs();
    let oldest = UnixTime(now.0.saturating_sub(age_max));
    let mut pruned = 0;
    loop {
        // None of them is older than its message, whose name begins with its time.
        let before = QueueId::first_at(oldest).to_i64();
        let gone = store
            .workers
            .write(move |writing| {
                writing.run(
                    "DELETE FROM receipts WHERE (message_id, delivery_id, attempt, place) IN
                     (SELECT message_id, delivery_id, attempt, place FROM receipts
                      WHERE message_id < ?1 AND at < ?2 LIMIT ?3)",
                    params![before, oldest.as_i64(), PRUNED_AT_ONCE],
                )
            })
            .await?;
        pruned += gone;
        if gone < u64::from(PRUNED_AT_ONCE) {
            break;
        }
    }
    let mut surplus = surplus(store).await?;
    while surplus > 0 {
        let limit = u32::try_from(surplus).map_or(PRUNED_AT_ONCE, |left| left.min(PRUNED_AT_ONCE));
        let gone = store
            .workers
            .write(move |writing| {
                writing.run(
                    "DELETE FROM receipts WHERE (message_id, delivery_id, attempt, place) IN
                     (SELECT message_id, delivery_id, attempt, place FROM receipts
                      ORDER BY message_id, delivery_id, attempt, place LIMIT ?1)",
                    params![limit],
                )
            })
            .await?;
        pruned += gone;
        surplus = surplus.saturating_sub(u64::from(limit));
    }
    if pruned > 0 {
        store.workers.write(forget_circumstances).await?;
    }
    Ok(pruned)
}

/// How many of the oldest receipts are to go: those past the bound, or half of them if the spool is
/// nearly full. Mail that waits to be accepted is worth more than proof of what was sent.
async fn surplus(store: &SqliteStore) -> Result<u64, StoreError> {
    let bounds = store.bounds();
    let size_wanted = bounds.size_max / 4 * 3;
    let read = store.workers.read(move |db| {
        let there: i64 = db
            .query_row("SELECT count(*) FROM receipts", [], |row| row.get(0))
            .map_err(|error| failure(&error))?;
        let there = count(there);
        let too_many = there.saturating_sub(bounds.receipts_max);
        Ok(if octets_used(db)? > size_wanted {
            too_many.max(there.div_ceil(2))
        } else {
            too_many
        })
    });
    read.await
}

/// Drops circumstances that no receipt is left for.
fn forget_circumstances(writing: &mut Writing) -> Result<(), StoreError> {
    let first: Option<i64> = writing
        .db
        .query_row("SELECT min(message_id) FROM receipts", [], |row| row.get(0))
        .map_err(|error| failure(&error))?;
    let oldest = first
        .and_then(QueueId::from_i64)
        .map_or(i64::MAX, |id| id.arrived_at().as_i64());
    writing.forget_circumstances(oldest)
}

/// Receipts that are deleted in one transaction: some milliseconds, for which mail waits.
const PRUNED_AT_ONCE: u32 = 2_000;
