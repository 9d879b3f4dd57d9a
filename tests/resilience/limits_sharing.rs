//! Several instances' accounts over one script, in time that the test moves: the published bounds.
//!
//! Owns: a small world of instances, one Redis that may be lost, may lose its memory, and may count
//! without being heard, and the rules over everything that was admitted. An admission happens when
//! Redis counts it, or when an instance decides without.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use breakwater::clock;
use breakwater::config::{self, Environment};
use breakwater::limits::{
    Admission, Admit, Answer, Class, Consultation, Policies, Principal, Question, Table,
    TableSettings,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::limits_rig::Script;

const MINUTE: u64 = 60_000_000;

struct Instance {
    table: Table,
    /// Whether the Redis that runs now has its script; it was sent at the start.
    known: bool,
    losses: u64,
}

struct World<'a> {
    script: &'a mut Script,
    instances: Vec<Instance>,
    origin: Instant,
    now: u64,
    lost: bool,
    /// When, and how many.
    admitted: Vec<(u64, u64)>,
}

fn client(cost: u32) -> Admit {
    Admit { cost, ..Admit::one(Class::Search, Principal::of_address([203, 0, 113, 7].into(), 64)) }
}

impl<'a> World<'a> {
    fn new(script: &'a mut Script, count: u32, limit: u32, burst: u32) -> Self {
        let (limit, burst) = (limit.to_string(), burst.to_string());
        let environment: Environment =
            [("RATE_LIMIT_SEARCH_PER_MINUTE", &*limit), ("RATE_LIMIT_SEARCH_BURST", &*burst)]
                .into_iter()
                .collect();
        let policies = Policies::new(&config::resolve(None, &environment).unwrap().limits);
        let (origin, among) = (clock::monotonic(), NonZeroU32::new(count).unwrap());
        let instance = |_| Instance {
            table: Table::new(TableSettings::default(), policies.clone(), origin)
                .shared_among(among),
            known: true,
            losses: 0,
        };
        script.begin(0);
        let instances = (0..count).map(instance).collect();
        Self { script, instances, origin, now: 0, lost: false, admitted: Vec::new() }
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

    /// Redis dies, and with it what it held.
    fn forget(&mut self) {
        self.script.begin(self.now);
        self.instances.iter_mut().for_each(|one| one.known = false);
    }

    fn consult(&mut self, place: usize, cost: u32) -> Result<Admission, Question> {
        let (now, lost) = (self.at(place), self.lost);
        let instance = &self.instances[place];
        let told = match lost {
            true => Ok(instance.table.alone(client(cost), now)),
            false => match instance.table.consult(client(cost), now) {
                Consultation::Decided(admission) => Ok(admission),
                Consultation::Ask(question) => Err(question),
            },
        };
        told.inspect(|admission| self.note(admission, cost))
    }

    /// Asks Redis and takes in what it says, if it is heard.
    fn settle(&mut self, place: usize, question: Question, heard: bool) -> Admission {
        let cost = question.request.cost;
        let answer = (!self.lost).then(|| self.ask(place, &question));
        let now = self.at(place);
        let instance = &self.instances[place];
        let answer = answer.filter(|_| heard);
        let admission = instance.table.settle(question, answer.as_ref(), instance.losses, now);
        self.note(&admission, cost);
        admission
    }

    fn ask(&mut self, place: usize, question: &Question) -> Answer {
        let instance = &mut self.instances[place];
        instance.losses += u64::from(!instance.known);
        instance.known = true;
        self.script.ask(&question.key(), &question.arguments())
    }

    fn note(&mut self, admission: &Admission, cost: u32) {
        let limit = admission.minute.map_or(u32::MAX, |minute| minute.limit);
        if admission.is_admitted() {
            self.admitted.push((self.now, u64::from(cost.min(limit))));
        }
    }

    fn request(&mut self, place: usize, cost: u32) -> Admission {
        match self.consult(place, cost) {
            Ok(admission) => admission,
            Err(question) => {
                self.pass(150);
                self.settle(place, question, true)
            }
        }
    }

    /// Most that was admitted in any minute.
    fn densest(&self) -> u64 {
        let all = &self.admitted;
        let from = |start: u64| {
            let inside = all.iter().filter(move |(at, _)| (start..start + MINUTE).contains(at));
            inside.map(|(_, count)| count).sum::<u64>()
        };
        all.iter().map(|(start, _)| from(*start)).max().unwrap_or(0)
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Time passes.
    Wait(u64),
    /// One request.
    One(usize, u32),
    /// Several at once, whose answers come in this order or that, or not.
    Several(Vec<(usize, u32)>, bool, bool),
    /// Redis is lost, or back.
    Lose(bool),
    /// It is back at once and has forgotten all.
    Forget,
}

fn steps(faults: u32, most_cost: u32) -> impl Strategy<Value = Vec<Step>> {
    let request = || (0..3_usize, 1..=most_cost);
    let some = prop::collection::vec(request(), 2..6);
    let step = prop_oneof![
        4 => (0..2_000_000_u64).prop_map(Step::Wait),
        1 => (0..61_000_000_u64).prop_map(Step::Wait),
        8 => request().prop_map(|(place, cost)| Step::One(place, cost)),
        4 => (some, any::<bool>(), any::<bool>())
            .prop_map(|(all, turned, heard)| Step::Several(all, turned, heard)),
        faults => any::<bool>().prop_map(Step::Lose),
        faults => Just(Step::Forget),
    ];
    prop::collection::vec(step, 1..80)
}

fn play(world: &mut World<'_>, steps: Vec<Step>, may_be_unheard: bool) {
    let count = world.instances.len();
    for step in steps {
        match step {
            Step::Wait(time) => world.pass(time),
            Step::One(place, cost) => drop(world.request(place % count, cost)),
            Step::Several(all, turned, heard) => {
                let all = all.into_iter().map(|(place, cost)| (place % count, cost));
                let mut asked: Vec<_> = all
                    .filter_map(|(place, cost)| Some((place, world.consult(place, cost).err()?)))
                    .collect();
                if turned {
                    asked.reverse();
                }
                for (place, question) in asked {
                    world.pass(150);
                    world.settle(place, question, heard || !may_be_unheard);
                }
            }
            Step::Lose(lost) => world.lost = lost,
            Step::Forget => world.forget(),
        }
    }
}

/// Plays many stories of two or three instances; `worst` is what the densest minute may hold.
fn never_more(faults: u32, limits: [u32; 2], most_cost: u32, worst: impl Fn(u32, u32) -> u32) {
    let mut script = Script::start();
    let cell = RefCell::new(&mut script);
    let stories = (2..4_u32, limits[0]..=limits[1], steps(faults, most_cost));
    let mut runner = TestRunner::new(Config::with_cases(150));
    let outcome = runner.run(&stories, |(instances, limit, steps)| {
        let mut script = cell.borrow_mut();
        let mut world = World::new(&mut script, instances, limit, 0);
        play(&mut world, steps, faults > 0);
        let (densest, worst) = (world.densest(), worst(instances, limit));
        prop_assert!(densest <= u64::from(worst), "{} of at most {}", densest, worst);
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

#[test]
fn no_minute_holds_more_than_the_limit() {
    never_more(0, [1, 30], 3, |_, limit| limit);
}

#[test]
fn no_minute_holds_more_than_the_limit_with_permits_on_top() {
    never_more(0, [6_000, 8_000], 900, |_, limit| limit);
}

#[test]
fn whatever_becomes_of_redis_the_published_bound_holds() {
    never_more(1, [1, 30], 1, |instances, limit| {
        limit + (instances - 1) * limit.div_ceil(instances)
    });
}

#[test]
fn the_published_bound_holds_with_permits_on_top() {
    let worst = |instances: u32, limit: u32| limit + (instances - 1) * limit.div_ceil(instances);
    never_more(1, [6_000, 8_000], 40, worst);
}

#[test]
fn who_obeys_is_never_refused() {
    let mut script = Script::start();
    let cell = RefCell::new(&mut script);
    let requests = prop::collection::vec((0..3_usize, 0..3_000_000_u64, 1..5_u32), 1..80);
    let rules = prop_oneof![(1..30_u32, 0..12_u32), (6_000..6_100_u32, Just(0_u32))];
    let mut runner = TestRunner::new(Config::with_cases(150));
    let outcome = runner.run(&(2..4_u32, rules, requests), |(instances, (limit, burst), all)| {
        let mut script = cell.borrow_mut();
        let mut world = World::new(&mut script, instances, limit, burst);
        for (place, wait, weight) in all {
            let cost = if limit > 1_000 { weight * 100 } else { 1 };
            let admission = world.request(place % world.instances.len(), cost);
            prop_assert!(admission.is_admitted(), "{:?}", admission);
            world.pass(wait);
            let least = if limit > 1_000 { 500 } else { 1 };
            if let Some(binding) = admission.binding().filter(|one| one.remaining < least) {
                world.pass(u64::try_from(binding.reset_after.as_micros()).unwrap());
            }
        }
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

#[test]
fn who_waits_as_told_is_admitted_then_and_not_before() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 5, 0);
    for step in 0..5 {
        assert!(world.request(step % 2, 1).is_admitted());
        world.pass(1_000_000);
    }
    for place in [0, 1] {
        let refused = world.request(place, 1);
        let wait = refused.retry_after().expect("five of five are used");
        world.pass(1_000_000);
        let again = world.request(place, 1);
        let waited = Duration::from_micros(1_000_000);
        assert!(wait - again.retry_after().unwrap() >= waited, "it counts down");
    }
    let wait = world.request(0, 1).retry_after().unwrap();
    world.pass(u64::try_from(wait.as_micros()).unwrap() - 200);
    assert!(!world.request(0, 1).is_admitted());
    world.pass(200);
    assert!(world.request(0, 1).is_admitted());
    let asked = world.instances[0].table.sharing(world.at(0)).unwrap().asked;
    assert_eq!(asked, 3 + 1 + 1, "a refusal that was told is remembered");
    script.stop();
}

#[test]
fn without_redis_each_has_its_share_and_says_so() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 3, 10, 0);
    world.lost = true;
    for place in 0..3 {
        let first = world.request(place, 1);
        let standing = first.minute.unwrap();
        assert!(first.alone && first.is_admitted());
        assert_eq!((standing.limit, standing.remaining), (4, 3), "ten in three, rounded up");
        let more = (0..20).filter(|_| world.request(place, 1).is_admitted()).count();
        assert_eq!(more, 3);
    }
    assert_eq!(world.densest(), 12);
    world.lost = false;
    let left = |admission: Admission| admission.minute.unwrap().remaining;
    assert_eq!(left(world.request(0, 1)), 5, "its four are told");
    world.pass(30_000_000);
    assert_eq!(left(world.request(1, 1)), 0, "and four of another");
    assert!(!world.request(2, 1).is_admitted());
    assert_eq!(world.densest(), 14, "of eighteen at most");
    world.pass(31_000_000);
    let again = (0..60).filter(|turn| world.request(turn % 3, 1).is_admitted()).count();
    assert_eq!(again, 9, "what was told is forgotten when it is a minute old, and not later");
    script.stop();
}

#[test]
fn a_redis_that_forgot_gives_nothing_away() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 10, 0);
    assert!(world.request(1, 1).is_admitted());
    assert_eq!((0..9).filter(|_| world.request(0, 1).is_admitted()).count(), 9);
    world.forget();
    assert!(!world.request(0, 1).is_admitted(), "nine of its share of five");
    let other = (0..20).filter(|_| world.request(1, 1).is_admitted()).count();
    assert_eq!(other, 4, "the other has the rest of its share");
    let sharing = world.instances[1].table.sharing(world.at(1)).unwrap();
    assert!(sharing.in_doubt && sharing.losses == 1);
    world.pass(61_000_000);
    assert!(!world.instances[1].table.sharing(world.at(1)).unwrap().in_doubt);
    assert_eq!((0..20).filter(|turn| world.request(turn % 2, 1).is_admitted()).count(), 10);
    script.stop();
}

#[test]
fn a_permit_counts_until_a_minute_after_the_last_moment_it_could_be_used() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 6_000, 0);
    let asked = |world: &World<'_>| world.instances[0].table.sharing(world.at(0)).unwrap().asked;
    // So busy that many permits are granted at once; the last ones are used as late as can be.
    for _ in 0..300 {
        world.pass(10_000);
        assert!(world.request(0, 1).is_admitted());
    }
    let before = asked(&world);
    assert!(before < 100, "most needed no question: {before}");
    while asked(&world) == before {
        assert!(world.request(0, 1).is_admitted());
    }
    world.pass(999_000 - 150);
    let used = (0..50).filter(|_| world.request(0, 1).is_admitted()).count();
    assert_eq!((used, asked(&world)), (50, before + 1), "permits of that grant");
    // The other takes whatever there is, all the time.
    while world.now < 2 * MINUTE {
        if !world.request(1, 100).is_admitted() && !world.request(1, 1).is_admitted() {
            world.pass(10_000);
        }
    }
    let densest = world.densest();
    assert!((5_950..=6_000).contains(&densest), "{densest}");
    script.stop();
}
