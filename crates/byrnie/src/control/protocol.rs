//! What is said over the control socket. Both sides are the same program, mostly of the same version.

use std::path::PathBuf;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::UnixTime;
use byrnie_store::DeliveryId;
use byrnie_store::DeliveryState;
use byrnie_store::QueueId;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::selection::Selection;

/// The version of what stands in this file; larger ones changed the meaning of something.
pub(crate) const VERSION: u32 = 1;

/// What a command sends. The version is looked at before the rest.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Call {
    /// Of the protocol: [`VERSION`].
    pub(crate) version: u32,
    /// A [`Request`] of that version.
    pub(crate) request: Value,
}

/// What a command asks the gateway to do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Read the configuration again, and go on by it. Answered by [`Reloaded`].
    Reload,
    /// Change deliveries. Answered by [`Steered`].
    Steer {
        /// How.
        action: Action,
        /// Which.
        selection: Box<Selection>,
    },
    /// Say what is going on. Answered by [`Glance`].
    Look {
        /// So many next hops, those with the most deliveries.
        destinations: u32,
        /// And these, whatever they have.
        named: Vec<MailDomain>,
    },
    /// Keep what may be a TLS report. Answered by a list of [`Kept`](byrnie_store::Kept).
    TakeReport {
        /// Its octets, in base64.
        octets: String,
    },
    /// Never send these messages: they are damaged. Answered by `null`.
    PutAside {
        /// Which.
        damaged: Vec<DamagedMessage>,
    },
    /// Give the MTA-STS policy of a domain another id. Answered by the number of its edition.
    PublishAnew {
        /// Whose policy.
        domain: DomainName,
    },
}

/// What the gateway says when it is done.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Said {
    /// It was done; what the request is answered by.
    Done(Value),
    /// Nothing was done.
    Refused(Refused),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Steered {
    /// How many deliveries were changed.
    pub(crate) deliveries: u64,
}

/// What became of a configuration that was read again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Reloaded {
    /// The file.
    pub(crate) file: PathBuf,
    /// The keys whose change counts from now on.
    pub(crate) in_force: Vec<String>,
    /// The keys whose change counts after a restart; until then the old values do.
    pub(crate) after_restart: Vec<String>,
    /// What is not wrong, and yet should be looked at.
    pub(crate) warnings: Vec<String>,
}

/// Why nothing was done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Refused {
    /// Lower case, one line, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whose fault it is.
    pub(crate) fault: Fault,
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// The world's.
    Runtime,
    /// Of whoever asked, or of the configuration.
    Usage,
}

/// What an operator does with deliveries.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Try again now.
    Retry,
    /// Keep back.
    Hold,
    /// Let go on.
    Release,
    /// Remove for ever.
    Remove,
}

impl Action {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Remove => "remove",
        }
    }

    /// What was done.
    pub(crate) fn past(self) -> &'static str {
        match self {
            Self::Retry => "tried again now",
            Self::Hold => "held",
            Self::Release => "released",
            Self::Remove => "removed",
        }
    }

    /// Whether it has an effect on deliveries in a state.
    pub(crate) fn affects(self, state: DeliveryState) -> bool {
        match (self, state) {
            (Self::Remove, _)
            | (Self::Release, DeliveryState::Hold)
            | (Self::Retry | Self::Hold, DeliveryState::Incoming | DeliveryState::Deferred) => true,
            (
                Self::Release,
                DeliveryState::Incoming | DeliveryState::Deferred | DeliveryState::Corrupt,
            )
            | (Self::Retry | Self::Hold, DeliveryState::Hold | DeliveryState::Corrupt) => false,
        }
    }
}

/// A message that is damaged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct DamagedMessage {
    /// The message.
    pub(crate) queue_id: QueueId,
    /// What is wrong.
    pub(crate) what: String,
}

/// The gateway at one moment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Glance {
    /// When.
    pub(crate) at: UnixTime,
    /// Whether what lay on disk at the start is still being read.
    pub(crate) loading: bool,
    /// Whether the spool fails, so that nothing is started.
    pub(crate) store_failing: bool,
    /// How much waits.
    pub(crate) queue: QueueCounts,
    /// What was done since the start.
    pub(crate) done: Done,
    /// What was done of late.
    pub(crate) recent: Recent,
    /// The disk under the spool.
    pub(crate) disk: Disk,
    /// Clients that are connected.
    pub(crate) sessions: u64,
    /// The next hops with the most deliveries.
    pub(crate) destinations: Vec<Destination>,
    /// Deliveries in progress, the longest first.
    pub(crate) active: Vec<ActiveDelivery>,
    /// The next hops that were asked about.
    pub(crate) spots: Vec<Spot>,
    /// What happened in the last minutes, oldest first.
    pub(crate) past: Vec<Sample>,
}

/// How much waits.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct QueueCounts {
    /// Messages.
    pub(crate) messages: u64,
    /// Deliveries by state on disk.
    pub(crate) states: Vec<(DeliveryState, u64)>,
    /// Seconds that the oldest message has been here.
    pub(crate) oldest_seconds: u64,
    /// Deliveries that are not due yet.
    pub(crate) deferred: u64,
    /// Deliveries that are due and wait for their turn.
    pub(crate) due: u64,
    /// Attempts in progress.
    pub(crate) in_progress: u64,
    /// Of these, those that take long.
    pub(crate) slow: u64,
    /// Next hops that something is known about.
    pub(crate) destinations: u64,
    /// Octets of messages in memory, on their way to their first attempt.
    pub(crate) octets_in_memory: u64,
}

/// What was done since the start; from two of them a rate is made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Done {
    /// Messages accepted under TLS.
    pub(crate) accepted_tls: u64,
    /// Messages accepted in clear text.
    pub(crate) accepted_clear: u64,
    /// Attempts begun.
    pub(crate) attempts: u64,
    /// Recipients that hosts took responsibility for.
    pub(crate) delivered: u64,
    /// How often recipients were put off.
    pub(crate) deferred: u64,
    /// Recipients that were given up.
    pub(crate) bounced: u64,
    /// Offers that were taken over authenticated TLS.
    pub(crate) sent_authenticated: u64,
    /// Offers that were taken over TLS that proves nothing.
    pub(crate) sent_encrypted: u64,
    /// Offers that were taken in clear text.
    pub(crate) sent_clear: u64,
    /// Connections made to mail hosts.
    pub(crate) connections: u64,
    /// How often one that stood ready was taken instead.
    pub(crate) reused: u64,
    /// DNS answers, whatever they were.
    pub(crate) dns_lookups: u64,
    /// Of these, those from memory.
    pub(crate) dns_hits: u64,
    /// How often the disk was waited for.
    pub(crate) flushes: u64,
    /// How many changes of the spool shared these waits.
    pub(crate) changes: u64,
    /// How long the waits were in all, in microseconds.
    pub(crate) flush_microseconds: u64,
}

impl Done {
    /// What was done since then.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            accepted_tls: self.accepted_tls.saturating_sub(before.accepted_tls),
            accepted_clear: self.accepted_clear.saturating_sub(before.accepted_clear),
            attempts: self.attempts.saturating_sub(before.attempts),
            delivered: self.delivered.saturating_sub(before.delivered),
            deferred: self.deferred.saturating_sub(before.deferred),
            bounced: self.bounced.saturating_sub(before.bounced),
            sent_authenticated: self
                .sent_authenticated
                .saturating_sub(before.sent_authenticated),
            sent_encrypted: self.sent_encrypted.saturating_sub(before.sent_encrypted),
            sent_clear: self.sent_clear.saturating_sub(before.sent_clear),
            connections: self.connections.saturating_sub(before.connections),
            reused: self.reused.saturating_sub(before.reused),
            dns_lookups: self.dns_lookups.saturating_sub(before.dns_lookups),
            dns_hits: self.dns_hits.saturating_sub(before.dns_hits),
            flushes: self.flushes.saturating_sub(before.flushes),
            changes: self.changes.saturating_sub(before.changes),
            flush_microseconds: self
                .flush_microseconds
                .saturating_sub(before.flush_microseconds),
        }
    }
}

/// What was done of late.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Recent {
    /// For how long one looks back; 0 if there is nothing to look back to yet.
    pub(crate) seconds: f64,
    /// What was done in that time.
    pub(crate) done: Done,
}

/// The disk under the spool.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Disk {
    /// Octets of the spool's files.
    pub(crate) spool_octets: u64,
    /// Octets that are free.
    pub(crate) free_octets: u64,
}

/// What happened up to a moment since the one before.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Messages accepted, per second.
    pub(crate) accepted: f64,
    /// Recipients delivered, per second.
    pub(crate) delivered: f64,
    /// Recipients put off, per second.
    pub(crate) deferred: f64,
    /// Deliveries in the queue at its end.
    pub(crate) deliveries: u64,
}

/// A next hop as the queue knows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Destination {
    /// Its name.
    pub(crate) domain: MailDomain,
    /// Deliveries, those in progress and deferred included.
    pub(crate) deliveries: u32,
    /// Deliveries that are due.
    pub(crate) due: u32,
    /// Attempts in progress.
    pub(crate) in_progress: u32,
    /// How many of them there may be.
    pub(crate) window: u32,
    /// Until when nothing is tried, because no host answers.
    pub(crate) closed_until: Option<UnixTime>,
    /// What went wrong last.
    pub(crate) trouble: Option<String>,
    /// How long attempts take, in milliseconds.
    pub(crate) attempt_milliseconds: u64,
}

/// A delivery in progress.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct ActiveDelivery {
    /// The delivery.
    pub(crate) delivery: DeliveryId,
    /// Where it goes.
    pub(crate) domain: MailDomain,
    /// For how long, in milliseconds.
    pub(crate) milliseconds: u64,
}

/// What is known about a next hop that was asked about.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Spot {
    /// Its name.
    pub(crate) domain: MailDomain,
    /// What the queue knows; `None` if that is nothing.
    pub(crate) destination: Option<Destination>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_and_answers_have_their_words_on_the_wire() {
        let reload = serde_json::to_value(Request::Reload).unwrap();
        assert_eq!(reload, json!({"do": "reload"}));
        let refused = Said::Refused(Refused {
            message: String::from("no"),
            hint: None,
            fault: Fault::Usage,
        });
        let words = json!({"refused": {"message": "no", "hint": null, "fault": "usage"}});
        assert_eq!(serde_json::to_value(&refused).unwrap(), words);
        assert_eq!(serde_json::from_value::<Said>(words).unwrap(), refused);
    }
}
