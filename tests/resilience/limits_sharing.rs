//! Several instances' accounts over one script, in time that the test moves: the published bounds.
//!
//! Owns: a small world of instances, one Redis that may be lost, may lose its memory, and may count
//! without its answer arriving, and the rules over everything that was admitted. An admission happens
//! when Redis counts it, or when an instance decides without.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use breakwater::clock;
use breakwater::limits::{
    Admission, Admit, Class, Limits, Policies, Principal, SharedAdmit, Sharing, Table,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::limits_rig::Script;

const MINUTE: u64 = 60_000_000;

struct World<'a> {
    script: &'a mut Script,
    instances: Vec<Table>,
    origin: Instant,
    now: u64,
    lost: bool,
    limit: u32,
    /// When each request was admitted.
    admitted: Vec<u64>,
}

fn client() -> Admit {
    Admit::new(Class::Search, Principal::of_address([203, 0, 113, 7].into(), 64))
}

impl<'a> World<'a> {
    fn new(script: &'a mut Script, count: u32, limit: u32, burst: u32) -> Self {
        let limits = Limits { search_per_minute: limit, search_burst: burst, ..Limits::default() };
        let (origin, among) = (clock::monotonic(), NonZeroU32::new(count).unwrap());
        let instance =
            |_| Table::new(1_000, Policies::new(&limits), origin).shared(Sharing::among(among));
        script.begin(0);
        let instances = (0..count).map(instance).collect();
        let admitted = Vec::new();
        Self { script, instances, origin, now: 0, lost: false, limit, admitted }
    }

    /// What the clock of an instance shows: each is wrong by another hour.
    fn at(&self, place: usize) -> Instant {
        let hours = u32::try_from(place).unwrap() * Duration::from_secs(3_600);
        self.origin + hours + Duration::from_micros(self.now)
    }

    fn pass(&mut self, micros: u64) {
        self.now += micros;
        self.script.turn_clock(self.now);
    }

    /// Redis begins anew, without what it held.
    fn forget(&mut self) {
        self.script.begin(self.now);
    }

    fn consult(&mut self, place: usize) -> Result<Admission, SharedAdmit> {
        let (now, table) = (self.at(place), &self.instances[place]);
        let told =
            if self.lost { Ok(table.decide(client(), now)) } else { table.consult(client(), now) };
        told.inspect(|admission| self.note(admission))
    }

    /// Asks Redis and takes in what it says, if the answer arrives.
    fn settle(&mut self, place: usize, question: SharedAdmit, arrives: bool) -> Admission {
        let told = (!self.lost).then(|| {
            let numbers = self.script.run(&question.key(), &question.arguments());
            question.verdict(&numbers).expect("an answer")
        });
        let (told, now) = (told.filter(|_| arrives), self.at(place));
        let admission = self.instances[place].settle(question, told, now);
        self.note(&admission);
        admission
    }

    fn note(&mut self, admission: &Admission) {
        if admission.verdict.is_admitted() {
            self.admitted.push(self.now);
        }
    }

    fn request(&mut self, place: usize) -> Admission {
        match self.consult(place) {
            Ok(admission) => admission,
            Err(question) => {
                self.pass(150);
                self.settle(place, question, true)
            }
        }
    }

    fn admits(&mut self, place: usize) -> bool {
        self.request(place).verdict.is_admitted()
    }

    /// How many of so many requests, in turn at all instances, are admitted.
    fn admitted_of(&mut self, requests: usize) -> usize {
        let instances = self.instances.len();
        (0..requests).filter(|turn| self.admits(turn % instances)).count()
    }

    /// Most that was admitted in any minute.
    fn densest(&self) -> usize {
        let all = &self.admitted;
        let from = |start: u64| all.iter().filter(move |at| (start..start + MINUTE).contains(*at));
        all.iter().map(|at| from(*at).count()).max().unwrap_or(0)
    }

    /// Whether in every stretch of time no more tokens were taken than `held` and, of what drips in
    /// meanwhile, `times` as many.
    fn within_bucket(&self, held: u32, times: u32) -> bool {
        let rate = u64::from(self.limit * times);
        let stretch = |from: usize| {
            (1..).zip(&self.admitted[from..]).all(|(taken, at)| {
                let time = at - self.admitted[from];
                taken * MINUTE <= u64::from(held) * MINUTE + rate * time
            })
        };
        (0..self.admitted.len()).all(stretch)
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Time passes.
    Wait(u64),
    /// One request.
    One(usize),
    /// Several at once, whose answers come in this order or that, or not at all.
    Several(Vec<usize>, bool, bool),
    /// Redis is lost, or back.
    Lose(bool),
}

fn steps(faults: u32) -> impl Strategy<Value = Vec<Step>> {
    let some = prop::collection::vec(0..3_usize, 2..6);
    let step = prop_oneof![
        4 => (0..2_000_000_u64).prop_map(Step::Wait),
        1 => (0..61_000_000_u64).prop_map(Step::Wait),
        8 => (0..3_usize).prop_map(Step::One),
        4 => (some, any::<bool>(), any::<bool>())
            .prop_map(|(all, turned, arrive)| Step::Several(all, turned, arrive)),
        faults => any::<bool>().prop_map(Step::Lose),
    ];
    prop::collection::vec(step, 1..80)
}

fn play(world: &mut World<'_>, steps: Vec<Step>, answers_may_be_lost: bool) {
    let count = world.instances.len();
    for step in steps {
        match step {
            Step::Wait(time) => world.pass(time),
            Step::One(place) => drop(world.request(place % count)),
            Step::Several(all, turned, arrive) => {
                let all = all.into_iter().map(|place| place % count);
                let mut asked: Vec<_> =
                    all.filter_map(|place| Some((place, world.consult(place).err()?))).collect();
                if turned {
                    asked.reverse();
                }
                for (place, question) in asked {
                    world.pass(150);
                    world.settle(place, question, arrive || !answers_may_be_lost);
                }
            }
            Step::Lose(lost) => world.lost = lost,
        }
    }
}

/// Plays many stories of two or three instances, with a bucket and without. In a story Redis forgets
/// at most once, between the two halves.
///
/// Of a bucket nothing is published for when Redis is lost. What Redis decides takes no more than
/// the bucket allows, what the instances decide themselves no more than all shares of it.
fn never_more(faults: u32, forgets: bool, worst: impl Fn(u32, u32) -> u32) {
    let mut script = Script::start();
    let cell = RefCell::new(&mut script);
    let bursts = prop_oneof![Just(0), 1..=15_u32];
    let stories = (2..4_u32, 1..=30_u32, bursts, steps(faults), steps(faults));
    let mut runner = TestRunner::new(Config::with_cases(300));
    let outcome = runner.run(&stories, |(instances, limit, burst, first, second)| {
        let mut script = cell.borrow_mut();
        let mut world = World::new(&mut script, instances, limit, burst);
        play(&mut world, first, faults > 0);
        if forgets {
            world.forget();
        }
        play(&mut world, second, faults > 0);
        let (densest, worst) = (world.densest(), worst(instances, limit));
        let most = usize::try_from(worst).unwrap();
        prop_assert!(densest <= most, "{} of at most {}", densest, most);
        if (1..limit).contains(&burst) {
            let shares = instances * burst.div_ceil(instances);
            let (held, times) = if faults > 0 { (burst + shares, 2) } else { (burst, 1) };
            let held = held + u32::from(forgets) * burst;
            prop_assert!(world.within_bucket(held, times), "of a bucket of {}", burst);
        }
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

/// `L + (N-1)·S`.
fn published(instances: u32, limit: u32) -> u32 {
    limit + (instances - 1) * limit.div_ceil(instances)
}

#[test]
fn no_minute_holds_more_than_the_limit() {
    never_more(0, false, |_, limit| limit);
}

#[test]
fn when_redis_is_lost_and_comes_back_the_published_bound_holds() {
    never_more(1, false, published);
}

#[test]
fn a_redis_that_lost_its_memory_adds_the_limit_once() {
    never_more(0, true, |_, limit| 2 * limit);
    never_more(1, true, |instances, limit| published(instances, limit) + limit);
}

#[test]
fn who_obeys_is_never_refused() {
    let mut script = Script::start();
    let cell = RefCell::new(&mut script);
    let requests = prop::collection::vec((0..3_usize, 0..3_000_000_u64), 1..80);
    let mut runner = TestRunner::new(Config::with_cases(200));
    let stories = (2..4_u32, 1..30_u32, 0..12_u32, any::<bool>(), requests);
    let outcome = runner.run(&stories, |(instances, limit, burst, quick, all)| {
        let mut script = cell.borrow_mut();
        let mut world = World::new(&mut script, instances, limit, burst);
        for (place, wait) in all {
            let Admission { verdict, .. } = world.request(place % world.instances.len());
            prop_assert!(verdict.is_admitted(), "{:?}", verdict);
            world.pass(if quick { wait / 200 } else { wait });
            if let Some(binding) = verdict.binding().filter(|one| one.remaining == 0) {
                world.pass(u64::try_from(binding.reset_after.as_micros()).unwrap());
            }
        }
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

#[test]
fn what_is_told_to_be_left_may_come_anywhere_at_once() {
    let mut script = Script::start();
    let cell = RefCell::new(&mut script);
    let spent = (0..3_usize, 0..3_usize, 0..3_000_000_u64);
    let mut runner = TestRunner::new(Config::with_cases(200));
    let stories = (2..4_u32, 1..30_u32, 0..12_u32, prop::collection::vec(spent, 1..12));
    let outcome = runner.run(&stories, |(instances, limit, burst, all)| {
        let mut script = cell.borrow_mut();
        let mut world = World::new(&mut script, instances, limit, burst);
        for (place, other, wait) in all {
            let [place, other] = [place, other].map(|place| place % world.instances.len());
            world.pass(wait);
            let Admission { verdict, .. } = world.request(place);
            if let Some(wait) = verdict.retry_after() {
                world.pass(u64::try_from(wait.as_micros()).unwrap());
                continue;
            }
            let left = verdict.binding().map_or(0, |binding| binding.remaining);
            for _ in 0..left {
                prop_assert!(world.admits(other), "{} left", left);
            }
        }
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

#[test]
fn an_honest_client_is_served_through_a_long_outage_and_after() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 60, 0);
    // Twenty a minute at one instance; for half an hour Redis is away.
    for number in 0..700 {
        world.lost = number < 600;
        assert!(world.admits(0), "request {number}");
        world.pass(3_000_000 - if world.lost { 0 } else { 150 });
    }
    script.stop();
}

#[test]
fn who_waits_as_told_is_admitted_then_and_not_before() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 5, 0);
    for step in 0..5 {
        assert!(world.admits(step % 2));
        world.pass(1_000_000);
    }
    let wait = |world: &mut World<'_>, place| world.request(place).verdict.retry_after();
    for place in [0, 1] {
        let before = wait(&mut world, place).expect("five of five are used");
        world.pass(1_000_000);
        let after = wait(&mut world, place).unwrap();
        assert!(before - after >= Duration::from_secs(1), "it counts down");
    }
    let wait = wait(&mut world, 0).unwrap();
    world.pass(u64::try_from(wait.as_micros()).unwrap() - 200);
    assert!(!world.admits(0));
    world.pass(200);
    assert!(world.admits(0));
    let asked = world.instances[0].sharing().unwrap().asked;
    assert_eq!(asked, 3 + 1 + 1, "a refusal that was told is remembered");
    script.stop();
}

#[test]
fn without_redis_each_has_its_share_and_says_so() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 3, 10, 0);
    world.lost = true;
    for place in 0..3 {
        let first = world.request(place);
        let minute = first.verdict.minute.unwrap();
        assert!(first.alone && first.verdict.is_admitted());
        assert_eq!((minute.limit, minute.remaining), (4, 3), "ten in three, rounded up");
        assert_eq!((0..20).filter(|_| world.admits(place)).count(), 3);
    }
    assert_eq!(world.densest(), 12);
    world.lost = false;
    assert_eq!(world.admitted_of(60), 0, "for a minute each keeps to its share");
    world.pass(61_000_000);
    assert_eq!(world.admitted_of(60), 10, "and then to the limit of all");
    script.stop();
}

#[test]
fn a_client_that_redis_answered_for_keeps_its_whole_limit() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 10, 0);
    assert_eq!((0..20).filter(|_| world.admits(0)).count(), 10);
    world.lost = true;
    assert!(!world.admits(0), "ten of its share of five");
    world.lost = false;
    world.pass(61_000_000);
    assert_eq!((0..20).filter(|_| world.admits(0)).count(), 10, "a refusal casts no doubt");
    script.stop();
}
