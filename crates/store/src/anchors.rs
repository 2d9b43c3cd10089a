//! The state of trust anchors as their zones change their keys: RFC 5011.

use std::future::Future;

use crate::StoreError;

/// What is known about the keys of one zone. What it means is for others to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnchorRecord {
    /// The zone, with its final dot.
    pub zone: String,
    /// What is known.
    pub state: String,
}

/// Keeps the state of trust anchors over a restart. For the life of the store: a key that was revoked
/// must never be believed again.
pub trait AnchorRecords: Send + Sync + 'static {
    /// What is known about a zone.
    ///
    /// [`StoreError::Damaged`] means that this one record cannot be read; writing it anew heals it.
    fn anchor_record(
        &self,
        zone: &str,
    ) -> impl Future<Output = Result<Option<AnchorRecord>, StoreError>> + Send;

    /// Keeps what is known about a zone in the place of what was there.
    fn put_anchor_record(
        &self,
        record: AnchorRecord,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
