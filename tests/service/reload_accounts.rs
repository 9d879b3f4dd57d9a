//! Accounts of the upstream that change by a reload: a secret, one more, one less, another address.

use std::time::Duration;

use breakwater::services::products::simulator::{
    Credentials, DEMO_APP_KEY, DEMO_APP_SECRET, DEMO_TRACKING_ID,
};
use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::reload::{Edited, live};
use crate::support::process::wait_until;
use crate::test_app::Upstream;

const SOON: Duration = Duration::from_secs(10);
const IN_FILE: [(&str, &str); 3] = [
    ("ALIEXPRESS_APP_KEY", ""),
    ("ALIEXPRESS_APP_SECRET", ""),
    ("ALIEXPRESS_TRACKING_ID", DEMO_TRACKING_ID),
];
const SECOND: &str = "[[upstream.accounts]]\napp_key = \"500002\"\napp_secret = \"second\"\n";

fn first(secret: &str, more: &str) -> String {
    format!("[upstream]\napp_key = \"{DEMO_APP_KEY}\"\napp_secret = \"{secret}\"\n{more}")
}

/// A simulator that knows the second account, too.
fn both() -> Upstream {
    let second = Credentials {
        app_key: "500002".to_owned(),
        app_secret: "second".to_owned(),
        tracking_id: DEMO_TRACKING_ID.to_owned(),
    };
    Upstream::knowing(vec![Credentials::demonstration(), second])
}

fn accounts(app: &Edited) -> Vec<Value> {
    let status = data(&app.gateway.connection().get("/api/status").unwrap());
    status["upstream_accounts"].as_array().unwrap().clone()
}

#[test]
fn a_secret_that_is_put_right_works_at_once() {
    let app = Edited::before(both(), &first("wrong", ""), &IN_FILE);
    refused(&app.live("lamp"), 502, "upstream_rejected");
    refused(&app.live("lamp"), 502, "upstream_rejected");
    assert_eq!(app.metric("upstream_misconfigured"), "1");
    let calls = app.upstream.calls();
    assert_eq!(app.reload(&first(DEMO_APP_SECRET, "")), ["ALIEXPRESS_APP_SECRET"]);
    data(&app.live("lamp"));
    assert_eq!(app.upstream.calls(), calls + 1);
    assert_eq!(app.metric("upstream_misconfigured"), "0");
    app.gateway.stop();
}

#[test]
fn an_account_joins_and_leaves_and_the_other_keeps_what_it_has_used() {
    let budget = "daily_budget = 100\nclient_share_percent = 100\nkey_reserve_percent = 0\n";
    let one = first(DEMO_APP_SECRET, budget);
    let app = Edited::before(both(), &one, &IN_FILE);
    (0..3).for_each(|_| drop(data(&app.live("lamp"))));
    assert_eq!(app.reload(&format!("{one}{SECOND}")), ["ALIEXPRESS_ACCOUNTS_JSON"]);
    let before = app.upstream.calls_by("500002");
    (0..4).for_each(|_| drop(data(&app.live("lamp"))));
    assert_eq!(app.upstream.calls_by("500002"), before + 2, "in turn");
    let left = || -> Vec<(String, u64)> {
        let all = accounts(&app);
        let left = |one: &Value| {
            (one["name"].as_str().unwrap().to_owned(), one["budget_remaining"].as_u64().unwrap())
        };
        all.iter().map(left).collect()
    };
    assert_eq!(left(), [("upstream".to_owned(), 95), ("upstream_2".to_owned(), 98)]);
    data(&app.gateway.admin().post("/admin/breakers/upstream_2/reset").unwrap());
    assert_eq!(
        app.metric("circuit_breaker_transitions_total{name=\"upstream_2\",to=\"open\"}"),
        "0"
    );

    // The first one leaves: the second keeps its name, and what it has used.
    let second = "app_key = \"500002\"\napp_secret = \"second\"\n";
    app.reload(&format!("[upstream]\n{budget}{second}"));
    data(&app.live("lamp"));
    assert_eq!(left(), [("upstream_2".to_owned(), 97)]);
    let metrics = || app.get("/metrics").text();
    let exported = |name: &str| metrics().contains(&format!("{name}{{"));
    let gone = "upstream_account_budget_remaining{account=\"upstream\"}";
    wait_until("it has left the metrics", SOON, || !metrics().contains(gone));
    assert!(exported("upstream_account_budget_remaining") && exported("circuit_breaker_state"));
    refused(&app.gateway.admin().post("/admin/breakers/upstream/reset").unwrap(), 404, "not_found");
    app.gateway.stop();
}

#[test]
fn a_call_under_way_ends_with_the_account_it_began_with() {
    let app = Edited::before(both(), &first(DEMO_APP_SECRET, ""), &IN_FILE);
    app.upstream.fails_with(&json!({"method": "*", "fault": "delay", "ms": 700}));
    let connection = app.gateway.connection();
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || live(connection, "lamp"));
        wait_until("it is under way", SOON, || app.metric("upstream_in_flight") == "1");
        app.reload("[upstream]\napp_key = \"500002\"\napp_secret = \"second\"\n");
        data(&asked.join().unwrap());
    });
    app.upstream.recovers();
    data(&app.live("case"));
    assert_eq!(app.upstream.calls_by("500002"), 1);
    app.gateway.stop();
}

#[test]
fn calls_go_to_the_address_that_is_set_now() {
    let other = Upstream::start();
    let app = Edited::before(both(), &first(DEMO_APP_SECRET, ""), &{
        let [key, secret, tracking] = IN_FILE;
        [key, secret, tracking, ("ALIEXPRESS_GATEWAY_URL", "")]
    });
    let at = |upstream: &Upstream| {
        first(DEMO_APP_SECRET, &format!("gateway_url = \"http://{}/sync\"\n", upstream.address))
    };
    app.reload(&at(&app.upstream));
    data(&app.live("lamp"));
    let before = app.upstream.calls();
    assert!(before > 0);
    assert_eq!(app.reload(&at(&other)), ["ALIEXPRESS_GATEWAY_URL"]);
    data(&app.live("lamp"));
    assert_eq!((app.upstream.calls(), other.calls()), (before, 1));
    app.gateway.stop();
}

#[test]
fn the_simulator_inside_gives_way_at_the_next_start_only() {
    let app = Edited::before(both(), "", &IN_FILE);
    let told = data(&app.ask_to_reload(&first(DEMO_APP_SECRET, "rate_per_second = 50\n")));
    assert_eq!(told["taken_over"], json!(["UPSTREAM_RATE_PER_SECOND"]));
    assert_eq!(told["need_restart"], json!(["ALIEXPRESS_APP_KEY", "ALIEXPRESS_APP_SECRET"]));
    let answer = app.live("lamp");
    data(&answer);
    assert_eq!(answer.json()["metadata"]["api_integration"], "simulator");
    app.gateway.stop();
}
