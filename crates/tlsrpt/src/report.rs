//! A report: RFC 8460, Section 4.4.

use std::fmt;
use std::net::IpAddr;

use byrnie_base::UnixTime;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::Deserialize;
use serde::Serialize;
use serde::Serializer;

use crate::ResultType;

/// What one sender tells about one day, of one recipient domain.
///
/// Written as JSON it is a report as RFC 8460 has it. Texts are as in the report: nobody has checked
/// whether they are host names or addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Who sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_name: Option<String>,
    /// What time it is about.
    pub date_range: DateRange,
    /// Whom to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_info: Option<String>,
    /// Its name, unique for its sender.
    pub report_id: String,
    /// One entry for each policy that was applied.
    pub policies: Vec<PolicyReport>,
}

/// What time a report is about: a day of UTC in most.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DateRange {
    /// Its first second.
    #[serde(serialize_with = "timestamp")]
    pub start_datetime: UnixTime,
    /// Its last second.
    #[serde(serialize_with = "timestamp")]
    pub end_datetime: UnixTime,
}

/// What happened under one policy.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyReport {
    /// The policy.
    pub policy: PolicyDescription,
    /// How many sessions there were.
    pub summary: Summary,
    /// What went wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failure_details: Vec<FailureDetails>,
}

/// The policy that a sender applied.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyDescription {
    /// Of what kind it is.
    pub policy_type: PolicyType,
    /// The TLSA records, or the lines of the policy file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_string: Vec<String>,
    /// Whose policy it is.
    pub policy_domain: String,
    /// The patterns of an MTA-STS policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mx_host: Vec<String>,
}

/// The kinds of policies: RFC 8460, Section 4.4.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyType {
    /// TLSA records.
    Tlsa,
    /// An MTA-STS policy.
    Sts,
    /// Neither could be found.
    #[default]
    NoPolicyFound,
}

impl PolicyType {
    /// Its name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tlsa => "tlsa",
            Self::Sts => "sts",
            Self::NoPolicyFound => "no-policy-found",
        }
    }
}

/// How many sessions there were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Those that kept to the policy.
    pub total_successful_session_count: u64,
    /// Those that did not.
    pub total_failure_session_count: u64,
}

/// Sessions that failed in the same way.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailureDetails {
    /// In which way.
    pub result_type: ResultType,
    /// The sender's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<IpAddr>,
    /// The MX host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<String>,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_mx_helo: Option<String>,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<IpAddr>,
    /// How many.
    pub failed_session_count: u64,
    /// Where to read more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<String>,
    /// What the sender's software calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason_code: Option<String>,
}

impl FailureDetails {
    /// Sessions that failed in a way of which no more is known.
    #[must_use]
    pub fn of_type(result_type: ResultType) -> Self {
        Self {
            result_type,
            sending_mta_ip: None,
            receiving_mx_hostname: None,
            receiving_mx_helo: None,
            receiving_ip: None,
            failed_session_count: 0,
            additional_information: None,
            failure_reason_code: None,
        }
    }
}

/// Writes a time as RFC 3339 has it, in UTC.
fn timestamp<S: Serializer>(at: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    match Timestamp::from_second(at.as_i64()) {
        Ok(at) => serializer.collect_str(&at),
        Err(error) => Err(serde::ser::Error::custom(error)),
    }
}

/// Reads a time as reports write it: RFC 3339, or without a zone, which then is UTC.
///
/// # Errors
/// It is none, or lies before 1970.
pub fn parse_timestamp(text: &str) -> Result<UnixTime, TimestampError> {
    let text = text.trim();
    let at = text.parse::<Timestamp>().or_else(|_| {
        let civil: DateTime = text.parse()?;
        Offset::UTC.to_timestamp(civil)
    });
    let second = at.map_err(|_| TimestampError)?.as_second();
    u64::try_from(second)
        .map(UnixTime)
        .map_err(|_| TimestampError)
}

/// A text is no time since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time such as 2026-04-01T00:00:00Z")
    }
}

impl std::error::Error for TimestampError {}
