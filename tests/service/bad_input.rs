//! Odd requests by the hundred: never a 5xx, never a hang, always the envelope.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::envelope::{data, refusal};
use crate::snapshot::assert_refusal;
use crate::support::bad_input::generated::Generator;
use crate::support::bad_input::{NAUGHTY, encoded, fault, raw};
use crate::support::http::{Answer, Connection};
use crate::test_app::TestApp;

/// GET endpoints and their parameters.
const GETS: [(&str, &[&str]); 6] = [
    ("/api/products/search", SEARCH),
    ("/api/products/smart-search", SMART),
    ("/api/products/hot", SEARCH),
    ("/api/affiliate/link", &["url"]),
    ("/api/smart-match", &["product_url", "currency", "language", "ship_to_country"]),
    ("/api/orders", &["start_time", "end_time", "status", "page_no", "page_size"]),
];
const POSTS: [(&str, &[&str]); 6] = [
    ("/api/products/search", SEARCH),
    ("/api/products/search/no-cache", SEARCH),
    ("/api/products/smart-search", SMART),
    ("/api/products/hot", SEARCH),
    ("/api/products/details", &["product_ids", "currency", "language", "ship_to_country"]),
    ("/api/affiliate/links", &["urls"]),
];
const SEARCH: &[&str] = &[
    "keywords",
    "category_ids",
    "min_sale_price",
    "max_sale_price",
    "page_no",
    "page_size",
    "sort",
    "ship_to_country",
    "currency",
    "language",
];
const SMART: &[&str] = &[
    "keywords",
    "category_id",
    "category_ids",
    "min_quality",
    "force_refresh",
    "page_no",
    "generate_affiliate_links",
    "min_sale_price",
    "max_sale_price",
];
const KEY: &str = "a-client-key-for-tests";

fn app() -> TestApp {
    TestApp::with(&[("INTERNAL_API_KEY", KEY)])
}

fn keyed(app: &TestApp) -> Connection {
    let connection = app.connection().with_header("x-internal-key", KEY);
    connection.with_header("content-type", "application/json")
}

/// Whatever was sent: an answer in the envelope, and the fault is never ours.
fn check(answer: &Answer, sent: &str) {
    assert!(answer.status < 500, "{} for {sent}: {}", answer.status, answer.text());
    if answer.status == 200 {
        data(answer);
    } else {
        refusal(answer);
    }
}

#[test]
fn every_naughty_text_in_every_field() {
    let app = app();
    let mut connection = keyed(&app);
    for (path, fields) in GETS {
        for field in fields {
            for text in NAUGHTY {
                let target = format!("{path}?{field}={}", encoded(text));
                check(&connection.get(&target).unwrap(), &target);
            }
        }
    }
    for text in NAUGHTY {
        for prefix in ["/api/products/details/", "/api/categories/"] {
            let suffix = if prefix.contains("categories") { "/children" } else { "" };
            let target = format!("{prefix}{}{suffix}", encoded(text));
            check(&connection.get(&target).unwrap(), &target);
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(&NAUGHTY[..]).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(".{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn any_json_in_any_field() {
    let app = app();
    let connection = std::cell::RefCell::new(keyed(&app));
    let mut runner =
        TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let body = (
        prop::sample::select(&POSTS[..]),
        prop::collection::vec((any::<prop::sample::Index>(), any_json()), 0..4),
    );
    runner
        .run(&body, |((path, fields), values)| {
            let values = values.into_iter().map(|(at, value)| (at.get(fields).to_string(), value));
            let body = Value::Object(values.collect()).to_string();
            let answer = connection.borrow_mut().send("POST", path, body.as_bytes()).unwrap();
            check(&answer, &format!("{path} {body}"));
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_bytes_as_a_body_or_a_query() {
    let app = app();
    let connection = std::cell::RefCell::new(keyed(&app));
    let mut runner =
        TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let input = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..200));
    runner
        .run(&input, |(at, bytes)| {
            let mut connection = connection.borrow_mut();
            let (path, _) = at.get(&POSTS);
            check(&connection.send("POST", path, &bytes).unwrap(), path);
            let (path, _) = at.get(&GETS);
            let query: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            let target = format!("{path}?keywords={query}&{query}");
            check(&connection.get(&target).unwrap(), &target);
            Ok(())
        })
        .unwrap();
}

#[test]
fn documents_that_are_hard_on_parsers() {
    let app = app();
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_object = format!("{}1{}", "{\"keywords\":".repeat(5_000), "}".repeat(5_000));
    let twice = r#"{"keywords": "a", "keywords": "b"}"#;
    let many = format!(
        "{{{}}}",
        (0..3_000).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",")
    );
    let long = json!({"keywords": "x".repeat(60_000)}).to_string();
    let number = format!("{{\"page_no\": {}}}", "9".repeat(50_000));
    let surrogate = r#"{"keywords": "\ud800"}"#;
    for body in [&deep, &deep_object, twice, &many, &long, &number, surrogate, "\u{feff}{}", "{}{}"]
    {
        for (path, _) in POSTS {
            check(&app.post_text(path, body), &body[..body.len().min(60)]);
        }
    }
    let long_query = format!("/api/products/search?keywords={}", "a".repeat(20_000));
    let many = format!("/api/products/search?{}", "page_no=1&".repeat(3_000));
    for target in [&long_query, &many] {
        check(&keyed(&app).get(target).unwrap(), "a long query");
    }
}

#[test]
fn odd_paths_and_methods() {
    let app = app();
    for path in [
        "/",
        "//",
        "/api",
        "/api/",
        "/api//products/search",
        "/api/products/search/",
        "/API/STATUS",
        "/api/products/details/",
        "/api/products/details/%2e%2e/search",
        "/api/products/details/%00",
        "/api/products/details/%ff%fe",
        "/api/categories/%ff/children",
        "/%",
        "/%zz",
        "/admin/",
        "/api/products/search#fragment",
        "/api/products/search?",
        "/api/products/search?&&&=&==",
        "/api/products/details/1%2F2",
        "/health/live/more",
        "/.git/config",
        "/__simulator/stats",
    ] {
        check(&app.get(path), path);
    }
    for method in ["TRACE", "CONNECT", "PROPFIND", "M-SEARCH", "get"] {
        let answer = app.connection().send(method, "/api/status", b"");
        // What is no request line of ours may be refused by hanging up.
        if let Ok(answer) = answer {
            assert!((400..500).contains(&answer.status), "{method}: {}", answer.status);
        }
    }
}

#[test]
fn what_is_no_http_is_refused_at_once_and_in_the_envelope() {
    // Where limits are asked first a request is longer under way, whatever the limits are.
    let none = [
        "MAX_REQUESTS_PER_SECOND",
        "RATE_LIMIT_BURST",
        "MAX_REQUESTS_PER_MINUTE",
        "RATE_LIMIT_SEARCH_PER_MINUTE",
        "RATE_LIMIT_SEARCH_BURST",
    ];
    let none = none.map(|name| (name, "0"));
    for limited in ["false", "true"] {
        let settings = [&[("RATE_LIMIT_ENABLED", limited)][..], &none].concat();
        let app = TestApp::with(&settings);
        let faults = raw::faults(app.address(), &raw::at_once());
        assert!(faults.is_empty(), "limited {limited}:\n{}", faults.join("\n"));
        data(&app.get("/health/live"));
    }
}

#[test]
fn what_is_never_finished_is_given_up_and_no_sooner_than_said() {
    let app = TestApp::with(&[("REQUEST_TIMEOUT_MS", "900"), ("KEEP_ALIVE_SECONDS", "1")]);
    let ms = Duration::from_millis;
    let patience = raw::Patience { head: ms(5_000), request: ms(900), idle: ms(1_000) };
    let faults = raw::faults(app.address(), &raw::unfinished(patience));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn requests_made_up_from_the_document() {
    let app = app();
    let document = app.get("/openapi.json").json();
    let mut generator = Generator::new(&document, 42);
    for _ in 0..600 {
        let case = generator.case();
        let plain = app.connection().with_header("x-made-up", "1");
        let mut connection = case
            .headers
            .iter()
            .fold(plain, |connection, (name, value)| connection.with_header(name, value));
        let answer = connection.send(&case.method, &case.target, &case.body).unwrap();
        let fault = fault(&answer, case.method == "HEAD");
        assert_eq!(fault, None, "{case:?}");
    }
}

#[test]
fn many_headers_and_large_ones() {
    let app = app();
    let large = app.connection().with_header("x-large", &"a".repeat(300_000)).get("/api/status");
    if let Ok(answer) = large {
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    let connection = (0..200)
        .fold(app.connection(), |connection, n| connection.with_header(&format!("x-{n}"), "1"));
    let mut connection = connection;
    if let Ok(answer) = connection.get("/api/status") {
        assert!(answer.status < 500, "{}", answer.status);
    }
    data(&app.get("/api/status"));
}

#[test]
fn a_body_that_never_ends_is_given_up() {
    let app = TestApp::with(&[("REQUEST_TIMEOUT_MS", "300")]);
    let head = "POST /api/products/search HTTP/1.1\r\nHost: a\r\n\
        Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let answer = app.connection().send_bytes(head.as_bytes(), false).expect("no hang");
    assert_refusal!("request_timeout", answer);
}
