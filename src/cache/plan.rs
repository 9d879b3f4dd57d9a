//! What to do about a key that is not there: how to load it and how long it will live.
//!
//! Owns: lifetimes and the jitter on them. The loader is the caller's; it is called at most once a
//! flight.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::entry::Entry;
use crate::clock::Timestamp;
use crate::failure::Failure;

/// How long a kind of data lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// The kind's name in metrics.
    pub kind: &'static str,
    /// Fresh time of a result, before jitter.
    pub fresh: Duration,
    /// Fresh time of an empty result, before jitter.
    pub negative: Duration,
    /// Usable after that, while refreshing runs or fails.
    pub stale: Duration,
}

/// Fresh times vary by this share up and down, so that what was stored together does not expire
/// together.
const JITTER: f64 = 0.1;

impl Lifetimes {
    /// Makes an entry of what was loaded at `now`; `chance` in 0..1 sets the jitter. An empty
    /// result has no stale time: what is absent now may be there when it is asked for again.
    #[must_use]
    pub fn stamp(&self, loaded: Loaded, now: Timestamp, chance: f64) -> Entry {
        let (fresh, stale) =
            if loaded.empty { (self.negative, Duration::ZERO) } else { (self.fresh, self.stale) };
        let factor = 1.0 + JITTER * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        let fresh_until = now.plus(fresh.mul_f64(factor));
        Entry::new(loaded.body, now, fresh_until, fresh_until.plus(stale), loaded.empty)
    }
}

/// What a loader brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Serialised data.
    pub body: Bytes,
    /// Whether it says that there is nothing.
    pub empty: bool,
}

/// Fetches what no tier has: given places in the list of keys that was asked for, it answers in the
/// same order. Runs on the thread of the flight, once for all keys of a flight.
pub type Loader =
    Arc<dyn Fn(Vec<usize>) -> BoxFuture<'static, Result<Vec<Loaded>, Failure>> + Send + Sync>;

/// How to get and keep one key, or several that are loaded together.
#[derive(Clone)]
pub struct Plan {
    /// How long it will live.
    pub lifetimes: Lifetimes,
    /// How to get it.
    pub loader: Loader,
    /// Skip what the tiers hold, and load.
    pub reload: bool,
    /// Longest time of the whole flight.
    pub within: Duration,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("lifetimes", &self.lifetimes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: Lifetimes = Lifetimes {
        kind: "search",
        fresh: Duration::from_secs(1000),
        negative: Duration::from_secs(60),
        stale: Duration::from_secs(5000),
    };

    fn stamp(empty: bool, chance: f64) -> Entry {
        let loaded = Loaded { body: Bytes::from_static(b"{}"), empty };
        SEARCH.stamp(loaded, Timestamp::from_millis(0), chance)
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        assert_eq!(stamp(false, 0.0).fresh_until.as_millis(), 900_000);
        assert_eq!(stamp(false, 0.5).fresh_until.as_millis(), 1_000_000);
        assert_eq!(stamp(false, 1.0).fresh_until.as_millis(), 1_100_000);
        assert_eq!(stamp(false, 0.5).stale_until.as_millis(), 6_000_000);
    }

    #[test]
    fn an_empty_result_lives_shortly_and_is_never_stale() {
        let entry = stamp(true, 0.5);
        assert_eq!(entry.fresh_until.as_millis(), 60_000);
        assert_eq!(entry.stale_until, entry.fresh_until);
        assert!(entry.negative);
    }
}
