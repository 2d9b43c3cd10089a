//! Reports of others about us: taken however they come, kept, and what is new in them told.
//!
//! Who signed the mail is not looked at yet, so a report is what somebody says. What a forged one can do is
//! bounded: it takes room only from those whom nobody knew a week ago, and raises alerts, but silences none.

mod alerts;
mod counts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_store::Arrival;
use byrnie_store::Kept;
use byrnie_store::NewFailure;
use byrnie_store::ReceivedReports;
use byrnie_store::ReportBounds;
use byrnie_store::ReportContent;
use byrnie_store::ReportSource;
use byrnie_store::StoreError;
use byrnie_tlsrpt::reading;
use byrnie_tlsrpt::reading::INFLATED_OCTETS_MAX;
use byrnie_tlsrpt::reading::Unreadable;
use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::task;
use tokio::time;
use tokio::time::Instant;
use tracing::field::debug;

pub use self::alerts::AlertConfig;
pub use self::alerts::Alerter;
pub(crate) use self::counts::Counts;
use crate::Metrics;

/// How reports are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReceivingConfig {
    /// How many reports are kept; past it, old ones make room. Default 100,000.
    pub reports_max: u64,
    /// How many octets they may take; past it, likewise. Default 1 GiB.
    pub size_max: u64,
    /// How long they are kept. Default 365 days.
    pub retention: Duration,
}

impl Default for ReceivingConfig {
    fn default() -> Self {
        Self {
            reports_max: 100_000,
            size_max: 1 << 30,
            retention: Duration::from_secs(365 * 86_400),
        }
    }
}

/// Takes what may be a report.
pub trait TakeReports: Send + Sync + 'static {
    /// Keeps what is in it; says what came of each report once that is durable.
    ///
    /// What cannot be read is kept too. [`StoreError::Full`] if one is larger than all may be together, or
    /// the disk has no room.
    fn take(&self, octets: Collected, source: ReportSource) -> Taking<'_>;
}

/// Waits until reports are durable.
pub struct Taking<'a>(Pin<Box<dyn Future<Output = Result<Vec<Kept>, StoreError>> + Send + 'a>>);

impl<'a> Taking<'a> {
    /// The wait for this work.
    #[must_use]
    pub fn of(work: impl Future<Output = Result<Vec<Kept>, StoreError>> + Send + 'a) -> Self {
        Self(Box::pin(work))
    }
}

impl Future for Taking<'_> {
    type Output = Result<Vec<Kept>, StoreError>;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Taking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taking").finish_non_exhaustive()
    }
}

/// What may be a report, on its way in: as many octets as anybody reads, or the first of more.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Collected {
    octets: Vec<u8>,
    /// Whether some came that are not here.
    cut: bool,
}

impl Collected {
    /// One that is in memory as a whole.
    #[must_use]
    pub fn whole(octets: &[u8]) -> Self {
        let mut collected = Self::default();
        collected.push(octets);
        collected
    }

    /// Adds what comes next. Past [`ARRIVAL_OCTETS_MAX`] only the beginning is kept.
    pub fn push(&mut self, octets: &[u8]) {
        if self.cut {
            return;
        }
        if self.octets.len() + octets.len() > ARRIVAL_OCTETS_MAX {
            self.cut = true;
            self.octets.truncate(UNREADABLE_OCTETS_MAX);
            self.octets.shrink_to_fit();
            return;
        }
        self.octets.extend_from_slice(octets);
    }

    /// Octets in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.octets.len()
    }

    /// What is to be kept of it.
    fn arrivals(&self, source: ReportSource, received_at: UnixTime) -> Vec<Arrival> {
        let arrival = |content| Arrival {
            received_at,
            source,
            content,
        };
        let unreadable = |why: Unreadable| arrival(self.unreadable(why.to_string()));
        if self.cut {
            return vec![unreadable(Unreadable::CutShort(self.octets.len()))];
        }
        let readings = reading::read(&self.octets, received_at).into_iter();
        let arrivals = readings.map(|reading| match reading {
            Ok(reading) => arrival(ReportContent::Read(Box::new(reading))),
            Err(why) => unreadable(why),
        });
        arrivals.collect()
    }

    /// What is kept of what nobody can read.
    fn unreadable(&self, reason: String) -> ReportContent {
        let end = self.octets.len().min(UNREADABLE_OCTETS_MAX);
        let original = reading::compress(self.octets.get(..end).unwrap_or_default());
        ReportContent::Unreadable { reason, original }
    }
}

/// Takes reports of others and keeps them.
pub struct ReportReceiver<S, C> {
    store: Arc<S>,
    clock: Arc<C>,
    metrics: Arc<Metrics>,
    /// How they are kept.
    config: Current<ReceivingConfig>,
    /// Places to read reports at the same time: each may need some times its size of memory.
    places: Arc<Semaphore>,
    /// Tells of new failures.
    news: Arc<News>,
    /// When the log was last told that reports made room for others.
    told: Mutex<Option<Instant>>,
}

/// Wakes whoever tells of new failures, each for itself.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// For the webhook.
    pub(crate) webhook: Notify,
    /// For mail.
    pub(crate) mail: Notify,
}

impl<S: ReceivedReports, C: Clock> ReportReceiver<S, C> {
    /// Keeps reports in a store.
    #[must_use]
    pub fn new(
        store: Arc<S>,
        clock: Arc<C>,
        metrics: Arc<Metrics>,
        config: ReceivingConfig,
    ) -> Self {
        Self {
            store,
            clock,
            metrics,
            config: Current::new(config),
            places: Arc::new(Semaphore::new(READING_MAX)),
            news: Arc::default(),
            told: Mutex::new(None),
        }
    }

    /// From now on they are kept like this.
    pub fn reconfigure(&self, config: ReceivingConfig) {
        self.config.replace(config);
    }

    /// Drops what is too old, until `until` ends.
    pub async fn keep_house(self: Arc<Self>, until: impl Future<Output = ()>) {
        let keeping = async {
            loop {
                let retention = self.config.get().retention.as_secs();
                let before = UnixTime(self.clock.now().0.saturating_sub(retention));
                if let Err(error) = self.store.drop_reports(before).await {
                    tracing::warn!(target: TARGET, %error, "cannot drop old reports");
                }
                time::sleep(HOUSE_INTERVAL).await;
            }
        };
        tokio::select! {
            () = keeping => {}
            () = until => {}
        }
    }

    /// Reads, keeps, counts and tells.
    async fn receive(
        &self,
        octets: Collected,
        source: ReportSource,
    ) -> Result<Vec<Kept>, StoreError> {
        let now = self.clock.now();
        // Reading goes on when whoever waits for it goes away; the place is taken for as long.
        let place = Arc::clone(&self.places).acquire_owned().await;
        let octets = Arc::new(octets);
        let reading = {
            let octets = Arc::clone(&octets);
            task::spawn_blocking(move || {
                let arrivals = octets.arrivals(source, now);
                drop(place);
                arrivals
            })
        };
        // Whatever a stranger may find that makes reading panic, it costs one report.
        let arrivals = reading.await.unwrap_or_else(|_| {
            vec![Arrival {
                received_at: now,
                source,
                content: octets
                    .unreadable(String::from("reading it has failed, by a fault of ours")),
            }]
        });
        drop(octets);
        let mut all = Vec::new();
        let mut failures = FailureLines::default();
        for arrival in arrivals {
            match self.keep(arrival, &mut failures).await {
                Ok(became) => all.push(became),
                Err(error) => {
                    let hint = (error == StoreError::Full).then_some(FULL);
                    tracing::error!(target: TARGET, %error, source = source.as_str(), hint, "a report could not be kept");
                    failures.end();
                    return Err(error);
                }
            }
        }
        failures.end();
        Ok(all)
    }

    /// Keeps one, and tells of it.
    async fn keep(
        &self,
        arrival: Arrival,
        failures: &mut FailureLines,
    ) -> Result<Kept, StoreError> {
        let (name, source) = (Name::of(&arrival), arrival.source);
        let config = self.config.get();
        let bounds = ReportBounds {
            reports_max: config.reports_max,
            size_max: config.size_max,
            unreadable_max: UNREADABLE_MAX,
            failures_max: FAILURES_MAX,
        };
        let kept = self.store.keep_report(arrival, bounds).await?;
        tell(&kept.became, name.as_ref(), source);
        self.metrics.reports.received(&kept.became, source);
        self.tell_of_pushed_out(kept.pushed_out);
        for failure in &kept.new_failures {
            failures.tell(failure);
            self.metrics.reports.new_failure(&failure.result_type);
        }
        failures.more += kept.more_failures;
        if !kept.new_failures.is_empty() {
            self.news.webhook.notify_one();
            self.news.mail.notify_one();
        }
        Ok(kept.became)
    }

    /// Tells of reports that made room for others, now and then.
    fn tell_of_pushed_out(&self, count: u64) {
        if count == 0 {
            return;
        }
        self.metrics.reports.pushed_out(count);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.is_some_and(|told| now < told + TELL_INTERVAL) {
            return;
        }
        *told = Some(now);
        tracing::warn!(
            target: TARGET,
            hint = "if they are not wanted, see who sends so many; else raise `tlsrpt.receive.max_reports` or \
                `tlsrpt.receive.max_size`",
            "old reports make room for new ones; for a minute, the metric byrnie_tlsrpt_reports_pushed_out \
             alone tells of more"
        );
    }
}

impl<S: ReceivedReports, C: Clock> TakeReports for ReportReceiver<S, C> {
    fn take(&self, octets: Collected, source: ReportSource) -> Taking<'_> {
        Taking::of(self.receive(octets, source))
    }
}

impl<S, C> fmt::Debug for ReportReceiver<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportReceiver").finish_non_exhaustive()
    }
}

/// What the log is told of the new failures in what came together.
#[derive(Debug, Default)]
struct FailureLines {
    /// How many have a line.
    told: usize,
    /// How many have none.
    more: u64,
}

impl FailureLines {
    /// Tells of one, if there are not too many. What strangers call it is quoted.
    fn tell(&mut self, failure: &NewFailure) {
        if self.told >= FAILURES_TOLD_MAX {
            self.more += 1;
            return;
        }
        self.told += 1;
        tracing::warn!(
            target: TARGET,
            policy_domain = ?failure.policy_domain,
            result_type = ?failure.result_type,
            mx = ?failure.mx,
            organization = ?failure.organization,
            sessions = failure.sessions,
            report = failure.report,
            "sessions with us fail in a new way"
        );
    }

    /// Tells of how many it did not tell.
    fn end(&self) {
        if self.more > 0 {
            tracing::warn!(target: TARGET, more = self.more, "sessions with us fail in more new ways");
        }
    }
}

/// What a report is called.
struct Name {
    organization: String,
    report_id: String,
}

impl Name {
    /// Of an arrival that could be read.
    fn of(arrival: &Arrival) -> Option<Self> {
        match &arrival.content {
            ReportContent::Read(reading) => Some(Self {
                organization: reading.report.organization_name.clone().unwrap_or_default(),
                report_id: reading.report.report_id.clone(),
            }),
            ReportContent::Unreadable { .. } => None,
        }
    }
}

/// Tells the log what came of a report. What strangers call it is quoted.
fn tell(became: &Kept, name: Option<&Name>, source: ReportSource) {
    let source = source.as_str();
    let organization = name.map(|name| debug(&name.organization));
    let report_id = name.map(|name| debug(&name.report_id));
    match became {
        Kept::New(report) => {
            tracing::info!(target: TARGET, report, source, organization, report_id, "report kept");
        }
        Kept::Known(report) => {
            tracing::info!(target: TARGET, report, source, organization, report_id, "report known already");
        }
        Kept::Unreadable(report, reason) => {
            tracing::warn!(target: TARGET, report, source, ?reason, "a report cannot be read");
        }
    }
}

/// Why a report finds no room.
const FULL: &str = "the disk has no room for reports; who sent it is asked to come again";

/// Where the log is told about reports.
const TARGET: &str = "byrnie::tlsrpt";

/// The most octets of an arrival: the largest report in base64, with the rest of its mail.
pub const ARRIVAL_OCTETS_MAX: usize = INFLATED_OCTETS_MAX / 2 * 3;

/// How many octets are kept of what cannot be read: enough to see what it is.
const UNREADABLE_OCTETS_MAX: usize = 64 << 10;

/// How many arrivals that cannot be read are kept.
const UNREADABLE_MAX: u64 = 1_000;

/// How many failures are known again.
const FAILURES_MAX: u64 = 10_000;

/// How many new failures in what came together have a line each in the log.
const FAILURES_TOLD_MAX: usize = 100;

/// How often the log is told that reports made room for others.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// How many reports are read at the same time.
const READING_MAX: usize = 2;

/// How often old reports are dropped.
const HOUSE_INTERVAL: Duration = Duration::from_secs(3_600);
