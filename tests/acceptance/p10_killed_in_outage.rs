//! P10: kill -9 while the upstream is down and Redis is empty, with 1,000 warm keys.
//!
//! Holds when the next process answers within a second of being started, 99.9 % of the warm keys
//! are answered from SQL in its first minute, and it knows what the dead one knew: the state of the
//! breaker and what was spent of the daily budget.

use std::collections::BTreeMap;
use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::json;

use crate::figures::{Table, millis, samples};
use crate::fixture::{Fixture, page};
use crate::stored::{FILE, rows};
use crate::support::gateway::Running;
use crate::support::http::Connection;
use crate::support::process::wait_until;
use crate::support::redis::{Redis, free_address};
use crate::survey::{ask_all, assert_all_good, by_tier};

const WARM_KEYS: u32 = 1_000;
const BUDGET: &str = "5000";
/// A process that is started answers within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// Of 1,000 warm keys so many may be lost.
const LOST_AT_MOST: usize = 1;
/// How long what is to survive may take to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn p10_killed_in_outage() {
    let fixture = Fixture::set();
    let redis = Redis::start();
    let plan = fixture
        .plan()
        .with("API_PORT", free_address().port().to_string())
        .with("REDIS_URL", redis.url())
        .with("UPSTREAM_DAILY_BUDGET", BUDGET)
        .with("RETRY_MAX_ATTEMPTS", "1");
    let gateway = plan.start();
    let address = gateway.address;
    let paths: Vec<String> = (0..WARM_KEYS).map(|number| page(10, number)).collect();
    assert_all_good("warming", &ask_all(address, &paths));
    let file = fixture.folder().join(FILE);
    wait_until("every row is stored", Duration::from_secs(10), || {
        rows(&file) == Some(i64::from(WARM_KEYS))
    });

    fixture.upstream(&json!({"fault": "status", "status": 503}));
    redis.command(&[b"FLUSHALL"]);
    break_upstream(&gateway);
    let before = (breakers(&gateway), budget(&gateway));
    // What cannot change any more has time to be written.
    std::thread::sleep(WRITTEN_WITHIN);
    gateway.process.kill();

    let started = monotonic();
    let process = plan.spawn();
    let first = wait_until("the first answer", Duration::from_secs(10), || {
        Connection::to(address).get(&paths[0]).is_ok_and(|answer| answer.status == 200)
    });
    let gateway = Running { process, address };
    let after = (breakers(&gateway), budget(&gateway));
    let replies = ask_all(address, &paths);
    let took = monotonic() - started;
    let of = by_tier(&replies);
    // Redis is empty and the upstream down: what is answered, also by memory, came from SQL.
    let kept = replies.iter().filter(|reply| reply.is_good()).count();
    gateway.stop();
    redis.stop();
    fixture.end();

    let mut table = Table::new(
        format!("P10: kill -9 in an outage, {WARM_KEYS} warm keys; times in ms"),
        &["first answer after", "kept", "by tier", "all asked after", "breaker", "budget"],
    );
    table.row([
        millis(first - started),
        format!("{kept} of {WARM_KEYS}"),
        format!("{of:?}"),
        millis(took),
        format!("{} then {}", state_of(&before.0), state_of(&after.0)),
        format!("{} then {}", before.1, after.1),
    ]);
    table.print();
    assert!(first - started <= ANSWERS_WITHIN, "answers after {:?}", first - started);
    assert!(kept + LOST_AT_MOST >= paths.len(), "{kept} of {} kept: {of:?}", paths.len());
    assert!(took <= Duration::from_secs(60), "asking took {took:?}");
    assert_eq!(state_of(&before.0), "open", "the outage was noticed before");
    assert_eq!(state_of(&after.0), state_of(&before.0), "breaker after, breaker before");
    assert_eq!(after.1, before.1, "budget after, budget before");
}

/// Asks for what nobody has until the breaker is open.
fn break_upstream(gateway: &Running) {
    let mut connection = gateway.connection();
    let mut number = 0;
    wait_until("the breaker opens", Duration::from_secs(15), || {
        number += 1;
        let answer = connection.get(&page(11, number)).expect("an answer");
        assert!((500..600).contains(&answer.status), "{}", answer.text());
        state_of(&breakers(gateway)) == "open"
    });
}

/// The state of every breaker by its name.
fn breakers(gateway: &Running) -> BTreeMap<String, String> {
    let answer = gateway.admin().get("/admin/breakers").expect("the admin is answered").json();
    let all = answer["data"].as_array().expect("breakers").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("a word").to_owned();
    all.map(|breaker| (text(&breaker["name"]), text(&breaker["state"]))).collect()
}

fn state_of(breakers: &BTreeMap<String, String>) -> &str {
    breakers.get("upstream").map_or("unknown", String::as_str)
}

/// Calls left of the day.
fn budget(gateway: &Running) -> String {
    let text = gateway.connection().get("/metrics").expect("metrics answer").text();
    let left = samples(&text, "upstream_budget_remaining");
    left.first().map_or_else(|| "unknown".to_owned(), |(_, calls)| format!("{calls:.0}"))
}
