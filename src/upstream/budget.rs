//! The retry budget: retries in sum stay a small share of calls.
//!
//! Owns: the counts of calls and retries over a sliding window, shared by every incarnation of
//! whoever calls. Refuses: a retry beyond the share. When everything fails, retries are what turns
//! an outage into an overload; the budget bounds them where attempt limits cannot.
//!
//! A call earns, a retry spends, and retries themselves earn nothing: with five calls a retry, at
//! most a sixth of all attempts in any window are retries, plus the floor that lets a quiet
//! service retry at all.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Slots of the window: it slides in steps of a tenth.
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
}

impl Default for Settings {
    fn default() -> Self {
        Self { calls_per_retry: 5, window: Duration::from_secs(10), floor: 3 }
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

/// What was counted from `start` on, for a tenth of the window.
#[derive(Debug)]
struct Slot {
    start: Instant,
    calls: u64,
    retries: u64,
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

    /// Asks for one retry; a granted one is counted.
    #[must_use]
    pub fn try_retry(&self, now: Instant) -> bool {
        let mut slots = self.lock();
        let granted = self.sum(&mut slots, now).remaining > 0;
        if granted {
            self.count(&mut slots, now, 0, 1);
        }
        granted
    }

    /// The counts as of `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.sum(&mut self.lock(), now)
    }

    fn sum(&self, slots: &mut VecDeque<Slot>, now: Instant) -> Snapshot {
        // A slot counts until its last moment is a window old: longer rather than shorter.
        let life = self.settings.window.saturating_add(self.settings.window / SLOTS);
        while slots.front().is_some_and(|slot| now.saturating_duration_since(slot.start) >= life) {
            slots.pop_front();
        }
        let calls = slots.iter().fold(0_u64, |sum, slot| sum.saturating_add(slot.calls));
        let retries = slots.iter().fold(0_u64, |sum, slot| sum.saturating_add(slot.retries));
        let earned = calls / self.settings.calls_per_retry.max(1);
        let allowed = earned.saturating_add(self.settings.floor);
        Snapshot { calls, retries, remaining: allowed.saturating_sub(retries) }
    }

    fn count(&self, slots: &mut VecDeque<Slot>, now: Instant, calls: u64, retries: u64) {
        let width = self.settings.window / SLOTS;
        match slots.back_mut() {
            Some(slot) if now.saturating_duration_since(slot.start) <= width => {
                slot.calls = slot.calls.saturating_add(calls);
                slot.retries = slot.retries.saturating_add(retries);
            }
            Some(_) | None => {
                // Forget first: the list stays as short as the window, whatever comes.
                self.sum(slots, now);
                slots.push_back(Slot { start: now, calls, retries });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Slot>> {
        // Nothing under this lock can panic between two changes that belong together.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const SETTINGS: Settings =
        Settings { calls_per_retry: 5, window: Duration::from_secs(10), floor: 2 };

    fn granted(budget: &RetryBudget, asked: usize, now: Instant) -> usize {
        (0..asked).filter(|_| budget.try_retry(now)).count()
    }

    #[test]
    fn a_quiet_service_has_its_floor() {
        let budget = RetryBudget::new(SETTINGS);
        assert_eq!(granted(&budget, 10, clock::monotonic()), 2);
    }

    #[test]
    fn five_calls_earn_one_retry() {
        let (budget, now) = (RetryBudget::new(SETTINGS), clock::monotonic());
        for _ in 0..100 {
            budget.record_call(now);
        }
        assert_eq!(granted(&budget, 1_000, now), 20 + 2);
        assert_eq!(budget.snapshot(now), Snapshot { calls: 100, retries: 22, remaining: 0 });
        (0..5).for_each(|_| budget.record_call(now));
        assert_eq!(granted(&budget, 10, now), 1);
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let (budget, now) = (RetryBudget::new(SETTINGS), clock::monotonic());
        (0..100).for_each(|_| budget.record_call(now));
        let later = now + Duration::from_secs(12);
        assert_eq!(budget.snapshot(later), Snapshot { calls: 0, retries: 0, remaining: 2 });
        assert_eq!(granted(&budget, 10, later), 2);
        assert_eq!(granted(&budget, 10, later + Duration::from_secs(12)), 2);
    }

    #[test]
    fn the_list_stays_as_short_as_the_window() {
        let (budget, start) = (RetryBudget::new(SETTINGS), clock::monotonic());
        for second in 0..10_000 {
            budget.record_call(start + Duration::from_millis(second * 700));
        }
        assert!(budget.lock().len() <= 12, "{}", budget.lock().len());
    }

    #[test]
    fn extreme_settings_are_survived() {
        let now = clock::monotonic();
        let none = RetryBudget::new(Settings {
            calls_per_retry: 0,
            window: Duration::ZERO,
            floor: u64::MAX,
        });
        none.record_call(now);
        assert!(none.try_retry(now));
        none.record_call(now + Duration::from_secs(1));
    }

    proptest! {
        /// Whatever the order of events, retries in any window are within what its calls earned.
        #[test]
        fn no_window_has_more_retries_than_its_calls_earned(
            steps in prop::collection::vec((0_u64..3_000, any::<bool>()), 1..300),
        ) {
            let (budget, mut now) = (RetryBudget::new(SETTINGS), clock::monotonic());
            let (mut calls, mut retries) = (vec![], vec![]);
            for (pause_ms, is_call) in steps {
                now += Duration::from_millis(pause_ms);
                if is_call {
                    budget.record_call(now);
                    calls.push(now);
                } else if budget.try_retry(now) {
                    retries.push(now);
                    let within = |times: &[Instant], window: Duration| {
                        times.iter().filter(|time| now - **time < window).count()
                    };
                    // Calls of up to two slots more may have been counted, never fewer retries.
                    let earned = within(&calls, SETTINGS.window * 12 / 10) / 5;
                    prop_assert!(within(&retries, SETTINGS.window) <= earned + 2);
                }
            }
        }
    }
}
