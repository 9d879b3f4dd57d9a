//! Why a request was answered so, as the page tells it: each kind by the step that decided.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::desk::{Desk, SOON};
use crate::support::http::Connection;

const STRANGER: &str = "203.0.113.9";

fn post(desk: &Desk, path: &str, body: &Value) {
    let mut admin = desk.gateway.admin().with_header("content-type", "application/json");
    let answer = admin.send("POST", path, body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn fault(desk: &Desk, rules: &Value) {
    post(desk, "/admin/simulator/faults", &json!({ "rules": rules }));
}

fn ask(gateway: SocketAddr, from: &str, word: &str, id: &str) -> u16 {
    let connection = Connection::to(gateway);
    let mut connection =
        connection.with_header("x-forwarded-for", from).with_header("x-request-id", id);
    connection.get(&format!("/api/products/search?keywords={word}")).unwrap().status
}

/// Searches the id on the page; the sentence, and the stage and verdict of the last step.
fn explained(desk: &mut Desk, id: &str) -> (String, String) {
    desk.script("document.querySelector('#explain-id').value = ''");
    desk.write("#explain-id", id);
    desk.click("#explain-form button");
    desk.wait_for("#explained .small", id, SOON);
    let last = desk.text("#explained .steps li:last-child");
    (desk.text("#explained h3"), last)
}

#[test]
fn each_kind_of_answer_is_explained_by_the_step_that_decided() {
    let settings = [
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_BURST", "3"),
        ("ABUSE_DETECTION", "off"),
        ("RETRY_MAX_ATTEMPTS", "3"),
    ];
    let Some(mut desk) = Desk::signed_in(&settings) else { return };
    let gateway = desk.gateway.address;

    fault(&desk, &json!([{"method": "*", "fault": "status", "status": 503, "times": 1}]));
    assert_eq!(ask(gateway, "198.51.100.1", "lamp", "case-retried"), 200);

    fault(&desk, &json!([{"method": "*", "fault": "delay", "ms": 800, "times": 1}]));
    // Two ask at once, and the upstream takes long: one loads, the other joins it.
    let together = Barrier::new(2);
    thread::scope(|scope| {
        for (from, id) in [("198.51.100.2", "case-one"), ("198.51.100.3", "case-other")] {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                assert_eq!(ask(gateway, from, "chair", id), 200);
            });
        }
    });

    post(&desk, "/admin/cache/invalidate", &json!({"pattern": "*:search:*", "mode": "soft"}));
    fault(&desk, &json!([{"method": "*", "fault": "status", "status": 503}]));
    assert_eq!(ask(gateway, "198.51.100.4", "lamp", "case-stale"), 200);

    post(&desk, "/admin/rate-limit/blacklist", &json!({"identifier": STRANGER}));
    assert_eq!(ask(gateway, STRANGER, "lamp", "case-blocked"), 403);

    let limited = (0..200).find(|number| {
        ask(gateway, "198.51.100.5", "lamp", &format!("case-limit-{number}")) == 429
    });
    let limited = format!("case-limit-{}", limited.unwrap());

    for (id, sentence, last) in [
        ("case-retried", "after one retry", "store"),
        ("case-stale", "past its fresh time", "memory"),
        ("case-blocked", "deny list", "access"),
        (&*limited, "limit is used up", "limit"),
    ] {
        let (told, step) = explained(&mut desk, id);
        assert!(told.contains(sentence), "{id}: {told}");
        assert!(step.contains(last), "{id}: {step}");
    }
    let told = ["case-one", "case-other"].map(|id| explained(&mut desk, id));
    let joined = told.iter().find(|(told, _)| told.contains("by the load of another request"));
    assert!(joined.unwrap().1.contains("flight ● joined"), "{told:?}");
    desk.expects("-nobody - Failed to load resource: the server responded with a status of 404");
    desk.write("#explain-id", "-nobody");
    desk.click("#explain-form button");
    desk.wait_for("#explained", "kept", SOON);
    desk.leave();
}
