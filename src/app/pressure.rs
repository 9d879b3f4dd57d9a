//! Watches how near the process is to its bounds.
//!
//! Owns: where the readings come from, how often, and what becomes of a change: the dial that limits
//! are read through, the gauge, a line of the log. Refuses nothing; a reading that cannot be had
//! counts as none. If the watch dies it is begun anew, and meanwhile the last level stays.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use slog::{info, warn};

use crate::clock;
use crate::http::state::Shared;
use crate::limits::pressure::{Dial, Level, Readings};
use crate::metrics::{MonitoringTable, memory_bound, resident_bytes};
use crate::supervision::keep_running;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(250);

/// Starts the watch on this thread, unless it is not wanted; it ends with the process.
pub(super) fn watch(shared: &Arc<Shared>, dial: Dial, observed: MonitoringTable) {
    if !shared.settings.limits.pressure {
        return;
    }
    let set = shared.settings.server.memory_limit;
    let bound = if set > 0 { Some(set) } else { memory_bound() };
    let weak = Arc::downgrade(shared);
    keep_running("pressure", shared.supervisor.observer(), move || {
        let (weak, dial, observed) = (weak.clone(), dial.clone(), observed.clone());
        async move {
            while let Some(shared) = weak.upgrade() {
                look(&shared, &dial, &readings(&shared, &observed, bound));
                drop(shared);
                tokio::time::sleep(EVERY).await;
            }
        }
    });
}

fn look(shared: &Shared, dial: &Dial, readings: &Readings) {
    let mut judge = shared.pressure.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = judge.judge(readings, clock::monotonic());
    let pressure = judge.pressure();
    drop(judge);
    let Some(before) = changed else { return };
    dial.turn(pressure.level);
    shared.metrics.limits().pressure(pressure.level.halvings());
    let (from, to) = (before.as_str(), pressure.level.as_str());
    if pressure.level == Level::Normal {
        info!(shared.log, "pressure is over, limits are whole"; "from" => from);
    } else {
        let because = format!("{:?}", pressure.because).to_lowercase();
        warn!(shared.log, "pressure changed, limits with it"; "from" => from, "to" => to,
            "because" => because, "strain" => pressure.strain);
    }
}

fn readings(shared: &Shared, observed: &MonitoringTable, bound: Option<u64>) -> Readings {
    let now = clock::monotonic();
    // Where no lateness is too much to serve, none is a strain.
    let held = shared.settings.server.shed_lag;
    let lag = shared.lags.worst(now);
    Readings {
        memory: bound.zip(resident_bytes()).map(|(bound, used)| ratio(used, bound)),
        lag: if held.is_zero() { 0.0 } else { lag.as_secs_f64() / held.as_secs_f64() },
        queues: queues(shared),
        latency: observed.memory_latency(now),
    }
}

/// How full the fullest is: requests being served, and upstream calls that wait.
fn queues(shared: &Shared) -> f64 {
    let settings = &shared.settings;
    let workers = u64::try_from(settings.server.workers).unwrap_or(u64::MAX);
    let room = u64::from(settings.server.max_in_flight).saturating_mul(workers);
    let inside = u64::try_from(shared.metrics.http().in_flight()).unwrap_or_default();
    let waiting = u64::try_from(shared.upstream.crowd.snapshot().waiting).unwrap_or(u64::MAX);
    let places = u64::try_from(settings.upstream.queue).unwrap_or(u64::MAX);
    ratio(inside, room).max(ratio(waiting, places))
}

/// A share of nothing is none.
fn ratio(part: u64, whole: u64) -> f64 {
    let float = |number: u64| f64::from(u32::try_from(number >> 10).unwrap_or(u32::MAX));
    let (part, whole) =
        if whole > 1 << 24 { (float(part), float(whole)) } else { (small(part), small(whole)) };
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn small(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
