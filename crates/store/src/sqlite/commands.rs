//! The commands for people, on the database.
//!
//! Whatever is asked for is read in bounded pages by a reader, and changed by key: neither mail that
//! comes in nor mail that goes out waits for a look at the whole queue.

use std::collections::VecDeque;
use std::path::Path;

use byrnie_base::UnixTime;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use rusqlite::types::FromSql;

use super::SqliteStore;
use super::backup::backup;
use super::count;
use super::failure;
use super::finish::remove_message_if_done;
use super::receipts;
use super::rows::DELIVERY_COLUMNS;
use super::rows::StoredRecipient;
use super::rows::delivery_columns;
use super::rows::read_delivery;
use super::small;
use super::time;
use super::to_json;
use super::verify::verify_all;
use super::writing::Writing;
use crate::Counted;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::DeliveryView;
use crate::Filter;
use crate::Listed;
use crate::MessageView;
use crate::Progress;
use crate::QueueCommands;
use crate::QueueId;
use crate::RecipientState;
use crate::RecipientView;
use crate::SenderFilter;
use crate::Shown;
use crate::StoreError;
use crate::Verified;
use crate::Waiting;

impl QueueCommands for SqliteStore {
    async fn list(&self, filter: Filter) -> Result<Vec<Listed>, StoreError> {
        let mut search = Search::begin(self, filter).await?;
        let mut lines = Vec::new();
        while let Some(page) = search.next_page().await? {
            lines.extend(page);
        }
        Ok(lines)
    }

    async fn count(&self, filter: Filter) -> Result<Counted, StoreError> {
        let limit = u32::MAX;
        let mut search = Search::begin(self, Filter { limit, ..filter }).await?;
        let mut counted = Counted::default();
        let mut last = None;
        while let Some(page) = search.next_page().await? {
            for line in page {
                counted.deliveries += 1;
                // Those of one message follow one another.
                if last != Some(line.queue_id) {
                    counted.messages += 1;
                    last = Some(line.queue_id);
                }
            }
        }
        Ok(counted)
    }

    async fn show(&self, id: QueueId) -> Result<Shown, StoreError> {
        self.workers.read(move |db| show(db, id)).await
    }

    async fn retry(
        &self,
        filter: Filter,
        now: UnixTime,
        changed: impl FnMut(Vec<Waiting>) + Send,
    ) -> Result<u64, StoreError> {
        let change = move |writing: &mut Writing, id| make_due(writing, id, &WAITING, now);
        self.change(filter, change, changed).await
    }

    async fn hold(
        &self,
        filter: Filter,
        changed: impl FnMut(Vec<DeliveryId>) + Send,
    ) -> Result<u64, StoreError> {
        self.change(filter, hold, changed).await
    }

    async fn release(
        &self,
        filter: Filter,
        now: UnixTime,
        changed: impl FnMut(Vec<Waiting>) + Send,
    ) -> Result<u64, StoreError> {
        let change = move |writing: &mut Writing, id| make_due(writing, id, &[HELD], now);
        self.change(filter, change, changed).await
    }

    async fn remove(
        &self,
        filter: Filter,
        changed: impl FnMut(Vec<DeliveryId>) + Send,
    ) -> Result<u64, StoreError> {
        self.change(filter, remove, changed).await
    }

    async fn verify_all(
        &self,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Verified, StoreError> {
        verify_all(self, progress).await
    }

    async fn backup(
        &self,
        path: &Path,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<(), StoreError> {
        backup(self, path, progress).await
    }
}

impl SqliteStore {
    /// Makes a change to each delivery that passes the filter, and tells what the changes of each page
    /// returned; returns how many there were.
    async fn change<T: Send + 'static>(
        &self,
        filter: Filter,
        change: impl Fn(&mut Writing, i64) -> Result<Option<T>, StoreError> + Clone + Send + 'static,
        mut changed: impl FnMut(Vec<T>) + Send,
    ) -> Result<u64, StoreError> {
        let mut search = Search::begin(self, filter).await?;
        let mut number = 0;
        while let Some(page) = search.next_page().await? {
            let ids: Vec<i64> = page.iter().map(|line| line.delivery.0).collect();
            let change = change.clone();
            let page = self.workers.write(move |writing| {
                let ids = ids.iter();
                ids.filter_map(|id| change(writing, *id).transpose())
                    .collect::<Result<Vec<T>, _>>()
            });
            let page = page.await?;
            number += u64::try_from(page.len()).unwrap_or(u64::MAX);
            // At once: should the next page fail, this one counts all the same.
            if !page.is_empty() {
                changed(page);
            }
        }
        Ok(number)
    }
}

/// A way through the deliveries that pass a filter.
struct Search<'a> {
    /// Where they are.
    store: &'a SqliteStore,
    /// Which.
    filter: Filter,
    /// Ids that have not been looked at, first to last, each with the message they must be of.
    left: VecDeque<(i64, i64, Option<i64>)>,
}

impl<'a> Search<'a> {
    /// Finds out where to look.
    async fn begin(store: &'a SqliteStore, filter: Filter) -> Result<Self, StoreError> {
        let first = filter.after.map_or(0, |after| after.0.saturating_add(1));
        let mut left = VecDeque::from([(first, i64::MAX, None)]);
        if !filter.ids.is_empty() {
            let ids = filter.ids.clone();
            let read = store.workers.read(move |db| {
                let ids = ids.iter();
                ids.map(|id| place_of(db, *id))
                    .collect::<Result<Vec<_>, _>>()
            });
            let mut places = read.await?;
            places.sort_unstable();
            places.dedup();
            left = places
                .into_iter()
                .map(|(from, to, message)| (from.max(first), to, message))
                .collect();
        }
        Ok(Self {
            store,
            filter,
            left,
        })
    }

    /// More of them; `None` when the limit or the end is reached. A page may be empty.
    async fn next_page(&mut self) -> Result<Option<Vec<Listed>>, StoreError> {
        let limit = self.filter.limit.min(LINES_AT_ONCE);
        let Some((from, to, message)) = self.left.pop_front().filter(|_| limit > 0) else {
            return Ok(None);
        };
        let filter = Filter {
            ids: Vec::new(),
            limit,
            ..self.filter.clone()
        };
        let read = self
            .store
            .workers
            .read(move |db| page(db, &filter, from, to, message));
        let (lines, next) = read.await?;
        if let Some(next) = next {
            self.left.push_front((next, to, message));
        }
        let found = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        self.filter.limit = self.filter.limit.saturating_sub(found);
        Ok(Some(lines))
    }
}

/// Where the deliveries of a message are: their first and last id, and the message.
fn place_of(db: &Connection, id: QueueId) -> Result<(i64, i64, Option<i64>), StoreError> {
    let message = id.to_i64();
    let (first, deliveries): (i64, i64) = db
        .prepare_cached("SELECT first_delivery, deliveries FROM messages WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([message], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(|error| failure(&error))?
        .ok_or(StoreError::NoSuchMessage(id))?;
    let last = first.saturating_add(deliveries).saturating_sub(1);
    let is_there = db
        .prepare_cached("SELECT 1 FROM deliveries WHERE id BETWEEN ?1 AND ?2 AND message_id = ?3")
        .and_then(|mut statement| statement.exists([first, last, message]))
        .map_err(|error| failure(&error))?;
    // A message that is damaged may say something wrong; then they could be anywhere.
    Ok(if is_there {
        (first, last, Some(message))
    } else {
        (0, i64::MAX, Some(message))
    })
}

/// Deliveries between two ids that pass the filter, and where to go on, if there may be more.
fn page(
    db: &Connection,
    filter: &Filter,
    from: i64,
    to: i64,
    message: Option<i64>,
) -> Result<(Vec<Listed>, Option<i64>), StoreError> {
    // Ids that were never used, or no longer are, cost nothing.
    let start: Option<i64> = db
        .prepare_cached("SELECT min(id) FROM deliveries WHERE id BETWEEN ?1 AND ?2")
        .and_then(|mut statement| statement.query_row([from, to], |row| row.get(0)))
        .map_err(|error| failure(&error))?;
    let Some(start) = start else {
        return Ok((Vec::new(), None));
    };
    let end = to.min(start.saturating_add(IDS_AT_ONCE));
    let (path, domain) = match &filter.sender {
        None => (None, None),
        Some(SenderFilter::Path(path)) => (Some(path.to_string()), None),
        Some(SenderFilter::Domain(domain)) => (None, Some(format!("@{domain}"))),
    };
    let recipient = filter.recipient.clone().map(StoredRecipient::pending);
    let recipient = recipient.as_ref().map(to_json).transpose()?;
    let arrival = |time: Option<UnixTime>| time.map(|time| QueueId::first_at(time).to_i64());
    let mut statement = db.prepare_cached(PAGE).map_err(|error| failure(&error))?;
    let rows = statement
        .query_map(
            params![
                start,
                end,
                message,
                filter.next_hop.as_ref().map(ToString::to_string),
                path,
                domain,
                // Up to the brace that closes it: what has happened to the recipient stands behind.
                recipient.as_deref().map(|json| json.trim_end_matches('}')),
                filter.state.map(DeliveryState::to_number),
                arrival(filter.received_before),
                arrival(filter.received_since),
                filter.reason,
                filter.limit,
            ],
            |row| Ok(listed(row)),
        )
        .map_err(|error| failure(&error))?;
    let lines: Vec<Listed> = rows
        .collect::<Result<_, _>>()
        .map_err(|error| failure(&error))?;
    let is_full = u32::try_from(lines.len()).is_ok_and(|number| number == filter.limit);
    let next = match lines.last().filter(|_| is_full) {
        Some(line) => line.delivery.0.saturating_add(1),
        None => end.saturating_add(1),
    };
    Ok((lines, (next <= to).then_some(next)))
}

/// Deliveries that pass a filter.
const PAGE: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    ", m.size, m.received_at
     FROM deliveries d LEFT JOIN messages m ON m.id = d.message_id
     WHERE d.id BETWEEN ?1 AND ?2
       AND (?3 IS NULL OR d.message_id = ?3)
       AND (?4 IS NULL OR d.next_hop = ?4)
       AND (?5 IS NULL OR d.sender = ?5)
       AND (?6 IS NULL OR substr(d.sender, -length(?6)) = ?6)
       AND (?7 IS NULL OR instr(d.recipients, ?7) > 0)
       AND (?8 IS NULL OR d.state = ?8)
       AND (?9 IS NULL OR d.message_id < ?9)
       AND (?10 IS NULL OR d.message_id >= ?10)
       AND (?11 IS NULL OR instr(lower(d.last_reason), lower(?11)) > 0)
     ORDER BY d.id LIMIT ?12"
);

/// One line of a list, with what can be read: damaged deliveries are listed too.
fn listed(row: &Row<'_>) -> Listed {
    let message = or_default(row, 1);
    let queue_id = QueueId::from_i64(message).unwrap_or(QueueId::NONE);
    let view = view(row);
    let is_pending = |one: &&RecipientView| one.state == RecipientState::Pending;
    let pending = view.recipients.iter().filter(is_pending).count();
    let received_at: Option<i64> = or_default(row, DELIVERY_COLUMNS + 1);
    Listed {
        delivery: view.delivery,
        queue_id,
        sender: or_default(row, 10),
        next_hop: view.next_hop,
        state: view.state,
        pending: u32::try_from(pending).unwrap_or(u32::MAX),
        attempts: view.attempts,
        size: count(or_default::<Option<i64>>(row, DELIVERY_COLUMNS).unwrap_or(0)),
        received_at: received_at.map_or_else(|| queue_id.arrived_at(), time),
        next_attempt_at: view.next_attempt_at,
        last_reason: view.last_reason,
    }
}

/// A delivery from its row, with what can be read.
fn view(row: &Row<'_>) -> DeliveryView {
    let state = DeliveryState::or_corrupt(or_default(row, 4));
    let due_at = time(or_default(row, 5));
    let recipients: String = or_default(row, 11);
    let recipients: Vec<StoredRecipient> = serde_json::from_str(&recipients).unwrap_or_default();
    let floor: Option<String> = or_default(row, 12);
    DeliveryView {
        delivery: DeliveryId(or_default(row, 0)),
        next_hop: or_default(row, 9),
        state,
        attempts: small(or_default(row, 6)),
        next_attempt_at: match state {
            DeliveryState::Incoming | DeliveryState::Deferred => Some(due_at),
            DeliveryState::Hold | DeliveryState::Corrupt => None,
        },
        expires_at: time(or_default(row, 7)),
        floor: floor.and_then(|floor| serde_json::from_str(&floor).ok()),
        last_reason: or_default(row, 13),
        recipients: recipients
            .into_iter()
            .map(|recipient| RecipientView {
                mailbox: recipient.mailbox,
                state: recipient.state,
                reply: recipient.reply,
            })
            .collect(),
    }
}

/// A column for people to look at, empty if it cannot be read.
fn or_default<T: FromSql + Default>(row: &Row<'_>, column: usize) -> T {
    row.get(column).unwrap_or_default()
}

/// Everything about one message.
fn show(db: &Connection, id: QueueId) -> Result<Shown, StoreError> {
    let snapshot = db
        .unchecked_transaction()
        .map_err(|error| failure(&error))?;
    let queued = message_view(&snapshot, id)?;
    let receipts = receipts::of_message(&snapshot, id)?;
    snapshot.finish().map_err(|error| failure(&error))?;
    if queued.is_none() && receipts.is_empty() {
        return Err(StoreError::NoSuchMessage(id));
    }
    Ok(Shown {
        queue_id: id,
        queued,
        receipts,
    })
}

/// A message that is in the queue.
fn message_view(db: &Connection, id: QueueId) -> Result<Option<MessageView>, StoreError> {
    let row: Option<(String, i64, i64)> = db
        .prepare_cached("SELECT envelope, size, received_at FROM messages WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id.to_i64()], |row| {
                    Ok((or_default(row, 0), or_default(row, 1), or_default(row, 2)))
                })
                .optional()
        })
        .map_err(|error| failure(&error))?;
    let Some((envelope, size, received_at)) = row else {
        return Ok(None);
    };
    let (from, to, message) = place_of(db, id)?;
    let deliveries = db
        .prepare_cached(concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM deliveries d WHERE d.id BETWEEN ?1 AND ?2 AND d.message_id = ?3 ORDER BY d.id"
        ))
        .and_then(|mut statement| {
            statement
                .query_map(params![from, to, message], |row| Ok(view(row)))?
                .collect()
        })
        .map_err(|error| failure(&error))?;
    Ok(Some(MessageView {
        envelope: serde_json::from_str(&envelope).ok(),
        size: count(size),
        received_at: time(received_at),
        deliveries,
    }))
}

/// Makes a delivery due that is in one of these states.
fn make_due(
    writing: &mut Writing,
    id: i64,
    from: &[DeliveryState],
    now: UnixTime,
) -> Result<Option<Waiting>, StoreError> {
    let mut delivery = match read_delivery(&writing.db, id) {
        Ok(Some(delivery)) if from.contains(&delivery.state) => delivery,
        // What is damaged is put aside when somebody wants to send it.
        Ok(_) | Err(StoreError::Damaged(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let before = delivery.state;
    delivery.state = match delivery.attempts {
        0 => DeliveryState::Incoming,
        _ => DeliveryState::Deferred,
    };
    delivery.due_at = now.as_i64();
    writing.run(
        "UPDATE deliveries SET state = ?2, due_at = ?3 WHERE id = ?1",
        params![id, delivery.state.to_number(), delivery.due_at],
    )?;
    writing.count_deliveries(before, -1);
    writing.count_deliveries(delivery.state, 1);
    delivery.waiting().map(Some)
}

/// Holds a delivery back that waits.
fn hold(writing: &mut Writing, id: i64) -> Result<Option<DeliveryId>, StoreError> {
    let Some((state, _)) = whereabouts(&writing.db, id)? else {
        return Ok(None);
    };
    match state {
        DeliveryState::Incoming | DeliveryState::Deferred => {}
        DeliveryState::Hold | DeliveryState::Corrupt => return Ok(None),
    }
    writing.run(
        "UPDATE deliveries SET state = ?2 WHERE id = ?1",
        params![id, HELD.to_number()],
    )?;
    writing.count_deliveries(state, -1);
    writing.count_deliveries(HELD, 1);
    Ok(Some(DeliveryId(id)))
}

/// Removes a delivery, and its message if it was the last.
fn remove(writing: &mut Writing, id: i64) -> Result<Option<DeliveryId>, StoreError> {
    let Some((state, message)) = whereabouts(&writing.db, id)? else {
        return Ok(None);
    };
    let (first, deliveries) = match read_delivery(&writing.db, id) {
        Ok(Some(delivery)) => (delivery.first_delivery, delivery.deliveries),
        // What it says about its message cannot be believed: the others may be anywhere, and the message
        // may be another one, which still has some.
        Ok(None) | Err(StoreError::Damaged(_)) => ANYWHERE,
        Err(error) => return Err(error),
    };
    writing.run("DELETE FROM deliveries WHERE id = ?1", [id])?;
    writing.count_deliveries(state, -1);
    remove_message_if_done(writing, message, first, deliveries)?;
    Ok(Some(DeliveryId(id)))
}

/// The state of a delivery and its message; also if it is damaged.
fn whereabouts(db: &Connection, id: i64) -> Result<Option<(DeliveryState, i64)>, StoreError> {
    db.prepare_cached("SELECT state, message_id FROM deliveries WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id], |row| {
                    Ok((DeliveryState::or_corrupt(row.get(0)?), row.get(1)?))
                })
                .optional()
        })
        .map_err(|error| failure(&error))
}

/// The first and the number of a message's deliveries, where nobody knows which they are.
const ANYWHERE: (i64, i64) = (0, i64::MAX);

/// What `retry` is for.
const WAITING: [DeliveryState; 2] = [DeliveryState::Incoming, DeliveryState::Deferred];

/// What `hold` makes and `release` is for.
const HELD: DeliveryState = DeliveryState::Hold;

/// Lines that are read, or deliveries that are changed, at once: some milliseconds.
const LINES_AT_ONCE: u32 = 1_000;

/// Ids that are looked at at once for lines that pass.
const IDS_AT_ONCE: i64 = 20_000;
