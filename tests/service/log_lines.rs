//! The log of the process: JSON line by line, ids on the lines of requests, no secret in any.

use serde_json::{Value, json};

use crate::support::gateway::{ADMIN_KEY, Plan};
use crate::test_app::Upstream;

const KEY: &str = "client-key-that-must-not-be-logged";

/// What is asked here, by request id, and the status it gets.
const ASKED: [(&str, &str, u16); 4] = [
    ("good-1", "/api/products/search?keywords=usb", 200),
    ("bad-1", "/api/products/search?page_no=0", 400),
    ("admin-1", "/admin/config", 200),
    ("failed-1", "/api/categories", 503),
];
/// Lines that only requests cause.
const OF_REQUESTS: [&str; 5] = [
    "upstream call failed",
    "upstream answered",
    "no answer of the upstream",
    "request answered",
    "request refused",
];

/// The log of a gateway that knew secrets and met requests and failures.
fn log_of_a_run() -> String {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let gateway = Plan::in_folder(folder.path())
        .before(upstream.address)
        .with("LOG_LEVEL", "debug")
        .with("INTERNAL_API_KEY", KEY)
        .with("REDIS_URL", "redis://user:redis-password@127.0.0.1:1/0")
        .with("RETRY_BASE_DELAY_MS", "1")
        .start();
    let garbage = json!([{"method": "aliexpress.affiliate.category.get", "fault": "garbage"}]);
    upstream.faults(&garbage);
    for (id, path, status) in ASKED {
        let connection = gateway.admin().with_header("x-request-id", id);
        let mut connection = connection.with_header("x-internal-key", KEY);
        assert_eq!(connection.get(path).unwrap().status, status, "{path}");
    }
    let wrong = gateway.connection().with_header("x-admin-key", "guessed-key").get("/admin/config");
    assert_eq!(wrong.unwrap().status, 403);
    gateway.stop();
    std::fs::read_to_string(folder.path().join("gateway.log")).unwrap()
}

#[test]
fn every_line_is_json_and_none_holds_a_secret() {
    let log = log_of_a_run();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let complete = |line: &Value| ["ts", "level", "msg"].iter().all(|name| line[name].is_string());
    assert_eq!(lines.iter().find(|line| !complete(line)), None);
    for (id, _, status) in ASKED {
        let own: Vec<_> = lines.iter().filter(|line| line["request_id"] == id).collect();
        let told =
            own.iter().any(|line| line["status"] == status && line["duration_ms"].is_number());
        assert!(told, "{id} in\n{log}");
    }
    let of_request = |line: &&Value| OF_REQUESTS.iter().any(|msg| line["msg"] == *msg);
    let nameless = lines.iter().filter(of_request).find(|line| !line["request_id"].is_string());
    assert_eq!(nameless, None);
    let demonstration = breakwater::services::products::simulator::DEMO_APP_SECRET;
    for secret in [demonstration, ADMIN_KEY, KEY, "redis-password", "guessed-key"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
