//! When a breaker trips and how long it then stays open: failsafe's part.
//!
//! Owns: the settings, and failsafe's failure policy and back-off behind them. failsafe's own state
//! machine is not used: half-open, it admits everyone.
//!
//! Bounds that failsafe would enforce by a panic are enforced here by clamping. Two things to know:
//! - its failure rate is a moving average over a window that it measures **with its own clock**, not
//!   with the `now` of our decisions; a call weighs as much as the time since the one before it (so
//!   of several in one millisecond the first counts), and the rate cannot trip before a whole
//!   window has passed since the start or the last closing;
//! - its back-off knows whole seconds only, so it is given milliseconds as seconds and its answers
//!   are divided by a thousand. The jitter (50–100 %) is drawn inside.

use std::time::Duration;

use failsafe::FailurePolicy;
use failsafe::backoff::{self, Constant, EqualJittered};
use failsafe::failure_policy::{self, ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow};

/// What opens a breaker, for how long, and what closes it again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Failures in a row that open it; at least 1.
    pub consecutive_failures: u32,
    /// Share of failures over `window` that opens it, above 0 up to 1; 1 and more turn this off.
    pub failure_rate: f64,
    /// Calls in `window` below which the share says nothing.
    pub minimum_calls: u32,
    /// How far back the share looks; at least 1 s.
    pub window: Duration,
    /// The first open time before jitter, doubled at each opening until it closes; at least 1 ms.
    pub open: Duration,
    /// The longest open time.
    pub open_max: Duration,
    /// Probes that half-open admits, and that have to succeed before it closes; at least 1.
    pub probes: u32,
}

impl Settings {
    /// Opens after `consecutive_failures` or when half of at least 20 calls in 30 s failed, for
    /// `open` doubling up to ten times that, and lets three probes decide.
    #[must_use]
    pub const fn new(consecutive_failures: u32, open: Duration) -> Self {
        Self {
            consecutive_failures,
            failure_rate: 0.5,
            minimum_calls: 20,
            window: Duration::from_secs(30),
            open,
            open_max: open.saturating_mul(10),
            probes: 3,
        }
    }
}

/// The open time is never longer than this, whatever the settings say.
const LONGEST_OPEN: Duration = Duration::from_secs(24 * 60 * 60);

/// Scale between what failsafe takes for seconds and what is meant: milliseconds.
const SCALE: u32 = 1_000;

type Policy = OrElse<ConsecutiveFailures<Constant>, SuccessRateOverTimeWindow<Constant>>;

/// The memory of successes and failures, and of how often it opened in a row.
#[derive(Debug)]
pub(super) struct Trip {
    policy: Policy,
    open_times: EqualJittered,
    fresh_open_times: EqualJittered,
    /// Open times taken from `open_times` since it was fresh.
    openings: u32,
    /// The number of failures in a row that trips.
    failures: u32,
    longest_open: Duration,
}

/// Openings in a row and failures in a row beyond which a restored count makes no difference that
/// anybody sees: open times are at their longest, and no breaker is set to so many failures.
const MOST_RESTORED: u32 = 1_000;

impl Trip {
    pub(super) fn new(settings: &Settings) -> Self {
        let open = settings.open.clamp(Duration::from_millis(1), LONGEST_OPEN);
        let open_max = settings.open_max.clamp(open, LONGEST_OPEN);
        // The policies only say *that* it trips: with one back-off of our own, a trip by either of
        // them and a failed probe all lengthen the same open time.
        let signal = || backoff::constant(Duration::ZERO);
        let failures = settings.consecutive_failures.max(1);
        let consecutive = failure_policy::consecutive_failures(failures, signal());
        let rate = failure_policy::success_rate_over_time_window(
            required_success_rate(settings.failure_rate),
            settings.minimum_calls,
            settings.window.clamp(Duration::from_secs(1), LONGEST_OPEN),
            signal(),
        );
        let open_times = backoff::equal_jittered(open * SCALE, open_max * SCALE);
        Self {
            policy: consecutive.or_else(rate),
            fresh_open_times: open_times.clone(),
            open_times,
            openings: 0,
            failures,
            longest_open: open_max,
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.policy.record_success();
    }

    /// Counts a failure; true when it was one too many.
    pub(super) fn failed(&mut self) -> bool {
        self.policy.mark_dead_on_failure().is_some()
    }

    /// How long the next opening lasts: between half and all of the doubled open time.
    pub(super) fn next_open_time(&mut self) -> Duration {
        self.openings = self.openings.saturating_add(1);
        self.open_times.next().unwrap_or(LONGEST_OPEN * SCALE) / SCALE
    }

    /// Forgets successes and failures.
    pub(super) fn forget_calls(&mut self) {
        self.policy.revived();
    }

    /// Forgets earlier openings: the next one lasts as long as a first one.
    pub(super) fn forget_openings(&mut self) {
        self.open_times = self.fresh_open_times.clone();
        self.openings = 0;
    }

    /// Openings in a row, the present one included.
    pub(super) const fn openings(&self) -> u32 {
        self.openings
    }

    /// The longest open time there is.
    pub(super) const fn longest_open(&self) -> Duration {
        self.longest_open
    }

    /// The next opening lasts as long as one after so many in a row.
    pub(super) fn restore_openings(&mut self, openings: u32) {
        self.forget_openings();
        for _ in 0..openings.min(MOST_RESTORED) {
            self.next_open_time();
        }
    }

    /// Forgets all calls and counts failures in a row instead, as many as do not trip it; the
    /// answer is how many that were.
    pub(super) fn restore_failures(&mut self, failures: u64) -> u64 {
        self.forget_calls();
        let most = self.failures.saturating_sub(1).min(MOST_RESTORED);
        let failures = failures.min(u64::from(most));
        for _ in 0..failures {
            self.failed();
        }
        failures
    }
}

/// failsafe trips strictly below a success rate; no rate is below 0, so 0 turns it off.
fn required_success_rate(failure_rate: f64) -> f64 {
    if failure_rate.is_nan() { 0.0 } else { (1.0 - failure_rate).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings::new(3, Duration::from_secs(30));

    #[test]
    fn it_trips_at_the_failure_that_is_one_too_many() {
        let mut trip = Trip::new(&SETTINGS);
        assert_eq!([trip.failed(), trip.failed()], [false, false]);
        trip.succeeded();
        assert_eq!([trip.failed(), trip.failed(), trip.failed()], [false, false, true]);
        trip.forget_calls();
        assert!(!trip.failed());
    }

    #[test]
    fn it_trips_on_the_failure_rate_with_enough_calls_in_the_window() {
        failsafe::clock::freeze(|time| {
            let mut trip = Trip::new(&Settings { consecutive_failures: 1_000, ..SETTINGS });
            // A third of the calls succeed, evenly spread: the rate weighs calls by time.
            let tripped_after = (0..200).find(|second| {
                time.advance(Duration::from_secs(1));
                if second % 3 == 0 {
                    trip.succeeded();
                    return false;
                }
                trip.failed()
            });
            assert!(tripped_after.is_some_and(|second| second >= 29), "{tripped_after:?}");
        });
    }

    #[test]
    fn a_few_failures_after_a_quiet_time_are_no_rate() {
        failsafe::clock::freeze(|time| {
            let mut trip = Trip::new(&Settings { consecutive_failures: 1_000, ..SETTINGS });
            trip.succeeded();
            time.advance(Duration::from_secs(600));
            assert!((0..19).all(|_| !trip.failed()));
            assert!(trip.failed(), "the twentieth call is enough");
        });
    }

    #[test]
    fn a_rate_of_one_turns_the_rate_off() {
        failsafe::clock::freeze(|time| {
            let off = Settings { consecutive_failures: 1_000, failure_rate: 1.0, ..SETTINGS };
            let mut trip = Trip::new(&off);
            for _ in 0..500 {
                time.advance(Duration::from_secs(1));
                assert!(!trip.failed());
            }
        });
    }

    #[test]
    fn open_times_double_up_to_the_longest_and_are_jittered_below() {
        let mut trip = Trip::new(&Settings::new(3, Duration::from_millis(400)));
        for full in [400, 800, 1_600, 3_200, 4_000, 4_000].map(Duration::from_millis) {
            let open = trip.next_open_time();
            assert!(full / 2 <= open && open <= full, "{open:?} of {full:?}");
        }
        trip.forget_openings();
        assert!(trip.next_open_time() <= Duration::from_millis(400));
    }

    #[test]
    fn settings_that_failsafe_would_panic_on_are_clamped() {
        for failure_rate in [f64::NAN, f64::INFINITY, -3.0, 0.0, 7.0] {
            for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
                let mut trip = Trip::new(&Settings {
                    consecutive_failures: 0,
                    failure_rate,
                    minimum_calls: 0,
                    window: time,
                    open: time,
                    open_max: time,
                    probes: 0,
                });
                trip.succeeded();
                assert!(trip.failed());
                for _ in 0..100 {
                    assert!(trip.next_open_time() <= LONGEST_OPEN);
                }
            }
        }
    }
}
