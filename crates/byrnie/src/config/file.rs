//! The configuration as it stands in the file, version 1.
//!
//! Every key may be left out except `version`; what then holds is named in
//! [`defaults`]. Unknown keys are refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use byrnie_base::DomainName;
use byrnie_base::Mailbox;
use byrnie_mta::ReceivingConfig;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;

use super::defaults;
use super::text::Listen;
use super::text::Moment;
use super::text::NetworkText;
use super::text::RateText;
use super::text::Size;
use super::text::SmartHostText;
use super::text::Span;
use super::text::UrlText;
use super::tlsrpt::Tlsrpt;
use super::web::MtaSts;
use super::web::Web;

/// The whole file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The version of this form; 1.
    pub(crate) version: Version,
    /// The name byrnie greets with; the system's host name if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<DomainName>,
    /// Taking mail in.
    #[serde(default)]
    pub(crate) smtp: Smtp,
    /// Asking the DNS.
    #[serde(default)]
    pub(crate) dns: Dns,
    /// Whom to believe besides the public authorities.
    #[serde(default)]
    pub(crate) tls: Tls,
    /// Sending mail on.
    #[serde(default)]
    pub(crate) delivery: Delivery,
    /// Keeping mail until it is sent.
    #[serde(default)]
    pub(crate) queue: Queue,
    /// What is written to standard error.
    #[serde(default)]
    pub(crate) log: Log,
    /// The local port for monitoring.
    #[serde(default)]
    pub(crate) metrics: Metrics,
    /// Answering other mail servers.
    #[serde(default)]
    pub(crate) policyd: Policyd,
    /// The public HTTPS server.
    #[serde(default)]
    pub(crate) web: Web,
    /// Policies that byrnie publishes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mta_sts: Vec<MtaSts>,
    /// TLS reports.
    #[serde(default)]
    pub(crate) tlsrpt: Tlsrpt,
    /// Telling people of what is new.
    #[serde(default)]
    pub(crate) alerts: Alerts,
    /// What the operator demands of recipient domains.
    #[serde(default, rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<Rule>,
    /// Senders whose mail travels authenticated or not at all.
    #[serde(default, rename = "guarantee", skip_serializing_if = "Vec::is_empty")]
    pub(crate) guarantees: Vec<Guarantee>,
}

/// The only version there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(de::Error::custom(format_args!(
                "version {other} is not known to this byrnie, which reads version 1"
            ))),
        }
    }
}

/// `[smtp]`: taking mail in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Smtp {
    /// Where to listen.
    pub(crate) listen: Vec<SocketAddr>,
    /// Whose mail is relayed.
    pub(crate) trusted_networks: Vec<NetworkText>,
    /// The largest message taken.
    pub(crate) max_message_size: Size,
    /// The most recipients of one message.
    pub(crate) max_recipients: usize,
    /// The most connections at once.
    pub(crate) max_connections: usize,
    /// The most connections at once from one address.
    pub(crate) max_connections_per_client: usize,
    /// The most connections at once from one network: /24 of IPv4, /48 of IPv6.
    pub(crate) max_connections_per_network: usize,
    /// How often one address may connect.
    pub(crate) max_connection_rate: RateText,
    /// How often one address may begin a message.
    pub(crate) max_message_rate: RateText,
    /// How often commands of one address may be refused.
    pub(crate) max_error_rate: RateText,
    /// The most memory for all messages that are coming in.
    pub(crate) max_message_memory: Size,
    /// How long a client may take for one command.
    pub(crate) command_timeout: Span,
    /// How long a client may pause within a message.
    pub(crate) data_timeout: Span,
    /// The certificate shown after STARTTLS, PEM, leaf first; together with `tls_key_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_certificate_file: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key_file: Option<PathBuf>,
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            listen: defaults::smtp_listen(),
            trusted_networks: defaults::trusted_networks(),
            max_message_size: defaults::MAX_MESSAGE_SIZE,
            max_recipients: defaults::MAX_RECIPIENTS,
            max_connections: defaults::MAX_CONNECTIONS_IN,
            max_connections_per_client: defaults::MAX_CONNECTIONS_PER_CLIENT,
            max_connections_per_network: defaults::MAX_CONNECTIONS_PER_NETWORK_IN,
            max_connection_rate: RateText(None),
            max_message_rate: RateText(None),
            max_error_rate: RateText(None),
            max_message_memory: defaults::MAX_MESSAGE_MEMORY,
            command_timeout: defaults::SMTP_COMMAND_TIMEOUT,
            data_timeout: defaults::SMTP_DATA_TIMEOUT,
            tls_certificate_file: None,
            tls_key_file: None,
        }
    }
}

/// `[dns]`: asking the DNS.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Dns {
    /// The resolvers to ask, in this order; those of `/etc/resolv.conf` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) servers: Option<Vec<SocketAddr>>,
    /// Who validates.
    pub(crate) mode: DnsMode,
    /// Trust anchors, DS or DNSKEY lines; the root's own if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trust_anchor_file: Option<PathBuf>,
    /// Whether the anchors follow when their zones change their keys: RFC 5011.
    pub(crate) trust_anchor_updates: bool,
    /// For `mode = "trust-ad"`: a domain that the resolvers must find secure; the root if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) known_signed: Option<DomainName>,
    /// How to reach the servers.
    pub(crate) transport: DnsTransport,
    /// The name in the servers' certificates, for `transport = "tls"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_name: Option<DomainName>,
    /// How long one server may take for one answer.
    pub(crate) server_timeout: Span,
    /// How long one question may take with all that it leads to.
    pub(crate) lookup_timeout: Span,
    /// The most answers kept.
    pub(crate) cache_entries: usize,
    /// The most memory for answers kept.
    pub(crate) cache_size: Size,
    /// Answers are kept at least this long, whatever their TTL.
    pub(crate) ttl_floor: Span,
    /// Answers are kept at most this long, whatever their TTL.
    pub(crate) ttl_ceiling: Span,
    /// Denials are kept at most this long.
    pub(crate) negative_ttl_ceiling: Span,
    /// Domains that are not validated for a while.
    #[serde(
        rename = "danger_negative_trust_anchor",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) negative_trust_anchors: Vec<NegativeTrustAnchor>,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: None,
            mode: DnsMode::Validate,
            trust_anchor_file: None,
            trust_anchor_updates: defaults::TRUST_ANCHOR_UPDATES,
            known_signed: None,
            transport: DnsTransport::UdpTcp,
            tls_name: None,
            server_timeout: defaults::DNS_SERVER_TIMEOUT,
            lookup_timeout: defaults::DNS_LOOKUP_TIMEOUT,
            cache_entries: defaults::DNS_CACHE_ENTRIES,
            cache_size: defaults::DNS_CACHE_SIZE,
            ttl_floor: defaults::DNS_TTL_FLOOR,
            ttl_ceiling: defaults::DNS_TTL_CEILING,
            negative_ttl_ceiling: defaults::DNS_NEGATIVE_TTL_CEILING,
            negative_trust_anchors: Vec::new(),
        }
    }
}

/// `[[dns.danger_negative_trust_anchor]]`: a domain that is not validated for a while, because its
/// owner has broken its signatures: RFC 7646.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NegativeTrustAnchor {
    /// The domain; all below it counts as unsigned.
    pub(crate) domain: DomainName,
    /// When that ends.
    pub(crate) until: Moment,
    /// Why, for whoever reads the file later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Who validates answers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DnsMode {
    /// byrnie itself, from the trust anchor down; the default.
    Validate,
    /// The resolver, whose AD bit is believed; the servers must be on the loopback interface.
    TrustAd,
    /// As `trust-ad`, over whatever network leads to the servers.
    DangerTrustRemoteAd,
}

/// How to reach the servers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DnsTransport {
    /// UDP, and TCP for answers that do not fit; the default.
    UdpTcp,
    /// TCP alone.
    Tcp,
    /// DNS over TLS: RFC 7858.
    Tls,
}

/// `[tls]`: whom to believe besides the public authorities.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// More roots, PEM, for mail hosts under MTA-STS, for policy hosts and for DNS over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// `[delivery]`: sending mail on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Delivery {
    /// Where all mail goes; to the hosts of each recipient's domain if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) smart_host: Option<SmartHostText>,
    /// The port of mail hosts.
    pub(crate) mx_port: u16,
    /// The port of the hosts that serve MTA-STS policies.
    pub(crate) https_port: u16,
    /// Which addresses of a host to try, and in which order.
    pub(crate) addresses: Addresses,
    /// The most deliveries at once, besides those that wait for slow hosts.
    pub(crate) max_deliveries: u32,
    /// The most deliveries at once to one domain.
    pub(crate) max_deliveries_per_domain: u32,
    /// The most deliveries at once that wait for slow hosts.
    pub(crate) max_slow_deliveries: u32,
    /// The most connections at once to one address.
    pub(crate) max_connections_per_address: usize,
    /// The most connections at once to one network, a /24 of IPv4 or a /48 of IPv6.
    pub(crate) max_connections_per_network: usize,
    /// How long one address may take to accept a connection.
    pub(crate) connect_timeout: Span,
    /// How long a host may take for its greeting and for each reply.
    pub(crate) command_timeout: Span,
    /// How long the TLS handshake may take.
    pub(crate) tls_timeout: Span,
    /// How long a host may take to accept a message after its last line.
    pub(crate) data_timeout: Span,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            smart_host: None,
            mx_port: defaults::MX_PORT,
            https_port: defaults::HTTPS_PORT,
            addresses: Addresses::PreferIpv6,
            max_deliveries: defaults::MAX_DELIVERIES,
            max_deliveries_per_domain: defaults::MAX_DELIVERIES_PER_DOMAIN,
            max_slow_deliveries: defaults::MAX_SLOW_DELIVERIES,
            max_connections_per_address: defaults::MAX_CONNECTIONS_PER_ADDRESS,
            max_connections_per_network: defaults::MAX_CONNECTIONS_PER_NETWORK,
            connect_timeout: defaults::CONNECT_TIMEOUT,
            command_timeout: defaults::DELIVERY_COMMAND_TIMEOUT,
            tls_timeout: defaults::TLS_TIMEOUT,
            data_timeout: defaults::DELIVERY_DATA_TIMEOUT,
        }
    }
}

/// Which addresses of a host to try, and in which order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Addresses {
    /// All, IPv6 first; the default.
    PreferIpv6,
    /// All, IPv4 first.
    PreferIpv4,
    /// IPv6 alone.
    Ipv6Only,
    /// IPv4 alone.
    Ipv4Only,
}

/// `[queue]`: keeping mail until it is sent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Queue {
    /// The folder of the spool.
    pub(crate) spool: PathBuf,
    /// The wait before the second attempt.
    pub(crate) retry_min: Span,
    /// The longest wait between two attempts.
    pub(crate) retry_max: Span,
    /// By how much each wait is longer than the one before.
    pub(crate) retry_factor: f64,
    /// When a message that cannot be delivered goes back to its sender.
    pub(crate) lifetime: Span,
    /// When a sender is told that a message has not been delivered yet.
    pub(crate) delay_warning: DelayWarning,
    /// The most memory for messages between their acceptance and their first attempt.
    pub(crate) max_handover_size: Size,
    /// The most messages in the queue; beyond it messages are refused for the time being.
    pub(crate) max_messages: u64,
    /// The most disk space; beyond it messages are refused for the time being.
    pub(crate) max_size: Size,
    /// The most receipts kept.
    pub(crate) max_receipts: u64,
    /// How long receipts are kept.
    pub(crate) receipt_lifetime: Span,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            spool: defaults::spool(),
            retry_min: defaults::RETRY_MIN,
            retry_max: defaults::RETRY_MAX,
            retry_factor: defaults::RETRY_FACTOR,
            lifetime: defaults::LIFETIME,
            delay_warning: defaults::DELAY_WARNING,
            max_handover_size: defaults::MAX_HANDOVER_SIZE,
            max_messages: defaults::MAX_MESSAGES,
            max_size: defaults::MAX_SPOOL_SIZE,
            max_receipts: defaults::MAX_RECEIPTS,
            receipt_lifetime: defaults::RECEIPT_LIFETIME,
        }
    }
}

/// A duration, or `"off"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DelayWarning {
    /// Nobody is told.
    Off,
    /// Who sent a message that has waited for so long.
    After(Span),
}

impl Serialize for DelayWarning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::After(wait) => serializer.collect_str(wait),
        }
    }
}

impl<'de> Deserialize<'de> for DelayWarning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::After)
            .map_err(|_| de::Error::custom("neither \"off\" nor a duration such as \"4h\""))
    }
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// For people or for machines.
    pub(crate) format: LogFormat,
    /// How much: a level, or levels per target such as `"info,byrnie_net=debug"`.
    pub(crate) level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: defaults::log_level(),
        }
    }
}

/// For people or for machines.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// One line of text per event; the default.
    Text,
    /// One JSON object per event.
    Json,
}

/// `[metrics]`: the local port for monitoring.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Metrics {
    /// Where `/metrics`, `/healthz` and `/readyz` are served, or `"off"`.
    pub(crate) listen: MetricsListen,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: defaults::metrics_listen(),
        }
    }
}

/// An address, or `"off"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MetricsListen {
    /// Nothing is served.
    Off,
    /// Served there.
    At(SocketAddr),
}

impl Serialize for MetricsListen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::At(address) => serializer.collect_str(address),
        }
    }
}

impl<'de> Deserialize<'de> for MetricsListen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            de::Error::custom("neither \"off\" nor an address with a port such as \"[::1]:9465\"")
        })
    }
}

/// `[policyd]`: telling other mail servers how mail to a domain must go.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Policyd {
    /// Where Postfix asks, by its socketmap protocol.
    pub(crate) socketmap: Vec<Listen>,
    /// Where Exim asks, line by line.
    pub(crate) exim: Vec<Listen>,
    /// Where others ask, for JSON over HTTP.
    pub(crate) http: Vec<SocketAddr>,
    /// The most connections at once of Postfix and Exim together.
    pub(crate) max_connections: usize,
}

impl Policyd {
    /// Whether anybody is to be answered.
    pub(crate) fn is_on(&self) -> bool {
        !(self.socketmap.is_empty() && self.exim.is_empty() && self.http.is_empty())
    }
}

impl Default for Policyd {
    fn default() -> Self {
        Self {
            socketmap: Vec::new(),
            exim: Vec::new(),
            http: Vec::new(),
            max_connections: defaults::MAX_POLICYD_CONNECTIONS,
        }
    }
}

/// `[tlsrpt.receive]`: the TLS reports of others about us.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TlsrptReceive {
    /// The recipients on the SMTP listener that they go to, from any network.
    pub(crate) addresses: Vec<Mailbox>,
    /// Whether they may be handed in at `/v1/tlsrpt` of every host that `web` serves.
    pub(crate) https: bool,
    /// The most reports kept; beyond it old ones make room.
    pub(crate) max_reports: u64,
    /// The most octets that they take, besides mail; beyond it likewise.
    pub(crate) max_size: Size,
    /// How long they are kept.
    pub(crate) retention: Span,
}

impl TlsrptReceive {
    /// How reports are kept.
    pub(crate) fn config(&self) -> ReceivingConfig {
        ReceivingConfig {
            reports_max: self.max_reports,
            size_max: self.max_size.0,
            retention: self.retention.0,
        }
    }
}

impl Default for TlsrptReceive {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            https: false,
            max_reports: defaults::MAX_REPORTS,
            max_size: defaults::MAX_REPORTS_SIZE,
            retention: defaults::REPORT_RETENTION,
        }
    }
}

/// `[alerts]`: telling people of what is new in TLS reports, besides the log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Alerts {
    /// Gets a request with JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<UrlText>,
    /// Gets a mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mail: Option<Mailbox>,
    /// Who sends it; postmaster at the hostname if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Mailbox>,
    /// The least time between two.
    pub(crate) interval: Span,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            webhook: None,
            mail: None,
            from: None,
            interval: defaults::ALERT_INTERVAL,
        }
    }
}

/// `[[rule]]`: what the operator demands of one recipient domain, or of all below a parent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The domain, or `.` and a parent for every domain below it.
    pub(crate) domain: RuleDomain,
    /// The weakest requirement that mail to the domain may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<byrnie_policy::Strength>,
    /// Switches DANE off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dane: Option<DaneWord>,
    /// Lets TLSA records count behind an insecure MX answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) insecure_mx: Option<InsecureMxWord>,
}

/// A domain, or every domain below a parent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum RuleDomain {
    /// That domain alone.
    Exact(DomainName),
    /// Every domain below it, but not itself.
    Below(DomainName),
}

impl Serialize for RuleDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Exact(name) => serializer.collect_str(name),
            Self::Below(parent) => serializer.collect_str(&format_args!(".{parent}")),
        }
    }
}

impl<'de> Deserialize<'de> for RuleDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix('.') {
            Some(parent) => parent.parse().map(Self::Below),
            None => text.parse().map(Self::Exact),
        }
        .map_err(de::Error::custom)
    }
}

/// The words that may stand behind `dane`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DaneWord {
    /// As RFC 7672 says; the default.
    Apply,
    /// DANE does not count for the domain.
    DangerIgnore,
}

/// The words that may stand behind `insecure_mx`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InsecureMxWord {
    /// TLSA records count only behind a secure MX answer; the default.
    NoDane,
    /// TLSA records count behind an insecure one too.
    UseTlsa,
}

/// `[[guarantee]]`: a sender whose mail travels authenticated or not at all.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guarantee {
    /// One address; or else `sender_domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sender: Option<Mailbox>,
    /// Every address of a domain; or else `sender`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sender_domain: Option<DomainName>,
}
