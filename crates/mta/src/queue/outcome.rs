//! What an attempt came to, recipient by recipient.

use byrnie_base::UnixTime;
use byrnie_store::AttemptEnd;
use byrnie_store::Claim;
use byrnie_store::NewMessage;
use byrnie_store::RecipientEnd;
use byrnie_store::RecipientState;

use super::inlet::Tally;
use crate::bounce::Undelivered;
use crate::bounce::UndeliveredState;
use crate::delivery::Fate;
use crate::delivery::Report;
use crate::delivery::Trouble;
use crate::events;

/// The recipients of a claim, by what is to be done about them.
pub(super) struct Sorted {
    /// For the store: recipients that something final happened to.
    pub(super) ended: Vec<RecipientEnd>,
    /// For the sender: recipients that are given up.
    pub(super) failed: Vec<Undelivered>,
    /// For the sender: recipients that wait.
    pub(super) delayed: Vec<Undelivered>,
    /// How many were delivered, and the last reply.
    delivered: Option<(usize, String)>,
    /// How many wait, and why the first does.
    pub(super) waiting: Option<(usize, String)>,
}

impl Sorted {
    /// Sorts a report's recipients; those that would have to wait past the end of their time are
    /// given up.
    pub(super) fn new(claim: &Claim, report: &Report, now: UnixTime) -> Self {
        let mut sorted = Self {
            ended: Vec::new(),
            failed: Vec::new(),
            delayed: Vec::new(),
            delivered: None,
            waiting: None,
        };
        let expired = now >= claim.expires_at;
        for (recipient, fate) in claim.recipients.iter().zip(&report.fates) {
            let undelivered = |trouble: &Trouble, state| Undelivered {
                mailbox: recipient.mailbox.clone(),
                trouble: trouble.clone(),
                state,
            };
            let (state, reply) = match fate {
                Fate::Delivered(reply) => {
                    let count = sorted.delivered.as_ref().map_or(0, |(count, _)| *count);
                    sorted.delivered = Some((count + 1, reply.to_string()));
                    (RecipientState::Delivered, reply)
                }
                Fate::Deferred(trouble) if !expired => {
                    let first = || (0, trouble.reply.to_string());
                    sorted.waiting.get_or_insert_with(first).0 += 1;
                    let delayed = undelivered(trouble, UndeliveredState::Delayed);
                    sorted.delayed.push(delayed);
                    continue;
                }
                Fate::Deferred(trouble) => {
                    let failed = undelivered(trouble, UndeliveredState::OutOfTime);
                    sorted.failed.push(failed);
                    (RecipientState::Bounced, &trouble.reply)
                }
                Fate::Bounced(trouble) => {
                    let failed = undelivered(trouble, UndeliveredState::Refused);
                    sorted.failed.push(failed);
                    (RecipientState::Bounced, &trouble.reply)
                }
            };
            sorted.ended.push(RecipientEnd {
                position: recipient.position,
                state,
                reply: Some(reply.clone()),
            });
        }
        sorted
    }

    /// How many fared how.
    pub(super) fn tally(&self) -> Tally {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Tally {
            delivered: count(self.delivered.as_ref().map_or(0, |(number, _)| *number)),
            deferred: count(self.delayed.len()),
            bounced: count(self.failed.len()),
        }
    }

    /// Tells the log.
    pub(super) fn tell(&self, claim: &Claim, end: &AttemptEnd, now: UnixTime) {
        if let Some((count, reply)) = &self.delivered {
            events::delivered(claim, *count, reply);
        }
        if let Some((count, reason)) = &self.waiting {
            events::deferred(claim, *count, reason, end.next_attempt_at.since(now));
        }
        if let Some(first) = self.failed.first() {
            let reason = first.trouble.reply.to_string();
            let bounce = end.bounce.as_ref().map(NewMessage::id);
            events::bounced(claim, self.failed.len(), &reason, bounce);
            if bounce.is_none() {
                events::bounce_dropped(claim, &reason);
            }
        }
    }
}
