//! Telling recipient domains how TLS with their hosts went.
//!
//! ```text
//! deliveries ─► applied: which policies were ─┐
//!                                             ├─► Recorder ─► store ─► Reporter ─► queue (mailto)
//! other MTAs ─► Collector (libtlsrpt) ────────┘   counts      per day    │
//!                                                                        └──────► HTTPS host
//! ```

pub(crate) mod applied;
mod collector;
mod counts;
mod recorder;
mod reporter;

pub use collector::Collector;
pub(crate) use counts::Counts;
pub use recorder::Recorder;
pub use reporter::Reporter;
pub use reporter::Submitter;
