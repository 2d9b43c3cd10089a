//! The daemon's side of the spool, on the database.

use std::collections::HashMap;

use aws_lc_rs::digest;
use byrnie_base::MailDomain;
use byrnie_base::UnixTime;
use byrnie_smtp::Envelope;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteOptions;
use super::SqliteStore;
use super::commands::get;
use super::commands::parsed;
use super::commands::queue_id;
use super::count;
use super::failure;
use super::io_failure;
use super::small;
use super::time;
use super::to_json;
use crate::AttemptEnd;
use crate::Claim;
use crate::Claimed;
use crate::Damaged;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::Depth;
use crate::Finished;
use crate::Integrity;
use crate::NewDelivery;
use crate::NewMessage;
use crate::PendingRecipient;
use crate::QueueId;
use crate::Receipt;
use crate::Recovered;
use crate::Room;
use crate::Spool;
use crate::StoreError;
use crate::message::checksum;

impl Spool for SqliteStore {
    fn next_id(&self, now: UnixTime) -> QueueId {
        self.ids.next(now)
    }

    async fn stage(&self, id: QueueId, first: u32, pieces: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let options = self.options.clone();
        self.workers
            .write(move |db| {
                check_room(db, octets_in(&pieces), &options)?;
                write_pieces(db, id, first, &pieces)
            })
            .await
    }

    fn abandon(&self, id: QueueId) {
        self.workers.abandon(id);
    }

    async fn insert(&self, message: NewMessage) -> Result<(), StoreError> {
        let options = self.options.clone();
        self.workers
            .write(move |db| {
                check_room(db, octets_in(&message.pieces), &options)?;
                insert(db, &message)
            })
            .await
    }

    async fn recover(&self, now: UnixTime) -> Result<Recovered, StoreError> {
        let last_before = self.last_before;
        self.workers
            .write(move |db| recover(db, now, last_before))
            .await
    }

    async fn hasten(&self, now: UnixTime, latest: UnixTime) -> Result<u64, StoreError> {
        self.workers
            .write(move |db| {
                run(
                    db,
                    "UPDATE deliveries SET due_at = ?1 WHERE due_at > ?2",
                    params![now.as_i64(), latest.as_i64()],
                )
            })
            .await
    }

    async fn claim(&self, now: UnixTime, room: Room) -> Result<Claimed, StoreError> {
        self.workers.write(move |db| claim(db, now, &room)).await
    }

    async fn next_due(&self, room: Room) -> Result<Option<UnixTime>, StoreError> {
        self.workers
            .read(move |db| {
                let in_progress = in_progress(&room);
                let hops = due_hops(db, i64::MAX, &room, in_progress.len().saturating_add(1))?;
                Ok(hops
                    .into_iter()
                    .find(|due| {
                        let busy = in_progress.get(&due.next_hop).copied().unwrap_or_default();
                        busy < room.per_next_hop
                    })
                    .map(|due| due.due_at))
            })
            .await
    }

    async fn finish(&self, end: AttemptEnd) -> Result<Finished, StoreError> {
        self.workers.write(move |db| finish(db, &end)).await
    }

    async fn unclaim(&self, delivery: DeliveryId, due_at: UnixTime) -> Result<(), StoreError> {
        self.workers
            .write(move |db| {
                let sql = format!("{RESUME} AND id = ?2");
                run(db, &sql, params![due_at.as_i64(), delivery.0])?;
                honour_removals(db)
            })
            .await
    }

    async fn verify(&self, id: QueueId) -> Result<Integrity, StoreError> {
        self.workers.read(move |db| verify(db, id)).await
    }

    async fn mark_corrupt(&self, id: QueueId, what: String) -> Result<(), StoreError> {
        self.workers
            .write(move |db| mark_corrupt(db, id, &what))
            .await
    }

    async fn piece(&self, id: QueueId, place: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.workers
            .read(move |db| {
                db.prepare_cached("SELECT octets FROM pieces WHERE message_id = ?1 AND place = ?2")
                    .and_then(|mut statement| {
                        statement
                            .query_row(params![id.to_i64(), place], |row| row.get(0))
                            .optional()
                    })
                    .map_err(|error| failure(&error))
            })
            .await
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        self.workers.read(depth).await
    }

    async fn prune(&self, now: UnixTime) -> Result<u64, StoreError> {
        let oldest = now.0.saturating_sub(self.options.receipt_age_max.as_secs());
        let receipts_max = i64::try_from(self.options.receipts_max).unwrap_or(i64::MAX);
        let size_wanted = self.options.size_max / 4 * 3;
        self.workers
            .write(move |db| {
                let old = run(
                    db,
                    "DELETE FROM receipts WHERE at < ?1",
                    params![UnixTime(oldest).as_i64()],
                )?;
                let surplus = run(
                    db,
                    // They are numbered without end, and the first go first.
                    "DELETE FROM receipts WHERE id <= (SELECT max(id) FROM receipts) - ?1",
                    params![receipts_max],
                )?;
                let mut bulky = 0;
                if octets_used(db)? > size_wanted {
                    // Mail that waits to be accepted is worth more than proof of what was sent.
                    bulky = run(
                        db,
                        "DELETE FROM receipts WHERE id <=
                         ((SELECT min(id) FROM receipts) + (SELECT max(id) FROM receipts)) / 2",
                        params![],
                    )?;
                }
                Ok(old + surplus + bulky)
            })
            .await
    }
}

/// Refuses more octets than the spool may hold, or than the disk has room for.
fn check_room(db: &Connection, more: u64, options: &SqliteOptions) -> Result<(), StoreError> {
    if octets_used(db)?.saturating_add(more) > options.size_max {
        return Err(StoreError::Full);
    }
    let disk = rustix::fs::statvfs(&options.directory)
        .map_err(|error| io_failure(&options.directory, &error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // Everything is written twice: to the log, and from there to its place.
    if free < options.free_min.saturating_add(more.saturating_mul(2)) {
        return Err(StoreError::Full);
    }
    Ok(())
}

/// Octets of the database that hold something.
fn octets_used(db: &Connection) -> Result<u64, StoreError> {
    let number = |pragma: &str| -> Result<u64, StoreError> {
        db.pragma_query_value(None, pragma, |row| row.get(0))
            .map(count)
            .map_err(|error| failure(&error))
    };
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(pages.saturating_mul(number("page_size")?))
}

/// Octets in pieces.
fn octets_in(pieces: &[Vec<u8>]) -> u64 {
    pieces
        .iter()
        .map(|piece| u64::try_from(piece.len()).unwrap_or(u64::MAX))
        .sum()
}

/// Writes pieces of a message from a place on; the same ones again change nothing.
fn write_pieces(
    db: &Connection,
    id: QueueId,
    first: u32,
    pieces: &[Vec<u8>],
) -> Result<(), StoreError> {
    for (place, piece) in (first..).zip(pieces) {
        run(
            db,
            "INSERT OR REPLACE INTO pieces (message_id, place, octets) VALUES (?1, ?2, ?3)",
            params![id.to_i64(), place, piece],
        )?;
    }
    Ok(())
}

/// Writes a message with its deliveries; the same one again changes nothing.
fn insert(db: &Connection, message: &NewMessage) -> Result<(), StoreError> {
    let id = message.id.to_i64();
    let envelope = to_json(&message.envelope)?;
    let new = run(
        db,
        "INSERT OR IGNORE INTO messages (id, reverse_path, envelope, size, received_at, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            id,
            message.envelope.reverse_path.to_string(),
            envelope,
            i64::try_from(message.size).unwrap_or(i64::MAX),
            message.received_at.as_i64(),
            checksum(message.digest.clone(), &envelope),
        ],
    )?;
    if new == 0 {
        return Ok(());
    }
    let staged: i64 = db
        .prepare_cached("SELECT count(*) FROM pieces WHERE message_id = ?1 AND place < ?2")
        .and_then(|mut statement| {
            statement.query_row(params![id, message.staged], |row| row.get(0))
        })
        .map_err(|error| failure(&error))?;
    if staged != i64::from(message.staged) {
        // Its sender went away, and the pieces with it, before this call had its turn.
        return Err(StoreError::NoSuchMessage(message.id));
    }
    write_pieces(db, message.id, message.staged, &message.pieces)?;
    for delivery in &message.deliveries {
        insert_delivery(db, message.id, delivery)?;
    }
    Ok(())
}

/// Writes a delivery with its recipients.
fn insert_delivery(db: &Connection, id: QueueId, delivery: &NewDelivery) -> Result<(), StoreError> {
    run(
        db,
        "INSERT INTO deliveries (message_id, next_hop, state, due_at, expires_at)
         VALUES (?1, ?2, 'incoming', ?3, ?4)",
        params![
            id.to_i64(),
            delivery.next_hop.to_string(),
            delivery.due_at.as_i64(),
            delivery.expires_at.as_i64(),
        ],
    )?;
    let delivery_id = db.last_insert_rowid();
    for (position, mailbox) in (0_u32..).zip(&delivery.recipients) {
        run(
            db,
            "INSERT INTO recipients (delivery_id, position, mailbox) VALUES (?1, ?2, ?3)",
            params![delivery_id, position, mailbox.to_string()],
        )?;
    }
    Ok(())
}

/// Makes active deliveries due again and forgets what was staged up to a name.
fn recover(
    db: &Connection,
    now: UnixTime,
    staged_up_to: Option<QueueId>,
) -> Result<Recovered, StoreError> {
    let resumed = run(db, RESUME, params![now.as_i64()])?;
    honour_removals(db)?;
    let staged_up_to = staged_up_to.map(QueueId::to_i64);
    let abandoned: i64 = db
        .query_row(
            "SELECT count(DISTINCT message_id) FROM pieces
             WHERE message_id <= ?1 AND message_id NOT IN (SELECT id FROM messages)",
            [staged_up_to],
            |row| row.get(0),
        )
        .map_err(|error| failure(&error))?;
    run(
        db,
        "DELETE FROM pieces
         WHERE message_id <= ?1 AND message_id NOT IN (SELECT id FROM messages)",
        params![staged_up_to],
    )?;
    Ok(Recovered {
        resumed,
        abandoned: count(abandoned),
    })
}

/// Carries out removals that waited for the end of an attempt.
fn honour_removals(db: &Connection) -> Result<(), StoreError> {
    let ids: Vec<i64> = db
        .prepare_cached(
            "SELECT message_id FROM deliveries WHERE wish = 'remove' AND state = 'hold'",
        )
        .and_then(|mut statement| {
            statement
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()
        })
        .map_err(|error| failure(&error))?;
    for id in ids {
        run(
            db,
            "DELETE FROM deliveries WHERE message_id = ?1 AND wish = 'remove' AND state = 'hold'",
            params![id],
        )?;
        remove_if_done(db, id)?;
    }
    Ok(())
}

/// Takes what is due.
fn claim(db: &Connection, now: UnixTime, room: &Room) -> Result<Claimed, StoreError> {
    let mut claimed = Claimed::default();
    let mut left = room.total;
    let mut retries_left = room.retries;
    let mut in_progress = in_progress(room);
    // Hops without room stand in front of the others for as long as they are busy, and there are no
    // more of them than deliveries in progress.
    let total = usize::try_from(room.total).unwrap_or(usize::MAX);
    let hops = due_hops(
        db,
        now.as_i64(),
        room,
        total.saturating_add(in_progress.len()),
    )?;
    for due in hops {
        let busy = in_progress.entry(due.next_hop.clone()).or_default();
        let room_left = match due.kind {
            Kind::First => left,
            Kind::Retry => left.min(retries_left),
        };
        let limit = room.per_next_hop.saturating_sub(*busy).min(room_left);
        if limit == 0 {
            continue;
        }
        for (delivery, id) in due_deliveries(db, &due, now, limit)? {
            match read_claim(db, delivery) {
                Ok(claim) => {
                    let sql = "UPDATE deliveries SET state = 'active', due_at = NULL WHERE id = ?1";
                    run(db, sql, params![delivery])?;
                    claimed.claims.push(claim);
                    *busy += 1;
                    left = left.saturating_sub(1);
                    if due.kind == Kind::Retry {
                        retries_left = retries_left.saturating_sub(1);
                    }
                }
                Err(StoreError::Damaged(what)) => {
                    let queue_id = queue_id(id)?;
                    mark_corrupt(db, queue_id, &what)?;
                    claimed.damaged.push(Damaged { queue_id, what });
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(claimed)
}

/// A next hop with something due.
struct DueHop {
    /// As it is written.
    next_hop: String,
    /// What is due.
    kind: Kind,
    /// Since when, or from when on.
    due_at: UnixTime,
}

/// Which attempt is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// The first.
    First,
    /// Another one.
    Retry,
}

impl Kind {
    /// The state of deliveries of which such an attempt is due.
    fn state(self) -> DeliveryState {
        match self {
            Self::First => DeliveryState::Incoming,
            Self::Retry => DeliveryState::Deferred,
        }
    }
}

/// Next hops with something due that there is room for, earliest first; up to the limit of each kind.
fn due_hops(
    db: &Connection,
    until: i64,
    room: &Room,
    limit: usize,
) -> Result<Vec<DueHop>, StoreError> {
    let mut hops = Vec::new();
    for (kind, room) in [(Kind::First, room.total), (Kind::Retry, room.retries)] {
        if room > 0 {
            hops.extend(due_hops_of(db, until, kind, limit)?);
        }
    }
    hops.sort_by_key(|due| due.due_at);
    Ok(hops)
}

/// Next hops of which attempts of one kind are due, earliest first.
fn due_hops_of(
    db: &Connection,
    until: i64,
    kind: Kind,
    limit: usize,
) -> Result<Vec<DueHop>, StoreError> {
    db.prepare_cached(
        "SELECT next_hop, due_at FROM next_hops WHERE state = ?1 AND due_at <= ?2
         ORDER BY due_at LIMIT ?3",
    )
    .and_then(|mut statement| {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        statement
            .query_map(params![kind.state().as_str(), until, limit], |row| {
                Ok(DueHop {
                    next_hop: row.get(0)?,
                    kind,
                    due_at: time(row.get(1)?),
                })
            })?
            .collect()
    })
    .map_err(|error| failure(&error))
}

/// How many deliveries each next hop has in progress, by the next hop as it is written.
fn in_progress(room: &Room) -> HashMap<String, u32> {
    let in_progress = room.in_progress.iter();
    in_progress
        .map(|(hop, count)| (hop.to_string(), *count))
        .collect()
}

/// Deliveries for one next hop that are due, with their messages.
fn due_deliveries(
    db: &Connection,
    due: &DueHop,
    now: UnixTime,
    limit: u32,
) -> Result<Vec<(i64, i64)>, StoreError> {
    db.prepare_cached(
        "SELECT id, message_id FROM deliveries WHERE next_hop = ?1 AND state = ?2 AND due_at <= ?3
         ORDER BY due_at LIMIT ?4",
    )
    .and_then(|mut statement| {
        let state = due.kind.state().as_str();
        statement
            .query_map(params![due.next_hop, state, now.as_i64(), limit], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect()
    })
    .map_err(|error| failure(&error))
}

/// Reads everything that an attempt needs.
fn read_claim(db: &Connection, delivery: i64) -> Result<Claim, StoreError> {
    let recipients = pending_recipients(db, delivery)?;
    if recipients.is_empty() {
        return Err(StoreError::Damaged(String::from("no recipient is left")));
    }
    db.prepare_cached(
        "SELECT message_id, attempts, next_hop, expires_at, floor, last_reason, envelope, size,
                received_at
         FROM deliveries JOIN messages ON messages.id = message_id WHERE deliveries.id = ?1",
    )
    .and_then(|mut statement| {
        statement.query_row([delivery], |row| Ok(claim_in(row, delivery, recipients)))
    })
    .map_err(|error| failure(&error))?
}

/// A claim from its row.
fn claim_in(
    row: &Row<'_>,
    delivery: i64,
    recipients: Vec<PendingRecipient>,
) -> Result<Claim, StoreError> {
    let floor: Option<String> = get(row, 4)?;
    let envelope: String = get(row, 6)?;
    Ok(Claim {
        delivery: DeliveryId(delivery),
        queue_id: queue_id(get(row, 0)?)?,
        attempt: small(get(row, 1)?).saturating_add(1),
        next_hop: parsed::<MailDomain>(&get::<String>(row, 2)?, "next hop")?,
        recipients,
        envelope: serde_json::from_str::<Envelope>(&envelope)
            .map_err(|why| StoreError::Damaged(format!("envelope: {why}")))?,
        size: count(get(row, 7)?),
        received_at: time(get(row, 8)?),
        expires_at: time(get(row, 3)?),
        // A floor that cannot be read must not become "no floor".
        floor: floor
            .map(|floor| serde_json::from_str(&floor))
            .transpose()
            .map_err(|why| StoreError::Damaged(format!("floor: {why}")))?,
        last_reason: get(row, 5)?,
    })
}

/// The recipients of a delivery that nothing final has happened to.
fn pending_recipients(db: &Connection, delivery: i64) -> Result<Vec<PendingRecipient>, StoreError> {
    let rows: Vec<(i64, String)> = db
        .prepare_cached(
            "SELECT position, mailbox FROM recipients
             WHERE delivery_id = ?1 AND state = 'pending' ORDER BY position",
        )
        .and_then(|mut statement| {
            statement
                .query_map([delivery], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(|error| failure(&error))?;
    rows.into_iter()
        .map(|(position, mailbox)| {
            Ok(PendingRecipient {
                position: small(position),
                mailbox: parsed(&mailbox, "recipient")?,
            })
        })
        .collect()
}

/// Records an attempt, once.
fn finish(db: &Connection, end: &AttemptEnd) -> Result<Finished, StoreError> {
    let row: Option<(i64, i64, String, Option<String>)> = db
        .prepare_cached("SELECT message_id, attempts, state, wish FROM deliveries WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([end.delivery.0], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()
        })
        .map_err(|error| failure(&error))?;
    let Some((message, attempts, state, wish)) = row else {
        return Ok(Finished::AlreadyRecorded);
    };
    if state != DeliveryState::Active.as_str() || attempts + 1 != i64::from(end.attempt) {
        return Ok(Finished::AlreadyRecorded);
    }
    for receipt in &end.receipts {
        insert_receipt(db, receipt)?;
    }
    for ended in &end.ended {
        run(
            db,
            "UPDATE recipients SET state = ?3, reply = ?4
             WHERE delivery_id = ?1 AND position = ?2 AND state = 'pending'",
            params![
                end.delivery.0,
                ended.position,
                ended.state.as_str(),
                ended.reply.as_ref().map(to_json).transpose()?,
            ],
        )?;
    }
    if let Some(bounce) = &end.bounce {
        insert(db, bounce)?;
    }
    let pending: bool = db
        .prepare_cached("SELECT 1 FROM recipients WHERE delivery_id = ?1 AND state = 'pending'")
        .and_then(|mut statement| statement.exists([end.delivery.0]))
        .map_err(|error| failure(&error))?;
    if !pending || wish.as_deref() == Some("remove") {
        run(
            db,
            "DELETE FROM deliveries WHERE id = ?1",
            params![end.delivery.0],
        )?;
        remove_if_done(db, message)?;
        return Ok(Finished::Retired);
    }
    defer(db, end, wish.as_deref())
}

/// Lets a delivery wait for its next attempt, or for the operator.
fn defer(db: &Connection, end: &AttemptEnd, wish: Option<&str>) -> Result<Finished, StoreError> {
    let (state, due_at) = match wish {
        Some(_) => (DeliveryState::Hold, None),
        None => (DeliveryState::Deferred, Some(end.next_attempt_at.as_i64())),
    };
    run(
        db,
        "UPDATE deliveries SET state = ?2, due_at = ?3, attempts = attempts + 1, floor = ?4,
                last_reason = ?5, wish = NULL
         WHERE id = ?1",
        params![
            end.delivery.0,
            state.as_str(),
            due_at,
            end.floor.as_ref().map(to_json).transpose()?,
            end.reason,
        ],
    )?;
    Ok(Finished::Remains(state))
}

/// Writes a receipt.
fn insert_receipt(db: &Connection, receipt: &Receipt) -> Result<(), StoreError> {
    run(
        db,
        "INSERT INTO receipts (message_id, at, receipt) VALUES (?1, ?2, ?3)",
        params![
            receipt.queue_id.to_i64(),
            receipt.at.as_i64(),
            to_json(receipt)?
        ],
    )
    .map(|_| ())
}

/// Deletes a message of which no delivery is left.
fn remove_if_done(db: &Connection, message: i64) -> Result<(), StoreError> {
    run(
        db,
        "DELETE FROM messages WHERE id = ?1
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = ?1)",
        params![message],
    )
    .map(|_| ())
}

/// Compares a message with its checksum.
fn verify(db: &Connection, id: QueueId) -> Result<Integrity, StoreError> {
    match read_checksum(db, id) {
        Ok((stored, computed)) if stored == computed => Ok(Integrity::Intact),
        Ok(_) => Ok(Integrity::Damaged(String::from(
            "the message does not match its checksum",
        ))),
        Err(StoreError::Damaged(what)) => Ok(Integrity::Damaged(what)),
        Err(error) => Err(error),
    }
}

/// The checksum on disk and the one of what is on disk.
fn read_checksum(db: &Connection, id: QueueId) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let (stored, envelope): (Vec<u8>, String) = db
        .prepare_cached("SELECT checksum, envelope FROM messages WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id.to_i64()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(|error| failure(&error))?
        .ok_or(StoreError::NoSuchMessage(id))?;
    let mut octets = digest::Context::new(&digest::SHA256);
    db.prepare_cached("SELECT octets FROM pieces WHERE message_id = ?1 ORDER BY place")
        .and_then(|mut statement| {
            let mut rows = statement.query([id.to_i64()])?;
            while let Some(row) = rows.next()? {
                octets.update(row.get_ref(0)?.as_blob()?);
            }
            Ok(())
        })
        .map_err(|error| failure(&error))?;
    Ok((stored, checksum(octets, &envelope)))
}

/// Puts all deliveries of a message aside.
fn mark_corrupt(db: &Connection, id: QueueId, what: &str) -> Result<(), StoreError> {
    run(
        db,
        "UPDATE deliveries SET state = 'corrupt', due_at = NULL, last_reason = ?2, wish = NULL
         WHERE message_id = ?1",
        params![id.to_i64(), what],
    )
    .map(|_| ())
}

/// Reads the counters.
fn depth(db: &Connection) -> Result<Depth, StoreError> {
    let counters: Vec<(String, i64)> = db
        .prepare_cached("SELECT name, count FROM counters")
        .and_then(|mut statement| {
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(|error| failure(&error))?;
    let counter = |name: &str| {
        counters
            .iter()
            .find(|(counted, _)| counted == name)
            .map_or(0, |(_, number)| count(*number))
    };
    let oldest: Option<i64> = db
        .prepare_cached("SELECT min(id) FROM messages")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| failure(&error))?;
    Ok(Depth {
        messages: counter("messages"),
        deliveries: DeliveryState::ALL
            .into_iter()
            .map(|state| (state, counter(state.as_str())))
            .collect(),
        oldest: oldest.and_then(QueueId::from_i64).map(QueueId::arrived_at),
    })
}

/// Runs a change; returns how many rows it touched.
fn run(db: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<u64, StoreError> {
    db.prepare_cached(sql)
        .and_then(|mut statement| statement.execute(parameters))
        .map(|rows| u64::try_from(rows).unwrap_or(u64::MAX))
        .map_err(|error| failure(&error))
}

/// Takes active deliveries back: due at `?1`, or held if somebody wished for a hold or a removal.
///
/// A wish for removal stays written, for [`honour_removals`].
const RESUME: &str = "UPDATE deliveries SET
        state = CASE WHEN wish IS NOT NULL THEN 'hold' WHEN attempts = 0 THEN 'incoming'
                     ELSE 'deferred' END,
        due_at = CASE WHEN wish IS NULL THEN ?1 END,
        wish = CASE wish WHEN 'remove' THEN wish END
    WHERE state = 'active'";
