//! Spans as the body of an export request, and what its answer says.
//!
//! Owns: the JSON encoding of OTLP: ids in hex, 64-bit numbers as text, names in lowerCamelCase. Pure. An
//! answer that cannot be read says nothing.

use serde_json::{Value, json};

use super::span::{Span, SpanKind, SpanValue};

/// The body for these spans of the service with this name.
pub(super) fn body(service: &str, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let text = |key, text: &str| json!({"key": key, "value": {"stringValue": text}});
    let resource = [text("service.name", service), text("service.version", version)];
    let spans: Vec<_> = spans.iter().map(span).collect();
    let scope = json!({"name": env!("CARGO_PKG_NAME"), "version": version});
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": scope, "spans": spans}],
    }]});
    body.to_string().into_bytes()
}

/// How many spans an answer with status 200 refuses all the same (`partialSuccess`).
pub(super) fn rejected(answer: &[u8]) -> usize {
    let answer: Option<Value> = serde_json::from_slice(answer).ok();
    let told =
        answer.as_ref().and_then(|answer| answer.get("partialSuccess")?.get("rejectedSpans"));
    let number = told.and_then(|told| told.as_u64().or_else(|| told.as_str()?.parse().ok()));
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// As `SpanKind` numbers them.
const fn kind(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    }
}

/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// The trace flags of all that is exported: sampled.
const FLAGS: u8 = 1;

fn span(span: &Span) -> Value {
    let event = |(at, stage, verdict): &(u64, _, _)| {
        let verdict = json!({"key": "breakwater.verdict", "value": {"stringValue": verdict}});
        json!({"timeUnixNano": at.to_string(), "name": stage, "attributes": [verdict]})
    };
    let attribute =
        |(key, value): &(&'static str, SpanValue)| json!({"key": key, "value": any(value)});
    let mut written = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "flags": FLAGS,
        "name": span.name,
        "kind": kind(span.kind),
        "startTimeUnixNano": span.started.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<_>>(),
        "events": span.events.iter().map(event).collect::<Vec<_>>(),
    });
    let more = [
        ("parentSpanId", span.parent.map(|parent| json!(parent.to_string()))),
        ("traceState", span.state.as_deref().map(|state| json!(state))),
        ("status", span.failed.then(|| json!({"code": ERROR}))),
    ];
    if let Value::Object(fields) = &mut written {
        fields.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    written
}

fn any(value: &SpanValue) -> Value {
    match value {
        SpanValue::Word(word) => json!({"stringValue": word}),
        SpanValue::Text(text) => json!({"stringValue": text}),
        SpanValue::Number(number) => json!({"intValue": number.to_string()}),
        SpanValue::Flag(flag) => json!({"boolValue": flag}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::{Stage, Verdict};
    use crate::trace::{SpanId, Trace};

    /// A request, and a call that was made for it.
    fn request_and_call() -> [Span; 2] {
        let mut next = 0xa;
        let trace = Trace::alone(|| {
            next += 1;
            next
        });
        let server = Span {
            trace: trace.id,
            id: trace.span,
            parent: None,
            state: None,
            kind: SpanKind::Server,
            name: "GET /a".into(),
            started: 1_000,
            ended: 2_000,
            attributes: vec![
                ("word", SpanValue::Word("w")),
                ("text", SpanValue::Text("t\"".into())),
                ("number", SpanValue::Number(7)),
                ("flag", SpanValue::Flag(true)),
            ],
            events: vec![(1_500, Stage::Memory, Verdict::Miss)],
            failed: false,
        };
        let client = Span {
            id: SpanId::new(1),
            parent: Some(trace.span),
            state: Some("a=1".into()),
            kind: SpanKind::Client,
            name: "ask".into(),
            attributes: Vec::new(),
            events: Vec::new(),
            failed: true,
            ..server.clone()
        };
        [server, client]
    }

    #[test]
    fn a_request_and_its_call_are_written_as_the_encoding_says() {
        let body: Value = serde_json::from_slice(&body("shop", &request_and_call())).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let written = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "shop"}},
                {"key": "service.version", "value": {"stringValue": version}},
            ]},
            "scopeSpans": [{"scope": {"name": "breakwater", "version": version}, "spans": [
                {
                    "traceId": "000000000000000c000000000000000d", "spanId": "000000000000000b",
                    "flags": 1, "name": "GET /a", "kind": 2,
                    "startTimeUnixNano": "1000", "endTimeUnixNano": "2000",
                    "attributes": [
                        {"key": "word", "value": {"stringValue": "w"}},
                        {"key": "text", "value": {"stringValue": "t\""}},
                        {"key": "number", "value": {"intValue": "7"}},
                        {"key": "flag", "value": {"boolValue": true}},
                    ],
                    "events": [{"timeUnixNano": "1500", "name": "memory", "attributes": [
                        {"key": "breakwater.verdict", "value": {"stringValue": "miss"}},
                    ]}],
                },
                {
                    "traceId": "000000000000000c000000000000000d", "spanId": "0000000000000001",
                    "parentSpanId": "000000000000000b", "traceState": "a=1",
                    "flags": 1, "name": "ask", "kind": 3,
                    "startTimeUnixNano": "1000", "endTimeUnixNano": "2000",
                    "attributes": [], "events": [], "status": {"code": 2},
                },
            ]}],
        }]});
        assert_eq!(body, written);
    }

    #[test]
    fn an_answer_may_refuse_some() {
        for (answer, wanted) in [
            (r#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}"#, 3),
            (r#"{"partialSuccess": {"rejectedSpans": 3}}"#, 3),
            (r#"{"partialSuccess": {}}"#, 0),
            (r#"{"partialSuccess": {"rejectedSpans": "-1"}}"#, 0),
            ("{}", 0),
            ("", 0),
            ("no JSON", 0),
        ] {
            assert_eq!(rejected(answer.as_bytes()), wanted, "{answer}");
        }
    }
}
