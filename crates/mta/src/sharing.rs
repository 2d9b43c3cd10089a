//! Answers that many ask for at once, found once and shared for a moment.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Answers that are shared for a moment.
///
/// While one asker finds an answer, all others who ask the same wait for it. If that one gives up, the
/// next of them goes on.
pub(crate) struct Sharing<K, V> {
    /// Each holds some of the questions, so that one lock is not waited for by everybody.
    shards: Vec<Mutex<Slots<K, V>>>,
    hasher: RandomState,
}

/// Questions that were asked, or are.
struct Slots<K, V>(HashMap<K, Arc<OnceCell<Answer<V>>>>);

/// An answer.
struct Answer<V> {
    value: Arc<V>,
    /// When it is no longer shared.
    until: Instant,
}

impl<K: Eq + Hash, V> Sharing<K, V> {
    /// Nothing that is shared.
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(Slots(HashMap::new())))
                .collect(),
            hasher: RandomState::new(),
        }
    }

    /// The answer to a question: one that is shared, or a new one, which comes with the time for which
    /// it may be.
    pub(crate) async fn get<F>(&self, key: K, find: impl FnOnce() -> F) -> Arc<V>
    where
        F: Future<Output = (V, Duration)>,
    {
        let slot = self.slot(key);
        let answer = slot.get_or_init(|| async {
            let (value, lifetime) = find().await;
            Answer {
                value: Arc::new(value),
                until: Instant::now() + lifetime,
            }
        });
        Arc::clone(&answer.await.value)
    }

    /// Where the answer to a question is, or will be.
    fn slot(&self, key: K) -> Arc<OnceCell<Answer<V>>> {
        let now = Instant::now();
        let Slots(slots) = &mut *self.shard(&key);
        if let Some(slot) = slots.get(&key)
            && is_shared(slot, now)
        {
            return Arc::clone(slot);
        }
        let slot = Arc::default();
        if slots.len() >= QUESTIONS_PER_SHARD_MAX {
            // A question without an answer that nobody waits for any more was given up.
            slots.retain(|_, slot| {
                is_shared(slot, now) && (slot.initialized() || Arc::strong_count(slot) > 1)
            });
        }
        if slots.len() < QUESTIONS_PER_SHARD_MAX {
            slots.insert(key, Arc::clone(&slot));
        }
        slot
    }

    /// The part that a question is kept in.
    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder of a division by the number of shards is less than that"
    )]
    fn shard(&self, key: &K) -> MutexGuard<'_, Slots<K, V>> {
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS).unwrap_or_default();
        let shard = self.shards[hash].lock();
        shard.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer may be shared, or is being found.
fn is_shared<V>(slot: &OnceCell<Answer<V>>, now: Instant) -> bool {
    slot.get().is_none_or(|answer| now < answer.until)
}

/// How many locks there are.
const SHARDS: u64 = 16;

/// How many questions each part remembers; those past it are answered for one asker alone.
const QUESTIONS_PER_SHARD_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;

    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_the_same_meanwhile_gets_the_same_answer() {
        let world = World::new();
        let (one, other) = tokio::join!(world.ask("a", 5), world.ask("a", 5));
        assert_eq!((one, other), (1, 1));
        assert_eq!(world.ask("a", 5).await, 1);
        assert_eq!(world.ask("b", 5).await, 2);
        time::advance(Duration::from_secs(5)).await;
        assert_eq!(world.ask("a", 5).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_not_be_kept_is_shared_with_those_who_wait_alone() {
        let world = World::new();
        let (one, other) = tokio::join!(world.ask("a", 0), world.ask("a", 0));
        assert_eq!((one, other), (1, 1));
        assert_eq!(world.ask("a", 0).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_asker_that_gives_up_leaves_the_question_to_the_next() {
        let world = World::new();
        let stuck = world.sharing.get("a", pending);
        let limit = Duration::from_secs(1);
        time::timeout(limit, stuck).await.unwrap_err();
        assert_eq!(world.ask("a", 5).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_questions_are_remembered() {
        let world = World::new();
        let names: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
        for name in &names {
            world.ask(name, 5).await;
        }
        let kept: usize = world
            .sharing
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().0.len())
            .sum();
        let shards = usize::try_from(SHARDS).unwrap();
        assert!(kept <= shards * QUESTIONS_PER_SHARD_MAX, "{kept}");
    }

    /// Answers are numbered as they are found.
    struct World<'a> {
        sharing: Sharing<&'a str, u32>,
        found: AtomicU32,
    }

    impl<'a> World<'a> {
        fn new() -> Self {
            Self {
                sharing: Sharing::new(),
                found: AtomicU32::new(0),
            }
        }

        /// The number of the answer, which may be shared for so many seconds.
        async fn ask(&self, name: &'a str, seconds: u64) -> u32 {
            let find = || async {
                time::sleep(Duration::from_millis(10)).await;
                let number = self.found.fetch_add(1, Ordering::SeqCst) + 1;
                (number, Duration::from_secs(seconds))
            };
            *self.sharing.get(name, find).await
        }
    }
}
