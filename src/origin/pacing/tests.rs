//! The pacing from outside, and its rate against the definition.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::clock;
use crate::resilience::Part;

const WALL: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const FAR: Duration = Duration::from_secs(3_600);
const BACKGROUND: [Priority; 2] = [Priority::Refresh, Priority::Warming];
const FIVE: Settings = Settings {
    rate: Some(Rate { per_second: 5.0, burst: 3 }),
    daily_budget: Some(100),
    max_queue: 4,
    day_offset: Duration::ZERO,
    shares: Shares::UNBOUNDED,
    instances: NonZeroU32::MIN,
};
const SEVEN: Settings = Settings { rate: Some(Rate { per_second: 5.0, burst: 7 }), ..FIVE };

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Pacing under a clock that the test moves.
struct Rig {
    pacing: Pacing,
    start: Instant,
    now: Instant,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let start = clock::monotonic();
        Self { pacing: Pacing::new(settings), start, now: start }
    }

    fn wall(&self) -> Timestamp {
        WALL.plus(self.now - self.start)
    }

    fn within(&self, patience: Duration) -> Result<Booking, Refused> {
        self.pacing.book(Priority::Client, None, self.now, self.wall(), self.now + patience)
    }

    fn book(&self) -> Result<Booking, Refused> {
        self.within(FAR)
    }

    fn spare(&self, priority: Priority) -> Result<Booking, Refused> {
        self.pacing.book(priority, None, self.now, self.wall(), self.now + FAR)
    }

    /// As many calls of this priority as may start now; they are made.
    fn use_up(&self, priority: Priority) -> usize {
        let given = |_: &usize| self.spare(priority).is_ok_and(|one| one.start(self.now).is_ok());
        (0..1_000).take_while(given).count()
    }

    /// Milliseconds from the start of the rig to the booking's moment.
    fn offset(&self, booking: &Booking) -> u128 {
        (booking.at() - self.start).as_millis()
    }

    fn status(&self) -> PacingStatus {
        self.pacing.status(self.now, self.wall())
    }
}

fn reason(refused: Result<Booking, Refused>) -> RejectReason {
    refused.unwrap_err().reason
}

#[test]
fn a_burst_goes_at_once_then_calls_are_spaced() {
    let rig = Rig::new(FIVE);
    let bookings: Vec<_> = (0..6).map(|_| rig.book().unwrap()).collect();
    let offsets: Vec<_> = bookings.iter().map(|booking| rig.offset(booking)).collect();
    assert_eq!(offsets, [0, 0, 0, 200, 400, 600]);
}

#[test]
fn the_burst_recovers_in_a_pause() {
    let mut rig = Rig::new(FIVE);
    for _ in 0..3 {
        rig.book().unwrap().start(rig.now).unwrap();
    }
    rig.now += ms(400);
    let bookings: Vec<_> = (0..3).map(|_| rig.book().unwrap()).collect();
    let offsets: Vec<_> = bookings.iter().map(|booking| rig.offset(booking)).collect();
    assert_eq!(offsets, [400, 400, 600]);
}

#[test]
fn a_moment_after_the_deadline_is_refused_and_not_taken() {
    let rig = Rig::new(FIVE);
    let _burst: Vec<_> = (0..3).map(|_| rig.book().unwrap()).collect();
    for _ in 0..100 {
        let refused = rig.within(ms(199)).unwrap_err();
        assert_eq!(refused, Refused { reason: RejectReason::Deadline, retry_after: ms(200) });
    }
    assert_eq!(rig.offset(&rig.within(ms(200)).unwrap()), 200);
}

#[test]
fn the_queue_is_bounded() {
    let mut rig = Rig::new(FIVE);
    let mut bookings: Vec<_> = (0..7).map(|_| rig.book().unwrap()).collect();
    assert_eq!(rig.status().queue, 4);
    let refused = rig.book().unwrap_err();
    assert_eq!(refused, Refused { reason: RejectReason::Queue, retry_after: ms(1_000) });
    rig.now += ms(200);
    bookings[3].arrived();
    assert_eq!(rig.status().queue, 3);
    bookings.push(rig.book().unwrap());
    assert_eq!(reason(rig.book()), RejectReason::Queue);
    bookings.clear();
    assert_eq!(rig.status().queue, 0);
}

#[test]
fn a_booking_given_back_leaves_its_time_to_the_next() {
    let mut rig = Rig::new(FIVE);
    let mut bookings: Vec<_> = (0..6).map(|_| rig.book().unwrap()).collect();
    drop(bookings.remove(4));
    assert_eq!(rig.offset(&rig.book().unwrap()), 600);
    assert_eq!(rig.status().budget_remaining, Some(95));
    drop(bookings);
    for _ in 0..1_000 {
        assert_eq!(rig.book().unwrap().at(), rig.now);
        rig.now += Duration::from_micros(1);
    }
    assert_eq!(rig.status().budget_remaining, Some(100));
    let bookings: Vec<_> = (0..4).map(|_| rig.book().unwrap()).collect();
    assert_eq!(bookings.iter().filter(|booking| booking.at() == rig.now).count(), 3);
}

#[test]
fn the_days_budget_is_a_bound_and_starts_anew() {
    let mut rig = Rig::new(Settings { daily_budget: Some(2), ..FIVE });
    for _ in 0..2 {
        rig.book().unwrap().start(rig.now).unwrap();
    }
    let refused = rig.book().unwrap_err();
    assert_eq!(refused.reason, RejectReason::BudgetSpent(Part { calls: 2, of: 2 }));
    assert_eq!(WALL.plus(refused.retry_after).as_millis() % 86_400_000, 0);
    rig.now += refused.retry_after;
    assert!(rig.book().is_ok());
}

#[test]
fn a_short_ban_is_waited_out_and_a_long_one_refuses() {
    let mut rig = Rig::new(FIVE);
    rig.pacing.ban(rig.now, ms(1_000));
    rig.pacing.ban(rig.now, ms(10));
    assert_eq!(rig.status().banned_until, Some(WALL.plus(ms(1_000))));
    let refused = Refused { reason: RejectReason::Banned, retry_after: ms(1_000) };
    assert_eq!(rig.within(ms(999)).unwrap_err(), refused);
    for priority in BACKGROUND {
        assert_eq!(rig.spare(priority).unwrap_err(), refused, "no ban is waited out");
    }
    let booking = rig.within(ms(1_000)).unwrap();
    assert_eq!(rig.offset(&booking), 1_000);
    rig.now += ms(1_000);
    assert_eq!(rig.status().banned_until, None);
    assert!(booking.start(rig.now).is_ok());
}

#[test]
fn a_ban_stops_those_who_wait_already() {
    let mut rig = Rig::new(FIVE);
    let waiting: Vec<_> = (0..4).map(|_| rig.book().unwrap()).collect();
    rig.pacing.ban(rig.now, ms(60_000));
    rig.now += ms(200);
    for booking in waiting {
        assert_eq!(booking.start(rig.now).unwrap_err().retry_after, ms(59_800));
    }
    assert_eq!(rig.status().budget_remaining, Some(100));
    rig.pacing.lift_ban();
    assert_eq!(rig.book().unwrap().at(), rig.now);
}

#[test]
fn unpaced_has_no_rate_but_keeps_bans_and_the_queues_bound() {
    let rig = Rig::new(Settings { rate: None, daily_budget: None, ..FIVE });
    let bookings: Vec<_> = (0..1_000).map(|_| rig.book().unwrap()).collect();
    assert!(bookings.iter().all(|booking| booking.at() == rig.now));
    assert_eq!(BACKGROUND.map(|priority| rig.use_up(priority)), [1_000; 2]);
    assert_eq!(rig.status().budget_remaining, None);
    rig.pacing.ban(rig.now, ms(500));
    let waiting: Vec<_> = (0..4).map(|_| rig.book().unwrap()).collect();
    assert!(waiting.iter().all(|booking| rig.offset(booking) == 500));
    assert_eq!(reason(rig.book()), RejectReason::Queue);
    assert_eq!(BACKGROUND.map(|priority| rig.use_up(priority)), [0; 2]);
}

#[test]
fn an_earlier_processes_calls_and_ban_are_taken_over() {
    let first = Rig::new(FIVE);
    first.book().unwrap().start(first.now).unwrap();
    first.pacing.ban(first.now, ms(5_000));
    let saved = serde_json::to_string(&first.status()).unwrap();
    let second = Rig::new(FIVE);
    second.pacing.restore(&serde_json::from_str(&saved).unwrap(), second.now, WALL);
    assert_eq!(second.status(), first.status());
}

#[test]
fn extreme_settings_are_survived() {
    for per_second in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300, 1e300] {
        for burst in [0, 1, u32::MAX] {
            let rate = Some(Rate { per_second, burst });
            let mut rig = Rig::new(Settings { rate, ..FIVE });
            BACKGROUND.into_iter().for_each(|priority| drop(rig.spare(priority)));
            rig.pacing.ban(rig.now, Duration::MAX);
            let kept: Vec<_> = (0..10).filter_map(|_| rig.book().ok()).collect();
            rig.now += ms(1);
            drop(kept);
            drop(rig.book());
        }
    }
}

#[test]
fn a_refresh_leaves_half_of_the_burst_and_warming_all_but_one() {
    for (priority, given) in [(Priority::Refresh, 3), (Priority::Warming, 1)] {
        let mut rig = Rig::new(SEVEN);
        assert_eq!(rig.use_up(priority), given);
        let refused = rig.spare(priority).unwrap_err();
        assert_eq!(refused, Refused { reason: RejectReason::KeptForClients, retry_after: ms(200) });
        rig.now += ms(199);
        assert_eq!(rig.use_up(priority), 0);
        rig.now += ms(1);
        assert_eq!(rig.use_up(priority), 1);
        let clients: Vec<_> = (0..8).map(|_| rig.book().unwrap()).collect();
        let at_once = clients.iter().filter(|booking| booking.at() == rig.now).count();
        assert_eq!(at_once, 7 - given);
        assert!(rig.spare(priority).is_err(), "a client is queued");
    }
}

#[test]
fn with_a_burst_of_one_a_background_call_goes_when_nothing_else_does() {
    let mut rig = Rig::new(Settings { rate: Some(Rate { per_second: 5.0, burst: 1 }), ..FIVE });
    for priority in BACKGROUND {
        assert_eq!(rig.use_up(priority), 1);
        let client = rig.book().unwrap();
        assert_eq!(client.at(), rig.now + ms(200));
        assert_eq!(rig.use_up(priority), 0, "a client is queued");
        rig.now += ms(200);
        client.start(rig.now).unwrap();
        rig.now += ms(200);
    }
}

#[test]
fn the_end_of_the_days_budget_is_for_clients() {
    let mut rig = Rig::new(Settings { daily_budget: Some(20), ..FIVE });
    let mut spent = [0, 0];
    for (priority, spent) in BACKGROUND.into_iter().rev().zip(&mut spent) {
        for _ in 0..100 {
            rig.now += ms(1_000);
            *spent += rig.use_up(priority).min(1);
        }
        let refused = rig.spare(priority).unwrap_err();
        assert_eq!(refused.reason, RejectReason::KeptForClients);
        let end = rig.wall().plus(refused.retry_after);
        assert_eq!(end.as_millis() % 86_400_000, 0, "until the next day");
    }
    assert_eq!((spent, rig.status().budget_remaining), ([10, 8], Some(2)));
    for _ in 0..2 {
        rig.now += ms(1_000);
        rig.book().unwrap().start(rig.now).unwrap();
    }
    assert!(matches!(reason(rig.spare(Priority::Refresh)), RejectReason::BudgetSpent(_)));
}

/// Calls that were all kept from their moments, by a stall, do not start all at once.
#[test]
fn calls_held_up_together_keep_the_pace_among_them() {
    let mut rig = Rig::new(FIVE);
    let bookings: Vec<_> = (0..7).map(|_| rig.book().unwrap()).collect();
    rig.now = bookings.last().unwrap().at() + ms(3_000);
    let mut starts = Vec::new();
    for booking in bookings {
        let ready = booking.ready_at(rig.now);
        starts.push((ready - rig.now).as_millis());
        booking.start(ready).unwrap();
    }
    assert_eq!(starts, [0, 0, 0, 200, 400, 600, 800]);
}

/// Three times what the pace takes, for as long as you like: who gets a booking has a short wait,
/// every moment is used, and soon after the end the queue is empty.
#[test]
fn an_overload_leaves_no_queue_behind() {
    let rate = Some(Rate { per_second: 100.0, burst: 5 });
    let mut rig = Rig::new(Settings { rate, daily_budget: None, max_queue: 256, ..FIVE });
    let (mut taken, mut waits, mut waiting) = (0_u32, Vec::new(), VecDeque::new());
    for _ in 0..3_000 {
        if let Ok(booking) = rig.book() {
            waits.push((rig.now - rig.start, booking.at() - rig.now));
            waiting.push_back(booking);
        }
        rig.now += Duration::from_micros(3_333);
        while waiting.front().is_some_and(|booking: &Booking| booking.at() <= rig.now) {
            taken += u32::from(waiting.pop_front().unwrap().start(rig.now).is_ok());
        }
    }
    assert!((1_000..1_050).contains(&taken), "{taken} of 1,000 moments in ten seconds");
    let late = waits.iter().filter(|(at, _)| *at > ms(4_000)).map(|(_, wait)| *wait).max();
    assert!(late.unwrap() <= ms(260), "{late:?}");
    rig.now += ms(260);
    drop(waiting);
    assert_eq!(rig.book().unwrap().at(), rig.now);
}

#[derive(Debug, Clone)]
enum Step {
    Book { priority: Priority, patience_ms: u64 },
    Drop { nth: usize },
    Wait { millis: u64 },
    Ban { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = prop_oneof![3 => Just(Priority::Client), 1 => Just(Priority::Refresh), 1 => Just(Priority::Warming)];
    let step = prop_oneof![
        6 => (priority, 0_u64..5_000)
            .prop_map(|(priority, patience_ms)| Step::Book { priority, patience_ms }),
        3 => any::<usize>().prop_map(|nth| Step::Drop { nth }),
        3 => (0_u64..900).prop_map(|millis| Step::Wait { millis }),
        1 => (0_u64..900).prop_map(|millis| Step::Ban { millis }),
    ];
    prop::collection::vec(step, 1..200)
}

/// Starts every booking whose moment has come, as its holder would, and notes the moment.
fn start_due(rig: &Rig, held: &mut Vec<Booking>, started: &mut Vec<Instant>) {
    held.sort_by_key(Booking::at);
    while held.first().is_some_and(|one| one.at() <= rig.now && one.ready_at(rig.now) <= rig.now) {
        if held.remove(0).start(rig.now).is_ok() {
            started.push(rig.now);
        }
    }
}

proptest! {
    /// Whatever is booked, given back, held up and banned: the calls that are made keep the rate,
    /// which is that any `burst + n` of them span at least `n` intervals, but for what timers err;
    /// and no promise is broken.
    #[test]
    fn calls_that_are_made_keep_the_rate(steps in steps(), burst in 1_u32..5) {
        let rate = Some(Rate { per_second: 5.0, burst });
        let mut rig = Rig::new(Settings { rate, daily_budget: Some(10_000), ..FIVE });
        let (mut held, mut started) = (vec![], vec![]);
        for step in steps {
            match step {
                Step::Book { priority, patience_ms } => {
                    let latest = rig.now + ms(patience_ms);
                    match rig.pacing.book(priority, None, rig.now, rig.wall(), latest) {
                        Ok(booking) => {
                            prop_assert!(booking.at() >= rig.now && booking.at() <= latest);
                            prop_assert!(priority == Priority::Client || booking.at() == rig.now);
                            held.push(booking);
                        }
                        Err(refused) => prop_assert!(!refused.retry_after.is_zero()),
                    }
                }
                Step::Drop { nth } if !held.is_empty() => {
                    let nth = nth % held.len();
                    drop(held.remove(nth));
                }
                Step::Drop { .. } => {}
                Step::Wait { millis } => {
                    for _ in 0..millis / 10 {
                        start_due(&rig, &mut held, &mut started);
                        rig.now += ms(10);
                    }
                }
                Step::Ban { millis } => rig.pacing.ban(rig.now, ms(millis)),
            }
            let status = rig.status();
            prop_assert!(status.queue <= FIVE.max_queue);
            let open = u64::try_from(held.len() + started.len()).unwrap();
            prop_assert_eq!(status.spent_today, open);
        }
        let burst = usize::try_from(burst).unwrap();
        for (first, from) in started.iter().enumerate() {
            for (calls, to) in started[first..].iter().enumerate() {
                let spaced = u32::try_from((calls + 1).saturating_sub(burst)).unwrap();
                let span = *to - *from + TIMER_NOISE;
                prop_assert!(span >= ms(200) * spaced, "{calls} calls after {first}");
            }
        }
    }
}
