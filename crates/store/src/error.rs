//! What can go wrong with the disk.

use std::fmt;

use crate::QueueId;

/// Why a storage call failed. Unless it says otherwise, nothing of the call is on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk, or the spool's configured size, is used up: ask for the message again later (452).
    Full,
    /// Reading or writing failed. The call may have reached the disk all the same.
    Io(String),
    /// The database was held by another process for too long, or the writer has too much to do: try
    /// again.
    Busy,
    /// A thread of the store has failed, or the store is being closed: only a new start helps.
    Closed,
    /// The store was attached for reading only: changes go to the daemon, or need its lock.
    Attached,
    /// Another daemon works on this spool.
    Locked,
    /// There is no spool in the directory.
    NoSpool(String),
    /// The file is not a spool of byrnie's.
    NotASpool,
    /// The spool was written by a later version.
    NewerSchema {
        /// The version found.
        found: i64,
        /// The last version that this program knows.
        known: i64,
    },
    /// The spool was written by an earlier version, and only the daemon changes it.
    OlderSchema {
        /// The version found.
        found: i64,
        /// The version that this program needs.
        known: i64,
    },
    /// No message in the queue has this id.
    NoSuchMessage(QueueId),
    /// What the disk gave back is not what was written, by a checksum or a form of ours.
    Damaged(String),
    /// SQLite cannot make sense of the database. A fault in reading that passes looks the same, so this
    /// alone is no reason to put a message aside.
    Unreadable(String),
    /// The database refused a statement: a fault of ours.
    Refused(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Full | Self::Io(_) | Self::Busy => true,
            Self::Closed
            | Self::Attached
            | Self::Locked
            | Self::NoSpool(_)
            | Self::NotASpool
            | Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::NoSuchMessage(_)
            | Self::Damaged(_)
            | Self::Unreadable(_)
            | Self::Refused(_) => false,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the spool is full"),
            Self::Io(why) => write!(f, "the spool cannot be read or written: {why}"),
            Self::Busy => f.write_str("the spool is busy"),
            Self::Closed => f.write_str("the spool is closed"),
            Self::Attached => f.write_str("the spool is open for reading only"),
            Self::Locked => f.write_str("another daemon works on this spool"),
            Self::NoSpool(path) => write!(f, "there is no spool in {path}"),
            Self::NotASpool => f.write_str("the file is not a spool"),
            Self::NewerSchema { found, known } => write!(
                f,
                "the spool has version {found}, and this program knows versions up to {known}"
            ),
            Self::OlderSchema { found, known } => write!(
                f,
                "the spool has version {found} and needs {known}, which the daemon sees to at its start"
            ),
            Self::NoSuchMessage(id) => write!(f, "no message in the queue has the id {id}"),
            Self::Damaged(what) => write!(f, "the spool is damaged: {what}"),
            Self::Unreadable(what) => write!(
                f,
                "the database cannot be read: {what}; if that stays so, run `byrnie queue verify`"
            ),
            Self::Refused(why) => write!(f, "the database refused a statement: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}
