//! The tiers as clients see them: memory, then the database after a restart, then nothing.

use std::time::Duration;

use breakwater::cache::{CacheKey, Entry, Representation, Times};
use breakwater::clock;
use serde_json::json;

use crate::envelope::{data, metadata, refused};
use crate::support::gateway::Plan;
use crate::support::process::wait_until;
use crate::support::redis::Redis;
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
    assert_eq!(first["degraded"], json!(["database", "access_lists", "invalidations"]));
    assert_eq!(metadata(&app.get(PATHS[0]))["cache_tier"], "memory");
    assert_eq!(app.get("/health/ready").status, 200);
    let health = data(&app.get("/health/detailed"));
    assert_eq!(health["status"], "degraded", "{health}");
}

#[test]
fn what_somebody_else_wrote_into_redis_is_a_miss_unless_it_is_an_answer_of_its_kind() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let plan = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        // Pictures of the simulator have one address then, whichever gateway shows them.
        let plan = Plan::in_folder(&folder).with("PUBLIC_URL", "http://shop.test");
        plan.with("REDIS_URL", redis.url())
    };
    let path = "/api/products/search?keywords=usb";
    let first = plan("first").start();
    let honest = data(&first.connection().get(path).unwrap());
    let name = wait_for_entry(&redis);
    first.stop();
    let forged = |body: &str| {
        let key = CacheKey::new(name.strip_prefix("breakwater:2:e:").unwrap());
        let year = clock::now().plus(Duration::from_secs(365 * 86_400));
        let (fresh_until, revalidate_until, stale_until) = (year, year, year);
        let times = Times { stored_at: clock::now(), fresh_until, revalidate_until, stale_until };
        let representation = Representation::json(body.to_owned().into());
        let entry = Entry::new(representation, times, false, Vec::new()).encode(&key);
        redis.command(&[b"SET", name.as_bytes(), &entry]);
    };
    for (number, body) in ["{\"products\": ", "\"no page\"", "[]"].into_iter().enumerate() {
        forged(body);
        let gateway = plan(&format!("broken {number}")).start();
        let answer = gateway.connection().get(path).unwrap();
        assert_eq!((answer.status, data(&answer)), (200, honest.clone()), "{body}");
        gateway.stop();
    }
    // One that is an answer is believed, and no longer than one of this gateway's own.
    forged(
        &json!({"products": [], "total_record_count": 7, "current_page": 1, "page_size": 20})
            .to_string(),
    );
    let gateway = plan("believed").start();
    let answer = gateway.connection().get(path).unwrap();
    assert_eq!(data(&answer)["total_record_count"], 7);
    let status = answer.header("cache-status").unwrap();
    let ttl = status.split("ttl=").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
    assert!(ttl.parse::<u64>().unwrap() <= 3_960, "{status}");
    gateway.stop();
    redis.stop();
}

/// The name of the first entry that Redis holds.
fn wait_for_entry(redis: &Redis) -> String {
    let mut name = None;
    wait_until("an entry is stored", Duration::from_secs(10), || {
        let keys = String::from_utf8(redis.command(&[b"KEYS", b"breakwater:2:e:*"])).unwrap();
        name = keys.lines().find(|line| line.starts_with("breakwater:")).map(str::to_owned);
        name.is_some()
    });
    name.unwrap()
}
