//! Shares and rates of counts.
//!
//! Owns: the one place where a count becomes a floating point number. Refuses: a division by
//! nothing; no events are a share of 0.

use std::time::Duration;

/// `part` of `whole` in percent; 0 when there is no whole.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) * 100.0 }
}

/// Events per second. Times below a second count as one: three requests in the first millisecond
/// of a process are no 3,000 a second.
pub(super) fn per_second(events: u64, time: Duration) -> f64 {
    float(events) / time.as_secs_f64().max(1.0)
}

/// Microseconds as milliseconds.
pub(super) fn millis_from_micros(micros: u64) -> f64 {
    float(micros) / 1_000.0
}

/// A duration as milliseconds, to the microsecond.
pub(super) fn millis(duration: Duration) -> f64 {
    millis_from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[expect(clippy::as_conversions, reason = "exact up to 2^53, and rounding is fine beyond it")]
#[expect(clippy::cast_precision_loss, reason = "the same")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn shares_and_rates() {
        assert!(same(percent(0, 0), 0.0));
        assert!(same(percent(1, 4), 25.0));
        assert!(same(per_second(30, Duration::from_secs(60)), 0.5));
        assert!(same(per_second(3, Duration::from_millis(1)), 3.0));
        assert!(same(millis(Duration::from_micros(1_250)), 1.25));
    }
}
