//! Health endpoints: true in good times and in bad.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::data;
use crate::support::gateway::Plan;
use crate::support::process::wait_until;
use crate::support::redis::Redis;
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
    assert_eq!(data(&app.get("/api/status"))["degraded"], json!([]));
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
    assert_eq!(data(&app.get("/api/status"))["degraded"], json!(["upstream"]));
    assert_eq!(component(&report, "cache")["status"], "healthy");
}

#[test]
fn a_store_that_an_admin_holds_open_is_not_called_an_outage() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), Redis::start());
    let gateway = Plan::in_folder(folder.path()).with("REDIS_URL", redis.url()).start();
    let mut admin = gateway.admin().with_header("content-type", "application/json");
    for (store, name, costs) in [
        ("redis", "Redis", "memory and the database answer instead"),
        ("database", "Database", "nothing is read from it, and what is stored is written to it"),
    ] {
        data(&admin.post(&format!("/admin/breakers/{store}/open")).unwrap());
        let report = data(&admin.get("/health/detailed").unwrap());
        let told = component(&report, store);
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.starts_with("not asked: breaker open, forced by an admin"), "{told}");
        let mut live = Value::Null;
        wait_until("the sentence tells it", Duration::from_secs(15), || {
            live = data(&admin.get("/admin/live?since=0").unwrap());
            let trouble = &live["state"]["troubles"][0];
            trouble["kind"] == "store_held" && trouble["name"] == name
        });
        let said = live["summary"].as_str().unwrap();
        assert!(said.contains(&format!("{name} not asked for ")), "{said}");
        assert!(said.contains(&format!("an admin holds its breaker open: {costs}")), "{said}");
        assert!(!said.contains("away"), "{said}");
        // As the sentence says: an admin can still change who may come in.
        let form = json!({"label": store}).to_string();
        let made = admin.send("POST", "/admin/keys", form.as_bytes()).unwrap();
        assert_eq!(made.status, 200, "{}", made.text());
        data(&admin.post(&format!("/admin/breakers/{store}/close")).unwrap());
        wait_until("all is well", Duration::from_secs(15), || {
            data(&admin.get("/health/detailed").unwrap())["status"] == "healthy"
        });
    }
    gateway.stop();
    redis.stop();
}
