//! The time. Nobody else asks the system for it.

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use byrnie_base::UnixTime;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> UnixTime;

    /// A point on a line that never jumps, for measuring.
    fn monotonic(&self) -> Instant;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the Clock that all others are passed"
    )]
    fn now(&self) -> UnixTime {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        UnixTime(since_epoch.as_secs())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the Clock that all others are passed"
    )]
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}
