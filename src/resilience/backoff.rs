//! Back-off: waits that double with every further failure, up to a longest one.
//!
//! Owns: the length of a wait as a plain function of the attempt and of chance; and the failure memo, a
//! failure that is kept for a while: nothing is tried again before its pause is over, then by one call.
//! Jitter spreads callers that failed together, so that they do not come back together.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row: `first` after the first one, nothing after none.
    pub fn wait(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        self.first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.longest)
    }

    /// Between half of that wait and all of it; `chance` is between 0 and 1.
    pub fn jittered(self, failures: u32, chance: f64) -> Duration {
        let chance = if chance.is_nan() { 1.0 } else { chance.clamp(0.0, 1.0) };
        self.wait(failures).mul_f64(0.5 + chance / 2.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pauses {
    pub backoff: Backoff,
    /// While a trial is under way no other call tries for so long; longer than a call takes.
    pub trial: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureMemo {
    failures: u32,
    failed_at: Instant,
    next_try: Instant,
}

impl FailureMemo {
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
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_secs(30), longest: Duration::from_secs(3_600) };

    #[test]
    fn it_doubles_up_to_the_longest() {
        let waits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, u32::MAX].map(|n| BACKOFF.wait(n).as_secs());
        assert_eq!(waits, [0, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
    }

    proptest! {
        #[test]
        fn jitter_takes_away_half_at_most(
            failures: u32,
            chance in prop_oneof![0.0..=1.0, Just(f64::NAN), Just(-1.0), Just(9.0)],
        ) {
            let (whole, part) = (BACKOFF.wait(failures), BACKOFF.jittered(failures, chance));
            prop_assert!(whole / 2 <= part && part <= whole, "{part:?} of {whole:?}");
        }
    }

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
