//! Names and proofs that every other crate speaks in.
//!
//! | here | what it is |
//! |---|---|
//! | [`DomainName`] | a fully-qualified domain name in A-label form |
//! | [`Mailbox`] | `local-part@domain`, as RFC 5321 means it |
//! | [`Secured`] | a value from the DNS together with how well it is proven |
//! | [`is_unprintable`] | what text from strangers must not bring along |
//! | [`UnixTime`] | a point in time, passed in by whoever owns a clock |
//!
//! Nothing here does I/O, reads a clock or draws a random number.

mod domain_name;
mod mailbox;
mod secured;
mod text;
mod time;

pub use domain_name::DomainName;
pub use domain_name::InvalidDomainName;
pub use mailbox::InvalidMailbox;
pub use mailbox::LocalPart;
pub use mailbox::MailDomain;
pub use mailbox::Mailbox;
pub use secured::LookupError;
pub use secured::Secured;
pub use secured::Security;
pub use text::is_unprintable;
pub use time::UnixTime;
