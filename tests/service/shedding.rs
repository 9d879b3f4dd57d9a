//! Too many requests: some are refused at the door, before anything is done for them.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::gate::Gate;
use crate::support::http::{Answer, Connection};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";
const OTHER: &str = "/api/products/search?keywords=hdmi";
const SOON: Duration = Duration::from_secs(30);

/// A gateway with one worker and room for so many; its upstream calls wait at a gate.
fn narrow(room: &str, settings: &[(&'static str, &str)]) -> (Gate, TestApp) {
    let gate = Gate::closed();
    let url = gate.url();
    let mut all = vec![
        ("ALIEXPRESS_GATEWAY_URL", url.as_str()),
        ("UPSTREAM_TIMEOUT_MS", "60000"),
        ("REQUEST_TIMEOUT_MS", "60000"),
        ("HTTP_WORKERS", "1"),
        ("MAX_REQUESTS_IN_FLIGHT", room),
    ];
    all.extend_from_slice(settings);
    (gate, TestApp::with(&all))
}

/// Takes the only place, until the gate is opened.
fn fill(gate: &Gate, app: &TestApp) -> JoinHandle<Answer> {
    let address = app.address();
    let caller = thread::spawn(move || Connection::to(address).get(SEARCH).expect("an answer"));
    wait_until("its call is at the gate", SOON, || gate.arrived() == 1);
    caller
}

fn degraded(app: &TestApp) -> Value {
    data(&app.get("/api/status"))["degraded"].clone()
}

/// The lines of the log with this message.
fn lines(app: &TestApp, message: &str) -> Vec<Value> {
    let log = app.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["msg"] == message).collect()
}

#[test]
fn who_finds_no_place_is_refused_and_counted_and_then_all_is_as_before() {
    let (gate, app) = narrow("1", &[]);
    assert_eq!(degraded(&app), json!([]));
    let caller = fill(&gate, &app);
    for _ in 0..5 {
        let refusal = refused(&app.get(OTHER), 503, "overloaded");
        assert_eq!((&refusal["retryable"], &refusal["retry_after"]), (&json!(true), &json!(1)));
    }
    refused(&app.get("/nothing/here"), 503, "overloaded");
    assert_eq!(degraded(&app), json!(["overload"]));
    let route =
        "http_requests_total{method=\"GET\",route=\"/api/products/search\",status=\"503\"} ";
    for (series, count) in [("http_requests_shed_total{reason=\"in_flight\"} ", 6.0), (route, 5.0)]
    {
        assert!((app.metric(series) - count).abs() < 0.1, "{series}");
    }
    gate.open(app.upstream.address);
    data(&caller.join().unwrap());
    data(&app.get(OTHER));
    wait_until("it says that it is over", SOON, || degraded(&app) == json!([]));
    // A line for the first, and how many there were; on a slow machine it may end more than once.
    assert_eq!(lines(&app, "requests refused because there are too many")[0]["refused"], 1);
    let over = lines(&app, "requests are no longer refused");
    assert_eq!(over.iter().filter_map(|line| line["refused"].as_u64()).sum::<u64>(), 6);
}

#[test]
fn what_tells_how_it_is_and_what_an_operator_needs_always_answers() {
    let (gate, app) = narrow("1", &[]);
    let caller = fill(&gate, &app);
    for path in ["/health", "/health/live", "/health/ready", "/health/detailed", "/api/status"] {
        data(&app.get(path));
    }
    assert_eq!(app.get("/metrics").status, 200);
    assert!(app.get("/metrics").text().contains("\nevent_loop_lag_seconds "));
    data(&app.admin().get("/admin/actors").unwrap());
    data(&app.admin().post("/api/cache/clear?pattern=nothing:*").unwrap());
    gate.open(app.upstream.address);
    data(&caller.join().unwrap());
    assert_eq!(degraded(&app), json!([]), "nobody was refused");
}

#[test]
fn a_refusal_is_not_charged() {
    let limits = [("RATE_LIMIT_ENABLED", "true"), ("RATE_LIMIT_SEARCH_PER_MINUTE", "20")];
    let (gate, app) = narrow("1", &limits);
    let caller = fill(&gate, &app);
    for _ in 0..40 {
        refused(&app.get(OTHER), 503, "overloaded");
    }
    gate.open(app.upstream.address);
    caller.join().unwrap();
    data(&app.get(OTHER));
}

#[test]
fn a_connection_outlives_its_refusals_and_scripts_may_read_them() {
    let (gate, app) = narrow("1", &[]);
    let caller = fill(&gate, &app);
    let origin = "https://chatgpt.com";
    let mut connection = app
        .connection()
        .with_header("content-type", "application/json")
        .with_header("origin", origin);
    for _ in 0..3 {
        let answer = connection.get(OTHER).unwrap();
        refused(&answer, 503, "overloaded");
        assert_eq!(answer.header("connection"), None, "it is kept");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
    let body = "{\"keywords\": \"hdmi\"}".repeat(100);
    for _ in 0..3 {
        let answer = connection.send("POST", "/api/products/search", body.as_bytes()).unwrap();
        refused(&answer, 503, "overloaded");
    }
    let mut other = app.connection().with_header("origin", "https://elsewhere.example");
    assert_eq!(other.get(OTHER).unwrap().header("access-control-allow-origin"), None);
    let options = connection.send("OPTIONS", "/api/products/search", b"").unwrap();
    assert_eq!(options.status, 503, "it is no preflight");
    let mut browser = connection.with_header("access-control-request-method", "GET");
    let preflight = browser.send("OPTIONS", "/api/products/search", b"").unwrap();
    assert_eq!(preflight.status, 200);
    gate.open(app.upstream.address);
    caller.join().unwrap();
    data(&browser.get(OTHER).unwrap());
}

#[test]
fn bodies_that_do_not_come_leave_places_for_others() {
    let (gate, app) = narrow("2", &[]);
    gate.open(app.upstream.address);
    let mut slow = TcpStream::connect(app.address()).unwrap();
    let head = "POST /api/products/search HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    // The one more is the question itself.
    wait_until("it is served", SOON, || app.metric("http_requests_in_flight ") >= 2.0);
    refused(&app.post("/api/products/search", &json!({"keywords": "usb"})), 503, "overloaded");
    data(&app.get(SEARCH));
    drop(slow);
    wait_until("its place is free", SOON, || {
        app.post("/api/products/search", &json!({"keywords": "usb"})).status == 200
    });
}
