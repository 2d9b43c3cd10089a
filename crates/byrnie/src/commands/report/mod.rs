//! `byrnie report`: TLS reports (RFC 8460): those of others taken in from files, and both kinds looked at.

mod import;
mod list;
mod outgoing;
mod preview;
mod show;
mod summary;

use std::process::ExitCode;

use byrnie_base::UnixTime;

use crate::cli::ReportCommand;
use crate::cli::TlsrptCommand;
use crate::config::Span;
use crate::failure::Failure;
use crate::output;
use crate::resolving;

/// Runs `byrnie report`.
pub(crate) fn run(command: &ReportCommand) -> Result<ExitCode, Failure> {
    match command {
        ReportCommand::Import(args) => import::run(args),
        ReportCommand::Tlsrpt(TlsrptCommand::List(args)) => list::run(args),
        ReportCommand::Tlsrpt(TlsrptCommand::Show(args)) => show::run(args),
        ReportCommand::Tlsrpt(TlsrptCommand::Summary(args)) => summary::run(args),
        ReportCommand::Tlsrpt(TlsrptCommand::Preview(args)) => preview::run(args),
        ReportCommand::Tlsrpt(TlsrptCommand::Outgoing(args)) => outgoing::run(args),
    }
}

/// When the time began that somebody wants to know about.
fn since(age: Span) -> UnixTime {
    let now = resolving::clock().now();
    UnixTime(now.0.saturating_sub(age.0.as_secs()))
}

/// A day, or a range of days, of UTC.
fn days(start: UnixTime, end: UnixTime) -> String {
    let day = |at: UnixTime| output::time(at).chars().take(DAY_CHARS).collect::<String>();
    // Some let a day end with the first second of the next.
    let end = UnixTime(end.0.saturating_sub(1).max(start.0));
    let (first, last) = (day(start), day(end));
    match first == last {
        true => first,
        false => format!("{first}/{last}"),
    }
}

/// A name that may be missing.
fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// How many characters of a time in RFC 3339's form are its day.
const DAY_CHARS: usize = 10;

/// How many rows are looked at; more are told of.
const ROWS_MAX: u32 = 10_000;
