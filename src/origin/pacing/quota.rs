//! How many calls a day: the daily budget.
//!
//! Owns: what was spent today, by wall-clock days that begin where the upstream's do, and how much of
//! it for which client without a key. Refuses: a call beyond the budget; one for a client that has had
//! its share; one for any client without a key when no more is left than is kept for keys. A clock that
//! steps back over midnight does not renew the budget; one that steps back further was wrong before, and
//! is believed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Payer, Settings, Shares};
use crate::clock::Timestamp;
use crate::resilience::{Part, RejectReason};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Each has cost a call today. What more clients spend is on no account: the keys' part bounds them.
const MOST_CLIENTS: usize = 100_000;

#[derive(Debug)]
pub(super) struct Quota {
    limit: Option<u64>,
    offset: Duration,
    day: i64,
    spent: u64,
    shares: Shares,
    /// What was spent today for each client without a key, by weight.
    by_client: HashMap<Arc<str>, u64>,
}

impl Quota {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { daily_budget: limit, day_offset: offset, shares, .. } = *settings;
        Self { limit, offset, day: 0, spent: 0, shares, by_client: HashMap::new() }
    }

    /// Another limit and other shares; what was spent today stays spent.
    pub(super) fn take_over(&mut self, settings: &Settings) {
        (self.limit, self.shares) = (settings.daily_budget, settings.shares);
    }

    /// Why no call is made for this client, though the day's budget is not spent.
    pub(super) fn refusal(&self, payer: &Payer) -> Option<RejectReason> {
        let (limit, Shares { client, kept_for_keys }) = (self.limit?, self.shares);
        let part =
            |percent: u64| Part { calls: limit.saturating_mul(percent).div_ceil(100), of: limit };
        let spent = self.by_client.get(&payer.client).copied().unwrap_or_default();
        if client < 100 && spent >= part(client).calls {
            return Some(RejectReason::ShareSpent(part(client)));
        }
        let kept = part(kept_for_keys);
        (limit.saturating_sub(self.spent) <= kept.calls).then_some(RejectReason::KeptForKeys(kept))
    }

    /// When the next day begins, if nothing is left of this one.
    pub(super) fn spent_until(&mut self, wall: Timestamp) -> Option<Timestamp> {
        self.turn(wall);
        (self.remaining()? == 0).then(|| self.day_ends())
    }

    /// All of the day's calls.
    pub(super) fn whole(&self) -> Part {
        let calls = self.limit.unwrap_or(u64::MAX);
        Part { calls, of: calls }
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

    pub(super) const fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// A `part`-th of the day; 0: nothing.
    pub(super) fn part(&self, part: u64) -> u64 {
        self.limit.and_then(|limit| limit.checked_div(part)).unwrap_or_default()
    }

    /// So many calls of `day` were spent by all instances, those included that this one is about to make.
    pub(super) fn counted(&mut self, day: i64, spent: u64) {
        if day == self.day {
            self.spent = spent;
        }
    }

    /// Spends one call; the answer is the day it is charged to.
    pub(super) fn spend(&mut self, wall: Timestamp, payer: Option<&Payer>) -> i64 {
        self.turn(wall);
        self.spent = self.spent.saturating_add(1);
        if let Some(Payer { client, weight }) = payer.filter(|_| self.limit.is_some()) {
            if let Some(spent) = self.by_client.get_mut(client) {
                *spent = spent.saturating_add(u64::from(*weight));
            } else if self.by_client.len() < MOST_CLIENTS {
                self.by_client.insert(Arc::clone(client), u64::from(*weight));
            }
        }
        self.day
    }

    /// A call charged to `day` was not made.
    pub(super) fn give_back(&mut self, day: i64, payer: Option<&Payer>) {
        if day != self.day {
            return;
        }
        self.spent = self.spent.saturating_sub(1);
        if let Some(Payer { client, weight }) = payer
            && let Some(spent) = self.by_client.get_mut(client)
        {
            *spent = spent.saturating_sub(u64::from(*weight));
            if *spent == 0 {
                self.by_client.remove(client);
            }
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
            self.by_client = HashMap::new();
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

    fn of(daily_budget: Option<u64>) -> Quota {
        Quota::new(&Settings { daily_budget, ..Settings::default() })
    }

    fn quota() -> Quota {
        Quota::new(&Settings {
            daily_budget: Some(2),
            day_offset: Duration::from_secs(8 * 60 * 60),
            ..Settings::default()
        })
    }

    #[test]
    fn the_budget_is_spent_until_the_upstreams_midnight() {
        let mut quota = quota();
        assert_eq!(quota.spent_until(at(100, 1)), None);
        quota.spend(at(100, 1), None);
        quota.spend(at(100, 2), None);
        assert_eq!(quota.remaining(), Some(0));
        // Midnight in GMT+8 is 16:00 UTC.
        assert_eq!(quota.spent_until(at(100, 15)), Some(at(100, 16)));
        assert_eq!(quota.spent_until(at(100, 16)), None);
        assert_eq!(quota.remaining(), Some(2));
    }

    #[test]
    fn a_call_not_made_is_given_back_to_its_own_day_only() {
        let mut quota = quota();
        let day = quota.spend(at(100, 1), None);
        quota.give_back(day, None);
        assert_eq!(quota.remaining(), Some(2));
        let yesterday = quota.spend(at(100, 1), None);
        quota.spend(at(101, 1), None);
        quota.give_back(yesterday, None);
        assert_eq!(quota.remaining(), Some(1));
    }

    #[test]
    fn a_clock_that_steps_back_renews_nothing_but_a_correction_is_believed() {
        let mut quota = quota();
        quota.spend(at(100, 17), None);
        quota.turn(at(100, 15));
        assert_eq!(quota.spent(), 1);
        quota.turn(at(40_000, 0));
        quota.spend(at(40_000, 0), None);
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
        let quota = |spent| Quota { spent, ..of(Some(100)) };
        assert!(!quota(89).is_below(10) && quota(90).is_below(10) && quota(100).is_below(10));
        assert!(!quota(49).is_below(2) && quota(50).is_below(2));
        assert!(!quota(100).is_below(0) && !of(None).is_below(2));
    }

    fn payer(client: &str, weight: u32) -> Payer {
        Payer { client: client.into(), weight }
    }

    /// Of a hundred calls a client has ten, and twenty are for keys.
    fn shared() -> Quota {
        let shares = Shares { client: 10, kept_for_keys: 20 };
        Quota::new(&Settings { daily_budget: Some(100), shares, ..Settings::default() })
    }

    #[test]
    fn a_client_has_its_share_of_a_day_and_no_more() {
        let (mut quota, [one, other]) = (shared(), [payer("one", 1), payer("other", 5)]);
        for _ in 0..10 {
            assert_eq!(quota.refusal(&one), None);
            quota.spend(at(100, 1), Some(&one));
        }
        assert_eq!(
            quota.refusal(&one),
            Some(RejectReason::ShareSpent(Part { calls: 10, of: 100 }))
        );
        // What weighs five is spent with two, and costs the day two.
        for _ in 0..2 {
            assert_eq!(quota.refusal(&other), None);
            quota.spend(at(100, 1), Some(&other));
        }
        assert_eq!(
            quota.refusal(&other),
            Some(RejectReason::ShareSpent(Part { calls: 10, of: 100 }))
        );
        assert_eq!(quota.spent(), 12);
        quota.give_back(100, Some(&one));
        assert_eq!(quota.refusal(&one), None, "that call was not made");
        quota.turn(at(101, 1));
        assert_eq!((quota.refusal(&other), quota.by_client.len()), (None, 0));
        let day = quota.spend(at(101, 1), Some(&one));
        quota.give_back(day, Some(&one));
        assert!(quota.by_client.is_empty());
    }

    #[test]
    fn however_many_clients_come_the_part_of_the_keys_is_left() {
        let mut quota = shared();
        for number in 0..80 {
            let client = payer(&number.to_string(), 1);
            assert_eq!(quota.refusal(&client), None, "{number}");
            quota.spend(at(100, 1), Some(&client));
        }
        let kept = Some(RejectReason::KeptForKeys(Part { calls: 20, of: 100 }));
        assert_eq!(quota.refusal(&payer("another", 1)), kept);
        assert_eq!((quota.remaining(), quota.spent_until(at(100, 1))), (Some(20), None));
    }

    #[test]
    fn a_share_is_never_nothing_and_may_be_all() {
        let quota =
            |shares| Quota::new(&Settings { daily_budget: Some(3), shares, ..Settings::default() });
        let (mut least, one) = (quota(Shares { client: 1, kept_for_keys: 0 }), payer("one", 5));
        assert_eq!(least.refusal(&one), None);
        least.spend(at(1, 1), Some(&one));
        assert_eq!(least.refusal(&one), Some(RejectReason::ShareSpent(Part { calls: 1, of: 3 })));
        let mut all = quota(Shares::UNBOUNDED);
        for _ in 0..2 {
            all.spend(at(1, 1), Some(&one));
            assert_eq!(all.refusal(&one), None);
        }
        let nothing = quota(Shares { client: 100, kept_for_keys: 100 });
        assert_eq!(
            nothing.refusal(&one),
            Some(RejectReason::KeptForKeys(Part { calls: 3, of: 3 }))
        );
        assert_eq!(of(None).refusal(&one), None, "without a budget nothing is shared out");
    }

    #[test]
    fn without_a_limit_nothing_is_ever_spent_up() {
        let mut quota = of(None);
        quota.spend(at(1, 1), None);
        assert_eq!((quota.remaining(), quota.spent_until(at(1, 1))), (None, None));
        quota.turn(Timestamp::from_millis(i64::MAX));
        quota.turn(Timestamp::from_millis(i64::MIN));
    }
}
