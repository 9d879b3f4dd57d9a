//! P4: a hanging upstream is invisible on warm keys.
//!
//! The upstream accepts and never answers; then it sends one byte a second. Throughput stays at 90 %
//! of the normal one (median over alternating rounds) with every answer good, and nothing piles
//! up: sockets, threads, calls and memory stay within what the normal phases took, but for the few calls
//! that may be under way.

use crate::figures::Table;
use crate::growth::Footprint;
use crate::outage::{Fixture, Round, print, throughput_to_normal};

const FAULTS: [(&str, &str); 2] =
    [("hang", r#"{"fault": "hang"}"#), ("slow", r#"{"fault": "slow_body", "ms": 1000}"#)];
const LEAST_THROUGHPUT: f64 = 0.9;
/// Sockets of calls that hang: at most so many may be under way at once.
const SOCKETS_MORE: u64 = 20;
/// Calls under way or waiting at the end of an outage: refreshes that probe, and no more.
const TASKS: f64 = 9.0;
/// The runtime's pool for blocking work starts threads when it needs them.
const THREADS_MORE: u64 = 4;
/// What an allocator keeps to itself varies by so much.
const KIB_MORE: u64 = 16 * 1024;

#[test]
fn p4_a_hanging_upstream_is_invisible_on_warm_keys() {
    let fixture = Fixture::set();
    let results = FAULTS.map(|(name, fault)| (name, fixture.rounds(fault)));
    fixture.strike();
    print("P4: a hanging upstream is invisible", &results);
    let mut table = Table::new("P4: throughput to normal, median", &["", "ratio", "goal"]);
    for (name, rounds) in &results {
        let ratio = format!("{:.2}", throughput_to_normal(rounds));
        table.row([(*name).to_owned(), ratio, format!("{LEAST_THROUGHPUT:.2}")]);
    }
    table.print();
    let broken: Vec<String> =
        results.iter().flat_map(|(name, rounds)| broken_by(name, rounds)).collect();
    assert!(broken.is_empty(), "P4 does not hold:\n{}", broken.join("\n"));
}

/// What does not hold under this fault.
fn broken_by(name: &str, rounds: &[Round]) -> Vec<String> {
    let mut broken = Vec::new();
    let ratio = throughput_to_normal(rounds);
    if ratio < LEAST_THROUGHPUT {
        broken.push(format!("{name}: throughput is {ratio:.2} of the normal one"));
    }
    let normal = most(rounds, |round| round.normal.most);
    let outage = most(rounds, |round| round.outage.most);
    if outage.sockets > normal.sockets + SOCKETS_MORE
        || outage.threads > normal.threads + THREADS_MORE
        || outage.resident_kib > normal.resident_kib + KIB_MORE
    {
        broken.push(format!("{name}: it grows: {outage:?}, normally {normal:?}"));
    }
    for (number, round) in (1..).zip(rounds) {
        let tasks = round.outage.tasks;
        if tasks > TASKS {
            broken.push(format!("{name} {number}: {tasks} calls are under way or wait"));
        }
        let tally = &round.outage.tally;
        if tally.good != tally.asked() || tally.asked() == 0 {
            broken.push(format!("{name} {number}: not every request was answered well: {tally:?}"));
        }
    }
    broken
}

/// The most of each in any round.
fn most(rounds: &[Round], of: impl Fn(&Round) -> Footprint) -> Footprint {
    rounds.iter().map(of).reduce(Footprint::or_more).unwrap_or_default()
}
