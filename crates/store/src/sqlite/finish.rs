//! The end of an attempt, on the database.

use rusqlite::OptionalExtension;
use rusqlite::params;

use super::DeliveryIds;
use super::failure;
use super::receipts::PreparedReceipt;
use super::rows::DeliveryRow;
use super::rows::read_delivery;
use super::spool::Prepared;
use super::spool::remove_message;
use super::to_json;
use super::writing::Writing;
use crate::Accepted;
use crate::AttemptEnd;
use crate::Became;
use crate::DeliveryState;
use crate::Finished;
use crate::RecipientState;
use crate::StoreError;

/// The end of an attempt, ready to be written as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct PreparedEnd {
    /// What the caller said.
    end: AttemptEnd,
    /// The floor as it is stored.
    floor: Option<String>,
    /// The receipts as they are stored.
    receipts: Vec<PreparedReceipt>,
    /// The bounce and the warning.
    messages: Vec<Prepared>,
}

impl PreparedEnd {
    /// Puts everything into rows, before the writer's time is taken.
    pub(super) fn new(end: AttemptEnd, ids: &DeliveryIds) -> Result<Self, StoreError> {
        let messages = end.bounce.iter().chain(&end.delay_warning);
        Ok(Self {
            floor: end.floor.as_ref().map(to_json).transpose()?,
            receipts: (0..)
                .zip(&end.receipts)
                .map(|(place, receipt)| PreparedReceipt::new(receipt, end.delivery, place))
                .collect::<Result<_, _>>()?,
            messages: messages
                .map(|message| Prepared::new(message.clone(), ids))
                .collect::<Result<_, _>>()?,
            end,
        })
    }

    /// Writes the receipts; those that are there already change nothing.
    fn keep_receipts(&self, writing: &mut Writing) -> Result<(), StoreError> {
        let mut receipts = self.receipts.iter();
        receipts.try_for_each(|receipt| receipt.insert(writing))
    }

    /// What came of it if it is not to be recorded again: messages that went in with it the first time
    /// are given to the caller once more, whose first answer may have been lost.
    fn already_gone(&self, writing: &Writing) -> Result<Finished, StoreError> {
        let messages = self.messages.iter();
        let accepted = messages.filter_map(|message| message.existing(writing).transpose());
        Ok(Finished {
            became: Became::AlreadyGone,
            accepted: accepted.collect::<Result<_, _>>()?,
        })
    }
}

/// Records an attempt, once.
pub(super) fn finish(writing: &mut Writing, asked: &PreparedEnd) -> Result<Finished, StoreError> {
    let end = &asked.end;
    let delivery = match read_delivery(&writing.db, end.delivery.0) {
        Ok(Some(delivery)) if delivery.message_id == end.queue_id.to_i64() => delivery,
        Ok(_) => {
            // Somebody removed it meanwhile, or this is the second call; the receipts are the same.
            asked.keep_receipts(writing)?;
            return asked.already_gone(writing);
        }
        Err(StoreError::Damaged(what)) => return finish_damaged(writing, asked, &what),
        Err(error) => return Err(error),
    };
    if delivery.attempts.saturating_add(1) != i64::from(end.attempt) {
        return asked.already_gone(writing);
    }
    let mut recipients = delivery.recipients()?;
    for ended in &end.ended {
        let place = usize::try_from(ended.position).unwrap_or(usize::MAX);
        if let Some(recipient) = recipients.get_mut(place)
            && recipient.state == RecipientState::Pending
        {
            recipient.state = ended.state;
            recipient.reply.clone_from(&ended.reply);
        }
    }
    asked.keep_receipts(writing)?;
    let accepted = insert_messages(writing, asked)?;
    let is_pending = |state: RecipientState| state == RecipientState::Pending;
    let became = if recipients.iter().any(|one| is_pending(one.state)) {
        let recipients = to_json(&recipients)?;
        keep(writing, asked, delivery, recipients)?
    } else {
        retire(writing, &delivery)?;
        Became::Retired
    };
    Ok(Finished { became, accepted })
}

/// Writes the bounce and the warning.
fn insert_messages(
    writing: &mut Writing,
    asked: &PreparedEnd,
) -> Result<Vec<Accepted>, StoreError> {
    let messages = asked.messages.iter();
    messages.map(|message| message.insert(writing)).collect()
}

/// Removes a delivery, and its message if it was the last.
fn retire(writing: &mut Writing, delivery: &DeliveryRow) -> Result<(), StoreError> {
    writing.run("DELETE FROM deliveries WHERE id = ?1", [delivery.id])?;
    writing.count_deliveries(delivery.state, -1);
    remove_message_if_done(
        writing,
        delivery.message_id,
        delivery.first_delivery,
        delivery.deliveries,
    )
}

/// Removes a message of whose deliveries none is left.
pub(super) fn remove_message_if_done(
    writing: &mut Writing,
    message: i64,
    first: i64,
    deliveries: i64,
) -> Result<(), StoreError> {
    let others = deliveries > 1
        && writing
            .db
            .prepare_cached(
                "SELECT 1 FROM deliveries WHERE id >= ?1 AND id < ?1 + ?2 AND message_id = ?3",
            )
            .and_then(|mut statement| statement.exists([first, deliveries, message]))
            .map_err(|error| failure(&error))?;
    if others {
        return Ok(());
    }
    remove_message(writing, message)
}

/// Lets a delivery wait for its next attempt, or for the operator.
fn keep(
    writing: &mut Writing,
    asked: &PreparedEnd,
    delivery: DeliveryRow,
    recipients: String,
) -> Result<Became, StoreError> {
    let end = &asked.end;
    let (state, became) = match delivery.state {
        DeliveryState::Incoming | DeliveryState::Deferred => {
            (DeliveryState::Deferred, Became::Deferred)
        }
        state @ (DeliveryState::Hold | DeliveryState::Corrupt) => (state, Became::Kept(state)),
    };
    let warned = i64::from(end.delay_warning.is_some());
    let before = delivery.state;
    let delivery = DeliveryRow {
        state,
        recipients,
        due_at: end.next_attempt_at.as_i64(),
        attempts: i64::from(end.attempt),
        delay_warning: delivery.delay_warning.max(warned),
        floor: asked.floor.clone(),
        // What is damaged keeps saying how.
        last_reason: match state {
            DeliveryState::Corrupt => delivery.last_reason,
            DeliveryState::Incoming | DeliveryState::Deferred | DeliveryState::Hold => {
                end.reason.clone()
            }
        },
        ..delivery
    };
    writing.run(
        "UPDATE deliveries SET state = ?2, due_at = ?3, attempts = ?4, delay_warning = ?5,
                recipients = ?6, floor = ?7, last_reason = ?8, checksum = ?9
         WHERE id = ?1",
        params![
            delivery.id,
            delivery.state.to_number(),
            delivery.due_at,
            delivery.attempts,
            delivery.delay_warning,
            delivery.recipients,
            delivery.floor,
            delivery.last_reason,
            delivery.checksum(),
        ],
    )?;
    writing.count_deliveries(before, -1);
    writing.count_deliveries(delivery.state, 1);
    Ok(became)
}

/// Records what can be recorded of a delivery whose row was damaged while it was tried, and puts it
/// aside: who of its recipients remains cannot be said any more.
fn finish_damaged(
    writing: &mut Writing,
    asked: &PreparedEnd,
    what: &str,
) -> Result<Finished, StoreError> {
    let id = asked.end.delivery.0;
    let state: Option<i64> = writing
        .db
        .prepare_cached("SELECT state FROM deliveries WHERE id = ?1")
        .and_then(|mut statement| statement.query_row([id], |row| row.get(0)).optional())
        .map_err(|error| failure(&error))?;
    let state = state.map_or(DeliveryState::Corrupt, DeliveryState::or_corrupt);
    asked.keep_receipts(writing)?;
    if state == DeliveryState::Corrupt {
        return asked.already_gone(writing);
    }
    let accepted = insert_messages(writing, asked)?;
    writing.run(
        "UPDATE deliveries SET state = ?2, last_reason = ?3 WHERE id = ?1",
        params![id, DeliveryState::Corrupt.to_number(), what],
    )?;
    writing.count_deliveries(state, -1);
    writing.count_deliveries(DeliveryState::Corrupt, 1);
    Ok(Finished {
        became: Became::Kept(DeliveryState::Corrupt),
        accepted,
    })
}
