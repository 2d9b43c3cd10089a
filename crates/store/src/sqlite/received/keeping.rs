//! Keeping what came, and noting what is new in it.

use byrnie_tlsrpt::reading::Remark;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use super::super::failure;
use super::super::to_json;
use super::super::writing::Writing;
use super::prepared::PreparedArrival;
use super::prepared::Sessions;
use super::room::Amounts;
use super::room::Room;
use super::room::holder;
use super::room::make_room;
use super::signed;
use super::source_number;
use crate::Kept;
use crate::KeptReport;
use crate::NewFailure;
use crate::ReportBounds;
use crate::ReportRow;
use crate::StoreError;

/// What one transaction has done for an arrival.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// It is kept.
    Kept(KeptReport),
    /// So many others have made room, which does not suffice yet.
    RoomIsMade(u64),
}

/// Keeps an arrival, and notes what is new in it.
pub(super) fn keep(
    writing: &Writing,
    arrival: &PreparedArrival,
    bounds: ReportBounds,
) -> Result<Step, StoreError> {
    let reason = arrival.row.unreadable.as_ref();
    let unreadable = |id| reason.map(|reason| Kept::Unreadable(id, reason.clone()));
    let kept = |became, pushed_out| KeptReport {
        became,
        new_failures: Vec::new(),
        more_failures: 0,
        pushed_out,
    };
    if let Some(id) = known(&writing.db, arrival)? {
        // What nobody can read is not known, however often it comes.
        let became = unreadable(id).unwrap_or(Kept::Known(id));
        return Ok(Step::Kept(kept(became, 0)));
    }
    let pushed_out = match make_room(writing, arrival, bounds)? {
        Room::NotYet { pushed_out } => return Ok(Step::RoomIsMade(pushed_out)),
        Room::There { pushed_out } => pushed_out,
    };
    let id = insert(writing, arrival)?;
    let mut kept = kept(unreadable(id).unwrap_or(Kept::New(id)), pushed_out);
    note_failures(writing, arrival, id, bounds, &mut kept)?;
    Ok(Step::Kept(kept))
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
fn insert(writing: &Writing, arrival: &PreparedArrival) -> Result<i64, StoreError> {
    let row = &arrival.row;
    let mut remarks = row.remarks.clone();
    if row.unreadable.is_none() && !row.report_id.is_empty() && has_namesake(&writing.db, row)? {
        remarks.push(Remark::SameName.to_string());
    }
    writing.run(
        "INSERT INTO tlsrpt_received (received_at, source, organization, report_id, submitter,
            start_at, end_at, successful, failed, remarks, unreadable, digest, holder, octets)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
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
            holder(&writing.db, arrival)?,
            signed(arrival.octets()),
        ],
    )?;
    let id = writing.db.last_insert_rowid();
    writing.run(
        "INSERT INTO tlsrpt_received_texts (id, report, original) VALUES (?1, ?2, ?3)",
        params![id, arrival.report, arrival.original],
    )?;
    for (place, sessions) in (0_i64..).zip(&arrival.results) {
        let key = &sessions.key;
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
                signed(sessions.successful),
                signed(sessions.failed),
            ],
        )?;
    }
    Ok(id)
}

/// Whether another report has the same sender and name.
fn has_namesake(db: &Connection, row: &ReportRow) -> Result<bool, StoreError> {
    db.prepare_cached("SELECT 1 FROM tlsrpt_received WHERE organization = ?1 AND report_id = ?2")
        .and_then(|mut statement| statement.exists(params![row.organization, row.report_id]))
        .map_err(|error| failure(&error))
}

/// Notes the failures that a report tells of, and who is to be told of those that are new.
///
/// What nobody is told of is not noted, and so is new in the next report: neither an old report nor one with
/// very many failures silences another.
fn note_failures(
    writing: &Writing,
    arrival: &PreparedArrival,
    report: i64,
    bounds: ReportBounds,
    kept: &mut KeptReport,
) -> Result<(), StoreError> {
    let row = &arrival.row;
    if row.received_at.since(row.end_at).as_secs() > NEWS_SECONDS_MAX {
        return Ok(());
    }
    let alerts = Amounts::read(&writing.db)?.alerts;
    let places = ALERTS_MAX.saturating_sub(alerts).min(NEW_PER_REPORT_MAX);
    let mut places_left = usize::try_from(places).unwrap_or(usize::MAX);
    for sessions in &arrival.results {
        if sessions.key.result_type.is_empty() || is_known_failure(writing, sessions, row)? {
            continue;
        }
        let Some(left) = places_left.checked_sub(1) else {
            kept.more_failures += 1;
            continue;
        };
        places_left = left;
        let new = note(writing, sessions, row, report)?;
        kept.new_failures.push(new);
    }
    if kept.more_failures > 0 {
        writing.run(
            "UPDATE tlsrpt_alerts SET more = more + ?1
             WHERE id = (SELECT max(id) FROM tlsrpt_alerts)",
            [signed(kept.more_failures)],
        )?;
    }
    let failures = Amounts::read(&writing.db)?.failures;
    let surplus = failures.saturating_sub(bounds.failures_max);
    if surplus > 0 {
        writing.run(
            "DELETE FROM tlsrpt_failures WHERE (policy_domain, result_type, mx) IN
                (SELECT policy_domain, result_type, mx FROM tlsrpt_failures ORDER BY last_at LIMIT ?1)",
            [signed(surplus)],
        )?;
    }
    Ok(())
}

/// Whether somebody was told of a failure before; notes that it goes on.
fn is_known_failure(
    writing: &Writing,
    sessions: &Sessions,
    row: &ReportRow,
) -> Result<bool, StoreError> {
    let (key, at) = (&sessions.key, row.received_at.as_i64());
    let noted = writing.run(
        "UPDATE tlsrpt_failures SET last_at = max(last_at, ?4)
         WHERE policy_domain = ?1 AND result_type = ?2 AND mx = ?3",
        params![key.policy_domain, key.result_type, key.mx, at],
    )?;
    Ok(noted > 0)
}

/// Notes a new failure, and that people are to be told.
fn note(
    writing: &Writing,
    sessions: &Sessions,
    row: &ReportRow,
    report: i64,
) -> Result<NewFailure, StoreError> {
    let (key, at) = (&sessions.key, row.received_at);
    writing.run(
        "INSERT INTO tlsrpt_failures (policy_domain, result_type, mx, last_at)
         VALUES (?1, ?2, ?3, ?4)",
        params![key.policy_domain, key.result_type, key.mx, at.as_i64()],
    )?;
    let organization = row.organization.chars().take(ORGANIZATION_CHARS_MAX);
    let organization: String = organization.collect();
    writing.run(
        "INSERT INTO tlsrpt_alerts (at, report, organization, policy_domain, policy_type,
            result_type, mx, sessions, more, hooked, mailed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, 0)",
        params![
            at.as_i64(),
            report,
            organization,
            key.policy_domain,
            key.policy_type,
            key.result_type,
            key.mx,
            signed(sessions.failed),
        ],
    )?;
    Ok(NewFailure {
        id: writing.db.last_insert_rowid(),
        at,
        report,
        organization,
        policy_domain: key.policy_domain.clone(),
        policy_type: key.policy_type.to_owned(),
        result_type: key.result_type.clone(),
        mx: key.mx.clone(),
        sessions: sessions.failed,
    })
}

/// How old failures may be for somebody to be told at once: who imports last year's reports knows.
const NEWS_SECONDS_MAX: u64 = 7 * 86_400;

/// How many new failures of one report people are told of each by itself: nobody reads more.
const NEW_PER_REPORT_MAX: u64 = 100;

/// How many new failures may wait until people are told of them.
const ALERTS_MAX: u64 = 1_000;

/// How much of an organization's name stands in an alert.
const ORGANIZATION_CHARS_MAX: usize = 200;
