//! Arrivals as rows.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use aws_lc_rs::digest;
use byrnie_base::UnixTime;
use byrnie_tlsrpt::Report;
use byrnie_tlsrpt::ResultType;
use byrnie_tlsrpt::reading::Reading;
use byrnie_tlsrpt::reading::Remark;

use super::super::to_json;
use crate::Arrival;
use crate::ReportContent;
use crate::ReportRow;
use crate::ReportSource;
use crate::StoreError;

/// An arrival, put into rows before the writer's time is taken.
#[derive(Clone, Debug)]
pub(super) struct PreparedArrival {
    /// As it is listed.
    pub(super) row: ReportRow,
    /// What it says, as JSON.
    pub(super) report: String,
    /// As it came, in gzip.
    pub(super) original: Vec<u8>,
    /// By which it is known again.
    pub(super) digest: Vec<u8>,
    /// Its numbers, those with the most failed sessions first.
    pub(super) results: Vec<Sessions>,
}

/// Numbers of sessions of one kind.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    /// Which.
    pub(super) key: ResultKey,
    /// How many succeeded.
    pub(super) successful: u64,
    /// How many failed.
    pub(super) failed: u64,
}

/// Which sessions numbers are about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ResultKey {
    /// Under whose policy.
    pub(super) policy_domain: String,
    /// Of what kind that is.
    pub(super) policy_type: &'static str,
    /// In what way they failed; empty for all sessions under the policy.
    pub(super) result_type: String,
    /// At which host.
    pub(super) mx: String,
}

impl PreparedArrival {
    /// Puts one into rows.
    pub(super) fn new(arrival: Arrival) -> Result<Self, StoreError> {
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
                results: Vec::new(),
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
        let (results, summed) = bounded(results(&report));
        let remarks = reading.remarks.iter().chain(&summed);
        let of_policies = || {
            let results = results.iter();
            results.filter(|sessions| sessions.key.result_type.is_empty())
        };
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
                successful: of_policies().map(|sessions| sessions.successful).sum(),
                failed: of_policies().map(|sessions| sessions.failed).sum(),
                remarks: remarks.map(Remark::to_string).collect(),
                unreadable: None,
            },
            digest: reading.digest,
            report: text,
            original: reading.original,
            results,
        })
    }

    /// Octets that it takes in the database, about.
    pub(super) fn octets(&self) -> u64 {
        let row = &self.row;
        // What is looked for stands in indexes as well, and in the name of the holder.
        let names = row.organization.len() * 5 + row.submitter.len() * 4 + row.report_id.len() * 2;
        let remarks: usize = row.remarks.iter().map(String::len).sum();
        let reason = row.unreadable.as_ref().map_or(0, String::len);
        let texts = self.report.len() + self.original.len();
        let results: usize = self.results.iter().map(Sessions::octets).sum();
        let octets = REPORT_OCTETS + names + remarks + reason + texts + results;
        // Pages are not full.
        u64::try_from(octets + octets / 4).unwrap_or(u64::MAX)
    }
}

impl Sessions {
    /// Octets of a row, about.
    fn octets(&self) -> usize {
        let key = &self.key;
        let texts = [
            &*key.policy_domain,
            key.policy_type,
            &key.result_type,
            &key.mx,
        ];
        RESULT_OCTETS + texts.map(str::len).iter().sum::<usize>()
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

/// As many numbers as are kept of one report: those with the most failed sessions, and the rest of them
/// together for each policy and result type.
fn bounded(results: BTreeMap<ResultKey, (u64, u64)>) -> (Vec<Sessions>, Option<Remark>) {
    let (mut kept, mut failures): (Vec<Sessions>, Vec<Sessions>) = results
        .into_iter()
        .map(|(key, (successful, failed))| Sessions {
            key,
            successful,
            failed,
        })
        .partition(|sessions| sessions.key.result_type.is_empty());
    failures.sort_by_key(|sessions| Reverse(sessions.failed));
    let rest = failures.split_off(failures.len().min(RESULTS_MAX));
    let summed = (!rest.is_empty()).then_some(Remark::Summed);
    let mut sums: BTreeMap<ResultKey, u64> = BTreeMap::new();
    for Sessions {
        mut key, failed, ..
    } in rest
    {
        if let ResultType::Other(_) = ResultType::from(key.result_type.as_str()) {
            key.result_type = String::from(OTHER);
        }
        key.mx.clear();
        *sums.entry(key).or_default() += failed;
    }
    for (key, sum) in sums {
        match failures.iter_mut().find(|sessions| sessions.key == key) {
            Some(sessions) => sessions.failed += sum,
            None => failures.push(Sessions {
                key,
                successful: 0,
                failed: sum,
            }),
        }
    }
    kept.append(&mut failures);
    (kept, summed)
}

/// The digest by which the same is known again.
fn sha256(octets: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, octets).as_ref().to_vec()
}

/// In place of a result type where a report gives none.
const UNNAMED: &str = "unnamed";

/// In place of those that RFC 8460 does not list, where they are counted together.
const OTHER: &str = "other";

/// In how many ways sessions may have failed that are kept of one report each by itself: who has a hundred
/// mail hosts tells of fewer.
const RESULTS_MAX: usize = 1_000;

/// Octets that a report takes besides its texts, about: its row, and its entries in indexes.
const REPORT_OCTETS: usize = 400;

/// Octets that numbers take besides their texts, about.
const RESULT_OCTETS: usize = 24;
