//! Calls of the last seconds, counted by how they went.
//!
//! Owns: counts in slots of a tenth of the window, each with its own beginning, so memory is
//! bounded whatever the load. A slot is forgotten as soon as its beginning is a window ago: what is
//! counted is never older than the window, and what is younger than nine tenths of it always
//! counts. Refuses: to read a clock; a call from before the last slot's beginning counts in that
//! slot. Whoever asks draws the conclusions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Verdict;

/// Slots of a window.
const SLOTS: u32 = 10;
/// A shorter window has slots too short to mean anything.
const SHORTEST: Duration = Duration::from_secs(1);
/// A longer one remembers a day that is over.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How many calls went how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) well: u32,
    pub(super) slow: u32,
    pub(super) ill: u32,
}

impl Counts {
    /// All calls that said something.
    pub(super) const fn calls(self) -> u32 {
        self.well.saturating_add(self.slow).saturating_add(self.ill)
    }

    /// The share of failed calls; 0 of none.
    pub(super) fn ill_share(self) -> f64 {
        f64::from(self.ill) / f64::from(self.calls().max(1))
    }

    /// The share of slow calls; 0 of none.
    pub(super) fn slow_share(self) -> f64 {
        f64::from(self.slow) / f64::from(self.calls().max(1))
    }

    pub(super) const fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Well => self.well = self.well.saturating_add(1),
            Verdict::Slow => self.slow = self.slow.saturating_add(1),
            Verdict::Ill => self.ill = self.ill.saturating_add(1),
            Verdict::Silent => {}
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            well: self.well.saturating_add(other.well),
            slow: self.slow.saturating_add(other.slow),
            ill: self.ill.saturating_add(other.ill),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    since: Instant,
    counts: Counts,
}

/// The counts of the last seconds.
#[derive(Debug, Clone)]
pub(super) struct Window {
    length: Duration,
    slots: VecDeque<Slot>,
}

impl Window {
    /// An empty one; `length` is held between a second and a day.
    pub(super) fn new(length: Duration) -> Self {
        Self { length: length.clamp(SHORTEST, LONGEST), slots: VecDeque::new() }
    }

    /// Counts one call.
    pub(super) fn note(&mut self, verdict: Verdict, now: Instant) {
        self.forget_old(now);
        let width = self.length / SLOTS;
        match self.slots.back_mut() {
            Some(slot) if now.saturating_duration_since(slot.since) < width => {
                slot.counts.count(verdict);
            }
            Some(_) | None => {
                let mut slot = Slot { since: now, counts: Counts::default() };
                slot.counts.count(verdict);
                self.slots.push_back(slot);
            }
        }
    }

    /// What the window holds now.
    pub(super) fn counts(&self, now: Instant) -> Counts {
        self.living(now).fold(Counts::default(), |all, slot| all.and(slot.counts))
    }

    /// When the oldest call that still counts may have been; `None` when none does.
    pub(super) fn since(&self, now: Instant) -> Option<Instant> {
        self.living(now).map(|slot| slot.since).next()
    }

    /// Holds nothing but `counts`, all of them from `since`.
    pub(super) fn restore(&mut self, counts: Counts, since: Instant) {
        self.clear();
        if counts.calls() > 0 {
            self.slots.push_back(Slot { since, counts });
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    fn living(&self, now: Instant) -> impl Iterator<Item = &Slot> {
        self.slots
            .iter()
            .filter(move |slot| now.saturating_duration_since(slot.since) < self.length)
    }

    fn forget_old(&mut self, now: Instant) {
        let length = self.length;
        self.slots.retain(|slot| now.saturating_duration_since(slot.since) < length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const LENGTH: Duration = Duration::from_secs(30);

    fn counts(well: u32, slow: u32, ill: u32) -> Counts {
        Counts { well, slow, ill }
    }

    #[test]
    fn every_verdict_but_silence_counts_until_it_is_a_window_old() {
        let mut window = Window::new(LENGTH);
        let start = clock::monotonic();
        for verdict in [Verdict::Well, Verdict::Slow, Verdict::Ill, Verdict::Ill, Verdict::Silent] {
            window.note(verdict, start);
        }
        assert_eq!(window.counts(start), counts(1, 1, 2));
        assert!((window.counts(start).ill_share() - 0.5).abs() < 1e-9);
        assert!((window.counts(start).slow_share() - 0.25).abs() < 1e-9);
        let almost = start + LENGTH - Duration::from_nanos(1);
        assert_eq!((window.counts(almost).calls(), window.since(almost)), (4, Some(start)));
        assert_eq!(window.counts(start + LENGTH), Counts::default());
        assert_eq!(window.since(start + LENGTH), None);
    }

    #[test]
    fn an_empty_window_has_no_shares() {
        let window = Window::new(LENGTH);
        let nothing = window.counts(clock::monotonic());
        assert!(nothing.ill_share() < 1e-9 && nothing.slow_share() < 1e-9);
    }

    #[test]
    fn a_restored_window_ages_as_the_old_one_did() {
        let start = clock::monotonic();
        let mut window = Window::new(LENGTH);
        window.note(Verdict::Ill, start);
        window.restore(counts(3, 2, 1), start);
        assert_eq!(window.counts(start + LENGTH / 2), counts(3, 2, 1));
        assert_eq!(window.counts(start + LENGTH), Counts::default());
    }

    proptest! {
        #[test]
        fn it_holds_what_is_young_and_nothing_old_in_bounded_memory(
            length in 1_u64..60,
            calls in prop::collection::vec((0_u64..5_000, 0..4_u8), 1..200),
        ) {
            let length = Duration::from_secs(length);
            let mut window = Window::new(length);
            let mut now = clock::monotonic();
            let mut all = Vec::new();
            for (wait, verdict) in calls {
                now += Duration::from_millis(wait);
                let verdict = [Verdict::Well, Verdict::Slow, Verdict::Ill, Verdict::Silent]
                    [usize::from(verdict)];
                window.note(verdict, now);
                all.push((now, verdict));
                let within = |age: Duration| {
                    let mut sum = Counts::default();
                    all.iter().filter(|(at, _)| now - *at < age).for_each(|(_, v)| sum.count(*v));
                    sum
                };
                let (held, young, most) =
                    (window.counts(now), within(length * 9 / 10), within(length));
                for (held, young, most) in [
                    (held.well, young.well, most.well),
                    (held.slow, young.slow, most.slow),
                    (held.ill, young.ill, most.ill),
                ] {
                    prop_assert!(young <= held && held <= most);
                }
                prop_assert!(window.slots.len() <= 10);
            }
        }
    }
}
