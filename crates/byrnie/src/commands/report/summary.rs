//! `byrnie report tlsrpt summary`: what others report, added up.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::process::ExitCode;

use byrnie_base::UnixTime;
use byrnie_store::ReceivedReports;
use byrnie_store::ReportRow;
use byrnie_store::ReportedSessions;
use serde::Serialize;

use super::ROWS_MAX;
use super::or_dash;
use super::since;
use crate::cli::TlsrptSinceArgs;
use crate::commands::spool::Spool;
use crate::failure::Failure;
use crate::output;
use crate::output::Paint;
use crate::runtime;

/// Runs `byrnie report tlsrpt summary`.
pub(super) fn run(args: &TlsrptSinceArgs) -> Result<ExitCode, Failure> {
    let spool = Spool::look(&args.config)?;
    let since = since(args.since);
    runtime::block_on(async {
        let reports = spool.store.list_reports(since, ROWS_MAX).await;
        let reports = reports.map_err(|error| Failure::store(&error))?;
        let sessions = spool.store.reported_sessions(since, ROWS_MAX).await;
        let sessions = sessions.map_err(|error| Failure::store(&error))?;
        let is_cut = |rows: usize| u32::try_from(rows).is_ok_and(|rows| rows >= ROWS_MAX);
        let summary = Summary::new(since, &reports, &sessions);
        match args.json {
            true => output::print_json(&summary)?,
            false => {
                let text = summary.text(Paint::for_stdout());
                output::print(text)?;
            }
        }
        if is_cut(reports.len()) || is_cut(sessions.len()) {
            output::warn("there is more than can be added up; ask for less with `--since`");
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What others report, added up.
#[derive(Debug, Serialize)]
struct Summary {
    /// About the time since then.
    since: UnixTime,
    /// In how many reports.
    reports: u64,
    /// How much came and could not be read.
    unreadable: u64,
    /// All sessions.
    #[serde(flatten)]
    sessions: Sessions,
    /// By who reports, those with most failures first.
    organizations: Vec<Organization>,
    /// By policy, those with most failures first.
    policies: Vec<Policy>,
    /// By kind of failure and host, the most frequent first.
    failures: Vec<FailureKind>,
}

/// How many sessions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
struct Sessions {
    /// Those that succeeded.
    successful: u64,
    /// Those that failed.
    failed: u64,
}

impl Sessions {
    /// With so many more.
    fn add(&mut self, successful: u64, failed: u64) {
        self.successful = self.successful.saturating_add(successful);
        self.failed = self.failed.saturating_add(failed);
    }

    /// All of them.
    fn all(self) -> u64 {
        self.successful.saturating_add(self.failed)
    }

    /// The share of those that succeeded, in tenths of a percent, rounded down: 1,000 means none failed.
    fn permille(self) -> u64 {
        let share = u128::from(self.successful) * 1_000;
        let share = share.checked_div(u128::from(self.all())).unwrap_or(1_000);
        u64::try_from(share).unwrap_or(1_000)
    }
}

/// What one organization reports.
#[derive(Debug, Serialize)]
struct Organization {
    organization: String,
    reports: u64,
    #[serde(flatten)]
    sessions: Sessions,
}

/// What is reported about one policy.
#[derive(Debug, Serialize)]
struct Policy {
    policy_domain: String,
    policy_type: String,
    #[serde(flatten)]
    sessions: Sessions,
}

/// What is reported about one kind of failure at one host.
#[derive(Debug, Serialize)]
struct FailureKind {
    result_type: String,
    policy_domain: String,
    policy_type: String,
    /// Empty if nobody says.
    mx: String,
    failed: u64,
    /// Who reports it.
    organizations: BTreeSet<String>,
}

impl Summary {
    /// Adds up.
    fn new(since: UnixTime, reports: &[ReportRow], rows: &[ReportedSessions]) -> Self {
        let mut summary = Self {
            since,
            reports: 0,
            unreadable: 0,
            sessions: Sessions::default(),
            organizations: organizations(reports),
            policies: policies(rows),
            failures: failures(rows),
        };
        for report in reports {
            match report.unreadable {
                Some(_) => summary.unreadable += 1,
                None => summary.reports += 1,
            }
            summary.sessions.add(report.successful, report.failed);
        }
        summary
    }

    /// For people.
    fn text(&self, paint: Paint) -> String {
        let all = self.sessions.all();
        let mut text = format!(
            "TLS reports since {}: {} from {}, {all} sessions, {} failed",
            output::time(self.since),
            counted(self.reports, "report"),
            counted(as_u64(self.organizations.len()), "organization"),
            self.sessions.failed,
        );
        if self.unreadable > 0 {
            text.push_str(&format!(
                "; {} unreadable (`byrnie report tlsrpt list` says why)",
                self.unreadable
            ));
        }
        text.push('\n');
        let organizations = self.organizations.iter().map(|it| {
            let reports = counted(it.reports, "report");
            (vec![shown(&it.organization), reports], it.sessions)
        });
        shares("By organization", organizations, &mut text, paint);
        let policies = self.policies.iter().map(|it| {
            let names = vec![shown(&it.policy_domain), it.policy_type.clone()];
            (names, it.sessions)
        });
        shares("By policy", policies, &mut text, paint);
        self.failures(&mut text, paint);
        text
    }

    /// The failures, for people.
    fn failures(&self, text: &mut String, paint: Paint) {
        let most = self.failures.iter().map(|it| it.failed).max();
        let Some(most) = most else { return };
        text.push_str(&format!("\n{}\n", paint.bold("By failure and host")));
        let rows: Vec<Vec<String>> = self
            .failures
            .iter()
            .map(|it| {
                let mx = match it.mx.as_str() {
                    "" => String::from("(no host named)"),
                    mx => shown(mx),
                };
                let policy = format!("{} {}", it.policy_type, shown(&it.policy_domain));
                vec![shown(&it.result_type), mx, policy]
            })
            .collect();
        for (names, it) in aligned(&rows).zip(&self.failures) {
            let bar = bar(it.failed, most.max(1));
            let who: Vec<String> = it.organizations.iter().map(|it| shown(it)).collect();
            let bar = paint.red(&bar);
            text.push_str(&format!(
                "  {names}  {bar} {:>9}  {}\n",
                it.failed,
                who.join(", ")
            ));
        }
    }
}

/// Adds up by organization.
fn organizations(reports: &[ReportRow]) -> Vec<Organization> {
    let mut by_name: BTreeMap<&str, (u64, Sessions)> = BTreeMap::new();
    for report in reports.iter().filter(|report| report.unreadable.is_none()) {
        let (count, sessions) = by_name.entry(&report.organization).or_default();
        *count += 1;
        sessions.add(report.successful, report.failed);
    }
    let organizations = by_name
        .into_iter()
        .map(|(name, (reports, sessions))| Organization {
            organization: name.to_owned(),
            reports,
            sessions,
        });
    let mut organizations: Vec<Organization> = organizations.collect();
    organizations.sort_by_key(|it| std::cmp::Reverse((it.sessions.failed, it.sessions.all())));
    organizations
}

/// Adds up by policy.
fn policies(rows: &[ReportedSessions]) -> Vec<Policy> {
    let mut by_name: BTreeMap<(&str, &str), Sessions> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.result_type.is_empty()) {
        let sessions = by_name
            .entry((&row.policy_domain, &row.policy_type))
            .or_default();
        sessions.add(row.successful, row.failed);
    }
    let policies = by_name
        .into_iter()
        .map(|((domain, kind), sessions)| Policy {
            policy_domain: domain.to_owned(),
            policy_type: kind.to_owned(),
            sessions,
        });
    let mut policies: Vec<Policy> = policies.collect();
    policies.sort_by_key(|it| std::cmp::Reverse((it.sessions.failed, it.sessions.all())));
    policies
}

/// Adds up by kind of failure and host.
fn failures(rows: &[ReportedSessions]) -> Vec<FailureKind> {
    let mut by_name: BTreeMap<[&str; 4], (u64, BTreeSet<String>)> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.result_type.is_empty()) {
        let name = [
            &row.result_type,
            &row.policy_domain,
            &row.policy_type,
            &row.mx,
        ];
        let (failed, who) = by_name.entry(name.map(String::as_str)).or_default();
        *failed = failed.saturating_add(row.failed);
        who.insert(row.organization.clone());
    }
    let failures = by_name.into_iter().map(|(name, (failed, organizations))| {
        let [result_type, policy_domain, policy_type, mx] = name.map(String::from);
        FailureKind {
            result_type,
            policy_domain,
            policy_type,
            mx,
            failed,
            organizations,
        }
    });
    let mut failures: Vec<FailureKind> = failures.collect();
    failures.sort_by_key(|it| std::cmp::Reverse(it.failed));
    failures
}

/// A part of the table: names, numbers, and a bar for the share of sessions that succeeded.
fn shares(
    title: &str,
    entries: impl Iterator<Item = (Vec<String>, Sessions)>,
    text: &mut String,
    paint: Paint,
) {
    let (rows, sessions): (Vec<Vec<String>>, Vec<Sessions>) = entries.unzip();
    if rows.is_empty() {
        return;
    }
    text.push_str(&format!("\n{}\n", paint.bold(title)));
    for (names, sessions) in aligned(&rows).zip(sessions) {
        let permille = sessions.permille();
        let bar = bar(permille, 1_000);
        let bar = match sessions.failed {
            0 => paint.green(&bar),
            _ => paint.yellow(&bar),
        };
        text.push_str(&format!(
            "  {names}  {:>9} ok {:>9} failed  {bar} {:>3}.{} %\n",
            sessions.successful,
            sessions.failed,
            permille / 10,
            permille % 10,
        ));
    }
}

/// Rows of columns that are as wide as their widest entry.
fn aligned(rows: &[Vec<String>]) -> impl Iterator<Item = String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let entries = rows.iter().filter_map(|row| row.get(column));
        entries
            .map(|entry| entry.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter().map(move |row| {
        let padded = row.iter().zip(&widths);
        let padded: Vec<String> = padded
            .map(|(entry, width)| format!("{entry:<width$}"))
            .collect();
        padded.join("  ")
    })
}

/// A bar for a share.
fn bar(part: u64, whole: u64) -> String {
    let filled = u128::from(part) * u128::from(BAR_CHARS) / u128::from(whole.max(1));
    let filled = usize::try_from(filled).unwrap_or(usize::MAX);
    // What is there at all is seen.
    let filled = if part > 0 { filled.max(1) } else { 0 };
    let width = usize::from(BAR_CHARS);
    let filled = filled.min(width);
    format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
}

/// A name that strangers gave, as far as it fits into a line.
fn shown(name: &str) -> String {
    let visible = output::visible(&name.replace('\n', " "));
    let mut kept: String = visible.chars().take(NAME_CHARS_MAX).collect();
    if kept.len() < visible.len() {
        kept.push('…');
    }
    String::from(or_dash(&kept))
}

/// A number with its noun.
fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// A length.
fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// How wide a bar is.
const BAR_CHARS: u8 = 20;

/// Where a name is cut.
const NAME_CHARS_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use byrnie_store::ReportSource;

    use super::*;

    #[test]
    fn what_others_report_is_added_up() {
        let reports = [
            report("Google", 90, 10),
            report("Google", 100, 0),
            report("Y\u{1b}", 5, 0),
        ];
        let rows = [
            sessions("Google", "", "", (190, 10)),
            sessions("Google", "tlsa-invalid", "mx.a.example", (0, 7)),
            sessions("Google", "certificate-expired", "", (0, 3)),
            sessions("Y\u{1b}", "", "", (5, 0)),
            sessions("Y\u{1b}", "tlsa-invalid", "mx.a.example", (0, 1)),
        ];
        let summary = Summary::new(UnixTime(1_775_001_600), &reports, &rows);
        assert_eq!(
            summary.text(Paint::for_nobody()),
            "TLS reports since 2026-04-01T00:00:00Z: 3 reports from 2 organizations, 205 sessions, 10 failed\n\
             \n\
             By organization\n\
             \x20 Google  2 reports        190 ok        10 failed  ███████████████████░  95.0 %\n\
             \x20 Y�      1 report           5 ok         0 failed  ████████████████████ 100.0 %\n\
             \n\
             By policy\n\
             \x20 a.example  tlsa        195 ok        10 failed  ███████████████████░  95.1 %\n\
             \n\
             By failure and host\n\
             \x20 tlsa-invalid         mx.a.example     tlsa a.example  ████████████████████         8  Google, Y�\n\
             \x20 certificate-expired  (no host named)  tlsa a.example  ███████░░░░░░░░░░░░░         3  Google\n"
        );
    }

    #[test]
    fn nothing_is_added_up_to_nothing() {
        let summary = Summary::new(UnixTime(0), &[], &[]);
        assert_eq!(
            summary.text(Paint::for_nobody()),
            "TLS reports since 1970-01-01T00:00:00Z: 0 reports from 0 organizations, 0 sessions, 0 failed\n"
        );
    }

    #[test]
    fn a_bar_shows_what_is_there_and_never_more() {
        #[track_caller]
        fn check(part: u64, whole: u64, filled: usize) {
            let bar = bar(part, whole);
            assert_eq!(bar.chars().filter(|c| *c == '█').count(), filled);
            assert_eq!(bar.chars().count(), 20);
        }
        check(0, 0, 0);
        check(1, u64::MAX, 1);
        check(u64::MAX, u64::MAX, 20);
        check(u64::MAX, 1, 20);
        check(999, 1_000, 19);
    }

    fn report(organization: &str, successful: u64, failed: u64) -> ReportRow {
        ReportRow {
            id: 1,
            received_at: UnixTime(0),
            source: ReportSource::Mail,
            organization: organization.to_owned(),
            report_id: String::new(),
            submitter: String::new(),
            start_at: UnixTime(0),
            end_at: UnixTime(0),
            successful,
            failed,
            remarks: Vec::new(),
            unreadable: None,
        }
    }

    fn sessions(
        organization: &str,
        result_type: &str,
        mx: &str,
        (successful, failed): (u64, u64),
    ) -> ReportedSessions {
        ReportedSessions {
            organization: organization.to_owned(),
            policy_domain: String::from("a.example"),
            policy_type: String::from("tlsa"),
            result_type: result_type.to_owned(),
            mx: mx.to_owned(),
            successful,
            failed,
            reports: 1,
            last_at: UnixTime(0),
        }
    }
}
