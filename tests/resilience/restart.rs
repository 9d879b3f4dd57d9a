//! What a gateway knows over its restart, and what it does about damage it finds then.

use std::path::PathBuf;
use std::time::Duration;

use breakwater::clock;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::SqliteConnection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pair::{Instance, Upstream, search, until};
use crate::redis_rig::keys_of_entries;
use crate::support::redis::Redis;

/// Nothing is loaded or lifted but what a test asks for.
const COLD: (&str, &str) = ("CACHE_WARM_KEYS", "0");

fn fails(upstream: &Upstream) {
    upstream.faults(&json!([{"fault": "status", "status": 503}]));
}

fn recovers(upstream: &Upstream) {
    upstream.faults(&json!([]));
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("gateway.db")
}

/// A connection beside those of the gateway.
fn connect(folder: &TempDir) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(&file(folder).to_string_lossy()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    connection
}

/// The next gateway, which finds the database locked until the connection is dropped.
fn restarted_with_a_locked_database(gateway: Instance) -> (Instance, SqliteConnection) {
    let mut lock = None;
    let gateway = gateway.restarted(|folder| {
        let mut connection = connect(folder);
        let exclusive = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;";
        connection.batch_execute(exclusive).unwrap();
        lock = Some(connection);
    });
    (gateway, lock.expect("a lock"))
}

fn rows(folder: &TempDir) -> i64 {
    let count = diesel::dsl::sql::<BigInt>("SELECT count(*) FROM cache_entries");
    count.get_result(&mut connect(folder)).unwrap()
}

/// What is kept of the upstream's guards.
fn kept(folder: &TempDir) -> String {
    let value = "SELECT CAST(value AS TEXT) FROM kept_state WHERE name = 'upstream'";
    diesel::dsl::sql::<Text>(value).get_result(&mut connect(folder)).unwrap_or_default()
}

/// The tag of a product in the answer.
fn tag_in(instance: &Instance, path: &str) -> String {
    let answer = instance.get(path).json();
    format!("product:{}", answer["data"]["products"][0]["product_id"].as_str().unwrap())
}

#[test]
fn rules_by_tag_survive_without_redis() {
    let upstream = Upstream::start();
    let mut gateway = Instance::start(&upstream, None, &[COLD]);
    let path = search(1);
    for (mode, status) in [("hard", 503), ("soft", 200)] {
        recovers(&upstream);
        until("it is loaded", || gateway.get(&path).status == 200);
        let tag = tag_in(&gateway, &path);
        let answer = gateway.invalidate(&json!({"tag": tag, "mode": mode}));
        assert_eq!(answer["unreached"], json!([]), "{answer}");
        fails(&upstream);
        gateway = gateway.restarted(|folder| assert_eq!(rows(folder), 1, "a tag drops nothing"));
        let answer = gateway.get(&path);
        assert_eq!(answer.status, status, "{mode}: {}", answer.text());
    }
    let kept = gateway.ask(&path);
    assert_eq!(kept["stale"], true, "{kept}");
    recovers(&upstream);
    let gateway = gateway.restarted(|_| {});
    let renewed = gateway.ask(&path);
    assert_eq!((&renewed["cache_tier"], &renewed["stale"]), (&json!("none"), &json!(false)));
    gateway.stop();
    upstream.stop();
}

#[test]
fn a_database_that_is_locked_at_the_start_forgets_no_rule() {
    let upstream = Upstream::start();
    let gateway = Instance::start(&upstream, None, &[COLD]);
    let (hit, other) = (search(1), "/api/categories");
    let tag = tag_in(&gateway, &hit);
    gateway.ask(other);
    gateway.invalidate(&json!({"tag": tag}));
    let (gateway, lock) = restarted_with_a_locked_database(gateway);
    fails(&upstream);
    assert_eq!(gateway.get(&hit).status, 503, "there is no database");
    drop(lock);
    // What is valid shows that the database is there again.
    until("the database answers", || gateway.get(other).status == 200);
    assert_eq!(gateway.tier(other), "memory");
    assert_eq!(gateway.get(&hit).status, 503, "still invalid");
    gateway.stop();
    upstream.stop();
}

#[test]
fn breaker_and_budget_are_as_before() {
    let upstream = Upstream::start();
    let settings = [
        COLD,
        ("UPSTREAM_DAILY_BUDGET", "50"),
        ("BREAKER_FAILURES", "3"),
        ("BREAKER_OPEN_SECONDS", "600"),
    ];
    let gateway = Instance::start(&upstream, None, &settings);
    (0..5).for_each(|number| drop(gateway.ask(&search(number))));
    fails(&upstream);
    let mut number = 100;
    until("the breaker opens", || {
        number += 1;
        gateway.get(&search(number));
        gateway.breaker() == "open"
    });
    let left = gateway.metric("upstream_budget_remaining");
    assert!(left < 43.0, "{left}");
    recovers(&upstream);
    let calls = upstream.calls();
    let check = |gateway: &Instance| {
        assert_eq!(gateway.breaker(), "open");
        assert!((gateway.metric("upstream_budget_remaining") - left).abs() < 0.1);
        let refused = gateway.get(&search(200));
        assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("circuit_open")));
        assert_eq!(gateway.tier(&search(0)), "database");
        assert_eq!(upstream.calls(), calls);
    };
    let gateway = gateway.restarted(|_| {});
    check(&gateway);
    // What was restored is kept again, also by one that is killed.
    let gateway = gateway.crashed();
    check(&gateway);
    gateway.stop();
    upstream.stop();
}

#[test]
fn a_database_that_is_locked_at_the_start_forgets_neither_breaker_nor_budget() {
    let upstream = Upstream::start();
    let settings = [
        COLD,
        ("UPSTREAM_DAILY_BUDGET", "50"),
        ("BREAKER_FAILURES", "3"),
        ("BREAKER_OPEN_SECONDS", "600"),
    ];
    let gateway = Instance::start(&upstream, None, &settings);
    fails(&upstream);
    let mut number = 100;
    until("the breaker opens", || {
        number += 1;
        gateway.get(&search(number));
        gateway.breaker() == "open"
    });
    let left = gateway.metric("upstream_budget_remaining");
    let calls = upstream.calls();
    let (gateway, lock) = restarted_with_a_locked_database(gateway);
    assert_eq!((gateway.breaker(), gateway.get(&search(200)).status), ("closed".into(), 503));
    // Every second what changed is kept; this is not to be, not before what was kept is known.
    let asked = clock::monotonic();
    until("it would be kept", || asked.elapsed() > Duration::from_millis(1_500));
    drop(lock);
    until("the breaker is as before", || gateway.breaker() == "open");
    let meanwhile = upstream.calls() - calls;
    assert!(meanwhile > 0, "nothing was known of the breaker");
    let left = left - f64::from(u32::try_from(meanwhile).unwrap());
    let remaining = |gateway: &Instance| gateway.metric("upstream_budget_remaining");
    assert!((remaining(&gateway) - left).abs() < 0.1, "{} of {left}", remaining(&gateway));
    until("it is kept", || kept(&gateway.folder).contains(&format!("\"budget_remaining\":{left}")));
    let gateway = gateway.crashed();
    assert!((remaining(&gateway) - left).abs() < 0.1, "{} of {left}", remaining(&gateway));
    assert_eq!(gateway.breaker(), "open");
    gateway.stop();
    upstream.stop();
}

#[test]
fn a_ban_outlasts_the_process_it_was_told_to() {
    let upstream = Upstream::start();
    let gateway = Instance::start(&upstream, None, &[COLD]);
    upstream.faults(&json!([{"fault": "throttle", "seconds": 60}]));
    assert_eq!(gateway.get(&search(1)).status, 503);
    recovers(&upstream);
    let calls = upstream.calls();
    let gateway = gateway.restarted(|_| {});
    let refused: Value = gateway.get(&search(2)).json();
    let wait = refused["retry_after"].as_u64().unwrap_or(0);
    assert!((30..=61).contains(&wait), "{refused}");
    assert_eq!(upstream.calls(), calls);
    gateway.stop();
    upstream.stop();
}

#[test]
fn a_spoilt_row_is_dropped_counted_and_loaded_anew() {
    let upstream = Upstream::start();
    let mut gateway = Instance::start(&upstream, None, &[COLD]);
    let path = search(1);
    gateway.ask(&path);
    let series = "cache_corrupt_entries_total{tier=\"database\"}";
    for spoilt in [
        "x''",
        "zeroblob(5000)",
        "'text'",
        "42",
        "substr(entry, 1, length(entry) - 1)",
        "CAST(entry || x'00' AS BLOB)",
        "CAST(x'01' || substr(entry, 2) AS BLOB)",
    ] {
        fails(&upstream);
        gateway = gateway.restarted(|folder| {
            let update = format!("UPDATE cache_entries SET entry = {spoilt}");
            connect(folder).batch_execute(&update).unwrap();
        });
        assert_eq!(gateway.get(&path).status, 503, "{spoilt}: not answered with");
        assert!((gateway.metric(series) - 1.0).abs() < 0.1, "{spoilt}: counted");
        until("it is dropped", || rows(&gateway.folder) == 0);
        recovers(&upstream);
        until("it is loaded", || gateway.get(&path).status == 200);
        until("it is stored", || rows(&gateway.folder) == 1);
    }
    gateway.stop();
    upstream.stop();
}

#[test]
fn a_spoilt_value_in_redis_is_dropped_counted_and_taken_from_sql() {
    let (upstream, redis) = (Upstream::start(), Redis::start());
    let gateway = Instance::start(&upstream, Some(&redis), &[COLD]);
    let path = search(1);
    gateway.ask(&path);
    until("it is stored", || keys_of_entries(&redis).len() == 1);
    let calls = upstream.calls();
    let key = keys_of_entries(&redis).remove(0);
    let gateway = gateway.restarted(|_| {
        redis.command(&[b"SETRANGE", key.as_bytes(), b"100", b"spoilt"]);
    });
    assert_eq!(gateway.tier(&path), "database");
    assert_eq!(upstream.calls(), calls);
    let late = gateway.metric("cache_errors_total") > 0.0;
    let counted = gateway.metric("cache_corrupt_entries_total{tier=\"redis\"}");
    assert!(late || (counted - 1.0).abs() < 0.1, "{counted}");
    // What SQL had goes up to Redis in its place.
    let spoilt = || {
        redis
            .command(&[b"GETRANGE", key.as_bytes(), b"100", b"105"])
            .windows(6)
            .any(|bytes| bytes == b"spoilt")
    };
    let asked = clock::monotonic();
    while !late && spoilt() {
        assert!(asked.elapsed() < Duration::from_secs(5), "still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    gateway.stop();
    redis.stop();
    upstream.stop();
}
