//! The whole mail transfer agent: its parts, brought together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_net::clock::Clock;
use byrnie_net::dns::Resolve;
use byrnie_net::smtp::client::ClientConfig;
use byrnie_net::smtp::client::ClientTimeouts;
use byrnie_net::smtp::client::ConnectionPool;
use byrnie_net::smtp::client::PoolLimits;
use byrnie_net::smtp::client::SmtpClient;
use byrnie_net::smtp::server::ClientRates;
use byrnie_net::smtp::server::ConnectionLimits;
use byrnie_net::smtp::server::MESSAGE_MEMORY_OCTETS;
use byrnie_net::smtp::server::Server;
use byrnie_net::smtp::server::ServerTimeouts;
use byrnie_net::smtp::server::serve;
use byrnie_net::tls::Roots;
use byrnie_net::tls::TlsClient;
use byrnie_smtp::ServerLimits;
use byrnie_store::Spool;
use byrnie_store::StsRecords;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use tokio::time;
use tokio_rustls::TlsAcceptor;

use crate::AcceptanceConfig;
use crate::AddressOrder;
use crate::Decider;
use crate::Guarantee;
use crate::Metrics;
use crate::MtaControl;
use crate::QueueConfig;
use crate::Route;
use crate::TakeReports;
use crate::acceptance::Acceptance;
use crate::bounce::Bouncer;
use crate::control::Settings;
use crate::control::server_config;
use crate::delivery::Courier;
use crate::delivery::Decide;
use crate::delivery::DownAddresses;
use crate::delivery::SmtpOffer;
use crate::queue::Inlet;
use crate::queue::Queue;
use crate::queue::QueueHandle;
use crate::queue::QueueParts;
use crate::reports::sending::Recorder;

/// How the mail transfer agent works.
#[derive(Clone, Debug)]
pub struct MtaConfig {
    /// The name of this host: in greetings, in `Received`, and in bounces.
    pub hostname: DomainName,
    /// Who may hand mail over, and how much.
    pub acceptance: AcceptanceConfig,
    /// The bounds of a client's session.
    pub server_limits: ServerLimits,
    /// How long a client may take.
    pub server_timeouts: ServerTimeouts,
    /// How many clients may be connected at once.
    pub server_connections: ConnectionLimits,
    /// How often each client may do what it does.
    pub client_rates: ClientRates,
    /// Octets of memory that all messages under way may take. Default 256 MiB.
    pub message_memory_octets: usize,
    /// How long mail hosts may take.
    pub client_timeouts: ClientTimeouts,
    /// How many connections to mail hosts there may be, and how long they are kept.
    pub client_connections: PoolLimits,
    /// The port of mail hosts. Default 25.
    pub mx_port: u16,
    /// Which addresses of mail hosts are tried. Default: IPv6, then IPv4.
    pub addresses: AddressOrder,
    /// Where mail goes next. Default: to the hosts of each recipient's domain.
    pub route: Route,
    /// When and how deliveries are tried.
    pub queue: QueueConfig,
    /// Senders whose mail travels over authenticated TLS or is refused. Default: none.
    pub guarantees: Vec<Guarantee>,
}

impl MtaConfig {
    /// The defaults, right for a small provider.
    #[must_use]
    pub fn new(hostname: DomainName) -> Self {
        Self {
            hostname,
            acceptance: AcceptanceConfig::default(),
            server_limits: ServerLimits::default(),
            server_timeouts: ServerTimeouts::default(),
            server_connections: ConnectionLimits::default(),
            client_rates: ClientRates::default(),
            message_memory_octets: MESSAGE_MEMORY_OCTETS,
            client_timeouts: ClientTimeouts::default(),
            client_connections: PoolLimits::default(),
            mx_port: 25,
            addresses: AddressOrder::default(),
            route: Route::default(),
            queue: QueueConfig::default(),
            guarantees: Vec::new(),
        }
    }
}

/// What the mail transfer agent is made of.
pub struct MtaParts<S, R, C> {
    /// Where clients connect; several share all bounds.
    pub listeners: Vec<TcpListener>,
    /// What makes `STARTTLS` work for clients; without it none is offered.
    pub server_tls: Option<TlsAcceptor>,
    /// Where messages, receipts and policies are kept.
    pub store: Arc<S>,
    /// Decides what recipient domains demand.
    pub decider: Arc<Decider<R, S>>,
    /// Whom to believe: mail hosts under MTA-STS.
    pub roots: Roots,
    /// Tells the time.
    pub clock: Arc<C>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// Where TLS reports go that come by mail; `None` where nobody takes them.
    pub reports: Option<Arc<dyn TakeReports>>,
    /// Where it is counted how TLS with hosts went; `None` where nobody is told.
    pub recorder: Option<Arc<Recorder>>,
}

/// A mail transfer agent at work.
#[derive(Debug)]
pub struct Mta {
    tasks: JoinSet<Result<&'static str, PartEnded>>,
    stop: Arc<watch::Sender<Running>>,
    control: MtaControl,
}

impl Mta {
    /// Starts everything. It ends after `shutdown`; [`finished`](Self::finished) tells when.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// TLS cannot be used with these roots.
    pub fn start<S, R, C>(
        config: &MtaConfig,
        parts: MtaParts<S, R, C>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, StartError>
    where
        S: Spool + StsRecords,
        R: Resolve,
        C: Clock,
    {
        let tls = TlsClient::new(&parts.roots).map_err(|error| StartError::tls(&error))?;
        let clock: Arc<dyn Clock> = Arc::<C>::clone(&parts.clock);
        let settings = Settings::new(config);
        let judge = Arc::clone(&parts.decider.judge);
        let (inlet, outlet) = Inlet::new(config.queue.handover_octets_max);
        let client = smtp_client(config, &parts, tls);
        let client_timeouts = client.timeouts();
        let pool = Arc::new(ConnectionPool::new(client, config.client_connections));
        let client_connections = pool.limits();
        let deciding = Arc::clone(&judge);
        let queue = queue(config, &parts, &settings, &pool, deciding, inlet.clone());
        let service = acceptance(config, &parts, &settings, judge, inlet.clone());
        let server = server_config(config, Arc::clone(&clock));
        let server = Arc::new(Server::new(server, parts.server_tls, service));
        let control = MtaControl {
            settings,
            server: server.control(),
            client_timeouts,
            client_connections,
            queue: QueueHandle::new(inlet),
            clock,
        };

        let (stop, stopping) = watch::channel(Running::Yes);
        let stop = Arc::new(stop);
        let mut tasks = JoinSet::new();
        for listener in parts.listeners {
            let (server, stopped) = (Arc::clone(&server), stopped(stopping.clone()));
            tasks.spawn(async move {
                serve(listener, server, stopped).await;
                Ok("server")
            });
        }
        let queue_stopped = stopped(stopping.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = queue.run(outlet, queue_stopped) => {}
                () = tidy(&pool) => {}
            }
            pool.close().await;
            Ok("queue")
        });
        let (decider, refresh_stopped) = (parts.decider, stopped(stopping.clone()));
        tasks.spawn(async move {
            decider.refresh_policies(refresh_stopped).await;
            Ok("policy refresh")
        });
        let keeping = keep_house(parts.store, parts.clock, parts.metrics, stopped(stopping));
        tasks.spawn(keeping);
        tasks.spawn(stop_after(shutdown, Arc::clone(&stop)));
        Ok(Self {
            tasks,
            stop,
            control,
        })
    }

    /// The queue, to look into and to tell of changes.
    #[must_use]
    pub fn queue(&self) -> QueueHandle {
        self.control.queue.clone()
    }

    /// What exchanges its settings.
    #[must_use]
    pub fn control(&self) -> MtaControl {
        self.control.clone()
    }

    /// Waits for the end: of messages under way, of deliveries in progress, each within its bound.
    ///
    /// # Errors
    /// A part has ended although nobody asked for it; the others were then ended too.
    pub async fn finished(mut self) -> Result<(), PartEnded> {
        let mut result = Ok(());
        let mut progress = time::interval(PROGRESS_INTERVAL);
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next() => ended,
                _ = progress.tick() => {
                    self.tell_progress();
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            let asked_for = *self.stop.borrow() == Running::No;
            match ended {
                Ok(Ok(_)) if asked_for => {}
                Ok(Ok(part)) => result = Err(PartEnded::Early(part)),
                Ok(Err(ended)) => result = Err(ended),
                Err(error) => result = Err(PartEnded::Panicked(Arc::new(error))),
            }
            if result.is_err() {
                self.stop.send_replace(Running::No);
            }
        }
        result
    }

    /// Says whose messages are waited for, once the end was asked for.
    fn tell_progress(&self) {
        let sessions = self.control.sessions();
        if *self.stop.borrow() == Running::No && sessions > 0 {
            tracing::info!(target: "byrnie::serve", sessions, "ending: sessions are left");
        }
    }
}

/// Why the mail transfer agent cannot start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StartError {
    /// TLS cannot be used with these roots.
    Tls(String),
}

impl StartError {
    /// TLS cannot be used.
    pub(crate) fn tls(error: &dyn fmt::Display) -> Self {
        Self::Tls(error.to_string())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(why) => write!(f, "TLS cannot be used: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A part of the mail transfer agent has ended although nobody asked for it: a fault of ours.
#[derive(Clone, Debug)]
pub enum PartEnded {
    /// It came to its end.
    Early(&'static str),
    /// It panicked.
    Panicked(Arc<JoinError>),
    /// It is the store, which takes and gives nothing any more.
    Store,
}

impl fmt::Display for PartEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early(part) => write!(f, "the {part} has ended by itself"),
            Self::Panicked(error) => write!(f, "a part has failed: {error}"),
            Self::Store => f.write_str(
                "the store has failed for good; all that was accepted lies on disk, for the next start",
            ),
        }
    }
}

impl std::error::Error for PartEnded {}

/// Whether to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Running {
    /// Go on.
    Yes,
    /// Come to an end.
    No,
}

/// Waits until everything is to end.
async fn stopped(mut stopping: watch::Receiver<Running>) {
    // Without a sender there is nobody left to wait for.
    _ = stopping.wait_for(|running| *running == Running::No).await;
}

/// Tells all parts of the end once `shutdown` is done; says what has ended.
async fn stop_after(
    shutdown: impl Future<Output = ()>,
    stop: Arc<watch::Sender<Running>>,
) -> Result<&'static str, PartEnded> {
    tokio::select! {
        () = shutdown => drop(stop.send_replace(Running::No)),
        () = stopped(stop.subscribe()) => {}
    }
    Ok("shutdown")
}

/// What sends mail on.
fn queue<S, R, C, D>(
    config: &MtaConfig,
    parts: &MtaParts<S, R, C>,
    settings: &Settings,
    pool: &Arc<ConnectionPool<C>>,
    judge: Arc<D>,
    inlet: Inlet,
) -> Queue<S, Courier<D, SmtpOffer<S, C>, C>, C>
where
    S: Spool,
    C: Clock,
    D: Decide,
{
    let down = Arc::new(DownAddresses::new(config.queue.retry.wait_min));
    let courier = Courier {
        decide: judge,
        offer: SmtpOffer {
            pool: Arc::clone(pool),
            spool: Arc::clone(&parts.store),
            metrics: Arc::clone(&parts.metrics),
            down: Arc::clone(&down),
        },
        down,
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&parts.metrics),
        port: config.route.port().unwrap_or(config.mx_port),
        addresses: config.addresses,
        route: Arc::new(config.route.clone()),
        guarantees: Arc::clone(&settings.guarantees),
        recorder: parts.recorder.clone(),
    };
    Queue::new(QueueParts {
        spool: Arc::clone(&parts.store),
        deliver: Arc::new(courier),
        bouncer: Bouncer {
            spool: Arc::clone(&parts.store),
            hostname: config.hostname.clone(),
            route: Arc::new(config.route.clone()),
            queue: Arc::clone(&settings.queue),
        },
        clock: Arc::clone(&parts.clock),
        config: Arc::clone(&settings.queue),
        inlet,
    })
}

/// What connects to mail hosts.
fn smtp_client<S, R, C: Clock>(
    config: &MtaConfig,
    parts: &MtaParts<S, R, C>,
    tls: TlsClient,
) -> SmtpClient<C> {
    let helo_name = MailDomain::Name(config.hostname.clone());
    let client = ClientConfig {
        timeouts: config.client_timeouts,
        ..ClientConfig::new(helo_name)
    };
    SmtpClient::new(client, tls, Arc::clone(&parts.clock))
}

/// Lets go of connections that nobody needs, for ever.
async fn tidy<C: Clock>(pool: &ConnectionPool<C>) {
    loop {
        time::sleep(TIDY_INTERVAL).await;
        pool.tidy();
    }
}

/// What takes mail in.
fn acceptance<S, R, C, D>(
    config: &MtaConfig,
    parts: &MtaParts<S, R, C>,
    settings: &Settings,
    judge: Arc<D>,
    inlet: Inlet,
) -> Acceptance<S, D, C> {
    Acceptance {
        spool: Arc::clone(&parts.store),
        decide: judge,
        clock: Arc::clone(&parts.clock),
        metrics: Arc::clone(&parts.metrics),
        config: Arc::clone(&settings.acceptance),
        hostname: config.hostname.clone(),
        guarantees: Arc::clone(&settings.guarantees),
        route: Arc::new(config.route.clone()),
        queue: Arc::clone(&settings.queue),
        inlet,
        reports: parts.reports.clone(),
    }
}

/// Shows how much lies in the queue, and drops old receipts, until `stopped`; says what has ended. Sees
/// to it that nothing goes on without the store.
async fn keep_house<S: Spool, C: Clock>(
    store: Arc<S>,
    clock: Arc<C>,
    metrics: Arc<Metrics>,
    stopped: impl Future<Output = ()>,
) -> Result<&'static str, PartEnded> {
    let keeping = async {
        for round in 0_u64.. {
            metrics.set_depth(&store.depth(), clock.now());
            if round.is_multiple_of(ROUNDS_PER_PRUNING)
                && let Err(error) = store.prune(clock.now()).await
            {
                tracing::warn!(%error, "cannot drop old receipts");
            }
            time::sleep(HOUSE_INTERVAL).await;
        }
    };
    tokio::select! {
        () = store.ended() => return Err(PartEnded::Store),
        () = keeping => {}
        () = stopped => {}
    }
    Ok("housekeeping")
}

/// How often connections that stand ready are looked at.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

/// How often is told what the end waits for.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How often the depth of the queue is measured.
const HOUSE_INTERVAL: Duration = Duration::from_secs(5);

/// Every half a minute: the spool is larger than it should be by the receipts of that time.
const ROUNDS_PER_PRUNING: u64 = 6;

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::testing::FaultySpool;
    use crate::testing::TestClock;
    use crate::testing::new_store;

    #[tokio::test]
    async fn nothing_goes_on_without_the_store() {
        let (store, _directory) = new_store();
        let store = Arc::new(FaultySpool::new(store));
        store.end.notify_one();
        let parts = (Arc::new(TestClock::new()), Arc::new(Metrics::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_house(store, parts.0, parts.1, pending()));
        let ended = tasks.join_next().await.unwrap().unwrap();
        assert!(matches!(ended, Err(PartEnded::Store)), "{ended:?}");
    }
}
