//! What is proven, kept for other validations.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use byrnie_base::UnixTime;
use bytes::Bytes;
use domain::base::Name;
use domain::base::iana::Rtype;

use crate::chain::KnownCut;
use crate::denial::Absence;
use crate::denial::CutDenial;
use crate::fault::Fault;
use crate::limits::Limits;
use crate::limits::Work;
use crate::nsec::NsecProof;
use crate::nsec3::Meter;
use crate::nsec3::Nsec3Proof;
use crate::verdict::Failure;

/// Something that may be kept for some time.
pub(crate) trait Expire {
    /// Until when.
    fn expires(&self) -> UnixTime;
}

impl Expire for KnownCut {
    fn expires(&self) -> UnixTime {
        self.expires
    }
}

/// Proofs by name, at most a given number.
///
/// It consists of two generations. New proofs, and old ones that are used again, go to the young
/// one; when that is half of the bound, it becomes the old one, and the old one is dropped. So what
/// is used stays, and no operation takes longer than the others.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    entries_max: usize,
    generations: Mutex<Generations<T>>,
}

impl<T: Clone + Expire> Cache<T> {
    /// An empty cache.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            generations: Mutex::default(),
        }
    }

    /// What is proven about a name, if it may still be used.
    pub(crate) fn get(&self, name: &Name<Bytes>, now: UnixTime) -> Option<T> {
        let mut generations = self.lock();
        if let Some(known) = generations.young.get(name) {
            return (known.expires() > now).then(|| known.clone());
        }
        let (name, known) = generations.old.remove_entry(name)?;
        if known.expires() <= now {
            return None;
        }
        generations.insert(name, known.clone(), self.entries_max);
        Some(known)
    }

    /// Keeps what was proven about a name.
    pub(crate) fn insert(&self, name: Name<Bytes>, known: T) {
        self.lock().insert(name, known, self.entries_max);
    }

    /// Forgets what was proven about a name.
    pub(crate) fn remove(&self, name: &Name<Bytes>) {
        let mut generations = self.lock();
        generations.young.remove(name);
        generations.old.remove(name);
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
    fn lock(&self) -> MutexGuard<'_, Generations<T>> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two halves of the cache.
#[derive(Debug)]
struct Generations<T> {
    young: HashMap<Name<Bytes>, T>,
    old: HashMap<Name<Bytes>, T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<T> Generations<T> {
    /// Puts a proof among the young ones.
    fn insert(&mut self, name: Name<Bytes>, known: T, entries_max: usize) {
        if entries_max == 0 {
            return;
        }
        let half = (entries_max / 2).max(1);
        if self.young.len() >= half && !self.young.contains_key(&name) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&name);
        // One entry has no other half.
        if self.old.len() >= entries_max {
            self.old.clear();
        }
        self.young.insert(name, known);
    }
}

/// A zone that was bogus just now.
#[derive(Clone, Debug)]
pub(crate) struct BrokenZone {
    /// What is wrong with it.
    pub(crate) fault: Fault,
    /// Until when that may be said without looking again.
    pub(crate) expires: UnixTime,
}

impl Expire for BrokenZone {
    fn expires(&self) -> UnixTime {
        self.expires
    }
}

/// Denial records of one zone that answer other questions than they came for: RFC 8198.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownDenials(Arc<Denials>);

/// What is shared by the copies.
#[derive(Clone, Debug, Default)]
struct Denials {
    nsec: NsecProof,
    nsec3: Nsec3Proof,
    /// When the first of them expires; then all go.
    expires: UnixTime,
}

impl Denials {
    /// The number of records.
    fn len(&self) -> usize {
        self.nsec.len() + self.nsec3.len()
    }
}

impl KnownDenials {
    /// The records with those of an answer added; without the former if there are too many.
    pub(crate) fn with(
        mut self,
        nsec: &NsecProof,
        nsec3: &Nsec3Proof,
        expires: UnixTime,
        limits: &Limits,
    ) -> Self {
        let known = Arc::make_mut(&mut self.0);
        let (kept, added) = (known.len(), nsec.len() + nsec3.len());
        known.expires = known.expires.min(expires);
        if kept == 0 || kept + added > limits.denials_per_zone_max {
            *known = Denials {
                expires,
                ..Denials::default()
            };
        }
        known.nsec.extend(nsec);
        known.nsec3.extend(nsec3);
        self
    }

    /// Whether the records prove that a name, or its records of a type, do not exist.
    ///
    /// # Errors
    /// It costs too much to say.
    pub(crate) fn deny(
        &self,
        zone: &Name<Bytes>,
        name: &Name<Bytes>,
        rtype: Rtype,
        limits: &Limits,
        work: &mut Work,
    ) -> Result<Option<Absence>, Failure> {
        if let Some(absence) = self.0.nsec.deny(zone, name, rtype) {
            return Ok(Some(absence));
        }
        self.0
            .nsec3
            .deny(zone, name, rtype, &mut Meter { limits, work })
    }

    /// What the records prove about a zone cut at a name.
    ///
    /// # Errors
    /// It costs too much to say.
    pub(crate) fn deny_cut(
        &self,
        zone: &Name<Bytes>,
        name: &Name<Bytes>,
        limits: &Limits,
        work: &mut Work,
    ) -> Result<Option<CutDenial>, Failure> {
        if let Some(denial) = self.0.nsec.deny_cut(zone, name) {
            return Ok(Some(denial));
        }
        self.0
            .nsec3
            .deny_cut(zone, name, &mut Meter { limits, work })
    }
}

impl Expire for KnownDenials {
    fn expires(&self) -> UnixTime {
        self.0.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Cut;
    use crate::message::RecordSet;

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let cache = Cache::new(10);
        cache.insert(name(0), known(9));
        for number in 1..100 {
            cache.insert(name(number), known(9));
            assert!(cache.len() <= 10);
            assert!(cache.get(&name(0), UnixTime(1)).is_some(), "{number}");
        }
        assert!(cache.get(&name(1), UnixTime(1)).is_none());
    }

    #[test]
    fn the_bound_holds_also_where_there_are_no_halves() {
        for entries_max in 0..6 {
            let cache = Cache::new(entries_max);
            for number in 0..20 {
                cache.insert(name(number), known(9));
                assert!(cache.len() <= entries_max, "{entries_max}");
                let found = cache.get(&name(number), UnixTime(1));
                assert_eq!(found.is_some(), entries_max > 0);
                assert!(cache.len() <= entries_max, "{entries_max}");
            }
        }
    }

    #[test]
    fn what_expired_is_gone() {
        let cache = Cache::new(10);
        cache.insert(name(0), known(9));
        assert!(cache.get(&name(0), UnixTime(8)).is_some());
        assert!(cache.get(&name(0), UnixTime(9)).is_none());
        cache.clear();
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn the_denials_of_a_zone_are_bounded_and_go_with_the_first_that_expires() {
        let limits = Limits {
            denials_per_zone_max: 10,
            ..Limits::default()
        };
        let mut known = KnownDenials::default();
        for number in 0..100 {
            let mut nsec = NsecProof::default();
            // To the root, with one empty window of types.
            let data = vec![Bytes::from_static(&[0, 0, 1, 0x40])];
            nsec.add(&RecordSet {
                owner: name(number),
                rtype: Rtype::NSEC,
                ttl: 0,
                data,
            });
            let expires = UnixTime(1_000 - u64::from(number % 10));
            known = known.with(&nsec, &Nsec3Proof::default(), expires, &limits);
            assert_eq!(known.0.len(), usize::try_from(number % 10 + 1).unwrap());
            assert_eq!(known.expires(), expires);
        }
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
