//! Traces from outside: the ids in the log, what an upstream is told, and the spans a collector gets.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::collector::{Collector, Says};
use crate::envelope::{data, refused};
use crate::gate::Gate;
use crate::support::process::wait_until;
use crate::test_app::{Running, TestApp};

const SEARCH: &str = "/api/products/search?keywords=usb";
const WRONG: &str = "/api/products/search?page_no=0";
const SOON: Duration = Duration::from_secs(20);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A gateway whose calls pass a gate, which notes them.
fn app(gate: &Gate, settings: &[(&'static str, &str)]) -> TestApp {
    let url = gate.url();
    let mut all = vec![
        ("ALIEXPRESS_GATEWAY_URL", url.as_str()),
        ("HTTP_WORKERS", "1"),
        ("RETRY_MAX_ATTEMPTS", "2"),
        ("RETRY_BASE_DELAY_MS", "1"),
        ("BREAKER_FAILURES", "1000"),
        ("CACHE_WARM_KEYS", "0"),
    ];
    all.extend_from_slice(settings);
    let app = TestApp::with(&all);
    gate.open(app.upstream.address);
    app
}

fn ask(app: &Running, id: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let connection = app.connection().with_header("x-request-id", id);
    let mut connection = headers
        .iter()
        .fold(connection, |connection, (name, value)| connection.with_header(name, value));
    connection.get(path).unwrap().status
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// The values of a header field in all calls, in their order.
fn sent(gate: &Gate, name: &str) -> Vec<String> {
    let calls = gate.requests();
    let values = calls.lines().filter_map(|line| line.split_once(": "));
    let values = values.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    values.map(|(_, value)| value.trim().to_owned()).collect()
}

fn attribute(span: &Value, key: &str) -> Value {
    let all = span["attributes"].as_array().unwrap();
    let found = all.iter().find(|one| one["key"] == key).map(|one| one["value"].clone());
    let found =
        found.and_then(|value| value.as_object().and_then(|of| of.values().next().cloned()));
    found.unwrap_or_default()
}

/// Trace, span and message of each line, by request id; a request has one trace.
fn by_request(lines: &[Value]) -> BTreeMap<&str, Vec<(&str, &str, &str)>> {
    let mut spans: BTreeMap<&str, Vec<(&str, &str, &str)>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["request_id"].is_string()) {
        let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{name} in {line}"));
        let entry = (text("trace_id"), text("span_id"), text("msg"));
        assert_eq!((entry.0.len(), entry.1.len()), (32, 16), "{line}");
        spans.entry(text("request_id")).or_default().push(entry);
    }
    for (id, lines) in &spans {
        assert!(lines.iter().all(|line| line.0 == lines[0].0), "{id}: {lines:?}");
    }
    spans
}

#[test]
fn every_line_of_a_request_has_three_ids_and_an_attempt_a_span_of_its_own() {
    let gate = Gate::closed();
    let app = app(&gate, &[("ABUSE_DETECTION", "shadow"), ("TRUSTED_PROXIES", "127.0.0.1")]);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    assert_eq!(ask(&app, "failed", "/api/categories", &[("traceparent", &parent("00"))]), 503);
    app.upstream.recovers();
    assert_eq!(ask(&app, TRACE, SEARCH, &[]), 200);
    assert_eq!(ask(&app, "refused", WRONG, &[("x-forwarded-for", "unknown, 192.0.2.7")]), 400);
    assert_eq!(ask(&app, "admin", "/admin/config", &[]), 403);
    data(&app.admin().with_header("x-request-id", "changed").post("/admin/cache/warm").unwrap());
    let log = app.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let spans = by_request(&lines);
    let of = |id: &str| spans.get(id).unwrap_or_else(|| panic!("{id} in {spans:?}"));
    assert!(of("failed").iter().chain(of(TRACE)).all(|(trace, ..)| *trace == TRACE));
    assert!(of("refused")[0].0 != TRACE && !of("admin").is_empty());
    assert!(of("changed").iter().any(|(.., msg)| *msg == "admin action"));
    let own = of("failed").iter().find(|(.., msg)| *msg == "request refused").unwrap().1;
    let attempts: Vec<_> =
        of("failed").iter().filter(|(.., msg)| *msg == "upstream call failed").collect();
    assert_eq!(attempts.len(), 2, "{log}");
    assert!(attempts[0].1 != attempts[1].1 && attempts.iter().all(|line| line.1 != own));
    assert!(sent(&gate, "traceparent").is_empty(), "nobody asked to tell the upstream");
}

#[test]
fn an_upstream_of_the_shop_is_told_of_the_trace_and_of_the_span_that_calls_it() {
    let gate = Gate::closed();
    let app = app(&gate, &[("ALIEXPRESS_PROPAGATE_TRACE", "true")]);
    app.upstream.faults(&json!([{"method": "*", "fault": "status", "status": 503, "times": 1}]));
    let of_caller = parent("01");
    let fields = [("traceparent", of_caller.as_str()), ("tracestate", "a=1, b=2")];
    assert_eq!(ask(&app, "retried", SEARCH, &fields), 200);
    assert_eq!(ask(&app, TRACE, "/api/categories", &[("tracestate", "a=1")]), 200);
    let parents = sent(&gate, "traceparent");
    let [first, again, own] = parents.as_slice() else { panic!("{parents:?}") };
    for told in [first, again] {
        assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-01"), "{told}");
        assert!(!told.contains(CALLER), "{told}");
    }
    assert_ne!(first, again, "each attempt has a span of its own");
    // Without a collector nothing is exported of a trace that begins here.
    assert!(own.starts_with(&format!("00-{TRACE}-")) && own.ends_with("-00"), "{own}");
    assert_eq!(sent(&gate, "tracestate"), ["a=1,b=2", "a=1,b=2"]);
}

#[test]
fn a_renewal_in_the_background_has_a_trace_of_its_own() {
    let gate = Gate::closed();
    let settings = [("ALIEXPRESS_PROPAGATE_TRACE", "true"), ("CACHE_TTL_SEARCH", "1")];
    let app = app(&gate, &settings);
    let told = parent("01");
    wait_until("a stale answer and its renewal", SOON, || {
        assert_eq!(ask(&app, "renews", SEARCH, &[("traceparent", &told)]), 200);
        sent(&gate, "traceparent").len() > 1
    });
    let renewal = &sent(&gate, "traceparent")[1];
    assert!(!renewal.contains(TRACE) && renewal.ends_with("-00"), "{renewal}");
}

/// What the spans of one run are about.
fn requests_of_a_run(app: &TestApp) {
    let (wanted, unwanted) = (parent("01"), parent("00"));
    app.upstream.faults(&json!([{"method": "*", "fault": "status", "status": 503, "times": 1}]));
    assert_eq!(
        ask(app, "retried", SEARCH, &[("traceparent", &wanted), ("tracestate", "a=1")]),
        200
    );
    assert_eq!(ask(app, "hit", SEARCH, &[]), 200);
    assert_eq!(ask(app, "one-of-many-hits", SEARCH, &[]), 200);
    assert_eq!(ask(app, "wanted-hit", SEARCH, &[("traceparent", &wanted)]), 200);
    assert_eq!(ask(app, "wanted-own", "/health/live", &[("traceparent", &wanted)]), 200);
    assert_eq!(ask(app, "own", "/health/live", &[]), 200);
    assert_eq!(ask(app, "refused", &format!("{WRONG}&secret=1"), &[]), 400);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    assert_eq!(ask(app, "failed", "/api/categories", &[]), 503);
    app.upstream.fails_with(&json!({"fault": "hang"}));
    assert_eq!(ask(app, "hung", "/api/products/search?keywords=b", &[]), 504);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let not_sampled = [("traceparent", unwanted.as_str())];
    assert_eq!(ask(app, "unwanted", "/api/products/search?keywords=a", &not_sampled), 503);
}

/// What a collector got from a gateway that met all kinds of requests.
struct Exported {
    collector: Collector,
    spans: Vec<Value>,
    /// Every `traceparent` that the upstream got, in their order.
    told: Vec<String>,
    config: String,
}

impl Exported {
    fn of_a_run() -> Self {
        let (gate, collector) = (Gate::closed(), Collector::saying(Says::Status(200)));
        let app = app(
            &gate,
            &[
                ("ALIEXPRESS_PROPAGATE_TRACE", "true"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%20key"),
                ("OTEL_SERVICE_NAME", "the-shop"),
                ("REQUEST_TIMEOUT_MS", "3000"),
                ("UPSTREAM_TIMEOUT_MS", "60000"),
            ],
        );
        let config = app.admin().get("/admin/config").unwrap().text();
        requests_of_a_run(&app);
        // What waits is sent when the gateway stops.
        drop(app);
        let (spans, told) = (collector.spans(), sent(&gate, "traceparent"));
        Self { collector, spans, told, config }
    }

    fn find(&self, id: &str) -> Option<&Value> {
        let is_own = |span: &&Value| attribute(span, "breakwater.request_id") == id;
        let found: Vec<_> = self.spans.iter().filter(is_own).collect();
        assert!(found.len() < 2, "{found:?}");
        found.first().copied()
    }

    fn of(&self, id: &str) -> &Value {
        self.find(id).unwrap_or_else(|| panic!("no span of {id} in {:?}", self.spans))
    }

    fn attempts(&self, id: &str) -> Vec<&Value> {
        let of = &self.of(id)["spanId"];
        self.spans.iter().filter(|span| span["parentSpanId"] == *of).collect()
    }
}

#[test]
fn an_export_is_what_the_settings_say_and_tells_nothing_of_the_client() {
    let exported = Exported::of_a_run();
    let config = &exported.config;
    assert!(config.contains("api-key=[hidden]") && !config.contains("s3cret"), "{config}");
    let export = &exported.collector.exports()[0];
    let head = &export.head;
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert!(head.contains("\r\napi-key: s3cret key\r\n"), "{head}");
    let resource = &export.body["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "service.name"), "the-shop");
    let all = format!("{:?}", exported.spans);
    for secret in ["keywords", "secret=1", "127.0.0.1", "page_no"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[test]
fn the_collector_gets_what_is_kept_and_what_callers_want() {
    let exported = Exported::of_a_run();
    for none in ["one-of-many-hits", "own", "unwanted"] {
        assert_eq!(exported.find(none), None, "{none}");
    }
    for (id, status, outcome, tier) in [
        ("retried", "200", "upstream", json!("none")),
        ("hit", "200", "hit", json!("memory")),
        ("wanted-hit", "200", "hit", json!("memory")),
        ("wanted-own", "200", "own", Value::Null),
        ("refused", "400", "refused", Value::Null),
        ("failed", "503", "failed", Value::Null),
    ] {
        let span = exported.of(id);
        let keys = ["http.response.status_code", "breakwater.outcome", "breakwater.cache_tier"];
        let told = keys.map(|key| attribute(span, key));
        assert_eq!(told, [json!(status), json!(outcome), tier], "{span}");
        assert_eq!(span["kind"], 2);
    }
    for id in ["retried", "wanted-hit", "wanted-own"] {
        let span = exported.of(id);
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!(CALLER)));
    }
    let (retried, failed) = (exported.of("retried"), exported.of("failed"));
    assert_eq!((&retried["traceState"], &failed["parentSpanId"]), (&json!("a=1"), &Value::Null));
    assert_eq!(retried["name"], "GET /api/products/search");
    assert_eq!((&retried["status"], &failed["status"]["code"]), (&Value::Null, &json!(2)));
}

#[test]
fn every_attempt_is_exported_as_the_upstream_was_told() {
    let exported = Exported::of_a_run();
    let (retried, failed) = (exported.attempts("retried"), exported.attempts("failed"));
    assert_eq!((retried.len(), failed.len()), (2, 2), "{:?}", exported.spans);
    assert_eq!(attribute(retried[0], "breakwater.outcome"), "transient");
    assert_eq!(attribute(retried[1], "breakwater.outcome"), "ok");
    let hung = exported.attempts("hung");
    assert_eq!((hung.len(), &hung[0]["status"]["code"]), (1, &json!(2)), "{hung:?}");
    let attempts = retried.iter().chain(&failed).chain(&hung).map(|span| {
        assert_eq!(span["kind"], 3);
        let text = |name: &str| span[name].as_str().unwrap();
        format!("00-{}-{}-01", text("traceId"), text("spanId"))
    });
    let attempts: Vec<_> = attempts.collect();
    let (told, unwanted) = exported.told.split_at(attempts.len());
    assert_eq!(attempts, told);
    let not_sampled = |told: &String| told.contains(TRACE) && told.ends_with("-00");
    assert!(!unwanted.is_empty() && unwanted.iter().all(not_sampled), "{unwanted:?}");
}

/// Refused requests, each a span, on one connection.
fn refusals(app: &Running, number: usize) {
    let mut connection = app.connection();
    for _ in 0..number {
        refused(&connection.get(WRONG).unwrap(), 400, "invalid_request");
    }
}

fn dropped(app: &Running, reason: &str) -> f64 {
    app.metric(&format!("trace_spans_dropped_total{{reason=\"{reason}\"}}"))
}

fn with_collector(url: &str) -> TestApp {
    TestApp::with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("HTTP_WORKERS", "1"),
        ("LOG_LEVEL", "info"),
    ])
}

/// It stops although something of the exporter hangs, which would do so for ten seconds.
fn stops(app: TestApp) {
    let asked = monotonic();
    drop(app);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn a_collector_that_is_away_or_hangs_costs_clients_nothing_and_spans_are_counted() {
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", away.local_addr().unwrap());
    drop(away);
    let hanging = Collector::saying(Says::Nothing);
    for url in [&url, &hanging.url] {
        let app = with_collector(url);
        refusals(&app, 2_100);
        assert!(dropped(&app, "queue_full") >= 52.0, "{url}");
        assert!(app.metric("trace_spans_exported_total") < 0.5, "{url}");
        data(&app.get(SEARCH));
        stops(app);
    }
    assert_eq!(hanging.exports().len(), 1, "it still waits for the answer to the first");
}

#[test]
fn what_is_refused_is_dropped_and_what_is_not_taken_now_is_sent_again() {
    let collector = Collector::saying(Says::Status(500));
    let app = with_collector(&collector.url);
    refusals(&app, 512);
    wait_until("a full batch is refused", SOON, || dropped(&app, "rejected") > 511.5);
    assert_eq!(collector.exports().len(), 1, "500 is no reason to come again");
    collector.says(Says::Status(429));
    refusals(&app, 512);
    wait_until("the batch is sent", SOON, || collector.exports().len() == 2);
    collector.says(Says::Status(200));
    wait_until("and taken", SOON, || app.metric("trace_spans_exported_total") > 511.5);
    let exports = collector.exports();
    assert_eq!(exports[1].body, exports[2].body);
    collector.says(Says::Status(503));
    refusals(&app, 512);
    wait_until("the last attempt fails", SOON, || dropped(&app, "unavailable") > 511.5);
    assert_eq!(collector.exports().len(), 3 + 4);
    data(&app.get(SEARCH));
    let log = app.log();
    for (line, times) in [("not taken by the collector", 3), ("taken by the collector again", 1)] {
        assert_eq!(log.matches(line).count(), times, "{line} in {log}");
    }
    stops(app);
}

#[test]
fn the_counts_are_there_without_a_collector() {
    let app = TestApp::start();
    let text = app.get("/metrics").text();
    for reason in ["queue_full", "rejected", "unavailable", "stopped"] {
        let line = format!("trace_spans_dropped_total{{reason=\"{reason}\"}} 0\n");
        assert!(text.contains(&line), "{line}");
    }
    assert!(text.contains("trace_spans_exported_total 0\n"), "{text}");
}
