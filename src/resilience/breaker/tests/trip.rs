//! What trips, and how long it then stays open.

use super::*;
use crate::clock;

const SETTINGS: Settings = Settings::new(3, Duration::from_secs(30));

/// By the share alone.
fn by_share() -> Trip {
    Trip::new(&Settings { consecutive_failures: 1_000, ..SETTINGS })
}

#[test]
fn it_trips_at_the_failure_that_is_one_too_many() {
    let mut trip = Trip::new(&SETTINGS);
    let now = clock::monotonic();
    let fail = |trip: &mut Trip| trip.note(CallResult::Failure, now);
    assert_eq!([fail(&mut trip), fail(&mut trip)], [None, None]);
    assert_eq!(trip.note(CallResult::Success, now), None);
    let row = [fail(&mut trip), fail(&mut trip), fail(&mut trip)];
    assert_eq!(row, [None, None, Some(TransitionReason::Failures)]);
    trip.forget_calls();
    assert_eq!(fail(&mut trip), None);
}

#[test]
fn it_trips_on_the_share_with_enough_calls_in_the_window() {
    let mut trip = by_share();
    let mut now = clock::monotonic();
    let mut note = |result| {
        now += Duration::from_millis(10);
        trip.note(result, now)
    };
    assert!((0..10).all(|_| note(CallResult::Success).is_none()));
    assert!((0..9).all(|_| note(CallResult::Failure).is_none()), "too few calls to say");
    assert_eq!(note(CallResult::Ignored), None);
    assert_eq!(note(CallResult::Failure), Some(TransitionReason::FailureRate));
}

#[test]
fn calls_that_are_over_say_nothing() {
    let mut trip = by_share();
    let now = clock::monotonic();
    assert!((0..19).all(|_| trip.note(CallResult::Failure, now).is_none()));
    let later = now + SLOT * 10;
    assert!((0..19).all(|_| trip.note(CallResult::Failure, later).is_none()));
    assert_eq!(trip.note(CallResult::Failure, later), Some(TransitionReason::FailureRate));
}

#[test]
fn less_than_the_share_never_trips_and_a_share_of_one_turns_it_off() {
    let mut trip = by_share();
    let mut off =
        Trip::new(&Settings { consecutive_failures: 1_000, failure_rate: 1.0, ..SETTINGS });
    let mut now = clock::monotonic();
    for call in 0..500 {
        now += Duration::from_millis(100);
        let result = [CallResult::Success, CallResult::Failure, CallResult::Success][call % 3];
        assert_eq!(trip.note(result, now), None);
        assert_eq!(off.note(CallResult::Failure, now), None);
    }
}

#[test]
fn open_times_double_up_to_the_longest_and_are_jittered_below() {
    let mut trip = Trip::new(&Settings::new(3, Duration::from_millis(400)));
    for full in [400, 800, 1_600, 3_200, 4_000, 4_000].map(Duration::from_millis) {
        let open = trip.next_open_time();
        assert!(full / 2 <= open && open <= full, "{open:?} of {full:?}");
    }
    trip.forget_openings();
    assert!(trip.next_open_time() <= Duration::from_millis(400));
}

#[test]
fn settings_that_failsafe_would_panic_on_are_clamped() {
    for failure_rate in [f64::NAN, f64::INFINITY, -3.0, 0.0, 7.0] {
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let mut trip = Trip::new(&Settings {
                consecutive_failures: 0,
                failure_rate,
                minimum_calls: 0,
                open: time,
                open_max: time,
                probes: 0,
                probe_timeout: time,
                slow_start: true,
            });
            let now = clock::monotonic();
            trip.note(CallResult::Success, now);
            assert_eq!(trip.note(CallResult::Failure, now), Some(TransitionReason::Failures));
            for _ in 0..100 {
                assert!(trip.next_open_time() <= MOST_OPEN);
            }
        }
    }
}

#[test]
fn other_bounds_count_what_was_counted() {
    let now = crate::clock::monotonic();
    let open = Duration::from_secs(10);
    let mut trip = Trip::new(&Settings::new(100, open));
    for _ in 0..3 {
        assert_eq!(trip.note(CallResult::Failure, now), None);
    }
    trip.take_over(&Settings::new(4, open), 3);
    assert_eq!(trip.note(CallResult::Failure, now), Some(TransitionReason::Failures));
    // More failures than the new bound allows: the next one is one too many, and not before.
    let mut trip = Trip::new(&Settings::new(100, open));
    for _ in 0..9 {
        assert_eq!(trip.note(CallResult::Failure, now), None);
    }
    trip.take_over(&Settings::new(2, open), 9);
    assert_eq!(trip.note(CallResult::Failure, now), Some(TransitionReason::Failures));
}

#[test]
fn an_opening_that_follows_others_lasts_longer_under_other_bounds_too() {
    let mut trip = Trip::new(&Settings::new(1, Duration::from_secs(10)));
    for _ in 0..3 {
        trip.next_open_time();
    }
    trip.take_over(&Settings::new(1, Duration::from_secs(1)), 0);
    let next = trip.next_open_time();
    assert!(next > Duration::from_secs(2) && next <= Duration::from_secs(10), "{next:?}");
}
