//! Outgoing TLS reports in the database.

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_tlsrpt::Day;
use rusqlite::Connection;
use rusqlite::Params;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteStore;
use super::count;
use super::failure;
use super::results::drop_results;
use super::results::give_to_report;
use super::results::number;
use super::results::number_of;
use super::results::results;
use super::results::results_in;
use super::rows::get;
use super::rows::parsed;
use super::rows::queue_id;
use super::small;
use super::spool::Prepared;
use super::time;
use super::writing::Writing;
use crate::Accepted;
use crate::NewMessage;
use crate::OutgoingEnd;
use crate::OutgoingReport;
use crate::OutgoingReports;
use crate::OutgoingState;
use crate::REPORT_LIFETIME;
use crate::ReportNumber;
use crate::ResultRow;
use crate::StoreError;

/// The statement that reads outgoing reports.
macro_rules! outgoing {
    ($which:literal) => {
        concat!(
            "SELECT report, destination, day, domain, state, attempts, due_at, expires_at, changed_at,
                queue_id, reason FROM tlsrpt_outgoing ",
            $which
        )
    };
}

impl OutgoingReports for SqliteStore {
    async fn draw_up(
        &self,
        before: Day,
        due: Vec<UnixTime>,
        now: UnixTime,
    ) -> Result<usize, StoreError> {
        self.workers
            .write(move |writing| draw_up(writing, before, &due, now))
            .await
    }

    async fn due_reports(
        &self,
        now: UnixTime,
        latest: UnixTime,
        limit: u32,
    ) -> Result<Vec<OutgoingReport>, StoreError> {
        self.workers
            .read(move |db| {
                let sql = outgoing!("WHERE state = 0 AND due_at <= ?1 ORDER BY due_at LIMIT ?2");
                let mut due = outgoing_in(db, sql, params![now.as_i64(), limit])?;
                let sql = outgoing!("WHERE state = 0 AND due_at > ?1 ORDER BY due_at LIMIT ?2");
                due.extend(outgoing_in(db, sql, params![latest.as_i64(), limit])?);
                Ok(due)
            })
            .await
    }

    async fn report_results(&self, report: ReportNumber) -> Result<Vec<ResultRow>, StoreError> {
        let report = number_of(report.0);
        let sql = results!("report = ?1");
        self.workers
            .read(move |db| results_in(db, sql, [report]))
            .await
    }

    async fn results_of(
        &self,
        day: Day,
        domain: &DomainName,
    ) -> Result<Vec<ResultRow>, StoreError> {
        let domain = domain.clone();
        let sql = results!(
            "day = ?1 AND domain = ?2 AND report IN
                (SELECT 0 UNION SELECT report FROM tlsrpt_outgoing WHERE day = ?1 AND domain = ?2)"
        );
        self.workers
            .read(move |db| results_in(db, sql, params![day.0, domain.as_str()]))
            .await
    }

    async fn address(
        &self,
        report: ReportNumber,
        destinations: Vec<String>,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let report = number_of(report.0);
        self.workers
            .write(move |writing| address(writing, report, &destinations, now))
            .await
    }

    async fn hand_over(
        &self,
        outgoing: &OutgoingReport,
        message: NewMessage,
        now: UnixTime,
    ) -> Result<Option<Accepted>, StoreError> {
        let step = Step::of(outgoing);
        let message = Prepared::new(message, &self.delivery_ids)?;
        self.workers
            .write(move |writing| hand_over(writing, &step, &message, now))
            .await
    }

    async fn attempted(
        &self,
        outgoing: &OutgoingReport,
        end: OutgoingEnd,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let (step, attempts) = (Step::of(outgoing), outgoing.attempts.saturating_add(1));
        let (due_at, expires_at) = (outgoing.due_at, outgoing.expires_at);
        self.workers
            .write(move |writing| {
                let (state, due_at, expires_at, reason) = match &end {
                    OutgoingEnd::Sent => (SENT, due_at, expires_at, None),
                    OutgoingEnd::Later {
                        due_at,
                        expires_at,
                        reason,
                    } => (WAITING, *due_at, *expires_at, Some(reason)),
                    OutgoingEnd::GivenUp { reason } => (GIVEN_UP, due_at, expires_at, Some(reason)),
                };
                writing
                    .run(
                        "UPDATE tlsrpt_outgoing SET state = ?3, due_at = ?4, reason = ?5,
                            attempts = ?6, changed_at = ?7, expires_at = ?8
                         WHERE report = ?1 AND destination = ?2 AND state = 0",
                        params![
                            step.report,
                            step.destination,
                            state,
                            due_at.as_i64(),
                            reason,
                            attempts,
                            now.as_i64(),
                            expires_at.as_i64(),
                        ],
                    )
                    .map(|_| ())
            })
            .await
    }

    async fn outgoing_reports(&self, limit: u32) -> Result<Vec<OutgoingReport>, StoreError> {
        let sql = outgoing!("ORDER BY changed_at DESC, report, destination LIMIT ?1");
        self.workers
            .read(move |db| outgoing_in(db, sql, [limit]))
            .await
    }

    async fn waiting_reports(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM tlsrpt_outgoing WHERE state = 0";
        self.workers.read(|db| number(db, sql, [])).await
    }

    async fn forget_reports(&self, before: UnixTime, limit: u32) -> Result<u64, StoreError> {
        self.workers
            .write(move |writing| forget(writing, before, limit))
            .await
    }
}

/// Draws up one report for each domain and day.
fn draw_up(
    writing: &mut Writing,
    before: Day,
    due: &[UnixTime],
    now: UnixTime,
) -> Result<usize, StoreError> {
    let limit = i64::try_from(due.len()).unwrap_or(i64::MAX);
    let mut statement = writing
        .db
        .prepare_cached(
            "SELECT DISTINCT day, domain FROM tlsrpt_results
             WHERE report = 0 AND (day < ?1 OR day > ?1 + 1) ORDER BY day, domain LIMIT ?2",
        )
        .map_err(|error| failure(&error))?;
    let pairs = statement
        .query_map(params![before.0, limit], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .and_then(Iterator::collect::<Result<Vec<(i64, String)>, _>>)
        .map_err(|error| failure(&error))?;
    let last: i64 = writing
        .db
        .query_row(
            "SELECT max(ifnull((SELECT max(report) FROM tlsrpt_outgoing), 0),
                        ifnull((SELECT max(report) FROM tlsrpt_results), 0))",
            [],
            |row| row.get(0),
        )
        .map_err(|error| failure(&error))?;
    for (report, ((day, domain), due_at)) in (last + 1..).zip(pairs.iter().zip(due)) {
        give_to_report(writing, report, *day, domain)?;
        let expires_at = *due_at + REPORT_LIFETIME;
        writing.run(
            "INSERT INTO tlsrpt_outgoing (report, destination, day, domain, state, attempts, due_at,
                expires_at, changed_at)
             VALUES (?1, '', ?2, ?3, 0, 0, ?4, ?5, ?6)",
            params![
                report,
                day,
                domain,
                due_at.as_i64(),
                expires_at.as_i64(),
                now.as_i64()
            ],
        )?;
    }
    Ok(pairs.len())
}

/// Puts one step for each destination in the place of that of finding them out.
fn address(
    writing: &mut Writing,
    report: i64,
    destinations: &[String],
    now: UnixTime,
) -> Result<(), StoreError> {
    for destination in destinations {
        writing.run(
            "INSERT INTO tlsrpt_outgoing (report, destination, day, domain, state, attempts, due_at,
                expires_at, changed_at)
             SELECT report, ?2, day, domain, 0, 0, ?3, expires_at, ?3 FROM tlsrpt_outgoing
             WHERE report = ?1 AND destination = '' AND state = 0",
            params![report, destination, now.as_i64()],
        )?;
    }
    let found = writing.run(
        "DELETE FROM tlsrpt_outgoing WHERE report = ?1 AND destination = '' AND state = 0",
        [report],
    )?;
    match found > 0 && destinations.is_empty() {
        true => drop_results(writing, report),
        false => Ok(()),
    }
}

/// Makes a message durable, and the step done that it is.
fn hand_over(
    writing: &mut Writing,
    step: &Step,
    message: &Prepared,
    now: UnixTime,
) -> Result<Option<Accepted>, StoreError> {
    let id = message.message.id().to_i64();
    let is_waiting = writing.run(
        "UPDATE tlsrpt_outgoing SET state = 1, queue_id = ?3, attempts = attempts + 1, changed_at = ?4,
            reason = NULL
         WHERE report = ?1 AND destination = ?2 AND state = 0",
        params![step.report, step.destination, id, now.as_i64()],
    )?;
    if is_waiting == 0 {
        return message.existing(writing);
    }
    writing.take_room(message.message.size())?;
    message.insert(writing).map(Some)
}

/// Drops steps that are done, and what reports say of which no step is left.
fn forget(writing: &mut Writing, before: UnixTime, limit: u32) -> Result<u64, StoreError> {
    let mut statement = writing
        .db
        .prepare_cached(
            "SELECT report, destination FROM tlsrpt_outgoing
             WHERE changed_at < ?1 AND state != 0 ORDER BY changed_at LIMIT ?2",
        )
        .map_err(|error| failure(&error))?;
    let old = statement
        .query_map(params![before.as_i64(), limit], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .and_then(Iterator::collect::<Result<Vec<(i64, String)>, _>>)
        .map_err(|error| failure(&error))?;
    for (report, destination) in &old {
        writing.run(
            "DELETE FROM tlsrpt_outgoing WHERE report = ?1 AND destination = ?2",
            params![report, destination],
        )?;
        let sql = "SELECT count(*) FROM tlsrpt_outgoing WHERE report = ?1";
        if number(&writing.db, sql, [report])? == 0 {
            drop_results(writing, *report)?;
        }
    }
    Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
}

/// Which step.
struct Step {
    report: i64,
    destination: String,
}

impl Step {
    /// That of an outgoing report.
    fn of(outgoing: &OutgoingReport) -> Self {
        Self {
            report: number_of(outgoing.report.0),
            destination: outgoing.destination.clone().unwrap_or_default(),
        }
    }
}

/// Outgoing reports.
fn outgoing_in(
    db: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<Vec<OutgoingReport>, StoreError> {
    let mut statement = db.prepare_cached(sql).map_err(|error| failure(&error))?;
    let rows = statement
        .query_map(parameters, |row| Ok(outgoing_from(row)))
        .map_err(|error| failure(&error))?;
    rows.map(|row| row.map_err(|error| failure(&error)).flatten())
        .collect()
}

/// An outgoing report from its row.
fn outgoing_from(row: &Row<'_>) -> Result<OutgoingReport, StoreError> {
    let (destination, domain): (String, String) = (get(row, 1)?, get(row, 3)?);
    let id: Option<i64> = get(row, 9)?;
    Ok(OutgoingReport {
        report: ReportNumber(count(get(row, 0)?)),
        destination: Some(destination).filter(|uri| !uri.is_empty()),
        day: Day(small(get(row, 2)?)),
        domain: parsed(&domain, "domain")?,
        state: match get::<i64>(row, 4)? {
            WAITING => OutgoingState::Waiting,
            SENT => OutgoingState::Sent,
            GIVEN_UP => OutgoingState::GivenUp,
            other => return Err(StoreError::Damaged(format!("state {other} of a report"))),
        },
        attempts: small(get(row, 5)?),
        due_at: time(get(row, 6)?),
        expires_at: time(get(row, 7)?),
        changed_at: time(get(row, 8)?),
        queue_id: id.map(queue_id).transpose()?,
        reason: get(row, 10)?,
    })
}

/// [`OutgoingState::Waiting`].
const WAITING: i64 = 0;

/// [`OutgoingState::Sent`].
const SENT: i64 = 1;

/// [`OutgoingState::GivenUp`].
const GIVEN_UP: i64 = 2;
