//! The limit: what it does when calls are quick, slow, or fail.

use proptest::prelude::*;

use super::*;
use crate::clock;

const SECOND: Duration = Duration::from_secs(1);

fn limit(most: u32, queue: usize) -> ConcurrencyLimit<u32> {
    ConcurrencyLimit::new(Settings { most, queue, ..Settings::default() })
}

/// Round trips in which all slots are used and all calls end so.
fn round_trips(limit: &mut ConcurrencyLimit<u32>, times: u32, ended: Ended) {
    let now = clock::monotonic();
    for _ in 0..times {
        let calls: Vec<_> = (0..limit.load().limit).map(|_| limit.take(now)).collect();
        calls.into_iter().for_each(|call| limit.give_back(call, Some((ended, now + SECOND))));
    }
}

#[test]
fn it_grows_by_about_one_a_round_trip_and_is_cut_once_in_one() {
    let mut limit = limit(40, 0);
    assert_eq!(limit.load().limit, 16);
    round_trips(&mut limit, 4, Ended::Answered);
    assert!((17..=20).contains(&limit.load().limit), "{:?}", limit.load());
    round_trips(&mut limit, 200, Ended::Answered);
    assert_eq!(limit.load().limit, 40, "its bound");
    round_trips(&mut limit, 1, Ended::Overloaded);
    assert_eq!(limit.load().limit, 36);
    round_trips(&mut limit, 100, Ended::Overloaded);
    assert_eq!(limit.load().limit, 2, "its least");
    round_trips(&mut limit, 10, Ended::Ignored);
    assert_eq!(limit.load().limit, 2);
}

#[test]
fn calls_that_did_not_need_the_limit_do_not_raise_it() {
    let (mut limit, now) = (limit(40, 0), clock::monotonic());
    for _ in 0..1_000 {
        let call = limit.take(now);
        limit.give_back(call, Some((Ended::Answered, now)));
    }
    assert_eq!(limit.load().limit, 16);
}

#[test]
fn clients_get_all_slots_a_refresh_half_and_warming_a_quarter() {
    for (priority, most) in [(Priority::Client, 8), (Priority::Refresh, 4), (Priority::Warming, 2)]
    {
        let (mut limit, now) = (limit(8, 0), clock::monotonic());
        let takes = |limit: &ConcurrencyLimit<u32>| limit.decide(priority, now, now + SECOND);
        while takes(&limit) == Ok(Decision::Take) {
            limit.take(now);
        }
        assert_eq!(limit.load().in_flight, most, "{priority:?}");
    }
}

#[test]
fn who_cannot_be_served_in_time_is_rejected_and_told_when_to_come_back() {
    let (mut limit, now) = (limit(1, 2), clock::monotonic());
    let call = limit.take(now);
    limit.give_back(call, Some((Ended::Answered, now + SECOND)));
    limit.take(now);
    let asks = |limit: &ConcurrencyLimit<u32>, within| {
        limit.decide(Priority::Client, now, now + within).map_err(|full| full.reason)
    };
    assert_eq!(asks(&limit, SECOND / 2), Err(RejectReason::Deadline));
    assert_eq!(asks(&limit, SECOND), Ok(Decision::Wait));
    limit.join(now, now + SECOND, 1);
    assert_eq!(asks(&limit, SECOND), Err(RejectReason::Deadline));
    limit.join(now, now + 3 * SECOND, 2);
    assert_eq!(asks(&limit, 9 * SECOND), Err(RejectReason::Queue));
    assert_eq!(limit.full(RejectReason::Queue).retry_after, 3 * SECOND);
    let refresh = limit.decide(Priority::Refresh, now, now + 9 * SECOND).unwrap_err();
    assert_eq!(refresh.reason, RejectReason::KeptForClients);
}

#[test]
fn they_leave_the_queue_in_order_and_too_late_ones_without_a_slot() {
    let (mut limit, now) = (limit(1, 9), clock::monotonic());
    let held = limit.take(now);
    limit.join(now, now + SECOND, 1);
    let gone = limit.join(now, now + 9 * SECOND, 2);
    limit.join(now, now + 9 * SECOND, 3);
    assert_eq!(limit.leave(gone), Some(2));
    assert!(limit.next(Some(now)).is_none(), "no slot is free");
    limit.give_back(held, None);
    assert!(matches!(limit.next(Some(now + 2 * SECOND)), Some((3, _))), "the first is too late");
    assert_eq!((limit.load().in_flight, limit.load().waiting), (1, 0));
}

#[test]
fn a_slot_whose_holder_is_lost_is_given_to_others() {
    let (mut limit, now) = (limit(1, 9), clock::monotonic());
    let lost = limit.take(now);
    limit.give_up_lost(now + Settings::default().longest);
    assert_eq!(limit.load().in_flight, 1);
    limit.give_up_lost(now + Settings::default().longest + SECOND);
    assert_eq!(limit.load().in_flight, 0);
    limit.give_back(lost, Some((Ended::Answered, now)));
    assert_eq!(limit.mean_hold(), Duration::ZERO, "late it says nothing");
}

proptest! {
    /// Slots held are those taken and not given back, never more than the limit when all ask
    /// first, and nobody waits while a slot is free.
    #[test]
    fn no_slot_is_lost_and_none_is_idle(
        steps in prop::collection::vec((0_u8..5, any::<usize>()), 1..300),
    ) {
        let (mut limit, mut now) = (limit(6, 5), clock::monotonic());
        let (mut held, mut waiting) = (Vec::new(), Vec::new());
        for (step, nth) in steps {
            now += Duration::from_millis(10);
            match step {
                0 | 1 => match limit.decide(Priority::Client, now, now + SECOND) {
                    Ok(Decision::Take) => held.push(limit.take(now)),
                    Ok(Decision::Wait) => waiting.push(limit.join(now, now + SECOND, 0)),
                    Err(_) => {}
                },
                2 if !waiting.is_empty() => {
                    limit.leave(waiting.remove(nth % waiting.len()));
                }
                _ if !held.is_empty() => {
                    let ended = [Ended::Answered, Ended::Overloaded, Ended::Ignored][nth % 3];
                    limit.give_back(held.remove(nth % held.len()), Some((ended, now)));
                }
                _ => {}
            }
            while let Some((_, call)) = limit.next(Some(now)) {
                held.push(call);
            }
            let load = limit.load();
            waiting.drain(..waiting.len() - load.waiting);
            prop_assert_eq!(usize::try_from(load.in_flight).unwrap(), held.len());
            prop_assert!((2..=6).contains(&load.limit));
            prop_assert!(waiting.is_empty() || load.in_flight >= load.limit);
        }
    }
}
