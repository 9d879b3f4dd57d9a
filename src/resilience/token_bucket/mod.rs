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
use super::window::div_ceil;

const SECOND_NANOS: u64 = 1_000_000_000;
const MINUTE_NANOS: u64 = 60 * SECOND_NANOS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRule {
    tokens: NonZeroU32,
    period_nanos: u64,
    burst: NonZeroU32,
}

impl BucketRule {
    /// `tokens` a second, of which `burst` may be used at once.
    pub const fn per_second(tokens: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { tokens, period_nanos: SECOND_NANOS, burst }
    }

    /// `tokens` a minute, of which `burst` may be used at once.
    pub const fn per_minute(tokens: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { tokens, period_nanos: MINUTE_NANOS, burst }
    }

    /// One of `instances` equal parts: the burst rounded up, the rate exact.
    pub fn share(self, instances: NonZeroU32) -> Self {
        let period_nanos = self.period_nanos.saturating_mul(instances.get().into());
        Self { period_nanos, burst: div_ceil(self.burst, instances), ..self }
    }

    /// Whether it never refuses what a window of `limit` in any minute admits, however requests come
    /// that weigh no more than the limit: it holds as many as one minute brings, and by the next
    /// they have dripped in again.
    pub fn outlasts(self, limit: u32) -> bool {
        let in_a_minute = u128::from(self.tokens.get()) * u128::from(MINUTE_NANOS);
        let wanted = u128::from(limit) * u128::from(self.period_nanos);
        self.burst() >= limit && in_a_minute >= wanted
    }

    pub fn burst(self) -> u32 {
        self.burst.get()
    }

    pub fn tokens(self) -> u32 {
        self.tokens.get()
    }

    pub fn period(self) -> Duration {
        Duration::from_nanos(self.period_nanos)
    }

    /// Time in which an empty bucket fills, rounded up to the nanosecond.
    pub fn fill_time(self) -> Duration {
        TokenBucket::default()
            .with_used(self, self.capacity(), Tick::ORIGIN)
            .full_after(Tick::ORIGIN)
    }

    /// Instants are compared in shares of a nanosecond, `tokens` to one, in which a token takes
    /// exactly `period_nanos` to drip in. The largest rule fits 128 bits many times over.
    fn capacity(self) -> u128 {
        self.price(self.burst.get())
    }

    fn price(self, cost: u32) -> u128 {
        u128::from(cost) * u128::from(self.period_nanos)
    }
}

/// Quotient and remainder. Nearly all there is to divide fits the division of the machine, which
/// costs a fraction of that in 128 bits.
fn divided(number: u128, by: u64) -> (u64, u64) {
    if let Ok(number) = u64::try_from(number) {
        let whole = number.checked_div(by).unwrap_or(u64::MAX);
        return (whole, number.checked_rem(by).unwrap_or(0));
    }
    let by = u128::from(by.max(1));
    let (whole, rest) = (number / by, number % by);
    (u64::try_from(whole).unwrap_or(u64::MAX), u64::try_from(rest).unwrap_or(0))
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
    /// The bucket after `cost` tokens were taken. A cost above the burst counts as the burst, so that
    /// every request is admitted some time.
    /// The error is the time after which the same request would be admitted if nothing else is.
    pub fn after(self, rule: BucketRule, now: Tick, cost: u32) -> Result<Self, Duration> {
        let wanted = self.used(rule, now) + rule.price(cost.min(rule.burst()));
        let excess = wanted.saturating_sub(rule.capacity());
        if excess > 0 {
            return Err(self.with_used(rule, excess, now).full_after(now));
        }
        Ok(self.with_used(rule, wanted, now))
    }

    pub fn take(&mut self, rule: BucketRule, now: Tick, cost: u32) -> Result<(), Duration> {
        *self = self.after(rule, now, cost)?;
        Ok(())
    }

    /// Takes `cost` tokens that were used elsewhere: they are gone, if there were any.
    pub fn drain(&mut self, rule: BucketRule, now: Tick, cost: u32) {
        let used = self.used(rule, now) + rule.price(cost);
        *self = self.with_used(rule, used.min(rule.capacity()), now);
    }

    /// Puts back `cost` tokens that were taken and not used.
    pub fn give_back(&mut self, rule: BucketRule, now: Tick, cost: u32) {
        let used = self.used(rule, now).saturating_sub(rule.price(cost));
        *self = self.with_used(rule, used, now);
    }

    pub fn remaining(self, rule: BucketRule, now: Tick) -> u32 {
        let left = rule.capacity().saturating_sub(self.used(rule, now));
        u32::try_from(divided(left, rule.period_nanos).0).unwrap_or(u32::MAX)
    }

    /// Time until the bucket is full, rounded up to the nanosecond.
    pub fn full_after(self, now: Tick) -> Duration {
        let partial = u64::from(self.fraction > 0 && self.full_at >= now);
        self.full_at.since(now).saturating_add(Duration::from_nanos(partial))
    }

    /// What has been taken and has not dripped in yet, in shares of a nanosecond.
    fn used(self, rule: BucketRule, now: Tick) -> u128 {
        let tokens = rule.tokens.get();
        let Some(whole) = self.full_at.as_nanos().checked_sub(now.as_nanos()) else { return 0 };
        // The fraction may stem from a rule with a finer scale.
        u128::from(whole) * u128::from(tokens) + u128::from(self.fraction.min(tokens - 1))
    }

    fn with_used(self, rule: BucketRule, used: u128, now: Tick) -> Self {
        let (whole, fraction) = divided(used, rule.tokens.get().into());
        let full_at = Tick::from_nanos(now.as_nanos().saturating_add(whole));
        Self { full_at, fraction: u32::try_from(fraction).unwrap_or(0) }
    }
}
