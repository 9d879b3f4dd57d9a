//! Health endpoints: true in good times and in bad.

use serde_json::{Value, json};

use crate::envelope::data;
use crate::test_app::TestApp;

fn component(report: &Value, name: &str) -> Value {
    let components = report["components"].as_array().expect("components");
    let found = components.iter().find(|component| component["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {report}")).clone()
}

#[test]
fn all_is_well() {
    let app = TestApp::start();
    for path in ["/health", "/health/live", "/health/ready"] {
        let report = data(&app.get(path));
        assert_eq!(report["status"], "healthy", "{path}: {report}");
        assert!(report["uptime_seconds"].is_u64() && report["version"].is_string());
    }
    let report = data(&app.get("/health/detailed"));
    assert_eq!(report["status"], "healthy", "{report}");
    for name in ["upstream", "redis", "database", "memory", "disk", "cache", "actors"] {
        let component = component(&report, name);
        assert_eq!(component["status"], "healthy", "{component}");
        assert!(component["detail"].is_string());
    }
    assert_eq!(app.upstream.calls(), 0, "health costs no upstream call");
}

#[test]
fn an_upstream_that_is_down_degrades_and_does_not_stop_the_service() {
    let app = TestApp::with(&[("BREAKER_FAILURES", "1")]);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    app.get("/api/categories");
    assert_eq!(data(&app.get("/health/live"))["status"], "healthy");
    assert_eq!(app.get("/health/ready").status, 200);
    let report = data(&app.get("/health/detailed"));
    assert_eq!(report["status"], "degraded", "{report}");
    assert_ne!(component(&report, "upstream")["status"], "healthy");
    assert_eq!(component(&report, "cache")["status"], "healthy");
}
