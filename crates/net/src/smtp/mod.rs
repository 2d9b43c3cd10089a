//! The drivers that move the bytes of SMTP sessions.
//!
//! `byrnie-smtp` says what to do; the drivers read, write, wait no longer than they may, and make the
//! handshakes. They never log what a message holds.

pub mod client;
pub mod server;
