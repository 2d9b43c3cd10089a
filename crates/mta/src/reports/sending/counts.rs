//! What is counted about the reports that are sent, for Prometheus.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Everything that is counted about the reports that are sent; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    datagrams: Family<ResultLabel, Counter>,
    dropped: Counter,
    steps: Family<ResultLabel, Counter>,
    waiting: Gauge,
}

/// What came of something.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

/// What came of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Datagram {
    /// It was counted.
    Taken,
    /// It is none of libtlsrpt's.
    Refused,
}

/// What came of a step of a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Its destinations are known.
    Addressed,
    /// The domain wants no reports.
    Unwanted,
    /// It was taken.
    Sent,
    /// It is tried again.
    Later,
    /// It was given up.
    GivenUp,
}

impl Counts {
    /// Tells the registry the names.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tlsrpt_datagrams",
            "Datagrams of libtlsrpt, by whether they were counted",
            self.datagrams.clone(),
        );
        registry.register(
            "tlsrpt_results_dropped",
            "Results of sessions for which there was no place",
            self.dropped.clone(),
        );
        registry.register(
            "tlsrpt_outgoing",
            "Steps on the way of TLS reports to others, by what came of them",
            self.steps.clone(),
        );
        registry.register(
            "tlsrpt_outgoing_waiting",
            "TLS reports to others that wait for their next step",
            self.waiting.clone(),
        );
    }

    /// A datagram came.
    pub(crate) fn datagram(&self, datagram: Datagram) {
        let result = match datagram {
            Datagram::Taken => "taken",
            Datagram::Refused => "refused",
        };
        self.datagrams.get_or_create(&ResultLabel { result }).inc();
    }

    /// So many results found no place.
    pub(crate) fn dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }

    /// A step was taken.
    pub(crate) fn step(&self, step: Step) {
        let result = match step {
            Step::Addressed => "addressed",
            Step::Unwanted => "unwanted",
            Step::Sent => "sent",
            Step::Later => "later",
            Step::GivenUp => "given-up",
        };
        self.steps.get_or_create(&ResultLabel { result }).inc();
    }

    /// So many steps wait.
    pub(crate) fn waiting(&self, count: u64) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
