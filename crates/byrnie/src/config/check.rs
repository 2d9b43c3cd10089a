//! The rules that span several keys, and the files that keys name.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use byrnie_base::MailDomain;
use byrnie_base::UnixTime;
use byrnie_mta::DkimSigner;
use byrnie_mta::SmartHost;
use byrnie_mta_sts::Mode;
use byrnie_mta_sts::policy_host;
use byrnie_net::dns::TrustAnchors;
use byrnie_net::tls::Roots;
use byrnie_net::tls::certified_names;
use byrnie_net::tls::server_acceptor;
use byrnie_policy::DomainRule;
use tracing_subscriber::EnvFilter;

use super::ConfigError;
use super::DnsMode;
use super::DnsTransport;
use super::File;
use super::MetricsListen;
use super::defaults::ALERT_INTERVAL_MIN;
use super::defaults::MESSAGE_MEMORY_MIN;
use super::defaults::NEGATIVE_TRUST_ANCHOR_LIFETIME_MAX;
use super::defaults::NEGATIVE_TRUST_ANCHORS_MAX;
use super::defaults::REPORTS_SIZE_MIN;
use super::defaults::STS_DOMAINS_MAX;
use super::text::Listen;
use super::text::SmartHostText;

/// Whether the keys agree with one another.
pub(super) fn consistency(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let broken = |key: &str, message: &str, hint: &str| {
        Err(ConfigError::at_key(
            path,
            text,
            key,
            String::from(message),
            hint,
        ))
    };
    if file.smtp.tls_certificate_file.is_some() != file.smtp.tls_key_file.is_some() {
        return broken(
            "smtp.tls_certificate_file",
            "a certificate without its key, or a key without its certificate",
            "set both `smtp.tls_certificate_file` and `smtp.tls_key_file`, or neither",
        );
    }
    if file.smtp.listen.is_empty() {
        return broken(
            "smtp.listen",
            "`smtp.listen` names no address",
            "leave the key out for 127.0.0.1:2525",
        );
    }
    if file.dns.servers.as_ref().is_some_and(Vec::is_empty) {
        return broken(
            "dns.servers",
            "`dns.servers` names no resolver",
            "leave the key out for the resolvers of /etc/resolv.conf",
        );
    }
    if file.dns.transport == DnsTransport::Tls && file.dns.tls_name.is_none() {
        return broken(
            "dns.transport",
            "DNS over TLS needs the name in the resolver's certificate",
            "set `dns.tls_name`",
        );
    }
    let mut servers = file.dns.servers.iter().flatten();
    if file.dns.mode == DnsMode::TrustAd && servers.any(|server| !server.ip().is_loopback()) {
        return broken(
            "dns.servers",
            "`dns.mode = \"trust-ad\"` believes a resolver that is not on this machine",
            "use `validate`, or `danger-trust-remote-ad` if nobody can write on the path to it",
        );
    }
    if file.queue.retry_min.0 > file.queue.retry_max.0 || file.queue.retry_min.0.is_zero() {
        return broken(
            "queue.retry_min",
            "`queue.retry_min` must lie between 1ms and `queue.retry_max`",
            "leave both out for 5m and 4h",
        );
    }
    if !(1.0..=RETRY_FACTOR_MAX).contains(&file.queue.retry_factor) {
        return broken(
            "queue.retry_factor",
            "`queue.retry_factor` must lie between 1 and 10",
            "2.0 doubles each wait",
        );
    }
    log_level(file, path, text)?;
    listeners(file, path, text)?;
    alerts(file, path, text)?;
    bounds(file, path, text)?;
    smart_host(file, path, text)?;
    reports(file, path, text)?;
    anchors(file, path, text)?;
    web(file, path, text)?;
    rules(file, path, text)
}

/// Whether the log knows the level.
fn log_level(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    if EnvFilter::try_new(&file.log.level).is_err() {
        return Err(ConfigError::at_key(
            path,
            text,
            "log.level",
            String::from("`log.level` is neither a level nor a list of levels"),
            "write \"info\", or levels per target such as \"info,byrnie_net=debug\"",
        ));
    }
    Ok(())
}

/// Whether each place to listen at is named once.
fn listeners(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let at = |key, places: &[SocketAddr]| -> Vec<(&'static str, Listen)> {
        places
            .iter()
            .map(|place| (key, Listen::At(*place)))
            .collect()
    };
    let any = |key, places: &[Listen]| -> Vec<(&'static str, Listen)> {
        places.iter().map(|place| (key, place.clone())).collect()
    };
    let metrics = match file.metrics.listen {
        MetricsListen::At(address) => vec![address],
        MetricsListen::Off => Vec::new(),
    };
    let all = [
        at("smtp.listen", &file.smtp.listen),
        any("policyd.socketmap", &file.policyd.socketmap),
        any("policyd.exim", &file.policyd.exim),
        at("policyd.http", &file.policyd.http),
        at("web.listen", &file.web.listen),
        any("tlsrpt.collect", &file.tlsrpt.collect),
        at("metrics.listen", &metrics),
    ];
    let mut seen: HashMap<Listen, &'static str> = HashMap::new();
    for (key, place) in all.into_iter().flatten() {
        // Port 0 is another one each time.
        if matches!(&place, Listen::At(address) if address.port() == 0) {
            continue;
        }
        let shown = place.to_string();
        if let Some(other) = seen.insert(place, key) {
            return Err(ConfigError::at_key(
                path,
                text,
                key,
                format!("`{key}` and `{other}` name the same place: {shown}"),
                "give each listener an address and port, or a path, of its own",
            ));
        }
    }
    Ok(())
}

/// A wait grows at most tenfold.
const RETRY_FACTOR_MAX: f64 = 10.0;

/// Whether somebody could read one alert before the next.
fn alerts(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    if file.alerts.interval.0 >= ALERT_INTERVAL_MIN.0 {
        return Ok(());
    }
    Err(ConfigError::at_key(
        path,
        text,
        "alerts.interval",
        String::from("`alerts.interval` is less than 10s"),
        "leave it out for 5m",
    ))
}

/// Whether the keys about reports go together.
fn reports(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let settings = &file.tlsrpt;
    let broken = |key: &str, message: &str, hint: &str| {
        let message = String::from(message);
        Err(ConfigError::at_key(path, text, key, message, hint))
    };
    let named = [
        ("tlsrpt.organization", settings.organization.is_some()),
        ("tlsrpt.from", settings.from.is_some()),
        ("tlsrpt.dkim_selector", settings.dkim_selector.is_some()),
        ("tlsrpt.dkim_key_file", settings.dkim_key_file.is_some()),
        ("tlsrpt.collect", !settings.collect.is_empty()),
    ];
    let idle = named.into_iter().find(|(_, is_set)| *is_set);
    if let (None, Some((key, _))) = (&settings.contact, idle) {
        let message = format!("`{key}` has no meaning as long as nobody is sent a report");
        let hint = "set `tlsrpt.contact` to an address whom recipient domains may ask";
        return Err(ConfigError::at_key(path, text, key, message, hint));
    }
    if settings.contact.is_some() && settings.domain().is_none() {
        return broken(
            "tlsrpt.contact",
            "reports need a sender with a domain",
            "set `tlsrpt.from` to an address with a name behind the @",
        );
    }
    if settings.dkim_selector.is_some() != settings.dkim_key_file.is_some() {
        return broken(
            "tlsrpt.dkim_key_file",
            "a key without its selector, or a selector without its key",
            "set both `tlsrpt.dkim_selector` and `tlsrpt.dkim_key_file`, or neither",
        );
    }
    let mut places = settings.collect.iter();
    if places.any(|place| matches!(place, Listen::At(_))) {
        return broken(
            "tlsrpt.collect",
            "`tlsrpt.collect` names an address, and libtlsrpt knows sockets alone",
            "write \"unix:\" and a path, such as \"unix:/run/byrnie/tlsrpt.sock\"",
        );
    }
    Ok(())
}

/// Whether the smart host is anybody but byrnie itself.
fn smart_host(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let Some(SmartHostText(SmartHost { domain, port })) = &file.delivery.smart_host else {
        return Ok(());
    };
    let port = port.unwrap_or(file.delivery.mx_port);
    let leads_back = match domain {
        MailDomain::Name(_) => false,
        MailDomain::Literal(address) => file.smtp.listen.contains(&(*address, port).into()),
    };
    if !leads_back {
        return Ok(());
    }
    Err(ConfigError::at_key(
        path,
        text,
        "delivery.smart_host",
        String::from("`delivery.smart_host` is where byrnie itself listens"),
        "name the host that takes its mail",
    ))
}

/// Whether the public server has what it needs, and each domain one policy.
fn web(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let broken = |key: &str, message: String, hint: &str| {
        Err(ConfigError::at_key(path, text, key, message, hint))
    };
    if !file.web.listen.is_empty() && file.web.certificate.is_empty() {
        return broken(
            "web.listen",
            String::from("the public server has no certificate"),
            "add a `[[web.certificate]]` with `certificate_file` and `key_file`",
        );
    }
    let unserved = [
        ("mta_sts.domains", !file.mta_sts.is_empty()),
        ("tlsrpt.receive.https", file.tlsrpt.receive.https),
    ];
    let unserved = unserved.into_iter().find(|(_, is_set)| *is_set);
    if let (true, Some((key, _))) = (file.web.listen.is_empty(), unserved) {
        return broken(
            key,
            format!("`{key}` has no meaning as long as nothing is served to the public"),
            "set `web.listen`, such as \"[::]:443\", and `[[web.certificate]]`",
        );
    }
    let mut seen = HashSet::new();
    for rule in &file.mta_sts {
        if let Some(domain) = rule.domains.iter().find(|domain| !seen.insert(*domain)) {
            return broken(
                "mta_sts.domains",
                format!("two policies name {domain}"),
                "join them into one `[[mta_sts]]`",
            );
        }
        let names_none = rule.mx.as_ref().is_some_and(Vec::is_empty);
        if names_none && rule.mode != Mode::None {
            return broken(
                "mta_sts.mx",
                String::from("a policy that names no mail host"),
                "leave `mx` out to go by the MX records, or set `mode` to \"none\"",
            );
        }
    }
    if seen.len() > STS_DOMAINS_MAX {
        return broken(
            "mta_sts.domains",
            format!("more than {STS_DOMAINS_MAX} domains with a policy"),
            "divide them among several byrnie",
        );
    }
    Ok(())
}

/// Whether the keys about trust in the DNS go together.
fn anchors(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let broken = |key: &str, message: String, hint: &str| {
        Err(ConfigError::at_key(path, text, key, message, hint))
    };
    let here = file.dns.mode == DnsMode::Validate;
    if here && file.dns.known_signed.is_some() {
        return broken(
            "dns.known_signed",
            String::from("`dns.known_signed` has no meaning where byrnie validates"),
            "leave it out, or set `dns.mode` to \"trust-ad\"",
        );
    }
    let negative = &file.dns.negative_trust_anchors;
    let domain = "dns.danger_negative_trust_anchor.domain";
    if !here && !negative.is_empty() {
        return broken(
            domain,
            String::from("negative trust anchors have no meaning where the resolver validates"),
            "set them in the resolver",
        );
    }
    if negative.len() > NEGATIVE_TRUST_ANCHORS_MAX {
        return broken(
            domain,
            format!("more than {NEGATIVE_TRUST_ANCHORS_MAX} negative trust anchors"),
            "if so much looks broken, the fault lies nearer: look at the clock and the resolver",
        );
    }
    let mut seen = HashSet::new();
    match negative.iter().find(|entry| !seen.insert(&entry.domain)) {
        Some(twice) => broken(
            domain,
            format!("two negative trust anchors name {}", twice.domain),
            "join them into one",
        ),
        None => Ok(()),
    }
}

/// Whether no negative trust anchor goes on for too long.
pub(super) fn lifetimes(file: &File, path: &Path, now: UnixTime) -> Result<(), ConfigError> {
    let longest = NEGATIVE_TRUST_ANCHOR_LIFETIME_MAX;
    let mut entries = file.dns.negative_trust_anchors.iter();
    match entries.find(|entry| entry.until.0.since(now) > longest.0) {
        Some(entry) => Err(ConfigError {
            path: path.to_path_buf(),
            line: None,
            message: format!(
                "`dns.danger_negative_trust_anchor`: {}: `until` lies more than {longest} ahead",
                entry.domain
            ),
            hint: Some(String::from(
                "choose an earlier time; it can be prolonged when it comes, if nothing is mended",
            )),
        }),
        None => Ok(()),
    }
}

/// What is not wrong, and yet should be looked at.
pub(super) fn warnings(file: &File, now: UnixTime) -> Vec<String> {
    let entries = file.dns.negative_trust_anchors.iter();
    let expired = entries.filter(|entry| entry.until.0 <= now);
    let warning = expired.map(|entry| {
        format!(
            "the negative trust anchor of {} has expired ({}) and no longer counts: remove it",
            entry.domain, entry.until
        )
    });
    warning
        .chain(idle_rules(file))
        .chain(uncertified(file))
        .collect()
}

/// Domains whose policy nobody can fetch, as no certificate is for their policy host.
fn uncertified(file: &File) -> Option<String> {
    let mut names = HashSet::new();
    for certificate in &file.web.certificate {
        // What cannot be read is told of elsewhere, and says nothing about the others.
        let pem = fs::read(&certificate.certificate_file).ok()?;
        names.extend(certified_names(&pem).ok()?);
    }
    let domains = file.mta_sts.iter().flat_map(|rule| &rule.domains);
    let hosts = domains.filter_map(|domain| {
        let host = policy_host(domain).ok()?.to_string();
        let covered = names.contains(&host) || names.contains(&format!("*.{domain}"));
        (!covered).then_some(host)
    });
    let hosts: Vec<String> = hosts.collect();
    let (first, others) = hosts.split_first()?;
    let more = match others.len() {
        0 => String::new(),
        others => format!(", and {others} more are missing"),
    };
    Some(format!(
        "no `[[web.certificate]]` carries {first}{more}: senders cannot fetch these policies"
    ))
}

/// Rules about domains that no mail goes to, as all of it goes to the smart host.
fn idle_rules(file: &File) -> Option<String> {
    let smart_host = file.delivery.smart_host.as_ref()?;
    let rules = crate::rules::rules(file);
    let counts = match &smart_host.0.domain {
        MailDomain::Name(domain) => rules.for_domain(domain) != DomainRule::default(),
        MailDomain::Literal(_) => false,
    };
    let idle = file.rules.len().saturating_sub(usize::from(counts));
    (idle > 0).then(|| {
        format!(
            "{idle} of the rules do not count, as all mail goes to the smart host: write one for \
             its domain"
        )
    })
}

/// Whether every bound lets something through.
fn bounds(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let wide = |bound: usize| u64::try_from(bound).unwrap_or(u64::MAX);
    let (smtp, delivery) = (&file.smtp, &file.delivery);
    let bounds = [
        ("smtp.max_recipients", wide(smtp.max_recipients)),
        ("smtp.max_connections", wide(smtp.max_connections)),
        (
            "smtp.max_connections_per_client",
            wide(smtp.max_connections_per_client),
        ),
        (
            "smtp.max_connections_per_network",
            wide(smtp.max_connections_per_network),
        ),
        ("smtp.max_message_size", smtp.max_message_size.0),
        ("dns.cache_entries", wide(file.dns.cache_entries)),
        ("delivery.max_deliveries", delivery.max_deliveries.into()),
        (
            "delivery.max_deliveries_per_domain",
            delivery.max_deliveries_per_domain.into(),
        ),
        (
            "delivery.max_connections_per_address",
            wide(delivery.max_connections_per_address),
        ),
        (
            "delivery.max_connections_per_network",
            wide(delivery.max_connections_per_network),
        ),
        (
            "policyd.max_connections",
            wide(file.policyd.max_connections),
        ),
        (
            "tlsrpt.receive.max_reports",
            file.tlsrpt.receive.max_reports,
        ),
        ("queue.max_messages", file.queue.max_messages),
        ("queue.max_size", file.queue.max_size.0),
    ];
    sizes(file, path, text)?;
    match bounds.into_iter().find(|(_, bound)| *bound == 0) {
        Some((key, _)) => Err(ConfigError::at_key(
            path,
            text,
            key,
            format!("`{key}` must not be 0, which would let nothing through"),
            "leave the key out for its default",
        )),
        None => Ok(()),
    }
}

/// Whether what is large finds room too.
fn sizes(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let sizes = [
        (
            "smtp.max_message_memory",
            file.smtp.max_message_memory,
            MESSAGE_MEMORY_MIN,
            "a large message would never get through; leave the key out for its default",
        ),
        (
            "tlsrpt.receive.max_size",
            file.tlsrpt.receive.max_size,
            REPORTS_SIZE_MIN,
            "a large report would never be kept; leave the key out for its default",
        ),
    ];
    match sizes.into_iter().find(|(_, size, min, _)| size.0 < min.0) {
        Some((key, _, min, hint)) => Err(ConfigError::at_key(
            path,
            text,
            key,
            format!("`{key}` must not be less than {min}"),
            hint,
        )),
        None => Ok(()),
    }
}

/// Whether rules and guarantees say one thing each.
fn rules(file: &File, path: &Path, text: &str) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for rule in &file.rules {
        if !seen.insert(&rule.domain) {
            return Err(ConfigError::at_key(
                path,
                text,
                "rule.domain",
                String::from("two rules name the same domain"),
                "join them into one `[[rule]]`",
            ));
        }
    }
    for guarantee in &file.guarantees {
        if guarantee.sender.is_some() == guarantee.sender_domain.is_some() {
            return Err(ConfigError::at_key(
                path,
                text,
                "guarantee.sender",
                String::from("a guarantee names either a sender or a sender's domain"),
                "set one of `sender` and `sender_domain` in each `[[guarantee]]`",
            ));
        }
    }
    Ok(())
}

/// Whether every file that is named can be read and holds what it should.
pub(super) fn files(file: &File, path: &Path) -> Result<(), ConfigError> {
    let broken = |key: &str, named: &Path, message: &str| {
        Err(ConfigError {
            path: path.to_path_buf(),
            line: None,
            message: format!("`{key}`: {}: {message}", named.display()),
            hint: Some(String::from("paths in the file start at the file's folder")),
        })
    };
    if let Some(named) = &file.dns.trust_anchor_file {
        let read = fs::read_to_string(named).map_err(|error| error.to_string());
        let parsed =
            read.and_then(|text| TrustAnchors::parse(&text).map_err(|error| error.to_string()));
        if let Err(why) = parsed {
            return broken("dns.trust_anchor_file", named, &why);
        }
    }
    if let (Some(domain), Some(selector), Some(named)) = (
        file.tlsrpt.domain(),
        &file.tlsrpt.dkim_selector,
        &file.tlsrpt.dkim_key_file,
    ) {
        let read = fs::read(named).map_err(|error| error.to_string());
        let signer = read.and_then(|pem| {
            let signer = DkimSigner::new(domain.clone(), selector.clone(), &pem);
            signer.map_err(|error| error.to_string())
        });
        if let Err(why) = signer {
            return broken("tlsrpt.dkim_key_file", named, &why);
        }
    }
    if let Some(named) = &file.tls.ca_file {
        let read = fs::read(named).map_err(|error| error.to_string());
        let roots = read.and_then(|pem| {
            let roots = Roots::public().with_pem(&pem);
            roots.map_err(|error| error.to_string())
        });
        if let Err(why) = roots {
            return broken("tls.ca_file", named, &why);
        }
    }
    if let (Some(certificate), Some(key)) =
        (&file.smtp.tls_certificate_file, &file.smtp.tls_key_file)
    {
        identity(path, "smtp.tls_", certificate, key)?;
    }
    Ok(())
}

/// The same for the certificates of public pages: a gateway goes on without one that cannot be used.
pub(super) fn public_files(file: &File, path: &Path) -> Result<(), ConfigError> {
    let mut certificates = file.web.certificate.iter();
    certificates.try_for_each(|one| {
        let (certificate, key) = (&one.certificate_file, &one.key_file);
        identity(path, "web.certificate.", certificate, key)
    })
}

/// Whether a certificate and its key, whose keys begin so, can be used together.
fn identity(path: &Path, section: &str, certificate: &Path, key: &Path) -> Result<(), ConfigError> {
    let broken = |which: &str, named: &Path, message: &str| ConfigError {
        path: path.to_path_buf(),
        line: None,
        message: format!("`{section}{which}_file`: {}: {message}", named.display()),
        hint: Some(String::from("paths in the file start at the file's folder")),
    };
    let certificate_pem = fs::read(certificate)
        .map_err(|error| broken("certificate", certificate, &error.to_string()))?;
    let key_pem = fs::read(key).map_err(|error| broken("key", key, &error.to_string()))?;
    server_acceptor(&certificate_pem, &key_pem)
        .map(drop)
        .map_err(|error| broken("certificate", certificate, &error.to_string()))
}
