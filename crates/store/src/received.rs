//! Reports of others about us: RFC 8460.

use std::future::Future;

use byrnie_base::UnixTime;
use byrnie_tlsrpt::reading::Reading;
use serde::Deserialize;
use serde::Serialize;

use crate::Accepted;
use crate::NewMessage;
use crate::StoreError;

/// Something that came as a report.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When.
    pub received_at: UnixTime,
    /// How.
    pub source: ReportSource,
    /// What it is.
    pub content: ReportContent,
}

/// How a report came.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportSource {
    /// In a mail.
    Mail,
    /// Over HTTPS.
    Https,
    /// An operator brought it.
    Import,
}

impl ReportSource {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Https => "https",
            Self::Import => "import",
        }
    }
}

/// What came as a report.
#[derive(Clone, Debug)]
pub enum ReportContent {
    /// One.
    Read(Box<Reading>),
    /// Something that could not be read.
    Unreadable {
        /// Why.
        reason: String,
        /// Its first octets, in gzip.
        original: Vec<u8>,
    },
}

/// How much is kept of reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReportBounds {
    /// How many reports; past it, those of whoever takes the most room make some, oldest first.
    pub reports_max: u64,
    /// Their octets, about, with those that could not be read; past it, likewise.
    pub size_max: u64,
    /// How many arrivals that could not be read; past it, the oldest make room.
    pub unreadable_max: u64,
    /// How many failures are known again; past it, those that nobody has told of for the longest go.
    pub failures_max: u64,
}

/// What became of an arrival.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// It is a new report, kept under this number.
    New(i64),
    /// It is kept already, under this number.
    Known(i64),
    /// It could not be read, and is kept under this number with the reason.
    Unreadable(i64, String),
}

impl Kept {
    /// Whether it could not be read.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        match self {
            Self::New(_) | Self::Known(_) => false,
            Self::Unreadable(..) => true,
        }
    }
}

/// A failure that nobody has told of before.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NewFailure {
    /// Its number; later ones have larger numbers.
    pub id: i64,
    /// When it became known.
    pub at: UnixTime,
    /// The number of the report that tells of it.
    pub report: i64,
    /// Who tells of it.
    pub organization: String,
    /// Under whose policy.
    pub policy_domain: String,
    /// Of what kind that is.
    pub policy_type: String,
    /// In what way sessions failed.
    pub result_type: String,
    /// At which host; empty if that is not said.
    pub mx: String,
    /// How many sessions.
    pub sessions: u64,
}

/// What came of keeping an arrival.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptReport {
    /// What became of it.
    pub became: Kept,
    /// What is new in it.
    pub new_failures: Vec<NewFailure>,
    /// How many more failures are new in it, which are not named.
    pub more_failures: u64,
    /// How many reports have made room for it.
    pub pushed_out: u64,
}

/// Who is told of new failures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AlertChannel {
    /// The webhook.
    Webhook,
    /// A mail.
    Mail,
}

/// New failures that somebody has not been told of yet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PendingAlerts {
    /// The first of them.
    pub failures: Vec<NewFailure>,
    /// How many there are in all.
    pub count: u64,
    /// The number of the last of all.
    pub last: i64,
}

impl PendingAlerts {
    /// How many there are besides those that are listed.
    #[must_use]
    pub fn more(&self) -> u64 {
        let listed = u64::try_from(self.failures.len()).unwrap_or(u64::MAX);
        self.count.saturating_sub(listed)
    }
}

/// A report as it is listed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportRow {
    /// Its number.
    pub id: i64,
    /// When it came.
    pub received_at: UnixTime,
    /// How.
    pub source: ReportSource,
    /// Who wrote it.
    pub organization: String,
    /// How they call it.
    pub report_id: String,
    /// The domain that the mail names as the sender's.
    pub submitter: String,
    /// The first second that it is about.
    pub start_at: UnixTime,
    /// The last one.
    pub end_at: UnixTime,
    /// Sessions that succeeded.
    pub successful: u64,
    /// Sessions that failed.
    pub failed: u64,
    /// What is strange about it.
    pub remarks: Vec<String>,
    /// Why it could not be read.
    pub unreadable: Option<String>,
}

/// A report with all that is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShownReport {
    /// As it is listed.
    pub row: ReportRow,
    /// What it says, in the JSON of RFC 8460; empty if it could not be read.
    pub report: String,
    /// As it came, in gzip.
    pub original: Vec<u8>,
}

/// Sessions that several reports tell of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportedSessions {
    /// Who tells.
    pub organization: String,
    /// Under whose policy.
    pub policy_domain: String,
    /// Of what kind that is.
    pub policy_type: String,
    /// In what way they failed; empty for all sessions under the policy.
    pub result_type: String,
    /// At which host; empty for all, and if that is not said.
    pub mx: String,
    /// How many succeeded.
    pub successful: u64,
    /// How many failed.
    pub failed: u64,
    /// In how many reports.
    pub reports: u64,
    /// The last second that these are about.
    pub last_at: UnixTime,
}

/// Keeps the reports of others.
pub trait ReceivedReports: Send + Sync + 'static {
    /// Keeps this, once, also if it comes again.
    ///
    /// [`StoreError::Full`] if it is larger than all may be together, or the disk has no room.
    fn keep_report(
        &self,
        arrival: Arrival,
        bounds: ReportBounds,
    ) -> impl Future<Output = Result<KeptReport, StoreError>> + Send;

    /// Drops what came before that, and failures that nobody has told of since; returns how many reports.
    fn drop_reports(
        &self,
        before: UnixTime,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// The reports about times since then, and what came since then and could not be read, newest first;
    /// at most `limit`.
    fn list_reports(
        &self,
        since: UnixTime,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ReportRow>, StoreError>> + Send;

    /// One report.
    fn show_report(
        &self,
        id: i64,
    ) -> impl Future<Output = Result<Option<ShownReport>, StoreError>> + Send;

    /// The sessions of all reports about times since then, those with most failures first; at most `limit`
    /// rows.
    fn reported_sessions(
        &self,
        since: UnixTime,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ReportedSessions>, StoreError>> + Send;

    /// New failures of which a channel was not told yet, oldest first; at most `limit` of them.
    fn pending_alerts(
        &self,
        channel: AlertChannel,
        limit: u32,
    ) -> impl Future<Output = Result<PendingAlerts, StoreError>> + Send;

    /// A channel was told of all up to this one, or is not there.
    fn alerts_told(
        &self,
        channel: AlertChannel,
        last: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A channel cannot be told of what is older than that; returns of how much.
    fn give_up_alerts(
        &self,
        channel: AlertChannel,
        before: UnixTime,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Puts a mail into the queue that tells of all up to this one; both become durable together.
    fn mail_alerts(
        &self,
        mail: NewMessage,
        last: i64,
    ) -> impl Future<Output = Result<Accepted, StoreError>> + Send;
}
