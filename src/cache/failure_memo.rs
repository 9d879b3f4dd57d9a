//! Keys that are not to be loaded just now: their last load failed, or was put off.
//!
//! Owns: a bounded table from key to the time before which it is not tried again, and its last
//! failure. A caller that comes meanwhile gets what is stale, else what the tiers have, else the same
//! failure without a load. The more failures in a row, the longer the wait. A key that is forgotten
//! for want of room costs one more try.

use std::time::{Duration, Instant};

use super::key::CacheKey;
use crate::failure::{Failure, FailureKind};
use crate::resilience::backoff::Backoff;
use crate::resilience::sharded_map::ShardedMap;

const REMEMBERED: usize = 10_000;
/// Wait of a key that has something to serve: after the first failure, and the longest.
const WITH_STALE: Backoff =
    Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(30) };
/// The same of a key that has nothing: its callers get the failure meanwhile.
const WITH_NOTHING: Backoff =
    Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5) };
/// Longest wait told by the origin that is kept; it may have changed its mind by then.
const LONGEST_TOLD: Duration = Duration::from_secs(60);

/// How long a key is left alone after its `failures`-th failure in a row. Waits are lengthened by
/// up to half, so that keys that failed together are not tried together; never shortened.
fn pause(failures: u32, told: Option<Duration>, has_stale: bool, chance: f64) -> Duration {
    let (backoff, longest) =
        if has_stale { (WITH_STALE, LONGEST_TOLD) } else { (WITH_NOTHING, WITH_NOTHING.longest) };
    let told = told.unwrap_or_default().min(longest);
    backoff.wait(failures).max(told).mul_f64(1.0 + 0.5 * chance.clamp(0.0, 1.0))
}

#[derive(Debug, Clone, Default)]
struct Memo {
    failures: u32,
    until: Option<Instant>,
    /// Why it was left alone last.
    why: Option<FailureKind>,
    /// What failed, and until when callers are told so; a load that was put off has not failed.
    failure: Option<(Failure, Instant)>,
}

#[derive(Debug)]
pub(super) struct FailureMemo(ShardedMap<CacheKey, Memo>);

impl FailureMemo {
    pub(super) fn new() -> Self {
        Self(ShardedMap::new(REMEMBERED))
    }

    pub(super) fn is_held(&self, key: &CacheKey, now: Instant) -> bool {
        self.0.find(key, |memo| memo.until.is_some_and(|until| until > now)).unwrap_or(false)
    }

    /// The failure of a key that is not to be loaded at `now`, with the time left to wait.
    pub(super) fn failure(&self, key: &CacheKey, now: Instant) -> Option<Failure> {
        self.0.find(key, |memo| {
            let (failure, until) = memo.failure.as_ref()?;
            let left = until.checked_duration_since(now).filter(|left| !left.is_zero())?;
            let mut failure = failure.clone();
            if failure.kind != FailureKind::UpstreamRejected {
                failure.retry_after = Some(left.max(failure.retry_after.unwrap_or_default()));
            }
            Some(failure)
        })?
    }

    /// Notes a failed load; says how long the key is left alone.
    pub(super) fn note(
        &self,
        key: &CacheKey,
        failure: &Failure,
        has_stale: bool,
        now: Instant,
        chance: f64,
    ) -> Duration {
        if failure.is_of_client() {
            // Others may load it now.
            return Duration::ZERO;
        }
        if matches!(failure.kind, FailureKind::CircuitOpen | FailureKind::Overloaded) {
            // The origin was not asked: that says nothing about the key, and asking again is free.
            let wait = pause(1, None, false, chance);
            if has_stale {
                self.put_off(key, now + wait, Some(failure.kind));
            }
            return wait;
        }
        self.0.update(key, |memo| {
            memo.failures = memo.failures.saturating_add(1);
            let wait = pause(memo.failures, failure.retry_after, has_stale, chance);
            (memo.until, memo.failure) = (Some(now + wait), Some((failure.clone(), now + wait)));
            memo.why = Some(failure.kind);
            wait
        })
    }

    /// Leaves a key alone until `then`, though nothing failed; what is stale is served meanwhile.
    pub(super) fn put_off(&self, key: &CacheKey, then: Instant, why: Option<FailureKind>) {
        self.0.update(key, |memo| {
            memo.until = memo.until.max(Some(then));
            memo.why = why.or(memo.why);
        });
    }

    /// Why a key was left alone last; `None` when its last load went well.
    pub(super) fn held_for(&self, key: &CacheKey) -> Option<FailureKind> {
        self.0.find(key, |memo| memo.why)?
    }

    pub(super) fn clear(&self, key: &CacheKey) {
        self.0.remove(key);
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
        let (memo, key) = (FailureMemo::new(), CacheKey::new("a:b:c"));
        let start = clock::monotonic();
        let at = |millis| start + Duration::from_millis(millis);
        let second = Duration::from_secs(1);
        assert_eq!((memo.failure(&key, at(0)), memo.is_held(&key, at(0))), (None, false));
        assert_eq!(memo.note(&key, &down(), false, at(0), 0.0), second);
        let told = memo.failure(&key, at(400)).unwrap();
        assert_eq!(told.retry_after, Some(Duration::from_millis(600)));
        assert!(memo.is_held(&key, at(999)) && !memo.is_held(&key, at(1_000)));
        assert_eq!(memo.failure(&key, at(1_000)), None);
        assert_eq!(memo.note(&key, &down(), false, at(1_000), 0.0), 2 * second);
        memo.clear(&key);
        assert_eq!(memo.failure(&key, at(1_001)), None);
        assert_eq!(memo.note(&key, &down(), false, at(2_000), 1.0), second * 3 / 2);
    }

    #[test]
    fn what_is_put_off_is_held_and_has_no_failure() {
        let (memo, key) = (FailureMemo::new(), CacheKey::new("a:b:c"));
        let start = clock::monotonic();
        let at = |millis| start + Duration::from_millis(millis);
        memo.put_off(&key, at(100), None);
        assert_eq!(memo.held_for(&key), None);
        assert!(memo.is_held(&key, at(99)) && !memo.is_held(&key, at(100)));
        assert_eq!(memo.failure(&key, at(0)), None);
        let not_asked = Failure::new(FailureKind::CircuitOpen, "not asked");
        assert_eq!(memo.note(&key, &not_asked, true, at(0), 0.0), Duration::from_secs(1));
        assert!(memo.is_held(&key, at(999)));
        assert_eq!(memo.held_for(&key), Some(FailureKind::CircuitOpen));
        assert_eq!(memo.failure(&key, at(0)), None);
    }

    #[test]
    fn waits_grow_to_their_bound_and_heed_what_is_told() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(1, None, true, 0.0), 2 * second);
        assert_eq!(pause(3, None, true, 0.0), 8 * second);
        assert_eq!(pause(u32::MAX, None, true, 0.0), WITH_STALE.longest);
        assert_eq!(pause(u32::MAX, None, false, 0.0), WITH_NOTHING.longest);
        assert_eq!(pause(1, Some(20 * second), true, 0.0), 20 * second);
        assert_eq!(pause(1, Some(3_600 * second), true, 0.0), LONGEST_TOLD);
        // A key that has nothing is not refused for longer than that without a try.
        assert_eq!(pause(1, Some(3_600 * second), false, 0.0), WITH_NOTHING.longest);
        assert_eq!(pause(1, None, true, 1.0), 3 * second);
    }
}
