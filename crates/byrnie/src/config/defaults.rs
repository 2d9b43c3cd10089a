//! What holds when a key is left out: right for a small provider.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::file::DelayWarning;
use super::file::MetricsListen;
use super::text::NetworkText;
use super::text::Size;
use super::text::Span;

/// `smtp.listen`: loopback on a port that another mail server on the same machine leaves free.
pub(crate) fn smtp_listen() -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 2525))]
}

/// `smtp.trusted_networks`: the machine itself.
pub(crate) fn trusted_networks() -> Vec<NetworkText> {
    ["127.0.0.0/8", "::1/128"]
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// `smtp.max_message_size`: what large mail hosts take today.
pub(crate) const MAX_MESSAGE_SIZE: Size = Size(50 << 20);

/// `smtp.max_recipients`: ten times the least that RFC 5321, Section 4.5.3.1.8, asks for.
pub(crate) const MAX_RECIPIENTS: usize = 1_000;

/// `smtp.max_connections`: some 3 KiB each while they wait, 10 KiB under TLS.
pub(crate) const MAX_CONNECTIONS_IN: usize = 5_000;

/// `smtp.max_connections_per_client`: a busy mail server in front of byrnie fits, with room.
pub(crate) const MAX_CONNECTIONS_PER_CLIENT: usize = 500;

/// `smtp.max_connections_per_network`: all of a provider's servers may stand in one network.
pub(crate) const MAX_CONNECTIONS_PER_NETWORK_IN: usize = 5_000;

/// `smtp.max_message_memory`: 2,000 small messages at the same moment.
pub(crate) const MAX_MESSAGE_MEMORY: Size = Size(256 << 20);

/// The least for `smtp.max_message_memory`: one message of any size still fits.
pub(crate) const MESSAGE_MEMORY_MIN: Size = Size(1 << 20);

/// `smtp.command_timeout`: RFC 5321, Section 4.5.3.2.7.
pub(crate) const SMTP_COMMAND_TIMEOUT: Span = minutes(5);

/// `smtp.data_timeout`: more than the three minutes of RFC 5321, Section 4.5.3.2.5.
pub(crate) const SMTP_DATA_TIMEOUT: Span = minutes(5);

/// `dns.server_timeout`: each server is asked twice, so a packet may be lost.
pub(crate) const DNS_SERVER_TIMEOUT: Span = seconds(2);

/// `dns.lookup_timeout`: the sender waits for it at RCPT where a guarantee stands.
pub(crate) const DNS_LOOKUP_TIMEOUT: Span = seconds(12);

/// `dns.cache_entries`: some ten thousand recipient domains.
pub(crate) const DNS_CACHE_ENTRIES: usize = 100_000;

/// `dns.cache_size`: some 600 octets for each entry.
pub(crate) const DNS_CACHE_SIZE: Size = Size(64 << 20);

/// `dns.ttl_floor`: one decision asks the same question only once, even under a TTL of 0.
pub(crate) const DNS_TTL_FLOOR: Span = seconds(5);

/// `dns.ttl_ceiling`: a mistake of others is forgotten after a day.
pub(crate) const DNS_TTL_CEILING: Span = hours(24);

/// `dns.negative_ttl_ceiling`: a record that was missing is seen an hour after it has appeared.
pub(crate) const DNS_NEGATIVE_TTL_CEILING: Span = hours(1);

/// `dns.trust_anchor_updates`: without it, mail stops on the day on which the root's keys change and
/// nobody thinks of it.
pub(crate) const TRUST_ANCHOR_UPDATES: bool = true;

/// `dns.danger_negative_trust_anchor`: whoever needs more at a time has another problem.
pub(crate) const NEGATIVE_TRUST_ANCHORS_MAX: usize = 32;

/// `dns.danger_negative_trust_anchor.until`: a mistake in a zone is mended within days, and an
/// exception that nobody looks at any more must end (RFC 7646).
pub(crate) const NEGATIVE_TRUST_ANCHOR_LIFETIME_MAX: Span = hours(7 * 24);

/// `delivery.mx_port`: RFC 5321, Section 4.5.4.2.
pub(crate) const MX_PORT: u16 = 25;

/// `delivery.https_port`: RFC 8461, Section 3.3.
pub(crate) const HTTPS_PORT: u16 = 443;

/// `delivery.max_deliveries`: enough to fill a provider's line.
pub(crate) const MAX_DELIVERIES: u32 = 200;

/// `delivery.max_deliveries_per_domain`: more is taken for an attack by many hosts.
pub(crate) const MAX_DELIVERIES_PER_DOMAIN: u32 = 20;

/// `delivery.max_slow_deliveries`: with a time-out of 30 seconds, a hundred silent hosts in a second.
pub(crate) const MAX_SLOW_DELIVERIES: u32 = 4_000;

/// `delivery.max_connections_per_address`: what hosts of many domains take from one relay.
pub(crate) const MAX_CONNECTIONS_PER_ADDRESS: usize = 50;

/// `delivery.max_connections_per_network`: several hosts of one owner.
pub(crate) const MAX_CONNECTIONS_PER_NETWORK: usize = 200;

/// `delivery.connect_timeout`: a host that is slower than this is not there.
pub(crate) const CONNECT_TIMEOUT: Span = seconds(30);

/// `delivery.command_timeout`: RFC 5321, Sections 4.5.3.2.1 to 4.5.3.2.3.
pub(crate) const DELIVERY_COMMAND_TIMEOUT: Span = minutes(5);

/// `delivery.tls_timeout`: two round trips and two signatures, with much patience.
pub(crate) const TLS_TIMEOUT: Span = minutes(1);

/// `delivery.data_timeout`: RFC 5321, Section 4.5.3.2.6.
pub(crate) const DELIVERY_DATA_TIMEOUT: Span = minutes(10);

/// `tlsrpt.spread`: what RFC 8460, Section 4.1, recommends.
pub(crate) const TLSRPT_SPREAD: Span = hours(4);

/// `queue.spool`: where Debian keeps the state of daemons.
pub(crate) fn spool() -> PathBuf {
    PathBuf::from("/var/lib/byrnie")
}

/// `queue.retry_min`: greylisting hosts let the second attempt in after five minutes.
pub(crate) const RETRY_MIN: Span = minutes(5);

/// `queue.retry_max`: some thirty attempts in five days.
pub(crate) const RETRY_MAX: Span = hours(4);

/// `queue.retry_factor`: 5, 10, 20, 40, 80, 160, 240 minutes.
pub(crate) const RETRY_FACTOR: f64 = 2.0;

/// `queue.lifetime`: RFC 5321, Section 4.5.4.1.
pub(crate) const LIFETIME: Span = hours(5 * 24);

/// `queue.delay_warning`: what senders are used to.
pub(crate) const DELAY_WARNING: DelayWarning = DelayWarning::After(hours(4));

/// `queue.max_handover_size`: some seconds of mail at full rate.
pub(crate) const MAX_HANDOVER_SIZE: Size = Size(64 << 20);

/// `queue.max_messages`: a spool of this size still starts within seconds.
pub(crate) const MAX_MESSAGES: u64 = 100_000;

/// `queue.max_size`: a day's mail of a small provider whose line is down.
pub(crate) const MAX_SPOOL_SIZE: Size = Size(10 << 30);

/// `queue.max_receipts`: some 1 KiB each.
pub(crate) const MAX_RECEIPTS: u64 = 1_000_000;

/// `queue.receipt_lifetime`: long enough for "did my mail arrive last month?".
pub(crate) const RECEIPT_LIFETIME: Span = hours(30 * 24);

/// `policyd.max_connections`: each of Postfix's delivery processes keeps one.
pub(crate) const MAX_POLICYD_CONNECTIONS: usize = 12_000;

/// `web.max_connections`.
pub(crate) const WEB_MAX_CONNECTIONS: usize = 1_000;

/// `web.max_connections_per_client`.
pub(crate) const WEB_MAX_CONNECTIONS_PER_CLIENT: usize = 100;

/// How many domains may have a policy.
pub(crate) const STS_DOMAINS_MAX: usize = 100_000;

/// `mta_sts.max_age`: long enough that a sender knows the policy when an attacker comes.
pub(crate) const STS_MAX_AGE: Span = hours(14 * 24);

/// `log.level`: what a postmaster wants to read.
pub(crate) fn log_level() -> String {
    String::from("info")
}

/// `tlsrpt.receive.max_reports`: a year's of 250 organizations and domains, at some kilobytes each.
pub(crate) const MAX_REPORTS: u64 = 100_000;

/// `tlsrpt.receive.max_size`: as many, at ten kilobytes each.
pub(crate) const MAX_REPORTS_SIZE: Size = Size(1 << 30);

/// The least for `tlsrpt.receive.max_size`: room for a report as large as is read, with its numbers.
pub(crate) const REPORTS_SIZE_MIN: Size = Size(64 << 20);

/// `tlsrpt.receive.retention`: long enough to compare with last year.
pub(crate) const REPORT_RETENTION: Span = hours(365 * 24);

/// `alerts.interval`: who gets one looks at it before the next.
pub(crate) const ALERT_INTERVAL: Span = minutes(5);

/// The least for `alerts.interval`: nobody reads faster.
pub(crate) const ALERT_INTERVAL_MIN: Span = seconds(10);

/// `metrics.listen`: loopback, for the monitor on the same machine.
pub(crate) fn metrics_listen() -> MetricsListen {
    MetricsListen::At(SocketAddr::from((Ipv4Addr::LOCALHOST, 9465)))
}

const fn seconds(number: u64) -> Span {
    Span(Duration::from_secs(number))
}

const fn minutes(number: u64) -> Span {
    seconds(number * 60)
}

const fn hours(number: u64) -> Span {
    minutes(number * 60)
}
