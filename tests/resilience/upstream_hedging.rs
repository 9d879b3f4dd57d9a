//! A second call beside one that is late: within the budget, for reads, when it is switched on.

use std::sync::Arc;
use std::time::Duration;

use breakwater::clock;
use breakwater::origin::actor::Reply;
use breakwater::origin::tables::UpstreamTables;
use breakwater::origin::{Outcome, Protocol, RawAnswer, Request, SignedRequest};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::upstream_rig::{Rig, SEARCH, account, breaker};

/// Calls after which it is known what they usually take.
const KNOWN: u64 = 30;
/// The time of an attempt, so long that a test which waits for it shows.
const ATTEMPT: Duration = Duration::from_secs(3);

/// One attempt a call: what is late is asked again at once or not at all.
fn hedging(tables: &mut UpstreamTables) {
    tables.hedging = true;
    once(tables);
}

fn once(tables: &mut UpstreamTables) {
    tables.retry.max_attempts = 1;
    tables.attempt_timeout = ATTEMPT;
    account(tables).breaker = breaker(1_000, Duration::from_secs(60));
}

async fn learn(rig: &Rig, method: &'static str) {
    for _ in 0..KNOWN {
        rig.call(method).await.unwrap();
    }
    assert_eq!(rig.calls_of(method).await, KNOWN + hedges(rig));
}

fn hedges(rig: &Rig) -> u64 {
    let hedges = |result| rig.tables.metrics.hedges(result);
    hedges("won") + hedges("lost")
}

fn all_came_back(rig: &Rig) {
    let permits = rig.account().breaker.snapshot(clock::monotonic());
    assert_eq!(permits.issued, permits.returned + permits.dropped, "a permit is lost");
    assert_eq!(rig.tables.crowd.snapshot().in_flight, 0, "a place is lost");
}

#[actix::test]
async fn what_is_late_is_asked_again_and_the_first_answer_counts() {
    let rig = Rig::start_with(hedging);
    learn(&rig, SEARCH).await;
    let before = (rig.calls_of(SEARCH).await, rig.tables.metrics.hedges("won"));
    rig.faults(&json!([{"fault": "hang", "times": 1}])).await;
    let answer = rig.call(SEARCH).await;
    assert!(matches!(answer, Ok(Reply::Found(_))), "{answer:?}");
    let after = (rig.calls_of(SEARCH).await, rig.tables.metrics.hedges("won"));
    assert_eq!(after, (before.0 + 2, before.1 + 1));
    assert_eq!(rig.tables.metrics.calls(SEARCH, "abandoned"), hedges(&rig));
    all_came_back(&rig);
    rig.stop().await;
}

#[actix::test]
async fn it_is_off_unless_it_is_switched_on() {
    let rig = Rig::start_with(once);
    learn(&rig, SEARCH).await;
    rig.faults(&json!([{"fault": "hang", "times": 1}])).await;
    assert!(rig.call(SEARCH).await.is_err());
    assert_eq!(rig.calls_of(SEARCH).await, KNOWN + 1);
    rig.stop().await;
}

#[actix::test]
async fn a_failure_of_one_waits_for_the_other() {
    for fault in [
        json!({"fault": "status", "status": 503, "times": 1}),
        json!({"fault": "throttle", "seconds": 1, "times": 1}),
        json!({"fault": "error", "code": "InvalidAppKey", "times": 1}),
    ] {
        let rig = Rig::start_with(hedging);
        learn(&rig, SEARCH).await;
        let before = rig.calls_of(SEARCH).await;
        // The first is late and good, the second fails at once.
        rig.faults(&json!([{"fault": "delay", "ms": 400, "times": 1}, fault])).await;
        let answer = rig.call(SEARCH).await;
        assert!(matches!(answer, Ok(Reply::Found(_))), "{fault}: {answer:?}");
        assert_eq!(rig.calls_of(SEARCH).await, before + 2, "{fault}");
        all_came_back(&rig);
        rig.stop().await;
    }
}

/// When everything is late, asking everything twice would be the last straw: hedges take what the
/// budget has, and no place beyond half of what the upstream takes.
#[actix::test]
async fn hedges_are_paid_from_the_budget_of_retries() {
    let rig = Rig::start_with(hedging);
    learn(&rig, SEARCH).await;
    let (calls, hedged) = (rig.calls_of(SEARCH).await, hedges(&rig));
    let denied = rig.tables.metrics.hedges("denied");
    rig.faults(&json!([{"fault": "delay", "ms": 600}])).await;
    let answers = join_all((0..6).map(|_| rig.call(SEARCH))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let made = hedges(&rig) - hedged;
    assert_eq!(rig.calls_of(SEARCH).await, calls + 6 + made);
    assert!((1..=4).contains(&made), "{made} hedges of 6 late calls");
    assert_eq!(rig.tables.metrics.hedges("denied") - denied + made, 6);
    all_came_back(&rig);
    rig.stop().await;
}

/// AliExpress, of which nothing may be asked twice at once.
struct Writes(Arc<dyn Protocol>);

impl Protocol for Writes {
    fn sign(&self, request: &Request, now: clock::Timestamp) -> SignedRequest {
        self.0.sign(request, now)
    }

    fn interpret(&self, request: &Request, answer: &RawAnswer) -> Outcome<Value> {
        self.0.interpret(request, answer)
    }

    fn is_read(&self, _: &Request) -> bool {
        false
    }
}

#[actix::test]
async fn what_is_no_read_is_asked_once() {
    let rig = Rig::start_with(|tables| {
        hedging(tables);
        let account = account(tables);
        account.protocol = Arc::new(Writes(Arc::clone(&account.protocol)));
    });
    learn(&rig, SEARCH).await;
    rig.faults(&json!([{"fault": "hang", "times": 1}])).await;
    assert!(rig.call(SEARCH).await.is_err());
    assert_eq!(rig.calls_of(SEARCH).await, KNOWN + 1);
    rig.stop().await;
}
