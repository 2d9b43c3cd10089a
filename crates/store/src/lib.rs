//! Every byte byrnie keeps on disk.
//!
//! A message is *accepted* once [`Spool::insert`] has returned: envelope, body and deliveries are then
//! durable together. What the first attempts need is handed over in memory; later ones are
//! [claimed](Spool::claim) by key. When an attempt has been [finished](Spool::finish), what it learned,
//! the bounce it caused and the recipients it retired are one transaction, so that a crash at any
//! moment loses nothing and bounces nothing twice. What is due when is for a scheduler to know, which
//! reads [what waits](Spool::waiting) once, at its start; `docs/spool.md` says how it all lies on disk.
//!
//! | here | what it is |
//! |---|---|
//! | [`Spool`] | what the daemon does with messages and deliveries |
//! | [`QueueCommands`] | what people do with the queue, while the daemon runs or not |
//! | [`StsRecords`] | MTA-STS policies that survive a restart |
//! | [`AnchorRecords`] | trust anchors as their zones have changed them |
//! | [`OutgoingReports`] | TLS reports on their way, and what they are drawn up from |
//! | [`ReceivedReports`] | TLS reports of others |
//! | [`Incoming`] | a message on its way in, in bounded pieces |
//! | [`Accepted`] | a message that is durable, ready to be tried |
//! | [`SqliteStore`] | all of it in one SQLite database |
//!
//! ```text
//!            insert            finish: some remain           finish: nothing left
//!  (none) ──────────► incoming ─────────► deferred ─┐ ──────────────────────► (gone; receipts stay)
//!                        ▲ │ hold         ▲ │  ▲    │ finish: some remain
//!                release │ ▼      release │ ▼  └────┘
//!                       hold             hold          corrupt ◄── checksum mismatch, from anywhere
//! ```
//!
//! Nothing here reads a clock: callers pass the time.

mod anchors;
mod check;
mod command;
mod delivery;
mod error;
mod message;
mod outgoing;
mod queue_id;
mod receipt;
mod received;
mod spool;
mod sqlite;
mod sts;

pub use anchors::AnchorRecord;
pub use anchors::AnchorRecords;
pub use command::Counted;
pub use command::DAMAGED_LISTED_MAX;
pub use command::DeliveryView;
pub use command::Filter;
pub use command::Listed;
pub use command::MessageView;
pub use command::Progress;
pub use command::QueueCommands;
pub use command::RecipientView;
pub use command::SenderFilter;
pub use command::Shown;
pub use command::Verified;
pub use delivery::AttemptEnd;
pub use delivery::Became;
pub use delivery::Claim;
pub use delivery::Claimed;
pub use delivery::Damaged;
pub use delivery::DelayWarning;
pub use delivery::DeliveryId;
pub use delivery::DeliveryState;
pub use delivery::Finished;
pub use delivery::PendingRecipient;
pub use delivery::RecipientEnd;
pub use delivery::RecipientState;
pub use delivery::SenderKey;
pub use delivery::Waiting;
pub use error::StoreError;
pub use message::Accepted;
pub use message::Body;
pub use message::CHUNK_OCTETS;
pub use message::Incoming;
pub use message::NewDelivery;
pub use message::NewMessage;
pub use message::SPILL_OCTETS;
pub use outgoing::OutgoingEnd;
pub use outgoing::OutgoingReport;
pub use outgoing::OutgoingReports;
pub use outgoing::OutgoingState;
pub use outgoing::REPORT_LIFETIME;
pub use outgoing::RESULT_OCTETS_MAX;
pub use outgoing::RESULTS_MAX;
pub use outgoing::ReportNumber;
pub use outgoing::ResultBatch;
pub use outgoing::ResultRow;
pub use outgoing::SessionResults;
pub use queue_id::InvalidQueueId;
pub use queue_id::QueueId;
pub use receipt::AttemptOutcome;
pub use receipt::Circumstances;
pub use receipt::Receipt;
pub use receipt::TlsReceipt;
pub use received::AlertChannel;
pub use received::Arrival;
pub use received::Kept;
pub use received::KeptReport;
pub use received::NewFailure;
pub use received::PendingAlerts;
pub use received::ReceivedReports;
pub use received::ReportBounds;
pub use received::ReportContent;
pub use received::ReportRow;
pub use received::ReportSource;
pub use received::ReportedSessions;
pub use received::ShownReport;
pub use spool::Depth;
pub use spool::Recovered;
pub use spool::Spool;
pub use spool::WaitingPage;
pub use sqlite::Flushes;
pub use sqlite::SpoolBounds;
pub use sqlite::SqliteOptions;
pub use sqlite::SqliteStore;
pub use sts::PublishedPolicies;
pub use sts::PublishedSts;
pub use sts::StsRecord;
pub use sts::StsRecords;
