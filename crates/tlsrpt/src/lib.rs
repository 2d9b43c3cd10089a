//! SMTP TLS reporting (TLSRPT), [RFC 8460].
//!
//! A domain that promises TLS, by DANE or MTA-STS, wants to know whether senders can keep to it. A TXT
//! record says where they may tell; once a day each sender tells how many sessions succeeded, how many
//! failed, and why.
//!
//! This crate knows the forms; it never does I/O and never reads the clock.
//!
//! | RFC 8460 section | here |
//! |---|---|
//! | 3 reporting policy | [`TlsrptRecord`] |
//! | 4.1 reports of a day | [`Day`], [`Counts`] |
//! | 4.3 result types | [`ResultType`] |
//! | 4.4 JSON report schema | [`Report`] |
//! | 5 report delivery | [`ReportMail`] |
//! | 5 report delivery, at the other end | [`reading`] |
//!
//! [RFC 8460]: https://www.rfc-editor.org/rfc/rfc8460

mod aggregate;
mod datagram;
mod mail;
pub mod reading;
mod record;
mod report;
mod result_type;

pub use aggregate::Counted;
pub use aggregate::Counts;
pub use aggregate::Day;
pub use aggregate::ENTRIES_MAX;
pub use aggregate::Entry;
pub use aggregate::FAILURES_REPORTED_MAX;
pub use aggregate::InvalidDay;
pub use aggregate::SessionOutcome;
pub use aggregate::SessionResult;
pub use aggregate::policy_reports;
pub use datagram::DATAGRAM_OCTETS_MAX;
pub use datagram::Datagram;
pub use datagram::DatagramError;
pub use mail::REPORT_MEDIA_TYPE;
pub use mail::ReportMail;
pub use record::DESTINATIONS_MAX;
pub use record::Destination;
pub use record::RecordError;
pub use record::TlsrptRecord;
pub use report::DateRange;
pub use report::FailureDetails;
pub use report::PolicyDescription;
pub use report::PolicyReport;
pub use report::PolicyType;
pub use report::Report;
pub use report::Summary;
pub use report::TimestampError;
pub use report::parse_timestamp;
pub use result_type::ResultType;
