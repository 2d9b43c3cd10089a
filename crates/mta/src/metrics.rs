//! What is counted, for Prometheus.

use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_base::UnixTime;
use byrnie_net::dns::DnsCounts;
use byrnie_policy::Verdict;
use byrnie_store::AttemptOutcome;
use byrnie_store::Depth;
use byrnie_store::Receipt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::policyd::Counts;
use crate::reports::receiving;
use crate::reports::sending;
use crate::words;

/// Every counter of the mail transfer agent, and the registry that knows their names.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sessions: Family<ResultLabel, Counter>,
    messages_in: Family<Channel, Counter>,
    connections_out: Family<Channel, Counter>,
    connections_reused: Family<Channel, Counter>,
    connections_replaced: Counter,
    attempts: Family<AttemptLabels, Counter>,
    sent: Family<SecurityLabel, Counter>,
    decisions: Family<VerdictLabel, Counter>,
    decision_seconds: Histogram,
    deliveries: Family<StateLabel, Gauge>,
    messages: Gauge,
    oldest_seconds: Gauge,
    dns_lookups: Family<StatusLabel, Counter>,
    /// Requests to the public server.
    web_requests: Family<WhatLabel, Counter>,
    dns_cache_hits: Counter,
    dns_upstream_queries: Counter,
    anchor_refreshes: Family<ResultLabel, Counter>,
    dead_anchors: Gauge,
    negative_anchors: Gauge,
    /// Of the policy daemon.
    pub(crate) policyd: Counts,
    /// Of TLS reports that others send.
    pub(crate) reports: receiving::Counts,
    /// Of TLS reports that are sent to others.
    pub(crate) reports_sent: sending::Counts,
}

/// What was done since the start; from two of them a rate is made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// Messages accepted under TLS.
    pub accepted_tls: u64,
    /// Messages accepted in clear text.
    pub accepted_clear: u64,
    /// Offers taken by hosts that proved who they are.
    pub sent_authenticated: u64,
    /// Offers taken over TLS that proved nothing.
    pub sent_encrypted: u64,
    /// Offers taken in clear text.
    pub sent_clear: u64,
    /// Connections to mail hosts that were made.
    pub connections: u64,
    /// How often one that had been kept was taken instead.
    pub reused: u64,
}

impl Metrics {
    /// All counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("byrnie"),
            sessions: Family::default(),
            messages_in: Family::default(),
            connections_out: Family::default(),
            connections_reused: Family::default(),
            connections_replaced: Counter::default(),
            attempts: Family::default(),
            sent: Family::default(),
            decisions: Family::default(),
            decision_seconds: Histogram::new(DECISION_SECONDS),
            deliveries: Family::default(),
            messages: Gauge::default(),
            oldest_seconds: Gauge::default(),
            dns_lookups: Family::default(),
            web_requests: Family::default(),
            dns_cache_hits: Counter::default(),
            dns_upstream_queries: Counter::default(),
            anchor_refreshes: Family::default(),
            dead_anchors: Gauge::default(),
            negative_anchors: Gauge::default(),
            policyd: Counts::default(),
            reports: receiving::Counts::default(),
            reports_sent: sending::Counts::default(),
        };
        metrics.register();
        metrics
    }

    /// Everything in the text form that Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        _ = encode(&mut text, &self.registry);
        text
    }

    /// Takes over what the resolver has counted since it was made.
    pub fn set_dns(&self, counts: DnsCounts) {
        let by_status = [
            ("secure", counts.secure),
            ("insecure", counts.insecure),
            ("bogus", counts.bogus),
            ("failed", counts.failed),
        ];
        for (status, count) in by_status {
            let lookups = self.dns_lookups.get_or_create(&StatusLabel { status });
            lookups.inner().store(count, Ordering::Relaxed);
        }
        let set = |counter: &Counter, count| counter.inner().store(count, Ordering::Relaxed);
        set(&self.dns_cache_hits, counts.cache_hits);
        set(&self.dns_upstream_queries, counts.upstream_queries);
        let refreshes = [
            ("done", counts.anchor_refreshes),
            ("failed", counts.anchor_failures),
            ("not-stored", counts.anchors_not_kept),
        ];
        for (result, count) in refreshes {
            let refreshes = self.anchor_refreshes.get_or_create(&ResultLabel { result });
            set(&refreshes, count);
        }
        self.dead_anchors.set(gauged(counts.dead_anchors));
        self.negative_anchors.set(gauged(counts.negative_anchors));
    }

    /// Takes over what the public server has counted, by what was asked for.
    pub fn set_web(&self, counts: &[(&'static str, u64)]) {
        for (what, count) in counts {
            let requests = self.web_requests.get_or_create(&WhatLabel { what });
            requests.inner().store(*count, Ordering::Relaxed);
        }
    }

    /// Takes over how much lies in the queue.
    pub fn set_depth(&self, depth: &Depth, now: UnixTime) {
        for (state, count) in &depth.deliveries {
            let state = state.as_str();
            self.deliveries
                .get_or_create(&StateLabel { state })
                .set(gauged(*count));
        }
        self.messages.set(gauged(depth.messages));
        self.oldest_seconds
            .set(gauged(depth.age_of_oldest(now).as_secs()));
    }

    /// A client was let in, or was not.
    pub(crate) fn admitted(&self, admitted: Admitted) {
        let result = match admitted {
            Admitted::Yes => "admitted",
            Admitted::ForReports => "for-reports",
            Admitted::No => "refused",
        };
        self.sessions.get_or_create(&ResultLabel { result }).inc();
    }

    /// A message was accepted.
    pub(crate) fn accepted(&self, over: Over) {
        self.messages_in.get_or_create(&over.label()).inc();
    }

    /// A decision was made.
    pub(crate) fn decided(&self, verdict: Verdict, took: Duration) {
        let verdict = verdict.to_string();
        self.decisions
            .get_or_create(&VerdictLabel { verdict })
            .inc();
        self.decision_seconds.observe(took.as_secs_f64());
    }

    /// A host was tried, or none could be.
    pub(crate) fn attempted(&self, receipt: &Receipt) {
        let labels = AttemptLabels {
            requirement: receipt
                .circumstances
                .demanded
                .map_or("none", words::strength),
            result: receipt.outcome.as_str(),
        };
        self.attempts.get_or_create(&labels).inc();
        match receipt.outcome {
            AttemptOutcome::Delivered => {
                let tls = receipt.circumstances.tls.as_ref();
                let security = match tls.map(|tls| &tls.authenticated_by) {
                    Some(Some(_)) => SecurityLabel::AUTHENTICATED,
                    Some(None) => SecurityLabel::ENCRYPTED,
                    None => SecurityLabel::CLEAR,
                };
                self.sent.get_or_create(&security).inc();
            }
            AttemptOutcome::Deferred | AttemptOutcome::Bounced | AttemptOutcome::NextHost => {}
        }
    }

    /// What people want to see at a glance.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let both = |counters: &Family<Channel, Counter>| {
            [Over::Tls, Over::Clear].map(|over| counters.get_or_create(&over.label()).get())
        };
        let sent = |security| self.sent.get_or_create(&security).get();
        let [accepted_tls, accepted_clear] = both(&self.messages_in);
        Figures {
            accepted_tls,
            accepted_clear,
            sent_authenticated: sent(SecurityLabel::AUTHENTICATED),
            sent_encrypted: sent(SecurityLabel::ENCRYPTED),
            sent_clear: sent(SecurityLabel::CLEAR),
            connections: both(&self.connections_out).iter().sum(),
            reused: both(&self.connections_reused).iter().sum(),
        }
    }

    /// A connection to a host came to speak SMTP.
    pub(crate) fn connected(&self, over: Over) {
        self.connections_out.get_or_create(&over.label()).inc();
    }

    /// A delivery was offered over a connection that had been kept.
    pub(crate) fn reused(&self, over: Over) {
        self.connections_reused.get_or_create(&over.label()).inc();
    }

    /// A connection that had been kept was closed by the host, so that a new one was made.
    pub(crate) fn replaced(&self) {
        self.connections_replaced.inc();
    }

    /// Tells the registry every name.
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "smtp_sessions",
            "SMTP sessions of clients, by whether they were let in",
            self.sessions.clone(),
        );
        registry.register(
            "messages_accepted",
            "Messages accepted, by the channel they came over",
            self.messages_in.clone(),
        );
        registry.register(
            "connections_out",
            "Connections to mail hosts, by the channel that mail could travel over",
            self.connections_out.clone(),
        );
        registry.register(
            "connections_reused",
            "Offers over connections that had been kept, by channel",
            self.connections_reused.clone(),
        );
        registry.register(
            "connections_replaced",
            "Kept connections that the host had closed",
            self.connections_replaced.clone(),
        );
        registry.register(
            "attempts",
            "Offers to mail hosts, by what was demanded and how they ended",
            self.attempts.clone(),
        );
        registry.register(
            "sent",
            "Offers that a host took responsibility for, by what protected them on the way",
            self.sent.clone(),
        );
        registry.register(
            "decisions",
            "Decisions about recipient domains",
            self.decisions.clone(),
        );
        registry.register(
            "decision_seconds",
            "How long decisions took, lookups included",
            self.decision_seconds.clone(),
        );
        self.register_states();
    }

    /// Tells the registry the names of what is taken over from elsewhere.
    fn register_states(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "queue_deliveries",
            "Deliveries in the queue, by state",
            self.deliveries.clone(),
        );
        registry.register(
            "queue_messages",
            "Messages in the queue",
            self.messages.clone(),
        );
        registry.register(
            "queue_oldest_seconds",
            "Age of the oldest message in the queue",
            self.oldest_seconds.clone(),
        );
        registry.register(
            "dns_lookups",
            "DNS lookups, by how they ended",
            self.dns_lookups.clone(),
        );
        registry.register(
            "dns_cache_hits",
            "DNS lookups answered from the cache",
            self.dns_cache_hits.clone(),
        );
        registry.register(
            "dns_upstream_queries",
            "Questions sent to DNS resolvers",
            self.dns_upstream_queries.clone(),
        );
        self.register_anchors();
        self.registry.register(
            "web_requests",
            "Requests to the public server, by what was asked for; refused are connections without a place",
            self.web_requests.clone(),
        );
        self.policyd.register(&mut self.registry);
        self.reports.register(&mut self.registry);
        self.reports_sent.register(&mut self.registry);
    }

    /// Tells the registry the names of what is counted about trust anchors.
    fn register_anchors(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "dns_anchor_refreshes",
            "Looks at the keys of trust anchors, by what came of them",
            self.anchor_refreshes.clone(),
        );
        registry.register(
            "dns_dead_anchors",
            "Trust anchors all of whose keys are revoked: nothing below them can be validated",
            self.dead_anchors.clone(),
        );
        registry.register(
            "dns_negative_anchors",
            "Negative trust anchors that count",
            self.negative_anchors.clone(),
        );
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a client was let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Admitted {
    /// It was.
    Yes,
    /// It may bring TLS reports, and nothing else.
    ForReports,
    /// It was not.
    No,
}

/// What mail travels over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Over {
    /// TLS.
    Tls,
    /// Nothing that protects it.
    Clear,
}

impl Over {
    /// The label.
    fn label(self) -> Channel {
        let channel = match self {
            Self::Tls => "tls",
            Self::Clear => "clear",
        };
        Channel { channel }
    }
}

/// By what came of it.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

/// By what mail travels over.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Channel {
    channel: &'static str,
}

/// By what protected mail on its way.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct SecurityLabel {
    security: &'static str,
}

impl SecurityLabel {
    /// TLS with a host that proved who it is.
    const AUTHENTICATED: Self = Self {
        security: "authenticated",
    };

    /// TLS with whoever it was.
    const ENCRYPTED: Self = Self {
        security: "encrypted",
    };

    /// Nothing.
    const CLEAR: Self = Self { security: "clear" };
}

/// By demand and end of an offer.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AttemptLabels {
    requirement: &'static str,
    result: &'static str,
}

/// By verdict.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct VerdictLabel {
    verdict: String,
}

/// By state of a delivery.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StateLabel {
    state: &'static str,
}

/// By what was asked for.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WhatLabel {
    what: &'static str,
}

/// By status of a lookup.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StatusLabel {
    status: &'static str,
}

/// A count as a gauge has it.
fn gauged(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Upper bounds of the buckets for decisions, in seconds: from the cache up to the last time-out.
const DECISION_SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];

#[cfg(test)]
mod tests {
    use byrnie_store::DeliveryState;

    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.admitted(Admitted::Yes);
        metrics.admitted(Admitted::No);
        metrics.accepted(Over::Tls);
        metrics.connected(Over::Clear);
        metrics.reused(Over::Tls);
        metrics.replaced();
        metrics.decided(Verdict::Dane, Duration::from_millis(30));
        metrics.set_depth(
            &Depth {
                messages: 3,
                deliveries: vec![(DeliveryState::Deferred, 4)],
                oldest: Some(UnixTime(100)),
            },
            UnixTime(160),
        );
        metrics.set_dns(DnsCounts {
            bogus: 7,
            ..DnsCounts::default()
        });
        let text = metrics.render();
        for line in [
            "byrnie_smtp_sessions_total{result=\"admitted\"} 1",
            "byrnie_smtp_sessions_total{result=\"refused\"} 1",
            "byrnie_messages_accepted_total{channel=\"tls\"} 1",
            "byrnie_connections_out_total{channel=\"clear\"} 1",
            "byrnie_connections_reused_total{channel=\"tls\"} 1",
            "byrnie_connections_replaced_total 1",
            "byrnie_decisions_total{verdict=\"dane\"} 1",
            "byrnie_decision_seconds_bucket{le=\"0.05\"} 1",
            "byrnie_decision_seconds_bucket{le=\"0.02\"} 0",
            "byrnie_queue_messages 3",
            "byrnie_queue_deliveries{state=\"deferred\"} 4",
            "byrnie_queue_oldest_seconds 60",
            "byrnie_dns_lookups_total{status=\"bogus\"} 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
