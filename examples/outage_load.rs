//! One phase of `make bench-outage`: asks a server as fast as it answers and counts what that cost.
//!
//! `outage_load SERVER SIMULATOR FAULT PATHS GOOD SECONDS CONNECTIONS` waits until the server is well,
//! puts the fault in force at the simulator (a rule as JSON, or nothing), waits until every key is
//! past its fresh time, asks, and prints one line: good answers a second, asked, good, marked as
//! stale, p50 and p99 in microseconds, calls to the upstream, most calls in one second, requests
//! left without an answer, and answers in the slowest full second.

use std::error::Error;
use std::time::Duration;

use breakwater::console;

use closed_loop::Course;
use upstream_watch::{Watch, set_fault};

#[path = "../tests/acceptance/closed_loop/mod.rs"]
mod closed_loop;
#[path = "../tests/support/http.rs"]
#[expect(dead_code, reason = "shared with the tests; this uses a part of it")]
mod http;
#[path = "../tests/acceptance/upstream_watch.rs"]
mod upstream_watch;

/// Longer than the fresh time of what the bench's servers keep.
const UNTIL_STALE: Duration = Duration::from_secs(3);
/// Longest wait for a server to be well again once its upstream is.
const RECOVERY_SECONDS: u32 = 120;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, simulator, fault, paths, good, seconds, connections] = arguments.as_slice() else {
        return Err(
            "usage: outage_load SERVER SIMULATOR FAULT PATHS GOOD SECONDS CONNECTIONS".into()
        );
    };
    let simulator = simulator.parse()?;
    let course = Course {
        address: server.parse()?,
        paths: std::fs::read_to_string(paths)?.lines().map(str::to_owned).collect(),
        connections: connections.parse()?,
        good: good.clone(),
        stale: "\"stale\":true".to_owned(),
    };
    wait_until_recovered(&course)?;
    set_fault(simulator, fault)?;
    let watch = Watch::start(simulator);
    if !fault.is_empty() {
        std::thread::sleep(UNTIL_STALE);
    }
    let tally = closed_loop::run(&course, Duration::from_secs(seconds.parse()?))?;
    let calls = watch.stop()?;
    set_fault(simulator, "")?;
    let seconds = usize::try_from(tally.lasted.as_secs())?;
    // A second without an answer at the end is not in the list.
    let slowest = (0..seconds).map(|second| tally.by_second.get(second).unwrap_or(&0)).min();
    console::say(&format!(
        "{:.0} {} {} {} {} {} {} {} {} {}",
        tally.good_per_second(),
        tally.asked(),
        tally.good,
        tally.stale,
        tally.time(0.5).as_micros(),
        tally.time(0.99).as_micros(),
        calls.iter().sum::<u64>(),
        calls.iter().max().copied().unwrap_or_default(),
        tally.left_waiting,
        slowest.unwrap_or(&0),
    ))?;
    Ok(())
}

/// Asks until most answers are fresh again: what an earlier fault left behind is not measured.
fn wait_until_recovered(course: &Course) -> Result<(), Box<dyn Error>> {
    for _ in 0..RECOVERY_SECONDS {
        let tally = closed_loop::run(course, Duration::from_secs(1))?;
        if tally.good == tally.asked() && tally.stale * 2 < tally.good {
            return Ok(());
        }
    }
    Err(format!("{} does not recover within {RECOVERY_SECONDS} s", course.address).into())
}
