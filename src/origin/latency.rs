//! What each of the upstream's methods usually takes: from when on a call is late.
//!
//! Owns: the last times of each method, and their 95th percentile; a table older than any actor.
//! Refuses: to say anything after a few calls; more methods than any upstream has. No neighbours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Times kept of a method.
const KEPT: usize = 128;
/// Times without which nothing is said.
const ENOUGH: usize = 20;
/// New times after which the percentile is worked out again.
const EVERY: usize = 16;
/// Methods kept; an upstream has a dozen.
const METHODS: usize = 64;

/// The times of each method; clones are the same table.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    methods: Arc<Mutex<BTreeMap<&'static str, Ring>>>,
}

#[derive(Debug, Default)]
struct Ring {
    times: Vec<Duration>,
    /// Where the next one goes when the ring is full.
    oldest: usize,
    /// Times since the percentile was worked out.
    new: usize,
    figures: Option<Figures>,
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    median: Duration,
    p95: Duration,
}

impl Latencies {
    /// A table without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call of `method` was answered after `took`.
    pub fn note(&self, method: &'static str, took: Duration) {
        let mut methods = self.lock();
        if methods.len() < METHODS || methods.contains_key(method) {
            methods.entry(method).or_default().note(took);
        }
    }

    /// What nineteen of twenty calls of `method` did not exceed lately; `None` until that is known.
    #[must_use]
    pub fn p95(&self, method: &'static str) -> Option<Duration> {
        self.lock().get(method)?.figures.map(|figures| figures.p95)
    }

    /// What half of the calls of `method` did not exceed lately; `None` until that is known.
    #[must_use]
    pub fn median(&self, method: &'static str) -> Option<Duration> {
        self.lock().get(method)?.figures.map(|figures| figures.median)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Ring>> {
        // Nothing under this lock can panic between two changes that belong together.
        self.methods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn note(&mut self, took: Duration) {
        if self.times.len() < KEPT {
            self.times.push(took);
        } else if let Some(place) = self.times.get_mut(self.oldest) {
            *place = took;
            self.oldest = (self.oldest + 1) % KEPT;
        }
        self.new += 1;
        if self.times.len() >= ENOUGH && (self.figures.is_none() || self.new >= EVERY) {
            self.figures = figures(&self.times);
            self.new = 0;
        }
    }
}

/// By nearest rank: the least time that so many did not exceed.
fn figures(times: &[Duration]) -> Option<Figures> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let percentile = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    };
    percentile(50).zip(percentile(95)).map(|(median, p95)| Figures { median, p95 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_is_said_after_few_calls() {
        let latencies = Latencies::new();
        (1..20).for_each(|n| latencies.note("query", millis(n)));
        assert_eq!(latencies.p95("query"), None);
        latencies.note("query", millis(20));
        assert_eq!(latencies.p95("query"), Some(millis(19)));
        assert_eq!(latencies.p95("detail"), None);
    }

    #[test]
    fn it_is_worked_out_again_after_some_and_forgets_the_old() {
        let latencies = Latencies::new();
        (0..20).for_each(|_| latencies.note("query", millis(10)));
        (0..15).for_each(|_| latencies.note("query", millis(100)));
        assert_eq!(latencies.p95("query"), Some(millis(10)));
        latencies.note("query", millis(100));
        assert_eq!(latencies.clone().p95("query"), Some(millis(100)));
        (0..128).for_each(|_| latencies.note("query", millis(5)));
        assert_eq!(latencies.p95("query"), Some(millis(5)));
        assert_eq!(latencies.lock()["query"].times.len(), KEPT);
    }

    #[test]
    fn methods_are_bounded() {
        let latencies = Latencies::new();
        let names: Vec<&'static str> =
            (0..100).map(|n| &*Box::leak(format!("m{n:03}").into_boxed_str())).collect();
        for name in names.iter().chain(&names) {
            (0..ENOUGH).for_each(|_| latencies.note(name, millis(1)));
        }
        assert_eq!(latencies.lock().len(), METHODS);
        assert!(latencies.p95(names[0]).is_some() && latencies.p95(names[99]).is_none());
    }

    proptest! {
        /// The ring is the last times, and the percentile is one that 95 % of them do not exceed.
        #[test]
        fn it_is_the_percentile_of_the_last(times in prop::collection::vec(0_u64..1_000, 20..400)) {
            let mut ring = Ring::default();
            times.iter().for_each(|n| ring.note(millis(*n)));
            let mut last: Vec<_> = times.iter().rev().take(KEPT).map(|n| millis(*n)).collect();
            let p95 = figures(&ring.times).unwrap().p95;
            let below = last.iter().filter(|time| **time <= p95).count();
            let under = last.iter().filter(|time| **time < p95).count();
            prop_assert!(below * 100 >= last.len() * 95 && under * 100 < last.len() * 95);
            let mut kept = ring.times.clone();
            last.sort_unstable();
            kept.sort_unstable();
            prop_assert_eq!(kept, last);
        }
    }
}
