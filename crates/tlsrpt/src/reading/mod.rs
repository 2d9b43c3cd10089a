//! Reports of others, read however they come: as mail, as JSON, compressed or not.
//!
//! Nobody's report is exactly as RFC 8460 has it, so reading is tolerant: what is missing or strange is
//! [remarked](Remark) on, and the rest counts. It is bounded as well: a report is a stranger's.

mod gzip;
mod json;
mod mail;
mod remark;
#[cfg(test)]
mod tests;

use std::fmt;

use byrnie_base::UnixTime;

pub use self::gzip::INFLATED_OCTETS_MAX;
pub use self::gzip::compress;
pub use self::json::COUNT_MAX;
pub use self::json::DETAILS_MAX;
pub use self::json::POLICIES_MAX;
pub use self::mail::REPORTS_PER_MAIL_MAX;
pub use self::remark::Remark;
use crate::Report;

/// A report of somebody else's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    /// What it says.
    pub report: Report,
    /// The domain that the mail names as the sender's; `None` if it did not come by mail, or is silent.
    pub submitter: Option<String>,
    /// What is strange about it.
    pub remarks: Vec<Remark>,
    /// SHA-256 of what the JSON says, by which it is known again.
    pub digest: Vec<u8>,
    /// The JSON as it came, compressed with gzip.
    pub original: Vec<u8>,
}

/// Reads what may be a mail with reports, a report in JSON, or one compressed with gzip; which of these it
/// is, its octets say.
///
/// There is at least one answer, and one for each report: a mail may carry several.
#[must_use]
pub fn read(octets: &[u8], received_at: UnixTime) -> Vec<Result<Reading, Unreadable>> {
    match Form::of(octets) {
        Form::Gzip | Form::Json => vec![json::read(octets, received_at, &Envelope::default())],
        Form::Other => mail::read(octets, received_at),
    }
}

/// What a mail says about the report in it.
#[derive(Clone, Debug, Default)]
struct Envelope {
    /// Whose report it is.
    submitter: Option<String>,
    /// Whose policies it is about.
    policy_domain: Option<String>,
}

/// What octets look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// Compressed.
    Gzip,
    /// An object of JSON, perhaps behind a byte order mark.
    Json,
    /// Neither.
    Other,
}

impl Form {
    /// The form of these.
    fn of(octets: &[u8]) -> Self {
        if octets.starts_with(&gzip::MAGIC) {
            return Self::Gzip;
        }
        let octets = octets.strip_prefix(BYTE_ORDER_MARK).unwrap_or(octets);
        match octets.trim_ascii_start().first() {
            Some(b'{') => Self::Json,
            Some(_) | None => Self::Other,
        }
    }
}

/// Why something is no report that can be read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is neither JSON nor gzip, nor a mail that has one of them in it.
    NoReport,
    /// A mail, or a part of one, has a header section that nobody reads to its end.
    LongHeader,
    /// It is neither JSON nor gzip.
    UnknownForm,
    /// It does not inflate.
    Gzip(String),
    /// It is larger than [`INFLATED_OCTETS_MAX`].
    TooLarge,
    /// It is no JSON, or none that could be a report.
    Json(String),
    /// It is JSON that says nothing of what reports say.
    NotAReport,
    /// It has no policies in it.
    NoPolicies,
    /// It came in more octets than anybody reads, of which so many were kept.
    CutShort(usize),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReport => f.write_str("neither JSON nor gzip, nor a mail with a report in it"),
            Self::LongHeader => f.write_str("the header of the mail, or of a part, is too long"),
            Self::UnknownForm => f.write_str("the part is neither JSON nor gzip"),
            Self::Gzip(why) => write!(f, "it does not inflate: {why}"),
            Self::TooLarge => write!(f, "it inflates to more than {INFLATED_OCTETS_MAX} octets"),
            Self::Json(why) => write!(f, "the JSON cannot be read: {why}"),
            Self::NotAReport => f.write_str("the JSON has none of the members of a report"),
            Self::NoPolicies => f.write_str("it tells of no policy"),
            Self::CutShort(kept) => write!(f, "it is too large; the first {kept} octets were kept"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
