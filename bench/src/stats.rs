//! Clocks, rates and percentiles.

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rustix::time::ClockId;
use rustix::time::clock_gettime;
use serde_json::Value;
use serde_json::json;

/// Nanoseconds since 1970, which processes of one machine can compare.
pub(crate) fn now_ns() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    elapsed.as_nanos() as u64
}

/// Processor time of this thread; unlike a clock's it stands still while another has the processor.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// Percentiles in milliseconds of samples in microseconds; null if there are none.
pub(crate) fn percentiles(samples: &mut [u32]) -> Value {
    samples.sort_unstable();
    let Some(&max) = samples.last() else {
        return Value::Null;
    };
    let at = |percent: usize| f64::from(samples[(samples.len() - 1) * percent / 100]) / 1000.0;
    json!({ "p50": at(50), "p95": at(95), "p99": at(99), "max": f64::from(max) / 1000.0 })
}

/// How many a second, to a tenth.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    let rate = count as f64 / elapsed.as_secs_f64().max(1e-9);
    (rate * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples: Vec<u32> = (1..=101).rev().map(|n| n * 1000).collect();
        assert_eq!(
            percentiles(&mut samples),
            json!({ "p50": 51.0, "p95": 96.0, "p99": 100.0, "max": 101.0 })
        );
        assert_eq!(percentiles(&mut []), Value::Null);
    }
}
