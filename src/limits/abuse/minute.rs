//! How often in the last minute, in 28 bytes.
//!
//! Owns: [`Minute`], counts in twelve slots of five seconds. Refuses: to count anything older than a
//! minute; because the youngest slot is not over, it looks back between 55 and 60 seconds. So it
//! never counts too much, and what comes that often within 55 seconds is never missed; only beyond
//! 65,535 in a slot it stops counting. No neighbours.

use crate::limits::tick::Tick;

const SLOTS: u32 = 12;
const SLOT_NANOS: u64 = 5_000_000_000;

/// A sliding minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Minute {
    counts: [u16; 12],
    newest: u32,
}

impl Minute {
    /// Counts one more at `now`; returns how many there were in the last minute, this one included.
    pub(super) fn add(&mut self, now: Tick) -> u32 {
        self.turn_to(u32::try_from(now.as_nanos() / SLOT_NANOS).unwrap_or(u32::MAX));
        if let Some(count) = self.slot(self.newest) {
            *count = count.saturating_add(1);
        }
        self.sum()
    }

    /// How many it counted when it was last asked.
    pub(super) fn sum(&self) -> u32 {
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }

    /// Empties the slots between the newest and this one, which is the newest then. Two threads may
    /// read the clock in one order and come here in another: what is a moment late counts as now.
    fn turn_to(&mut self, slot: u32) {
        let passed = slot.saturating_sub(self.newest);
        for ahead in 1..=passed.min(SLOTS) {
            if let Some(count) = self.slot(self.newest.wrapping_add(ahead)) {
                *count = 0;
            }
        }
        self.newest = self.newest.max(slot);
    }

    fn slot(&mut self, number: u32) -> Option<&mut u16> {
        self.counts.get_mut(usize::try_from(number % SLOTS).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::ORIGIN.plus(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_older_than_a_minute_is_gone() {
        let mut minute = Minute::default();
        assert_eq!(minute.add(at(4_999)), 1);
        assert_eq!(minute.add(at(5_000)), 2);
        assert_eq!(minute.add(at(59_999)), 3);
        assert_eq!(minute.add(at(60_000)), 3, "the first slot is gone");
        assert_eq!(minute.add(at(10_000_000)), 1);
        assert_eq!(minute.add(at(9_999_000)), 2, "a moment late is now");
    }

    proptest! {
        #[test]
        fn never_more_than_in_sixty_seconds_and_never_less_than_in_fifty_five(
            steps in prop::collection::vec(0..20_000_u64, 1..200),
        ) {
            let (mut minute, mut now, mut all) = (Minute::default(), 0, Vec::new());
            for step in steps {
                now += step;
                all.push(now);
                let counted = minute.add(at(now));
                let within = |span: u64| {
                    let recent = all.iter().filter(|then| now - **then < span);
                    u32::try_from(recent.count()).unwrap()
                };
                prop_assert!(counted <= within(60_000), "{counted}");
                prop_assert!(counted >= within(55_001), "{counted}");
            }
        }
    }
}
