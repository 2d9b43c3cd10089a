//! The targets of the DNSSEC validator.

mod drawing;
mod message;
mod script;
mod tamper;
mod tracker;
mod tree;
mod validation;

pub use drawing::dnssec_drawing;
pub use message::dnssec_message;
pub use tracker::trust_anchor_state;
pub use validation::dnssec_denial;
pub use validation::dnssec_validation;
