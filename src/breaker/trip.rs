//! When a breaker trips and how long it then stays open.
//!
//! Owns: the settings; failures in a row and the back-off, which are failsafe's; the shares of failed
//! and of slow calls over a window, which are ours (`window`): failsafe measures its own with a clock
//! that cannot be driven from outside, weighs calls by the time between them, and waits a whole
//! window before it may trip. failsafe's state machine is not used either: half-open, it admits
//! everyone.
//!
//! Bounds that failsafe would enforce by a panic are enforced here by clamping. Its back-off knows
//! whole seconds only, so it is given milliseconds as seconds and its answers are divided by a
//! thousand. The jitter (50–100 %) is drawn inside.

use std::time::{Duration, Instant};

use failsafe::FailurePolicy;
use failsafe::backoff::{self, Constant, EqualJittered};
use failsafe::failure_policy::{self, ConsecutiveFailures};

use super::window::{Counts, Window};
use super::{Reason, Verdict, ramp};

/// What opens a breaker, for how long, and what closes it again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Failures in a row that open it; at least 1. Slow calls neither add to them nor end the row.
    pub consecutive_failures: u32,
    /// Share of failures over `window` that opens it, above 0; 1 and more turn this off.
    pub failure_rate: f64,
    /// What is slow, and what share of it over `window` opens it; `None` turns this off.
    pub slow: Option<Slow>,
    /// Calls in `window` below which the shares say nothing.
    pub minimum_calls: u32,
    /// How far back the shares look; at least 1 s.
    pub window: Duration,
    /// The first open time before jitter, doubled at each opening until it closes; at least 1 ms.
    pub open: Duration,
    /// The longest open time.
    pub open_max: Duration,
    /// Probes that half-open admits, and that have to succeed before it closes; at least 1.
    pub probes: u32,
    /// So long after the last probe was given, probes that nobody has heard of are lost, and others
    /// are admitted. Longer than a call can take.
    pub probe_patience: Duration,
    /// The least time after closing during which calls are let through at a growing rate, `probes`
    /// a second at first; `None` lets all of them through at once.
    pub ramp: Option<Duration>,
}

/// When slow calls open a breaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// An answer that took so long is slow.
    pub after: Duration,
    /// Share of slow calls over the window that opens the breaker, above 0 up to 1.
    pub share: f64,
}

impl Settings {
    /// Opens after `consecutive_failures` or when half of at least 20 calls in 30 s failed, for
    /// `open` doubling up to ten times that, and lets three probes decide, each within ten seconds.
    /// No call is slow, and there is no ramp.
    #[must_use]
    pub const fn new(consecutive_failures: u32, open: Duration) -> Self {
        Self {
            consecutive_failures,
            failure_rate: 0.5,
            slow: None,
            minimum_calls: 20,
            window: Duration::from_secs(30),
            open,
            open_max: open.saturating_mul(10),
            probes: 3,
            probe_patience: Duration::from_secs(10),
            ramp: None,
        }
    }

    /// How a ramp goes with these settings; `None` when there is none.
    pub(super) fn ramp_plan(&self) -> Option<ramp::Plan> {
        let rate = if self.failure_rate.is_nan() { 1.0 } else { self.failure_rate.clamp(0.0, 1.0) };
        self.ramp.map(|least| ramp::Plan {
            first: f64::from(self.probes.max(1)),
            least,
            tolerance: rate / 2.0,
            row: self.consecutive_failures.max(1),
        })
    }
}

/// The open time is never longer than this, whatever the settings say.
const LONGEST_OPEN: Duration = Duration::from_secs(24 * 60 * 60);

/// Scale between what failsafe takes for seconds and what is meant: milliseconds.
const SCALE: u32 = 1_000;

/// The memory of successes and failures, and of how often it opened in a row.
#[derive(Debug)]
pub(super) struct Trip {
    in_a_row: ConsecutiveFailures<Constant>,
    window: Window,
    /// Above 1 where a share never trips.
    ill_share: f64,
    slow_share: f64,
    minimum_calls: u32,
    open_times: EqualJittered,
    fresh_open_times: EqualJittered,
    /// Open times taken from `open_times` since it was fresh.
    openings: u32,
    /// The number of failures in a row that trips.
    failures: u32,
    longest_open: Duration,
}

/// A share that no calls have.
const NEVER: f64 = 2.0;

/// Openings in a row and failures in a row beyond which a restored count makes no difference that
/// anybody sees: open times are at their longest, and no breaker is set to so many failures.
const MOST_RESTORED: u32 = 1_000;

impl Trip {
    pub(super) fn new(settings: &Settings) -> Self {
        let open = settings.open.clamp(Duration::from_millis(1), LONGEST_OPEN);
        let open_max = settings.open_max.clamp(open, LONGEST_OPEN);
        let failures = settings.consecutive_failures.max(1);
        // The policy only says *that* it trips: with one back-off of our own, a trip for any reason
        // and a failed probe all lengthen the same open time.
        let signal = backoff::constant(Duration::ZERO);
        let open_times = backoff::equal_jittered(open * SCALE, open_max * SCALE);
        let has_rate = settings.failure_rate > 0.0 && settings.failure_rate < 1.0;
        Self {
            in_a_row: failure_policy::consecutive_failures(failures, signal),
            window: Window::new(settings.window),
            ill_share: if has_rate { settings.failure_rate } else { NEVER },
            slow_share: settings.slow.map_or(NEVER, |slow| slow.share),
            minimum_calls: settings.minimum_calls,
            fresh_open_times: open_times.clone(),
            open_times,
            openings: 0,
            failures,
            longest_open: open_max,
        }
    }

    /// Counts a call; the reason when it was one too many.
    pub(super) fn note(&mut self, verdict: Verdict, now: Instant) -> Option<Reason> {
        self.window.note(verdict, now);
        let counts = self.window.counts(now);
        let is_enough = counts.calls() >= self.minimum_calls;
        match verdict {
            Verdict::Well => self.in_a_row.record_success(),
            Verdict::Ill => {
                if self.in_a_row.mark_dead_on_failure().is_some() {
                    return Some(Reason::Failures);
                }
                if is_enough && counts.ill_share() >= self.ill_share {
                    return Some(Reason::FailureRate);
                }
            }
            Verdict::Slow if is_enough && counts.slow_share() >= self.slow_share => {
                return Some(Reason::SlowCalls);
            }
            Verdict::Slow | Verdict::Silent => {}
        }
        None
    }

    /// How long the next opening lasts: between half and all of the doubled open time.
    pub(super) fn next_open_time(&mut self) -> Duration {
        self.openings = self.openings.saturating_add(1);
        self.open_times.next().unwrap_or(LONGEST_OPEN * SCALE) / SCALE
    }

    /// Forgets successes and failures.
    pub(super) fn forget_calls(&mut self) {
        self.in_a_row.revived();
        self.window.clear();
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

    /// What the window holds, and when the oldest of it may have been; `None` when it is empty.
    pub(super) fn window(&self, now: Instant) -> Option<(Counts, Instant)> {
        self.window.since(now).map(|since| (self.window.counts(now), since))
    }

    /// The window holds these and nothing else.
    pub(super) fn restore_window(&mut self, counts: Counts, since: Instant) {
        self.window.restore(counts, since);
    }

    /// Forgets all calls and counts failures in a row instead, as many as do not trip it; the
    /// answer is how many that were.
    pub(super) fn restore_failures(&mut self, failures: u64) -> u64 {
        self.forget_calls();
        let most = self.failures.saturating_sub(1).min(MOST_RESTORED);
        let failures = failures.min(u64::from(most));
        for _ in 0..failures {
            self.in_a_row.mark_dead_on_failure();
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SETTINGS: Settings = Settings::new(3, Duration::from_secs(30));
    const SLOW: Slow = Slow { after: Duration::from_secs(1), share: 0.5 };

    /// By the shares alone.
    fn by_share() -> Trip {
        Trip::new(&Settings { consecutive_failures: 1_000, slow: Some(SLOW), ..SETTINGS })
    }

    #[test]
    fn it_trips_at_the_failure_that_is_one_too_many() {
        let mut trip = Trip::new(&SETTINGS);
        let now = clock::monotonic();
        let fail = |trip: &mut Trip| trip.note(Verdict::Ill, now);
        assert_eq!([fail(&mut trip), fail(&mut trip)], [None, None]);
        assert_eq!(trip.note(Verdict::Well, now), None);
        let row = [fail(&mut trip), fail(&mut trip), fail(&mut trip)];
        assert_eq!(row, [None, None, Some(Reason::Failures)]);
        trip.forget_calls();
        assert_eq!(fail(&mut trip), None);
    }

    #[test]
    fn slow_calls_neither_end_a_row_nor_belong_to_it() {
        let mut trip = Trip::new(&SETTINGS);
        let now = clock::monotonic();
        for verdict in [Verdict::Ill, Verdict::Slow, Verdict::Ill, Verdict::Slow, Verdict::Silent] {
            assert_eq!(trip.note(verdict, now), None);
        }
        assert_eq!(trip.note(Verdict::Ill, now), Some(Reason::Failures));
    }

    #[test]
    fn it_trips_on_either_share_with_enough_calls_in_the_window() {
        for (bad, reason) in
            [(Verdict::Ill, Reason::FailureRate), (Verdict::Slow, Reason::SlowCalls)]
        {
            let mut trip = by_share();
            let mut now = clock::monotonic();
            for _ in 0..10 {
                now += Duration::from_millis(10);
                assert_eq!(trip.note(Verdict::Well, now), None);
            }
            for _ in 0..9 {
                now += Duration::from_millis(10);
                assert_eq!(trip.note(bad, now), None, "too few calls to say");
            }
            assert_eq!(trip.note(bad, now), Some(reason));
        }
    }

    #[test]
    fn calls_that_are_over_say_nothing() {
        let mut trip = by_share();
        let now = clock::monotonic();
        assert!((0..19).all(|_| trip.note(Verdict::Ill, now).is_none()));
        let later = now + SETTINGS.window;
        assert!((0..19).all(|_| trip.note(Verdict::Ill, later).is_none()));
        assert_eq!(trip.note(Verdict::Ill, later), Some(Reason::FailureRate));
    }

    #[test]
    fn less_than_the_share_never_trips_and_a_share_of_one_turns_it_off() {
        let mut trip = by_share();
        let mut off =
            Trip::new(&Settings { consecutive_failures: 1_000, failure_rate: 1.0, ..SETTINGS });
        let mut now = clock::monotonic();
        for call in 0..500 {
            now += Duration::from_millis(100);
            let verdict = [Verdict::Well, Verdict::Ill, Verdict::Slow][call % 3];
            assert_eq!(trip.note(verdict, now), None);
            assert_eq!(off.note(Verdict::Ill, now), None);
        }
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
                    slow: Some(Slow { after: time, share: failure_rate }),
                    minimum_calls: 0,
                    window: time,
                    open: time,
                    open_max: time,
                    probes: 0,
                    probe_patience: time,
                    ramp: Some(time),
                });
                let now = clock::monotonic();
                trip.note(Verdict::Well, now);
                trip.note(Verdict::Slow, now);
                assert_eq!(trip.note(Verdict::Ill, now), Some(Reason::Failures));
                for _ in 0..100 {
                    assert!(trip.next_open_time() <= LONGEST_OPEN);
                }
            }
        }
    }
}
