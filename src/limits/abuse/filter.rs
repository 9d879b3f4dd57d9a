//! Who surely has no penalty, told without a lock.
//!
//! Owns: [`Filter`]: a count of penalties by some bits of the client's hash (a counting Bloom filter
//! with one hash; Fan et al., "Summary cache", 2000). Where the count is nought there is none. Refuses
//! nothing: where clients share their bits the lock decides. Whoever changes it holds that lock.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts; a power of two.
const COUNTS: usize = 1 << 13;

/// Counts by hash.
#[derive(Debug)]
pub(super) struct Filter {
    counts: Box<[AtomicU32]>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { counts: (0..COUNTS).map(|_| AtomicU32::new(0)).collect() }
    }
}

impl Filter {
    /// Bytes that it takes.
    pub(super) const BYTES: usize = COUNTS * size_of::<AtomicU32>();

    /// False if nobody with that hash is in it.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.count(hash).is_none_or(|count| count.load(Ordering::Acquire) > 0)
    }

    /// One more with that hash.
    pub(super) fn add(&self, hash: u64) {
        if let Some(count) = self.count(hash) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// One less with that hash, who was added before.
    pub(super) fn remove(&self, hash: u64) {
        if let Some(count) = self.count(hash) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn count(&self, hash: u64) -> Option<&AtomicU32> {
        let mask = u64::try_from(COUNTS - 1).unwrap_or_default();
        self.counts.get(usize::try_from(hash & mask).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_added_is_found_until_all_like_him_are_removed() {
        let filter = Filter::default();
        let (one, like, other) = (7, 7 | 1 << 40, 8);
        assert!(!filter.may_have(one));
        filter.add(one);
        filter.add(like);
        assert!(filter.may_have(one) && !filter.may_have(other));
        filter.remove(one);
        assert!(filter.may_have(one), "one like it is still there");
        filter.remove(like);
        assert!(!filter.may_have(one));
    }
}
