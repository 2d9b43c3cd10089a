//! Telling senders what could not be delivered: behaviour rule 43.

use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_net::current::Current;
use byrnie_smtp::Dsn;
use byrnie_smtp::DsnAction;
use byrnie_smtp::DsnMessage;
use byrnie_smtp::DsnRecipient;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::HeaderLines;
use byrnie_smtp::Original;
use byrnie_smtp::ReversePath;
use byrnie_store::Claim;
use byrnie_store::NewMessage;
use byrnie_store::Spool;

use crate::QueueConfig;
use crate::Route;
use crate::acceptance::by_next_hop;
use crate::delivery::Trouble;

/// A recipient that a message did not reach.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Undelivered {
    /// Whose mail it is.
    pub(crate) mailbox: Mailbox,
    /// Why.
    pub(crate) trouble: Trouble,
    /// What follows.
    pub(crate) state: UndeliveredState,
}

/// What follows when a message did not reach a recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UndeliveredState {
    /// It is given up, as the trouble will not pass.
    Refused,
    /// It is given up: the trouble might pass, and the message has waited for as long as it may.
    OutOfTime,
    /// It is tried again.
    Delayed,
}

/// Writes bounces and warnings of delay.
pub(crate) struct Bouncer<S> {
    /// Names bounces.
    pub(crate) spool: Arc<S>,
    /// The name of this host.
    pub(crate) hostname: DomainName,
    /// Where bounces go next.
    pub(crate) route: Arc<Route>,
    /// How long a bounce may wait in the queue.
    pub(crate) queue: Arc<Current<QueueConfig>>,
}

impl<S: Spool> Bouncer<S> {
    /// What the sender is told about recipients that are given up, or that have to wait; `None` if there
    /// are none, or if nobody wants to know.
    ///
    //= https://www.rfc-editor.org/rfc/rfc5321#section-6.1
    //# This
    //# notification MUST be sent using a null ("<>") reverse-path in the
    //# envelope.
    pub(crate) fn compose(
        &self,
        claim: &Claim,
        header: &HeaderLines,
        undelivered: &[Undelivered],
        now: UnixTime,
    ) -> Option<NewMessage> {
        let ReversePath::Mailbox(sender) = &claim.envelope.reverse_path else {
            return None;
        };
        if undelivered.is_empty() {
            return None;
        }
        let id = self.spool.next_id(now);
        let recipients = undelivered.iter();
        let delayed = recipients
            .clone()
            .any(|one| one.state == UndeliveredState::Delayed);
        let notification = Dsn {
            reporting_mta: &self.hostname,
            to: sender,
            id: &id.to_string(),
            now,
            arrival: claim.received_at,
            recipients: recipients.map(|one| one.told(claim, now)).collect(),
            retried_until: delayed.then_some(claim.expires_at),
            tls_demand: claim.envelope.tls_demand,
            smtputf8: claim.envelope.smtputf8,
            original: Original::Header(header.octets()),
        };
        let DsnMessage { envelope, octets } = notification.build();
        let expires_at = now + self.queue.get().lifetime;
        let deliveries = by_next_hop(&self.route, &envelope.recipients, now, expires_at);
        let message = NewMessage::whole(id, envelope, now, &octets, deliveries);
        Some(message)
    }
}

impl Undelivered {
    /// What the sender is told about one recipient.
    fn told(&self, claim: &Claim, now: UnixTime) -> DsnRecipient {
        let Trouble { reply, host } = &self.trouble;
        let why = match host {
            Some(host) => format!("{host} did not take it"),
            None => reply.text().trim_end_matches('.').to_owned(),
        };
        let hours = now.since(claim.received_at).as_secs() / 3_600;
        let status = reply.status();
        let (action, status, explanation) = match self.state {
            UndeliveredState::Refused => {
                let status = EnhancedStatus { class: 5, ..status };
                (DsnAction::Failed, status, why)
            }
            UndeliveredState::OutOfTime => {
                let text = format!("it was tried for {hours} hours; at last: {why}");
                (DsnAction::Failed, DELIVERY_TIME_EXPIRED, text)
            }
            UndeliveredState::Delayed => {
                let status = EnhancedStatus { class: 4, ..status };
                let text = format!("it has been tried for {hours} hours; at last: {why}");
                (DsnAction::Delayed, status, text)
            }
        };
        DsnRecipient {
            recipient: self.mailbox.clone(),
            action,
            status,
            remote_mta: host.clone(),
            diagnostic: host.is_some().then(|| reply.clone()),
            last_attempt: Some(now),
            explanation,
        }
    }
}

/// "Delivery time expired": RFC 3463, Section 3.5.
const DELIVERY_TIME_EXPIRED: EnhancedStatus = EnhancedStatus::new(5, 4, 7);
