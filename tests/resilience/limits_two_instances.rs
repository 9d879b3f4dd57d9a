//! Two gateways that keep limits together: exact while Redis is there, bounded while it is not.
//!
//! Every story has a client of its own, so that none has to wait for the minute of another. A busy
//! machine may make a question to Redis too late; such a request is decided by the share, which is
//! counted. What is exact without that is tried a few times; the bound is asserted at once.

use std::time::Duration;

use serde_json::Value;

use crate::pair::{Instance, Upstream, one_of_a_few, search, until};
use crate::redis_cluster::Cluster;
use crate::support::callers::{Callers, admitted};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::http::Connection;
use crate::support::redis::Redis;

const LIMIT: usize = 100;
/// What the densest minute may hold: `LIMIT + (N-1) * ceil(LIMIT/N)` with two instances.
const WORST: usize = 150;
const SETTINGS: [(&str, &str); 8] = [
    ("RATE_LIMIT_ENABLED", "true"),
    // The same question again and again is what is asked here.
    ("ABUSE_DETECTION", "off"),
    ("RATE_LIMIT_SEARCH_PER_MINUTE", "100"),
    ("RATE_LIMIT_SEARCH_BURST", "0"),
    ("RATE_LIMIT_INSTANCES", "2"),
    ("MAX_REQUESTS_PER_SECOND", "0"),
    ("MAX_REQUESTS_PER_MINUTE", "0"),
    ("TRUSTED_PROXIES", "127.0.0.1/32"),
];

struct Pair {
    upstream: Upstream,
    a: Instance,
    b: Instance,
    clients: u8,
}

impl Pair {
    fn start(redis_of_a: &str, redis_of_b: &str) -> Self {
        let upstream = Upstream::start();
        let start = |url: &str| {
            let settings: Vec<_> = SETTINGS.into_iter().chain([("REDIS_URL", url)]).collect();
            Instance::start(&upstream, None, &settings)
        };
        let (a, b) = (start(redis_of_a), start(redis_of_b));
        let pair = Self { upstream, a, b, clients: 0 };
        for instance in [&pair.a, &pair.b] {
            until("it shares", || shares(instance));
            until("it is in memory", || instance.tier(&search(1)) == "memory");
        }
        pair
    }

    /// Fifty times two hundred calls of a client never seen, at both.
    fn callers(&mut self) -> Callers {
        self.clients += 1;
        Callers {
            addresses: vec![self.a.address(), self.b.address()],
            path: search(1),
            client: format!("198.51.100.{}", self.clients),
            count: 50,
            calls: 200,
        }
    }

    fn alone(&self) -> f64 {
        [&self.a, &self.b].map(|one| one.metric("rate_limit_local_decisions_total")).iter().sum()
    }

    /// Admits exactly the limit of a storm on both.
    fn takes_a_storm(&mut self) {
        one_of_a_few("exactly the limit", |_| {
            let (callers, before) = (self.callers(), self.alone());
            let got = admitted(&callers.call(|| ()));
            let alone = self.alone() - before;
            eprintln!("10,000 calls at a limit of {LIMIT}: {got} admitted, {alone} decided alone");
            assert!(got <= WORST, "{got}");
            got == LIMIT && alone == 0.0
        });
    }

    fn stop(self) {
        self.a.stop();
        self.b.stop();
        self.upstream.stop();
    }
}

fn shares(instance: &Instance) -> bool {
    instance.metric("rate_limit_shared") == 1.0
}

fn degraded(instance: &Instance) -> bool {
    let status = instance.get("/api/status").json();
    let degraded = status["data"]["degraded"].as_array().expect("a list").clone();
    degraded.contains(&Value::from("shared_limits"))
}

/// Asks both in turn, so often; how many were admitted.
fn ask(connections: &mut [Connection], path: &str, calls: usize) -> usize {
    let of = connections.len();
    let status = |turn: usize| connections[turn % of].get(path).expect("an answer").status;
    (0..calls).map(status).filter(|status| *status == 200).count()
}

#[test]
fn a_storm_on_two_instances_gets_exactly_the_limit() {
    let redis = Redis::start();
    let mut pair = Pair::start(&redis.url(), &redis.url());
    pair.takes_a_storm();
    let keys = redis.command(&[b"KEYS", b"breakwater:2:limit:*"]);
    assert!(String::from_utf8(keys).unwrap().contains("{search|198.51.100.1}"));
    pair.stop();
    redis.stop();
}

#[test]
fn a_storm_over_a_cluster_gets_exactly_the_limit() {
    let cluster = Cluster::start();
    let mut pair = Pair::start(&cluster.url(), &cluster.url());
    pair.takes_a_storm();
    pair.stop();
    cluster.stop();
}

#[test]
fn what_one_has_counted_the_other_tells() {
    let redis = Redis::start();
    let mut pair = Pair::start(&redis.url(), &redis.url());
    one_of_a_few("both count as one", |_| {
        let callers = pair.callers();
        let mut connections = callers.connections();
        let path = &callers.path;
        let remaining = |turn: usize| {
            let answer = connections[turn % 2].get(path).unwrap();
            answer.header("x-ratelimit-remaining").and_then(|left| left.parse::<usize>().ok())
        };
        (0..20).map(remaining).eq((0..20).map(|turn| Some(LIMIT - 1 - turn)))
    });
    let status = pair.a.admin("GET", "/admin/rate-limit/status", "");
    let sharing = &status["sharing"];
    assert_eq!((&sharing["exact"], &sharing["instances"]), (&true.into(), &2.into()));
    assert_eq!(sharing["worst_minute"], 1.5);
    pair.stop();
    redis.stop();
}

#[test]
fn a_redis_that_is_stopped_in_the_middle_costs_no_more_than_the_bound() {
    let redis = Redis::start();
    let mut pair = Pair::start(&redis.url(), &redis.url());
    let callers = pair.callers();
    let got = admitted(&callers.call(|| redis.process().signal("STOP")));
    until("both know", || degraded(&pair.a) && degraded(&pair.b) && !shares(&pair.a));
    assert!(pair.alone() > 0.0, "and count");
    // A client never seen has its share at once, and is told so.
    let stranger = pair.callers();
    let mut connections = stranger.connections();
    let first = connections[0].get(&stranger.path).unwrap();
    assert_eq!(first.header("x-ratelimit-limit"), Some("50"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("49"));
    let share = ask(&mut connections, &stranger.path, 200);
    assert_eq!(share + 1, LIMIT, "two shares");
    redis.process().signal("CONT");
    until("they share again", || shares(&pair.a) && shares(&pair.b));
    assert!(!degraded(&pair.a));
    let again = admitted(&callers.call(|| ()));
    eprintln!("stopped in the middle and back: {got} and {again} of {WORST} at most");
    assert!(got + again <= WORST && got >= LIMIT / 2, "{got} + {again}");
    let after = ask(&mut connections, &stranger.path, 50);
    assert_eq!(after, 0, "each keeps to its share, which is used up");
    pair.stop();
    redis.stop();
}

#[test]
fn a_redis_that_died_and_forgot_adds_no_more_than_the_limit() {
    let redis = Redis::start();
    let mut pair = Pair::start(&redis.url(), &redis.url());
    let callers = pair.callers();
    let before = admitted(&callers.call(|| ()));
    let address = redis.address();
    redis.kill();
    let redis = Redis::start_at(address);
    let after = admitted(&callers.call(|| ()));
    eprintln!("killed and back without memory: {before} and {after} of {WORST} + {LIMIT} at most");
    assert!(before + after <= WORST + LIMIT, "{before} + {after}");
    pair.stop();
    redis.stop();
}

#[test]
fn an_instance_that_is_cut_off_keeps_to_its_share() {
    let redis = Redis::start();
    let proxy = FaultProxy::before(redis.address());
    let mut pair = Pair::start(&format!("redis://{}/0", proxy.address()), &redis.url());
    for fault in [Fault::Hang, Fault::Refuse, Fault::Delay(Duration::from_millis(300))] {
        proxy.set(fault);
        until("it knows", || degraded(&pair.a));
        let callers = pair.callers();
        let got = admitted(&callers.call(|| ()));
        proxy.set(Fault::None);
        until("it shares again", || shares(&pair.a));
        let again = ask(&mut callers.connections(), &callers.path, 20);
        eprintln!("{fault:?} for one of two: {got} of {WORST} at most, then {again}");
        assert!((LIMIT..=WORST).contains(&got), "{got}");
        assert_eq!(again, 0);
    }
    assert!(shares(&pair.b) && pair.b.metric("rate_limit_local_decisions_total") < 50.0);
    pair.stop();
    redis.stop();
}

#[test]
fn a_redis_that_takes_no_writes_leaves_each_its_share() {
    let redis = Redis::start();
    let mut pair = Pair::start(&redis.url(), &redis.url());
    let read_only = [&["REPLICAOF", "127.0.0.1", "1"][..], &["REPLICAOF", "NO", "ONE"]];
    let full = [&["CONFIG", "SET", "maxmemory", "1"][..], &["CONFIG", "SET", "maxmemory", "0"]];
    for [begin, end] in [read_only, full] {
        let send = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
            assert!(redis.command(&words).starts_with(b"+OK"));
        };
        send(begin);
        let callers = pair.callers();
        let got = admitted(&callers.call(|| ()));
        until("both know", || degraded(&pair.a) && degraded(&pair.b));
        send(end);
        until("they share again", || shares(&pair.a) && shares(&pair.b));
        let again = ask(&mut callers.connections(), &callers.path, 20);
        eprintln!("{begin:?}: {got} of {WORST} at most, then {again}");
        assert!((LIMIT / 2..=WORST).contains(&got), "{got}");
        assert!(got + again <= WORST);
    }
    pair.stop();
    redis.stop();
}

#[test]
fn a_hit_asks_redis_once_for_shared_limits_and_never_without_limits() {
    let (redis, upstream) = (Redis::start(), Upstream::start());
    let asked = |command: &str| {
        let stats = redis.command(&[b"INFO", b"commandstats"]);
        let stats = String::from_utf8(stats).unwrap();
        let line = format!("cmdstat_{command}:calls=");
        let calls = stats.lines().find_map(|one| one.strip_prefix(&line)?.split(',').next());
        calls.map_or(0, |calls| calls.parse::<u64>().unwrap())
    };
    for (limited, a_hit) in [("true", 1), ("false", 0)] {
        let settings = [
            ("RATE_LIMIT_ENABLED", limited),
            ("ABUSE_DETECTION", "off"),
            ("RATE_LIMIT_SEARCH_PER_MINUTE", "1000000"),
            ("RATE_LIMIT_SEARCH_BURST", "0"),
        ];
        let gateway = Instance::start(&upstream, Some(&redis), &settings);
        one_of_a_few("as many calls as were to be", |number| {
            until("it is in memory", || gateway.tier(&search(number)) == "memory");
            assert!(redis.command(&[b"CONFIG", b"RESETSTAT"]).starts_with(b"+OK"));
            let began = breakwater::clock::monotonic();
            (0..100).for_each(|_| assert_eq!(gateway.tier(&search(number)), "memory"));
            // Once a second the upstream's pace is told.
            let beside = began.elapsed().as_secs() + 2;
            let (scripts, reads) = (asked("evalsha"), asked("mget") + asked("get"));
            eprintln!("100 hits, limits {limited}: {scripts} scripts and {reads} reads in Redis");
            assert!(scripts <= 100 * a_hit + beside && reads == 0, "{scripts} and {reads}");
            scripts >= 100 * a_hit
        });
        gateway.stop();
    }
    upstream.stop();
    redis.stop();
}
