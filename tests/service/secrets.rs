//! No secret in any log line, answer or metric, whatever goes wrong.

use serde_json::json;

use crate::envelope::check_headers;
use crate::support::gateway::ADMIN_KEY;
use crate::support::http::Answer;
use crate::test_app::TestApp;

const INTERNAL: &str = "secret-of-a-client-7c1f";
const APP: &str = "secret-of-the-app-91ab";
const APP_2: &str = "secret-of-the-second-app-55de";
const REDIS: &str = "secret-of-redis-0b7a";
/// What clients sent and was not right.
const WRONG_ADMIN: &str = "wrong-admin-key-e2c4";
const WRONG_INTERNAL: &str = "wrong-client-key-aa10";

/// An address where nothing listens, with a password.
fn redis() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("redis://user:{REDIS}@{}", free.local_addr().unwrap())
}

fn stand_with_secrets() -> TestApp {
    let redis = redis();
    let accounts = format!(r#"[{{"app_key":"12345678","app_secret":"{APP_2}"}}]"#);
    TestApp::with(&[
        ("LOG_LEVEL", "trace"),
        ("CHAOS_ENABLED", "true"),
        ("INTERNAL_API_KEY", INTERNAL),
        ("ALIEXPRESS_APP_SECRET", APP),
        ("ALIEXPRESS_ACCOUNTS_JSON", &accounts),
        ("REDIS_URL", &redis),
        ("RETRY_MAX_ATTEMPTS", "2"),
        ("RETRY_BASE_DELAY_MS", "1"),
    ])
}

/// Asks with good and bad keys while the upstream fails in every way.
fn fail(app: &TestApp, seen: &mut Vec<Answer>) {
    let faults = [
        json!([]),
        json!([{"method": "*", "fault": "status", "status": 500}]),
        json!([{"method": "*", "fault": "reset"}]),
        json!([{"method": "*", "fault": "garbage"}]),
        json!([{"method": "*", "fault": "html"}]),
        json!([{"method": "*", "fault": "throttle", "seconds": 1}]),
    ];
    for (number, fault) in faults.iter().enumerate() {
        app.upstream.faults(fault);
        for path in [
            format!("/api/products/search?keywords=usb&page_no={}", number + 1),
            format!("/api/products/details/{}", number + 1),
            "/api/orders".to_owned(),
            "/api/affiliate/link?url=https://www.aliexpress.com/item/1.html".to_owned(),
        ] {
            for key in [INTERNAL, WRONG_INTERNAL] {
                let mut keyed = app.connection().with_header("x-internal-key", key);
                seen.push(keyed.get(&path).unwrap());
                let bearer = format!("Bearer {key}");
                let mut keyed = app.connection().with_header("authorization", &bearer);
                seen.push(keyed.get(&path).unwrap());
            }
        }
    }
}

/// Actors die, and the admin and somebody else look at everything.
fn strike_and_look(app: &TestApp, seen: &mut Vec<Answer>) {
    for actor in ["cache", "rate-limiter", "api-client", "metrics"] {
        for fault in ["panic", "stop"] {
            let path = format!("/admin/chaos/actors/{actor}/{fault}");
            seen.push(app.admin().post(&path).unwrap());
            seen.push(app.get("/api/products/search?keywords=usb"));
        }
    }
    for path in [
        "/admin/config",
        "/admin/actors",
        "/admin/breakers",
        "/admin/rate-limit/status",
        "/admin/monitoring/recent-requests",
        "/api/monitoring/metrics",
        "/api/status",
        "/api/cache/stats",
        "/health/detailed",
        "/metrics",
        "/openapi.json",
    ] {
        seen.push(app.admin().get(path).unwrap());
        let mut wrong = app.connection().with_header("x-admin-key", WRONG_ADMIN);
        seen.push(wrong.get(path).unwrap());
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let app = stand_with_secrets();
    let mut seen = Vec::new();
    fail(&app, &mut seen);
    strike_and_look(&app, &mut seen);
    let mut answers = String::new();
    for answer in &seen {
        check_headers(answer);
        answers.push_str(&format!("{:?} {}\n", answer.headers, answer.text()));
    }
    let log = app.log();
    assert!(log.contains("panic"), "actors did die");
    for secret in [ADMIN_KEY, INTERNAL, APP, APP_2, REDIS, WRONG_ADMIN, WRONG_INTERNAL] {
        for (place, text) in [("log", &log), ("answers", &answers)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in the {place}");
        }
    }
}

#[test]
fn what_tells_about_the_inside_or_reflects_is_not_there() {
    let app = TestApp::start();
    for method in ["TRACE", "CONNECT"] {
        let mut curious = app.connection().with_header("x-curious", "reflected");
        let answer = curious.send(method, "/api/status", b"").unwrap();
        assert_eq!(answer.status, 405, "{method}");
        assert!(!answer.text().contains("reflected") && answer.header("x-curious").is_none());
    }
    let strange = b"GET /api/status HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    for bytes in [&strange[..], b"GET http://evil.example/nothing HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let answer = app.connection().send_bytes(bytes, false).unwrap();
        let whole = format!("{:?} {}", answer.headers, answer.text());
        assert!(!whole.contains("evil.example"), "{whole}");
    }
    for header in ["server", "x-powered-by", "via"] {
        assert_eq!(app.get("/api/status").header(header), None);
    }
    let page = app.get("/docs");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe-eval") && !policy.contains("script-src *"), "{policy}");
    for origin in [
        "https://chatgpt.com.evil.example",
        "http://chatgpt.com",
        "https://evil.example",
        "https://CHATGPT.com",
        "null",
        "https://chatgpt.com:444",
    ] {
        let mut other = app.connection().with_header("origin", origin);
        let answer = other.get("/api/status").unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}
