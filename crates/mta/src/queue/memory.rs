//! The little that the queue remembers about deliveries beside the scheduler.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;
use std::time::Instant;

/// How many attempts in a row came to nothing: they panicked, or the delivery could not be read.
/// `K` names a delivery.
#[derive(Debug)]
pub(super) struct Fruitless<K>(HashMap<K, u32>);

impl<K: Copy + Eq + Hash> Fruitless<K> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// How many there were.
    pub(super) fn number(&self, delivery: K) -> u32 {
        self.0.get(&delivery).copied().unwrap_or(0)
    }

    /// One more; how many that makes. Past the bound each is the first one.
    pub(super) fn note(&mut self, delivery: K) -> u32 {
        let number = self.number(delivery).saturating_add(1);
        if number > 1 || self.0.len() < FRUITLESS_MAX {
            self.0.insert(delivery, number);
        }
        number
    }

    /// An attempt came to something, or there will be no other.
    pub(super) fn forget(&mut self, delivery: K) {
        self.0.remove(&delivery);
    }
}

/// Deliveries that somebody held or removed, and that the queue had not heard of: word of a message that
/// was just accepted, with all that a first attempt needs, may be on its way yet. `K` names a delivery.
#[derive(Debug)]
pub(super) struct Withdrawn<K> {
    deliveries: BTreeSet<K>,
    /// When the last one was.
    last: Option<Instant>,
}

impl<K: Copy + Ord> Withdrawn<K> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            deliveries: BTreeSet::new(),
            last: None,
        }
    }

    /// One more. Past the bound those that were accepted longest ago are forgotten.
    pub(super) fn note(&mut self, delivery: K, now: Instant) {
        self.forget_old(now);
        self.deliveries.insert(delivery);
        self.last = Some(now);
        if self.deliveries.len() > WITHDRAWN_MAX {
            self.deliveries.pop_first();
        }
    }

    /// Whether this is one of them.
    pub(super) fn contains(&mut self, delivery: K, now: Instant) -> bool {
        self.forget_old(now);
        self.deliveries.contains(&delivery)
    }

    /// Somebody wants it to be tried after all.
    pub(super) fn forget(&mut self, delivery: K) {
        self.deliveries.remove(&delivery);
    }

    /// Forgets them all once word of them must have come.
    fn forget_old(&mut self, now: Instant) {
        let is_old = |last: Instant| now.saturating_duration_since(last) >= WITHDRAWN_KEPT;
        if self.last.is_some_and(is_old) {
            self.deliveries.clear();
            self.last = None;
        }
    }
}

/// Deliveries whose fruitless attempts are counted, at some 20 octets each.
const FRUITLESS_MAX: usize = 10_000;

/// How long withdrawn deliveries are remembered behind the last: what is accepted is told at once.
const WITHDRAWN_KEPT: Duration = Duration::from_secs(10);

/// How many withdrawn deliveries are remembered, at some 20 octets each. More are not on their way.
const WITHDRAWN_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use byrnie_net::clock::Clock;
    use byrnie_net::clock::SystemClock;

    use super::*;

    #[test]
    fn what_was_withdrawn_is_remembered_for_a_while_and_up_to_a_bound() {
        let now = SystemClock.monotonic();
        let mut withdrawn = Withdrawn::new();
        (0..=WITHDRAWN_MAX).for_each(|key| withdrawn.note(key, now));
        assert!(!withdrawn.contains(0, now) && withdrawn.contains(1, now));
        withdrawn.forget(1);
        assert!(!withdrawn.contains(1, now));
        let soon = now + WITHDRAWN_KEPT / 2;
        withdrawn.note(WITHDRAWN_MAX + 1, soon);
        assert!(withdrawn.contains(3, soon + WITHDRAWN_KEPT / 2));
        assert!(!withdrawn.contains(3, soon + WITHDRAWN_KEPT));
    }

    #[test]
    fn fruitless_attempts_are_counted_up_to_a_bound() {
        let mut fruitless = Fruitless::new();
        for number in 1..3 {
            for key in 0..FRUITLESS_MAX {
                assert_eq!(fruitless.note(key), number);
            }
            assert_eq!(fruitless.note(FRUITLESS_MAX), 1);
        }
        fruitless.forget(0);
        assert_eq!((fruitless.number(0), fruitless.number(1)), (0, 2));
    }
}
