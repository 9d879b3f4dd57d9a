//! P13: bad input.
//!
//! Every naughty text in every parameter, path segment, header and body field; every JSON case as a
//! body; bytes that are no HTTP; oversized everything; 10,000 requests made up from the OpenAPI
//! document. Holds when there is no 5xx, no panic, no hang, and every refusal is in the envelope.
//!
//! `BAD_INPUT` names a folder with `blns.json` (a JSON list of texts) and `json-parsing.tar.gz`
//! (files named `y_`, `n_` and `i_`); without it the texts built in are used.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::figures::samples;
use crate::fixture::Fixture;
use crate::support::bad_input::generated::{Case, Generator, resolved};
use crate::support::bad_input::{NAUGHTY, as_header, encoded, fault, raw};
use crate::support::gateway::{ADMIN_KEY, Plan, Running};
use crate::support::http::Connection;

/// Requests made up.
const MADE_UP: usize = 10_000;
/// Client key, so that what needs one is reached.
const KEY: &str = "a-client-key-for-bad-input";
/// What is set, or stands in the settings page.
const PATIENCE: raw::Patience = raw::Patience {
    head: Duration::from_secs(5),
    request: Duration::from_secs(8),
    idle: Duration::from_secs(10),
};
const HEADERS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-encoding",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "if-none-match",
    "origin",
    "range",
    "traceparent",
    "x-admin-key",
    "x-forwarded-for",
    "x-internal-key",
    "x-request-id",
];

/// What was sent and what went wrong.
#[derive(Default)]
struct Report {
    sent: usize,
    by_status: std::collections::BTreeMap<u16, usize>,
    faults: Vec<String>,
}

#[test]
fn p13_bad_input() {
    let fixture = Fixture::set();
    let plan = fixture.plan().with("INTERNAL_API_KEY", KEY).with("TRUSTED_PROXIES", "127.0.0.0/8");
    let plan = plan.with("KEEP_ALIVE_SECONDS", PATIENCE.idle.as_secs().to_string());
    let gateway = under_no_pressure(plan).with("LOG_LEVEL", "debug").start();
    let document = gateway.connection().get("/openapi.json").expect("a document").json();
    let texts = texts();
    let parts = [
        ("texts", every_text(&gateway, &document, &texts)),
        ("JSON cases", every_json_case(&gateway)),
        ("oversized", oversized(&gateway)),
        ("made up", made_up(&gateway, &document)),
        ("no HTTP", no_http(&gateway)),
    ];
    println!("P13 bad input ({} texts)", texts.len());
    for (name, Report { sent, by_status, faults }) in &parts {
        println!("  {name:<12} {sent:>7} sent  {by_status:?}  {} faults", faults.len());
    }
    let metrics = gateway.connection().get("/metrics").expect("metrics").text();
    let restarts: f64 = samples(&metrics, "actor_restarts_total").iter().map(|(_, n)| n).sum();
    let log = std::fs::read_to_string(fixture.folder().join("gateway.log")).expect("a log");
    assert!(log.contains("\"msg\":\"listening\""), "this is no log of ours: {log:.200}");
    let panics = log.lines().filter(|line| line.contains("panic")).count();
    assert!(cfg!(debug_assertions) || !log.contains("pressure changed"), "a false alarm");
    let broken = samples(&metrics, "http_requests_total")
        .iter()
        .filter(|(labels, n)| labels.contains("status=\"5") && *n > 0.0)
        .map(|(labels, n)| format!("{labels} {n}"))
        .collect::<Vec<_>>();
    gateway.stop();
    fixture.end();
    let faults: Vec<_> =
        parts.iter().flat_map(|(_, report)| report.faults.iter().take(20)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!((restarts, panics, broken), (0.0, 0, Vec::new()), "restarts, panics, 5xx");
}

/// Limits of which none limits, watched all the same: one question after the other is no reason to
/// tighten them.
fn under_no_pressure(plan: Plan) -> Plan {
    let limits = [
        "MAX_REQUESTS_PER_SECOND",
        "RATE_LIMIT_BURST",
        "MAX_REQUESTS_PER_MINUTE",
        "RATE_LIMIT_SEARCH_PER_MINUTE",
        "RATE_LIMIT_SEARCH_BURST",
        "RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE",
    ];
    let plan = limits.iter().fold(plan, |plan, limit| plan.with(limit, "0"));
    let plan = plan.with("RATE_LIMIT_ENABLED", "true");
    plan.with("ABUSE_DETECTION", "off")
}

fn named() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its caller what to read")]
    let named = std::env::var_os("BAD_INPUT");
    named.filter(|name| !name.is_empty()).map(PathBuf::from)
}

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = NAUGHTY.map(str::to_owned).to_vec();
    if let Some(folder) = named() {
        let file = File::open(folder.join("blns.json")).expect("blns.json");
        let more: Vec<String> = serde_json::from_reader(file).expect("a list of texts");
        texts.extend(more);
    }
    texts
}

impl Report {
    fn send(&mut self, connection: &mut Connection, case: &Case) {
        self.sent += 1;
        match connection.send(&case.method, &case.target, &case.body) {
            Ok(answer) => {
                *self.by_status.entry(answer.status).or_default() += 1;
                let unnamed = || {
                    let named =
                        case.suspects.iter().any(|name| answer.text().contains(name.as_str()));
                    let says = answer.status == 400 && !case.suspects.is_empty() && !named;
                    says.then(|| format!("names no field: {}", answer.text()))
                };
                let wrong = fault(&answer, case.method == "HEAD").or_else(unnamed);
                self.faults
                    .extend(wrong.map(|wrong| format!("{} {}: {wrong}", case.method, case.target)));
            }
            Err(error) => self.faults.push(format!("{} {}: {error}", case.method, case.target)),
        }
    }
}

fn case(method: &str, target: String, body: Vec<u8>) -> Case {
    let (method, headers, suspects) = (method.to_owned(), Vec::new(), Vec::new());
    Case { method, target, headers, body, suspects }
}

fn keyed(gateway: &Running) -> Connection {
    let connection = gateway.connection().with_header("content-type", "application/json");
    connection.with_header("x-internal-key", KEY)
}

/// In every parameter, segment and field of the document, and in every header.
fn every_text(gateway: &Running, document: &Value, texts: &[String]) -> Report {
    let mut report = Report::default();
    let mut connection = keyed(gateway);
    let paths = document["paths"].as_object().expect("paths");
    for text in texts {
        for (path, methods) in paths {
            if path.contains("/chaos/") {
                continue;
            }
            for (method, told) in methods.as_object().expect("methods") {
                for case in with_text(document, path, method, told, text) {
                    report.send(&mut connection, &case);
                }
            }
        }
        for name in HEADERS {
            let mut connection = gateway.connection().with_header(name, &as_header(text));
            let case = case("GET", "/api/products/search?keywords=usb".to_owned(), Vec::new());
            report.send(&mut connection, &case);
        }
    }
    report
}

fn with_text(document: &Value, path: &str, method: &str, told: &Value, text: &str) -> Vec<Case> {
    let method = method.to_uppercase();
    let whole = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    let whole = whole.collect::<Vec<_>>().join("/");
    let mut cases = Vec::new();
    for parameter in told["parameters"].as_array().into_iter().flatten() {
        let parameter = resolved(document, parameter);
        // Header fields have a list of their own.
        if parameter["in"] == "header" {
            continue;
        }
        let name = parameter["name"].as_str().expect("a name");
        let target = if parameter["in"] == "path" {
            path.split('/')
                .map(|part| if part.starts_with('{') { encoded(text) } else { part.to_owned() })
                .collect::<Vec<_>>()
                .join("/")
        } else {
            format!("{whole}?{name}={}", encoded(text))
        };
        cases.push(case(&method, target, Vec::new()));
    }
    let schema = resolved(document, &told["requestBody"]["content"]["application/json"]["schema"]);
    let fields = schema["properties"].as_object();
    for name in fields.into_iter().flat_map(|fields| fields.keys()) {
        for value in [json!(text), json!([text])] {
            cases.push(case(&method, whole.clone(), json!({name: value}).to_string().into()));
        }
    }
    cases
}

/// As bodies of every address that takes one. What must not parse must be refused.
fn every_json_case(gateway: &Running) -> Report {
    let mut report = Report::default();
    let Some(folder) = named() else { return report };
    let mut bytes = Vec::new();
    let file = File::open(folder.join("json-parsing.tar.gz")).expect("json-parsing.tar.gz");
    GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
    let mut connection = keyed(gateway);
    for (name, body) in files(&bytes) {
        for path in ["/api/products/search", "/api/products/details", "/api/affiliate/links"] {
            let case = case("POST", path.to_owned(), body.to_vec());
            let before = report.by_status.get(&200).copied();
            report.send(&mut connection, &case);
            let accepted = report.by_status.get(&200).copied() != before;
            // No body at all is an empty object.
            if accepted && name.contains("/n_") && !body.is_empty() {
                report.faults.push(format!("{name} is accepted by {path}"));
            }
        }
    }
    report
}

/// Names and contents of the files of a tar archive (POSIX ustar).
fn files(mut archive: &[u8]) -> Vec<(String, &[u8])> {
    let mut files = Vec::new();
    while let Some((head, rest)) = archive.split_at_checked(512) {
        let text = |from: usize, to: usize| {
            let field = &head[from..to];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let size = usize::from_str_radix(&text(124, 136), 8).unwrap_or(0);
        let Some((body, _)) = rest.split_at_checked(size) else { break };
        if matches!(head[156], b'0' | 0) && !text(0, 100).is_empty() {
            files.push((text(0, 100), body));
        }
        archive = rest.get(size.next_multiple_of(512)..).unwrap_or_default();
    }
    files
}

fn oversized(gateway: &Running) -> Report {
    let mut report = Report::default();
    let many =
        |n: usize| json!({"product_ids": vec!["1"; n], "urls": vec!["https://a.example/"; n]});
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let bodies = [
        deep(100),
        deep(30_000),
        format!("{}1{}", "{\"keywords\":".repeat(5_000), "}".repeat(5_000)),
        many(21).to_string(),
        many(1_000).to_string(),
        json!({"keywords": "x".repeat(60_000)}).to_string(),
        json!({"product_ids": ["9".repeat(60_000)]}).to_string(),
        format!("{{\"page_no\": {}}}", "9".repeat(60_000)),
        format!("{{\"min_sale_price\": 1e{}}}", "9".repeat(60_000)),
        format!("{{{}}}", (0..5_000).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",")),
        "x".repeat(64 * 1024 + 1),
        "x".repeat(4 << 20),
    ];
    for body in bodies {
        for path in ["/api/products/search", "/api/products/details", "/api/affiliate/links"] {
            let case = case("POST", path.to_owned(), body.clone().into());
            report.send(&mut keyed(gateway), &case);
        }
    }
    for length in [256, 8_000, 60_000] {
        for path in
            ["/api/products/search?keywords=", "/api/products/details/", "/", "/api/categories/"]
        {
            let case = case("GET", format!("{path}{}", "9".repeat(length)), Vec::new());
            report.send(&mut keyed(gateway), &case);
        }
        let case = case("GET", "/api/status".to_owned(), Vec::new());
        let long = "y".repeat(length);
        report.send(&mut gateway.connection().with_header("x-request-id", &long), &case);
        report.send(&mut gateway.connection().with_header("x-internal-key", &long), &case);
        report.send(
            &mut gateway
                .connection()
                .with_header("x-forwarded-for", &"1.1.1.1,".repeat(length / 8)),
            &case,
        );
    }
    report
}

fn made_up(gateway: &Running, document: &Value) -> Report {
    let mut report = Report::default();
    let mut generator = Generator::new(document, 42);
    for number in 0..MADE_UP {
        let case = generator.case();
        let connection = gateway.connection().with_header("x-made-up", &number.to_string());
        let names_key = |name: &str| case.headers.iter().any(|(known, _)| known == name);
        let mut connection = case
            .headers
            .iter()
            .fold(connection, |connection, (name, value)| connection.with_header(name, value));
        if number % 2 == 0 && !names_key("x-admin-key") {
            connection = connection.with_header("x-admin-key", ADMIN_KEY);
        }
        if number % 3 == 0 && !names_key("x-internal-key") {
            connection = connection.with_header("x-internal-key", KEY);
        }
        report.send(&mut connection, &case);
    }
    report
}

fn no_http(gateway: &Running) -> Report {
    let mut report = Report::default();
    for cases in [raw::at_once(), raw::unfinished(PATIENCE)] {
        report.sent += cases.len();
        report.faults.extend(raw::faults(gateway.address, &cases));
    }
    report
}
