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

    /// One of `instances` equal parts: the burst rounded up, the rate exact.
    #[must_use]
    pub fn share(self, instances: NonZeroU32) -> Self {
        let burst = self.burst.get().div_ceil(instances.get());
        Self {
            burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN),
            period_nanos: self.period_nanos.saturating_mul(u64::from(instances.get())),
            ..self
        }
    }

    /// Half of the rate and of the burst, so many times; at least one of each.
    #[must_use]
    pub fn halved(self, times: u8) -> Self {
        let halved = |number: NonZeroU32| {
            NonZeroU32::new(number.get() >> times.min(31)).unwrap_or(NonZeroU32::MIN)
        };
        Self { tokens: halved(self.tokens), burst: halved(self.burst), ..self }
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
/// was already used goes on to weigh for as long as it would have. It reaches five centuries from
/// the start; what would take longer to drip in than that is forgiven.
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

    /// The bucket after `cost` tokens were taken elsewhere: they are gone, if there were any.
    #[must_use]
    pub fn taken(self, rule: BucketRule, now: Tick, cost: u32) -> Self {
        let price = u128::from(cost) * u128::from(rule.period_nanos);
        let used = (self.used(rule, now) + price).min(rule.capacity());
        Self::full_at(rule, rule.scaled(now) + used)
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
