//! The gateway's parts, brought together, and its life from start to end.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_mta::Metrics;
use byrnie_mta::Mta;
use byrnie_mta::MtaParts;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::AnchorBook;
use byrnie_net::dns::AnchorFollower;
use byrnie_net::dns::HINT_DEAD;
use byrnie_net::dns::Resolver;
use byrnie_net::dns::UpstreamHealth;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;
use tracing::info;
use tracing::warn;

use super::butler::Butler;
use super::descriptors;
use super::door::Door;
use super::helm::Helm;
use super::history::History;
use super::monitor;
use super::monitor::Measure;
use super::monitor::Monitor;
use super::reload::Reloader;
use crate::cli::ServeArgs;
use crate::config;
use crate::config::File;
use crate::config::MetricsListen;
use crate::config::Settings;
use crate::failure::Failure;
use crate::kept_anchors::KeptAnchors;
use crate::log::LogLevel;
use crate::output;
use crate::resolving;
use crate::serve::settings;
use crate::signals;

/// Relays mail until a signal says that it is enough.
///
/// # Errors
/// Something that is needed cannot be had, or a part has ended by itself.
pub(super) async fn run(args: ServeArgs, file: &File, log: LogLevel) -> Result<(), Failure> {
    let terminated = signals::termination()?;
    let hangups = signals::hangups()?;
    let hostname = hostname(file)?;
    descriptors::make_room(file)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Arc::new(open_store(file)?);
    let kept = Arc::new(KeptAnchors::new(Arc::clone(&store)));
    let anchors = anchors(file, &kept, clock.now()).await?;
    let resolver = resolving::resolver(file, anchors.as_ref(), &clock)?;
    let metrics = Arc::new(Metrics::new());
    let listeners = bind_all(&file.smtp.listen).await?;
    let smtp = addresses(&listeners);
    let (stop, stopping) = watch::channel(Life::GoesOn);

    let monitor = Arc::new(Monitor::new(Numbers {
        metrics: Arc::clone(&metrics),
        resolver: resolver.clone(),
    }));
    let (monitoring, monitored_at) = monitoring(file, &monitor, &stopping).await?;

    probe(&resolver).await?;
    tend(&resolver, anchors, kept, clock, &stopping);

    let history = History::new(Arc::clone(&metrics), resolver.clone(), Arc::clone(&store));
    let parts = MtaParts {
        listeners,
        server_tls: settings::server_tls(file)?,
        store: Arc::clone(&store),
        resolver: Arc::new(resolver),
        roots: resolving::roots(file)?,
        clock: Arc::new(SystemClock),
        metrics,
    };
    let door = Door::open(&file.queue.spool)?;
    let mta = settings::mta(file, hostname.clone());
    let mta = Mta::start(&mta, parts, ended(stopping.clone()))
        .map_err(|error| Failure::runtime(error.to_string()))?;
    let reloader = Arc::new(Reloader {
        args,
        running: Mutex::new(Settings::of(file)),
        hostname,
        control: mta.control(),
        store: Arc::clone(&store),
        log,
    });
    let butler = Butler {
        reloader,
        helm: Helm::new(Arc::clone(&store), mta.queue()),
        store: Arc::clone(&store),
        options: SqliteOptions::in_directory(&file.queue.spool),
        queue: mta.queue(),
        history,
    };
    attend(door, hangups, butler, &stopping);
    monitor.now_ready();
    info!(target: "byrnie::serve", %smtp, metrics = %monitored_at, "ready");

    // A part that ends by itself ends the whole.
    let finished = tokio::spawn(mta.finished());
    let stopper = tokio::spawn(stop_after(terminated, Arc::clone(&monitor), stop));
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
    settle(&store).await;
    info!(target: "byrnie::serve", "ended");
    result
}

/// Waits until all that was asked for is on disk: whoever asked may be gone, and the change is made all the
/// same if it gets the time.
async fn settle(store: &SqliteStore) {
    let why = match tokio::time::timeout(STORE_END_MAX, store.settle()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => String::from("it takes too long"),
    };
    warn!(target: "byrnie::serve", why, "the last changes may not be on disk");
}

/// Serves the monitor, if it is to be served; says where.
async fn monitoring(
    file: &File,
    monitor: &Arc<Monitor<Numbers>>,
    stopping: &watch::Receiver<Life>,
) -> Result<(Option<JoinHandle<()>>, String), Failure> {
    let MetricsListen::At(address) = file.metrics.listen else {
        return Ok((None, String::from("off")));
    };
    let listener = bind(address).await?;
    let at = addresses(slice::from_ref(&listener));
    let until = ended(stopping.clone());
    let serving = monitor::serve(listener, Arc::clone(monitor), until);
    Ok((Some(tokio::spawn(serving)), at))
}

/// Waits for the wish that the gateway ends, and passes it on.
async fn stop_after(
    terminated: impl Future<Output = ()>,
    monitor: Arc<Monitor<Numbers>>,
    stop: watch::Sender<Life>,
) -> watch::Sender<Life> {
    terminated.await;
    monitor.no_longer_ready();
    info!(target: "byrnie::serve", "ending: messages and deliveries under way are finished first");
    stop.send_replace(Life::Ends);
    stop
}

/// Does what commands and signals ask for, as long as the gateway goes on.
fn attend(door: Door, hangups: Signal, butler: Butler, stopping: &watch::Receiver<Life>) {
    let until = || ended(stopping.clone());
    let butler = Arc::new(butler);
    let remembering = (Arc::clone(&butler), until());
    tokio::spawn(async move {
        let (butler, until) = remembering;
        butler.history.keep(&butler.queue, until).await;
    });
    let reloader = Arc::clone(&butler.reloader);
    tokio::spawn(reload_at(hangups, reloader, until()));
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

/// Whether the gateway goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    /// It does.
    GoesOn,
    /// It comes to its end.
    Ends,
}

/// Waits until the gateway comes to its end.
async fn ended(mut stopping: watch::Receiver<Life>) {
    // Without a sender there is nobody left to wait for.
    _ = stopping.wait_for(|life| *life == Life::Ends).await;
}

/// Everything that is counted.
struct Numbers {
    /// What the mail transfer agent counts.
    metrics: Arc<Metrics>,
    /// What the resolver counts.
    resolver: Resolver,
}

impl Measure for Numbers {
    fn measure(&self) -> String {
        self.metrics.set_dns(self.resolver.stats().snapshot());
        self.metrics.render()
    }
}

/// Looks after the resolver as long as the gateway goes on: whether its upstreams are fit, and what it
/// trusts.
fn tend(
    resolver: &Resolver,
    anchors: Option<AnchorBook>,
    kept: Arc<KeptAnchors<SqliteStore>>,
    clock: Arc<dyn Clock>,
    stopping: &watch::Receiver<Life>,
) {
    let (watching, until) = (resolver.clone(), ended(stopping.clone()));
    tokio::spawn(async move { watching.watch(until).await });
    if let Some(book) = anchors {
        let follower = AnchorFollower::new(resolver.clone(), book, kept, clock);
        tokio::spawn(follower.run(ended(stopping.clone())));
    }
}

/// The trust anchors as they stand; `None` where the resolvers validate.
async fn anchors(
    file: &File,
    kept: &KeptAnchors<SqliteStore>,
    now: UnixTime,
) -> Result<Option<AnchorBook>, Failure> {
    let Some(mut book) = resolving::anchors(file, now)? else {
        return Ok(None);
    };
    let damaged = book.load(kept).await.map_err(|error| {
        Failure::runtime(format!("the trust anchors cannot be read: {error}"))
            .hint("`queue.spool` names a folder that byrnie's user may write to")
    })?;
    for what in damaged {
        error!(
            target: "byrnie::serve",
            %what,
            hint = "the configured anchors count, as on the first day; if you know of revoked keys among \
                them, take them out of `dns.trust_anchor_file`",
            "what was known about a trust anchor is lost"
        );
    }
    for zone in book.dead_zones(now) {
        error!(target: "byrnie::serve", %zone, hint = HINT_DEAD, "every key of a trust anchor is revoked");
    }
    for negative in book.active(now) {
        let (domain, until) = (&negative.domain, output::time(negative.until));
        let reason = negative.reason.as_deref().unwrap_or_default();
        warn!(target: "byrnie::serve", %domain, until, reason, "a domain is not validated: it has a negative trust anchor");
    }
    for warning in config::warnings(file, now) {
        warn!(target: "byrnie::serve", "{warning}");
    }
    Ok(Some(book))
}

/// Refuses to start where nobody lets DNSSEC through: every promise would look broken, or worse,
/// absent (behaviour rule 8).
async fn probe(resolver: &Resolver) -> Result<(), Failure> {
    let report = resolver.probe().await;
    if report.is_usable() {
        return Ok(());
    }
    let upstreams = report.to_string().replace('\n', "; ");
    let mut healths = report.upstreams.iter();
    let hint = match healths.any(|(_, it)| matches!(it, UpstreamHealth::AnchorMismatch(_))) {
        true => {
            "`byrnie anchors` shows which keys are trusted; if they have changed while this machine \
             slept, name the right anchors in `dns.trust_anchor_file` (the root's are at \
             https://data.iana.org/root-anchors/)"
        }
        false => {
            "name a resolver that passes DNSSEC records on in `dns.servers`, such as unbound on \
             this machine"
        }
    };
    Err(Failure::runtime(format!("no resolver is fit for DNSSEC: {upstreams}")).hint(hint))
}

/// The name to greet with.
fn hostname(file: &File) -> Result<DomainName, Failure> {
    if let Some(name) = &file.hostname {
        return Ok(name.clone());
    }
    let hint = "set `hostname` to the name that byrnie's address resolves to";
    let text = fs::read_to_string(SYSTEM_HOSTNAME).unwrap_or_default();
    let name: DomainName = text.trim().parse().map_err(|error| {
        Failure::usage(format!("the system's host name cannot be used: {error}")).hint(hint)
    })?;
    if name.parent().is_none() {
        return Err(
            Failure::usage(format!("the system's host name, {name}, has no domain")).hint(hint),
        );
    }
    Ok(name)
}

/// The spool, for this process alone.
fn open_store(file: &File) -> Result<SqliteStore, Failure> {
    let options = SqliteOptions {
        bounds: settings::spool_bounds(file),
        ..SqliteOptions::in_directory(&file.queue.spool)
    };
    SqliteStore::open(options).map_err(|error| {
        let spool = file.queue.spool.display();
        let failure = Failure::runtime(format!("{spool}: {error}"));
        if error == StoreError::Locked {
            return failure.hint("stop the other `byrnie serve` first");
        }
        failure.hint("`queue.spool` names a folder that byrnie's user may write to")
    })
}

/// Listens at every address.
async fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind(*address).await?);
    }
    Ok(listeners)
}

/// Listens at one address.
async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::runtime(format!("cannot listen at {address}: {error}"))
            .hint("is the address this machine's, free, and its port above 1023 or the user root?")
    })
}

/// Where listeners really listen, for the log.
fn addresses(listeners: &[TcpListener]) -> String {
    let addresses = listeners.iter().filter_map(|at| at.local_addr().ok());
    let texts: Vec<String> = addresses.map(|address| address.to_string()).collect();
    texts.join(", ")
}

/// Where Linux keeps the system's host name.
const SYSTEM_HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// How long the store may take to write what was asked for before the end. It waits for up to 5 seconds
/// for who else writes.
const STORE_END_MAX: Duration = Duration::from_secs(10);

/// How long the monitor may take to end.
const MONITOR_END_MAX: Duration = Duration::from_secs(1);
