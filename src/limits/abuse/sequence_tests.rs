//! Sequences of numbers: what is counted as one, and for how long.

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
