//! Identical questions share one answer while it is on its way.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::future::Shared;
use futures_util::future::WeakShared;

/// The work under way, by what it is for.
///
/// Nobody owns the work: it goes on as long as at least one asker waits for it, and is dropped with
/// the last of them.
pub(super) struct Flights<K, V: Clone> {
    /// The work, and a number that tells one run from the next.
    running: Arc<Mutex<Running<K, V>>>,
}

/// What is under way.
struct Running<K, V: Clone> {
    /// By key: the number of the run, and the run.
    by_key: HashMap<K, (u64, WeakShared<BoxFuture<'static, V>>)>,
    /// The number of the next run.
    next_run: u64,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Nothing under way.
    pub(super) fn new() -> Self {
        Self {
            running: Arc::new(Mutex::new(Running {
                by_key: HashMap::new(),
                next_run: 0,
            })),
        }
    }

    /// Joins the work for `key`, or begins it with `start`.
    pub(super) fn join(
        &self,
        key: K,
        start: impl FnOnce() -> BoxFuture<'static, V>,
    ) -> Shared<BoxFuture<'static, V>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(work) = running
            .by_key
            .get(&key)
            .and_then(|(_, work)| work.upgrade())
        {
            return work;
        }
        let run = running.next_run;
        running.next_run += 1;
        let landing = Landing {
            running: Arc::clone(&self.running),
            key: key.clone(),
            run,
        };
        let work = start();
        let work = async move {
            let _landing = landing;
            work.await
        }
        .boxed()
        .shared();
        if let Some(weak) = work.downgrade() {
            running.by_key.insert(key, (run, weak));
        }
        work
    }
}

/// Takes the work off the list when it ends or is dropped.
struct Landing<K: Eq + Hash, V: Clone> {
    /// The list.
    running: Arc<Mutex<Running<K, V>>>,
    /// What the work is for.
    key: K,
    /// Which run this is: another may have begun since.
    run: u64,
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running
            .by_key
            .get(&self.key)
            .is_some_and(|(run, _)| *run == self.run)
        {
            running.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn the_same_question_is_worked_on_once() {
        let flights = Flights::<u8, u8>::new();
        let begun = Arc::new(AtomicUsize::new(0));
        let go = Arc::new(Notify::new());
        let ask = || {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            flights.join(1, move || {
                begun.fetch_add(1, Ordering::Relaxed);
                async move {
                    go.notified().await;
                    7
                }
                .boxed()
            })
        };
        let (first, second) = (ask(), ask());
        go.notify_one();
        assert_eq!(tokio::join!(first, second), (7, 7));
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        go.notify_one();
        assert_eq!(ask().await, 7);
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn the_work_outlives_the_asker_who_began_it_but_not_the_last() {
        let flights = Flights::<u8, u8>::new();
        let go = Arc::new(Notify::new());
        let alive = Arc::new(());
        let ask = || {
            let (go, alive) = (Arc::clone(&go), Arc::clone(&alive));
            flights.join(1, move || {
                async move {
                    go.notified().await;
                    drop(alive);
                    7
                }
                .boxed()
            })
        };
        let mut first = ask();
        assert!(futures_util::poll!(&mut first).is_pending());
        let second = ask();
        drop(first);
        go.notify_one();
        assert_eq!(second.await, 7);

        let mut third = ask();
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(third);
        assert_eq!(Arc::strong_count(&alive), 1);
        assert!(flights.running.lock().unwrap().by_key.is_empty());
    }
}
