//! The crowd: who gets in, in what order, and that no place is lost or given twice.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::clock;

const LONG: Duration = Duration::from_secs(60);
const PRIORITIES: [Priority; 3] = [Priority::Client, Priority::Refresh, Priority::Warming];

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

/// What the model knows.
#[derive(Default)]
struct Model {
    now: Duration,
    held: Vec<Place>,
    /// In the order in which they came; with their deadlines.
    waiting: VecDeque<(Ticket, Duration)>,
    given: usize,
    returned: usize,
}

impl Model {
    /// Places are given in the order of the queue: nobody has one before somebody who came earlier
    /// and is in time.
    fn arrivals(&mut self) -> Result<(), TestCaseError> {
        let mut passed_by = false;
        let mut still = VecDeque::new();
        for (mut ticket, deadline) in self.waiting.drain(..) {
            match ticket.arrived() {
                Some(place) => {
                    prop_assert!(!passed_by, "somebody was passed");
                    self.given += 1;
                    self.held.push(place);
                }
                None => {
                    passed_by |= deadline > self.now;
                    still.push_back((ticket, deadline));
                }
            }
        }
        self.waiting = still;
        Ok(())
    }
}

proptest! {
    /// Never more in than the limit allows at that moment; nobody passes; places given are those
    /// returned and those held; at the end, none is lost.
    #[test]
    fn places_given_are_places_returned_and_held(
        most in 1_u32..24,
        steps in prop::collection::vec((0_u8..12, 0_usize..64, 0_u64..40), 1..300),
    ) {
        let (crowd, start) = (crowd(most, 20), clock::monotonic());
        let mut model = Model::default();
        for (step, pick, pause) in steps {
            model.now += millis(pause);
            let now = start + model.now;
            match step {
                0..=4 => {
                    let deadline = millis(u64::try_from(pick).unwrap() * 20);
                    let priority = PRIORITIES[if step < 4 { 0 } else { pick % 3 }];
                    let before = crowd.snapshot();
                    let peeked = crowd.peek(priority, now, now + deadline).is_ok();
                    let entered = crowd.enter(priority, now, now + deadline);
                    prop_assert_eq!(peeked, entered.is_ok());
                    match entered {
                        Ok(Entry::In(place)) => {
                            prop_assert!(crowd.snapshot().in_flight <= before.limit);
                            model.arrivals()?;
                            let in_time = |(_, until): &&(_, Duration)| *until > model.now;
                            prop_assert_eq!(model.waiting.iter().filter(in_time).count(), 0);
                            model.given += 1;
                            model.held.push(place);
                        }
                        Ok(Entry::Wait(ticket)) => {
                            prop_assert_eq!(priority, Priority::Client);
                            model.waiting.push_back((ticket, model.now + deadline));
                        }
                        Err(_) => {}
                    }
                }
                5 => if let Some(place) = crowd.enter_spare(now) {
                    model.given += 1;
                    model.held.push(place);
                    prop_assert!(crowd.snapshot().in_flight <= crowd.snapshot().limit);
                },
                // A ticket is dropped; perhaps its place is there already.
                6 => drop(model.waiting.remove(pick)),
                _ if !model.held.is_empty() => {
                    let place = model.held.swap_remove(pick % model.held.len());
                    model.returned += 1;
                    match step {
                        7 => drop(place),
                        8 => place.ended(Ended::Overloaded, now),
                        9 => place.ended(Ended::Silent, now),
                        _ => place.ended(Ended::Well(millis(pause * 3)), now),
                    }
                }
                _ => {}
            }
            model.arrivals()?;
            let Snapshot { limit, in_flight, waiting } = crowd.snapshot();
            prop_assert_eq!(usize::try_from(in_flight).unwrap(), model.held.len());
            prop_assert_eq!(model.given, model.returned + model.held.len());
            prop_assert!((1..=most).contains(&limit));
            prop_assert!(waiting <= model.waiting.len() && waiting <= 20);
        }
        // Whoever is left in the queue gets a place as those before end.
        let now = start + model.now;
        let mut turns = 0;
        while let Some(place) = model.held.pop() {
            place.ended(Ended::Silent, now);
            model.arrivals()?;
            turns += 1;
            prop_assert!(turns < 1_000);
        }
        prop_assert_eq!((crowd.snapshot().in_flight, crowd.snapshot().waiting), (0, 0));
        drop(place(&crowd, now));
    }
}
