//! `byrnie report tlsrpt preview`: what a domain will be told, or was.

use std::process::ExitCode;

use byrnie_store::OutgoingReports;
use byrnie_store::ReportNumber;
use byrnie_tlsrpt::Day;
use byrnie_tlsrpt::PolicyReport;
use byrnie_tlsrpt::Report;

use crate::cli::TlsrptPreviewArgs;
use crate::commands::spool::Spool;
use crate::failure::Failure;
use crate::output;
use crate::reports;
use crate::resolving;
use crate::runtime;

/// Runs `byrnie report tlsrpt preview`.
pub(super) fn run(args: &TlsrptPreviewArgs) -> Result<ExitCode, Failure> {
    let spool = Spool::look(&args.config)?;
    let Some(submitter) = reports::submitter(&spool.file) else {
        return Err(Failure::usage("nobody is told anything: reports are off")
            .hint("set `tlsrpt.contact` to an address whom recipient domains may ask"));
    };
    let today = || Day::of(resolving::clock().now());
    let day = args.day.unwrap_or_else(today);
    runtime::block_on(async {
        let rows = spool.store.results_of(day, &args.domain).await;
        let rows = rows.map_err(|error| Failure::store(&error))?;
        let report = submitter.report(day, &args.domain, ReportNumber(0), rows);
        if args.json {
            output::print_json(&report)?;
        } else {
            output::print(output::visible(&text(args, day, &report)))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A report for people.
fn text(args: &TlsrptPreviewArgs, day: Day, report: &Report) -> String {
    let mut lines = vec![format!("{} on {day}", args.domain)];
    if report.policies.is_empty() {
        lines.push(String::from("  nothing was counted"));
    }
    for policy in &report.policies {
        lines.extend(policy_lines(policy));
    }
    lines.join("\n") + "\n"
}

/// How sessions fared under one policy.
fn policy_lines(told: &PolicyReport) -> Vec<String> {
    let (policy, summary) = (&told.policy, told.summary);
    let mut lines = vec![format!(
        "  {} of {}: {} sessions succeeded, {} failed",
        policy.policy_type.as_str(),
        policy.policy_domain,
        summary.total_successful_session_count,
        summary.total_failure_session_count,
    )];
    let strings = policy.policy_string.iter();
    lines.extend(strings.map(|string| format!("    | {string}")));
    for failure in &told.failure_details {
        let mut line = format!(
            "    {} times {}",
            failure.failed_session_count, failure.result_type
        );
        if let Some(host) = &failure.receiving_mx_hostname {
            line += &format!(" at {host}");
        }
        if let Some(address) = failure.receiving_ip {
            line += &format!(" [{address}]");
        }
        if let Some(reason) = &failure.failure_reason_code {
            line += &format!(": {reason}");
        }
        lines.push(line);
    }
    lines
}
