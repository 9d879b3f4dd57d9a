//! What an operator sees and does. Every handler takes [`Admin`], which only the key opens.
//!
//! Owns: actors, breakers, cache, limits, monitoring and settings as the admin meets them. Every
//! change is logged with the request that made it.

use std::time::Duration;

use actix::{Actor, Context as ActorContext, Handler, Message};
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slog::info;
use utoipa::{IntoParams, ToSchema};

use super::Answer;
use crate::breaker::Snapshot;
use crate::cache::Cleared;
use crate::clock;
use crate::config::Described;
use crate::http::context::Context;
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{JsonForm, QueryForm};
use crate::http::middleware::admin::Admin;
use crate::http::openapi::answers::{Reported, ResetDone};
use crate::http::openapi::failures::{BadInput, NoAnswer, NotFound, Restarting};
use crate::http::openapi::parameters::BreakerAction;
use crate::http::state::Worker;
use crate::limits::TableStatus;
use crate::metrics::{
    MetricsActor, MonitoringReport, RecentRequest, RecentRequests, Report, Reset, SlowRequests,
};
use crate::products::input::RawForm;
use crate::supervision::ActorStatus;

/// Longest wait for a report.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests listed when nothing is said.
const LISTED: usize = 100;

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
    _: Admin,
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
    let now = clock::monotonic();
    match action.as_str() {
        "open" => breaker.force_open(now),
        "close" => breaker.force_close(now),
        "reset" => breaker.reset(now),
        _ => return Err(ApiError::new(ErrorCode::NotFound)),
    }
    info!(worker.shared.log, "admin moved a breaker"; "breaker" => &name, "action" => &action,
        "request_id" => &*context.0.id);
    envelope::own(&context.0, &breaker.snapshot(now))
}

/// Which keys to drop.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ClearForm {
    /// Glob over keys; all keys when absent.
    #[param(value_type = Option<String>, min_length = 1, max_length = 256, example = "products:search:*")]
    pub pattern: Option<Value>,
}

impl RawForm for ClearForm {}

/// Longest pattern.
const LONGEST_PATTERN: usize = 256;

fn text_of(field: &str, value: &Value) -> Result<String, ApiError> {
    let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    text.filter(|text| text.len() <= LONGEST_PATTERN).map(str::to_owned).ok_or_else(|| {
        let message = format!("{field}: is not a text; allowed: 1 to {LONGEST_PATTERN} bytes");
        ApiError::with_message(ErrorCode::InvalidRequest, message)
    })
}

/// Drops entries from every tier.
///
/// All of them, or those whose key matches a pattern.
#[utoipa::path(
    post,
    path = "/api/cache/clear",
    tag = "Admin",
    operation_id = "clearCache",
    params(ClearForm),
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "How many entries went from each tier.", body = Reported<Cleared>),
        BadInput,
        NoAnswer,
    ),
)]
pub async fn clear_cache(
    _: Admin,
    worker: Data<Worker>,
    context: Context,
    form: QueryForm<ClearForm>,
) -> Answer {
    let pattern = match &form.0.pattern {
        Some(value) => text_of("pattern", value)?,
        None => "*".to_owned(),
    };
    clear(&worker, &context, &pattern, "admin_clear").await
}

/// What to invalidate.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvalidateForm {
    /// One key.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    pub key: Option<Value>,
    /// Glob over keys.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256, example = "products:search:*")]
    pub pattern: Option<Value>,
}

impl RawForm for InvalidateForm {}

/// Drops one key, or every key of a pattern, from every tier.
///
/// Needs exactly one of `key` and `pattern`.
#[utoipa::path(
    post,
    path = "/admin/cache/invalidate",
    tag = "Admin",
    operation_id = "invalidateCache",
    request_body = InvalidateForm,
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "How many entries went from each tier.", body = Reported<Cleared>),
        BadInput,
        NoAnswer,
    ),
)]
pub async fn invalidate(
    _: Admin,
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<InvalidateForm>,
) -> Answer {
    let glob = match (&form.0.key, &form.0.pattern) {
        (Some(key), None) => literal(&text_of("key", key)?),
        (None, Some(pattern)) => text_of("pattern", pattern)?,
        _ => {
            let message = "body: needs exactly one of key and pattern";
            return Err(ApiError::with_message(ErrorCode::InvalidRequest, message));
        }
    };
    clear(&worker, &context, &glob, "admin_invalidate").await
}

/// A pattern that matches only `key`.
fn literal(key: &str) -> String {
    key.chars()
        .flat_map(|c| match c {
            '*' | '?' | '[' => vec!['[', c, ']'],
            c => vec![c],
        })
        .collect()
}

async fn clear(worker: &Worker, context: &Context, glob: &str, reason: &'static str) -> Answer {
    let cleared = worker.products.cache().clear(glob, reason).await?;
    info!(worker.shared.log, "admin cleared the cache"; "pattern" => glob,
        "memory" => cleared.memory, "redis" => cleared.redis, "database" => cleared.database,
        "request_id" => &*context.0.id);
    envelope::own(&context.0, &cleared)
}

/// Shows the accounts of the rate limiter.
#[utoipa::path(
    get,
    path = "/admin/rate-limit/status",
    tag = "Admin",
    operation_id = "getRateLimitStatus",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "The accounts, by class of route.", body = Reported<TableStatus>),
    ),
)]
pub async fn limits(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &worker.shared.accounts.status())
}

/// Lists the settings in force, secrets hidden.
#[utoipa::path(
    get,
    path = "/admin/config",
    tag = "Admin",
    operation_id = "getConfig",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "Every setting, its value and what gave it.", body = Reported<Vec<Described>>),
    ),
)]
pub async fn config(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &worker.shared.settings.describe())
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
pub async fn reset_monitoring(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    ask(&worker, Reset).await?;
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
