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

use crate::chain::Cut;
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
pub(crate) trait Keep {
    /// Until when.
    fn expires(&self) -> UnixTime;

    /// About how much memory it takes.
    fn octets(&self) -> usize;
}

impl Keep for KnownCut {
    fn expires(&self) -> UnixTime {
        self.expires
    }

    fn octets(&self) -> usize {
        let zone = match &self.cut {
            Cut::Secure(zone) => zone.octets(),
            Cut::Insecure(_) | Cut::Absent | Cut::NothingBelow => 0,
        };
        let link = self.link.as_ref().map_or(0, |link| link.octets());
        size_of::<Self>() + zone + link
    }
}

/// Proofs by name, bounded by entries and by octets.
///
/// It consists of two generations. New proofs, and old ones that are used again, go to the young
/// one; when that is half of a bound, it becomes the old one, and the old one is dropped. So what
/// is used stays, and no operation takes longer than the others.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    bounds: Bounds,
    generations: Mutex<Generations<T>>,
}

/// How much a cache may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// At most so many proofs.
    pub(crate) entries_max: usize,
    /// At most about so many octets; what takes more than half of them by itself is not kept.
    pub(crate) octets_max: usize,
}

impl<T: Clone + Keep> Cache<T> {
    /// An empty cache.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            generations: Mutex::default(),
        }
    }

    /// What is proven about a name, if it may still be used.
    pub(crate) fn get(&self, name: &Name<Bytes>, now: UnixTime) -> Option<T> {
        let mut generations = self.lock();
        if let Some(known) = generations.young.entries.get(name) {
            return (known.expires() > now).then(|| known.clone());
        }
        let (name, known) = generations.old.remove(name)?;
        if known.expires() <= now {
            return None;
        }
        generations.insert(name, known.clone(), self.bounds);
        Some(known)
    }

    /// Keeps what was proven about a name.
    pub(crate) fn insert(&self, name: Name<Bytes>, known: T) {
        self.lock().insert(name, known, self.bounds);
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
        generations.young.entries.len() + generations.old.entries.len()
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
    young: Generation<T>,
    old: Generation<T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
        }
    }
}

impl<T: Keep> Generations<T> {
    /// Puts a proof among the young ones, unless it is too heavy.
    fn insert(&mut self, name: Name<Bytes>, known: T, bounds: Bounds) {
        self.young.remove(&name);
        self.old.remove(&name);
        let octets = octets(&name, &known);
        let octets_max = bounds.octets_max / 2;
        if bounds.entries_max == 0 || octets > octets_max {
            return;
        }
        let half = (bounds.entries_max / 2).max(1);
        if self.young.entries.len() >= half || self.young.octets + octets > octets_max {
            self.old = std::mem::take(&mut self.young);
        }
        // One entry has no other half.
        if self.old.entries.len() >= bounds.entries_max {
            self.old = Generation::default();
        }
        self.young.octets += octets;
        self.young.entries.insert(name, known);
    }
}

/// One half of the cache.
///
/// Invariant: `octets` is the sum over the entries.
#[derive(Debug)]
struct Generation<T> {
    entries: HashMap<Name<Bytes>, T>,
    octets: usize,
}

impl<T> Default for Generation<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            octets: 0,
        }
    }
}

impl<T: Keep> Generation<T> {
    /// Takes a proof out.
    fn remove(&mut self, name: &Name<Bytes>) -> Option<(Name<Bytes>, T)> {
        let (name, known) = self.entries.remove_entry(name)?;
        self.octets -= octets(&name, &known);
        Some((name, known))
    }
}

/// About how much memory an entry takes.
fn octets<T: Keep>(name: &Name<Bytes>, known: &T) -> usize {
    ENTRY_OCTETS + name.len() + known.octets()
}

/// About how much memory an entry takes beside its content.
const ENTRY_OCTETS: usize = 128;

/// A zone that was bogus just now.
#[derive(Clone, Debug)]
pub(crate) struct BrokenZone {
    /// What is wrong with it.
    pub(crate) fault: Fault,
    /// Until when that may be said without looking again.
    pub(crate) expires: UnixTime,
}

impl Keep for BrokenZone {
    fn expires(&self) -> UnixTime {
        self.expires
    }
    /// A fault names the record and its signer, each by a name of its own.
    fn octets(&self) -> usize {
        let fault = &self.fault;
        let signer = fault.signature.as_ref().map_or(0, |id| id.signer.len());
        size_of::<Self>() + fault.record.name.len() + signer
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

impl Keep for KnownDenials {
    fn expires(&self) -> UnixTime {
        self.0.expires
    }

    fn octets(&self) -> usize {
        size_of::<Denials>() + self.0.nsec.octets() + self.0.nsec3.octets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RecordSet;

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let cache = Cache::new(ENTRIES_10);
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
            let cache = Cache::new(Bounds {
                entries_max,
                octets_max: 1_000_000,
            });
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
    fn the_bound_on_octets_holds_and_what_is_too_heavy_is_not_kept() {
        let cache = Cache::new(Bounds {
            entries_max: 1_000,
            octets_max: 10_000,
        });
        for number in 0..1_000 {
            cache.insert(
                name(number),
                Heavy(usize::try_from(number % 4).unwrap() * 1_000),
            );
            let generations = cache.lock();
            let mut held = 0;
            for generation in [&generations.young, &generations.old] {
                let sum = generation.entries.iter();
                let sum: usize = sum.map(|(name, known)| octets(name, known)).sum();
                assert_eq!(sum, generation.octets);
                held += sum;
            }
            assert!(held <= 10_000, "{held}");
            assert!(held >= 128, "{held}");
        }
        cache.insert(name(1_001), Heavy(1));
        cache.insert(name(1_001), Heavy(5_000));
        assert!(cache.get(&name(1_001), UnixTime(0)).is_none());
    }

    #[test]
    fn what_expired_is_gone() {
        let cache = Cache::new(ENTRIES_10);
        cache.insert(name(0), known(9));
        assert!(cache.get(&name(0), UnixTime(8)).is_some());
        assert!(cache.get(&name(0), UnixTime(9)).is_none());
        cache.clear();
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn what_expired_among_the_old_is_gone_as_well() {
        let cache = Cache::new(ENTRIES_10);
        for number in 0..6 {
            cache.insert(name(number), known(9));
        }
        assert!(cache.lock().old.entries.contains_key(&name(1)));
        assert!(cache.get(&name(1), UnixTime(9)).is_none());
        assert!(cache.get(&name(2), UnixTime(8)).is_some());
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
            // Of ten, the sixth expires first.
            let expires = |number: u32| UnixTime(1_000 + u64::from(number.abs_diff(5)));
            known = known.with(&nsec, &Nsec3Proof::default(), expires(number % 10), &limits);
            assert_eq!(known.0.len(), usize::try_from(number % 10 + 1).unwrap());
            assert_eq!(known.expires(), expires((number % 10).min(5)));
        }
    }

    /// Something of which only the weight matters.
    #[derive(Clone)]
    struct Heavy(usize);

    impl Keep for Heavy {
        fn expires(&self) -> UnixTime {
            UnixTime(1)
        }

        fn octets(&self) -> usize {
            self.0
        }
    }

    const ENTRIES_10: Bounds = Bounds {
        entries_max: 10,
        octets_max: 1_000_000,
    };

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
