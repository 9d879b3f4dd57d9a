//! The first tier: this process's memory, bounded by entries and by bytes at once.
//!
//! Owns: the bound. Scan resistance is quick_cache's (an S3-FIFO relative): a crawl through keys
//! never asked for again does not empty it. Entries leave by weight only; freshness is judged at
//! reading.

use std::cell::Cell;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::metrics::CacheMetrics;

/// A part of the table of its own lock holds at least so many bytes, if the table does: else the
/// largest entries would find no room in it.
const SMALLEST_SHARD: u64 = 24 << 20;
const MOST_SHARDS: u64 = 64;
/// Bytes an entry costs beside its body and key.
const OVERHEAD: u64 = 160;

/// The memory tier. Cheap to clone; all clones are the same table.
#[derive(Debug, Clone)]
pub struct MemoryTier {
    entries: Arc<Cache<CacheKey, Arc<Entry>, Weigh, DefaultHashBuilder, Evictions>>,
}

/// Weighs an entry so that one bound keeps two: each costs its bytes, but at least its share of the
/// bytes. A full table then holds at most so many bytes and at most so many entries.
#[derive(Debug, Clone)]
struct Weigh {
    at_least: u64,
}

impl Weighter<CacheKey, Arc<Entry>> for Weigh {
    fn weight(&self, key: &CacheKey, entry: &Arc<Entry>) -> u64 {
        let bytes = size(entry).saturating_add(key.as_str().len());
        u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(OVERHEAD).max(self.at_least)
    }
}

/// What an entry takes. Room for its packed form is set aside: it comes later, and is not weighed then.
fn size(entry: &Entry) -> usize {
    entry.representation.size().saturating_add(entry.room_for_packed())
}

fn shards(capacity: u64) -> usize {
    let shards = (capacity / SMALLEST_SHARD).clamp(1, MOST_SHARDS);
    1 << shards.ilog2()
}

#[derive(Debug, Clone)]
struct Evictions {
    metrics: CacheMetrics,
}

impl Lifecycle<CacheKey, Arc<Entry>> for Evictions {
    type RequestState = ();

    /// Uses that were not handed over yet go with it: less than ten seconds of a key that is not
    /// among the most used.
    fn on_evict(&self, (): &mut (), _: CacheKey, _: Arc<Entry>) {
        self.metrics.evictions.inc();
    }
}

impl MemoryTier {
    /// A table of at most `items` entries and `bytes` bytes; what leaves for want of room is counted.
    pub fn new(items: usize, bytes: u64, metrics: CacheMetrics) -> Self {
        let items = items.max(1);
        let number = u64::try_from(items).unwrap_or(u64::MAX);
        let share = bytes / number;
        let weigh = Weigh { at_least: share.max(1) };
        // Without what does not divide: it would be room for a few entries too many.
        let shared_out = share.saturating_mul(number);
        let capacity = if shared_out == 0 { bytes.max(1) } else { shared_out };
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(capacity)
            .shards(shards(capacity))
            .build();
        let evictions = Evictions { metrics };
        let hasher = DefaultHashBuilder::default();
        let entries = match options {
            Ok(options) => Cache::with_options(options, weigh, hasher, evictions),
            // Never: both bounds are set.
            Err(_) => Cache::with(items, capacity, weigh, hasher, evictions),
        };
        Self { entries: Arc::new(entries) }
    }

    pub fn get(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// Keeps `entry`, unless it is heavier than the table.
    pub fn put(&self, key: CacheKey, entry: Arc<Entry>) {
        if let Some(before) = self.entries.peek(&key) {
            entry.add_uses(before.take_uses());
        }
        self.entries.insert(key, entry);
    }

    /// How often each key was answered with since this was last asked.
    pub fn take_uses(&self) -> Vec<(CacheKey, u32)> {
        let held = self.entries.iter().map(|(key, entry)| (key, entry.take_uses()));
        held.filter(|(_, uses)| *uses > 0).collect()
    }

    pub fn remove(&self, key: &CacheKey) -> bool {
        self.entries.remove(key).is_some()
    }

    /// The same without counting as a use.
    pub fn peek(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        self.entries.peek(key)
    }

    /// So many entries at most, and whether these are all.
    pub fn held(&self, most: usize) -> (Vec<(CacheKey, Arc<Entry>)>, bool) {
        let held: Vec<_> = self.entries.iter().take(most).collect();
        let all = held.len() < most;
        (held, all)
    }

    /// Drops every key that `matches`; says how many.
    pub fn remove_matching(&self, matches: impl Fn(&str) -> bool) -> usize {
        let removed = Cell::new(0_usize);
        self.entries.retain(|key, _| {
            let keep = !matches(key.as_str());
            removed.set(removed.get().saturating_add(usize::from(!keep)));
            keep
        });
        removed.get()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Bytes charged for them (each at least its share of the bound).
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|(_, entry)| u64::try_from(size(&entry)).unwrap_or(0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Representation, Times};
    use crate::clock::Timestamp;
    use crate::metrics::Metrics;

    fn entry(size: usize) -> Arc<Entry> {
        let at = Timestamp::from_millis(0);
        let times = Times { stored_at: at, fresh_until: at, revalidate_until: at, stale_until: at };
        Arc::new(Entry::new(Representation::json(vec![0; size].into()), times, false, Vec::new()))
    }

    fn filled(items: usize, bytes: u64, count: usize, size: usize) -> MemoryTier {
        let tier = MemoryTier::new(items, bytes, Metrics::new().cache.clone());
        for n in 0..count {
            tier.put(CacheKey::new(format!("s:o:{n}")), entry(size));
        }
        tier
    }

    #[test]
    fn small_entries_are_bounded_by_number() {
        let tier = filled(1_000, 100_000_000, 5_000, 10);
        assert!(tier.len() <= 1_000, "{}", tier.len());
        assert!(tier.len() >= 900, "{}", tier.len());
    }

    #[test]
    fn bytes_that_do_not_divide_are_no_room_for_more() {
        let tier = filled(2_000, 401_999, 10_000, 10);
        assert!(tier.len() <= 2_000, "{}", tier.len());
        assert!(tier.len() >= 1_900, "{}", tier.len());
    }

    #[test]
    fn large_entries_are_bounded_by_bytes() {
        let tier = filled(1_000, 1_000_000, 500, 10_000);
        assert!(tier.bytes() <= 1_000_000, "{}", tier.bytes());
        assert!(tier.len() >= 50, "{}", tier.len());
    }

    #[test]
    fn the_largest_body_finds_room_in_the_usual_table() {
        for megabytes in [24, 48, 72, 100, 120, 1_000] {
            let tier = filled(1_000, megabytes << 20, 1, 16 << 20);
            assert_eq!(tier.len(), 1, "{megabytes} MiB");
        }
    }

    #[test]
    fn what_is_too_heavy_is_not_kept() {
        let tier = filled(10, 1_000, 1, 5_000);
        assert!(tier.is_empty());
    }

    #[test]
    fn matching_keys_leave() {
        let tier = filled(100, 1_000_000, 30, 10);
        assert_eq!(tier.remove_matching(|key| key.ends_with('7')), 3);
        assert_eq!(tier.len(), 27);
        assert!(tier.remove(&CacheKey::new("s:o:1")));
        assert!(!tier.remove(&CacheKey::new("s:o:1")));
    }
}
