//! Telling people of new failures: at once, and then again after a while what came meanwhile.

use std::fmt;
use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_base::UnixTime;
use byrnie_base::is_unprintable;
use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_net::dns::Resolve;
use byrnie_net::https::HttpsClient;
use byrnie_net::https::HttpsUrl;
use byrnie_store::AlertChannel;
use byrnie_store::NewFailure;
use byrnie_store::PendingAlerts;
use byrnie_store::ReceivedReports;
use byrnie_store::Spool;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header;
use hyper::header::HeaderValue;
use serde::Serialize;
use tokio::time;

use super::News;
use super::ReportReceiver;
use super::TARGET;
use crate::Metrics;
use crate::Note;
use crate::Outbox;

/// Who is told of new failures, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertConfig {
    /// Gets a request with JSON.
    pub webhook: Option<HttpsUrl>,
    /// Gets a mail.
    pub mail: Option<Mailbox>,
    /// Who sends the mail.
    pub from: Mailbox,
    /// The time between two alerts; what comes meanwhile is in the second.
    pub interval: Duration,
}

/// Tells people of new failures.
pub struct Alerter<S, R, C> {
    store: Arc<S>,
    clock: Arc<C>,
    metrics: Arc<Metrics>,
    news: Arc<News>,
    /// Who is told.
    config: Arc<Current<AlertConfig>>,
    /// Where mails go; `None` where nothing is relayed: they wait for a gateway that does.
    pub(super) outbox: Option<Outbox<S>>,
    /// Asks the webhook.
    https: HttpsClient<R>,
    /// The name of this host.
    hostname: DomainName,
}

impl<S, R, C> Alerter<S, R, C>
where
    S: ReceivedReports + Spool,
    R: Resolve,
    C: Clock,
{
    /// Tells of what a receiver learns.
    #[must_use]
    pub fn new(
        receiver: &ReportReceiver<S, C>,
        config: Arc<Current<AlertConfig>>,
        outbox: Option<Outbox<S>>,
        https: HttpsClient<R>,
        hostname: DomainName,
    ) -> Self {
        Self {
            store: Arc::clone(&receiver.store),
            clock: Arc::clone(&receiver.clock),
            metrics: Arc::clone(&receiver.metrics),
            news: Arc::clone(&receiver.news),
            config,
            outbox,
            https,
            hostname,
        }
    }

    /// Tells until `until` ends, beginning with what was not told before this start.
    pub async fn run(self, until: impl Future<Output = ()>) {
        tokio::select! {
            () = self.tell(AlertChannel::Webhook) => {}
            () = self.tell(AlertChannel::Mail) => {}
            () = until => {}
        }
    }

    /// Tells over one channel, for ever.
    async fn tell(&self, channel: AlertChannel) {
        let news = match channel {
            AlertChannel::Webhook => &self.news.webhook,
            AlertChannel::Mail => &self.news.mail,
        };
        let mut failures = 0;
        loop {
            match self.tell_pending(channel).await {
                Ok(Told::Nothing) => news.notified().await,
                Ok(Told::All) => {
                    failures = 0;
                    time::sleep(self.config.get().interval).await;
                }
                Err(error) => {
                    self.metrics.reports.alerted(channel, "failed");
                    let wait = RETRY_WAIT_MIN.saturating_mul(1 << failures.min(RETRY_DOUBLED_MAX));
                    failures += 1;
                    let next_attempt_in = wait.as_secs();
                    tracing::warn!(target: TARGET, %error, next_attempt_in, "an alert could not be sent");
                    time::sleep(wait).await;
                }
            }
        }
    }

    /// Tells of what is not told yet.
    pub(super) async fn tell_pending(&self, channel: AlertChannel) -> Result<Told, AlertError> {
        let pending = self.pending(channel).await?;
        if pending.failures.is_empty() {
            return Ok(Told::Nothing);
        }
        let config = self.config.get();
        let told = match channel {
            AlertChannel::Webhook => match &config.webhook {
                Some(url) => self.ask_webhook(url, &pending).await,
                None => return self.pass_over(channel, &pending).await,
            },
            AlertChannel::Mail => match (&config.mail, &self.outbox) {
                (Some(to), Some(outbox)) => {
                    self.write_mail(outbox, &config.from, to, &pending).await
                }
                (Some(_), None) => return Ok(Told::Nothing),
                (None, _) => return self.pass_over(channel, &pending).await,
            },
        };
        match told {
            Ok(()) => {
                self.metrics.reports.alerted(channel, "sent");
                tracing::info!(target: TARGET, ?channel, failures = pending.count, "alert sent");
                Ok(Told::All)
            }
            Err(error) => self.give_up_old(channel, error).await,
        }
    }

    /// Gives up what was tried for long enough after it has failed again, and leaves the rest for the next
    /// attempt.
    async fn give_up_old(
        &self,
        channel: AlertChannel,
        error: AlertError,
    ) -> Result<Told, AlertError> {
        let now = self.clock.now().0;
        let before = UnixTime(now.saturating_sub(GIVEN_UP_AFTER.as_secs()));
        let given_up = self.store.give_up_alerts(channel, before).await;
        let given_up = given_up.map_err(|error| AlertError(error.to_string()))?;
        if given_up > 0 {
            self.metrics.reports.alerted(channel, "given-up");
            tracing::error!(target: TARGET, %error, failures = given_up, "an alert was given up");
            if self.pending(channel).await?.failures.is_empty() {
                return Ok(Told::Nothing);
            }
        }
        Err(error)
    }

    /// What is not told yet.
    async fn pending(&self, channel: AlertChannel) -> Result<PendingAlerts, AlertError> {
        let pending = self.store.pending_alerts(channel, LISTED_MAX).await;
        pending.map_err(|error| AlertError(error.to_string()))
    }

    /// Takes failures for told.
    async fn pass_over(
        &self,
        channel: AlertChannel,
        pending: &PendingAlerts,
    ) -> Result<Told, AlertError> {
        let passed = self.store.alerts_told(channel, pending.last).await;
        passed.map_err(|error| AlertError(error.to_string()))?;
        Ok(Told::Nothing)
    }

    /// Tells the webhook. Should the program end before it can note that, it tells it again, under the same
    /// id.
    async fn ask_webhook(&self, url: &HttpsUrl, pending: &PendingAlerts) -> Result<(), AlertError> {
        let body = Hook {
            event: "tlsrpt-new-failures",
            id: self.id(pending),
            hostname: &self.hostname,
            failures: &pending.failures,
            more: pending.more(),
        };
        let body = serde_json::to_vec(&body).map_err(|error| AlertError(error.to_string()))?;
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let status = self.https.post(url, headers, Bytes::from(body)).await;
        let status = status.map_err(|error| AlertError(format!("{url}: {error}")))?;
        if !status.is_success() {
            return Err(AlertError(format!("{url}: the answer is {status}")));
        }
        let noted = self.store.alerts_told(AlertChannel::Webhook, pending.last);
        noted.await.map_err(|error| AlertError(error.to_string()))
    }

    /// Puts a mail into the queue, and notes that in the same step.
    async fn write_mail(
        &self,
        outbox: &Outbox<S>,
        from: &Mailbox,
        to: &Mailbox,
        pending: &PendingAlerts,
    ) -> Result<(), AlertError> {
        let now = self.clock.now();
        let note = Note {
            from,
            to,
            subject: &format!("New TLS failures with our mail hosts: {}", pending.count),
            text: &text(pending, &self.hostname),
            id: &self.id(pending),
            now,
            lifetime: MAIL_LIFETIME,
        };
        let mail = outbox.message(&note.letter(), now);
        let accepted = self.store.mail_alerts(mail, pending.last).await;
        let accepted = accepted.map_err(|error| AlertError(error.to_string()))?;
        outbox.send(accepted);
        Ok(())
    }

    /// What an alert is called: the same at each attempt.
    fn id(&self, pending: &PendingAlerts) -> String {
        let at = pending.failures.first().map_or(UnixTime(0), |it| it.at);
        format!("tlsrpt-{}-{}", at.0, pending.last)
    }
}

impl<S, R, C> fmt::Debug for Alerter<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerter").finish_non_exhaustive()
    }
}

/// What there was to tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// Nothing.
    Nothing,
    /// Something, and it was told.
    All,
}

/// Why somebody could not be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct AlertError(String);

impl fmt::Display for AlertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a webhook gets.
#[derive(Serialize)]
struct Hook<'a> {
    /// What has happened.
    event: &'static str,
    /// The same for the same news.
    id: String,
    /// Who tells.
    hostname: &'a DomainName,
    /// The first of them.
    failures: &'a [NewFailure],
    /// How many more there are.
    more: u64,
}

/// The words of a mail.
fn text(pending: &PendingAlerts, hostname: &DomainName) -> String {
    let mut text = String::from(
        "Others report TLS sessions with our mail hosts that failed in ways that no report told of before:\n\n",
    );
    for failure in &pending.failures {
        let mx = named(&failure.mx);
        let line = format!(
            "{} at {mx}: {} sessions, policy {} of {}, says {} (report {})",
            failure.result_type,
            failure.sessions,
            failure.policy_type,
            named(&failure.policy_domain),
            named(&failure.organization),
            failure.report,
        );
        // Strangers wrote it.
        let line = line.chars().filter(|c| !is_unprintable(*c));
        text.extend(line.take(LINE_CHARS_MAX));
        text.push_str("\n\n");
    }
    if pending.more() > 0 {
        // Writing to a string does not fail.
        _ = write!(text, "And {} more.\n\n", pending.more());
    }
    _ = write!(
        text,
        "`byrnie report tlsrpt summary` shows all of it, `byrnie report tlsrpt show NUMBER` one report.\n\n\
         byrnie on {hostname}\n"
    );
    text
}

/// A name that a report may not give.
fn named(name: &str) -> &str {
    match name {
        "" => "(not named)",
        name => name,
    }
}

/// How many failures an alert lists.
const LISTED_MAX: u32 = 50;

/// Where a line of a mail is cut: RFC 5322 permits 998 octets, and a character may have four.
const LINE_CHARS_MAX: usize = 240;

/// How long a mail is tried.
const MAIL_LIFETIME: Duration = Duration::from_secs(2 * 86_400);

/// The wait after an alert that could not be sent for the first time; doubled with each further one.
const RETRY_WAIT_MIN: Duration = Duration::from_secs(30);

/// How often it is doubled: up to half an hour and some.
const RETRY_DOUBLED_MAX: u32 = 6;

/// How long an alert is tried.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(86_400);
