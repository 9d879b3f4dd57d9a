//! `/admin/live`: how the gateway is, and only what is new of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const PATIENCE: Duration = Duration::from_secs(15);
const SECTIONS: [&str; 5] = ["breakers", "actors", "credentials", "limits", "recent"];
const SEARCH: &str = "/api/products/search?keywords=usb";

fn live(app: &TestApp, since: u64) -> Value {
    data(&app.admin().get(&format!("/admin/live?since={since}")).unwrap())
}

fn seq(live: &Value) -> u64 {
    live["seq"].as_u64().unwrap()
}

fn sum(live: &Value, ring: &str, column: &str) -> u64 {
    let values = live["series"][ring][column].as_array();
    values.into_iter().flatten().filter_map(Value::as_u64).sum()
}

#[test]
fn it_is_for_admins_and_names_what_is_wrong_with_a_question() {
    let app = TestApp::start();
    refused(&app.get("/admin/live"), 403, "forbidden");
    for since in ["-1", "x", "1.5", "99999999999999999999999"] {
        let asked = app.admin().get(&format!("/admin/live?since={since}")).unwrap();
        let error = refused(&asked, 400, "invalid_request");
        assert!(error.to_string().contains("since"), "{error}");
    }
}

#[test]
fn requests_of_clients_become_curves() {
    let app = TestApp::start();
    for _ in 0..7 {
        data(&app.get(SEARCH));
    }
    wait_until("the requests are in the curves", PATIENCE, || {
        sum(&live(&app, 0), "1s", "requests") >= 7
    });
    let all = live(&app, 0);
    let figures = ["requests", "memory", "upstream", "miss"].map(|name| sum(&all, "1s", name));
    assert_eq!(figures, [7, 6, 1, 1], "what the admin asks is no traffic: {all}");
    let curves = all["series"]["1s"].as_object().unwrap();
    let lengths: Vec<_> = curves.values().filter_map(Value::as_array).map(Vec::len).collect();
    assert!(
        lengths.len() == 13 && lengths.iter().all(|length| *length == lengths[0]),
        "{curves:?}"
    );
    assert!(sum(&all, "1s", "p99_us") > 0);
}

#[test]
fn what_did_not_change_is_not_sent_again_and_the_answer_is_small() {
    let app =
        TestApp::with(&[("UPSTREAM_DAILY_BUDGET", "1000"), ("UPSTREAM_RATE_PER_SECOND", "3")]);
    let all = live(&app, 0);
    for name in SECTIONS {
        assert!(!all[name].is_null(), "{name} in {all}");
    }
    let credential = &all["credentials"][0];
    assert_eq!(credential["pace_per_second"], json!(3.0));
    assert_eq!(
        (&credential["budget"], &credential["budget_remaining"]),
        (&json!(1000), &json!(1000))
    );
    let mut since = 0;
    wait_until("a second passes", PATIENCE, || {
        since = seq(&live(&app, 0));
        since > seq(&all)
    });
    wait_until("two seconds pass", PATIENCE, || seq(&live(&app, since)) > since + 1);
    let mut admin = app.admin().with_header("accept-encoding", "gzip");
    let packed = admin.get(&format!("/admin/live?since={since}")).unwrap();
    assert!(packed.body.len() < 2_048, "{} bytes", packed.body.len());
    let little = live(&app, since);
    let sent: Vec<_> = SECTIONS.into_iter().filter(|name| !little[*name].is_null()).collect();
    assert!(sent.is_empty(), "{sent:?}");
    since = seq(&little);
    data(&app.admin().post("/admin/breakers/upstream/open").unwrap());
    wait_until("the breaker is sent", PATIENCE, || {
        let news = live(&app, since);
        news["breakers"][0]["state"] == "open" && news["limits"].is_null()
    });
}

#[test]
fn a_process_that_is_another_one_sends_everything() {
    let app = TestApp::start();
    let before = live(&app, 0);
    let app = app.restart();
    let after = live(&app, seq(&before));
    assert!(seq(&after) >= seq(&before) && after["started"] != before["started"]);
    assert!(SECTIONS.into_iter().all(|name| !after[name].is_null()), "{after}");
}

#[test]
fn an_outage_is_told_with_what_it_costs() {
    let app = TestApp::with(&[("BREAKER_FAILURES", "1")]);
    let sentence = || live(&app, 0)["summary"].as_str().unwrap().to_owned();
    data(&app.get(SEARCH));
    wait_until("it is well", PATIENCE, || sentence() == "Serving. Everything behind it answers.");
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    refused(&app.get("/api/categories"), 503, "upstream_unavailable");
    wait_until("it is down", PATIENCE, || sentence().contains("Upstream down for "));
    data(&app.get(SEARCH));
    data(&app.get(SEARCH));
    wait_until("it tells what it spared", PATIENCE, || {
        sentence().contains("answers come from the cache, 0 stale; clients were spared 2 errors")
    });
    let state = live(&app, 0);
    assert_eq!(state["state"]["troubles"][0]["kind"], "upstream_down");
    assert_eq!(state["recent"]["errors"][0]["status"], 503);
    app.upstream.recovers();
    data(&app.admin().post("/admin/breakers/upstream/close").unwrap());
    wait_until("it is well again", PATIENCE, || {
        let state = live(&app, 0);
        state["state"]["troubles"] == json!([]) && state["state"]["level"] != "failing"
    });
}

#[test]
fn a_panic_of_an_actor_is_counted_within_two_seconds() {
    let app = TestApp::with(&[("CHAOS_ENABLED", "true")]);
    let since = seq(&live(&app, 0));
    data(&app.admin().post("/admin/chaos/actors/cache/panic").unwrap());
    data(&app.get(SEARCH));
    wait_until("it is shown", Duration::from_secs(2), || {
        let news = live(&app, since);
        let rows = news["actors"].as_array().cloned().unwrap_or_default();
        rows.iter().any(|row| {
            row["name"] == "cache" && row["restarts"] == 2 && row["last_panic"].is_string()
        })
    });
}
