//! SMTP without I/O: RFC 5321 and its extensions.
//!
//! Bytes and events go in, actions come out; `byrnie-net` moves the bytes.

mod demand;
mod envelope;
mod reply;

pub use demand::TlsDemand;
pub use envelope::BodyType;
pub use envelope::Envelope;
pub use envelope::ReversePath;
pub use envelope::Smtputf8;
pub use reply::EnhancedStatus;
pub use reply::Reply;
