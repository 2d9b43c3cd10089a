//! How to resolve, from the configuration and the options that replace parts of it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use byrnie_base::UnixTime;
use byrnie_mta::StoredPolicies;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_net::dns::AnchorBook;
use byrnie_net::dns::AnchorSource;
use byrnie_net::dns::AnchorUpdates;
use byrnie_net::dns::CacheBounds;
use byrnie_net::dns::DnsConfig;
use byrnie_net::dns::Mode;
use byrnie_net::dns::NegativeAnchor;
use byrnie_net::dns::Resolver;
use byrnie_net::dns::Transport;
use byrnie_net::dns::TrustAnchors;
use byrnie_net::dns::TrustedPath;
use byrnie_net::dns::TtlBounds;
use byrnie_net::dns::nameservers;
use byrnie_net::gather::Gatherer;
use byrnie_net::sts::StsFetcher;
use byrnie_net::sts::StsPolicies;
use byrnie_net::tls::Roots;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_store::StoreError;
use rustls_pki_types::ServerName;

use crate::cli::ConfigArgs;
use crate::cli::ResolveArgs;
use crate::config;
use crate::config::Dns;
use crate::config::DnsMode;
use crate::config::DnsTransport;
use crate::config::File;
use crate::failure::Failure;
use crate::kept_anchors::KeptAnchors;
use crate::known_policies::KnownPolicies;
use crate::output;

/// The configuration, with the options of the command line in the place of its own words.
///
/// # Errors
/// The configuration cannot be read or contradicts itself.
pub(crate) fn settings(config: &ConfigArgs, resolve: &ResolveArgs) -> Result<File, Failure> {
    let mut file = config::load(config.config.as_deref())?;
    if !resolve.dns_server.is_empty() {
        file.dns.servers = Some(resolve.dns_server.clone());
    }
    if let Some(path) = &resolve.trust_anchor {
        file.dns.trust_anchor_file = Some(path.clone());
    }
    if let Some(path) = &resolve.ca_file {
        file.tls.ca_file = Some(path.clone());
    }
    if let Some(port) = resolve.https_port {
        file.delivery.https_port = port;
    }
    Ok(file)
}

/// The public authorities, and those of `tls.ca_file`.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub(crate) fn roots(file: &File) -> Result<Roots, Failure> {
    let Some(path) = &file.tls.ca_file else {
        return Ok(Roots::public());
    };
    let pem = read(path, "tls.ca_file")?;
    Roots::public().with_pem(pem.as_bytes()).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .hint("`tls.ca_file` names certificates in PEM form")
    })
}

/// The system's clock.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// A resolver as the configuration describes it.
///
/// # Errors
/// The configuration cannot work or is not safe.
pub(crate) fn resolver(
    file: &File,
    anchors: Option<&AnchorBook>,
    clock: &Arc<dyn Clock>,
) -> Result<Resolver, Failure> {
    let trusted = anchors.map(|anchors| anchors.trusted(clock.now()));
    let config = dns(&file.dns, trusted, file)?;
    Resolver::new(&config, Arc::clone(clock)).map_err(|error| Failure::usage(error.to_string()))
}

/// Gathers evidence beside the gateway: with the policies that it knows, and without writing any.
///
/// # Errors
/// A file cannot be read, or the resolver cannot work.
pub(crate) fn gatherer(
    file: &File,
    store: Option<&Arc<SqliteStore>>,
    anchors: Option<&AnchorBook>,
) -> Result<Gatherer<Resolver, KnownPolicies>, Failure> {
    let clock = clock();
    let resolver = Arc::new(resolver(file, anchors, &clock)?);
    let tls = roots(file)?
        .https_client_config()
        .map_err(|error| Failure::runtime(error.to_string()))?;
    let fetcher = StsFetcher::new(Arc::clone(&resolver), tls).with_port(file.delivery.https_port);
    let cache = Arc::new(KnownPolicies::new(
        store.map(|store| StoredPolicies::new(Arc::clone(store))),
    ));
    let policies = StsPolicies::new(Arc::clone(&resolver), cache, fetcher, clock);
    Ok(Gatherer::new(resolver, Arc::new(policies)))
}

/// The gateway's spool, to look at; `None` where there is no gateway.
///
/// # Errors
/// There is a spool and it cannot be read. Without the policies and revoked keys in it, the answer could
/// be weaker than what the gateway demands.
pub(crate) fn gateway_store(file: &File) -> Result<Option<Arc<SqliteStore>>, Failure> {
    match SqliteStore::attach(SqliteOptions::in_directory(&file.queue.spool)) {
        Ok(store) => Ok(Some(Arc::new(store))),
        Err(StoreError::NoSpool(_)) => Ok(None),
        Err(error) => Err(Failure::runtime(error.to_string()).hint(
            "the gateway's MTA-STS policies and trust anchors count; run as the user of the gateway",
        )),
    }
}

/// The trust anchors as they are configured; `None` where the resolvers validate.
///
/// # Errors
/// The file with the anchors cannot be read, or a negative anchor goes on for too long.
pub(crate) fn anchors(file: &File, now: UnixTime) -> Result<Option<AnchorBook>, Failure> {
    if file.dns.mode != DnsMode::Validate {
        return Ok(None);
    }
    config::check_lifetimes(file, Path::new("the configuration"), now)?;
    let (configured, source) = match &file.dns.trust_anchor_file {
        None => (TrustAnchors::root(), AnchorSource::BuiltIn),
        Some(path) => (anchor_file(path)?, AnchorSource::File),
    };
    let updates = match file.dns.trust_anchor_updates {
        true => AnchorUpdates::Follow,
        false => AnchorUpdates::Fixed,
    };
    let negative = file.dns.negative_trust_anchors.iter();
    let negative = negative.map(|entry| NegativeAnchor {
        domain: entry.domain.clone(),
        until: entry.until.0,
        reason: entry.reason.clone(),
    });
    let book = AnchorBook::new(configured, source, updates, negative.collect());
    Ok(Some(book))
}

/// The trust anchors as the gateway knows them, for a command beside it.
///
/// # Errors
/// As for [`anchors`], or the store cannot be read.
pub(crate) async fn known_anchors(
    file: &File,
    store: Option<&Arc<SqliteStore>>,
    now: UnixTime,
) -> Result<Option<AnchorBook>, Failure> {
    let mut book = anchors(file, now)?;
    if let (Some(book), Some(store)) = (&mut book, store) {
        let kept = KeptAnchors::new(Arc::clone(store));
        let damaged = book.load(&kept).await;
        let damaged = damaged.map_err(|error| Failure::runtime(error.to_string()))?;
        for what in damaged {
            output::warn(format_args!("{what}; the configured anchors count"));
        }
    }
    Ok(book)
}

/// How to ask the DNS.
///
/// # Errors
/// A file cannot be read, or no resolver is known.
fn dns(dns: &Dns, trusted: Option<TrustAnchors>, file: &File) -> Result<DnsConfig, Failure> {
    let upstreams = match &dns.servers {
        Some(servers) => servers.clone(),
        None => system_servers()?,
    };
    let mode = match dns.mode {
        DnsMode::Validate => Mode::Validate {
            // Without any, the configuration is refused.
            anchors: trusted.unwrap_or_default(),
        },
        DnsMode::TrustAd => trust_ad(dns, TrustedPath::Loopback),
        DnsMode::DangerTrustRemoteAd => trust_ad(dns, TrustedPath::DangerDeclaredByOperator),
    };
    let mut config = DnsConfig::new(upstreams, mode);
    config.transport = match (dns.transport, &dns.tls_name) {
        (DnsTransport::UdpTcp, _) => Transport::Udp,
        (DnsTransport::Tcp, _) => Transport::Tcp,
        (DnsTransport::Tls, None) => {
            return Err(Failure::usage("DNS over TLS without a name").hint("set `dns.tls_name`"));
        }
        (DnsTransport::Tls, Some(name)) => Transport::Tls {
            server_name: ServerName::try_from(name.to_string())
                .map_err(|error| Failure::usage(error.to_string()))?,
            roots: Arc::clone(roots(file)?.store()),
        },
    };
    config.attempt_timeout = dns.server_timeout.0;
    config.lookup_timeout = dns.lookup_timeout.0;
    config.cache = CacheBounds {
        entries_max: dns.cache_entries,
        octets_max: usize::try_from(dns.cache_size.0).unwrap_or(usize::MAX),
    };
    config.ttl = TtlBounds {
        floor: dns.ttl_floor.0,
        ceiling: dns.ttl_ceiling.0,
        negative_ceiling: dns.negative_ttl_ceiling.0,
        ..TtlBounds::default()
    };
    Ok(config)
}

/// Believes the AD bit over `path`.
fn trust_ad(dns: &Dns, path: TrustedPath) -> Mode {
    Mode::TrustAd {
        path,
        known_signed: dns.known_signed.clone(),
    }
}

/// The anchors in a file.
fn anchor_file(path: &Path) -> Result<TrustAnchors, Failure> {
    TrustAnchors::parse(&read(path, "dns.trust_anchor_file")?).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()))
            .hint("a trust anchor is a line with a DS or DNSKEY record, such as `. DS 20326 8 2 …`")
    })
}

/// The resolvers of the system.
fn system_servers() -> Result<Vec<SocketAddr>, Failure> {
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let servers = nameservers(&text);
    if servers.is_empty() {
        return Err(Failure::usage(format!("{RESOLV_CONF} names no resolver"))
            .hint("set `dns.servers`, or give `--dns-server`"));
    }
    Ok(servers)
}

/// Reads a file that `key` names.
fn read(path: &Path, key: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("`{key}`: {}: {error}", path.display()))
            .hint("the file must exist and be readable for the user that byrnie runs as")
    })
}

/// Where the system keeps its resolvers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
