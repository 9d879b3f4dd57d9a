//! What a breaker lets through after it has closed, and what that does to an upstream that is weak.

use std::collections::VecDeque;

use super::*;

const SLOWLY: Settings = Settings { probes: 3, slow_start: true, ..Settings::new(5, OPEN) };

/// A breaker that has just closed after an outage.
fn just_closed(settings: Settings) -> Rig {
    let mut rig = Rig::new(settings);
    rig.fail(settings.consecutive_failures);
    rig.wait_out();
    (0..settings.probes).for_each(|_| rig.call(CallResult::Success));
    assert_eq!(rig.state(), State::Closed);
    rig
}

fn rate(rig: &Rig) -> Option<f64> {
    rig.snapshot().slow_start_per_second
}

/// Asks all the time, and every call succeeds.
fn succeed(rig: &mut Rig, time: Duration) {
    for _ in 0..time.as_millis() / 10 {
        rig.now += Duration::from_millis(10);
        while let Ok(permit) = rig.admit() {
            permit.record(CallResult::Success, rig.now);
            if rate(rig).is_none() {
                return;
            }
        }
    }
}

#[test]
fn closed_again_it_lets_little_through_and_says_when_there_is_more() {
    let mut rig = just_closed(SLOWLY);
    assert_eq!(rate(&rig), Some(20.0));
    rig.call(CallResult::Success);
    let rejected = rig.admit().unwrap_err();
    assert_eq!(rejected.by, RejectedBy::SlowStart);
    assert!(rejected.retry_after <= Duration::from_millis(51), "{rejected:?}");
    assert_eq!(rig.breaker.peek(false, rig.now).unwrap_err(), rejected);
    assert_eq!((rig.state(), rig.breaker.is_open()), (State::Closed, false));
    rig.now += rejected.retry_after;
    assert!(rig.breaker.peek(false, rig.now).is_ok());
    rig.call(CallResult::Success);
}

#[test]
fn a_background_call_leaves_the_last_token_to_clients() {
    let mut rig = just_closed(SLOWLY);
    assert!(rig.breaker.admit_background(rig.now).is_err());
    rig.now += Duration::from_secs(1);
    drop(rig.breaker.admit_background(rig.now).unwrap());
    assert!(rig.breaker.admit_background(rig.now).is_err());
    drop(rig.admit().unwrap());
}

#[test]
fn it_doubles_while_nothing_fails_and_then_holds_back_nothing() {
    let mut rig = just_closed(SLOWLY);
    succeed(&mut rig, Duration::from_millis(700));
    assert!(rate(&rig).unwrap() >= 80.0, "{:?}", rate(&rig));
    succeed(&mut rig, Duration::from_secs(3));
    assert_eq!(rate(&rig), None);
    assert!((0..1_000).all(|_| rig.admit().is_ok()));
}

#[test]
fn a_quiet_service_is_through_after_a_few_calls() {
    let mut rig = just_closed(SLOWLY);
    for _ in 0..6 {
        assert!(rate(&rig).is_some());
        rig.now += Duration::from_secs(10);
        rig.call(CallResult::Success);
    }
    assert_eq!(rate(&rig), None);
}

#[test]
fn it_waits_for_answers_before_it_doubles() {
    let mut rig = just_closed(SLOWLY);
    let mut permits = Vec::new();
    for _ in 0..40 {
        rig.now += Duration::from_millis(50);
        permits.extend(rig.admit().ok());
    }
    assert_eq!(rate(&rig), Some(20.0), "nothing was answered yet");
    for permit in permits {
        permit.record(CallResult::Success, rig.now);
    }
    assert_eq!(rate(&rig), Some(40.0), "calls made at another rate say nothing about this one");
}

#[test]
fn failures_above_the_floor_slow_it_and_those_at_the_floor_open_it() {
    let mut rig = just_closed(SLOWLY);
    let mut calls = 0;
    while rig.state() == State::Closed {
        rig.now += Duration::from_millis(100);
        if let Ok(permit) = rig.admit() {
            permit.record(CallResult::Failure, rig.now);
            calls += 1;
        }
    }
    assert!((SLOWLY.consecutive_failures..20).contains(&calls), "{calls}");
    assert_eq!(rig.received().last().unwrap().2, TransitionReason::Failures);
}

#[test]
fn failures_halve_it_at_once() {
    let mut rig = just_closed(SLOWLY);
    succeed(&mut rig, Duration::from_secs(1));
    let before = rate(&rig).unwrap();
    let mut held = Vec::new();
    for _ in 0..100 {
        rig.now += Duration::from_millis(10);
        held.extend(std::iter::from_fn(|| rig.admit().ok()));
    }
    assert!(held.len() > 10, "{}", held.len());
    for permit in held {
        permit.record(CallResult::Failure, rig.now);
    }
    let after = rate(&rig).unwrap();
    assert!(after <= before / 2.0 && rig.state() == State::Closed, "{before} {after}");
    assert!(rig.admit().is_err(), "what was saved up is gone");
}

#[test]
fn an_upstream_that_fails_now_and_then_is_not_held_down() {
    let mut rig = just_closed(SLOWLY);
    let mut calls = 0;
    for _ in 0..500 {
        rig.now += Duration::from_millis(10);
        while rate(&rig).is_some()
            && let Ok(permit) = rig.admit()
        {
            calls += 1;
            let result = calls % 10 != 0;
            permit.record(Some(result), rig.now);
        }
    }
    assert!(rate(&rig).is_none_or(|rate| rate > 100.0), "{:?}", rate(&rig));
}

#[test]
fn an_admin_ends_it_by_closing_and_by_a_reset() {
    let way: [fn(&Breaker, Instant); 2] = [Breaker::force_close, Breaker::reset];
    for end in way {
        let rig = just_closed(SLOWLY);
        let transitions = rig.snapshot().transitions;
        end(&rig.breaker, rig.now);
        assert_eq!((rate(&rig), rig.snapshot().transitions), (None, transitions));
        assert!((0..100).all(|_| rig.admit().is_ok()));
    }
}

#[test]
fn a_restart_goes_on_at_the_floor() {
    let rig = just_closed(SLOWLY);
    let saved = rig.breaker.persist(rig.now, WALL);
    assert!(saved.slow_start);
    let next = Rig::new(SLOWLY);
    next.breaker.restore(&saved, next.now, WALL);
    assert_eq!(rate(&next), Some(1.0));
    let without = Rig::new(SETTINGS);
    without.breaker.restore(&saved, without.now, WALL);
    assert_eq!(rate(&without), None);
}

/// An upstream that takes so many calls a second, a quarter of a second's at once, and fails what is
/// more.
struct Weak {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Weak {
    fn call(&mut self, now: Instant) -> CallResult {
        let passed = (now - self.at).as_secs_f64();
        self.at = now;
        let most = (self.per_second / 4.0).max(1.0);
        self.tokens = (self.tokens + passed * self.per_second).min(most);
        if self.tokens < 1.0 {
            return CallResult::Failure;
        }
        self.tokens -= 1.0;
        CallResult::Success
    }
}

/// What a minute of more demand than the upstream can serve led to.
struct Minute {
    rig: Rig,
    opened: u64,
    good: u32,
    last_rejected: Option<Duration>,
}

fn minute(
    settings: Settings,
    capacity: f64,
    demand: f64,
    latency: Duration,
    chances: &[f64],
) -> Minute {
    let mut rig = just_closed(settings);
    let (opened, began) = (rig.snapshot().transitions, rig.now);
    let mut upstream = Weak { per_second: capacity, tokens: 0.0, at: rig.now };
    let mut under_way: VecDeque<(Instant, CallResult, Permit)> = VecDeque::new();
    let (mut good, mut last_rejected) = (0_u32, None);
    for chance in chances.iter().cycle() {
        rig.now += Duration::from_secs_f64((0.5 + chance) / demand);
        if rig.now >= began + Duration::from_secs(60) {
            break;
        }
        while under_way.front().is_some_and(|(back, ..)| *back <= rig.now) {
            let (back, result, permit) = under_way.pop_front().unwrap();
            permit.record(result, back);
        }
        match rig.admit() {
            Ok(permit) => {
                let result = upstream.call(rig.now);
                good += u32::from(result == CallResult::Success);
                under_way.push_back((rig.now + latency, result, permit));
            }
            Err(_) => last_rejected = Some(rig.now - began),
        }
    }
    drop(under_way);
    Minute { rig, opened, good, last_rejected }
}

proptest! {
    /// It gets a good part of what it can do, and our own load never opens the breaker.
    #[test]
    fn a_weak_upstream_is_never_opened_again_by_our_own_load(
        capacity in 1.5_f64..80.0,
        surplus in 1.2_f64..10.0,
        latency_ms in 1_u64..400,
        failures in 3_u32..8,
        chances in prop::collection::vec(0.0_f64..1.0, 64),
    ) {
        let settings = Settings { consecutive_failures: failures, ..SLOWLY };
        let demand = (capacity * surplus).max(12.0);
        let Minute { rig, opened, good, .. } =
            minute(settings, capacity, demand, Duration::from_millis(latency_ms), &chances);
        prop_assert_eq!(rig.snapshot().transitions, opened, "{:?}", rig.received());
        prop_assert!(f64::from(good) > 0.4 * 60.0 * capacity, "{} of {}", good, capacity);
    }

    /// P19: an upstream with all of its strength serves every call soon.
    #[test]
    fn a_whole_upstream_is_asked_everything_within_seconds(
        demand in 1.0_f64..30.0,
        latency_ms in 1_u64..250,
        chances in prop::collection::vec(0.0_f64..1.0, 64),
    ) {
        let latency = Duration::from_millis(latency_ms);
        let Minute { last_rejected, .. } = minute(SLOWLY, 1e6, demand, latency, &chances);
        let last_rejected = last_rejected.unwrap_or_default();
        prop_assert!(last_rejected < Duration::from_millis(2_700), "{last_rejected:?}");
    }
}
