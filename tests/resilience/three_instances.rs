//! Three gateways on one Postgres, over three nodes of Redis and over a primary under Sentinel: a change is
//! in force everywhere within a second, also without Redis; limits are exact; a cold key costs two calls at
//! most; and one that was cut off says so until it has heard everything.
//!
//! A busy machine may be late now and then: what has to happen in a time is tried a few times, and what
//! must never happen is asserted at once.

use std::thread;
use std::time::Duration;

use breakwater::clock;
use serde_json::{Value, json};

use crate::pair::{Instance, get, one_of_a_few, until};
use crate::support::callers::{Callers, admitted};
use crate::support::fault_proxy::Fault;
use crate::support::http::Connection;
use crate::trio::{Shape, THINGS, Trio, path, tag, version};

/// A change is in force everywhere within this, and within twice this without Redis.
const SOON: Duration = Duration::from_secs(1);
const LIMIT: usize = 100;
/// Most that a minute may hold when a busy machine is too late for Redis: `L + (N-1) * ceil(L/N)`.
const WORST: usize = 168;
const SETTINGS: [(&str, &str); 7] = [
    ("RATE_LIMIT_ENABLED", "true"),
    ("ABUSE_DETECTION", "off"),
    ("RATE_LIMIT_SEARCH_PER_MINUTE", "100"),
    ("RATE_LIMIT_SEARCH_BURST", "0"),
    ("MAX_REQUESTS_PER_SECOND", "0"),
    ("MAX_REQUESTS_PER_MINUTE", "0"),
    ("TRUSTED_PROXIES", "127.0.0.1/32"),
];

/// As this client; `/api/status` counts in no limit here.
fn status(gateway: &Instance, client: &str, key: &str) -> u16 {
    let connection = Connection::to(gateway.address()).with_header("x-forwarded-for", client);
    connection.with_header("x-internal-key", key).get("/api/status").unwrap().status
}

/// The version of a thing at a gateway, as a client that nobody limits.
fn seen(gateway: &Instance, thing: usize) -> (u64, bool) {
    let client = format!("198.51.100.{}", fastrand::u8(..));
    let mut connection = Connection::to(gateway.address()).with_header("x-forwarded-for", &client);
    let answer = connection.get(&path(thing)).unwrap();
    version(&answer.json()).unwrap_or_else(|| panic!("{}", answer.text()))
}

/// Makes changes at one gateway in turn; the longest time until any was in force at all.
fn changes(trio: &Trio, round: usize) -> [(&'static str, Duration); 4] {
    let (at, thing) = (round % 3, round % THINGS);
    trio.each(|gateway| seen(gateway, thing));
    let newest = trio.upstream.renew(thing);
    trio.with(at, |gateway| gateway.invalidate(&tag(thing)));
    let all = |so: &dyn Fn(&Instance) -> bool| trio.each(so).into_iter().all(|so| so);
    let invalidated =
        until("it is invalid everywhere", || all(&|gateway| seen(gateway, thing).0 == newest));

    let address = format!("203.0.113.{round}");
    let deny = json!({"identifier": address, "reason": "test"}).to_string();
    trio.with(at, |gateway| gateway.admin("POST", "/admin/rate-limit/blacklist", &deny));
    let denied =
        until("it is denied everywhere", || all(&|gateway| status(gateway, &address, "") == 403));

    // Who shows a key that is known has its limit, of which each has a third while Redis is away.
    let form = json!({"label": "test", "per_minute": 9}).to_string();
    let made = trio.with(at, |gateway| gateway.admin("POST", "/admin/keys", &form));
    let secret = made["secret"].as_str().unwrap();
    let limit = |gateway: &Instance| {
        let mut shown = Connection::to(gateway.address()).with_header("x-internal-key", secret);
        let answer = shown.get(&path(thing)).unwrap();
        answer.header("x-ratelimit-limit").and_then(|limit| limit.parse::<usize>().ok())
    };
    let known = until("the key is known everywhere", || {
        all(&|gateway| limit(gateway).is_some_and(|limit| limit <= 9))
    });

    let moved = |action: &str, state: &str| {
        let path = format!("/admin/breakers/upstream/{action}");
        trio.with(at, |gateway| gateway.admin("POST", &path, ""));
        until("it is moved everywhere", || all(&|gateway| gateway.breaker() == state))
    };
    let forced = moved("open", "open").max(moved("reset", "closed"));
    [("invalidation", invalidated), ("deny list", denied), ("key", known), ("breaker", forced)]
}

fn changes_within(trio: &Trio, what: &str, bound: Duration) {
    let mut round = 0;
    one_of_a_few(what, |_| {
        round += 1;
        let took = changes(trio, round);
        eprintln!("three gateways, {what}: in force everywhere after {took:.0?}");
        took.iter().all(|(_, took)| *took < bound)
    });
}

fn cold_keys_cost_two_calls_at_most(trio: &Trio) {
    one_of_a_few("two calls at most", |number| {
        let mut calls = Vec::new();
        for thing in (0..10).map(|key| (10 * number + key + 1) * THINGS) {
            let before = trio.upstream.calls();
            thread::scope(|scope| {
                for number in 0..3 {
                    let address = trio.address(number).unwrap();
                    scope.spawn(move || assert_eq!(get(address, &path(thing)).status, 200));
                }
            });
            calls.push(trio.upstream.calls() - before);
        }
        eprintln!("cold keys at three gateways at once: {calls:?} calls");
        // One whose question to Redis came too late on a busy machine makes a call of its own.
        assert!(calls.iter().all(|calls| (1..=3).contains(calls)), "{calls:?}");
        calls.iter().all(|calls| *calls <= 2)
    });
}

fn a_storm_gets_the_limit(trio: &Trio) {
    let shares = |gateway: &Instance| gateway.metric("rate_limit_shared") == 1.0;
    until("all share", || trio.each(shares) == [true; 3]);
    one_of_a_few("exactly the limit", |number| {
        let callers = Callers {
            addresses: (0..3).filter_map(|number| trio.address(number)).collect(),
            path: path(1),
            client: format!("192.0.2.{}", 100 + number),
            count: 30,
            calls: 100,
        };
        let alone = || trio.each(|one| one.metric("rate_limit_local_decisions_total"));
        let (before, got) = (alone(), admitted(&callers.call(|| ())));
        eprintln!("3,000 calls at three gateways and a limit of {LIMIT}: {got} admitted");
        assert!(got <= WORST, "{got}");
        got == LIMIT && alone() == before
    });
}

fn agree(trio: &Trio) {
    changes_within(trio, "with Redis", SOON);
    cold_keys_cost_two_calls_at_most(trio);
    a_storm_gets_the_limit(trio);
}

#[test]
fn three_agree_over_nodes_of_a_cluster() {
    let trio = Trio::start(Shape::nodes(), &SETTINGS);
    agree(&trio);
    trio.redis.signal("STOP");
    changes_within(&trio, "without Redis", 2 * SOON);
    trio.redis.signal("CONT");
    trio.stop();
}

#[test]
fn three_agree_over_a_primary_under_sentinel() {
    let trio = Trio::start(Shape::guarded(), &SETTINGS);
    agree(&trio);
    trio.stop();
}

#[test]
fn one_that_was_cut_off_says_so_until_it_has_heard_everything() {
    let trio = Trio::start(Shape::single(), &[]);
    let Shape::Single(_, redis) = &trio.redis else { unreachable!() };
    for (thing, fault) in [Fault::Hang, Fault::Refuse].into_iter().enumerate() {
        until("all have it in memory", || {
            trio.each(|gateway| gateway.tier(&path(thing)) == "memory") == [true; 3]
        });
        until("it has missed nothing", || {
            trio.with(2, |gateway| seen(gateway, thing)) == (1, false)
        });
        [&trio.wires[2], redis].iter().for_each(|wire| wire.set(fault));
        let newest = trio.upstream.renew(thing);
        let told = trio.with(0, |gateway| gateway.invalidate(&tag(thing)));
        assert_eq!(told["unreached"], json!([]), "{told}");
        let told = clock::monotonic();
        until("it says so", || {
            let asked = clock::monotonic();
            let (version, says) = trio.with(2, |gateway| seen(gateway, thing));
            assert!(says || version == newest || asked < told + SOON + SOON / 50, "{fault:?}");
            says
        });
        let status = trio.with(2, |gateway| gateway.get("/api/status").json());
        let degraded: Vec<Value> = status["data"]["degraded"].as_array().unwrap().clone();
        assert!(degraded.contains(&json!("invalidations")), "{degraded:?}");
        // Until it has heard of it, it answers from memory, and says so each time.
        for _ in 0..50 {
            assert_eq!(trio.with(2, |gateway| seen(gateway, thing)), (1, true), "{fault:?}");
        }
        [&trio.wires[2], redis].iter().for_each(|wire| wire.set(Fault::None));
        let took = until("it has heard everything", || {
            let (version, says) = trio.with(2, |gateway| seen(gateway, thing));
            assert!(says || version == newest, "{fault:?}: an old answer, and not a word");
            !says
        });
        eprintln!("cut off ({fault:?}): it has heard everything {took:?} after it was connected");
    }
    trio.stop();
}
