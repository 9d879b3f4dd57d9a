//! What a breaker lets through after it has closed, and what that does to an upstream that is weak.

use std::collections::VecDeque;

use super::*;

const LEAST: Duration = Duration::from_secs(10);
const RAMPED: Settings = Settings { probes: 3, ramp: Some(LEAST), ..Settings::new(5, OPEN) };

/// A breaker that has just closed after an illness.
fn just_closed(settings: Settings) -> Rig {
    let mut rig = Rig::new(settings);
    rig.fail(settings.consecutive_failures);
    rig.wait_out();
    (0..settings.probes).for_each(|_| rig.call(Verdict::Well));
    assert_eq!(rig.state(), State::Closed);
    rig
}

fn rate(rig: &Rig) -> Option<f64> {
    rig.snapshot().ramp_per_second
}

/// A while in which nobody asks: the ramp is over.
fn quiet(rig: &mut Rig) {
    rig.now += LEAST;
    assert_eq!(rate(rig), None);
}

#[test]
fn closed_again_it_lets_little_through_and_says_when_there_is_more() {
    let mut rig = just_closed(RAMPED);
    assert_eq!(rate(&rig), Some(3.0));
    rig.call(Verdict::Well);
    let rejected = rig.admit().unwrap_err();
    assert_eq!(rejected.refusal, Refusal::Ramp);
    assert!(rejected.retry_after <= Duration::from_millis(334), "{rejected:?}");
    assert_eq!(rig.breaker.peek(rig.now).unwrap_err(), rejected);
    assert_eq!((rig.state(), rig.breaker.is_open()), (State::Closed, false));
    rig.now += rejected.retry_after;
    assert!(rig.breaker.peek(rig.now).is_ok());
    rig.call(Verdict::Well);
}

#[test]
fn nobody_who_can_wait_takes_the_last_token() {
    let mut rig = just_closed(RAMPED);
    assert!(rig.breaker.admit_spare(rig.now).is_err());
    rig.now += Duration::from_secs(1);
    drop(rig.breaker.admit_spare(rig.now).unwrap());
    assert!(rig.breaker.admit_spare(rig.now).is_err());
    drop(rig.admit().unwrap());
}

#[test]
fn it_grows_while_it_goes_well_and_somebody_is_held_back() {
    let mut rig = just_closed(RAMPED);
    for _ in 0..80 {
        rig.now += Duration::from_millis(100);
        while let Ok(permit) = rig.admit() {
            permit.record(Verdict::Well, rig.now);
        }
    }
    assert!(rate(&rig).unwrap() > 30.0, "{:?}", rate(&rig));
    quiet(&mut rig);
    assert!((0..1_000).all(|_| rig.admit().is_ok()));
}

#[test]
fn without_demand_it_ends_by_itself_and_does_not_grow() {
    let mut rig = just_closed(RAMPED);
    for _ in 0..9 {
        rig.now += Duration::from_secs(1);
        rig.call(Verdict::Well);
        assert_eq!(rate(&rig), Some(3.0));
    }
    rig.now += Duration::from_secs(1);
    assert_eq!(rate(&rig), None);
}

#[test]
fn failures_above_the_floor_slow_it_and_those_at_the_floor_open_it() {
    let mut rig = just_closed(RAMPED);
    rig.now += Duration::from_secs(1);
    let permits: Vec<_> = std::iter::from_fn(|| rig.admit().ok()).collect();
    assert_eq!(permits.len(), 2);
    permits.into_iter().for_each(|permit| permit.record(Verdict::Ill, rig.now));
    assert_eq!(rate(&rig), Some(2.1));
    let mut calls = 0;
    while rig.state() == State::Closed {
        rig.now += Duration::from_millis(100);
        if let Ok(permit) = rig.admit() {
            permit.record(Verdict::Ill, rig.now);
            calls += 1;
        }
    }
    assert!((RAMPED.consecutive_failures..20).contains(&calls), "{calls}");
    assert_eq!(rig.heard().last().unwrap().2, Reason::Failures);
}

#[test]
fn a_row_of_failures_falls_to_the_floor_at_once() {
    let mut rig = just_closed(RAMPED);
    for _ in 0..60 {
        rig.now += Duration::from_millis(100);
        while let Ok(permit) = rig.admit() {
            permit.record(Verdict::Well, rig.now);
        }
    }
    rig.now += Duration::from_millis(500);
    let permits: Vec<_> = std::iter::from_fn(|| rig.admit().ok()).take(5).collect();
    assert_eq!(permits.len(), 3, "evenly, not all at once: {:?}", rate(&rig));
    let mut held = VecDeque::from(permits);
    for _ in 0..8 {
        rig.now += Duration::from_millis(100);
        held.extend(std::iter::from_fn(|| rig.admit().ok()));
    }
    for permit in held {
        permit.record(Verdict::Ill, rig.now);
    }
    assert_eq!((rate(&rig), rig.state()), (Some(1.0), State::Closed));
    assert!(rig.admit().is_err(), "what was saved up is gone");
}

#[test]
fn an_upstream_that_fails_now_and_then_is_not_held_down() {
    let mut rig = just_closed(RAMPED);
    let mut calls = 0;
    for _ in 0..200 {
        rig.now += Duration::from_millis(100);
        while let Ok(permit) = rig.admit() {
            calls += 1;
            let verdict = if calls % 10 == 0 { Verdict::Ill } else { Verdict::Well };
            permit.record(verdict, rig.now);
        }
    }
    assert!(rate(&rig).unwrap() > 100.0, "{:?}", rate(&rig));
}

#[test]
fn an_admin_ends_it_by_closing_and_by_a_reset() {
    let way: [fn(&Breaker, Instant); 2] = [Breaker::force_close, Breaker::reset];
    for end in way {
        let rig = just_closed(RAMPED);
        let transitions = rig.snapshot().transitions;
        end(&rig.breaker, rig.now);
        assert_eq!((rate(&rig), rig.snapshot().transitions), (None, transitions));
        assert!((0..100).all(|_| rig.admit().is_ok()));
    }
}

#[test]
fn a_restart_goes_on_at_the_floor() {
    let rig = just_closed(RAMPED);
    let wall = crate::clock::Timestamp::from_millis(1_700_000_000_000);
    let saved = rig.breaker.remember(rig.now, wall);
    assert!(saved.ramping);
    let next = Rig::new(RAMPED);
    next.breaker.restore(&saved, next.now, wall);
    assert_eq!(rate(&next), Some(1.0));
    let without = Rig::new(SETTINGS);
    without.breaker.restore(&saved, without.now, wall);
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
    fn call(&mut self, now: Instant) -> Verdict {
        let passed = (now - self.at).as_secs_f64();
        self.at = now;
        let most = (self.per_second / 4.0).max(1.0);
        self.tokens = (self.tokens + passed * self.per_second).min(most);
        if self.tokens < 1.0 {
            return Verdict::Ill;
        }
        self.tokens -= 1.0;
        Verdict::Well
    }
}

proptest! {
    /// In the end it gets most of what it can do, and never is it called ill.
    #[test]
    fn a_weak_upstream_is_never_opened_again_by_our_own_load(
        capacity in 1.5_f64..80.0,
        surplus in 1.2_f64..10.0,
        latency_ms in 1_u64..400,
        failures in 3_u32..8,
        chances in prop::collection::vec(0.0_f64..1.0, 64),
    ) {
        let settings = Settings { consecutive_failures: failures, ..RAMPED };
        let mut rig = just_closed(settings);
        let opened = rig.snapshot().transitions;
        let mut upstream = Weak { per_second: capacity, tokens: 0.0, at: rig.now };
        let mut under_way: VecDeque<(Instant, Verdict, Permit)> = VecDeque::new();
        let demand = (capacity * surplus).max(12.0);
        let end = rig.now + Duration::from_secs(60);
        let (mut good, mut asked) = (0_u32, 0_u32);
        for chance in chances.iter().cycle() {
            rig.now += Duration::from_secs_f64((0.5 + chance) / demand);
            if rig.now >= end {
                break;
            }
            while under_way.front().is_some_and(|(back, ..)| *back <= rig.now) {
                let (back, verdict, permit) = under_way.pop_front().unwrap();
                permit.record(verdict, back);
            }
            asked += 1;
            if let Ok(permit) = rig.admit() {
                let verdict = upstream.call(rig.now);
                good += u32::from(verdict == Verdict::Well);
                under_way.push_back((rig.now + Duration::from_millis(latency_ms), verdict, permit));
            }
        }
        prop_assert_eq!(rig.snapshot().transitions, opened, "{:?}", rig.heard());
        if f64::from(asked) > 1.5 * 60.0 * capacity {
            prop_assert!(rate(&rig).is_some(), "it is still as weak");
        }
        prop_assert!(f64::from(good) > 0.5 * 60.0 * capacity, "{} of {}", good, capacity);
    }

    /// In no second more goes than the highest rate of that second and what may be saved up.
    #[test]
    fn it_never_admits_more_than_its_tokens(
        steps in prop::collection::vec((0_u64..300, 0_u8..4, any::<bool>()), 1..400),
    ) {
        let mut rig = just_closed(RAMPED);
        let mut admitted: Vec<Instant> = Vec::new();
        let mut rates: Vec<(Instant, f64)> = Vec::new();
        for (wait, verdict, spare) in steps {
            rig.now += Duration::from_millis(wait);
            let asked = |spare: bool| match spare {
                true => rig.breaker.admit_spare(rig.now),
                false => rig.admit(),
            };
            while let Ok(permit) = asked(spare) {
                if rate(&rig).is_none() || rig.state() != State::Closed {
                    return Ok(());
                }
                admitted.push(rig.now);
                let verdicts = [Verdict::Well, Verdict::Well, Verdict::Slow, Verdict::Ill];
                permit.record(verdicts[usize::from(verdict)], rig.now);
            }
            let Some(rate) = rate(&rig) else { return Ok(()) };
            rates.push((rig.now, rate));
            let second = |at: &Instant| rig.now - *at < Duration::from_secs(1);
            let went = u32::try_from(admitted.iter().filter(|at| second(at)).count()).unwrap();
            // A rate of the last second, or the one it began with.
            let past = rates.iter().filter(|(at, _)| rig.now - *at < Duration::from_millis(1_301));
            let highest = past.map(|(_, rate)| *rate).fold(3.0, f64::max);
            prop_assert!(f64::from(went) <= highest + (highest * 0.1).max(2.0) + 1.0, "{went}");
        }
    }
}
