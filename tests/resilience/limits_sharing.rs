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
    Admission, Admit, Answer, Class, Consultation, Policies, Principal, Question, Standing, Table,
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
    limit: u32,
    admitted: Vec<Admitted>,
}

/// What was admitted, and when.
#[derive(Clone, Copy)]
struct Admitted {
    at: u64,
    /// How many the window counts.
    count: u64,
    /// How many tokens it takes.
    tokens: u64,
}

fn client(cost: u32) -> Admit {
    Admit { cost, ..Admit::one(Class::Search, Principal::of_address([203, 0, 113, 7].into(), 64)) }
}

impl<'a> World<'a> {
    fn new(script: &'a mut Script, count: u32, limit: u32, burst: u32) -> Self {
        let (a_minute, at_once) = (limit.to_string(), burst.to_string());
        let environment: Environment =
            [("RATE_LIMIT_SEARCH_PER_MINUTE", &*a_minute), ("RATE_LIMIT_SEARCH_BURST", &*at_once)]
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
        let of = |rule: Option<Standing>| {
            u64::from(cost.min(rule.map_or(u32::MAX, |standing| standing.limit)))
        };
        if admission.is_admitted() {
            let (count, tokens) = (of(admission.minute), of(admission.burst));
            self.admitted.push(Admitted { at: self.now, count, tokens });
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
            let inside = all.iter().filter(move |one| (start..start + MINUTE).contains(&one.at));
            inside.map(|one| one.count).sum::<u64>()
        };
        all.iter().map(|one| from(one.at)).max().unwrap_or(0)
    }

    /// Whether in every stretch of time no more tokens were taken than `held` and, of what drips in
    /// meanwhile, `times` as many.
    fn within_bucket(&self, held: u32, times: u32) -> bool {
        let all = &self.admitted;
        let rate = u64::from(self.limit * times);
        let stretch = |from: usize| {
            let taken = all[from..].iter().scan(0, |sum, one| {
                *sum += one.tokens;
                Some((one.at - all[from].at, *sum))
            });
            taken
                .into_iter()
                .all(|(time, sum)| sum * MINUTE <= u64::from(held) * MINUTE + rate * time)
        };
        (0..all.len()).all(stretch)
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

/// Plays many stories of two or three instances, with a bucket and without; `worst` is what the
/// densest minute may hold.
///
/// Of a bucket nothing is published for when Redis is lost. What Redis decides takes no more than
/// the bucket allows, what the instances decide themselves no more than all shares of it.
fn never_more(faults: u32, limits: [u32; 2], most_cost: u32, worst: impl Fn(u32, u32) -> u32) {
    let mut script = Script::start();
    let cell = RefCell::new(&mut script);
    let bursts = prop_oneof![Just(0), 1..=limits[1] / 2];
    let stories = (2..4_u32, limits[0]..=limits[1], bursts, steps(faults, most_cost));
    let mut runner = TestRunner::new(Config::with_cases(400));
    let outcome = runner.run(&stories, |(instances, limit, burst, steps)| {
        let mut script = cell.borrow_mut();
        let mut world = World::new(&mut script, instances, limit, burst);
        play(&mut world, steps, faults > 0);
        let (densest, worst) = (world.densest(), worst(instances, limit));
        prop_assert!(densest <= u64::from(worst), "{} of at most {}", densest, worst);
        // What weighs more than a share counts as the share, so of that nothing can be said.
        if (1..limit).contains(&burst) && (faults == 0 || most_cost == 1) {
            let shares = instances * burst.div_ceil(instances);
            let (held, times) = if faults > 0 { (burst + shares, 2) } else { (burst, 1) };
            prop_assert!(world.within_bucket(held, times), "of a bucket of {}", burst);
        }
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

/// A limit, a burst, and the weight of a request; with many a minute there may be permits on top.
fn rules() -> impl Strategy<Value = (u32, u32, u32)> {
    prop_oneof![
        (1..30_u32, 0..12_u32, Just(0_u32)),
        (6_000..6_100_u32, Just(0_u32), Just(100_u32)),
        (6_000..6_100_u32, 100..300_u32, Just(10_u32)),
    ]
}

fn is_left(admission: &Admission) -> u32 {
    admission.binding().map_or(u32::MAX, |binding| binding.remaining)
}

#[test]
fn who_obeys_is_never_refused() {
    let mut script = Script::start();
    let cell = RefCell::new(&mut script);
    let requests = prop::collection::vec((0..3_usize, 0..3_000_000_u64, 1..5_u32), 1..80);
    let mut runner = TestRunner::new(Config::with_cases(200));
    let stories = (2..4_u32, rules(), any::<bool>(), requests);
    let outcome = runner.run(&stories, |(instances, (limit, burst, scale), quick, all)| {
        let mut script = cell.borrow_mut();
        let mut world = World::new(&mut script, instances, limit, burst);
        for (place, wait, weight) in all {
            let cost = (weight * scale).max(1);
            let admission = world.request(place % world.instances.len(), cost);
            prop_assert!(admission.is_admitted(), "{:?}", admission);
            world.pass(if quick { wait / 200 } else { wait });
            let least = (5 * scale).max(1);
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
fn what_is_told_to_be_left_may_come_anywhere_at_once() {
    let mut script = Script::start();
    let cell = RefCell::new(&mut script);
    let spent = (0..3_usize, 0..3_usize, 0..3_000_000_u64, 0..60_u32);
    let mut runner = TestRunner::new(Config::with_cases(200));
    let stories = (2..4_u32, rules(), prop::collection::vec(spent, 1..12));
    let outcome = runner.run(&stories, |(instances, (limit, burst, _), all)| {
        let mut script = cell.borrow_mut();
        let mut world = World::new(&mut script, instances, limit, burst);
        for (place, other, wait, singles) in all {
            let [place, other] = [place, other].map(|place| place % world.instances.len());
            world.pass(wait);
            let first = world.request(place, 1);
            if let Some(wait) = first.retry_after() {
                world.pass(u64::try_from(wait.as_micros()).unwrap());
                continue;
            }
            let mut told = is_left(&first);
            for _ in 0..singles.min(told) {
                let admission = world.request(place, 1);
                prop_assert!(admission.is_admitted(), "{} left: {:?}", told, admission);
                told = is_left(&admission);
            }
            // The last that was told is what counts; permits on top were left out of it.
            if told > 0 {
                let rest = world.request(other, told);
                prop_assert!(rest.is_admitted(), "{}: {:?}", told, rest);
            }
            // Of what is used elsewhere an instance with permits hears when they end.
            world.pass(1_000_000);
        }
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

#[test]
fn with_a_bucket_no_permits_are_granted() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 6_000, 150);
    for left in (100..150).rev() {
        assert_eq!(is_left(&world.request(0, 1)) - left, (149 - left) * 150 / 10_000, "{left}");
    }
    script.stop();
}

#[test]
fn an_honest_client_is_served_through_a_long_outage_and_after() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 60, 0);
    // Twenty a minute at one instance; for half an hour Redis is away.
    for number in 0..700 {
        world.lost = number < 600;
        let admission = world.request(0, 1);
        assert!(admission.is_admitted(), "request {number}: {admission:?}");
        world.pass(3_000_000 - if world.lost { 0 } else { 150 });
    }
    script.stop();
}

#[test]
fn an_answer_that_overtakes_what_is_being_told_admits_no_more() {
    let mut script = Script::start();
    let mut world = World::new(&mut script, 2, 1, 0);
    world.lost = true;
    assert!((0..2).all(|place| world.request(place, 1).is_admitted()));
    world.lost = false;
    let telling = world.consult(0, 1).expect_err("Redis is asked");
    assert!(!world.request(0, 1).is_admitted(), "Redis has not heard of the first");
    assert!(!world.settle(0, telling, true).is_admitted());
    assert_eq!(world.densest(), 2);
    script.stop();
}

#[test]
fn what_was_admitted_alone_is_told_and_refills_no_bucket() {
    let mut script = Script::start();
    // Five a second, and ten at once.
    let mut world = World::new(&mut script, 2, 300, 10);
    world.lost = true;
    assert!(world.request(1, 1).is_admitted());
    world.lost = false;
    world.pass(5_000_000);
    assert!((0..10).all(|_| world.request(0, 1).is_admitted()));
    assert!(!world.request(1, 1).is_admitted(), "five seconds later nothing is left");
    script.stop();
}

#[test]
fn a_bucket_hears_what_was_taken_without_it_with_its_age() {
    let mut script = Script::start();
    // Twenty a minute, and fifteen at once.
    let mut world = World::new(&mut script, 2, 20, 15);
    world.lost = true;
    assert_eq!((0..20).filter(|_| world.request(0, 1).is_admitted()).count(), 8, "half of it");
    world.lost = false;
    world.pass(20_000_000);
    let told = world.request(0, 1).burst.unwrap();
    assert_eq!(told.remaining, 12, "eight owed, six and two thirds dripped in, one taken");
    script.stop();
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
