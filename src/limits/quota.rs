//! One client's account in one class: a bucket and a window that decide together.
//!
//! Owns: the rules of a request, the state of both and the decision over them. Only when both agree
//! are both charged, so a request that one rule refuses costs nothing with the other. Refuses: what
//! either refuses, with the longer of the two waits. Knows no lock and no clock.
//!
//! Time never runs back here. Workers read the clock before they wait for the account, so a later
//! decision may carry an earlier reading; it is made as if at the time of the one before.

use std::num::NonZeroU32;
use std::time::Duration;

use super::admission::{Decision, LimitResult, QuotaState, RuleKind};
use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};
use crate::resilience::window::{self, Window, WindowRule};

/// The rules that apply to a request; none means unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    pub bucket: Option<BucketRule>,
    pub window: Option<WindowRule>,
}

impl Rules {
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bucket.is_none() && self.window.is_none()
    }

    /// The same without a bucket that can never refuse, because the window refuses before it does: a
    /// rule that binds nobody need not be kept or told.
    #[must_use]
    pub fn that_bind(self) -> Self {
        let binds =
            |rule: &BucketRule| self.window.is_none_or(|window| !rule.outlasts(window.limit()));
        Self { bucket: self.bucket.filter(binds), ..self }
    }

    /// How long a request weighs under one of them.
    #[must_use]
    pub fn memory(self) -> Duration {
        let minute = self.window.map_or(Duration::ZERO, |_| window::LENGTH);
        self.bucket.map_or(minute, |rule| minute.max(rule.fill_time()))
    }

    /// The same with a limit a minute that a key was given for itself in place of the usual one.
    #[must_use]
    pub fn with_own(self, own: Option<NonZeroU32>) -> Self {
        own.map_or(self, |limit| Self { window: Some(WindowRule::per_minute(limit)), ..self })
    }

    #[must_use]
    pub fn share(self, instances: NonZeroU32) -> Self {
        Self {
            bucket: self.bucket.map(|rule| rule.share(instances)),
            window: self.window.map(|rule| rule.share(instances)),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Quota {
    latest: Tick,
    bucket: TokenBucket,
    window: Window,
}

impl Quota {
    /// Decides over a request, and counts it if it is admitted.
    pub fn admit(&mut self, rules: Rules, now: Tick) -> LimitResult {
        self.advance(now);
        match self.ask(rules) {
            Ok(bucket) => {
                self.bucket = bucket;
                if let Some(rule) = rules.window {
                    self.window.record(rule, self.latest, 1);
                }
                self.verdict(rules, now, Decision::Admitted)
            }
            Err(why) => self.refused(rules, now, why),
        }
    }

    /// What it says to a request that it refuses; `None` if it would admit it. Counts nothing.
    pub fn refusal(&mut self, rules: Rules, now: Tick) -> Option<LimitResult> {
        self.advance(now);
        let why = self.ask(rules).err()?;
        Some(self.refused(rules, now, why))
    }

    /// Counts a request that was admitted elsewhere, whether it fits these rules or not.
    pub fn note(&mut self, rules: Rules, now: Tick) {
        self.advance(now);
        if let Some(rule) = rules.window {
            self.window.record(rule, self.latest, 1);
        }
        if let Some(rule) = rules.bucket {
            self.bucket.drain(rule, self.latest, 1);
        }
    }

    fn advance(&mut self, now: Tick) {
        self.latest = self.latest.max(now);
        self.window.advance(self.latest);
    }

    /// The bucket afterwards if both agree, else the longer wait.
    fn ask(&self, rules: Rules) -> Result<TokenBucket, (Duration, RuleKind)> {
        let (bucket, now) = (self.bucket, self.latest);
        let taken = rules.bucket.map_or(Ok(bucket), |rule| bucket.after(rule, now, 1));
        let fits = rules.window.map_or(Ok(()), |rule| self.window.check(rule, now, 1));
        Err(match (taken, fits) {
            (Ok(bucket), Ok(())) => return Ok(bucket),
            (Err(burst), Err(minute)) if burst > minute => (burst, RuleKind::Burst),
            (Err(burst), Ok(())) => (burst, RuleKind::Burst),
            (Ok(_) | Err(_), Err(minute)) => (minute, RuleKind::Minute),
        })
    }

    fn refused(&self, rules: Rules, now: Tick, (wait, rule): (Duration, RuleKind)) -> LimitResult {
        let retry_after = wait.saturating_add(self.latest.since(now));
        self.verdict(rules, now, Decision::Refused { retry_after, rule })
    }

    /// What the caller is told counts from its own reading of the clock.
    fn verdict(&self, rules: Rules, now: Tick, decision: Decision) -> LimitResult {
        let lag = self.latest.since(now);
        let burst = rules.bucket.map(|rule| {
            let reset_after = self.bucket.full_after(self.latest).saturating_add(lag);
            QuotaState::of_bucket(rule, self.bucket.remaining(rule, self.latest), reset_after)
        });
        let minute = rules.window.map(|rule| {
            let reset_after = self.window.empty_after(self.latest).saturating_add(lag);
            QuotaState::of_window(rule, self.window.remaining(rule), reset_after)
        });
        LimitResult { decision, burst, minute }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(per_second: u32, burst: u32, per_minute: u32) -> Rules {
        let rate = NonZeroU32::new(per_second).zip(NonZeroU32::new(burst));
        Rules {
            bucket: rate.map(|(rate, burst)| BucketRule::per_second(rate, burst)),
            window: NonZeroU32::new(per_minute).map(WindowRule::per_minute),
        }
    }

    fn at_millis(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    fn refused(millis: u64, rule: RuleKind) -> Decision {
        Decision::Refused { retry_after: Duration::from_millis(millis), rule }
    }

    fn wait() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 0..3_000_000_000_u64,
            2 => Just(0_u64),
            1 => 59_999_000_000..60_001_000_000_u64,
        ]
    }

    #[test]
    fn what_one_rule_refuses_the_other_does_not_charge() {
        let rules = rules(1, 2, 5);
        let mut quota = Quota::default();
        for _ in 0..2 {
            assert_eq!(quota.admit(rules, at_millis(0)).decision, Decision::Admitted);
        }
        for _ in 0..50 {
            let verdict = quota.admit(rules, at_millis(0));
            assert_eq!(verdict.decision, refused(1_000, RuleKind::Burst));
            assert_eq!(verdict.minute.unwrap().remaining, 3);
        }
        for second in 1..4 {
            let verdict = quota.admit(rules, at_millis(second * 1_000));
            assert_eq!(verdict.decision, Decision::Admitted);
        }
        let verdict = quota.admit(rules, at_millis(10_000));
        assert_eq!(verdict.decision, refused(50_000, RuleKind::Minute));
        assert_eq!(verdict.burst.unwrap().remaining, 2, "the bucket was not charged");
    }

    #[test]
    fn when_both_refuse_the_longer_wait_is_told() {
        let mut quota = Quota::default();
        quota.admit(rules(1, 1, 1), at_millis(0));
        let verdict = quota.admit(rules(1, 1, 1), at_millis(500));
        assert_eq!(verdict.decision, refused(59_500, RuleKind::Minute));
    }

    #[test]
    fn an_earlier_reading_is_decided_as_of_the_latest() {
        let one = NonZeroU32::MIN;
        let two = one.saturating_add(1);
        let rules = Rules {
            bucket: Some(BucketRule::per_minute(one, two)),
            window: Some(WindowRule::per_minute(two)),
        };
        let mut quota = Quota::default();
        for millis in [0, 0, 60_000] {
            let verdict = quota.admit(rules, at_millis(millis));
            assert_eq!(verdict.decision, Decision::Admitted);
        }
        let late = quota.admit(rules, at_millis(59_990));
        assert_eq!(late.decision, refused(60_010, RuleKind::Burst), "as of 60,000");
        assert_eq!(late.minute.unwrap().reset_after, Duration::from_millis(60_010));
    }

    #[test]
    fn without_rules_everything_is_admitted() {
        let verdict = Quota::default().admit(Rules::default(), at_millis(0));
        assert_eq!(verdict, LimitResult::UNLIMITED);
    }

    #[test]
    fn what_it_would_refuse_is_said_and_nothing_is_counted() {
        let rules = rules(1, 2, 5);
        let mut quota = Quota::default();
        for _ in 0..2 {
            assert_eq!(quota.refusal(rules, at_millis(0)), None);
            assert_eq!(quota.admit(rules, at_millis(0)).decision, Decision::Admitted);
        }
        let told = quota.refusal(rules, at_millis(500)).unwrap();
        assert_eq!(told.decision, refused(500, RuleKind::Burst));
        assert_eq!(told, quota.admit(rules, at_millis(500)));
    }

    #[test]
    fn a_rule_that_does_not_apply_forgets_nothing() {
        let (both, minute) = (rules(1, 2, 5), rules(0, 0, 5));
        let mut quota = Quota::default();
        quota.admit(both, at_millis(0));
        quota.admit(both, at_millis(0));
        assert_eq!(quota.admit(minute, at_millis(0)).decision, Decision::Admitted);
        assert_eq!(quota.admit(both, at_millis(0)).decision, refused(1_000, RuleKind::Burst));
    }

    #[test]
    fn an_account_stays_small() {
        assert!(size_of::<Quota>() <= 80, "{}", size_of::<Quota>());
    }

    proptest! {
        #[test]
        fn without_a_bucket_that_never_binds_every_decision_is_the_same(
            limit in 1..40_u32,
            more in 0..40_u32,
            quicker in 0..5_u32,
            requests in prop::collection::vec((wait(), 1..40_u32), 1..60),
        ) {
            let some = |number| NonZeroU32::new(number).unwrap();
            let rules = Rules {
                bucket: Some(BucketRule::per_minute(some(limit + quicker), some(limit + more))),
                window: Some(WindowRule::per_minute(some(limit))),
            };
            let fewer = rules.that_bind();
            prop_assert_eq!(fewer.bucket, None);
            let (mut with, mut without, mut now) = (Quota::default(), Quota::default(), at_millis(0));
            for (wait, times) in requests {
                now = now.plus(Duration::from_nanos(wait));
                for _ in 0..times {
                    let told = with.admit(rules, now);
                    let same = without.admit(fewer, now);
                    prop_assert_eq!((told.decision, told.minute), (same.decision, same.minute));
                    prop_assert!(told.burst.unwrap().remaining >= same.minute.unwrap().remaining);
                }
            }
        }

        #[test]
        fn is_refused_until_exactly_the_promised_instant(
            per_second in 0..5_u32,
            burst in 1..10_u32,
            per_minute in 0..30_u32,
            waits in prop::collection::vec(0..3_000_000_000_u64, 1..100),
        ) {
            let rules = rules(per_second, burst, per_minute);
            let mut quota = Quota::default();
            let mut now = Tick::ORIGIN;
            for wait in waits {
                now = now.plus(Duration::from_nanos(wait));
                let verdict = quota.admit(rules, now);
                let Decision::Refused { retry_after, .. } = verdict.decision else { continue };
                let promised = now.plus(retry_after);
                let early = Tick::from_nanos(promised.as_nanos() - 1);
                prop_assert_ne!(quota.clone().admit(rules, early).decision, Decision::Admitted);
                prop_assert_eq!(quota.clone().admit(rules, promised).decision, Decision::Admitted);
            }
        }

        #[test]
        fn who_obeys_the_binding_rule_is_never_refused(
            per_second in 0..5_u32,
            burst in 1..10_u32,
            per_minute in 0..30_u32,
            waits in prop::collection::vec(0..3_000_000_000_u64, 1..100),
        ) {
            let rules = rules(per_second, burst, per_minute);
            let mut quota = Quota::default();
            let mut now = Tick::ORIGIN;
            for wait in waits {
                let verdict = quota.admit(rules, now);
                prop_assert_eq!(verdict.decision, Decision::Admitted);
                now = now.plus(Duration::from_nanos(wait));
                let standings = verdict.burst.iter().chain(verdict.minute.iter());
                let binding = standings.min_by_key(|s| (s.remaining, std::cmp::Reverse(s.reset_after)));
                if let Some(binding) = binding.filter(|binding| binding.remaining == 0) {
                    now = now.plus(binding.reset_after);
                }
            }
        }
    }
}
