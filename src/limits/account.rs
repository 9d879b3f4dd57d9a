//! One client's account: what this instance admitted, and what it knows of the count that instances
//! share.
//!
//! Owns: a [`Quota`] and a refusal by Redis that still holds. Refuses: what that refusal covers, and
//! without Redis what goes beyond this instance's share. Knows no lock, no clock and no Redis.
//!
//! # The bound
//!
//! `L` is a limit, `N` the number of instances, `S = ceil(L/N)` a share. While Redis answers, it counts
//! every admission: never more than `L` in any minute. An instance that cannot ask admits only while
//! its own admissions of the last minute, whoever decided over them, are within `S`; and for a minute
//! after it did so, Redis and the share have to agree. So of all admissions in a minute, those of
//! instances that decided alone in it are at most `S` each, and the others are together at most `L`,
//! because Redis counted all of theirs: `L + (N-1)·S`, or `N·S` if all were cut off. A Redis that has
//! lost its memory has forgotten up to `L` of them, which come on top.

use super::admission::{Decision, LimitResult, QuotaState, tightest};
use super::quota::{Quota, Rules};
use crate::resilience::tick::Tick;

/// A refusal by Redis that holds until its time is over.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    rules: Rules,
    verdict: LimitResult,
    at: Tick,
    until: Tick,
}

#[derive(Debug, Default)]
pub(super) struct Account {
    quota: Quota,
    refusal: Option<Box<Refusal>>,
    /// Until then a decision without Redis may count, which Redis does not know of.
    doubt_until: Tick,
}

impl Account {
    /// Decides over a request without Redis, by `rules`.
    pub(super) fn decide(&mut self, rules: Rules, now: Tick) -> LimitResult {
        self.quota.admit(rules, now)
    }

    /// Decides by this instance's share of the rules, because Redis cannot be asked.
    pub(super) fn decide_alone(&mut self, share: Rules, now: Tick) -> LimitResult {
        let verdict = self.quota.admit(share, now);
        if verdict.is_admitted() {
            self.doubt_until = self.doubt_until.max(now.plus(share.memory()));
        }
        verdict
    }

    /// A refusal that needs no question to Redis; `None`: ask, then [`Self::settle`].
    pub(super) fn refusal(&mut self, rules: Rules, share: Rules, now: Tick) -> Option<LimitResult> {
        if let Some(refusal) = &self.refusal {
            if refusal.until > now && refusal.rules == rules {
                return Some(refusal.as_of(now));
            }
            self.refusal = None;
        }
        if self.is_in_doubt(now) { self.quota.refusal(share, now) } else { None }
    }

    pub(super) fn settle(
        &mut self,
        rules: Rules,
        share: Rules,
        shared: LimitResult,
        now: Tick,
    ) -> LimitResult {
        if let Some(wait) = shared.retry_after() {
            let until = now.plus(wait);
            self.refusal = Some(Box::new(Refusal { rules, verdict: shared, at: now, until }));
            return shared;
        }
        if self.is_in_doubt(now) {
            return tighter(self.quota.admit(share, now), shared);
        }
        self.quota.note(share, now);
        shared
    }

    fn is_in_doubt(&self, now: Tick) -> bool {
        now < self.doubt_until
    }
}

impl Refusal {
    /// What was decided at `at`, as of now.
    fn as_of(&self, now: Tick) -> LimitResult {
        let age = now.since(self.at);
        let older = |state: QuotaState| QuotaState {
            reset_after: state.reset_after.saturating_sub(age),
            ..state
        };
        let LimitResult { decision, burst, minute } = self.verdict;
        let decision = match decision {
            Decision::Admitted => Decision::Admitted,
            Decision::Refused { retry_after, rule } => {
                Decision::Refused { retry_after: retry_after.saturating_sub(age), rule }
            }
        };
        LimitResult { decision, burst: burst.map(older), minute: minute.map(older) }
    }
}

/// Of two verdicts the one that refuses; of each state the one with less left.
fn tighter(own: LimitResult, shared: LimitResult) -> LimitResult {
    let less = |one: Option<QuotaState>, other: Option<QuotaState>| {
        tightest(one.iter().chain(other.iter())).copied()
    };
    LimitResult {
        decision: if own.is_admitted() { shared.decision } else { own.decision },
        burst: less(own.burst, shared.burst),
        minute: less(own.minute, shared.minute),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::super::admission::RuleKind;
    use super::*;
    use crate::resilience::window::{LENGTH, WindowRule};

    fn rules(limit: u32) -> Rules {
        let window = NonZeroU32::new(limit).map(WindowRule::per_minute);
        Rules { bucket: None, window }
    }

    fn half(limit: u32) -> Rules {
        rules(limit).share(NonZeroU32::new(2).unwrap())
    }

    fn at(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    fn shared(decision: Decision) -> LimitResult {
        let minute = QuotaState {
            rule: RuleKind::Minute,
            limit: 10,
            period: LENGTH,
            remaining: 7,
            reset_after: Duration::from_secs(60),
        };
        LimitResult { decision, burst: None, minute: Some(minute) }
    }

    fn refused(millis: u64) -> Decision {
        let retry_after = Duration::from_millis(millis);
        Decision::Refused { retry_after, rule: RuleKind::Minute }
    }

    #[test]
    fn a_refusal_holds_until_its_time_is_over_under_the_same_rules() {
        let mut account = Account::default();
        account.settle(rules(10), half(10), shared(refused(5_000)), at(0));
        let again = account.refusal(rules(10), half(10), at(2_000)).unwrap();
        assert_eq!(again.decision, refused(3_000));
        assert_eq!(again.minute.unwrap().reset_after, Duration::from_secs(58));
        assert_eq!(account.refusal(rules(20), half(20), at(2_000)), None, "a raised limit");
        account.settle(rules(10), half(10), shared(refused(5_000)), at(0));
        assert_eq!(account.refusal(rules(10), half(10), at(5_000)), None);
    }

    #[test]
    fn while_redis_answers_its_verdict_counts() {
        let mut account = Account::default();
        for _ in 0..10 {
            assert_eq!(account.refusal(rules(10), half(10), at(0)), None);
            let verdict = account.settle(rules(10), half(10), shared(Decision::Admitted), at(0));
            assert_eq!(verdict, shared(Decision::Admitted), "more than the share of five");
        }
        let alone = account.decide_alone(half(10), at(1));
        assert_eq!(alone.decision, refused(59_999), "what Redis admitted counts");
    }

    #[test]
    fn for_a_minute_after_a_decision_alone_both_have_to_agree() {
        let mut account = Account::default();
        assert!(account.decide_alone(half(4), at(0)).is_admitted());
        let verdict = account.settle(rules(4), half(4), shared(Decision::Admitted), at(10));
        assert_eq!((verdict.decision, verdict.minute.unwrap().limit), (Decision::Admitted, 2));
        let refused = account.refusal(rules(4), half(4), at(20)).unwrap();
        assert!(!refused.is_admitted(), "the share is used up");
        let verdict = account.settle(rules(4), half(4), shared(Decision::Admitted), at(20));
        assert!(!verdict.is_admitted(), "also for a question that was on its way");
        assert_eq!(account.refusal(rules(4), half(4), at(60_000)), None, "a minute later");
        for _ in 0..4 {
            let shared = shared(Decision::Admitted);
            assert_eq!(account.settle(rules(4), half(4), shared, at(60_000)), shared);
        }
    }

    #[test]
    fn a_refused_request_alone_casts_no_doubt() {
        let mut account = Account::default();
        account.settle(rules(1), half(1), shared(Decision::Admitted), at(0));
        assert!(!account.decide_alone(half(1), at(1)).is_admitted());
        assert_eq!(account.refusal(rules(1), half(1), at(2)), None);
    }

    #[test]
    fn an_account_stays_small() {
        assert!(size_of::<Account>() <= 96, "{}", size_of::<Account>());
    }
}
