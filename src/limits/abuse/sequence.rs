//! Numbers that a client asked for lately: ids of products or categories, pages of a search.
//!
//! Owns: [`Sequence`], which finds numbers that follow one another, up or down. A crawler leaves some
//! out, asks for several at once and visits others in between; so a step may be as wide as [`AHEAD`], a
//! number that was overtaken still counts up to [`BEHIND`] late, and up to [`OTHERS`] numbers of other
//! runs may come between two of one. Even steps of any width are found, too. Refuses: to count a number
//! twice. Who visits a dense catalogue without order
//! never makes a long run so.

use std::cmp::Ordering;

use crate::resilience::slots::TimeSlots;

/// Widest step in the direction of a run.
const AHEAD: u64 = 10;
/// How far behind the front a number may still come.
const BEHIND: u64 = 4;
/// Numbers that may come between two of a run.
const OTHERS: u32 = 4;
/// Runs that can be alive at once: each of the numbers between began or continued another one.
const RUNS: usize = 5;
/// How many in the last minute: looks back between 50 and 60 seconds, since a sequence has to be small.
type Pace = Minute<6>;

/// How often in the last minute. It never counts too much, and what comes that often within a slot less
/// than a minute is never missed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Minute<const SLOTS: usize>(TimeSlots<u16, SLOTS>);

impl<const SLOTS: usize> Minute<SLOTS> {
    pub(super) fn add(&mut self, second: u32) -> u32 {
        let slots = u64::try_from(SLOTS).unwrap_or(1).max(1);
        let slot = u64::from(second) * slots / 60;
        self.0.update(slot, |count| *count = count.saturating_add(1));
        self.0.last(slots, slot).map(|(_, count)| u32::from(*count)).sum()
    }
}

/// What a number is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Further,
    Known,
    Elsewhere,
}

/// Numbers that follow one another; the empty run takes any number.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    front: u64,
    length: u16,
    /// Numbers behind the front that came: bit 0 for the next one.
    passed: u16,
    /// Up or down; `None` as long as that is not known.
    heading: Option<Ordering>,
    /// The number of the sequence that moved it.
    moved: u32,
    pace: Pace,
}

impl Run {
    fn step(&mut self, number: u64) -> Step {
        if self.length == 0 {
            (self.front, self.length) = (number, 1);
            return Step::Further;
        }
        let direction = number.cmp(&self.front);
        if direction == Ordering::Equal {
            return Step::Known;
        }
        let ahead = self.heading.is_none_or(|heading| heading == direction);
        let most = if ahead { AHEAD } else { BEHIND };
        let distance = number.abs_diff(self.front);
        let Some(distance) = u32::try_from(distance).ok().filter(|far| u64::from(*far) <= most)
        else {
            return Step::Elsewhere;
        };
        if ahead {
            // The old front is now one of those behind, `distance` back.
            self.passed = ((self.passed << 1) | 1) << distance.saturating_sub(1);
            (self.front, self.heading) = (number, Some(direction));
        } else {
            let bit = 1_u16.checked_shl(distance.saturating_sub(1)).unwrap_or(0);
            if self.passed & bit != 0 {
                return Step::Known;
            }
            self.passed |= bit;
        }
        self.length = self.length.saturating_add(1);
        Step::Further
    }

    const fn is_alive(&self, count: u32) -> bool {
        self.length > 0 && count.saturating_sub(self.moved) <= OTHERS + 1
    }
}

/// Even steps, whatever their width.
#[derive(Debug, Clone, Copy, Default)]
struct Stride {
    last: u64,
    /// From the last but one to the last; differences wrap, so that they know up and down.
    width: u64,
    length: u16,
    pace: Pace,
}

impl Stride {
    fn visit(&mut self, number: u64, second: u32) -> u32 {
        let width = number.wrapping_sub(self.last);
        if self.length > 0 && width == 0 {
            return 0;
        }
        if self.length > 1 && width != self.width {
            // The last one and this one are the first two in another stride.
            (self.length, self.pace) = (1, Pace::default());
            self.pace.add(second);
        }
        (self.last, self.width) = (number, width);
        self.length = self.length.saturating_add(1);
        self.pace.add(second)
    }
}

/// What a client asked for lately, as far as it could be a scan.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence {
    runs: [Run; RUNS],
    stride: Stride,
    count: u32,
}

impl Sequence {
    /// Takes the next number; returns how many of the run that it made longer came in the last minute,
    /// 0 when it made none longer.
    pub(super) fn visit(&mut self, number: u64, second: u32) -> u32 {
        self.count = self.count.saturating_add(1);
        self.follow(number, second).max(self.stride.visit(number, second))
    }

    /// Continues the longest run that the number belongs to, or begins one.
    fn follow(&mut self, number: u64, second: u32) -> u32 {
        let count = self.count;
        let mut best: Option<(usize, Run, Step)> = None;
        for (place, run) in self.runs.iter().enumerate() {
            let mut next = *run;
            if !run.is_alive(count) {
                continue;
            }
            let step = next.step(number);
            let longer = best.is_none_or(|(_, best, _)| best.length < next.length);
            if step != Step::Elsewhere && longer {
                best = Some((place, next, step));
            }
        }
        let (place, mut run, step) = best.unwrap_or_else(|| {
            let mut begun = Run::default();
            let step = begun.step(number);
            (self.oldest(count), begun, step)
        });
        run.moved = count;
        let pace = match step {
            Step::Further => run.pace.add(second),
            Step::Known | Step::Elsewhere => 0,
        };
        if let Some(kept) = self.runs.get_mut(place) {
            *kept = run;
        }
        pace
    }

    /// The place of a run that is over, else of the one that moved longest ago.
    fn oldest(&self, count: u32) -> usize {
        let places = self.runs.iter().enumerate();
        let oldest = places.min_by_key(|(_, run)| (run.is_alive(count), run.moved));
        oldest.map_or(0, |(place, _)| place)
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
