//! The watch of P5 and P19: what the upstream receives, what is repeated, and what the breaker does.
//!
//! Owns: the simulator's count every few milliseconds, that count beside the gateway's count of
//! retries ten times a second, and the breaker's changes as the gateway's log tells them, which
//! misses none. Refuses: logs without times.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use breakwater::clock::{Timestamp, monotonic, now};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::figures::simulator_calls;
use crate::fixture::Fixture;
use crate::support::gateway::Running;
use crate::support::http::Connection;

/// How often the simulator is asked.
const FINE: Duration = Duration::from_millis(5);
/// How often the gateway is asked too.
const COARSE: Duration = Duration::from_millis(100);

/// Both counts at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// When.
    pub(crate) at: Instant,
    /// Calls that the upstream has received.
    pub(crate) calls: u64,
    /// Those of them that the gateway calls retries.
    pub(crate) retries: u64,
}

/// What was seen.
pub(crate) struct Seen {
    /// Calls, known at these moments.
    fine: Vec<(Instant, u64)>,
    looks: Vec<Look>,
    /// The same moment on both clocks.
    began: (Instant, Timestamp),
}

/// A watch that runs.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    fine: JoinHandle<Vec<(Instant, u64)>>,
    coarse: JoinHandle<Vec<Look>>,
    began: (Instant, Timestamp),
}

impl Watch {
    /// Starts looking.
    pub(crate) fn start(fixture: &Fixture, gateway: &Running) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut simulator = fixture.control();
        let fine = every(FINE, &stop, move || {
            let calls = simulator_calls(&mut simulator);
            (monotonic(), calls)
        });
        let (mut simulator, mut gateway) = (fixture.control(), gateway.connection());
        let coarse = every(COARSE, &stop, move || {
            let calls = simulator_calls(&mut simulator);
            Look { at: monotonic(), calls, retries: retries(&mut gateway) }
        });
        Self { stop, fine, coarse, began: (monotonic(), now()) }
    }

    /// Stops looking.
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let fine = self.fine.join().expect("watching does not panic");
        let looks = self.coarse.join().expect("watching does not panic");
        Seen { fine, looks, began: self.began }
    }
}

fn every<T: Send + 'static>(
    pause: Duration,
    stop: &Arc<AtomicBool>,
    mut look: impl FnMut() -> T + Send + 'static,
) -> JoinHandle<Vec<T>> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            seen.push(look());
            std::thread::sleep(pause);
        }
        seen
    })
}

fn retries(gateway: &mut Connection) -> u64 {
    let metrics = gateway.get("/metrics").expect("metrics answer").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("upstream_retries_total "));
    line.and_then(|count| count.trim().parse().ok()).expect("a count of retries")
}

impl Seen {
    /// Calls that had surely arrived by then.
    pub(crate) fn calls_by(&self, at: Instant) -> u64 {
        let known = self.fine.iter().take_while(|(seen, _)| *seen <= at).last();
        known.map_or(0, |(_, calls)| *calls)
    }

    /// Calls and retries of a stretch, from the looks nearest to its ends.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> (u64, u64) {
        let by = |at: Instant| self.looks.iter().rfind(|look| look.at <= at);
        let (Some(first), Some(last)) = (by(from), by(to)) else { return (0, 0) };
        (last.calls - first.calls, last.retries - first.retries)
    }

    /// Every second, wherever it begins: a look, and the first one a second later.
    pub(crate) fn seconds(&self) -> impl Iterator<Item = (Look, Look)> {
        self.looks.iter().filter_map(|first| {
            let second_later = first.at + Duration::from_secs(1);
            let last = self.looks.iter().find(|look| look.at >= second_later)?;
            Some((*first, *last))
        })
    }

    /// What the upstream's breaker did, in order.
    pub(crate) fn moves(&self, folder: &Path) -> Vec<Move> {
        let log = std::fs::read_to_string(folder.join("gateway.log")).expect("the gateway logs");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let moved = lines.filter(|line| line["msg"] == "breaker moved");
        let moves = moved.filter(|line| line["breaker"] == "upstream").map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            Move { at: self.moment(&text("ts")), to: text("to"), reason: text("reason") }
        });
        moves.collect()
    }

    /// A time in the log, on the clock of everything else here.
    fn moment(&self, text: &str) -> Instant {
        let time = OffsetDateTime::parse(text, &Rfc3339).expect("a time in the log");
        let millis = time.unix_timestamp_nanos() / 1_000_000;
        let at = Timestamp::from_millis(i64::try_from(millis).expect("a time of today"));
        let (instant, timestamp) = self.began;
        instant + at.since(timestamp)
    }
}

/// A change of the breaker's state.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    /// When.
    pub(crate) at: Instant,
    /// The new state.
    pub(crate) to: String,
    /// Why.
    pub(crate) reason: String,
}
