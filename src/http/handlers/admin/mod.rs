//! What an operator sees and does. Every handler takes [`Admin`], which only the key opens.
//!
//! Owns: actors, breakers, limits, monitoring and settings as the admin meets them; cache, keys, lists
//! and the audit table have files of their own. Every change is logged, and noted in the audit table,
//! with the request that made it.

pub mod audit;
pub mod cache;
pub mod config;
mod fields;
pub mod keys;
pub mod lists;

use std::time::Duration;

use actix::{Actor, Context as ActorContext, Handler, Message};
use actix_web::web::{Data, Path};
use serde::Serialize;
use slog::info;
use utoipa::ToSchema;

use self::audit::Begun;
use self::lists::ListShown;
use super::Answer;
use crate::access::ListName;
use crate::clock;
use crate::http::context::Context;
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::openapi::answers::{Reported, ResetDone};
use crate::http::openapi::failures::{NotFound, Restarting};
use crate::http::openapi::parameters::BreakerAction;
use crate::http::state::Worker;
use crate::http::stops::admin_key::Admin;
use crate::limits::{AbuseStatus, SharingStatus, TableStatus};
use crate::metrics::{
    MetricsActor, MonitoringReport, RecentRequest, RecentRequests, Report, Reset, SlowRequests,
};
use crate::replication::Away;
use crate::resilience::breaker::Snapshot;
use crate::supervision::ActorStatus;

/// Longest wait for a report.
const PATIENCE: Duration = Duration::from_secs(2);
/// Entries of each list that the status shows.
const ENTRIES_SHOWN: usize = 100;
/// Requests listed when nothing is said.
const LISTED: usize = 100;

/// What is answered to a change that the database did not take.
fn database_away(away: &Away) -> ApiError {
    let message = "The database is away: nothing was changed; come back later.";
    ApiError::with_message(ErrorCode::Overloaded, message)
        .retry_after(Duration::from_secs(1))
        .because(away)
}

/// Lists every actor.
///
/// Its state, restarts, last panic and queue.
#[utoipa::path(
    get,
    path = "/admin/actors",
    tag = "Admin",
    operation_id = "listActors",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "The actors.", body = Reported<Vec<ActorStatus>>),
    ),
)]
pub async fn actors(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &worker.shared.supervisor.status())
}

/// Lists every circuit breaker.
#[utoipa::path(
    get,
    path = "/admin/breakers",
    tag = "Admin",
    operation_id = "listBreakers",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "The breakers.", body = Reported<Vec<Snapshot>>),
    ),
)]
pub async fn breakers(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    let now = clock::monotonic();
    let all: Vec<_> = worker.shared.breakers.iter().map(|b| b.snapshot(now)).collect();
    envelope::own(&context.0, &all)
}

/// Opens, closes or resets a breaker.
///
/// An opened one stays open until it is closed or reset.
#[utoipa::path(
    post,
    path = "/admin/breakers/{name}/{action}",
    tag = "Admin",
    operation_id = "moveBreaker",
    params(
        ("name" = String, Path, description = "The breaker, as `/admin/breakers` names it."),
        ("action" = inline(BreakerAction), Path, description = "What to do with it."),
    ),
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "The breaker as it is now.", body = Reported<Snapshot>),
        NotFound,
    ),
)]
pub async fn move_breaker(
    admin: Admin,
    worker: Data<Worker>,
    context: Context,
    path: Path<(String, String)>,
) -> Answer {
    let (name, action) = path.into_inner();
    let known = worker.shared.breakers.iter().find(|breaker| breaker.name() == name);
    let breaker = known.ok_or_else(|| {
        let names: Vec<_> = worker.shared.breakers.iter().map(|breaker| breaker.name()).collect();
        let message = format!("There is no such breaker; there are: {}.", names.join(", "));
        ApiError::with_message(ErrorCode::NotFound, message)
    })?;
    let deed = Begun::new(&worker, &admin, &context, &format!("breaker.{action}"), &name);
    let now = clock::monotonic();
    match action.as_str() {
        "open" => breaker.force_open(now),
        "close" => breaker.force_close(now),
        "reset" => {
            breaker.reset(now);
            // With the judgement of its health goes that of our configuration.
            let upstream = &worker.shared.upstream;
            if let Some(account) = upstream.credentials.iter().find(|account| account.name == name)
            {
                upstream.forgive(account);
            }
        }
        _ => return deed.end(Err(ApiError::new(ErrorCode::NotFound))),
    }
    deed.end(Ok(()))?;
    info!(worker.shared.log, "admin moved a breaker"; "breaker" => &name, "action" => &action,
        "request_id" => &*context.0.id);
    envelope::own(&context.0, &breaker.snapshot(now))
}

/// What the limiter holds and who is exempt from it or turned away.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitStatus {
    /// The accounts.
    #[serde(flatten)]
    pub accounts: TableStatus,
    /// Who is let past the limits: the first hundred.
    pub whitelist: ListShown,
    /// Who is turned away: the first hundred.
    pub blacklist: ListShown,
    /// Stored keys in force.
    pub api_keys: usize,
    /// How limits are kept together with other instances; absent when they are this one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<SharedLimits>,
    /// Who was found abusive.
    pub abuse: AbuseStatus,
}

/// How limits are kept together with other instances.
#[derive(Debug, Serialize, ToSchema)]
pub struct SharedLimits {
    /// Whether they are exact over all instances now; else this one keeps to its share.
    pub exact: bool,
    /// The figures.
    #[serde(flatten)]
    pub sharing: SharingStatus,
}

/// Shows the accounts of the rate limiter, the lists, and who was found abusive.
#[utoipa::path(
    get,
    path = "/admin/rate-limit/status",
    tag = "Admin",
    operation_id = "getRateLimitStatus",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "The accounts, by class of route, the lists, and abuse.", body = Reported<LimitStatus>),
    ),
)]
pub async fn limits(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    let counts = worker.shared.access.counts();
    let list = |name| ListShown::of(&worker, name, None, ENTRIES_SHOWN);
    let accounts = &worker.shared.accounts;
    let sharing =
        accounts.sharing().map(|sharing| SharedLimits { exact: worker.shares_limits(), sharing });
    let status = LimitStatus {
        accounts: accounts.status(),
        whitelist: list(ListName::Allow),
        blacklist: list(ListName::Deny),
        api_keys: counts.sizes.keys,
        sharing,
        abuse: worker.shared.abuse.status(clock::monotonic()),
    };
    envelope::own(&context.0, &status)
}

/// Reports windows, percentiles and totals.
#[utoipa::path(
    get,
    path = "/api/monitoring/metrics",
    tag = "Admin",
    operation_id = "getMonitoring",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "The report.", body = Reported<MonitoringReport>),
        Restarting,
    ),
)]
pub async fn monitoring(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &ask(&worker, Report).await?)
}

/// Lists the last requests, newest first.
#[utoipa::path(
    get,
    path = "/admin/monitoring/recent-requests",
    tag = "Admin",
    operation_id = "listRecentRequests",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "At most 100 requests.", body = Reported<Vec<RecentRequest>>),
        Restarting,
    ),
)]
pub async fn recent_requests(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &ask(&worker, RecentRequests { limit: LISTED }).await?)
}

/// Lists the last slow requests, newest first.
#[utoipa::path(
    get,
    path = "/admin/monitoring/slow-requests",
    tag = "Admin",
    operation_id = "listSlowRequests",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "At most 100 requests.", body = Reported<Vec<RecentRequest>>),
        Restarting,
    ),
)]
pub async fn slow_requests(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &ask(&worker, SlowRequests { limit: LISTED }).await?)
}

/// Begins windows and lists anew; counters stay.
#[utoipa::path(
    post,
    path = "/admin/monitoring/reset",
    tag = "Admin",
    operation_id = "resetMonitoring",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "It is done.", body = Reported<ResetDone>),
        Restarting,
    ),
)]
pub async fn reset_monitoring(admin: Admin, worker: Data<Worker>, context: Context) -> Answer {
    let deed = Begun::new(&worker, &admin, &context, "monitoring.reset", "");
    deed.end(ask(&worker, Reset).await)?;
    info!(worker.shared.log, "admin reset monitoring"; "request_id" => &*context.0.id);
    envelope::own(&context.0, &serde_json::json!({"reset": true}))
}

async fn ask<M>(worker: &Worker, message: M) -> Result<M::Result, ApiError>
where
    MetricsActor: Handler<M> + Actor<Context = ActorContext<MetricsActor>>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    worker.monitor.ask(message, PATIENCE).await.map_err(|error| {
        ApiError::with_message(ErrorCode::Overloaded, "The monitor is restarting; come back later.")
            .retry_after(Duration::from_secs(1))
            .because(error)
    })
}
