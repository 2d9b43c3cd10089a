//! The policy daemon: tells other MTAs how mail to a destination must go.
//!
//! ```text
//! Postfix ─ socketmap ─┐                                       ┌─► Replies: octets that were sent before
//!                      ├─► connection: requests, in order ─────┤
//! Exim ─ lines ────────┘   on a thread of their own            └─► Desk ─► Decider: the ordinary runtime
//!                                                                   ▲
//! others ─ JSON over HTTP ──────────────────────────────────────────┘
//! ```
//!
//! Nothing is decided here: a decision is put into the words of whoever asks. What was answered before is
//! answered again with the same octets until the evidence grows old or the rules change.

mod advice;
mod connection;
mod counts;
mod desk;
mod exim;
mod key;
mod listening;
mod netstring;
mod postfix;
mod protocol;
mod replies;
#[cfg(test)]
mod tests;

pub(crate) use counts::Counts;
pub use desk::Busy;
pub use desk::Consider;
pub use desk::Desk;
pub use key::Key;
pub use listening::Door;
pub use listening::Doors;
pub use listening::PolicyDaemon;
pub use listening::StartError;
pub use netstring::BrokenNetstring;
pub use netstring::Frame;
pub use netstring::PAYLOAD_OCTETS_MAX;
pub use netstring::frame;
pub use postfix::postfix_policy;

pub use crate::judge::Considered;
