//! What the cache counts: hits, misses and errors by kind and tier, sizes, writes, ages.
//!
//! Owns: every `cache_*` metric but the breaker's, and the totals behind `/api/cache/stats`.
//! Refuses: keys as labels; a kind is a word known at compile time, and beyond [`MAX_KINDS`] of
//! them they share `other`. Counting takes no lock once a kind and tier have been seen.
//!
//! A lookup that walks the tiers counts a miss for each tier that did not have the key and, when
//! none had it, one more in layer `none`. So `hits / (hits + misses)` of one layer is that tier's
//! hit rate, and the rate of the whole cache is `sum(hits) / (sum(hits) + misses{layer="none"})`.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::cache_totals::{CacheTotals, KindCounts};
use super::family::{Labelled, Registrar};
use super::histogram::DurationHistogram;
use super::labels::NO_TIER;
use super::slots::Slots;

/// How many kinds of entry are told apart.
pub(super) const MAX_KINDS: usize = 24;

/// The tiers, and room for one more and for `none`.
const MAX_TIERS: usize = 5;

/// Metrics of the cache; cheap to clone.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    families: Families,
    kinds: Slots<CacheKindMetrics, MAX_KINDS>,
    latency: Labelled<DurationHistogram, 2>,
    invalidations: Labelled<Counter, 2>,
    evictions: Counter,
    warmed: Counter,
    last_resort: Counter,
    served_age: DurationHistogram,
    entries: Labelled<Gauge, 1>,
    bytes: Labelled<Gauge, 1>,
    corrupt_entries: Labelled<Counter, 1>,
    writes_dropped: Labelled<Counter, 1>,
    loads_held: Labelled<Counter, 1>,
}

#[derive(Debug, Clone)]
struct Families {
    hits: Labelled<Counter, 2>,
    misses: Labelled<Counter, 2>,
    errors: Labelled<Counter, 2>,
}

impl Families {
    fn register(registrar: &mut Registrar) -> Self {
        let labels = ["cache_type", "cache_layer"];
        Self {
            hits: registrar.counters(
                "cache_hits",
                "Lookups answered, by the tier that had the entry",
                labels,
            ),
            misses: registrar.counters(
                "cache_misses",
                "Lookups not answered, by tier; layer none counts lookups that no tier answered",
                labels,
            ),
            errors: registrar.counters(
                "cache_errors",
                "Tier operations that failed; to the caller they are misses",
                labels,
            ),
        }
    }
}

impl CacheMetrics {
    /// Registers the `cache_*` metrics.
    pub(super) fn register(registrar: &mut Registrar) -> Self {
        let inner = Inner {
            families: Families::register(registrar),
            kinds: Slots::new(),
            latency: registrar.labelled_durations(
                "cache_operation_latency",
                "Time one operation on the cache took",
                ["cache_type", "operation"],
                DurationHistogram::operation,
            ),
            invalidations: registrar.counters(
                "cache_invalidations",
                "Entries invalidated before their time",
                ["cache_type", "reason"],
            ),
            evictions: registrar
                .counter("cache_evictions", "Entries that left the memory tier to make room"),
            warmed: registrar.counter("cache_warmed", "Entries loaded before they were asked for"),
            last_resort: registrar.counter(
                "last_resort_answers",
                "Answers made from the catalogue file because everything else had failed",
            ),
            served_age: registrar.durations(
                "cache_served_age",
                "Age of the entries answered with",
                DurationHistogram::age,
            ),
            entries: registrar.gauges("cache_entries", "Entries held by a tier", ["tier"]),
            bytes: registrar.gauges("cache_bytes", "Bytes held by a tier", ["tier"]),
            corrupt_entries: registrar.counters(
                "cache_corrupt_entries",
                "Stored entries that could not be read and were dropped",
                ["tier"],
            ),
            writes_dropped: registrar.counters(
                "cache_writes_dropped",
                "Writes given up because a tier could not keep up",
                ["tier"],
            ),
            loads_held: registrar.counters(
                "cache_loads_held",
                "Loads not begun: too many refreshes (busy), a failing upstream, a recent failure",
                ["reason"],
            ),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The handle of one kind of entry, for example `search`. Resolve once and keep it.
    #[must_use]
    pub fn kind(&self, kind: &'static str) -> CacheKindMetrics {
        self.resolve(kind).clone()
    }

    /// Counts a hit; without a lock, but a kept [`CacheKindMetrics`] is quicker.
    pub fn hit(&self, kind: &'static str, tier: &'static str) {
        self.resolve(kind).hit(tier);
    }

    /// Counts a lookup that no tier answered.
    pub fn miss(&self, kind: &'static str) {
        self.resolve(kind).miss();
    }

    /// Counts a lookup that one tier did not answer.
    pub fn tier_miss(&self, kind: &'static str, tier: &'static str) {
        self.resolve(kind).tier_miss(tier);
    }

    /// Counts an operation of one tier that failed.
    pub fn error(&self, kind: &'static str, tier: &'static str) {
        self.resolve(kind).error(tier);
    }

    /// The histogram of one operation, for example `("search", "get_memory")`; may be kept.
    #[must_use]
    pub fn latency(&self, kind: &'static str, operation: &'static str) -> DurationHistogram {
        self.inner.latency.at([kind, operation])
    }

    /// Counts entries invalidated for a reason.
    pub fn invalidated(&self, kind: &'static str, reason: &'static str, entries: u64) {
        self.inner.invalidations.at([kind, reason]).inc_by(entries);
    }

    /// Counts entries that left the memory tier to make room.
    pub fn evicted(&self, entries: u64) {
        self.inner.evictions.inc_by(entries);
    }

    /// Counts entries loaded before they were asked for.
    pub fn warmed(&self, entries: u64) {
        self.inner.warmed.inc_by(entries);
    }

    /// Counts an answer made from the catalogue of the last resort.
    pub fn answered_last_resort(&self) {
        self.inner.last_resort.inc();
    }

    /// Notes the age of an entry answered with.
    pub fn served(&self, age: Duration) {
        self.inner.served_age.observe(age);
    }

    /// Sets how much a tier holds now.
    pub fn size(&self, tier: &'static str, entries: u64, bytes: u64) {
        let clamp = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.inner.entries.at([tier]).set(clamp(entries));
        self.inner.bytes.at([tier]).set(clamp(bytes));
    }

    /// Counts a stored entry that could not be read and was dropped.
    pub fn corrupt_entry(&self, tier: &'static str) {
        self.inner.corrupt_entries.at([tier]).inc();
    }

    /// Counts writes given up because a tier could not keep up.
    pub fn writes_dropped(&self, tier: &'static str, writes: u64) {
        self.inner.writes_dropped.at([tier]).inc_by(writes);
    }

    /// Counts a load that was not begun: `busy`, `failing` or `recent_failure`.
    pub fn load_held(&self, reason: &'static str) {
        self.inner.loads_held.at([reason]).inc();
    }

    /// Everything counted so far, for `/api/cache/stats`.
    #[must_use]
    pub fn totals(&self) -> CacheTotals {
        let mut totals = CacheTotals::default();
        for (kind, metrics) in self.inner.kinds.iter() {
            totals.add(kind, &metrics.counts());
        }
        totals
    }

    fn resolve(&self, kind: &'static str) -> &CacheKindMetrics {
        let families = &self.inner.families;
        self.inner.kinds.resolve(kind, |name| CacheKindMetrics::new(name, families))
    }
}

/// Hits, misses and errors of one kind of entry, resolved; cheap to clone and to use.
#[derive(Debug, Clone)]
pub struct CacheKindMetrics {
    inner: Arc<KindInner>,
}

#[derive(Debug)]
struct KindInner {
    kind: &'static str,
    families: Families,
    hits: Slots<Counter, MAX_TIERS>,
    misses: Slots<Counter, MAX_TIERS>,
    errors: Slots<Counter, MAX_TIERS>,
}

impl CacheKindMetrics {
    fn new(kind: &'static str, families: &Families) -> Self {
        let inner = KindInner {
            kind,
            families: families.clone(),
            hits: Slots::new(),
            misses: Slots::new(),
            errors: Slots::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Counts a hit in a tier: `memory`, `redis` or `database`.
    pub fn hit(&self, tier: &'static str) {
        let KindInner { kind, families, hits, .. } = &*self.inner;
        hits.resolve(tier, |tier| families.hits.at([kind, tier])).inc();
    }

    /// Counts a lookup that no tier answered.
    pub fn miss(&self) {
        self.tier_miss(NO_TIER);
    }

    /// Counts a lookup that one tier did not answer.
    pub fn tier_miss(&self, tier: &'static str) {
        let KindInner { kind, families, misses, .. } = &*self.inner;
        misses.resolve(tier, |tier| families.misses.at([kind, tier])).inc();
    }

    /// Counts an operation of one tier that failed.
    pub fn error(&self, tier: &'static str) {
        let KindInner { kind, families, errors, .. } = &*self.inner;
        errors.resolve(tier, |tier| families.errors.at([kind, tier])).inc();
    }

    fn counts(&self) -> KindCounts {
        let read = |slots: &Slots<Counter, MAX_TIERS>| {
            slots.iter().map(|(tier, counter)| (tier, counter.get())).collect()
        };
        let KindInner { hits, misses, errors, .. } = &*self.inner;
        KindCounts { hits: read(hits), misses: read(misses), errors: read(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::cache_totals::{KindTotals, TierTotals};

    fn cache() -> CacheMetrics {
        CacheMetrics::register(&mut Registrar::default())
    }

    #[test]
    fn totals_add_up_by_tier_and_by_kind() {
        let cache = cache();
        let search = cache.kind("search");
        search.hit("memory");
        search.tier_miss("memory");
        search.hit("redis");
        cache.tier_miss("product", "memory");
        cache.tier_miss("product", "database");
        cache.miss("product");
        cache.error("product", "redis");

        let totals = cache.totals();
        assert_eq!((totals.hits, totals.misses, totals.lookups()), (2, 1, 3));
        assert!((totals.hit_rate_percent() - 66.666).abs() < 0.01);
        let memory = TierTotals { tier: "memory", hits: 1, misses: 2, errors: 0 };
        let redis = TierTotals { tier: "redis", hits: 1, misses: 0, errors: 1 };
        assert_eq!(totals.tier("memory"), Some(&memory));
        assert_eq!(totals.tier("redis"), Some(&redis));
        assert_eq!(totals.tier("none"), None);
        assert_eq!(totals.by_kind[0], KindTotals { kind: "search", hits: 2, misses: 0 });
        assert_eq!(totals.by_kind[1], KindTotals { kind: "product", hits: 0, misses: 1 });
    }

    #[test]
    fn nothing_counted_is_a_rate_of_nought() {
        assert!(cache().totals().hit_rate_percent().abs() < f64::EPSILON);
    }

    #[test]
    fn sizes_beyond_a_gauge_stop_at_its_end() {
        let cache = cache();
        cache.size("memory", u64::MAX, 12);
        assert_eq!(cache.inner.entries.at(["memory"]).get(), i64::MAX);
        assert_eq!(cache.inner.bytes.at(["memory"]).get(), 12);
    }
}
