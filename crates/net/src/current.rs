//! A setting that can be exchanged while it is in use.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

/// Holds what counts at the moment.
///
/// Whoever begins something takes what counts then, and keeps it to the end: a change is seen whole or
/// not at all, and by nothing that is under way.
#[derive(Debug, Default)]
pub struct Current<T>(
    /// Locked for as long as it takes to count a reference.
    RwLock<Arc<T>>,
);

impl<T> Current<T> {
    /// Holds this until it is replaced.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// What counts now.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this counts.
    pub fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_stays_as_it_was() {
        let current = Current::new(1);
        let before = current.get();
        current.replace(2);
        assert_eq!((*before, *current.get()), (1, 2));
    }
}
