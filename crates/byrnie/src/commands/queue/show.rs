//! Everything about one message, for people: why is it waiting, what was tried, what comes next?

use byrnie_store::DeliveryState;
use byrnie_store::DeliveryView;
use byrnie_store::MessageView;
use byrnie_store::Receipt;
use byrnie_store::RecipientState;
use byrnie_store::Shown;

use crate::output::time;

/// The lines of `byrnie queue show`.
pub(super) fn text(shown: &Shown) -> String {
    let mut lines = Vec::new();
    match &shown.queued {
        Some(message) => queued(shown, message, &mut lines),
        None => lines.push(format!("{}: no longer in the queue", shown.queue_id)),
    }
    if !shown.receipts.is_empty() {
        lines.push(String::from("what was tried:"));
    }
    for receipt in &shown.receipts {
        tried(receipt, &mut lines);
    }
    lines.join("\n") + "\n"
}

/// What is still to be done.
fn queued(shown: &Shown, message: &MessageView, lines: &mut Vec<String>) {
    let sender = match &message.envelope {
        Some(envelope) => format!("<{}>", envelope.reverse_path),
        None => String::from("an unreadable envelope"),
    };
    lines.push(format!(
        "{}: from {sender}, {} octets, accepted {}",
        shown.queue_id,
        message.size,
        time(message.received_at)
    ));
    for delivery in &message.deliveries {
        waiting(delivery, lines);
    }
}

/// Why one delivery waits, and what comes next.
fn waiting(delivery: &DeliveryView, lines: &mut Vec<String>) {
    let next = match (delivery.state, delivery.next_attempt_at) {
        (DeliveryState::Hold, _) => String::from("waits for `byrnie queue release`"),
        (DeliveryState::Corrupt, _) => String::from("kept for you, and never sent"),
        (DeliveryState::Incoming | DeliveryState::Deferred, Some(at)) => {
            format!("next attempt {}", time(at))
        }
        (DeliveryState::Incoming | DeliveryState::Deferred, None) => String::from("due now"),
    };
    lines.push(format!(
        "to {}: {} after {} attempts, {next}, given up {}",
        delivery.next_hop,
        delivery.state,
        delivery.attempts,
        time(delivery.expires_at)
    ));
    if let Some(reason) = &delivery.last_reason {
        lines.push(format!("  why: {reason}"));
    }
    if let Some(floor) = delivery.floor {
        lines.push(format!(
            "  no attempt may demand less than {}",
            word(&floor)
        ));
    }
    for recipient in &delivery.recipients {
        let state = match recipient.state {
            RecipientState::Pending => "waiting",
            RecipientState::Delivered => "delivered",
            RecipientState::Bounced => "given up",
        };
        let reply = match &recipient.reply {
            Some(reply) => format!(" ({reply})"),
            None => String::new(),
        };
        lines.push(format!("  <{}>: {state}{reply}", recipient.mailbox));
    }
}

/// One attempt at one host.
fn tried(receipt: &Receipt, lines: &mut Vec<String>) {
    let circumstances = &receipt.circumstances;
    let host = match (&circumstances.host, &circumstances.address) {
        (Some(host), Some(address)) => format!("{host} [{address}]"),
        (Some(host), None) => host.to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => String::from("no host"),
    };
    lines.push(format!(
        "  {} attempt {} for {}: {} at {host}",
        time(receipt.at),
        receipt.attempt,
        receipt.next_hop,
        receipt.outcome.as_str()
    ));
    if let Some(demanded) = circumstances.demanded {
        let requiretls = if circumstances.requiretls {
            " with REQUIRETLS"
        } else {
            ""
        };
        lines.push(format!("    demanded: {}{requiretls}", word(&demanded)));
    }
    for reason in &circumstances.reasons {
        lines.push(format!("      {reason}"));
    }
    if let Some(tls) = &circumstances.tls {
        lines.push(format!("    TLS: {} {}", tls.version, tls.cipher_suite));
        if let Some(digest) = &tls.certificate_sha256 {
            lines.push(format!("    certificate: sha256 {digest}"));
        }
        let authenticated = tls.authenticated_by.as_deref().unwrap_or("not at all");
        lines.push(format!("    authenticated: {authenticated}"));
    } else if circumstances.address.is_some() {
        lines.push(String::from("    TLS: none"));
    }
    if let Some(reply) = &receipt.reply {
        lines.push(format!("    it said: {reply}"));
    }
    if let Some(reason) = &receipt.reason {
        lines.push(format!("    why not: {reason}"));
    }
}

/// A unit variant as its word in the configuration and in JSON.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value)
        .map(|quoted| quoted.trim_matches('"').to_owned())
        .unwrap_or_default()
}
