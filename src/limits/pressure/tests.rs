//! The judgement in time that is made up.

use proptest::prelude::*;

use super::*;
use crate::clock::monotonic;

const EACH: Duration = Duration::from_millis(250);

fn memory(share: f64) -> Readings {
    Readings { memory: Some(share), ..Readings::default() }
}

/// The levels in force while this is read for so many seconds.
fn levels(judge: &mut Judge, now: &mut Instant, readings: &Readings, seconds: u32) -> Vec<Level> {
    let mut seen = vec![judge.level];
    for _ in 0..seconds * 4 {
        *now += EACH;
        if judge.judge(readings, *now).is_some() {
            seen.push(judge.level);
        }
    }
    seen
}

#[test]
fn memory_at_its_bound_is_critical_within_seconds_and_relaxes_step_by_step() {
    use Level::{Critical, Elevated, High, Normal};
    let mut now = monotonic();
    let mut judge = Judge::new(now);
    let up = levels(&mut judge, &mut now, &memory(0.97), 4);
    assert_eq!(up.last(), Some(&Critical));
    assert_eq!(judge.pressure().because, [Cause::Memory]);
    let down = levels(&mut judge, &mut now, &memory(0.3), 30);
    assert_eq!(down, [Critical, High, Elevated, Normal]);
    assert_eq!(judge.pressure().because, []);
}

#[test]
fn each_reading_can_do_it_and_is_named() {
    let lag = Readings { lag: 3.0, ..Readings::default() };
    let queues = Readings { queues: 1.0, ..Readings::default() };
    for (readings, cause) in [(lag, Cause::LoopLag), (queues, Cause::Queues)] {
        let mut now = monotonic();
        let mut judge = Judge::new(now);
        levels(&mut judge, &mut now, &readings, 5);
        assert_eq!((judge.level, judge.pressure().because), (Level::Critical, vec![cause]));
    }
}

fn ms(ms: u64) -> Readings {
    Readings { latency: Some(Duration::from_millis(ms)), ..Readings::default() }
}

#[test]
fn latency_is_held_against_what_is_usual_here() {
    let mut now = monotonic();
    let mut judge = Judge::new(now);
    assert_eq!(levels(&mut judge, &mut now, &ms(30), 60), [Level::Normal]);
    assert_eq!(levels(&mut judge, &mut now, &ms(100), 20), [Level::Normal]);
    levels(&mut judge, &mut now, &ms(700), 5);
    assert_eq!(judge.pressure().because, [Cause::Latency]);
    assert!(judge.level >= Level::High);
    levels(&mut judge, &mut now, &ms(30), 40);
    assert_eq!(judge.level, Level::Normal);
}

#[test]
fn a_machine_that_is_slower_for_good_is_not_under_pressure_for_ever() {
    let mut now = monotonic();
    let mut judge = Judge::new(now);
    levels(&mut judge, &mut now, &ms(5), 60);
    for slow in [200, 2_000] {
        let levels = levels(&mut judge, &mut now, &ms(slow), 600);
        assert!(levels.len() > 1, "{slow} ms: {levels:?}");
        assert_eq!(levels.last(), Some(&Level::Normal), "{slow} ms: {levels:?}");
    }
}

#[test]
fn a_slow_start_does_not_become_what_is_usual() {
    let mut now = monotonic();
    let mut judge = Judge::new(now);
    levels(&mut judge, &mut now, &ms(1_000), 3);
    levels(&mut judge, &mut now, &ms(5), 60);
    assert_eq!(judge.level, Level::Normal);
    levels(&mut judge, &mut now, &ms(400), 5);
    assert_eq!((judge.level, judge.pressure().because), (Level::Critical, vec![Cause::Latency]));
}

#[test]
fn too_few_answers_to_tell_do_not_relax_limits_at_once() {
    let mut now = monotonic();
    let mut judge = Judge::new(now);
    levels(&mut judge, &mut now, &ms(700), 5);
    let none = Readings::default();
    for _ in 0..5 {
        assert_eq!(levels(&mut judge, &mut now, &none, 9), [Level::Critical]);
        assert_eq!(levels(&mut judge, &mut now, &ms(700), 1), [Level::Critical]);
    }
    let relaxed = levels(&mut judge, &mut now, &none, 60);
    assert_eq!(relaxed.last(), Some(&Level::Normal));
}

#[test]
fn one_bad_moment_is_nothing_and_a_wobble_does_not_move_the_level() {
    let mut now = monotonic();
    let mut judge = Judge::new(now);
    now += EACH;
    assert_eq!(judge.judge(&memory(1.0), now), None);
    assert_eq!(levels(&mut judge, &mut now, &memory(0.2), 10), [Level::Normal]);
    levels(&mut judge, &mut now, &memory(0.86), 10);
    assert_eq!(judge.level, Level::High);
    for _ in 0..20 {
        assert_eq!(levels(&mut judge, &mut now, &memory(0.81), 1), [Level::High]);
        assert_eq!(levels(&mut judge, &mut now, &memory(0.84), 1), [Level::High]);
    }
}

#[test]
fn a_dial_halves_and_keys_keep_twice_as_much() {
    let dial = Dial::default();
    let halvings = |level| {
        dial.turn(level);
        assert_eq!(dial.level(), level);
        (dial.halvings(false), dial.halvings(true))
    };
    assert_eq!(Level::ALL.map(halvings), [(0, 0), (1, 0), (2, 1), (3, 2)]);
}

proptest! {
    #[test]
    fn more_strain_is_never_less_pressure(
        shares in prop::collection::vec((0.0..1.2_f64, 0.0..0.5_f64), 1..80),
    ) {
        let mut now = monotonic();
        let (mut less, mut more) = (Judge::new(now), Judge::new(now));
        for (share, extra) in shares {
            now += EACH;
            less.judge(&memory(share), now);
            more.judge(&memory(share + extra), now);
            prop_assert!(more.strain >= less.strain - 1e-9);
            prop_assert!(Level::of(more.strain) <= more.level);
        }
    }

    #[test]
    fn whatever_was_read_it_recovers(
        shares in prop::collection::vec(
            (0.0..2.0_f64, 0.0..9.0_f64, 0.0..2.0_f64, prop::option::of(0_u64..5_000)),
            1..60,
        ),
    ) {
        let mut now = monotonic();
        let mut judge = Judge::new(now);
        for (memory, lag, queues, took) in shares {
            now += EACH;
            let latency = took.map(Duration::from_millis);
            judge.judge(&Readings { memory: Some(memory), lag, queues, latency }, now);
        }
        levels(&mut judge, &mut now, &Readings::default(), 50);
        prop_assert_eq!(judge.level, Level::Normal);
    }
}
