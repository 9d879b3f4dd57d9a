//! What is asked for most is there before it is asked for: after a start, and when an admin says so.

use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::envelope::{data, metadata};
use crate::support::process::wait_until;
use crate::test_app::{TestApp, Upstream};

/// Longest until something that must happen has happened.
const WITHIN: Duration = Duration::from_secs(20);

fn search(number: usize) -> String {
    format!("/api/products/search?keywords=phone&max_sale_price={}", 900 + number)
}

/// Asks for so many pages, each several times.
fn make_popular(app: &TestApp, pages: usize) {
    for path in (0..pages).map(search) {
        (0..4).for_each(|_| drop(metadata(&app.get(&path))));
    }
}

/// An app whose searches are fresh for a second, with so many popular pages that are stale; the
/// upstream fails.
fn aged(pages: usize) -> TestApp {
    let app = TestApp::with(&[("CACHE_TTL_SEARCH", "1"), ("BREAKER_FAILURES", "1000")]);
    make_popular(&app, pages);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    for path in (0..pages).map(search) {
        wait_until("it is stale", WITHIN, || metadata(&app.get(&path))["stale"] == true);
    }
    app
}

fn warmed(app: &TestApp) -> f64 {
    app.metric("cache_warmed_total")
}

fn until_warmed(app: &TestApp, entries: f64) {
    wait_until("it is warm", WITHIN, || warmed(app) >= entries);
}

/// Whether a round has come to its end, which is told when it did anything.
fn has_ended(app: &TestApp) -> bool {
    app.log().contains("cache warmed")
}

fn warm(app: &TestApp) -> Value {
    data(&app.admin().post("/admin/cache/warm").unwrap())
}

#[test]
fn what_was_asked_for_often_is_in_memory_after_a_start() {
    let app = TestApp::start();
    make_popular(&app, 3);
    data(&app.get(&search(3)));
    let calls = app.upstream.calls();
    let app = app.restart();
    until_warmed(&app, 3.0);
    for path in (0..3).map(search) {
        let answer = app.get(&path);
        assert_eq!(metadata(&answer)["cache_tier"], "memory", "{path}");
    }
    assert_eq!(metadata(&app.get(&search(3)))["cache_tier"], "database", "asked for once only");
    assert_eq!((app.upstream.calls(), has_ended(&app)), (calls, true));
}

#[test]
fn what_is_stale_is_loaded_also_from_an_upstream_that_is_slow() {
    const PAGES: usize = 4;
    let app = aged(PAGES);
    // Slower than the soft time-out, at which a client gets what is stale.
    let mut calls = 0;
    let app = app.restart_with(|upstream| {
        upstream.fails_with(&json!({"fault": "delay", "ms": 350}));
        calls = upstream.calls();
    });
    // Each is lifted and loaded.
    until_warmed(&app, 8.0);
    wait_until("the round ends", WITHIN, || has_ended(&app));
    assert_eq!(app.upstream.calls(), calls + 4);
    let last = app.log();
    assert!(last.contains("\"loaded\":4") && last.contains("\"left\":0"), "{last}");
}

#[test]
fn a_round_keeps_its_pace() {
    let app = aged(4);
    let (mut calls, began) = (0, monotonic());
    // Not before: a renewal under way would succeed, and spare the round a load.
    let app = app.restart_with(|upstream| {
        upstream.recovers();
        calls = upstream.calls();
    });
    wait_until("all is loaded", WITHIN, || app.upstream.calls() == calls + 4);
    assert!(began.elapsed() >= Duration::from_millis(3_950), "{:?}", began.elapsed());
}

#[test]
fn while_the_upstream_fails_a_round_lets_it_be() {
    let app = aged(8);
    let calls = app.upstream.calls();
    let app = app.restart();
    wait_until("the round ends", WITHIN, || has_ended(&app));
    let made = app.upstream.calls() - calls;
    assert!(made <= 2, "{made} calls to an upstream that fails");
    assert!((warmed(&app) - 8.0).abs() < 0.1, "lifted all the same");
    let answer = metadata(&app.get(&search(0)));
    assert_eq!((&answer["cache_tier"], &answer["stale"]), (&json!("memory"), &json!(true)));
}

#[test]
fn no_keys_to_warm_is_nothing_to_do() {
    let app = TestApp::with(&[("CACHE_WARM_KEYS", "0")]);
    make_popular(&app, 2);
    let app = app.restart();
    wait_until("no round is under way", WITHIN, || {
        let told = warm(&app);
        assert_eq!((&told["considered"], &told["lifted"]), (&json!(0), &json!(0)), "{told}");
        told["begun"] == true
    });
    assert_eq!(metadata(&app.get(&search(0)))["cache_tier"], "database");
    assert!(warmed(&app) < 0.1);
}

#[test]
fn an_admin_begins_a_round_and_only_one_at_a_time() {
    let app = aged(3);
    let app = app.restart_with(Upstream::recovers);
    until_warmed(&app, 3.0);
    // The round of the start has three seconds to go.
    assert_eq!(warm(&app)["begun"], false);
    let mut told = Value::Null;
    wait_until("a round may begin", WITHIN, || {
        told = warm(&app);
        told["begun"] == true
    });
    assert_eq!((&told["considered"], &told["lifted"]), (&json!(3), &json!(0)), "{told}");
    // What was loaded first is stale again.
    assert!((0..=3).contains(&told["left"].as_u64().unwrap()), "{told}");
    let refused = app.connection().post("/admin/cache/warm").unwrap();
    crate::envelope::refused(&refused, 403, "forbidden");
}
