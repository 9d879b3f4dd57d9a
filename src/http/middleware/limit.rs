//! Who is asking, and whether they may.
//!
//! Owns: asking RateLimiterActor before a handler runs, and the order of the questions: may the caller
//! come in at all (`caller`), how often, and with which key. Refuses: keyless requests where keys are
//! required (401, charged like any other), what is over a limit (429), and what looks like abuse (429; a
//! limit of nought until it is over, so that headers and wait agree). When the worker's limiter is
//! down the same decision is made on the accounts directly: nobody is let through because an actor
//! died.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use super::caller::{Caller, Entrance};
use super::{admin, limit_fields};
use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::Worker;
use crate::http::tag::Gate;
use crate::limits::{Admission, Admit, Class, Decision, bypass};

/// Longest wait for the limiter; its handler takes a microsecond.
const PATIENCE: Duration = Duration::from_millis(500);

/// Lets a request through or refuses it. Whatever fails behind it, a caught panic included, comes
/// out as a response: the outermost layer needs one to write its body and headers on.
pub(in crate::http) async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(worker) = request.app_data::<web::Data<Worker>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let context = RequestContext::of(&request);
    let entrance = Entrance::of(&request);
    let caller = Caller::of(&worker, &request, context.as_deref());
    let opened =
        entrance.gate == Gate::Admin && admin::knock(&worker, &request, caller.whence.counted);
    let mut response = match caller.stopped(&worker, &entrance, context.as_deref()) {
        Err(refused) => request.error_response(refused),
        // No limit of clients' for who holds the admin's key.
        Ok(()) if opened => go_on(request, next).await,
        Ok(()) => pass(&worker, &entrance, &caller, request, next).await,
    };
    if let Some(wait) = throttled_for(response.response()) {
        limit_fields::dress_throttled(response.headers_mut(), wait);
    }
    Ok(response)
}

/// Charges a request to its client, and answers it.
async fn pass(
    worker: &Worker,
    entrance: &Entrance,
    caller: &Caller,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> ServiceResponse<BoxBody> {
    let needs_key = caller.lacks_key(worker, entrance);
    if entrance.class == Class::Exempt
        || caller.is_exempt()
        || !worker.shared.settings.limits.enabled
    {
        return served_with_key(needs_key, request, next).await;
    }
    let own = caller.held.and_then(|held| held.per_minute);
    let admission =
        admit(worker, Admit { own, ..Admit::one(entrance.class, caller.principal) }).await;
    if admission.asked
        && let Some(context) = RequestContext::of(&request)
    {
        context.waited.set(true);
    }
    if admission.alone {
        worker.shared.metrics.limits().decided_alone();
    }
    let mut response = match admission.decision {
        Decision::Admitted => served_with_key(needs_key, request, next).await,
        Decision::Refused { retry_after, rule } => {
            worker.shared.metrics.limits().refused(entrance.class.as_str(), rule.as_str());
            let refused = ApiError::new(ErrorCode::RateLimited).retry_after(retry_after);
            request.error_response(refused)
        }
    };
    limit_fields::dress(response.headers_mut(), &admission);
    response
}

async fn served_with_key(
    needs_key: bool,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> ServiceResponse<BoxBody> {
    if needs_key {
        return request.error_response(ApiError::new(ErrorCode::KeyRequired));
    }
    go_on(request, next).await
}

async fn go_on(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> ServiceResponse<BoxBody> {
    let bare = request.request().clone();
    match next.call(request).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) => ServiceResponse::new(bare, HttpResponse::from_error(error)),
    }
}

async fn admit(worker: &Worker, request: Admit) -> Admission {
    let accounts = &worker.shared.accounts;
    // Who waits for Redis does not stand in this worker's line.
    let _waiting = accounts.is_shared().then(|| worker.products.cache().waiting().begin());
    match worker.limiter.ask(request, PATIENCE).await {
        Ok(admission) => admission,
        Err(_) => bypass(accounts, request, clock::monotonic()),
    }
}

/// The wait of an answer that refuses for abuse, at the gate or by a handler.
fn throttled_for(response: &HttpResponse) -> Option<Duration> {
    let refused = response.error()?.as_error::<ApiError>()?;
    if refused.code == ErrorCode::AbuseThrottled { refused.retry_after } else { None }
}
