//! What is counted about sessions, in the database.

use std::collections::HashMap;
use std::sync::Arc;

use byrnie_tlsrpt::Counted;
use byrnie_tlsrpt::Entry;
use byrnie_tlsrpt::FailureDetails;
use byrnie_tlsrpt::PolicyDescription;
use byrnie_tlsrpt::SessionOutcome;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Params;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteStore;
use super::count;
use super::failure;
use super::rows::get;
use super::to_json;
use super::writing::Writing;
use crate::RESULT_OCTETS_MAX;
use crate::RESULTS_MAX;
use crate::ResultBatch;
use crate::ResultRow;
use crate::SessionResults;
use crate::StoreError;
use crate::check::check_of;

/// The statements that read results and the policies they were met under.
macro_rules! results {
    ($which:literal) => {
        [
            concat!(
                "SELECT id, policy, outcome, failure, sum(count) FROM tlsrpt_results WHERE ",
                $which,
                " GROUP BY id, policy, outcome, failure"
            ),
            concat!(
                "SELECT DISTINCT id, text FROM tlsrpt_policies WHERE ",
                $which
            ),
        ]
    };
}
pub(super) use results;

impl SessionResults for SqliteStore {
    async fn last_batch(&self) -> Result<u64, StoreError> {
        let read = |db: &Connection| number(db, "SELECT last_batch FROM tlsrpt_counting", []);
        self.workers.read(read).await
    }

    async fn add_results(&self, batch: ResultBatch) -> Result<u64, StoreError> {
        let number = number_of(batch.number);
        let results = NewResults::new(&batch.entries)?;
        self.workers
            .write(move |writing| add_results(writing, number, &results))
            .await
    }
}

/// Counts that are to be added, put into rows before the writer's time is taken.
struct NewResults {
    rows: Vec<NewResult>,
    /// The policies that they name, as JSON.
    policies: HashMap<i64, String>,
}

impl NewResults {
    /// Puts entries into rows.
    fn new(entries: &[(Entry, u64)]) -> Result<Self, StoreError> {
        let mut ids: HashMap<&PolicyDescription, i64> = HashMap::new();
        let mut policies = HashMap::new();
        let mut rows = Vec::with_capacity(entries.len());
        for (entry, count) in entries {
            let policy = match ids.get(&*entry.policy) {
                Some(id) => *id,
                None => {
                    let text = to_json(&entry.policy)?;
                    let id = policy_id(&text);
                    policies.insert(id, text);
                    ids.insert(&entry.policy, id);
                    id
                }
            };
            rows.push(NewResult::new(entry, policy, *count)?);
        }
        Ok(Self { rows, policies })
    }
}

/// A count that is to be added, as it is stored.
#[derive(Clone)]
struct NewResult {
    day: u32,
    domain: String,
    policy: i64,
    outcome: i64,
    failure: String,
    /// The failure by its type alone; empty for sessions.
    in_short: String,
    count: i64,
}

impl NewResult {
    /// Puts an entry into a row.
    fn new(entry: &Entry, policy: i64, count: u64) -> Result<Self, StoreError> {
        let (outcome, failure, in_short) = match &entry.counted {
            Counted::Sessions(SessionOutcome::Succeeded) => {
                (SUCCEEDED, String::new(), String::new())
            }
            Counted::Sessions(SessionOutcome::Failed) => (FAILED, String::new(), String::new()),
            Counted::Failures(failure) => {
                let in_short = FailureDetails::of_type(failure.result_type.clone());
                (FAILURES, to_json(failure)?, to_json(&in_short)?)
            }
        };
        Ok(Self {
            day: entry.day.0,
            domain: entry.domain.to_string(),
            policy,
            outcome,
            failure,
            in_short,
            count: number_of(count),
        })
    }

    /// The same with the failure by its type alone.
    fn in_short(&self) -> Self {
        Self {
            failure: self.in_short.clone(),
            ..self.clone()
        }
    }

    /// Adds it to what is there; whether there was nothing yet.
    fn is_added(&self, writing: &Writing) -> Result<bool, StoreError> {
        let rows = writing.run(
            "UPDATE tlsrpt_results SET count = count + ?4
             WHERE report = 0 AND day = ?1 AND domain = ?2 AND id = ?3",
            params![self.day, self.domain, self.id(), self.count],
        )?;
        Ok(rows > 0)
    }

    /// Writes it as the first of its kind, with its policy; returns the octets of both.
    fn insert(&self, writing: &Writing, policy: &str) -> Result<u64, StoreError> {
        writing.run(
            "INSERT INTO tlsrpt_results (report, day, domain, id, policy, outcome, failure, count)
             VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                self.day,
                self.domain,
                self.id(),
                self.policy,
                self.outcome,
                self.failure,
                self.count
            ],
        )?;
        let policies = writing.run(
            "INSERT OR IGNORE INTO tlsrpt_policies (report, day, domain, id, text)
             VALUES (0, ?1, ?2, ?3, ?4)",
            params![self.day, self.domain, self.policy, policy],
        )?;
        let of_policy = match policies {
            0 => 0,
            _ => octets_of(policy),
        };
        Ok(octets_of(&self.failure) + of_policy)
    }

    /// What tells it from others.
    fn id(&self) -> i64 {
        result_id(self.policy, self.outcome, &self.failure)
    }
}

/// What there is about one domain and day.
#[derive(Clone, Copy)]
struct Usage {
    rows: u64,
    octets: u64,
}

impl Usage {
    /// What there is now.
    fn of(writing: &Writing, row: &NewResult) -> Result<Self, StoreError> {
        let sum = |table: &str, text: &str| {
            let sql = format!(
                "SELECT count(*), ifnull(sum(octet_length({text})), 0) FROM {table}
                 WHERE report = 0 AND day = ?1 AND domain = ?2"
            );
            let found = writing.db.prepare_cached(&sql).and_then(|mut statement| {
                statement.query_row(params![row.day, row.domain], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
                })
            });
            found.map_err(|error| failure(&error))
        };
        let (results, policies) = (
            sum("tlsrpt_results", "failure")?,
            sum("tlsrpt_policies", "text")?,
        );
        let rows = count(results.0) + count(policies.0);
        Ok(Self {
            rows: count(results.0),
            octets: count(results.1) + count(policies.1) + rows * ROW_OCTETS,
        })
    }

    /// Whether failures are told by their type alone from here on.
    fn is_short(self) -> bool {
        self.rows >= DETAILED_ROWS_MAX || self.octets >= DOMAIN_OCTETS_MAX / 2
    }

    /// Whether there is no place for anything new.
    fn is_full(self) -> bool {
        self.rows >= DOMAIN_ROWS_MAX || self.octets >= DOMAIN_OCTETS_MAX
    }
}

/// Adds counts, unless that was done already; returns how much found no place.
fn add_results(writing: &mut Writing, batch: i64, new: &NewResults) -> Result<u64, StoreError> {
    let is_new = writing.run(
        "UPDATE tlsrpt_counting SET last_batch = ?1 WHERE last_batch < ?1",
        [batch],
    )?;
    if is_new == 0 {
        return Ok(0);
    }
    let mut results = number(&writing.db, "SELECT results FROM tlsrpt_counting", [])?;
    let mut octets = number(&writing.db, "SELECT octets FROM tlsrpt_counting", [])?;
    let mut usages: HashMap<(u32, &str), Usage> = HashMap::new();
    let mut dropped = 0_u64;
    for row in &new.rows {
        if row.is_added(writing)? {
            continue;
        }
        let place = (row.day, row.domain.as_str());
        let usage = match usages.get_mut(&place) {
            Some(usage) => usage,
            None => usages.entry(place).or_insert(Usage::of(writing, row)?),
        };
        let row = match usage.is_short() {
            true => row.in_short(),
            false => row.clone(),
        };
        if usage.is_short() && row.is_added(writing)? {
            continue;
        }
        if usage.is_full() || results >= RESULTS_MAX || octets >= RESULT_OCTETS_MAX {
            dropped = dropped.saturating_add(count(row.count));
            continue;
        }
        let policy = new.policies.get(&row.policy).map_or("", String::as_str);
        let written = row.insert(writing, policy)?;
        results += 1;
        octets += written;
        usage.rows += 1;
        usage.octets += written;
    }
    set_counting(writing, results, octets)?;
    Ok(dropped)
}

/// Notes how much there is.
fn set_counting(writing: &Writing, results: u64, octets: u64) -> Result<(), StoreError> {
    let sql = "UPDATE tlsrpt_counting SET results = ?1, octets = ?2";
    let counts = params![number_of(results), number_of(octets)];
    writing.run(sql, counts).map(|_| ())
}

/// Makes what was counted for a domain and day that of a report.
pub(super) fn give_to_report(
    writing: &Writing,
    report: i64,
    day: i64,
    domain: &str,
) -> Result<(), StoreError> {
    for table in ["tlsrpt_results", "tlsrpt_policies"] {
        let sql =
            format!("UPDATE {table} SET report = ?1 WHERE report = 0 AND day = ?2 AND domain = ?3");
        writing.run(&sql, params![report, day, domain])?;
    }
    Ok(())
}

/// Drops what a report says.
pub(super) fn drop_results(writing: &Writing, report: i64) -> Result<(), StoreError> {
    let octets = format!(
        "SELECT (SELECT ifnull(sum(octet_length(failure) + {ROW_OCTETS}), 0)
                 FROM tlsrpt_results WHERE report = ?1)
              + (SELECT ifnull(sum(octet_length(text) + {ROW_OCTETS}), 0)
                 FROM tlsrpt_policies WHERE report = ?1)"
    );
    let octets = number(&writing.db, &octets, [report])?;
    let dropped = writing.run("DELETE FROM tlsrpt_results WHERE report = ?1", [report])?;
    writing.run("DELETE FROM tlsrpt_policies WHERE report = ?1", [report])?;
    writing
        .run(
            "UPDATE tlsrpt_counting
             SET results = max(results - ?1, 0), octets = max(octets - ?2, 0)",
            params![number_of(dropped), number_of(octets)],
        )
        .map(|_| ())
}

/// What was counted; what is damaged of it is left out.
pub(super) fn results_in(
    db: &Connection,
    [results, policies]: [&str; 2],
    parameters: impl Params + Copy,
) -> Result<Vec<ResultRow>, StoreError> {
    let policies: HashMap<i64, Arc<PolicyDescription>> =
        read(db, policies, parameters, policy_from)?
            .into_iter()
            .collect();
    read(db, results, parameters, |row| result_from(row, &policies))
}

/// What a statement gives, without what is damaged.
fn read<T>(
    db: &Connection,
    sql: &str,
    parameters: impl Params,
    from: impl Fn(&Row<'_>) -> Option<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = db.prepare_cached(sql).map_err(|error| failure(&error))?;
    let rows = statement
        .query_map(parameters, |row| Ok(from(row)))
        .map_err(|error| failure(&error))?;
    let read: Vec<Option<T>> = rows
        .collect::<Result<_, _>>()
        .map_err(|error| failure(&error))?;
    Ok(read.into_iter().flatten().collect())
}

/// A policy from its row, if that is as it was written.
fn policy_from(row: &Row<'_>) -> Option<(i64, Arc<PolicyDescription>)> {
    let (id, text): (i64, String) = (get(row, 0).ok()?, get(row, 1).ok()?);
    if policy_id(&text) != id {
        return None;
    }
    Some((id, Arc::new(serde_json::from_str(&text).ok()?)))
}

/// A result from its row, if that is as it was written.
fn result_from(
    row: &Row<'_>,
    policies: &HashMap<i64, Arc<PolicyDescription>>,
) -> Option<ResultRow> {
    let (id, policy, outcome): (i64, i64, i64) =
        (get(row, 0).ok()?, get(row, 1).ok()?, get(row, 2).ok()?);
    let failure: String = get(row, 3).ok()?;
    if result_id(policy, outcome, &failure) != id {
        return None;
    }
    Some(ResultRow {
        policy: Arc::clone(policies.get(&policy)?),
        counted: match outcome {
            SUCCEEDED => Counted::Sessions(SessionOutcome::Succeeded),
            FAILED => Counted::Sessions(SessionOutcome::Failed),
            _ => Counted::Failures(Box::new(serde_json::from_str(&failure).ok()?)),
        },
        count: count(get(row, 4).ok()?),
    })
}

/// What tells policies of one domain and day apart, and damaged ones from whole ones.
fn policy_id(text: &str) -> i64 {
    check_of([text.as_bytes()])
}

/// What tells rows of one domain and day apart, and damaged ones from whole ones.
fn result_id(policy: i64, outcome: i64, failure: &str) -> i64 {
    let (policy, outcome) = (policy.to_le_bytes(), outcome.to_le_bytes());
    check_of([&policy, &outcome, failure.as_bytes()])
}

/// What a row with this text takes, about.
fn octets_of(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX) + ROW_OCTETS
}

/// One number.
pub(super) fn number(
    db: &Connection,
    sql: &str,
    parameters: impl Params,
) -> Result<u64, StoreError> {
    db.prepare_cached(sql)
        .and_then(|mut statement| {
            statement
                .query_row(parameters, |row| row.get::<_, i64>(0))
                .optional()
        })
        .map(|found| found.map_or(0, count))
        .map_err(|error| failure(&error))
}

/// A number as the database keeps it.
pub(super) fn number_of(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Rows about one domain and day, from which on failures are told by their type alone.
const DETAILED_ROWS_MAX: u64 = 2_000;

/// Rows about one domain and day: those in short find their place behind the others.
const DOMAIN_ROWS_MAX: u64 = DETAILED_ROWS_MAX + 200;

/// Octets about one domain and day, 4 MiB: dozens of the longest policies.
const DOMAIN_OCTETS_MAX: u64 = 4 << 20;

/// Octets of a row, the long text in it aside, about.
const ROW_OCTETS: u64 = 150;

/// Sessions that succeeded.
const SUCCEEDED: i64 = 0;

/// Sessions that failed.
const FAILED: i64 = 1;

/// Sessions in which something went wrong.
const FAILURES: i64 = 2;
