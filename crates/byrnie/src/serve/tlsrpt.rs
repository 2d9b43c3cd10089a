//! TLS reports to recipient domains, as a service.

use std::fs;
use std::sync::Arc;

use byrnie_mta::Collector;
use byrnie_mta::DkimSigner;
use byrnie_mta::Mta;
use byrnie_mta::Outbox;
use byrnie_mta::Recorder;
use byrnie_mta::Reporter;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::https::HttpsClient;
use tokio::net::UnixDatagram;
use tokio::task::JoinSet;
use tracing::info;
use tracing::warn;

use super::common::Common;
use super::listening;
use super::settings;
use crate::config::File;
use crate::config::Listen;
use crate::failure::Failure;
use crate::reports;

/// What counts sessions, and reports them.
pub(super) struct Reporting {
    recorder: Arc<Recorder>,
    /// What takes in what other mail servers tell.
    collecting: JoinSet<()>,
}

impl Reporting {
    /// Counts what other mail servers tell from now on; `None` if nobody is to be told.
    ///
    /// # Errors
    /// A socket cannot be had.
    pub(super) fn prepare(file: &File, common: &Common) -> Result<Option<Self>, Failure> {
        if reports::submitter(file).is_none() {
            return Ok(None);
        }
        let clock: Arc<dyn Clock> = Arc::<SystemClock>::clone(&common.clock);
        let recorder = Arc::new(Recorder::new(clock, Arc::clone(&common.metrics)));
        let mut collecting = JoinSet::new();
        for place in &file.tlsrpt.collect {
            // The configuration was checked: there are no others.
            if let Listen::Unix(path) = place {
                let socket = listening::at_path(path, |path| UnixDatagram::bind(path))?;
                let metrics = Arc::clone(&common.metrics);
                let collector = Collector::new(Arc::clone(&recorder), metrics);
                collecting.spawn(collector.collect(socket, common.life.clone().ended()));
                info!(target: "byrnie::tlsrpt", path = %path.display(), "collecting");
            }
        }
        Ok(Some(Self {
            recorder,
            collecting,
        }))
    }

    /// Where it is counted how TLS with hosts went.
    pub(super) fn recorder(&self) -> Arc<Recorder> {
        Arc::clone(&self.recorder)
    }

    /// Reports until the gateway comes to its end.
    ///
    /// # Errors
    /// A key or the roots cannot be used.
    pub(super) fn start(&self, file: &File, common: &Common, mta: &Mta) -> Result<(), Failure> {
        let Some(submitter) = reports::submitter(file) else {
            return Ok(());
        };
        let tls = common.roots.https_client_config();
        let tls = tls.map_err(|error| Failure::runtime(error.to_string()))?;
        let resolver = Arc::new(common.resolver.clone());
        let store = Arc::clone(&common.store);
        let signer = signer(file)?.map(Arc::new);
        let clock: Arc<dyn Clock> = Arc::<SystemClock>::clone(&common.clock);
        let reporter = Reporter {
            submitter,
            spread: file.tlsrpt.spread.0,
            store: Arc::clone(&store),
            recorder: self.recorder(),
            https: HttpsClient::new(Arc::clone(&resolver), tls),
            resolver,
            outbox: Outbox::new(store, mta.queue(), settings::route(file), signer),
            clock,
            metrics: Arc::clone(&common.metrics),
        };
        tokio::spawn(reporter.run(common.life.clone().ended()));
        Ok(())
    }

    /// Writes what was counted up to the end of the last delivery.
    pub(super) async fn finish(mut self, common: &Common) {
        while self.collecting.join_next().await.is_some() {}
        if let Err(error) = self.recorder.write(common.store.as_ref()).await {
            warn!(target: "byrnie::tlsrpt", %error, "the last results of sessions are lost");
        }
    }
}

/// What signs the mails, if there is a key.
fn signer(file: &File) -> Result<Option<DkimSigner>, Failure> {
    let settings = &file.tlsrpt;
    let (Some(domain), Some(selector), Some(key)) = (
        settings.domain(),
        &settings.dkim_selector,
        &settings.dkim_key_file,
    ) else {
        return Ok(None);
    };
    let pem = fs::read(key);
    let pem = pem.map_err(|error| Failure::usage(format!("{}: {error}", key.display())))?;
    let unusable = |error| Failure::usage(format!("{}: {error}", key.display()));
    let signer = DkimSigner::new(domain.clone(), selector.clone(), &pem).map_err(unusable)?;
    let (owner, record) = signer.record().map_err(unusable)?;
    info!(target: "byrnie::tlsrpt", %owner, record, "reports are signed: this TXT record lets others verify it");
    Ok(Some(signer))
}
