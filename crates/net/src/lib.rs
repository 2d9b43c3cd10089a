//! Everything byrnie does on the network.
//!
//! | module | what it does |
//! |---|---|
//! | [`clock`] | the time, from the system or from a test |
//! | [`current`] | settings that change while they are in use |
//! | [`dns`] | answers with their DNSSEC status, behind the narrow trait [`dns::Resolve`] |
//! | [`http`] | a bounded HTTP server, over TLS or not |
//! | [`https`] | asking HTTPS servers, for policies and with reports |
//! | [`sts`] | MTA-STS policies over HTTPS, and the cache rules around them |
//! | [`gather`] | everything the decision needs to know about a domain, asked side by side |
//! | [`tls`] | TLS to mail hosts, and the witness that a requirement was met |
//! | [`smtp`] | the drivers that move the bytes of `byrnie-smtp`'s sessions |

pub mod clock;
pub mod current;
pub mod dns;
pub mod gather;
pub mod http;
pub mod https;
mod occupancy;
pub mod smtp;
pub mod sts;
pub mod tls;
