//! What trips, and how long it then stays open.

use super::*;
use crate::clock;
use crate::resilience::breaker::Slow;

const SETTINGS: Settings = Settings::new(3, Duration::from_secs(30));
const SLOW: Slow = Slow { after: Duration::from_secs(1), share: 0.5 };

/// By the shares alone.
fn by_share() -> Trip {
    Trip::new(&Settings { consecutive_failures: 1_000, slow: Some(SLOW), ..SETTINGS })
}

#[test]
fn it_trips_at_the_failure_that_is_one_too_many() {
    let mut trip = Trip::new(&SETTINGS);
    let now = clock::monotonic();
    let fail = |trip: &mut Trip| trip.note(Verdict::Ill, now);
    assert_eq!([fail(&mut trip), fail(&mut trip)], [None, None]);
    assert_eq!(trip.note(Verdict::Well, now), None);
    let row = [fail(&mut trip), fail(&mut trip), fail(&mut trip)];
    assert_eq!(row, [None, None, Some(Reason::Failures)]);
    trip.forget_calls();
    assert_eq!(fail(&mut trip), None);
}

#[test]
fn slow_calls_neither_end_a_row_nor_belong_to_it() {
    let mut trip = Trip::new(&SETTINGS);
    let now = clock::monotonic();
    for verdict in [Verdict::Ill, Verdict::Slow, Verdict::Ill, Verdict::Slow, Verdict::Silent] {
        assert_eq!(trip.note(verdict, now), None);
    }
    assert_eq!(trip.note(Verdict::Ill, now), Some(Reason::Failures));
}

#[test]
fn it_trips_on_either_share_with_enough_calls_in_the_window() {
    for (bad, reason) in [(Verdict::Ill, Reason::FailureRate), (Verdict::Slow, Reason::SlowCalls)] {
        let mut trip = by_share();
        let mut now = clock::monotonic();
        for _ in 0..10 {
            now += Duration::from_millis(10);
            assert_eq!(trip.note(Verdict::Well, now), None);
        }
        for _ in 0..9 {
            now += Duration::from_millis(10);
            assert_eq!(trip.note(bad, now), None, "too few calls to say");
        }
        assert_eq!(trip.note(bad, now), Some(reason));
    }
}

#[test]
fn calls_that_are_over_say_nothing() {
    let mut trip = by_share();
    let now = clock::monotonic();
    assert!((0..19).all(|_| trip.note(Verdict::Ill, now).is_none()));
    let later = now + SETTINGS.window;
    assert!((0..19).all(|_| trip.note(Verdict::Ill, later).is_none()));
    assert_eq!(trip.note(Verdict::Ill, later), Some(Reason::FailureRate));
}

#[test]
fn less_than_the_share_never_trips_and_a_share_of_one_turns_it_off() {
    let mut trip = by_share();
    let mut off =
        Trip::new(&Settings { consecutive_failures: 1_000, failure_rate: 1.0, ..SETTINGS });
    let mut now = clock::monotonic();
    for call in 0..500 {
        now += Duration::from_millis(100);
        let verdict = [Verdict::Well, Verdict::Ill, Verdict::Slow][call % 3];
        assert_eq!(trip.note(verdict, now), None);
        assert_eq!(off.note(Verdict::Ill, now), None);
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
                slow: Some(Slow { after: time, share: failure_rate }),
                minimum_calls: 0,
                window: time,
                open: time,
                open_max: time,
                probes: 0,
                probe_patience: time,
                ramp: Some(time),
            });
            let now = clock::monotonic();
            trip.note(Verdict::Well, now);
            trip.note(Verdict::Slow, now);
            assert_eq!(trip.note(Verdict::Ill, now), Some(Reason::Failures));
            for _ in 0..100 {
                assert!(trip.next_open_time() <= LONGEST_OPEN);
            }
        }
    }
}
