//! The threads on which the database is used.
//!
//! SQLite blocks, so it gets threads of its own. All writing goes through one of them: whatever is
//! waiting when it becomes free shares one transaction, and so one wait for the disk. Changes have no
//! savepoints of their own, which would cost more than most of them: a change that fails after it has
//! written something takes the transaction with it, and the batch is made again one by one.

use std::mem;
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
use tokio::sync::watch;

use super::spool::forget;
use super::writing::Writing;
use crate::QueueId;
use crate::StoreError;

/// The threads, and the ways to them.
#[derive(Debug)]
pub(super) struct Workers {
    /// To the writer; `None` for a store that only reads, and while closing, when nobody can ask.
    writer: Option<mpsc::Sender<Box<dyn Change>>>,
    /// To each reader; empty while closing.
    readers: Vec<mpsc::Sender<Question>>,
    /// Whose turn it is to read.
    turn: AtomicUsize,
    /// Messages to forget; shared with the writer.
    abandoned: Arc<Mutex<Vec<QueueId>>>,
    /// The threads, for the wait at the end.
    threads: Vec<JoinHandle<()>>,
    /// Whether they are all there.
    crew: watch::Receiver<Crew>,
}

/// Whether everybody is there who is to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Crew {
    /// They are.
    Complete,
    /// A thread has ended.
    Incomplete,
}

/// Tells that a thread has ended, also by a panic: after those whom it would have answered.
struct Leaving(watch::Sender<Crew>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.send_replace(Crew::Incomplete);
    }
}

impl Workers {
    /// Starts a thread for what writes, if anything does, and for each connection that reads.
    pub(super) fn start(
        writing: Option<Writing>,
        readers: Vec<Connection>,
    ) -> Result<Self, StoreError> {
        let abandoned = Arc::new(Mutex::new(Vec::new()));
        let (leaving, crew) = watch::channel(Crew::Complete);
        let mut threads = Vec::new();
        let mut writer = None;
        if let Some(writing) = writing {
            let (to_writer, changes) = mpsc::channel(CHANGES_WAITING_MAX);
            let for_writer = Arc::clone(&abandoned);
            let leaving = Leaving(leaving.clone());
            threads.push(spawn("spool-writer", move || {
                let _leaving = leaving;
                write_all(writing, changes, &for_writer);
            })?);
            writer = Some(to_writer);
        }
        let mut to_readers = Vec::new();
        for reader in readers {
            let (to_reader, questions) = mpsc::channel(QUESTIONS_WAITING_MAX);
            let leaving = Leaving(leaving.clone());
            threads.push(spawn("spool-reader", move || {
                let _leaving = leaving;
                read_all(&reader, questions);
            })?);
            to_readers.push(to_reader);
        }
        Ok(Self {
            writer,
            readers: to_readers,
            turn: AtomicUsize::new(0),
            abandoned,
            threads,
            crew,
        })
    }

    /// Changes the database, and waits until that is durable.
    ///
    /// The work may be done more than once, each time on a database without the times before. It is
    /// done also if its caller goes away.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Writing) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let change = Box::new(Asked {
            work,
            done: None,
            answer,
        });
        let writer = self.writer.as_ref().ok_or(StoreError::Attached)?;
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

    /// Waits until a thread has ended. Only a panic makes one do so while somebody can ask.
    pub(super) async fn ended(&self) {
        let mut crew = self.crew.clone();
        // Without a sender there is no thread left.
        _ = crew.wait_for(|crew| *crew == Crew::Incomplete).await;
    }

    /// Has a message forgotten before the next change, and soon.
    pub(super) fn abandon(&self, id: QueueId) {
        let Some(writer) = &self.writer else {
            return;
        };
        lock(&self.abandoned).push(id);
        // If there is no place, changes are waiting, and the message is forgotten before them.
        _ = writer.try_send(Box::new(Nothing));
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

/// Something to write.
trait Change: Send {
    /// Writes it into the open transaction; again from the start if that was rolled back.
    fn make(&mut self, writing: &mut Writing) -> Result<(), StoreError>;

    /// Tells whoever asked for it, once it is known whether it is durable.
    fn tell(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// A change that somebody waits for.
struct Asked<T, F> {
    /// Makes it.
    work: F,
    /// What came of it.
    done: Option<T>,
    /// To whoever asked.
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Change for Asked<T, F>
where
    T: Send,
    F: FnMut(&mut Writing) -> Result<T, StoreError> + Send,
{
    fn make(&mut self, writing: &mut Writing) -> Result<(), StoreError> {
        self.done = Some((self.work)(writing)?);
        Ok(())
    }

    fn tell(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { done, answer, .. } = *self;
        // Whoever stopped waiting does not need to know.
        _ = answer.send(outcome.and_then(|()| done.ok_or(StoreError::Closed)));
    }
}

/// What wakes the writer, so that it sees what was abandoned.
struct Nothing;

impl Change for Nothing {
    fn make(&mut self, _writing: &mut Writing) -> Result<(), StoreError> {
        Ok(())
    }

    fn tell(self: Box<Self>, _outcome: Result<(), StoreError>) {}
}

/// Forgets messages that nobody answers for.
struct Forget<'a> {
    /// Which.
    ids: Vec<QueueId>,
    /// Where they go back to if it fails.
    abandoned: &'a Mutex<Vec<QueueId>>,
}

impl Change for Forget<'_> {
    fn make(&mut self, writing: &mut Writing) -> Result<(), StoreError> {
        self.ids.iter().try_for_each(|id| forget(writing, *id))
    }

    fn tell(self: Box<Self>, outcome: Result<(), StoreError>) {
        if outcome.is_err() {
            lock(self.abandoned).extend(self.ids);
        }
    }
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
    mut writing: Writing,
    mut changes: mpsc::Receiver<Box<dyn Change>>,
    abandoned: &Mutex<Vec<QueueId>>,
) {
    let mut waiting = Vec::with_capacity(BATCH_MAX);
    while changes.blocking_recv_many(&mut waiting, BATCH_MAX) > 0 {
        let mut batch: Vec<Box<dyn Change + '_>> = Vec::with_capacity(waiting.len() + 1);
        // Looked at behind the changes: what was abandoned before one of them was asked for, such as
        // its first try, is forgotten before it is made.
        let ids = mem::take(&mut *lock(abandoned));
        if !ids.is_empty() {
            batch.push(Box::new(Forget { ids, abandoned }));
        }
        for change in waiting.drain(..) {
            batch.push(change);
        }
        write_batch(&mut writing, batch);
    }
}

/// Makes changes in one transaction, or one by one if one of them spoils that, and tells their callers.
fn write_batch(writing: &mut Writing, mut batch: Vec<Box<dyn Change + '_>>) {
    let outcomes = match write_together(writing, &mut batch) {
        Ok(outcomes) => outcomes,
        Err(Spoilt::ByAll(error)) => vec![Err(error); batch.len()],
        Err(Spoilt::ByOne(error)) if batch.len() == 1 => vec![Err(error)],
        Err(Spoilt::ByOne(_)) => write_singly(writing, &mut batch),
    };
    for (change, outcome) in batch.into_iter().zip(outcomes) {
        change.tell(outcome);
    }
}

/// Makes changes in a transaction each. Once the disk fails as such, the others are not tried.
fn write_singly(
    writing: &mut Writing,
    batch: &mut [Box<dyn Change + '_>],
) -> Vec<Result<(), StoreError>> {
    let mut given_up = None;
    batch
        .chunks_mut(1)
        .map(|change| {
            if let Some(error) = &given_up {
                return Err(StoreError::clone(error));
            }
            match write_together(writing, change) {
                Ok(outcomes) => outcomes.into_iter().collect(),
                Err(Spoilt::ByOne(error)) => Err(error),
                Err(Spoilt::ByAll(error)) => {
                    given_up = Some(error.clone());
                    Err(error)
                }
            }
        })
        .collect()
}

/// What made a transaction fail.
enum Spoilt {
    /// One of its changes: the others may do better without it.
    ByOne(StoreError),
    /// Its beginning or its end: all of its changes, each alone, would fare no better.
    ByAll(StoreError),
}

/// Makes changes in one transaction; says how each went.
fn write_together(
    writing: &mut Writing,
    batch: &mut [Box<dyn Change + '_>],
) -> Result<Vec<Result<(), StoreError>>, Spoilt> {
    writing.begin().map_err(Spoilt::ByAll)?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for change in batch {
        let before = writing.mark();
        let outcome = change.make(writing);
        if let Err(error) = &outcome
            && !writing.is_unchanged_since(&before)
        {
            writing.roll_back();
            return Err(Spoilt::ByOne(error.clone()));
        }
        outcomes.push(outcome);
    }
    match writing.commit(outcomes.len()) {
        Ok(()) => Ok(outcomes),
        Err(error) => {
            tracing::error!(target: "byrnie::store", %error, "could not write");
            writing.roll_back();
            Err(Spoilt::ByAll(error))
        }
    }
}

/// The guarded value, also after a panic elsewhere.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a named thread.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new()
        .name(String::from(name))
        .spawn(work)
        .map_err(|error| StoreError::Io(error.to_string()))
}

/// Changes that share one transaction, and so one wait for the disk.
const BATCH_MAX: usize = 256;

/// Changes that wait for the writer; callers wait for a place.
const CHANGES_WAITING_MAX: usize = 1024;

/// Questions that wait for one reader; callers wait for a place.
const QUESTIONS_WAITING_MAX: usize = 64;
