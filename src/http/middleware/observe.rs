//! The outermost layer: every request gets an id, every answer its headers, every error its body.
//!
//! Owns: the request's context, its metrics, its log line, the security headers, and the one place
//! where errors become bodies, whoever made them: a handler, a limit, actix itself, or a panic.
//! A plain answered request is logged at debug level (metrics count it exactly); what failed, was
//! slow or was refused by us is logged at info or above. Of those who are turned away for who they
//! are or how often they ask only some lines a second: a flood of them must not fill the disk.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method as Verb};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use slog::{Logger, debug, info, warn};

use super::shed;
use crate::clock;
use crate::http::connection::{Serving, UnderWay};
use crate::http::context::RequestContext;
use crate::http::envelope::{self, Answered};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::Worker;
use crate::http::tag::RouteTag;
use crate::metrics::{Method, RequestSeen};

/// Longest name of a method in a line of the log.
const LONGEST_METHOD: usize = 24;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Requests longer than this are logged at info level.
const SLOW: Duration = Duration::from_secs(1);
/// Sent with every answer. This is an API: nothing it sends may be framed, sniffed or run.
pub(in crate::http) const SECURITY: [(HeaderName, HeaderValue); 4] = [
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY")),
    (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// What a script of an allowed origin may read of an answer.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, cache-status, age, retry-after, x-ratelimit-limit, x-ratelimit-remaining, \
     x-ratelimit-reset, ratelimit, ratelimit-policy",
);

/// Serves one request inside its context.
pub(in crate::http) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(worker) = request.app_data::<web::Data<Worker>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let worker = worker.into_inner();
    // A body of a known length ends where it ends; the server closes behind one that it has not read.
    let in_chunks = !matches!(request.parts().1, Payload::None)
        && request.headers().contains_key(header::TRANSFER_ENCODING);
    let under_way = request.conn_data::<Rc<UnderWay>>();
    let serving = under_way.map(|under_way| under_way.begin(in_chunks));
    let timeout = worker.shared.settings.server.request_timeout;
    let context = RequestContext::begin(request.headers(), clock::monotonic(), timeout);
    let inside = match shed::enter(&worker, &request) {
        Ok(inside) => inside,
        Err(reason) => {
            serving.map(Serving::answered);
            return Ok(shed::refuse(&worker, &context, request, reason));
        }
    };
    request.extensions_mut().insert(Rc::clone(&context));
    let in_flight = worker.shared.metrics.http().begin();
    let mut response = next.call(request).await?.map_into_boxed_body();
    drop((in_flight, inside));
    let is_last = serving.is_some_and(Serving::answered);
    let failure = failure_of(&response);
    if let Some(failure) = &failure {
        let body = envelope::error(&context, failure);
        response = replace(response, body);
    }
    finish(&worker, &context, &mut response);
    if is_last {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    account(&worker, &context, &response, failure.as_ref());
    Ok(response)
}

/// The error behind a response, if it is one that has no body of ours yet.
fn failure_of(response: &ServiceResponse<BoxBody>) -> Option<ApiError> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    match response.response().error() {
        Some(error) => Some(error.as_error::<ApiError>().cloned().unwrap_or_else(|| {
            let code = ErrorCode::of_status(error.as_response_error().status_code());
            ApiError::new(code).because(error)
        })),
        None if response.response().extensions().get::<Answered>().is_some() => None,
        None => Some(ApiError::new(ErrorCode::of_status(status))),
    }
}

/// The same response with another body; headers that limits or CORS have set stay.
fn replace(response: ServiceResponse<BoxBody>, body: HttpResponse) -> ServiceResponse<BoxBody> {
    let (request, old) = response.into_parts();
    let mut new = body;
    for (name, value) in old.headers() {
        if !new.headers().contains_key(name) {
            new.headers_mut().append(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(request, new)
}

/// What every answer ends with, also that of who is refused at the door.
pub(super) fn finish(
    worker: &Worker,
    context: &RequestContext,
    response: &mut ServiceResponse<BoxBody>,
) {
    dress(response, context);
    if worker.shared.draining.load(Ordering::Relaxed) {
        // The client opens its next connection elsewhere, or to who comes after us.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
}

fn dress(response: &mut ServiceResponse<BoxBody>, context: &RequestContext) {
    let headers = response.headers_mut();
    for (name, value) in &SECURITY {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        headers.insert(REQUEST_ID, id);
    }
}

/// A method that nobody knows may be as long as a head.
fn shown(method: &Verb) -> &str {
    let name = method.as_str();
    name.get(..LONGEST_METHOD).unwrap_or(name)
}

fn account(
    worker: &Worker,
    context: &RequestContext,
    response: &ServiceResponse<BoxBody>,
    failure: Option<&ApiError>,
) {
    let request = response.request();
    let tag = request.app_data::<RouteTag>();
    let route = tag.map_or("unmatched", |tag| tag.template);
    let took = clock::monotonic().saturating_duration_since(context.started);
    let status = response.status().as_u16();
    let method = Method::parse(request.method().as_str());
    match tag {
        Some(tag) => tag.metrics.finished(method, status, took),
        None => worker.shared.metrics.http().route(route).finished(method, status, took),
    }
    worker.saw(RequestSeen {
        request_id: context.id.clone(),
        method,
        route,
        status,
        duration: took,
        tier: context.tier.get().map_or("", crate::cache::Tier::label),
        prompt: !context.waited.get(),
        finished: context.started + took,
    });
    let log = &worker.shared.log;
    let took_ms = took.as_secs_f64() * 1_000.0;
    let line = slog::o!("request_id" => &*context.id, "method" => shown(request.method()),
        "route" => route, "status" => status, "duration_ms" => took_ms);
    match failure {
        Some(failure) if failure.code == ErrorCode::Internal => warn!(log, "request failed";
            "code" => failure.code.as_str(), "cause" => failure.cause.as_deref(), line),
        Some(failure) if is_of_floods(failure.code) => {
            let left_out = worker.refusals.borrow_mut().line(context.started + took);
            turned_away(log, failure, left_out, line);
        }
        Some(failure) => info!(log, "request refused";
            "code" => failure.code.as_str(), "cause" => failure.cause.as_deref(), line),
        None if took >= SLOW => info!(log, "request was slow"; line),
        None => debug!(log, "request answered"; line),
    }
}

/// Whether anybody can have any number of these refusals for nothing.
fn is_of_floods(code: ErrorCode) -> bool {
    [ErrorCode::KeyRequired, ErrorCode::Blocked, ErrorCode::RateLimited, ErrorCode::AbuseThrottled]
        .contains(&code)
}

/// At the usual level only if its turn has come, with how many were left out before.
fn turned_away(log: &Logger, failure: &ApiError, left_out: Option<u64>, line: impl slog::KV) {
    let (code, cause) = (failure.code.as_str(), failure.cause.as_deref());
    match left_out {
        Some(left_out) => info!(log, "request refused";
            "code" => code, "cause" => cause, "left_out" => left_out, line),
        None => debug!(log, "request refused"; "code" => code, "cause" => cause, line),
    }
}
