//! The retry budget: retries in sum stay a small share of calls.
//!
//! Owns: the counts of calls and retries over two sliding windows, shared by every incarnation of
//! whoever calls. Refuses: a retry beyond the share of either. When everything fails, retries are
//! what turns an outage into an overload; the budget bounds them where attempt limits cannot.
//!
//! A call earns, a retry spends, and retries themselves earn nothing: with five calls a retry, at
//! most a sixth of all attempts are retries, plus the floor that lets a quiet service retry at all.
//! The long window says what has been earned; the short one keeps what was earned in quiet seconds
//! from being spent in a bad one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Slots of the short window: it slides in steps of a tenth.
const SLOTS: u32 = 10;

/// The bounds of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Calls that earn one retry; 0 counts as 1.
    pub calls_per_retry: u64,
    /// How long calls and retries count.
    pub window: Duration,
    /// Retries allowed in any window however few calls there were.
    pub floor: u64,
    /// The short window.
    pub short: Duration,
    /// Retries allowed in any short window however few calls there were in it.
    pub short_floor: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let (window, short) = (Duration::from_secs(10), Duration::from_secs(1));
        Self { calls_per_retry: 5, window, floor: 3, short, short_floor: 2 }
    }
}

/// The budget at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Calls in the window, retries not included.
    pub calls: u64,
    /// Retries in the window.
    pub retries: u64,
    /// Retries that would be granted now.
    pub remaining: u64,
}

/// A table of counts; share it in an `Arc`.
#[derive(Debug)]
pub struct RetryBudget {
    settings: Settings,
    slots: Mutex<VecDeque<Slot>>,
}

/// What was counted from `start` to `end`, at most a tenth of the short window apart.
#[derive(Debug)]
struct Slot {
    start: Instant,
    end: Instant,
    calls: u64,
    retries: u64,
}

/// A retry that was granted and is counted; dropped before it is made, it is given back.
#[must_use = "a dropped grant is given back"]
#[derive(Debug)]
pub struct Grant<'a> {
    budget: &'a RetryBudget,
    at: Instant,
    made: bool,
}

impl Grant<'_> {
    /// The retry is made.
    pub fn made(mut self) {
        self.made = true;
    }
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        if !self.made {
            let mut slots = self.budget.lock();
            let slot = slots.iter_mut().rev().find(|slot| slot.start <= self.at);
            if let Some(slot) = slot {
                slot.retries = slot.retries.saturating_sub(1);
            }
        }
    }
}

impl RetryBudget {
    /// An unused budget.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, slots: Mutex::default() }
    }

    /// Counts a call's first attempt.
    pub fn record_call(&self, now: Instant) {
        self.count(&mut self.lock(), now, 1, 0);
    }

    /// Asks for one retry that is made now.
    #[must_use]
    pub fn try_retry(&self, now: Instant) -> Option<Grant<'_>> {
        let mut slots = self.lock();
        (self.sum(&slots, now).remaining > 0).then(|| {
            self.count(&mut slots, now, 0, 1);
            Grant { budget: self, at: now, made: false }
        })
    }

    /// The counts as of `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.sum(&self.lock(), now)
    }

    fn sum(&self, slots: &VecDeque<Slot>, now: Instant) -> Snapshot {
        let Settings { calls_per_retry, window, floor, short, short_floor } = self.settings;
        let share = |calls: u64| calls / calls_per_retry.max(1);
        let (calls, retries) = within(slots, window, now);
        let left = share(calls).saturating_add(floor).saturating_sub(retries);
        let (short_calls, short_retries) = within(slots, short, now);
        let short_left = share(short_calls).max(short_floor).saturating_sub(short_retries);
        Snapshot { calls, retries, remaining: left.min(short_left) }
    }

    fn count(&self, slots: &mut VecDeque<Slot>, now: Instant, calls: u64, retries: u64) {
        let width = self.settings.short / SLOTS;
        match slots.back_mut() {
            Some(slot) if now.saturating_duration_since(slot.start) <= width => {
                slot.end = slot.end.max(now);
                slot.calls = slot.calls.saturating_add(calls);
                slot.retries = slot.retries.saturating_add(retries);
            }
            Some(_) | None => {
                // The list stays as short as the window, whatever comes.
                let window = self.settings.window.max(self.settings.short);
                let is_over = |slot: &Slot| now.saturating_duration_since(slot.end) >= window;
                while slots.front().is_some_and(is_over) {
                    slots.pop_front();
                }
                slots.push_back(Slot { start: now, end: now, calls, retries });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Slot>> {
        // Nothing under this lock can panic between two changes that belong together.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls and retries in the `window` that ends `now`: of a slot that it cuts through the retries
/// count and the calls do not, so that no window ever has more than its calls earned.
fn within(slots: &VecDeque<Slot>, window: Duration, now: Instant) -> (u64, u64) {
    let is_in = |at: Instant| now.saturating_duration_since(at) < window;
    slots.iter().rev().take_while(|slot| is_in(slot.end)).fold((0, 0), |(calls, retries), slot| {
        let earned = if is_in(slot.start) { slot.calls } else { 0 };
        (earned.saturating_add(calls), slot.retries.saturating_add(retries))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const SETTINGS: Settings = Settings {
        calls_per_retry: 5,
        window: Duration::from_secs(10),
        floor: 2,
        short: Duration::from_secs(1),
        short_floor: 2,
    };

    fn retries(budget: &RetryBudget, asked: usize, now: Instant) -> usize {
        (0..asked).filter_map(|_| budget.try_retry(now)).map(Grant::made).count()
    }

    #[test]
    fn a_quiet_service_has_its_floor() {
        let budget = RetryBudget::new(SETTINGS);
        assert_eq!(retries(&budget, 10, clock::monotonic()), 2);
    }

    #[test]
    fn five_calls_earn_one_retry() {
        let (budget, now) = (RetryBudget::new(SETTINGS), clock::monotonic());
        for _ in 0..100 {
            budget.record_call(now);
        }
        assert_eq!(retries(&budget, 1_000, now), 20);
        assert_eq!(budget.snapshot(now), Snapshot { calls: 100, retries: 20, remaining: 0 });
        (0..5).for_each(|_| budget.record_call(now));
        assert_eq!(retries(&budget, 10, now), 1);
    }

    #[test]
    fn what_was_earned_in_good_seconds_is_not_spent_in_a_bad_one() {
        let (budget, start) = (RetryBudget::new(SETTINGS), clock::monotonic());
        let at = |millis| start + Duration::from_millis(millis);
        (0..90).for_each(|n| budget.record_call(at(n * 100)));
        // 10 calls in the last second earn two; the other sixteen are spent later, if at all.
        assert_eq!(retries(&budget, 100, at(8_999)), 2);
        assert_eq!(retries(&budget, 100, at(9_999)), 2);
    }

    #[test]
    fn a_grant_that_is_not_used_is_given_back() {
        let (budget, now) = (RetryBudget::new(SETTINGS), clock::monotonic());
        let (first, second) = (budget.try_retry(now), budget.try_retry(now));
        assert!(budget.try_retry(now).is_none());
        drop(first);
        let third = budget.try_retry(now);
        assert!(third.is_some() && budget.try_retry(now).is_none());
        second.into_iter().chain(third).for_each(Grant::made);
        assert_eq!(budget.snapshot(now).retries, 2);
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let (budget, now) = (RetryBudget::new(SETTINGS), clock::monotonic());
        (0..100).for_each(|_| budget.record_call(now));
        let later = now + Duration::from_secs(12);
        assert_eq!(budget.snapshot(later), Snapshot { calls: 0, retries: 0, remaining: 2 });
        assert_eq!(retries(&budget, 10, later), 2);
        assert_eq!(retries(&budget, 10, later + Duration::from_secs(12)), 2);
    }

    #[test]
    fn the_list_stays_as_short_as_the_window() {
        let (budget, start) = (RetryBudget::new(SETTINGS), clock::monotonic());
        for step in 0..10_000 {
            budget.record_call(start + Duration::from_millis(step * 70));
        }
        assert!(budget.lock().len() <= 102, "{}", budget.lock().len());
    }

    #[test]
    fn extreme_settings_are_survived() {
        let now = clock::monotonic();
        let none = RetryBudget::new(Settings {
            calls_per_retry: 0,
            window: Duration::ZERO,
            floor: u64::MAX,
            short: Duration::ZERO,
            short_floor: 1,
        });
        none.record_call(now);
        assert!(none.try_retry(now).is_some());
        none.record_call(now + Duration::from_secs(1));
    }

    proptest! {
        /// Whatever the order of events: at the moment of every retry, those in the window that ends
        /// there are within what the calls in it earned. Exactly: the model keeps every moment.
        #[test]
        fn no_window_has_more_retries_than_its_calls_earned(
            steps in prop::collection::vec((0_u64..600, 0_u8..4), 1..400),
        ) {
            let (budget, mut now) = (RetryBudget::new(SETTINGS), clock::monotonic());
            let (mut calls, mut made) = (vec![], vec![]);
            for (pause_ms, event) in steps {
                now += Duration::from_millis(pause_ms);
                match event {
                    0 | 1 => {
                        budget.record_call(now);
                        calls.push(now);
                    }
                    2 => if let Some(grant) = budget.try_retry(now) {
                        grant.made();
                        made.push(now);
                        let in_last = |times: &[Instant], window: Duration| {
                            times.iter().filter(|time| now - **time < window).count()
                        };
                        let long = in_last(&calls, SETTINGS.window) / 5 + 2;
                        prop_assert!(in_last(&made, SETTINGS.window) <= long);
                        let short = (in_last(&calls, SETTINGS.short) / 5).max(2);
                        prop_assert!(in_last(&made, SETTINGS.short) <= short);
                    },
                    _ => drop(budget.try_retry(now)),
                }
            }
        }
    }
}
