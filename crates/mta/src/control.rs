//! Exchanging the settings of a mail transfer agent at work.

use std::fmt;
use std::sync::Arc;

use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_net::smtp::client::ClientTimeouts;
use byrnie_net::smtp::client::PoolLimits;
use byrnie_net::smtp::server::ServerConfig;
use byrnie_net::smtp::server::ServerControl;
use tokio_rustls::TlsAcceptor;

use crate::AcceptanceConfig;
use crate::Guarantee;
use crate::MtaConfig;
use crate::QueueConfig;
use crate::QueueHandle;

/// What the parts of a mail transfer agent go by.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) acceptance: Arc<Current<AcceptanceConfig>>,
    pub(crate) guarantees: Arc<Current<Vec<Guarantee>>>,
    pub(crate) queue: Arc<Current<QueueConfig>>,
}

impl Settings {
    /// Those that a mail transfer agent starts with.
    pub(crate) fn new(config: &MtaConfig) -> Self {
        Self {
            acceptance: Arc::new(Current::new(config.acceptance.clone())),
            guarantees: Arc::new(Current::new(config.guarantees.clone())),
            queue: Arc::new(Current::new(config.queue.clone())),
        }
    }
}

/// Exchanges settings while mail goes in and out. What has begun ends by the settings it began with.
#[derive(Clone)]
pub struct MtaControl {
    pub(crate) settings: Settings,
    pub(crate) server: ServerControl,
    pub(crate) client_timeouts: Arc<Current<ClientTimeouts>>,
    pub(crate) client_connections: Arc<Current<PoolLimits>>,
    pub(crate) queue: QueueHandle,
    pub(crate) clock: Arc<dyn Clock>,
}

impl MtaControl {
    /// From now on these count: who may hand mail over and how much, the bounds and times of sessions,
    /// their certificate, guarantees, how long mail hosts may take and how many connections there may be to
    /// them, and how the queue works but for the octets it hands over. The rest of the configuration counts
    /// at the next start. Rules are the [`Decider`](crate::Decider)'s.
    pub fn reconfigure(&self, config: &MtaConfig, server_tls: Option<TlsAcceptor>) {
        let settings = &self.settings;
        settings.guarantees.replace(config.guarantees.clone());
        settings.acceptance.replace(config.acceptance.clone());
        settings.queue.replace(config.queue.clone());
        self.queue.reconfigured();
        self.client_timeouts.replace(config.client_timeouts);
        self.client_connections.replace(config.client_connections);
        let server = server_config(config, Arc::clone(&self.clock));
        self.server.reconfigure(server, server_tls);
    }

    /// How many clients are connected.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.server.connections()
    }
}

impl fmt::Debug for MtaControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MtaControl").finish_non_exhaustive()
    }
}

/// What takes mail in, as clients see it.
pub(crate) fn server_config(config: &MtaConfig, clock: Arc<dyn Clock>) -> ServerConfig {
    ServerConfig {
        limits: config.server_limits,
        timeouts: config.server_timeouts,
        connections: config.server_connections,
        rates: config.client_rates,
        message_memory_octets: config.message_memory_octets,
        ..ServerConfig::new(config.hostname.clone(), clock)
    }
}
