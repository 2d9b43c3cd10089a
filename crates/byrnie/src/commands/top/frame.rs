//! What is drawn: one frame, as lines of a given width.

use std::cmp::Reverse;

use byrnie_base::UnixTime;
use byrnie_store::DeliveryState;

use super::words::cut;
use super::words::grouped;
use super::words::octets;
use super::words::rate;
use super::words::share;
use super::words::span;
use super::words::sparkline;
use crate::control::Destination;
use crate::control::Glance;
use crate::control::Sample;
use crate::output;
use crate::output::Paint;

/// Which destinations come first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// Those with the most mail.
    MostMail,
    /// Those that take longest, and before them those that do not answer.
    Slowest,
}

impl Order {
    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::MostMail => Self::Slowest,
            Self::Slowest => Self::MostMail,
        }
    }

    /// What the last line says about it.
    fn help(self) -> &'static str {
        match self {
            Self::MostMail => "q ends, s: slowest destinations first",
            Self::Slowest => "q ends, s: destinations with the most mail first",
        }
    }
}

/// The lines of a frame.
pub(super) fn frame(
    glance: &Glance,
    order: Order,
    (width, height): (usize, usize),
    paint: Paint,
) -> Vec<String> {
    let mut lines = vec![title(glance, width)];
    lines.extend(curves(&glance.past, width));
    lines.extend(facts(glance).into_iter().map(|line| cut(&line, width)));
    if let Some(alarm) = alarm(glance) {
        lines.push(paint.red(&cut(alarm, width)));
    }
    lines.push(String::new());
    let head = columns(DESTINATION_HEAD, width);
    lines.push(paint.bold(&cut(&head, width)));
    let mut destinations: Vec<&Destination> = glance.destinations.iter().collect();
    match order {
        Order::MostMail => destinations.sort_by_key(|one| Reverse(one.deliveries)),
        Order::Slowest => destinations.sort_by_key(|one| {
            let is_closed = closed_until(one, glance.at).is_some();
            Reverse((is_closed, one.attempt_milliseconds))
        }),
    }
    let room = height.saturating_sub(lines.len() + 1);
    let left_out = destinations.len().saturating_sub(room);
    for one in destinations.into_iter().take(room) {
        lines.push(destination(one, glance.at, width, paint));
    }
    let unseen = glance.queue.destinations.saturating_sub(room_of(room));
    let more = match left_out {
        0 => String::new(),
        _ => format!("{} more destinations; ", grouped(unseen)),
    };
    lines.push(cut(&format!("{more}{}", order.help()), width));
    lines
}

/// How many destinations fit.
fn room_of(room: usize) -> u64 {
    u64::try_from(room).unwrap_or(u64::MAX)
}

/// The first line: what it is, and when.
fn title(glance: &Glance, width: usize) -> String {
    let left = match glance.sessions {
        1 => String::from("byrnie, 1 client connected"),
        clients => format!("byrnie, {} clients connected", grouped(clients)),
    };
    let right = output::time(glance.at);
    let gap = width
        .saturating_sub(left.chars().count() + right.len())
        .max(1);
    cut(&format!("{left}{:gap$}{right}", ""), width)
}

/// What would be bad not to see.
fn alarm(glance: &Glance) -> Option<&'static str> {
    if glance.store_failing {
        return Some("THE SPOOL CANNOT BE WRITTEN: nothing is taken or sent; see the log");
    }
    glance
        .loading
        .then_some("the gateway has just started, and still reads what waits")
}

/// The last minutes: a number and its curve in each line.
fn curves(past: &[Sample], width: usize) -> Vec<String> {
    let rates = [
        ("in", rate_of(past, |sample| sample.accepted)),
        ("out", rate_of(past, |sample| sample.delivered)),
        ("put off", rate_of(past, |sample| sample.deferred)),
    ];
    let mut lines: Vec<String> = rates
        .into_iter()
        .map(|(name, (now, values))| curve(name, &format!("{}/s", rate(now)), &values, width))
        .collect();
    let waiting = past.last().map_or(0, |sample| sample.deliveries);
    let values: Vec<f64> = past
        .iter()
        .map(|sample| f64::from(u32::try_from(sample.deliveries).unwrap_or(u32::MAX)))
        .collect();
    lines.push(curve("queue", &grouped(waiting), &values, width));
    lines
}

/// One rate as it is now, and as it was.
fn rate_of(past: &[Sample], of: impl Fn(&Sample) -> f64) -> (f64, Vec<f64>) {
    let values: Vec<f64> = past.iter().map(of).collect();
    let last = values.get(values.len().saturating_sub(SAMPLES_OF_NOW)..);
    let last = last.unwrap_or_default();
    let count = f64::from(u32::try_from(last.len()).unwrap_or(u32::MAX)).max(1.0);
    (last.iter().sum::<f64>() / count, values)
}

/// A name, a number and a curve.
fn curve(name: &str, number: &str, values: &[f64], width: usize) -> String {
    let head = format!("{name:<8}{number:>11}  ");
    let room = width.saturating_sub(head.chars().count());
    let line = format!("{head}{}", sparkline(values, room));
    cut(line.trim_end(), width)
}

/// What is going on, in words and numbers.
fn facts(glance: &Glance) -> Vec<String> {
    let (queue, disk) = (&glance.queue, &glance.disk);
    let recent = &glance.recent.done;
    let per_second = |number: u64| {
        let number = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        rate(number / glance.recent.seconds.max(1.0))
    };
    let state = |wanted| {
        let mut states = queue.states.iter();
        let found = states.find(|(state, _)| *state == wanted);
        grouped(found.map_or(0, |(_, count)| *count))
    };
    let sent = recent.sent_authenticated + recent.sent_encrypted + recent.sent_clear;
    let accepted = recent.accepted_tls + recent.accepted_clear;
    let connections = recent.connections + recent.reused;
    let changes = recent.changes.checked_div(recent.flushes);
    let flush = recent.flush_microseconds.checked_div(recent.flushes);
    vec![
        format!(
            "waiting {} due, {} deferred, {} held, {} corrupt; the oldest {}",
            grouped(queue.due),
            grouped(queue.deferred),
            state(DeliveryState::Hold),
            state(DeliveryState::Corrupt),
            span(queue.oldest_seconds.saturating_mul(1_000))
        ),
        format!(
            "trying  {}, of them {} slowly; {} destinations, {} of mail in memory",
            grouped(queue.in_progress),
            grouped(queue.slow),
            grouped(queue.destinations),
            octets(queue.octets_in_memory)
        ),
        format!(
            "sent    {} authenticated, {} TLS, {} clear; taken in {} TLS",
            share(recent.sent_authenticated, sent),
            share(recent.sent_encrypted, sent),
            share(recent.sent_clear, sent),
            share(recent.accepted_tls, accepted)
        ),
        format!(
            "hosts   {} connections/s, {} reused; DNS {}/s, {} from memory",
            per_second(recent.connections),
            share(recent.reused, connections),
            per_second(recent.dns_lookups),
            share(recent.dns_hits, recent.dns_lookups)
        ),
        format!(
            "spool   {} flushes/s, {} changes each, {}us; {} used, {} free",
            per_second(recent.flushes),
            grouped(changes.unwrap_or_default()),
            grouped(flush.unwrap_or_default()),
            octets(disk.spool_octets),
            octets(disk.free_octets)
        ),
    ]
}

/// The columns of destinations.
const DESTINATION_HEAD: [&str; 6] = ["DESTINATION", "MAIL", "DUE", "TRYING", "EACH", "STATE"];

/// One line of destinations, as wide as it needs be.
fn columns([name, mail, due, trying, each, state]: [&str; 6], width: usize) -> String {
    let name_width = width
        .saturating_sub(NUMBERS_WIDTH)
        .clamp(NAME_MIN, NAME_MAX);
    let name = cut(name, name_width);
    format!("{name:<name_width$} {mail:>8} {due:>7} {trying:>7} {each:>5}  {state}")
}

/// A destination.
fn destination(one: &Destination, now: UnixTime, width: usize, paint: Paint) -> String {
    let closed = closed_until(one, now);
    let trouble = one.trouble.as_deref().unwrap_or_default();
    let state = match closed {
        Some(until) => {
            let left = span(until.since(now).as_secs().saturating_mul(1_000));
            format!("closed for {left}: {trouble}")
        }
        None => trouble.to_owned(),
    };
    let line = columns(
        [
            &one.domain.to_string(),
            &grouped(one.deliveries.into()),
            &grouped(one.due.into()),
            &format!("{}/{}", one.in_progress, one.window),
            &span(one.attempt_milliseconds),
            &state,
        ],
        width,
    );
    // Hosts have a hand in what stands there: no line of theirs becomes two.
    let line = output::visible(&line).replace('\n', " ");
    let line = cut(line.trim_end(), width);
    match closed {
        Some(_) => paint.yellow(&line),
        None => line,
    }
}

/// Until when nothing is tried there, if that is so.
fn closed_until(one: &Destination, now: UnixTime) -> Option<UnixTime> {
    one.closed_until.filter(|until| *until > now)
}

/// Samples that make up what is shown as "now": ten seconds.
const SAMPLES_OF_NOW: usize = 5;

/// Columns that the numbers need, and the least for a state.
const NUMBERS_WIDTH: usize = 33 + 26;

/// The widest column of names; the rest is for what is wrong.
const NAME_MAX: usize = 40;

/// The narrowest column of names.
const NAME_MIN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Disk;
    use crate::control::Done;
    use crate::control::QueueCounts;
    use crate::control::Recent;

    #[test]
    fn a_frame_fits_wherever_it_is_drawn() {
        for width in [1, 20, 80, 200] {
            for height in [10, 24, 60] {
                for order in [Order::MostMail, Order::Slowest] {
                    let lines = frame(&busy(), order, (width, height), plain());
                    assert!(lines.len() <= height.max(13), "{height}: {lines:#?}");
                    for line in lines {
                        assert!(line.chars().count() <= width, "{width}: {line}");
                    }
                }
            }
        }
    }

    #[test]
    fn eighty_columns_hold_what_a_postmaster_needs() {
        let lines = frame(&busy(), Order::MostMail, (80, 24), plain());
        assert_eq!(
            lines,
            [
                "byrnie, 12 clients connected                                2027-01-15T08:00:00Z",
                "in           15.0/s                                                           ▄█",
                "out           2.5/s                                                            █",
                "put off         0/s",
                "queue         1,234                                                           ▆█",
                "waiting 1,000 due, 200 deferred, 2 held, 0 corrupt; the oldest 3h",
                "trying  20, of them 2 slowly; 2 destinations, 1.5 KiB of mail in memory",
                "sent    80 % authenticated, 15 % TLS, 5 % clear; taken in 25 % TLS",
                "hosts   0.5 connections/s, 75 % reused; DNS 10.0/s, 90 % from memory",
                "spool   5.0 flushes/s, 12 changes each, 1,500us; 1 GiB used, 2 GiB free",
                "",
                "DESTINATION               MAIL     DUE  TRYING  EACH  STATE",
                "busy.example             1,000     900   20/20  80ms",
                "silent.example              30       0     0/1   30s  closed for 90s: 451 4.4.1…",
                "q ends, s: slowest destinations first",
            ]
        );
        let lines = frame(&busy(), Order::Slowest, (80, 24), plain());
        assert!(lines[12].starts_with("silent.example "), "{lines:#?}");
    }

    #[test]
    fn what_is_bad_is_said() {
        let mut glance = busy();
        glance.store_failing = true;
        let lines = frame(&glance, Order::MostMail, (80, 24), plain());
        assert!(lines.iter().any(|line| line.contains("CANNOT BE WRITTEN")));
    }

    #[test]
    fn no_host_draws_on_the_terminal() {
        let mut glance = busy();
        glance.destinations[0].trouble = Some(String::from("451 \u{1b}[2J\r\n\u{202e}no"));
        let lines = frame(&glance, Order::MostMail, (200, 24), plain());
        assert!(
            !lines.concat().contains(byrnie_base::is_unprintable),
            "{lines:#?}"
        );
    }

    /// Without colours.
    fn plain() -> Paint {
        Paint::for_nobody()
    }

    /// A gateway that has much to do.
    fn busy() -> Glance {
        let lane = |domain: &str, deliveries| Destination {
            domain: domain.parse().unwrap(),
            deliveries,
            due: 900,
            in_progress: 20,
            window: 20,
            closed_until: None,
            trouble: None,
            attempt_milliseconds: 80,
        };
        let silent = Destination {
            due: 0,
            in_progress: 0,
            window: 1,
            closed_until: Some(UnixTime(1_800_000_090)),
            trouble: Some(String::from("451 4.4.1 no host answers")),
            attempt_milliseconds: 30_000,
            ..lane("silent.example", 30)
        };
        let sample = |accepted, delivered, deliveries| Sample {
            accepted,
            delivered,
            deferred: 0.0,
            deliveries,
        };
        let done = Done {
            accepted_tls: 1,
            accepted_clear: 3,
            sent_authenticated: 80,
            sent_encrypted: 15,
            sent_clear: 5,
            connections: 5,
            reused: 15,
            dns_lookups: 100,
            dns_hits: 90,
            flushes: 50,
            changes: 600,
            flush_microseconds: 75_000,
            ..Done::default()
        };
        Glance {
            at: UnixTime(1_800_000_000),
            loading: false,
            store_failing: false,
            queue: QueueCounts {
                messages: 1_200,
                states: vec![(DeliveryState::Hold, 2)],
                oldest_seconds: 11_000,
                deferred: 200,
                due: 1_000,
                in_progress: 20,
                slow: 2,
                destinations: 2,
                octets_in_memory: 1_536,
            },
            done,
            recent: Recent {
                seconds: 10.0,
                done,
            },
            disk: Disk {
                spool_octets: 1 << 30,
                free_octets: 2 << 30,
            },
            sessions: 12,
            destinations: vec![silent, lane("busy.example", 1_000)],
            active: vec![],
            spots: vec![],
            past: vec![sample(10.0, 0.0, 900), sample(20.0, 5.0, 1_234)],
        }
    }
}
