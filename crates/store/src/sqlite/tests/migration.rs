//! Databases as earlier versions made them.

use std::fs;

use aws_lc_rs::digest;
use rusqlite::Connection;
use rusqlite::params;
use tempfile::TempDir;

use super::BODY;
use super::DATABASE_FILE;
use super::DELIVERED;
use super::LATER;
use super::NOW;
use super::Outcome;
use super::SqliteOptions;
use super::SqliteStore;
use super::TestSpool;
use super::end_of;
use super::envelope;
use super::records::anchor_record;
use crate::AnchorRecords;
use crate::Became;
use crate::CHUNK_OCTETS;
use crate::Claimed;
use crate::DeliveryState;
use crate::QueueCommands;
use crate::QueueId;
use crate::Recovered;
use crate::Spool;
use crate::StoreError;
use crate::sqlite::APPLICATION_ID;
use byrnie_base::UnixTime;
use byrnie_policy::Strength;

#[test]
fn what_is_no_spool_of_this_version_is_refused() {
    let directory = TempDir::new().unwrap();
    let options = SqliteOptions::in_directory(directory.path());
    let attach = || SqliteStore::attach(options.clone()).map(|_| ());
    let open = || SqliteStore::open(options.clone()).map(|_| ());
    let path = directory.path().join(DATABASE_FILE);
    assert!(matches!(attach(), Err(StoreError::NoSpool(_))));

    fs::write(&path, "").unwrap();
    assert_eq!(
        attach(),
        Err(StoreError::OlderSchema { found: 0, known: 4 })
    );
    assert_eq!(open(), Ok(()));
    assert_eq!(attach(), Ok(()));

    let run = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    run("PRAGMA user_version = 99");
    let newer = StoreError::NewerSchema {
        found: 99,
        known: 4,
    };
    assert_eq!(open(), Err(newer.clone()));
    assert_eq!(attach(), Err(newer));
    run("PRAGMA user_version = 4; PRAGMA application_id = 7");
    assert_eq!(open(), Err(StoreError::NotASpool));
    for rest in ["-wal", "-shm"] {
        _ = fs::remove_file(directory.path().join(format!("{DATABASE_FILE}{rest}")));
    }
    fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert_eq!(open(), Err(StoreError::NotASpool));
}

#[tokio::test]
async fn a_spool_of_an_earlier_version_is_brought_to_this_one() {
    for version in [1, 2] {
        let old = OldSpool::new(version);
        old.deliveries_in_every_state();
        assert_eq!(
            SqliteStore::attach(SqliteOptions::in_directory(old.directory.path())).map(|_| ()),
            Err(StoreError::OlderSchema {
                found: version,
                known: 4
            })
        );
        let spool = TestSpool::open_in(old.directory, |_| {});
        let line =
            |second, hop: &str, state, pending| format!("{} {hop} {state} {pending}", id(second));
        assert_eq!(
            spool.lines().await,
            [
                line(1, "fresh.example", "incoming", 1),
                line(1, "again.example", "deferred", 1),
                line(2, "tried.example", "incoming", 1),
                line(3, "tried.example", "hold", 1),
                line(5, "held.example", "hold", 2),
                line(6, "bad.example", "corrupt", 1),
                line(7, "large.example", "deferred", 1),
                line(8, "damaged.example", "corrupt", 1),
                line(9, "nofloor.example", "deferred", 1),
            ],
            "version {version}"
        );
        // The one of which everything was removed is gone, and its receipt is not.
        let shown = spool.store.show(id(4)).await.unwrap();
        assert_eq!((shown.queued, shown.receipts.len()), (None, 1));
        assert_eq!(spool.count("messages"), 8);
        assert_eq!(spool.octets(id(1)).await, BODY);
        assert_eq!(spool.octets(id(7)).await, large());
        let recovered = spool.store.recover(NOW).await.unwrap();
        assert_eq!(recovered, Recovered { abandoned: 1 });
        check_claims(&spool).await;
        spool
            .store
            .put_anchor_record(anchor_record("x"))
            .await
            .unwrap();
        let old_tables: i64 = spool
            .connection()
            .query_row(
                "SELECT count(*) FROM sqlite_schema
                 WHERE name LIKE 'old_%' OR name IN ('next_hops', 'counters', 'recipients')",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(old_tables, 0);
        // What a fresh one has, this one has.
        assert_eq!(schema_of(&spool), schema_of(&TestSpool::new()));
    }
}

#[tokio::test]
async fn version_4_leaves_what_version_3_has() {
    let spool = TestSpool::new();
    let id = spool.accept(&["a@one.example"]).await;
    let new: Vec<String> = schema_of(&spool)
        .into_iter()
        .filter(|one| one.starts_with("table tlsrpt_") || one == "table sts_published")
        .collect();
    assert_eq!(new.len(), 12);
    for table in new {
        let connection = spool.connection();
        connection.execute(&format!("DROP {table}"), []).unwrap();
    }
    let version = spool.connection().execute_batch("PRAGMA user_version = 3");
    version.unwrap();
    let spool = spool.crash();
    assert_eq!(
        spool.lines().await,
        [format!("{id} one.example incoming 1")]
    );
    assert_eq!(schema_of(&spool), schema_of(&TestSpool::new()));
}

/// What can be tried is tried as it would have been: attempts, floor, reason and time are kept.
async fn check_claims(spool: &TestSpool) {
    let due = spool.due(LATER).await;
    let mut claims = Vec::new();
    for one in &due {
        match spool.store.claim(one.delivery).await.unwrap() {
            Claimed::Ready(claim, _) => claims.push(*claim),
            Claimed::Damaged(found) => assert_eq!(found.queue_id, id(9)),
            Claimed::Gone => panic!("{one:?} is gone"),
        }
    }
    let hops: Vec<String> = claims.iter().map(|one| one.next_hop.to_string()).collect();
    let expected = [
        "fresh.example",
        "again.example",
        "tried.example",
        "large.example",
    ];
    assert_eq!(hops, expected);
    let again = &claims[1];
    assert_eq!((again.attempt, again.due_at), (4, LATER));
    assert_eq!(again.floor, Some(Strength::Dane));
    assert_eq!(again.last_reason.as_deref(), Some("greylisted"));
    assert_eq!(again.recipients.len(), 1);
    assert_eq!(again.recipients[0].position, 1);
    assert_eq!(*again.envelope, envelope(&["a@one.example"]));
    assert_eq!(again.expires_at, UnixTime(NOW.0 + 1000));
    let depth = spool.store.depth();
    assert_eq!(depth.deliveries_in(DeliveryState::Corrupt), 3);

    let mut end = end_of(again, DELIVERED);
    end.receipts[0].reason = Some(String::from("the new one"));
    let finished = spool.store.finish(end).await.unwrap();
    assert_eq!(finished.became, Became::Retired);
    let receipts = spool.store.show(id(1)).await.unwrap().receipts;
    assert_eq!(receipts.len(), 2);
    assert_eq!(receipts[0].reason, None);
    assert_eq!(receipts[0].circumstances.demanded, Some(Strength::Dane));
    let kept = spool.finish(&claims[0], Outcome::Defer).await;
    assert_eq!(kept, Became::Deferred);
}

/// The name of everything in the schema.
fn schema_of(spool: &TestSpool) -> Vec<String> {
    let connection = spool.connection();
    let mut statement = connection
        .prepare("SELECT type || ' ' || name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1")
        .unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

/// A database that is written as an earlier version wrote it.
struct OldSpool {
    directory: TempDir,
    db: Connection,
}

impl OldSpool {
    fn new(version: i64) -> Self {
        let directory = TempDir::new().unwrap();
        let db = Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
        let mut schema = String::from(include_str!("version-1.sql"));
        if version == 2 {
            schema.push_str(include_str!("version-2.sql"));
        }
        db.execute_batch(&format!(
            "{schema}; PRAGMA journal_mode = WAL;
             PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
        ))
        .unwrap();
        Self { directory, db }
    }

    fn deliveries_in_every_state(&self) {
        let dane = serde_json::to_string(&Strength::Dane).unwrap();
        let reply = serde_json::to_string(&super::reply()).unwrap();
        self.message(1, &[BODY]);
        self.delivery(
            1,
            "fresh.example",
            "'incoming', ?1, 0, NULL, NULL, NULL",
            &["pending"],
        );
        let again = format!("'deferred', ?2, 3, '{dane}', 'greylisted', NULL");
        self.delivery(1, "again.example", &again, &["delivered", "pending"]);
        let answered = "UPDATE recipients SET reply = ?1 WHERE state = 'delivered'";
        self.db.execute(answered, [reply]).unwrap();
        self.receipt(1);
        self.message(2, &[BODY]);
        self.delivery(
            2,
            "tried.example",
            "'active', NULL, 0, NULL, NULL, NULL",
            &["pending"],
        );
        self.message(3, &[BODY]);
        self.delivery(
            3,
            "tried.example",
            "'active', NULL, 2, NULL, NULL, 'hold'",
            &["pending"],
        );
        self.message(4, &[BODY]);
        self.delivery(
            4,
            "tried.example",
            "'active', NULL, 2, NULL, NULL, 'remove'",
            &["pending"],
        );
        self.receipt(4);
        self.message(5, &[BODY]);
        let two = ["pending", "pending"];
        self.delivery(5, "held.example", "'hold', NULL, 0, NULL, NULL, NULL", &two);
        self.message(6, &[BODY]);
        self.delivery(
            6,
            "bad.example",
            "'corrupt', NULL, 0, NULL, 'bits', NULL",
            &["pending"],
        );
        let large = large();
        self.message(7, &large.chunks(CHUNK_OCTETS).collect::<Vec<_>>());
        self.delivery(
            7,
            "large.example",
            "'deferred', ?1, 1, NULL, NULL, NULL",
            &["pending"],
        );
        self.message(8, &[BODY]);
        self.delivery(
            8,
            "damaged.example",
            "'incoming', ?1, 0, NULL, NULL, NULL",
            &["pending"],
        );
        let damage = "UPDATE pieces SET octets = x'00' WHERE message_id = ?1";
        self.db.execute(damage, [id(8).to_i64()]).unwrap();
        self.message(9, &[BODY]);
        let no_floor = "'deferred', ?1, 1, 'cannot be read', NULL, NULL";
        self.delivery(9, "nofloor.example", no_floor, &["pending"]);
        let staged = "INSERT INTO pieces VALUES (?1, 0, x'0102')";
        self.db.execute(staged, [id(10).to_i64()]).unwrap();
    }

    fn message(&self, second: u64, pieces: &[&[u8]]) {
        let envelope = serde_json::to_string(&envelope(&["a@one.example"])).unwrap();
        let octets = pieces.concat();
        let checksum = [&octets[..], envelope.as_bytes()].concat();
        let checksum = digest::digest(&digest::SHA256, &checksum);
        self.db
            .execute(
                "INSERT INTO messages VALUES (?1, 'sender@origin.example', ?2, ?3, ?4, ?5)",
                params![
                    id(second).to_i64(),
                    envelope,
                    i64::try_from(octets.len()).unwrap(),
                    NOW.as_i64(),
                    checksum.as_ref(),
                ],
            )
            .unwrap();
        for (place, piece) in (0_u32..).zip(pieces) {
            self.db
                .execute(
                    "INSERT INTO pieces VALUES (?1, ?2, ?3)",
                    params![id(second).to_i64(), place, piece],
                )
                .unwrap();
        }
    }

    /// `columns` are state, due time (`?1` now, `?2` later), attempts, floor, reason and wish.
    fn delivery(&self, second: u64, hop: &str, columns: &str, recipients: &[&str]) {
        let sql = format!(
            "INSERT INTO deliveries (message_id, next_hop, expires_at, state, due_at, attempts,
                floor, last_reason, wish)
             SELECT ?3, ?4, ?1 + 1000, {columns} WHERE ?2 > ?1"
        );
        let id = id(second).to_i64();
        self.db
            .execute(&sql, params![NOW.as_i64(), LATER.as_i64(), id, hop])
            .unwrap();
        let delivery = self.db.last_insert_rowid();
        for (position, state) in (0_u32..).zip(recipients) {
            self.db
                .execute(
                    "INSERT INTO recipients (delivery_id, position, mailbox, state)
                     VALUES (?1, ?2, ?3, ?4)",
                    params![delivery, position, format!("r{position}@{hop}"), state],
                )
                .unwrap();
        }
    }

    fn receipt(&self, second: u64) {
        let receipt = format!(
            r#"{{"queue_id":"{}","next_hop":"one.example","attempt":1,"at":{},
                "outcome":"deferred","recipients":[],"demanded":{},"requiretls":false,
                "reasons":["TLSA records are secure"],"host":null,"address":null,"tls":null,
                "reply":null,"reason":null}}"#,
            id(second),
            NOW.0,
            serde_json::to_string(&Strength::Dane).unwrap(),
        );
        self.db
            .execute(
                "INSERT INTO receipts (message_id, at, receipt) VALUES (?1, ?2, ?3)",
                params![id(second).to_i64(), NOW.as_i64(), receipt],
            )
            .unwrap();
    }
}

fn id(second: u64) -> QueueId {
    QueueId::first_at(UnixTime(NOW.0 - 100 + second))
}

fn large() -> Vec<u8> {
    (0..CHUNK_OCTETS + 5)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}
