//! The little that the queue remembers about deliveries beside the scheduler.

use std::collections::HashMap;
use std::hash::Hash;

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

/// Deliveries whose fruitless attempts are counted, at some 20 octets each.
const FRUITLESS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

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
