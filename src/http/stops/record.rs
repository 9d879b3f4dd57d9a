//! What is counted and logged of a request when it is over.
//!
//! The counters are exact, also for shed requests; MetricsActor learns of the others for its windows
//! and lists. An answered request is logged at debug level; what failed, was slow or was refused at
//! info or above. Refusals that anybody can cause in any number are a few lines a second: a flood
//! must not fill the disk.

use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use slog::{Drain as _, Level, Logger, debug, info, warn};

use crate::cache::Tier;
use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::load_shedder::Reason;
use crate::http::route::Route;
use crate::http::state::Worker;
use crate::metrics::RequestSeen;

/// Longest name of a method in a log line; an unknown one may be as long as a head.
const LONGEST_METHOD: usize = 24;
const SLOW: Duration = Duration::from_secs(1);

pub(in crate::http) struct Done<'a> {
    pub(in crate::http) context: &'a RequestContext,
    pub(in crate::http) request: &'a HttpRequest,
    pub(in crate::http) status: StatusCode,
}

impl Done<'_> {
    fn count(&self, route: &Route) -> (&'static str, Instant, Duration) {
        let now = clock::monotonic();
        let took = now.saturating_duration_since(self.context.started);
        let method = self.request.method().as_str();
        let method = route.metrics.finished(method, self.status.as_u16(), took);
        (method, now, took)
    }
}

pub(in crate::http) fn request(
    worker: &Worker,
    route: &Route,
    done: &Done<'_>,
    failure: Option<&ApiError>,
) {
    let (method, now, took) = done.count(route);
    let (context, status) = (done.context, done.status.as_u16());
    worker.saw(RequestSeen {
        request_id: context.id.clone(),
        method,
        route: route.template,
        status,
        duration: took,
        tier: context.tier.get().map_or("", Tier::label),
        prompt: !context.waited.get(),
        finished: now,
    });
    let log = &worker.shared.log;
    if failure.is_none() && took < SLOW && !log.is_enabled(Level::Debug) {
        return;
    }
    let method = done.request.method().as_str();
    let line = slog::o!("request_id" => &*context.id,
        "method" => method.get(..LONGEST_METHOD).unwrap_or(method), "route" => route.template,
        "status" => status, "duration_ms" => took.as_secs_f64() * 1_000.0);
    match failure {
        Some(failure) if failure.code == ErrorCode::Internal => warn!(log, "request failed";
            "code" => failure.code.as_str(), "cause" => failure.cause.as_deref(), line),
        Some(failure) if anybody_can_cause(failure.code) => {
            let left_out = worker.refusals.borrow_mut().line(now);
            refused(log, failure, left_out, line);
        }
        Some(failure) => info!(log, "request refused";
            "code" => failure.code.as_str(), "cause" => failure.cause.as_deref(), line),
        None if took >= SLOW => info!(log, "request was slow"; line),
        None => debug!(log, "request answered"; line),
    }
}

fn anybody_can_cause(code: ErrorCode) -> bool {
    [ErrorCode::KeyRequired, ErrorCode::Blocked, ErrorCode::RateLimited, ErrorCode::AbuseThrottled]
        .contains(&code)
}

fn refused(log: &Logger, failure: &ApiError, left_out: Option<u64>, line: impl slog::KV) {
    let (code, cause) = (failure.code.as_str(), failure.cause.as_deref());
    match left_out {
        Some(left_out) => info!(log, "request refused";
            "code" => code, "cause" => cause, "left_out" => left_out, line),
        None => debug!(log, "request refused"; "code" => code, "cause" => cause, line),
    }
}

/// A shed request must cost much less than an answered one: counters, and a line a second.
pub(in crate::http) fn shed(worker: &Worker, route: &Route, done: &Done<'_>, reason: Reason) {
    let (_, now, _) = done.count(route);
    worker.shared.metrics.http.shed.at([reason.as_str()]).inc();
    if let Some(refused) = worker.shedder.refused(now) {
        warn!(worker.shared.log, "requests refused because there are too many";
            "reason" => reason.as_str(), "refused" => refused,
            "request_id" => &*done.context.id, "status" => done.status.as_u16());
    }
}
