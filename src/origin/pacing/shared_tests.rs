//! Instances that keep one credential's pace together, over a plain model of the script.

use super::shared::{Counted, Question};
use super::*;
use crate::clock;

const WALL: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const FAR: Duration = Duration::from_secs(3_600);

/// What the script keeps, and what it decides: generic cell rate, day and ban.
#[derive(Default)]
struct Script {
    tat: u64,
    day: u64,
    count: u64,
    ban: u64,
}

impl Script {
    fn ask(&mut self, question: &Question, now: u64) -> Counted {
        let [
            interval,
            burst,
            longest,
            spare,
            day,
            limit,
            left,
            used,
            unreported,
            returned,
            ban,
            wanted,
        ] = question.arguments();
        if day > self.day {
            (self.day, self.count) = (day, 0);
        }
        self.count = (self.count.max(used) + unreported).saturating_sub(returned);
        if ban > 0 {
            self.ban = self.ban.max(now / 1_000 + ban);
        }
        let tolerance = interval * burst.saturating_sub(1);
        self.tat = self.tat.max(now);
        let wait = (self.tat + (spare * interval).min(tolerance)).saturating_sub(tolerance + now);
        let decided = if wanted == 0 {
            0
        } else if self.ban > now / 1_000 {
            4
        } else if limit > 0 && self.count + left >= limit {
            3
        } else if wait > longest {
            2
        } else {
            self.count += 1;
            self.tat += interval;
            1
        };
        let ban_left = self.ban.saturating_sub(now / 1_000);
        let numbers = [decided, wait, self.count, ban_left];
        Counted::read(&numbers.map(|number| i64::try_from(number).unwrap())).unwrap()
    }
}

/// Instances under one clock, and the script, or nobody who answers.
struct World {
    script: Option<Script>,
    instances: Vec<Pacing>,
    start: Instant,
    passed: Duration,
}

impl World {
    fn of(count: u32, budget: u64, rate: Option<Rate>) -> Self {
        let settings = Settings {
            rate,
            daily_budget: Some(budget),
            instances: NonZeroU32::new(count).unwrap(),
            ..Settings::default()
        };
        let instances = (0..count).map(|_| Pacing::new(settings)).collect();
        let start = clock::monotonic();
        Self { script: Some(Script::default()), instances, start, passed: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        self.start + self.passed
    }

    fn wall(&self) -> Timestamp {
        WALL.plus(self.passed)
    }

    fn answer(&mut self, question: &Question, at: Instant) -> Option<Counted> {
        let micros = u64::try_from((at - self.start).as_micros()).unwrap() + 1_000_000_000;
        self.script.as_mut().map(|script| script.ask(question, micros))
    }

    /// A call of this instance, with so much time for it; the answer is how long it waits.
    fn call(&mut self, at: usize, priority: Priority, time: Duration) -> Result<Duration, Refused> {
        let (pacing, now, wall) = (self.instances[at].clone(), self.now(), self.wall());
        let mut booking = pacing.book(priority, None, now, wall, now + time)?;
        let own = booking.at() - now;
        let question = pacing.question(priority, booking.at(), now + time);
        let answer = self.answer(&question, booking.at());
        let moment = (booking.at(), wall);
        let wait = pacing.answered(&question, answer, Some(&mut booking), moment)?;
        booking.start(now + own + wait).map(|()| own + wait)
    }

    fn client(&mut self, at: usize) -> Result<Duration, Refused> {
        self.call(at, Priority::Client, FAR)
    }

    /// How many of so many calls, in turn at all instances, are made.
    fn made(&mut self, calls: usize) -> usize {
        let count = self.instances.len();
        (0..calls).filter(|turn| self.client(turn % count).is_ok()).count()
    }
}

fn reason(refused: Result<Duration, Refused>) -> RejectReason {
    refused.unwrap_err().reason
}

#[test]
fn three_instances_spend_one_budget() {
    let mut world = World::of(3, 20, None);
    assert_eq!(world.made(60), 20);
    for (at, instance) in world.instances.clone().iter().enumerate() {
        assert!(matches!(reason(world.client(at)), RejectReason::BudgetSpent(_)), "{at}");
        let left = instance.status(world.now(), world.wall()).budget_remaining;
        assert_eq!(left, Some(0), "each knows what all have spent");
    }
}

#[test]
fn three_instances_keep_one_pace() {
    let mut world = World::of(3, 1_000, Some(Rate { per_second: 10.0, burst: 2 }));
    let mut waits: Vec<_> =
        (0..6).map(|turn| world.client(turn % 3).unwrap().as_millis()).collect();
    waits.sort_unstable();
    assert_eq!(waits, [0, 0, 100, 200, 300, 400], "two at once, the others one by one");
    // What comes too late is refused, and takes nothing.
    let soon = Duration::from_millis(100);
    for at in [0, 1, 2, 0] {
        assert_eq!(reason(world.call(at, Priority::Client, soon)), RejectReason::Deadline);
    }
    world.passed = Duration::from_millis(500);
    assert_eq!(world.client(1).unwrap(), Duration::ZERO);
}

#[test]
fn a_ban_that_one_was_told_of_holds_for_all() {
    let mut world = World::of(2, 1_000, None);
    let wait = Duration::from_secs(5);
    world.instances[0].ban(world.now(), wait);
    let told = world.instances[0].report(wait, world.wall());
    world.answer(&told, world.now());
    let (background, soon) = (Priority::Refresh, Duration::from_secs(1));
    assert_eq!(reason(world.call(1, background, soon)), RejectReason::Banned);
    assert!(world.instances[1].status(world.now(), world.wall()).banned_until.is_some());
    world.passed = wait;
    assert_eq!(world.call(1, background, soon), Ok(Duration::ZERO));
}

#[test]
fn while_nobody_answers_each_has_its_share_and_reports_it_later() {
    let mut world = World::of(3, 31, None);
    assert_eq!(world.made(1), 1);
    let script = world.script.take();
    // Thirty are left; who has not heard of the one that was made reckons with thirty-one.
    assert_eq!(world.made(90), 10 + 11 + 11);
    world.script = script;
    for instance in world.instances.clone() {
        let report = instance.report(Duration::ZERO, world.wall());
        let (answer, now, wall) = (world.answer(&report, world.now()), world.now(), world.wall());
        assert_eq!(instance.answered(&report, answer, None, (now, wall)), Ok(Duration::ZERO));
    }
    assert_eq!((world.made(3), world.script.as_ref().unwrap().count), (0, 33));
}

#[test]
fn while_nobody_answers_each_has_its_share_of_the_pace() {
    let mut world = World::of(2, 1_000, Some(Rate { per_second: 10.0, burst: 1 }));
    world.script = None;
    let waits: Vec<_> = (0..4).map(|_| world.client(0).unwrap().as_millis()).collect();
    assert_eq!(waits, [0, 200, 400, 600]);
}

#[test]
fn a_redis_that_lost_its_memory_learns_the_count_again() {
    let mut world = World::of(2, 10, None);
    assert_eq!(world.made(6), 6);
    world.script = Some(Script::default());
    // Who asks first knows of one call less than who was the last to ask before.
    assert_eq!(world.made(20), 5);
}

#[test]
fn background_calls_leave_to_clients_of_all_instances_what_they_leave_to_those_of_one() {
    let mut world = World::of(2, 100, Some(Rate { per_second: 1.0, burst: 4 }));
    for _ in 0..2 {
        assert_eq!(world.client(0), Ok(Duration::ZERO));
    }
    // Two of four are left: a refresh elsewhere leaves both.
    let refresh = world.call(1, Priority::Refresh, FAR);
    assert_eq!(reason(refresh), RejectReason::KeptForClients);
    assert_eq!(world.client(1), Ok(Duration::ZERO));
    let mut world = World::of(2, 10, None);
    assert_eq!(world.made(9), 9);
    assert_eq!(reason(world.call(1, Priority::Refresh, FAR)), RejectReason::KeptForClients);
    assert_eq!(world.client(1), Ok(Duration::ZERO));
}

#[test]
fn a_call_that_was_counted_and_not_made_is_given_back() {
    let mut world = World::of(2, 3, None);
    let (now, wall) = (world.now(), world.wall());
    let pacing = world.instances[0].clone();
    let mut booking = pacing.book(Priority::Client, None, now, wall, now + FAR).unwrap();
    let question = pacing.question(Priority::Client, now, now + FAR);
    let answer = world.answer(&question, now);
    pacing.answered(&question, answer, Some(&mut booking), (now, wall)).unwrap();
    assert_eq!(world.script.as_ref().unwrap().count, 1);
    drop(booking);
    assert_eq!(world.made(6), 3);
}

#[test]
fn a_call_that_is_not_made_is_not_spent_twice() {
    let mut world = World::of(2, 3, None);
    let (now, wall) = (world.now(), world.wall());
    let pacing = world.instances[0].clone();
    let waiting = pacing.book(Priority::Client, None, now, wall, now + FAR).unwrap();
    assert_eq!(world.client(0), Ok(Duration::ZERO));
    drop(waiting);
    assert_eq!(world.made(4), 2);
}

#[test]
fn what_is_no_answer_is_none() {
    assert!(Counted::read(&[1, 0, 5, 0]).is_some());
    for bad in [
        &[1, 0, 5][..],
        &[5, 0, 5, 0],
        &[1, -1, 5, 0],
        &[1, 0, -5, 0],
        &[1, 0, 5, -1],
        &[4, 0, 5, 86_400_001],
    ] {
        assert_eq!(Counted::read(bad), None, "{bad:?}");
    }
}

#[test]
fn a_false_answer_stops_nobody_for_long() {
    let rate = Rate { per_second: 10.0, burst: 5 };
    let pacing = World::of(2, 100, Some(rate)).instances[0].clone();
    let (now, latest) = (clock::monotonic(), Duration::from_secs(1));
    let question = pacing.question(Priority::Client, now, now + latest);
    for (numbers, decision) in [
        (&[1, 1_000_001, 1, 0], Ok(Duration::ZERO)),
        (&[2, 9_000_000_000_000, 1, 0], Ok(Duration::ZERO)),
        (&[1, 1_000_000, 1, 0], Ok(latest)),
    ] {
        let answer = Counted::read(numbers);
        let moment = (now, WALL);
        assert_eq!(pacing.answered(&question, answer, None, moment), decision, "{numbers:?}");
    }
}
