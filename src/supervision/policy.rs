//! When the next incarnation may start: at once, or after a back-off.
//!
//! A plain function of what happened when, after Erlang/OTP's restart intensity (so many restarts in
//! a window). Instead of giving up it backs off: a gateway without its limiter is better than none.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::resilience::backoff::Backoff;

/// How many restarts in a window are immediate, and how long to wait beyond that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts within `window` that happen at once.
    pub intensity: usize,
    pub window: Duration,
    pub backoff: Backoff,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            // A restart costs microseconds; a burst of poison must not cost an outage.
            intensity: 100,
            window: Duration::from_secs(10),
            backoff: Backoff {
                first: Duration::from_millis(100),
                longest: Duration::from_secs(10),
            },
        }
    }
}

/// The restarts of one actor that still count.
#[derive(Debug, Default)]
pub(super) struct RestartHistory {
    recent: VecDeque<Instant>,
    /// Waits imposed since the last quiet window, and when the last of them ended.
    waits: u32,
    waited_until: Option<Instant>,
}

impl RestartHistory {
    /// Notes a death at `now` and says how long to wait before the next incarnation. A wait begins
    /// the count anew, so that a burst costs one wait, and a storm that goes on costs longer and
    /// longer ones until a window passes without any.
    pub(super) fn died(&mut self, policy: &RestartPolicy, now: Instant) -> Duration {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) >= policy.window) {
            self.recent.pop_front();
        }
        let quiet = |until: Instant| now.saturating_duration_since(until) >= policy.window;
        if self.waited_until.is_some_and(quiet) {
            (self.waits, self.waited_until) = (0, None);
        }
        if self.recent.len() < policy.intensity {
            self.recent.push_back(now);
            return Duration::ZERO;
        }
        self.recent.clear();
        self.waits = self.waits.saturating_add(1);
        let wait = policy.backoff.wait(self.waits);
        self.waited_until = now.checked_add(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RestartPolicy {
        RestartPolicy { intensity: 3, ..RestartPolicy::default() }
    }

    #[test]
    fn restarts_within_the_intensity_are_immediate() {
        let mut history = RestartHistory::default();
        let now = crate::clock::monotonic();
        for _ in 0..3 {
            assert_eq!(history.died(&policy(), now), Duration::ZERO);
        }
        assert_eq!(history.died(&policy(), now), Duration::from_millis(100));
    }

    #[test]
    fn a_burst_costs_one_wait_and_a_storm_ever_longer_ones() {
        let mut history = RestartHistory::default();
        let mut now = crate::clock::monotonic();
        let mut waits = Vec::new();
        for _ in 0..40 {
            let wait = history.died(&policy(), now);
            now += wait;
            waits.push(wait.as_millis());
        }
        let imposed: Vec<_> = waits.iter().copied().filter(|wait| *wait > 0).collect();
        assert_eq!(waits[..8], [0, 0, 0, 100, 0, 0, 0, 200]);
        assert_eq!(imposed, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn a_quiet_window_forgives() {
        let mut history = RestartHistory::default();
        let now = crate::clock::monotonic();
        for _ in 0..8 {
            history.died(&policy(), now);
        }
        let later = now + Duration::from_secs(11);
        let waits: Vec<_> = (0..4).map(|_| history.died(&policy(), later).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100]);
    }
}
