//! MTA-STS policies in the database.

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::SqliteStore;
use super::failure;
use super::time;
use crate::PublishedPolicies;
use crate::PublishedSts;
use crate::StoreError;
use crate::StsRecord;
use crate::StsRecords;

impl StsRecords for SqliteStore {
    async fn sts_record(&self, domain: &DomainName) -> Result<Option<StsRecord>, StoreError> {
        let domain = domain.clone();
        self.workers
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT domain, id, body, fetched_at
                         FROM sts_policies WHERE domain = ?1",
                    )
                    .and_then(|mut statement| {
                        statement
                            .query_row([domain.as_str()], |row| Ok(record(row)))
                            .optional()
                    })
                    .map_err(|error| failure(&error))?
                    .transpose()
            })
            .await
    }

    async fn put_sts_record(&self, record: StsRecord) -> Result<(), StoreError> {
        let records_max = i64::try_from(self.options.sts_records_max).unwrap_or(i64::MAX);
        self.workers
            .write(move |writing| {
                put(&writing.db, &record, records_max).map_err(|error| failure(&error))
            })
            .await
    }

    async fn remove_sts_record(&self, domain: &DomainName) -> Result<(), StoreError> {
        let domain = domain.clone();
        self.workers
            .write(move |writing| {
                writing
                    .run(
                        "DELETE FROM sts_policies WHERE domain = ?1",
                        [domain.as_str()],
                    )
                    .map(|_| ())
            })
            .await
    }

    async fn stale_sts_records(
        &self,
        fetched_before: UnixTime,
        limit: u32,
    ) -> Result<Vec<StsRecord>, StoreError> {
        self.workers
            .read(move |connection| {
                let mut statement = connection
                    .prepare_cached(
                        "SELECT domain, id, body, fetched_at FROM sts_policies
                         WHERE fetched_at < ?1 ORDER BY fetched_at LIMIT ?2",
                    )
                    .map_err(|error| failure(&error))?;
                let rows = statement
                    .query_map(params![fetched_before.as_i64(), limit], |row| {
                        Ok(record(row))
                    })
                    .map_err(|error| failure(&error))?;
                rows.map(|row| row.map_err(|error| failure(&error)).flatten())
                    .collect()
            })
            .await
    }
}

impl PublishedPolicies for SqliteStore {
    async fn published_sts(&self, domain: &DomainName) -> Result<Option<PublishedSts>, StoreError> {
        let domain = domain.clone();
        self.workers
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT edition, text FROM sts_published WHERE domain = ?1")
                    .and_then(|mut statement| {
                        statement
                            .query_row([domain.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                            .optional()
                    })
                    .map_err(|error| failure(&error))
                    .map(|row| {
                        row.map(|(edition, text): (i64, String)| PublishedSts {
                            domain,
                            edition: edition.unsigned_abs(),
                            text,
                        })
                    })
            })
            .await
    }

    async fn put_published_sts(&self, domain: &DomainName, text: String) -> Result<(), StoreError> {
        let domain = domain.clone();
        self.workers
            .write(move |writing| {
                writing
                    .run(
                        "INSERT INTO sts_published (domain, edition, text) VALUES (?1, 0, ?2)
                         ON CONFLICT (domain) DO UPDATE SET text = ?2",
                        params![domain.as_str(), text],
                    )
                    .map(|_| ())
            })
            .await
    }

    async fn renew_published_sts(&self, domain: &DomainName) -> Result<Option<u64>, StoreError> {
        let renewed = domain.clone();
        self.workers
            .write(move |writing| {
                writing
                    .run(
                        "UPDATE sts_published SET edition = edition + 1 WHERE domain = ?1",
                        [renewed.as_str()],
                    )
                    .map(|_| ())
            })
            .await?;
        Ok(self.published_sts(domain).await?.map(|now| now.edition))
    }
}

/// Writes a policy, and drops the oldest past the bound.
fn put(connection: &Connection, record: &StsRecord, records_max: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO sts_policies (domain, id, body, fetched_at)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            record.domain.as_str(),
            record.id,
            record.body,
            record.fetched_at.as_i64(),
        ])?;
    connection
        .prepare_cached(
            "DELETE FROM sts_policies WHERE domain IN
             (SELECT domain FROM sts_policies ORDER BY fetched_at DESC, domain LIMIT -1 OFFSET ?1)",
        )?
        .execute([records_max])?;
    Ok(())
}

/// A policy from its row.
fn record(row: &Row<'_>) -> Result<StsRecord, StoreError> {
    let read = || -> rusqlite::Result<(String, String, String, i64)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    };
    let (domain, id, body, fetched_at) = read().map_err(|error| failure(&error))?;
    Ok(StsRecord {
        domain: domain
            .parse()
            .map_err(|why| StoreError::Damaged(format!("policy of {domain}: {why}")))?,
        id,
        body,
        fetched_at: time(fetched_at),
    })
}
