//! How often in the last minute, in a few bytes.
//!
//! Owns: [`Minute`], counts in slots of so many seconds. Refuses: to count anything older than a
//! minute; because the youngest slot is not over, it looks back a slot less than a minute at least:
//! with twelve slots between 55 and 60 seconds. So it never counts too much, and what comes that
//! often within 55 seconds is never missed; only beyond 65,535 in a slot it stops counting. No
//! neighbours.

const SECONDS: u32 = 60;

/// A sliding minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Minute<const SLOTS: usize = 12> {
    counts: [u16; SLOTS],
    newest: u32,
}

impl<const SLOTS: usize> Default for Minute<SLOTS> {
    fn default() -> Self {
        Self { counts: [0; SLOTS], newest: 0 }
    }
}

impl<const SLOTS: usize> Minute<SLOTS> {
    /// Counts one more in a second; returns how many there were in the last minute, this one
    /// included.
    pub(super) fn add(&mut self, second: u32) -> u32 {
        self.turn_to(second / (SECONDS / Self::slots()).max(1));
        if let Some(count) = self.slot(self.newest) {
            *count = count.saturating_add(1);
        }
        self.sum()
    }

    /// How many it counted when it was last asked.
    pub(super) fn sum(&self) -> u32 {
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }

    /// Empties the slots between the newest and this one, which is the newest then. Two requests may
    /// begin in one order and come here in another: what is a moment late counts as now.
    fn turn_to(&mut self, slot: u32) {
        let passed = slot.saturating_sub(self.newest);
        for ahead in 1..=passed.min(Self::slots()) {
            if let Some(count) = self.slot(self.newest.wrapping_add(ahead)) {
                *count = 0;
            }
        }
        self.newest = self.newest.max(slot);
    }

    fn slot(&mut self, number: u32) -> Option<&mut u16> {
        self.counts.get_mut(usize::try_from(number.checked_rem(Self::slots())?).ok()?)
    }

    fn slots() -> u32 {
        u32::try_from(SLOTS).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_older_than_a_minute_is_gone() {
        let mut minute = Minute::<12>::default();
        assert_eq!([4, 5, 59].map(|second| minute.add(second)), [1, 2, 3]);
        assert_eq!(minute.add(60), 3, "the first slot is gone");
        assert_eq!(minute.add(10_000), 1);
        assert_eq!(minute.add(9_999), 2, "a moment late is now");
    }

    fn is_exact<const SLOTS: usize>(steps: &[u32], shortest: u32) -> Result<(), TestCaseError> {
        let (mut minute, mut now, mut all) = (Minute::<SLOTS>::default(), 0, Vec::new());
        for step in steps {
            now += step;
            all.push(now);
            let counted = minute.add(now);
            let within = |span: u32| {
                let recent = all.iter().filter(|then| now - **then < span);
                u32::try_from(recent.count()).unwrap()
            };
            prop_assert!(counted <= within(60), "{counted}");
            prop_assert!(counted >= within(shortest), "{counted}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn never_more_than_in_sixty_seconds_and_never_less_than_in_a_slot_less(
            steps in prop::collection::vec(0..20_u32, 1..200),
        ) {
            is_exact::<12>(&steps, 56)?;
            is_exact::<6>(&steps, 51)?;
        }
    }
}
