//! Reports of others in the database.

mod keeping;
mod prepared;
mod room;

use std::sync::Arc;

use byrnie_base::UnixTime;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;

use self::keeping::Step;
use self::keeping::keep;
use self::prepared::PreparedArrival;
pub(super) use self::room::octets_kept;
use super::SqliteStore;
use super::count;
use super::failure;
use super::rows::get;
use super::spool::Prepared;
use super::time;
use super::writing::Writing;
use crate::Accepted;
use crate::AlertChannel;
use crate::Arrival;
use crate::KeptReport;
use crate::NewFailure;
use crate::NewMessage;
use crate::PendingAlerts;
use crate::ReceivedReports;
use crate::ReportBounds;
use crate::ReportRow;
use crate::ReportSource;
use crate::ReportedSessions;
use crate::ShownReport;
use crate::StoreError;

impl ReceivedReports for SqliteStore {
    async fn keep_report(
        &self,
        arrival: Arrival,
        bounds: ReportBounds,
    ) -> Result<KeptReport, StoreError> {
        let arrival = Arc::new(PreparedArrival::new(arrival)?);
        let mut pushed_out = 0;
        loop {
            let arrival = Arc::clone(&arrival);
            let keeping = move |writing: &mut Writing| keep(writing, &arrival, bounds);
            match self.workers.write(keeping).await? {
                Step::RoomIsMade(by) => pushed_out += by,
                Step::Kept(mut kept) => {
                    kept.pushed_out += pushed_out;
                    return Ok(kept);
                }
            }
        }
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
                let sql = format!(
                    "SELECT count(*) + coalesce(sum(more), 0), max(id)
                     FROM tlsrpt_alerts WHERE {column} = 0"
                );
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
            .write(move |writing| mark_told(writing, channel, "id <= ?1", last).map(|_| ()))
            .await
    }

    async fn give_up_alerts(
        &self,
        channel: AlertChannel,
        before: UnixTime,
    ) -> Result<u64, StoreError> {
        let before = before.as_i64();
        self.workers
            .write(move |writing| mark_told(writing, channel, "at < ?1", before))
            .await
    }

    async fn mail_alerts(&self, mail: NewMessage, last: i64) -> Result<Accepted, StoreError> {
        let mail = Prepared::new(mail, &self.delivery_ids)?;
        self.workers
            .write(move |writing| {
                mark_told(writing, AlertChannel::Mail, "id <= ?1", last)?;
                mail.insert(writing)
            })
            .await
    }
}

/// Drops some of what came before a time.
fn drop_some(writing: &mut Writing, before: i64) -> Result<u64, StoreError> {
    writing.run("DELETE FROM tlsrpt_failures WHERE last_at < ?1", [before])?;
    writing.run("DELETE FROM tlsrpt_alerts WHERE at < ?1", [before])?;
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

/// Notes that a channel was told, or need not be, of those that a condition holds for; says of how many.
/// What nobody waits for goes.
fn mark_told(
    writing: &Writing,
    channel: AlertChannel,
    condition: &str,
    parameter: i64,
) -> Result<u64, StoreError> {
    let column = column(channel);
    let sql = format!("UPDATE tlsrpt_alerts SET {column} = 1 WHERE {condition} AND {column} = 0");
    let told = writing.run(&sql, [parameter])?;
    writing.run(
        "DELETE FROM tlsrpt_alerts WHERE hooked = 1 AND mailed = 1",
        [],
    )?;
    Ok(told)
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

/// The columns of a report as it is listed.
const ROW: &str =
    "r.id, r.received_at, r.source, r.organization, r.report_id, r.submitter, r.start_at,
     r.end_at, r.successful, r.failed, r.remarks, r.unreadable";

/// Reports that go in one transaction, for which mail waits.
const DROPPED_AT_ONCE: u32 = 200;
