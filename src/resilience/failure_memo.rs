//! The failure memo: a failure that is kept for a while; nothing is tried again before its pause is over.
//!
//! Owns: the pause, which doubles with each failure, and who may try when it is over. Refuses: to
//! count a failure twice because several calls that were under way together met it.

use std::time::{Duration, Instant};

use super::backoff::Backoff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    pub backoff: Backoff,
    /// While a trial is under way no other call tries for so long; longer than a call takes.
    pub trial: Duration,
}

/// One failure that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureMemo {
    failures: u32,
    failed_at: Instant,
    next_try: Instant,
}

impl FailureMemo {
    /// The first failure, just now.
    pub fn new(pauses: Pauses, now: Instant) -> Self {
        Self { failures: 1, failed_at: now, next_try: now + pauses.backoff.wait(1) }
    }

    /// How long nothing is tried; zero when a try is due.
    pub fn wait(&self, now: Instant) -> Duration {
        self.next_try.saturating_duration_since(now)
    }

    /// Takes the one try that is due; `false` when none is.
    pub fn try_now(&mut self, pauses: Pauses, now: Instant) -> bool {
        let is_due = self.wait(now).is_zero();
        if is_due {
            self.next_try = now + pauses.trial;
        }
        is_due
    }

    /// A call that started at `started` failed the same way. One from before the last failure says
    /// nothing new.
    pub fn failed_again(&mut self, pauses: Pauses, started: Instant, now: Instant) {
        if started < self.failed_at {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
        self.next_try = now + pauses.backoff.wait(self.failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);
    const PAUSES: Pauses = Pauses {
        backoff: Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(30) },
        trial: SECOND,
    };

    #[test]
    fn one_tries_when_the_pause_is_over_and_the_pause_doubles() {
        let mut now = clock::monotonic();
        let mut memo = FailureMemo::new(PAUSES, now);
        for pause in [5, 10, 20, 30, 30] {
            assert_eq!(memo.wait(now), pause * SECOND);
            assert!(!memo.try_now(PAUSES, now));
            now += pause * SECOND;
            assert!(memo.try_now(PAUSES, now) && !memo.try_now(PAUSES, now));
            memo.failed_again(PAUSES, now, now + SECOND / 2);
            now += SECOND / 2;
        }
    }

    #[test]
    fn calls_that_were_under_way_together_count_once() {
        let now = clock::monotonic();
        let mut memo = FailureMemo::new(PAUSES, now + SECOND);
        let once = memo;
        memo.failed_again(PAUSES, now, now + 2 * SECOND);
        assert_eq!(memo, once);
    }

    #[test]
    fn a_trial_without_a_result_is_made_again() {
        let now = clock::monotonic();
        let mut memo = FailureMemo::new(PAUSES, now);
        assert!(memo.try_now(PAUSES, now + PAUSES.backoff.first));
        assert!(memo.try_now(PAUSES, now + PAUSES.backoff.first + PAUSES.trial));
    }
}
