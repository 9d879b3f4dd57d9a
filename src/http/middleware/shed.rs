//! Load shedding: what is too much is refused before anything is done for it.
//!
//! Owns: asking the worker's [`Door`](crate::http::door::Door), the answer of who is refused, and
//! the ticker that the door judges by. Refuses: with 503 `overloaded` and `Retry-After`, before
//! CORS, routing and limits: who is refused here is charged for nothing. Health, metrics, status and
//! the admin's addresses are always open, and preflights, which cost as much as refusing them.
//!
//! A refusal must be much cheaper than what it saves: the exact counters are bumped, but windows and
//! lists of recent requests are not told, and the log gets a line a second with a number. The
//! connection stays open: a client that has to connect anew costs the machine more than one that
//! asks again. (Where a body was to follow actix closes it: what is not read cannot be skipped.)

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method as Verb;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web;
use slog::{info, warn};

use super::observe::finish;
use crate::clock;
use crate::http::context::RequestContext;
use crate::http::door::{Inside, Reason};
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::Worker;
use crate::http::ways::Way;
use crate::metrics::Method;
use crate::supervision::keep_running;

/// When to come back.
const COME_BACK: Duration = Duration::from_secs(1);
/// Answers differ by who asks: those of allowed origins may be read by scripts.
const BY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// Lets a request in, or says why not.
pub(super) fn enter<'a>(
    worker: &'a Worker,
    request: &ServiceRequest,
) -> Result<Inside<'a>, Reason> {
    let with_body = request.method() == Verb::POST;
    worker.door.enter(with_body, fastrand::f64).or_else(|reason| {
        let is_open = is_preflight(request)
            || worker.ways.find(request.path()).is_some_and(|way| way.always_open);
        if is_open { Ok(worker.door.pass(with_body)) } else { Err(reason) }
    })
}

/// Whether a browser asks for leave (Fetch, "CORS-preflight request").
fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Verb::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a request that was not let in.
pub(super) fn refuse(
    worker: &Worker,
    context: &RequestContext,
    request: ServiceRequest,
    reason: Reason,
) -> ServiceResponse<BoxBody> {
    let refused = ApiError::new(ErrorCode::Overloaded).retry_after(COME_BACK);
    let mut body = envelope::error(context, &refused);
    let origins = &worker.shared.settings.allowed_origins;
    may_be_read(body.headers_mut(), request.headers(), origins);
    let mut response = request.into_response(body);
    finish(worker, context, &mut response);
    count(worker, context, &response, reason);
    response
}

/// Scripts of allowed origins may read why. CORS lies behind the door and is not asked.
fn may_be_read(answer: &mut HeaderMap, question: &HeaderMap, allowed: &[String]) {
    let Some(origin) = question.get(header::ORIGIN) else { return };
    if allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(header::VARY, BY_ORIGIN);
    }
}

fn count(
    worker: &Worker,
    context: &RequestContext,
    response: &ServiceResponse<BoxBody>,
    reason: Reason,
) {
    let (request, status) = (response.request(), response.status().as_u16());
    let method = Method::parse(request.method().as_str());
    let now = clock::monotonic();
    let took = now.saturating_duration_since(context.started);
    let http = worker.shared.metrics.http();
    match worker.ways.find(request.path()) {
        Some(Way { metrics, .. }) => metrics.finished(method, status, took),
        None => http.route("unmatched").finished(method, status, took),
    }
    http.shed(reason.as_str());
    if let Some(refused) = worker.door.refused(now) {
        warn!(worker.shared.log, "requests refused because there are too many";
            "reason" => reason.as_str(), "refused" => refused,
            "request_id" => &*context.id, "status" => status);
    }
}

/// Starts the ticker of a worker's door; it ends with the worker.
pub(in crate::http) fn watch(worker: &web::Data<Worker>) {
    let observer = worker.shared.supervisor.observer();
    let worker = Arc::downgrade(&worker.clone().into_inner());
    keep_running("door", observer, move || {
        let worker = worker.clone();
        async move {
            while let Some(due) = worker.upgrade().map(|worker| worker.door.due()) {
                tokio::time::sleep_until(due.into()).await;
                let Some(worker) = worker.upgrade() else { return };
                let waiting = worker.products.cache().waiting().now();
                if let Some(refused) = worker.door.ticked(clock::monotonic(), waiting) {
                    info!(worker.shared.log, "requests are no longer refused";
                        "refused" => refused);
                }
            }
        }
    });
}
