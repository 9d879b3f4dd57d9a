//! Two accounts at one upstream: used in turn, and each alone with its troubles.

use std::time::Duration;

use breakwater::clock;
use breakwater::failure::FailureKind;
use breakwater::origin::Priority;
use breakwater::origin::pacing::{self, Pacing};
use breakwater::services::products::aliexpress::{AliExpress, faults};
use breakwater::services::products::simulator::DEMO_APP_KEY;
use futures_util::future::{join, join_all};
use serde_json::json;

use crate::upstream_rig::{PATIENCE, Rig, SEARCH, SECOND_KEY, Setup, accounts, breaker};

/// Both breakers open after so many failures in a row.
fn breakers(tables: &mut Setup<AliExpress>, failures: u32) {
    for account in accounts(tables).iter_mut() {
        account.breaker = breaker(failures, Duration::from_secs(60));
    }
}

async fn succeeds(rig: &Rig) {
    let answer = rig.call(SEARCH).await;
    assert!(matches!(answer, Ok(Some(_))), "{answer:?}");
}

#[actix::test]
async fn they_are_used_in_turn() {
    let rig = Rig::start_with_two(|_| {});
    for _ in 0..20 {
        succeeds(&rig).await;
    }
    assert_eq!(rig.calls_by_account().await, [10, 10]);
    rig.stop().await;
}

#[actix::test]
async fn a_throttled_one_rests_while_the_other_works_on() {
    let rig = Rig::start_with_two(|_| {});
    rig.faults(&json!([{"fault": "throttle", "seconds": 30, "app_key": DEMO_APP_KEY}])).await;
    for _ in 0..10 {
        // The first of them is told to wait for half a minute, and does not.
        succeeds(&rig).await;
    }
    assert_eq!(rig.calls_by_account().await, [1, 10]);
    rig.faults(&json!([{"fault": "throttle", "seconds": 30}])).await;
    let refused = rig.call(SEARCH).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::UpstreamUnavailable, "{refused}");
    assert_eq!(rig.calls_by_account().await, [1, 11], "now both rest");
    rig.stop().await;
}

#[actix::test]
async fn an_attempt_that_failed_is_repeated_with_the_other() {
    let rig = Rig::start_with_two(|tables| breakers(tables, 2));
    rig.faults(&json!([{"fault": "status", "status": 503, "app_key": DEMO_APP_KEY}])).await;
    for _ in 0..20 {
        succeeds(&rig).await;
    }
    assert_eq!(rig.calls_by_account().await, [2, 20], "then its breaker is open");
    rig.stop().await;
}

#[actix::test]
async fn a_key_that_is_not_accepted_is_left_alone() {
    let rig = Rig::start_with_two(|_| {});
    let fault = json!([{"fault": "error", "code": "InvalidAppKey", "app_key": SECOND_KEY}]);
    rig.faults(&fault).await;
    for _ in 0..10 {
        succeeds(&rig).await;
    }
    assert_eq!(rig.calls_by_account().await, [10, 1]);
    let problems = rig.tables.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].credential, problems[0].what), ("upstream_2", faults::APP_KEY));
    rig.stop().await;
}

#[actix::test]
async fn a_budget_that_is_spent_leaves_the_others() {
    let rig = Rig::start_with_two(|tables| {
        for (account, budget) in accounts(tables).iter_mut().zip([2, 5]) {
            account.pacing = Pacing::new(pacing::Settings {
                rate: None,
                daily_budget: Some(budget),
                max_queue: 16,
                ..pacing::Settings::default()
            });
        }
    });
    for _ in 0..7 {
        succeeds(&rig).await;
    }
    let spent = rig.call(SEARCH).await.unwrap_err();
    assert_eq!(spent.kind, FailureKind::UpstreamUnavailable);
    assert!(spent.reason.contains("calls of today are spent"), "{spent}");
    assert_eq!(rig.calls_by_account().await, [2, 5]);
    let status = rig.tables.status(clock::monotonic(), clock::now());
    assert_eq!(status.budget_remaining(), Some(0));
    rig.stop().await;
}

/// The one whose breaker is open is found well again although the other could do everything.
#[actix::test]
async fn a_breaker_is_probed_while_the_other_works() {
    let rig = Rig::start_with_two(|tables| {
        for account in accounts(tables).iter_mut() {
            account.breaker = breaker(2, Duration::from_millis(50));
        }
    });
    rig.faults(&json!([{"fault": "status", "status": 503, "times": 2, "app_key": SECOND_KEY}]))
        .await;
    let second = || {
        let status = rig.tables.status(clock::monotonic(), clock::now());
        status.credentials[1].breaker.clone()
    };
    crate::redis_rig::until("the second one opens and closes", async || {
        succeeds(&rig).await;
        second().transitions >= 3
    })
    .await;
    assert_eq!(second().state, breakwater::resilience::breaker::State::Closed);
    rig.stop().await;
}

/// Nobody waits for a background call: it takes whichever account has something to spare.
#[actix::test]
async fn what_nobody_waits_for_takes_what_either_can_spare() {
    let rig = Rig::start_with_two(|tables| {
        for account in accounts(tables).iter_mut() {
            account.pacing = Pacing::new(pacing::Settings {
                rate: Some(pacing::Rate { per_second: 0.01, burst: 2 }),
                daily_budget: None,
                max_queue: 16,
                ..pacing::Settings::default()
            });
        }
    });
    let mut made = 0;
    for _ in 0..4 {
        made += u32::from(rig.call_for(Priority::Refresh, SEARCH, PATIENCE).await.is_ok());
    }
    assert_eq!(made, 2, "one of each burst is kept for clients");
    assert_eq!(rig.calls_by_account().await, [1, 1]);
    rig.stop().await;
}

/// A ban that comes while a call waits for its moment sends it to the other account.
#[actix::test]
async fn who_waits_when_a_ban_comes_goes_elsewhere() {
    let rig = Rig::start_with_two(|tables| {
        for account in accounts(tables).iter_mut() {
            account.pacing = Pacing::new(pacing::Settings {
                rate: Some(pacing::Rate { per_second: 4.0, burst: 1 }),
                ..pacing::Settings::default()
            });
        }
    });
    // Both bursts are spent, and one call waits a quarter of a second for either.
    let calls = join_all((0..4).map(|_| rig.call(SEARCH)));
    let banned = async {
        crate::contract::until("two wait", || waiting(&rig) == 2).await;
        rig.account().pacing.ban(clock::monotonic(), Duration::from_secs(60));
    };
    let (answers, ()) = join(calls, banned).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(rig.calls_by_account().await, [1, 3]);
    rig.stop().await;
}

/// A short ban is waited out also by who waited already.
#[actix::test]
async fn who_waits_when_a_short_ban_comes_waits_it_out() {
    let rig = Rig::start_with(|tables| {
        crate::upstream_rig::accounts(tables)[0].pacing = Pacing::new(pacing::Settings {
            rate: Some(pacing::Rate { per_second: 4.0, burst: 1 }),
            ..pacing::Settings::default()
        });
    });
    let calls = join_all((0..2).map(|_| rig.call(SEARCH)));
    let banned = async {
        crate::contract::until("one waits", || waiting(&rig) == 1).await;
        rig.account().pacing.ban(clock::monotonic(), Duration::from_millis(500));
    };
    let (answers, ()) = join(calls, banned).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    rig.stop().await;
}

fn waiting(rig: &Rig) -> usize {
    let status = rig.tables.status(clock::monotonic(), clock::now());
    status.credentials.iter().map(|account| account.pacing.queue).sum()
}
