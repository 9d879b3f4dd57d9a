//! Gauges that are read off when somebody scrapes.
//!
//! Owns: copying the state of actors, breakers and budget into the registry. State that changes all
//! the time is not pushed at every change; a scrape sees it as it is then.

use super::state::Shared;
use crate::clock;
use crate::origin::state::OriginStatus;
use crate::supervision::ActorState;

/// Breakers of the tiers, which have a metric of their own.
const CACHE_TIERS: [&str; 2] = ["redis", "database"];

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
        let state = breaker.snapshot(now).state;
        if let Some(tier) = CACHE_TIERS.into_iter().find(|tier| *tier == breaker.name()) {
            shared.metrics.upstream().cache_breaker_state(tier, state.into());
        }
    }
    shared.metrics.limits().abuse_throttled(shared.abuse.throttled_now(now));
    shared.metrics.http().connections(shared.connections.len());
    shared.metrics.http().loop_lag(shared.lags.worst(now));
    let origins = shared.origins.iter().map(|origin| origin.status(now, clock::now()));
    upstreams(shared, &origins.collect::<Vec<_>>());
    access(shared);
}

fn access(shared: &Shared) {
    let counts = shared.access.counts();
    shared.metrics.limits().list_sizes(counts.sizes.allow, counts.sizes.deny);
    let metrics = shared.metrics.access();
    metrics.keys(counts.sizes.keys);
    let changes = shared.changes.counts();
    metrics.changes(changes.pending, changes.unreadable);
    metrics.audit(counts.audit_waiting, counts.audit_dropped);
}

/// Gauges without a label are of all upstreams together.
fn upstreams(shared: &Shared, origins: &[OriginStatus]) {
    let metrics = shared.metrics.upstream();
    for account in origins.iter().flat_map(|origin| &origin.credentials) {
        metrics.breaker_state(account.name, account.breaker.state.into());
        metrics.breaker_slow_start(account.name, account.breaker.slow_start_per_second);
        if let Some(left) = account.pacing.budget_remaining {
            metrics.account_budget_remaining(account.name, left);
        }
    }
    let sum = |of: fn(&OriginStatus) -> u32| origins.iter().map(of).sum();
    let paced = |origin: &OriginStatus| {
        origin.credentials.iter().map(|account| account.pacing.queue).sum::<usize>()
    };
    let waiting = origins.iter().map(|origin| origin.load.waiting.saturating_add(paced(origin)));
    metrics.load(sum(|of| of.load.limit), sum(|of| of.load.in_flight), waiting.sum());
    if let Some(left) =
        origins.iter().filter_map(OriginStatus::budget_remaining).reduce(u64::saturating_add)
    {
        metrics.budget_remaining(left);
    }
}
