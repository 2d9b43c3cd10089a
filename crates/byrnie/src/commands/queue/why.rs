//! `byrnie queue why`: in plain sentences, why mail waits, what comes next, and what can be done.

use std::iter;
use std::process::ExitCode;
use std::time::Duration;

use byrnie_base::MailDomain;
use byrnie_base::UnixTime;
use byrnie_store::DeliveryId;
use byrnie_store::DeliveryState;
use byrnie_store::DeliveryView;
use byrnie_store::QueueCommands;
use byrnie_store::QueueId;
use byrnie_store::Receipt;
use byrnie_store::Shown;
use serde::Serialize;

use super::list::Counted;
use super::list::Summary;
use super::list::deliveries;
use super::list::for_each;
use super::show::word;
use crate::cli::QueueWhyArgs;
use crate::commands::spool::Spool;
use crate::config::Span;
use crate::control::ActiveDelivery;
use crate::control::Destination;
use crate::control::Glance;
use crate::control::Spot;
use crate::failure::Failure;
use crate::output;
use crate::resolving;
use crate::runtime;
use crate::selection::Selection;

/// Runs `byrnie queue why`.
pub(super) fn run(args: &QueueWhyArgs) -> Result<ExitCode, Failure> {
    let now = resolving::clock().now();
    let spool = Spool::look(&args.config)?;
    // No id of a message has a dot in it, and no domain that takes mail has none.
    match (args.what.parse(), args.what.parse()) {
        (Ok(id), _) => of_message(args, &spool, id, now),
        (Err(_), Ok(domain)) => of_domain(args, &spool, &domain, now),
        (Err(_), Err(error)) => Err(Failure::usage(format!("\"{}\": {error}", args.what))
            .hint("name a queue id, or a domain that mail goes to")),
    }
}

/// Why a message waits.
fn of_message(
    args: &QueueWhyArgs,
    spool: &Spool,
    id: QueueId,
    now: UnixTime,
) -> Result<ExitCode, Failure> {
    let shown = runtime::block_on(async {
        let shown = spool.store.show(id).await;
        shown.map_err(|error| Failure::store(&error))
    })?;
    let views = shown.queued.iter().flat_map(|queued| &queued.deliveries);
    let named = views.filter_map(|view| view.next_hop.parse().ok());
    let glance = spool.glance(named.collect())?;
    if args.json {
        let views = shown.queued.iter().flat_map(|queued| &queued.deliveries);
        let deliveries: Vec<DeliveryId> = views.map(|view| view.delivery).collect();
        let active = glance.iter().flat_map(|glance| &glance.active);
        output::print_json(&MessageWhy {
            shown: &shown,
            next_hops: glance.as_ref().map(|glance| glance.spots.as_slice()),
            active: active
                .filter(|active| deliveries.contains(&active.delivery))
                .collect(),
        })?;
    } else {
        output::print(output::visible(&message_text(&shown, glance.as_ref(), now)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a message waits, for machines.
#[derive(Serialize)]
struct MessageWhy<'a> {
    /// What is on disk.
    #[serde(flatten)]
    shown: &'a Shown,
    /// What the gateway knows of its next hops; `None` if none runs.
    next_hops: Option<&'a [Spot]>,
    /// Its deliveries that are being tried at this moment.
    active: Vec<&'a ActiveDelivery>,
}

/// Why a message waits, for people.
fn message_text(shown: &Shown, glance: Option<&Glance>, now: UnixTime) -> String {
    let Some(queued) = &shown.queued else {
        return format!(
            "{id} is no longer in the queue: it was delivered, given up or removed.\n\
             `byrnie queue show {id}` says what was tried.\n",
            id = shown.queue_id
        );
    };
    let sender = match &queued.envelope {
        Some(envelope) => format!("<{}>", envelope.reverse_path),
        None => String::from("a sender who cannot be read any more"),
    };
    let mut lines = vec![format!(
        "{} is from {sender}, has {} octets, and came {}.",
        shown.queue_id,
        queued.size,
        ago(queued.received_at, now)
    )];
    for view in &queued.deliveries {
        lines.push(String::new());
        let mut receipts = shown.receipts.iter();
        let tried = receipts.rfind(|receipt| receipt.next_hop.to_string() == view.next_hop);
        lines.extend(delivery_lines(view, tried, glance, now));
    }
    lines.push(String::new());
    lines.extend(advice(shown.queue_id, &queued.deliveries));
    lines.join("\n") + "\n"
}

/// Why one delivery waits.
fn delivery_lines(
    view: &DeliveryView,
    tried: Option<&Receipt>,
    glance: Option<&Glance>,
    now: UnixTime,
) -> Vec<String> {
    let recipients: Vec<String> = view
        .recipients
        .iter()
        .map(|recipient| format!("<{}>", recipient.mailbox))
        .collect();
    let mut lines = vec![format!("To {}, for {}:", view.next_hop, some(&recipients))];
    match (&view.last_reason, view.attempts) {
        (Some(reason), _) => lines.push(format!("  It waits because: {reason}")),
        (None, 0) => lines.push(String::from("  It has not been tried yet.")),
        (None, _) => {}
    }
    if let Some(receipt) = tried {
        lines.extend(attempt_lines(receipt, now));
    }
    if let Some(floor) = view.floor {
        let floor = word(&floor);
        lines.push(format!("  No later attempt may demand less than {floor}."));
    }
    lines.push(format!("  {}", what_next(view, glance, now)));
    let ends = match view.state {
        DeliveryState::Incoming | DeliveryState::Deferred => {
            let when = ahead(view.expires_at, now);
            format!("  If nothing works by then, it is given up {when}, and its sender is told.")
        }
        DeliveryState::Hold | DeliveryState::Corrupt => {
            String::from("  As long as that is so, it is not given up either.")
        }
    };
    lines.push(ends);
    lines
}

/// What the last attempt did.
fn attempt_lines(receipt: &Receipt, now: UnixTime) -> Vec<String> {
    let it = receipt.circumstances.as_ref();
    let host = match (&it.host, &it.address) {
        (Some(host), Some(address)) => format!("{host} at {address}"),
        (Some(host), None) => host.to_string(),
        (None, Some(address)) => address.to_string(),
        (None, None) => String::from("no host"),
    };
    let mut lines = vec![format!(
        "  Attempt {}, {}, was with {host}.",
        receipt.attempt,
        ago(receipt.at, now)
    )];
    if let Some(demanded) = &it.demanded {
        let requiretls = if it.requiretls { " and REQUIRETLS" } else { "" };
        let demanded = word(demanded);
        lines.push(format!("    Demanded was {demanded}{requiretls}, because:"));
        lines.extend(it.reasons.iter().map(|reason| format!("      {reason}")));
    }
    match &it.tls {
        Some(tls) => {
            let proven = match &tls.authenticated_by {
                Some(how) => format!("it was who it should be: {how}"),
                None => String::from("it did not prove who it is"),
            };
            lines.push(format!(
                "    The connection had {} ({}); {proven}.",
                tls.version, tls.cipher_suite
            ));
        }
        None if it.address.is_some() => lines.push(String::from("    There was no TLS.")),
        None => {}
    }
    if let Some(reply) = &receipt.reply {
        lines.push(format!("    It said: {reply}"));
    }
    if let Some(reason) = &receipt.reason {
        lines.push(format!("    It came to nothing: {reason}"));
    }
    lines
}

/// When and why it is tried next.
fn what_next(view: &DeliveryView, glance: Option<&Glance>, now: UnixTime) -> String {
    match view.state {
        DeliveryState::Hold => {
            return String::from(
                "An operator holds it back; `byrnie queue release` lets it go on.",
            );
        }
        DeliveryState::Corrupt => {
            return String::from("What is on disk is not what was written: it is never sent.");
        }
        DeliveryState::Incoming | DeliveryState::Deferred => {}
    }
    let Some(glance) = glance else {
        return String::from("No gateway runs on this spool; it is tried when one does.");
    };
    let mut active = glance.active.iter();
    if let Some(active) = active.find(|active| active.delivery == view.delivery) {
        let seconds = active.milliseconds / 1_000;
        return format!("It is being tried at this moment, for {seconds} s so far.");
    }
    if glance.store_failing {
        return String::from("Nothing is tried while the spool cannot be written; see the log.");
    }
    let mut spots = glance.spots.iter();
    let spot = spots.find(|spot| spot.domain.to_string() == view.next_hop);
    let lane = spot.and_then(|spot| spot.destination.as_ref());
    let due_in = view.next_attempt_at.filter(|at| *at > now);
    match (lane, due_in) {
        (Some(lane), None) => due_now(lane, now),
        (
            Some(Destination {
                closed_until: Some(until),
                ..
            }),
            Some(at),
        ) if *until > at => format!(
            "By its own schedule it is due {}, but until {} nothing is tried there.",
            ahead(at, now),
            ahead(*until, now)
        ),
        (Some(_) | None, Some(at)) => {
            format!("It is tried again {}, by its own schedule.", ahead(at, now))
        }
        (None, None) if glance.loading => {
            String::from("The gateway has just started and reads what waits; it comes to this yet.")
        }
        (None, None) => String::from("It is due now, and about to be tried."),
    }
}

/// Why a delivery that is due is not tried.
fn due_now(lane: &Destination, now: UnixTime) -> String {
    let domain = &lane.domain;
    if let Some(until) = lane.closed_until.filter(|until| *until > now) {
        let why = match &lane.trouble {
            Some(trouble) => format!(": {trouble}"),
            None => String::new(),
        };
        return format!(
            "No host of {domain} answers{why}. One message tries again {}; the others wait for it.",
            ahead(until, now)
        );
    }
    let behind = lane.due.saturating_sub(1);
    if lane.in_progress >= lane.window {
        return format!(
            "It is due, and waits for its turn among {behind} others for {domain}, {} of at most {} being \
             tried now.",
            lane.in_progress, lane.window
        );
    }
    format!("It is due, and waits for its turn among {behind} others for {domain}.")
}

/// What an operator can do about a message.
fn advice(id: QueueId, views: &[DeliveryView]) -> Vec<String> {
    let is = |state: DeliveryState| views.iter().any(|view| view.state == state);
    let mut commands = Vec::new();
    if is(DeliveryState::Deferred) {
        commands.push((format!("queue retry {id}"), "try it now"));
    }
    if is(DeliveryState::Hold) {
        commands.push((format!("queue release {id}"), "let it go on"));
    }
    if is(DeliveryState::Incoming) || is(DeliveryState::Deferred) {
        commands.push((format!("queue hold {id}"), "keep it back"));
    }
    commands.push((format!("queue remove {id}"), "drop it, telling nobody"));
    if let Some(view) = views.first() {
        let domain = &view.next_hop;
        commands.push((
            format!("queue why {domain}"),
            "how things are where it goes",
        ));
        commands.push((format!("policy {domain}"), DEMANDED));
    }
    can_do(&commands)
}

/// Commands and what they do, in two columns.
fn can_do(commands: &[(String, &str)]) -> Vec<String> {
    let widths = commands.iter().map(|(command, _)| command.len());
    let width = widths.max().unwrap_or_default();
    let lines = commands
        .iter()
        .map(|(command, what)| format!("  byrnie {command:width$}  {what}"));
    iter::once(String::from("What you can do:"))
        .chain(lines)
        .collect()
}

/// What `byrnie policy` says.
const DEMANDED: &str = "what is demanded there now, and why";

/// Why mail to a domain waits, for machines.
#[derive(Serialize)]
struct DomainWhy<'a> {
    /// Where mail goes.
    domain: &'a MailDomain,
    /// What waits.
    #[serde(flatten)]
    counted: Counted<'a>,
    /// What the gateway knows of it; `None` if that is nothing, or if none runs.
    destination: Option<&'a Destination>,
}

/// Why mail to a domain waits.
fn of_domain(
    args: &QueueWhyArgs,
    spool: &Spool,
    domain: &MailDomain,
    now: UnixTime,
) -> Result<ExitCode, Failure> {
    let selection = Selection {
        domain: Some(domain.clone()),
        ..Selection::default()
    };
    let mut summary = Summary::default();
    runtime::block_on(for_each(&spool.store, selection.filter(), |listed| {
        summary.add(listed);
        Ok(())
    }))?;
    let glance = spool.glance(vec![domain.clone()])?;
    let spot = glance.iter().flat_map(|glance| &glance.spots).next();
    let destination = spot.and_then(|spot| spot.destination.as_ref());
    if args.json {
        output::print_json(&DomainWhy {
            domain,
            counted: summary.counted(),
            destination,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![format!(
        "{} for {domain}.",
        match summary.deliveries() {
            0 => String::from("Nothing waits"),
            some => format!("{} in the queue", deliveries(some)),
        }
    )];
    if let Some((at, id)) = summary.oldest() {
        lines.push(format!("The oldest is {id}, which came {}.", ago(at, now)));
    }
    match (destination, &glance) {
        (Some(lane), _) => lines.extend(lane_lines(lane, now)),
        (None, Some(_)) => lines.push(String::from(
            "The gateway sends nothing there at the moment.",
        )),
        (None, None) => lines.push(String::from("No gateway runs on this spool.")),
    }
    lines.extend(reason_lines(&summary, domain));
    output::print(output::visible(&(lines.join("\n") + "\n")))?;
    Ok(ExitCode::SUCCESS)
}

/// What the gateway knows of a next hop.
fn lane_lines(lane: &Destination, now: UnixTime) -> Vec<String> {
    let mut lines = vec![format!(
        "{} of at most {} being tried now, {} more due; an attempt takes {}.",
        lane.in_progress,
        lane.window,
        lane.due,
        Span(Duration::from_millis(lane.attempt_milliseconds))
    )];
    match (
        lane.closed_until.filter(|until| *until > now),
        &lane.trouble,
    ) {
        (Some(until), trouble) => lines.push(format!(
            "No host answers{}. Nothing is tried there until one message finds out {}.",
            trouble
                .as_ref()
                .map_or_else(String::new, |why| format!(": {why}")),
            ahead(until, now)
        )),
        (None, Some(trouble)) => lines.push(format!("The last trouble was: {trouble}")),
        (None, None) => {}
    }
    lines
}

/// What the hosts say, and what can be done.
fn reason_lines(summary: &Summary, domain: &MailDomain) -> Vec<String> {
    let mut lines = Vec::new();
    let reasons = summary.reasons();
    if !reasons.is_empty() {
        lines.push(String::from("Why the last attempts came to nothing:"));
    }
    for (reason, count) in reasons {
        lines.push(format!("{count:>8} times: {reason}"));
    }
    let held = summary.in_state(DeliveryState::Hold);
    if held > 0 {
        lines.push(format!("{} held back by an operator.", deliveries(held)));
    }
    let mut commands = Vec::new();
    if summary.deliveries() > 0 {
        let retry = format!("queue retry --domain {domain}");
        commands.push((retry, "ask its hosts again now"));
        let list = format!("queue list --domain {domain}");
        commands.push((list, "see what waits"));
    }
    commands.push((format!("policy {domain}"), DEMANDED));
    lines.extend(can_do(&commands));
    lines
}

/// The first of some, and how many more.
fn some(words: &[String]) -> String {
    let shown: Vec<&str> = words.iter().take(3).map(String::as_str).collect();
    let more = words.len().saturating_sub(shown.len());
    let shown = shown.join(", ");
    if more == 0 {
        return shown;
    }
    format!("{shown} and {more} more")
}

/// A time that is past.
fn ago(at: UnixTime, now: UnixTime) -> String {
    let seconds = now.since(at).as_secs();
    if seconds == 0 {
        return String::from("just now");
    }
    format!("{} ago ({})", span(seconds), output::time(at))
}

/// A time to come.
fn ahead(at: UnixTime, now: UnixTime) -> String {
    match at.since(now).as_secs() {
        0 => String::from("at once"),
        seconds => format!("in {} ({})", span(seconds), output::time(at)),
    }
}

/// A length of time as the configuration writes it, in its two largest units.
fn span(seconds: u64) -> String {
    let rounded = match seconds {
        0..3_600 => seconds,
        3_600..86_400 => seconds / 60 * 60,
        _ => seconds / 3_600 * 3_600,
    };
    Span(Duration::from_secs(rounded)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    #[test]
    fn what_is_due_waits_for_its_turn_or_for_its_host() {
        check(
            &lane(None, 2, 2),
            "waits for its turn among 4 others for a.example, 2 of at most 2",
        );
        check(
            &lane(None, 1, 2),
            "waits for its turn among 4 others for a.example.",
        );
        check(
            &lane(Some(UnixTime(NOW.0 + 90)), 0, 1),
            "No host of a.example answers: 4.4.1 nobody. One message tries again in 1m30s (",
        );
        // A lane that is to be opened is as good as open.
        check(&lane(Some(NOW), 0, 1), "waits for its turn among");
    }

    #[test]
    fn times_are_told_in_two_units() {
        for (seconds, expected) in [(0, "0s"), (61, "1m1s"), (3_661, "1h1m"), (90_061, "1d1h")] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[track_caller]
    fn check(lane: &Destination, expected: &str) {
        let said = due_now(lane, NOW);
        assert!(said.contains(expected), "{said}");
    }

    fn lane(closed_until: Option<UnixTime>, in_progress: u32, window: u32) -> Destination {
        Destination {
            domain: "a.example".parse().unwrap(),
            deliveries: 9,
            due: 5,
            in_progress,
            window,
            closed_until,
            trouble: Some(String::from("4.4.1 nobody")),
            attempt_milliseconds: 0,
        }
    }
}
