//! gzip with a bound on what comes out of it.

use std::io;
use std::io::Read;
use std::io::Write;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::Unreadable;

/// What was inflated.
pub(super) struct Inflated {
    /// The octets.
    pub(super) octets: Vec<u8>,
    /// What is wrong with what comes behind them.
    pub(super) damage: Option<io::Error>,
}

/// Inflates up to [`INFLATED_OCTETS_MAX`] octets. What is damaged is inflated up to there.
pub(super) fn inflate(compressed: &[u8]) -> Result<Inflated, Unreadable> {
    let max = u64::try_from(INFLATED_OCTETS_MAX).unwrap_or(u64::MAX);
    let mut octets = Vec::new();
    let read = MultiGzDecoder::new(compressed)
        .take(max.saturating_add(1))
        .read_to_end(&mut octets);
    if octets.len() > INFLATED_OCTETS_MAX {
        return Err(Unreadable::TooLarge);
    }
    match read {
        Ok(_) => Ok(Inflated {
            octets,
            damage: None,
        }),
        Err(error) if octets.is_empty() => Err(Unreadable::Gzip(error.to_string())),
        Err(error) => Ok(Inflated {
            octets,
            damage: Some(error),
        }),
    }
}

/// Compresses a report.
#[must_use]
pub fn compress(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(octets).and_then(|()| encoder.finish());
    // Memory takes everything.
    written.unwrap_or_default()
}

/// How gzip begins: RFC 1952, Section 2.3.1.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How large a report may be; the largest that are known have some hundred kilobytes. A report is in memory
/// as a whole while it is read.
pub const INFLATED_OCTETS_MAX: usize = 8 << 20;
