//! When to try again.

use std::time::Duration;

/// Waits that grow by a factor from a shortest to a longest one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetrySchedule {
    /// The wait behind the first attempt. Default 5 minutes.
    pub wait_min: Duration,
    /// The longest wait. Default 4 hours.
    pub wait_max: Duration,
    /// By how much each wait is longer than the one before; at least 1. Default 2.
    pub factor: f64,
    /// How far a wait may be off to either side, as a share of it, so that what failed together does
    /// not come back together; 0 to 1. Default 0.1.
    pub jitter: f64,
}

impl RetrySchedule {
    /// The wait behind an attempt, counted from 1; `chance` is a random number from 0 to 1.
    #[must_use]
    pub fn wait_after(&self, attempt: u32, chance: f64) -> Duration {
        let growth = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let factor = self.factor.max(1.0);
        let (shortest, longest) = (self.wait_min.as_secs_f64(), self.wait_max.as_secs_f64());
        let wait = (shortest * factor.powi(growth)).min(longest.max(shortest));
        let off = self.jitter.clamp(0.0, 1.0) * (chance.clamp(0.0, 1.0) * 2.0 - 1.0);
        Duration::try_from_secs_f64(wait * (1.0 + off))
            .unwrap_or(self.wait_max)
            .max(WAIT_FLOOR)
    }

    /// The longest wait that there is.
    #[must_use]
    pub fn wait_longest(&self) -> Duration {
        self.wait_after(u32::MAX, 1.0).max(self.wait_after(1, 1.0))
    }
}

impl Default for RetrySchedule {
    fn default() -> Self {
        Self {
            wait_min: Duration::from_secs(5 * 60),
            wait_max: Duration::from_secs(4 * 3600),
            factor: 2.0,
            jitter: 0.1,
        }
    }
}

/// No setting makes the queue spin.
const WAIT_FLOOR: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let schedule = RetrySchedule::default();
        for (attempt, minutes) in [
            (0, 5),
            (1, 5),
            (2, 10),
            (3, 20),
            (6, 160),
            (7, 240),
            (8, 240),
            (u32::MAX, 240),
        ] {
            let wait = schedule.wait_after(attempt, 0.5);
            assert_eq!(wait, Duration::from_secs(minutes * 60), "attempt {attempt}");
        }
    }

    #[test]
    fn jitter_goes_to_both_sides_and_no_further() {
        let schedule = RetrySchedule::default();
        assert_eq!(schedule.wait_after(1, 0.0), Duration::from_secs(270));
        assert_eq!(schedule.wait_after(1, 1.0), Duration::from_secs(330));
        assert_eq!(schedule.wait_after(1, 99.0), Duration::from_secs(330));
    }

    #[test]
    fn no_setting_makes_the_queue_spin_or_panic() {
        for (min, max, factor) in [
            (0, 0, 0.0),
            (0, 9, 1e300),
            (9, 0, f64::NAN),
            (1, 9, f64::INFINITY),
        ] {
            let schedule = RetrySchedule {
                wait_min: Duration::from_secs(min),
                wait_max: Duration::from_secs(max),
                factor,
                jitter: f64::NAN,
            };
            for attempt in [0, 1, 2, 1000, u32::MAX] {
                assert!(schedule.wait_after(attempt, 0.5) >= WAIT_FLOOR);
            }
        }
    }
}
