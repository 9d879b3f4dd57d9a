//! Health, from what was recorded while working; no question is asked of anyone.
//!
//! Owns: what each component's state means. Live says that the process runs. Ready says that it can
//! serve: its actors are not stuck and some source of answers is left. Detailed names each
//! component; `degraded` still serves and is 200, `unhealthy` does not and is 503.

use std::path::Path;

use actix_web::http::StatusCode;
use actix_web::web::to;
use serde::Serialize;
use utoipa::ToSchema;

use crate::cache::tiers::redis::RedisTier;
use crate::clock;
use crate::http::envelope::{self, Answered};
use crate::http::extract::{Answer, Call};
use crate::http::openapi::Doc;
use crate::http::service::{Component, Health, Route, component};
use crate::http::state::Worker;
use crate::limits::Class;
use crate::metrics::resident_bytes;
use crate::origin::credentials::Credential;
use crate::origin::health::Problem;
use crate::origin::state::OriginState;
use crate::resilience::breaker::State;
use crate::supervision::ActorState;

/// The whole.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = HealthReport)]
pub struct Report {
    /// The worst that matters.
    pub status: Health,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Version of the program.
    pub version: &'static str,
    /// Every component; empty where only the whole was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
}

const RUNS: &str = "Tells whether the process runs.";

pub const ROUTES: &[Route] = &[
    Route::at("/health", Class::Exempt).get(|| to(live)).says(|doc| {
        let details = "The short address for `/health/live`.";
        live_doc(doc.says("Health", "health", RUNS, details));
    }),
    Route::at("/health/live", Class::Exempt).get(|| to(live)).says(|doc| {
        let details = "200 while it does, also when everything behind it is away.";
        live_doc(doc.says("Health", "healthLive", RUNS, details));
    }),
    Route::at("/health/ready", Class::Exempt).get(|| to(ready)).says(|doc| {
        let details = "From what was recorded while working; no upstream call is spent on it.";
        report_doc(doc.says(
            "Health",
            "healthReady",
            "Tells whether the process can serve.",
            details,
        ));
    }),
    Route::at("/health/detailed", Class::Exempt).get(|| to(detailed)).says(|doc| {
        let details = "Upstream, Redis, database, memory, disk, log, cache, actors and what services \
             add, from what was recorded while working.";
        report_doc(doc.says("Health", "healthDetailed", "Tells how every component is.", details));
    }),
];

fn live_doc(doc: &mut Doc<'_>) {
    doc.reports::<Report>("The process runs.");
}

fn report_doc(doc: &mut Doc<'_>) {
    doc.reports::<Report>("It can serve: `healthy` or `degraded`.")
        .reports_as::<Report>("503", "It cannot serve: `unhealthy`.");
}

async fn live(call: Call) -> Answer {
    call.report(&report(&call.worker, Health::Healthy, Vec::new()))
}

async fn ready(call: Call) -> Answer {
    let is_over = call.worker.shared.is_draining();
    let whole = if is_over { Health::Unhealthy } else { overall(&components(&call.worker)) };
    answer(&call, &report(&call.worker, whole, Vec::new()))
}

async fn detailed(call: Call) -> Answer {
    let components = components(&call.worker);
    let whole = overall(&components);
    answer(&call, &report(&call.worker, whole, components))
}

fn answer(call: &Call, report: &Report) -> Answer {
    if report.status != Health::Unhealthy {
        return call.report(report);
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = envelope::own_with_status(&call.context, status, report)?;
    response.extensions_mut().insert(Answered);
    Ok(response)
}

fn report(worker: &Worker, status: Health, components: Vec<Component>) -> Report {
    Report {
        status,
        uptime_seconds: clock::now().since(worker.shared.started).as_secs(),
        version: env!("CARGO_PKG_VERSION"),
        components,
    }
}

/// Nothing but the actors can make the whole unhealthy: without upstream, Redis or database what is
/// in memory is still served.
fn overall(components: &[Component]) -> Health {
    components
        .iter()
        .map(|component| match component.name {
            "actors" => component.status,
            _ => component.status.min(Health::Degraded),
        })
        .max()
        .unwrap_or(Health::Healthy)
}

fn components(worker: &Worker) -> Vec<Component> {
    let mut all: Vec<_> = worker.shared.origins.iter().map(|origin| upstream(origin)).collect();
    all.extend([
        redis(worker),
        database(worker),
        memory(),
        disk(worker),
        log(worker),
        cache(worker),
        actors(worker),
    ]);
    all.extend(worker.shared.services.iter().flat_map(|service| service.health()));
    all
}

fn upstream(origin: &OriginState) -> Component {
    let accounts = origin.credentials.get();
    let mut detail = if origin.is_simulated { "simulator" } else { "live" }.to_owned();
    let mut all = Vec::new();
    for account in accounts.iter() {
        let (status, words) = of_account(account);
        detail.push_str("; ");
        if accounts.iter().len() > 1 {
            detail.push_str(account.name);
            detail.push_str(": ");
        }
        detail.push_str(&words);
        all.push(status);
    }
    // As long as one account works, calls are answered.
    let (best, worst) = (all.iter().min().copied(), all.iter().max().copied());
    let status = match (best.unwrap_or(Health::Unhealthy), worst.unwrap_or(Health::Unhealthy)) {
        (Health::Unhealthy, _) => Health::Unhealthy,
        (_, Health::Healthy) => Health::Healthy,
        (_, Health::Degraded | Health::Unhealthy) => Health::Degraded,
    };
    component(origin.name, status, detail)
}

fn of_account(account: &Credential) -> (Health, String) {
    let breaker = account.breaker.snapshot(clock::monotonic());
    let of_breaker = match breaker.state {
        State::Closed => Health::Healthy,
        State::HalfOpen => Health::Degraded,
        State::Open => Health::Unhealthy,
    };
    let problems = account.problems();
    let of_problems = problems.iter().map(|problem| match problem.operation {
        None => Health::Unhealthy,
        Some(_) => Health::Degraded,
    });
    let pacing = account.pacing.status(clock::monotonic(), clock::now());
    let of_pace = if pacing.banned_until.is_some() || pacing.budget_remaining == Some(0) {
        Health::Degraded
    } else {
        Health::Healthy
    };
    let status = of_problems.chain([of_breaker, of_pace]).max().unwrap_or(of_breaker);
    let (state, failures) = (breaker.state.as_str(), breaker.consecutive_failures);
    let mut words = format!("breaker {state}; {failures} failures in a row");
    if breaker.forced {
        words = format!("breaker {state}, forced by an admin until it is closed or reset");
    }
    if let Some(until) = pacing.banned_until {
        words.push_str("; told to wait until ");
        words.push_str(&until.rfc3339());
    }
    if pacing.budget_remaining == Some(0) {
        words.push_str("; the day's budget is spent");
    }
    for problem in &problems {
        words.push_str("; ");
        words.push_str(&in_words(problem));
    }
    (status, words)
}

fn in_words(problem: &Problem) -> String {
    let Problem { credential: _, what, operation, since, advice } = problem;
    let of_method = operation.map(|method| format!(" of {method}")).unwrap_or_default();
    format!("{}{of_method} refused since {}: {advice}", what.name, since.rfc3339())
}

fn redis(worker: &Worker) -> Component {
    match &worker.cache.tables().redis {
        None => component("redis", Health::Healthy, "not configured"),
        Some(_) if worker.shared.breakers.holds_store("redis") => {
            component("redis", Health::Unhealthy, FORCED)
        }
        Some(redis) if redis.client.is_avoided() => {
            component("redis", Health::Unhealthy, said("failing; avoided for now", redis))
        }
        Some(redis) if redis.client.refuses_writes() => {
            component("redis", Health::Degraded, said("answering, but refuses writes", redis))
        }
        Some(redis) if redis.client.trouble().is_some() => {
            component("redis", Health::Degraded, said("answering, but not everything", redis))
        }
        Some(_) => component("redis", Health::Healthy, "answering"),
    }
}

/// Of a store that may be well: nobody knows, for it is not asked.
const FORCED: &str = "not asked: breaker open, forced by an admin until it is closed or reset";

/// How Redis is, and what it says itself.
fn said(how: &str, redis: &RedisTier) -> String {
    redis.client.trouble().map_or_else(|| how.to_owned(), |said| format!("{how}; it said: {said}"))
}

fn database(worker: &Worker) -> Component {
    let database = &worker.cache.tables().database;
    if database.is_avoided() {
        let why = match database.absence() {
            Some(reason) => format!("cannot be used: {reason}"),
            None if worker.shared.breakers.holds_store("database") => FORCED.to_owned(),
            None => "failing; avoided for now".to_owned(),
        };
        component("database", Health::Unhealthy, why)
    } else if database.writer.is_refused() {
        component("database", Health::Degraded, "readable, but refuses writes")
    } else {
        let (read, out) = database.replicas_in_words();
        let status = if out.is_empty() { Health::Healthy } else { Health::Degraded };
        let words = match (read, &*out) {
            (0, []) => "answering".to_owned(),
            (read, []) => format!("answering; replicas that are read: {read}"),
            (read, out) => {
                format!("answering; replicas that are read: {read}; not read: {}", out.join("; "))
            }
        };
        component("database", status, words)
    }
}

fn memory() -> Component {
    match resident_bytes() {
        Some(bytes) => {
            component("memory", Health::Healthy, format!("{} MiB resident", bytes >> 20))
        }
        None => component("memory", Health::Healthy, "resident size unknown on this system"),
    }
}

/// Least free space beside the database before it is worth a word.
const SCARCE: u64 = 256 << 20;

fn disk(worker: &Worker) -> Component {
    match free_beside(&worker.shared.settings.database) {
        Err(error) => component("disk", Health::Degraded, format!("unknown: {error}")),
        Ok(free) => {
            let status = if free < SCARCE { Health::Degraded } else { Health::Healthy };
            component("disk", status, format!("{} MiB free", free >> 20))
        }
    }
}

/// Bytes free on the file system of the database.
pub(super) fn free_beside(database: &Path) -> rustix::io::Result<u64> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
    let space = rustix::fs::statvfs(folder.unwrap_or_else(|| Path::new(".")))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

fn log(worker: &Worker) -> Component {
    let losses = &worker.shared.losses;
    let lost = losses.failed().saturating_add(losses.dropped());
    match losses.trouble() {
        Some(trouble) => component(
            "log",
            Health::Degraded,
            format!("{trouble}; {lost} lines lost since the start"),
        ),
        None => component("log", Health::Healthy, format!("{lost} lines lost since the start")),
    }
}

fn cache(worker: &Worker) -> Component {
    let tables = worker.cache.tables();
    let detail = format!("{} in memory, {} being loaded", tables.memory.len(), tables.in_flight());
    component("cache", Health::Healthy, detail)
}

/// An actor that backs off is bypassed; one that hangs on a worker holds that worker's requests.
fn actors(worker: &Worker) -> Component {
    let all = worker.shared.supervisor.status();
    let in_state = |state| all.iter().filter(|actor| actor.state == state).count();
    let (hung, down) = (in_state(ActorState::Hung), in_state(ActorState::BackingOff));
    let status = match (hung, down) {
        (0, 0) => Health::Healthy,
        (0, _) => Health::Degraded,
        _ => Health::Unhealthy,
    };
    component("actors", status, format!("{} in all, {down} backing off, {hung} hung", all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stuck_actors_make_the_whole_unhealthy() {
        let of = |name, status| {
            overall(&[component("cache", Health::Healthy, ""), component(name, status, "")])
        };
        assert_eq!(of("upstream", Health::Unhealthy), Health::Degraded);
        assert_eq!(of("redis", Health::Unhealthy), Health::Degraded);
        assert_eq!(of("actors", Health::Unhealthy), Health::Unhealthy);
        assert_eq!(of("actors", Health::Healthy), Health::Healthy);
    }
}
