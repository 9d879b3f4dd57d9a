//! Numbers that a client asked for lately: ids of products or categories, pages of a search.
//!
//! Owns: [`Sequence`], which finds numbers that follow one another, up or down. A crawler leaves some
//! out, asks for several at once and visits others in between; so a step may be as wide as [`AHEAD`], a
//! number that was overtaken still counts up to [`BEHIND`] late, and up to [`OTHERS`] numbers of other
//! runs may come between two of one. Even steps of any width are found, too. Refuses: to count a number
//! twice. Who visits a dense catalogue without order
//! never makes a long run so.

use std::cmp::Ordering;

use crate::resilience::slots::Slots;

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
pub(super) struct Minute<const SLOTS: usize>(Slots<u16, SLOTS>);

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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The longest run that was reported.
    fn longest(ids: impl IntoIterator<Item = u64>) -> u32 {
        let mut sequence = Sequence::default();
        ids.into_iter().map(|id| sequence.visit(id, 100)).max().unwrap_or_default()
    }

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

    fn run_of(numbers: &[u64]) -> u16 {
        let mut run = Run::default();
        numbers.iter().for_each(|number| {
            run.step(*number);
        });
        run.length
    }

    #[test]
    fn up_down_and_with_gaps() {
        assert_eq!(run_of(&[1, 2, 3, 4, 5]), 5);
        assert_eq!(run_of(&[50, 49, 47, 44, 34]), 5);
        assert_eq!(run_of(&[100, 110, 120, 121, 130]), 5);
        assert_eq!(run_of(&[100, 111, 122]), 1, "too wide a step is none");
        assert_eq!(run_of(&[u64::MAX - 1, u64::MAX, 0, 1]), 2);
    }

    #[test]
    fn several_at_once_come_out_of_order() {
        assert_eq!(run_of(&[1, 3, 2, 5, 4, 6, 8, 7]), 8);
        assert_eq!(run_of(&[2, 1, 3, 4]), 4, "also around the first");
    }

    #[test]
    fn nothing_counts_twice() {
        assert_eq!(run_of(&[7, 7, 7]), 1);
        assert_eq!(run_of(&[100, 101, 100, 101, 100]), 2, "to and fro is no run");
        assert_eq!(run_of(&[100, 101, 102, 101, 100, 99, 98, 99]), 4 + 1);
        let mut run = Run::default();
        run.step(10);
        assert_eq!(run.step(20), Step::Further);
        assert_eq!(
            [run.step(10), run.step(18), run.step(18)],
            [Step::Elsewhere, Step::Further, Step::Known]
        );
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Sequence>() <= 320, "{}", size_of::<Sequence>());
    }

    #[test]
    fn even_steps_of_any_width_are_seen() {
        assert_eq!(longest((0..30).map(|n| 1_000 + n * 1_000)), 30);
        assert_eq!(longest((0..30).map(|n| u64::MAX - n * 7_777)), 30);
        assert_eq!(longest([5, 1_000, 5, 1_000, 5]), 2);
        assert_eq!(longest([7; 50]), 1);
    }

    #[test]
    fn the_pace_is_that_of_the_last_minute() {
        for stride in [1, 1_000] {
            let mut sequence = Sequence::default();
            let visits = (0..200_u32).map(|n| sequence.visit(u64::from(n) * stride, n * 10));
            assert_eq!(visits.last(), Some(6), "six in a minute, two hundred in all");
        }
        let mut sequence = Sequence::default();
        let both = [(1, 0), (500, 9), (2, 30), (501, 39), (3, 59), (502, 61)];
        let paces = both.map(|(id, second)| sequence.visit(id, second));
        assert_eq!(paces, [1, 2, 2, 2, 3, 2], "each by itself; the first two are an even step");
    }

    #[test]
    fn a_product_again_is_no_step() {
        let mut sequence = Sequence::default();
        sequence.visit(1, 0);
        sequence.visit(2, 0);
        assert_eq!(sequence.visit(2, 1), 0);
        assert_eq!(sequence.visit(1, 2), 2, "as an even step back, but not in a run");
    }

    #[test]
    fn two_runs_side_by_side_are_both_seen() {
        let both = (0..30).flat_map(|n| [100 + n, 90_000 - 3 * n]);
        assert_eq!(longest(both), 30);
    }

    #[test]
    fn disorderly_visits_of_a_dense_catalogue_are_no_run() {
        for block in [20, 30, 40, 60, 100, 150, 200, 400] {
            let mut chance = fastrand::Rng::with_seed(block);
            let visits = (0..3_000).map(|_| 1_000 + chance.u64(0..block));
            let longest = longest(visits);
            assert!(longest <= 20, "{longest} in a row among {block}");
        }
    }

    #[test]
    fn a_list_opened_in_its_order_of_relevance_is_no_run() {
        for seed in 0..200 {
            let mut chance = fastrand::Rng::with_seed(seed);
            let mut list: Vec<u64> = (1_000..1_050).collect();
            chance.shuffle(&mut list);
            let longest = longest(list);
            assert!(longest <= 20, "{longest} in a row, seed {seed}");
        }
    }

    /// The most that came in one stride, by looking at all strides.
    fn longest_even(ids: &[u64]) -> u32 {
        let mut ids = ids.to_vec();
        ids.dedup();
        let strides: Vec<_> = ids.windows(2).map(|two| two[1].wrapping_sub(two[0])).collect();
        let most = strides.chunk_by(|one, next| one == next).map(<[u64]>::len).max();
        u32::try_from(most.map_or(1, |steps| steps + 1)).unwrap()
    }

    fn scan() -> impl Strategy<Value = Vec<u64>> {
        (1_000_000..1_u64 << 60, prop::collection::vec(1..=AHEAD, 24), any::<bool>()).prop_map(
            |(start, steps, down)| {
                let mut at = start;
                let walk = steps.into_iter().map(|step| {
                    at = if down { at - step } else { at + step };
                    at
                });
                walk.collect()
            },
        )
    }

    proptest! {
        #[test]
        fn never_more_than_in_sixty_seconds_and_never_less_than_in_a_slot_less(
            steps in prop::collection::vec(0..20_u32, 1..200),
        ) {
            is_exact::<12>(&steps, 56)?;
            is_exact::<6>(&steps, 51)?;
        }

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
            prop_assert_eq!(usize::from(run.length), steps.len() + 1);
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
                prop_assert_eq!(usize::from(run.length), taken.len());
            }
        }

        #[test]
        fn a_scan_among_honest_visits_is_seen(
            scan in scan(),
            noise in prop::collection::vec(prop::collection::vec((1_u64 << 61).., 0..=4), 24),
        ) {
            let mixed = scan.iter().zip(noise).flat_map(|(id, noise)| {
                noise.into_iter().chain(std::iter::once(*id))
            });
            prop_assert!(longest(mixed) >= 24);
        }

        #[test]
        fn never_more_than_was_visited(ids in prop::collection::vec(0..200_u64, 1..60)) {
            let different: std::collections::BTreeSet<_> = ids.iter().copied().collect();
            let most = u32::try_from(different.len()).unwrap();
            let even = longest_even(&ids);
            let longest = longest(ids);
            // Steps as small as those of a run are found by it, too, with more in them perhaps.
            prop_assert!((even..=most.max(even)).contains(&longest), "{longest}: {most}, {even}");
        }

        #[test]
        fn products_far_apart_are_no_run(
            steps in prop::collection::vec(AHEAD + 1..1_000_000, 1..200),
        ) {
            let mut at = 0;
            // No two steps alike: even ones are a run, too.
            let far = steps.into_iter().zip(0_u64..).map(|(step, n)| {
                at += step * 1_000 + n;
                at
            });
            prop_assert!(longest(far) <= 2);
        }
    }
}
