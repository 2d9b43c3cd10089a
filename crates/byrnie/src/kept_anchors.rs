//! What is known about the keys of anchored zones, in the spool.

use std::sync::Arc;

use byrnie_net::dns::AnchorState;
use byrnie_net::dns::KeepAnchors;
use byrnie_net::dns::KeepError;
use byrnie_store::AnchorRecord;
use byrnie_store::AnchorRecords;
use byrnie_store::StoreError;

/// Keeps it in the spool, as JSON.
#[derive(Debug)]
pub(crate) struct KeptAnchors<S>(Arc<S>);

impl<S: AnchorRecords> KeptAnchors<S> {
    /// Keeps it in this store.
    pub(crate) fn new(store: Arc<S>) -> Self {
        Self(store)
    }
}

impl<S: AnchorRecords> KeepAnchors for KeptAnchors<S> {
    async fn load(&self, zone: &str) -> Result<Option<AnchorState>, KeepError> {
        let record = self.0.anchor_record(zone).await.map_err(keep_error)?;
        let Some(record) = record else {
            return Ok(None);
        };
        let state = serde_json::from_str(&record.state);
        state
            .map(Some)
            .map_err(|why| KeepError::Damaged(format!("the trust anchor of {zone}: {why}")))
    }

    async fn keep(&self, zone: &str, state: &AnchorState) -> Result<(), KeepError> {
        let state = serde_json::to_string(state);
        let record = AnchorRecord {
            zone: zone.to_owned(),
            state: state.map_err(|why| KeepError::Unavailable(why.to_string()))?,
        };
        self.0.put_anchor_record(record).await.map_err(keep_error)
    }
}

/// The store's errors as far as they matter here.
#[expect(
    clippy::needless_pass_by_value,
    reason = "so that it fits into `map_err`"
)]
fn keep_error(error: StoreError) -> KeepError {
    if let StoreError::Damaged(_) = error {
        KeepError::Damaged(error.to_string())
    } else {
        KeepError::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use byrnie_base::UnixTime;
    use byrnie_net::dns::AnchorBook;
    use byrnie_net::dns::AnchorRefresh;
    use byrnie_net::dns::AnchorSource;
    use byrnie_net::dns::AnchorUpdates;
    use byrnie_net::dns::TrustAnchors;
    use byrnie_store::SqliteOptions;
    use byrnie_store::SqliteStore;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_state_survives_a_restart() {
        let folder = TempDir::new().unwrap();
        let state: AnchorState = serde_json::from_str(STATE).unwrap();
        kept(&folder).keep(".", &state).await.unwrap();
        let kept = kept(&folder);
        assert_eq!(kept.load(".").await, Ok(Some(state)));
        assert_eq!(kept.load("example.").await, Ok(None));
        let report = book(&kept).await.unwrap().report(UnixTime(0));
        assert_eq!(report.zones[0].keys[0].state, "revoked");
        let last = AnchorRefresh {
            at: UnixTime(1_700_000_000),
            failure: Some(String::from("no answer")),
        };
        assert_eq!(report.zones[0].last, Some(last));
    }

    #[tokio::test]
    async fn a_state_that_makes_no_sense_is_damaged_and_the_configured_anchors_count() {
        for state in ["", "{}", "{\"configured\":7}"] {
            let folder = TempDir::new().unwrap();
            let store = Arc::new(open(&folder));
            let record = AnchorRecord {
                zone: String::from("."),
                state: String::from(state),
            };
            store.put_anchor_record(record).await.unwrap();
            let kept = KeptAnchors::new(store);
            let damaged = book(&kept).await.unwrap_err();
            assert!(damaged.starts_with("the trust anchor of .: "), "{damaged}");
        }
    }

    /// The built-in anchors with what is kept; the error is what is damaged.
    async fn book(kept: &KeptAnchors<SqliteStore>) -> Result<AnchorBook, String> {
        let (source, updates) = (AnchorSource::BuiltIn, AnchorUpdates::Follow);
        let mut book = AnchorBook::new(TrustAnchors::root(), source, updates, Vec::new());
        let damaged = book.load(kept).await.unwrap();
        match damaged.into_iter().next() {
            None => Ok(book),
            Some(what) => {
                assert_eq!(book.trusted(UnixTime(0)), TrustAnchors::root());
                Err(what)
            }
        }
    }

    fn kept(folder: &TempDir) -> KeptAnchors<SqliteStore> {
        KeptAnchors::new(Arc::new(open(folder)))
    }

    fn open(folder: &TempDir) -> SqliteStore {
        SqliteStore::open(SqliteOptions::in_directory(folder.path())).unwrap()
    }

    /// As it stands in the spools of this version.
    const STATE: &str = r#"{"configured":[],"tracker":{"keys":[{"algorithm":15,"public_key":[1,2],
        "state":{"revoked":1600000000}}],"refresh_at":1700003600},
        "last":{"at":1700000000,"failure":"no answer"}}"#;
}
