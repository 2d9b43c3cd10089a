//! What is told to the log, with fixed targets and fields: people, `byrnie` and the lab read them.
//!
//! Two lines at the level `info` tell of a message that goes out at once: `accepted` and `attempted`.
//!
//! | target | event | fields |
//! |---|---|---|
//! | `byrnie::queue` | `accepted` | `queue_id`, `from`, `recipients`, `size` |
//! | `byrnie::decision` | `decided`, at `debug` | `queue_id`, `domain`, `verdict`, `reasons` |
//! | `byrnie::attempt` | `attempted` | `queue_id`, `domain`, `recipients`, `host`, `address`, `demanded`, `outcome`, `tls`, `authenticated_by`, `reply`, `reason` |
//! | `byrnie::queue` | `delivered`, at `debug` | `queue_id`, `domain`, `recipients`, `reply` |
//! | `byrnie::queue` | `deferred` | `queue_id`, `domain`, `recipients`, `reason`, `next_attempt_in` in seconds |
//! | `byrnie::queue` | `bounced` | `queue_id`, `domain`, `recipients`, `reason`, `bounce` with the id of the report, if one is sent |
//! | `byrnie::queue` | `bounce dropped` | `queue_id`, `domain`, `reason` |
//! | `byrnie::queue` | `corrupt` | `queue_id`, `reason` |

use std::time::Duration;

use byrnie_policy::Decision;
use byrnie_smtp::Envelope;
use byrnie_store::Claim;
use byrnie_store::QueueId;
use byrnie_store::Receipt;

/// A message is durable.
pub(crate) fn accepted(id: QueueId, envelope: &Envelope, size: u64) {
    tracing::info!(
        target: "byrnie::queue",
        queue_id = %id,
        from = %envelope.reverse_path,
        recipients = envelope.recipients.len(),
        size,
        "accepted"
    );
}

/// It is known what a delivery needs.
pub(crate) fn decided(claim: &Claim, decision: &Decision) {
    tracing::debug!(
        target: "byrnie::decision",
        queue_id = %claim.queue_id,
        domain = %claim.next_hop,
        verdict = %decision.verdict,
        reasons = %reasons(decision),
        "decided"
    );
}

/// A host was tried, or none could be.
pub(crate) fn attempted(receipt: &Receipt) {
    let circumstances = receipt.circumstances.as_ref();
    let tls = circumstances.tls.as_ref();
    tracing::info!(
        target: "byrnie::attempt",
        queue_id = %receipt.queue_id,
        domain = %receipt.next_hop,
        recipients = receipt.recipients.len(),
        host = circumstances.host.as_ref().map(tracing::field::display),
        address = circumstances.address.as_ref().map(tracing::field::display),
        demanded = circumstances.demanded.map(crate::words::strength),
        outcome = receipt.outcome.as_str(),
        tls = tls.map(|tls| format!("{} {}", tls.version, tls.cipher_suite)),
        authenticated_by = tls.and_then(|tls| tls.authenticated_by.as_deref()),
        reply = receipt.reply.as_ref().map(tracing::field::display),
        reason = receipt.reason.as_deref(),
        "attempted"
    );
}

/// Hosts took responsibility for recipients.
pub(crate) fn delivered(claim: &Claim, recipients: usize, reply: &str) {
    tracing::debug!(
        target: "byrnie::queue",
        queue_id = %claim.queue_id,
        domain = %claim.next_hop,
        recipients,
        reply,
        "delivered"
    );
}

/// Recipients wait for the next attempt.
pub(crate) fn deferred(claim: &Claim, recipients: usize, reason: &str, next: Duration) {
    tracing::info!(
        target: "byrnie::queue",
        queue_id = %claim.queue_id,
        domain = %claim.next_hop,
        recipients,
        reason,
        next_attempt_in = next.as_secs(),
        "deferred"
    );
}

/// Recipients are given up.
pub(crate) fn bounced(claim: &Claim, recipients: usize, reason: &str, bounce: Option<QueueId>) {
    tracing::info!(
        target: "byrnie::queue",
        queue_id = %claim.queue_id,
        domain = %claim.next_hop,
        recipients,
        reason,
        bounce = bounce.map(tracing::field::display),
        "bounced"
    );
}

/// Nobody is told that recipients are given up, as the message is a bounce itself.
pub(crate) fn bounce_dropped(claim: &Claim, reason: &str) {
    tracing::warn!(
        target: "byrnie::queue",
        queue_id = %claim.queue_id,
        domain = %claim.next_hop,
        reason,
        "bounce dropped"
    );
}

/// What is on disk is not what was accepted.
pub(crate) fn corrupt(id: QueueId, reason: &str) {
    tracing::error!(target: "byrnie::queue", queue_id = %id, reason, "corrupt");
}

/// Everything that led to a decision, on one line.
fn reasons(decision: &Decision) -> String {
    let of_hosts = decision.hosts.iter().flat_map(|host| {
        host.reasons
            .iter()
            .map(move |reason| format!("{}: {reason}", host.host))
    });
    let all: Vec<String> = decision
        .reasons
        .iter()
        .map(ToString::to_string)
        .chain(of_hosts)
        .collect();
    all.join("; ")
}
