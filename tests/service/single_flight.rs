//! Single flight: many callers of one cold key, one upstream call; success and failure shared.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use crate::envelope::{data, metadata, refused};
use crate::gate::Gate;
use crate::support::http::{Answer, Connection};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const CALLERS: usize = 200;
const SEARCH: &str = "/api/products/search?keywords=usb";
const GATHERED: Duration = Duration::from_secs(30);

/// A gateway whose upstream calls wait at a gate.
fn gated() -> (Gate, TestApp) {
    let gate = Gate::closed();
    let patience = ("UPSTREAM_TIMEOUT_MS", "60000");
    let app = TestApp::with(&[
        ("ALIEXPRESS_GATEWAY_URL", &gate.url()),
        patience,
        ("REQUEST_TIMEOUT_MS", "60000"),
    ]);
    (gate, app)
}

/// The same request from many connections; returns when all of them wait for their answer.
fn gather(app: &TestApp) -> Vec<JoinHandle<Answer>> {
    let address = app.address();
    let ask = move || Connection::to(address).get(SEARCH).expect("an answer");
    let callers = (0..CALLERS).map(|_| thread::spawn(ask)).collect();
    // The one more is the question itself.
    let all = CALLERS.to_string().parse::<f64>().unwrap() + 1.0;
    wait_until("all callers are served", GATHERED, || app.metric("http_requests_in_flight") >= all);
    // Each has asked its worker's CacheActor by now, or is about to. Whatever asks it later is
    // answered later: after some more questions to each worker, to which connections go in turn,
    // all of them wait.
    for _ in 0..2 * 4 {
        data(&app.admin().post("/api/cache/clear?pattern=nothing:*").unwrap());
    }
    callers
}

#[test]
fn two_hundred_callers_cost_one_call() {
    let (gate, app) = gated();
    app.upstream.fails_with(&json!({"fault": "delay", "ms": 120}));
    let callers = gather(&app);
    gate.open(app.upstream.address);
    let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    let collapsed = answers.iter().filter(|answer| {
        assert_eq!(metadata(answer)["cache_tier"], "none");
        answer.header("cache-status").is_some_and(|status| status.ends_with("; collapsed"))
    });
    assert_eq!((collapsed.count(), app.upstream.calls()), (CALLERS - 1, 1));
}

#[test]
fn a_failure_is_shared_the_same_way() {
    let (gate, app) = gated();
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let callers = gather(&app);
    gate.open(app.upstream.address);
    for caller in callers {
        refused(&caller.join().unwrap(), 503, "upstream_unavailable");
    }
    assert_eq!(app.upstream.calls(), 1);
}

#[test]
fn a_caller_that_goes_away_cancels_nothing() {
    let (gate, app) = gated();
    let mut first = TcpStream::connect(app.address()).unwrap();
    write!(first, "GET {SEARCH} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("its call is at the gate", GATHERED, || gate.arrived() == 1);
    drop(first);
    let callers = gather(&app);
    gate.open(app.upstream.address);
    for caller in callers {
        let answer = caller.join().unwrap();
        metadata(&answer);
        assert_eq!(answer.header("cache-status"), Some("breakwater; fwd=miss; stored; collapsed"));
    }
    assert_eq!(app.upstream.calls(), 1);
}
