//! Exact counts of what was called.
//!
//! Owns: one counter for each method, one for unknown ones, one for signatures that did not fit.
//! Counted where a call arrives, so a call that a fault swallows is counted too.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use super::methods::Method;

/// Counters; shared by all threads.
#[derive(Debug)]
pub(crate) struct Stats {
    calls: Vec<(Method, AtomicU64)>,
    unknown: AtomicU64,
    bad_signatures: AtomicU64,
}

impl Stats {
    /// All at zero.
    pub(crate) fn new() -> Self {
        Self {
            calls: Method::ALL.into_iter().map(|method| (method, AtomicU64::new(0))).collect(),
            unknown: AtomicU64::new(0),
            bad_signatures: AtomicU64::new(0),
        }
    }

    /// Counts a call; `None` stands for a missing or unknown method.
    pub(crate) fn count_call(&self, called: Option<Method>) {
        let counter = self.calls.iter().find(|(method, _)| Some(*method) == called);
        counter.map_or(&self.unknown, |(_, counter)| counter).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a signature that did not fit.
    pub(crate) fn count_bad_signature(&self) {
        self.bad_signatures.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything back to zero.
    pub(crate) fn reset(&self) {
        for (_, counter) in &self.calls {
            counter.store(0, Ordering::Relaxed);
        }
        self.unknown.store(0, Ordering::Relaxed);
        self.bad_signatures.store(0, Ordering::Relaxed);
    }

    /// As control shows it: every method, called or not; `unknown` only when there was one.
    pub(crate) fn show(&self) -> Value {
        let mut calls = Map::new();
        for (method, counter) in &self.calls {
            calls.insert(method.name().to_owned(), counter.load(Ordering::Relaxed).into());
        }
        let unknown = self.unknown.load(Ordering::Relaxed);
        if unknown > 0 {
            calls.insert("unknown".to_owned(), unknown.into());
        }
        json!({ "calls": calls, "bad_signatures": self.bad_signatures.load(Ordering::Relaxed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_counted_once_and_reset_forgets() {
        let stats = Stats::new();
        stats.count_call(Some(Method::Links));
        stats.count_call(Some(Method::Links));
        stats.count_call(None);
        stats.count_bad_signature();
        let shown = stats.show();
        assert_eq!(shown["calls"]["aliexpress.affiliate.link.generate"], 2);
        assert_eq!(shown["calls"]["aliexpress.affiliate.order.get"], 0);
        assert_eq!((&shown["calls"]["unknown"], &shown["bad_signatures"]), (&json!(1), &json!(1)));
        stats.reset();
        assert_eq!(stats.show(), Stats::new().show());
    }
}
