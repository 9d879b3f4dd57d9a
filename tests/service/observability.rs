//! What an operator reads off: metrics by name, actors, breakers, recent requests, the log.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

/// Names of the contract.
const NAMES: [&str; 29] = [
    "http_requests_total{",
    "http_request_duration_seconds_bucket{",
    "http_requests_in_flight ",
    "event_loop_lag_seconds ",
    "cache_hits_total{",
    "cache_misses_total{",
    "cache_operation_latency_seconds_bucket{",
    "cache_invalidations_total{",
    "cache_evictions_total ",
    "cache_warmed_total ",
    "cache_served_age_seconds_bucket{",
    "circuit_breaker_state{name=",
    "circuit_breaker_slow_start_per_second{name=",
    "cache_circuit_breaker_state{cache_type=",
    "circuit_breaker_transitions_total{",
    "upstream_calls_total{",
    "upstream_call_duration_seconds_bucket{",
    "upstream_retries_total ",
    "upstream_budget_remaining ",
    "rate_limit_hits_total{",
    "rate_limit_abuse_detected_total{",
    "rate_limit_whitelist_size ",
    "rate_limit_blacklist_size ",
    "actor_restarts_total{",
    "actor_queue_length{",
    "actor_up{",
    "products_dropped_total{",
    "response_compressed_bytes_total ",
    "process_resident_memory_bytes ",
];

#[test]
fn metrics_have_the_names_of_the_contract() {
    let app = TestApp::with(&[
        ("BREAKER_FAILURES", "1"),
        ("CHAOS_ENABLED", "true"),
        ("UPSTREAM_DAILY_BUDGET", "1000"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", "2"),
    ]);
    let fresh = app.get("/metrics").text();
    let at_start = series(&fresh);
    for of_contract in AT_START {
        let counts = at_start.iter().any(|one| one == of_contract);
        assert!(
            counts && fresh.contains(&format!("{of_contract} 0\n")),
            "{of_contract} in\n{fresh}"
        );
    }
    // Everything that is counted happens once.
    let search = "/api/products/search?page_size=50";
    app.upstream.fails_with(&json!({"fault": "variant", "variant": "missing_fields"}));
    data(&app.get(search));
    data(&app.get(search));
    refused(&app.get(search), 429, "rate_limited");
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    refused(&app.get("/api/categories"), 503, "upstream_unavailable");
    data(&app.admin().post("/api/cache/clear").unwrap());
    data(&app.admin().post("/admin/chaos/actors/api-client/stop").unwrap());
    wait_until("the restart is counted", Duration::from_secs(10), || {
        app.get("/metrics")
            .text()
            .contains("actor_restarts_total{actor=\"api-client\",reason=\"stop\"} 1")
    });
    let scrape = app.get("/metrics");
    let kind = scrape.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain"), "{kind}");
    let text = scrape.text();
    let missing: Vec<_> =
        NAMES.iter().filter(|name| !text.lines().any(|line| line.starts_with(**name))).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in\n{text}");
    // No series came with its first event, but for those that say so in the catalogue.
    let late = series(&text).into_iter().filter(|one| !at_start.contains(one));
    let late: Vec<_> = late.filter(|one| !OPEN.iter().any(|open| one.starts_with(open))).collect();
    assert!(late.is_empty(), "{late:?}");
}

/// Counters that alerts and people wait for, before anything has happened.
const AT_START: &[&str] = &[
    "actor_restarts_total{actor=\"api-client\",reason=\"hang\"}",
    "actor_restarts_total{actor=\"cache\",reason=\"panic\"}",
    "actor_restarts_total{actor=\"metrics\",reason=\"stop\"}",
    "actor_restarts_total{actor=\"rate-limiter\",reason=\"panic\"}",
    "actor_task_panics_total{actor=\"cache-load\"}",
    "circuit_breaker_state{name=\"database\"}",
    "circuit_breaker_transitions_total{name=\"upstream\",to=\"open\"}",
    "upstream_calls_total{method=\"aliexpress.affiliate.product.query\",outcome=\"transient\"}",
    "upstream_calls_by_account_total{account=\"upstream\",outcome=\"permanent\"}",
    "upstream_shed_total{reason=\"standing\"}",
    "upstream_background_refused_total{priority=\"refresh\",reason=\"banned\"}",
    "rate_limit_hits_total{endpoint=\"search\",type=\"minute\"}",
    "rate_limit_abuse_refused_total{mode=\"shadow\"}",
    "http_requests_shed_total{reason=\"in_flight\"}",
    "http_unread_requests_total{reason=\"malformed\"}",
    "http_connections_cut_total{reason=\"answer_not_taken\"}",
    "admin_auth_failures_total{reason=\"wrong\"}",
    "access_blocked_total{by=\"address\"}",
    "cache_hits_total{cache_type=\"search\",cache_layer=\"database\"}",
    "cache_misses_total{cache_type=\"product\",cache_layer=\"none\"}",
    "cache_stale_answers_total{cache_type=\"hot\"}",
    "cache_invalidations_total{cache_type=\"all\",reason=\"admin_tag\"}",
    "cache_loads_held_total{reason=\"failing\"}",
    "products_dropped_total{reason=\"title_too_short\"}",
];

/// What comes with a request, a call or a setting.
const OPEN: &[&str] = &[
    "http_requests_total{",
    "http_request_duration_seconds_",
    "cache_operation_latency_seconds_",
    "upstream_account_budget_remaining{",
];

/// Every sample without its value.
fn series(text: &str) -> Vec<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.rsplit_once(' ')).map(|(one, _)| one.to_owned()).collect()
}

#[test]
fn the_failures_of_a_route_are_there_with_its_first_request() {
    let app = TestApp::start();
    data(&app.get("/api/categories"));
    let text = app.get("/metrics").text();
    for status in [429, 500, 502, 503, 504] {
        let line = format!(
            "http_requests_total{{method=\"GET\",route=\"/api/categories\",status=\"{status}\"}} 0"
        );
        assert!(text.lines().any(|shown| shown == line), "{line}");
    }
}

#[test]
fn requests_are_counted_exactly_by_template() {
    let app = TestApp::start();
    for id in 1..=7 {
        app.get(&format!("/api/products/details/{id}"));
    }
    for number in 0..5 {
        app.get(&format!("/made/up/{number}"));
    }
    let details = "http_requests_total{method=\"GET\",route=\"/api/products/details/{product_id}\",status=\"404\"}";
    assert!((app.metric(details) - 7.0).abs() < 0.1);
    let text = app.get("/metrics").text();
    assert!(!text.contains("/made/up"), "routes are templates");
    let unmatched = "http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"}";
    assert!((app.metric(unmatched) - 5.0).abs() < 0.1);
    // The scrape itself is the one request in flight.
    assert!((app.metric("http_requests_in_flight") - 1.0).abs() < 0.1);
}

#[test]
fn actors_are_listed_and_survive_chaos() {
    let app = TestApp::with(&[("CHAOS_ENABLED", "true")]);
    let actors = data(&app.admin().get("/admin/actors").unwrap());
    let names: Vec<&str> =
        actors.as_array().unwrap().iter().map(|actor| actor["name"].as_str().unwrap()).collect();
    for name in ["cache", "rate-limiter", "api-client", "metrics"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    refused(&app.connection().post("/admin/chaos/actors/cache/panic").unwrap(), 403, "forbidden");
    for name in names {
        let path = format!("/admin/chaos/actors/{name}/panic");
        data(&app.admin().post(&path).unwrap());
        data(&app.get("/api/products/search?keywords=usb"));
    }
    let ways = ["/admin/chaos/actors/none/panic", "/admin/chaos/actors/cache/dance"];
    for path in ways {
        refused(&app.admin().post(path).unwrap(), 404, "not_found");
    }
    let long = "/admin/chaos/actors/cache/hang?ms=600000";
    refused(&app.admin().post(long).unwrap(), 400, "invalid_request");
    wait_until("restarts are counted", Duration::from_secs(10), || {
        app.metric("actor_restarts_total{actor=\"cache\",reason=\"panic\"}") >= 2.0
    });
}

#[test]
fn breakers_are_seen_and_moved() {
    let app = TestApp::start();
    let breakers = data(&app.admin().get("/admin/breakers").unwrap());
    let upstream = breakers.as_array().unwrap().iter().find(|one| one["name"] == "upstream");
    assert_eq!(upstream.unwrap()["state"], "closed");
    let moved = data(&app.admin().post("/admin/breakers/upstream/open").unwrap());
    assert_eq!((&moved["state"], &moved["forced"]), (&json!("open"), &json!(true)));
    refused(&app.get("/api/categories"), 503, "circuit_open");
    data(&app.admin().post("/admin/breakers/upstream/close").unwrap());
    data(&app.get("/api/categories"));
    for path in ["/admin/breakers/none/open", "/admin/breakers/upstream/kick"] {
        refused(&app.admin().post(path).unwrap(), 404, "not_found");
    }
}

#[test]
fn recent_requests_and_windows() {
    let app = TestApp::start();
    let mut connection = app.connection().with_header("x-request-id", "find-me");
    data(&connection.get("/api/products/search?keywords=usb").unwrap());
    // Workers tell what they saw a few times a second.
    wait_until("the request is listed", Duration::from_secs(10), || {
        let recent = data(&app.admin().get("/admin/monitoring/recent-requests").unwrap());
        recent.to_string().contains("find-me")
    });
    let report = data(&app.admin().get("/api/monitoring/metrics").unwrap());
    assert!(report.is_object());
    data(&app.admin().post("/admin/monitoring/reset").unwrap());
    let settings = app.admin().get("/admin/config").unwrap();
    data(&settings);
    for secret in
        [breakwater::services::products::simulator::DEMO_APP_SECRET, "acceptance-admin-key"]
    {
        assert!(!settings.text().contains(secret), "{}", settings.text());
    }
}

#[test]
fn every_line_of_a_request_carries_its_id() {
    let app = TestApp::start();
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let mut connection = app.connection().with_header("x-request-id", "trace-me");
    refused(&connection.get("/api/categories").unwrap(), 503, "upstream_unavailable");
    let log = app.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let own = lines.iter().filter(|line| line["request_id"] == "trace-me").count();
    assert!(own >= 2, "the failed call and the refused request: {log}");
    let refused = lines.iter().find(|line| line["msg"] == "request refused").expect("its line");
    assert_eq!((&refused["status"], &refused["route"]), (&json!(503), &json!("/api/categories")));
    let of_calls = lines.iter().filter(|line| line["msg"].as_str().unwrap().contains("upstream"));
    assert!(of_calls.clone().count() > 0);
    for line in of_calls {
        assert_eq!(line["request_id"], "trace-me", "{line}");
    }
}
