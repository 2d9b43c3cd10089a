//! TLS reports of others: where they are kept, and who is told of what is new in them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_mta::AlertConfig;
use byrnie_mta::Alerter;
use byrnie_mta::Collected;
use byrnie_mta::Outbox;
use byrnie_mta::ReportReceiver;
use byrnie_mta::TakeReports;
use byrnie_net::clock::SystemClock;
use byrnie_net::current::Current;
use byrnie_net::https::HttpsClient;
use byrnie_store::Kept;
use byrnie_store::ReportSource;
use byrnie_store::SqliteStore;
use byrnie_web::Handed;
use byrnie_web::TakeReport;
use hyper::body::Bytes;
use tracing::warn;

use super::common::Common;
use crate::config::File;
use crate::failure::Failure;

/// Keeps TLS reports of others.
pub(super) struct Receiving {
    receiver: Arc<ReportReceiver<SqliteStore, SystemClock>>,
    /// Who is told of what is new in them.
    alerts: Arc<Current<AlertConfig>>,
    /// The name under which byrnie runs.
    hostname: DomainName,
    /// Who sends alerts if nothing else is said.
    postmaster: Mailbox,
}

impl Receiving {
    /// As it is configured; tells nobody yet.
    ///
    /// # Errors
    /// Nobody could send an alert.
    pub(super) fn new(file: &File, common: &Common) -> Result<Self, Failure> {
        let receiver = ReportReceiver::new(
            Arc::clone(&common.store),
            Arc::clone(&common.clock),
            Arc::clone(&common.metrics),
            file.tlsrpt.receive.config(),
        );
        let hostname = common.hostname.clone();
        let postmaster = postmaster(&hostname)?;
        Ok(Self {
            receiver: Arc::new(receiver),
            alerts: Arc::new(Current::new(alerts(file, &postmaster))),
            hostname,
            postmaster,
        })
    }

    /// What takes reports.
    pub(super) fn keeper(&self) -> Arc<dyn TakeReports> {
        Arc::<ReportReceiver<_, _>>::clone(&self.receiver)
    }

    /// What takes reports that are handed in over HTTPS, if they may be.
    pub(super) fn posted(&self, file: &File) -> Option<Posted> {
        file.tlsrpt.receive.https.then(|| Posted(self.keeper()))
    }

    /// Drops what is old as long as the gateway goes on.
    pub(super) fn keep_house(&self, common: &Common) {
        let receiver = Arc::clone(&self.receiver);
        tokio::spawn(receiver.keep_house(common.life.clone().ended()));
    }

    /// Tells of what is new as long as the gateway goes on; without an outbox not by mail, which then waits for
    /// a gateway that relays.
    ///
    /// # Errors
    /// TLS cannot be used with these roots.
    pub(super) fn start(
        &self,
        common: &Common,
        outbox: Option<Outbox<SqliteStore>>,
    ) -> Result<(), Failure> {
        if outbox.is_none() && self.alerts.get().mail.is_some() {
            warn!(
                target: "byrnie::tlsrpt",
                hint = "set `alerts.webhook`, or serve reports where mail is relayed",
                "where nothing is relayed, nobody is told of new failures by mail"
            );
        }
        let tls = common.roots.https_client_config();
        let tls = tls.map_err(|error| Failure::runtime(error.to_string()))?;
        let alerter = Alerter::new(
            &self.receiver,
            Arc::clone(&self.alerts),
            outbox,
            HttpsClient::new(Arc::new(common.resolver.clone()), tls),
            self.hostname.clone(),
        );
        tokio::spawn(alerter.run(common.life.clone().ended()));
        Ok(())
    }

    /// From now on this counts.
    pub(super) fn reconfigure(&self, file: &File) {
        self.alerts.replace(alerts(file, &self.postmaster));
        self.receiver.reconfigure(file.tlsrpt.receive.config());
    }

    /// Keeps what an operator brings, in base64.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(super) async fn take(&self, octets: &str) -> Result<Vec<Kept>, Failure> {
        let octets = STANDARD.decode(octets);
        let octets = octets.map_err(|error| Failure::usage(error.to_string()))?;
        let kept = self
            .receiver
            .take(Collected::whole(&octets), ReportSource::Import)
            .await;
        kept.map_err(|error| Failure::store(&error))
    }
}

/// Takes reports that are handed in over HTTPS.
pub(super) struct Posted(Arc<dyn TakeReports>);

impl TakeReport for Posted {
    /// What media type it is said to be does not matter: its octets say what it is.
    async fn take(&self, _: &str, body: Bytes) -> Handed {
        let taking = self.0.take(Collected::whole(&body), ReportSource::Https);
        match taking.await {
            Ok(kept) if kept.iter().any(|kept| !kept.is_unreadable()) => Handed::Taken,
            Ok(_) => Handed::Unreadable,
            Err(_) => Handed::NotNow,
        }
    }
}

/// Who is told of new failures.
fn alerts(file: &File, postmaster: &Mailbox) -> AlertConfig {
    let alerts = &file.alerts;
    AlertConfig {
        webhook: alerts.webhook.as_ref().map(|url| url.0.clone()),
        mail: alerts.mail.clone(),
        from: alerts.from.clone().unwrap_or_else(|| postmaster.clone()),
        interval: alerts.interval.0,
    }
}

/// Who answers for the mail of a host: RFC 5321, Section 4.5.1.
fn postmaster(hostname: &DomainName) -> Result<Mailbox, Failure> {
    format!("postmaster@{hostname}")
        .parse()
        .map_err(|_| Failure::usage("nobody could send alerts").hint("set a shorter `hostname`"))
}
