//! The audit table: everything an admin changes, with who, when and what.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::support::gateway::Plan;
use crate::support::http::Answer;
use crate::support::process::wait_until;
use crate::test_app::TestApp;

fn admin(app: &TestApp, method: &str, path: &str, body: &Value) -> Answer {
    let connection = app.admin().with_header("content-type", "application/json");
    let mut connection = connection.with_header("x-request-id", &format!("id-of-{method}"));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    connection.send(method, path, body.as_bytes()).unwrap()
}

fn audit(app: &TestApp, query: &str) -> Vec<Value> {
    let page = data(&app.admin().get(&format!("/admin/audit{query}")).unwrap());
    assert_eq!(page["complete"], true, "{page}");
    page["entries"].as_array().unwrap().clone()
}

/// Method, path and body; and what is noted of it: action, subject, outcome.
type Row = (&'static str, &'static str, Value, [String; 3]);

fn row(asked: (&'static str, &'static str, Value), noted: [&str; 3]) -> Row {
    let (method, path, body) = asked;
    (method, path, body, noted.map(str::to_owned))
}

/// Changes of lists and keys, one of which has this id.
fn of_access(id: &str) -> Vec<Row> {
    const WHITE: &str = "/admin/rate-limit/whitelist";
    const BLACK: &str = "/admin/rate-limit/blacklist";
    let who = "203.0.113.7";
    let listed = || json!({"identifier": who});
    let unknown = "0123456789ab";
    vec![
        row(("POST", WHITE, listed()), ["whitelist.put", who, "done"]),
        row(("DELETE", WHITE, listed()), ["whitelist.remove", who, "done"]),
        row(("POST", BLACK, listed()), ["blacklist.put", who, "done"]),
        row(("DELETE", BLACK, listed()), ["blacklist.remove", who, "done"]),
        row(("DELETE", BLACK, listed()), ["blacklist.remove", who, "not_found"]),
        row(("DELETE", "/admin/keys", json!({"id": id})), ["keys.revoke", id, "done"]),
        row(
            ("DELETE", "/admin/keys", json!({"id": unknown})),
            ["keys.revoke", unknown, "not_found"],
        ),
    ]
}

/// All the other changes.
fn of_others() -> Vec<Row> {
    let post = |path, noted| row(("POST", path, json!(null)), noted);
    let tag = json!({"tag": "product:1", "mode": "soft"});
    let noted = ["cache.invalidate", "tag product:1 (soft)", "done"];
    vec![
        post("/admin/breakers/upstream/open", ["breaker.open", "upstream", "done"]),
        post("/admin/breakers/upstream/reset", ["breaker.reset", "upstream", "done"]),
        post("/api/cache/clear", ["cache.clear", "everything (hard)", "done"]),
        row(("POST", "/admin/cache/invalidate", tag), noted),
        post("/admin/cache/warm", ["cache.warm", "", "done"]),
        post("/admin/monitoring/reset", ["monitoring.reset", "", "done"]),
        post("/admin/chaos/actors/metrics/panic", ["chaos.panic", "metrics", "done"]),
        post("/admin/chaos/actors/nobody/stop", ["chaos.stop", "nobody", "not_found"]),
    ]
}

#[test]
fn every_change_is_noted_with_who_when_what_and_what_came_of_it() {
    let app = TestApp::with(&[("CHAOS_ENABLED", "true")]);
    let made = data(&admin(&app, "POST", "/admin/keys", &json!({"label": "x"})));
    let id = made["key"]["id"].as_str().unwrap();
    let rows: Vec<Row> = of_access(id).into_iter().chain(of_others()).collect();
    for (method, path, body, _) in &rows {
        admin(&app, method, path, body);
    }
    let mut noted = audit(&app, "");
    noted.reverse();
    assert_eq!(noted.len(), rows.len() + 1);
    assert_eq!((&noted[0]["action"], &noted[0]["subject"]), (&json!("keys.create"), &json!(id)));
    for ((method, path, _, expected), noted) in rows.iter().zip(&noted[1..]) {
        let told = [&noted["action"], &noted["subject"], &noted["outcome"]];
        assert_eq!(told, [&expected[0], &expected[1], &expected[2]], "{method} {path}");
        assert_eq!(noted["request_id"], format!("id-of-{method}"));
        assert_eq!(noted["address"], "127.0.0.1");
        let actor = noted["actor"].as_str().unwrap();
        assert!(actor.starts_with("admin:") && actor.len() == 8, "{actor}");
        assert!(noted["at"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn what_changes_nothing_is_not_noted() {
    let app = TestApp::start();
    for path in ["/admin/actors", "/admin/keys", "/admin/audit", "/admin/config", "/api/status"] {
        data(&app.admin().get(path).unwrap());
    }
    admin(&app, "POST", "/admin/keys", &json!({"label": 1, "per_minute": 0}));
    refused(&app.connection().post("/api/cache/clear").unwrap(), 403, "forbidden");
    assert!(audit(&app, "").is_empty());
}

#[test]
fn it_is_paged_and_outlasts_the_process() {
    let app = TestApp::start();
    for number in 0..25 {
        let form = json!({"identifier": format!("203.0.113.{number}")});
        data(&admin(&app, "POST", "/admin/rate-limit/blacklist", &form));
    }
    let app = app.restart();
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page = data(&app.admin().get(&format!("/admin/audit?limit=10{before}")).unwrap());
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 10);
        seen.extend(entries.iter().map(|entry| entry["subject"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_i64() else { break };
        before = format!("&before={next}");
    }
    let expected: Vec<_> = (0..25).rev().map(|number| format!("203.0.113.{number}")).collect();
    assert_eq!(seen, expected);
    let ids: BTreeSet<_> = audit(&app, "").iter().map(|entry| entry["id"].as_i64()).collect();
    assert!(ids.len() == 25 && !ids.contains(&None));
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?before=0", "?before=-1", "?before=x"] {
        let answer = app.admin().get(&format!("/admin/audit{query}")).unwrap();
        refused(&answer, 400, "invalid_request");
    }
    refused(&app.get("/admin/audit"), 403, "forbidden");
}

#[test]
fn a_change_of_access_is_noted_with_all_that_was_said() {
    let app = TestApp::start();
    let key = json!({"label": "the shop", "per_minute": 7, "addresses": ["203.0.113.0/24"],
        "expires_at": "2099-01-01T00:00:00Z"});
    data(&admin(&app, "POST", "/admin/keys", &key));
    let entry = json!({"identifier": "203.0.113.7", "reason": "scrapes"});
    data(&admin(&app, "POST", "/admin/rate-limit/blacklist", &entry));
    let noted = audit(&app, "");
    let details: Vec<_> = noted.iter().map(|entry| entry["details"].as_str().unwrap()).collect();
    assert_eq!(
        details,
        [
            "reason: \"scrapes\"; for ever",
            "label: \"the shop\"; per_minute: 7; from 203.0.113.0/24; \
             until 2099-01-01T00:00:00.000Z",
        ]
    );
}

#[test]
fn the_configuration_is_read_again_by_signal_or_request_and_what_came_of_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("breakwater.toml");
    std::fs::write(&file, "[log]\nlevel = \"info\"\n").unwrap();
    let gateway = Plan::in_folder(folder.path()).start();
    let noted = || -> Vec<Value> {
        let page = data(&gateway.admin().get("/admin/audit").unwrap());
        page["entries"].as_array().unwrap().clone()
    };
    let level = || -> Value {
        let all = data(&gateway.admin().get("/admin/config").unwrap());
        let all = all.as_array().unwrap();
        all.iter().find(|one| one["name"] == "LOG_LEVEL").unwrap()["value"].clone()
    };
    std::fs::write(&file, "[log]\nlevel = \"warning\"\n[server]\nworkers = 3\n").unwrap();
    gateway.process.signal("HUP");
    wait_until("it is noted", Duration::from_secs(10), || !noted().is_empty());
    let entry = &noted()[0];
    assert_eq!((&entry["action"], &entry["actor"]), (&json!("config.reload"), &json!("signal")));
    assert_eq!(entry["outcome"], "done");
    assert_eq!(entry["details"], "taken over: LOG_LEVEL; from the next start: HTTP_WORKERS");
    assert_eq!(level(), "warning");

    std::fs::write(&file, "[log]\nlevel = \"debug\"\n").unwrap();
    let told = data(&gateway.admin().post("/admin/config/reload").unwrap());
    assert_eq!(told, json!({"taken_over": ["LOG_LEVEL"], "need_restart": [], "cautions": []}));
    assert_eq!(level(), "debug");
    std::fs::write(&file, "[log]\nlevel = \"loud\"\n").unwrap();
    let answer = gateway.admin().post("/admin/config/reload").unwrap();
    let error = refused(&answer, 400, "invalid_request");
    assert!(error["error"].as_str().unwrap().contains("loud"), "{error}");
    assert_eq!(level(), "debug");
    assert_eq!(noted()[0]["outcome"], "invalid_request");
    refused(&gateway.connection().post("/admin/config/reload").unwrap(), 403, "forbidden");
    gateway.stop();
}
