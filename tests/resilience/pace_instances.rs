//! Two gateways, one Redis, one account of an upstream: one budget, one pace, one ban.
//!
//! A busy machine may make a question to Redis too late; then a share decides. What is exact without
//! that is tried a few times.

use std::time::Duration;

use serde_json::json;

use crate::pair::{Instance, Pair, get, one_of_a_few, search, until};

const SETTINGS: [(&str, &str); 4] = [
    ("RATE_LIMIT_INSTANCES", "2"),
    ("UPSTREAM_CLIENT_SHARE_PERCENT", "100"),
    ("UPSTREAM_KEY_RESERVE_PERCENT", "0"),
    ("CACHE_WARM_KEYS", "0"),
];

fn pair(more: &[(&'static str, &str)]) -> Pair {
    let settings: Vec<_> = SETTINGS.iter().copied().chain(more.iter().copied()).collect();
    Pair::start(&settings)
}

fn left(instance: &Instance) -> u64 {
    let status = instance.get("/api/status").json();
    status["data"]["upstream_budget_remaining"].as_u64().expect("a budget")
}

#[test]
fn two_instances_spend_one_budget() {
    one_of_a_few("exactly the budget", |_| {
        let pair = pair(&[("UPSTREAM_DAILY_BUDGET", "20")]);
        let calls = pair.calls_of(|| {
            for number in 0..15 {
                pair.a.get(&search(2 * number));
                pair.b.get(&search(2 * number + 1));
            }
        });
        let left = [&pair.a, &pair.b].map(left);
        pair.stop();
        assert!(calls <= 20 + 10, "{calls}");
        (calls, left) == (20, [0, 0])
    });
}

#[test]
fn while_redis_is_away_each_spends_its_share_and_tells_it_later() {
    let pair = pair(&[("UPSTREAM_DAILY_BUDGET", "20")]);
    pair.redis.process().signal("STOP");
    let calls = pair.calls_of(|| (0..20).for_each(|number| drop(pair.a.get(&search(number)))));
    assert_eq!(calls, 10, "half of the day");
    pair.redis.process().signal("CONT");
    let only = |answer: Vec<u8>| -> Option<String> {
        Some(String::from_utf8(answer).ok()?.split("\r\n").nth(2)?.to_owned())
    };
    let told = || -> Option<u64> {
        let keys = pair.redis.command(&[b"KEYS", b"breakwater:2:pace:*"]);
        let key = only(keys)?;
        let values = pair.redis.command(&[b"HMGET", key.as_bytes(), b"count"]);
        only(values)?.parse().ok()
    };
    // Questions that were on their way when Redis stopped are answered by it later, and count twice.
    until("A has told of its calls", || told().is_some_and(|count| count >= 10));
    let closed = "cache_circuit_breaker_state{cache_type=\"redis\"}";
    until("B finds Redis again", || pair.b.metric(closed) == 0.0);
    let more = pair.calls_of(|| (51..80).for_each(|number| drop(pair.b.get(&search(number)))));
    assert!(more <= 10, "{more}");
    pair.stop();
}

#[test]
fn a_ban_that_one_is_told_of_stops_the_other() {
    one_of_a_few("the other makes no call", |_| {
        let pair = pair(&[]);
        let throttle = json!([{"fault": "throttle", "seconds": 30}]);
        pair.upstream.faults(&throttle);
        assert_eq!(pair.a.get(&search(1)).status, 503);
        let calls = pair.calls_of(|| {
            let answer = pair.b.get(&search(2));
            assert_eq!(answer.status, 503);
        });
        pair.stop();
        calls == 0
    });
}

#[test]
fn two_instances_keep_one_pace() {
    let pair = pair(&[("UPSTREAM_RATE_PER_SECOND", "20"), ("UPSTREAM_BURST", "1")]);
    let asked = breakwater::clock::monotonic();
    std::thread::scope(|scope| {
        for (address, first) in [(pair.a.address(), 0), (pair.b.address(), 100)] {
            let answered = move |number| assert_eq!(get(address, &search(number)).status, 200);
            scope.spawn(move || (first..first + 20).for_each(answered));
        }
    });
    // Forty calls, twenty a second: whether a share or Redis decides, no sooner.
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    pair.stop();
}
