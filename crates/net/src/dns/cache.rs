//! A cache that is bounded by entries and by octets.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// How much a cache may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheBounds {
    /// At most this many entries; default 50,000.
    pub entries_max: usize,
    /// At most about this many octets; default 32 MiB.
    pub octets_max: usize,
}

impl Default for CacheBounds {
    fn default() -> Self {
        Self {
            entries_max: 50_000,
            octets_max: 32 * 1024 * 1024,
        }
    }
}

/// Values with an expiry; when it is full, those not used of late go first ("second chance").
///
/// Invariant: `order` holds every key of `slots` exactly once, and `octets` is the sum of their
/// weights.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    /// What may not be exceeded.
    bounds: CacheBounds,
    /// The entries, expired ones included until they are replaced or evicted.
    slots: HashMap<Arc<K>, Slot<V>>,
    /// The order in which entries are looked at for eviction.
    order: VecDeque<Arc<K>>,
    /// About how much memory the entries take.
    octets: usize,
}

/// One entry.
#[derive(Debug)]
struct Slot<V> {
    /// The value.
    value: V,
    /// From when on it may no longer be used; `None` if it may not be used at all.
    expires: Option<Instant>,
    /// About how many octets it takes.
    weight: usize,
    /// Whether it was asked for since it was last looked at for eviction.
    used: bool,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache.
    pub(super) fn new(bounds: CacheBounds) -> Self {
        Self {
            bounds,
            slots: HashMap::new(),
            order: VecDeque::new(),
            octets: 0,
        }
    }

    /// The value and how long it may still be used.
    pub(super) fn get(&mut self, key: &K, now: Instant) -> Option<(V, Duration)> {
        let slot = self.slots.get_mut(key)?;
        let remaining = slot.expires?.checked_duration_since(now)?;
        if remaining.is_zero() {
            return None;
        }
        slot.used = true;
        Some((slot.value.clone(), remaining))
    }

    /// Stores a value of about `weight` octets, in place of an older one.
    ///
    /// A value too heavy for the whole cache is not stored at all.
    pub(super) fn put(&mut self, key: K, value: V, weight: usize, expires: Instant) {
        if weight > self.bounds.octets_max || self.bounds.entries_max == 0 {
            self.expire(&key);
            return;
        }
        let slot = Slot {
            value,
            expires: Some(expires),
            weight,
            used: false,
        };
        self.octets += weight;
        if let Some(old) = self.slots.get_mut(&key) {
            self.octets -= old.weight;
            *old = slot;
        } else {
            // Names take a good part of the memory, so each is there but once.
            let key = Arc::new(key);
            self.slots.insert(Arc::clone(&key), slot);
            self.order.push_back(key);
        }
        self.shrink();
    }

    /// Makes sure that the entry, if there is one, is not used again.
    pub(super) fn expire(&mut self, key: &K) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.expires = None;
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.order.clear();
        self.octets = 0;
    }

    /// Evicts until the bounds hold.
    fn shrink(&mut self) {
        while self.slots.len() > self.bounds.entries_max || self.octets > self.bounds.octets_max {
            let Some(key) = self.order.pop_front() else {
                return;
            };
            match self.slots.get_mut(&key) {
                Some(slot) if slot.used => {
                    slot.used = false;
                    self.order.push_back(key);
                }
                Some(_) | None => self.forget(&key),
            }
        }
    }

    /// Removes an entry whose key is no longer in `order`.
    fn forget(&mut self, key: &K) {
        if let Some(slot) = self.slots.remove(key) {
            self.octets -= slot.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;
    use crate::clock::Clock;
    use crate::clock::SystemClock;

    #[test]
    fn entries_end_with_their_time() {
        let start = SystemClock.monotonic();
        let mut cache = Cache::new(CacheBounds::default());
        cache.put("a", 1, 10, start + Duration::from_secs(5));
        assert_eq!(cache.get(&"a", start), Some((1, Duration::from_secs(5))));
        let later = start + Duration::from_secs(4);
        assert_eq!(cache.get(&"a", later), Some((1, Duration::from_secs(1))));
        assert_eq!(cache.get(&"a", start + Duration::from_secs(5)), None);
        assert_eq!(cache.get(&"a", start + Duration::from_secs(6)), None);
    }

    #[test]
    fn what_was_used_of_late_stays_when_another_must_go() {
        let start = SystemClock.monotonic();
        let expires = start + Duration::from_secs(60);
        let mut cache = Cache::new(CacheBounds {
            entries_max: 2,
            octets_max: 1000,
        });
        cache.put("a", 1, 10, expires);
        cache.put("b", 2, 10, expires);
        assert!(cache.get(&"a", start).is_some());
        cache.put("c", 3, 10, expires);
        assert!(cache.get(&"a", start).is_some());
        assert_eq!(cache.get(&"b", start), None);
        assert!(cache.get(&"c", start).is_some());
    }

    #[test]
    fn an_expired_entry_can_be_put_anew() {
        let start = SystemClock.monotonic();
        let mut cache = Cache::new(CacheBounds::default());
        cache.put("a", 1, 10, start + Duration::from_secs(1));
        cache.expire(&"a");
        assert_eq!(cache.get(&"a", start), None);
        cache.put("a", 2, 10, start + Duration::from_secs(1));
        assert_eq!(cache.get(&"a", start), Some((2, Duration::from_secs(1))));
        cache.clear();
        assert_eq!(cache.get(&"a", start), None);
    }

    proptest! {
        #[test]
        fn no_sequence_of_entries_breaks_a_bound(
            puts in proptest::collection::vec((any::<u8>(), 0usize..200, any::<bool>()), 0..200),
        ) {
            let start = SystemClock.monotonic();
            let bounds = CacheBounds { entries_max: 20, octets_max: 500 };
            let mut cache = Cache::new(bounds);
            for (key, weight, ask) in puts {
                cache.put(key, (), weight, start + Duration::from_secs(1));
                if ask {
                    cache.get(&key, start);
                } else if weight < 20 {
                    cache.expire(&key);
                }
                assert!(cache.slots.len() <= bounds.entries_max);
                assert!(cache.octets <= bounds.octets_max);
                assert_eq!(cache.slots.len(), cache.order.len());
                let sum: usize = cache.slots.values().map(|slot| slot.weight).sum();
                assert_eq!(sum, cache.octets);
            }
        }
    }
}
