//! Probes that are lost, or whose holder panics.

use super::*;

/// A breaker that admits probes now.
fn probing(settings: Settings) -> Rig {
    let mut rig = Rig::new(settings);
    rig.fail(3);
    rig.wait_out();
    rig
}

#[test]
fn probes_without_a_result_are_given_up() {
    let mut rig = probing(SETTINGS);
    let lost = [rig.admit().unwrap(), rig.admit().unwrap()];
    rig.now += SETTINGS.probe_timeout - Duration::from_millis(1);
    assert!(rig.admit().is_err() && rig.breaker.peek(false, rig.now).is_err());
    rig.now += Duration::from_millis(1);
    assert!(rig.breaker.peek(false, rig.now).is_ok());
    rig.call(CallResult::Success);
    assert_eq!(
        rig.received().last().unwrap(),
        &(State::HalfOpen, State::HalfOpen, TransitionReason::ProbeLost)
    );
    for permit in lost {
        permit.record(CallResult::Failure, rig.now);
    }
    assert_eq!(rig.state(), State::HalfOpen, "and late they say nothing");
    rig.call(CallResult::Success);
    assert_eq!(rig.state(), State::Closed);
}

#[test]
fn one_lost_among_good_ones_is_given_up_too() {
    let mut rig = probing(SETTINGS);
    let _lost = rig.admit().unwrap();
    rig.call(CallResult::Success);
    assert!(rig.admit().is_err());
    rig.now += SETTINGS.probe_timeout;
    rig.call(CallResult::Success);
    rig.call(CallResult::Success);
    assert_eq!(rig.state(), State::Closed);
}

#[test]
fn a_probe_whose_holder_panics_gives_its_probe_back() {
    let rig = probing(SETTINGS);
    let holder = || {
        let _permit = rig.admit().unwrap();
        panic!("on purpose");
    };
    for _ in 0..5 {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(holder)).is_err());
    }
    let probes: Vec<_> = std::iter::from_fn(|| rig.admit().ok()).collect();
    assert_eq!((probes.len(), rig.snapshot().under_way), (2, 2));
}

#[test]
fn looking_moves_nothing() {
    let rig = probing(SETTINGS);
    let before = rig.snapshot();
    assert!((0..100).all(|_| rig.breaker.peek(false, rig.now).is_ok()));
    assert_eq!(rig.snapshot(), before);
    rig.breaker.force_open(rig.now);
    assert_eq!(rig.breaker.peek(false, rig.now), rig.admit().map(drop));
}
