//! One fetch at a time for each domain, and the memory of the last one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_mta_sts::FETCH_FAILURE_MEMORY;
use byrnie_policy::StsFailure;
use tokio::sync::MutexGuard;

/// How the last fetch for a domain ended, if it failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// When it ended.
    pub(super) at: UnixTime,
    /// Why.
    pub(super) why: StsFailure,
}

/// The place of one domain: whoever holds the lock fetches, the others wait for the outcome.
#[derive(Debug, Default)]
pub(super) struct Slot(tokio::sync::Mutex<Option<Failure>>);

impl Slot {
    /// Waits until nobody else fetches for the domain.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<Failure>> {
        self.0.lock().await
    }

    /// Whether the last fetch failed so lately that it still counts.
    fn failed_lately(&self, now: UnixTime) -> bool {
        self.0.try_lock().is_ok_and(|failure| {
            failure
                .as_ref()
                .is_some_and(|failure| now.since(failure.at) < FETCH_FAILURE_MEMORY)
        })
    }
}

/// The places of all domains that are being fetched for, or whose last fetch failed.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Owned by whoever holds the lock, which is never held over a wait.
    slots: Mutex<HashMap<DomainName, Arc<Slot>>>,
}

impl Slots {
    /// The place of a domain.
    pub(super) fn of(&self, domain: &DomainName, now: UnixTime) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(domain) {
            return Arc::clone(slot);
        }
        if slots.len() >= DOMAINS_REMEMBERED_MAX {
            make_room(&mut slots, now);
        }
        let slot = Arc::new(Slot::default());
        slots.insert(domain.clone(), Arc::clone(&slot));
        slot
    }
}

/// Forgets what no longer counts; then, if that is not enough, failures that still do.
///
/// A place in use is never given up, so that there may be as many more as there are askers.
fn make_room(slots: &mut HashMap<DomainName, Arc<Slot>>, now: UnixTime) {
    slots.retain(|_, slot| is_in_use(slot) || slot.failed_lately(now));
    let excess = (slots.len() + 1).saturating_sub(DOMAINS_REMEMBERED_MAX);
    let idle: Vec<DomainName> = slots
        .iter()
        .filter(|(_, slot)| !is_in_use(slot))
        .map(|(domain, _)| domain.clone())
        .take(excess)
        .collect();
    for domain in idle {
        slots.remove(&domain);
    }
}

/// Whether somebody besides the table holds the place.
fn is_in_use(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) > 1
}

/// How many domains have a place at most, but for those in use.
pub const DOMAINS_REMEMBERED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_memory_of_failures_is_bounded_and_places_in_use_stay() {
        let slots = Slots::default();
        let held = slots.of(&name(0), UnixTime(0));
        for number in 1..DOMAINS_REMEMBERED_MAX + 100 {
            let slot = slots.of(&name(number), UnixTime(0));
            let why = StsFailure {
                why: String::new(),
                result_type: "sts-policy-fetch-error",
            };
            *slot.lock().await = Some(Failure {
                at: UnixTime(0),
                why,
            });
        }
        let count = || slots.slots.lock().unwrap().len();
        assert_eq!(count(), DOMAINS_REMEMBERED_MAX);
        assert!(Arc::ptr_eq(&held, &slots.of(&name(0), UnixTime(0))));

        let later = UnixTime(0) + FETCH_FAILURE_MEMORY;
        slots.of(&name(usize::MAX), later);
        assert_eq!(count(), 2);
    }

    /// A domain for each number.
    fn name(number: usize) -> DomainName {
        format!("d{number}.example").parse().unwrap()
    }
}
