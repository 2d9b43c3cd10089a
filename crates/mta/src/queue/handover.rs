//! What was handed over with fresh mail, until its first attempt.

use std::collections::BTreeMap;
use std::ops::Bound;

use byrnie_store::DeliveryId;

use super::attempt::Given;

/// What fresh deliveries need for their first attempts. Whatever is not here is read from the disk.
#[derive(Default)]
pub(super) struct HandedOver {
    given: BTreeMap<DeliveryId, Box<Given>>,
    /// The delivery that was looked at last when memory was short.
    looked_at: Option<DeliveryId>,
}

impl HandedOver {
    /// Keeps what a delivery needs.
    pub(super) fn insert(&mut self, delivery: DeliveryId, given: Box<Given>) {
        self.given.insert(delivery, given);
    }

    /// Takes out what a delivery needs, if it is there.
    pub(super) fn remove(&mut self, delivery: DeliveryId) -> Option<Box<Given>> {
        self.given.remove(&delivery)
    }

    /// Looks at the next delivery, in turns, and lets go of what it needs if it `can_wait`.
    pub(super) fn look_at_next(&mut self, can_wait: impl FnOnce(DeliveryId) -> bool) {
        let behind = self.looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.given.range((behind, Bound::Unbounded)).next();
        self.looked_at = next.map(|(delivery, _)| *delivery);
        if let Some(delivery) = self.looked_at
            && can_wait(delivery)
        {
            self.given.remove(&delivery);
        }
    }
}
