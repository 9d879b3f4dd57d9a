//! What Redis missed while it was away or took no writes.
//!
//! Owns: the newest entry of each key that could not be stored, and, apart from these, the
//! invalidations that could not be told. Both are bounded. The oldest entries leave first and are
//! counted; the oldest invalidations, which were promised, become invalidations of everything, which
//! hits more than was asked for and never less.
//! Refuses: to do anything about it: no I/O is here, the Redis tier's `replay` brings it all.
//!
//! What is being brought stays here until it is settled, so that a replay that fails or is dropped
//! half-way loses nothing, and what was forgotten or replaced meanwhile is noticed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::invalidations::{Mode, Rule, Subject};
use super::key::CacheKey;
use crate::clock::Timestamp;

/// Entries kept at most.
const MOST_ENTRIES: usize = 2_000;
/// Bytes of keys and entries kept at most.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Invalidations kept at most.
const MOST_RECORDS: usize = 1_000;
/// The share of the invalidations that is folded at once, so that it is seldom done.
const FOLDED_SHARE: usize = 16;
/// What everything's invalidation needs: a soft and a hard one.
const FOLDED_TO: usize = 2;

/// An entry that Redis missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Its key.
    pub key: CacheKey,
    /// Its stored form.
    pub encoded: Bytes,
    /// Nothing to bring any more from then on.
    pub stale_until: Timestamp,
    /// Tells it from earlier and later ones of its key.
    number: u64,
}

impl Missed {
    fn weight(&self) -> usize {
        self.key.as_str().len().saturating_add(self.encoded.len())
    }
}

/// An invalidation that Redis missed, by a number that tells it from later ones.
type Record = (u64, Rule);

/// What Redis missed; shared by all workers.
#[derive(Debug)]
pub struct Arrears {
    // Readable without the lock: usually there is nothing to forget.
    count: AtomicUsize,
    kept: Mutex<Kept>,
    most_entries: usize,
    most_bytes: usize,
    most_records: usize,
}

#[derive(Debug, Default)]
struct Kept {
    // Both hold the same: by key for replacing, by number for order.
    entries: HashMap<CacheKey, Missed>,
    order: BTreeMap<u64, CacheKey>,
    bytes: usize,
    records: VecDeque<Record>,
    last_number: u64,
    dropped: u64,
}

impl Default for Arrears {
    fn default() -> Self {
        Self::new()
    }
}

impl Arrears {
    /// Nothing missed; room for 2,000 entries of 32 MB together, and for 1,000 invalidations.
    #[must_use]
    pub fn new() -> Self {
        Self::bounded(MOST_ENTRIES, MOST_BYTES, MOST_RECORDS)
    }

    /// Nothing missed; room for so many entries, bytes of them, and invalidations, at least two.
    #[must_use]
    pub fn bounded(most_entries: usize, most_bytes: usize, most_records: usize) -> Self {
        let (count, kept) = (AtomicUsize::new(0), Mutex::default());
        Self { count, kept, most_entries, most_bytes, most_records }
    }

    /// Redis missed this entry: it takes the place of an earlier one of its key. Says how many
    /// entries had to leave for good, itself included when it is larger than all the room.
    pub fn missed(&self, key: &CacheKey, encoded: Bytes, stale_until: Timestamp) -> u64 {
        self.with(|kept| {
            let number = kept.next_number();
            kept.insert(Missed { key: key.clone(), encoded, stale_until, number });
            let mut left = 0_u64;
            while kept.entries.len() > self.most_entries || kept.bytes > self.most_bytes {
                kept.drop_oldest();
                left = left.saturating_add(1);
            }
            left
        })
    }

    /// Redis missed this invalidation. Says how many had to become one of everything.
    pub fn missed_record(&self, rule: &Rule) -> usize {
        self.with(|kept| {
            let number = kept.next_number();
            kept.records.push_back((number, rule.clone()));
            if kept.records.len() > self.most_records.max(FOLDED_TO) {
                kept.fold((self.most_records / FOLDED_SHARE).max(FOLDED_TO) + 1)
            } else {
                0
            }
        })
    }

    /// The newest entries, newest first: at most `count`, and no more than `bytes` in all unless
    /// the first alone is larger. They stay until they are settled.
    #[must_use]
    pub fn newest(&self, count: usize, bytes: usize) -> Vec<Missed> {
        let kept = self.lock();
        let newest = kept.order.values().rev().take(count);
        let entries = newest.filter_map(|key| kept.entries.get(key));
        let mut weight = 0_usize;
        entries
            .take_while(|entry| {
                let first = weight == 0;
                weight = weight.saturating_add(entry.weight());
                first || weight <= bytes
            })
            .cloned()
            .collect()
    }

    /// These were brought, or need not be. Says which of them were forgotten meanwhile: Redis may
    /// hold what must not be there. One that a newer entry replaced is not among them; that one is
    /// still to be brought.
    #[must_use = "what was forgotten meanwhile has to be dropped from Redis"]
    pub fn settle(&self, brought: &[Missed]) -> Vec<CacheKey> {
        self.with(|kept| {
            let mut forgotten = Vec::new();
            for missed in brought {
                match kept.entries.get(&missed.key) {
                    Some(entry) if entry.number == missed.number => kept.remove(&missed.key),
                    Some(_) => {}
                    None => forgotten.push(missed.key.clone()),
                }
            }
            forgotten
        })
    }

    /// The oldest invalidations, at most `count`, in their order. They stay until they are settled.
    pub(super) fn records(&self, count: usize) -> Vec<(u64, String)> {
        let kept = self.lock();
        let oldest = kept.records.iter().take(count);
        oldest.map(|(number, rule)| (*number, rule.to_string())).collect()
    }

    /// Invalidations up to this number were told.
    pub(super) fn settle_records(&self, up_to: u64) {
        self.with(|kept| kept.records.retain(|(number, _)| *number > up_to));
    }

    /// The key was removed, or stored in Redis after all: what was missed of it must not be brought.
    pub fn forget(&self, key: &CacheKey) {
        if !self.is_empty() {
            self.with(|kept| kept.remove(key));
        }
    }

    /// As [`Arrears::forget`], for every key that `matches`; says how many.
    pub fn forget_matching(&self, matches: impl Fn(&CacheKey) -> bool) -> usize {
        if self.is_empty() {
            return 0;
        }
        // No code of others runs under the lock.
        let keys: Vec<_> = self.lock().entries.keys().cloned().collect();
        let gone: Vec<_> = keys.into_iter().filter(|key| matches(key)).collect();
        self.with(|kept| gone.iter().for_each(|key| kept.remove(key)));
        gone.len()
    }

    /// Entries and invalidations that Redis still misses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether Redis misses nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that left for want of room, ever.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn with<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = self.lock();
        let told = change(&mut kept);
        self.count.store(kept.entries.len().saturating_add(kept.records.len()), Ordering::Release);
        told
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    const fn next_number(&mut self) -> u64 {
        self.last_number = self.last_number.saturating_add(1);
        self.last_number
    }

    fn insert(&mut self, missed: Missed) {
        self.remove(&missed.key);
        self.bytes = self.bytes.saturating_add(missed.weight());
        self.order.insert(missed.number, missed.key.clone());
        self.entries.insert(missed.key.clone(), missed);
    }

    fn remove(&mut self, key: &CacheKey) {
        if let Some(missed) = self.entries.remove(key) {
            self.order.remove(&missed.number);
            self.bytes = self.bytes.saturating_sub(missed.weight());
        }
    }

    /// Makes so many of the oldest invalidations, those of one mode, one of everything; says how many
    /// they were. Whoever has told some of them meanwhile settles the one that took their place only
    /// when all were told: it has the number of the last.
    fn fold(&mut self, count: usize) -> usize {
        let count = count.min(self.records.len());
        let oldest: Vec<Record> = self.records.drain(..count).collect();
        let Some((number, _)) = oldest.last() else { return 0 };
        let newest = |mode| {
            let rules = oldest.iter().map(|(_, rule)| rule).filter(|rule| rule.mode == mode);
            rules.map(|rule| rule.at).max()
        };
        let (soft, hard) = (newest(Mode::Soft), newest(Mode::Hard));
        // What is hard invalid until later need not be told to be softly so.
        let soft = soft.filter(|soft| hard < Some(*soft));
        for (mode, at) in [(Mode::Soft, soft), (Mode::Hard, hard)] {
            if let Some(at) = at {
                let rule = Rule { subject: Subject::Everything, mode, at };
                self.records.push_front((*number, rule));
            }
        }
        count
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.remove(&key);
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

#[cfg(test)]
#[path = "arrears_tests.rs"]
mod tests;
