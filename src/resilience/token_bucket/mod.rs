//! The token bucket: so many requests at a steady rate, and a burst on top.
//!
//! Owns: one bucket's state and its decision, written as the generic cell rate algorithm (ITU-T
//! I.371): the state is the one instant at which the bucket will be full again. Refuses: a request
//! that the tokens do not cover, and says after how long the very same request would be admitted;
//! a refused request takes nothing. All arithmetic is in whole numbers: an instant is counted in
//! nanoseconds and in fractions of one as small as the rate needs, so no rounding ever adds up.

#[cfg(test)]
mod tests;

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
    /// In which an empty bucket fills: asked for with every request, so it is worked out once.
    fill_nanos: u64,
}

impl BucketRule {
    /// `tokens` a second, of which `burst` may be used at once.
    #[must_use]
    pub fn per_second(tokens: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::of(tokens, u64::from(SECOND_NANOS), burst)
    }

    /// `tokens` a minute, of which `burst` may be used at once.
    #[must_use]
    pub fn per_minute(tokens: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::of(tokens, MINUTE_SECONDS * u64::from(SECOND_NANOS), burst)
    }

    fn of(tokens: NonZeroU32, period_nanos: u64, burst: NonZeroU32) -> Self {
        let rule = Self { tokens, period_nanos, burst, fill_nanos: 0 };
        let (whole, part) = rule.divided(rule.capacity());
        Self { fill_nanos: whole.saturating_add(u64::from(part > 0)), ..rule }
    }

    /// The same for `factor` clients that share one bucket.
    #[must_use]
    pub fn times(self, factor: NonZeroU32) -> Self {
        let (tokens, burst) =
            (self.tokens.saturating_mul(factor), self.burst.saturating_mul(factor));
        Self::of(tokens, self.period_nanos, burst)
    }

    /// One of `instances` equal parts: the burst rounded up, the rate exact.
    #[must_use]
    pub fn share(self, instances: NonZeroU32) -> Self {
        let burst = NonZeroU32::new(self.burst.get().div_ceil(instances.get()));
        let period_nanos = self.period_nanos.saturating_mul(u64::from(instances.get()));
        Self::of(self.tokens, period_nanos, burst.unwrap_or(NonZeroU32::MIN))
    }

    /// Half of the rate and of the burst, so many times; at least one of each.
    #[must_use]
    pub fn halved(self, times: u8) -> Self {
        let halved = |number: NonZeroU32| {
            NonZeroU32::new(number.get() >> times.min(31)).unwrap_or(NonZeroU32::MIN)
        };
        Self::of(halved(self.tokens), self.period_nanos, halved(self.burst))
    }

    /// Whether it never refuses what a window of `limit` in any minute admits, however requests come
    /// that weigh no more than the limit: it holds as many as one minute brings, and by the next
    /// they have dripped in again.
    #[must_use]
    pub fn outlasts(self, limit: u32) -> bool {
        let minute = u128::from(MINUTE_SECONDS) * u128::from(SECOND_NANOS);
        let in_a_minute = u128::from(self.tokens.get()) * minute;
        let wanted = u128::from(limit) * u128::from(self.period_nanos);
        self.burst() >= limit && in_a_minute >= wanted
    }

    /// Requests that may come at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst.get()
    }

    /// Tokens that drip in during a period.
    #[must_use]
    pub fn tokens(self) -> u32 {
        self.tokens.get()
    }

    /// That period.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_nanos(self.period_nanos)
    }

    /// Time in which an empty bucket fills, rounded up to the nanosecond.
    #[must_use]
    pub fn fill_time(self) -> Duration {
        Duration::from_nanos(self.fill_nanos)
    }

    /// Instants are compared in shares of a nanosecond, `tokens` to one, in which a token takes
    /// exactly `period_nanos` to drip in. The largest rule fits 128 bits many times over.
    fn capacity(self) -> u128 {
        self.price(self.burst.get())
    }

    fn price(self, cost: u32) -> u128 {
        u128::from(cost) * u128::from(self.period_nanos)
    }

    /// Whole nanoseconds of so many shares, and the shares that are left.
    fn divided(self, shares: u128) -> (u64, u32) {
        let (whole, part) = divided(shares, u64::from(self.tokens.get()));
        (u64::try_from(whole).unwrap_or(u64::MAX), u32::try_from(part).unwrap_or(0))
    }
}

/// Quotient and remainder. Nearly all there is to divide fits the division of the machine, which
/// costs a fraction of that in 128 bits.
fn divided(number: u128, by: u64) -> (u128, u64) {
    match u64::try_from(number) {
        Ok(number) => (u128::from(number / by), number % by),
        Err(_) => {
            let by = u128::from(by);
            (number / by, u64::try_from(number % by).unwrap_or(0))
        }
    }
}

/// One client's bucket; the default is a full one.
///
/// The instant is kept in nanoseconds, not in the rule's own scale: when the rule changes, what
/// was already used goes on to weigh for as long as it would have. It reaches five centuries from
/// the start; what would take longer to drip in than that is forgiven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenBucket {
    full_at: Tick,
    /// Shares of a nanosecond past `full_at`, as many to one as the rule has tokens.
    fraction: u32,
}

impl TokenBucket {
    /// How it stands at `now` under `rule`.
    #[must_use]
    pub fn level(self, rule: &BucketRule, now: Tick) -> Level {
        match self.full_at.as_nanos().checked_sub(now.as_nanos()) {
            // The fraction may stem from a rule with a finer scale.
            Some(whole) => Level { whole, fraction: self.fraction.min(rule.tokens.get() - 1) },
            None => Level::default(),
        }
    }
}

/// How long it is from some moment until a bucket is full; the rule is that of the moment, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// Nanoseconds.
    whole: u64,
    /// Shares of one, fewer than the rule has tokens.
    fraction: u32,
}

impl Level {
    /// The level after `cost` tokens were taken.
    ///
    /// A cost above the burst counts as the burst, so that every request is admitted some time.
    ///
    /// # Errors
    /// The time after which the same request would be admitted if nothing else is.
    pub fn take(self, rule: &BucketRule, cost: u32) -> Result<Self, Duration> {
        let wanted = self.used(rule) + rule.price(cost.min(rule.burst()));
        let excess = wanted.saturating_sub(rule.capacity());
        if excess > 0 {
            return Err(Self::of(rule, excess).full_after());
        }
        Ok(Self::of(rule, wanted))
    }

    /// The level after `cost` tokens were taken elsewhere: they are gone, if there were any.
    #[must_use]
    pub fn taken(self, rule: &BucketRule, cost: u32) -> Self {
        Self::of(rule, (self.used(rule) + rule.price(cost)).min(rule.capacity()))
    }

    /// Whole tokens left.
    #[must_use]
    pub fn remaining(self, rule: &BucketRule) -> u32 {
        let left = rule.capacity().saturating_sub(self.used(rule));
        let (tokens, _) = divided(left, rule.period_nanos);
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// Time until the bucket is full, rounded up to the nanosecond.
    #[must_use]
    pub fn full_after(self) -> Duration {
        Duration::from_nanos(self.whole.saturating_add(u64::from(self.fraction > 0)))
    }

    /// The bucket that stands so at `now`.
    #[must_use]
    pub fn bucket(self, now: Tick) -> TokenBucket {
        let full_at = Tick::from_nanos(now.as_nanos().saturating_add(self.whole));
        TokenBucket { full_at, fraction: self.fraction }
    }

    /// What has been taken and has not dripped in yet, in shares of a nanosecond.
    fn used(self, rule: &BucketRule) -> u128 {
        u128::from(self.whole) * u128::from(rule.tokens.get()) + u128::from(self.fraction)
    }

    fn of(rule: &BucketRule, used: u128) -> Self {
        let (whole, fraction) = rule.divided(used);
        Self { whole, fraction }
    }
}
