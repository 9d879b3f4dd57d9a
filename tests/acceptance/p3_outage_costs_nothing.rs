//! P3: an outage costs the upstream nothing and the clients nothing.
//!
//! 200 warm keys past their fresh time, 64 connections, 30 s for each way to fail: the upstream
//! answers 503, then cuts connections, then throttles. Every request is answered 200, from what is
//! stale and marked so; at most 10 calls a second reach the upstream; p99 at most doubles. Normal
//! and outage alternate, and for p99 the medians over the rounds are compared.

use crate::figures::{Table, millis};
use crate::outage::{Fixture, Round, median_time, print};

const FAULTS: [(&str, &str); 3] = [
    ("503", r#"{"fault": "status", "status": 503}"#),
    ("resets", r#"{"fault": "reset"}"#),
    ("throttles", r#"{"fault": "throttle", "seconds": 1}"#),
];
const MOST_CALLS_A_SECOND: u64 = 10;
const SLOWER_AT_MOST: u32 = 2;

#[test]
fn p3_an_outage_costs_the_upstream_nothing() {
    let fixture = Fixture::set();
    let results = FAULTS.map(|(name, fault)| (name, fixture.rounds(fault)));
    fixture.strike();
    print("P3: an outage costs the upstream nothing", &results);
    print_sum(&results);
    let broken: Vec<String> =
        results.iter().flat_map(|(name, rounds)| broken_by(name, rounds)).collect();
    assert!(broken.is_empty(), "P3 does not hold:\n{}", broken.join("\n"));
}

fn print_sum(results: &[(&str, Vec<Round>)]) {
    let columns = ["", "p99 normal", "p99 outage", "most calls/s"];
    let mut table = Table::new("P3: medians of p99 in ms, most calls in any second", &columns);
    for (name, rounds) in results {
        let most = rounds.iter().map(|round| round.outage.most_calls()).max();
        let times = [
            median_time(rounds, |round| round.normal.tally.time(0.99)),
            median_time(rounds, |round| round.outage.tally.time(0.99)),
        ];
        let cells = std::iter::once((*name).to_owned()).chain(times.map(millis));
        table.row(cells.chain([most.unwrap_or_default().to_string()]));
    }
    table.print();
}

/// What does not hold under this fault.
fn broken_by(name: &str, rounds: &[Round]) -> Vec<String> {
    let mut broken = Vec::new();
    for (number, round) in (1..).zip(rounds) {
        let (tally, calls) = (&round.outage.tally, &round.outage.calls);
        if tally.good != tally.asked() || tally.asked() == 0 {
            broken.push(format!("{name} {number}: not every request was answered well: {tally:?}"));
        }
        if tally.stale != tally.good {
            let unmarked = tally.good - tally.stale;
            broken.push(format!("{name} {number}: {unmarked} stale answers were not marked"));
        }
        if round.outage.most_calls() > MOST_CALLS_A_SECOND {
            broken.push(format!("{name} {number}: calls by second: {calls:?}"));
        }
    }
    let normal = median_time(rounds, |round| round.normal.tally.time(0.99));
    let outage = median_time(rounds, |round| round.outage.tally.time(0.99));
    if outage > normal * SLOWER_AT_MOST {
        broken.push(format!("{name}: p99 {outage:?}, normally {normal:?}"));
    }
    broken
}
