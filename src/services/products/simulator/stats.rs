//! Exact counts of what was called.
//!
//! Owns: one counter for each method, one for unknown ones, one for each account by its key, one for
//! signatures that did not fit.
//! Counted where a call arrives, so a call that a fault swallows is counted too.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use super::methods::Method;

/// Counters; shared by all threads.
#[derive(Debug)]
pub(crate) struct Stats {
    calls: Vec<(Method, AtomicU64)>,
    unknown: AtomicU64,
    accounts: Vec<(String, AtomicU64)>,
    bad_signatures: AtomicU64,
}

impl Stats {
    /// All at zero, for the accounts with these keys. A key that comes twice counts once.
    pub(crate) fn new<'a>(app_keys: impl IntoIterator<Item = &'a str>) -> Self {
        let app_keys: BTreeSet<_> = app_keys.into_iter().collect();
        Self {
            calls: Method::ALL.into_iter().map(|method| (method, AtomicU64::new(0))).collect(),
            unknown: AtomicU64::new(0),
            accounts: app_keys.into_iter().map(|key| (key.to_owned(), AtomicU64::new(0))).collect(),
            bad_signatures: AtomicU64::new(0),
        }
    }

    /// Counts a call; `None` stands for a missing or unknown method. The key of no account counts
    /// for none.
    pub(crate) fn count_call(&self, called: Option<Method>, app_key: &str) {
        if let Some((_, counter)) = self.accounts.iter().find(|(key, _)| key == app_key) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
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
        for (_, counter) in &self.accounts {
            counter.store(0, Ordering::Relaxed);
        }
        self.unknown.store(0, Ordering::Relaxed);
        self.bad_signatures.store(0, Ordering::Relaxed);
    }

    /// As control shows it: every method and account, called or not; `unknown` only when there was
    /// one.
    pub(crate) fn show(&self) -> Value {
        let mut calls = Map::new();
        for (method, counter) in &self.calls {
            calls.insert(method.name().to_owned(), counter.load(Ordering::Relaxed).into());
        }
        let unknown = self.unknown.load(Ordering::Relaxed);
        if unknown > 0 {
            calls.insert("unknown".to_owned(), unknown.into());
        }
        let accounts: Map<_, _> = self
            .accounts
            .iter()
            .map(|(key, counter)| (key.clone(), counter.load(Ordering::Relaxed).into()))
            .collect();
        let bad_signatures = self.bad_signatures.load(Ordering::Relaxed);
        json!({ "calls": calls, "accounts": accounts, "bad_signatures": bad_signatures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_counted_once_and_reset_forgets() {
        let new = || Stats::new(["500001", "500002", "500001"]);
        let stats = new();
        stats.count_call(Some(Method::Links), "500001");
        stats.count_call(Some(Method::Links), "");
        stats.count_call(None, "500001");
        stats.count_bad_signature();
        let shown = stats.show();
        assert_eq!(shown["calls"]["aliexpress.affiliate.link.generate"], 2);
        assert_eq!(shown["calls"]["aliexpress.affiliate.order.get"], 0);
        assert_eq!((&shown["calls"]["unknown"], &shown["bad_signatures"]), (&json!(1), &json!(1)));
        assert_eq!(shown["accounts"], json!({"500001": 2, "500002": 0}));
        stats.reset();
        assert_eq!(stats.show(), new().show());
    }
}
