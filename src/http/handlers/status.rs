//! What the process says about itself: status, cache figures, metrics.
//!
//! Owns: the shapes of `/api/status` and `/api/cache/stats`, and `/metrics`, which Prometheus scrapes.
//! State that changes all the time is not pushed into a gauge at every change: a scrape brings gauges
//! up to date first, unless the page was made just now. Counts come from the registry and are exact; nothing here asks an actor.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_ENCODING;
use actix_web::web::to;
use serde::Serialize;
use utoipa::ToSchema;

use super::health::free_beside;
use super::rendered::{Made, Page};
use crate::cache::CacheSettings;
use crate::certificates::earliest_end;
use crate::clock::{self, Timestamp};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::headers::GZIP;
use crate::http::service::Route;
use crate::http::state::{Shared, Worker};
use crate::http::stops::answer::gzip;
use crate::limits::Class;
use crate::limits::pressure::PressureStatus;
use crate::metrics::{CONTENT_TYPE, CacheTotals, TierTotals, render};
use crate::origin::health::Problem;
use crate::origin::state::{CredentialStatus, OriginStatus};
use crate::resilience::breaker::State;
use crate::supervision::ActorState;

/// `/api/status`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// Name of the service.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// `live` or `simulator`.
    pub api_integration: &'static str,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// HTTP worker threads.
    pub workers: usize,
    /// What a call meets: `closed`, `open` or `half_open`; of several accounts the best, of several
    /// upstreams the worst.
    pub circuit_breaker: &'static str,
    /// Upstream calls left today, of all accounts; absent without a daily budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_budget_remaining: Option<u64>,
    /// The accounts the upstream knows us by; they are used in turn.
    pub upstream_accounts: Vec<UpstreamAccount>,
    /// What of the configuration the upstream does not accept; absent when all is well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream_problems: Vec<UpstreamProblem>,
    /// Tiers behind memory that are not answering now, actors that are bypassed, `upstream` while the
    /// breaker of one is not closed,
    /// `shared_limits` while each instance keeps to its share of the limits,
    /// `upstream_configuration` while `upstream_problems` has any, `access_lists` as long as
    /// the database could not be asked since the start who is listed and which keys there are,
    /// `invalidations` while it has not said for a second what other instances invalidated,
    /// `overload` while requests are refused because there are too many, `pressure` while limits
    /// are tightened, and `log` while the log cannot be written.
    pub degraded: Vec<&'static str>,
    /// How near the process is to its bounds; limits are tightened by it.
    pub pressure: PressureStatus,
    /// Requests being served.
    pub requests_in_flight: i64,
    /// Limits in force.
    pub rate_limit_enabled: bool,
    /// What services add.
    #[serde(flatten)]
    #[schema(ignore)]
    pub services: serde_json::Map<String, serde_json::Value>,
}

/// An account at the upstream.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpstreamAccount {
    /// Its name, also its breaker's.
    pub name: &'static str,
    /// Its breaker: `closed`, `open` or `half_open`.
    pub circuit_breaker: &'static str,
    /// Its calls left today; absent without a daily budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_remaining: Option<u64>,
    /// Its calls that wait for their moment.
    #[schema(minimum = 0)]
    pub waiting: usize,
    /// Until when the upstream told it to wait, RFC 3339; absent when it may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub banned_until: Option<String>,
}

impl From<CredentialStatus> for UpstreamAccount {
    fn from(account: CredentialStatus) -> Self {
        Self {
            name: account.name,
            circuit_breaker: account.breaker.state.as_str(),
            budget_remaining: account.pacing.budget_remaining,
            waiting: account.pacing.queue,
            banned_until: account.pacing.banned_until.map(Timestamp::rfc3339),
        }
    }
}

/// A fault of the configuration: the upstream refuses calls because of it, and is asked again only
/// now and then until it is put right.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpstreamProblem {
    /// The account that is refused.
    pub account: &'static str,
    /// What is wrong.
    pub fault: &'static str,
    /// The one method it is about; absent when it is about all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    /// When it was first seen, RFC 3339.
    pub since: String,
    /// What to do about it.
    pub advice: String,
}

impl From<Problem> for UpstreamProblem {
    fn from(problem: Problem) -> Self {
        Self {
            account: problem.credential,
            fault: problem.what.name,
            method: problem.operation,
            since: problem.since.rfc3339(),
            advice: problem.advice,
        }
    }
}

/// `/api/cache/stats`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CacheStats {
    /// Counts since the start.
    pub cache_stats: Counts,
    /// How the cache is set up, and how full it is.
    pub cache_config: Setup,
    /// What it was good for.
    pub performance_impact: Impact,
    /// What waits to be stored behind memory.
    pub waiting: Waiting,
}

/// What waits to be stored behind memory.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waiting {
    /// Invalidations and other changes that are in force here and not in the database yet.
    #[schema(minimum = 0)]
    pub changes: usize,
    /// Rows that the database is yet to take.
    #[schema(minimum = 0)]
    pub database: usize,
}

/// Counts since the start.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counts {
    /// Lookups answered by any tier.
    pub hits: u64,
    /// Lookups no tier could answer.
    pub misses: u64,
    /// Hits of all lookups.
    pub hit_rate_percent: f64,
    /// All lookups.
    pub total_requests: u64,
    /// The same by tier; those that were never asked are absent.
    pub by_tier: BTreeMap<&'static str, TierTotals>,
}

/// How the cache is set up, and how full it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Setup {
    /// Whether Redis is configured and answering.
    pub redis_connected: bool,
    /// Fresh time of kinds without one of their own, seconds.
    pub default_ttl: u64,
    /// Entries in memory.
    pub memory_cache_size: usize,
    /// Bytes of their bodies.
    pub memory_cache_bytes: u64,
    /// Most entries in memory.
    pub memory_cache_max_items: usize,
}

/// What the cache was good for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Impact {
    /// Lookups that would have been upstream calls.
    pub estimated_api_calls_saved: u64,
    /// `excellent`, `good`, `fair`, `poor`, or `unknown` before the first lookup.
    pub cache_efficiency: &'static str,
}

pub const ROUTES: &[Route] = &[
    Route::at("/metrics", Class::Exempt).get(|| to(metrics)).says(|doc| {
        let details = "In the Prometheus text format.";
        doc.says("Status", "getMetrics", "Shows every metric for Prometheus.", details)
            .answers(&["text/plain"], "Every metric.");
    }),
    Route::at("/api/status", Class::General).get(|| to(status)).says(|doc| {
        let details =
            "What it answers from, its upstream accounts, and what it does without just now.";
        doc.says("Status", "getStatus", "Tells how the service is.", details)
            .reports::<Status>("The status.");
    }),
    Route::at("/api/cache/stats", Class::General).get(|| to(cache_stats)).says(|doc| {
        let details = "Counts are exact and begin with the process.";
        doc.says("Status", "getCacheStats", "Tells how the cache does.", details)
            .reports::<CacheStats>("Counts by tier.");
    }),
];

async fn status(call: Call) -> Answer {
    call.no_fields().await?;
    let (worker, shared) = (&call.worker, &call.worker.shared);
    let (now, wall) = (clock::monotonic(), clock::now());
    let origins: Vec<_> = shared.origins.iter().map(|origin| origin.status(now, wall)).collect();
    let budgets = origins.iter().filter_map(OriginStatus::budget_remaining);
    let problems = shared.origins.iter().flat_map(|origin| origin.problems());
    let mut degraded = worker.degraded();
    let is_called = origins.iter().all(|origin| origin.breaker() == State::Closed);
    degraded.extend((!is_called).then_some("upstream"));
    degraded.extend(shared.lags.any_refuses().then_some("overload"));
    degraded.extend(shared.pressure.is_high().then_some("pressure"));
    degraded.extend(shared.losses.trouble().is_some().then_some("log"));
    let status = Status {
        service: "breakwater",
        version: env!("CARGO_PKG_VERSION"),
        api_integration: shared.integration.name,
        uptime_seconds: wall.since(shared.started).as_secs(),
        workers: shared.settings.server.workers,
        circuit_breaker: worst_breaker(&origins).as_str(),
        upstream_budget_remaining: budgets.reduce(u64::saturating_add),
        upstream_problems: problems.map(Into::into).collect(),
        upstream_accounts: origins
            .into_iter()
            .flat_map(|origin| origin.credentials)
            .map(Into::into)
            .collect(),
        degraded,
        pressure: shared.pressure.status(),
        requests_in_flight: shared.metrics.http.in_flight.get(),
        rate_limit_enabled: shared.accounts.is_enabled(),
        services: shared.services.iter().flat_map(|service| service.status()).collect(),
    };
    call.report(&status)
}

/// What a call to the upstream that is worst off meets.
fn worst_breaker(origins: &[OriginStatus]) -> State {
    let all: Vec<_> = origins.iter().map(OriginStatus::breaker).collect();
    let from_worst = [State::Open, State::HalfOpen].into_iter();
    let mut met = from_worst.filter(|state| all.contains(state));
    met.next().unwrap_or(State::Closed)
}

async fn cache_stats(call: Call) -> Answer {
    call.no_fields().await?;
    let worker = &call.worker;
    let totals = worker.shared.metrics.cache.totals();
    let tables = worker.cache.tables();
    let settings: CacheSettings = worker.shared.in_force.of();
    let stats = CacheStats {
        cache_stats: Counts {
            hits: totals.hits,
            misses: totals.misses,
            hit_rate_percent: totals.hit_rate_percent(),
            total_requests: totals.lookups(),
            by_tier: totals.by_tier.iter().map(|tier| (tier.tier, tier.clone())).collect(),
        },
        cache_config: Setup {
            redis_connected: tables.redis.as_ref().is_some_and(|redis| !redis.client.is_avoided()),
            default_ttl: settings.default_ttl.as_secs(),
            memory_cache_size: tables.memory.len(),
            memory_cache_bytes: tables.memory.bytes(),
            memory_cache_max_items: settings.memory_items,
        },
        performance_impact: Impact {
            estimated_api_calls_saved: totals.hits,
            cache_efficiency: efficiency(&totals),
        },
        waiting: Waiting {
            changes: tables.changes.as_ref().map_or(0, |(changes, _)| changes.counts().pending),
            database: tables.database.writer.waiting(),
        },
    };
    call.report(&stats)
}

fn efficiency(totals: &CacheTotals) -> &'static str {
    match totals.hit_rate_percent() {
        _ if totals.lookups() == 0 => "unknown",
        rate if rate >= 80.0 => "excellent",
        rate if rate >= 60.0 => "good",
        rate if rate >= 30.0 => "fair",
        _ => "poor",
    }
}

async fn metrics(call: Call) -> Answer {
    let page =
        call.worker.shared.rendered.page(clock::monotonic(), || render_page(&call.worker))?;
    let mut response = HttpResponse::Ok();
    response.content_type(CONTENT_TYPE);
    match page.packed.filter(|_| call.context.gzip) {
        Some(packed) => Ok(response.insert_header((CONTENT_ENCODING, GZIP)).body(packed)),
        None => Ok(response.body(page.text)),
    }
}

fn render_page(worker: &Worker) -> Made {
    let shared = &worker.shared;
    let tables = worker.cache.tables();
    let entries = u64::try_from(tables.memory.len()).unwrap_or(u64::MAX);
    shared.metrics.cache.size("memory", entries, tables.memory.bytes());
    refresh(shared);
    shared.metrics.limits.shared.set(worker.shares_limits());
    let text = render(&shared.metrics)
        .map_err(|error| ApiError::new(ErrorCode::Internal).because(error))?;
    Ok(Page { packed: gzip(text.as_bytes()), text: text.into() })
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
    let breakers = &shared.metrics.upstream.breakers;
    breakers.state.clear();
    for breaker in &shared.breakers.stores {
        let state = breaker.snapshot(now).state.gauge();
        if let Some(tier) = CACHE_TIERS.into_iter().find(|tier| *tier == breaker.name()) {
            breakers.state.at([tier]).set(state);
            breakers.tier_state.at([tier]).set(state);
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
    metrics.log_lost.at(["dropped"]).set(shared.losses.dropped());
    metrics.log_lost.at(["failed"]).set(shared.losses.failed());
    for (setting, file) in &shared.settings.certificates {
        let end = file
            .as_deref()
            .map_or(f64::INFINITY, |file| earliest_end(file).map_or(0.0, |end| end.as_secs_f64()));
        metrics.certificates.at([setting]).set(end);
    }
    if let Ok(free) = free_beside(&shared.settings.database) {
        metrics.disk_free.set(free);
    }
}

/// Gauges without a label are of all upstreams together.
fn upstreams(shared: &Shared, origins: &[OriginStatus]) {
    let metrics = &shared.metrics.upstream;
    metrics.breakers.slow_start.clear();
    metrics.account_budget_remaining.clear();
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
