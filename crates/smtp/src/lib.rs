//! SMTP without I/O: RFC 5321 and its extensions.
//!
//! Bytes and events go in, actions come out; `byrnie-net` moves the bytes.

mod body;
mod capabilities;
mod command;
mod demand;
mod envelope;
mod reply;
mod reply_reader;

pub use body::BodyEnd;
pub use body::BodyFault;
pub use body::BodyReader;
pub use body::BodyWriter;
pub use body::Framing;
pub use body::Octets;
pub use capabilities::Capabilities;
pub use capabilities::SizeOffer;
pub use command::Chunk;
pub use command::ChunkPosition;
pub use command::Command;
pub use command::CommandError;
pub use command::ForwardPath;
pub use command::InvalidCommand;
pub use command::MailFrom;
pub use command::RcptTo;
pub use demand::TlsDemand;
pub use envelope::BodyType;
pub use envelope::Envelope;
pub use envelope::ReversePath;
pub use envelope::Smtputf8;
pub use reply::EnhancedStatus;
pub use reply::Reply;
pub use reply::ReplyClass;
pub use reply_reader::InvalidReply;
pub use reply_reader::REPLY_LINE_OCTETS_MAX;
pub use reply_reader::REPLY_LINES_MAX;
pub use reply_reader::REPLY_OCTETS_MAX;
pub use reply_reader::ReplyError;
pub use reply_reader::ReplyReader;
