//! An upstream that can do so much and no more.
//!
//! Owns: a token bucket for the calls of one rule. What finds a token is answered, the rest fails
//! at once, as a server does that sheds what it has no room for. Refuses: to queue; a queue would
//! be a slow upstream, which `delay` is for. Time is an argument.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::rule::{Fault, What};
use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};

/// The bucket holds what comes in this part of a second, and at least one call: callers that meet
/// for a moment are not over the capacity, those that stay are.
const DEPTH: u32 = 4;

/// What an upstream can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Calls a second.
    pub(crate) per_second: u32,
    /// HTTP status of a call that is over it.
    pub(crate) status: u16,
}

/// A capacity and how much of it is left.
#[derive(Debug)]
pub(super) struct Bucket {
    capacity: Capacity,
    /// Since the first call.
    level: Mutex<Option<(Instant, TokenBucket)>>,
}

impl Bucket {
    /// A full one.
    pub(super) const fn of(capacity: Capacity) -> Self {
        Self { capacity, level: Mutex::new(None) }
    }

    /// What a call meets: `within` when there is room for it.
    pub(super) fn meet(&self, within: &Fault, now: Instant) -> Fault {
        if self.take(now) {
            within.clone()
        } else {
            Fault { ms: 0, what: What::Status(self.capacity.status), seed: within.seed }
        }
    }

    fn take(&self, now: Instant) -> bool {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let per_second = self.capacity.per_second;
        let rule =
            BucketRule::per_second(at_least_one(per_second), at_least_one(per_second / DEPTH));
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, bucket) = level.get_or_insert((now, TokenBucket::default()));
        bucket.take(rule, Tick::between(*first, now), 1).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    const FORTY: Capacity = Capacity { per_second: 40, status: 503 };
    const ORDINARY: Fault = Fault { ms: 20, what: What::Delay, seed: 0 };

    /// How many of `rate` calls a second, evenly for so long, are answered.
    fn answered(bucket: &Bucket, from: Instant, rate: u32, seconds: u32) -> usize {
        let calls = (0..rate * seconds).map(|n| from + Duration::from_secs(1) * n / rate);
        calls.filter(|at| bucket.meet(&ORDINARY, *at) == ORDINARY).count()
    }

    #[test]
    fn what_is_within_is_answered_and_the_rest_fails_at_once() {
        let start = clock::monotonic();
        let bucket = Bucket::of(FORTY);
        assert_eq!(answered(&bucket, start, 39, 10), 390);
        let later = start + Duration::from_secs(20);
        let three_times = answered(&bucket, later, 120, 10);
        assert!((400..=410).contains(&three_times), "{three_times} of 1,200");
        let over = Fault { ms: 0, what: What::Status(503), seed: 0 };
        let at = later + Duration::from_secs(10);
        let met: Vec<Fault> = (0..12).map(|_| bucket.meet(&ORDINARY, at)).collect();
        assert_eq!(met.last(), Some(&over));
    }

    #[test]
    fn a_small_one_lets_one_through_and_a_clock_that_steps_back_gives_nothing() {
        let start = clock::monotonic() + Duration::from_secs(10);
        let bucket = Bucket::of(Capacity { per_second: 1, status: 429 });
        assert!(bucket.take(start));
        assert!(!bucket.take(start) && !bucket.take(start - Duration::from_secs(5)));
        assert!(!bucket.take(start + Duration::from_millis(900)));
        assert!(bucket.take(start + Duration::from_millis(1_001)));
    }
}
