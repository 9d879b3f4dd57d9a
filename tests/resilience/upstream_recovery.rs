//! What the breaker makes of its callers' haste, and how calls come back after
//! an outage.

use std::sync::Arc;
use std::time::Duration;

use breakwater::clock;
use breakwater::failure::FailureKind;
use breakwater::resilience::breaker::{self, Breaker, State};
use futures_util::future::join_all;
use serde_json::json;

use crate::contract::until;
use crate::upstream_rig::{PATIENCE, Rig, SEARCH, accounts};

/// Opens after two failures in a row, for 100 ms.
const QUICK: breaker::Settings = breaker::Settings::new(2, Duration::from_millis(100));

fn guarded(settings: breaker::Settings) -> Rig {
    Rig::start_with(|tables| {
        accounts(tables)[0].breaker = Breaker::new("upstream", settings, Arc::new(|_| {}));
        crate::upstream_rig::no_retry(tables);
    })
}

fn state(rig: &Rig) -> breaker::Snapshot {
    rig.account().breaker.snapshot(clock::monotonic())
}

#[actix::test]
async fn a_call_that_its_caller_cut_says_nothing() {
    let rig = guarded(QUICK);
    rig.faults(&json!([{"fault": "hang"}])).await;
    for _ in 0..5 {
        assert!(rig.call_within(SEARCH, Duration::from_millis(60)).await.is_err());
    }
    let after = state(&rig);
    assert_eq!((after.state, after.consecutive_failures), (State::Closed, 0));
    assert_eq!((after.issued, after.under_way), (5, 0), "they came back all the same");
    rig.stop().await;
}

#[actix::test]
async fn a_thousand_that_wait_get_the_probes_and_then_a_growing_share() {
    let rig = guarded(breaker::Settings { slow_start: true, ..QUICK });
    rig.faults(&json!([{"method": "*", "fault": "status", "status": 503}])).await;
    for _ in 0..2 {
        assert!(rig.call(SEARCH).await.is_err());
    }
    assert_eq!(state(&rig).state, State::Open);
    rig.faults(&json!([{"method": "*", "fault": "delay", "ms": 100}])).await;
    let breaker = &rig.account().breaker;
    until("it may be probed", || breaker.peek(false, clock::monotonic()).is_ok()).await;
    let before = rig.calls_of(SEARCH).await;
    let ask = || async {
        let results = join_all((0..1_000).map(|_| rig.call_within(SEARCH, PATIENCE))).await;
        results.into_iter().filter_map(Result::err).collect::<Vec<_>>()
    };
    let refused = ask().await;
    assert_eq!((rig.calls_of(SEARCH).await - before, refused.len()), (3, 997));
    assert!(refused.iter().all(|failure| failure.kind == FailureKind::CircuitOpen
        || failure.kind == FailureKind::Overloaded));
    let after = state(&rig);
    assert_eq!((after.state, after.slow_start_per_second), (State::Closed, Some(20.0)));
    let refused = ask().await;
    assert!(refused.len() > 980, "{} of 1,000 went through", 1_000 - refused.len());
    assert!(refused.iter().all(|failure| failure.kind == FailureKind::Overloaded
        && failure.retry_after.is_some_and(|wait| wait < Duration::from_secs(1))));
    assert_eq!(state(&rig).transitions, after.transitions);
    rig.stop().await;
}
