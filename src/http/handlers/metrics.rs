//! `/metrics`: what Prometheus scrapes.
//!
//! Owns: bringing gauges up to date before a scrape. State that changes all the time is not pushed at
//! every change; a scrape sees it as it is then. Nothing here asks an actor.

use actix_web::HttpResponse;
use actix_web::web::to;

use crate::clock;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::service::Route;
use crate::http::state::Shared;
use crate::limits::Class;
use crate::metrics::{CONTENT_TYPE, render};
use crate::origin::state::OriginStatus;
use crate::supervision::ActorState;

pub const ROUTES: &[Route] =
    &[Route::at("/metrics", Class::Exempt).get(|| to(metrics)).says(|doc| {
        let details = "In the Prometheus text format.";
        doc.says("Status", "getMetrics", "Shows every metric for Prometheus.", details)
            .answers(&["text/plain"], "Every metric.");
    })];

async fn metrics(call: Call) -> Answer {
    let (worker, shared) = (&call.worker, &call.worker.shared);
    let tables = worker.cache.tables();
    let entries = u64::try_from(tables.memory.len()).unwrap_or(u64::MAX);
    shared.metrics.cache.size("memory", entries, tables.memory.bytes());
    refresh(shared);
    shared.metrics.limits.shared.set(worker.shares_limits());
    let text = render(&shared.metrics)
        .map_err(|error| ApiError::new(ErrorCode::Internal).because(error))?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

/// Breakers of the tiers, which have a metric of their own.
const CACHE_TIERS: [&str; 2] = ["redis", "database"];

/// Brings every such gauge up to date.
fn refresh(shared: &Shared) {
    let mut actors: std::collections::BTreeMap<&'static str, (i64, i64)> = Default::default();
    for actor in shared.supervisor.status() {
        let (up, queue) = actors.entry(actor.name).or_default();
        *up = up.saturating_add(i64::from(actor.state == ActorState::Running));
        *queue = queue.saturating_add(i64::try_from(actor.queue).unwrap_or(i64::MAX));
    }
    for (name, (up, queue)) in actors {
        shared.metrics.actors.up.at([name]).set(up);
        shared.metrics.actors.queue_length.at([name]).set(queue);
    }
    let now = clock::monotonic();
    for breaker in &shared.breakers {
        let state = breaker.snapshot(now).state;
        if let Some(tier) = CACHE_TIERS.into_iter().find(|tier| *tier == breaker.name()) {
            shared.metrics.upstream.breakers.tier_state.at([tier]).set(state.gauge());
        }
    }
    shared.metrics.limits.abuse_throttled.set(shared.abuse.throttled_now(now));
    shared.metrics.http.connections.set(shared.connections.open());
    shared.metrics.http.loop_lag.set(shared.lags.worst(now).as_secs_f64());
    let origins = shared.origins.iter().map(|origin| origin.status(now, clock::now()));
    upstreams(shared, &origins.collect::<Vec<_>>());
    access(shared);
}

fn access(shared: &Shared) {
    let sizes = shared.access.sizes();
    shared.metrics.limits.whitelist_size.set(sizes.allow);
    shared.metrics.limits.blacklist_size.set(sizes.deny);
    let metrics = &shared.metrics.access;
    metrics.keys.set(sizes.keys);
    let changes = shared.changes.counts();
    metrics.pending.set(changes.pending);
    metrics.unreadable.set(changes.unreadable);
    let (waiting, dropped) = shared.access.audit.counts();
    metrics.audit_waiting.set(waiting);
    metrics.audit_dropped.set(dropped);
}

/// Gauges without a label are of all upstreams together.
fn upstreams(shared: &Shared, origins: &[OriginStatus]) {
    let metrics = &shared.metrics.upstream;
    for account in origins.iter().flat_map(|origin| &origin.credentials) {
        let name = [account.name];
        metrics.breakers.state.at(name).set(account.breaker.state.gauge());
        let slow_start = account.breaker.slow_start_per_second.unwrap_or_default();
        metrics.breakers.slow_start.at(name).set(slow_start);
        if let Some(left) = account.pacing.budget_remaining {
            metrics.account_budget_remaining.at(name).set(left);
        }
    }
    let sum = |of: fn(&OriginStatus) -> u32| origins.iter().map(of).sum::<u32>();
    let paced = |origin: &OriginStatus| {
        origin.credentials.iter().map(|account| account.pacing.queue).sum::<usize>()
    };
    let waiting = origins.iter().map(|origin| origin.load.waiting.saturating_add(paced(origin)));
    metrics.concurrency_limit.set(sum(|of| of.load.limit));
    metrics.in_flight.set(sum(|of| of.load.in_flight));
    metrics.waiting.set(waiting.sum::<usize>());
    if let Some(left) =
        origins.iter().filter_map(OriginStatus::budget_remaining).reduce(u64::saturating_add)
    {
        metrics.budget_remaining.set(left);
    }
}
