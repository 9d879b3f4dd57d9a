//! The token bucket: so many requests at a steady rate, and a burst on top.
//!
//! Owns: one bucket's state and its decision, written as the generic cell rate algorithm (ITU-T
//! I.371): the state is the one instant at which the bucket will be full again. Refuses: a request
//! that the tokens do not cover, and says after how long the very same request would be admitted;
//! a refused request takes nothing. All arithmetic is in whole numbers: an instant is counted in
//! nanoseconds and in fractions of one as small as the rate needs, so no rounding ever adds up.

use std::num::NonZeroU32;
use std::time::Duration;

use super::tick::Tick;

const SECOND_NANOS: u32 = 1_000_000_000;
const MINUTE_SECONDS: u64 = 60;

/// What a bucket allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRule {
    tokens: NonZeroU32,
    period_nanos: u64,
    burst: NonZeroU32,
}

impl BucketRule {
    /// `tokens` a second, of which `burst` may be used at once.
    #[must_use]
    pub fn per_second(tokens: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { tokens, period_nanos: u64::from(SECOND_NANOS), burst }
    }

    /// `tokens` a minute, of which `burst` may be used at once.
    #[must_use]
    pub fn per_minute(tokens: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { tokens, period_nanos: MINUTE_SECONDS * u64::from(SECOND_NANOS), burst }
    }

    /// The same for `factor` clients that share one bucket.
    #[must_use]
    pub fn times(self, factor: NonZeroU32) -> Self {
        Self {
            tokens: self.tokens.saturating_mul(factor),
            burst: self.burst.saturating_mul(factor),
            ..self
        }
    }

    /// Requests that may come at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst.get()
    }

    /// Time in which an empty bucket fills, rounded up to the nanosecond.
    #[must_use]
    pub fn fill_time(self) -> Duration {
        self.nanos_up(self.capacity())
    }

    /// Instants are compared in shares of a nanosecond, `tokens` to one, in which a token takes
    /// exactly `period_nanos` to drip in. The largest rule fits 128 bits many times over.
    fn scale(self) -> u128 {
        u128::from(self.tokens.get())
    }

    fn capacity(self) -> u128 {
        u128::from(self.burst.get()) * u128::from(self.period_nanos)
    }

    fn scaled(self, at: Tick) -> u128 {
        u128::from(at.as_nanos()) * self.scale()
    }

    fn nanos_up(self, scaled: u128) -> Duration {
        Duration::from_nanos(u64::try_from(scaled.div_ceil(self.scale())).unwrap_or(u64::MAX))
    }
}

/// One client's bucket; the default is a full one.
///
/// The instant is kept in nanoseconds, not in the rule's own scale: when the rule changes, what
/// was already used goes on to weigh for as long as it would have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenBucket {
    full_at: Tick,
    /// Shares of a nanosecond past `full_at`, as many to one as the rule has tokens.
    fraction: u32,
}

impl TokenBucket {
    /// The bucket after `cost` tokens were taken at `now`.
    ///
    /// A cost above the burst counts as the burst, so that every request is admitted some time.
    ///
    /// # Errors
    /// The time after which the same request would be admitted if nothing else is.
    pub fn take(self, rule: BucketRule, now: Tick, cost: u32) -> Result<Self, Duration> {
        let price = u128::from(cost.min(rule.burst())) * u128::from(rule.period_nanos);
        let wanted = self.used(rule, now) + price;
        let excess = wanted.saturating_sub(rule.capacity());
        if excess > 0 {
            return Err(rule.nanos_up(excess));
        }
        Ok(Self::full_at(rule, rule.scaled(now) + wanted))
    }

    /// Whole tokens left at `now`.
    #[must_use]
    pub fn remaining(self, rule: BucketRule, now: Tick) -> u32 {
        let left = rule.capacity().saturating_sub(self.used(rule, now));
        u32::try_from(left / u128::from(rule.period_nanos)).unwrap_or(u32::MAX)
    }

    /// Time after `now` until the bucket is full, rounded up to the nanosecond.
    #[must_use]
    pub fn full_after(self, rule: BucketRule, now: Tick) -> Duration {
        rule.nanos_up(self.used(rule, now))
    }

    fn used(self, rule: BucketRule, now: Tick) -> u128 {
        // The fraction may stem from a rule with a finer scale.
        let fraction = u128::from(self.fraction.min(rule.tokens.get() - 1));
        (rule.scaled(self.full_at) + fraction).saturating_sub(rule.scaled(now))
    }

    fn full_at(rule: BucketRule, scaled: u128) -> Self {
        let nanos = u64::try_from(scaled / rule.scale()).unwrap_or(u64::MAX);
        let fraction = u32::try_from(scaled % rule.scale()).unwrap_or(0);
        Self { full_at: Tick::from_nanos(nanos), fraction }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(value: u32) -> NonZeroU32 {
        NonZeroU32::new(value).unwrap()
    }

    fn at(nanos: u64) -> Tick {
        Tick::from_nanos(nanos)
    }

    #[test]
    fn a_burst_goes_at_once_and_then_one_at_the_rate() {
        let rule = BucketRule::per_second(some(5), some(10));
        let mut bucket = TokenBucket::default();
        for left in (0..10).rev() {
            bucket = bucket.take(rule, at(0), 1).unwrap();
            assert_eq!(bucket.remaining(rule, at(0)), left);
        }
        assert_eq!(bucket.take(rule, at(0), 1), Err(Duration::from_millis(200)));
        assert_eq!(bucket.full_after(rule, at(0)), Duration::from_secs(2));
        assert_eq!(bucket.take(rule, at(199_999_999), 1), Err(Duration::from_nanos(1)));
        let bucket = bucket.take(rule, at(200_000_000), 1).unwrap();
        assert_eq!(bucket.remaining(rule, at(200_000_000)), 0);
    }

    #[test]
    fn a_rate_that_divides_nothing_evenly_loses_nothing() {
        // Seven a second: a token every 142,857,142 and 6/7 nanoseconds.
        let rule = BucketRule::per_second(some(7), some(1));
        let mut bucket = TokenBucket::default();
        let mut now = at(0);
        for _ in 0..7_000 {
            bucket = bucket.take(rule, now, 1).unwrap();
            now = now.plus(bucket.take(rule, now, 1).unwrap_err());
        }
        let drift = now.since(at(1_000 * 1_000_000_000));
        assert!(
            drift < Duration::from_nanos(7_000),
            "each wait rounds up by less than one: {drift:?}"
        );
    }

    #[test]
    fn a_cost_above_the_burst_is_the_burst() {
        let rule = BucketRule::per_second(some(1), some(3));
        let bucket = TokenBucket::default().take(rule, at(0), 1_000).unwrap();
        assert_eq!(bucket.remaining(rule, at(0)), 0);
        assert_eq!(bucket.take(rule, at(0), 1_000), Err(Duration::from_secs(3)));
    }

    #[test]
    fn the_largest_rule_at_the_end_of_time_stays_in_range() {
        let rule = BucketRule::per_minute(some(u32::MAX), some(u32::MAX));
        let bucket = TokenBucket::default().take(rule, at(u64::MAX), u32::MAX).unwrap();
        assert_eq!(bucket.remaining(rule, at(u64::MAX)), u32::MAX, "time has ended: it is full");
        assert_eq!(rule.fill_time(), Duration::from_secs(60));
    }

    #[test]
    fn a_tightened_rule_neither_forgives_nor_overflows() {
        let wide = BucketRule::per_second(some(1_000), some(1_000));
        let narrow = BucketRule::per_second(some(1), some(2));
        let bucket = TokenBucket::default().take(wide, at(0), 1_000).unwrap();
        assert_eq!(bucket.remaining(narrow, at(0)), 1);
        assert_eq!(bucket.full_after(narrow, at(0)), Duration::from_secs(1));
    }

    #[test]
    fn shared_by_many_it_is_that_many_times_as_large() {
        let rule = BucketRule::per_second(some(5), some(10)).times(some(3));
        assert_eq!(rule, BucketRule::per_second(some(15), some(30)));
        let largest = BucketRule::per_second(some(u32::MAX), some(2)).times(some(u32::MAX));
        assert_eq!(largest.burst(), u32::MAX, "saturates");
    }

    /// The bucket as a child would build it: a level that rises with time and falls with use, in
    /// shares of a token.
    struct Level {
        level: u128,
        seen: u64,
    }

    impl Level {
        fn take(&mut self, rule: BucketRule, now: u64, cost: u32) -> bool {
            let dripped = u128::from(now - self.seen) * u128::from(rule.tokens.get());
            self.level = (self.level + dripped).min(rule.capacity());
            self.seen = now;
            let price = u128::from(cost.min(rule.burst())) * u128::from(rule.period_nanos);
            let covered = self.level >= price;
            if covered {
                self.level -= price;
            }
            covered
        }
    }

    fn rules() -> impl Strategy<Value = BucketRule> {
        let count = prop_oneof![1..200_u32, 1..=u32::MAX];
        (count.clone(), count, any::<bool>()).prop_map(|(tokens, burst, minute)| {
            if minute {
                BucketRule::per_minute(some(tokens), some(burst))
            } else {
                BucketRule::per_second(some(tokens), some(burst))
            }
        })
    }

    proptest! {
        #[test]
        fn decides_as_the_level_model_does(
            rule in rules(),
            steps in prop::collection::vec((0..3_000_000_000_u64, 0..20_u32), 1..80),
        ) {
            let mut bucket = TokenBucket::default();
            let mut model = Level { level: rule.capacity(), seen: 0 };
            let mut now = 0;
            for (wait, cost) in steps {
                now += wait;
                let taken = bucket.take(rule, at(now), cost);
                prop_assert_eq!(taken.is_ok(), model.take(rule, now, cost));
                bucket = taken.unwrap_or(bucket);
                let left = u128::from(bucket.remaining(rule, at(now)));
                prop_assert_eq!(left, model.level / u128::from(rule.period_nanos));
            }
        }

        #[test]
        fn is_refused_until_exactly_the_promised_instant(
            rule in rules(),
            used in 1..=u32::MAX,
            cost in 1..=u32::MAX,
            now in 0..1_000_000_000_000_000_u64,
        ) {
            let bucket = TokenBucket::default().take(rule, at(now), used).unwrap();
            if let Err(wait) = bucket.take(rule, at(now), cost) {
                let promised = at(now).plus(wait);
                let before = at(promised.as_nanos() - 1);
                prop_assert_eq!(bucket.take(rule, before, cost), Err(Duration::from_nanos(1)));
                prop_assert!(bucket.take(rule, promised, cost).is_ok());
            }
        }

        #[test]
        fn is_full_exactly_when_it_said(rule in rules(), used in 1..=u32::MAX) {
            let bucket = TokenBucket::default().take(rule, at(5), used).unwrap();
            let full = at(5).plus(bucket.full_after(rule, at(5)));
            prop_assert_eq!(bucket.remaining(rule, full), rule.burst());
            prop_assert_eq!(bucket.full_after(rule, full), Duration::ZERO);
        }
    }
}
