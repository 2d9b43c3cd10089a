//! The time of day, read in one place.

use std::time::SystemTime;

use byrnie_base::UnixTime;

/// What the machine's clock says now.
#[expect(
    clippy::disallowed_methods,
    reason = "the lab lives in real time, beside the program under test"
)]
pub(crate) fn now() -> UnixTime {
    UnixTime(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    )
}
