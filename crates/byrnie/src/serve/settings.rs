//! From the form of the file to that of the mail transfer agent.

use std::fs;
use std::path::Path;

use byrnie_base::DomainName;
use byrnie_mta::AcceptanceConfig;
use byrnie_mta::AddressOrder;
use byrnie_mta::DeciderConfig;
use byrnie_mta::MtaConfig;
use byrnie_mta::QueueConfig;
use byrnie_mta::RetrySchedule;
use byrnie_mta::Route;
use byrnie_net::smtp::client::ClientTimeouts;
use byrnie_net::smtp::client::PoolLimits;
use byrnie_net::smtp::server::ClientRates;
use byrnie_net::smtp::server::ConnectionLimits;
use byrnie_net::smtp::server::ServerTimeouts;
use byrnie_net::tls::server_acceptor;
use byrnie_smtp::ServerLimits;
use byrnie_store::SpoolBounds;
use tokio_rustls::TlsAcceptor;

use crate::config::Addresses;
use crate::config::DelayWarning;
use crate::config::File;
use crate::failure::Failure;
use crate::rules;

/// How the mail transfer agent works.
pub(super) fn mta(file: &File, hostname: DomainName) -> MtaConfig {
    let networks = file.smtp.trusted_networks.iter();
    MtaConfig {
        acceptance: AcceptanceConfig {
            trusted_networks: networks.map(|network| network.0).collect(),
            report_addresses: file.tlsrpt.receive.addresses.clone(),
            messages_max: file.queue.max_messages,
        },
        server_limits: ServerLimits {
            recipients: file.smtp.max_recipients,
            message_octets: file.smtp.max_message_size.0,
            ..ServerLimits::default()
        },
        server_timeouts: ServerTimeouts {
            command: file.smtp.command_timeout.0,
            block: file.smtp.data_timeout.0,
            ..ServerTimeouts::default()
        },
        server_connections: ConnectionLimits {
            in_all: file.smtp.max_connections,
            per_client: file.smtp.max_connections_per_client,
            per_network: file.smtp.max_connections_per_network,
        },
        client_rates: ClientRates {
            connections: file.smtp.max_connection_rate.0,
            messages: file.smtp.max_message_rate.0,
            errors: file.smtp.max_error_rate.0,
        },
        message_memory_octets: usize::try_from(file.smtp.max_message_memory.0)
            .unwrap_or(usize::MAX),
        client_timeouts: client_timeouts(file),
        client_connections: PoolLimits {
            per_address_max: file.delivery.max_connections_per_address,
            per_network_max: file.delivery.max_connections_per_network,
            ..PoolLimits::default()
        },
        mx_port: file.delivery.mx_port,
        addresses: match file.delivery.addresses {
            Addresses::PreferIpv6 => AddressOrder::PreferIpv6,
            Addresses::PreferIpv4 => AddressOrder::PreferIpv4,
            Addresses::Ipv6Only => AddressOrder::Ipv6Only,
            Addresses::Ipv4Only => AddressOrder::Ipv4Only,
        },
        route: route(file),
        queue: QueueConfig {
            retry: RetrySchedule {
                wait_min: file.queue.retry_min.0,
                wait_max: file.queue.retry_max.0,
                factor: file.queue.retry_factor,
                ..RetrySchedule::default()
            },
            lifetime: file.queue.lifetime.0,
            delay_warning: match file.queue.delay_warning {
                DelayWarning::Off => None,
                DelayWarning::After(wait) => Some(wait.0),
            },
            handover_octets_max: file.queue.max_handover_size.0,
            deliveries_max: file.delivery.max_deliveries,
            slow_deliveries_max: file.delivery.max_slow_deliveries,
            deliveries_per_next_hop_max: file.delivery.max_deliveries_per_domain,
            ..QueueConfig::default()
        },
        guarantees: rules::guarantees(file),
        ..MtaConfig::new(hostname)
    }
}

/// How decisions are come to.
pub(super) fn decider(file: &File) -> DeciderConfig {
    DeciderConfig {
        rules: rules::rules(file),
        route: route(file),
        https_port: file.delivery.https_port,
    }
}

/// Where mail goes next.
pub(super) fn route(file: &File) -> Route {
    match &file.delivery.smart_host {
        Some(host) => Route::SmartHost(host.0.clone()),
        None => Route::RecipientDomains,
    }
}

/// How much the spool keeps.
pub(super) fn spool_bounds(file: &File) -> SpoolBounds {
    SpoolBounds {
        size_max: file.queue.max_size.0,
        receipts_max: file.queue.max_receipts,
        receipt_age_max: file.queue.receipt_lifetime.0,
    }
}

/// What makes STARTTLS work for clients, if a certificate is configured.
pub(super) fn server_tls(file: &File) -> Result<Option<TlsAcceptor>, Failure> {
    let (Some(certificate), Some(key)) = (&file.smtp.tls_certificate_file, &file.smtp.tls_key_file)
    else {
        return Ok(None);
    };
    let read = |path: &Path| {
        fs::read(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    server_acceptor(&read(certificate)?, &read(key)?)
        .map(Some)
        .map_err(|error| {
            Failure::usage(format!("{}: {error}", certificate.display()))
                .hint("`byrnie config check` looks at certificate and key together")
        })
}

/// How long mail hosts may take.
fn client_timeouts(file: &File) -> ClientTimeouts {
    let reply = file.delivery.command_timeout.0;
    ClientTimeouts {
        connect: file.delivery.connect_timeout.0,
        greeting: reply,
        hello: reply,
        handshake: file.delivery.tls_timeout.0,
        mail: reply,
        recipient: reply,
        data: reply,
        block: reply,
        end: file.delivery.data_timeout.0,
        ..ClientTimeouts::default()
    }
}
