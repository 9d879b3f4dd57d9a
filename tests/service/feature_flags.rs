//! Feature flags on the way of a request: off, on, and for a share of clients.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::envelope::{data, metadata};
use crate::support::http::Answer;
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";
const KEY: &str = "a-key-for-tests";
const CLIENTS: usize = 200;

/// One question, to be asked as often as wanted.
type Operation = Box<dyn Fn(&TestApp) -> Answer>;

/// Every operation that goes through the cache, on a product and a category that exist.
fn operations(app: &TestApp) -> Vec<Operation> {
    let found = data(&app.post("/api/products/search/no-cache", &json!({"keywords": "usb"})));
    let product = found["products"][0].clone();
    let id = product["product_id"].as_str().unwrap().to_owned();
    let url = format!("https://www.aliexpress.com/item/{id}.html");
    let category = product["category_id"].as_str().unwrap().to_owned();
    let bulk = json!({"product_ids": [id]});
    let links = json!({"urls": [url]});
    let get = |path: String| -> Operation { Box::new(move |app| app.get(&path)) };
    vec![
        get(SEARCH.to_owned()),
        get("/api/products/hot?keywords=usb".to_owned()),
        get("/api/products/smart-search?keywords=usb".to_owned()),
        get("/api/products/smart-search?keywords=usb&force_refresh=true".to_owned()),
        get(format!("/api/products/details/{id}")),
        Box::new(move |app| app.post("/api/products/details", &bulk)),
        get("/api/categories".to_owned()),
        get(format!("/api/categories/{category}/children")),
        get(format!("/api/affiliate/link?url={url}")),
        Box::new(move |app| app.post("/api/affiliate/links", &links)),
        get(format!("/api/smart-match?product_url={url}")),
    ]
}

fn entries(app: &TestApp) -> Value {
    data(&app.get("/api/cache/stats"))["cache_config"]["memory_cache_size"].clone()
}

#[test]
fn without_caching_no_operation_reads_or_fills_a_tier() {
    let app = TestApp::with(&[("ENABLE_ENHANCED_CACHING", "off")]);
    for (place, ask) in operations(&app).iter().enumerate() {
        for _ in 0..2 {
            let before = app.upstream.calls();
            let answer = ask(&app);
            let said = metadata(&answer);
            assert!(app.upstream.calls() > before, "operation {place} was not asked for live");
            assert_eq!((&said["cache_enabled"], &said["degraded"]), (&json!(false), &json!([])));
            assert_eq!(answer.header("cache-status"), Some("breakwater; fwd=bypass"), "{place}");
            assert_eq!(entries(&app), 0, "operation {place} was stored");
        }
    }
    let stats = data(&app.get("/api/cache/stats"));
    assert_eq!(stats["cache_stats"]["total_requests"], 0, "{stats}");
}

#[test]
fn with_caching_every_operation_is_kept() {
    let app = TestApp::start();
    for (place, ask) in operations(&app).iter().enumerate() {
        ask(&app);
        let before = app.upstream.calls();
        let again = metadata(&ask(&app));
        let reloads = place == 3;
        assert_eq!(app.upstream.calls() > before, reloads, "operation {place}");
        assert_eq!(again["cache_enabled"], true, "operation {place}");
    }
}

#[test]
fn an_absent_product_is_not_found_without_caching_too() {
    let app = TestApp::with(&[("ENABLE_ENHANCED_CACHING", "0")]);
    for calls in 1..=2 {
        assert_eq!(app.get("/api/products/details/999999999999999999").status, 404);
        assert_eq!(app.upstream.calls(), calls);
    }
}

#[test]
fn without_retries_a_request_is_exactly_one_call() {
    for (share, calls) in [("off", 1), ("0", 1), ("on", 3), ("100%", 3)] {
        let app = TestApp::with(&[
            ("ENABLE_RETRY_LOGIC", share),
            ("RETRY_MAX_ATTEMPTS", "3"),
            ("RETRY_BASE_DELAY_MS", "1"),
            ("BREAKER_FAILURES", "1000"),
        ]);
        app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
        assert_eq!(app.get(SEARCH).status, 503);
        assert_eq!(app.upstream.calls(), calls, "{share}");
    }
}

#[test]
fn without_validation_the_answer_says_so() {
    for (share, degraded) in [("off", json!(["validation"])), ("100", json!([]))] {
        let app = TestApp::with(&[("ENABLE_DATA_VALIDATION", share)]);
        for _ in 0..2 {
            assert_eq!(metadata(&app.get(SEARCH))["degraded"], degraded, "{share}");
        }
        let live = app.post("/api/products/search/no-cache", &json!({"keywords": "usb"}));
        assert_eq!(metadata(&live)["degraded"], degraded, "{share}");
    }
}

/// Which of many clients behind a trusted proxy have the cache.
fn cached_clients(app: &TestApp) -> BTreeSet<usize> {
    let has_it = |client: &usize| {
        let address = format!("203.0.113.{client}");
        let mut connection = app.connection().with_header("x-forwarded-for", &address);
        metadata(&connection.get(SEARCH).unwrap())["cache_enabled"] == true
    };
    (0..CLIENTS).filter(has_it).collect()
}

fn rolled_out(percent: &str) -> TestApp {
    TestApp::with(&[
        ("ENABLE_ENHANCED_CACHING", percent),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
        ("INTERNAL_API_KEY", KEY),
    ])
}

#[test]
fn nought_and_a_hundred_percent_are_nobody_and_everybody() {
    assert_eq!(cached_clients(&rolled_out("0")).len(), 0);
    assert_eq!(cached_clients(&rolled_out("100")).len(), CLIENTS);
}

#[test]
fn a_percentage_is_a_share_of_clients_and_stays_the_same_ones() {
    let app = rolled_out("50");
    let first = cached_clients(&app);
    // Five standard deviations around half of them.
    assert!((65..=135).contains(&first.len()), "{}", first.len());
    assert_eq!(cached_clients(&app), first, "the same at the next request");
    let app = app.restart();
    assert_eq!(cached_clients(&app), first, "the same after a restart");
}

#[test]
fn a_key_is_one_client_wherever_it_comes_from() {
    let app = rolled_out("50");
    let said: BTreeSet<String> = (0..20)
        .map(|client| {
            let address = format!("203.0.113.{client}");
            let connection = app.connection().with_header("x-forwarded-for", &address);
            let answer = connection.with_header("x-internal-key", KEY).get(SEARCH).unwrap();
            metadata(&answer)["cache_enabled"].to_string()
        })
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
}
