//! A ring of time slots: what happened lately, in slots of equal length.
//!
//! Owns: one value for each of the last `N` slots; a slot that is over makes room when time moves on,
//! so memory is bounded whatever the load. Whoever uses it numbers the slots: time divided by their
//! length. What comes late counts in its own slot while that is kept, and is left out later.

use std::time::{Duration, Instant};

/// The number of the slot of this `width` that `now` falls into, counted from `origin`.
pub fn number(origin: Instant, now: Instant, width: Duration) -> u64 {
    let passed = now.saturating_duration_since(origin).as_nanos();
    u64::try_from(passed / width.as_nanos().max(1)).unwrap_or(u64::MAX)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSlots<T, const N: usize> {
    newest: u64,
    ring: [T; N],
}

impl<T: Default, const N: usize> Default for TimeSlots<T, N> {
    fn default() -> Self {
        Self { newest: 0, ring: std::array::from_fn(|_| T::default()) }
    }
}

impl<T: Default, const N: usize> TimeSlots<T, N> {
    /// Works on the value of the slot with this number, if the ring reaches back to it.
    pub fn update(&mut self, number: u64, work: impl FnOnce(&mut T)) {
        let passed = number.saturating_sub(self.newest);
        for ahead in 1..=passed.min(Self::size()) {
            if let Some(value) = self.ring.get_mut(Self::place(self.newest.saturating_add(ahead))) {
                *value = T::default();
            }
        }
        // After a long pause the numbers in between were skipped: the whole ring is empty then.
        self.newest = self.newest.max(number);
        if self.newest.saturating_sub(number) < Self::size()
            && let Some(value) = self.ring.get_mut(Self::place(number))
        {
            work(value);
        }
    }

    /// The last `count` slots as of slot `now`, that one included, with their numbers; oldest first.
    pub fn last(&self, count: u64, now: u64) -> impl Iterator<Item = (u64, &T)> {
        let first = now.saturating_add(1).saturating_sub(count);
        let kept = self.newest.saturating_add(1).saturating_sub(Self::size());
        let numbers = first.max(kept)..=self.newest;
        numbers.filter_map(|number| Some((number, self.ring.get(Self::place(number))?)))
    }

    fn place(number: u64) -> usize {
        usize::try_from(number.checked_rem(Self::size()).unwrap_or_default()).unwrap_or_default()
    }

    fn size() -> u64 {
        u64::try_from(N).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_what_a_list_of_all_would(
            steps in prop::collection::vec(prop_oneof![4 => 0..3_u64, 1 => 0..30_u64], 1..100),
            count in 1..=6_u64,
            later in 0..8_u64,
        ) {
            let (mut slots, mut all, mut now) = (TimeSlots::<u32, 6>::default(), Vec::new(), 0);
            for step in steps {
                now += step;
                slots.update(now, |value| *value += 1);
                all.push(now);
            }
            let asked = now + later;
            let living = all.iter().filter(|at| **at + count > asked).count();
            let counted: u32 = slots.last(count, asked).map(|(_, value)| value).sum();
            prop_assert_eq!(usize::try_from(counted).unwrap(), living);
            let count_at = |slots: &TimeSlots<u32, 6>, number| {
                slots.last(6, now).find(|(at, _)| *at == number).map(|(_, value)| *value)
            };
            let (late, before) = (now.saturating_sub(1), count_at(&slots, now.saturating_sub(1)));
            slots.update(late, |value| *value += 1);
            prop_assert_eq!(count_at(&slots, late), before.map(|count| count + 1));
            if let Some(gone) = now.checked_sub(6) {
                slots.update(gone, |_| panic!("the ring does not reach back so far"));
            }
        }
    }
}
