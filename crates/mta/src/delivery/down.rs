//! Addresses that did not answer lately.
//!
//! What is remembered can only put off: an address that is down is tried after the others, and mail all
//! of whose hosts are down waits. What must hold on a connection is none of its business.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockWriteGuard;
use std::time::Duration;

use tokio::time::Instant;

/// Remembers addresses that did not answer; each is forgotten by time, and at once when it answers.
#[derive(Debug)]
pub(crate) struct DownAddresses {
    known: RwLock<HashMap<SocketAddr, Down>>,
    /// How long an address is down at most, and for how long after that its failures count.
    time_max: Duration,
}

/// An address that did not answer.
#[derive(Clone, Copy, Debug)]
struct Down {
    /// How often in a row.
    failures: u32,
    /// Until when it is not asked first.
    until: Instant,
}

impl DownAddresses {
    /// Nothing is known yet. No address is down for longer than `time_max`, which is best no longer than
    /// mail waits for its next attempt.
    pub(crate) fn new(time_max: Duration) -> Self {
        Self {
            known: RwLock::default(),
            time_max,
        }
    }

    /// Whether an address did not answer lately.
    pub(crate) fn is_down(&self, address: SocketAddr) -> bool {
        let known = self.known.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known
            .get(&address)
            .is_some_and(|down| Instant::now() < down.until)
    }

    /// An address did not answer.
    pub(crate) fn failed(&self, address: SocketAddr) {
        let now = Instant::now();
        let counts = |down: &Down| now < down.until + self.time_max;
        let mut known = self.change();
        if known.len() >= ADDRESSES_MAX && !known.contains_key(&address) {
            known.retain(|_, down| counts(down));
            if known.len() >= ADDRESSES_MAX {
                return;
            }
        }
        let before = known.get(&address).filter(|down| counts(down));
        let failures = before.map_or(0, |down| down.failures).saturating_add(1);
        // From an eighth of the longest time on, twice as long each time.
        let wait = self.time_max * 2_u32.saturating_pow(failures - 1).min(8) / 8;
        let until = now + wait;
        known.insert(address, Down { failures, until });
    }

    /// An address answered.
    pub(crate) fn answered(&self, address: SocketAddr) {
        let known = self.known.read();
        let was_known = known
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&address);
        if was_known {
            self.change().remove(&address);
        }
    }

    fn change(&self) -> RwLockWriteGuard<'_, HashMap<SocketAddr, Down>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many addresses are remembered. Past it further ones are not, so that nobody who names many dead
/// addresses makes others forgotten.
const ADDRESSES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_is_down_for_a_time_that_grows_and_ends() {
        let down = DownAddresses::new(Duration::from_secs(240));
        let mut waits = Vec::new();
        for _ in 0..6 {
            down.failed(address(1));
            let mut seconds = 0;
            while down.is_down(address(1)) {
                time::advance(Duration::from_secs(1)).await;
                seconds += 1;
            }
            waits.push(seconds);
        }
        assert_eq!(waits, [30, 60, 120, 240, 240, 240]);
        time::advance(Duration::from_secs(240)).await;
        down.failed(address(1));
        time::advance(Duration::from_secs(30)).await;
        assert!(!down.is_down(address(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_answers_is_up() {
        let down = DownAddresses::new(Duration::from_secs(240));
        down.failed(address(1));
        assert!(down.is_down(address(1)) && !down.is_down(address(2)));
        down.answered(address(1));
        assert!(!down.is_down(address(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_names_many_dead_addresses_makes_no_others_forgotten() {
        let down = DownAddresses::new(Duration::from_secs(240));
        for number in 0..=u32::try_from(ADDRESSES_MAX).unwrap() {
            down.failed(address(number));
        }
        assert!(down.is_down(address(0)));
        assert_eq!(down.change().len(), ADDRESSES_MAX);
    }

    fn address(number: u32) -> SocketAddr {
        SocketAddr::from((number.to_be_bytes(), 25))
    }
}
