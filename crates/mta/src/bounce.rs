//! Telling senders what could not be delivered: behaviour rule 43.

use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
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
use byrnie_store::StoreError;

use crate::Route;
use crate::acceptance::by_next_hop;
use crate::delivery::Trouble;

/// A recipient that is given up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failed {
    /// Whose mail it was.
    pub(crate) mailbox: Mailbox,
    /// Why.
    pub(crate) trouble: Trouble,
    /// Whether it was given up.
    pub(crate) end: FailedEnd,
}

/// Why no further attempt follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FailedEnd {
    /// The trouble will not pass.
    ForGood,
    /// The trouble might pass, and the message has waited for as long as it may.
    OutOfTime,
}

/// Writes bounces.
pub(crate) struct Bouncer<S> {
    /// Where the headers of failed messages are.
    pub(crate) spool: Arc<S>,
    /// The name of this host.
    pub(crate) hostname: DomainName,
    /// Where bounces go next.
    pub(crate) route: Arc<Route>,
    /// How long a bounce may wait in the queue.
    pub(crate) lifetime: Duration,
}

impl<S: Spool> Bouncer<S> {
    /// The bounce for recipients that are given up; `None` if nobody failed, or if nobody wants to
    /// know.
    ///
    //= https://www.rfc-editor.org/rfc/rfc5321#section-6.1
    //# This
    //# notification MUST be sent using a null ("<>") reverse-path in the
    //# envelope.
    pub(crate) async fn compose(
        &self,
        claim: &Claim,
        failed: &[Failed],
        now: UnixTime,
    ) -> Result<Option<NewMessage>, StoreError> {
        let ReversePath::Mailbox(sender) = &claim.envelope.reverse_path else {
            return Ok(None);
        };
        if failed.is_empty() {
            return Ok(None);
        }
        let id = self.spool.next_id(now);
        let header = self.header(claim).await?;
        let notification = Dsn {
            reporting_mta: &self.hostname,
            to: sender,
            id: &id.to_string(),
            now,
            arrival: claim.received_at,
            recipients: failed
                .iter()
                .map(|failed| failed.told(claim, now))
                .collect(),
            retried_until: None,
            tls_demand: claim.envelope.tls_demand,
            smtputf8: claim.envelope.smtputf8,
            original: Original::Header(header.octets()),
        };
        let DsnMessage { envelope, octets } = notification.build();
        let expires_at = now + self.lifetime;
        let deliveries = by_next_hop(&self.route, &envelope.recipients, now, expires_at);
        Ok(Some(NewMessage::whole(
            id, envelope, now, &octets, deliveries,
        )))
    }

    /// The header section of the failed message, up to a bound.
    async fn header(&self, claim: &Claim) -> Result<HeaderLines, StoreError> {
        let mut header = HeaderLines::default();
        for place in 0.. {
            let Some(piece) = self.spool.piece(claim.queue_id, place).await? else {
                break;
            };
            header.read(&piece);
            if header.is_complete() {
                break;
            }
        }
        Ok(header)
    }
}

impl Failed {
    /// What the sender is told about one recipient.
    fn told(&self, claim: &Claim, now: UnixTime) -> DsnRecipient {
        let Trouble { reply, host } = &self.trouble;
        let why = match host {
            Some(host) => format!("{host} did not take it"),
            None => reply.text().trim_end_matches('.').to_owned(),
        };
        let (status, explanation) = match self.end {
            FailedEnd::ForGood => {
                let status = reply.status();
                (EnhancedStatus { class: 5, ..status }, why)
            }
            FailedEnd::OutOfTime => {
                let waited = now.since(claim.received_at).as_secs() / 3_600;
                let text = format!("it was tried for {waited} hours; at last: {why}");
                (DELIVERY_TIME_EXPIRED, text)
            }
        };
        DsnRecipient {
            recipient: self.mailbox.clone(),
            action: DsnAction::Failed,
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
