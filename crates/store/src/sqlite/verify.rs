//! A look at every checksum.

use rusqlite::Connection;

use super::SqliteStore;
use super::count;
use super::failure;
use super::rows::DeliveryRow;
use super::rows::delivery_columns;
use super::rows::get;
use super::spool::damage;
use super::spool::read_message;
use super::spool::read_piece;
use crate::DAMAGED_LISTED_MAX;
use crate::Damaged;
use crate::Progress;
use crate::QueueId;
use crate::StoreError;
use crate::Verified;

/// Compares everything with its checksums, page by page.
pub(super) async fn verify_all(
    store: &SqliteStore,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Verified, StoreError> {
    let (messages, deliveries) = store.workers.read(totals).await?;
    let total = messages.saturating_add(deliveries);
    let mut verified = Verified::default();
    let mut done = 0;
    for look in [look_at_messages, look_at_deliveries] {
        let mut after = Some(-1);
        while let Some(last) = after {
            let page = store.workers.read(move |db| in_snapshot(db, last, look));
            let page = page.await?;
            after = page.last;
            done += page.looked_at;
            verified.messages += page.messages;
            verified.octets += page.octets;
            verified.damaged_total += u64::try_from(page.damaged.len()).unwrap_or(u64::MAX);
            let room = DAMAGED_LISTED_MAX.saturating_sub(verified.damaged.len());
            verified.damaged.extend(page.damaged.into_iter().take(room));
            progress(Progress {
                done,
                total: total.max(done),
            });
        }
    }
    Ok(verified)
}

/// How many messages and deliveries there are.
fn totals(db: &Connection) -> Result<(u64, u64), StoreError> {
    db.query_row(
        "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM deliveries)",
        [],
        |row| Ok((count(row.get(0)?), count(row.get(1)?))),
    )
    .map_err(|error| failure(&error))
}

/// What a look at some records found.
#[derive(Default)]
struct Page {
    /// How many.
    looked_at: u64,
    /// How many of them are messages.
    messages: u64,
    /// Their octets.
    octets: u64,
    /// What is damaged.
    damaged: Vec<Damaged>,
    /// The last of them; `None` if there was nothing more.
    last: Option<i64>,
}

/// Looks at records as they were at one moment: a message that is delivered meanwhile has not lost its
/// pieces.
fn in_snapshot(
    db: &Connection,
    after: i64,
    look: fn(&Connection, i64) -> Result<Page, StoreError>,
) -> Result<Page, StoreError> {
    let snapshot = db
        .unchecked_transaction()
        .map_err(|error| failure(&error))?;
    let page = look(&snapshot, after);
    snapshot.finish().map_err(|error| failure(&error))?;
    page
}

/// Looks at messages with their bodies.
fn look_at_messages(db: &Connection, after: i64) -> Result<Page, StoreError> {
    let ids: Vec<i64> = db
        .prepare_cached("SELECT id FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2")
        .and_then(|mut statement| {
            statement
                .query_map([after, MESSAGES_AT_ONCE], |row| row.get(0))?
                .collect()
        })
        .map_err(|error| failure(&error))?;
    let mut page = Page {
        last: ids.last().copied(),
        ..Page::default()
    };
    for id in ids {
        page.looked_at += 1;
        page.messages += 1;
        match octets_of(db, id) {
            Ok(octets) => page.octets += octets,
            Err(StoreError::Damaged(what)) => page.damaged.push(Damaged {
                queue_id: QueueId::from_i64(id).unwrap_or(QueueId::NONE),
                what,
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(page)
}

/// How many octets a message has, all of which were read.
fn octets_of(db: &Connection, id: i64) -> Result<u64, StoreError> {
    let Some((message, body)) = read_message(db, id)? else {
        return Ok(0);
    };
    let length = |octets: &[u8]| u64::try_from(octets.len()).unwrap_or(u64::MAX);
    let mut octets = body.as_ref().map_or(0, crate::Body::octets);
    if body.is_none() {
        let mut place = 0;
        while let Some(piece) = read_piece(db, id, place)? {
            octets += length(&piece);
            place += 1;
        }
    }
    if octets != count(message.size) {
        return Err(StoreError::Damaged(format!(
            "{octets} of {} octets are there",
            message.size
        )));
    }
    Ok(octets)
}

/// Looks at deliveries; that of a message which is missing is damaged too.
fn look_at_deliveries(db: &Connection, after: i64) -> Result<Page, StoreError> {
    let mut statement = db
        .prepare_cached(concat!(
            "SELECT ",
            delivery_columns!(),
            ", EXISTS (SELECT 1 FROM messages WHERE messages.id = d.message_id)
             FROM deliveries d WHERE d.id > ?1 ORDER BY d.id LIMIT ?2"
        ))
        .map_err(|error| failure(&error))?;
    let mut rows = statement
        .query([after, DELIVERIES_AT_ONCE])
        .map_err(|error| failure(&error))?;
    let mut page = Page::default();
    while let Some(row) = rows.next().map_err(|error| failure(&error))? {
        page.looked_at += 1;
        page.last = Some(get(row, 0)?);
        let found = DeliveryRow::read(row)
            .and_then(|delivery| delivery.recipients())
            .and_then(|_| get::<bool>(row, super::rows::DELIVERY_COLUMNS))
            .and_then(|has_message| {
                let missing = || StoreError::Damaged(String::from("the message is missing"));
                has_message.then_some(()).ok_or_else(missing)
            });
        match found {
            Ok(()) => {}
            Err(StoreError::Damaged(what)) => page.damaged.push(damage(row, what)),
            Err(error) => return Err(error),
        }
    }
    Ok(page)
}

/// Messages that are looked at between two reports.
const MESSAGES_AT_ONCE: i64 = 64;

/// Deliveries that are looked at between two reports.
const DELIVERIES_AT_ONCE: i64 = 1_000;
