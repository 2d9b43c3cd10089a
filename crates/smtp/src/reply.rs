//! Replies: RFC 5321, Section 4.2, with the enhanced codes of RFC 3463.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// A reply to a command.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reply {
    /// Three digits, 200 to 599.
    pub code: u16,
    /// `class.subject.detail`, where the server gave one.
    pub enhanced: Option<EnhancedStatus>,
    /// The lines of text, without codes and line ends; at least one, which may be empty.
    pub lines: Vec<String>,
}

/// `class.subject.detail`: RFC 3463, Section 2.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct EnhancedStatus {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What the status is about, 0 to 999.
    pub subject: u16,
    /// The detail, 0 to 999.
    pub detail: u16,
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}
