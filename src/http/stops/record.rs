//! What is counted and logged of a request when it is over.
//!
//! The counters are exact, also for shed requests; MetricsActor learns of the others for its windows
//! and lists. An answered request is logged at debug level; what failed, was slow or was refused at
//! info or above, each error code and the slow ones at a rate of their own: a client that is refused
//! must not fill the disk, whatever it sends. Nothing of a line is longer than its bound.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use slog::{Drain as _, Level, Logger, debug, info, warn};

use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::explain::{Limited, Outcome, Record, SAMPLE, spans};
use crate::http::load_shedder::ShedReason;
use crate::http::route::Route;
use crate::http::state::Worker;
use crate::http::stops::caller::address;
use crate::metrics::RequestSeen;
use crate::steps::{Noted, Steps};
use crate::trace::TRACEPARENT;

/// Longest name of a method in a log line; an unknown one may be as long as a head.
const LONGEST_METHOD: usize = 24;
const LONGEST_PATH: usize = 200;
const LONGEST_CAUSE: usize = 300;
const SLOW: Duration = Duration::from_secs(1);

pub(in crate::http) struct Done<'a> {
    pub(in crate::http) context: &'a RequestContext,
    pub(in crate::http) request: &'a HttpRequest,
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) limited: Option<Limited>,
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
        tier: context.source.get().map_or("", |source| source.tier.label()),
        prompt: !context.waited.get(),
        finished: now,
    });
    let (source, noted) = (context.source.get(), context.steps.get().is_some());
    let outcome = Outcome::of(status, source.as_ref(), noted, took >= SLOW);
    explain(worker, route, done, failure, (outcome, method, took));
    let log = &worker.shared.log;
    let slow = (took >= SLOW).then_some("slow");
    let kind = failure.map(|failure| failure.code.as_str()).or(slow);
    let left_out = kind.and_then(|kind| worker.lines.line(kind, now));
    if left_out.is_none() && !log.is_enabled(Level::Debug) {
        return;
    }
    let client = address(worker, done.request).counted.to_string();
    let line = slog::o!("method" => bounded(done.request.method().as_str(), LONGEST_METHOD),
        "route" => route.template, "path" => path(done.request), "client" => client,
        "status" => status, "duration_ms" => took.as_secs_f64() * 1_000.0,
        worker.shared.ids(context, done.request.headers()));
    match (failure, left_out) {
        (Some(failure), left_out) => refused(log, failure, left_out, line),
        (None, Some(left_out)) => info!(log, "request was slow"; "left_out" => left_out, line),
        (None, None) => debug!(log, "request answered"; line),
    }
}

/// Keeps it for whoever asks why it was answered so, and hands its spans to the exporter. A hit costs a
/// comparison or two, and one of many a push.
fn explain(
    worker: &Worker,
    route: &Route,
    done: &Done<'_>,
    failure: Option<&ApiError>,
    (outcome, method, took): (Outcome, &'static str, Duration),
) {
    let (context, shared, headers) = (done.context, &worker.shared, done.request.headers());
    let kept = is_kept(worker, outcome);
    let exporter = shared.exporter.as_ref().filter(|_| {
        // Of all others only those that a caller wants.
        (kept || headers.contains_key(TRACEPARENT))
            && shared.trace(context, headers).is_exported(kept)
    });
    if !kept && exporter.is_none() {
        return;
    }
    let cause =
        failure.and_then(|failure| failure.cause.as_deref().or_else(|| failure.own_words()));
    let Noted { steps, attempts } = context.steps.get().map(Steps::close).unwrap_or_default();
    let record = Record {
        outcome,
        request_id: Arc::clone(&context.id),
        at: clock::now().minus(took),
        started: context.started,
        duration: took,
        method,
        route: route.template,
        status: done.status.as_u16(),
        code: failure.map(|failure| failure.code),
        cause: cause.map(|cause| bounded(cause, LONGEST_CAUSE).into()),
        source: context.source.get(),
        limited: done.limited,
        noted: steps,
    };
    if let Some(exporter) = exporter {
        let trace = shared.trace(context, headers);
        let make = || spans::of(&record, trace, &attempts);
        exporter.put(spans::number(&attempts), kept, make);
    }
    if kept {
        shared.explain.keep(record);
    }
}

/// All but most hits, and what the gateway says of itself.
fn is_kept(worker: &Worker, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Own => false,
        Outcome::Hit => {
            let hits = worker.hits.get();
            worker.hits.set(hits.wrapping_add(1));
            hits.is_multiple_of(SAMPLE)
        }
        Outcome::Refused | Outcome::Failed | Outcome::Stale | Outcome::Slow | Outcome::Upstream => {
            true
        }
    }
}

fn refused(log: &Logger, failure: &ApiError, left_out: Option<u64>, line: impl slog::KV) {
    let cause = failure.cause.as_deref().unwrap_or(&failure.message);
    let (code, cause) = (failure.code.as_str(), bounded(cause, LONGEST_CAUSE));
    match left_out {
        Some(left_out) if failure.code == ErrorCode::Internal => warn!(log, "request failed";
            "code" => code, "cause" => cause, "left_out" => left_out, line),
        Some(left_out) => info!(log, "request refused";
            "code" => code, "cause" => cause, "left_out" => left_out, line),
        None => debug!(log, "request refused"; "code" => code, "cause" => cause, line),
    }
}

/// The path of a request as far as a log line shows it.
pub(super) fn path(request: &HttpRequest) -> &str {
    bounded(request.path(), LONGEST_PATH)
}

fn bounded(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// A request on its way to its answer. One that is dropped before, while the gateway stops, has no answer that
/// could leave a line: this does.
pub(in crate::http) struct Underway<'a> {
    worker: &'a Worker,
    route: &'a Route,
    context: &'a RequestContext,
    request: &'a HttpRequest,
    is_answered: bool,
}

impl<'a> Underway<'a> {
    pub(in crate::http) const fn new(
        worker: &'a Worker,
        route: &'a Route,
        context: &'a RequestContext,
        request: &'a HttpRequest,
    ) -> Self {
        Self { worker, route, context, request, is_answered: false }
    }

    pub(in crate::http) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let Self { worker, route, context, request, is_answered } = *self;
        if is_answered || !worker.shared.is_draining() {
            return;
        }
        worker.shared.stop.cut.fetch_add(1, Ordering::Relaxed);
        let now = clock::monotonic();
        let took = now.saturating_duration_since(context.started);
        if let Some(left_out) = worker.lines.line("cut", now) {
            warn!(worker.shared.log, "request was cut by the stop, or its client left";
                "method" => bounded(request.method().as_str(), LONGEST_METHOD),
                "route" => route.template, "path" => path(request),
                "client" => %address(worker, request).counted,
                "duration_ms" => took.as_secs_f64() * 1_000.0, "left_out" => left_out,
                worker.shared.ids(context, request.headers()));
        }
    }
}

/// A shed request must cost much less than an answered one: counters, and a line a second.
pub(in crate::http) fn shed(worker: &Worker, route: &Route, done: &Done<'_>, reason: ShedReason) {
    let (method, now, took) = done.count(route);
    let overloaded = ApiError::new(ErrorCode::Overloaded);
    explain(worker, route, done, Some(&overloaded), (Outcome::Refused, method, took));
    worker.shared.metrics.http.shed.at([reason.as_str()]).inc();
    if let Some(refused) = worker.shedder.refused(now) {
        warn!(worker.shared.log, "requests refused because there are too many";
            "reason" => reason.as_str(), "refused" => refused, "path" => path(done.request),
            "client" => %address(worker, done.request).counted, "status" => done.status.as_u16(),
            worker.shared.ids(done.context, done.request.headers()));
    }
}
