//! `byrnie report tlsrpt outgoing`: what became of reports to others.

use std::process::ExitCode;

use byrnie_store::OutgoingReport;
use byrnie_store::OutgoingReports;
use byrnie_store::OutgoingState;

use crate::cli::TlsrptOutgoingArgs;
use crate::commands::spool::Spool;
use crate::failure::Failure;
use crate::output;
use crate::runtime;

/// Runs `byrnie report tlsrpt outgoing`.
pub(super) fn run(args: &TlsrptOutgoingArgs) -> Result<ExitCode, Failure> {
    let spool = Spool::look(&args.config)?;
    runtime::block_on(async {
        let kept = spool.store.outgoing_reports(args.limit).await;
        let kept = kept.map_err(|error| Failure::store(&error))?;
        for one in &kept {
            if args.json {
                output::print_json(one)?;
            } else {
                output::print(output::visible(&line(one)))?;
            }
        }
        if kept.is_empty() && !args.json {
            output::print(
                "no report waits, was sent or given up; the first is due when a day is over\n",
            )?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A report at one destination, for people.
fn line(one: &OutgoingReport) -> String {
    let destination = one.destination.as_deref().unwrap_or("_smtp._tls");
    let what = match (one.state, one.queue_id) {
        (OutgoingState::Waiting, _) if one.attempts == 0 => {
            format!("waits until {}", output::time(one.due_at))
        }
        (OutgoingState::Waiting, _) => format!(
            "waits until {} after {} attempts",
            output::time(one.due_at),
            one.attempts
        ),
        (OutgoingState::Sent, Some(id)) => {
            format!("sent {}, as {id}", output::time(one.changed_at))
        }
        (OutgoingState::Sent, None) => format!("sent {}", output::time(one.changed_at)),
        (OutgoingState::GivenUp, _) => format!(
            "given up {} after {} attempts",
            output::time(one.changed_at),
            one.attempts
        ),
    };
    let why = one.reason.as_ref();
    let why = why.map_or(String::new(), |reason| format!(": {reason}"));
    format!("{} {} to {destination}: {what}{why}\n", one.day, one.domain)
}
