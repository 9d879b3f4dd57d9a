//! A sliding window as counts: how many requests fell into each of the last seconds.
//!
//! Owns: 64 counters in a ring, whatever the limit. A second counts until the last instant in it
//! could have left the window, so the window is never too generous and at most one second late.
//! Refuses nothing; its owner decides.

use super::LENGTH;
use crate::resilience::tick::Tick;

/// A sub-bucket: one second.
const SLOT_NANOS: u64 = 1_000_000_000;
/// Whole sub-buckets in a window.
const SLOTS_IN_WINDOW: u64 = 60;
/// Places in the ring; the window and the second that runs need 61.
const RING: usize = 64;
const RING_MASK: u64 = 63;

/// Counts of admitted requests by second.
#[derive(Debug, Clone)]
pub(super) struct SlotCounts {
    /// The second that runs, counted from the origin.
    newest: u64,
    total: u64,
    ring: [u32; RING],
}

impl Default for SlotCounts {
    fn default() -> Self {
        Self { newest: 0, total: 0, ring: [0; RING] }
    }
}

impl SlotCounts {
    /// Drops the seconds that have left the window by `now`.
    pub(super) fn advance(&mut self, now: Tick) {
        let current = self.newest.max(now.as_nanos() / SLOT_NANOS);
        let kept_from = current.saturating_sub(SLOTS_IN_WINDOW);
        let oldest = self.oldest();
        // No second after the newest holds anything, so an idle year costs 61 steps as well.
        for slot in oldest..kept_from.min(self.newest.saturating_add(1)) {
            let count = self.place(slot).map(std::mem::take).unwrap_or_default();
            self.total = self.total.saturating_sub(u64::from(count));
        }
        self.newest = current;
    }

    /// Adds `count` requests to the newest second. Only after [`Self::advance`], which makes it that
    /// of now.
    pub(super) fn record(&mut self, count: u32) {
        let newest = self.newest;
        if let Some(place) = self.place(newest) {
            let before = *place;
            *place = before.saturating_add(count);
            let added = u64::from(*place - before);
            self.total = self.total.saturating_add(added);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// When at least `count` requests will have left, oldest first.
    pub(super) fn free_at(&self, count: u64) -> Tick {
        let mut freed = 0_u64;
        for slot in self.oldest()..self.newest {
            freed = freed.saturating_add(u64::from(self.count(slot)));
            if freed >= count {
                return leaves_at(slot);
            }
        }
        leaves_at(self.newest)
    }

    /// When the newest request will have left; `None` when there is none.
    pub(super) fn empty_at(&self) -> Option<Tick> {
        let held = (self.oldest()..=self.newest).rev().find(|slot| self.count(*slot) > 0);
        held.map(leaves_at)
    }

    fn oldest(&self) -> u64 {
        self.newest.saturating_sub(SLOTS_IN_WINDOW)
    }

    fn count(&self, slot: u64) -> u32 {
        self.ring.get(index(slot)).copied().unwrap_or_default()
    }

    fn place(&mut self, slot: u64) -> Option<&mut u32> {
        self.ring.get_mut(index(slot))
    }
}

fn index(slot: u64) -> usize {
    usize::try_from(slot & RING_MASK).unwrap_or_default()
}

/// The first instant at which nothing that happened in `slot` is inside the window.
fn leaves_at(slot: u64) -> Tick {
    let end = slot.saturating_add(1).saturating_mul(SLOT_NANOS);
    Tick::from_nanos(end).plus(LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_millis(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    fn record(counts: &mut SlotCounts, now: Tick, count: u32) {
        counts.advance(now);
        counts.record(count);
    }

    #[test]
    fn a_second_stays_until_its_last_instant_may_have_left() {
        let mut counts = SlotCounts::default();
        record(&mut counts, at_millis(5_500), 7);
        counts.advance(at_millis(65_999));
        assert_eq!(counts.total(), 7, "the second 5 ends at 6,000");
        assert_eq!(counts.free_at(1), at_millis(66_000));
        counts.advance(at_millis(66_000));
        assert_eq!(counts.total(), 0);
        assert_eq!(counts.empty_at(), None);
    }

    #[test]
    fn the_ring_forgets_all_after_a_long_sleep() {
        let mut counts = SlotCounts::default();
        for second in 0..200 {
            record(&mut counts, at_millis(second * 1_000), 1);
        }
        assert_eq!(counts.total(), 61, "sixty seconds and the one that runs");
        counts.advance(at_millis(1_000_000_000));
        assert_eq!(counts.total(), 0);
        assert_eq!(counts.ring, [0; RING]);
    }

    #[test]
    fn counters_saturate_with_the_total() {
        let mut counts = SlotCounts::default();
        record(&mut counts, at_millis(0), u32::MAX);
        record(&mut counts, at_millis(0), 5);
        assert_eq!(counts.total(), u64::from(u32::MAX));
        counts.advance(at_millis(120_000));
        assert_eq!(counts.total(), 0);
    }
}
