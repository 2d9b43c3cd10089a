//! What is proven about zone cuts, kept for other validations.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;

use crate::chain::KnownCut;

/// Proofs about zone cuts by name, at most a given number.
///
/// It consists of two generations. New proofs, and old ones that are used again, go to the young
/// one; when that is half of the bound, it becomes the old one, and the old one is dropped. So what
/// is used stays, and no operation takes longer than the others.
#[derive(Debug)]
pub(crate) struct CutCache {
    entries_max: usize,
    generations: Mutex<Generations>,
}

impl CutCache {
    /// An empty cache.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            generations: Mutex::default(),
        }
    }

    /// What is proven about a name, if it may still be used.
    pub(crate) fn get(&self, name: &Name<Bytes>, now: UnixTime) -> Option<KnownCut> {
        let mut generations = self.lock();
        if let Some(known) = generations.young.get(name) {
            return (known.expires > now).then(|| known.clone());
        }
        let (name, known) = generations.old.remove_entry(name)?;
        if known.expires <= now {
            return None;
        }
        generations.insert(name, known.clone(), self.entries_max);
        Some(known)
    }

    /// Keeps what was proven about a name.
    pub(crate) fn insert(&self, name: Name<Bytes>, known: KnownCut) {
        self.lock().insert(name, known, self.entries_max);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.lock() = Generations::default();
    }

    /// The number of proofs kept.
    pub(crate) fn len(&self) -> usize {
        let generations = self.lock();
        generations.young.len() + generations.old.len()
    }

    /// The generations; a panic elsewhere leaves them whole, as each change is a single insertion.
    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two halves of the cache.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Name<Bytes>, KnownCut>,
    old: HashMap<Name<Bytes>, KnownCut>,
}

impl Generations {
    /// Puts a proof among the young ones.
    fn insert(&mut self, name: Name<Bytes>, known: KnownCut, entries_max: usize) {
        if self.young.len() >= entries_max / 2 && !self.young.contains_key(&name) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&name);
        self.young.insert(name, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Cut;

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let cache = CutCache::new(10);
        cache.insert(name(0), known(9));
        for number in 1..100 {
            cache.insert(name(number), known(9));
            assert!(cache.len() <= 10);
            assert!(cache.get(&name(0), UnixTime(1)).is_some(), "{number}");
        }
        assert!(cache.get(&name(1), UnixTime(1)).is_none());
    }

    #[test]
    fn what_expired_is_gone() {
        let cache = CutCache::new(10);
        cache.insert(name(0), known(9));
        assert!(cache.get(&name(0), UnixTime(8)).is_some());
        assert!(cache.get(&name(0), UnixTime(9)).is_none());
        cache.clear();
        assert_eq!(cache.len(), 0);
    }

    fn known(expires: u64) -> KnownCut {
        KnownCut {
            cut: Cut::Absent,
            link: None,
            expires: UnixTime(expires),
        }
    }

    fn name(number: u32) -> Name<Bytes> {
        Name::bytes_from_str(&format!("n{number}.")).unwrap()
    }
}
