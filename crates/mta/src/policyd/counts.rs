//! What the policy daemon counts, for Prometheus.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::replies::AnswerResult;

/// Everything that the policy daemon counts; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    answers: Family<AnswerLabels, Counter>,
    lookups: Counter,
    connections: Gauge,
    refused: Counter,
}

/// The answers in one protocol, by what they say.
#[derive(Clone, Debug)]
pub(crate) struct AnswerCounts {
    found: Counter,
    not_found: Counter,
    temporary: Counter,
    permanent: Counter,
}

/// By protocol, and what was said.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct AnswerLabels {
    protocol: &'static str,
    result: &'static str,
}

impl Counts {
    /// Tells the registry the names.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "policyd_answers",
            "Answers of the policy daemon, by protocol and what they say",
            self.answers.clone(),
        );
        registry.register(
            "policyd_lookups",
            "Questions to the policy daemon whose answer was not known yet",
            self.lookups.clone(),
        );
        registry.register(
            "policyd_connections",
            "Connections to the policy daemon",
            self.connections.clone(),
        );
        registry.register(
            "policyd_refused_connections",
            "Connections to the policy daemon that were one too many",
            self.refused.clone(),
        );
    }

    /// The answers in one protocol.
    pub(crate) fn answers(&self, protocol: &'static str) -> AnswerCounts {
        let counter = |result| {
            let labels = AnswerLabels { protocol, result };
            self.answers.get_or_create(&labels).clone()
        };
        AnswerCounts {
            found: counter("found"),
            not_found: counter("not-found"),
            temporary: counter("temporary"),
            permanent: counter("permanent"),
        }
    }

    /// An answer has to be looked for.
    pub(crate) fn looked_up(&self) {
        self.lookups.inc();
    }

    /// Somebody came.
    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    /// Somebody went.
    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }

    /// Somebody was one too many.
    pub(crate) fn refused(&self) {
        self.refused.inc();
    }
}

impl AnswerCounts {
    /// An answer was given.
    pub(crate) fn answered(&self, result: AnswerResult) {
        let counter = match result {
            AnswerResult::Found => &self.found,
            AnswerResult::NotFound => &self.not_found,
            AnswerResult::Temporary => &self.temporary,
            AnswerResult::Permanent => &self.permanent,
        };
        counter.inc();
    }
}
