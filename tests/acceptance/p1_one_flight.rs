//! P1: 1,000 callers at once on one cold key, an upstream that takes 120 ms, every tenth goes away.
//!
//! Holds when the upstream is called once, everyone who stayed gets 200, and the median caller
//! waits at most 150 ms longer than in the same crowd on a warm key. Several rounds, cold and warm
//! in turn, so that a busy moment of the machine does not decide; the first caller, who may lead
//! the flight, is one of those who leave.

use std::time::Duration;

use serde_json::json;

use crate::burst::{Burst, Fate, LEAVER_IN, make_room};
use crate::figures::{Table, millis, quantile};
use crate::fixture::{Fixture, page};

const CALLERS: usize = 1_000;
const UPSTREAM_TAKES: Duration = Duration::from_millis(120);
/// In the middle of the call.
const LEAVE_AFTER: Duration = Duration::from_millis(60);
const ROUNDS: u32 = 5;
/// What a cold key may cost the median caller more than a warm one.
const WITHIN: Duration = Duration::from_millis(150);

#[test]
fn p1_one_flight() {
    make_room();
    let fixture = Fixture::set();
    let gateway = fixture.plan().start();
    fixture.upstream(&json!({"fault": "delay", "ms": UPSTREAM_TAKES.as_millis()}));
    let title = format!(
        "P1: {CALLERS} callers at once, every tenth leaves, upstream {} ms; times in ms",
        UPSTREAM_TAKES.as_millis()
    );
    let mut table =
        Table::new(title, &["round", "calls", "cold p50", "cold p99", "warm p50", "warm p99"]);
    let (mut cold_p50, mut warm_p50, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let before = fixture.calls();
        let path = page(1, round);
        let cold = Burst::of(gateway.address, &path, CALLERS, Some(LEAVE_AFTER));
        cold.assert_all("cold", |answer| answer.status == 200);
        let left = cold.fates.iter().filter(|fate| matches!(fate, Fate::Left)).count();
        assert_eq!(left, CALLERS / LEAVER_IN, "so many left before the answer");
        let called = fixture.calls() - before;
        let warm = Burst::of(gateway.address, &path, CALLERS, None);
        warm.assert_all("warm", |answer| answer.status == 200);
        let cells = [&cold, &warm].map(|burst| [0.5, 0.99].map(|share| burst.quantile(share)));
        let cells = cells.iter().flatten().map(|time| millis(*time));
        table.row([round.to_string(), called.to_string()].into_iter().chain(cells));
        cold_p50.push(cold.quantile(0.5));
        warm_p50.push(warm.quantile(0.5));
        calls.push(called);
    }
    let all_calls = fixture.calls();
    gateway.stop();
    fixture.end();

    table.print();
    assert_eq!(calls, vec![1; calls.len()], "upstream calls in each round");
    assert_eq!(all_calls, u64::from(ROUNDS), "a warm key calls nobody");
    [&mut cold_p50, &mut warm_p50].into_iter().for_each(|times| times.sort_unstable());
    let (cold, warm) = (quantile(&cold_p50, 0.5), quantile(&warm_p50, 0.5));
    println!("  medians of the rounds: cold {} ms, warm {} ms", millis(cold), millis(warm));
    assert!(cold <= warm + WITHIN, "cold {cold:?}, warm {warm:?}");
}
