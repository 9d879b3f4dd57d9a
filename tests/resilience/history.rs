//! What three gateways answered while everything around them broke, checked against time.
//!
//! Owns: readers at each gateway, somebody who renews and invalidates, and the two rules. No answer is
//! older than one that the same gateway has finished before it began. And none is older than what was
//! invalidated a second before it began, unless it says that it may have missed an invalidation. Every
//! answer is a 200: something can answer at all times. An invalidation that says itself that others learn
//! of it later (`unreached`) binds nobody else yet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use breakwater::clock;
use serde_json::json;

use crate::pair::{Instance, until};
use crate::support::fault_proxy::Fault;
use crate::support::gateway::ADMIN_KEY;
use crate::support::http::Connection;
use crate::trio::{Gateways, Shape, THINGS, Trio, path, tag, version};

const BOUND: Duration = Duration::from_secs(1);
/// Both ends of a time are rounded to a millisecond by the gateway.
const ROUNDING: Duration = Duration::from_millis(10);
const READERS: usize = 2;

/// An answer.
#[derive(Debug, Clone, Copy)]
struct Read {
    gateway: usize,
    thing: usize,
    began: Instant,
    ended: Instant,
    version: u64,
    /// It says that it may have missed an invalidation.
    says: bool,
}

/// Everything older than this version was invalid everywhere from then on.
#[derive(Debug, Clone, Copy)]
struct Invalidated {
    thing: usize,
    version: u64,
    at: Instant,
}

#[derive(Debug, Default)]
struct History {
    reads: Vec<Read>,
    invalidated: Vec<Invalidated>,
    failures: Vec<String>,
}

impl History {
    /// Answers that are older than a rule allows, with the version that was due.
    fn violations(&self) -> Vec<(Read, u64)> {
        let mut own: BTreeMap<(usize, usize), Vec<&Read>> = BTreeMap::new();
        for read in &self.reads {
            own.entry((read.gateway, read.thing)).or_default().push(read);
        }
        let before = |read: &Read| {
            let same = own[&(read.gateway, read.thing)].iter();
            same.filter(|other| other.ended < read.began).map(|other| other.version).max()
        };
        let due = |read: &Read| {
            let bound = |one: &&Invalidated| {
                one.thing == read.thing && one.at + BOUND + ROUNDING < read.began
            };
            let due = self.invalidated.iter().filter(bound).map(|one| one.version).max();
            due.filter(|_| !read.says)
        };
        let due = |read: &Read| before(read).max(due(read)).unwrap_or(0);
        let all = self.reads.iter().map(|read| (*read, due(read)));
        all.filter(|(read, due)| read.version < *due).collect()
    }

    fn join(&mut self, other: Self) {
        self.reads.extend(other.reads);
        self.invalidated.extend(other.invalidated);
        self.failures.extend(other.failures);
    }
}

/// Reads one thing after another, at a gateway that is not restarted now.
fn read(trio: &Gateways, gateway: usize, over: &AtomicBool) -> History {
    let mut history = History::default();
    let mut connection = None;
    for turn in 0.. {
        if over.load(Ordering::SeqCst) {
            return history;
        }
        thread::sleep(Duration::from_millis(3));
        let Some(address) = trio.address(gateway) else { continue };
        let (known, mut open) =
            connection.take().unwrap_or_else(|| (address, Connection::to(address)));
        if known != address {
            continue;
        }
        let (thing, began) = (turn % THINGS, clock::monotonic());
        match open.get(&path(thing)) {
            Ok(answer) => match version(&answer.json()) {
                Some((version, says)) if answer.status == 200 => {
                    let ended = clock::monotonic();
                    history.reads.push(Read { gateway, thing, began, ended, version, says });
                }
                _ => history.failures.push(format!("{gateway}: {}", answer.text())),
            },
            // One that is going away closes its connections; a balancer asks another then.
            Err(_) if trio.address(gateway) != Some(address) => continue,
            Err(error) => history.failures.push(format!("{gateway}: {error}")),
        }
        connection = Some((known, open));
    }
    history
}

/// Renews things and invalidates them, at one gateway after another.
fn invalidate(trio: &Gateways, over: &AtomicBool, acked: &AtomicUsize) -> History {
    let mut history = History::default();
    for turn in 0_usize.. {
        if over.load(Ordering::SeqCst) {
            return history;
        }
        thread::sleep(Duration::from_millis(40));
        let Some(address) = trio.address(turn % 3) else { continue };
        let thing = turn / 3 % THINGS;
        let version = trio.upstream.renew(thing);
        // What is hit by a pattern is dropped from Redis and SQL as well.
        let what = if turn % 8 == 7 { json!({"pattern": "products:search:*"}) } else { tag(thing) };
        let admin = Connection::to(address).with_header("x-admin-key", ADMIN_KEY);
        let mut admin = admin.with_header("content-type", "application/json");
        let answer = admin.send("POST", "/admin/cache/invalidate", what.to_string().as_bytes());
        let Ok(answer) = answer else { continue };
        assert_eq!(answer.status, 200, "{}", answer.text());
        if !answer.json()["data"]["unreached"].to_string().contains("database") {
            history.invalidated.push(Invalidated { thing, version, at: clock::monotonic() });
            acked.fetch_add(1, Ordering::SeqCst);
        }
    }
    history
}

fn passes(time: Duration) {
    let started = clock::monotonic();
    until("time passes", || started.elapsed() > time);
}

/// Ends readers also when the story fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Breaks a part while gateways are asked.
fn strike(trio: &Gateways, story: impl FnOnce()) -> History {
    let (over, mut history) = (AtomicBool::new(false), History::default());
    let acked = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (over, acked) = (&over, &acked);
        let readers = (0..3 * READERS)
            .map(|number| scope.spawn(move || read(trio, number % 3, over)))
            .collect::<Vec<_>>();
        let invalidator = scope.spawn(move || invalidate(trio, over, acked));
        let ends = Over(over);
        story();
        let before = acked.load(Ordering::SeqCst);
        until("more is invalidated", || acked.load(Ordering::SeqCst) >= before + 3);
        drop(ends);
        readers.into_iter().chain([invalidator]).for_each(|one| history.join(one.join().unwrap()));
    });
    history
}

fn check(what: &str, history: &History) {
    let says = history.reads.iter().filter(|read| read.says).count();
    let took = |read: &Read| read.ended - read.began;
    let slowest = history.reads.iter().map(took).max().unwrap_or_default();
    let violations = history.violations();
    eprintln!(
        "{what}: {} answers, {says} that say so, {} invalidations, slowest {slowest:.0?}, {} failed, \
         {} too old",
        history.reads.len(),
        history.invalidated.len(),
        history.failures.len(),
        violations.len(),
    );
    assert_eq!(history.failures, Vec::<String>::new(), "{what}");
    assert!(violations.is_empty(), "{what}: {:?}", &violations[..violations.len().min(5)]);
    let seen: Vec<_> = history.reads.iter().map(|read| read.version).collect();
    assert!(seen.iter().max() > seen.iter().min(), "{what}: nothing was renewed");
}

fn redis_fails_over(trio: &mut Trio) {
    let Trio { redis, gateways, .. } = trio;
    let history = strike(gateways, || {
        redis.fail_over();
        passes(BOUND);
    });
    check("a primary of Redis killed, a replica takes over", &history);
}

fn postgres_dies(trio: &mut Trio) {
    let Trio { postgres, gateways, .. } = trio;
    let history = strike(gateways, || {
        let stopped = postgres.take().unwrap().killed();
        passes(3 * BOUND / 2);
        *postgres = Some(stopped.start());
        until("all follow the log again", || gateways.each(follows) == [true; 3]);
    });
    check("Postgres killed and back", &history);
}

fn the_standby_dies(trio: &mut Trio) {
    let Trio { standby, gateways, .. } = trio;
    let history = strike(gateways, || {
        let stopped = standby.take().unwrap().killed();
        passes(BOUND);
        *standby = Some(stopped.start());
        passes(BOUND);
    });
    check("the standby of Postgres killed and back", &history);
}

/// A commit is acknowledged when the standby has it, so what is in force survives the primary.
fn postgres_fails_over(trio: &mut Trio) {
    let Trio { postgres, standby, gateways, .. } = trio;
    let primary = postgres.take().unwrap();
    primary.configure("synchronous_standby_names = '*'\n");
    until("it is synchronous", || {
        primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"
    });
    let history = strike(gateways, || {
        passes(BOUND / 2);
        drop(primary.killed());
        passes(BOUND);
        standby.as_ref().unwrap().sql("SELECT pg_promote()");
        until("all follow the log again", || gateways.each(follows) == [true; 3]);
    });
    check("the primary of Postgres killed, the standby promoted", &history);
}

fn one_is_cut_off(gateways: &Gateways) {
    let history = strike(gateways, || {
        for fault in [Fault::Hang, Fault::Refuse] {
            gateways.wires[2].set(fault);
            passes(5 * BOUND / 4);
        }
        gateways.wires[2].set(Fault::None);
        until("it follows the log again", || gateways.with(2, follows));
    });
    assert!(history.reads.iter().all(|read| read.gateway == 2 || !read.says), "the others know");
    check("one cut off from Postgres and back", &history);
}

fn all_are_restarted(gateways: &Gateways) {
    let history = strike(gateways, || (0..3).for_each(|number| gateways.restart(number)));
    check("all restarted in turn", &history);
}

/// Whether nothing waits for the database, and nothing may have been missed.
fn follows(gateway: &Instance) -> bool {
    let degraded = gateway.get("/api/status").json()["data"]["degraded"].to_string();
    gateway.metric("replication_pending") == 0.0 && !degraded.contains("invalidations")
}

#[test]
fn no_answer_is_too_old_over_nodes_of_a_cluster() {
    let mut trio = Trio::with_standby(Shape::nodes(), &[]);
    redis_fails_over(&mut trio);
    postgres_dies(&mut trio);
    the_standby_dies(&mut trio);
    one_is_cut_off(&trio.gateways);
    postgres_fails_over(&mut trio);
    all_are_restarted(&trio.gateways);
    trio.stop();
}

#[test]
fn no_answer_is_too_old_over_a_primary_under_sentinel() {
    let mut trio = Trio::start(Shape::guarded(), &[]);
    redis_fails_over(&mut trio);
    all_are_restarted(&trio.gateways);
    trio.stop();
}

#[test]
fn the_rules_find_what_is_too_old() {
    let start = clock::monotonic();
    let at = |ms| start + Duration::from_millis(ms);
    let read = |gateway, began, version, says| {
        let (began, ended) = (at(began), at(began + 5));
        Read { gateway, thing: 0, began, ended, version, says }
    };
    let invalidated = vec![Invalidated { thing: 0, version: 2, at: at(100) }];
    let violations = |reads: &[Read]| {
        let reads = reads.to_vec();
        let history = History { reads, invalidated: invalidated.clone(), ..History::default() };
        history.violations().len()
    };
    assert_eq!(violations(&[read(0, 0, 1, false), read(1, 900, 1, false)]), 0, "within the bound");
    assert_eq!(violations(&[read(1, 1_200, 1, false)]), 1, "beyond it");
    assert_eq!(violations(&[read(1, 1_200, 1, true)]), 0, "and says so");
    assert_eq!(violations(&[read(0, 150, 2, false), read(1, 200, 1, false)]), 0, "another gateway");
    assert_eq!(violations(&[read(0, 150, 2, false), read(0, 200, 1, true)]), 1, "the same");
    assert_eq!(violations(&[read(0, 150, 2, false), read(0, 152, 1, false)]), 0, "at once");
}
