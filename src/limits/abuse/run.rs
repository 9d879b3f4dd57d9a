//! Numbers that go up or down in small steps, in 16 bytes.
//!
//! Owns: [`Run`]: whether a number continues it, and how many different numbers it has. A crawler
//! leaves some out and asks for several at once, so a step may be as wide as [`AHEAD`], and a number
//! that was overtaken still counts when it comes, up to [`BEHIND`] late. Refuses: a number twice.
//! Knows no time. No neighbours.

/// Widest step in the direction of the run.
pub(super) const AHEAD: u64 = 10;
/// How far behind the front a number may still come.
pub(super) const BEHIND: u64 = 4;

/// Where a run goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Heading {
    #[default]
    Unknown,
    Up,
    Down,
}

/// What a number is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It makes it longer.
    Further,
    /// It was there before.
    Known,
    /// It does not belong to it.
    Elsewhere,
}

/// A run of numbers; the empty one takes any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Run {
    front: u64,
    length: u16,
    /// Numbers behind the front that came: bit 0 for the next one.
    passed: u16,
    heading: Heading,
}

impl Run {
    /// How many different numbers it has.
    pub(super) const fn length(&self) -> u16 {
        self.length
    }

    /// Takes a number if it belongs to the run.
    pub(super) fn step(&mut self, number: u64) -> Step {
        if self.length == 0 {
            *self = Self { front: number, length: 1, ..Self::default() };
            return Step::Further;
        }
        let heading = match number.cmp(&self.front) {
            std::cmp::Ordering::Equal => return Step::Known,
            std::cmp::Ordering::Greater => Heading::Up,
            std::cmp::Ordering::Less => Heading::Down,
        };
        let distance = number.abs_diff(self.front);
        if self.heading == heading || self.heading == Heading::Unknown {
            self.advance(number, heading, distance)
        } else {
            self.fill_in(distance)
        }
    }

    fn advance(&mut self, number: u64, heading: Heading, distance: u64) -> Step {
        let Some(steps) = u32::try_from(distance).ok().filter(|_| distance <= AHEAD) else {
            return Step::Elsewhere;
        };
        // The old front is now one of those behind, `steps` back.
        self.passed = ((self.passed << 1) | 1) << steps.saturating_sub(1);
        (self.front, self.heading) = (number, heading);
        self.length = self.length.saturating_add(1);
        Step::Further
    }

    fn fill_in(&mut self, distance: u64) -> Step {
        let Some(back) = u32::try_from(distance).ok().filter(|_| distance <= BEHIND) else {
            return Step::Elsewhere;
        };
        let bit = 1_u16.checked_shl(back.saturating_sub(1)).unwrap_or(0);
        if self.passed & bit != 0 {
            return Step::Known;
        }
        self.passed |= bit;
        self.length = self.length.saturating_add(1);
        Step::Further
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn length_of(numbers: &[u64]) -> u16 {
        let mut run = Run::default();
        numbers.iter().for_each(|number| {
            run.step(*number);
        });
        run.length()
    }

    #[test]
    fn up_down_and_with_gaps() {
        assert_eq!(length_of(&[1, 2, 3, 4, 5]), 5);
        assert_eq!(length_of(&[50, 49, 47, 44, 34]), 5);
        assert_eq!(length_of(&[100, 110, 120, 121, 130]), 5);
        assert_eq!(length_of(&[100, 111, 122]), 1, "too wide a step is none");
        assert_eq!(length_of(&[u64::MAX - 1, u64::MAX, 0, 1]), 2);
    }

    #[test]
    fn several_at_once_come_out_of_order() {
        assert_eq!(length_of(&[1, 3, 2, 5, 4, 6, 8, 7]), 8);
        assert_eq!(length_of(&[2, 1, 3, 4]), 4, "also around the first");
    }

    #[test]
    fn nothing_counts_twice() {
        assert_eq!(length_of(&[7, 7, 7]), 1);
        assert_eq!(length_of(&[100, 101, 100, 101, 100]), 2, "to and fro is no run");
        assert_eq!(length_of(&[100, 101, 102, 101, 100, 99, 98, 99]), 4 + 1);
        let mut run = Run::default();
        run.step(10);
        assert_eq!(run.step(20), Step::Further);
        assert_eq!(
            [run.step(10), run.step(18), run.step(18)],
            [Step::Elsewhere, Step::Further, Step::Known]
        );
    }

    proptest! {
        #[test]
        fn a_plain_scan_is_a_run_of_its_length(
            start in 1_000_000_u64..,
            steps in prop::collection::vec(1..=AHEAD, 0..200),
            down: bool,
        ) {
            let start = start.min(u64::MAX - 10_000);
            let (mut run, mut at) = (Run::default(), start);
            run.step(at);
            for step in &steps {
                at = if down { at - step } else { at + step };
                prop_assert_eq!(run.step(at), Step::Further);
            }
            prop_assert_eq!(usize::from(run.length()), steps.len() + 1);
        }

        #[test]
        fn a_run_is_never_longer_than_the_different_numbers_in_it(
            numbers in prop::collection::vec(0..60_u64, 1..300),
        ) {
            let (mut run, mut taken) = (Run::default(), std::collections::BTreeSet::new());
            for number in numbers {
                match run.step(number) {
                    Step::Further => prop_assert!(taken.insert(number), "{number} counted twice"),
                    Step::Known => prop_assert!(taken.contains(&number)),
                    Step::Elsewhere => {}
                }
                prop_assert_eq!(usize::from(run.length()), taken.len());
            }
        }
    }
}
