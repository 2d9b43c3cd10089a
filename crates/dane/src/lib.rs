//! DANE for SMTP: RFC 6698, 7671, 7672 and 7218.
//!
//! A domain that signs its zone can publish, next to the name of each mail host, which certificate
//! or key that host will show: a TLSA record. A sender that finds such a record with DNSSEC's proof
//! needs no certificate authority, and an attacker can no longer strip STARTTLS or show a
//! certificate of his own. This crate never does I/O and never reads the clock.
//!
//! | question | here |
//! |---|---|
//! | where do the records of a host stand? | [`tlsa_base_candidates`], [`tlsa_owner`] |
//! | what does a record say? | [`TlsaRecord`] |
//! | which records can a sender of mail use? | [`UsableRecords`] |
//! | which names may a certificate carry? | [`ReferenceIdentifiers`] |
//! | does what the server shows satisfy them? | [`verify`] |
//! | the same for files, for people | [`verify_pem`] |
//! | which key has signed the handshake? | [`public_key`] |

mod base;
mod certificate;
mod names;
mod path;
mod pem;
mod record;
mod reference;
mod usable;
mod verify;

pub use base::tlsa_base_candidates;
pub use base::tlsa_owner;
pub use certificate::MalformedCertificate;
pub use certificate::public_key;
pub use path::PathFault;
pub use pem::PemFault;
pub use pem::UnreadablePem;
pub use pem::verify_pem;
pub use record::CertUsage;
pub use record::InvalidTlsa;
pub use record::MatchingType;
pub use record::Parameter;
pub use record::Selector;
pub use record::TlsaFault;
pub use record::TlsaRecord;
pub use reference::ReferenceIdentifiers;
pub use usable::Unusable;
pub use usable::UsableRecords;
pub use verify::Match;
pub use verify::Mismatch;
pub use verify::MismatchKind;
pub use verify::Presented;
pub use verify::RecordFault;
pub use verify::verify;
