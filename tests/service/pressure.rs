//! Limits that tighten while the process is near its bounds, and say so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::gate::Gate;
use crate::stand::Stand;
use crate::support::http::Connection;
use crate::support::process::wait_until;

const SEARCH: &str = "/api/products/search?keywords=usb";
const KEY: &str = "a-client-key-under-pressure";
const SOON: Duration = Duration::from_secs(60);

fn level(stand: &Stand) -> f64 {
    stand.metric("pressure_level ")
}

#[test]
fn memory_at_its_bound_tightens_limits_and_everything_says_so() {
    let stand = Stand::with(&[
        ("MEMORY_LIMIT_BYTES", "1000000"),
        ("RATE_LIMIT_PRESSURE", "true"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", "80"),
        ("RATE_LIMIT_SEARCH_BURST", "0"),
        ("RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE", "400"),
        ("INTERNAL_API_KEY", KEY),
    ]);
    wait_until("it is critical", SOON, || level(&stand) > 2.5);
    let status = data(&stand.get("/api/status"));
    assert_eq!(status["pressure"]["level"], "critical", "{status}");
    assert_eq!(status["pressure"]["because"], json!(["memory"]), "{status}");
    assert!(status["degraded"].as_array().unwrap().contains(&json!("pressure")), "{status}");
    let mut connection = stand.connection();
    for left in (0..10).rev() {
        let answer = connection.get(SEARCH).unwrap();
        data(&answer);
        assert_eq!(answer.header("x-ratelimit-limit"), Some("10"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"search-minute\";q=10;w=60"));
    }
    refused(&connection.get(SEARCH).unwrap(), 429, "rate_limited");
    let mut keyed = stand.connection().with_header("x-internal-key", KEY);
    assert_eq!(keyed.get(SEARCH).unwrap().header("x-ratelimit-limit"), Some("100"));
    for _ in 0..50 {
        data(&stand.get("/health"));
    }
    let changed = "pressure changed, limits with it";
    let lines = stand.log();
    let mut line = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = line.rfind(|line| line["msg"] == changed).expect("a line");
    assert_eq!((&line["to"], &line["because"]), (&json!("critical"), &json!("[memory]")));
}

#[test]
fn full_queues_tighten_limits_and_empty_ones_relax_them() {
    let gate = Gate::closed();
    let url = gate.url();
    let stand = Stand::with(&[
        ("ALIEXPRESS_GATEWAY_URL", &url),
        ("UPSTREAM_TIMEOUT_MS", "60000"),
        ("REQUEST_TIMEOUT_MS", "60000"),
        ("HTTP_WORKERS", "1"),
        ("MAX_REQUESTS_IN_FLIGHT", "20"),
        ("RATE_LIMIT_PRESSURE", "true"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("MAX_REQUESTS_PER_SECOND", "0"),
        ("MAX_REQUESTS_PER_MINUTE", "1000"),
    ]);
    let limit = |stand: &Stand| {
        let answer = stand.get("/api/cache/stats");
        answer.header("x-ratelimit-limit").map(str::to_owned)
    };
    assert_eq!(limit(&stand).as_deref(), Some("1000"));
    let address = stand.address();
    let ask = move |n: u32| Connection::to(address).get(&format!("{SEARCH}&page_no={}", n + 1));
    let callers: Vec<_> = (0..13).map(|n| std::thread::spawn(move || ask(n))).collect();
    wait_until("limits are tightened", SOON, || level(&stand) > 0.5);
    assert_eq!(limit(&stand).as_deref(), Some("500"));
    let pressure = data(&stand.get("/api/status"))["pressure"].clone();
    assert_eq!(pressure["because"], json!(["queues"]), "{pressure}");
    gate.open(stand.upstream.address);
    for caller in callers {
        data(&caller.join().unwrap().unwrap());
    }
    wait_until("limits are whole", SOON, || level(&stand) < 0.5);
    assert_eq!(limit(&stand).as_deref(), Some("1000"));
    let status = data(&stand.get("/api/status"));
    assert_eq!((&status["pressure"]["level"], &status["degraded"]), (&json!("normal"), &json!([])));
}
