//! The families of the cache, and the totals behind `/api/cache/stats`.
//!
//! Owns: hits, misses and errors by kind and tier, resolved once and then counted without a lock.
//! Refuses: keys as labels; a kind is a word known at compile time, and beyond [`MAX_KINDS`] of them they
//! share `other`.

use std::sync::{Arc, OnceLock};

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use utoipa::ToSchema;

use super::catalogue::{Set, Words};
use super::histogram::DurationHistogram;
use super::registry::{Counters, Gauge, Gauges, Handles, Labelled, Registrar, metrics};
use super::window::percent;

/// How many kinds of cache entry are told apart.
const MAX_KINDS: usize = 24;
/// The tiers, and room for one more and for `none`.
const MAX_TIERS: usize = 5;
/// The value of label `cache_layer` for a lookup that no tier could answer.
const NO_TIER: &str = "none";
/// An invalidation may hit any kind.
const ALL_KINDS: &str = "all";
/// Why tiers have no sizes before one is told.
const UNKNOWN: &str = "a tier that others fill, too, does not know its size, and 0 would be wrong";

fn kinds() -> Words {
    Words::of(Set::CacheTypes)
}

fn tiers() -> Words {
    Words::of(Set::Stores).and("memory")
}

metrics! {
    /// What the cache counts.
    ///
    /// A lookup that walks the tiers counts a miss for each tier that did not have the key and, when
    /// none had it, one more in layer `none`. So `hits / (hits + misses)` of one layer is that tier's
    /// hit rate, and the rate of the whole cache is `sum(hits) / (sum(hits) + misses{layer="none"})`.
    pub struct CacheMetrics(add) {
        hits: Counters<2> = add.many("cache_hits",
            [("cache_type", kinds()), ("cache_layer", tiers())],
            "Lookups answered, by the tier that had the entry");
        misses: Counters<2> = add.many("cache_misses",
            [("cache_type", kinds()), ("cache_layer", tiers().and(NO_TIER))],
            "Lookups not answered, by tier; layer none counts lookups that no tier answered");
        errors: Counters<2> = add.many("cache_errors",
            [("cache_type", kinds()), ("cache_layer", tiers())],
            "Tier operations that failed; to the caller they are misses");
        stale_answers: Counters<1> = add.many("cache_stale_answers", [("cache_type", kinds())],
            "Lookups answered with what was past its fresh time; part of the hits");
        kinds: Arc<Handles<Kind, MAX_KINDS>> = Arc::default();
        latency: Labelled<DurationHistogram, 2> = add.open("cache_operation_latency_seconds",
            ["cache_type", "operation"], (DurationHistogram::operation,
            "a histogram tells how long things take; before the first there is nothing to tell"),
            "Time one operation on the cache took");
        invalidations: Counters<2> = add.many("cache_invalidations",
            [("cache_type", Words::these([ALL_KINDS])), ("reason", Words::of(Set::Invalidations))],
            "Entries invalidated before their time");
        evictions: Counter = add.one("cache_evictions",
            "Entries that left the memory tier to make room");
        warmed: Counter = add.one("cache_warmed", "Entries loaded before they were asked for");
        last_resort: Counter = add.one("last_resort_answers",
            "Answers made from the catalogue file because everything else had failed");
        served_age: DurationHistogram = add.add("cache_served_age_seconds",
            "Age of the entries answered with", DurationHistogram::age());
        entries: Gauges<1> = add.open("cache_entries", ["tier"], (Gauge::default, UNKNOWN),
            "Entries held by a tier");
        bytes: Gauges<1> = add.open("cache_bytes", ["tier"], (Gauge::default, UNKNOWN),
            "Bytes held by a tier");
        corrupt_entries: Counters<1> = add.many("cache_corrupt_entries", [("tier", tiers())],
            "Stored entries that could not be read and were dropped");
        writes_dropped: Counters<1> = add.many("cache_writes_dropped", [("tier", tiers())],
            "Writes given up because a tier could not keep up");
        loads_held: Counters<1> = add.many("cache_loads_held", [("reason", Words::of(Set::Holds))],
            "Loads not begun: too many refreshes (busy), a failing upstream, a recent failure");
    }
}

/// Counters of one kind of entry by tier, resolved.
#[derive(Debug, Default)]
pub struct Kind {
    hits: Handles<Counter, MAX_TIERS>,
    misses: Handles<Counter, MAX_TIERS>,
    errors: Handles<Counter, MAX_TIERS>,
    stale: OnceLock<Counter>,
}

impl CacheMetrics {
    pub fn hit(&self, kind: &'static str, tier: &'static str) {
        self.kind(kind).hits.resolve(tier, |tier| self.hits.at([kind, tier])).inc();
    }

    pub fn miss(&self, kind: &'static str) {
        self.tier_miss(kind, NO_TIER);
    }

    pub fn tier_miss(&self, kind: &'static str, tier: &'static str) {
        self.kind(kind).misses.resolve(tier, |tier| self.misses.at([kind, tier])).inc();
    }

    /// So many entries were invalidated.
    pub fn invalidated(&self, reason: &'static str, entries: u64) {
        self.invalidations.at([ALL_KINDS, reason]).inc_by(entries);
    }

    /// The answer of this lookup was past its fresh time.
    pub fn stale(&self, kind: &'static str) {
        self.kind(kind).stale.get_or_init(|| self.stale_answers.at([kind])).inc();
    }

    pub(super) fn stale_total(&self) -> u64 {
        self.kinds.iter().filter_map(|(_, kind)| kind.stale.get()).map(Counter::get).sum()
    }

    pub fn error(&self, kind: &'static str, tier: &'static str) {
        self.kind(kind).errors.resolve(tier, |tier| self.errors.at([kind, tier])).inc();
    }

    pub fn size(&self, tier: &'static str, entries: u64, bytes: u64) {
        self.entries.at([tier]).set(entries);
        self.bytes.at([tier]).set(bytes);
    }

    pub fn totals(&self) -> CacheTotals {
        let mut totals = CacheTotals::default();
        for (kind, counts) in self.kinds.iter() {
            let mut of_kind = KindTotals { kind, hits: 0, misses: 0 };
            for (tier, count) in read(&counts.hits) {
                of_kind.hits += count;
                totals.add(tier, [count, 0, 0]);
            }
            for (tier, count) in read(&counts.misses) {
                match tier {
                    NO_TIER => of_kind.misses += count,
                    tier => totals.add(tier, [0, count, 0]),
                }
            }
            for (tier, count) in read(&counts.errors) {
                totals.add(tier, [0, 0, count]);
            }
            totals.hits += of_kind.hits;
            totals.misses += of_kind.misses;
            totals.by_kind.push(of_kind);
        }
        totals
    }

    fn kind(&self, kind: &'static str) -> &Kind {
        self.kinds.resolve(kind, |_| Kind::default())
    }
}

fn read(counters: &Handles<Counter, MAX_TIERS>) -> impl Iterator<Item = (&'static str, u64)> {
    counters.iter().map(|(tier, counter)| (tier, counter.get()))
}

/// Exact cache counts since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CacheTotals {
    /// Lookups answered by some tier.
    pub hits: u64,
    /// Lookups that no tier answered.
    pub misses: u64,
    /// The same tier by tier, in order of first use.
    pub by_tier: Vec<TierTotals>,
    /// The same kind by kind, in order of first use.
    pub by_kind: Vec<KindTotals>,
}

/// Exact counts of one tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TierTotals {
    /// `memory`, `redis` or `database`.
    pub tier: &'static str,
    /// Lookups this tier answered.
    pub hits: u64,
    /// Lookups this tier was asked and could not answer.
    pub misses: u64,
    /// Operations that failed.
    pub errors: u64,
}

/// Exact counts of one kind of entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KindTotals {
    /// The kind, for example `search`.
    pub kind: &'static str,
    /// Lookups answered by some tier.
    pub hits: u64,
    /// Lookups that no tier answered.
    pub misses: u64,
}

impl CacheTotals {
    pub const fn lookups(&self) -> u64 {
        self.hits.saturating_add(self.misses)
    }

    /// Share of lookups answered by some tier, 0 to 100; 0 before the first lookup.
    pub fn hit_rate_percent(&self) -> f64 {
        percent(self.hits, self.lookups())
    }

    /// The counts of one tier, if it was ever asked.
    pub fn tier(&self, tier: &str) -> Option<&TierTotals> {
        self.by_tier.iter().find(|totals| totals.tier == tier)
    }

    fn add(&mut self, tier: &'static str, [hits, misses, errors]: [u64; 3]) {
        if self.tier(tier).is_none() {
            self.by_tier.push(TierTotals { tier, hits: 0, misses: 0, errors: 0 });
        }
        for totals in self.by_tier.iter_mut().filter(|totals| totals.tier == tier) {
            totals.hits += hits;
            totals.misses += misses;
            totals.errors += errors;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> CacheMetrics {
        CacheMetrics::declare(&mut Registrar::default())
    }

    #[test]
    fn totals_add_up_by_tier_and_by_kind() {
        let cache = cache();
        cache.hit("search", "memory");
        cache.tier_miss("search", "memory");
        cache.hit("search", "redis");
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
    fn nothing_counted_is_a_rate_of_zero() {
        assert!(cache().totals().hit_rate_percent().abs() < f64::EPSILON);
    }
}
