//! Drawing up reports and bringing them to who asks for them: behaviour rule 39.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::https::HttpsClient;
use byrnie_net::https::HttpsUrl;
use byrnie_smtp::Rfc5322Date;
use byrnie_smtp::TlsDemand;
use byrnie_store::Accepted;
use byrnie_store::NewMessage;
use byrnie_store::OutgoingEnd;
use byrnie_store::OutgoingReport;
use byrnie_store::OutgoingReports;
use byrnie_store::REPORT_LIFETIME;
use byrnie_store::ReportNumber;
use byrnie_store::ResultRow;
use byrnie_store::Spool;
use byrnie_store::StoreError;
use byrnie_tlsrpt::Day;
use byrnie_tlsrpt::Destination;
use byrnie_tlsrpt::REPORT_MEDIA_TYPE;
use byrnie_tlsrpt::Report;
use byrnie_tlsrpt::ReportMail;
use byrnie_tlsrpt::TlsrptRecord;
use byrnie_tlsrpt::policy_reports;
use byrnie_tlsrpt::reading::compress;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use hyper::HeaderMap;
use hyper::header;
use hyper::header::HeaderValue;
use tokio::time;

use super::Recorder;
use super::counts::Step;
use crate::Letter;
use crate::Metrics;
use crate::Outbox;

/// Who reports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submitter {
    /// The name of the organization.
    pub organization: String,
    /// Whom to ask.
    pub contact: String,
    /// Who sends the mails.
    pub from: Mailbox,
    /// The domain that stands for the organization.
    pub domain: DomainName,
}

/// Draws up reports and brings them to who asks for them.
pub struct Reporter<S, R> {
    /// Who reports.
    pub submitter: Submitter,
    /// Over which time the reports of a day are spread, from its end on.
    pub spread: Duration,
    /// Where counts and reports are.
    pub store: Arc<S>,
    /// Where sessions are counted.
    pub recorder: Arc<Recorder>,
    /// Says where reports go.
    pub resolver: Arc<R>,
    /// Brings reports to HTTPS hosts.
    pub https: HttpsClient<R>,
    /// Brings reports to mailboxes.
    pub outbox: Outbox<S>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where steps are counted.
    pub metrics: Arc<Metrics>,
}

impl<S: Spool + OutgoingReports, R: Resolve> Reporter<S, R> {
    /// Writes what is counted and reports it, until `shutdown`; what is counted last is for the caller to
    /// write, when the last delivery has ended.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.recorder.keep_writing(self.store.as_ref()) => {}
            () = self.keep_reporting() => {}
            () = shutdown => {}
        }
    }

    /// Reports what is due, for ever.
    async fn keep_reporting(&self) {
        for round in 0_u64.. {
            if let Err(error) = self.report(round.is_multiple_of(ROUNDS_PER_TIDYING)).await {
                tracing::warn!(target: "byrnie::tlsrpt", %error, "reports must wait for the store");
            }
            time::sleep(ROUND_INTERVAL).await;
        }
    }

    /// Does everything that is due, and drops what is old if it is to be tidied up.
    async fn report(&self, tidy: bool) -> Result<(), StoreError> {
        let now = self.clock.now();
        while self.draw_up(now).await? == REPORTS_PER_PAGE {}
        loop {
            let latest = now + self.spread + REPORT_LIFETIME;
            let due = self.store.due_reports(now, latest, STEPS_PER_PAGE).await?;
            if due.is_empty() {
                break;
            }
            let steps = due.into_iter().map(|step| self.take_step(step));
            let taken = stream::iter(steps).buffer_unordered(STEPS_AT_ONCE);
            // One that fails must not break off those beside it, which may be on their way already.
            let results: Vec<Result<(), StoreError>> = taken.collect().await;
            results.into_iter().collect::<Result<(), _>>()?;
        }
        if tidy {
            let before = UnixTime(now.0.saturating_sub(KEPT_FOR.as_secs()));
            while self.store.forget_reports(before, STEPS_PER_PAGE).await? > 0 {}
        }
        let waiting = self.store.waiting_reports().await?;
        self.metrics.reports_sent.waiting(waiting);
        Ok(())
    }

    /// Draws up reports of days that are over, a page of them.
    async fn draw_up(&self, now: UnixTime) -> Result<usize, StoreError> {
        // Until then, what was counted last in a day is written.
        let today = Day::of(UnixTime(now.0.saturating_sub(DAY_END_GRACE.as_secs())));
        let spread = self.spread.as_secs();
        let due = || now + Duration::from_secs(fastrand::u64(0..=spread));
        let due = std::iter::repeat_with(due).take(REPORTS_PER_PAGE).collect();
        self.store.draw_up(today, due, now).await
    }

    /// Takes one step with a report.
    async fn take_step(&self, step: OutgoingReport) -> Result<(), StoreError> {
        let step = &step;
        let taken = match &step.destination {
            None => self.find_destinations(step).await?,
            Some(uri) => self.bring(step, uri).await?,
        };
        let now = self.clock.now();
        let end = match taken {
            Taken::Done => return Ok(()),
            Taken::Sent => OutgoingEnd::Sent,
            Taken::Failed(reason) => {
                let (due_at, expires_at) = (retry_at(step, now), expiry(step, now));
                match due_at <= expires_at {
                    true => OutgoingEnd::Later {
                        due_at,
                        expires_at,
                        reason,
                    },
                    false => OutgoingEnd::GivenUp { reason },
                }
            }
        };
        self.store.attempted(step, end.clone(), now).await?;
        self.tell(step, &end);
        Ok(())
    }

    /// Tells what came of an attempt.
    fn tell(&self, step: &OutgoingReport, end: &OutgoingEnd) {
        let OutgoingReport { domain, day, .. } = step;
        let destination = step.destination.as_deref().unwrap_or("unknown yet");
        let counted = match end {
            OutgoingEnd::Sent => {
                tracing::info!(target: "byrnie::tlsrpt", %domain, %day, destination, "report sent");
                Step::Sent
            }
            OutgoingEnd::Later { reason, .. } => {
                tracing::info!(target: "byrnie::tlsrpt", %domain, %day, destination, reason, "report deferred");
                Step::Later
            }
            OutgoingEnd::GivenUp { reason } => {
                tracing::warn!(target: "byrnie::tlsrpt", %domain, %day, destination, reason, "report given up");
                Step::GivenUp
            }
        };
        self.metrics.reports_sent.step(counted);
    }

    /// Asks a domain where its reports go.
    async fn find_destinations(&self, step: &OutgoingReport) -> Result<Taken, StoreError> {
        let destinations = match self.ask(&step.domain).await {
            Ok(destinations) => destinations,
            Err(reason) => return Ok(Taken::Failed(reason)),
        };
        self.metrics
            .reports_sent
            .step(match destinations.is_empty() {
                true => Step::Unwanted,
                false => Step::Addressed,
            });
        let now = self.clock.now();
        self.store.address(step.report, destinations, now).await?;
        Ok(Taken::Done)
    }

    /// Where a domain wants its reports; an error says why that cannot be found out now.
    async fn ask(&self, domain: &DomainName) -> Result<Vec<String>, String> {
        let Ok(owner) = domain.prefixed(RECORD_PREFIX) else {
            return Ok(Vec::new());
        };
        let answer = self.resolver.lookup(&owner, RecordType::Txt).await;
        let outcome = answer.outcome.map_err(|error| error.to_string())?.value;
        let Outcome::Records(records) = outcome else {
            return Ok(Vec::new());
        };
        let texts = records.iter().filter_map(|record| match record {
            RecordData::Txt(text) => Some(text.as_slice()),
            RecordData::A(_)
            | RecordData::Aaaa(_)
            | RecordData::Mx { .. }
            | RecordData::Tlsa(_)
            | RecordData::Other(_) => None,
        });
        let record = TlsrptRecord::select(texts).unwrap_or_else(|why| {
            tracing::debug!(target: "byrnie::tlsrpt", %domain, %why, "a domain's TLSRPT record cannot be used");
            None
        });
        let destinations = record.map(|record| record.destinations).unwrap_or_default();
        Ok(destinations.iter().map(ToString::to_string).collect())
    }

    /// Brings a report to a destination.
    async fn bring(&self, step: &OutgoingReport, uri: &str) -> Result<Taken, StoreError> {
        let rows = self.store.report_results(step.report).await?;
        let report = self
            .submitter
            .report(step.day, &step.domain, step.report, rows);
        let Ok(json) = serde_json::to_vec(&report) else {
            return Ok(Taken::Failed(String::from("the report cannot be written")));
        };
        let octets = compress(&json);
        match Destination::parse(uri) {
            Some(Destination::Https(url)) => Ok(match url.parse::<HttpsUrl>() {
                Ok(url) => self.post(&url, octets).await,
                Err(error) => Taken::Failed(error.to_string()),
            }),
            Some(Destination::Mailto(to)) => {
                let date = Rfc5322Date(self.clock.now()).to_string();
                let mail = ReportMail {
                    from: &self.submitter.from,
                    to: &to,
                    submitter: &self.submitter.domain,
                    domain: &step.domain,
                    report: &report,
                    octets: &octets,
                    date: &date,
                };
                self.mail(step, &to, mail.render()).await
            }
            None => Ok(Taken::Failed(String::from(
                "nothing can be sent to this URI",
            ))),
        }
    }

    /// Brings a report to an HTTPS host.
    ///
    /// A crash between its answer and the disk brings it there again, under the same identifier, by which
    /// such hosts know it.
    async fn post(&self, url: &HttpsUrl, octets: Vec<u8>) -> Taken {
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_static(REPORT_MEDIA_TYPE);
        headers.insert(header::CONTENT_TYPE, media_type);
        match self.https.post(url, headers, Bytes::from(octets)).await {
            //= https://www.rfc-editor.org/rfc/rfc8460#section-5.4
            //# A successful
            //# response from the endpoint will have an HTTP response code of 2xx.
            Ok(status) if status.is_success() => Taken::Sent,
            Ok(status) => Taken::Failed(format!("the host answers with status {status}")),
            Err(error) => Taken::Failed(error.to_string()),
        }
    }

    /// Brings a report to a mailbox: into our own queue, in one step with its being sent.
    async fn mail(
        &self,
        step: &OutgoingReport,
        to: &Mailbox,
        octets: Vec<u8>,
    ) -> Result<Taken, StoreError> {
        let now = self.clock.now();
        let letter = Letter {
            from: self.submitter.from.clone(),
            to: to.clone(),
            octets,
            tls_demand: TlsDemand::TlsNotRequired,
            lifetime: REPORT_LIFETIME,
        };
        let message = self.outbox.message(&letter, now);
        match self.hand_over(step, &message, now).await {
            Ok(Some(accepted)) => {
                self.outbox.send(accepted);
                let OutgoingReport { domain, day, .. } = step;
                let queue_id = message.id();
                tracing::info!(target: "byrnie::tlsrpt", %domain, %day, destination = %to, %queue_id, "report sent");
                self.metrics.reports_sent.step(Step::Sent);
                Ok(Taken::Done)
            }
            Ok(None) => Ok(Taken::Done),
            Err(StoreError::Full) => Ok(Taken::Failed(StoreError::Full.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Hands a message over; more than once if it is not known whether the disk has it.
    async fn hand_over(
        &self,
        step: &OutgoingReport,
        message: &NewMessage,
        now: UnixTime,
    ) -> Result<Option<Accepted>, StoreError> {
        let mut tries = 1;
        loop {
            let handed = self.store.hand_over(step, message.clone(), now).await;
            match handed {
                Err(StoreError::Io(_) | StoreError::Busy) if tries < HAND_OVER_TRIES => {
                    time::sleep(HAND_OVER_PAUSE).await;
                }
                handed => return handed,
            }
            tries += 1;
        }
    }
}

impl<S, R> fmt::Debug for Reporter<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("submitter", &self.submitter)
            .finish_non_exhaustive()
    }
}

impl Submitter {
    /// A report of what was counted.
    #[must_use]
    pub fn report(
        &self,
        day: Day,
        domain: &DomainName,
        number: ReportNumber,
        rows: Vec<ResultRow>,
    ) -> Report {
        let rows = rows.into_iter();
        Report {
            organization_name: Some(self.organization.clone()),
            date_range: day.range(),
            contact_info: Some(self.contact.clone()),
            // The same at each attempt, so that nobody takes it for another.
            report_id: format!("{day}.{}.{domain}@{}", number.0, self.domain),
            policies: policy_reports(rows.map(|row| (row.policy, row.counted, row.count))),
        }
    }
}

/// What came of a step.
enum Taken {
    /// All of it is recorded.
    Done,
    /// The report was taken.
    Sent,
    /// It was not, for this reason.
    Failed(String),
}

/// When a step that failed is taken again, unless it is given up before.
fn retry_at(step: &OutgoingReport, now: UnixTime) -> UnixTime {
    let doubled = RETRY_MIN.saturating_mul(2_u32.saturating_pow(step.attempts));
    now + doubled.min(RETRY_MAX)
}

/// When a step that failed is given up: a day after its first attempt, however long it had to wait for that.
//= https://www.rfc-editor.org/rfc/rfc8460#section-5.5
//# a sender SHOULD attempt redelivery for up to 24 hours after the
//# initial attempt.
fn expiry(step: &OutgoingReport, now: UnixTime) -> UnixTime {
    let from_now = now + REPORT_LIFETIME;
    match step.attempts {
        0 => from_now,
        // Later only if the clock was ahead.
        _ => step.expires_at.min(from_now),
    }
}

/// What stands in front of a domain that says where its reports go.
const RECORD_PREFIX: &str = "_smtp._tls";

/// How often is looked for what is due.
const ROUND_INTERVAL: Duration = Duration::from_secs(30);

/// Every hour.
const ROUNDS_PER_TIDYING: u64 = 120;

/// How long after its end a day counts as over.
const DAY_END_GRACE: Duration = Duration::from_secs(60);

/// Reports that are drawn up in one change: some milliseconds of the thread that writes.
const REPORTS_PER_PAGE: usize = 200;

/// Steps that are read at once.
const STEPS_PER_PAGE: u32 = 200;

/// Steps that are taken side by side.
const STEPS_AT_ONCE: usize = 16;

/// How long is kept what became of reports.
const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);

/// The wait after the first failure; it doubles from then on.
const RETRY_MIN: Duration = Duration::from_secs(10 * 60);

/// The longest wait between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(4 * 60 * 60);

/// How often a message is handed over before its report waits for its next attempt.
const HAND_OVER_TRIES: u32 = 5;

/// The wait between two of them.
const HAND_OVER_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
