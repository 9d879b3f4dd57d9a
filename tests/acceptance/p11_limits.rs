//! P11: limits are exact, over workers and over instances, and whoever obeys is never refused.
//!
//! Two gateways of two workers each share a Redis. Fifty clients that are one to the limits make two
//! hundred calls each at a limit of a hundred a minute: exactly a hundred are admitted, at one
//! gateway alone and at both. A client that comes back across the edge of a window never gets more
//! than the limit in any minute of its own clock. Clients that wait as the headers say are never
//! refused. And Redis is stopped in the middle of a storm: the published bound holds, nobody waits.

use std::thread;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use tempfile::TempDir;

use crate::figures::{Table, millis, quantile, samples};
use crate::support::callers::{Call, Callers, admitted, ask, densest};
use crate::support::gateway::{Plan, Running, simulate};
use crate::support::http::Answer;
use crate::support::process::wait_until;
use crate::support::redis::Redis;

const LIMIT: usize = 100;
/// `LIMIT + (N-1) * ceil(LIMIT/N)` of two instances, in the minute in which Redis is lost.
const WORST: usize = 150;
const MINUTE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 5;
/// What a question to a Redis that does not answer may cost, with what a busy machine adds.
const NOBODY_WAITS: Duration = Duration::from_secs(1);
const SEARCH: &str = "/api/products/search?keywords=phone&max_sale_price=900";
const CATEGORIES: &str = "/api/categories";

/// Two gateways on one Redis, and one that is alone.
struct Limits {
    redis: Redis,
    simulator: Running,
    pair: [Running; 2],
    alone: Running,
    clients: u8,
    _folder: TempDir,
}

impl Limits {
    fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (redis, simulator) = (Redis::start(), simulate(folder.path(), None));
        let start = |name: &str, shared: bool| {
            let home = folder.path().join(name);
            std::fs::create_dir(&home).unwrap();
            let plan = Plan::in_folder(&home)
                .before(simulator.address)
                .with("HTTP_WORKERS", "2")
                .with("LOG_LEVEL", "error")
                .with("RATE_LIMIT_ENABLED", "true")
                .with("ABUSE_DETECTION", "off")
                .with("TRUSTED_PROXIES", "127.0.0.1/32");
            if shared { plan.with("REDIS_URL", redis.url()) } else { plan }.start()
        };
        let pair = [start("a", true), start("b", true)];
        let alone = start("alone", false);
        let mut limits = Self { redis, simulator, pair, alone, clients: 0, _folder: folder };
        let [a, b] = limits.both();
        for address in [a, b, limits.alone.address] {
            limits.callers(vec![address], 1, 1).call(|| ());
        }
        limits
    }

    fn both(&self) -> [std::net::SocketAddr; 2] {
        [self.pair[0].address, self.pair[1].address]
    }

    /// A client never seen, as so many callers.
    fn callers(
        &mut self,
        addresses: Vec<std::net::SocketAddr>,
        count: usize,
        calls: usize,
    ) -> Callers {
        self.clients += 1;
        let client = format!("198.51.100.{}", self.clients);
        Callers { addresses, path: SEARCH.to_owned(), client, count, calls }
    }

    fn metric(&self, name: &str) -> [f64; 2] {
        [0, 1].map(|place: usize| {
            let text = self.pair[place].connection().get("/metrics").unwrap().text();
            samples(&text, name).iter().map(|(_, value)| value).sum()
        })
    }

    fn decided_alone(&self) -> f64 {
        self.metric("rate_limit_local_decisions_total").iter().sum()
    }

    fn end(self) {
        let [a, b] = self.pair;
        [a, b, self.alone, self.simulator].into_iter().for_each(Running::stop);
        self.redis.stop();
    }
}

#[test]
fn p11_limits_are_exact() {
    let mut limits = Limits::set();
    let alone = storms(&mut limits, "one gateway, two workers", false);
    let pair = storms(&mut limits, "two gateways, four workers", true);
    let decided_alone = limits.decided_alone();
    limits.end();
    println!("  decided without Redis: {decided_alone}");
    assert_eq!(alone, [LIMIT; ROUNDS]);
    assert_eq!((pair, decided_alone), ([LIMIT; ROUNDS], 0.0));
}

/// Fifty times two hundred calls in each round; how many were admitted.
fn storms(limits: &mut Limits, title: &str, pair: bool) -> [usize; ROUNDS] {
    let title = format!("P11: 50 clients x 200 calls, limit {LIMIT} a minute, {title}");
    let columns = ["round", "calls/s", "admitted", "refused", "p50 ms", "p99 ms", "longest ms"];
    let mut table = Table::new(title, &columns);
    let mut got = [0; ROUNDS];
    for (round, got) in (1..).zip(&mut got) {
        let addresses = if pair { limits.both().to_vec() } else { vec![limits.alone.address] };
        let began = monotonic();
        let calls = limits.callers(addresses, 50, 200).call(|| ());
        table.row(row(&format!("{round}"), &calls, monotonic() - began));
        *got = admitted(&calls);
    }
    table.print();
    got
}

fn row(name: &str, calls: &[Call], took: Duration) -> Vec<String> {
    let mut times: Vec<_> = calls.iter().map(|call| call.answered - call.sent).collect();
    times.sort_unstable();
    let count = f64::from(u32::try_from(calls.len()).unwrap());
    let good = admitted(calls);
    let mut cells = vec![name.to_owned(), format!("{:.0}", count / took.as_secs_f64())];
    cells.extend([good, calls.len() - good].map(|count| count.to_string()));
    cells.extend([0.5, 0.99, 1.0].map(|share| millis(quantile(&times, share))));
    cells
}

#[test]
fn p11_no_minute_holds_more_and_the_obedient_are_never_refused() {
    let mut limits = Limits::set();
    let both = limits.both().to_vec();
    let until = monotonic() + Duration::from_secs(100);
    let greedy = limits.callers(both.clone(), 4, 0);
    let obedient: Vec<_> = (0..8).map(|_| limits.callers(both.clone(), 1, 0)).collect();
    let greed = thread::spawn(move || across_the_edge(&greedy, until));
    let obedience: Vec<_> = (0..)
        .zip(obedient)
        .map(|(number, callers)| thread::spawn(move || obey(&callers, number, until)))
        .collect();
    let calls = greed.join().unwrap();
    let obeyed: Vec<_> = obedience.into_iter().map(|client| client.join().unwrap()).collect();
    let decided_alone = limits.decided_alone();
    limits.end();

    let most = densest(&calls, MINUTE);
    let mut table = Table::new(
        "P11: bursts across the edges of a window, and clients that obey; two gateways, 100 s",
        &["", "calls", "admitted", "refused", "densest minute"],
    );
    let mut tell = |name: &str, calls: &[Call]| {
        let good = admitted(calls);
        let counts = [calls.len(), good, calls.len() - good, densest(calls, MINUTE)];
        let counts = counts.map(|count| count.to_string());
        table.row(std::iter::once(name.to_owned()).chain(counts));
    };
    tell("greedy, 4 at once", &calls);
    for (number, calls) in (1..).zip(&obeyed) {
        tell(&format!("obedient {number}"), calls);
    }
    table.print();
    assert_eq!(decided_alone, 0.0, "Redis was there");
    assert!(most <= LIMIT, "{most} in a minute");
    assert!(admitted(&calls) > LIMIT, "it did come across an edge");
    for calls in &obeyed {
        assert_eq!(admitted(calls), calls.len(), "who obeys is never refused");
    }
}

/// A part of the limit, half a minute later all that is left, and then again and again.
fn across_the_edge(callers: &Callers, until: Instant) -> Vec<Call> {
    let some = Callers { count: 4, calls: 15, ..callers.clone() };
    let mut calls = some.call(|| ());
    thread::sleep(MINUTE / 2);
    let more = Callers { calls: 40, ..some };
    while monotonic() < until {
        calls.extend(more.call(|| ()));
        thread::sleep(Duration::from_millis(200));
    }
    calls
}

/// As fast as the headers allow. Every other one asks for what has a bucket that is soon empty.
fn obey(callers: &Callers, number: usize, until: Instant) -> Vec<Call> {
    let path = if number.is_multiple_of(2) { SEARCH } else { CATEGORIES };
    let mut connections = callers.connections();
    let mut calls = Vec::new();
    while monotonic() < until {
        let turn = calls.len() % connections.len();
        let (call, answer) = ask(&mut connections[turn], path);
        calls.push(call);
        let wait = told(&answer);
        if monotonic() + wait >= until {
            break;
        }
        thread::sleep(wait);
        if !wait.is_zero() {
            // The gateway closes what nobody has used for a while.
            connections = callers.connections();
        }
    }
    calls
}

/// How long the headers ask for.
fn told(answer: &Answer) -> Duration {
    let number = |name: &str| answer.header(name).and_then(|text| text.parse::<u64>().ok());
    let wait = match number("x-ratelimit-remaining") {
        Some(0) => number("x-ratelimit-reset"),
        _ => number("retry-after"),
    };
    Duration::from_secs(wait.unwrap_or(0))
}

#[test]
fn p11_a_redis_that_is_stopped_costs_no_more_than_the_bound() {
    let mut limits = Limits::set();
    let mut table = Table::new(
        format!("P11: Redis is stopped in the middle of a storm; at most {WORST} are promised"),
        &["", "calls/s", "admitted", "refused", "p50 ms", "p99 ms", "longest ms"],
    );
    let both = limits.both().to_vec();
    let storm = limits.callers(both.clone(), 50, 200);
    let began = monotonic();
    let during = storm.call(|| {
        thread::sleep(Duration::from_millis(5));
        limits.redis.process().signal("STOP");
    });
    table.row(row("stopped", &during, monotonic() - began));
    wait_until("it is known", Duration::from_secs(10), || {
        limits.metric("rate_limit_shared") == [0.0, 0.0]
    });
    let (began, other) = (monotonic(), limits.callers(both, 50, 200));
    let without = other.call(|| ());
    table.row(row("without", &without, monotonic() - began));
    let decided_alone = limits.decided_alone();
    limits.redis.process().signal("CONT");
    wait_until("it is back", Duration::from_secs(10), || {
        limits.metric("rate_limit_shared") == [1.0, 1.0]
    });
    let began = monotonic();
    let after = [storm.call(|| ()), other.call(|| ())];
    table.row(row("back", &after.concat(), monotonic() - began));
    limits.end();

    table.print();
    println!("  decided without Redis: {decided_alone}");
    let longest = during.iter().chain(&without).map(|call| call.answered - call.sent).max();
    let [storm_after, other_after] = after;
    assert_eq!(admitted(&without), LIMIT, "two shares, at once");
    for (name, calls) in [("storm", [during, storm_after]), ("other", [without, other_after])] {
        let (most, all) = (densest(&calls.concat(), MINUTE), calls.map(|calls| admitted(&calls)));
        println!("  {name}: {all:?} admitted, {most} in a minute of {WORST} at most");
        assert!(most <= WORST, "{name}: {most}");
    }
    assert!(decided_alone > 0.0, "and it is counted");
    assert!(longest.is_some_and(|longest| longest < NOBODY_WAITS), "{longest:?}");
}
