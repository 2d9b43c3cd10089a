//! The DNS of the miniature internet: a signed root and everything below it, in one process.
//!
//! [`Zones`] holds the zones and their faults, and answers a question the way a recursive resolver
//! would: with the whole chain of aliases, and with signatures and proofs of absence when they are
//! asked for. Signing and proofs of absence happen while answering, so that
//! records can change at any moment. [`DnsServer`] puts it on UDP and TCP.
//!
//! The code is deliberately not built upon a DNSSEC library: the validator under test would then be
//! tested against its own sister. Messages alone come from the `domain` crate.

mod answer;
mod denial;
mod fault;
mod record;
mod server;
mod sign;
mod zones;

pub use domain::base::Rtype;
pub use domain::base::iana::Rcode;

pub use answer::Lookup;
pub use answer::SignedSet;
pub use denial::Denial;
pub use denial::OptOut;
pub use fault::DnsFault;
pub use record::RecordSet;
pub use record::TlsaData;
pub use record::dns_name;
pub use server::DnsServer;
pub use server::Query;
pub use server::Transport;
pub use sign::Validity;
pub use sign::ZoneKey;
pub use zones::Signing;
pub use zones::Zones;

#[cfg(test)]
mod tests;
