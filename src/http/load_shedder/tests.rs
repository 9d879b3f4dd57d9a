//! The load shedder against a model of a worker: one queue of ready connections, served in turn.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::clock::monotonic;

const TARGET: Duration = Duration::from_millis(20);
const MS: fn(u64) -> Duration = Duration::from_millis;

fn queue() -> (Queue, Instant) {
    let start = monotonic();
    (Queue::new(TARGET, start), start)
}

/// Ticks that are so late, one after the other; the share admitted after each.
fn ticks(queue: &mut Queue, lags: impl IntoIterator<Item = Duration>) -> Vec<f64> {
    let tick = |lag| {
        let now = queue.due() + lag;
        queue.ticked(now);
        queue.admitted()
    };
    lags.into_iter().map(tick).collect()
}

#[test]
fn one_stall_however_long_refuses_nothing() {
    let (mut queue, _) = queue();
    for lag in [30, 5_000] {
        let shares = ticks(&mut queue, [MS(lag), MS(45), MS(3), MS(0)]);
        assert_eq!((shares, queue.refuses(1.0)), (vec![1.0; 4], false), "{lag} ms");
    }
}

#[test]
fn a_lasting_wait_refuses_more_and_more_and_its_end_all_within_a_second() {
    let (mut queue, _) = queue();
    let shares = ticks(&mut queue, [MS(60); 40]);
    assert!(shares.is_sorted_by(|one, next| one >= next), "{shares:?}");
    assert!(shares[39] < 0.5 && queue.refuses(0.99) && !queue.refuses(0.0), "{shares:?}");
    ticks(&mut queue, [MS(60); 400]);
    assert!(queue.admitted() >= 0.02);
    let back = ticks(&mut queue, [MS(0); 100]);
    assert!(back.is_sorted() && back.last() == Some(&1.0), "{back:?}");
    assert!(!queue.stands());
}

#[test]
fn without_a_target_nothing_is_refused() {
    let mut queue = Queue::new(Duration::ZERO, monotonic());
    assert_eq!(ticks(&mut queue, [MS(900); 50]), [1.0; 50]);
    assert!(!queue.refuses(1.0));
}

proptest! {
    #[test]
    fn nothing_is_refused_while_the_wait_comes_back_to_the_target_in_time(
        lags in prop::collection::vec((21_u64..2_000, 0_u64..=20), 1..60)
    ) {
        let (mut queue, _) = queue();
        for (above, below) in lags {
            ticks(&mut queue, [MS(above), MS(below)]);
            prop_assert!(!queue.refuses(1.0));
        }
    }

    #[test]
    fn the_share_is_bounded_and_comes_back(lags in prop::collection::vec(0_u64..3_000, 0..80)) {
        let (mut queue, _) = queue();
        for share in ticks(&mut queue, lags.into_iter().map(MS)) {
            prop_assert!((0.02..=1.0).contains(&share), "{}", share);
        }
        ticks(&mut queue, [MS(0); 100]);
        prop_assert!(!queue.refuses(1.0));
    }

    #[test]
    fn those_inside_are_never_more_than_the_bound(
        bound in 1_u32..40, comes in prop::collection::vec((any::<bool>(), any::<bool>()), 0..200)
    ) {
        let shedder = shedder(bound);
        let mut inside = Vec::new();
        for (enters, with_body) in comes {
            if !enters {
                inside.pop();
                continue;
            }
            let bodies = inside.iter().filter(|one: &&Slot<'_>| one.with_body).count();
            let all_full = inside.len() == usize::try_from(bound).unwrap();
            let full = all_full || (with_body && bodies == usize::try_from(bound / 2).unwrap().max(1));
            match shedder.enter(with_body, || 1.0) {
                Ok(entered) => {
                    prop_assert!(!full);
                    inside.push(entered);
                }
                Err(reason) => prop_assert!(full && reason == ShedReason::InFlight),
            }
        }
        drop(inside);
        prop_assert_eq!((shedder.in_flight.get(), shedder.with_body.get()), (0, 0));
    }
}

fn shedder(in_flight: u32) -> LoadShedder {
    shedder_at(in_flight, TARGET)
}

fn shedder_at(in_flight: u32, lag: Duration) -> LoadShedder {
    let now = monotonic();
    let bounds = Bounds { in_flight, lag };
    LoadShedder::new(bounds, Arc::new(LoopLags::new(1, now)), 0, now)
}

#[test]
fn refusing_is_seen_by_all_until_a_second_after() {
    let shedder = shedder(1);
    let now = shedder.due();
    assert_eq!(shedder.ticked(now, 0), None);
    assert_eq!(shedder.refused(now), Some(1));
    assert_eq!(shedder.refused(now + MS(1)), None);
    assert!(shedder.lags.any_refuses());
    assert_eq!(shedder.ticked(now + MS(1_000), 0), None);
    assert_eq!(shedder.ticked(now + MS(1_001), 0), Some(2));
    assert!(!shedder.lags.any_refuses());
}

#[test]
fn a_request_that_waits_for_others_is_in_no_queue() {
    let shedder = shedder(10);
    let slots = [shedder.pass(false), shedder.pass(false), shedder.pass(true)];
    let _none = shedder.ticked(shedder.due(), 2);
    assert_eq!(shedder.lags.longest_queue(), 1);
    drop(slots);
    let _none = shedder.ticked(shedder.due(), 2);
    assert_eq!(shedder.lags.longest_queue(), 0);
}

#[test]
fn few_are_never_refused_because_of_a_wait() {
    let shedder = shedder(1_000);
    for _ in 0..40 {
        let _over = shedder.ticked(shedder.due() + MS(500), 0);
    }
    let mut inside: Vec<_> = (0..64).map(|_| shedder.enter(false, || 1.0).unwrap()).collect();
    assert_eq!(shedder.enter(false, || 1.0).err(), Some(ShedReason::Lag));
    inside.pop();
    assert!(shedder.enter(false, || 1.0).is_ok());
}

/// A worker, its connections and who asks on them. A hit goes three times through the line: it is
/// read, the limiter's answer comes back, the cache's answer comes back and is packed.
struct Worker {
    shedder: LoadShedder,
    now: Instant,
    line: VecDeque<Task>,
    idle: u32,
    ticks: bool,
    chance: u64,
    good: Vec<Duration>,
    refused: u32,
}

enum Task {
    Read { ready: Instant },
    Limited { ready: Instant },
    Cached { ready: Instant },
    Tick,
}

const READ: Duration = Duration::from_micros(15);
const LIMITED: Duration = Duration::from_micros(15);
const CACHED: Duration = Duration::from_micros(270);
/// Of a refusal, the reading included.
const REFUSED: Duration = Duration::from_micros(10);

impl Worker {
    fn new(connections: u32, target: Duration) -> Self {
        let (shedder, good) = (shedder_at(100_000, target), Vec::new());
        let now = monotonic();
        let chance = 0x9e37_79b9_7f4a_7c15;
        let (line, ticks) = (VecDeque::new(), false);
        Self { shedder, now, line, idle: connections, ticks, chance, good, refused: 0 }
    }

    /// 0 to 1, evenly.
    fn chance(&mut self) -> f64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        f64::from(u32::try_from(self.chance >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// Questions at this interval for so long, on connections that are free.
    fn run(&mut self, interval: Duration, lasting: Duration) {
        let (mut next, end) = (self.now, self.now + lasting);
        self.good.clear();
        while self.now < end {
            while next <= self.now {
                if self.idle > 0 {
                    self.idle -= 1;
                    self.line.push_back(Task::Read { ready: next });
                }
                next += interval;
            }
            if !self.ticks && self.shedder.due() <= self.now {
                self.line.push_back(Task::Tick);
                self.ticks = true;
            }
            match self.line.pop_front() {
                None => self.now = next.min(self.shedder.due()),
                Some(Task::Tick) => {
                    let _over = self.shedder.ticked(self.now, 0);
                    self.ticks = false;
                }
                Some(task) => self.serve(task),
            }
        }
    }

    fn serve(&mut self, task: Task) {
        match task {
            Task::Read { ready } => {
                let chance = self.chance();
                match self.shedder.enter(false, || chance).map(std::mem::forget) {
                    Ok(()) => {
                        self.now += READ;
                        self.line.push_back(Task::Limited { ready });
                    }
                    Err(_) => {
                        self.now += REFUSED;
                        self.refused += 1;
                        self.idle += 1;
                    }
                }
            }
            Task::Limited { ready } => {
                self.now += LIMITED;
                self.line.push_back(Task::Cached { ready });
            }
            Task::Cached { ready } => {
                self.now += CACHED;
                self.good.push(self.now - ready);
                drop(Slot { shedder: &self.shedder, with_body: false });
                self.idle += 1;
            }
            Task::Tick => {}
        }
    }

    fn worst(&self) -> Duration {
        self.good.iter().max().copied().unwrap_or_default()
    }
}

#[test]
fn at_so_many_times_the_load_good_answers_stay_and_the_wait_is_bounded() {
    let service = READ + LIMITED + CACHED;
    let loads = [(2, 0.94), (3, 0.9), (6, 0.8)];
    for ((times, least), target) in
        loads.into_iter().flat_map(|load| [(load, TARGET), (load, MS(100))])
    {
        let case = format!("at {times} times, held at {target:?}");
        let mut worker = Worker::new(20_000, target);
        worker.run(service * 2, MS(1_000));
        assert_eq!(worker.refused, 0, "half of what can be done");
        // The queue builds up and is brought down.
        worker.run(service / times, MS(8_000));
        worker.run(service / times, MS(10_000));
        let peak = 10.0 / service.as_secs_f64();
        let share = f64::from(u32::try_from(worker.good.len()).unwrap()) / peak;
        assert!(share >= least, "{case}: {share} of the peak");
        assert!(worker.worst() < target * 12, "{case}: {:?}", worker.worst());
        worker.run(service * 2, MS(2_000));
        let refused = worker.refused;
        worker.run(service * 2, MS(1_000));
        assert_eq!((worker.refused, worker.worst() < MS(5)), (refused, true), "{case}, after it");
    }
}
