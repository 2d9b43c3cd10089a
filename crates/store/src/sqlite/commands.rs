//! The commands for people, on the database.

use byrnie_base::UnixTime;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteStore;
use super::count;
use super::failure;
use super::small;
use super::time;
use crate::DeliveryState;
use crate::DeliveryView;
use crate::ListFilter;
use crate::Listed;
use crate::MessageView;
use crate::QueueCommands;
use crate::QueueId;
use crate::RecipientState;
use crate::RecipientView;
use crate::Selection;
use crate::Shown;
use crate::StoreError;

impl QueueCommands for SqliteStore {
    async fn list(&self, filter: ListFilter) -> Result<Vec<Listed>, StoreError> {
        self.workers.read(move |db| list(db, &filter)).await
    }

    async fn show(&self, id: QueueId) -> Result<Shown, StoreError> {
        self.workers.read(move |db| show(db, id)).await
    }

    async fn retry(&self, selection: Selection, now: UnixTime) -> Result<u64, StoreError> {
        self.workers
            .write(move |db| {
                let change = "UPDATE deliveries SET due_at = ?2 WHERE state = 'deferred'";
                change_selected(db, selection, change, Some(now))
            })
            .await
    }

    async fn hold(&self, selection: Selection) -> Result<u64, StoreError> {
        self.workers
            .write(move |db| {
                let waiting = "UPDATE deliveries SET state = 'hold', due_at = ?2
                               WHERE state IN ('incoming', 'deferred')";
                let active = "UPDATE deliveries SET wish = coalesce(wish, 'hold')
                              WHERE state = 'active' AND ?2 IS NULL";
                Ok(change_selected(db, selection, waiting, None)?
                    + change_selected(db, selection, active, None)?)
            })
            .await
    }

    async fn release(&self, selection: Selection, now: UnixTime) -> Result<u64, StoreError> {
        self.workers
            .write(move |db| {
                let held = "UPDATE deliveries SET due_at = ?2,
                            state = CASE attempts WHEN 0 THEN 'incoming' ELSE 'deferred' END
                            WHERE state = 'hold'";
                let active = "UPDATE deliveries SET wish = NULL
                              WHERE wish = 'hold' AND ?2 IS NOT NULL";
                Ok(change_selected(db, selection, held, Some(now))?
                    + change_selected(db, selection, active, Some(now))?)
            })
            .await
    }

    async fn remove(&self, selection: Selection) -> Result<u64, StoreError> {
        self.workers
            .write(move |db| {
                let idle = "DELETE FROM deliveries WHERE state <> 'active' AND ?2 IS NULL";
                let active = "UPDATE deliveries SET wish = 'remove'
                              WHERE state = 'active' AND ?2 IS NULL";
                let removed = change_selected(db, selection, idle, None)?
                    + change_selected(db, selection, active, None)?;
                let (which, id) = clause(selection, "id");
                db.prepare_cached(&format!(
                    "DELETE FROM messages WHERE {which} AND NOT EXISTS
                     (SELECT 1 FROM deliveries WHERE message_id = messages.id)"
                ))
                .and_then(|mut statement| statement.execute([id]))
                .map_err(|error| failure(&error))?;
                Ok(removed)
            })
            .await
    }
}

/// Runs a change, whose second parameter is `time`, on what is selected.
fn change_selected(
    db: &Connection,
    selection: Selection,
    change: &str,
    time: Option<UnixTime>,
) -> Result<u64, StoreError> {
    if let Selection::Message(id) = selection {
        db.prepare_cached("SELECT 1 FROM messages WHERE id = ?1")
            .and_then(|mut statement| statement.exists([id.to_i64()]))
            .map_err(|error| failure(&error))?
            .then_some(())
            .ok_or(StoreError::NoSuchMessage(id))?;
    }
    let (which, id) = clause(selection, "message_id");
    let changed = db
        .prepare_cached(&format!("{change} AND {which}"))
        .and_then(|mut statement| statement.execute(params![id, time.map(UnixTime::as_i64)]))
        .map_err(|error| failure(&error))?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

/// The condition for a selection, and its first parameter.
fn clause(selection: Selection, column: &str) -> (String, Option<i64>) {
    match selection {
        Selection::Message(id) => (format!("{column} = ?1"), Some(id.to_i64())),
        Selection::All => (String::from("?1 IS NULL"), None),
    }
}

/// Deliveries that pass the filter.
fn list(db: &Connection, filter: &ListFilter) -> Result<Vec<Listed>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT message_id, reverse_path, next_hop, state, attempts, size, received_at, due_at,
                    last_reason,
                    (SELECT count(*) FROM recipients
                     WHERE delivery_id = deliveries.id AND recipients.state = 'pending')
             FROM messages JOIN deliveries ON message_id = messages.id
             WHERE messages.id IN
                   (SELECT id FROM messages
                    WHERE id > ?1
                      AND (?3 IS NULL OR reverse_path = ?3)
                      AND EXISTS (SELECT 1 FROM deliveries
                                  WHERE message_id = messages.id
                                    AND (?2 IS NULL OR next_hop = ?2)
                                    AND (?4 IS NULL OR state = ?4))
                    ORDER BY id LIMIT ?5)
               AND (?2 IS NULL OR next_hop = ?2)
               AND (?4 IS NULL OR state = ?4)
             ORDER BY messages.id, deliveries.id",
        )
        .map_err(|error| failure(&error))?;
    let rows = statement
        .query_map(
            params![
                filter.after.map_or(-1, QueueId::to_i64),
                filter.next_hop.as_ref().map(ToString::to_string),
                filter.sender.as_ref().map(ToString::to_string),
                filter.state.map(DeliveryState::as_str),
                filter.limit,
            ],
            |row| Ok(listed(row)),
        )
        .map_err(|error| failure(&error))?;
    rows.map(|row| row.map_err(|error| failure(&error)).flatten())
        .collect()
}

/// One line of a list.
fn listed(row: &Row<'_>) -> Result<Listed, StoreError> {
    Ok(Listed {
        queue_id: queue_id(get(row, 0)?)?,
        sender: get(row, 1)?,
        next_hop: parsed(&get::<String>(row, 2)?, "next hop")?,
        state: state(&get::<String>(row, 3)?)?,
        attempts: small(get(row, 4)?),
        size: count(get(row, 5)?),
        received_at: time(get(row, 6)?),
        next_attempt_at: get::<Option<i64>>(row, 7)?.map(time),
        last_reason: get(row, 8)?,
        pending: small(get(row, 9)?),
    })
}

/// Everything about one message.
fn show(db: &Connection, id: QueueId) -> Result<Shown, StoreError> {
    let row = db
        .prepare_cached("SELECT envelope, size, received_at FROM messages WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id.to_i64()], |row| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, i64>(2)?,
                    ))
                })
                .optional()
        })
        .map_err(|error| failure(&error))?;
    let queued = match row {
        Some((envelope, size, received_at)) => Some(MessageView {
            envelope: serde_json::from_str(&envelope).ok(),
            size: count(size),
            received_at: time(received_at),
            deliveries: deliveries(db, id)?,
        }),
        None => None,
    };
    let receipts = receipts(db, id)?;
    if queued.is_none() && receipts.is_empty() {
        return Err(StoreError::NoSuchMessage(id));
    }
    Ok(Shown {
        queue_id: id,
        queued,
        receipts,
    })
}

/// The deliveries of a message.
fn deliveries(db: &Connection, id: QueueId) -> Result<Vec<DeliveryView>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT id, next_hop, state, attempts, due_at, expires_at, floor, last_reason
             FROM deliveries WHERE message_id = ?1 ORDER BY id",
        )
        .map_err(|error| failure(&error))?;
    let rows = statement
        .query_map([id.to_i64()], |row| Ok(delivery(db, row)))
        .map_err(|error| failure(&error))?;
    rows.map(|row| row.map_err(|error| failure(&error)).flatten())
        .collect()
}

/// A delivery from its row.
fn delivery(db: &Connection, row: &Row<'_>) -> Result<DeliveryView, StoreError> {
    let floor: Option<String> = get(row, 6)?;
    Ok(DeliveryView {
        next_hop: parsed(&get::<String>(row, 1)?, "next hop")?,
        state: state(&get::<String>(row, 2)?)?,
        attempts: small(get(row, 3)?),
        next_attempt_at: get::<Option<i64>>(row, 4)?.map(time),
        expires_at: time(get(row, 5)?),
        floor: floor.and_then(|floor| serde_json::from_str(&floor).ok()),
        last_reason: get(row, 7)?,
        recipients: recipients(db, get(row, 0)?)?,
    })
}

/// The recipients of a delivery.
fn recipients(db: &Connection, delivery: i64) -> Result<Vec<RecipientView>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT mailbox, state, reply FROM recipients WHERE delivery_id = ?1 ORDER BY position",
        )
        .map_err(|error| failure(&error))?;
    let rows = statement
        .query_map([delivery], |row| Ok(recipient(row)))
        .map_err(|error| failure(&error))?;
    rows.map(|row| row.map_err(|error| failure(&error)).flatten())
        .collect()
}

/// A recipient from its row.
fn recipient(row: &Row<'_>) -> Result<RecipientView, StoreError> {
    let word: String = get(row, 1)?;
    let reply: Option<String> = get(row, 2)?;
    Ok(RecipientView {
        mailbox: parsed(&get::<String>(row, 0)?, "recipient")?,
        state: RecipientState::from_word(&word)
            .ok_or_else(|| StoreError::Damaged(format!("recipient state {word:?}")))?,
        reply: reply.and_then(|reply| serde_json::from_str(&reply).ok()),
    })
}

/// The receipts of a message; one that cannot be read is left out.
fn receipts(db: &Connection, id: QueueId) -> Result<Vec<crate::Receipt>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT receipt FROM receipts WHERE message_id = ?1 ORDER BY id")
        .map_err(|error| failure(&error))?;
    let rows = statement
        .query_map([id.to_i64()], |row| row.get::<_, String>(0))
        .map_err(|error| failure(&error))?;
    let texts: Vec<String> = rows
        .collect::<Result<_, _>>()
        .map_err(|error| failure(&error))?;
    Ok(texts
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect())
}

/// A column of a row.
pub(super) fn get<T: rusqlite::types::FromSql>(
    row: &Row<'_>,
    column: usize,
) -> Result<T, StoreError> {
    row.get(column).map_err(|error| failure(&error))
}

/// A value from the text on disk.
pub(super) fn parsed<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Damaged(format!("{what} {text:?}")))
}

/// A queue id from the number on disk.
pub(super) fn queue_id(number: i64) -> Result<QueueId, StoreError> {
    QueueId::from_i64(number).ok_or_else(|| StoreError::Damaged(format!("queue id {number}")))
}

/// A state from the word on disk.
fn state(word: &str) -> Result<DeliveryState, StoreError> {
    DeliveryState::from_word(word)
        .ok_or_else(|| StoreError::Damaged(format!("delivery state {word:?}")))
}
