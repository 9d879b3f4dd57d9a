//! The window against a naive list of instants, and at its edges.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

fn rule(limit: u32) -> WindowRule {
    WindowRule::per_minute(NonZeroU32::new(limit).unwrap())
}

fn at(nanos: u64) -> Tick {
    Tick::from_nanos(nanos)
}

fn admit(window: &mut Window, rule: WindowRule, now: Tick, cost: u32) -> Result<(), Duration> {
    window.advance(now);
    window.check(rule, now, cost)?;
    window.record(rule, now, cost);
    Ok(())
}

/// The most requests in any window, by looking at every one that begins with a request.
fn densest(instants: &[u64]) -> usize {
    let inside =
        |start: u64| instants.iter().filter(move |at| (start..start + MINUTE).contains(at));
    instants.iter().map(|start| inside(*start).count()).max().unwrap_or(0)
}

#[test]
fn a_burst_across_the_edge_of_a_minute_gets_no_second_helping() {
    let (rule, mut window) = (rule(100), Window::default());
    let before = at(MINUTE - 1_000_000);
    for _ in 0..100 {
        admit(&mut window, rule, before, 1).unwrap();
    }
    let wait = admit(&mut window, rule, at(MINUTE), 1).unwrap_err();
    assert_eq!(wait, Duration::from_nanos(MINUTE - 1_000_000));
    for _ in 0..100 {
        admit(&mut window, rule, before.plus(LENGTH), 1).unwrap();
    }
}

#[test]
fn an_instant_between_two_microseconds_leaves_late_not_early() {
    let (rule, mut window) = (rule(1), Window::default());
    admit(&mut window, rule, at(1_500), 1).unwrap();
    let wait = admit(&mut window, rule, at(MINUTE + 1_499), 1).unwrap_err();
    assert_eq!(wait, Duration::from_nanos(501));
    admit(&mut window, rule, at(MINUTE + 2_000), 1).unwrap();
}

#[test]
fn a_cost_above_the_limit_is_the_limit() {
    let (rule, mut window) = (rule(5), Window::default());
    admit(&mut window, rule, at(0), 50).unwrap();
    assert_eq!(window.remaining(rule), 0);
    assert_eq!(admit(&mut window, rule, at(0), 50), Err(LENGTH));
}

#[test]
fn a_billion_a_minute_costs_constant_memory() {
    let (rule, mut window) = (rule(1_000_000_000), Window::default());
    for step in 0..100 {
        admit(&mut window, rule, at(step * SECOND / 2), 10_000_000).unwrap();
    }
    assert!(admit(&mut window, rule, at(50 * SECOND), 10_000_000).is_err());
    assert!(window.entries.len() <= 61);
}

#[test]
fn a_raised_limit_keeps_what_was_counted() {
    let mut window = Window::default();
    for step in 0..1_000 {
        admit(&mut window, rule(1_000), at(step), 1).unwrap();
    }
    window.advance(at(1_000));
    assert_eq!(window.remaining(rule(2_000)), 1_000);
    window.advance(at(2_000));
    assert_eq!(window.remaining(rule(10)), 0, "and a lowered one forgives nothing");
    window.advance(at(3 * MINUTE));
    assert_eq!(window.remaining(rule(10)), 10);
}

#[test]
fn a_lowered_limit_says_when_enough_has_left() {
    let mut window = Window::default();
    for step in 0..10 {
        admit(&mut window, rule(10), at(step * SECOND), 1).unwrap();
    }
    // Ten are in; with a limit of three the eighth-oldest has to leave first.
    window.advance(at(10 * SECOND));
    assert_eq!(
        window.check(rule(3), at(10 * SECOND), 1),
        Err(Duration::from_secs(57)),
        "the request of second 7 leaves at 67"
    );
}

proptest! {
    #[test]
    fn a_log_decides_as_the_naive_list_does(
        limit in 1..12_u32,
        steps in prop::collection::vec((0..20_000_000_u64, 1..4_u32), 1..120),
    ) {
        let (rule, mut window) = (rule(limit), Window::default());
        let mut instants: Vec<u64> = Vec::new();
        let mut now = 0;
        for (wait_micros, cost) in steps {
            now += wait_micros * 1_000;
            let cost = cost.min(limit);
            let live = instants.iter().filter(|at| **at + MINUTE > now).count();
            let fits = u32::try_from(live).unwrap() + cost <= limit;
            prop_assert_eq!(admit(&mut window, rule, at(now), cost).is_ok(), fits);
            if fits {
                instants.extend((0..cost).map(|_| now));
            }
        }
        prop_assert!(densest(&instants) <= usize::try_from(limit).unwrap());
    }

    #[test]
    fn off_the_microsecond_a_log_is_late_by_less_than_one_and_never_early(
        limit in 1..6_u32,
        steps in prop::collection::vec(
            prop_oneof![0..2_000_u64, 0..30_000_000_000_u64, MINUTE - 2_000..MINUTE + 2_000],
            1..60,
        ),
    ) {
        let (rule, mut window) = (rule(limit), Window::default());
        let mut instants = Vec::new();
        let mut now = 0;
        for wait in steps {
            now += wait;
            let live = |age: u64| instants.iter().filter(|at| **at + age > now).count();
            let limit = usize::try_from(limit).unwrap();
            let (exact, late) = (live(MINUTE) < limit, live(MINUTE + 1_000) < limit);
            let admitted = admit(&mut window, rule, at(now), 1).is_ok();
            prop_assert!(!admitted || exact);
            prop_assert!(admitted || !late);
            if admitted {
                instants.push(now);
            }
        }
    }

    #[test]
    fn counts_never_admit_too_much_and_are_late_by_a_second_at_most(
        steps in prop::collection::vec((0..15_000_000_000_u64, 1..700_u32), 1..80),
    ) {
        let (rule, mut window) = (rule(1_100), Window::default());
        let mut instants: Vec<(u64, u32)> = Vec::new();
        let mut now = 0;
        for (wait, cost) in steps {
            now += wait;
            let live = |age: u64| -> u32 {
                instants.iter().filter(|(at, _)| at + age > now).map(|(_, cost)| cost).sum()
            };
            let (exact, late) = (live(MINUTE) + cost <= 1_100, live(MINUTE + SECOND) + cost <= 1_100);
            let admitted = admit(&mut window, rule, at(now), cost).is_ok();
            prop_assert!(!admitted || exact);
            prop_assert!(admitted || !late);
            if admitted {
                instants.push((now, cost));
            }
        }
    }

    #[test]
    fn is_refused_until_exactly_the_promised_instant(
        limit in prop_oneof![1..20_u32, 1_025..1_100_u32],
        steps in prop::collection::vec((0..5_000_000_000_u64, 1..300_u32), 1..60),
        cost in 1..2_000_u32,
    ) {
        let (rule, mut window) = (rule(limit), Window::default());
        let mut now = at(0);
        for (wait, cost) in steps {
            now = now.plus(Duration::from_nanos(wait));
            admit(&mut window, rule, now, cost).ok();
        }
        if let Err(wait) = window.check(rule, now, cost) {
            let promised = now.plus(wait);
            let before = at(promised.as_nanos() - 1);
            let mut early = window.clone();
            prop_assert_eq!(admit(&mut early, rule, before, cost), Err(Duration::from_nanos(1)));
            prop_assert!(admit(&mut window, rule, promised, cost).is_ok());
        }
    }

    #[test]
    fn is_empty_exactly_when_it_said(
        limit in prop_oneof![1..20_u32, 1_025..1_100_u32],
        steps in prop::collection::vec((0..5_000_000_000_u64, 1..300_u32), 1..60),
    ) {
        let (rule, mut window) = (rule(limit), Window::default());
        let mut now = at(0);
        for (wait, cost) in steps {
            now = now.plus(Duration::from_nanos(wait));
            admit(&mut window, rule, now, cost).ok();
        }
        let empty = now.plus(window.empty_after(now));
        let mut early = window.clone();
        early.advance(at(empty.as_nanos() - 1));
        prop_assert!(early.remaining(rule) < limit);
        window.advance(empty);
        prop_assert_eq!(window.remaining(rule), limit);
    }
}

#[test]
fn instants_survive_the_wrap_of_32_bits() {
    let (rule, mut window) = (rule(2), Window::default());
    let wrap = u64::from(u32::MAX) * MICRO_NANOS;
    let (early, late) = (at(wrap - 5_000_000), at(wrap + 5_000_000));
    for now in [early, late] {
        admit(&mut window, rule, now, 1).unwrap();
    }
    assert_eq!(admit(&mut window, rule, late, 1), Err(early.plus(LENGTH).since(late)));
    window.advance(at(1 << 60));
    assert_eq!((window.remaining(rule), window.empty_after(at(1 << 60))), (2, Duration::ZERO));
}

#[test]
fn a_request_takes_eight_bytes() {
    let (rule, mut window) = (rule(1_024), Window::default());
    (0..1_024).for_each(|n| admit(&mut window, rule, at(n * MICRO_NANOS), 1).unwrap());
    assert!(window.entries.capacity() * size_of::<Entry>() <= 16_384);
}
