//! A breaker goes on after a restart as if there had been none.

use super::*;

/// Without the failure rate, of which nothing is persisted.
const COUNTED: Settings = Settings { failure_rate: 1.0, ..SETTINGS };

/// The breaker of the next process, by way of JSON, and a clock that began anew.
fn restarted(rig: &Rig) -> Rig {
    let saved = serde_json::to_string(&rig.breaker.persist(rig.now, WALL)).unwrap();
    let next = Rig::new(COUNTED);
    next.breaker.restore(&serde_json::from_str(&saved).unwrap(), next.now, WALL);
    next
}

#[test]
fn an_open_breaker_keeps_its_time_and_the_length_of_the_next() {
    let mut rig = Rig::new(COUNTED);
    rig.fail(3);
    rig.wait_out();
    rig.fail(1);
    rig.now += Duration::from_secs(10);
    let mut next = restarted(&rig);
    assert_eq!(next.snapshot().retry_after_ms, rig.snapshot().retry_after_ms);
    assert_eq!(next.admit().unwrap_err(), rig.admit().unwrap_err());
    assert_eq!((next.received(), next.breaker.is_open()), (vec![], true));
    next.wait_out();
    next.fail(1);
    assert!(next.snapshot().retry_after_ms.unwrap() >= 60_000, "the third in a row");
}

#[test]
fn half_open_is_open_with_no_time_left() {
    let mut rig = Rig::new(COUNTED);
    rig.fail(3);
    rig.wait_out();
    rig.call(Some(true));
    let next = restarted(&rig);
    assert_eq!((next.state(), next.snapshot().retry_after_ms), (State::Open, Some(0)));
    next.call(Some(true));
    assert_eq!(next.state(), State::HalfOpen);
    next.call(Some(true));
    assert_eq!(next.state(), State::Closed);
}

#[test]
fn an_admins_hold_stays() {
    let rig = Rig::new(COUNTED);
    rig.breaker.force_open(rig.now);
    let mut next = restarted(&rig);
    next.now += OPEN * 1_000;
    assert!(next.admit().is_err() && next.snapshot().forced);
}

#[test]
fn a_permit_given_before_moves_nothing() {
    let rig = Rig::new(COUNTED);
    let early = rig.admit().unwrap();
    rig.fail(2);
    let saved = rig.breaker.persist(rig.now, WALL);
    rig.breaker.restore(&saved, rig.now, WALL);
    early.record(Some(false), rig.now);
    assert_eq!((rig.state(), rig.snapshot().consecutive_failures), (State::Closed, 2));
}

/// What an earlier process left behind: open for so long, or held by an admin.
const fn open(until: Option<Timestamp>) -> Persisted {
    Persisted {
        state: State::Open,
        until,
        forced: until.is_none(),
        consecutive_failures: 3,
        openings: 1,
        slow_start: false,
    }
}

#[test]
fn what_comes_late_gives_way_to_what_was_found_out_since() {
    let far = open(Some(WALL.plus(Duration::from_secs(200))));
    let restored = |so_far: &dyn Fn(&mut Rig), saved: &Persisted| {
        let mut rig = Rig::new(COUNTED);
        so_far(&mut rig);
        rig.breaker.restore(saved, rig.now, WALL);
        (rig.state(), rig.snapshot().retry_after_ms)
    };
    assert_eq!(restored(&|rig| rig.fail(2), &far), (State::Open, Some(200_000)), "no news");
    assert_eq!(restored(&|rig| rig.call(Some(true)), &far), (State::Closed, None), "it works");
    let (state, left) = restored(&|rig| rig.fail(3), &far);
    assert!(state == State::Open && left <= Some(30_000), "it opened by itself: {left:?}");
    let closed = |rig: &mut Rig| rig.breaker.force_close(rig.now);
    for saved in [far, open(None)] {
        assert_eq!(restored(&closed, &saved), (State::Closed, None), "an admin knows better");
    }
    // No call says anything about the reasons of an admin.
    assert_eq!(restored(&|rig| rig.call(Some(true)), &open(None)), (State::Open, None));
    assert_eq!(restored(&|rig| rig.fail(3), &open(None)), (State::Open, None));
}

#[test]
fn failures_of_both_processes_are_in_a_row() {
    let rig = Rig::new(COUNTED);
    rig.fail(1);
    let closed = Persisted {
        state: State::Closed,
        forced: false,
        consecutive_failures: 1,
        openings: 0,
        ..open(None)
    };
    rig.breaker.restore(&closed, rig.now, WALL);
    assert_eq!((rig.state(), rig.snapshot().consecutive_failures), (State::Closed, 2));
    rig.fail(1);
    assert_eq!(rig.state(), State::Open);
}

#[test]
fn other_settings_and_another_wall_clock_are_lived_with() {
    let closed = |consecutive_failures| Persisted {
        state: State::Closed,
        until: None,
        forced: false,
        consecutive_failures,
        openings: u32::MAX,
        slow_start: false,
    };
    let rig = Rig::new(COUNTED);
    rig.breaker.restore(&closed(u64::MAX), rig.now, WALL);
    assert_eq!((rig.state(), rig.snapshot().consecutive_failures), (State::Closed, 2));
    rig.fail(1);
    assert_eq!(rig.state(), State::Open);
    for until in [i64::MIN, 0, i64::MAX].map(Timestamp::from_millis) {
        let open = Persisted { state: State::Open, until: Some(until), ..closed(3) };
        rig.breaker.restore(&open, rig.now, WALL);
        assert!(rig.snapshot().retry_after_ms.unwrap() <= 300_000, "{until:?}");
    }
}

#[test]
fn what_an_earlier_version_stored_is_read() {
    let stored = r#"{"state":"closed","until":null,"consecutive_failures":1,"openings":0,
        "window":{"since":1,"well":1,"slow":0,"ill":3},"ramping":true}"#;
    let read: Persisted = serde_json::from_str(stored).unwrap();
    assert_eq!((read.consecutive_failures, read.slow_start), (1, false));
}

#[derive(Debug, Clone)]
enum Later {
    Call { healthy: Option<bool> },
    Wait { seconds: u64 },
}

fn later() -> impl Strategy<Value = Vec<Later>> {
    let healthy = prop_oneof![1 => Just(None), 3 => Just(Some(true)), 2 => Just(Some(false))];
    let step = prop_oneof![
        4 => healthy.prop_map(|healthy| Later::Call { healthy }),
        1 => (0_u64..60).prop_map(|seconds| Later::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Until one of them draws another open time, which is chance, both admit the same calls at
    /// the same times and give the rejected the same wait.
    #[test]
    fn the_next_process_admits_exactly_what_this_one_would(
        steps in steps(), later in later()
    ) {
        let mut rig = Rig::new(COUNTED);
        let mut model = Model::default();
        for step in &steps {
            model.step(&mut rig, step);
        }
        drop(model);
        prop_assume!(rig.state() != State::HalfOpen);
        let mut next = restarted(&rig);
        let before = rig.received().len();
        for step in later {
            match step {
                Later::Wait { seconds } => {
                    rig.now += Duration::from_secs(seconds);
                    next.now += Duration::from_secs(seconds);
                }
                Later::Call { healthy } => match (rig.admit(), next.admit()) {
                    (Ok(one), Ok(other)) => {
                        one.record(healthy, rig.now);
                        other.record(healthy, next.now);
                    }
                    (one, other) => prop_assert_eq!(one.err(), other.err()),
                },
            }
            prop_assert_eq!(&rig.received()[before..], &next.received()[..]);
            prop_assert_eq!(rig.breaker.is_open(), next.breaker.is_open());
            if next.received().iter().any(|(_, to, _)| *to == State::Open) {
                break;
            }
        }
    }
}
