//! When the next incarnation may start: at once, or after a back-off.
//!
//! Owns: the restart decision as a plain function of what happened when. After Erlang/OTP's restart
//! intensity (so many restarts in so long a window), but instead of giving up it backs off: a
//! gateway without its limiter is better than no gateway.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many restarts in a window are immediate, and how long to wait beyond that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts within `window` that happen at once.
    pub intensity: usize,
    /// The window restarts are counted in.
    pub window: Duration,
    /// First wait once the intensity is exceeded; doubles with each further restart.
    pub first_backoff: Duration,
    /// Longest wait.
    pub longest_backoff: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            // A restart costs microseconds; a burst of poison must not cost an outage.
            intensity: 100,
            window: Duration::from_secs(10),
            first_backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_secs(10),
        }
    }
}

/// The restarts of one actor that still count.
#[derive(Debug, Default)]
pub(super) struct RestartHistory {
    recent: VecDeque<Instant>,
    excess: u32,
}

impl RestartHistory {
    /// Notes a death at `now` and says how long to wait before the next incarnation.
    pub(super) fn died(&mut self, policy: &RestartPolicy, now: Instant) -> Duration {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) >= policy.window) {
            self.recent.pop_front();
        }
        if self.recent.is_empty() {
            self.excess = 0;
        }
        if self.recent.len() < policy.intensity {
            self.recent.push_back(now);
            return Duration::ZERO;
        }
        // The oldest makes room, so that a steady storm stays over the intensity.
        self.recent.pop_front();
        self.recent.push_back(now);
        let wait = policy.first_backoff.saturating_mul(2_u32.saturating_pow(self.excess));
        self.excess = self.excess.saturating_add(1);
        wait.min(policy.longest_backoff)
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
    fn a_storm_backs_off_ever_longer_up_to_the_bound() {
        let mut history = RestartHistory::default();
        let now = crate::clock::monotonic();
        let waits: Vec<_> = (0..14).map(|_| history.died(&policy(), now).as_millis()).collect();
        assert_eq!(
            waits,
            [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000]
        );
    }

    #[test]
    fn a_quiet_window_forgives() {
        let mut history = RestartHistory::default();
        let now = crate::clock::monotonic();
        for _ in 0..10 {
            history.died(&policy(), now);
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(history.died(&policy(), later), Duration::ZERO);
    }
}
