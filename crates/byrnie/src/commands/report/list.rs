//! `byrnie report tlsrpt list`: the reports of others, line by line.

use std::process::ExitCode;

use byrnie_store::ReceivedReports;
use byrnie_store::ReportRow;

use super::ROWS_MAX;
use super::days;
use super::or_dash;
use super::since;
use crate::cli::TlsrptSinceArgs;
use crate::commands::spool::Spool;
use crate::failure::Failure;
use crate::output;
use crate::runtime;

/// Runs `byrnie report tlsrpt list`.
pub(super) fn run(args: &TlsrptSinceArgs) -> Result<ExitCode, Failure> {
    let spool = Spool::look(&args.config)?;
    let since = since(args.since);
    runtime::block_on(async {
        let rows = spool.store.list_reports(since, ROWS_MAX).await;
        let rows = rows.map_err(|error| Failure::store(&error))?;
        for row in &rows {
            match args.json {
                true => output::print_json(row)?,
                false => output::print(output::visible(&line(row)))?,
            }
        }
        if rows.is_empty() && !args.json {
            let since = output::time(since);
            output::print(format_args!(
                "nobody has reported about the time since {since}\n"
            ))?;
        }
        if u32::try_from(rows.len()).is_ok_and(|number| number >= ROWS_MAX) {
            output::warn(format_args!(
                "only the newest {ROWS_MAX} are listed; ask for less with `--since`"
            ));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// One report in one line, with what is strange about it under it.
pub(super) fn line(row: &ReportRow) -> String {
    let mut line = match &row.unreadable {
        Some(reason) => format!(
            "{:>6}  unreadable  came {} by {}: {reason}\n",
            row.id,
            output::time(row.received_at),
            row.source.as_str(),
        ),
        None => format!(
            "{:>6}  {:<21}  {:<24}  {:>8} ok  {:>8} failed  {:<6}  {}\n",
            row.id,
            days(row.start_at, row.end_at),
            or_dash(&row.organization),
            row.successful,
            row.failed,
            row.source.as_str(),
            or_dash(&row.report_id),
        ),
    };
    for remark in &row.remarks {
        line.push_str(&format!("        remark: {remark}\n"));
    }
    line
}
