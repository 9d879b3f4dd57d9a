//! Whatever the order of events: no place is lost, none is given twice, and nobody is passed.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const PRIORITIES: [Priority; 3] = [Priority::Client, Priority::Refresh, Priority::Warming];

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
