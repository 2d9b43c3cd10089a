//! TLS reports on their way to others, and what they are drawn up from: RFC 8460.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_tlsrpt::Counted;
use byrnie_tlsrpt::Day;
use byrnie_tlsrpt::Entry;
use byrnie_tlsrpt::PolicyDescription;
use serde::Serialize;
use serde::Serializer;

use crate::Accepted;
use crate::NewMessage;
use crate::QueueId;
use crate::StoreError;

/// Counts that are to be added, once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResultBatch {
    /// Larger than that of any batch before.
    pub number: u64,
    /// What was counted.
    pub entries: Vec<(Entry, u64)>,
}

/// What was counted under one policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResultRow {
    /// The policy.
    pub policy: Arc<PolicyDescription>,
    /// What was counted.
    pub counted: Counted,
    /// How often.
    pub count: u64,
}

/// The name of a report; unique among those that are kept.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ReportNumber(
    /// 1 for the first.
    pub u64,
);

/// One step on the way of a report: to find out where it goes, or to bring it there.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct OutgoingReport {
    /// Which report.
    pub report: ReportNumber,
    /// Where it goes, a URI; `None` as long as the domain was not asked.
    pub destination: Option<String>,
    /// The day that it is about.
    #[serde(serialize_with = "as_text")]
    pub day: Day,
    /// Whom it is for.
    pub domain: DomainName,
    /// What became of it.
    pub state: OutgoingState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next; means something while it waits.
    pub due_at: UnixTime,
    /// When it is given up; counts from the first attempt on.
    pub expires_at: UnixTime,
    /// When something last happened to it.
    pub changed_at: UnixTime,
    /// The message that carries it, if one does.
    #[serde(serialize_with = "as_optional_text")]
    pub queue_id: Option<QueueId>,
    /// Why the last attempt failed.
    pub reason: Option<String>,
}

/// What became of a report at one destination.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutgoingState {
    /// It waits for its next attempt.
    Waiting,
    /// It was taken: by the HTTPS host, or by our own queue, which goes on with it.
    Sent,
    /// It was given up.
    GivenUp,
}

impl OutgoingState {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::GivenUp => "given-up",
        }
    }
}

/// Writes a value as people read it.
fn as_text<T: std::fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Writes a value as people read it, if there is one.
fn as_optional_text<T: std::fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Keeps what is counted about sessions.
pub trait SessionResults: Send + Sync + 'static {
    /// The number of the last batch that was added.
    fn last_batch(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Adds counts to those of the same day, domain and policy for which no report was drawn up; returns
    /// how much found no place, as there are as many entries as may be.
    fn add_results(
        &self,
        batch: ResultBatch,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Keeps what reports are drawn up from, and how far each is.
///
/// Whatever is changed was changed in full or not at all, and the same call again changes nothing more.
pub trait OutgoingReports: SessionResults {
    /// Draws up reports of days before `before`, and of days that cannot have begun since, counted while the
    /// clock was ahead: for each domain and day one, due at one of `due`, of which
    /// there are as many as are to be drawn up at most; returns how many were.
    fn draw_up(
        &self,
        before: Day,
        due: Vec<UnixTime>,
        now: UnixTime,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// What is due, first what has been for longest; also what would be due later than at `latest`, as the
    /// clock was wrong then.
    fn due_reports(
        &self,
        now: UnixTime,
        latest: UnixTime,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<OutgoingReport>, StoreError>> + Send;

    /// What a report says.
    fn report_results(
        &self,
        report: ReportNumber,
    ) -> impl Future<Output = Result<Vec<ResultRow>, StoreError>> + Send;

    /// Everything that was counted about a day for a domain, reported or not.
    fn results_of(
        &self,
        day: Day,
        domain: &DomainName,
    ) -> impl Future<Output = Result<Vec<ResultRow>, StoreError>> + Send;

    /// The domain has said where the report goes; nowhere means that it wants none.
    fn address(
        &self,
        report: ReportNumber,
        destinations: Vec<String>,
        now: UnixTime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes the message durable that carries a report to a destination, and the report sent, together;
    /// `None` if that is no longer to be done. Again with the same message, it is accepted as it was the
    /// first time.
    fn hand_over(
        &self,
        outgoing: &OutgoingReport,
        message: NewMessage,
        now: UnixTime,
    ) -> impl Future<Output = Result<Option<Accepted>, StoreError>> + Send;

    /// Records what came of an attempt, unless it waits no more.
    fn attempted(
        &self,
        outgoing: &OutgoingReport,
        end: OutgoingEnd,
        now: UnixTime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What is kept, newest first, at most `limit`.
    fn outgoing_reports(
        &self,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<OutgoingReport>, StoreError>> + Send;

    /// How many steps wait.
    fn waiting_reports(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Drops what has not changed since a time and waits no more, with what it says, at most `limit`
    /// steps; returns how many.
    fn forget_reports(
        &self,
        before: UnixTime,
        limit: u32,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OutgoingEnd {
    /// It was taken.
    Sent,
    /// It is tried again.
    Later {
        /// When.
        due_at: UnixTime,
        /// When it is given up.
        expires_at: UnixTime,
        /// Why.
        reason: String,
    },
    /// It is given up.
    GivenUp {
        /// Why.
        reason: String,
    },
}

/// How long a report is tried from its first attempt on: RFC 8460, Section 5.5.
pub const REPORT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Results that are kept for all days and domains together. Past it, what is new finds no place, and what
/// is there goes on being counted.
pub const RESULTS_MAX: u64 = 4_000_000;

/// Octets that results and their policies may take, 1 GiB, with the same consequence.
pub const RESULT_OCTETS_MAX: u64 = 1 << 30;
