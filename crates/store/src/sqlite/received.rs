//! Reports of others in the database.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use byrnie_base::UnixTime;
use byrnie_tlsrpt::Report;
use byrnie_tlsrpt::reading::Reading;
use byrnie_tlsrpt::reading::Remark;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteStore;
use super::count;
use super::failure;
use super::rows::get;
use super::spool::Prepared;
use super::time;
use super::to_json;
use super::writing::Writing;
use crate::Accepted;
use crate::AlertChannel;
use crate::Arrival;
use crate::Kept;
use crate::KeptReports;
use crate::NewFailure;
use crate::NewMessage;
use crate::PendingAlerts;
use crate::ReceivedReports;
use crate::ReportBounds;
use crate::ReportContent;
use crate::ReportRow;
use crate::ReportSource;
use crate::ReportedSessions;
use crate::ShownReport;
use crate::StoreError;

impl ReceivedReports for SqliteStore {
    async fn keep_reports(
        &self,
        arrivals: Vec<Arrival>,
        bounds: ReportBounds,
    ) -> Result<KeptReports, StoreError> {
        let arrivals: Vec<PreparedArrival> = arrivals
            .into_iter()
            .map(PreparedArrival::new)
            .collect::<Result<_, _>>()?;
        self.workers
            .write(move |writing| keep(writing, &arrivals, bounds))
            .await
    }

    async fn drop_reports(&self, before: UnixTime) -> Result<u64, StoreError> {
        let mut dropped = 0;
        loop {
            let gone = self
                .workers
                .write(move |writing| drop_some(writing, before.as_i64()))
                .await?;
            dropped += gone;
            if gone < u64::from(DROPPED_AT_ONCE) {
                return Ok(dropped);
            }
        }
    }

    async fn list_reports(
        &self,
        since: UnixTime,
        limit: u32,
    ) -> Result<Vec<ReportRow>, StoreError> {
        self.workers
            .read(move |db| {
                let sql = format!(
                    "SELECT {ROW} FROM tlsrpt_received r WHERE end_at >= ?1
                     ORDER BY end_at DESC, id DESC LIMIT ?2"
                );
                rows(db, &sql, params![since.as_i64(), limit], report_row)
            })
            .await
    }

    async fn show_report(&self, id: i64) -> Result<Option<ShownReport>, StoreError> {
        self.workers
            .read(move |db| {
                let sql = format!(
                    "SELECT {ROW}, t.report, t.original
                     FROM tlsrpt_received r JOIN tlsrpt_received_texts t ON t.id = r.id
                     WHERE r.id = ?1"
                );
                let shown = rows(db, &sql, params![id], |row| {
                    Ok(ShownReport {
                        row: report_row(row)?,
                        report: get(row, 12)?,
                        original: get(row, 13)?,
                    })
                })?;
                Ok(shown.into_iter().next())
            })
            .await
    }

    async fn reported_sessions(
        &self,
        since: UnixTime,
        limit: u32,
    ) -> Result<Vec<ReportedSessions>, StoreError> {
        self.workers
            .read(move |db| {
                let sql =
                    "SELECT r.organization, s.policy_domain, s.policy_type, s.result_type, s.mx,
                            sum(s.successful), sum(s.failed), count(DISTINCT r.id), max(r.end_at)
                     FROM tlsrpt_received r JOIN tlsrpt_received_results s ON s.report = r.id
                     WHERE r.end_at >= ?1 GROUP BY 1, 2, 3, 4, 5
                     ORDER BY 7 DESC, 6 DESC, 1, 2, 3, 4, 5 LIMIT ?2";
                rows(db, sql, params![since.as_i64(), limit], sessions_row)
            })
            .await
    }

    async fn pending_alerts(
        &self,
        channel: AlertChannel,
        limit: u32,
    ) -> Result<PendingAlerts, StoreError> {
        let column = column(channel);
        self.workers
            .read(move |db| {
                let sql = format!(
                    "SELECT id, at, report, organization, policy_domain, policy_type, result_type, mx,
                            sessions
                     FROM tlsrpt_alerts WHERE {column} = 0 ORDER BY id LIMIT ?1"
                );
                let failures = rows(db, &sql, params![limit], alert_row)?;
                let sql =
                    format!("SELECT count(*), max(id) FROM tlsrpt_alerts WHERE {column} = 0");
                let found = rows(db, &sql, [], |row| {
                    Ok((get::<i64>(row, 0)?, get::<Option<i64>>(row, 1)?))
                })?;
                let (number, last) = found.into_iter().next().unwrap_or_default();
                Ok(PendingAlerts {
                    failures,
                    count: count(number),
                    last: last.unwrap_or_default(),
                })
            })
            .await
    }

    async fn alerts_told(&self, channel: AlertChannel, last: i64) -> Result<(), StoreError> {
        self.workers
            .write(move |writing| mark_told(writing, channel, last))
            .await
    }

    async fn mail_alerts(&self, mail: NewMessage, last: i64) -> Result<Accepted, StoreError> {
        let mail = Prepared::new(mail, &self.delivery_ids)?;
        self.workers
            .write(move |writing| {
                mark_told(writing, AlertChannel::Mail, last)?;
                mail.insert(writing)
            })
            .await
    }
}

/// An arrival, put into rows before the writer's time is taken.
#[derive(Clone, Debug)]
struct PreparedArrival {
    row: ReportRow,
    /// What it says, as JSON.
    report: String,
    original: Vec<u8>,
    digest: Vec<u8>,
    /// Its numbers.
    results: BTreeMap<ResultKey, (u64, u64)>,
}

/// Which sessions numbers are about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ResultKey {
    policy_domain: String,
    policy_type: &'static str,
    /// Empty for all sessions under the policy.
    result_type: String,
    mx: String,
}

impl PreparedArrival {
    /// Puts one into rows.
    fn new(arrival: Arrival) -> Result<Self, StoreError> {
        let at = arrival.received_at;
        match arrival.content {
            ReportContent::Read(reading) => Self::of_report(at, arrival.source, *reading),
            ReportContent::Unreadable { reason, original } => Ok(Self {
                row: ReportRow {
                    id: 0,
                    received_at: at,
                    source: arrival.source,
                    organization: String::new(),
                    report_id: String::new(),
                    submitter: String::new(),
                    start_at: at,
                    end_at: at,
                    successful: 0,
                    failed: 0,
                    remarks: Vec::new(),
                    unreadable: Some(reason),
                },
                report: String::new(),
                digest: sha256(&original),
                original,
                results: BTreeMap::new(),
            }),
        }
    }

    /// Puts a report into rows.
    fn of_report(
        received_at: UnixTime,
        source: ReportSource,
        reading: Reading,
    ) -> Result<Self, StoreError> {
        let report = reading.report;
        let text = to_json(&report)?;
        let results = results(&report);
        let of_policies = || results.iter().filter(|(key, _)| key.result_type.is_empty());
        Ok(Self {
            row: ReportRow {
                id: 0,
                received_at,
                source,
                organization: report.organization_name.unwrap_or_default(),
                report_id: report.report_id,
                submitter: reading.submitter.unwrap_or_default(),
                start_at: report.date_range.start_datetime,
                end_at: report.date_range.end_datetime,
                successful: of_policies().map(|(_, sessions)| sessions.0).sum(),
                failed: of_policies().map(|(_, sessions)| sessions.1).sum(),
                remarks: reading.remarks.iter().map(Remark::to_string).collect(),
                unreadable: None,
            },
            digest: reading.digest,
            report: text,
            original: reading.original,
            results,
        })
    }

    /// Octets that it takes, about.
    fn octets(&self) -> u64 {
        let results = self.results.len().saturating_mul(RESULT_OCTETS);
        let octets = self.report.len() + self.original.len() + results;
        u64::try_from(octets).unwrap_or(u64::MAX)
    }
}

/// The numbers in a report, each kind once.
fn results(report: &Report) -> BTreeMap<ResultKey, (u64, u64)> {
    let mut results: BTreeMap<ResultKey, (u64, u64)> = BTreeMap::new();
    for policy in &report.policies {
        let key = |result_type: &str, mx: Option<&str>| ResultKey {
            policy_domain: policy.policy.policy_domain.clone(),
            policy_type: policy.policy.policy_type.as_str(),
            result_type: result_type.to_owned(),
            mx: mx.unwrap_or_default().to_owned(),
        };
        let sessions = results.entry(key("", None)).or_default();
        sessions.0 += policy.summary.total_successful_session_count;
        sessions.1 += policy.summary.total_failure_session_count;
        for details in &policy.failure_details {
            let name = Some(details.result_type.as_str()).filter(|name| !name.is_empty());
            let mx = details.receiving_mx_hostname.as_deref();
            let sessions = results.entry(key(name.unwrap_or(UNNAMED), mx)).or_default();
            sessions.1 += details.failed_session_count;
        }
    }
    results
}

/// Keeps arrivals, and notes what is new in them.
fn keep(
    writing: &mut Writing,
    arrivals: &[PreparedArrival],
    bounds: ReportBounds,
) -> Result<KeptReports, StoreError> {
    let mut kept = KeptReports::default();
    for arrival in arrivals {
        let became = match known(&writing.db, arrival)? {
            Some(id) => Kept::Known(id),
            None => {
                writing.take_room(arrival.octets())?;
                let id = insert(writing, arrival, bounds)?;
                match &arrival.row.unreadable {
                    Some(reason) => Kept::Unreadable(id, reason.clone()),
                    None => {
                        note_failures(writing, arrival, id, &mut kept.new_failures)?;
                        Kept::New(id)
                    }
                }
            }
        };
        kept.kept.push(became);
    }
    Ok(kept)
}

/// The number under which the same is kept.
fn known(db: &Connection, arrival: &PreparedArrival) -> Result<Option<i64>, StoreError> {
    let (row, digest) = (&arrival.row, &arrival.digest);
    db.prepare_cached(
        "SELECT id FROM tlsrpt_received WHERE organization = ?1 AND report_id = ?2 AND digest = ?3",
    )
    .and_then(|mut statement| {
        statement
            .query_row(params![row.organization, row.report_id, digest], |row| {
                row.get(0)
            })
            .optional()
    })
    .map_err(|error| failure(&error))
}

/// Writes an arrival; gives its number.
fn insert(
    writing: &mut Writing,
    arrival: &PreparedArrival,
    bounds: ReportBounds,
) -> Result<i64, StoreError> {
    make_room(writing, arrival, bounds)?;
    let row = &arrival.row;
    let mut remarks = row.remarks.clone();
    if row.unreadable.is_none() && !row.report_id.is_empty() && has_namesake(&writing.db, row)? {
        remarks.push(Remark::SameName.to_string());
    }
    writing.run(
        "INSERT INTO tlsrpt_received (received_at, source, organization, report_id, submitter,
            start_at, end_at, successful, failed, remarks, unreadable, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            row.received_at.as_i64(),
            source_number(row.source),
            row.organization,
            row.report_id,
            row.submitter,
            row.start_at.as_i64(),
            row.end_at.as_i64(),
            signed(row.successful),
            signed(row.failed),
            to_json(&remarks)?,
            row.unreadable,
            arrival.digest,
        ],
    )?;
    let id = writing.db.last_insert_rowid();
    writing.run(
        "INSERT INTO tlsrpt_received_texts (id, report, original) VALUES (?1, ?2, ?3)",
        params![id, arrival.report, arrival.original],
    )?;
    for (place, (key, (successful, failed))) in (0_i64..).zip(&arrival.results) {
        writing.run(
            "INSERT INTO tlsrpt_received_results (report, place, policy_domain, policy_type,
                result_type, mx, successful, failed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                id,
                place,
                key.policy_domain,
                key.policy_type,
                key.result_type,
                key.mx,
                signed(*successful),
                signed(*failed),
            ],
        )?;
    }
    Ok(id)
}

/// Refuses more reports than there may be, and drops the oldest that could not be read: what anybody can
/// send must not push out what is known.
fn make_room(
    writing: &Writing,
    arrival: &PreparedArrival,
    bounds: ReportBounds,
) -> Result<(), StoreError> {
    let number = |sql: &str| -> Result<u64, StoreError> {
        let found = rows(&writing.db, sql, [], |row| get::<i64>(row, 0))?;
        Ok(count(found.into_iter().next().unwrap_or_default()))
    };
    if arrival.row.unreadable.is_none() {
        let reports = number("SELECT count(*) FROM tlsrpt_received WHERE unreadable IS NULL")?;
        return match reports < bounds.reports_max {
            true => Ok(()),
            false => Err(StoreError::Full),
        };
    }
    let there = number("SELECT count(*) FROM tlsrpt_received WHERE unreadable IS NOT NULL")?;
    let surplus = (there + 1).saturating_sub(bounds.unreadable_max);
    if surplus > 0 {
        let sql =
            "SELECT id FROM tlsrpt_received WHERE unreadable IS NOT NULL ORDER BY id LIMIT ?1";
        remove(writing, sql, signed(surplus))?;
    }
    Ok(())
}

/// Whether another report has the same sender and name.
fn has_namesake(db: &Connection, row: &ReportRow) -> Result<bool, StoreError> {
    db.prepare_cached("SELECT 1 FROM tlsrpt_received WHERE organization = ?1 AND report_id = ?2")
        .and_then(|mut statement| statement.exists(params![row.organization, row.report_id]))
        .map_err(|error| failure(&error))
}

/// Notes the failures that a report tells of, and who is to be told of those that are new.
fn note_failures(
    writing: &Writing,
    arrival: &PreparedArrival,
    report: i64,
    new: &mut Vec<NewFailure>,
) -> Result<(), StoreError> {
    let row = &arrival.row;
    let at = row.received_at;
    let is_news = at.since(row.end_at).as_secs() <= NEWS_SECONDS_MAX;
    for (key, (_, failed)) in &arrival.results {
        if key.result_type.is_empty() {
            continue;
        }
        let noted = writing.run(
            "INSERT OR IGNORE INTO tlsrpt_failures (policy_domain, result_type, mx, last_at)
             VALUES (?1, ?2, ?3, ?4)",
            params![key.policy_domain, key.result_type, key.mx, at.as_i64()],
        )?;
        if noted == 0 {
            writing.run(
                "UPDATE tlsrpt_failures SET last_at = max(last_at, ?4)
                 WHERE policy_domain = ?1 AND result_type = ?2 AND mx = ?3",
                params![key.policy_domain, key.result_type, key.mx, at.as_i64()],
            )?;
            continue;
        }
        if !is_news {
            continue;
        }
        writing.run(
            "INSERT INTO tlsrpt_alerts (at, report, organization, policy_domain, policy_type,
                result_type, mx, sessions, hooked, mailed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0)",
            params![
                at.as_i64(),
                report,
                row.organization,
                key.policy_domain,
                key.policy_type,
                key.result_type,
                key.mx,
                signed(*failed),
            ],
        )?;
        new.push(NewFailure {
            id: writing.db.last_insert_rowid(),
            at,
            report,
            organization: row.organization.clone(),
            policy_domain: key.policy_domain.clone(),
            policy_type: key.policy_type.to_owned(),
            result_type: key.result_type.clone(),
            mx: key.mx.clone(),
            sessions: *failed,
        });
    }
    Ok(())
}

/// Drops some of what came before a time.
fn drop_some(writing: &mut Writing, before: i64) -> Result<u64, StoreError> {
    writing.run("DELETE FROM tlsrpt_failures WHERE last_at < ?1", [before])?;
    writing.run(
        "DELETE FROM tlsrpt_alerts WHERE at < ?1 OR (hooked = 1 AND mailed = 1)",
        [before],
    )?;
    let sql =
        format!("SELECT id FROM tlsrpt_received WHERE received_at < ?1 LIMIT {DROPPED_AT_ONCE}");
    remove(writing, &sql, before)
}

/// Removes the reports whose numbers a query gives, with all that belongs to them.
fn remove(writing: &Writing, query: &str, parameter: i64) -> Result<u64, StoreError> {
    let ids = rows(&writing.db, query, [parameter], |row| get::<i64>(row, 0))?;
    for id in &ids {
        writing.run(
            "DELETE FROM tlsrpt_received_results WHERE report = ?1",
            [id],
        )?;
        writing.run("DELETE FROM tlsrpt_received_texts WHERE id = ?1", [id])?;
        writing.run("DELETE FROM tlsrpt_received WHERE id = ?1", [id])?;
    }
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}

/// Notes that a channel was told.
fn mark_told(writing: &Writing, channel: AlertChannel, last: i64) -> Result<(), StoreError> {
    let column = column(channel);
    let sql = format!("UPDATE tlsrpt_alerts SET {column} = 1 WHERE id <= ?1 AND {column} = 0");
    writing.run(&sql, [last]).map(|_| ())
}

/// Where it stands whether a channel was told.
fn column(channel: AlertChannel) -> &'static str {
    match channel {
        AlertChannel::Webhook => "hooked",
        AlertChannel::Mail => "mailed",
    }
}

/// What a query gives.
fn rows<T>(
    db: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = db.prepare_cached(sql).map_err(|error| failure(&error))?;
    let found = statement
        .query_map(parameters, |row| Ok(read(row)))
        .map_err(|error| failure(&error))?;
    found
        .map(|row| row.map_err(|error| failure(&error)).flatten())
        .collect()
}

/// A report as it is listed, from its row of [`ROW`].
fn report_row(row: &Row<'_>) -> Result<ReportRow, StoreError> {
    let remarks: String = get(row, 10)?;
    Ok(ReportRow {
        id: get(row, 0)?,
        received_at: time(get(row, 1)?),
        source: match get::<i64>(row, 2)? {
            0 => ReportSource::Mail,
            1 => ReportSource::Https,
            2 => ReportSource::Import,
            other => return Err(StoreError::Damaged(format!("source {other} of a report"))),
        },
        organization: get(row, 3)?,
        report_id: get(row, 4)?,
        submitter: get(row, 5)?,
        start_at: time(get(row, 6)?),
        end_at: time(get(row, 7)?),
        successful: count(get(row, 8)?),
        failed: count(get(row, 9)?),
        remarks: serde_json::from_str(&remarks).unwrap_or_default(),
        unreadable: get(row, 11)?,
    })
}

/// Sessions, from their row.
fn sessions_row(row: &Row<'_>) -> Result<ReportedSessions, StoreError> {
    Ok(ReportedSessions {
        organization: get(row, 0)?,
        policy_domain: get(row, 1)?,
        policy_type: get(row, 2)?,
        result_type: get(row, 3)?,
        mx: get(row, 4)?,
        successful: count(get(row, 5)?),
        failed: count(get(row, 6)?),
        reports: count(get(row, 7)?),
        last_at: time(get(row, 8)?),
    })
}

/// A new failure, from its row.
fn alert_row(row: &Row<'_>) -> Result<NewFailure, StoreError> {
    Ok(NewFailure {
        id: get(row, 0)?,
        at: time(get(row, 1)?),
        report: get(row, 2)?,
        organization: get(row, 3)?,
        policy_domain: get(row, 4)?,
        policy_type: get(row, 5)?,
        result_type: get(row, 6)?,
        mx: get(row, 7)?,
        sessions: count(get(row, 8)?),
    })
}

/// How a report came, as a number.
fn source_number(source: ReportSource) -> i64 {
    match source {
        ReportSource::Mail => 0,
        ReportSource::Https => 1,
        ReportSource::Import => 2,
    }
}

/// A count for the database.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The digest by which the same is known again.
fn sha256(octets: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, octets).as_ref().to_vec()
}

/// The columns of a report as it is listed.
const ROW: &str =
    "r.id, r.received_at, r.source, r.organization, r.report_id, r.submitter, r.start_at,
     r.end_at, r.successful, r.failed, r.remarks, r.unreadable";

/// In place of a result type where a report gives none.
const UNNAMED: &str = "unnamed";

/// Octets of the numbers about one kind of sessions, about.
const RESULT_OCTETS: usize = 150;

/// Reports that are dropped in one transaction, for which mail waits.
const DROPPED_AT_ONCE: u32 = 200;

/// How old failures may be for somebody to be told at once: who imports last year's reports knows.
const NEWS_SECONDS_MAX: u64 = 7 * 86_400;
