//! Past the fresh time: served stale while the upstream is down, refreshed when it is back.

use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::stand::Stand;
use crate::support::process::wait_until;

const SEARCH: &str = "/api/products/search?keywords=usb";
/// Fresh times are a second here.
const SOON: Duration = Duration::from_secs(10);

/// Asks until the answer's metadata are as `wanted`.
fn ask_until(stand: &Stand, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_until(what, SOON, || {
        last = metadata(&stand.get(SEARCH));
        wanted(&last)
    });
    last
}

#[test]
fn an_outage_is_answered_stale_and_marked_and_healed() {
    let stand = Stand::with(&[("CACHE_TTL_SEARCH", "1"), ("BREAKER_FAILURES", "1000")]);
    let fresh = data(&stand.get(SEARCH));
    stand.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let stale = ask_until(&stand, "a stale answer", |metadata| metadata["stale"] == true);
    assert_eq!((&stale["degraded"], &stale["cache_tier"]), (&json!(["stale"]), &json!("memory")));
    let answer = stand.get(SEARCH);
    assert_eq!(data(&answer), fresh, "the same data as before");
    assert!(answer.header("cache-status").is_some_and(|status| status.contains("ttl=-")));
    assert!(answer.header("age").is_some());
    // Stale answers do not turn into calls: refreshes are held back.
    let (calls, began) = (stand.upstream.calls(), monotonic());
    for _ in 0..50 {
        assert_eq!(metadata(&stand.get(SEARCH))["stale"], true);
    }
    let most = began.elapsed().as_secs() / 2 + 1;
    let refreshes = stand.upstream.calls() - calls;
    assert!(refreshes <= most, "{refreshes} refreshes, at most {most}");
    stand.upstream.recovers();
    let healed = ask_until(&stand, "a fresh answer", |metadata| metadata["stale"] == false);
    assert_eq!(healed["degraded"], json!([]));
}

#[test]
fn beyond_the_stale_time_there_is_an_error_and_no_old_answer() {
    let stand = Stand::with(&[
        ("CACHE_TTL_SEARCH", "1"),
        ("CACHE_STALE_SECONDS", "0"),
        ("BREAKER_FAILURES", "1000"),
    ]);
    data(&stand.get(SEARCH));
    stand.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    wait_until("the entry is dead", SOON, || stand.get(SEARCH).status != 200);
    refused(&stand.get(SEARCH), 503, "upstream_unavailable");
}

#[test]
fn a_stale_entry_of_the_database_serves_after_a_restart() {
    let stand = Stand::with(&[
        ("CACHE_TTL_SEARCH", "1"),
        ("BREAKER_FAILURES", "1000"),
        // Warming would lift it into memory before anybody asks.
        ("CACHE_WARM_KEYS", "0"),
    ]);
    data(&stand.get(SEARCH));
    stand.upstream.fails_with(&json!({"fault": "reset"}));
    ask_until(&stand, "a stale answer", |metadata| metadata["stale"] == true);
    let stand = stand.restart();
    let answer = metadata(&stand.get(SEARCH));
    assert_eq!((&answer["cache_tier"], &answer["stale"]), (&json!("database"), &json!(true)));
}

#[test]
fn nothing_found_is_not_kept_for_long() {
    let stand = Stand::with(&[("CACHE_NEGATIVE_TTL", "1")]);
    let path = "/api/products/search?keywords=qqzzxxyy";
    data(&stand.get(path));
    wait_until("asked again", SOON, || {
        data(&stand.get(path));
        stand.upstream.calls() >= 2
    });
    // An absence is never served stale: an outage shows.
    stand.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    wait_until("an error", SOON, || stand.get(path).status == 503);
}
