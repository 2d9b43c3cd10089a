//! What the program did to its files, as `storage.c` recorded it.

use std::fs;
use std::path::Path;

use crate::LabError;

/// One thing that the program did, in the order in which it was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    /// Its number, counted from 1.
    pub(crate) change: u64,
    /// What it was.
    pub(crate) what: What,
}

/// What a program does to files. Paths begin with `/`, which stands for the watched folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum What {
    /// An empty file comes into being.
    Create {
        /// Its path.
        path: String,
    },
    /// An inode is that of the file which has this path now.
    Bound {
        /// The path.
        path: String,
        /// The inode.
        inode: u64,
    },
    /// Octets are written.
    Write {
        /// The file's inode.
        inode: u64,
        /// Where.
        offset: u64,
        /// What.
        octets: Vec<u8>,
    },
    /// A length is set.
    Truncate {
        /// The file's inode.
        inode: u64,
        /// The length.
        length: u64,
    },
    /// What was done to a file is there for good.
    Sync {
        /// The file's inode.
        inode: u64,
        /// The last change of which that is true.
        covered: u64,
    },
    /// A name changes.
    Rename {
        /// From this.
        from: String,
        /// To this.
        to: String,
    },
    /// A name vanishes.
    Unlink {
        /// The name.
        path: String,
    },
    /// A file gets a second name.
    Link {
        /// The first.
        from: String,
        /// The second.
        to: String,
    },
    /// A folder comes into being.
    MakeFolder {
        /// Its path.
        path: String,
    },
    /// A folder vanishes.
    RemoveFolder {
        /// Its path.
        path: String,
    },
    /// The names in a folder are there for good.
    SyncFolder {
        /// Its path.
        path: String,
        /// The last change of which that is true.
        covered: u64,
    },
    /// From now on a file may change without a record.
    Mapped {
        /// Its inode.
        inode: u64,
    },
    /// Of an earlier change, only so many octets took place.
    Amend {
        /// The change.
        change: u64,
        /// The octets; 0 if nothing took place.
        octets: u64,
    },
}

/// Reads a journal; what was cut off at its end never took place.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, LabError> {
    let octets = fs::read(path).map_err(LabError::io("read the record of the storage"))?;
    let mut reader = Reader { rest: &octets };
    let mut records = Vec::new();
    while let Some(record) = reader.record() {
        records.push(record);
    }
    Ok(records)
}

/// Takes the journal apart.
struct Reader<'a> {
    /// What is left of it.
    rest: &'a [u8],
}

impl Reader<'_> {
    /// The next record; `None` at the end, and where a record is not whole.
    fn record(&mut self) -> Option<Record> {
        let kind = self.number()? & u64::from(u32::MAX);
        let [change, inode, offset, octets] = [
            self.number()?,
            self.number()?,
            self.number()?,
            self.number()?,
        ];
        let (octets, rest) = self.rest.split_at_checked(usize::try_from(octets).ok()?)?;
        self.rest = rest;
        let path = || String::from_utf8(octets.to_vec()).ok();
        let two_paths = || {
            let both = path()?;
            let (from, to) = both.split_once('\0')?;
            Some((String::from(from), String::from(to)))
        };
        let what = match kind {
            1 => What::Create { path: path()? },
            2 => What::Bound {
                path: path()?,
                inode,
            },
            3 => What::Write {
                inode,
                offset,
                octets: octets.to_vec(),
            },
            4 => What::Truncate {
                inode,
                length: offset,
            },
            5 => What::Sync {
                inode,
                covered: offset,
            },
            6 => two_paths().map(|(from, to)| What::Rename { from, to })?,
            7 => What::Unlink { path: path()? },
            8 => two_paths().map(|(from, to)| What::Link { from, to })?,
            9 => What::MakeFolder { path: path()? },
            10 => What::RemoveFolder { path: path()? },
            11 => What::SyncFolder {
                path: path()?,
                covered: offset,
            },
            12 => What::Mapped { inode },
            13 => What::Amend {
                change: offset,
                octets: inode,
            },
            _ => return None,
        };
        Some(Record { change, what })
    }

    /// The next number of eight octets.
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_ne_bytes(*number))
    }
}
