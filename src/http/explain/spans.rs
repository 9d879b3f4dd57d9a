//! The spans of a request: its own and those of its attempts at an upstream.
//!
//! Owns: what of a record is told to a collector of traces. Neither the path nor the client's address are, nor
//! any text that may quote a client or an upstream: the request id leads to those. Pure.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::record::{Outcome, Record};
use crate::http::error::ErrorCode;
use crate::otlp::{Span, SpanKind, SpanValue, nanos};
use crate::steps::Attempt;
use crate::trace::Trace;

/// A method that HTTP does not know, in spans.
const OTHER: &str = "_OTHER";

/// How many spans a request with these attempts has.
pub fn number(attempts: &[Attempt]) -> usize {
    attempts.len().saturating_add(1)
}

/// The spans of a request.
pub fn of(record: &Record, trace: &Trace, attempts: &[Attempt]) -> Vec<Span> {
    let mut spans = vec![server(record, trace)];
    spans.extend(attempts.iter().map(|attempt| client(record, trace, attempt)));
    spans
}

fn after(started: u64, by: Duration) -> u64 {
    started.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX))
}

fn server(record: &Record, trace: &Trace) -> Span {
    let started = nanos(record.at);
    let is_known = record.method.bytes().all(|byte| byte.is_ascii_uppercase());
    let (method, shown) = if is_known { (record.method, record.method) } else { (OTHER, "HTTP") };
    let failed = record.outcome == Outcome::Failed;
    let code = record.code.map(ErrorCode::as_str);
    let attributes = [
        ("http.request.method", Some(SpanValue::Word(method))),
        ("http.route", Some(SpanValue::Word(record.route))),
        ("http.response.status_code", Some(SpanValue::Number(record.status.into()))),
        ("error.type", code.filter(|_| failed).map(SpanValue::Word)),
        ("breakwater.request_id", Some(SpanValue::Text(Arc::clone(&record.request_id)))),
        ("breakwater.outcome", Some(SpanValue::Word(record.outcome.as_str()))),
        ("breakwater.error_code", code.map(SpanValue::Word)),
        ("breakwater.cache_tier", record.source.map(|source| SpanValue::Word(source.tier.label()))),
    ];
    let event = |at_us| after(started, Duration::from_micros(at_us));
    let steps = record.steps();
    Span {
        trace: trace.id,
        id: trace.span,
        parent: trace.parent,
        state: trace.state.clone(),
        kind: SpanKind::Server,
        name: format!("{shown} {}", record.route).into(),
        started,
        ended: after(started, record.duration),
        attributes: attributes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        events: steps.iter().map(|step| (event(step.at_us), step.stage, step.verdict)).collect(),
        failed,
    }
}

fn client(record: &Record, trace: &Trace, attempt: &Attempt) -> Span {
    let since = |at: Instant| at.saturating_duration_since(record.started);
    let came = nanos(record.at);
    let (until, outcome, failed) = match attempt.ended {
        Some((at, outcome, failed)) => (since(at), Some(outcome), failed),
        None => (record.duration, None, true),
    };
    let attributes = [
        ("breakwater.account", Some(SpanValue::Word(attempt.account))),
        ("breakwater.attempt", Some(SpanValue::Number(attempt.number.into()))),
        ("breakwater.outcome", outcome.map(SpanValue::Word)),
        ("error.type", outcome.filter(|_| failed).map(SpanValue::Word)),
        // It was under way when the request was answered.
        ("breakwater.unfinished", outcome.is_none().then_some(SpanValue::Flag(true))),
    ];
    Span {
        trace: trace.id,
        id: attempt.span,
        parent: Some(trace.span),
        state: trace.state.clone(),
        kind: SpanKind::Client,
        name: Cow::Borrowed(attempt.operation),
        started: after(came, since(attempt.started)),
        ended: after(came, until.max(since(attempt.started))),
        attributes: attributes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        events: Vec::new(),
        failed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;
    use crate::clock::Timestamp;
    use crate::steps::{Stage, Verdict};
    use crate::trace::SpanId;

    fn told(span: &Span, name: &str) -> Option<SpanValue> {
        span.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    }

    /// A request that failed after its first attempt and in its second, and its spans.
    fn failed() -> (Trace, Vec<Span>) {
        let failed = record(Outcome::Failed);
        let started = failed.started;
        let at = |millis| started + Duration::from_millis(millis);
        let record = Record {
            at: Timestamp::from_millis(1_000),
            duration: Duration::from_millis(50),
            method: "GET",
            status: 503,
            code: Some(ErrorCode::UpstreamUnavailable),
            cause: Some("secret words of the upstream".into()),
            ..failed
        };
        let attempt = |number: u32, ended| Attempt {
            span: SpanId::new(u64::from(number) + 10),
            operation: "ask",
            account: "upstream",
            number,
            started: at(10),
            ended,
        };
        let attempts = [attempt(1, Some((at(20), "transient", true))), attempt(2, None)];
        let trace = Trace { parent: Some(SpanId::new(5)), ..Trace::alone(|| 1) };
        let spans = of(&record, &trace, &attempts);
        assert_eq!(spans.len(), number(&attempts));
        (trace, spans)
    }

    #[test]
    fn a_failed_request_is_told_without_a_text_of_others() {
        let (trace, spans) = failed();
        let server = &spans[0];
        assert_eq!((server.id, server.parent), (trace.span, Some(SpanId::new(5))));
        assert_eq!((server.started, server.ended), (1_000_000_000, 1_050_000_000));
        assert_eq!(told(server, "error.type"), Some(SpanValue::Word("upstream_unavailable")));
        assert_eq!(told(server, "breakwater.outcome"), Some(SpanValue::Word("failed")));
        let last = server.events.last().unwrap();
        assert_eq!(*last, (server.ended, Stage::Attempt, Verdict::Failed));
        assert!(!format!("{spans:?}").contains("secret"));
    }

    #[test]
    fn an_attempt_is_a_child_and_one_under_way_ends_with_the_request() {
        let (trace, spans) = failed();
        let (first, second) = (&spans[1], &spans[2]);
        for (span, ended) in [(first, 1_020_000_000), (second, 1_050_000_000)] {
            assert_eq!((span.parent, span.failed), (Some(trace.span), true));
            assert_eq!((span.started, span.ended), (1_010_000_000, ended));
        }
        assert_eq!(told(first, "error.type"), Some(SpanValue::Word("transient")));
        assert_eq!(told(second, "breakwater.unfinished"), Some(SpanValue::Flag(true)));
    }

    #[test]
    fn a_refusal_is_the_client_s_and_an_unknown_method_has_no_name() {
        let refused = Record {
            method: "other",
            status: 404,
            code: Some(ErrorCode::NotFound),
            ..record(Outcome::Refused)
        };
        let spans = of(&refused, &Trace::alone(|| 1), &[]);
        let [server] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((server.failed, told(server, "error.type")), (false, None));
        assert_eq!(told(server, "breakwater.error_code"), Some(SpanValue::Word("not_found")));
        assert_eq!(told(server, "http.request.method"), Some(SpanValue::Word("_OTHER")));
        assert!(server.name.starts_with("HTTP /"), "{}", server.name);
    }
}
