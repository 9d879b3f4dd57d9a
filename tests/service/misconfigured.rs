//! A configuration that the upstream does not accept: told in an operator's words, asked about
//! once, over by itself when it is put right.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

/// The first back-off, and what a busy machine may add.
const FIRST_PAUSE: Duration = Duration::from_secs(15);

fn search(number: usize) -> String {
    format!("/api/products/search?keywords=usb&max_sale_price={}", 100 + number)
}

fn upstream(app: &TestApp) -> Value {
    let report = data(&app.get("/health/detailed"));
    assert_ne!(report["status"], "unhealthy", "what is kept is still served: {report}");
    let components = report["components"].as_array().expect("components").clone();
    components.into_iter().find(|component| component["name"] == "upstream").expect("upstream")
}

fn problems(app: &TestApp) -> Vec<Value> {
    let status = data(&app.get("/api/status"));
    let problems = status["upstream_problems"].as_array().cloned().unwrap_or_default();
    let degraded = status["degraded"].as_array().expect("a list");
    let says = degraded.contains(&json!("upstream_configuration"));
    assert_eq!(says, !problems.is_empty(), "{status}");
    problems
}

fn log_lines(app: &TestApp, level: &str, words: &str) -> usize {
    let is_such = |line: &&str| line.contains(words) && line.contains(level);
    app.log().lines().filter(is_such).count()
}

/// Status and health show this fault and no other, and name the setting.
fn is_shown(app: &TestApp, word: &str, setting: &str) {
    let problems = problems(app);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["fault"], word);
    assert!(problems[0]["advice"].as_str().expect("advice").contains(setting), "{problems:?}");
    assert!(problems[0]["since"].as_str().expect("since").ends_with('Z'), "{problems:?}");
    let of_method = ["tracking_id", "permission"].contains(&word);
    assert_eq!(problems[0]["method"].is_string(), of_method, "{problems:?}");
    let upstream = upstream(app);
    let detail = upstream["detail"].as_str().expect("detail");
    assert!(detail.contains(setting) && detail.contains("since 20"), "{detail}");
    let status = if of_method { "degraded" } else { "unhealthy" };
    assert_eq!(upstream["status"], status, "{upstream}");
}

#[test]
fn each_fault_names_the_setting_and_costs_one_call() {
    let rows = [
        (json!({"fault": "error", "code": "InvalidAppKey"}), "app_key", "ALIEXPRESS_APP_KEY"),
        (
            json!({"fault": "error", "code": "IncompleteSignature"}),
            "signature",
            "ALIEXPRESS_APP_SECRET",
        ),
        (json!({"fault": "html"}), "gateway", "ALIEXPRESS_GATEWAY_URL"),
        (json!({"fault": "html", "code": "moved"}), "gateway", "ALIEXPRESS_GATEWAY_URL"),
        (
            json!({"fault": "variant", "variant": "business_code", "code": "401"}),
            "account",
            "publisher",
        ),
        (
            json!({"fault": "variant", "variant": "business_code", "code": "4001"}),
            "tracking_id",
            "ALIEXPRESS_TRACKING_ID",
        ),
        (json!({"fault": "error", "code": "InsufficientPermission"}), "permission", "permission"),
    ];
    let app = TestApp::start();
    for (row, (fault, word, setting)) in rows.iter().enumerate() {
        data(&app.admin().post("/admin/breakers/upstream/reset").unwrap());
        app.upstream.fails_with(fault);
        let calls = app.upstream.calls();
        for number in 0..50 {
            refused(&app.get(&search(row * 50 + number)), 502, "upstream_rejected");
        }
        assert_eq!(app.upstream.calls() - calls, 1, "{fault}");
        is_shown(&app, word, setting);
        assert!((app.metric("upstream_misconfigured") - 1.0).abs() < 0.1);
        let said = log_lines(&app, "ERRO", "does not accept the configuration");
        assert_eq!(said, row + 1, "told once: {fault}");
    }
}

#[test]
fn it_is_over_when_the_upstream_accepts_a_try() {
    let app = TestApp::start();
    app.upstream.fails_with(&json!({"fault": "error", "code": "InvalidAppKey"}));
    refused(&app.get(&search(1)), 502, "upstream_rejected");
    app.upstream.recovers();
    refused(&app.get(&search(2)), 502, "upstream_rejected");
    assert_eq!(app.upstream.calls(), 1);
    wait_until("a try is made", FIRST_PAUSE, || app.get(&search(3)).status == 200);
    assert!(problems(&app).is_empty());
    assert_eq!(upstream(&app)["status"], "healthy");
    assert!(app.metric("upstream_misconfigured").abs() < 0.1);
    assert_eq!(log_lines(&app, "INFO", "accepts the configuration again"), 1);
    data(&app.get(&search(4)));
}

#[test]
fn what_is_kept_is_served_meanwhile_and_says_so() {
    let app = TestApp::start();
    data(&app.get(&search(1)));
    app.upstream.fails_with(&json!({"fault": "error", "code": "InvalidAppKey"}));
    refused(&app.get(&search(2)), 502, "upstream_rejected");
    let kept = app.get(&search(1));
    data(&kept);
    assert_eq!(kept.json()["metadata"]["degraded"], json!(["upstream_configuration"]));
    assert_eq!(app.upstream.calls(), 2);
}

const LINK: &str = "/api/affiliate/link?url=https://www.aliexpress.com/item/1005000000000001.html";

#[test]
fn a_tracking_id_nobody_knows_is_found_out_although_the_upstream_does_not_say() {
    for first in [search(1), LINK.to_owned(), "/api/products/hot".to_owned()] {
        let app = TestApp::with(&[("ALIEXPRESS_TRACKING_ID", "nobody-knows-it")]);
        refused(&app.get(&first), 502, "upstream_rejected");
        assert_eq!(app.upstream.calls(), 2, "{first} and the question about it");
        for number in 2..20 {
            refused(&app.get(&search(number)), 502, "upstream_rejected");
        }
        assert!(app.upstream.calls() <= 3, "each method learns it once: {first}");
        let problem = problems(&app).swap_remove(0);
        assert_eq!(problem["fault"], "tracking_id");
        let advice = problem["advice"].as_str().expect("advice");
        assert!(advice.contains("ALIEXPRESS_TRACKING_ID"), "{advice}");
        // What needs no tracking id works as ever.
        data(&app.get("/api/categories"));
    }
}

#[test]
fn a_tracking_id_that_is_known_is_not_doubted_twice() {
    let app = TestApp::start();
    // The upstream says so: no doubt.
    data(&app.get("/api/products/search?keywords=zzzzqqqq"));
    assert_eq!(app.upstream.calls(), 1);
    data(&app.get(&search(1)));
    assert_eq!(app.upstream.calls(), 2);
}
