//! The checksum that every record on disk carries.

use aws_lc_rs::digest;

/// The first 64 bits of SHA-256 over parts, each behind its length, so that no octet can pass from one
/// part to the next unnoticed.
///
/// It finds damage, not malice: who can write to the spool can write a checksum too.
pub(crate) fn check_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> i64 {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let first = digest.as_ref().first_chunk().copied();
    i64::from_le_bytes(first.unwrap_or_default())
}
