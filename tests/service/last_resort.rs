//! When every tier and the upstream have failed: a catalogue file, marked and never kept.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::support::gateway::breakwater;
use crate::support::http::Answer;
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const LINES: &str = r#"{"id": "9001", "title": "Copper kettle, one litre", "price": "19.90", "currency": "USD", "category_path": ["Home", "Kitchen"], "popularity": 90}
{"id": "9002", "title": "Copper pan, 24 cm", "price": "29.90", "currency": "EUR", "category_path": ["Home", "Kitchen"], "popularity": 80}
this line is no JSON
{"id": "9003", "title": "Tin toy train", "price": "9.90", "currency": "USD", "category_path": ["Toys"], "popularity": 70}
"#;
const SEARCH: &str = "/api/products/search?keywords=copper";
const SOON: Duration = Duration::from_secs(10);

/// A gateway with the catalogue above whose upstream fails from now on.
fn in_an_outage(settings: &[(&'static str, &str)]) -> TestApp {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("last.jsonl");
    std::fs::write(&file, LINES).unwrap();
    let mut all = vec![
        ("LAST_RESORT_CATALOG", file.to_str().unwrap()),
        ("BREAKER_FAILURES", "1000"),
        ("INTERNAL_API_KEY", "a-key-for-tests"),
    ];
    all.extend_from_slice(settings);
    // It is read once: the folder may go.
    let app = TestApp::with(&all);
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    app
}

/// Checks how an answer of the last resort is marked; `more` is what else is second best about it.
fn marked(answer: &Answer, more: &[&str]) -> Value {
    let metadata = metadata(answer);
    let degraded: Vec<_> = std::iter::once("last_resort").chain(more.iter().copied()).collect();
    assert_eq!(metadata["degraded"], json!(degraded), "{metadata}");
    assert_eq!((&metadata["cache_hit"], &metadata["cache_tier"]), (&json!(false), &json!("none")));
    assert_eq!(metadata["cache_enabled"], true);
    let status = answer.header("cache-status");
    assert_eq!(status, Some("breakwater; fwd=miss; detail=last_resort"));
    data(answer)
}

fn ids(data: &Value) -> Vec<&str> {
    let products = data["products"].as_array().unwrap().iter();
    products.map(|product| product["product_id"].as_str().unwrap()).collect()
}

#[test]
fn without_one_an_outage_is_an_error() {
    let app = TestApp::start();
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    refused(&app.get(SEARCH), 503, "upstream_unavailable");
    assert!(data(&app.get("/api/status")).get("last_resort_products").is_none());
    assert_eq!(component(&app)["detail"], "not configured");
}

fn component(app: &TestApp) -> Value {
    let health = data(&app.get("/health/detailed"));
    let mut components = health["components"].as_array().unwrap().clone().into_iter();
    components.find(|component| component["name"] == "last_resort").unwrap()
}

#[test]
fn searches_are_answered_and_marked() {
    let app = in_an_outage(&[]);
    let found = marked(&app.get(SEARCH), &[]);
    assert_eq!((ids(&found), &found["total_record_count"]), (vec!["9001", "9002"], &json!(2)));
    let kettle = &found["products"][0];
    assert_eq!((&kettle["price"], &kettle["currency"]), (&json!("19.90"), &json!("USD")));
    assert!(kettle["quality_score"].as_f64().unwrap() > 0.0);
    assert_eq!((&kettle["discount"], &kettle["affiliate_url"]), (&Value::Null, &Value::Null));
    let posted = app.post("/api/products/search", &json!({"page_size": 1, "page_no": 3}));
    assert_eq!(ids(&marked(&posted, &[])), ["9003"]);
    let hot = marked(&app.get("/api/products/hot?sort=LAST_VOLUME_ASC"), &[]);
    assert_eq!(ids(&hot), ["9003", "9002", "9001"]);
    let cheap = marked(&app.get("/api/products/search?max_sale_price=100"), &[]);
    assert_eq!(ids(&cheap), ["9001", "9003"], "no rate says how much the euros are");
    assert!(app.metric("last_resort_answers_total") >= 4.0);
}

#[test]
fn a_smart_search_asks_for_no_links() {
    let app = in_an_outage(&[]);
    let found = app.get("/api/products/smart-search?keywords=copper&force_refresh=true");
    let found = marked(&found, &["affiliate_links"]);
    let product = &found["products"][0];
    assert_eq!(product["affiliate_status"], "failed");
    assert_eq!(product["affiliate_url"], Value::Null);
    assert_eq!(app.upstream.calls_of("link.generate"), 0, "not asked: it has just failed");
    let plain = "/api/products/smart-search?keywords=copper&generate_affiliate_links=false";
    assert_eq!(ids(&marked(&app.get(plain), &[])).len(), 2);
}

#[test]
fn details_categories_and_children() {
    let app = in_an_outage(&[]);
    let one = marked(&app.get("/api/products/details/9003"), &[]);
    assert_eq!(one["product_title"], "Tin toy train");
    let some = json!({"product_ids": ["9003", "9001"]});
    let some = marked(&app.post("/api/products/details", &some), &[]);
    assert_eq!(ids(&some), ["9003", "9001"]);
    let partly = json!({"product_ids": ["404404", "9002"]});
    let partly = marked(&app.post("/api/products/details", &partly), &["upstream"]);
    assert_eq!((ids(&partly), &partly["unavailable"]), (vec!["9002"], &json!(["404404"])));
    assert_eq!(partly["missing"], json!([]), "it may well exist");
    let all = marked(&app.get("/api/categories"), &[]);
    assert_eq!(all["total_count"], 3);
    let all = all["categories"].as_array().unwrap();
    let home = all.iter().find(|one| one["category_name"] == "Home").unwrap();
    let home = home["category_id"].as_str().unwrap();
    let below = marked(&app.get(&format!("/api/categories/{home}/children")), &[]);
    assert_eq!(below["categories"][0]["category_name"], "Kitchen");
    let of_home = marked(&app.get(&format!("/api/products/search?category_ids={home}")), &[]);
    assert_eq!(ids(&of_home), ["9001", "9002"]);
}

#[test]
fn what_the_catalogue_cannot_say_stays_the_failure_it_was() {
    let app = in_an_outage(&[]);
    for path in [
        "/api/products/details/404404",
        "/api/categories/404404/children",
        "/api/products/search?keywords=submarine",
        "/api/products/search?page_no=50",
        "/api/smart-match?product_url=https://www.aliexpress.com/item/9001.html",
        "/api/affiliate/link?url=https://www.aliexpress.com/item/9001.html",
    ] {
        refused(&app.get(path), 503, "upstream_unavailable");
    }
    let live = app.post("/api/products/search/no-cache", &json!({"keywords": "copper"}));
    refused(&live, 503, "upstream_unavailable");
    let orders = "/api/orders?start_time=2025-03-01%2000:00:00&end_time=2025-03-02%2000:00:00";
    let mut keyed = app.connection().with_header("x-internal-key", "a-key-for-tests");
    refused(&keyed.get(orders).unwrap(), 503, "upstream_unavailable");
    refused(&app.get("/api/products/search?page_no=0"), 400, "invalid_request");
    assert!(app.metric("last_resort_answers_total").abs() < f64::EPSILON);
}

#[test]
fn nothing_of_it_is_kept() {
    let app = in_an_outage(&[]);
    let bulk = json!({"product_ids": ["9001"]});
    for _ in 0..3 {
        marked(&app.get(SEARCH), &[]);
        marked(&app.post("/api/products/details", &bulk), &[]);
        marked(&app.get("/api/categories"), &[]);
    }
    let stats = data(&app.get("/api/cache/stats"));
    assert_eq!(stats["cache_config"]["memory_cache_size"], 0, "{stats}");
    app.upstream.recovers();
    for path in [SEARCH, "/api/categories"] {
        wait_until("a live answer", SOON, || metadata(&app.get(path))["degraded"] == json!([]));
    }
    assert!(!ids(&data(&app.get(SEARCH))).contains(&"9001"));
    wait_until("it is not there", SOON, || app.get("/api/products/details/9001").status == 404);
    app.upstream.fails_with(&json!({"fault": "reset"}));
    assert_eq!(metadata(&app.get(SEARCH))["cache_tier"], "memory", "tiers come first");
}

#[test]
fn any_way_of_failing_behind_us_counts() {
    let rows: [(_, &[&str]); 5] = [
        (json!({"fault": "reset"}), &[]),
        (json!({"fault": "garbage"}), &[]),
        (json!({"fault": "hang"}), &[]),
        (json!({"fault": "throttle"}), &[]),
        (json!({"fault": "error", "code": "InvalidAppKey"}), &["upstream_configuration"]),
    ];
    for (fault, more) in rows {
        let app = in_an_outage(&[("UPSTREAM_TIMEOUT_MS", "100"), ("BREAKER_FAILURES", "1")]);
        app.upstream.fails_with(&fault);
        for _ in 0..2 {
            marked(&app.get(SEARCH), more);
        }
    }
}

#[test]
fn what_else_is_true_is_said_too() {
    let app = in_an_outage(&[("ENABLE_DATA_VALIDATION", "off")]);
    marked(&app.get(SEARCH), &["validation"]);
    let app = in_an_outage(&[("ENABLE_ENHANCED_CACHING", "off")]);
    let answer = app.get(SEARCH);
    let said = metadata(&answer);
    assert_eq!(
        (&said["degraded"], &said["cache_enabled"]),
        (&json!(["last_resort"]), &json!(false))
    );
    assert_eq!(answer.header("cache-status"), Some("breakwater; fwd=bypass; detail=last_resort"));
}

#[test]
fn it_is_told_that_there_is_one_and_which_lines_were_bad() {
    let app = in_an_outage(&[]);
    assert_eq!(data(&app.get("/api/status"))["last_resort_products"], 3);
    let detail = component(&app)["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("3 products of ") && detail.ends_with("last.jsonl"), "{detail}");
    let log = app.log();
    let skipped = log.lines().find(|line| line.contains("catalogue line skipped")).unwrap();
    assert!(skipped.contains("\"line\":3") && skipped.contains("not_json"), "{skipped}");
}

#[test]
fn a_broken_catalogue_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.jsonl");
    std::fs::write(&file, "\n{\"title\": \"no id\"}\n").unwrap();
    let complaint = refused_start(folder.path(), &file);
    assert!(complaint.contains("line 2: id_missing"), "{complaint}");
    let complaint = refused_start(folder.path(), &folder.path().join("absent.jsonl"));
    assert!(complaint.contains("absent.jsonl cannot be read"), "{complaint}");
}

/// What a gateway says that is told to use `file`; it must not start.
fn refused_start(folder: &Path, file: &Path) -> String {
    let mut command = breakwater(folder);
    command.arg("serve").env("API_PORT", "0").env("LAST_RESORT_CATALOG", file);
    let output = command.output().expect("it runs");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), b"".as_slice()));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("LAST_RESORT_CATALOG = "), "{complaint}");
    complaint
}
