//! `byrnie report tlsrpt show`: one report of others.

use std::fmt::Write;
use std::process::ExitCode;

use byrnie_store::ReceivedReports;
use byrnie_store::ReportRow;
use byrnie_store::ShownReport;
use byrnie_tlsrpt::PolicyReport;
use byrnie_tlsrpt::reading;
use serde::Serialize;
use serde_json::Value;

use super::days;
use super::or_dash;
use crate::cli::TlsrptShowArgs;
use crate::commands::spool::Spool;
use crate::failure::Failure;
use crate::output;
use crate::runtime;

/// Runs `byrnie report tlsrpt show`.
pub(super) fn run(args: &TlsrptShowArgs) -> Result<ExitCode, Failure> {
    let spool = Spool::look(&args.config)?;
    let number = args.number;
    runtime::block_on(async {
        let shown = spool.store.show_report(number).await;
        let shown = shown.map_err(|error| Failure::store(&error))?;
        let shown = shown.ok_or_else(|| {
            Failure::runtime(format!("no report has the number {number}"))
                .hint("`byrnie report tlsrpt list` prints the numbers")
        })?;
        if args.json {
            output::print_json(&Shown {
                row: &shown.row,
                report: serde_json::from_str(&shown.report).ok(),
            })?;
        } else {
            output::print(output::visible(&text(&shown)))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A report, for machines.
#[derive(Serialize)]
struct Shown<'a> {
    /// As it is listed.
    #[serde(flatten)]
    row: &'a ReportRow,
    /// What it says; `None` if it could not be read.
    report: Option<Value>,
}

/// A report, for people.
fn text(shown: &ShownReport) -> String {
    let row = &shown.row;
    let mut text = format!(
        "report       {} (number {})\nsender       {}\nsubmitter    {}\nabout        {}\ncame         {} by {}\n",
        or_dash(&row.report_id),
        row.id,
        or_dash(&row.organization),
        or_dash(&row.submitter),
        days(row.start_at, row.end_at),
        output::time(row.received_at),
        row.source.as_str(),
    );
    if let Some(reason) = &row.unreadable {
        text.push_str(&format!("unreadable   {reason}\n"));
    }
    for remark in &row.remarks {
        text.push_str(&format!("remark       {remark}\n"));
    }
    for read in reading::read(shown.report.as_bytes(), row.received_at)
        .into_iter()
        .flatten()
    {
        if let Some(contact) = &read.report.contact_info {
            text.push_str(&format!("contact      {contact}\n"));
        }
        for policy in &read.report.policies {
            describe(policy, &mut text);
        }
    }
    text
}

/// Describes a policy and what happened under it.
fn describe(report: &PolicyReport, text: &mut String) {
    let (policy, summary) = (&report.policy, &report.summary);
    // Writing to a string does not fail.
    _ = write!(
        text,
        "\npolicy {} of {}: {} ok, {} failed\n",
        policy.policy_type.as_str(),
        or_dash(&policy.policy_domain),
        summary.total_successful_session_count,
        summary.total_failure_session_count,
    );
    for line in &policy.policy_string {
        _ = writeln!(text, "  | {line}");
    }
    if !policy.mx_host.is_empty() {
        _ = writeln!(text, "  mx: {}", policy.mx_host.join(", "));
    }
    for failure in &report.failure_details {
        let or_dash = |part: Option<String>| part.unwrap_or_else(|| String::from("-"));
        _ = writeln!(
            text,
            "  {:>8} x {} at {} [{}], from [{}]",
            failure.failed_session_count,
            failure.result_type,
            failure.receiving_mx_hostname.as_deref().unwrap_or("-"),
            or_dash(failure.receiving_ip.map(|ip| ip.to_string())),
            or_dash(failure.sending_mta_ip.map(|ip| ip.to_string())),
        );
        let more = [
            ("helo", &failure.receiving_mx_helo),
            ("code", &failure.failure_reason_code),
            ("see", &failure.additional_information),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                _ = writeln!(text, "             {name}: {value}");
            }
        }
    }
}
