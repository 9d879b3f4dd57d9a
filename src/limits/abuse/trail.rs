//! The products a client opened lately, as far as they could be a scan.
//!
//! Owns: [`Trail`]: the runs that the last few products belong to, how many of each came in the last
//! minute and in all, and the same for those that came in even steps of any width. Products of other
//! runs between two of one do not hide it as long as they are at most [`OTHERS`]; whoever visits a
//! dense catalogue without order never makes a long run so. Refuses: to remember a run that rested
//! for a minute. No neighbours.

use super::minute::Minute;
use super::run::{Run, Step};

/// Products that may come between two of a run.
pub(super) const OTHERS: u32 = 4;
/// Runs that can be alive at once: each of the products between began or continued another one.
const RUNS: usize = 5;
/// A run that rests so long is over, in seconds.
pub(super) const REST: u32 = 60;

/// Six counts: a trail has to be small, and looks back between 50 and 60 seconds.
type Pace = Minute<6>;

/// The run that a product made longer; nought for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Visit {
    /// How many of it came in the last minute.
    pub(super) pace: u32,
    /// How many of it came without a minute's rest.
    pub(super) length: u32,
}

impl Visit {
    /// The more of both.
    pub(super) fn or(self, other: Self) -> Self {
        Self { pace: self.pace.max(other.pace), length: self.length.max(other.length) }
    }
}

/// A run and when it moved last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Followed {
    run: Run,
    /// The product that moved it, counted from the first of the trail.
    product: u32,
    second: u32,
    pace: Pace,
}

impl Followed {
    const fn is_alive(&self, product: u32, second: u32) -> bool {
        self.run.length() > 0
            && product.saturating_sub(self.product) <= OTHERS + 1
            && second.saturating_sub(self.second) < REST
    }
}

/// Where a client was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trail {
    followed: [Followed; RUNS],
    products: u32,
    last: u64,
    last_second: u32,
    /// From the last but one to the last; differences wrap, so that they know up and down.
    stride: u64,
    /// How many came in that stride.
    even: u16,
    even_pace: Pace,
}

impl Trail {
    /// Takes the next product; returns the run that it made longer.
    pub(super) fn visit(&mut self, id: u64, second: u32) -> Visit {
        self.products = self.products.saturating_add(1);
        let followed = self.follow(id, second);
        followed.or(self.keep_step(id, second))
    }

    /// The length of its longest run.
    pub(super) fn longest(&self) -> u32 {
        let runs = self.followed.iter().map(|followed| followed.run.length());
        u32::from(runs.max().unwrap_or_default().max(self.even))
    }

    fn follow(&mut self, id: u64, second: u32) -> Visit {
        let (product, mut best) = (self.products, None);
        for (place, followed) in self.followed.iter().enumerate() {
            let mut next = followed.run;
            if !followed.is_alive(product, second) || next.step(id) == Step::Elsewhere {
                continue;
            }
            if best.is_none_or(|(_, longest): (usize, Run)| longest.length() < next.length()) {
                best = Some((place, next));
            }
        }
        let known = best.is_some();
        let (place, run) = best.unwrap_or_else(|| (self.oldest(product, second), begun(id)));
        let Some(followed) = self.followed.get_mut(place) else { return Visit::default() };
        let mut pace = if known { followed.pace } else { Pace::default() };
        let grown = !known || followed.run != run;
        let visit = match grown {
            true => Visit { pace: pace.add(second), length: run.length().into() },
            false => Visit::default(),
        };
        *followed = Followed { run, product, second, pace };
        visit
    }

    /// The place of a run that is over, else of the one that moved longest ago.
    fn oldest(&self, product: u32, second: u32) -> usize {
        let age = |followed: &Followed| (followed.is_alive(product, second), followed.product);
        let places = self.followed.iter().enumerate();
        places.min_by_key(|(_, followed)| age(followed)).map_or(0, |(place, _)| place)
    }

    fn keep_step(&mut self, id: u64, second: u32) -> Visit {
        let stride = id.wrapping_sub(self.last);
        if self.even > 0 && stride == 0 {
            return Visit::default();
        }
        let rested = second.saturating_sub(self.last_second) >= REST;
        let begins = self.even == 0 || rested;
        let goes_on = !begins && (self.even == 1 || stride == self.stride);
        if !goes_on {
            (self.even, self.even_pace) = (0, Pace::default());
        }
        if !goes_on && !begins {
            // The last one and this one are the first two in another stride.
            self.count_even(self.last_second);
        }
        (self.last, self.stride, self.last_second) = (id, stride, second);
        self.count_even(second)
    }

    fn count_even(&mut self, second: u32) -> Visit {
        self.even = self.even.saturating_add(1);
        Visit { pace: self.even_pace.add(second), length: self.even.into() }
    }
}

fn begun(id: u64) -> Run {
    let mut run = Run::default();
    run.step(id);
    run
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::run::AHEAD;
    use super::*;

    /// The longest run that was reported.
    fn longest(ids: impl IntoIterator<Item = u64>) -> u32 {
        let mut trail = Trail::default();
        ids.into_iter().map(|id| trail.visit(id, 100).length).max().unwrap_or_default()
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Trail>() <= 256, "{}", size_of::<Trail>());
    }

    #[test]
    fn even_steps_of_any_width_are_seen() {
        assert_eq!(longest((0..30).map(|n| 1_000 + n * 1_000)), 30);
        assert_eq!(longest((0..30).map(|n| u64::MAX - n * 7_777)), 30);
        assert_eq!(longest([5, 1_000, 5, 1_000, 5]), 2);
        assert_eq!(longest([7; 50]), 1);
    }

    #[test]
    fn a_minute_of_rest_ends_a_run() {
        let mut trail = Trail::default();
        let mut length = |id, second| trail.visit(id, second).length;
        assert_eq!([length(1, 0), length(2, 59), length(3, 118)], [1, 2, 3]);
        assert_eq!([length(4, 178), length(5, 179)], [1, 2]);
    }

    #[test]
    fn the_pace_is_that_of_the_last_minute() {
        for stride in [1, 1_000] {
            let mut trail = Trail::default();
            let visits = (0..200_u32).map(|n| trail.visit(u64::from(n) * stride, n * 10));
            let last = visits.map(|visit| (visit.pace, visit.length)).last();
            assert_eq!(last, Some((6, 200)), "six in a minute, two hundred in all");
        }
        let mut trail = Trail::default();
        let both = [(1, 0), (500, 9), (2, 30), (501, 39), (3, 59), (502, 61)];
        let paces = both.map(|(id, second)| trail.visit(id, second).pace);
        assert_eq!(paces, [1, 2, 2, 2, 3, 2], "each by itself; the first two are an even step");
    }

    #[test]
    fn a_product_again_is_no_step() {
        let mut trail = Trail::default();
        trail.visit(1, 0);
        trail.visit(2, 0);
        assert_eq!(trail.visit(2, 1), Visit::default());
        assert_eq!(trail.visit(1, 2).length, 2, "as an even step back, but not in a run");
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
