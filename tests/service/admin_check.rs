//! Guessing the admin's key: bounded, counted, logged, and nobody else's concern.

use crate::envelope::{data, refused};
use crate::support::gateway::ADMIN_KEY;
use crate::support::http::Answer;
use crate::test_app::TestApp;

fn app() -> TestApp {
    TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")])
}

fn from(app: &TestApp, address: &str, key: &str) -> Answer {
    let connection = app.connection().with_header("x-forwarded-for", address);
    connection.with_header("x-admin-key", key).get("/admin/actors").unwrap()
}

fn counted(app: &TestApp, reason: &str) -> f64 {
    app.metric(&format!("admin_auth_failures_total{{reason=\"{reason}\"}}"))
}

#[test]
fn after_ten_wrong_keys_nothing_is_compared_any_more() {
    let app = app();
    for number in 0..10 {
        refused(&from(&app, "203.0.113.7", &format!("guess-{number}")), 403, "forbidden");
    }
    for key in ["guess", ADMIN_KEY] {
        let answer = from(&app, "203.0.113.7", key);
        let error = refused(&answer, 429, "rate_limited");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=6).contains(&wait), "{error}");
        let policy = answer.header("ratelimit-policy").unwrap_or_default();
        assert!(!policy.contains("upstream-share"), "no call was asked for: {policy}");
    }
    // Whoever shows none is told what he was told before.
    let mut without = app.connection().with_header("x-forwarded-for", "203.0.113.7");
    refused(&without.get("/admin/actors").unwrap(), 403, "forbidden");
    // Elsewhere, and beside the admin's addresses, nothing has changed.
    data(&from(&app, "203.0.113.8", ADMIN_KEY));
    data(&app.admin().get("/admin/actors").unwrap());
    data(&without.get("/api/status").unwrap());
    for (reason, times) in [("wrong", 10.0), ("locked", 2.0), ("missing", 1.0)] {
        assert!((counted(&app, reason) - times).abs() < 0.1, "{reason}");
    }
    let log = app.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("admin request refused")).collect();
    assert_eq!(lines.len(), 13);
    assert!(lines.iter().all(|line| line.contains("203.0.113.7") && line.contains("request_id")));
    assert!(!log.contains(ADMIN_KEY) && !log.contains("guess-3"));
}

#[test]
fn addresses_of_one_prefix_guess_together_and_a_right_key_costs_nothing() {
    let app = app();
    for number in 0..20 {
        data(&from(&app, "2001:db8::1", ADMIN_KEY));
        let answer = from(&app, &format!("2001:db8:1:2::{number}"), "wrong");
        assert_eq!(answer.status, if number < 10 { 403 } else { 429 }, "{number}");
    }
}

#[test]
fn without_a_key_configured_nobody_is_let_in_and_nobody_is_counted_as_guessing() {
    let app = TestApp::with(&[("ADMIN_API_KEY", "")]);
    for number in 0..15 {
        let key = format!("guess-{number}");
        let mut connection = app.connection().with_header("x-admin-key", &key);
        refused(&connection.get("/admin/keys").unwrap(), 403, "forbidden");
    }
    assert!((counted(&app, "closed") - 15.0).abs() < 0.1);
}
