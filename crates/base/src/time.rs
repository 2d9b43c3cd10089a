//! A point in time, as a number.

use std::ops::Add;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// Pure code takes it as an argument; only `net::clock` makes one from the system's clock.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The seconds as a signed number, for SQL and calendar libraries.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;

    /// Whole seconds later, rounded up, so that a wait is never cut short.
    fn add(self, wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self(self.0.saturating_add(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up() {
        assert_eq!(UnixTime(5) + Duration::from_millis(1), UnixTime(6));
        assert_eq!(UnixTime(5) + Duration::from_secs(1), UnixTime(6));
    }

    #[test]
    fn what_lies_ahead_is_zero_seconds_ago() {
        assert_eq!(UnixTime(5).since(UnixTime(9)), Duration::ZERO);
    }
}
