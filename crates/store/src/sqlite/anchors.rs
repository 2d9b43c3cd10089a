//! The state of trust anchors in the database.

use aws_lc_rs::digest;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteStore;
use super::failure;
use crate::AnchorRecord;
use crate::AnchorRecords;
use crate::StoreError;

impl AnchorRecords for SqliteStore {
    async fn anchor_record(&self, zone: &str) -> Result<Option<AnchorRecord>, StoreError> {
        let zone = zone.to_owned();
        self.workers
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT zone, state, checksum FROM anchors WHERE zone = ?1")
                    .and_then(|mut statement| {
                        statement
                            .query_row([&zone], |row| Ok(record(row)))
                            .optional()
                    })
                    .map_err(|error| failure(&error))?
                    .transpose()
            })
            .await
    }

    async fn put_anchor_record(&self, record: AnchorRecord) -> Result<(), StoreError> {
        self.workers
            .write(move |writing| put(&writing.db, &record).map_err(|error| failure(&error)))
            .await
    }
}

/// Writes a record.
fn put(connection: &Connection, record: &AnchorRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO anchors (zone, state, checksum) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![
            record.zone,
            record.state,
            checksum(record).as_ref()
        ])?;
    Ok(())
}

/// A record from its row.
fn record(row: &Row<'_>) -> Result<AnchorRecord, StoreError> {
    let read = || -> rusqlite::Result<(String, String, Vec<u8>)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    };
    let (zone, state, found) = read().map_err(|error| failure(&error))?;
    let record = AnchorRecord { zone, state };
    if checksum(&record).as_ref() != found {
        let zone = &record.zone;
        return Err(StoreError::Damaged(format!("the trust anchor of {zone}")));
    }
    Ok(record)
}

/// The checksum that is kept beside a record: keys that nobody vouched for must not come from the disk.
fn checksum(record: &AnchorRecord) -> digest::Digest {
    let octets = [record.zone.as_bytes(), b"\n", record.state.as_bytes()].concat();
    digest::digest(&digest::SHA256, &octets)
}
