//! The daemon's side of the spool, on the database.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use byrnie_base::UnixTime;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteStore;
use super::count;
use super::failure;
use super::finish::PreparedEnd;
use super::finish::finish;
use super::receipts;
use super::rows::DELIVERY_COLUMNS;
use super::rows::DeliveryRow;
use super::rows::MessageRow;
use super::rows::NewRows;
use super::rows::claims_of;
use super::rows::delivery_columns;
use super::rows::get;
use super::rows::inline;
use super::rows::message_columns;
use super::rows::piece_checksum;
use super::worker::Workers;
use super::worker::lock;
use super::writing::Writing;
use crate::Accepted;
use crate::AttemptEnd;
use crate::Body;
use crate::Claim;
use crate::Claimed;
use crate::Damaged;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::Depth;
use crate::Finished;
use crate::NewMessage;
use crate::QueueId;
use crate::Recovered;
use crate::Spool;
use crate::StoreError;
use crate::WaitingPage;
use crate::check::check_of;
use crate::message::Piece;

impl Spool for SqliteStore {
    fn next_id(&self, now: UnixTime) -> QueueId {
        self.ids.next(now)
    }

    async fn stage(&self, id: QueueId, first: u32, pieces: Body) -> Result<(), StoreError> {
        self.workers
            .write(move |writing| {
                writing.take_room(pieces.octets())?;
                write_pieces(writing, id, first, &pieces)
            })
            .await
    }

    fn abandon(&self, id: QueueId) {
        self.workers.abandon(id);
    }

    async fn insert(&self, message: NewMessage) -> Result<Accepted, StoreError> {
        let asked = Prepared::new(message, &self.delivery_ids)?;
        let responsible = Responsible {
            workers: &self.workers,
            id: Some(asked.message.id),
            given_up: Arc::new(AtomicBool::new(false)),
        };
        let given_up = Arc::clone(&responsible.given_up);
        let accepted = self
            .workers
            .write(move |writing| {
                if given_up.load(Ordering::SeqCst) {
                    return Err(StoreError::Closed);
                }
                writing.take_room(asked.message.body.octets())?;
                asked.insert(writing)
            })
            .await?;
        responsible.pass_on();
        Ok(accepted)
    }

    async fn recover(&self, _now: UnixTime) -> Result<Recovered, StoreError> {
        let last_before = self.last_before.map(QueueId::to_i64);
        self.workers
            .write(move |writing| recover(writing, last_before))
            .await
    }

    fn last_delivery(&self) -> DeliveryId {
        self.delivery_ids.last()
    }

    async fn waiting(
        &self,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<WaitingPage, StoreError> {
        let after = after.map_or(-1, |delivery| delivery.0);
        let read = self.workers.read(move |db| waiting(db, after, limit));
        let (page, damaged) = read.await?;
        for (delivery, found) in damaged {
            self.put_delivery_aside(delivery, found.what).await?;
        }
        Ok(page)
    }

    async fn claim(&self, delivery: DeliveryId) -> Result<Claimed, StoreError> {
        match self.workers.read(move |db| claim(db, delivery.0)).await? {
            Looked::Claimed(claimed) => Ok(*claimed),
            Looked::DamagedDelivery(found) => {
                let what = found.what.clone();
                self.put_delivery_aside(delivery.0, what).await?;
                Ok(Claimed::Damaged(found))
            }
            Looked::DamagedMessage(found) => {
                self.mark_corrupt(found.queue_id, found.what.clone())
                    .await?;
                // Also if the message is not what its own deliveries refer to.
                let what = found.what.clone();
                self.put_delivery_aside(delivery.0, what).await?;
                Ok(Claimed::Damaged(found))
            }
        }
    }

    async fn piece(&self, id: QueueId, place: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.workers
            .read(move |db| match read_piece(db, id.to_i64(), place)? {
                None if place == 0 => inline_body(db, id.to_i64()),
                piece => Ok(piece),
            })
            .await
    }

    async fn mark_corrupt(&self, id: QueueId, what: String) -> Result<(), StoreError> {
        self.workers
            .write(move |writing| {
                put_aside(
                    writing,
                    "SELECT id, state FROM deliveries WHERE message_id = ?1",
                    id.to_i64(),
                    &what,
                )
            })
            .await
    }

    async fn finish(&self, end: AttemptEnd) -> Result<Finished, StoreError> {
        let asked = PreparedEnd::new(end, &self.delivery_ids)?;
        self.workers
            .write(move |writing| finish(writing, &asked))
            .await
    }

    async fn ended(&self) {
        self.workers.ended().await;
    }

    fn depth(&self) -> Depth {
        lock(&self.counters).depth()
    }

    async fn prune(&self, now: UnixTime) -> Result<u64, StoreError> {
        receipts::prune(self, now).await
    }
}

impl SqliteStore {
    /// Puts one delivery aside.
    async fn put_delivery_aside(&self, delivery: i64, what: String) -> Result<(), StoreError> {
        self.workers
            .write(move |writing| {
                put_aside(
                    writing,
                    "SELECT id, state FROM deliveries WHERE id = ?1",
                    delivery,
                    &what,
                )
            })
            .await
    }
}

/// A new message, ready to be written as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// The message.
    pub(super) message: NewMessage,
    /// Its rows.
    rows: NewRows,
}

impl Prepared {
    /// Gives the deliveries their ids, and puts everything into rows.
    pub(super) fn new(message: NewMessage, ids: &super::DeliveryIds) -> Result<Self, StoreError> {
        let first_delivery = ids.take(message.deliveries.len());
        let rows = NewRows::new(&message, first_delivery)?;
        Ok(Self { message, rows })
    }

    /// Writes the message with its deliveries. If it is there already, nothing changes, and it is
    /// accepted as it was the first time.
    pub(super) fn insert(&self, writing: &mut Writing) -> Result<Accepted, StoreError> {
        if let Some(accepted) = self.existing(writing)? {
            return Ok(accepted);
        }
        let (message, id) = (&self.rows.message, self.message.id);
        if self.message.staged > 0 && staged(&writing.db, message.id)? != self.message.staged {
            // Its sender went away, and the pieces with it, before this call had its turn.
            return Err(StoreError::NoSuchMessage(id));
        }
        let inline = inline(&self.message);
        writing.run(
            "INSERT INTO messages (id, size, received_at, first_delivery, deliveries, envelope,
                body_checksum, checksum, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                message.id,
                message.size,
                message.received_at,
                message.first_delivery,
                message.deliveries,
                message.envelope,
                message.body_checksum,
                self.rows.checksum,
                inline.map(|body| body.map_or([].as_slice(), |piece| piece.octets.as_slice())),
            ],
        )?;
        if inline.is_none() {
            write_pieces(writing, id, self.message.staged, &self.message.body)?;
        }
        for delivery in &self.rows.deliveries {
            delivery.insert(&writing.db)?;
        }
        writing.count_messages(1);
        writing.count_deliveries(DeliveryState::Incoming, message.deliveries);
        Ok(self.accepted(message.first_delivery))
    }

    /// What its insertion came to, if it is there.
    pub(super) fn existing(&self, writing: &Writing) -> Result<Option<Accepted>, StoreError> {
        let first: Option<i64> = writing
            .db
            .prepare_cached("SELECT first_delivery FROM messages WHERE id = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([self.rows.message.id], |row| row.get(0))
                    .optional()
            })
            .map_err(|error| failure(&error))?;
        Ok(first.map(|first| self.accepted(first)))
    }

    /// What the caller gets.
    fn accepted(&self, first_delivery: i64) -> Accepted {
        Accepted {
            queue_id: self.message.id,
            claims: claims_of(&self.message, first_delivery),
            body: (self.message.staged == 0).then(|| self.message.body.clone()),
        }
    }
}

/// Has a message forgotten unless somebody else answers for it from here on.
struct Responsible<'a> {
    /// The way to the writer.
    workers: &'a Workers,
    /// The message; `None` once somebody else answers for it.
    id: Option<QueueId>,
    /// Tells the change, if its turn has not come yet.
    given_up: Arc<AtomicBool>,
}

impl Responsible<'_> {
    /// The caller has the message.
    fn pass_on(mut self) {
        self.id = None;
    }
}

impl Drop for Responsible<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.given_up.store(true, Ordering::SeqCst);
            self.workers.abandon(id);
        }
    }
}

/// Writes pieces of a message from a place on; the same ones again change nothing.
fn write_pieces(
    writing: &mut Writing,
    id: QueueId,
    first: u32,
    Body(pieces): &Body,
) -> Result<(), StoreError> {
    let id = id.to_i64();
    for (place, piece) in (first..).zip(pieces.iter()) {
        writing.run(
            "INSERT OR REPLACE INTO pieces (message_id, place, checksum, octets)
             VALUES (?1, ?2, ?3, ?4)",
            params![
                id,
                place,
                piece_checksum(id, place, piece.check),
                piece.octets
            ],
        )?;
    }
    Ok(())
}

/// How many pieces of a message are there.
fn staged(db: &Connection, id: i64) -> Result<u32, StoreError> {
    db.prepare_cached("SELECT count(*) FROM pieces WHERE message_id = ?1")
        .and_then(|mut statement| statement.query_row([id], |row| row.get(0)))
        .map_err(|error| failure(&error))
}

/// Removes everything of a message that nobody answers for.
pub(super) fn forget(writing: &mut Writing, id: QueueId) -> Result<(), StoreError> {
    let id = id.to_i64();
    let row: Option<(i64, i64)> = writing
        .db
        .prepare_cached("SELECT first_delivery, deliveries FROM messages WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(|error| failure(&error))?;
    if let Some((first, deliveries)) = row {
        for delivery in (first..).take(usize::try_from(deliveries).unwrap_or(0)) {
            let state = delivery_state(&writing.db, delivery, id)?;
            if let Some(state) = state {
                writing.run("DELETE FROM deliveries WHERE id = ?1", [delivery])?;
                writing.count_deliveries(state, -1);
            }
        }
        remove_message(writing, id)?;
    }
    writing
        .run("DELETE FROM pieces WHERE message_id = ?1", [id])
        .map(|_| ())
}

/// The state of a delivery, if it is one of this message's.
fn delivery_state(
    db: &Connection,
    delivery: i64,
    message: i64,
) -> Result<Option<DeliveryState>, StoreError> {
    db.prepare_cached("SELECT state FROM deliveries WHERE id = ?1 AND message_id = ?2")
        .and_then(|mut statement| {
            statement
                .query_row([delivery, message], |row| row.get(0))
                .optional()
        })
        .map(|state| state.map(DeliveryState::or_corrupt))
        .map_err(|error| failure(&error))
}

/// Removes a message with its pieces.
pub(super) fn remove_message(writing: &mut Writing, id: i64) -> Result<(), StoreError> {
    let removed = writing.run("DELETE FROM messages WHERE id = ?1", [id])?;
    writing.run("DELETE FROM pieces WHERE message_id = ?1", [id])?;
    writing.count_messages(-i64::from(removed > 0));
    Ok(())
}

/// Forgets what was staged up to a name and never accepted.
fn recover(writing: &mut Writing, staged_up_to: Option<i64>) -> Result<Recovered, StoreError> {
    let abandoned: i64 = writing
        .db
        .query_row(
            "SELECT count(DISTINCT message_id) FROM pieces
             WHERE message_id <= ?1 AND message_id NOT IN (SELECT id FROM messages)",
            [staged_up_to],
            |row| row.get(0),
        )
        .map_err(|error| failure(&error))?;
    if abandoned > 0 {
        writing.run(
            "DELETE FROM pieces
             WHERE message_id <= ?1 AND message_id NOT IN (SELECT id FROM messages)",
            [staged_up_to],
        )?;
    }
    Ok(Recovered {
        abandoned: count(abandoned),
    })
}

/// A page of what waits, and the ids of what of it is damaged.
fn waiting(
    db: &Connection,
    after: i64,
    limit: u32,
) -> Result<(WaitingPage, Vec<(i64, Damaged)>), StoreError> {
    let mut statement = db
        .prepare_cached(concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM deliveries d WHERE d.id > ?1 AND d.state NOT IN (2, 3) ORDER BY d.id LIMIT ?2"
        ))
        .map_err(|error| failure(&error))?;
    let mut rows = statement
        .query(params![after, limit])
        .map_err(|error| failure(&error))?;
    let mut page = WaitingPage::default();
    let mut damaged = Vec::new();
    let (mut read, mut last) = (0, None);
    while let Some(row) = rows.next().map_err(|error| failure(&error))? {
        let id: i64 = get(row, 0)?;
        (read, last) = (read + 1, Some(DeliveryId(id)));
        match DeliveryRow::read(row).and_then(|delivery| delivery.waiting()) {
            Ok(waiting) => page.waiting.push(waiting),
            Err(StoreError::Damaged(what)) => damaged.push((id, damage(row, what))),
            Err(error) => return Err(error),
        }
    }
    page.next = last.filter(|_| read == limit);
    page.damaged = damaged.iter().map(|(_, found)| found.clone()).collect();
    Ok((page, damaged))
}

/// The report of a damaged row whose second column is that of the message.
pub(super) fn damage(row: &Row<'_>, what: String) -> Damaged {
    let id: Option<i64> = row.get(1).ok();
    Damaged {
        queue_id: id.and_then(QueueId::from_i64).unwrap_or(QueueId::NONE),
        what,
    }
}

/// What a look at a delivery found.
enum Looked {
    /// What the caller gets.
    Claimed(Box<Claimed>),
    /// Its own row is damaged.
    DamagedDelivery(Damaged),
    /// Its message is damaged.
    DamagedMessage(Damaged),
}

/// Reads everything that an attempt needs.
fn claim(db: &Connection, delivery: i64) -> Result<Looked, StoreError> {
    let mut statement = db
        .prepare_cached(concat!(
            "SELECT ",
            delivery_columns!(),
            ", ",
            message_columns!(),
            ", m.body FROM deliveries d LEFT JOIN messages m ON m.id = d.message_id
             WHERE d.id = ?1"
        ))
        .map_err(|error| failure(&error))?;
    let mut rows = statement
        .query([delivery])
        .map_err(|error| failure(&error))?;
    let Some(row) = rows.next().map_err(|error| failure(&error))? else {
        return Ok(Looked::Claimed(Box::new(Claimed::Gone)));
    };
    let delivery = match DeliveryRow::read(row) {
        Ok(delivery) => delivery,
        Err(StoreError::Damaged(what)) => return Ok(Looked::DamagedDelivery(damage(row, what))),
        Err(error) => return Err(error),
    };
    match delivery.state {
        DeliveryState::Incoming | DeliveryState::Deferred => {}
        DeliveryState::Hold | DeliveryState::Corrupt => {
            return Ok(Looked::Claimed(Box::new(Claimed::Gone)));
        }
    }
    match claim_in(row, &delivery) {
        Ok((claim, body)) => Ok(Looked::Claimed(Box::new(Claimed::Ready(
            Box::new(claim),
            body,
        )))),
        Err(StoreError::Damaged(what)) => Ok(Looked::DamagedMessage(damage(row, what))),
        Err(error) => Err(error),
    }
}

/// The claim in a row, with the body if that is there too.
fn claim_in(row: &Row<'_>, delivery: &DeliveryRow) -> Result<(Claim, Option<Body>), StoreError> {
    let message = message_in(row, DELIVERY_COLUMNS)?;
    let claim = delivery.claim(&message)?;
    let body = match message.body_checksum {
        None => None,
        Some(checksum) => Some(body_in(row, DELIVERY_COLUMNS + 8, checksum)?),
    };
    Ok((claim, body))
}

/// The message in a row, which is missing if its columns are empty.
fn message_in(row: &Row<'_>, from: usize) -> Result<MessageRow, StoreError> {
    let id: Option<i64> = get(row, from)?;
    id.ok_or_else(|| StoreError::Damaged(String::from("the message is missing")))?;
    MessageRow::read(row, from)
}

/// The body in a column.
fn body_in(row: &Row<'_>, column: usize, checksum: i64) -> Result<Body, StoreError> {
    let octets: Vec<u8> = get(row, column)?;
    if check_of([octets.as_slice()]) != checksum {
        return Err(StoreError::Damaged(String::from(
            "the message does not match its checksum",
        )));
    }
    let pieces = if octets.is_empty() {
        Vec::new()
    } else {
        vec![Piece {
            octets,
            check: checksum,
        }]
    };
    Ok(Body(pieces.into()))
}

/// A piece that has a row of its own.
pub(super) fn read_piece(
    db: &Connection,
    id: i64,
    place: u32,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(i64, Vec<u8>)> = db
        .prepare_cached("SELECT checksum, octets FROM pieces WHERE message_id = ?1 AND place = ?2")
        .and_then(|mut statement| {
            statement
                .query_row(params![id, place], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(|error| failure(&error))?;
    let Some((checksum, octets)) = row else {
        return Ok(None);
    };
    if piece_checksum(id, place, check_of([octets.as_slice()])) != checksum {
        return Err(StoreError::Damaged(format!(
            "piece {place} does not match its checksum"
        )));
    }
    Ok(Some(octets))
}

/// The body of a message, if it is in the same row.
fn inline_body(db: &Connection, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
    let row = read_message(db, id)?;
    let body = row.and_then(|(_, body)| body);
    Ok(body.and_then(|body| body.piece(0).map(<[u8]>::to_vec)))
}

/// A message, with its body if that is in the same row.
pub(super) fn read_message(
    db: &Connection,
    id: i64,
) -> Result<Option<(MessageRow, Option<Body>)>, StoreError> {
    db.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        ", m.body FROM messages m WHERE m.id = ?1"
    ))
    .and_then(|mut statement| {
        statement
            .query_row([id], |row| {
                Ok(MessageRow::read(row, 0).and_then(|message| {
                    let checksum = message.body_checksum;
                    let body = checksum.map(|checksum| body_in(row, 8, checksum));
                    Ok((message, body.transpose()?))
                }))
            })
            .optional()
    })
    .map_err(|error| failure(&error))?
    .transpose()
}

/// Puts the deliveries that a query names aside.
fn put_aside(
    writing: &mut Writing,
    query: &str,
    parameter: i64,
    what: &str,
) -> Result<(), StoreError> {
    let found: Vec<(i64, i64)> = writing
        .db
        .prepare_cached(query)
        .and_then(|mut statement| {
            statement
                .query_map([parameter], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(|error| failure(&error))?;
    for (id, state) in found {
        writing.run(
            "UPDATE deliveries SET state = ?2, last_reason = ?3 WHERE id = ?1",
            params![id, DeliveryState::Corrupt.to_number(), what],
        )?;
        writing.count_deliveries(DeliveryState::or_corrupt(state), -1);
        writing.count_deliveries(DeliveryState::Corrupt, 1);
    }
    Ok(())
}
