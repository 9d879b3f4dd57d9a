//! Past the fresh time: served stale while the upstream is down, refreshed when it is back.

use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";
/// Fresh times are a second here.
const SOON: Duration = Duration::from_secs(10);

/// Asks until the answer's metadata are as `wanted`.
fn ask_until(app: &TestApp, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_until(what, SOON, || {
        last = metadata(&app.get(SEARCH));
        wanted(&last)
    });
    last
}

#[test]
fn an_outage_is_answered_stale_and_marked_and_healed() {
    let app = TestApp::with(&[("CACHE_TTL_SEARCH", "1"), ("BREAKER_FAILURES", "1000")]);
    let fresh = data(&app.get(SEARCH));
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let stale = ask_until(&app, "a stale answer", |metadata| metadata["stale"] == true);
    assert_eq!((&stale["degraded"], &stale["cache_tier"]), (&json!(["stale"]), &json!("memory")));
    let answer = app.get(SEARCH);
    assert_eq!(data(&answer), fresh, "the same data as before");
    assert!(answer.header("cache-status").is_some_and(|status| status.contains("ttl=-")));
    assert!(answer.header("age").is_some());
    // Stale answers do not turn into calls: refreshes are held back.
    let (calls, began) = (app.upstream.calls(), monotonic());
    for _ in 0..50 {
        assert_eq!(metadata(&app.get(SEARCH))["stale"], true);
    }
    let most = began.elapsed().as_secs() / 2 + 1;
    let refreshes = app.upstream.calls() - calls;
    assert!(refreshes <= most, "{refreshes} refreshes, at most {most}");
    app.upstream.recovers();
    let healed = ask_until(&app, "a fresh answer", |metadata| metadata["stale"] == false);
    assert_eq!(healed["degraded"], json!([]));
}

#[test]
fn beyond_the_stale_time_there_is_an_error_and_no_old_answer() {
    let app = TestApp::with(&[
        ("CACHE_TTL_SEARCH", "1"),
        ("CACHE_STALE_SECONDS", "0"),
        ("BREAKER_FAILURES", "1000"),
    ]);
    data(&app.get(SEARCH));
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    wait_until("the entry is dead", SOON, || app.get(SEARCH).status != 200);
    refused(&app.get(SEARCH), 503, "upstream_unavailable");
}

#[test]
fn a_stale_entry_of_the_database_serves_after_a_restart() {
    let app = TestApp::with(&[
        ("CACHE_TTL_SEARCH", "1"),
        ("BREAKER_FAILURES", "1000"),
        // Or it is in memory before anybody asks.
        ("CACHE_WARM_KEYS", "0"),
    ]);
    data(&app.get(SEARCH));
    app.upstream.fails_with(&json!({"fault": "reset"}));
    ask_until(&app, "a stale answer", |metadata| metadata["stale"] == true);
    let app = app.restart();
    let answer = metadata(&app.get(SEARCH));
    assert_eq!((&answer["cache_tier"], &answer["stale"]), (&json!("database"), &json!(true)));
}

#[test]
fn nothing_found_is_not_kept_for_long() {
    let app = TestApp::with(&[("CACHE_NEGATIVE_TTL", "1")]);
    let path = "/api/products/search?keywords=qqzzxxyy";
    data(&app.get(path));
    wait_until("asked again", SOON, || {
        data(&app.get(path));
        app.upstream.calls() >= 2
    });
    // An absence is never served stale: an outage shows.
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    wait_until("an error", SOON, || app.get(path).status == 503);
}
