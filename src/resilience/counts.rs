//! Events of the last seconds, counted by kind.
//!
//! Owns: counts in slots of a tenth of the window, so memory is bounded whatever the load. Refuses:
//! to read a clock; an event from before the newest slot counts in that slot.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The window slides in steps of a tenth.
const SLOTS: u32 = 10;

/// Counts of `N` kinds over a sliding window.
#[derive(Debug, Clone)]
pub struct SlidingCounts<const N: usize> {
    length: Duration,
    width: Duration,
    slots: VecDeque<Slot<N>>,
}

#[derive(Debug, Clone, Copy)]
struct Slot<const N: usize> {
    start: Instant,
    end: Instant,
    counts: [u32; N],
}

impl<const N: usize> SlidingCounts<N> {
    /// Counts over `length`; shorter windows of at least `shortest` may be asked for, too.
    #[must_use]
    pub fn new(length: Duration, shortest: Duration) -> Self {
        Self { length, width: shortest.min(length) / SLOTS, slots: VecDeque::new() }
    }

    /// Counts one event of `kind`.
    pub fn count(&mut self, kind: usize, now: Instant) {
        let (length, width) = (self.length, self.width);
        let age = |at: Instant| now.saturating_duration_since(at);
        if self.slots.back().is_none_or(|slot| age(slot.start) >= width) {
            while self.slots.front().is_some_and(|slot| age(slot.end) >= length) {
                self.slots.pop_front();
            }
            self.slots.push_back(Slot { start: now, end: now, counts: [0; N] });
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.end = slot.end.max(now);
            if let Some(count) = slot.counts.get_mut(kind) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// Takes back an event of `kind` that was counted at `at`.
    pub fn take_back(&mut self, kind: usize, at: Instant) {
        let slot = self.slots.iter_mut().rev().find(|slot| slot.start <= at);
        if let Some(count) = slot.and_then(|slot| slot.counts.get_mut(kind)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Events that surely happened within `window` before `now`: those of slots that lie in it as a
    /// whole.
    #[must_use]
    pub fn within(&self, window: Duration, now: Instant) -> [u32; N] {
        self.sum(now, window, |slot| slot.start)
    }

    /// Events that may have happened within `window` before `now`: those of the slot that its
    /// beginning cuts through, too.
    #[must_use]
    pub fn touching(&self, window: Duration, now: Instant) -> [u32; N] {
        self.sum(now, window, |slot| slot.end)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    fn sum(&self, now: Instant, window: Duration, edge: impl Fn(&Slot<N>) -> Instant) -> [u32; N] {
        let is_in = |slot: &&Slot<N>| now.saturating_duration_since(edge(slot)) < window;
        let mut sum = [0_u32; N];
        for slot in self.slots.iter().rev().take_while(is_in) {
            for (all, count) in sum.iter_mut().zip(slot.counts) {
                *all = all.saturating_add(count);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const LENGTH: Duration = Duration::from_secs(30);

    #[test]
    fn an_event_counts_until_it_is_a_window_old() {
        let mut counts = SlidingCounts::<2>::new(LENGTH, LENGTH);
        let start = clock::monotonic();
        [0, 1, 1, 7].into_iter().for_each(|kind| counts.count(kind, start));
        assert_eq!(counts.within(LENGTH, start), [1, 2], "an unknown kind is not counted");
        let almost = start + LENGTH - Duration::from_nanos(1);
        assert_eq!(counts.within(LENGTH, almost), [1, 2]);
        assert_eq!(counts.touching(LENGTH, start + LENGTH), [0, 0]);
        counts.take_back(1, start);
        assert_eq!(counts.within(LENGTH, start), [1, 1]);
        counts.clear();
        assert_eq!(counts.within(LENGTH, start), [0, 0]);
    }

    proptest! {
        #[test]
        fn the_two_sums_enclose_what_happened_in_bounded_memory(
            length in 1_u64..60,
            events in prop::collection::vec((0_u64..5_000, 0..2_usize), 1..200),
        ) {
            let length = Duration::from_secs(length);
            let mut counts = SlidingCounts::<2>::new(length, length / 2);
            let (mut now, mut all) = (clock::monotonic(), Vec::new());
            for (wait, kind) in events {
                now += Duration::from_millis(wait);
                counts.count(kind, now);
                all.push((now, kind));
                for window in [length, length / 2] {
                    let (least, most) = (counts.within(window, now), counts.touching(window, now));
                    for kind in [0, 1] {
                        let happened = all.iter().filter(|(at, of)| *of == kind && now - *at < window);
                        let happened = u32::try_from(happened.count()).unwrap();
                        prop_assert!(least[kind] <= happened && happened <= most[kind]);
                    }
                }
                prop_assert!(counts.slots.len() <= 22);
            }
        }
    }
}
