//! Keys that could not be loaded a moment ago, and why.
//!
//! Owns: a bounded table from key to its last failure and the time before which it is not tried
//! again. Who comes meanwhile and has nothing, and for whom the tiers have nothing, gets the same
//! failure without a load; who has something stale gets that. The more failures in a row, the longer the wait. Refuses: to grow; the
//! key whose failure was asked for longest ago is forgotten first, which costs one more try.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cached::{Cached, LruCache};

use super::key::CacheKey;
use crate::failure::{Failure, FailureKind};

/// Keys remembered.
const REMEMBERED: usize = 10_000;
/// Wait after the first failure of a key that has something to serve, doubling to `LONGEST_STALE`.
const FIRST_STALE: Duration = Duration::from_secs(2);
const LONGEST_STALE: Duration = Duration::from_secs(30);
/// The same for a key that has nothing: its callers are refused meanwhile.
const FIRST_EMPTY: Duration = Duration::from_secs(1);
const LONGEST_EMPTY: Duration = Duration::from_secs(5);
/// Longest wait told by the source that is kept; it may have changed its mind by then.
const LONGEST_TOLD: Duration = Duration::from_secs(60);

/// How long a key is left alone after its `failures`-th failure in a row. Waits are lengthened by
/// up to half, so that keys that failed together are not tried together; never shortened.
fn pause(failures: u32, told: Option<Duration>, has_stale: bool, chance: f64) -> Duration {
    let (first, longest) =
        if has_stale { (FIRST_STALE, LONGEST_STALE) } else { (FIRST_EMPTY, LONGEST_EMPTY) };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest);
    let told = told.unwrap_or_default().min(if has_stale { LONGEST_TOLD } else { longest });
    doubled.max(told).mul_f64(1.0 + 0.5 * chance.clamp(0.0, 1.0))
}

#[derive(Debug, Clone)]
struct Setback {
    failures: u32,
    until: Instant,
    failure: Failure,
}

/// The table.
pub(super) struct Setbacks(Mutex<LruCache<CacheKey, Setback>>);

impl Setbacks {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }

    /// The failure of a key that must not be tried at `now`, with the time left to wait.
    pub(super) fn of(&self, key: &CacheKey, now: Instant) -> Option<Failure> {
        let mut table = self.table();
        let setback = table.cache_get(key)?;
        if setback.until <= now {
            return None;
        }
        let mut failure = setback.failure.clone();
        if failure.kind != FailureKind::UpstreamRejected {
            let left = setback.until.saturating_duration_since(now);
            failure.retry_after = Some(left.max(failure.retry_after.unwrap_or_default()));
        }
        Some(failure)
    }

    /// Notes a failure; says until when the key is left alone.
    pub(super) fn note(
        &self,
        key: &CacheKey,
        failure: &Failure,
        has_stale: bool,
        now: Instant,
        chance: f64,
    ) -> Instant {
        if matches!(failure.kind, FailureKind::CircuitOpen | FailureKind::Overloaded) {
            // The source was not asked: that says nothing about the key, and asking again is free.
            return now + FIRST_EMPTY.mul_f64(1.0 + 0.5 * chance);
        }
        let mut table = self.table();
        let before = table.cache_get(key).map_or(0, |setback| setback.failures);
        let failures = before.saturating_add(1);
        let until = now + pause(failures, failure.retry_after, has_stale, chance);
        table.cache_set(key.clone(), Setback { failures, until, failure: failure.clone() });
        until
    }

    /// Forgets a key that was loaded.
    pub(super) fn clear(&self, key: &CacheKey) {
        drop(self.table().cache_remove(key));
    }

    fn table(&self) -> MutexGuard<'_, LruCache<CacheKey, Setback>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn down() -> Failure {
        Failure::new(FailureKind::UpstreamUnavailable, "down")
    }

    #[test]
    fn a_failure_is_remembered_for_its_time_and_grows() {
        let (setbacks, key) = (Setbacks::new(), CacheKey::new("a:b:c"));
        let start = clock::monotonic();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(setbacks.of(&key, at(0)), None);
        assert_eq!(setbacks.note(&key, &down(), false, at(0), 0.0), at(1_000));
        let told = setbacks.of(&key, at(400)).unwrap();
        assert_eq!(told.retry_after, Some(Duration::from_millis(600)));
        assert_eq!(setbacks.of(&key, at(1_000)), None);
        assert_eq!(setbacks.note(&key, &down(), false, at(1_000), 0.0), at(3_000));
        setbacks.clear(&key);
        assert_eq!(setbacks.of(&key, at(1_001)), None);
        assert_eq!(setbacks.note(&key, &down(), false, at(2_000), 1.0), at(3_500));
    }

    #[test]
    fn waits_grow_to_their_bound_and_heed_what_is_told() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(1, None, true, 0.0), 2 * second);
        assert_eq!(pause(3, None, true, 0.0), 8 * second);
        assert_eq!(pause(u32::MAX, None, true, 0.0), LONGEST_STALE);
        assert_eq!(pause(u32::MAX, None, false, 0.0), LONGEST_EMPTY);
        assert_eq!(pause(1, Some(20 * second), true, 0.0), 20 * second);
        assert_eq!(pause(1, Some(3_600 * second), true, 0.0), LONGEST_TOLD);
        // Nobody who has nothing is refused for longer than that without a try.
        assert_eq!(pause(1, Some(3_600 * second), false, 0.0), LONGEST_EMPTY);
        assert_eq!(pause(1, None, true, 1.0), 3 * second);
    }
}
