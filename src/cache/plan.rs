//! What to do about a key that is not there: how to load it and how long it will live.
//!
//! Owns: lifetimes and the jitter on them. The loader is the caller's; it is called at most
//! once a load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::entry::{Entry, Representation, Times};
use super::key::Tag;
use crate::clock::Timestamp;
use crate::failure::Failure;
use crate::resilience::Priority;
use crate::steps::Steps;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    pub kind: &'static str,
    /// Fresh time of a result, before jitter.
    pub fresh: Duration,
    /// Fresh time of an empty result, before jitter.
    pub negative: Duration,
    /// After the fresh time: usable while it is renewed, or when that fails.
    pub stale: Duration,
}

/// After its fresh time an answer is served at once while it is renewed, for so long; later, as far as
/// the stale time reaches, a caller first waits a little for something newer.
const REVALIDATE: Duration = Duration::from_secs(3_600);

/// Fresh times vary by this share up and down, so that what was stored together does not expire
/// together.
const JITTER: f64 = 0.1;

impl Lifetimes {
    /// The times of an entry of another process, no longer than an entry stored now could have: whoever can
    /// write to Redis must not make an answer last. One that says it was stored far ahead is not trusted anyhow (`freshness`).
    pub(super) fn bounded(&self, times: Times, negative: bool) -> Times {
        let fresh = if negative { self.negative } else { self.fresh };
        let (revalidate, stale) = if negative {
            (Duration::ZERO, Duration::ZERO)
        } else {
            (REVALIDATE.min(self.stale), self.stale)
        };
        let stored_at = times.stored_at;
        let fresh_until = times.fresh_until.min(stored_at.plus(fresh.mul_f64(1.0 + JITTER)));
        Times {
            stored_at,
            fresh_until,
            revalidate_until: times.revalidate_until.min(fresh_until.plus(revalidate)),
            stale_until: times.stale_until.min(fresh_until.plus(stale)),
        }
    }

    /// Makes an entry of what a load brought that began at `asked_at`. The data may be as old as the
    /// question (RFC 9111, 4.2.3: the response delay is part of the age), so times are counted from
    /// there; `stored_at` is the same but for clocks that disagree. `chance` in 0..1 sets the jitter.
    /// An empty result has no stale time: what is absent now may be there when it is asked for again.
    pub fn entry(
        &self,
        loaded: Loaded,
        asked_at: Timestamp,
        stored_at: Timestamp,
        chance: f64,
    ) -> Entry {
        let (fresh, revalidate, stale) = if loaded.empty {
            (self.negative, Duration::ZERO, Duration::ZERO)
        } else {
            (self.fresh, REVALIDATE.min(self.stale), self.stale)
        };
        let factor = 1.0 + JITTER * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        let fresh_until = asked_at.plus(fresh.mul_f64(factor));
        let times = Times {
            stored_at,
            fresh_until,
            revalidate_until: fresh_until.plus(revalidate),
            stale_until: fresh_until.plus(stale),
        };
        Entry::new(loaded.representation, times, loaded.empty, loaded.tags)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub representation: Representation,
    /// Whether it says that there is nothing.
    pub empty: bool,
    pub tags: Vec<Tag>,
}

impl Loaded {
    pub const fn json(body: Bytes, empty: bool, tags: Vec<Tag>) -> Self {
        Self { representation: Representation::json(body), empty, tags }
    }
}

/// What a loader brings: one for each place, each by itself, or nothing at all.
pub type Brought = Result<Vec<Result<Loaded, Failure>>, Failure>;

/// Loads what no tier has: given places in the list of keys that was asked for, it answers in the
/// same order, before the deadline. Called once for all keys of a load, on the thread that started it.
pub type Loader =
    Arc<dyn Fn(Vec<usize>, Priority, Instant) -> BoxFuture<'static, Brought> + Send + Sync>;

/// What was asked under the key at a place of the list, in a form from which whoever made the plan
/// can make it again; kept beside the entry for warming. `None`: it is not worth it.
pub type Question = Arc<dyn Fn(usize) -> Option<String> + Send + Sync>;

/// How to get and keep one key, or several that are loaded together.
#[derive(Clone)]
pub struct Plan {
    pub lifetimes: Lifetimes,
    pub loader: Loader,
    pub question: Question,
    /// Whether bytes that another process stored are an answer of this kind; what is none is a miss.
    pub is_answer: fn(&Representation) -> bool,
    /// Where it is loaded from: all plans with this name share a probe budget.
    pub origin: &'static str,
    /// Skip what the tiers hold, and load.
    pub reload: bool,
    pub priority: Priority,
    pub within: Duration,
    /// Of the request that waits for it: what happens on its way is noted there.
    pub steps: Steps,
    /// The request asked Redis in vain before: it is not waited for again.
    pub redis_silent: bool,
}

/// Longest time of a load, where a service has no reason for another.
const WITHIN: Duration = Duration::from_secs(8);

impl Plan {
    /// How to get one key for a client: `load` gets its priority and its deadline.
    pub fn for_one<F>(
        lifetimes: Lifetimes,
        origin: &'static str,
        question: String,
        load: impl Fn(Priority, Instant) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Loaded, Failure>> + Send + 'static,
    {
        let loader: Loader = Arc::new(move |_, priority, deadline| {
            let loaded = load(priority, deadline);
            Box::pin(async move { Ok(vec![Ok(loaded.await?)]) })
        });
        let (reload, priority, within) = (false, Priority::Client, WITHIN);
        let question: Question = Arc::new(move |_| Some(question.clone()));
        let is_answer = |_: &Representation| true;
        Self {
            lifetimes,
            loader,
            question,
            is_answer,
            origin,
            reload,
            priority,
            within,
            steps: Steps::default(),
            redis_silent: false,
        }
    }

    /// The same; what this refuses is no answer of its kind.
    #[must_use]
    pub fn checked(self, is_answer: fn(&Representation) -> bool) -> Self {
        Self { is_answer, ..self }
    }
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

    fn loaded(empty: bool) -> Loaded {
        Loaded::json(Bytes::from_static(b"{}"), empty, Vec::new())
    }

    fn entry(empty: bool, chance: f64) -> Entry {
        let loaded = loaded(empty);
        let start = Timestamp::from_millis(0);
        SEARCH.entry(loaded, start, start, chance)
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let fresh = |chance| entry(false, chance).times.fresh_until.as_millis();
        assert_eq!((fresh(0.0), fresh(0.5), fresh(1.0)), (900_000, 1_000_000, 1_100_000));
        let times = entry(false, 0.5).times;
        assert_eq!(times.revalidate_until.as_millis(), 4_600_000);
        assert_eq!(times.stale_until.as_millis(), 6_000_000);
    }

    #[test]
    fn an_empty_result_lives_shortly_and_is_never_stale() {
        let entry = entry(true, 0.5);
        assert_eq!(entry.times.fresh_until.as_millis(), 60_000);
        assert_eq!(entry.times.stale_until, entry.times.fresh_until);
        assert!(entry.negative);
    }

    #[test]
    fn times_of_others_are_no_longer_than_ones_own() {
        let at = Timestamp::from_millis;
        let now = at(10_000);
        let day = |days: i64| at(days * 86_400_000);
        let long = Times {
            stored_at: now,
            fresh_until: day(2_000),
            revalidate_until: day(3_000),
            stale_until: day(4_000),
        };
        let bounded = SEARCH.bounded(long, false);
        assert_eq!(bounded.fresh_until, at(10_000 + 1_100_000));
        assert_eq!(bounded.revalidate_until, at(10_000 + 1_100_000 + 3_600_000));
        assert_eq!(bounded.stale_until, at(10_000 + 1_100_000 + 5_000_000));
        let nothing = SEARCH.bounded(long, true);
        assert_eq!(nothing.stale_until, at(10_000 + 66_000));
        let entry = SEARCH.entry(Loaded::json("x".into(), false, Vec::new()), now, now, 1.0);
        assert_eq!(SEARCH.bounded(entry.times, false), entry.times);
    }

    #[test]
    fn the_time_of_revalidation_lies_within_the_stale_time() {
        let lifetimes = Lifetimes { stale: Duration::from_secs(10), ..SEARCH };

        let times = lifetimes
            .entry(loaded(false), Timestamp::from_millis(0), Timestamp::from_millis(0), 0.5)
            .times;
        assert_eq!(times.revalidate_until, times.stale_until);
    }
}
