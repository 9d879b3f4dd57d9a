//! The rule about whose turn it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Ask, Credential, Credentials, Offer, Prefer, Quote, Refusal, choose};
use crate::clock::{self, Timestamp};
use crate::failure::FailureKind;
use crate::origin::Priority;
use crate::origin::health::tests::key_fault;
use crate::origin::pacing::{self, Pacing, Rate};
use crate::resilience::breaker::{self, Breaker, CallResult, Rejected};
use crate::resilience::{Refused, RejectReason};

fn after(now: Instant, millis: u64) -> Instant {
    now + Duration::from_millis(millis)
}

fn offer(at: Instant) -> Quote {
    Ok(Offer { at, probes: false })
}

fn open_for(millis: u64) -> Quote {
    let retry_after = Duration::from_millis(millis);
    Err(Refusal::Breaker(Rejected { retry_after, by: breaker::RejectedBy::Open }))
}

fn paced_for(millis: u64) -> Quote {
    let retry_after = Duration::from_millis(millis);
    Err(Refusal::Pacing(Refused { reason: RejectReason::Deadline, retry_after }))
}

fn misconfigured(now: Instant) -> Quote {
    Err(Refusal::Health(Box::new(key_fault(now))))
}

#[test]
fn they_are_used_in_turn() {
    let now = clock::monotonic();
    let quotes = [offer(now), offer(now), offer(now)];
    let taken: Vec<_> = (0..6).map(|turn| choose(&quotes, turn, Prefer::Any, now)).collect();
    assert_eq!(taken, [0, 1, 2, 0, 1, 2].map(Ok));
    let quotes = [offer(now), open_for(5), offer(now)];
    let taken: Vec<_> = (0..3).map(|turn| choose(&quotes, turn, Prefer::Any, now)).collect();
    assert_eq!(taken, [0, 2, 2].map(Ok));
}

#[test]
fn who_starts_at_once_comes_before_who_has_to_wait() {
    let now = clock::monotonic();
    for turn in 0..6 {
        let quotes = [offer(after(now, 50)), offer(now), offer(after(now, 20))];
        assert_eq!(choose(&quotes, turn, Prefer::Any, now), Ok(1));
        let quotes = [offer(after(now, 50)), paced_for(1), offer(after(now, 20))];
        assert_eq!(choose(&quotes, turn, Prefer::Any, now), Ok(2));
    }
}

#[test]
fn a_probe_comes_first_and_a_retry_goes_elsewhere() {
    let now = clock::monotonic();
    let probe = Ok(Offer { at: now, probes: true });
    let quotes = [offer(now), probe, offer(now)];
    for turn in 0..6 {
        assert_eq!(choose(&quotes, turn, Prefer::Any, now), Ok(1));
        assert_ne!(choose(&quotes, turn, Prefer::Not(1), now), Ok(1));
        assert_eq!(choose(&quotes[..1], turn, Prefer::Not(0), now), Ok(0));
        assert_eq!(choose(&quotes, turn, Prefer::Only(2), now), Ok(2));
    }
    assert_eq!(choose(&[offer(now), open_for(1)], 0, Prefer::Only(1), now), Err(1));
}

#[test]
fn a_retry_waits_a_little_for_another_and_no_longer() {
    let now = clock::monotonic();
    for turn in 0..3 {
        let soon = [offer(now), offer(after(now, 200))];
        assert_eq!(choose(&soon, turn, Prefer::Not(0), now), Ok(1));
        let late = [offer(now), offer(after(now, 2_000))];
        assert_eq!(choose(&late, turn, Prefer::Not(0), now), Ok(0));
    }
}

#[test]
fn the_refusal_that_ends_first_is_told_and_a_fault_last() {
    let now = clock::monotonic();
    let quotes = [misconfigured(now), open_for(9_000), paced_for(300)];
    for turn in 0..3 {
        assert_eq!(choose(&quotes, turn, Prefer::Any, now), Err(2));
        assert_eq!(choose(&quotes[..2], turn, Prefer::Any, now), Err(1));
        assert_eq!(choose(&quotes[..1], turn, Prefer::Any, now), Err(0));
    }
    let kinds = quotes.map(|quote| quote.unwrap_err().into_failure(now).kind);
    let expected =
        [FailureKind::UpstreamRejected, FailureKind::CircuitOpen, FailureKind::Overloaded];
    assert_eq!(kinds, expected);
}

/// A credential whose breaker opens after five failures in a row and starts slowly when it closes.
fn credential(name: &'static str, pacing: pacing::Settings) -> Credential {
    let settings = breaker::Settings {
        slow_start: true,
        ..breaker::Settings::new(5, Duration::from_secs(30))
    };
    Credential {
        name,
        id: name.to_owned(),
        breaker: Breaker::new(name, settings, Arc::new(|_| {})),
        pacing: Pacing::new(pacing),
        health: Arc::default(),
    }
}

fn ask(priority: Priority, now: Instant) -> Ask<'static> {
    Ask {
        operation: "query",
        priority,
        payer: None,
        latest: after(now, 8_000),
        prefer: Prefer::Any,
    }
}

/// Opens the first account's breaker; the answer is when it may be probed.
fn half_open(all: &Credentials) -> Instant {
    let now = clock::monotonic();
    let first = all.iter().next().unwrap();
    for _ in 0..5 {
        first.breaker.admit(now).unwrap().record(CallResult::Failure, now);
    }
    // Open times are jittered upwards by at most a half.
    after(now, 46_000)
}

/// One that is to be probed and cannot be asked now draws nobody away from one that is free.
#[test]
fn a_probe_that_has_to_wait_comes_last() {
    let rate = Some(Rate { per_second: 5.0, burst: 10 });
    let paced = || pacing::Settings { rate, ..pacing::Settings::default() };
    let all = Credentials::new(vec![credential("a", paced()), credential("b", paced())]);
    let now = half_open(&all);
    let first = all.iter().next().unwrap();
    // The first probe is throttled, which says nothing of its health.
    first.breaker.admit(now).unwrap().record(CallResult::Ignored, now);
    first.pacing.ban(now, Duration::from_secs(3));
    for _ in 0..10 {
        let turn = all.choose(&ask(Priority::Client, now), now, Timestamp::default()).unwrap();
        assert_eq!((turn.credential.name, turn.booking.at()), ("b", now));
        turn.booking.start(now).unwrap();
    }
}

/// Refreshes alone bring a slow start to its end.
#[test]
fn refreshes_alone_end_a_slow_start() {
    let all = Credentials::new(vec![credential("a", pacing::Settings::default())]);
    let mut now = half_open(&all);
    let only = all.iter().next().unwrap();
    for _ in 0..3 {
        only.breaker.admit(now).unwrap().record(CallResult::Success, now);
    }
    let mut made = Vec::new();
    for _ in 0..10 {
        let before = only.breaker.snapshot(now).issued;
        for _ in 0..40 {
            now = after(now, 25);
            if let Ok(turn) = all.choose(&ask(Priority::Refresh, now), now, Timestamp::default()) {
                let permit = only.breaker.admit_background(now).unwrap();
                permit.record(CallResult::Success, now);
                turn.booking.start(now).unwrap();
            }
        }
        made.push(only.breaker.snapshot(now).issued - before);
    }
    assert!(made[0] >= 1 && made[9] == 40, "{made:?}");
    assert_eq!(only.breaker.snapshot(now).slow_start_per_second, None);
}

/// A background call is given to a credential that takes it.
#[test]
fn background_calls_go_past_a_slow_start() {
    let free = pacing::Settings::default;
    let all = Credentials::new(vec![credential("a", free()), credential("b", free())]);
    let now = half_open(&all);
    let first = all.iter().next().unwrap();
    for _ in 0..3 {
        first.breaker.admit(now).unwrap().record(CallResult::Success, now);
    }
    for priority in [Priority::Refresh, Priority::Warming] {
        for _ in 0..4 {
            let turn = all.choose(&ask(priority, now), now, Timestamp::default()).unwrap();
            assert_eq!(turn.credential.name, "b", "{priority:?}");
        }
    }
}

proptest! {
    /// Whatever they quote: who takes it has offered it, nobody could start earlier, and it is
    /// refused only by all. While all can, nobody is used twice as long as another waits.
    #[test]
    fn the_choice_is_one_that_was_offered(
        offers in prop::collection::vec(prop::option::of((0_u64..3, any::<bool>())), 1..5),
        turns in prop::collection::vec(any::<usize>(), 1..20),
    ) {
        let now = clock::monotonic();
        let probes = |wait: u64, probes: bool| wait == 0 && probes;
        let quotes: Vec<Quote> = offers.iter().map(|offer| match offer {
            Some((wait, may)) => Ok(Offer { at: after(now, *wait), probes: probes(*wait, *may) }),
            None => open_for(10),
        }).collect();
        for turn in turns {
            match choose(&quotes, turn, Prefer::Any, now) {
                Ok(index) => {
                    let taken = quotes[index].clone().unwrap();
                    let all = offers.iter().flatten();
                    let best = all.map(|(wait, may)| (!probes(*wait, *may), *wait)).min();
                    let (unprobed, wait) = best.unwrap();
                    prop_assert_eq!((!taken.probes, taken.at), (unprobed, after(now, wait)));
                }
                Err(index) => {
                    prop_assert!(quotes[index].is_err());
                    prop_assert!(offers.iter().all(Option::is_none));
                }
            }
        }
    }

    #[test]
    fn budgets_fall_evenly(credentials in 1_usize..5, calls in 1_usize..100) {
        let now = clock::monotonic();
        let quotes = vec![offer(now); credentials];
        let (mut turn, mut used) = (0, vec![0_usize; credentials]);
        for _ in 0..calls {
            let Ok(index) = choose(&quotes, turn, Prefer::Any, now) else { panic!() };
            used[index] += 1;
            turn = index + 1;
        }
        let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", used);
    }
}
