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
use crate::clock;
use crate::http::context::Context;
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{JsonForm, QueryForm};
use crate::http::middleware::admin::Admin;
use crate::http::state::Worker;
use crate::metrics::{MetricsActor, RecentRequests, Report, Reset, SlowRequests};
use crate::products::input::RawForm;

/// Longest wait for a report.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests listed when nothing is said.
const LISTED: usize = 100;

/// Every actor.
pub async fn actors(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &worker.shared.supervisor.status())
}

/// Every breaker.
pub async fn breakers(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    let now = clock::monotonic();
    let all: Vec<_> = worker.shared.breakers.iter().map(|b| b.snapshot(now)).collect();
    envelope::own(&context.0, &all)
}

/// Opens, closes or resets a breaker.
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
    #[param(value_type = Option<String>, example = "products:search:*")]
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
    #[schema(value_type = Option<String>)]
    pub key: Option<Value>,
    /// Glob over keys.
    #[schema(value_type = Option<String>)]
    pub pattern: Option<Value>,
}

impl RawForm for InvalidateForm {}

/// Drops one key, or every key of a pattern.
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

/// The accounts of the limiter.
pub async fn limits(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &worker.shared.accounts.status())
}

/// The settings in force, secrets hidden.
pub async fn config(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &worker.shared.settings.describe())
}

/// Windows, percentiles and totals.
pub async fn monitoring(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &ask(&worker, Report).await?)
}

/// The last requests.
pub async fn recent_requests(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &ask(&worker, RecentRequests { limit: LISTED }).await?)
}

/// The last slow requests.
pub async fn slow_requests(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &ask(&worker, SlowRequests { limit: LISTED }).await?)
}

/// Begins windows and lists anew; counters stay.
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
