//! Brings a database to the schema of this version.
//!
//! Versions 1 and 2 differ in a table that version 3 makes if it is missing, so that one step leads
//! from either. Version 4 adds tables and leaves all others as they are. Everything is carried over as it was read: what cannot be understood is damage that is
//! found, and put aside, when its turn comes.

use aws_lc_rs::digest;
use rusqlite::Connection;
use rusqlite::Transaction;
use rusqlite::TransactionBehavior;
use rusqlite::params;

use super::APPLICATION_ID;
use super::failure;
use super::receipts::PreparedReceipt;
use super::rows::DeliveryRow;
use super::rows::MessageRow;
use super::rows::piece_checksum;
use super::schema_version;
use super::to_json;
use crate::CHUNK_OCTETS;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::Receipt;
use crate::StoreError;
use crate::check::check_of;

/// Brings the database to this version, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found = schema_version(connection)?;
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let step = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| failure(&error))?;
    if found == 0 {
        run_all(&step, SCHEMA)?;
    } else if found < MESSAGES_VERSION {
        run_all(&step, PUT_ASIDE)?;
        run_all(&step, SCHEMA)?;
        carry_over(&step)?;
        run_all(&step, DROP_OLD)?;
    }
    run_all(&step, REPORTS)?;
    run_all(
        &step,
        &format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}"
        ),
    )?;
    step.commit().map_err(|error| failure(&error))
}

/// Runs several statements.
fn run_all(step: &Transaction<'_>, sql: &str) -> Result<(), StoreError> {
    step.execute_batch(sql).map_err(|error| failure(&error))
}

/// Writes what versions 1 and 2 left into the tables of version 3.
fn carry_over(step: &Transaction<'_>) -> Result<(), StoreError> {
    let mut next_delivery = 1;
    let mut messages = step
        .prepare("SELECT id, envelope, size, received_at, checksum FROM old_messages ORDER BY id")
        .map_err(|error| failure(&error))?;
    let mut rows = messages.query([]).map_err(|error| failure(&error))?;
    while let Some(row) = rows.next().map_err(|error| failure(&error))? {
        let old = (|| {
            Ok(OldMessage {
                id: row.get(0)?,
                envelope: row.get(1)?,
                size: row.get(2)?,
                received_at: row.get(3)?,
                checksum: row.get(4)?,
            })
        })()
        .map_err(|error: rusqlite::Error| failure(&error))?;
        next_delivery = carry_message(step, &old, next_delivery)?;
    }
    carry_staged(step)?;
    carry_receipts(step)
}

/// A message of versions 1 and 2.
struct OldMessage {
    id: i64,
    envelope: String,
    size: i64,
    received_at: i64,
    /// SHA-256 over all octets, then the envelope.
    checksum: Vec<u8>,
}

/// Writes a message with its deliveries, numbered from `first_delivery` on; returns the next number.
fn carry_message(
    step: &Transaction<'_>,
    old: &OldMessage,
    first_delivery: i64,
) -> Result<i64, StoreError> {
    let deliveries = old_deliveries(step, old.id)?;
    if deliveries.is_empty() {
        // Somebody had it removed while it was tried for the last time.
        return Ok(first_delivery);
    }
    let (body, damage) = carry_body(step, old)?;
    let number = i64::try_from(deliveries.len()).unwrap_or(i64::MAX);
    let message = MessageRow {
        id: old.id,
        size: old.size,
        received_at: old.received_at,
        first_delivery,
        deliveries: number,
        envelope: old.envelope.clone(),
        body_checksum: body.as_deref().map(|octets| check_of([octets])),
    };
    step.prepare_cached(
        "INSERT INTO messages (id, size, received_at, first_delivery, deliveries, envelope,
            body_checksum, checksum, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .and_then(|mut statement| {
        statement.execute(params![
            message.id,
            message.size,
            message.received_at,
            message.first_delivery,
            message.deliveries,
            message.envelope,
            message.body_checksum,
            message.checksum(),
            body,
        ])
    })
    .map_err(|error| failure(&error))?;
    for (id, delivery) in (first_delivery..).zip(deliveries) {
        let mut delivery = DeliveryRow {
            id,
            first_delivery,
            deliveries: number,
            ..delivery
        };
        if let Some(damage) = damage {
            delivery.state = DeliveryState::Corrupt;
            delivery.last_reason = Some(damage.to_owned());
        }
        delivery.insert(step)?;
    }
    Ok(first_delivery.saturating_add(number))
}

/// Carries the octets of a message over: small ones are returned for its row, larger ones written as
/// pieces. Also says what is wrong with them: a new checksum must not make old damage good.
fn carry_body(
    step: &Transaction<'_>,
    old: &OldMessage,
) -> Result<(Option<Vec<u8>>, Option<&'static str>), StoreError> {
    let is_small = usize::try_from(old.size).is_ok_and(|size| size <= CHUNK_OCTETS);
    let mut small = Vec::new();
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut pieces = step
        .prepare_cached("SELECT place, octets FROM old_pieces WHERE message_id = ?1 ORDER BY place")
        .map_err(|error| failure(&error))?;
    let mut rows = pieces.query([old.id]).map_err(|error| failure(&error))?;
    while let Some(row) = rows.next().map_err(|error| failure(&error))? {
        let (place, octets): (u32, Vec<u8>) = (|| Ok((row.get(0)?, row.get(1)?)))()
            .map_err(|error: rusqlite::Error| failure(&error))?;
        digest.update(&octets);
        if is_small {
            small.extend_from_slice(&octets);
        } else {
            insert_piece(step, old.id, place, &octets)?;
        }
    }
    digest.update(old.envelope.as_bytes());
    let is_intact = digest.finish().as_ref() == old.checksum;
    let damage = (!is_intact).then_some("the message does not match its checksum");
    Ok((is_small.then_some(small), damage))
}

/// Writes a piece.
fn insert_piece(
    step: &Transaction<'_>,
    message: i64,
    place: u32,
    octets: &[u8],
) -> Result<(), StoreError> {
    step.prepare_cached(
        "INSERT INTO pieces (message_id, place, checksum, octets) VALUES (?1, ?2, ?3, ?4)",
    )
    .and_then(|mut statement| {
        let checksum = piece_checksum(message, place, check_of([octets]));
        statement.execute(params![message, place, checksum, octets])
    })
    .map(|_| ())
    .map_err(|error| failure(&error))
}

/// The deliveries of a message that are to be carried over. What was being tried is due at once, or
/// what somebody had wished for then.
fn old_deliveries(step: &Transaction<'_>, message: i64) -> Result<Vec<DeliveryRow>, StoreError> {
    step.prepare_cached(
        "SELECT d.id, d.next_hop, d.state, d.due_at, d.attempts, d.expires_at, d.floor,
                d.last_reason, d.wish, m.reverse_path
         FROM old_deliveries d JOIN old_messages m ON m.id = d.message_id
         WHERE d.message_id = ?1 AND NOT (d.state IN ('active', 'hold') AND d.wish IS 'remove')
         ORDER BY d.id",
    )
    .and_then(|mut statement| {
        statement
            .query_map([message], |row| {
                let (state, wish): (String, Option<String>) = (row.get(2)?, row.get(8)?);
                let attempts: i64 = row.get(4)?;
                let waiting = if attempts == 0 {
                    DeliveryState::Incoming
                } else {
                    DeliveryState::Deferred
                };
                let state = match (DeliveryState::from_word(&state), wish) {
                    (None, Some(_)) => DeliveryState::Hold,
                    (None, None) => waiting,
                    (Some(state), _) => state,
                };
                Ok(DeliveryRow {
                    id: row.get(0)?,
                    message_id: message,
                    first_delivery: 0,
                    deliveries: 0,
                    state,
                    due_at: row.get::<_, Option<i64>>(3)?.unwrap_or(0),
                    attempts,
                    expires_at: row.get(5)?,
                    delay_warning: 0,
                    next_hop: row.get(1)?,
                    sender: row.get(9)?,
                    recipients: old_recipients(step, row.get(0)?)?,
                    floor: row.get(6)?,
                    last_reason: row.get(7)?,
                })
            })?
            .collect()
    })
    .map_err(|error| failure(&error))
}

/// The recipients of a delivery, as they are stored from now on. It is put together as text, so that
/// one that cannot be read is found when its turn comes, and not here, where it would hold up the rest.
fn old_recipients(step: &Transaction<'_>, delivery: i64) -> rusqlite::Result<String> {
    let mut statement = step.prepare_cached(
        "SELECT mailbox, state, reply FROM old_recipients WHERE delivery_id = ?1 ORDER BY position",
    )?;
    let texts: Vec<String> = statement
        .query_map([delivery], |row| {
            let (mailbox, state): (String, String) = (row.get(0)?, row.get(1)?);
            let reply: Option<String> = row.get(2)?;
            let mailbox = to_json(&mailbox).unwrap_or_default();
            let reply = reply.map_or(String::new(), |reply| format!(",\"reply\":{reply}"));
            Ok(format!(
                "{{\"mailbox\":{mailbox},\"state\":\"{state}\"{reply}}}"
            ))
        })?
        .collect::<Result<_, _>>()?;
    Ok(format!("[{}]", texts.join(",")))
}

/// Carries over what was staged and not yet accepted, for the recovery to count and forget.
fn carry_staged(step: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement = step
        .prepare(
            "SELECT DISTINCT message_id FROM old_pieces
             WHERE message_id NOT IN (SELECT id FROM old_messages)",
        )
        .map_err(|error| failure(&error))?;
    let staged = statement
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect::<Result<Vec<i64>, _>>)
        .map_err(|error| failure(&error))?;
    staged
        .into_iter()
        .try_for_each(|message| insert_piece(step, message, 0, &[]))
}

/// Carries the receipts over; one that cannot be read could not be shown before either.
fn carry_receipts(step: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement = step
        .prepare("SELECT id, receipt FROM old_receipts ORDER BY id")
        .map_err(|error| failure(&error))?;
    let mut rows = statement.query([]).map_err(|error| failure(&error))?;
    while let Some(row) = rows.next().map_err(|error| failure(&error))? {
        let (id, text): (i64, String) = (|| Ok((row.get(0)?, row.get(1)?)))()
            .map_err(|error: rusqlite::Error| failure(&error))?;
        if let Ok(receipt) = serde_json::from_str::<Receipt>(&text) {
            PreparedReceipt::new(&receipt, DeliveryId(0), id)?.carry_over(step)?;
        }
    }
    Ok(())
}

/// The tables of version 3.
const SCHEMA: &str = include_str!("schema.sql");

/// The tables that version 4 adds.
const REPORTS: &str = include_str!("reports.sql");

/// Makes room for the new tables.
const PUT_ASIDE: &str = "
    DROP TRIGGER message_gone;
    DROP TRIGGER message_counted;
    DROP TRIGGER message_uncounted;
    DROP TRIGGER delivery_new;
    DROP TRIGGER delivery_moved;
    DROP TRIGGER delivery_gone;
    ALTER TABLE messages RENAME TO old_messages;
    ALTER TABLE pieces RENAME TO old_pieces;
    ALTER TABLE deliveries RENAME TO old_deliveries;
    ALTER TABLE recipients RENAME TO old_recipients;
    ALTER TABLE receipts RENAME TO old_receipts;";

/// Drops the old ones.
const DROP_OLD: &str = "
    DROP TABLE old_recipients;
    DROP TABLE old_deliveries;
    DROP TABLE old_pieces;
    DROP TABLE old_messages;
    DROP TABLE old_receipts;
    DROP TABLE next_hops;
    DROP TABLE counters;";

/// The version that brought messages and what belongs to them into their form.
const MESSAGES_VERSION: i64 = 3;

/// The schema version that this program works with.
pub(super) const SCHEMA_VERSION: i64 = 4;
