//! The public HTTPS server: its policies, its certificates, and how both change.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use byrnie_base::DomainName;
use byrnie_base::LookupError;
use byrnie_base::Secured;
use byrnie_mta_sts::Policy;
use byrnie_mta_sts::Published;
use byrnie_net::current::Current;
use byrnie_net::dns::Resolver;
use byrnie_net::http::ConnectionLimits;
use byrnie_net::http::HttpServer;
use byrnie_net::tls::ServerIdentity;
use byrnie_net::tls::https_acceptor;
use byrnie_net::tls::server_acceptor;
use byrnie_store::PublishedPolicies;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use byrnie_web::Site;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::error;
use tracing::info;

use super::common::Common;
use super::listening;
use super::receiving::Posted;
use crate::config::File;
use crate::config::MtaSts;
use crate::config::WebCertificate;
use crate::failure::Failure;
use crate::publishing::draw_up;
use crate::publishing::mail_hosts;

/// The public HTTPS server at work.
pub(super) struct Web {
    server: Arc<HttpServer<Site<Posted>>>,
    store: Arc<SqliteStore>,
    resolver: Resolver,
    /// What is published.
    rules: Current<Vec<Arc<MtaSts>>>,
    /// What it is published with.
    certificates: Current<Vec<WebCertificate>>,
    identities: Mutex<Identities>,
    /// Wakes who looks after policies.
    changed: Notify,
    /// Whether that is because the operator has changed the configuration.
    reconfigured: AtomicBool,
}

/// Serves public pages if they are to be served anywhere; says where.
///
/// # Errors
/// An address or a certificate cannot be used.
pub(super) async fn start(
    file: &File,
    common: &Common,
    reports: Option<Posted>,
) -> Result<Option<Arc<Web>>, Failure> {
    if file.web.listen.is_empty() {
        return Ok(None);
    }
    let limits = ConnectionLimits {
        in_all: file.web.max_connections,
        per_client: file.web.max_connections_per_client,
        // One network alone cannot take all places.
        per_network: (file.web.max_connections / 4).max(file.web.max_connections_per_client),
    };
    let mut identities = Identities::default();
    let acceptor = identities.acceptor(&file.web.certificate)?;
    let server = HttpServer::new(Site::new(reports), limits).with_tls(acceptor);
    let web = Arc::new(Web {
        server: Arc::new(server),
        store: Arc::clone(&common.store),
        resolver: common.resolver.clone(),
        rules: Current::new(rules(file)),
        certificates: Current::new(file.web.certificate.clone()),
        identities: Mutex::new(identities),
        changed: Notify::new(),
        reconfigured: AtomicBool::new(false),
    });
    web.publish_before()
        .await
        .map_err(|error| Failure::store(&error))?;
    let listeners = listening::bind_all(&file.web.listen).await?;
    let at = listening::addresses(&listeners);
    for listener in listeners {
        let until = common.life.clone().ended();
        tokio::spawn(Arc::clone(&web.server).serve(listener, until));
    }
    tokio::spawn(while_alive(common, Arc::clone(&web).keep_policies()));
    tokio::spawn(while_alive(common, Arc::clone(&web).keep_certificates()));
    info!(target: "byrnie::web", %at, "public pages are served");
    Ok(Some(web))
}

/// What is published.
fn rules(file: &File) -> Vec<Arc<MtaSts>> {
    file.mta_sts.iter().cloned().map(Arc::new).collect()
}

/// How many clients there may be.
pub(super) fn clients(file: &File) -> usize {
    match file.web.listen.is_empty() {
        true => 0,
        false => file.web.max_connections,
    }
}

/// Does something until the gateway ends.
fn while_alive(
    common: &Common,
    what: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let ended = common.life.clone().ended();
    async move {
        tokio::select! {
            () = ended => {}
            () = what => {}
        }
    }
}

/// Certificates with their keys as they could last be used, by the file of the certificate.
#[derive(Default)]
struct Identities(HashMap<PathBuf, (Vec<u8>, Vec<u8>)>);

impl Identities {
    /// An acceptor for these certificates: each as it is now, or as it was when it could last be used, so that
    /// one bad file harms nobody else.
    ///
    /// # Errors
    /// None can be used.
    fn acceptor(&mut self, certificates: &[WebCertificate]) -> Result<TlsAcceptor, Failure> {
        let Self(known) = self;
        for one in certificates {
            match usable(one) {
                Ok(identity) => drop(known.insert(one.certificate_file.clone(), identity)),
                Err(error) => error!(
                    target: "byrnie::web",
                    file = %one.certificate_file.display(), key = %one.key_file.display(), error,
                    goes_on = known.contains_key(&one.certificate_file),
                    "a certificate cannot be used"
                ),
            }
        }
        known.retain(|file, _| certificates.iter().any(|one| one.certificate_file == *file));
        let identities: Vec<_> = known
            .values()
            .map(|(certificate_pem, key_pem)| ServerIdentity {
                certificate_pem,
                key_pem,
            })
            .collect();
        https_acceptor(&identities).map_err(|error| {
            Failure::usage(format!("the certificates of `web.certificate`: {error}"))
                .hint("`byrnie config check` looks at each certificate and its key")
        })
    }
}

/// A certificate and its key, if they can be used.
fn usable(one: &WebCertificate) -> Result<(Vec<u8>, Vec<u8>), String> {
    let read = |path: &Path| fs::read(path).map_err(|error| error.to_string());
    let (certificate, key) = (read(&one.certificate_file)?, read(&one.key_file)?);
    match server_acceptor(&certificate, &key) {
        Ok(_) => Ok((certificate, key)),
        Err(error) => Err(error.to_string()),
    }
}

/// Who wants a policy to change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Occasion {
    /// The operator, by a start, a new configuration or a command.
    Operator,
    /// Time, and what the DNS says by now.
    Time,
}

impl Web {
    /// Takes over a new configuration.
    pub(super) fn reconfigure(&self, file: &File) {
        self.rules.replace(rules(file));
        self.certificates.replace(file.web.certificate.clone());
        self.take_over_certificates();
        self.reconfigured.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Uses the certificates as they are now, if at least one can be used.
    fn take_over_certificates(&self) {
        let identities = self.identities.lock();
        let mut identities = identities.unwrap_or_else(PoisonError::into_inner);
        match identities.acceptor(&self.certificates.get()) {
            Ok(acceptor) => {
                self.server.replace_tls(acceptor);
                info!(target: "byrnie::web", "the certificates were read again");
            }
            Err(failure) => error!(
                target: "byrnie::web", error = failure.message(),
                "no certificate can be used; those before go on"
            ),
        }
    }

    /// Publishes what is kept by now, such as another edition.
    pub(super) fn publish_again(&self) {
        self.changed.notify_one();
    }

    /// How many policies were served, how many requests were for what is not here, and how many connections
    /// found no place.
    pub(super) fn counts(&self) -> [(&'static str, u64); 4] {
        let counts = self.server.service().counts();
        [
            ("policy", counts.policies.load(Ordering::Relaxed)),
            ("report", counts.reports.load(Ordering::Relaxed)),
            ("stranger", counts.strangers.load(Ordering::Relaxed)),
            ("refused", self.server.refused()),
        ]
    }

    /// Publishes policies, and again when something may have changed.
    async fn keep_policies(self: Arc<Self>) {
        let mut wishes = Wishes::All;
        loop {
            let unknown = self.publish(&wishes).await;
            let wait = match unknown.is_empty() {
                true => LOOK_AGAIN,
                false => ASK_AGAIN,
            };
            // What the operator wanted and could not be looked at is wanted still, of those domains alone.
            let unsettled = unknown.into_iter().filter(|domain| wishes.include(domain));
            wishes = Wishes::Of(unsettled.collect());
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep(wait) => {}
            }
            if self.reconfigured.swap(false, Ordering::AcqRel) {
                wishes = Wishes::All;
            }
        }
    }

    /// Publishes the policies of all domains; says whose mail hosts are not known.
    async fn publish(self: &Arc<Self>, wishes: &Wishes) -> HashSet<DomainName> {
        let rules = self.rules.get();
        let work: Vec<_> = rules
            .iter()
            .flat_map(|rule| {
                rule.domains.iter().map(|domain| {
                    let occasion = match wishes.include(domain) {
                        true => Occasion::Operator,
                        false => Occasion::Time,
                    };
                    (Arc::clone(rule), domain.clone(), occasion)
                })
            })
            .collect();
        let settled = stream::iter(work).map(|(rule, domain, occasion)| {
            let web = Arc::clone(self);
            async move {
                let settled = web.settle(&rule, &domain, occasion).await;
                let settled = settled.unwrap_or_else(|error| {
                    error!(target: "byrnie::web", %domain, %error, "what was published cannot be read; what is served goes on");
                    (web.served(&domain), Certainty::Unknown)
                });
                (domain, settled)
            }
        });
        let settled: Vec<_> = settled.buffer_unordered(DOMAINS_AT_ONCE).collect().await;
        let unknown = settled
            .iter()
            .filter(|(_, (_, certainty))| *certainty == Certainty::Unknown);
        let unknown = unknown.map(|(domain, _)| domain.clone()).collect();
        let published = settled
            .into_iter()
            .filter_map(|(_, (published, _))| published);
        self.server.service().publish(published);
        unknown
    }

    /// Publishes what was published before, so that it goes on at once, however long the DNS takes.
    async fn publish_before(&self) -> Result<(), StoreError> {
        let mut published = Vec::new();
        for domain in self.rules.get().iter().flat_map(|rule| &rule.domains) {
            published.extend(self.before(domain).await?.0);
        }
        self.server.service().publish(published);
        Ok(())
    }

    /// The policy that was published last for a domain, and its edition.
    async fn before(&self, domain: &DomainName) -> Result<(Option<Published>, u64), StoreError> {
        let last = self.store.published_sts(domain).await?;
        let edition = last.as_ref().map_or(0, |last| last.edition);
        let before = last.and_then(|last| {
            let policy = Policy::parse(last.text.as_bytes()).ok()?;
            Some(Published::new(domain.clone(), policy, edition))
        });
        Ok((before, edition))
    }

    /// The policy that is served for a domain.
    fn served(&self, domain: &DomainName) -> Option<Published> {
        let policies = self.server.service().policies();
        let served = policies
            .iter()
            .find(|published| published.domain == *domain);
        served.map(|published| Published::clone(published))
    }

    /// The policy that a domain publishes from now on: the one that its rule makes, or else the one before.
    async fn settle(
        &self,
        rule: &MtaSts,
        domain: &DomainName,
        occasion: Occasion,
    ) -> Result<(Option<Published>, Certainty), StoreError> {
        let (before, edition) = self.before(domain).await?;
        let hosts = mail_hosts(&self.resolver, domain).await;
        let certainty = match &hosts {
            Ok(_) => Certainty::Known,
            Err(_) => Certainty::Unknown,
        };
        let policy = match draw_up(rule, &hosts) {
            Ok(policy) => policy,
            Err(why) => {
                error!(target: "byrnie::web", %domain, %why, kept = before.is_some(), "the policy cannot be drawn up");
                return Ok((before, certainty));
            }
        };
        let next = Published::new(domain.clone(), policy, edition);
        let is_new = before.as_ref() != Some(&next);
        if let Some(obstacle) = obstacle(rule, &next, &hosts, occasion, is_new) {
            error!(
                target: "byrnie::web", %domain, kept = before.is_some(), hint = obstacle.hint(),
                "{obstacle}"
            );
            return Ok((before, certainty));
        }
        if is_new {
            let text = next.policy.to_string();
            self.store.put_published_sts(domain, text).await?;
            info!(target: "byrnie::web", %domain, record = %next.record(), "a new policy is published: its TXT record must say so");
        }
        Ok((Some(next), certainty))
    }

    /// Takes over certificates when their files change.
    async fn keep_certificates(self: Arc<Self>) {
        let mut known = stamps(&self.certificates.get());
        loop {
            sleep(LOOK_AT_FILES).await;
            let certificates = self.certificates.get();
            let now = stamps(&certificates);
            if now == known {
                continue;
            }
            known = now;
            self.take_over_certificates();
        }
    }
}

/// Whose policies the operator wants as they follow from the rules now.
enum Wishes {
    /// Everybody's.
    All,
    /// Those of some domains.
    Of(HashSet<DomainName>),
}

impl Wishes {
    /// Whether a domain is among them.
    fn include(&self, domain: &DomainName) -> bool {
        match self {
            Self::All => true,
            Self::Of(domains) => domains.contains(domain),
        }
    }
}

/// Whether the mail hosts of a domain are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Certainty {
    /// They are.
    Known,
    /// Somebody has to be asked again soon.
    Unknown,
}

/// Why a policy does not take the place of the one before, or why the one that is published harms.
enum Obstacle {
    /// These live mail hosts get no mail from whoever keeps to it.
    LocksOut(Vec<DomainName>),
    /// Nobody knows whether it locks out a live mail host.
    Unknown(LookupError),
    /// It follows from records that anybody could have forged.
    Unsigned,
}

impl Obstacle {
    /// What to do about it.
    fn hint(&self) -> &'static str {
        match self {
            Self::LocksOut(_) => {
                "name these MX hosts in `mta_sts.mx`, or withdraw their MX records first"
            }
            Self::Unknown(_) => "it is asked again in a minute",
            Self::Unsigned => "if the change is yours, `byrnie reload` takes it over",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocksOut(hosts) => {
                let hosts: Vec<&str> = hosts.iter().map(DomainName::as_str).collect();
                let hosts = hosts.join(", ");
                write!(f, "the policy would lock out live mail hosts: {hosts}")
            }
            Self::Unknown(why) => {
                write!(
                    f,
                    "a new policy waits, as the MX records are not known: {why}"
                )
            }
            Self::Unsigned => {
                f.write_str("the MX records have changed, and are not signed: the policy stays")
            }
        }
    }
}

/// What stands against a policy.
fn obstacle(
    rule: &MtaSts,
    policy: &Published,
    hosts: &Result<Secured<Vec<DomainName>>, LookupError>,
    occasion: Occasion,
    is_new: bool,
) -> Option<Obstacle> {
    let hosts = match hosts {
        Ok(hosts) => hosts,
        Err(_) if !is_new => return None,
        Err(why) => return Some(Obstacle::Unknown(why.clone())),
    };
    // Who can forge an unsigned answer must not put a host of his own into the policy.
    let follows = rule.mx.is_none() && occasion == Occasion::Time;
    if is_new && follows && !hosts.is_secure() {
        return Some(Obstacle::Unsigned);
    }
    let locked_out = policy.locked_out(&hosts.value);
    match locked_out.is_empty() {
        true => None,
        false => Some(Obstacle::LocksOut(
            locked_out.into_iter().cloned().collect(),
        )),
    }
}

/// What tells whether files have changed: their times and lengths.
fn stamps(certificates: &[WebCertificate]) -> Vec<Option<(SystemTime, u64)>> {
    let files = certificates.iter();
    let files = files.flat_map(|one| [&one.certificate_file, &one.key_file]);
    files
        .map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
        .collect()
}

/// How often the MX records are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);

/// How long until it is asked again what could not be found out.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// How often the files of certificates are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);

/// How many domains are looked at side by side.
const DOMAINS_AT_ONCE: usize = 16;
