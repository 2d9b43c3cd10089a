//! SMTP without I/O: RFC 5321 and its extensions.
//!
//! Bytes and events go in, actions come out; `byrnie-net` moves the bytes. A session never waits, reads
//! no clock and keeps no more than its documented bounds, so that every dialogue, however hostile, can
//! be played in a test.
//!
//! | here | what it is |
//! |---|---|
//! | [`ServerSession`] | takes mail: commands in, replies and questions to a service out |
//! | [`ClientSession`] | sends mail: replies in, commands and outcomes out |
//! | [`Command`], [`Reply`], [`Capabilities`] | what is said, with the place of each fault |
//! | [`BodyReader`], [`BodyWriter`] | a message on the wire, against smuggling |
//! | [`Envelope`], [`TlsDemand`] | what the transport must know of a message |
//! | [`HeaderLines`], [`Received`], [`refuse_loop`] | the little that a relay reads and adds |
//! | [`Dsn`] | what a sender is told of a message that was not delivered |

mod body;
mod capabilities;
mod client;
mod command;
mod date;
mod demand;
mod dsn;
mod envelope;
mod header;
pub mod replies;
mod reply;
mod reply_reader;
mod server;
mod trace;

pub use body::BodyEnd;
pub use body::BodyFault;
pub use body::BodyReader;
pub use body::BodyWriter;
pub use body::Framing;
pub use body::Octets;
pub use capabilities::Capabilities;
pub use capabilities::SizeOffer;
pub use client::BodyRoom;
pub use client::ClientAction;
pub use client::ClientError;
pub use client::ClientFault;
pub use client::ClientPhase;
pub use client::ClientSession;
pub use client::Transaction;
pub use client::TransactionOutcome;
pub use client::Unsupported;
pub use command::Chunk;
pub use command::ChunkPosition;
pub use command::Command;
pub use command::CommandError;
pub use command::ForwardPath;
pub use command::InvalidCommand;
pub use command::MailFrom;
pub use command::RcptTo;
pub use date::Rfc5322Date;
pub use demand::TlsDemand;
pub use dsn::Dsn;
pub use dsn::DsnAction;
pub use dsn::DsnMessage;
pub use dsn::DsnRecipient;
pub use dsn::HEADER_RETURNED_OCTETS_MAX;
pub use dsn::MESSAGE_RETURNED_OCTETS_MAX;
pub use dsn::Original;
pub use envelope::BodyType;
pub use envelope::Envelope;
pub use envelope::ReversePath;
pub use envelope::Smtputf8;
pub use header::HEADER_OCTETS_MAX;
pub use header::HeaderLines;
pub use reply::EnhancedStatus;
pub use reply::REPLY_KEPT_LINES_MAX;
pub use reply::REPLY_KEPT_OCTETS_MAX;
pub use reply::Reply;
pub use reply::ReplyClass;
pub use reply_reader::InvalidReply;
pub use reply_reader::REPLY_LINE_OCTETS_MAX;
pub use reply_reader::REPLY_LINES_MAX;
pub use reply_reader::REPLY_OCTETS_MAX;
pub use reply_reader::ReplyError;
pub use reply_reader::ReplyReader;
pub use server::Hello;
pub use server::ServerAction;
pub use server::ServerLimits;
pub use server::ServerSession;
pub use server::ServerSettings;
pub use server::ServerWait;
pub use server::StartTls;
pub use trace::Channel;
pub use trace::HOPS_MAX;
pub use trace::HelloKind;
pub use trace::Protocol;
pub use trace::Received;
pub use trace::refuse_loop;
