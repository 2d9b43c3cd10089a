//! The gateway's parts, brought together, and its life from start to end.

use std::future::Future;
use std::slice;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use byrnie_mta::Metrics;
use byrnie_mta::Mta;
use byrnie_mta::MtaParts;
use byrnie_mta::Outbox;
use byrnie_mta::PartEnded;
use byrnie_mta::policyd::PolicyDaemon;
use byrnie_net::dns::Resolver;
use byrnie_net::http::HttpServer;
use byrnie_store::SqliteOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;
use tracing::info;
use tracing::warn;

use super::butler::Butler;
use super::common::Common;
use super::descriptors;
use super::door::Door;
use super::helm::Helm;
use super::history::History;
use super::life;
use super::life::Ending;
use super::life::Lifetime;
use super::listening;
use super::monitor;
use super::monitor::Measure;
use super::monitor::Monitor;
use super::policyd::Policyd;
use super::policyd::Steward;
use super::receiving::Receiving;
use super::reload::Reloader;
use super::settings;
use super::tlsrpt::Reporting;
use super::web;
use super::web::Web;
use crate::cli::Only;
use crate::cli::ServeArgs;
use crate::config::File;
use crate::config::MetricsListen;
use crate::config::Settings;
use crate::failure::Failure;
use crate::log::LogLevel;
use crate::signals;

/// Relays mail, or runs one service alone, until a signal says that it is enough.
///
/// # Errors
/// Something that is needed cannot be had, or a part has ended by itself.
pub(super) async fn run(args: ServeArgs, file: &File, log: LogLevel) -> Result<(), Failure> {
    let terminated = signals::termination()?;
    let hangups = signals::hangups()?;
    descriptors::make_room(file, args.only)?;
    let (ending, life) = life::begin();
    let mut common = Common::prepare(file, life).await?;
    let policyd = match args.only {
        None | Some(Only::Policyd) => Policyd::listen(file).await?,
        Some(Only::Web) => None,
    };
    let listeners = smtp_listeners(file, args.only, policyd.is_some()).await?;
    let receiving = Arc::new(Receiving::new(file, &common)?);
    receiving.keep_house(&common);
    let web = public_pages(file, args.only, &common, &receiving).await?;
    let smtp = listening::addresses(&listeners);
    let numbers = Numbers {
        metrics: Arc::clone(&common.metrics),
        resolver: common.resolver.clone(),
        web: web.clone(),
    };
    let monitor = Monitor::new(numbers);
    let monitor = Arc::new(HttpServer::new(monitor, monitor::CONNECTIONS));
    let (monitoring, monitored_at) = monitoring(file, &monitor, &common.life).await?;
    common.tend_resolver().await?;

    let door = Door::open(&file.queue.spool)?;
    let (mta, reporting) = match args.only {
        None => relay(file, &common, listeners, &receiving).map(|(mta, it)| (Some(mta), it))?,
        Some(Only::Web) => receiving.start(&common, None).map(|()| (None, None))?,
        Some(Only::Policyd) => (None, None),
    };
    let policyd = policyd.map(|policyd| policyd.start(&common)).transpose()?;
    let reloader = Arc::new(Reloader {
        args,
        running: Mutex::new(Settings::of(file)),
        hostname: common.hostname.clone(),
        decider: Arc::clone(&common.decider),
        control: mta.as_ref().map(Mta::control),
        store: Arc::clone(&common.store),
        web,
        receiving: Arc::clone(&receiving),
        log,
    });
    let until = || common.life.clone().ended();
    tokio::spawn(reload_at(hangups, Arc::clone(&reloader), until()));
    match &mta {
        Some(mta) => attend(door, butler(file, &common, mta, reloader), &common.life),
        None => {
            let (decider, until) = (Arc::clone(&common.decider), until());
            tokio::spawn(async move { decider.refresh_policies(until).await });
            tokio::spawn(door.attend(Arc::new(Steward(reloader)), common.life.clone().ended()));
        }
    }
    monitor.service().now_ready();
    info!(target: "byrnie::serve", %smtp, metrics = %monitored_at, "ready");

    let finished = tokio::spawn(finished(mta, policyd, until()));
    let stopper = tokio::spawn(stop_after(terminated, Arc::clone(&monitor), ending));
    let result = finished
        .await
        .map_err(|error| Failure::runtime(error.to_string()))?
        .map_err(|error| Failure::runtime(error.to_string()));
    if result.is_ok()
        && let Some(monitoring) = monitoring
    {
        // It was told to end together with the rest, and has nothing to lose.
        _ = tokio::time::timeout(MONITOR_END_MAX, monitoring).await;
    }
    stopper.abort();
    settle(&common, reporting).await;
    info!(target: "byrnie::serve", "ended");
    result
}

/// Where mail is taken in: nowhere if another service runs alone, which then must be served somewhere.
async fn smtp_listeners(
    file: &File,
    only: Option<Only>,
    is_policyd: bool,
) -> Result<Vec<TcpListener>, Failure> {
    match only {
        None => listening::bind_all(&file.smtp.listen).await,
        Some(Only::Policyd) if !is_policyd => {
            Err(Failure::usage("the policy daemon listens nowhere")
                .hint("set `policyd.socketmap`, `policyd.exim` or `policyd.http`"))
        }
        Some(Only::Web) if file.web.listen.is_empty() => {
            Err(Failure::usage("the public server listens nowhere").hint("set `web.listen`"))
        }
        Some(Only::Policyd | Only::Web) => Ok(Vec::new()),
    }
}

/// Serves public pages, where anybody is to see them.
async fn public_pages(
    file: &File,
    only: Option<Only>,
    common: &Common,
    receiving: &Receiving,
) -> Result<Option<Arc<Web>>, Failure> {
    match only {
        None | Some(Only::Web) => web::start(file, common, receiving.posted(file)).await,
        Some(Only::Policyd) => Ok(None),
    }
}

/// Waits for the end of everything, which is not before `told`. A part that ends by itself ends the whole.
async fn finished(
    mta: Option<Mta>,
    policyd: Option<PolicyDaemon>,
    told: impl Future<Output = ()>,
) -> Result<(), PartEnded> {
    let relaying = async {
        match mta {
            Some(mta) => mta.finished().await,
            None => Ok(()),
        }
    };
    let telling = async {
        match policyd {
            Some(policyd) => policyd.finished().await,
            None => Ok(()),
        }
    };
    let told = async {
        told.await;
        Ok(())
    };
    tokio::try_join!(relaying, telling, told).map(drop)
}

/// Starts to take mail in and to send it on.
fn relay(
    file: &File,
    common: &Common,
    listeners: Vec<TcpListener>,
    receiving: &Receiving,
) -> Result<(Mta, Option<Reporting>), Failure> {
    let reporting = Reporting::prepare(file, common)?;
    let parts = MtaParts {
        listeners,
        server_tls: settings::server_tls(file)?,
        store: Arc::clone(&common.store),
        decider: Arc::clone(&common.decider),
        roots: common.roots.clone(),
        clock: Arc::clone(&common.clock),
        metrics: Arc::clone(&common.metrics),
        reports: Some(receiving.keeper()),
        recorder: reporting.as_ref().map(Reporting::recorder),
    };
    let mta = settings::mta(file, common.hostname.clone());
    let mta = Mta::start(&mta, parts, common.life.clone().ended())
        .map_err(|error| Failure::runtime(error.to_string()))?;
    let store = Arc::clone(&common.store);
    let outbox = Outbox::new(store, mta.queue(), settings::route(file), None);
    receiving.start(common, Some(outbox))?;
    if let Some(reporting) = &reporting {
        reporting.start(file, common, &mta)?;
    }
    Ok((mta, reporting))
}

/// Who does what commands ask for.
fn butler(file: &File, common: &Common, mta: &Mta, reloader: Arc<Reloader>) -> Butler {
    let receiving = Arc::clone(&reloader.receiving);
    let (metrics, store) = (Arc::clone(&common.metrics), Arc::clone(&common.store));
    Butler {
        reloader,
        helm: Helm::new(Arc::clone(&common.store), mta.queue()),
        store: Arc::clone(&common.store),
        options: SqliteOptions::in_directory(&file.queue.spool),
        control: mta.control(),
        queue: mta.queue(),
        history: History::new(metrics, common.resolver.clone(), store),
        receiving,
    }
}

/// Waits until all that was asked for is on disk: whoever asked may be gone, and the change is made all the
/// same if it gets the time.
async fn settle(common: &Common, reporting: Option<Reporting>) {
    let settling = async {
        if let Some(reporting) = reporting {
            reporting.finish(common).await;
        }
        common.store.settle().await
    };
    let why = match tokio::time::timeout(STORE_END_MAX, settling).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => String::from("it takes too long"),
    };
    warn!(target: "byrnie::serve", why, "the last changes may not be on disk");
}

/// Serves the monitor, if it is to be served; says where.
async fn monitoring(
    file: &File,
    monitor: &Arc<HttpServer<Monitor<Numbers>>>,
    life: &Lifetime,
) -> Result<(Option<JoinHandle<()>>, String), Failure> {
    let MetricsListen::At(address) = file.metrics.listen else {
        return Ok((None, String::from("off")));
    };
    let listener = listening::bind(address).await?;
    let at = listening::addresses(slice::from_ref(&listener));
    let until = life.clone().ended();
    let serving = Arc::clone(monitor).serve(listener, until);
    Ok((Some(tokio::spawn(serving)), at))
}

/// Waits for the wish that the gateway ends, and passes it on.
async fn stop_after(
    terminated: impl Future<Output = ()>,
    monitor: Arc<HttpServer<Monitor<Numbers>>>,
    ending: Ending,
) -> Ending {
    terminated.await;
    monitor.service().no_longer_ready();
    info!(target: "byrnie::serve", "ending: messages and deliveries under way are finished first");
    ending.announce();
    ending
}

/// Does what commands ask for, as long as the gateway goes on.
fn attend(door: Door, butler: Butler, life: &Lifetime) {
    let until = || life.clone().ended();
    let butler = Arc::new(butler);
    let remembering = (Arc::clone(&butler), until());
    tokio::spawn(async move {
        let (butler, until) = remembering;
        butler.history.keep(&butler.queue, until).await;
    });
    tokio::spawn(door.attend(butler, until()));
}

/// Reads the configuration again at each signal, until `shutdown` ends.
async fn reload_at(
    mut hangups: Signal,
    reloader: Arc<Reloader>,
    shutdown: impl Future<Output = ()>,
) {
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(()) = hangups.recv() => {}
        }
        // What came of it stands in the log.
        _ = Reloader::reload_aside(Arc::clone(&reloader)).await;
    }
}

/// Everything that is counted.
struct Numbers {
    /// What the mail transfer agent counts.
    metrics: Arc<Metrics>,
    /// What the resolver counts.
    resolver: Resolver,
    /// What the public server counts; `None` where there is none.
    web: Option<Arc<Web>>,
}

impl Measure for Numbers {
    fn measure(&self) -> String {
        self.metrics.set_dns(self.resolver.stats().snapshot());
        if let Some(web) = &self.web {
            self.metrics.set_web(&web.counts());
        }
        self.metrics.render()
    }
}

/// How long the store may take to write what was asked for before the end. It waits for up to 5 seconds
/// for who else writes.
const STORE_END_MAX: Duration = Duration::from_secs(10);

/// How long the monitor may take to end.
const MONITOR_END_MAX: Duration = Duration::from_secs(1);
