//! Why an answer was what it was: the last step and the sentence of each kind of request.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::gate::Gate;
use crate::support::http::{Answer, Connection};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";
const SOON: Duration = Duration::from_secs(10);

/// What is told of the last request with this id.
fn explained(app: &TestApp, id: &str) -> Value {
    let answer = app.admin().get(&format!("/admin/requests/{id}")).unwrap();
    data(&answer)["requests"][0].clone()
}

fn last(explained: &Value) -> (&str, &str) {
    let last = explained["steps"].as_array().and_then(|steps| steps.last());
    let last = last.unwrap_or_else(|| panic!("no step in {explained}"));
    (last["stage"].as_str().unwrap(), last["verdict"].as_str().unwrap())
}

fn has(explained: &Value, stage: &str, verdict: &str) -> bool {
    let steps = explained["steps"].as_array().unwrap();
    steps.iter().any(|step| step["stage"] == stage && step["verdict"] == verdict)
}

fn sentence(explained: &Value) -> &str {
    explained["sentence"].as_str().unwrap()
}

fn with_id(app: &TestApp, id: &str, path: &str) -> Answer {
    app.connection().with_header("x-request-id", id).get(path).unwrap()
}

#[test]
fn what_was_refused_is_explained_in_the_words_that_the_client_got() {
    let app = TestApp::start();
    for (id, path, words) in [
        ("none", "/api/products/details/1", "There is no such product"),
        ("form", "/api/products/search?page_size=999", "page_size"),
    ] {
        let told = with_id(&app, id, path).json()["error"].as_str().unwrap().to_owned();
        assert!(told.contains(words), "{told}");
        let detail =
            explained(&app, id)["steps"].as_array().unwrap().last().unwrap()["detail"].clone();
        assert!(detail.as_str().unwrap().contains(words), "{detail}");
    }
}

#[test]
fn a_loaded_answer_a_hit_and_a_retried_one() {
    let app = TestApp::with(&[
        ("HTTP_WORKERS", "1"),
        ("RETRY_MAX_ATTEMPTS", "3"),
        ("RETRY_BASE_DELAY_MS", "1"),
        ("BREAKER_FAILURES", "1000"),
        ("RATE_LIMIT_ENABLED", "true"),
    ]);
    with_id(&app, "first", SEARCH);
    let first = explained(&app, "first");
    assert_eq!(last(&first), ("store", "stored"), "{first}");
    assert!(has(&first, "limit", "passed") && has(&first, "memory", "miss"), "{first}");
    let times: Vec<_> =
        first["steps"].as_array().unwrap().iter().map(|step| step["at_us"].as_u64()).collect();
    assert!(times.is_sorted(), "{first}");
    with_id(&app, "hit", SEARCH);
    let hit = explained(&app, "hit");
    assert_eq!((last(&hit), hit["outcome"].as_str()), (("memory", "hit"), Some("hit")));
    assert!(sentence(&hit).starts_with("Answered from memory, fresh for "));
    // What stands in an id need not be fit for a path.
    with_id(&app, "a/b%?#c", "/api/products/search?page_no=0");
    let wrong = explained(&app, "a%2Fb%25%3F%23c");
    assert_eq!(
        (last(&wrong), wrong["request_id"].as_str()),
        (("connection", "refused"), Some("a/b%?#c"))
    );
    // One hit of many is kept.
    with_id(&app, "next", SEARCH);
    refused(&app.admin().get("/admin/requests/next").unwrap(), 404, "not_found");
    app.upstream.faults(&json!([{"method": "*", "fault": "status", "status": 503}]));
    refused(
        &with_id(&app, "retried", "/api/products/search?keywords=case"),
        503,
        "upstream_unavailable",
    );
    let retried = explained(&app, "retried");
    assert_eq!(last(&retried), ("attempt", "failed"), "{retried}");
    assert!(has(&retried, "attempt", "retried"), "{retried}");
    assert!(sentence(&retried).starts_with("Failed with 503, because the upstream failed"));
}

#[test]
fn a_stale_answer_says_that_the_breaker_is_open() {
    let app = TestApp::with(&[("CACHE_TTL_SEARCH", "1"), ("BREAKER_FAILURES", "1")]);
    data(&app.get(SEARCH));
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let id = ["stale-1", "stale-2"];
    wait_until("a stale answer because of the breaker", SOON, || {
        let stale = id.iter().all(|id| metadata(&with_id(&app, id, SEARCH))["stale"] == true);
        stale
            && sentence(&explained(&app, id[1])).contains("because the upstream's breaker is open")
    });
    let stale = explained(&app, id[1]);
    assert_eq!(last(&stale), ("memory", "stale"), "{stale}");
    assert!(sentence(&stale).starts_with("Answered from memory, "), "{stale}");
    let cold = with_id(&app, "cold", "/api/products/search?keywords=case");
    refused(&cold, 503, "circuit_open");
    let cold = explained(&app, "cold");
    assert_eq!(last(&cold), ("breaker", "refused"), "{cold}");
    assert_eq!(sentence(&cold), "Failed with 503, because the upstream's breaker is open.");
}

#[test]
fn limits_lists_and_budgets_name_themselves() {
    let app = TestApp::with(&[
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", "2"),
        ("RATE_LIMIT_SEARCH_BURST", "2"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("UPSTREAM_DAILY_BUDGET", "2"),
        ("UPSTREAM_CLIENT_SHARE_PERCENT", "100"),
        ("UPSTREAM_KEY_RESERVE_PERCENT", "0"),
        ("UPSTREAM_RATE_PER_SECOND", "1000"),
        ("UPSTREAM_BURST", "1000"),
    ]);
    let from = |address: &str, id: &str, word: &str| {
        let connection = app.connection().with_header("x-forwarded-for", address);
        connection.with_header("x-request-id", id).get(&format!("{SEARCH}{word}")).unwrap()
    };
    for word in ["a", "b"] {
        data(&from("192.0.2.1", "good", word));
    }
    refused(&from("192.0.2.1", "limited", "c"), 429, "rate_limited");
    let limited = explained(&app, "limited");
    assert_eq!(last(&limited), ("limit", "refused"), "{limited}");
    // Both came with the same id.
    let good = app.admin().get("/admin/requests/good").unwrap();
    assert_eq!(data(&good)["requests"].as_array().map(Vec::len), Some(2));
    // The upstream's day is over.
    assert!(from("192.0.2.2", "spent", "d").status >= 400);
    let spent = explained(&app, "spent");
    assert_eq!(last(&spent), ("pace", "refused"), "{spent}");
    let mut admin = app.admin().with_header("content-type", "application/json");
    let denied = br#"{"identifier": "192.0.2.3"}"#;
    data(&admin.send("POST", "/admin/rate-limit/blacklist", denied).unwrap());
    refused(&from("192.0.2.3", "blocked", "a"), 403, "blocked");
    let blocked = explained(&app, "blocked");
    assert_eq!(last(&blocked), ("access", "refused"), "{blocked}");
    assert_eq!(sentence(&blocked), "Refused with 403, because the client is on the deny list.");
    // The newest first, of one outcome.
    let listed = data(&app.admin().get("/admin/requests?outcome=refused").unwrap());
    assert_eq!(listed["requests"][0]["request_id"], "blocked");
    let none = data(&app.admin().get("/admin/requests?since=2999-01-01T00:00:00Z").unwrap());
    assert_eq!(none["requests"], json!([]));
    for (query, field) in
        [("outcome=good", "outcome"), ("since=soon", "since"), ("limit=0", "limit")]
    {
        let answer = app.admin().get(&format!("/admin/requests?{query}")).unwrap();
        let message = refused(&answer, 400, "invalid_request");
        assert!(message["error"].as_str().unwrap().contains(field), "{message}");
    }
}

#[test]
fn who_joined_a_load_is_told_whose_it_was() {
    let gate = Gate::closed();
    let app =
        TestApp::with(&[("ALIEXPRESS_GATEWAY_URL", &gate.url()), ("UPSTREAM_TIMEOUT_MS", "60000")]);
    let address = app.address();
    let ask = move |id: &'static str| {
        let asked =
            move || Connection::to(address).with_header("x-request-id", id).get(SEARCH).unwrap();
        thread::spawn(asked)
    };
    let first = ask("leader");
    wait_until("the leader's call waits", SOON, || app.metric("upstream_in_flight ") > 0.0);
    let second = ask("follower");
    wait_until("both wait", SOON, || app.metric("http_requests_in_flight") >= 3.0);
    // What asks a worker later is answered later.
    for _ in 0..8 {
        data(&app.admin().post("/api/cache/clear?pattern=nothing:*").unwrap());
    }
    gate.open(app.upstream.address);
    data(&first.join().unwrap());
    data(&second.join().unwrap());
    let follower = explained(&app, "follower");
    assert_eq!(last(&follower), ("flight", "joined"), "{follower}");
    let step = follower["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(step["detail"], "the load of request leader");
}

#[test]
fn after_a_restart_the_database_answers_and_an_unknown_id_says_how_long_ids_are_kept() {
    let app = TestApp::with(&[("CACHE_WARM_KEYS", "0")]);
    data(&app.get(SEARCH));
    let app = app.restart();
    data(&with_id(&app, "restarted", SEARCH));
    let stored = explained(&app, "restarted");
    assert_eq!(last(&stored), ("database", "hit"), "{stored}");
    assert!(sentence(&stored).starts_with("Answered from the database, fresh for "), "{stored}");
    let unknown = app.admin().get("/admin/requests/never-seen").unwrap();
    let message = refused(&unknown, 404, "not_found")["error"].as_str().unwrap().to_owned();
    assert!(message.contains("one in 64") && message.contains("refused since 20"), "{message}");
    assert_eq!(app.get("/admin/requests").status, 403, "only with the admin's key");
}
