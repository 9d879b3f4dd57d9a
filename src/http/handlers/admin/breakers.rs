//! Breakers as an admin sees and moves them.
//!
//! Owns: the two addresses. A breaker is moved here also while the database is away; how it is moved
//! elsewhere is `http::breakers`.

use actix_web::web::to;

use super::audit::Audited;
use crate::clock;
use crate::http::breakers::{Action, draft};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::openapi::NOT_FOUND;
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;
use crate::resilience::breaker::{Breaker, Snapshot};

pub(super) const LIST: Route =
    Route::at("/admin/breakers", Class::General).get(|| to(list)).says(|doc| {
        let details =
            "Of upstreams, Redis and the database: state, failures, and when it may close.";
        doc.says("Admin", "listBreakers", "Lists every circuit breaker.", details)
            .reports_list::<Snapshot>("The breakers.");
    });

pub(super) const MOVE: Route = Route::at("/admin/breakers/{name}/{action}", Class::General)
    .post(|| to(move_breaker))
    .says(|doc| {
        let summary = "Opens, closes or resets a breaker.";
        let details = "An opened one refuses every call until it is closed or reset; a reset \
             forgets what was counted. On every instance that shares the database, \
             within a second.";
        doc.says("Admin", "moveBreaker", summary, details)
            .path("name", "The breaker, as `/admin/breakers` names it.", None)
            .path_word("action", "What to do with it.", &["open", "close", "reset"])
            .reports::<Snapshot>("The breaker as it is now.")
            .fails(NOT_FOUND);
    });

async fn list(_: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    let now = clock::monotonic();
    let all: Vec<_> = call.worker.shared.breakers.all().iter().map(|b| b.snapshot(now)).collect();
    call.report(&all)
}

async fn move_breaker(admin: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    let (name, action) = call.path::<(String, String)>()?;
    let worker = &call.worker;
    let breakers = &worker.shared.breakers;
    let breaker = breakers.named(&name).ok_or_else(|| {
        let all = breakers.all();
        let names: Vec<_> = all.iter().map(Breaker::name).collect();
        let message = format!("There is no such breaker; there are: {}.", names.join(", "));
        ApiError::with_message(ErrorCode::NotFound, message)
    })?;
    let audited = Audited::begin(&call, &admin, &format!("breaker.{action}"), &name);
    let Some(move_to) = Action::of(&action) else {
        return audited.end(Err(ApiError::new(ErrorCode::NotFound)));
    };
    // It is moved here in any case, and elsewhere as soon as the database takes it.
    worker.shared.changes.announce(draft(&name, move_to, clock::now())).await;
    audited.end(Ok(()))?;
    call.report(&breaker.snapshot(clock::monotonic()))
}
