//! When a breaker trips and how long it then stays open.
//!
//! Owns: failures in a row and the back-off, which are failsafe's; the share of failures over a
//! window, which is ours: failsafe measures its own with a clock that cannot be driven from outside,
//! and waits a whole window before it may trip. failsafe's state machine is not used either: half-open,
//! it admits every call.
//!
//! Bounds that failsafe would enforce by a panic are enforced here by clamping. Its back-off knows
//! whole seconds only, so it is given milliseconds as seconds and its answers are divided by a
//! thousand. The jitter (50–100 %) is drawn inside.

use std::time::{Duration, Instant};

use failsafe::FailurePolicy;
use failsafe::backoff::{self, Constant, EqualJittered};
use failsafe::failure_policy::{self, ConsecutiveFailures};

use super::{CallResult, TransitionReason};
use crate::resilience::slots::{self, TimeSlots};

/// The open time is never longer than this, whatever the settings say.
const MOST_OPEN: Duration = Duration::from_secs(24 * 60 * 60);
/// Scale between what failsafe takes for seconds and what is meant: milliseconds.
const SCALE: u32 = 1_000;
/// A share that no calls have.
const NEVER: f64 = 2.0;
/// Openings in a row and failures in a row beyond which a restored count makes no difference.
const MOST_RESTORED: u32 = 1_000;

/// The share of failures looks back 30 s, in ten slots: long enough for a few dozen calls of a slow
/// service.
const SLOT: Duration = Duration::from_secs(3);
const SLOTS: usize = 10;

/// What opens a breaker, for how long, and what closes it again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Failures in a row that open it; at least 1.
    pub consecutive_failures: u32,
    /// Share of failures over the last 30 s that opens it, above 0; 1 and more turn this off.
    pub failure_rate: f64,
    /// Calls in that time below which the share says nothing.
    pub minimum_calls: u32,
    /// The first open time before jitter, doubled at each opening until it closes; at least 1 ms.
    pub open: Duration,
    pub open_max: Duration,
    /// Probes that half-open admits, and that have to succeed before it closes; at least 1.
    pub probes: u32,
    /// So long after the last probe was given, probes without a result are lost, and others are
    /// admitted. Longer than a call can take.
    pub probe_timeout: Duration,
    /// Whether it lets calls through at a growing rate after it has closed.
    pub slow_start: bool,
}

impl Settings {
    /// Opens after `consecutive_failures` or when half of at least 20 calls failed, for `open`
    /// doubling up to ten times that, and lets three probes decide, each within ten seconds. No slow
    /// start.
    pub const fn new(consecutive_failures: u32, open: Duration) -> Self {
        Self {
            consecutive_failures,
            failure_rate: 0.5,
            minimum_calls: 20,
            open,
            open_max: open.saturating_mul(10),
            probes: 3,
            probe_timeout: Duration::from_secs(10),
            slow_start: false,
        }
    }
}

/// The memory of successes and failures, and of how often it opened in a row.
#[derive(Debug)]
pub(super) struct Trip {
    in_a_row: ConsecutiveFailures<Constant>,
    window: TimeSlots<(u32, u32), SLOTS>,
    /// When slots are counted from: the first call.
    origin: Option<Instant>,
    /// Above 1 where a share never trips.
    failure_share: f64,
    minimum_calls: u32,
    open_times: EqualJittered,
    fresh_open_times: EqualJittered,
    /// Open times taken from `open_times` since it was fresh.
    openings: u32,
    failures: u32,
    longest_open: Duration,
}

impl Trip {
    pub(super) fn new(settings: &Settings) -> Self {
        let open = settings.open.clamp(Duration::from_millis(1), MOST_OPEN);
        let open_max = settings.open_max.clamp(open, MOST_OPEN);
        let failures = settings.consecutive_failures.max(1);
        // The policy only says *that* it trips: with one back-off of our own, a trip for any reason
        // and a failed probe all lengthen the same open time.
        let signal = backoff::constant(Duration::ZERO);
        let open_times = backoff::equal_jittered(open * SCALE, open_max * SCALE);
        let has_rate = settings.failure_rate > 0.0 && settings.failure_rate < 1.0;
        Self {
            in_a_row: failure_policy::consecutive_failures(failures, signal),
            window: TimeSlots::default(),
            origin: None,
            failure_share: if has_rate { settings.failure_rate } else { NEVER },
            minimum_calls: settings.minimum_calls,
            fresh_open_times: open_times.clone(),
            open_times,
            openings: 0,
            failures,
            longest_open: open_max,
        }
    }

    /// Other bounds for what was counted. Failures in a row that are too many by now trip it with the next.
    pub(super) fn take_over(&mut self, settings: &Settings, failures: u64) {
        let former = std::mem::replace(self, Self::new(settings));
        self.restore_openings(former.openings);
        self.restore_failures(failures);
        (self.window, self.origin) = (former.window, former.origin);
    }

    /// Counts a call; the reason when it was one failure too many.
    pub(super) fn note(&mut self, result: CallResult, now: Instant) -> Option<TransitionReason> {
        let slot = slots::number(*self.origin.get_or_insert(now), now, SLOT);
        match result {
            CallResult::Success => {
                self.window.update(slot, |(successes, _)| *successes = successes.saturating_add(1));
                self.in_a_row.record_success();
                None
            }
            CallResult::Failure => {
                self.window.update(slot, |(_, failures)| *failures = failures.saturating_add(1));
                if self.in_a_row.mark_dead_on_failure().is_some() {
                    return Some(TransitionReason::Failures);
                }
                self.fails_too_often(slot).then_some(TransitionReason::FailureRate)
            }
            CallResult::Ignored => None,
        }
    }

    fn fails_too_often(&self, now: u64) -> bool {
        let (mut successes, mut failures) = (0_u32, 0_u32);
        let all = u64::try_from(SLOTS).unwrap_or(u64::MAX);
        for (_, (good, bad)) in self.window.last(all, now) {
            successes = successes.saturating_add(*good);
            failures = failures.saturating_add(*bad);
        }
        let calls = successes.saturating_add(failures);
        let share = f64::from(failures) / f64::from(calls.max(1));
        calls >= self.minimum_calls && share >= self.failure_share
    }

    /// How long the next opening lasts: between half and all of the doubled open time.
    pub(super) fn next_open_time(&mut self) -> Duration {
        self.openings = self.openings.saturating_add(1);
        self.open_times.next().unwrap_or(MOST_OPEN * SCALE) / SCALE
    }

    pub(super) fn forget_calls(&mut self) {
        self.in_a_row.revived();
        self.window = TimeSlots::default();
    }

    /// Forgets earlier openings: the next one lasts as long as a first one.
    pub(super) fn forget_openings(&mut self) {
        self.open_times = self.fresh_open_times.clone();
        self.openings = 0;
    }

    pub(super) const fn openings(&self) -> u32 {
        self.openings
    }

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
            self.in_a_row.mark_dead_on_failure();
        }
        failures
    }
}

#[cfg(test)]
#[path = "tests/trip.rs"]
mod tests;
