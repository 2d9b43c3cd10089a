//! Decides for all who ask: the queue, acceptance and the policy daemon.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use byrnie_net::clock::Clock;
use byrnie_net::current::Current;
use byrnie_net::dns::Resolve;
use byrnie_net::gather::Destination;
use byrnie_net::gather::Gatherer;
use byrnie_net::sts::StsFetcher;
use byrnie_net::sts::StsPolicies;
use byrnie_net::tls::Roots;
use byrnie_store::StsRecords;

use crate::Route;
use crate::Rules;
use crate::StartError;
use crate::StoredPolicies;
use crate::judge::Considered;
use crate::judge::Judge;
use crate::judge::Ruled;
use crate::policy_cache;
use crate::policyd::Consider;

/// How decisions are come to.
#[derive(Clone, Debug)]
pub struct DeciderConfig {
    /// What recipient domains must offer beyond what they promise. Default: nothing.
    pub rules: Rules,
    /// Where the relay's own mail goes next. Default: to the hosts of each recipient's domain.
    pub route: Route,
    /// The port of the hosts that serve MTA-STS policies. Default 443.
    pub https_port: u16,
}

impl Default for DeciderConfig {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            route: Route::default(),
            https_port: 443,
        }
    }
}

/// Decides for all who ask, so that they share MTA-STS policies, their fetches, and what was decided.
pub struct Decider<R, S> {
    pub(crate) judge: Arc<Judge<R, StoredPolicies<S>, StsFetcher<R>>>,
    policies: Arc<StsPolicies<R, StoredPolicies<S>, StsFetcher<R>>>,
    ruled: Arc<Current<Ruled>>,
    /// How often the rules were replaced.
    edition: AtomicU64,
}

impl<R: Resolve, S: StsRecords> Decider<R, S> {
    /// Decides by what `resolver` finds out and by the policies in `store`.
    ///
    /// # Errors
    /// TLS cannot be used with these roots.
    pub fn new(
        config: DeciderConfig,
        resolver: Arc<R>,
        store: Arc<S>,
        roots: &Roots,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let https = roots.https_client_config();
        let https = https.map_err(|error| StartError::tls(&error))?;
        let fetcher = StsFetcher::new(Arc::clone(&resolver), https).with_port(config.https_port);
        let policies = Arc::new(StsPolicies::new(
            Arc::clone(&resolver),
            Arc::new(StoredPolicies::new(store)),
            fetcher,
            clock,
        ));
        let mut gatherer = Gatherer::new(resolver, Arc::clone(&policies));
        if let Some(port) = config.route.port() {
            gatherer = gatherer.with_tlsa_port(port);
        }
        let ruled = Arc::new(Current::new(Ruled::new(config.rules)));
        Ok(Self {
            judge: Arc::new(Judge::new(gatherer, Arc::clone(&ruled))),
            policies,
            ruled,
            edition: AtomicU64::new(0),
        })
    }

    /// From now on these rules count, and everything is decided anew.
    pub fn set_rules(&self, rules: Rules) {
        self.ruled.replace(Ruled::new(rules));
        self.edition.fetch_add(1, Ordering::Release);
    }

    /// Renews policies ahead of their end, until `shutdown`.
    pub async fn refresh_policies(&self, shutdown: impl Future<Output = ()>) {
        policy_cache::refresh(&self.policies, shutdown).await;
    }
}

impl<R: Resolve, S: StsRecords> Consider for Decider<R, S> {
    async fn consider(&self, destination: &Destination) -> Arc<Considered> {
        self.judge.consider(destination).await
    }

    fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }
}

impl<R, S> fmt::Debug for Decider<R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decider").finish_non_exhaustive()
    }
}
