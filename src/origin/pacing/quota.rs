//! How many calls a day: the daily budget.
//!
//! Owns: what was spent today, by wall-clock days that begin where the upstream's do. Refuses:
//! a call beyond the budget. A clock that steps back over midnight does not renew the budget; one
//! that steps back further was wrong before, and is believed.

use std::time::Duration;

use crate::clock::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[derive(Debug)]
pub(super) struct Quota {
    limit: Option<u64>,
    offset: Duration,
    day: i64,
    spent: u64,
}

impl Quota {
    pub(super) const fn new(limit: Option<u64>, offset: Duration) -> Self {
        Self { limit, offset, day: 0, spent: 0 }
    }

    /// When the next day begins, if nothing is left of this one.
    pub(super) fn spent_until(&mut self, wall: Timestamp) -> Option<Timestamp> {
        self.turn(wall);
        (self.remaining()? == 0).then(|| self.day_ends())
    }

    pub(super) fn day_ends(&self) -> Timestamp {
        let next = self.day.saturating_add(1).saturating_mul(DAY_MS);
        Timestamp::from_millis(next).minus(self.offset)
    }

    /// Whether a `part`-th of the day or less is left; 0: never.
    pub(super) fn is_below(&self, part: u64) -> bool {
        let kept = self.limit.and_then(|limit| limit.checked_div(part));
        kept.zip(self.remaining()).is_some_and(|(kept, remaining)| remaining <= kept)
    }

    /// Spends one call; the answer is the day it is charged to.
    pub(super) fn spend(&mut self, wall: Timestamp) -> i64 {
        self.turn(wall);
        self.spent = self.spent.saturating_add(1);
        self.day
    }

    /// A call charged to `day` was not made.
    pub(super) fn give_back(&mut self, day: i64) {
        if day == self.day {
            self.spent = self.spent.saturating_sub(1);
        }
    }

    /// Takes over what an earlier process spent on `day`.
    pub(super) fn restore(&mut self, day: i64, spent: u64, wall: Timestamp) {
        self.turn(wall);
        if day == self.day {
            self.spent = self.spent.saturating_add(spent);
        }
    }

    pub(super) fn remaining(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.spent))
    }

    pub(super) const fn spent(&self) -> u64 {
        self.spent
    }

    pub(super) const fn day(&self) -> i64 {
        self.day
    }

    pub(super) fn turn(&mut self, wall: Timestamp) {
        let day = wall.plus(self.offset).as_millis().div_euclid(DAY_MS);
        if day > self.day || day < self.day.saturating_sub(1) {
            self.day = day;
            self.spent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 60 * 60 * 1_000;

    const fn at(day: i64, hour: i64) -> Timestamp {
        Timestamp::from_millis(day * DAY_MS + hour * HOUR_MS)
    }

    fn quota() -> Quota {
        Quota::new(Some(2), Duration::from_secs(8 * 60 * 60))
    }

    #[test]
    fn the_budget_is_spent_until_the_upstreams_midnight() {
        let mut quota = quota();
        assert_eq!(quota.spent_until(at(100, 1)), None);
        quota.spend(at(100, 1));
        quota.spend(at(100, 2));
        assert_eq!(quota.remaining(), Some(0));
        // Midnight in GMT+8 is 16:00 UTC.
        assert_eq!(quota.spent_until(at(100, 15)), Some(at(100, 16)));
        assert_eq!(quota.spent_until(at(100, 16)), None);
        assert_eq!(quota.remaining(), Some(2));
    }

    #[test]
    fn a_call_not_made_is_given_back_to_its_own_day_only() {
        let mut quota = quota();
        let day = quota.spend(at(100, 1));
        quota.give_back(day);
        assert_eq!(quota.remaining(), Some(2));
        let yesterday = quota.spend(at(100, 1));
        quota.spend(at(101, 1));
        quota.give_back(yesterday);
        assert_eq!(quota.remaining(), Some(1));
    }

    #[test]
    fn a_clock_that_steps_back_renews_nothing_but_a_correction_is_believed() {
        let mut quota = quota();
        quota.spend(at(100, 17));
        quota.turn(at(100, 15));
        assert_eq!(quota.spent(), 1);
        quota.turn(at(40_000, 0));
        quota.spend(at(40_000, 0));
        quota.turn(at(101, 0));
        assert_eq!((quota.spent(), quota.day()), (0, 101));
    }

    #[test]
    fn what_an_earlier_process_spent_today_counts() {
        let mut quota = quota();
        quota.turn(at(100, 1));
        quota.restore(99, 2, at(100, 1));
        assert_eq!(quota.remaining(), Some(2));
        quota.restore(100, 2, at(100, 1));
        assert_eq!(quota.remaining(), Some(0));
    }

    #[test]
    fn a_part_of_the_day_may_be_kept() {
        let quota = |spent| Quota { spent, ..Quota::new(Some(100), Duration::ZERO) };
        assert!(!quota(89).is_below(10) && quota(90).is_below(10) && quota(100).is_below(10));
        assert!(!quota(49).is_below(2) && quota(50).is_below(2));
        assert!(!quota(100).is_below(0) && !Quota::new(None, Duration::ZERO).is_below(2));
    }

    #[test]
    fn without_a_limit_nothing_is_ever_spent_up() {
        let mut quota = Quota::new(None, Duration::ZERO);
        quota.spend(at(1, 1));
        assert_eq!((quota.remaining(), quota.spent_until(at(1, 1))), (None, None));
        quota.turn(Timestamp::from_millis(i64::MAX));
        quota.turn(Timestamp::from_millis(i64::MIN));
    }
}
