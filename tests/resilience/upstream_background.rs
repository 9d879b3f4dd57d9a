//! Calls that nobody waits for: they take what is free and nothing else.

use std::time::Duration;

use breakwater::clock;
use breakwater::failure::FailureKind;
use breakwater::origin::Priority;
use breakwater::origin::pacing::{self, Pacing, Rate};
use breakwater::resilience::breaker::State;
use serde_json::json;

use crate::contract::until;
use crate::upstream_rig::{HOT, PATIENCE, Rig, SEARCH, accounts, breaker};

/// Five calls a second, four at once.
fn paced() -> Pacing {
    Pacing::new(pacing::Settings {
        rate: Some(Rate { per_second: 5.0, burst: 4 }),
        daily_budget: None,
        max_queue: 64,
        ..pacing::Settings::default()
    })
}

#[actix::test]
async fn it_takes_what_clients_do_not_need_and_is_counted_when_refused() {
    let rig = Rig::start_with(|tables| accounts(tables)[0].pacing = paced());
    let call = |priority, method| rig.call_for(priority, method, PATIENCE);
    for _ in 0..2 {
        assert!(matches!(call(Priority::Refresh, SEARCH).await, Ok(Some(_))));
    }
    let refused = call(Priority::Refresh, SEARCH).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Overloaded);
    assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_millis(200)));
    assert!(call(Priority::Warming, SEARCH).await.is_err());
    let started = clock::monotonic();
    for _ in 0..2 {
        assert!(call(Priority::Client, HOT).await.is_ok());
    }
    assert!(clock::monotonic() - started < Duration::from_secs(1), "their places were kept");
    assert_eq!((rig.calls_of(SEARCH).await, rig.calls_of(HOT).await), (2, 2));
    let refusals =
        |priority| rig.tables.metrics.background_refused.at([priority, "kept_for_clients"]).get();
    assert_eq!((refusals("refresh"), refusals("warming")), (1, 1));
    rig.stop().await;
}

#[actix::test]
async fn it_is_not_repeated_but_welcome_as_a_probe() {
    let rig = Rig::start_with(|tables| {
        accounts(tables)[0].breaker = breaker(2, Duration::from_millis(100))
    });
    let state = || rig.account().breaker.snapshot(clock::monotonic());
    rig.faults(&json!([{"fault": "status", "status": 503}])).await;
    for calls in 1..=2 {
        assert!(rig.call_for(Priority::Refresh, SEARCH, PATIENCE).await.is_err());
        assert_eq!(rig.calls_of(SEARCH).await, calls, "one attempt each");
    }
    assert_eq!(state().state, State::Open);
    rig.faults(&json!([])).await;
    let breaker = &rig.account().breaker;
    until("it may be probed", || breaker.peek(true, clock::monotonic()).is_ok()).await;
    for _ in 0..3 {
        assert!(rig.call_for(Priority::Warming, SEARCH, PATIENCE).await.is_ok());
    }
    assert_eq!(state().state, State::Closed, "three probes succeeded");
    rig.stop().await;
}
