//! The tiers as clients see them: memory, then the database after a restart, then nothing.

use serde_json::json;

use crate::envelope::{data, metadata, refused};
use crate::test_app::TestApp;

const PATHS: [&str; 5] = [
    "/api/products/search?keywords=usb",
    "/api/products/hot",
    "/api/categories",
    "/api/products/smart-search?keywords=lamp",
    "/api/affiliate/link?url=https://www.aliexpress.com/item/1007108581411328.html",
];

#[test]
fn the_second_answer_comes_from_memory_and_is_the_same() {
    let app = TestApp::start();
    for path in &PATHS[..3] {
        let first = app.get(path);
        assert_eq!(metadata(&first)["cache_tier"], "none");
        assert_eq!(first.header("cache-status"), Some("breakwater; fwd=miss; stored"));
        let calls = app.upstream.calls();
        let second = app.get(path);
        assert_eq!(metadata(&second)["cache_tier"], "memory");
        assert_eq!(data(&second), data(&first));
        assert_eq!(app.upstream.calls(), calls);
    }
}

#[test]
fn after_a_restart_the_database_answers_and_the_upstream_is_not_asked() {
    let app = TestApp::start();
    let before = PATHS.map(|path| data(&app.get(path)));
    let calls = app.upstream.calls();
    let app = app.restart();
    for (path, before) in PATHS.iter().zip(&before).take(3) {
        let answer = app.get(path);
        assert_eq!(metadata(&answer)["cache_tier"], "database", "{path}");
        assert_eq!(data(&answer), *before);
        assert_eq!(metadata(&app.get(path))["cache_tier"], "memory", "lifted up: {path}");
    }
    assert_eq!(metadata(&app.get(PATHS[3]))["cache_tier"], "database");
    assert_eq!(data(&app.get(PATHS[4]))["links"][0]["status"], "cached");
    assert_eq!(app.upstream.calls(), calls);
}

#[test]
fn an_outage_after_a_restart_goes_unnoticed_where_answers_are_kept() {
    let app = TestApp::start();
    data(&app.get(PATHS[0]));
    let app = app.restart();
    app.upstream.fails_with(&json!({"fault": "reset"}));
    assert_eq!(metadata(&app.get(PATHS[0]))["cache_tier"], "database");
    refused(&app.get(PATHS[2]), 503, "upstream_unavailable");
}

#[test]
fn clearing_all_and_clearing_a_pattern() {
    let app = TestApp::start();
    for path in &PATHS[..3] {
        data(&app.get(path));
    }
    let cleared = app.admin().post("/api/cache/clear?pattern=products:search:*").unwrap();
    assert_eq!(data(&cleared)["memory"], 1, "{}", cleared.text());
    assert_eq!(metadata(&app.get(PATHS[0]))["cache_hit"], false);
    assert_eq!(metadata(&app.get(PATHS[1]))["cache_tier"], "memory");
    let cleared = data(&app.admin().post("/api/cache/clear").unwrap());
    assert_eq!((&cleared["memory"], &cleared["unreached"]), (&json!(3), &json!([])));
    let calls = app.upstream.calls();
    for path in &PATHS[..3] {
        assert_eq!(metadata(&app.get(path))["cache_hit"], false, "{path}");
    }
    assert_eq!(app.upstream.calls(), calls + 3);
    let none = data(&app.admin().post("/api/cache/clear?pattern=nothing:*").unwrap());
    assert_eq!(none["memory"], 0);
    let long = format!("/api/cache/clear?pattern={}", "a".repeat(300));
    refused(&app.admin().post(&long).unwrap(), 400, "invalid_request");
}

#[test]
fn clearing_reaches_what_was_just_stored_in_the_database() {
    let app = TestApp::start();
    data(&app.get(PATHS[0]));
    data(&app.admin().post("/api/cache/clear").unwrap());
    let app = app.restart();
    assert_eq!(metadata(&app.get(PATHS[0]))["cache_hit"], false);
}

#[test]
fn with_caching_off_every_request_is_a_call() {
    let app = TestApp::with(&[("ENABLE_ENHANCED_CACHING", "off")]);
    for calls in 1..=2 {
        let answer = metadata(&app.get(PATHS[0]));
        assert_eq!((&answer["cache_enabled"], app.upstream.calls()), (&json!(false), calls));
    }
}

#[test]
fn a_database_that_cannot_be_opened_is_left_out_and_said() {
    let app = TestApp::with(&[("DATABASE_URL", "sqlite:///nowhere/at/all/x.db")]);
    let first = metadata(&app.get(PATHS[0]));
    assert_eq!(first["degraded"], json!(["database", "access_lists"]));
    assert_eq!(metadata(&app.get(PATHS[0]))["cache_tier"], "memory");
    assert_eq!(app.get("/health/ready").status, 200);
    let health = data(&app.get("/health/detailed"));
    assert_eq!(health["status"], "degraded", "{health}");
}
