//! Every refusal that is the upstream's doing, each provoked once, its body in a snapshot.

use serde_json::{Value, json};

use crate::envelope::{data, metadata, refusal, refused};
use crate::snapshot::assert_refusal;
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";

#[test]
fn upstream_rejected() {
    let app = TestApp::start();
    for code in ["InvalidAppKey", "IncompleteSignature", "InsufficientPermission"] {
        app.upstream.fails_with(&json!({"fault": "error", "code": code}));
        // What stands against the configuration would answer in the upstream's place.
        data(&app.admin().post("/admin/breakers/upstream/reset").unwrap());
        // Each another search: what failed a moment ago is not asked for again.
        let answer =
            app.get(&format!("{SEARCH}&sort=SALE_PRICE_ASC&min_sale_price={}", code.len()));
        assert_refusal!("upstream_rejected", answer);
        assert!(!answer.text().contains(code), "the cause is for the log only");
        assert!(app.log().contains(code));
    }
    // A web page in the place of the gateway: the address is wrong.
    app.upstream.fails_with(&json!({"fault": "html"}));
    data(&app.admin().post("/admin/breakers/upstream/reset").unwrap());
    refused(&app.get(SEARCH), 502, "upstream_rejected");
}

#[test]
fn upstream_unavailable_whatever_the_fault() {
    let app = TestApp::with(&[("BREAKER_FAILURES", "1000"), ("UPSTREAM_TIMEOUT_MS", "1000")]);
    let faults = [
        json!({"fault": "status", "status": 503}),
        json!({"fault": "status", "status": 500}),
        json!({"fault": "reset"}),
        json!({"fault": "garbage"}),
        json!({"fault": "html", "status": 502}),
        json!({"fault": "truncate"}),
        json!({"fault": "error", "code": "ServiceTimeout"}),
        json!({"fault": "hang"}),
        json!({"fault": "slow_body", "ms": 500}),
    ];
    // Each another search: what failed a moment ago is not asked for again.
    for (number, fault) in faults.iter().enumerate() {
        // An upstream that fails on and on is asked seldom, whoever wants what.
        app.upstream.recovers();
        data(&app.get(&format!("/api/products/search?keywords=lamp&page_no={}", number + 1)));
        app.upstream.fails_with(fault);
        let calls = app.upstream.calls();
        let answer = app.get(&format!("/api/products/search?keywords=usb&page_no={}", number + 2));
        assert!(app.upstream.calls() > calls, "{fault} was met");
        refused(&answer, 503, "upstream_unavailable");
        assert_refusal!("upstream_unavailable", answer);
    }
    // A failure is never kept as a result.
    app.upstream.recovers();
    assert!(!data(&app.get(SEARCH))["products"].as_array().unwrap().is_empty());
}

#[test]
fn a_wait_told_by_the_upstream_is_passed_on() {
    let app = TestApp::start();
    app.upstream.fails_with(&json!({"fault": "throttle", "seconds": 40}));
    let body = refused(&app.get(SEARCH), 503, "upstream_unavailable");
    assert!((39..=41).contains(&body["retry_after"].as_u64().unwrap()), "{body}");
    // Banned is banned: no other call is made before the time is over.
    let calls = app.upstream.calls();
    let body = refused(&app.get("/api/categories"), 503, "upstream_unavailable");
    assert!((30..=41).contains(&body["retry_after"].as_u64().unwrap()), "{body}");
    assert_eq!(app.upstream.calls(), calls);
}

#[test]
fn overloaded_when_the_pace_leaves_no_slot_in_time() {
    let app = TestApp::with(&[("UPSTREAM_RATE_PER_SECOND", "0.01"), ("UPSTREAM_BURST", "1")]);
    data(&app.get(SEARCH));
    let answer = app.get("/api/products/search?keywords=lamp");
    refused(&answer, 503, "overloaded");
    assert_refusal!("overloaded", answer);
    assert_eq!(metadata(&app.get(SEARCH))["cache_tier"], "memory");
    assert_eq!(app.upstream.calls(), 1);
}

fn sentence(body: &Value) -> &str {
    body["error"].as_str().unwrap()
}

#[test]
fn what_has_just_come_back_is_told_as_such() {
    let app = TestApp::with(&[("BREAKER_FAILURES", "2"), ("BREAKER_OPEN_SECONDS", "1")]);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let search = |number: u32| format!("/api/products/search?keywords=usb&max_sale_price={number}");
    (1..=3).for_each(|number| drop(refusal(&app.get(&search(number)))));
    app.upstream.recovers();
    // Until its second is over the breaker refuses, then probes pass, and then too many calls come.
    let answers = (10..100_000).map(|number| app.get(&search(number)));
    let mut all = answers
        .skip_while(|answer| answer.status == 503 && answer.json()["code"] == "circuit_open");
    let body = refusal(&all.find(|answer| answer.status == 503).unwrap());
    assert_eq!((&body["code"], &body["retry_after"]), (&json!("overloaded"), &json!(1)));
    assert!(sentence(&body).contains("has just come back"), "{body}");
}

#[test]
fn what_an_admin_holds_open_is_told_as_such() {
    let app = TestApp::start();
    data(&app.admin().post("/admin/breakers/upstream/open").unwrap());
    let answer = app.get(SEARCH);
    let body = refusal(&answer);
    assert_eq!((answer.status, &body["code"]), (503, &json!("circuit_open")));
    let said = sentence(&body);
    assert!(said.starts_with("An admin has stopped calls"), "{said}");
    assert!(said.contains("it is not known for how long"), "{said}");
    let health = data(&app.get("/health/detailed"));
    let components = health["components"].as_array().unwrap();
    let upstream = components.iter().find(|one| one["name"] == "upstream").unwrap();
    let detail = upstream["detail"].as_str().unwrap();
    assert!(detail.contains("breaker open, forced by an admin"), "{detail}");
    data(&app.admin().post("/admin/breakers/upstream/close").unwrap());
    data(&app.get(SEARCH));
}

#[test]
fn a_day_that_is_spent_is_told_to_keys_too() {
    let key = "a-client-key-for-tests";
    let app = TestApp::with(&[("UPSTREAM_DAILY_BUDGET", "2"), ("INTERNAL_API_KEY", key)]);
    let mut client = app.connection().with_header("x-internal-key", key);
    let search = |number: u32| format!("/api/products/search?keywords=usb&max_sale_price={number}");
    (10..12).for_each(|number| drop(data(&client.get(&search(number)).unwrap())));
    let body = refused(&client.get(&search(12)).unwrap(), 503, "upstream_unavailable");
    let (said, wait) = (sentence(&body), body["retry_after"].as_u64().unwrap());
    assert!(said.starts_with("The upstream's calls of today are spent, all 2 of them"), "{said}");
    assert!(said.contains(&format!("renewed in {wait} s, at 20")), "{said}");
}

#[test]
fn circuit_open_after_failures_and_closed_by_an_admin() {
    let app = TestApp::with(&[("BREAKER_FAILURES", "2")]);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    for keywords in ["a1", "a2"] {
        let path = format!("/api/products/search?keywords={keywords}");
        refused(&app.get(&path), 503, "upstream_unavailable");
    }
    let answer = app.get(SEARCH);
    let body = refused(&answer, 503, "circuit_open");
    assert!((1..=30).contains(&body["retry_after"].as_u64().unwrap()), "{body}");
    assert_refusal!("circuit_open", answer);
    assert_eq!(app.upstream.calls(), 2);
    assert!((app.metric("circuit_breaker_state{name=\"upstream\"}") - 1.0).abs() < 0.1);
    assert_eq!(data(&app.get("/api/status"))["circuit_breaker"], "open");
    app.upstream.recovers();
    refused(&app.get(SEARCH), 503, "circuit_open");
    data(&app.admin().post("/admin/breakers/upstream/reset").unwrap());
    data(&app.get(SEARCH));
}

#[test]
fn deadline_exceeded_when_the_requests_time_is_over() {
    let app = TestApp::with(&[("REQUEST_TIMEOUT_MS", "300"), ("UPSTREAM_TIMEOUT_MS", "5000")]);
    app.upstream.fails_with(&json!({"fault": "hang"}));
    assert_refusal!("deadline_exceeded", app.get(SEARCH));
    let answer = app.post("/api/products/search/no-cache", &json!({"keywords": "usb"}));
    refused(&answer, 504, "deadline_exceeded");
    refused(&app.get("/api/products/details/1005000000000001"), 504, "deadline_exceeded");
}

#[test]
fn a_failure_is_never_an_empty_success() {
    let key = "a-client-key-for-tests";
    let app = TestApp::with(&[("BREAKER_FAILURES", "1000"), ("INTERNAL_API_KEY", key)]);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let link = "url=https://www.aliexpress.com/item/1005000000000001.html";
    for path in [
        SEARCH,
        "/api/products/smart-search?keywords=usb",
        "/api/products/hot",
        "/api/products/details/1005000000000001",
        "/api/categories",
        "/api/categories/7/children",
        &format!("/api/affiliate/link?{link}"),
        &format!("/api/smart-match?product_{link}"),
        "/api/orders?start_time=2025-03-01%2000:00:00&end_time=2025-03-02%2000:00:00",
    ] {
        let answer = app.connection().with_header("x-internal-key", key).get(path).unwrap();
        refused(&answer, 503, "upstream_unavailable");
    }
    for (path, body) in [
        ("/api/products/search", json!({"keywords": "usb"})),
        ("/api/products/search/no-cache", json!({"keywords": "usb"})),
        ("/api/products/smart-search", json!({"keywords": "usb"})),
        ("/api/products/hot", json!({})),
        ("/api/products/details", json!({"product_ids": ["1", "2"]})),
        ("/api/affiliate/links", json!({"urls": ["https://www.aliexpress.com/item/1.html"]})),
    ] {
        refused(&app.post(path, &body), 503, "upstream_unavailable");
    }
}
