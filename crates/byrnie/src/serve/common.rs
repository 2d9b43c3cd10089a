//! What every service of the gateway works with.

use std::fs;
use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_mta::Decider;
use byrnie_mta::Metrics;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::AnchorBook;
use byrnie_net::dns::AnchorFollower;
use byrnie_net::dns::HINT_DEAD;
use byrnie_net::dns::Resolver;
use byrnie_net::dns::UpstreamHealth;
use byrnie_net::tls::Roots;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use tracing::error;
use tracing::warn;

use super::life::Lifetime;
use super::settings;
use crate::config;
use crate::config::File;
use crate::failure::Failure;
use crate::kept_anchors::KeptAnchors;
use crate::output;
use crate::resolving;

/// What every service of the gateway works with.
pub(super) struct Common {
    /// The name under which byrnie runs.
    pub(super) hostname: DomainName,
    /// Every byte on disk.
    pub(super) store: Arc<SqliteStore>,
    /// Asks the DNS.
    pub(super) resolver: Resolver,
    /// Decides what recipient domains demand.
    pub(super) decider: Arc<Decider<Resolver, SqliteStore>>,
    /// Whom to believe.
    pub(super) roots: Roots,
    /// Tells the time.
    pub(super) clock: Arc<SystemClock>,
    /// Where things are counted.
    pub(super) metrics: Arc<Metrics>,
    /// How long all of it goes on.
    pub(super) life: Lifetime,
    /// What the resolver trusts, and where that is kept; `None` where the resolvers validate.
    trust: Option<(AnchorBook, Arc<KeptAnchors<SqliteStore>>)>,
}

impl Common {
    /// Opens the spool and makes the resolver ready; asks nobody yet.
    ///
    /// # Errors
    /// Something that is needed cannot be had.
    pub(super) async fn prepare(file: &File, life: Lifetime) -> Result<Self, Failure> {
        let hostname = hostname(file)?;
        let clock = Arc::new(SystemClock);
        let store = Arc::new(open_store(file)?);
        let kept = Arc::new(KeptAnchors::new(Arc::clone(&store)));
        let anchors = anchors(file, &kept, clock.now()).await?;
        let telling: Arc<dyn Clock> = Arc::<SystemClock>::clone(&clock);
        let resolver = resolving::resolver(file, anchors.as_ref(), &telling)?;
        let roots = resolving::roots(file)?;
        let decider = Decider::new(
            settings::decider(file),
            Arc::new(resolver.clone()),
            Arc::clone(&store),
            &roots,
            telling,
        );
        let decider = decider.map_err(|error| Failure::runtime(error.to_string()))?;
        Ok(Self {
            hostname,
            store,
            resolver,
            decider: Arc::new(decider),
            roots,
            clock,
            metrics: Arc::new(Metrics::new()),
            life,
            trust: anchors.map(|book| (book, kept)),
        })
    }

    /// Sees that the resolver is fit, and looks after it as long as the gateway goes on: whether its
    /// upstreams are fit, and what it trusts.
    ///
    /// # Errors
    /// No upstream lets DNSSEC through.
    pub(super) async fn tend_resolver(&mut self) -> Result<(), Failure> {
        probe(&self.resolver).await?;
        let (watching, until) = (self.resolver.clone(), self.life.clone().ended());
        tokio::spawn(async move { watching.watch(until).await });
        if let Some((book, kept)) = self.trust.take() {
            let clock: Arc<dyn Clock> = Arc::<SystemClock>::clone(&self.clock);
            let follower = AnchorFollower::new(self.resolver.clone(), book, kept, clock);
            tokio::spawn(follower.run(self.life.clone().ended()));
        }
        Ok(())
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

/// Where Linux keeps the system's host name.
const SYSTEM_HOSTNAME: &str = "/proc/sys/kernel/hostname";
