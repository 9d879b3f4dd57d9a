//! What to do about a key that is not there: how to load it and how long it will live.
//!
//! Owns: lifetimes and the jitter on them. The loader is the caller's; it is called at most once a
//! flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::entry::{Entry, Times};
use super::tag::Tag;
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
    /// After the fresh time: served at once while it is refreshed.
    pub revalidate: Duration,
    /// After the fresh time: usable when refreshing fails or takes too long. Not less than
    /// `revalidate` counts.
    pub stale: Duration,
}

/// Fresh times vary by this share up and down, so that what was stored together does not expire
/// together.
const JITTER: f64 = 0.1;

impl Lifetimes {
    /// Makes an entry of what a load brought that began at `asked_at`, stored under the time
    /// `stored_at`, which is the same but for clocks that disagree; `chance` in 0..1 sets the jitter. The data may be as old as the question (RFC 9111, 4.2.3: the response delay is part
    /// of the age), so times are counted from there. An empty result has no stale time: what is
    /// absent now may be there when it is asked for again.
    #[must_use]
    pub fn stamp(
        &self,
        loaded: Loaded,
        asked_at: Timestamp,
        stored_at: Timestamp,
        chance: f64,
    ) -> Entry {
        let (fresh, revalidate, stale) = if loaded.empty {
            (self.negative, Duration::ZERO, Duration::ZERO)
        } else {
            (self.fresh, self.revalidate.min(self.stale), self.stale)
        };
        let factor = 1.0 + JITTER * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        let fresh_until = asked_at.plus(fresh.mul_f64(factor));
        let times = Times {
            stored_at,
            fresh_until,
            revalidate_until: fresh_until.plus(revalidate),
            stale_until: fresh_until.plus(stale),
        };
        Entry::new(loaded.body, times, loaded.empty, loaded.tags)
    }
}

/// What a loader brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Serialised data.
    pub body: Bytes,
    /// Whether it says that there is nothing.
    pub empty: bool,
    /// What it is about.
    pub tags: Vec<Tag>,
}

/// For whom something is loaded: who goes first when the upstream can take only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A client waits.
    Client,
    /// Nobody waits: what is served already is renewed.
    Refresh,
    /// Nobody asked yet.
    Warming,
}

/// Fetches what no tier has: given places in the list of keys that was asked for, it answers in the
/// same order, before the deadline. Runs on the thread of the flight, once for all keys of a flight.
pub type Loader = Arc<
    dyn Fn(Vec<usize>, Urgency, Instant) -> BoxFuture<'static, Result<Vec<Loaded>, Failure>>
        + Send
        + Sync,
>;

/// What was asked under the key at a place of the list, in a form from which whoever made the plan
/// can make it again; kept beside the entry for warming. `None`: it is not worth it.
pub type Question = Arc<dyn Fn(usize) -> Option<String> + Send + Sync>;

/// How to get and keep one key, or several that are loaded together.
#[derive(Clone)]
pub struct Plan {
    /// How long it will live.
    pub lifetimes: Lifetimes,
    /// How to get it.
    pub loader: Loader,
    /// What is asked.
    pub question: Question,
    /// Skip what the tiers hold, and load.
    pub reload: bool,
    /// For whom.
    pub urgency: Urgency,
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
        revalidate: Duration::from_secs(2000),
        stale: Duration::from_secs(5000),
    };

    fn stamp(empty: bool, chance: f64) -> Entry {
        let loaded = Loaded { body: Bytes::from_static(b"{}"), empty, tags: Vec::new() };
        {
            let start = Timestamp::from_millis(0);
            SEARCH.stamp(loaded, start, start, chance)
        }
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let fresh = |chance| stamp(false, chance).times.fresh_until.as_millis();
        assert_eq!((fresh(0.0), fresh(0.5), fresh(1.0)), (900_000, 1_000_000, 1_100_000));
        let times = stamp(false, 0.5).times;
        assert_eq!(times.revalidate_until.as_millis(), 3_000_000);
        assert_eq!(times.stale_until.as_millis(), 6_000_000);
    }

    #[test]
    fn an_empty_result_lives_shortly_and_is_never_stale() {
        let entry = stamp(true, 0.5);
        assert_eq!(entry.times.fresh_until.as_millis(), 60_000);
        assert_eq!(entry.times.stale_until, entry.times.fresh_until);
        assert!(entry.negative);
    }

    #[test]
    fn the_time_of_revalidation_lies_within_the_stale_time() {
        let lifetimes = Lifetimes { stale: Duration::from_secs(10), ..SEARCH };
        let loaded = Loaded { body: Bytes::new(), ..Loaded::default() };
        let times = lifetimes
            .stamp(loaded, Timestamp::from_millis(0), Timestamp::from_millis(0), 0.5)
            .times;
        assert_eq!(times.revalidate_until, times.stale_until);
    }
}
