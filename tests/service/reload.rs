//! A changed file, read again: what is in force afterwards, what waits for a start, and what a mistake does.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::envelope::{data, refused};
use crate::support::gateway::{Plan, Running};
use crate::support::http::{Answer, Connection};
use crate::support::process::wait_until;
use crate::test_app::Upstream;

const SOON: Duration = Duration::from_secs(10);
const LIVE: &str = "/api/products/search/no-cache";

/// A gateway whose file can be edited, before a simulator.
pub(crate) struct Edited {
    folder: TempDir,
    pub(crate) upstream: Upstream,
    pub(crate) gateway: Running,
}

impl Edited {
    fn start(file: &str) -> Self {
        Self::before(Upstream::start(), file, &[])
    }

    /// The environment wins over the file, so what the file is to set is not set there.
    pub(crate) fn before(
        upstream: Upstream,
        file: &str,
        more: &[(&'static str, &'static str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("breakwater.toml"), file).unwrap();
        let mut plan = Plan::in_folder(folder.path()).before(upstream.address);
        let by_file = [
            "RATE_LIMIT_ENABLED",
            "UPSTREAM_RATE_PER_SECOND",
            "UPSTREAM_BURST",
            "UPSTREAM_DAILY_BUDGET",
        ];
        for (name, value) in by_file.map(|name| (name, "")).iter().chain(more) {
            plan = plan.with(name, *value);
        }
        Self { folder, upstream, gateway: plan.start() }
    }

    fn write(&self, file: &str) {
        std::fs::write(self.folder.path().join("breakwater.toml"), file).unwrap();
    }

    pub(crate) fn ask_to_reload(&self, file: &str) -> Answer {
        self.write(file);
        self.gateway.admin().post("/admin/config/reload").unwrap()
    }

    /// Takes over what the file says, which has to be all of it.
    pub(crate) fn reload(&self, file: &str) -> Vec<String> {
        let told = data(&self.ask_to_reload(file));
        assert_eq!(told["need_restart"], json!([]), "{told}");
        serde_json::from_value(told["taken_over"].clone()).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.gateway.connection().get(path).unwrap()
    }

    /// A question past the cache, for which nobody is limited.
    pub(crate) fn live(&self, words: &str) -> Answer {
        live(self.gateway.connection(), words)
    }

    pub(crate) fn metric(&self, name: &str) -> String {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in\n{text}")).to_owned()
    }
}

pub(crate) fn live(connection: Connection, words: &str) -> Answer {
    let body = json!({"keywords": words}).to_string();
    let mut connection = connection.with_header("content-type", "application/json");
    connection.send("POST", LIVE, body.as_bytes()).unwrap()
}

const fn search(number: u32) -> &'static str {
    match number {
        0 => "/api/products/search?keywords=lamp",
        1 => "/api/products/search?keywords=case",
        _ => "/api/products/search?keywords=usb",
    }
}

#[test]
fn limits_change_and_what_was_used_counts() {
    let app = Edited::start("[limits]\nsearch_per_minute = 5\n");
    (0..3).for_each(|_| drop(data(&app.get(search(0)))));
    assert_eq!(app.reload("[limits]\nsearch_per_minute = 3\n"), ["RATE_LIMIT_SEARCH_PER_MINUTE"]);
    refused(&app.get(search(0)), 429, "rate_limited");
    app.reload("[limits]\nsearch_per_minute = 5\n");
    let answer = app.get(search(0));
    data(&answer);
    assert_eq!(answer.header("x-ratelimit-limit"), Some("5"));
    // By a signal it is the same.
    app.write("[limits]\nsearch_per_minute = 1\n");
    app.gateway.process.signal("HUP");
    wait_until("the signal is heard", SOON, || app.get(search(0)).status == 429);
    app.reload("[limits]\nenabled = false\n");
    (0..9).for_each(|_| drop(data(&app.get(search(0)))));
    assert_eq!(data(&app.get("/api/status"))["rate_limit_enabled"], false);
    app.gateway.stop();
}

#[test]
fn a_lifetime_holds_for_what_is_stored_from_then_on() {
    let app = Edited::start("[cache]\nttl_search = 3600\n");
    let fresh_for = |path: &str| -> u64 {
        let answer = app.get(path);
        data(&answer);
        let status = answer.header("cache-status").unwrap().to_owned();
        let ttl = status.split(';').find_map(|part| part.trim().strip_prefix("ttl="));
        ttl.unwrap_or_else(|| panic!("{status}")).parse().unwrap()
    };
    let first = |path: &str| {
        data(&app.get(path));
        fresh_for(path)
    };
    assert!(first(search(0)) > 3_000);
    assert_eq!(app.reload("[cache]\nttl_search = 60\n"), ["CACHE_TTL_SEARCH"]);
    assert!(first(search(1)) <= 66);
    assert!(first(search(0)) > 3_000, "what is stored stays as it was");
    // The lifetime that others follow.
    let told = app.reload("[cache]\nttl = 600\n");
    assert!(told.contains(&"CACHE_TTL".to_owned()) && told.contains(&"CACHE_TTL_HOT".to_owned()));
    assert!((500..=660).contains(&first(search(2))));
    app.gateway.stop();
}

#[test]
fn the_breaker_opens_by_the_new_bound() {
    let file =
        |failures: u32| format!("[breaker]\nfailures = {failures}\n[retry]\nmax_attempts = 1\n");
    let app = Edited::start(&file(100));
    app.upstream.fails_with(&json!({"method": "*", "fault": "status", "status": 503}));
    // A failure of one question alone would be about that question.
    for words in ["lamp", "case", "usb"] {
        refused(&app.live(words), 503, "upstream_unavailable");
    }
    assert_eq!(app.reload(&file(4)), ["BREAKER_FAILURES"]);
    assert_eq!(app.metric("circuit_breaker_state{name=\"upstream\"}"), "0");
    refused(&app.live("desk"), 503, "upstream_unavailable");
    refused(&app.live("cable"), 503, "circuit_open");
    app.gateway.stop();
}

#[test]
fn retries_are_made_as_often_as_is_set_now() {
    let file = |attempts: u32| format!("[retry]\nmax_attempts = {attempts}\nbase_delay_ms = 1\n");
    let app = Edited::start(&file(1));
    app.upstream.fails_with(&json!({"method": "*", "fault": "status", "status": 503}));
    let calls = || {
        let before = app.upstream.calls();
        refused(&app.live("lamp"), 503, "upstream_unavailable");
        app.upstream.calls() - before
    };
    assert_eq!(calls(), 1);
    app.reload(&file(2));
    assert_eq!(calls(), 2);
    app.gateway.stop();
}

#[test]
fn pace_and_budget_change_and_what_was_spent_stays_spent() {
    let app = Edited::start("[upstream]\nrate_per_second = 1000\nburst = 1000\n");
    (0..4).for_each(|_| drop(data(&app.live("lamp"))));
    // A call in a hundred seconds, and those that were made are no burst.
    let told = app.reload("[upstream]\nrate_per_second = 0.01\nburst = 1\n");
    assert_eq!(told, ["UPSTREAM_RATE_PER_SECOND", "UPSTREAM_BURST"]);
    wait_until("the pace holds a call", SOON, || app.live("lamp").status == 503);
    let live = data(&app.gateway.admin().get("/admin/live").unwrap());
    assert_eq!(live["credentials"][0]["pace_per_second"], 0.01);
    app.reload("[upstream]\nrate_per_second = 1000\nburst = 1000\n");
    data(&app.live("lamp"));
    app.reload(
        "[upstream]\ndaily_budget = 5\nclient_share_percent = 100\nkey_reserve_percent = 0\n",
    );
    let error = refused(&app.live("lamp"), 503, "upstream_unavailable");
    assert!(error["retry_after"].as_u64().unwrap() > 10, "until tomorrow: {error}");
    assert_eq!(app.metric("upstream_budget_remaining"), "0");
    app.gateway.stop();
}

#[test]
fn features_change_for_the_share_that_is_set() {
    let app = Edited::start("[features]\nenhanced_caching = \"off\"\n");
    let calls = || {
        let before = app.upstream.calls();
        (0..3).for_each(|_| drop(data(&app.get(search(0)))));
        app.upstream.calls() - before
    };
    assert_eq!(calls(), 3);
    assert_eq!(app.reload("[features]\nenhanced_caching = \"on\"\n"), ["ENABLE_ENHANCED_CACHING"]);
    assert_eq!(calls(), 1);
    app.reload("[features]\nenhanced_caching = \"on\"\ndata_validation = \"off\"\n");
    let answer = app.get(search(1)).json();
    assert!(answer["metadata"]["degraded"].as_array().unwrap().contains(&json!("validation")));
    app.gateway.stop();
}

#[test]
fn abuse_is_watched_for_as_soon_as_it_is_set() {
    let app = Edited::start("[limits]\nabuse_detection = \"off\"\n");
    (0..25).for_each(|_| drop(data(&app.get(search(0)))));
    assert_eq!(app.reload("[limits]\nabuse_detection = \"on\"\n"), ["ABUSE_DETECTION"]);
    (0..20).for_each(|_| drop(data(&app.get(search(0)))));
    refused(&app.get(search(0)), 429, "abuse_throttled");
    app.reload("[limits]\nabuse_detection = \"shadow\"\n");
    data(&app.get(search(0)));
    app.gateway.stop();
}

#[test]
fn the_log_says_as_much_as_is_set() {
    let app = Edited::start("[log]\nlevel = \"warning\"\n");
    let says = || {
        let log = std::fs::read_to_string(app.folder.path().join("gateway.log")).unwrap();
        log.contains("\"level\":\"debug\"")
    };
    data(&app.get(search(0)));
    assert!(!says());
    assert_eq!(app.reload("[log]\nlevel = \"debug\"\n"), ["LOG_LEVEL"]);
    wait_until("debug lines", SOON, || {
        data(&app.get(search(1)));
        says()
    });
    app.gateway.stop();
}

#[test]
fn a_bad_file_changes_nothing_and_all_its_mistakes_are_told() {
    let good = "[limits]\nsearch_per_minute = 5\n";
    let app = Edited::start(good);
    let read_at = || app.metric("config_last_reload_timestamp_seconds").parse::<u64>().unwrap();
    assert_eq!(app.metric("config_last_reload_successful"), "1");
    let started = read_at();
    assert!(started > 1_600_000_000);
    let bad = "[limits]\nsearch_per_minute = 1\nburst = -3\n[cache]\nttl_search = \"soon\"\n\
         [retry]\nbase_delay_ms = 500\nmax_delay_ms = 100\n[nonsense]\na = 1\n";
    let told = refused(&app.ask_to_reload(bad), 400, "invalid_request");
    let told = told["error"].as_str().unwrap();
    let wrong = ["limits.burst", "cache.ttl_search", "RETRY_MAX_DELAY_MS", "[nonsense]"];
    assert!(wrong.iter().all(|one| told.contains(one)), "{told}");
    assert_eq!(app.metric("config_last_reload_successful"), "0");
    assert!(read_at() >= started);
    (0..5).for_each(|_| drop(data(&app.get(search(0)))));
    // The page shows the same.
    let live = || data(&app.gateway.admin().get("/admin/live").unwrap());
    let seen = live()["state"]["config"].clone();
    let mistakes: Vec<String> = serde_json::from_value(seen["mistakes"].clone()).unwrap();
    assert_eq!(seen["ok"], false);
    for one in wrong {
        assert!(mistakes.iter().any(|mistake| mistake.contains(one)), "{one} in {mistakes:?}");
    }
    let is_told = |live: &Value| {
        let troubles = live["state"]["troubles"].as_array().unwrap();
        troubles.iter().any(|trouble| trouble["kind"] == "config_refused")
    };
    wait_until("it is a trouble", SOON, || is_told(&live()));
    assert_eq!(app.reload(good), [""; 0]);
    assert_eq!(app.metric("config_last_reload_successful"), "1");
    assert_eq!(live()["state"]["config"]["mistakes"], json!([]));
    wait_until("it is over", SOON, || !is_told(&live()));
    // A file that is gone is the default one that need not be there; one that cannot be read is a mistake.
    app.write("\u{0}[");
    refused(&app.gateway.admin().post("/admin/config/reload").unwrap(), 400, "invalid_request");
    app.gateway.stop();
}

#[test]
fn what_cannot_change_is_named_and_the_rest_is_taken_over() {
    let app = Edited::start("[server]\nworkers = 2\n[limits]\nsearch_per_minute = 9\n");
    let file = "[server]\nworkers = 3\n[limits]\nsearch_per_minute = 1\nipv6_prefix = 56\n[redis]\ntimeout_ms = 77\n";
    let told = data(&app.ask_to_reload(file));
    assert_eq!(told["taken_over"], json!(["RATE_LIMIT_SEARCH_PER_MINUTE"]));
    assert_eq!(told["need_restart"], json!(["HTTP_WORKERS", "REDIS_TIMEOUT_MS", "IPV6_PREFIX"]));
    data(&app.get(search(0)));
    refused(&app.get(search(0)), 429, "rate_limited");
    let live = data(&app.gateway.admin().get("/admin/live").unwrap());
    assert_eq!(live["state"]["config"]["need_restart"], told["need_restart"]);
    assert_eq!(told["cautions"], json!([]));
    let told = data(&app.ask_to_reload("[limits]\ntrusted_proxies = [\"0.0.0.0/0\"]\n"));
    let cautions = told["cautions"].as_array().unwrap();
    assert!(
        cautions.len() == 1 && cautions[0].as_str().unwrap().starts_with("TRUSTED_PROXIES"),
        "{told}"
    );
    app.gateway.stop();
}

#[test]
fn a_request_in_flight_is_answered_over_a_reload() {
    let app = Edited::start("[limits]\nenabled = false\n");
    app.upstream.fails_with(&json!({"method": "*", "fault": "delay", "ms": 700}));
    std::thread::scope(|scope| {
        let asked = ["lamp", "case", "usb"].map(|words| {
            let connection = app.gateway.connection();
            scope.spawn(move || live(connection, words))
        });
        wait_until("the calls are under way", SOON, || app.metric("upstream_in_flight") == "3");
        app.reload(
            "[limits]\nsearch_per_minute = 100\n[upstream]\nrate_per_second = 100\nburst = 50\n\
             [breaker]\nfailures = 3\n[retry]\nmax_attempts = 1\n[cache]\nttl = 60\n",
        );
        for one in asked {
            data(&one.join().unwrap());
        }
    });
    app.gateway.stop();
}
