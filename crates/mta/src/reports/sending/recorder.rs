//! Counting sessions in memory, and writing the counts in bulk.

use std::mem;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_net::clock::Clock;
use byrnie_store::ResultBatch;
use byrnie_store::SessionResults;
use byrnie_store::StoreError;
use byrnie_tlsrpt::Counts;
use byrnie_tlsrpt::Day;
use byrnie_tlsrpt::Entry;
use byrnie_tlsrpt::SessionResult;
use tokio::time;

use crate::Metrics;

/// Counts sessions. What a crash takes is what was counted since the last writing.
pub struct Recorder {
    /// Tells which day it is.
    clock: Arc<dyn Clock>,
    /// Where it is counted what is not.
    metrics: Arc<Metrics>,
    /// What was not yet taken to be written.
    counts: Mutex<Counts>,
    /// What is being written; whoever holds it writes.
    writing: tokio::sync::Mutex<Writing>,
}

/// Batches on their way to the disk.
#[derive(Debug, Default)]
struct Writing {
    /// The number of the last one that was made; `None` before the store was asked.
    last: Option<u64>,
    /// Those that may not be on disk, oldest first.
    batches: Vec<ResultBatch>,
}

impl Recorder {
    /// Nothing was counted yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self {
            clock,
            metrics,
            counts: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Counts how a session with a host of a domain fared under each policy.
    pub(crate) fn record(&self, domain: &DomainName, results: Vec<SessionResult>) {
        if results.is_empty() {
            return;
        }
        let today = Day::of(self.clock.now());
        let mut counts = self.counts();
        for result in results {
            counts.count(today, domain, result);
        }
    }

    /// Writes what was counted. What cannot be written is tried again at the next call, and meanwhile no
    /// more is taken out of the counts, which have a bound.
    ///
    /// # Errors
    /// The store takes nothing.
    pub async fn write<S: SessionResults>(&self, store: &S) -> Result<(), StoreError> {
        let mut writing = self.writing.lock().await;
        if writing.batches.is_empty() {
            let last = match writing.last {
                Some(last) => last,
                None => store.last_batch().await?,
            };
            // From here on to the batches nothing is waited for: whoever is broken off has taken nothing.
            let mut counts = mem::take(&mut *self.counts());
            self.metrics.reports_sent.dropped(counts.take_dropped());
            if counts.is_empty() {
                return Ok(());
            }
            writing.fill(&counts, last);
        }
        while let Some(batch) = writing.batches.first() {
            // Again with its number if it failed: it may have reached the disk.
            let dropped = store.add_results(batch.clone()).await?;
            self.metrics.reports_sent.dropped(dropped);
            writing.batches.remove(0);
        }
        Ok(())
    }

    /// Writes every few seconds, for ever.
    pub(crate) async fn keep_writing<S: SessionResults>(&self, store: &S) {
        loop {
            time::sleep(WRITE_INTERVAL).await;
            if let Err(error) = self.write(store).await {
                tracing::warn!(
                    target: "byrnie::tlsrpt",
                    %error,
                    "results of sessions cannot be written; they are kept in memory"
                );
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Writing {
    /// Makes batches of counts, with numbers behind `last`.
    fn fill(&mut self, counts: &Counts, last: u64) {
        let entries: Vec<(Entry, u64)> = counts
            .entries()
            .map(|(entry, count)| (entry.clone(), count))
            .collect();
        let batches = entries.chunks(BATCH_ENTRIES_MAX);
        self.batches = (last + 1..)
            .zip(batches)
            .map(|(number, entries)| ResultBatch {
                number,
                entries: entries.to_vec(),
            })
            .collect();
        self.last = self.batches.last().map(|batch| batch.number);
    }
}

/// How often what was counted is written: what a crash takes.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// Entries of one batch: the one thread that writes is kept from mail for some milliseconds.
const BATCH_ENTRIES_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering;

    use byrnie_store::OutgoingReports;
    use byrnie_store::SqliteStore;
    use byrnie_tlsrpt::PolicyDescription;
    use byrnie_tlsrpt::SessionOutcome;

    use super::*;
    use crate::testing::START;
    use crate::testing::TestClock;
    use crate::testing::new_store;

    #[tokio::test]
    async fn what_was_counted_is_written_once_however_often_writing_fails() {
        let (store, _directory) = new_store();
        let store = Unsure {
            store,
            failing: AtomicBool::new(true),
        };
        let recorder = recorder();
        record(&recorder, 2 * BATCH_ENTRIES_MAX);
        for _ in 0..3 {
            recorder.write(&store).await.unwrap_err();
        }
        // Counted meanwhile.
        record(&recorder, 1);
        store.failing.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            recorder.write(&store).await.unwrap();
        }
        assert_eq!(count(&store).await, 2 * BATCH_ENTRIES_MAX + 1);

        // After a restart, batches have new numbers.
        let recorder = self::recorder();
        record(&recorder, 3);
        recorder.write(&store).await.unwrap();
        assert_eq!(count(&store).await, 2 * BATCH_ENTRIES_MAX + 4);
    }

    fn recorder() -> Recorder {
        Recorder::new(Arc::new(TestClock::new()), Arc::new(Metrics::new()))
    }

    /// Counts one session under each of so many policies.
    fn record(recorder: &Recorder, policies: usize) {
        let results = (0..policies).map(|number| SessionResult {
            policy: Arc::new(PolicyDescription {
                policy_domain: format!("mx{number}.example"),
                ..PolicyDescription::default()
            }),
            outcome: SessionOutcome::Succeeded,
            failures: Vec::new(),
        });
        recorder.record(&"a.example".parse().unwrap(), results.collect());
    }

    async fn count(store: &Unsure) -> usize {
        let domain = "a.example".parse().unwrap();
        let rows = store.store.results_of(Day::of(START), &domain).await;
        let sum: u64 = rows.unwrap().iter().map(|row| row.count).sum();
        usize::try_from(sum).unwrap()
    }

    /// A store that does what it is told, and then says that it could not.
    struct Unsure {
        store: Arc<SqliteStore>,
        failing: AtomicBool,
    }

    impl SessionResults for Unsure {
        async fn last_batch(&self) -> Result<u64, StoreError> {
            self.store.last_batch().await
        }

        async fn add_results(&self, batch: ResultBatch) -> Result<u64, StoreError> {
            let added = self.store.add_results(batch).await;
            match self.failing.load(Ordering::SeqCst) {
                true => Err(StoreError::Io(String::from("who knows"))),
                false => added,
            }
        }
    }
}
