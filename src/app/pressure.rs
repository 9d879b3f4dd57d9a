//! Watches how near the process is to its bounds.
//!
//! Owns: where the readings come from, how often, and what becomes of a change: the dial that limits
//! are read through, the gauge, a line of the log. Refuses nothing; a reading that cannot be had
//! counts as none. If the watch dies it is begun anew, and meanwhile the last level stays. Tighter
//! limits give no memory back: a cache that may fill most of the memory is named at the start.

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
    let (server, limits) = (&shared.settings.server, &shared.settings.limits);
    let bound = Some(server.memory_limit).filter(|set| *set > 0).or_else(memory_bound);
    tell(shared, bound);
    if !limits.pressure || !limits.enabled {
        return;
    }
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

/// What memory is held against.
fn tell(shared: &Shared, bound: Option<u64>) {
    let Some(bound) = bound else {
        return info!(shared.log, "memory in use is held against nothing");
    };
    let cache = shared.settings.cache.memory_bytes;
    if cache > bound / 2 {
        warn!(shared.log, "the cache may fill more than half of the memory there is";
            "cache_bytes" => cache, "bound_bytes" => bound);
    } else {
        info!(shared.log, "memory in use is held against a bound"; "bound_bytes" => bound);
    }
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
    let line = shared.lags.longest_queue();
    Readings {
        memory: bound.zip(resident_bytes()).map(|(bound, used)| kib(used) / kib(bound)),
        lag: if held.is_zero() { 0.0 } else { lag.as_secs_f64() / held.as_secs_f64() },
        queues: f64::from(line) / f64::from(shared.settings.server.max_in_flight),
        latency: observed.memory_latency(now),
    }
}

fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX))
}
