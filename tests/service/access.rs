//! Keys, the admin's key and limits.

use serde_json::json;

use crate::envelope::{data, refused};
use crate::snapshot::assert_refusal;
use crate::test_app::TestApp;

const ORDERS: &str = "/api/orders?start_time=2025-03-01%2000:00:00&end_time=2025-03-02%2000:00:00";
const KEY: &str = "a-client-key-for-tests";

#[test]
fn orders_need_a_key() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", KEY)]);
    assert_refusal!("key_required", app.get(ORDERS));
    let with = |name, value: &str| app.connection().with_header(name, value).get(ORDERS).unwrap();
    refused(&with("x-internal-key", "wrong"), 401, "key_required");
    refused(&with("authorization", "Bearer wrong"), 401, "key_required");
    for answer in [with("x-internal-key", KEY), with("authorization", &format!("Bearer {KEY}"))] {
        let orders = data(&answer);
        assert!(!orders["orders"].as_array().unwrap().is_empty());
        assert!(orders["orders"][0]["order_id"].is_string());
        assert_eq!((&orders["current_page"], &orders["page_size"]), (&1.into(), &20.into()));
    }
}

#[test]
fn without_any_key_configured_orders_are_closed() {
    let app = TestApp::start();
    refused(&app.get(ORDERS), 401, "key_required");
    let empty = app.connection().with_header("x-internal-key", "").get(ORDERS).unwrap();
    refused(&empty, 401, "key_required");
}

#[test]
fn where_keys_are_required_everything_but_health_needs_one() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", KEY), ("REQUIRE_API_KEY", "true")]);
    for path in ["/api/products/search?keywords=usb", "/api/categories", "/api/status"] {
        refused(&app.get(path), 401, "key_required");
        data(&app.connection().with_header("x-internal-key", KEY).get(path).unwrap());
    }
    assert_eq!(app.get("/health/live").status, 200);
    assert_eq!(app.get("/metrics").status, 200);
}

#[test]
fn documents_say_whether_a_key_is_required_and_can_be_read_without_one() {
    let optional = TestApp::with(&[("INTERNAL_API_KEY", KEY)]);
    let required = TestApp::with(&[("INTERNAL_API_KEY", KEY), ("REQUIRE_API_KEY", "true")]);
    for (app, key_required) in [(&optional, false), (&required, true)] {
        let start = data(&app.get("/"));
        let example = start["examples"][0].as_str().unwrap();
        let mut client = app.connection();
        for (name, value) in start["headers"].as_object().unwrap() {
            client = client.with_header(name, &value.as_str().unwrap().replace("KEY", KEY));
        }
        data(&client.get(example).unwrap());
        assert_eq!(app.get(example).status == 401, key_required);
        let page = app.connection().with_header("accept", "text/html").get("/").unwrap();
        assert_eq!(page.text().contains("x-internal-key: KEY"), key_required);
        assert!(app.get("/docs").text().contains("openapi.json"));
        let document = app.get("/openapi.json").json();
        let security = &document["paths"]["/api/products/search"]["get"]["security"];
        assert_eq!(security.as_array().unwrap().contains(&json!({})), !key_required);
        let gpt = app.get("/openapi-gpt.json").json();
        assert_eq!(gpt["security"].as_array().unwrap().contains(&json!({})), !key_required);
    }
    // As before the limits count and the deny list closes.
    refused(&required.get("/nothing"), 401, "key_required");
}

#[test]
fn who_has_no_key_pays_for_being_told_so() {
    let app = TestApp::with(&[
        ("INTERNAL_API_KEY", KEY),
        ("REQUIRE_API_KEY", "true"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", "3"),
    ]);
    for left in ["2", "1", "0"] {
        let answer = app.get(SEARCH);
        refused(&answer, 401, "key_required");
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left));
    }
    refused(&app.get(SEARCH), 429, "rate_limited");
    data(&app.connection().with_header("x-internal-key", KEY).get(SEARCH).unwrap());
    assert_eq!(app.get("/health/live").status, 200);
}

#[test]
fn a_flood_of_refusals_is_a_few_lines_of_the_log() {
    let app = TestApp::with(&[
        ("INTERNAL_API_KEY", KEY),
        ("REQUIRE_API_KEY", "true"),
        ("HTTP_WORKERS", "1"),
    ]);
    let began = breakwater::clock::monotonic();
    let mut connection = app.connection();
    for _ in 0..300 {
        refused(&connection.get(SEARCH).unwrap(), 401, "key_required");
    }
    // Twenty at once, and one a second from then on.
    let seconds = began.elapsed().as_secs() + 2;
    let log = app.log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .filter(|line| line.contains("request refused"))
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["level"] != "DEBG")
        .collect();
    let most = usize::try_from(20 + seconds).unwrap();
    assert!((20..=most).contains(&lines.len()), "{} lines in {seconds} s", lines.len());
    assert!(lines.iter().all(|line| line["left_out"].is_u64() && line["request_id"].is_string()));
    let counted =
        "http_requests_total{method=\"GET\",route=\"/api/products/search\",status=\"401\"}";
    assert!((app.metric(counted) - 300.0).abs() < 0.1, "all of them are counted");
}

#[test]
fn a_denied_client_fills_no_log_whatever_it_sends() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1"), ("HTTP_WORKERS", "1")]);
    let denied = br#"{"identifier": "203.0.113.9"}"#;
    let mut admin = app.admin().with_header("content-type", "application/json");
    data(&admin.send("POST", "/admin/rate-limit/blacklist", denied).unwrap());
    let began = breakwater::clock::monotonic();
    let connection = || app.connection().with_header("x-forwarded-for", "203.0.113.9");
    let long = format!("/nowhere/{}", "x".repeat(10_000));
    let (mut plain, strange) = (connection(), connection().with_header("origin", "https://a.test"));
    let mut strange = strange.with_header("access-control-request-method", "GET");
    for _ in 0..100 {
        refused(&plain.post("/health").unwrap(), 405, "method_not_allowed");
        refused(&plain.get(&long).unwrap(), 403, "blocked");
        refused(&plain.get("/admin/keys").unwrap(), 403, "forbidden");
        refused(&strange.send("OPTIONS", "/x", b"").unwrap(), 400, "invalid_request");
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    let log = app.log();
    assert!(log.contains("admin action"), "the admin's line is still there");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .filter(|line| line.contains("request refused"))
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["level"] != "DEBG")
        .collect();
    for (code, path, cause) in [
        ("method_not_allowed", "/health", "method"),
        ("blocked", "/nowhere/xxx", "is on the deny list"),
        ("forbidden", "/admin/keys", "admin's key"),
        ("invalid_request", "/x", "origin"),
    ] {
        let of_kind: Vec<_> = lines.iter().filter(|line| line["code"] == code).collect();
        assert!((1..=20 + seconds).contains(&of_kind.len()), "{code}: {}", of_kind.len());
        for line in of_kind {
            let text = |name: &str| line[name].as_str().unwrap_or_default();
            assert!(text("path").starts_with(path) && text("path").len() <= 200, "{line}");
            assert!(text("cause").contains(cause), "{line}");
            assert_eq!(text("client"), "203.0.113.9", "{line}");
        }
    }
}

#[test]
fn the_admins_door() {
    let app = TestApp::start();
    assert_refusal!("forbidden", app.get("/admin/actors"));
    for wrong in ["", "wrong", "acceptance-admin-key ", "acceptance-admin-ke"] {
        let mut connection = app.connection();
        // Blanks around a value are not part of it.
        if !wrong.ends_with(' ') {
            connection = connection.with_header("x-admin-key", wrong);
        }
        refused(&connection.get("/admin/actors").unwrap(), 403, "forbidden");
    }
    let paths = [
        "/admin/actors",
        "/admin/breakers",
        "/admin/rate-limit/status",
        "/admin/config",
        "/api/monitoring/metrics",
        "/admin/monitoring/recent-requests",
        "/admin/monitoring/slow-requests",
        "/admin/requests",
    ];
    for path in paths {
        refused(&app.get(path), 403, "forbidden");
        data(&app.admin().get(path).unwrap());
    }
    for path in ["/api/cache/clear", "/admin/monitoring/reset", "/admin/breakers/upstream/open"] {
        refused(&app.connection().post(path).unwrap(), 403, "forbidden");
    }
}

#[test]
fn without_an_admin_key_configured_the_door_is_closed() {
    let app = TestApp::with(&[("ADMIN_API_KEY", "")]);
    for key in ["", "acceptance-admin-key"] {
        let mut connection = app.connection().with_header("x-admin-key", key);
        assert_refusal!("forbidden_without_key", connection.get("/admin/actors").unwrap());
    }
}

/// A gateway that admits so many searches a minute.
fn limited(searches: &str) -> TestApp {
    TestApp::with(&[
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", searches),
        ("INTERNAL_API_KEY", KEY),
    ])
}

const SEARCH: &str = "/api/products/search?keywords=usb";

#[test]
fn what_is_left_of_a_limit_is_told() {
    let app = limited("3");
    for left in ["2", "1", "0"] {
        let answer = app.get(SEARCH);
        data(&answer);
        let told = ["x-ratelimit-limit", "x-ratelimit-remaining"].map(|name| answer.header(name));
        assert_eq!(told, [Some("3"), Some(left)]);
        assert!(answer.header("x-ratelimit-reset").is_some());
        assert!(answer.header("ratelimit").is_some_and(|value| value.contains("search-minute")));
        assert!(answer.header("ratelimit-policy").is_some_and(|value| value.contains("q=3")));
    }
}

#[test]
fn over_the_limit_and_when_to_come_back() {
    let app = limited("1");
    data(&app.get(SEARCH));
    let answer = app.get(SEARCH);
    assert_refusal!("rate_limited", answer);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let said = answer.json()["error"].as_str().unwrap().to_owned();
    let limit = format!("at most 1 of the class search in 60 s; come back in {wait} s. An API key");
    assert!(said.contains(&limit), "{said}");
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    assert!(answer.header("ratelimit").is_some_and(|value| value.contains("r=0")));
    assert!(app.metric("rate_limit_hits_total{endpoint=\"search\",type=\"minute\"}") >= 1.0);
}

#[test]
fn a_spent_limit_is_only_its_owners() {
    let app = limited("1");
    data(&app.get(SEARCH));
    refused(&app.get(SEARCH), 429, "rate_limited");
    // Another class, a key, and what is never limited.
    data(&app.get("/api/status"));
    data(&app.connection().with_header("x-internal-key", KEY).get(SEARCH).unwrap());
    for _ in 0..20 {
        let health = app.get("/health/live");
        assert_eq!((health.status, health.header("x-ratelimit-limit")), (200, None));
    }
}

/// Of sixty calls of the day a client without a key has six, and twelve are for keys.
#[test]
fn one_client_cannot_spend_the_day_of_all() {
    let app = TestApp::with(&[
        ("UPSTREAM_DAILY_BUDGET", "60"),
        ("UPSTREAM_CLIENT_SHARE_PERCENT", "10"),
        ("UPSTREAM_RATE_PER_SECOND", "1000"),
        ("UPSTREAM_BURST", "1000"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("INTERNAL_API_KEY", KEY),
    ]);
    let from = |address: &str| app.connection().with_header("x-forwarded-for", address);
    let search = |number: u32| format!("/api/products/search?keywords=usb&max_sale_price={number}");
    let mut one = from("2001:db8::1");
    (10..16).for_each(|number| drop(data(&one.get(&search(number)).unwrap())));
    // Another address of the same network is the same client.
    let answer = from("2001:db8::2").get(&search(16)).unwrap();
    refused(&answer, 429, "rate_limited");
    let message = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(message.contains(", 6 of 60;") && message.contains(" s, at 20"), "{message}");
    assert!(message.contains("share") && message.contains("x-internal-key"), "{message}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait) && message.contains(&format!("{wait} s")), "{message}");
    assert_eq!(answer.header("ratelimit"), Some(&*format!("\"upstream-share\";r=0;t={wait}")));
    assert_eq!(app.upstream.calls(), 6);
    // What is stored is free, and what it was refused others get.
    data(&one.get(&search(10)).unwrap());
    data(&from("198.51.100.1").get(&search(16)).unwrap());
    // To go past the cache is dear.
    let mut past = from("198.51.100.2").with_header("content-type", "application/json");
    let mut uncached = || past.send("POST", "/api/products/search/no-cache", b"{}").unwrap();
    assert_eq!([(); 3].map(|()| uncached().status), [200, 200, 429]);
    let fresh = |number| {
        let search = search(number).replace("/search?", "/smart-search?force_refresh=true&");
        format!("{search}&generate_affiliate_links=false")
    };
    let mut past = from("198.51.100.3");
    assert_eq!([20, 21, 22].map(|n| past.get(&fresh(n)).unwrap().status), [200, 200, 429]);
    // However many they are, strangers leave what is for keys.
    for number in 30..67 {
        let address = format!("203.0.113.{number}");
        data(&from(&address).get(&search(number)).unwrap());
    }
    assert_eq!(app.upstream.calls(), 48);
    let answer = from("203.0.113.99").get(&search(99)).unwrap();
    refused(&answer, 429, "rate_limited");
    assert!(answer.text().contains("kept for API keys"), "{}", answer.text());
    let keyed = || app.connection().with_header("x-internal-key", KEY);
    (99..111).for_each(|number| drop(data(&keyed().get(&search(number)).unwrap())));
    refused(&keyed().get(&search(120)).unwrap(), 503, "upstream_unavailable");
}

#[test]
fn a_forwarding_header_of_a_stranger_changes_nothing() {
    let app =
        TestApp::with(&[("RATE_LIMIT_ENABLED", "true"), ("RATE_LIMIT_SEARCH_PER_MINUTE", "2")]);
    let mut refusals = 0;
    for number in 0..6 {
        let address = format!("203.0.113.{number}");
        let mut connection = app.connection().with_header("x-forwarded-for", &address);
        let answer = connection.get("/api/products/search?keywords=usb").unwrap();
        refusals += usize::from(answer.status == 429);
    }
    assert_eq!(refusals, 4);
}

#[test]
fn who_holds_the_admins_key_can_act_while_clients_spend_the_limit() {
    let limits = [
        ("RATE_LIMIT_ENABLED", "true"),
        ("MAX_REQUESTS_PER_SECOND", "0"),
        ("MAX_REQUESTS_PER_MINUTE", "5"),
    ];
    let app = TestApp::with(&limits);
    let mut client = app.connection();
    while client.get("/api/status").unwrap().status != 429 {}
    for number in 0..30 {
        let body = format!("{{\"identifier\": \"203.0.113.{number}\"}}");
        let mut admin = app.admin().with_header("content-type", "application/json");
        let answer = admin.send("POST", "/admin/rate-limit/blacklist", body.as_bytes()).unwrap();
        data(&answer);
        assert_eq!(answer.header("x-ratelimit-limit"), None);
    }
    refused(&client.get("/api/status").unwrap(), 429, "rate_limited");
    // Who does not hold it is limited as everywhere.
    refused(&client.get("/admin/actors").unwrap(), 429, "rate_limited");
    let wrong = app.connection().with_header("x-admin-key", "wrong").get("/admin/actors");
    refused(&wrong.unwrap(), 429, "rate_limited");
}
