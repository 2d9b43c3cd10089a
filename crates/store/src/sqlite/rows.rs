//! Messages and deliveries as rows, and their checksums.

use std::sync::Arc;

use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_smtp::Reply;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::Deserialize;
use serde::Serialize;

use super::count;
use super::failure;
use super::small;
use super::time;
use super::to_json;
use crate::Body;
use crate::Claim;
use crate::DelayWarning;
use crate::DeliveryId;
use crate::DeliveryState;
use crate::NewDelivery;
use crate::NewMessage;
use crate::PendingRecipient;
use crate::QueueId;
use crate::RecipientState;
use crate::SenderKey;
use crate::StoreError;
use crate::Waiting;
use crate::check::check_of;
use crate::message::Piece;

/// A message as it lies on disk, without its body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MessageRow {
    /// The queue id as a number.
    pub(super) id: i64,
    /// Octets.
    pub(super) size: i64,
    /// When it arrived.
    pub(super) received_at: i64,
    /// The id of its first delivery.
    pub(super) first_delivery: i64,
    /// How many deliveries it had at first.
    pub(super) deliveries: i64,
    /// JSON.
    pub(super) envelope: String,
    /// The checksum of the body, if it lies in the same row.
    pub(super) body_checksum: Option<i64>,
}

/// The columns of [`MessageRow`], then its checksum, of a table that is called `m`.
macro_rules! message_columns {
    () => {
        "m.id, m.size, m.received_at, m.first_delivery, m.deliveries, m.envelope, m.body_checksum,
         m.checksum"
    };
}
pub(super) use message_columns;

impl MessageRow {
    /// Reads the columns of `message_columns` from a place on.
    pub(super) fn read(row: &Row<'_>, from: usize) -> Result<Self, StoreError> {
        let message = Self {
            id: get(row, from)?,
            size: get(row, from + 1)?,
            received_at: get(row, from + 2)?,
            first_delivery: get(row, from + 3)?,
            deliveries: get(row, from + 4)?,
            envelope: get(row, from + 5)?,
            body_checksum: get(row, from + 6)?,
        };
        let stored: i64 = get(row, from + 7)?;
        if stored != message.checksum() {
            return Err(StoreError::Damaged(String::from(
                "the envelope does not match its checksum",
            )));
        }
        Ok(message)
    }

    /// Over every column; that of the body stands for the body.
    pub(super) fn checksum(&self) -> i64 {
        let numbers = numbers([
            self.id,
            self.size,
            self.received_at,
            self.first_delivery,
            self.deliveries,
            i64::from(self.body_checksum.is_some()),
            self.body_checksum.unwrap_or(0),
        ]);
        check_of([numbers.as_flattened(), self.envelope.as_bytes()])
    }
}

/// A delivery as it lies on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct DeliveryRow {
    /// Its id.
    pub(super) id: i64,
    /// The queue id as a number.
    pub(super) message_id: i64,
    /// The id of the first delivery of its message.
    pub(super) first_delivery: i64,
    /// How many deliveries its message had at first.
    pub(super) deliveries: i64,
    /// Where it stands.
    pub(super) state: DeliveryState,
    /// When it is tried next.
    pub(super) due_at: i64,
    /// Attempts so far.
    pub(super) attempts: i64,
    /// When to give up.
    pub(super) expires_at: i64,
    /// Whether the sender was warned.
    pub(super) delay_warning: i64,
    /// As it is written.
    pub(super) next_hop: String,
    /// As it is written.
    pub(super) sender: String,
    /// JSON.
    pub(super) recipients: String,
    /// JSON.
    pub(super) floor: Option<String>,
    /// Why the last attempt did not succeed.
    pub(super) last_reason: Option<String>,
}

/// The columns of [`DeliveryRow`], then its checksum, of a table that is called `d`.
macro_rules! delivery_columns {
    () => {
        "d.id, d.message_id, d.first_delivery, d.deliveries, d.state, d.due_at, d.attempts,
         d.expires_at, d.delay_warning, d.next_hop, d.sender, d.recipients, d.floor, d.last_reason,
         d.checksum"
    };
}
pub(super) use delivery_columns;

/// How many columns `delivery_columns` has.
pub(super) const DELIVERY_COLUMNS: usize = 15;

impl DeliveryRow {
    /// Reads the columns of `delivery_columns`, which come first.
    pub(super) fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let (delivery, stored) = Self::read_unchecked(row)?;
        if stored != delivery.checksum() {
            return Err(StoreError::Damaged(String::from(
                "the delivery does not match its checksum",
            )));
        }
        Ok(delivery)
    }

    /// Reads the columns, and the checksum that is stored beside them.
    fn read_unchecked(row: &Row<'_>) -> Result<(Self, i64), StoreError> {
        let state = get(row, 4)?;
        let delivery = Self {
            id: get(row, 0)?,
            message_id: get(row, 1)?,
            first_delivery: get(row, 2)?,
            deliveries: get(row, 3)?,
            state: DeliveryState::from_number(state)
                .ok_or_else(|| StoreError::Damaged(format!("delivery state {state}")))?,
            due_at: get(row, 5)?,
            attempts: get(row, 6)?,
            expires_at: get(row, 7)?,
            delay_warning: get(row, 8)?,
            next_hop: get(row, 9)?,
            sender: get(row, 10)?,
            recipients: get(row, 11)?,
            floor: get(row, 12)?,
            last_reason: get(row, 13)?,
        };
        Ok((delivery, get(row, 14)?))
    }

    /// Over what an attempt rests on. Left out is what people change for many deliveries at once, state
    /// and time, and the reason, which is for people: damage there costs a retry, never a requirement.
    pub(super) fn checksum(&self) -> i64 {
        let numbers = numbers([
            self.id,
            self.message_id,
            self.first_delivery,
            self.deliveries,
            self.attempts,
            self.expires_at,
            self.delay_warning,
            i64::from(self.floor.is_some()),
        ]);
        check_of([
            numbers.as_flattened(),
            self.next_hop.as_bytes(),
            self.sender.as_bytes(),
            self.recipients.as_bytes(),
            self.floor.as_deref().unwrap_or_default().as_bytes(),
        ])
    }

    /// Writes it as a new row.
    pub(super) fn insert(&self, db: &Connection) -> Result<(), StoreError> {
        db.prepare_cached(
            "INSERT INTO deliveries (id, message_id, first_delivery, deliveries, state, due_at,
                attempts, expires_at, delay_warning, next_hop, sender, recipients, floor,
                last_reason, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )
        .and_then(|mut statement| {
            statement.execute(rusqlite::params![
                self.id,
                self.message_id,
                self.first_delivery,
                self.deliveries,
                self.state.to_number(),
                self.due_at,
                self.attempts,
                self.expires_at,
                self.delay_warning,
                self.next_hop,
                self.sender,
                self.recipients,
                self.floor,
                self.last_reason,
                self.checksum(),
            ])
        })
        .map(|_| ())
        .map_err(|error| failure(&error))
    }

    /// The recipients, with what happened to each.
    pub(super) fn recipients(&self) -> Result<Vec<StoredRecipient>, StoreError> {
        serde_json::from_str(&self.recipients)
            .map_err(|why| StoreError::Damaged(format!("recipients: {why}")))
    }

    /// What a scheduler keeps of it.
    pub(super) fn waiting(&self) -> Result<Waiting, StoreError> {
        Ok(Waiting {
            delivery: DeliveryId(self.id),
            queue_id: queue_id(self.message_id)?,
            next_hop: parsed::<MailDomain>(&self.next_hop, "next hop")?,
            sender: SenderKey::of_text(&self.sender),
            due_at: time(self.due_at),
            attempts: small(self.attempts),
            expires_at: time(self.expires_at),
            delay_warning: self.delay_warning(),
        })
    }

    /// Whether the sender was warned.
    fn delay_warning(&self) -> DelayWarning {
        match self.delay_warning {
            0 => DelayWarning::Unsent,
            _ => DelayWarning::Sent,
        }
    }

    /// What an attempt needs.
    pub(super) fn claim(&self, message: &MessageRow) -> Result<Claim, StoreError> {
        let recipients: Vec<PendingRecipient> = (0..)
            .zip(self.recipients()?)
            .filter(|(_, recipient)| recipient.state == RecipientState::Pending)
            .map(|(position, recipient)| PendingRecipient {
                position,
                mailbox: recipient.mailbox,
            })
            .collect();
        if recipients.is_empty() {
            return Err(StoreError::Damaged(String::from("no recipient is left")));
        }
        let envelope = serde_json::from_str(&message.envelope)
            .map_err(|why| StoreError::Damaged(format!("envelope: {why}")))?;
        Ok(Claim {
            delivery: DeliveryId(self.id),
            queue_id: queue_id(self.message_id)?,
            attempt: small(self.attempts).saturating_add(1),
            next_hop: parsed::<MailDomain>(&self.next_hop, "next hop")?,
            recipients,
            envelope: Arc::new(envelope),
            size: count(message.size),
            received_at: time(message.received_at),
            due_at: time(self.due_at),
            expires_at: time(self.expires_at),
            // A floor that cannot be read must not become "no floor".
            floor: self
                .floor
                .as_deref()
                .map(serde_json::from_str)
                .transpose()
                .map_err(|why| StoreError::Damaged(format!("floor: {why}")))?,
            last_reason: self.last_reason.clone(),
            delay_warning: self.delay_warning(),
        })
    }
}

/// A recipient of a delivery as it lies on disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct StoredRecipient {
    /// The mailbox.
    pub(super) mailbox: Mailbox,
    /// Where it stands.
    #[serde(default = "pending", skip_serializing_if = "is_pending")]
    pub(super) state: RecipientState,
    /// What the next hop said about it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Reply>,
}

impl StoredRecipient {
    /// One that nothing has happened to.
    pub(super) fn pending(mailbox: Mailbox) -> Self {
        Self {
            mailbox,
            state: RecipientState::Pending,
            reply: None,
        }
    }
}

/// What is not written: most recipients are pending for as long as they are on disk.
fn pending() -> RecipientState {
    RecipientState::Pending
}

/// Whether the state need not be written.
fn is_pending(state: &RecipientState) -> bool {
    *state == RecipientState::Pending
}

/// A new message, put into rows before the writer's time is taken.
#[derive(Clone, Debug)]
pub(super) struct NewRows {
    /// The message.
    pub(super) message: MessageRow,
    /// Its checksum.
    pub(super) checksum: i64,
    /// Its deliveries.
    pub(super) deliveries: Vec<DeliveryRow>,
}

impl NewRows {
    /// Writes a message down, with deliveries numbered from `first_delivery` on.
    pub(super) fn new(new: &NewMessage, first_delivery: i64) -> Result<Self, StoreError> {
        let id = new.id.to_i64();
        let message = MessageRow {
            id,
            size: i64::try_from(new.size).unwrap_or(i64::MAX),
            received_at: new.received_at.as_i64(),
            first_delivery,
            deliveries: i64::try_from(new.deliveries.len()).unwrap_or(i64::MAX),
            envelope: to_json(&new.envelope)?,
            body_checksum: inline(new)
                .map(|body| body.map_or_else(|| check_of([[].as_slice()]), |p| p.check)),
        };
        let sender = new.envelope.reverse_path.to_string();
        let deliveries = (first_delivery..)
            .zip(new.deliveries.iter())
            .map(|(delivery_id, delivery)| {
                Ok(DeliveryRow {
                    id: delivery_id,
                    message_id: id,
                    first_delivery,
                    deliveries: message.deliveries,
                    state: DeliveryState::Incoming,
                    due_at: delivery.due_at.as_i64(),
                    attempts: 0,
                    expires_at: delivery.expires_at.as_i64(),
                    delay_warning: 0,
                    next_hop: delivery.next_hop.to_string(),
                    sender: sender.clone(),
                    recipients: recipients_json(delivery)?,
                    floor: None,
                    last_reason: None,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Self {
            checksum: message.checksum(),
            message,
            deliveries,
        })
    }
}

/// The claims of a new message, made in memory.
pub(super) fn claims_of(new: &NewMessage, first_delivery: i64) -> Vec<Claim> {
    (first_delivery..)
        .zip(new.deliveries.iter())
        .map(|(id, delivery)| Claim {
            delivery: DeliveryId(id),
            queue_id: new.id,
            attempt: 1,
            next_hop: delivery.next_hop.clone(),
            recipients: (0..)
                .zip(&delivery.recipients)
                .map(|(position, mailbox)| PendingRecipient {
                    position,
                    mailbox: mailbox.clone(),
                })
                .collect(),
            envelope: Arc::clone(&new.envelope),
            size: new.size,
            received_at: new.received_at,
            due_at: delivery.due_at,
            expires_at: delivery.expires_at,
            floor: None,
            last_reason: None,
            delay_warning: DelayWarning::Unsent,
        })
        .collect()
}

/// The body, if it goes into the row of the message: `Some(None)` if it is empty.
#[expect(
    clippy::option_option,
    reason = "an empty body has no piece and is in the row all the same"
)]
pub(super) fn inline(new: &NewMessage) -> Option<Option<&Piece>> {
    let Body(pieces) = &new.body;
    match (new.staged, &**pieces) {
        (0, []) => Some(None),
        (0, [piece]) => Some(Some(piece)),
        (_, _) => None,
    }
}

/// The recipients of a new delivery as they are stored.
fn recipients_json(delivery: &NewDelivery) -> Result<String, StoreError> {
    let recipients: Vec<StoredRecipient> = delivery
        .recipients
        .iter()
        .cloned()
        .map(StoredRecipient::pending)
        .collect();
    to_json(&recipients)
}

/// The checksum of a piece at its place, from that of its octets.
pub(super) fn piece_checksum(message_id: i64, place: u32, octets: i64) -> i64 {
    check_of([numbers([message_id, i64::from(place), octets]).as_flattened()])
}

/// Numbers as octets.
fn numbers<const N: usize>(numbers: [i64; N]) -> [[u8; 8]; N] {
    numbers.map(i64::to_le_bytes)
}

/// One delivery by its id; `None` if it is gone.
pub(super) fn read_delivery(db: &Connection, id: i64) -> Result<Option<DeliveryRow>, StoreError> {
    db.prepare_cached(concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM deliveries d WHERE d.id = ?1"
    ))
    .and_then(|mut statement| {
        statement
            .query_row([id], |row| Ok(DeliveryRow::read(row)))
            .optional()
    })
    .map_err(|error| failure(&error))?
    .transpose()
}

/// A column of a row.
pub(super) fn get<T: FromSql>(row: &Row<'_>, column: usize) -> Result<T, StoreError> {
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
