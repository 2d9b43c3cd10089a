//! TLS reports: RFC 8460.

pub(crate) mod receiving;
pub(crate) mod sending;
