//! The bucket at its edges, and against a level that rises and falls.

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
        bucket = bucket.after(rule, at(0), 1).unwrap();
        assert_eq!(bucket.remaining(rule, at(0)), left);
    }
    assert_eq!(bucket.after(rule, at(0), 1), Err(Duration::from_millis(200)));
    assert_eq!(bucket.full_after(at(0)), Duration::from_secs(2));
    assert_eq!(bucket.after(rule, at(199_999_999), 1), Err(Duration::from_nanos(1)));
    let bucket = bucket.after(rule, at(200_000_000), 1).unwrap();
    assert_eq!(bucket.remaining(rule, at(200_000_000)), 0);
}

#[test]
fn a_rate_that_divides_nothing_evenly_loses_nothing() {
    // Seven a second: a token every 142,857,142 and 6/7 nanoseconds.
    let rule = BucketRule::per_second(some(7), some(1));
    let mut bucket = TokenBucket::default();
    let mut now = at(0);
    for _ in 0..7_000 {
        bucket = bucket.after(rule, now, 1).unwrap();
        now = now.plus(bucket.after(rule, now, 1).unwrap_err());
    }
    let drift = now.since(at(1_000 * 1_000_000_000));
    assert!(drift < Duration::from_nanos(7_000), "each wait rounds up by less than one: {drift:?}");
}

#[test]
fn a_cost_above_the_burst_is_the_burst() {
    let rule = BucketRule::per_second(some(1), some(3));
    let bucket = TokenBucket::default().after(rule, at(0), 1_000).unwrap();
    assert_eq!(bucket.remaining(rule, at(0)), 0);
    assert_eq!(bucket.after(rule, at(0), 1_000), Err(Duration::from_secs(3)));
}

#[test]
fn the_largest_rule_at_the_end_of_time_stays_in_range() {
    let rule = BucketRule::per_minute(some(u32::MAX), some(u32::MAX));
    let bucket = TokenBucket::default().after(rule, at(u64::MAX), u32::MAX).unwrap();
    assert_eq!(bucket.remaining(rule, at(u64::MAX)), u32::MAX, "time has ended: it is full");
    assert_eq!(rule.fill_time(), Duration::from_secs(60));
}

#[test]
fn a_tightened_rule_neither_forgives_nor_overflows() {
    let wide = BucketRule::per_second(some(1_000), some(1_000));
    let narrow = BucketRule::per_second(some(1), some(2));
    let bucket = TokenBucket::default().after(wide, at(0), 1_000).unwrap();
    assert_eq!(bucket.remaining(narrow, at(0)), 1);
    assert_eq!(bucket.full_after(at(0)), Duration::from_secs(1));
}

#[test]
fn what_is_given_back_was_never_taken_and_what_was_used_elsewhere_is_gone() {
    let rule = BucketRule::per_second(some(3), some(10));
    let mut bucket = TokenBucket::default();
    bucket.take(rule, at(7), 9).unwrap();
    let before = bucket;
    bucket.take(rule, at(7), 1).unwrap();
    bucket.give_back(rule, at(7), 1);
    assert_eq!(bucket, before);
    bucket.drain(rule, at(7), 100);
    assert_eq!((bucket.remaining(rule, at(7)), bucket.full_after(at(7))), (0, rule.fill_time()));
    bucket.give_back(rule, at(7), 100);
    assert_eq!(bucket.remaining(rule, at(7)), 10, "no more than it holds");
}

#[test]
fn a_share_has_its_part_of_rate_and_burst() {
    let rule = BucketRule::per_second(some(5), some(10)).share(some(3));
    assert_eq!((rule.burst(), rule.tokens(), rule.period().as_secs()), (4, 5, 3));
}

/// The bucket as one would first think of it: a level that rises with time and falls with use, in
/// shares of a token.
struct Model {
    level: u128,
    seen: u64,
}

impl Model {
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

/// Rules whose bucket fills within a century; beyond five the instant at which it is full can no
/// longer be said.
fn rules() -> impl Strategy<Value = BucketRule> {
    const CENTURY_SECONDS: u64 = 100 * 365 * 24 * 3_600;
    let count = prop_oneof![1..200_u32, 1..=u32::MAX];
    (count.clone(), count, any::<bool>()).prop_map(|(tokens, burst, minute)| {
        let period_seconds = if minute { 60 } else { 1 };
        let most = CENTURY_SECONDS / period_seconds * u64::from(tokens);
        let burst = burst.min(u32::try_from(most).unwrap_or(u32::MAX));
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
        let mut model = Model { level: rule.capacity(), seen: 0 };
        let mut now = 0;
        for (wait, cost) in steps {
            now += wait;
            let taken = bucket.after(rule, at(now), cost);
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
        let bucket = TokenBucket::default().after(rule, at(now), used).unwrap();
        if let Err(wait) = bucket.after(rule, at(now), cost) {
            let promised = at(now).plus(wait);
            let before = at(promised.as_nanos() - 1);
            prop_assert_eq!(bucket.after(rule, before, cost), Err(Duration::from_nanos(1)));
            prop_assert!(bucket.after(rule, promised, cost).is_ok());
        }
    }

    #[test]
    fn is_full_exactly_when_it_said(rule in rules(), used in 1..=u32::MAX) {
        let bucket = TokenBucket::default().after(rule, at(5), used).unwrap();
        let full = at(5).plus(bucket.full_after(at(5)));
        prop_assert_eq!(bucket.remaining(rule, full), rule.burst());
        prop_assert_eq!(bucket.full_after(full), Duration::ZERO);
    }
}
