//! Exact cache counts added up, for `/api/cache/stats` and the monitoring report.
//!
//! Owns: how counts by kind and tier become totals. Refuses: to count a lookup that went through
//! three tiers three times; only layer `none` is a miss of the whole cache.

use serde::Serialize;
use utoipa::ToSchema;

use super::labels::NO_TIER;
use super::ratio;

/// What was counted for one kind of entry, by tier.
#[derive(Debug)]
pub(super) struct KindCounts {
    pub(super) hits: Vec<(&'static str, u64)>,
    pub(super) misses: Vec<(&'static str, u64)>,
    pub(super) errors: Vec<(&'static str, u64)>,
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
    /// Lookups in all.
    #[must_use]
    pub const fn lookups(&self) -> u64 {
        self.hits.saturating_add(self.misses)
    }

    /// Share of lookups answered by some tier, 0 to 100; 0 before the first lookup.
    #[must_use]
    pub fn hit_rate_percent(&self) -> f64 {
        ratio::percent(self.hits, self.lookups())
    }

    /// The counts of one tier, if it was ever asked.
    #[must_use]
    pub fn tier(&self, tier: &str) -> Option<&TierTotals> {
        self.by_tier.iter().find(|totals| totals.tier == tier)
    }

    /// Adds what was counted for one kind.
    pub(super) fn add(&mut self, kind: &'static str, counts: &KindCounts) {
        let mut of_kind = KindTotals { kind, hits: 0, misses: 0 };
        for (tier, count) in &counts.hits {
            of_kind.hits += count;
            self.tier_mut(tier, |totals| totals.hits += count);
        }
        for (tier, count) in &counts.misses {
            if *tier == NO_TIER {
                of_kind.misses += count;
            } else {
                self.tier_mut(tier, |totals| totals.misses += count);
            }
        }
        for (tier, count) in &counts.errors {
            self.tier_mut(tier, |totals| totals.errors += count);
        }
        self.hits += of_kind.hits;
        self.misses += of_kind.misses;
        self.by_kind.push(of_kind);
    }

    fn tier_mut(&mut self, tier: &'static str, change: impl FnOnce(&mut TierTotals)) {
        if let Some(found) = self.by_tier.iter_mut().find(|totals| totals.tier == tier) {
            change(found);
        } else {
            let mut fresh = TierTotals { tier, hits: 0, misses: 0, errors: 0 };
            change(&mut fresh);
            self.by_tier.push(fresh);
        }
    }
}
