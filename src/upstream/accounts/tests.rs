//! The rule about whose turn it is.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::choice::{Choice, Offer, Prefer, Quote, Refusal, choose};
use crate::breaker::{self, Rejected};
use crate::clock::{self, Timestamp};
use crate::failure::FailureKind;
use crate::upstream::outcome::Blame;
use crate::upstream::pacing::{Reason, Refused};
use crate::upstream::standing::Standing;
use crate::upstream::standing::faults::Faults;
use crate::upstream::{Misconfiguration, Outcome};

fn after(now: Instant, millis: u64) -> Instant {
    now + Duration::from_millis(millis)
}

fn offer(at: Instant) -> Quote {
    Ok(Offer { at, probes: false })
}

fn open_for(millis: u64) -> Quote {
    let retry_after = Duration::from_millis(millis);
    Err(Refusal::Breaker(Rejected { retry_after, refusal: breaker::Refusal::Open }))
}

fn paced_for(millis: u64) -> Quote {
    let retry_after = Duration::from_millis(millis);
    Err(Refusal::Pacing(Refused { reason: Reason::Deadline, retry_after }))
}

fn misconfigured(now: Instant) -> Quote {
    let mut faults = Faults::default();
    let blame = Blame::Configuration(Misconfiguration::AppKey);
    let outcome = Outcome::<()>::Permanent { blame, reason: "unknown key".to_owned() };
    faults.note("query", None, &outcome, now, Timestamp::default());
    Err(Refusal::Standing(Box::new(faults.peek("query", now).unwrap_err())))
}

#[test]
fn they_are_used_in_turn() {
    let now = clock::monotonic();
    let quotes = [offer(now), offer(now), offer(now)];
    let taken: Vec<_> = (0..6).map(|turn| choose(&quotes, turn, Prefer::Any, now)).collect();
    assert_eq!(taken, [0, 1, 2, 0, 1, 2].map(Choice::Takes));
    let quotes = [offer(now), open_for(5), offer(now)];
    let taken: Vec<_> = (0..3).map(|turn| choose(&quotes, turn, Prefer::Any, now)).collect();
    assert_eq!(taken, [0, 2, 2].map(Choice::Takes));
}

#[test]
fn who_starts_at_once_comes_before_who_has_to_wait() {
    let now = clock::monotonic();
    for turn in 0..6 {
        let quotes = [offer(after(now, 50)), offer(now), offer(after(now, 20))];
        assert_eq!(choose(&quotes, turn, Prefer::Any, now), Choice::Takes(1));
        let quotes = [offer(after(now, 50)), paced_for(1), offer(after(now, 20))];
        assert_eq!(choose(&quotes, turn, Prefer::Any, now), Choice::Takes(2));
    }
}

#[test]
fn a_probe_comes_first_and_a_retry_goes_elsewhere() {
    let now = clock::monotonic();
    let probe = Ok(Offer { at: after(now, 5), probes: true });
    let quotes = [offer(now), probe, offer(now)];
    for turn in 0..6 {
        assert_eq!(choose(&quotes, turn, Prefer::Any, now), Choice::Takes(1));
        assert_ne!(choose(&quotes, turn, Prefer::Not(1), now), Choice::Takes(1));
        assert_eq!(choose(&quotes[..1], turn, Prefer::Not(0), now), Choice::Takes(0));
        assert_eq!(choose(&quotes, turn, Prefer::Only(2), now), Choice::Takes(2));
    }
    assert_eq!(choose(&[offer(now), open_for(1)], 0, Prefer::Only(1), now), Choice::Refused(1));
}

#[test]
fn the_refusal_that_ends_first_is_told_and_a_fault_last() {
    let now = clock::monotonic();
    let quotes = [misconfigured(now), open_for(9_000), paced_for(300)];
    for turn in 0..3 {
        assert_eq!(choose(&quotes, turn, Prefer::Any, now), Choice::Refused(2));
        assert_eq!(choose(&quotes[..2], turn, Prefer::Any, now), Choice::Refused(1));
        assert_eq!(choose(&quotes[..1], turn, Prefer::Any, now), Choice::Refused(0));
    }
    let kinds = quotes.map(|quote| quote.unwrap_err().into_failure(now).kind);
    let expected =
        [FailureKind::UpstreamRejected, FailureKind::CircuitOpen, FailureKind::Overloaded];
    assert_eq!(kinds, expected);
}

#[test]
fn a_granted_question_needs_no_second_right() {
    let (standing, now) = (Standing::default(), clock::monotonic());
    drop(standing.granted("query", now));
    assert!(standing.peek("query", now).is_ok());
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
        let quotes: Vec<Quote> = offers.iter().map(|offer| match offer {
            Some((wait, probes)) => Ok(Offer { at: after(now, *wait), probes: *probes }),
            None => open_for(10),
        }).collect();
        for turn in turns {
            match choose(&quotes, turn, Prefer::Any, now) {
                Choice::Takes(index) => {
                    let taken = quotes[index].clone().unwrap();
                    let best = offers.iter().flatten().map(|(wait, probes)| (!probes, *wait)).min();
                    let (unprobed, wait) = best.unwrap();
                    prop_assert_eq!((!taken.probes, taken.at), (unprobed, after(now, wait)));
                }
                Choice::Refused(index) => {
                    prop_assert!(quotes[index].is_err());
                    prop_assert!(offers.iter().all(Option::is_none));
                }
            }
        }
    }

    #[test]
    fn budgets_fall_evenly(accounts in 1_usize..5, calls in 1_usize..100) {
        let now = clock::monotonic();
        let quotes = vec![offer(now); accounts];
        let (mut turn, mut used) = (0, vec![0_usize; accounts]);
        for _ in 0..calls {
            let Choice::Takes(index) = choose(&quotes, turn, Prefer::Any, now) else { panic!() };
            used[index] += 1;
            turn = index + 1;
        }
        let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", used);
    }
}
