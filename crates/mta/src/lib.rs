//! The mail transfer agent.
//!
//! ```text
//! client ─► Acceptance ─► Spool ─► Queue ─► Courier ─► Judge: what is demanded?
//!            │                      │          └─────► Offer: one host after the other
//!            └ 250 once durable     └ Bouncer: what could not be delivered
//! ```
//!
//! [`Mta::start`] brings the parts together. What is told to the log stands in a table in the module
//! `events`; what is counted, in [`Metrics`].

mod acceptance;
mod bounce;
mod control;
mod decider;
mod delivery;
mod dkim;
mod events;
mod judge;
mod metrics;
mod network;
mod outbox;
mod policy_cache;
pub mod policyd;
mod queue;
mod reports;
mod route;
mod rules;
mod service;
mod sharing;
#[cfg(test)]
mod testing;
mod words;

pub use acceptance::AcceptanceConfig;
pub use control::MtaControl;
pub use decider::Decider;
pub use decider::DeciderConfig;
pub use delivery::AddressOrder;
pub use dkim::DkimSigner;
pub use dkim::InvalidKey;
pub use dkim::Unsignable;
pub use metrics::Figures;
pub use metrics::Metrics;
pub use network::InvalidNetwork;
pub use network::Network;
pub use outbox::Letter;
pub use outbox::Note;
pub use outbox::Outbox;
pub use policy_cache::StoredPolicies;
pub use queue::ACTIVE_SHOWN_MAX;
pub use queue::Active;
pub use queue::Live;
pub use queue::Loading;
pub use queue::QueueConfig;
pub use queue::QueueHandle;
pub use queue::RetrySchedule;
pub use queue::StoreHealth;
pub use queue::Totals;
pub use queue::scheduler;
pub use reports::receiving::ARRIVAL_OCTETS_MAX;
pub use reports::receiving::AlertConfig;
pub use reports::receiving::Alerter;
pub use reports::receiving::Collected;
pub use reports::receiving::ReceivingConfig;
pub use reports::receiving::ReportReceiver;
pub use reports::receiving::TakeReports;
pub use reports::receiving::Taking;
pub use reports::sending::Collector;
pub use reports::sending::Recorder;
pub use reports::sending::Reporter;
pub use reports::sending::Submitter;
pub use route::InvalidSmartHost;
pub use route::Route;
pub use route::SmartHost;
pub use rules::Guarantee;
pub use rules::Rules;
pub use rules::Scope;
pub use rules::ScopedRule;
pub use service::Mta;
pub use service::MtaConfig;
pub use service::MtaParts;
pub use service::PartEnded;
pub use service::StartError;
