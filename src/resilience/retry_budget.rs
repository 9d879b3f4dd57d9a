//! The retry budget: retries in sum stay a small share of calls.
//!
//! Owns: the counts of calls and retries over two sliding windows. Refuses: a retry beyond the share
//! of either. When everything fails, retries are what turns an outage into an overload; the budget
//! bounds them where attempt limits cannot.
//!
//! A call earns, a retry spends, and retries themselves earn nothing: with five calls a retry, at
//! most a sixth of all attempts are retries, plus the floor that lets a quiet service retry at all.
//! The long window says what has been earned; the short one keeps what was earned in quiet seconds
//! from being spent in a bad one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::slots::{self, TimeSlots};

/// Calls that earn one retry: so retries stay below a fifth of the calls.
const CALLS_PER_RETRY: u32 = 5;
const SLOT: Duration = Duration::from_millis(100);
const LONG: u64 = 100;
/// Retries allowed in ten seconds however few calls there were.
const FLOOR: u32 = 3;
const SHORT: u64 = 10;
/// Retries allowed in any second however few calls there were in it.
const SHORT_FLOOR: u32 = 2;

#[derive(Debug, Default)]
pub struct RetryBudget {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// When slots are counted from: the first call.
    origin: Option<Instant>,
    /// Calls and retries; one slot more than the long window has.
    slots: TimeSlots<(u32, u32), 101>,
}

impl RetryBudget {
    pub fn record_call(&self, now: Instant) {
        let mut counts = self.lock();
        let slot = counts.slot(now);
        counts.slots.update(slot, |(calls, _)| *calls = calls.saturating_add(1));
    }

    /// Spends one retry, if there is one left.
    pub fn try_retry(&self, now: Instant) -> bool {
        let mut counts = self.lock();
        let slot = counts.slot(now);
        let is_granted = counts.remaining(slot) > 0;
        if is_granted {
            counts.slots.update(slot, |(_, retries)| *retries = retries.saturating_add(1));
        }
        is_granted
    }

    /// Retries that would be granted now.
    pub fn remaining(&self, now: Instant) -> u32 {
        let mut counts = self.lock();
        let slot = counts.slot(now);
        counts.remaining(slot)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing under this lock can panic between two changes that belong together.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn slot(&mut self, now: Instant) -> u64 {
        slots::number(*self.origin.get_or_insert(now), now, SLOT)
    }

    /// The slot that has just begun is not whole: a window that ends now reaches into one more.
    /// Retries in that one count and calls in it do not, so that no window ever has more retries
    /// than its calls earned.
    fn remaining(&self, now: u64) -> u32 {
        let within = |window| {
            let calls = self.slots.last(window, now).map(|(_, (calls, _))| calls).sum::<u32>();
            let retries = self.slots.last(window.saturating_add(1), now);
            (calls, retries.map(|(_, (_, retries))| retries).sum::<u32>())
        };
        let ((calls, retries), (short_calls, short_retries)) = (within(LONG), within(SHORT));
        let left = (calls / CALLS_PER_RETRY).saturating_add(FLOOR).saturating_sub(retries);
        let short = (short_calls / CALLS_PER_RETRY).max(SHORT_FLOOR).saturating_sub(short_retries);
        left.min(short)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn retries(budget: &RetryBudget, asked: usize, now: Instant) -> usize {
        (0..asked).filter(|_| budget.try_retry(now)).count()
    }

    #[test]
    fn a_quiet_service_has_its_floor() {
        let budget = RetryBudget::default();
        assert_eq!(retries(&budget, 10, clock::monotonic()), 2);
    }

    #[test]
    fn five_calls_earn_one_retry() {
        let (budget, now) = (RetryBudget::default(), clock::monotonic());
        for _ in 0..100 {
            budget.record_call(now);
        }
        assert_eq!(retries(&budget, 1_000, now), 20);
        assert_eq!(budget.remaining(now), 0);
        (0..5).for_each(|_| budget.record_call(now));
        assert_eq!(retries(&budget, 10, now), 1);
    }

    #[test]
    fn what_was_earned_in_good_seconds_is_not_spent_in_a_bad_one() {
        let (budget, start) = (RetryBudget::default(), clock::monotonic());
        let at = |millis| start + Duration::from_millis(millis);
        (0..90).for_each(|n| budget.record_call(at(n * 100)));
        // 10 calls in the last second earn two; the other sixteen are spent later, if at all.
        assert_eq!(retries(&budget, 100, at(8_999)), 2);
        assert_eq!(retries(&budget, 100, at(10_100)), 2);
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let (budget, now) = (RetryBudget::default(), clock::monotonic());
        (0..100).for_each(|_| budget.record_call(now));
        let later = now + Duration::from_secs(12);
        assert_eq!(budget.remaining(later), 2);
        assert_eq!(retries(&budget, 10, later), 2);
    }

    proptest! {
        /// Whatever the order of events: at the moment of every retry, those in the window that ends
        /// there are within what the calls in it earned. Exactly: the model keeps every moment.
        #[test]
        fn no_window_has_more_retries_than_its_calls_earned(
            steps in prop::collection::vec((0_u64..600, 0_u8..3), 1..400),
        ) {
            let (budget, mut now) = (RetryBudget::default(), clock::monotonic());
            let (mut calls, mut made) = (vec![], vec![]);
            for (pause_ms, event) in steps {
                now += Duration::from_millis(pause_ms);
                match event {
                    0 | 1 => {
                        budget.record_call(now);
                        calls.push(now);
                    }
                    _ => if budget.try_retry(now) {
                        made.push(now);
                        let in_last = |times: &[Instant], window: Duration| {
                            times.iter().filter(|time| now - **time < window).count()
                        };
                        prop_assert!(in_last(&made, SLOT * 100) <= in_last(&calls, SLOT * 100) / 5 + 3);
                        prop_assert!(in_last(&made, SLOT * 10) <= (in_last(&calls, SLOT * 10) / 5).max(2));
                    },
                }
            }
        }
    }
}
