//! SMTP MTA Strict Transport Security (MTA-STS), [RFC 8461].
//!
//! This crate parses and matches; it never does I/O and never reads the clock.
//!
//! | RFC 8461 section | here |
//! |---|---|
//! | 3.2 MTA-STS policies | [`Policy`] |
//!
//! [RFC 8461]: https://www.rfc-editor.org/rfc/rfc8461

mod policy;

pub use policy::Field;
pub use policy::Mode;
pub use policy::Policy;
pub use policy::PolicyError;
