//! The first tier: this process's memory, bounded by entries and by bytes at once.
//!
//! Owns: the bound. Scan resistance is quick_cache's (an S3-FIFO relative): a crawl through keys
//! never asked for again does not empty it. Entries leave by weight only; freshness is judged at
//! reading.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};

use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::metrics::CacheMetrics;

/// Bytes an entry costs beside its body and key.
const OVERHEAD: u64 = 160;

/// The memory tier. Cheap to clone; all clones are the same table.
#[derive(Debug, Clone)]
pub struct MemoryTier {
    entries: Arc<Cache<CacheKey, Arc<Entry>, Weigh, DefaultHashBuilder, Evictions>>,
    leftover: Leftover,
}

fn keep_uses(leftover: &Leftover, key: CacheKey, entry: &Entry) {
    let uses = entry.take_uses();
    if uses == 0 {
        return;
    }
    let mut leftover = leftover.lock().unwrap_or_else(PoisonError::into_inner);
    if leftover.len() < MOST_LEFTOVER {
        leftover.push((key, uses));
    }
}

/// Weighs an entry so that one bound keeps two: each costs its bytes, but at least its share of the
/// bytes. A full table then holds at most so many bytes and at most so many entries.
#[derive(Debug, Clone)]
struct Weigh {
    at_least: u64,
}

impl Weighter<CacheKey, Arc<Entry>> for Weigh {
    fn weight(&self, key: &CacheKey, entry: &Arc<Entry>) -> u64 {
        // Room for the packed body is set aside: it comes later, and is not weighed then.
        let body = entry.body.len().saturating_add(entry.room_for_packed());
        let bytes = body.saturating_add(key.as_str().len());
        u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(OVERHEAD).max(self.at_least)
    }
}

/// Uses of entries that left, until they are asked for.
type Leftover = Arc<Mutex<Vec<(CacheKey, u32)>>>;

/// Leavers whose uses are kept; beyond it they are forgotten, which costs a little fame.
const MOST_LEFTOVER: usize = 4_096;

#[derive(Debug, Clone)]
struct Evictions {
    metrics: CacheMetrics,
    leftover: Leftover,
}

impl Lifecycle<CacheKey, Arc<Entry>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), key: CacheKey, entry: Arc<Entry>) {
        self.metrics.evicted(1);
        keep_uses(&self.leftover, key, &entry);
    }
}

impl MemoryTier {
    /// A table of at most `items` entries and `bytes` bytes; what leaves for want of room is counted.
    #[must_use]
    pub fn new(items: usize, bytes: u64, metrics: CacheMetrics) -> Self {
        let items = items.max(1);
        let number = u64::try_from(items).unwrap_or(u64::MAX);
        let share = bytes / number;
        let weigh = Weigh { at_least: share.max(1) };
        let leftover = Leftover::default();
        // Without what does not divide: it would be room for a few entries too many.
        let shared_out = share.saturating_mul(number);
        let entries = Cache::with(
            items,
            if shared_out == 0 { bytes.max(1) } else { shared_out },
            weigh,
            DefaultHashBuilder::default(),
            Evictions { metrics, leftover: Leftover::clone(&leftover) },
        );
        Self { entries: Arc::new(entries), leftover }
    }

    /// What is kept under `key`, whatever its age.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// Keeps `entry`, unless it is heavier than the table.
    pub fn put(&self, key: CacheKey, entry: Arc<Entry>) {
        if let Some(before) = self.entries.peek(&key) {
            keep_uses(&self.leftover, key.clone(), &before);
        }
        self.entries.insert(key, entry);
    }

    /// How often each key was answered with since this was last asked.
    #[must_use]
    pub fn take_uses(&self) -> Vec<(CacheKey, u32)> {
        let mut uses =
            std::mem::take(&mut *self.leftover.lock().unwrap_or_else(PoisonError::into_inner));
        let held = self.entries.iter().map(|(key, entry)| (key, entry.take_uses()));
        uses.extend(held.filter(|(_, uses)| *uses > 0));
        uses
    }

    /// Drops `key`; whether it was there.
    pub fn remove(&self, key: &CacheKey) -> bool {
        self.entries.remove(key).is_some()
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

    /// Entries kept now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Bytes charged for them (each at least its share of the bound).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = |entry: &Entry| entry.body.len().saturating_add(entry.room_for_packed());
        self.entries.iter().map(|(_, e)| u64::try_from(bytes(&e)).unwrap_or(0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Times;
    use crate::clock::Timestamp;
    use crate::metrics::Metrics;
    use bytes::Bytes;

    fn entry(size: usize) -> Arc<Entry> {
        let at = Timestamp::from_millis(0);
        let times = Times { stored_at: at, fresh_until: at, revalidate_until: at, stale_until: at };
        Arc::new(Entry::new(Bytes::from(vec![0; size]), times, false, Vec::new()))
    }

    fn filled(items: usize, bytes: u64, count: usize, size: usize) -> MemoryTier {
        let tier = MemoryTier::new(items, bytes, Metrics::new().cache().clone());
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
