//! What an operator sees and does. Every handler takes [`Admin`], which only the key opens.
//!
//! Owns: actors, breakers, limits, monitoring, settings and faults as the admin meets them; cache, keys, lists
//! and the audit table have files of their own. Every change is logged, and noted in the audit table,
//! with the request that made it.

pub mod audit;
pub mod breakers;
pub mod cache;
pub mod cache_keys;
pub mod cache_names;
mod fields;
pub mod keys;
pub mod lists;
pub mod live;
mod live_rows;
pub mod page;
pub mod requests;
pub mod session;
mod simulator;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context as ActorContext, Handler, Message};
use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use self::audit::Audited;
use self::lists::ListShown;
use crate::access::ListName;
use crate::clock;
use crate::config::{Described, Reloaded};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField};
use crate::http::openapi::{NOT_FOUND, RESTARTING};
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::{AbuseStatus, Class, SharingStatus, TableStatus};
use crate::metrics::{
    MetricsActor, MonitoringReport, RecentRequest, RecentRequests, Report, Reset, Which,
};
use crate::supervision::{ActorStatus, Chaos};

pub const ROUTES: &[Route] = &[
    page::PAGE,
    page::ASSETS,
    simulator::FAULTS,
    cache::CLEAR,
    cache::INVALIDATE,
    cache_keys::ROUTE,
    cache::WARM,
    Route::at("/admin/actors", Class::General).get(|| to(actors)).says(|doc| {
        let details = "Its state, restarts, last panic and queue.";
        doc.says("Admin", "listActors", "Lists every actor.", details)
            .reports_list::<ActorStatus>("The actors.");
    }),
    breakers::LIST,
    breakers::MOVE,
    Route::at("/admin/rate-limit/status", Class::General).get(|| to(limits)).says(|doc| {
        let summary =
            "Shows the accounts of the rate limiter, the lists, and who was found abusive.";
        let details = "Of both lists the first hundred entries.";
        doc.says("Admin", "getRateLimitStatus", summary, details)
            .reports::<LimitStatus>("The accounts, by class of route, the lists, and abuse.");
    }),
    live::ROUTE,
    session::ROUTE,
    lists::ALLOWED,
    lists::DENIED,
    keys::ROUTE,
    audit::ROUTE,
    requests::LIST,
    requests::ONE,
    Route::at("/admin/config", Class::General).get(|| to(config)).says(|doc| {
        let details = "Each with its value and whether the environment, the file or the default gave it.";
        let summary = "Lists the settings in force, secrets hidden.";
        doc.says("Admin", "getConfig", summary, details)
            .reports_list::<Described>("Every setting, its value and what gave it.");
    }),
    Route::at("/admin/config/reload", Class::General).post(|| to(reload)).says(|doc| {
        let details = "The file and the environment of the process, as SIGHUP does. What cannot \
             change while running is named; it counts from the next start. With a \
             mistake anywhere nothing changes.";
        doc.says("Admin", "reloadConfig", "Reads the configuration again.", details)
            .reports::<Reloaded>("What has changed.");
    }),
    Route::at("/api/monitoring/metrics", Class::General).get(|| to(monitoring)).says(|doc| {
        let details = "Windows and percentiles are of this instance; events may be missing under overload, \
             the counters of `/metrics` are exact.";
        doc.says("Admin", "getMonitoring", "Reports windows, percentiles and totals.", details)
            .reports::<MonitoringReport>("The report.")
            .fails(RESTARTING);
    }),
    Route::at("/admin/monitoring/recent-requests", Class::General)
        .get(|| to(|admin, call| recent(admin, call, Which::All)))
        .says(|doc| {
            let summary = "Lists the last requests, newest first.";
            let details = "Of this instance, since the start or the last reset.";
            doc.says("Admin", "listRecentRequests", summary, details)
                .reports_list::<RecentRequest>("At most 100 requests.")
                .fails(RESTARTING);
        }),
    Route::at("/admin/monitoring/slow-requests", Class::General)
        .get(|| to(|admin, call| recent(admin, call, Which::Slow)))
        .says(|doc| {
            let summary = "Lists the last slow requests, newest first.";
            let details = "Of this instance, since the start or the last reset.";
            doc.says("Admin", "listSlowRequests", summary, details)
                .reports_list::<RecentRequest>("At most 100 requests.")
                .fails(RESTARTING);
        }),
    Route::at("/admin/monitoring/reset", Class::General).post(|| to(reset_monitoring)).says(
        |doc| {
            let summary = "Begins windows and lists anew; counters stay.";
            let details = "Only what `/api/monitoring` and `/admin/monitoring` show is forgotten.";
            doc.says("Admin", "resetMonitoring", summary, details)
                .reports::<ResetDone>("It is done.")
                .fails(RESTARTING);
        },
    ),
];

/// Longest wait for a report.
const PATIENCE: Duration = Duration::from_secs(2);
/// Entries of each list that the status shows.
const ENTRIES_SHOWN: usize = 100;
/// Requests listed when nothing is said.
const LISTED: usize = 100;

async fn actors(_: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    call.report(&call.worker.shared.supervisor.status())
}

/// What the limiter holds and who is exempt from it or denied.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitStatus {
    /// The accounts.
    #[serde(flatten)]
    pub accounts: TableStatus,
    /// Who is let past the limits: the first hundred.
    pub whitelist: ListShown,
    /// Who is denied: the first hundred.
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

async fn limits(_: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    let worker = &call.worker;
    let list = |name| ListShown::of(worker, name, None, ENTRIES_SHOWN);
    let accounts = &worker.shared.accounts;
    let sharing =
        accounts.sharing().map(|sharing| SharedLimits { exact: worker.shares_limits(), sharing });
    let status = LimitStatus {
        accounts: accounts.status(),
        whitelist: list(ListName::Allow),
        blacklist: list(ListName::Deny),
        api_keys: worker.shared.access.sizes().keys,
        sharing,
        abuse: worker.shared.abuse.status(clock::monotonic()),
    };
    call.report(&status)
}

async fn config(_: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    call.report(&call.worker.shared.in_force.describe())
}

async fn reload(admin: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    let audited = Audited::begin(&call, &admin, "config.reload", "");
    let shared = Arc::clone(&call.worker.shared);
    // It reads a file.
    let reloaded = tokio::task::spawn_blocking(move || shared.reload()).await;
    let reloaded = reloaded.map_err(|died| ApiError::new(ErrorCode::Internal).because(died))?;
    match reloaded {
        Ok(reloaded) => {
            audited.detailed(reloaded.to_string()).end(Ok(()))?;
            call.report(&reloaded)
        }
        Err(mistakes) => {
            let told = mistakes.to_string();
            let refused = ApiError::with_message(ErrorCode::InvalidRequest, told.clone());
            audited.detailed(told).end(Err(refused))
        }
    }
}

/// Monitoring began anew.
#[derive(Debug, Serialize, ToSchema)]
struct ResetDone {
    /// Always `true`.
    reset: bool,
}

async fn monitoring(_: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    call.report(&ask(&call, Report).await?)
}

async fn recent(_: Admin, call: Call, which: Which) -> Answer {
    call.no_fields().await?;
    call.report(&ask(&call, RecentRequests { which, limit: LISTED }).await?)
}

async fn reset_monitoring(admin: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    let audited = Audited::begin(&call, &admin, "monitoring.reset", "");
    audited.end(ask(&call, Reset).await)?;
    call.report(&ResetDone { reset: true })
}

async fn ask<M>(call: &Call, message: M) -> Result<M::Result, ApiError>
where
    MetricsActor: Handler<M> + Actor<Context = ActorContext<MetricsActor>>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    call.worker.monitor.ask_queued(message, PATIENCE).await.map_err(|error| {
        ApiError::with_message(ErrorCode::Overloaded, "The monitor is restarting; come back later.")
            .retry_after(Duration::from_secs(1))
            .because(error)
    })
}

/// Longest hang that may be asked for.
const LONGEST_HANG: u32 = 60_000;

/// How long to hang.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
struct HangForm {
    /// Milliseconds; 1000 when absent.
    #[schema(value_type = Option<u64>, maximum = 60000)]
    ms: Option<Value>,
}

/// Faults that were dealt out.
#[derive(Debug, Serialize, ToSchema)]
struct Struck {
    /// The actors' name.
    actor: String,
    /// How many of that name were struck.
    struck: usize,
}

/// Faults on request, so that operators and tests can see the service survive them. Without
/// `CHAOS_ENABLED` these addresses do not exist.
pub const CHAOS: &[Route] = &[Route::at("/admin/chaos/actors/{name}/{fault}", Class::General)
    .post(|| to(strike))
    .says(|doc| {
        let summary = "Has every actor of a name panic, stop or hang once.";
        doc.says("Chaos", "strikeActors", summary, "There with `CHAOS_ENABLED` only.")
            .path("name", "The actors' name, as `/admin/actors` lists it.", None)
            .path_word("fault", "What befalls them.", &["panic", "stop", "hang"])
            .query::<HangForm>()
            .reports::<Struck>("How many actors were struck.")
            .fails(NOT_FOUND);
    })];

async fn strike(admin: Admin, call: Call) -> Answer {
    let (actor, fault) = call.path::<(String, String)>()?;
    let chaos = match fault.as_str() {
        "panic" => Chaos::Panic,
        "stop" => Chaos::Stop,
        "hang" => Chaos::Hang(call.query_form().await?.read(|form| hang_time(&form))?),
        _ => return Err(ApiError::new(ErrorCode::NotFound)),
    };
    let audited = Audited::begin(&call, &admin, &format!("chaos.{fault}"), &actor);
    let struck = call.worker.shared.supervisor.strike(&actor, chaos);
    let nobody = || {
        let message = "There is no such actor, or its inbox is full; see /admin/actors.";
        ApiError::with_message(ErrorCode::NotFound, message)
    };
    audited.end((struck > 0).then_some(()).ok_or_else(nobody))?;
    call.report(&Struck { actor, struck })
}

fn hang_time(form: &HangForm) -> Result<Duration, Vec<InvalidField>> {
    let mut check = Check::default();
    let ms = check.whole("ms", form.ms.as_ref(), 0..=LONGEST_HANG).unwrap_or(1_000);
    Ok(Duration::from_millis(check.finish(ms)?.into()))
}
