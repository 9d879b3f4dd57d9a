//! P2: 1,000 callers at once on one cold key, and the upstream fails; then it hangs.
//!
//! Holds when a failing key costs at most one call and its retries, also with a second crowd right
//! behind the first; everyone is answered 503 and told when to come back, in header and envelope;
//! and 99 of 100 are answered within 300 ms of the last attempt. While the upstream hangs they are
//! answered with 504 within 100 ms of their deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::burst::{Burst, make_room};
use crate::figures::{Table, millis, simulator_calls};
use crate::fixture::{Fixture, page};
use crate::support::http::{Answer, Connection};

const CALLERS: usize = 1_000;
const ATTEMPTS: u64 = 3;
const FAILS_AFTER_MS: u64 = 20;
const WITHIN_OF_LAST_ATTEMPT: Duration = Duration::from_millis(300);
/// Longest time of a request by the setting below; an attempt could take longer.
const DEADLINE: Duration = Duration::from_millis(1_500);
const WITHIN_OF_DEADLINE: Duration = Duration::from_millis(100);
/// How often the simulator is asked for its count.
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[test]
fn p2_one_failure() {
    make_room();
    let fixture = Fixture::set();
    // One attempt of a hang must not be over before the request's time is.
    let plan = fixture
        .plan()
        .with("RETRY_MAX_ATTEMPTS", ATTEMPTS.to_string())
        .with("RETRY_BASE_DELAY_MS", "200")
        .with("UPSTREAM_TIMEOUT_MS", "5000")
        .with("REQUEST_TIMEOUT_MS", DEADLINE.as_millis().to_string());
    let mut table = Table::new(
        format!("P2: {CALLERS} callers at once on a cold key of a failing upstream; times in ms"),
        &["phase", "calls", "p50", "p99", "max", "p99 after the last attempt or deadline"],
    );

    let gateway = plan.start();
    let fault = json!({"fault": "status", "status": 503, "ms": FAILS_AFTER_MS});
    fixture.upstream(&fault);
    let failing = watched(&fixture, || Burst::of(gateway.address, &page(2, 1), CALLERS, None));
    let right_after = watched(&fixture, || Burst::of(gateway.address, &page(2, 1), CALLERS, None));
    let last = failing.last_call.expect("the upstream was called");
    let late = (failing.burst.began + failing.burst.quantile(0.99)).saturating_duration_since(last);
    row(&mut table, "503", &failing, late);
    row(&mut table, "503, right after", &right_after, right_after.burst.quantile(0.99));
    gateway.stop();

    // Anew, so that nothing is remembered of the upstream.
    fixture.upstream(&json!({"fault": "hang"}));
    let gateway = plan.start();
    let hanging = watched(&fixture, || Burst::of(gateway.address, &page(2, 2), CALLERS, None));
    let beyond = hanging.burst.quantile(0.99).saturating_sub(DEADLINE);
    row(&mut table, "hang", &hanging, beyond);
    gateway.stop();
    fixture.end();
    table.print();

    failing.burst.assert_all("503", |answer| refuses(answer, &[503]));
    right_after.burst.assert_all("503, right after", |answer| refuses(answer, &[503]));
    let calls = failing.calls + right_after.calls;
    assert!(calls <= ATTEMPTS, "{calls} calls for one failing key");
    assert!(late <= WITHIN_OF_LAST_ATTEMPT, "p99 {late:?} after the last attempt");

    hanging.burst.assert_all("hang", |answer| refuses(answer, &[504]));
    assert!(hanging.calls <= ATTEMPTS, "{} calls for one hanging key", hanging.calls);
    assert!(beyond <= WITHIN_OF_DEADLINE, "p99 {beyond:?} beyond the deadline");
}

/// A burst and what the upstream saw of it.
struct Watched {
    burst: Burst,
    calls: u64,
    /// When the last call arrived, as far as looking every few milliseconds tells.
    last_call: Option<Instant>,
}

fn watched(fixture: &Fixture, run: impl FnOnce() -> Burst) -> Watched {
    let before = fixture.calls();
    let over = AtomicBool::new(false);
    let (burst, last_call) = std::thread::scope(|scope| {
        let (mut control, over) = (fixture.control(), &over);
        let watcher = scope.spawn(move || last_call(&mut control, before, over));
        let burst = run();
        over.store(true, Ordering::Relaxed);
        (burst, watcher.join().expect("watching does not panic"))
    });
    Watched { burst, calls: fixture.calls() - before, last_call }
}

fn last_call(control: &mut Connection, before: u64, over: &AtomicBool) -> Option<Instant> {
    let (mut seen, mut last) = (before, None);
    while !over.load(Ordering::Relaxed) {
        // What is seen now happened after the question before this one.
        let asked = monotonic();
        let calls = simulator_calls(control);
        if calls > seen {
            (seen, last) = (calls, Some(asked));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    last
}

/// A refusal with one of these statuses that says when to come back, twice.
fn refuses(answer: &Answer, statuses: &[u16]) -> bool {
    let envelope = answer.json();
    let in_header = answer.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
    let in_envelope = envelope.get("retry_after").and_then(Value::as_u64);
    statuses.contains(&answer.status)
        && envelope["success"] == false
        && in_header.is_some_and(|wait| wait >= 1)
        && in_header == in_envelope
}

fn row(table: &mut Table, phase: &str, watched: &Watched, late: Duration) {
    let times = [0.5, 0.99, 1.0].map(|share| millis(watched.burst.quantile(share)));
    let cells = [phase.to_owned(), watched.calls.to_string()].into_iter().chain(times);
    table.row(cells.chain([millis(late)]));
}
