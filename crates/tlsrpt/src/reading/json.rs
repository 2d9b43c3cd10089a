//! The JSON of a report: RFC 8460, Section 4.4, and what stands in its place in the wild.

mod digest;
mod lenient;

use std::collections::BTreeSet;
use std::net::IpAddr;

use byrnie_base::UnixTime;
use serde::Deserialize;

use self::lenient::Count;
use self::lenient::Listed;
use self::lenient::Maybe;
use self::lenient::Text;
use self::lenient::Texts;
use super::BYTE_ORDER_MARK;
use super::Envelope;
use super::Form;
use super::Reading;
use super::Remark;
use super::Unreadable;
use super::gzip;
use crate::DateRange;
use crate::FailureDetails;
use crate::PolicyDescription;
use crate::PolicyReport;
use crate::PolicyType;
use crate::Report;
use crate::ResultType;
use crate::Summary;
use crate::parse_timestamp;

/// Reads a report, compressed or not.
pub(super) fn read(
    octets: &[u8],
    received_at: UnixTime,
    envelope: &Envelope,
) -> Result<Reading, Unreadable> {
    let mut reader = Reader::new(received_at, envelope);
    let inflated;
    let (json, damage) = match Form::of(octets) {
        Form::Gzip => {
            inflated = gzip::inflate(octets)?;
            (inflated.octets.as_slice(), inflated.damage)
        }
        Form::Json | Form::Other => {
            if octets.len() > gzip::INFLATED_OCTETS_MAX {
                return Err(Unreadable::TooLarge);
            }
            (octets, None)
        }
    };
    let report = reader.report(json)?;
    if let Some(damage) = damage {
        reader.remark(Remark::DamagedBehind(damage.to_string()));
    }
    Ok(Reading {
        report,
        submitter: envelope.submitter.clone(),
        remarks: reader.remarks,
        digest: digest::of_json(json),
        original: gzip::compress(json),
    })
}

/// A report as it may stand in JSON. Members that nobody knows are passed over.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawReport {
    #[serde(alias = "organization_name")]
    organization_name: Text,
    #[serde(alias = "date_range")]
    date_range: Option<Maybe<RawDates>>,
    #[serde(alias = "contact_info")]
    contact_info: Text,
    #[serde(alias = "report_id")]
    report_id: Text,
    policies: Option<Listed<RawPolicyReport, POLICIES_MAX>>,
}

/// `date-range`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawDates {
    #[serde(alias = "start_datetime")]
    start_datetime: Text,
    #[serde(alias = "end_datetime")]
    end_datetime: Text,
}

/// An entry of `policies`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawPolicyReport {
    policy: Maybe<RawPolicy>,
    summary: Maybe<RawSummary>,
    #[serde(alias = "failure_details")]
    failure_details: Listed<RawDetails, DETAILS_PER_POLICY_MAX>,
}

/// `policy`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawPolicy {
    #[serde(alias = "policy_type")]
    policy_type: Text,
    #[serde(alias = "policy_string")]
    policy_string: Texts,
    #[serde(alias = "policy_domain")]
    policy_domain: Text,
    #[serde(alias = "mx_host", alias = "mx-host-pattern")]
    mx_host: Texts,
}

/// `summary`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawSummary {
    #[serde(alias = "total_successful_session_count")]
    total_successful_session_count: Count,
    #[serde(
        alias = "total_failure_session_count",
        alias = "total-failed-session-count"
    )]
    total_failure_session_count: Count,
}

/// An entry of `failure-details`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawDetails {
    #[serde(alias = "result_type")]
    result_type: Text,
    #[serde(alias = "sending_mta_ip")]
    sending_mta_ip: Text,
    #[serde(alias = "receiving_mx_hostname", alias = "receiving-mx-host-name")]
    receiving_mx_hostname: Text,
    #[serde(alias = "receiving_mx_helo")]
    receiving_mx_helo: Text,
    #[serde(alias = "receiving_ip")]
    receiving_ip: Text,
    #[serde(alias = "failed_session_count")]
    failed_session_count: Count,
    #[serde(
        alias = "additional_information",
        alias = "additional-info-uri",
        alias = "additional-info"
    )]
    additional_information: Text,
    #[serde(alias = "failure_reason_code", alias = "failure-error-code")]
    failure_reason_code: Text,
}

/// Makes a report of what stands in JSON, and remarks on it.
struct Reader<'a> {
    received_at: UnixTime,
    envelope: &'a Envelope,
    remarks: Vec<Remark>,
}

impl<'a> Reader<'a> {
    /// Without a remark so far.
    fn new(received_at: UnixTime, envelope: &'a Envelope) -> Self {
        Self {
            received_at,
            envelope,
            remarks: Vec::new(),
        }
    }

    /// Remarks on something, once, and not for ever.
    fn remark(&mut self, remark: Remark) {
        if self.remarks.len() < REMARKS_MAX && !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// Remarks on what was left out of a list.
    fn left_out(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            self.remark(Remark::LeftOut { what, count });
        }
    }

    /// Reads the report.
    fn report(&mut self, octets: &[u8]) -> Result<Report, Unreadable> {
        let octets = octets.strip_prefix(BYTE_ORDER_MARK).unwrap_or(octets);
        // A name in an old encoding must not hide a report.
        let text = String::from_utf8_lossy(octets);
        let text = text.trim_end_matches(['\0', '\r', '\n', ' ', '\t']);
        let raw: RawReport =
            serde_json::from_str(text).map_err(|error| Unreadable::Json(error.to_string()))?;
        if raw.organization_name.0.is_none()
            && raw.date_range.is_none()
            && raw.report_id.0.is_none()
            && raw.policies.is_none()
        {
            return Err(Unreadable::NotAReport);
        }
        if raw.organization_name.0.is_none() {
            self.remark(Remark::NoOrganization);
        }
        if raw.report_id.0.is_none() {
            self.remark(Remark::NoReportId);
        }
        let policies = raw.policies.unwrap_or_default();
        self.left_out("policies", policies.left_out);
        if policies.items.is_empty() {
            return Err(Unreadable::NoPolicies);
        }
        let mut details_left = DETAILS_MAX;
        Ok(Report {
            organization_name: raw.organization_name.0,
            date_range: self.dates(raw.date_range.unwrap_or_default().0),
            contact_info: raw.contact_info.0,
            report_id: raw.report_id.0.unwrap_or_default(),
            policies: policies
                .items
                .into_iter()
                .map(|policy| self.policy(policy, &mut details_left))
                .collect(),
        })
    }

    /// What time it is about.
    fn dates(&mut self, raw: RawDates) -> DateRange {
        let parse = |text: Text| parse_timestamp(&text.0?).ok();
        let (start, end) = (parse(raw.start_datetime), parse(raw.end_datetime));
        let (Some(start), Some(end)) = (start.or(end), end.or(start)) else {
            self.remark(Remark::NoDates);
            return self.day_of_arrival();
        };
        let is_sensible = start <= end
            && end.0 - start.0 <= RANGE_SECONDS_MAX
            && end.0 <= self.received_at.0.saturating_add(AHEAD_SECONDS_MAX);
        if !is_sensible {
            self.remark(Remark::AbsurdDates);
            return self.day_of_arrival();
        }
        DateRange {
            start_datetime: start,
            end_datetime: end,
        }
    }

    /// The day of UTC in which it came.
    fn day_of_arrival(&self) -> DateRange {
        let start = self.received_at.0 - self.received_at.0 % DAY_SECONDS;
        DateRange {
            start_datetime: UnixTime(start),
            end_datetime: UnixTime(start.saturating_add(DAY_SECONDS - 1)),
        }
    }

    /// What happened under one policy. All of a report's have so many details together.
    fn policy(&mut self, raw: RawPolicyReport, details_left: &mut usize) -> PolicyReport {
        let summary = Summary {
            total_successful_session_count: self
                .count(raw.summary.0.total_successful_session_count),
            total_failure_session_count: self.count(raw.summary.0.total_failure_session_count),
        };
        let mut details = raw.failure_details;
        let fit = details.items.len().min(*details_left);
        let beyond = u64::try_from(details.items.len() - fit).unwrap_or(u64::MAX);
        self.left_out("failure details", details.left_out.saturating_add(beyond));
        details.items.truncate(fit);
        *details_left -= fit;
        let details: Vec<FailureDetails> = details
            .items
            .into_iter()
            .map(|details| self.details(details))
            .collect();
        let listed = details.iter().map(|details| details.failed_session_count);
        let listed = listed.fold(0, u64::saturating_add);
        if listed > summary.total_failure_session_count {
            self.remark(Remark::CountsOverlap);
        }
        PolicyReport {
            policy: self.description(raw.policy.0),
            summary,
            failure_details: details,
        }
    }

    /// The policy itself.
    fn description(&mut self, raw: RawPolicy) -> PolicyDescription {
        let policy_type = match raw.policy_type.0.map(|name| name.to_ascii_lowercase()) {
            None => PolicyType::NoPolicyFound,
            Some(name) => match [PolicyType::Tlsa, PolicyType::Sts, PolicyType::NoPolicyFound]
                .into_iter()
                .find(|known| known.as_str() == name)
            {
                Some(known) => known,
                None => {
                    self.remark(Remark::UnknownPolicyType(name));
                    PolicyType::NoPolicyFound
                }
            },
        };
        let domain = raw.policy_domain.0.map(|domain| self.name(&domain));
        let domain = domain.or_else(|| self.envelope.policy_domain.clone());
        if domain.is_none() {
            self.remark(Remark::NoPolicyDomain);
        }
        PolicyDescription {
            policy_type,
            policy_string: raw.policy_string.unwrapped(),
            policy_domain: domain.unwrap_or_default(),
            mx_host: raw
                .mx_host
                .unwrapped()
                .iter()
                .map(|it| self.name(it))
                .collect(),
        }
    }

    /// Sessions that failed in the same way.
    fn details(&mut self, raw: RawDetails) -> FailureDetails {
        let result_type = raw.result_type.0.unwrap_or_default();
        FailureDetails {
            result_type: ResultType::from(self.cut(&result_type)),
            sending_mta_ip: self.address(raw.sending_mta_ip),
            receiving_mx_hostname: raw.receiving_mx_hostname.0.map(|host| self.name(&host)),
            receiving_mx_helo: raw.receiving_mx_helo.0,
            receiving_ip: self.address(raw.receiving_ip),
            failed_session_count: self.count(raw.failed_session_count),
            additional_information: raw.additional_information.0,
            failure_reason_code: raw.failure_reason_code.0,
        }
    }

    /// A number of sessions, so bounded that sums of them are numbers too.
    fn count(&mut self, raw: Count) -> u64 {
        match raw {
            Count::None => 0,
            Count::Some(count) if count <= COUNT_MAX => count,
            Count::Some(_) => {
                self.remark(Remark::AbsurdCount);
                COUNT_MAX
            }
            Count::Absurd => {
                self.remark(Remark::AbsurdCount);
                0
            }
        }
    }

    /// The name of a host or domain as it is compared: without case and the final dot.
    fn name(&mut self, text: &str) -> String {
        self.cut(text.trim_end_matches('.')).to_ascii_lowercase()
    }

    /// A name, no longer than one can be.
    fn cut<'t>(&mut self, text: &'t str) -> &'t str {
        if text.len() <= NAME_OCTETS_MAX {
            return text;
        }
        self.remark(Remark::LongName);
        let mut ends = (0..=NAME_OCTETS_MAX).rev();
        ends.find_map(|end| text.get(..end)).unwrap_or_default()
    }

    /// An IP address, perhaps in brackets.
    fn address(&mut self, raw: Text) -> Option<IpAddr> {
        let text = raw.0?;
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let bare = bare.strip_prefix("IPv6:").unwrap_or(bare);
        let address = bare.parse::<IpAddr>().ok();
        if address.is_none() {
            self.remark(Remark::NotAnAddress(text));
        }
        address.map(|address| address.to_canonical())
    }
}

/// The failure types of a report, for those who count them.
impl Report {
    /// Each way in which sessions failed: under which policy domain, in which way, at which host.
    #[must_use]
    pub fn failures(&self) -> BTreeSet<(String, ResultType, String)> {
        let mut failures = BTreeSet::new();
        for policy in &self.policies {
            for details in &policy.failure_details {
                let mx = details.receiving_mx_hostname.clone();
                failures.insert((
                    policy.policy.policy_domain.clone(),
                    details.result_type.clone(),
                    mx.unwrap_or_default(),
                ));
            }
        }
        failures
    }
}

/// How many policies of one report are read; a report is about one domain, with a policy or two.
pub const POLICIES_MAX: usize = 100;

/// How many failure details of one report are read.
pub const DETAILS_MAX: usize = 10_000;

/// How many of them may stand under one policy.
pub(super) const DETAILS_PER_POLICY_MAX: usize = 1_000;

/// The largest number of sessions that is believed. All who report have fewer, and sums of it over all
/// that is kept fit into 63 bits.
pub const COUNT_MAX: u64 = 1_000_000_000;

/// How long the name of a host, a domain or a result type is kept: RFC 1035, Section 3.1, has none that is
/// longer as text. Each is written several times.
const NAME_OCTETS_MAX: usize = 253;

/// How many remarks on one report are kept.
const REMARKS_MAX: usize = 16;

/// A day of UTC.
const DAY_SECONDS: u64 = 86_400;

/// How long the time may be that a report is about.
const RANGE_SECONDS_MAX: u64 = 62 * DAY_SECONDS;

/// How far ahead its end may lie: clocks differ, and some tell of a day before it has ended.
const AHEAD_SECONDS_MAX: u64 = 2 * DAY_SECONDS;
