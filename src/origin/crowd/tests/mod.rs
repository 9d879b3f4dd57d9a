//! The crowd: who gets in, in what order, and who is refused why.

mod model;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::clock;

const LONG: Duration = Duration::from_secs(60);

fn crowd(most: u32, queue: usize) -> Crowd {
    Crowd::new(Settings { most, queue, ..Settings::default() })
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn client(crowd: &Crowd, now: Instant) -> Result<Entry, Full> {
    crowd.enter(Priority::Client, now, now + LONG)
}

fn place(crowd: &Crowd, now: Instant) -> Place {
    match client(crowd, now) {
        Ok(Entry::In(place)) => place,
        other => panic!("{other:?}"),
    }
}

fn ticket(crowd: &Crowd, now: Instant) -> Ticket {
    match client(crowd, now) {
        Ok(Entry::Wait(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

fn reason(entry: Result<Entry, Full>) -> Reason {
    entry.expect_err("nobody was let in").reason
}

#[test]
fn clients_wait_in_their_order() {
    let (crowd, now) = (crowd(2, 10), clock::monotonic());
    let places = [place(&crowd, now), place(&crowd, now)];
    let mut tickets = [(); 3].map(|()| ticket(&crowd, now));
    assert_eq!(crowd.snapshot(), Snapshot { limit: 2, in_flight: 2, waiting: 3 });
    let [first, second] = places;
    first.ended(Ended::Silent, now);
    let held = tickets[0].arrived().expect("the first is served first");
    assert!(tickets[1].arrived().is_none());
    drop(second);
    assert!(tickets[1].arrived().is_some() && tickets[2].arrived().is_some());
    drop(held);
    assert_eq!(crowd.snapshot().in_flight, 0);
}

#[test]
fn nobody_passes_somebody_who_waits() {
    let (crowd, now) = (crowd(1, 10), clock::monotonic());
    let held = place(&crowd, now);
    let waiting = ticket(&crowd, now);
    drop(held);
    // The place belongs to the ticket, whether or not it has looked.
    assert!(matches!(client(&crowd, now), Ok(Entry::Wait(_))));
    assert!(crowd.enter_spare(now).is_none());
    drop(waiting);
    drop(place(&crowd, now));
}

#[test]
fn calls_that_nobody_waits_for_get_what_is_to_spare_and_never_wait() {
    let (crowd, now) = (crowd(8, 10), clock::monotonic());
    let background = |priority| crowd.enter(priority, now, now + LONG);
    let mut held: Vec<_> = (0..3).map(|_| place(&crowd, now)).collect();
    assert!(crowd.peek(Priority::Warming, now, now + LONG).is_ok());
    held.extend(crowd.enter_spare(now));
    assert_eq!(held.len(), 4);
    for priority in [Priority::Refresh, Priority::Warming] {
        assert_eq!(reason(background(priority)), Reason::KeptForClients);
        assert!(crowd.peek(priority, now, now + LONG).is_err());
    }
    drop(place(&crowd, now));
}

#[test]
fn a_full_queue_refuses_and_no_queue_refuses_at_once() {
    let now = clock::monotonic();
    let one = crowd(1, 1);
    let (_held, _waiting) = (place(&one, now), ticket(&one, now));
    let full = one.peek(Priority::Client, now, now + LONG).expect_err("it is full");
    assert_eq!(full, Full { reason: Reason::Queue, retry_after: Duration::from_secs(1) });
    assert_eq!(reason(client(&one, now)), Reason::Queue);
    let none = crowd(1, 0);
    let _held = place(&none, now);
    assert_eq!(reason(client(&none, now)), Reason::Queue);
}

#[test]
fn whoever_would_wait_past_the_deadline_is_refused() {
    let (crowd, now) = (crowd(2, 100), clock::monotonic());
    // Calls take 100 ms.
    let places = [place(&crowd, now), place(&crowd, now)];
    places.into_iter().for_each(|place| {
        place.ended(Ended::Well(millis(100)), now + millis(100));
    });
    let now = now + millis(100);
    let _places = [place(&crowd, now), place(&crowd, now)];
    let _tickets: Vec<_> = (0..3).map(|_| ticket(&crowd, now)).collect();
    // The fourth waits for two rounds of two.
    let enter = |within| crowd.enter(Priority::Client, now, now + millis(within));
    let full = enter(199).expect_err("there is no place in time");
    assert_eq!(full, Full { reason: Reason::Deadline, retry_after: millis(200) });
    assert!(matches!(enter(200), Ok(Entry::Wait(_))));
    assert_eq!(reason(crowd.enter(Priority::Client, now, now)), Reason::Deadline);
}

#[test]
fn a_queue_that_stands_is_kept_short() {
    let (crowd, start) = (crowd(2, 1_000), clock::monotonic());
    let places = [place(&crowd, start), place(&crowd, start)];
    places.into_iter().for_each(|place| {
        place.ended(Ended::Well(millis(100)), start + millis(100));
    });
    let now = start + millis(100);
    let _places = [place(&crowd, now), place(&crowd, now)];
    // A burst: 100 of them, 5 s long.
    let mut burst: Vec<_> = (0..100).map(|_| ticket(&crowd, now)).collect();
    let now = now + millis(1_001);
    assert_eq!(reason(client(&crowd, now)), Reason::Standing);
    burst.truncate(4);
    assert_eq!(crowd.snapshot().waiting, 4);
    burst.push(ticket(&crowd, now));
    assert_eq!(reason(client(&crowd, now)), Reason::Standing);
    // Empty once, it may be long again.
    burst.clear();
    burst.extend((0..10).map(|_| ticket(&crowd, now)));
    assert_eq!(crowd.snapshot().waiting, 10);
}

#[tokio::test(start_paused = true)]
async fn a_freed_place_goes_to_the_first_who_is_still_in_time() {
    let (crowd, now) = (crowd(1, 10), clock::monotonic());
    let held = place(&crowd, now);
    let enter = |within| match crowd.enter(Priority::Client, now, now + millis(within)) {
        Ok(Entry::Wait(ticket)) => ticket,
        other => panic!("{other:?}"),
    };
    let (gone, late, mut in_time) = (enter(500), enter(10), enter(500));
    drop(gone);
    held.ended(Ended::Silent, now + millis(11));
    assert!(in_time.arrived().is_some());
    assert_eq!(crowd.snapshot().waiting, 0);
    assert_eq!(late.wait().now_or_never().map(|end| end.is_err()), Some(true));
}

#[test]
fn a_place_sent_to_somebody_who_leaves_goes_on() {
    let (crowd, now) = (crowd(1, 10), clock::monotonic());
    let held = place(&crowd, now);
    let (first, mut second) = (ticket(&crowd, now), ticket(&crowd, now));
    drop(held);
    assert_eq!(crowd.snapshot().waiting, 1);
    // It is there, and was never looked at.
    drop(first);
    assert!(second.arrived().is_some());
}

#[test]
fn a_place_that_nobody_takes_any_more_goes_on() {
    let (crowd, now) = (crowd(1, 2_000), clock::monotonic());
    let held = place(&crowd, now);
    let mut leaving: Vec<_> = (0..1_000).map(|_| ticket(&crowd, now)).collect();
    leaving.iter_mut().for_each(Ticket::turn_away);
    let mut last = ticket(&crowd, now);
    held.ended(Ended::Silent, now);
    assert!(last.arrived().is_some());
    drop(leaving);
    assert_eq!(crowd.snapshot(), Snapshot { limit: 1, in_flight: 0, waiting: 0 });
}

#[test]
fn below_a_fallen_limit_nobody_gets_what_is_freed() {
    let (crowd, now) = (crowd(16, 10), clock::monotonic());
    let mut held: VecDeque<_> = (0..16).map(|_| place(&crowd, now)).collect();
    let mut waiting = ticket(&crowd, now);
    held.pop_front().map(|place| place.ended(Ended::Overloaded, now)).unwrap();
    assert_eq!(crowd.snapshot(), Snapshot { limit: 14, in_flight: 15, waiting: 1 });
    drop(held.pop_front());
    assert!(waiting.arrived().is_none());
    drop(held.pop_front());
    assert!(waiting.arrived().is_some());
}

#[test]
fn a_place_that_was_lost_with_its_holder_is_given_up() {
    let (crowd, now) = (crowd(1, 10), clock::monotonic());
    let lost = place(&crowd, now);
    let later = now + Settings::default().longest;
    assert!(matches!(client(&crowd, later), Ok(Entry::Wait(_))));
    let other = place(&crowd, later + millis(1));
    // It turns up after all, and frees nothing that is another's.
    lost.ended(Ended::Overloaded, later + millis(2));
    assert_eq!(crowd.snapshot().in_flight, 1);
    drop(other);
    assert_eq!(crowd.snapshot().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_waits_until_its_deadline_and_no_longer() {
    let crowd = crowd(1, 10);
    let now = clock::monotonic();
    let held = place(&crowd, now);
    let entry = crowd.enter(Priority::Client, now, now + millis(300));
    let Ok(Entry::Wait(early)) = entry else { panic!("{entry:?}") };
    let late = ticket(&crowd, now);
    assert_eq!(early.wait().await.map(drop).unwrap_err().reason, Reason::Deadline);
    assert_eq!(clock::monotonic() - now, millis(300));
    let (waited, ()) = tokio::join!(late.wait(), async {
        tokio::time::sleep(millis(50)).await;
        held.ended(Ended::Silent, clock::monotonic());
    });
    assert!(waited.is_ok());
    assert_eq!(clock::monotonic() - now, millis(350));
}

#[test]
fn it_holds_on_many_threads() {
    let crowd = crowd(4, 1_000);
    let most_at_once = std::sync::atomic::AtomicUsize::new(0);
    let at_once = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (crowd, at_once, most_at_once) = (&crowd, &at_once, &most_at_once);
            scope.spawn(move || {
                use std::sync::atomic::Ordering::SeqCst;
                for step in 0..500_u64 {
                    let now = clock::monotonic();
                    let entered = client(crowd, now);
                    let place = match entered {
                        Ok(Entry::In(place)) => place,
                        // Every third leaves, perhaps with its place under way.
                        Ok(Entry::Wait(ticket)) if (thread + step) % 3 == 0 => {
                            drop(ticket);
                            continue;
                        }
                        Ok(Entry::Wait(mut ticket)) => loop {
                            match ticket.arrived() {
                                Some(place) => break place,
                                None => std::thread::yield_now(),
                            }
                        },
                        Err(_) => continue,
                    };
                    most_at_once.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
                    at_once.fetch_sub(1, SeqCst);
                    if step % 2 == 0 {
                        place.ended(Ended::Well(millis(1)), now + millis(1));
                    }
                }
            });
        }
    });
    assert!(most_at_once.into_inner() <= 4);
    assert_eq!((crowd.snapshot().in_flight, crowd.snapshot().waiting), (0, 0));
}

/// However slow the upstream: the queue is as long as a few calls take, all the time, and does not
/// fill up to the deadline whenever it has been empty.
#[test]
fn a_slow_upstream_has_a_short_queue() {
    let crowd = Crowd::new(Settings { most: 2, ..Settings::default() });
    let (hold, start) = (Duration::from_secs(1), clock::monotonic());
    let (mut held, mut waiting) = (Vec::new(), Vec::new());
    let (mut served, mut longest) = (0, Duration::ZERO);
    for step in 0..6_000_u32 {
        let now = start + Duration::from_millis(10) * step;
        let mut over = held.extract_if(.., |(_, since)| now - *since >= hold).collect::<Vec<_>>();
        over.drain(..).for_each(|(place, _): (Place, Instant)| place.ended(Ended::Well(hold), now));
        for (mut ticket, since) in std::mem::take(&mut waiting) {
            match Ticket::arrived(&mut ticket) {
                Some(place) => {
                    if now > start + Duration::from_secs(15) {
                        longest = longest.max(now - since);
                    }
                    held.push((place, now));
                    served += 1;
                }
                None => waiting.push((ticket, since)),
            }
        }
        if step % 5 == 0 {
            match crowd.enter(Priority::Client, now, now + Duration::from_secs(8)) {
                Ok(Entry::In(place)) => {
                    held.push((place, now));
                    served += 1;
                }
                Ok(Entry::Wait(ticket)) => waiting.push((ticket, now)),
                Err(_) => {}
            }
        }
    }
    assert!((112..=122).contains(&served), "{served} of 120 places in a minute");
    assert!(longest <= Duration::from_millis(3_100), "{longest:?}");
}
