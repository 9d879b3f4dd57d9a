//! Watches how near the process is to its bounds.
//!
//! Owns: where the readings come from, how often, and what becomes of a change: the switch that limits
//! are read through, the gauge, a line of the log. Refuses nothing; a reading that cannot be had
//! counts as none. If the watch dies it is started again, and meanwhile the last level stays.

use std::sync::Arc;
use std::time::Duration;

use slog::{info, warn};

use crate::clock;
use crate::http::state::Shared;
use crate::limits::pressure::{Level, Readings};
use crate::metrics::{MonitoringTable, memory_bound, resident_bytes};
use crate::supervision::keep_running;

/// How often the process is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// What is not optimised is slow without being overloaded.
const JUDGES_TIMES: bool = !cfg!(debug_assertions);

/// Starts the watch on this thread, if there are limits; it ends with the process.
pub(super) fn watch(shared: &Arc<Shared>, observed: MonitoringTable) {
    let bound = memory_bound();
    tell(shared, bound);
    if !shared.settings.limits.enabled {
        return;
    }
    let weak = Arc::downgrade(shared);
    keep_running("pressure", shared.supervisor.observer(), move || {
        let (weak, observed) = (weak.clone(), observed.clone());
        async move {
            while let Some(shared) = weak.upgrade() {
                look(&shared, &readings(&shared, &observed, bound));
                drop(shared);
                tokio::time::sleep(EVERY).await;
            }
        }
    });
}

/// Tighter limits give no memory back, so a cache that may fill most of it is named at the start.
fn tell(shared: &Shared, bound: Option<u64>) {
    let Some(bound) = bound else {
        return info!(shared.log, "no bound of the memory in use is known");
    };
    let cache = shared.settings.cache.memory_bytes;
    if cache > bound / 2 {
        warn!(shared.log, "the cache may fill more than half of the memory there is";
            "cache_bytes" => cache, "bound_bytes" => bound);
    } else {
        info!(shared.log, "memory in use has a bound"; "bound_bytes" => bound);
    }
}

fn look(shared: &Shared, readings: &Readings) {
    let Some(changed) = shared.pressure.evaluate(readings, clock::monotonic()) else { return };
    shared.metrics.limits.pressure.set(shared.pressure.is_high());
    if changed.level == Level::Normal {
        return info!(shared.log, "pressure is over, limits are whole");
    }
    let because = format!("{:?}", changed.because).to_lowercase();
    warn!(shared.log, "pressure changed, limits with it"; "to" => "high", "because" => because,
        "strain" => changed.strain);
}

fn readings(shared: &Shared, observed: &MonitoringTable, bound: Option<u64>) -> Readings {
    let now = clock::monotonic();
    let queue = shared.lags.longest_queue();
    Readings {
        memory: bound.zip(resident_bytes()).map(|(bound, used)| kib(used) / kib(bound)),
        lag: if JUDGES_TIMES { shared.lags.worst(now) } else { Duration::ZERO },
        queues: f64::from(queue) / f64::from(shared.settings.server.max_in_flight),
        latency: observed.memory_latency(now).filter(|_| JUDGES_TIMES),
    }
}

fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX))
}
