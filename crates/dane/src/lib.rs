//! DANE for SMTP: RFC 6698, 7671, 7672 and 7218.
//!
//! A domain that signs its zone can publish, next to the name of each mail host, which certificate
//! or key that host will show: a TLSA record. A sender that finds such a record with DNSSEC's proof
//! needs no certificate authority, and an attacker can no longer strip STARTTLS or show a
//! certificate of his own. This crate knows the records ([`TlsaRecord`]), which of them a sender of
//! mail can use, which names a certificate may carry ([`ReferenceIdentifiers`]) and whether a chain
//! satisfies them. It never does I/O and never reads the clock.

mod record;
mod reference;

pub use record::CertUsage;
pub use record::MatchingType;
pub use record::Selector;
pub use record::TlsaRecord;
pub use reference::ReferenceIdentifiers;
