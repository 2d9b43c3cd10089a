//! The threads on which the database is used.
//!
//! SQLite blocks, so it gets threads of its own. All writing goes through one of them: whatever is
//! waiting when it becomes free shares one transaction, and so one wait for the disk.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::failure;
use crate::QueueId;
use crate::StoreError;

/// The threads, and the ways to them.
#[derive(Debug)]
pub(super) struct Workers {
    /// To the writer; `None` while closing.
    writer: Option<mpsc::Sender<Change>>,
    /// To each reader; empty while closing.
    readers: Vec<mpsc::Sender<Question>>,
    /// Whose turn it is to read.
    turn: AtomicUsize,
    /// Messages whose staged pieces are to go; shared with the writer.
    abandoned: Arc<Mutex<Vec<QueueId>>>,
    /// The threads, for the wait at the end.
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a thread for each connection.
    pub(super) fn start(writer: Connection, readers: Vec<Connection>) -> Result<Self, StoreError> {
        let abandoned = Arc::new(Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        let (to_writer, changes) = mpsc::channel(CHANGES_WAITING_MAX);
        let for_writer = Arc::clone(&abandoned);
        threads.push(spawn("spool-writer", move || {
            write_all(&writer, changes, &for_writer);
        })?);
        let mut to_readers = Vec::new();
        for reader in readers {
            let (to_reader, questions) = mpsc::channel(QUESTIONS_WAITING_MAX);
            threads.push(spawn("spool-reader", move || read_all(&reader, questions))?);
            to_readers.push(to_reader);
        }
        Ok(Self {
            writer: Some(to_writer),
            readers: to_readers,
            turn: AtomicUsize::new(0),
            abandoned,
            threads,
        })
    }

    /// Changes the database, and waits until that is durable.
    ///
    /// A change whose caller went away is made all the same.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let change = Change(Box::new(move |turn| {
            let done = match turn {
                Turn::Come(connection) => work(connection),
                Turn::Missed(error) => Err(error),
            };
            let (outcome, done) = match done {
                Ok(value) => (Ok(()), Ok(value)),
                Err(error) => (Err(error.clone()), Err(error)),
            };
            Made {
                outcome,
                tell: Box::new(move |committed| {
                    // Whoever stopped waiting does not need to know.
                    _ = answer.send(committed.and(done));
                }),
            }
        }));
        let writer = self.writer.as_ref().ok_or(StoreError::Closed)?;
        writer.send(change).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Reads the database as it was last committed.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let question = Question(Box::new(move |connection| {
            _ = answer.send(work(connection));
        }));
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let reader = turn
            .checked_rem(self.readers.len())
            .and_then(|turn| self.readers.get(turn))
            .ok_or(StoreError::Closed)?;
        reader
            .send(question)
            .await
            .map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Has the staged pieces of a message deleted with the next change.
    pub(super) fn abandon(&self, id: QueueId) {
        self.abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id);
    }
}

impl Drop for Workers {
    /// Waits until everything that was asked for is done.
    fn drop(&mut self) {
        self.writer = None;
        self.readers.clear();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(target: "byrnie::store", "a thread of the spool has panicked");
            }
        }
    }
}

/// Something to write, inside a savepoint of its own.
struct Change(Box<dyn FnOnce(Turn<'_>) -> Made + Send>);

/// What becomes of a change when its turn comes.
enum Turn<'a> {
    /// It may be made.
    Come(&'a Connection),
    /// It cannot be made, since the transaction is lost.
    Missed(StoreError),
}

/// What a change came to, before it is durable.
struct Made {
    /// Whether its savepoint counts.
    outcome: Result<(), StoreError>,
    /// Tells the caller, once it is known whether the transaction is durable.
    tell: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// Something to read.
struct Question(Box<dyn FnOnce(&Connection) + Send>);

/// The life of a reading thread.
fn read_all(connection: &Connection, mut questions: mpsc::Receiver<Question>) {
    while let Some(Question(answer)) = questions.blocking_recv() {
        answer(connection);
    }
}

/// The life of the writing thread.
fn write_all(
    connection: &Connection,
    mut changes: mpsc::Receiver<Change>,
    abandoned: &Mutex<Vec<QueueId>>,
) {
    while let Some(first) = changes.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX {
            let Ok(change) = changes.try_recv() else {
                break;
            };
            batch.push(change);
        }
        write_batch(connection, batch, abandoned);
    }
}

/// Makes changes in one transaction, then tells their callers.
fn write_batch(connection: &Connection, batch: Vec<Change>, abandoned: &Mutex<Vec<QueueId>>) {
    let mut all = connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(|error| failure(&error));
    let mut made = Vec::with_capacity(batch.len());
    for change in batch {
        let (change, transaction) = match all {
            Ok(()) => write_one(connection, change),
            Err(error) => ((change.0)(Turn::Missed(error.clone())), Err(error)),
        };
        made.push(change);
        all = transaction;
    }
    let taken: Vec<QueueId> = {
        let mut waiting = abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain(..).collect()
    };
    let committed = all
        .and_then(|()| delete_abandoned(connection, &taken))
        .and_then(|()| {
            connection
                .execute_batch("COMMIT")
                .map_err(|error| failure(&error))
        });
    if let Err(error) = &committed {
        tracing::error!(target: "byrnie::store", %error, "could not write");
        abandoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(taken);
        if !connection.is_autocommit() {
            // Leaves nothing open for the next batch; there is nothing else to do about a failure.
            _ = connection.execute_batch("ROLLBACK");
        }
    }
    for change in made {
        (change.tell)(committed.clone());
    }
}

/// Makes one change; the second result says whether the whole transaction still stands.
fn write_one(connection: &Connection, Change(work): Change) -> (Made, Result<(), StoreError>) {
    let opened = connection.execute_batch("SAVEPOINT change");
    let made = work(Turn::Come(connection));
    let closed = match &made.outcome {
        Ok(()) => opened.and_then(|()| connection.execute_batch("RELEASE change")),
        // A failure such as a full disk may have rolled back everything.
        Err(_) if connection.is_autocommit() => {
            let lost = made.outcome.clone();
            return (made, lost);
        }
        Err(_) => connection.execute_batch("ROLLBACK TO change; RELEASE change"),
    };
    (made, closed.map_err(|error| failure(&error)))
}

/// Deletes staged pieces, except those of messages that were accepted after all.
fn delete_abandoned(connection: &Connection, abandoned: &[QueueId]) -> Result<(), StoreError> {
    for id in abandoned {
        connection
            .prepare_cached(
                "DELETE FROM pieces WHERE message_id = ?1
                 AND NOT EXISTS (SELECT 1 FROM messages WHERE id = ?1)",
            )
            .and_then(|mut statement| statement.execute([id.to_i64()]))
            .map_err(|error| failure(&error))?;
    }
    Ok(())
}

/// Starts a named thread.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new()
        .name(String::from(name))
        .spawn(work)
        .map_err(|error| StoreError::Io(error.to_string()))
}

/// Changes that share one transaction, and so one wait for the disk.
const BATCH_MAX: usize = 64;

/// Changes that wait for the writer; callers wait for a place.
const CHANGES_WAITING_MAX: usize = 256;

/// Questions that wait for one reader; callers wait for a place.
const QUESTIONS_WAITING_MAX: usize = 64;
