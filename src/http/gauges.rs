//! Gauges that are read off when somebody scrapes.
//!
//! Owns: copying the state of actors, breakers and budget into the registry. State that changes all
//! the time is not pushed at every change; a scrape sees it as it is then.

use super::state::Shared;
use crate::breaker::State;
use crate::clock;
use crate::metrics::BreakerState;
use crate::supervision::ActorState;

/// Brings every such gauge up to date.
pub(super) fn refresh(shared: &Shared) {
    let mut actors: std::collections::BTreeMap<&'static str, (i64, i64)> = Default::default();
    for actor in shared.supervisor.status() {
        let (up, queue) = actors.entry(actor.name).or_default();
        *up = up.saturating_add(i64::from(actor.state == ActorState::Running));
        *queue = queue.saturating_add(i64::try_from(actor.queue).unwrap_or(i64::MAX));
    }
    for (name, (up, queue)) in actors {
        shared.metrics.actors().of(name).observe(up, queue);
    }
    let now = clock::monotonic();
    for breaker in &shared.breakers {
        let snapshot = breaker.snapshot(now);
        let state = snapshot.state;
        match breaker.name() {
            "redis" => shared.metrics.upstream().cache_breaker_state("redis", label(state)),
            "database" => shared.metrics.upstream().cache_breaker_state("database", label(state)),
            _ => {
                shared.metrics.upstream().breaker_state("upstream", label(state));
                shared.metrics.upstream().breaker_ramp("upstream", snapshot.ramp_per_second);
            }
        }
    }
    shared.metrics.http().loop_lag(shared.lags.worst(now));
    if let Some(left) = shared.upstream.pacing.snapshot(now, clock::now()).budget_remaining {
        shared.metrics.upstream().budget_remaining(left);
    }
}

/// The metric's word for a state.
#[must_use]
pub(crate) const fn label(state: State) -> BreakerState {
    match state {
        State::Closed => BreakerState::Closed,
        State::Open => BreakerState::Open,
        State::HalfOpen => BreakerState::HalfOpen,
    }
}
