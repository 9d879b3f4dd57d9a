//! Retry, budget, throttle, breaker and connections: what calls cost an upstream that is unwell.

use std::time::Duration;

use breakwater::clock;
use breakwater::failure::FailureKind;
use breakwater::origin::Priority;
use breakwater::origin::pacing::{self, Pacing};
use breakwater::resilience::breaker::State;
use breakwater::services::products::aliexpress::AliExpress;
use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use crate::contract::until;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::upstream_rig::{HOT, Rig, SEARCH, Setup, accounts, breaker};

/// A breaker that no test opens.
fn patient(rig: &mut Setup<AliExpress>) {
    accounts(rig)[0].breaker = breaker(1_000_000, Duration::from_secs(60));
}

fn all_came_back(rig: &Rig) {
    let now = clock::monotonic();
    let permits = rig.account().breaker.snapshot(now);
    assert_eq!(permits.under_way, 0, "a permit is lost");
    assert_eq!(rig.account().pacing.status(now, clock::now()).queue, 0, "a booking is lost");
}

/// Waits until the breaker's open time is over.
async fn until_it_may_probe(rig: &Rig) {
    let breaker = &rig.account().breaker;
    until("it may be probed", || breaker.peek(false, clock::monotonic()).is_ok()).await;
}

#[actix::test]
async fn what_may_pass_is_tried_again_so_many_times() {
    let rig = Rig::start_with(patient);
    rig.faults(&json!([{"fault": "status", "status": 503, "times": 2}])).await;
    assert!(matches!(rig.call(SEARCH).await, Ok(Some(_))), "the third attempt");
    assert_eq!(rig.calls_of(SEARCH).await, 3);
    rig.faults(&json!([{"fault": "status", "status": 503}])).await;
    assert!(rig.call(HOT).await.is_err());
    assert!(rig.calls_of(HOT).await <= 3, "attempts are counted");
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn retries_in_sum_stay_within_their_budget() {
    let rig = Rig::start_with(patient);
    rig.faults(&json!([{"fault": "status", "status": 503}])).await;
    for _ in 0..50 {
        assert!(rig.call(SEARCH).await.is_err());
    }
    let retries = rig.calls_of(SEARCH).await - 50;
    // One for five calls, and three that a quiet service has anyway.
    assert!((3..=13).contains(&retries), "{retries} retries of 50 calls");
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn a_fault_of_the_configuration_is_asked_once_by_all() {
    let rig = Rig::start_with(|_| {});
    rig.faults(&json!([{"fault": "error", "code": "InvalidAppKey"}])).await;
    for method in [SEARCH, HOT].into_iter().cycle().take(20) {
        assert_eq!(rig.call(method).await.unwrap_err().kind, FailureKind::UpstreamRejected);
    }
    // One try of each of two methods: as long as nothing was answered, it may be one method's fault.
    assert_eq!((rig.calls_of(SEARCH).await, rig.calls_of(HOT).await), (1, 1));
    // Put right: whoever says so is believed at once.
    rig.faults(&json!([])).await;
    assert!(rig.call(SEARCH).await.is_err());
    rig.tables.forgive(&rig.account());
    assert!(rig.call(SEARCH).await.is_ok() && rig.call(HOT).await.is_ok());
    assert!(rig.tables.problems().is_empty());
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn a_fault_of_a_method_is_asked_once_and_leaves_the_others_alone() {
    for rule in [
        json!({"fault": "error", "code": "InsufficientPermission", "method": SEARCH}),
        json!({"fault": "variant", "variant": "business_code", "code": "4001", "method": SEARCH}),
    ] {
        let rig = Rig::start_with(|_| {});
        rig.faults(&json!([rule])).await;
        for _ in 0..10 {
            assert_eq!(rig.call(SEARCH).await.unwrap_err().kind, FailureKind::UpstreamRejected);
            assert!(rig.call(HOT).await.is_ok(), "{rule}");
        }
        assert_eq!((rig.calls_of(SEARCH).await, rig.calls_of(HOT).await), (1, 10), "{rule}");
        assert_eq!(rig.tables.problems().len(), 1);
        rig.stop().await;
    }
}

#[actix::test]
async fn what_a_caller_did_wrong_holds_nobody_else() {
    let rig = Rig::start_with(|_| {});
    rig.faults(&json!([{"fault": "error", "code": "MissingParameter"}])).await;
    for _ in 0..20 {
        assert_eq!(rig.call(SEARCH).await.unwrap_err().kind, FailureKind::UpstreamRejected);
    }
    assert_eq!(rig.calls_of(SEARCH).await, 20, "asked once each, and the breaker did not move");
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn a_ban_is_honoured_by_every_caller() {
    let rig = Rig::start_with(|_| {});
    rig.faults(&json!([{"fault": "throttle", "seconds": 1, "times": 1}])).await;
    let started = clock::monotonic();
    let first = rig.call(SEARCH);
    let others = async {
        let banned = || rig.account().pacing.status(clock::monotonic(), clock::now()).banned_until;
        until("the ban is known", || banned().is_some()).await;
        let left = banned().map_or(Duration::ZERO, |until| until.since(clock::now()));
        // Who cannot wait so long is told at once; who can waits with everyone else.
        let hasty = rig.call_within(HOT, left / 2).await;
        let patient = join_all((0..20).map(|_| rig.call(HOT))).await;
        (hasty, patient)
    };
    let (first, (hasty, patient)) = join(first, others).await;
    let took = clock::monotonic() - started;
    assert!(first.is_ok(), "{first:?}");
    let hasty = hasty.unwrap_err();
    assert!(hasty.reason.contains("asked for no calls") && hasty.retry_after.is_some(), "{hasty}");
    assert!(patient.iter().all(Result::is_ok), "{patient:?}");
    assert!(took >= Duration::from_secs(1), "somebody asked after {took:?}");
    assert_eq!(rig.account().breaker.snapshot(clock::monotonic()).consecutive_failures, 0);
    assert_eq!((rig.calls_of(SEARCH).await, rig.calls_of(HOT).await), (2, 20));
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn a_ban_longer_than_anyone_waits_is_told() {
    let rig = Rig::start_with(|_| {});
    rig.faults(&json!([{"fault": "throttle", "code": 7, "seconds": 31_062}])).await;
    let failure = rig.call(SEARCH).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::UpstreamUnavailable);
    assert_eq!(failure.retry_after.map(|wait| wait.as_secs()), Some(31_062));
    for _ in 0..10 {
        let failure = rig.call(SEARCH).await.unwrap_err();
        let wait = failure.retry_after.expect("when to come back").as_secs();
        assert!((31_000..=31_062).contains(&wait), "{failure}");
    }
    assert_eq!(rig.calls_of(SEARCH).await, 1, "nobody asks while the ban lasts");
    rig.stop().await;
}

#[actix::test]
async fn the_breaker_opens_and_lets_three_of_two_hundred_ask() {
    let mut proxy = None;
    let rig = Rig::start_behind(
        |simulator| proxy.insert(FaultProxy::before(simulator)).address(),
        |tables| {
            crate::upstream_rig::no_retry(tables);
            accounts(tables)[0].breaker = breaker(5, Duration::from_millis(200));
        },
    );
    let proxy = proxy.expect("it stands between");
    let state = || rig.account().breaker.snapshot(clock::monotonic());
    rig.faults(&json!([{"fault": "status", "status": 503}])).await;
    for failures in 0..5 {
        assert_eq!(state().state, State::Closed, "after {failures} failures");
        assert_eq!(rig.call(SEARCH).await.unwrap_err().kind, FailureKind::UpstreamUnavailable);
    }
    assert_eq!(state().state, State::Open);
    rig.faults(&json!([])).await;
    // Answers are held back: whoever is let through stays on the way until all others were told.
    proxy.set(Fault::Hang);
    until_it_may_probe(&rig).await;
    let mut callers: FuturesUnordered<_> = (0..200).map(|_| rig.call(SEARCH)).collect();
    for _ in 0..197 {
        let told = callers.next().await.expect("200 callers");
        assert_eq!(told.unwrap_err().kind, FailureKind::CircuitOpen);
    }
    assert_eq!(state().state, State::HalfOpen);
    proxy.set(Fault::None);
    while let Some(probe) = callers.next().await {
        assert!(matches!(probe, Ok(Some(_))), "{probe:?}");
    }
    drop(callers);
    assert_eq!(rig.calls_of(SEARCH).await, 5 + 3, "five failures and three probes");
    assert_eq!(state().state, State::Closed);
    assert!(rig.call(SEARCH).await.is_ok());
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn a_probe_that_fails_opens_it_again() {
    let rig = Rig::start_with(|tables| {
        crate::upstream_rig::no_retry(tables);
        accounts(tables)[0].breaker = breaker(2, Duration::from_millis(100));
    });
    let state = || rig.account().breaker.snapshot(clock::monotonic());
    rig.faults(&json!([{"fault": "status", "status": 503}])).await;
    for _ in 0..2 {
        assert!(rig.call(SEARCH).await.is_err());
    }
    until_it_may_probe(&rig).await;
    assert_eq!(rig.call(SEARCH).await.unwrap_err().kind, FailureKind::UpstreamUnavailable);
    assert_eq!(state().state, State::Open, "one failed probe is enough");
    assert_eq!(rig.calls_of(SEARCH).await, 3);
    rig.stop().await;
}

#[actix::test]
async fn connections_are_used_again() {
    let mut proxy = None;
    let rig = Rig::start_behind(
        |simulator| proxy.insert(FaultProxy::before(simulator)).address(),
        patient,
    );
    let proxy = proxy.expect("it stands between");
    for _ in 0..30 {
        assert!(rig.call(SEARCH).await.is_ok());
    }
    assert_eq!(proxy.accepted(), 1, "thirty calls one after the other need one connection");
    let together = join_all((0..20).map(|_| rig.call(SEARCH))).await;
    assert!(together.iter().all(Result::is_ok));
    assert!(proxy.accepted() <= 20, "{} connections for twenty at once", proxy.accepted());
    // The idle ones die without the client being told in time: a retry covers it.
    proxy.set(Fault::Cut);
    proxy.set(Fault::None);
    let after = join_all((0..3).map(|_| rig.call(SEARCH))).await;
    assert!(after.iter().all(Result::is_ok), "{after:?}");
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn an_upstream_that_is_not_there_is_told_at_once() {
    let mut proxy = None;
    let rig = Rig::start_behind(
        |simulator| proxy.insert(FaultProxy::before(simulator)).address(),
        patient,
    );
    let proxy = proxy.expect("it stands between");
    proxy.set(Fault::Refuse);
    let refused = || std::net::TcpStream::connect(proxy.address()).is_err();
    until("nobody listens", refused).await;
    let failure = rig.call(SEARCH).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::UpstreamUnavailable);
    assert!(failure.reason.contains("cannot connect"), "{failure}");
    proxy.set(Fault::None);
    until("somebody listens again", || !refused()).await;
    assert!(rig.call(SEARCH).await.is_ok());
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn callers_that_go_away_leave_nothing_behind() {
    let rig = Rig::start_with(patient);
    rig.faults(&json!([{"fault": "delay", "ms": 100}])).await;
    let issued = || rig.account().breaker.snapshot(clock::monotonic()).issued;
    let callers = join_all((0..20).map(|_| rig.call(SEARCH)));
    tokio::select! {
        biased;
        _ = callers => panic!("nothing is answered so soon"),
        () = until("all are on the way", || issued() == 20) => {}
    }
    let gone = || rig.account().breaker.snapshot(clock::monotonic()).under_way == 0;
    until("every permit comes back", gone).await;
    all_came_back(&rig);
    assert!(rig.call(SEARCH).await.is_ok());
    rig.stop().await;
}

/// Calls that wait for their turn when the breaker opens stay at home.
#[actix::test]
async fn queued_calls_do_not_go_out_once_it_is_open() {
    let rig = Rig::start_with(|tables| {
        crate::upstream_rig::no_retry(tables);
        accounts(tables)[0].breaker = breaker(2, Duration::from_secs(60));
        accounts(tables)[0].pacing = paced(20.0);
    });
    rig.faults(&json!([{"fault": "status", "status": 503}])).await;
    let told = join_all((0..30).map(|_| rig.call(SEARCH))).await;
    let kinds = |kind| told.iter().filter(|told| told.as_ref().unwrap_err().kind == kind).count();
    assert_eq!(kinds(FailureKind::CircuitOpen), 30 - kinds(FailureKind::UpstreamUnavailable));
    let made = rig.calls_of(SEARCH).await;
    assert!((2..=3).contains(&made), "{made} calls of 30 went out");
    all_came_back(&rig);
    rig.stop().await;
}

/// Whoever has no time left when its turn comes costs nothing.
#[actix::test]
async fn a_place_that_comes_too_late_costs_no_budget() {
    let rig = Rig::start_with(|tables| {
        accounts(tables)[0].pacing = paced(5.0);
        tables.attempt_timeout = Duration::from_secs(1);
    });
    assert!(rig.call(SEARCH).await.is_ok());
    // The next place comes in a fifth of a second; three milliseconds are no time for an attempt.
    let now = clock::monotonic();
    let next = rig
        .account()
        .pacing
        .book(Priority::Client, None, now, clock::now(), now + Duration::from_secs(1))
        .unwrap();
    let within = next.at() - now + Duration::from_millis(3);
    drop(next);
    let late = rig.call_within(SEARCH, within).await.unwrap_err();
    assert!(
        matches!(late.kind, FailureKind::DeadlineExceeded | FailureKind::Overloaded),
        "{late:?}"
    );
    assert_eq!(rig.account().pacing.status(clock::monotonic(), clock::now()).spent_today, 1);
    assert_eq!(rig.calls_of(SEARCH).await, 1);
    all_came_back(&rig);
    rig.stop().await;
}

fn paced(per_second: f64) -> Pacing {
    Pacing::new(pacing::Settings {
        rate: Some(pacing::Rate { per_second, burst: 1 }),
        daily_budget: Some(1_000),
        max_queue: 256,
        ..pacing::Settings::default()
    })
}
