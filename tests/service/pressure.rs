//! Limits that tighten while the process is near its bounds, and say so.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::envelope::data;
use crate::gate::Gate;
use crate::support::http::Connection;
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";
const KEY: &str = "a-client-key-under-pressure";
const SOON: Duration = Duration::from_secs(60);

fn level(app: &TestApp) -> f64 {
    app.metric("pressure_level ")
}

/// With limits that tell how tight they are, and few places.
fn narrow(more: &[(&'static str, &str)]) -> TestApp {
    let few = [
        ("HTTP_WORKERS", "1"),
        ("MAX_REQUESTS_IN_FLIGHT", "20"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("ABUSE_DETECTION", "off"),
        ("MAX_REQUESTS_PER_SECOND", "0"),
        ("MAX_REQUESTS_PER_MINUTE", "1000"),
    ];
    TestApp::with(&[&few[..], more].concat())
}

fn limit(app: &TestApp) -> Option<String> {
    let answer = app.get("/api/cache/stats");
    answer.header("x-ratelimit-limit").map(str::to_owned)
}

#[test]
fn a_long_line_tightens_limits_and_its_end_relaxes_them() {
    let app = narrow(&[("CHAOS_ENABLED", "true"), ("INTERNAL_API_KEY", KEY)]);
    assert_eq!(limit(&app).as_deref(), Some("1000"));
    // Who asks for the report stands in line for as long as its actor is busy.
    assert_eq!(app.admin().post("/admin/chaos/actors/metrics/hang?ms=12000").unwrap().status, 200);
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..14)
        .map(|_| {
            let (over, mut admin) = (Arc::clone(&over), app.admin());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    admin.get("/api/monitoring/metrics").unwrap();
                }
            })
        })
        .collect();
    wait_until("limits are tightened", SOON, || level(&app) > 0.5);
    assert_eq!(limit(&app).as_deref(), Some("500"));
    let mut keyed = app.connection().with_header("x-internal-key", KEY);
    let answer = keyed.get("/api/cache/stats").unwrap();
    assert_eq!(answer.header("ratelimit-policy"), Some("\"general-minute\";q=500;w=60"));
    let status = data(&app.get("/api/status"));
    assert_eq!(status["pressure"]["level"], "high", "{status}");
    assert_eq!(status["pressure"]["because"], json!(["queues"]), "{status}");
    assert!(status["degraded"].as_array().unwrap().contains(&json!("pressure")), "{status}");
    let lines = app.log();
    let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.rfind(|line| line["msg"] == "pressure changed, limits with it").unwrap();
    assert_eq!((&line["to"], &line["because"]), (&json!("high"), &json!("[queues]")));
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().unwrap();
    }
    wait_until("limits are whole", SOON, || level(&app) < 0.5);
    assert_eq!(limit(&app).as_deref(), Some("1000"));
    let status = data(&app.get("/api/status"));
    assert_eq!((&status["pressure"]["level"], &status["degraded"]), (&json!("normal"), &json!([])));
}

#[test]
fn what_waits_for_the_upstream_or_for_a_body_tightens_nothing() {
    let gate = Gate::closed();
    let url = gate.url();
    let app = narrow(&[
        ("ALIEXPRESS_GATEWAY_URL", &url),
        ("UPSTREAM_TIMEOUT_MS", "60000"),
        ("REQUEST_TIMEOUT_MS", "60000"),
        ("UPSTREAM_RATE_PER_SECOND", "1"),
        ("UPSTREAM_BURST", "2"),
    ]);
    let address = app.address();
    let ask = move |n: u32| Connection::to(address).get(&format!("{SEARCH}&page_no={}", n + 1));
    let callers: Vec<_> = (0..8).map(|n| std::thread::spawn(move || ask(n))).collect();
    let head = "POST /api/products/search HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n";
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let mut slow = TcpStream::connect(address).unwrap();
            slow.write_all(head.as_bytes()).unwrap();
            slow
        })
        .collect();
    wait_until("all are inside", SOON, || app.metric("http_requests_in_flight ") > 15.5);
    // So long it would take to tighten anything.
    let began = monotonic();
    wait_until("time passes", SOON, || {
        assert!(level(&app) < 0.5);
        monotonic().duration_since(began) > Duration::from_secs(3)
    });
    drop(slow);
    gate.open(app.upstream.address);
    for caller in callers {
        data(&caller.join().unwrap().unwrap());
    }
}
