//! How many calls are under way at once, who waits, and what is refused early.

use std::time::Duration;

use breakwater::clock;
use breakwater::failure::{Failure, FailureKind};
use breakwater::origin::Priority;
use breakwater::origin::concurrency::{ConcurrencyLimiter, Settings};
use breakwater::services::products::aliexpress::AliExpress;
use breakwater::supervision::Chaos;
use futures_util::future::{join, join_all};
use serde_json::json;

use crate::contract::until;
use crate::upstream_rig::{PATIENCE, Rig, SEARCH, Setup};

fn at_once(most: u32, queue: usize) -> impl FnOnce(&mut Setup<AliExpress>) {
    move |tables| {
        tables.slots = ConcurrencyLimiter::new(Settings { most, queue, ..Settings::default() });
        crate::upstream_rig::no_retry(tables);
    }
}

fn kinds<T>(answers: &[Result<T, Failure>], kind: FailureKind) -> usize {
    answers.iter().filter(|answer| answer.as_ref().is_err_and(|told| told.kind == kind)).count()
}

#[actix::test]
async fn so_many_are_under_way_and_the_others_wait() {
    let rig = Rig::start_with(at_once(3, 100));
    rig.faults(&json!([{"fault": "delay", "ms": 30}])).await;
    let calls = join_all((0..12).map(|_| rig.call(SEARCH)));
    let watched = async {
        let mut most = 0;
        until("somebody waits", || rig.tables.slots.load().waiting > 0).await;
        until("all have ended", || {
            let load = rig.tables.slots.load();
            most = most.max(load.in_flight);
            load.in_flight == 0 && load.waiting == 0
        })
        .await;
        most
    };
    let (answers, most) = join(calls, watched).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!((1..=3).contains(&most), "{most} at once");
    rig.stop().await;
}

#[actix::test]
async fn a_full_queue_refuses_at_once() {
    let rig = Rig::start_with(at_once(1, 2));
    rig.faults(&json!([{"fault": "delay", "ms": 300}])).await;
    let answers = join_all((0..8).map(|_| rig.call(SEARCH))).await;
    assert_eq!(kinds(&answers, FailureKind::Overloaded), 5, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    let told = answers.into_iter().find_map(Result::err).unwrap();
    assert!(told.retry_after.is_some(), "{told}");
    assert_eq!((rig.calls_of(SEARCH).await, rig.tables.metrics.shed.at(["queue"]).get()), (3, 5));
    rig.stop().await;
}

#[actix::test]
async fn a_background_call_takes_no_slot_of_a_client() {
    let rig = Rig::start_with(at_once(2, 10));
    rig.faults(&json!([{"fault": "delay", "ms": 200}])).await;
    let client = rig.call(SEARCH);
    let background = async {
        until("the client is under way", || rig.tables.slots.load().in_flight == 1).await;
        rig.call_for(Priority::Refresh, SEARCH, PATIENCE).await
    };
    let (client, refresh) = join(client, background).await;
    assert!(client.is_ok(), "{client:?}");
    assert_eq!(refresh.unwrap_err().kind, FailureKind::Overloaded);
    assert_eq!(rig.tables.metrics.background_refused.at(["refresh", "kept_for_clients"]).get(), 1);
    assert!(rig.call_for(Priority::Refresh, SEARCH, PATIENCE).await.is_ok());
    rig.stop().await;
}

/// Calls that leave the queue leave nothing behind.
#[actix::test]
async fn a_call_that_leaves_holds_up_nobody() {
    let rig = Rig::start_with(at_once(1, 50));
    rig.faults(&json!([{"fault": "delay", "ms": 50}])).await;
    let leaving = (0..20).map(|_| rig.call_within(SEARCH, Duration::from_millis(20)));
    let answers = join_all(leaving).await;
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert!(rig.call(SEARCH).await.is_ok());
    until("all slots are free", || {
        let load = rig.tables.slots.load();
        (load.in_flight, load.waiting) == (0, 0)
    })
    .await;
    rig.stop().await;
}

/// What is known to be refused is refused before the actor hears of it.
#[actix::test]
async fn an_early_refusal_needs_no_actor() {
    let rig = Rig::start_with(|_| {});
    rig.account().breaker.force_open(clock::monotonic());
    rig.strike(Chaos::Hang(Duration::from_secs(2)));
    let refused = rig.call(SEARCH).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::CircuitOpen, "{refused}");
    assert_eq!(rig.account().breaker.snapshot(clock::monotonic()).rejected, 1);
    rig.stop().await;
}
