//! What is counted about reports of others, for Prometheus.

use byrnie_store::AlertChannel;
use byrnie_store::Kept;
use byrnie_store::ReportSource;
use byrnie_tlsrpt::ResultType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Everything that is counted about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    received: Family<ReceivedLabels, Counter>,
    new_failures: Family<FailureLabel, Counter>,
    pushed_out: Counter,
    alerts: Family<AlertLabels, Counter>,
}

/// By how it came, and what came of it.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReceivedLabels {
    source: &'static str,
    result: &'static str,
}

/// By result type.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FailureLabel {
    result_type: String,
}

/// By who was to be told, and what came of it.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AlertLabels {
    channel: &'static str,
    result: &'static str,
}

impl Counts {
    /// Tells the registry the names.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tlsrpt_reports_received",
            "TLS reports of others, by how they came and what came of them",
            self.received.clone(),
        );
        registry.register(
            "tlsrpt_new_failures",
            "Ways of failing that no TLS report had told of before, by result type",
            self.new_failures.clone(),
        );
        registry.register(
            "tlsrpt_reports_pushed_out",
            "TLS reports of others that made room for newer ones",
            self.pushed_out.clone(),
        );
        registry.register(
            "tlsrpt_alerts",
            "Alerts about new failures, by channel and what came of them",
            self.alerts.clone(),
        );
    }

    /// Something came.
    pub(crate) fn received(&self, became: &Kept, source: ReportSource) {
        let labels = ReceivedLabels {
            source: source.as_str(),
            result: match became {
                Kept::New(_) => "new",
                Kept::Known(_) => "known",
                Kept::Unreadable(..) => "unreadable",
            },
        };
        self.received.get_or_create(&labels).inc();
    }

    /// So many reports made room.
    pub(crate) fn pushed_out(&self, count: u64) {
        self.pushed_out.inc_by(count);
    }

    /// Sessions fail in a new way. Ways that RFC 8460 does not list count together: strangers name them.
    pub(crate) fn new_failure(&self, result_type: &str) {
        let result_type = ResultType::from(result_type);
        let result_type = match matches!(result_type, ResultType::Other(_)) {
            true => String::from("other"),
            false => result_type.to_string(),
        };
        let label = FailureLabel { result_type };
        self.new_failures.get_or_create(&label).inc();
    }

    /// A channel was told, or could not be.
    pub(crate) fn alerted(&self, channel: AlertChannel, result: &'static str) {
        let channel = match channel {
            AlertChannel::Webhook => "webhook",
            AlertChannel::Mail => "mail",
        };
        let labels = AlertLabels { channel, result };
        self.alerts.get_or_create(&labels).inc();
    }
}
