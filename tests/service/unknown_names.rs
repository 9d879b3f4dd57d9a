//! Fields that no form has are refused wherever they are sent, with what was probably meant.

use serde_json::{Map, Value, json};

use crate::envelope::{data, refused};
use crate::support::http::Answer;
use crate::test_app::TestApp;

fn sentence(answer: &Answer) -> String {
    refused(answer, 400, "invalid_request")["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_query_and_a_body_are_refused_alike_with_a_suggestion() {
    let app = TestApp::start();
    for (path, given, meant) in [
        ("/api/products/search", "page", "page_no"),
        ("/api/products/search", "pageSize", "page_size"),
        ("/api/products/hot", "keyword", "keywords"),
        ("/api/products/smart-search", "refresh", "force_refresh"),
        ("/api/products/smart-search", "min_price", "min_sale_price"),
    ] {
        let by_query = sentence(&app.get(&format!("{path}?{given}=1")));
        let by_body = sentence(&app.post(path, &json!({given: "1"})));
        assert_eq!(by_query, by_body);
        let start = format!("{given}: is not a known field, `{meant}` is; allowed: ");
        assert!(by_query.starts_with(&start), "{by_query}");
    }
    let far = sentence(&app.get("/api/products/search?utm_source=x&keywords=usb"));
    assert!(far.starts_with("utm_source: is not a known field; allowed: "), "{far}");
    for path in [
        "/api/categories?page=2",
        "/api/categories/248625901/children?x=1",
        "/api/products/details/1?lang=EN",
        "/api/affiliate/link?url=https://www.aliexpress.com/item/1.html&link=1",
        "/api/smart-match?url=https://www.aliexpress.com/item/1.html",
    ] {
        sentence(&app.get(path));
    }
    assert_eq!(app.upstream.calls(), 0);
    data(&app.get("/health/live?probe=1"));
}

#[test]
fn what_is_given_twice_is_refused_unless_it_is_a_list() {
    let app = TestApp::start();
    let query = sentence(&app.get("/api/products/search?page_no=1&page_no=2"));
    assert!(query.starts_with("page_no: is given more than once"), "{query}");
    let body = sentence(&app.post_text("/api/products/search", r#"{"page_no": 1, "page_no": 2}"#));
    assert!(body.starts_with("page_no: is given more than once"), "{body}");
    data(&app.get("/api/products/search?category_ids=439132154&category_ids=447694628"));
}

#[test]
fn a_body_is_not_completed_by_the_query() {
    let app = TestApp::start();
    let told = sentence(&app.post("/api/products/search?page_no=2", &json!({"keywords": "usb"})));
    assert!(told.starts_with("page_no: is not a known field; allowed: no fields"), "{told}");
}

#[test]
fn all_mistakes_of_a_form_are_told_together() {
    let app = TestApp::start();
    let all = |told: &str, fields: &[&str]| {
        let told: Vec<_> = told.split("; ").filter_map(|part| part.split_once(": ")).collect();
        let named: Vec<_> =
            told.iter().map(|(field, _)| *field).filter(|field| *field != "allowed").collect();
        assert_eq!(named, fields, "{told:?}");
    };
    for (path, fields) in [
        ("/api/products/search?page=2&page_size=99&sort=x", &["page_size", "sort", "page"][..]),
        ("/api/products/hot?page_no=1&page_no=2&q=usb", &["page_no", "q"]),
        ("/api/products/smart-search?min_quality=2&lang=EN", &["min_quality", "lang"]),
        ("/api/products/details/x?currency=doge&y=1", &["product_id", "currency", "y"]),
        ("/api/categories/x/children?y=1", &["id", "y"]),
        ("/api/affiliate/link?link=https://www.aliexpress.com", &["url", "link"]),
        ("/api/smart-match?product_url=%ff&x=1", &["product_url", "x"]),
    ] {
        all(&sentence(&app.get(path)), fields);
    }
    let text = r#"{"page_size": 99, "page": 2, "page_no": 1, "page_no": 0}"#;
    let told = sentence(&app.post_text("/api/products/search?x=1", text));
    all(&told, &["page_size", "page_no", "page", "x"]);
    let told = sentence(&app.post_text("/api/affiliate/links?x=1", "[]"));
    all(&told, &["body", "x"]);
    assert_eq!(app.upstream.calls(), 0);
}

#[test]
fn a_body_of_what_reads_none_is_a_mistake() {
    let app = TestApp::start();
    let mut client = app.admin().with_header("content-type", "application/json");
    for path in [
        "/api/products/search",
        "/api/products/smart-search",
        "/api/products/hot?keywords=usb",
        "/api/products/details/1005001234567890",
        "/api/categories",
        "/api/categories/1/children",
        "/api/affiliate/link?url=https://www.aliexpress.com/item/1.html",
        "/api/smart-match?product_url=https://www.aliexpress.com/item/1.html",
        "/api/status",
        "/api/cache/stats",
        "/admin/actors",
        "/admin/audit",
        "/admin/breakers",
        "/admin/cache/keys",
        "/admin/keys",
        "/admin/live",
        "/admin/rate-limit/whitelist",
        "/admin/requests",
    ] {
        let told = sentence(&client.send("GET", path, br#"{"keywords": "usb"}"#).unwrap());
        assert!(told.starts_with("body: is not read by GET; allowed: no body"), "{path}: {told}");
    }
    let both = sentence(&client.send("GET", "/api/status?x=1", b"{}").unwrap());
    assert!(both.contains("x: ") && both.contains("body: "), "{both}");
    let head = client.send("HEAD", "/api/products/search?keywords=usb", b"{}").unwrap();
    assert_eq!((head.status, head.body.len()), (400, 0));
    assert_eq!(app.upstream.calls(), 0);
    data(&client.send("GET", "/api/status", b"").unwrap());
}

#[test]
fn a_flood_of_wrong_names_gets_a_short_answer() {
    let app = TestApp::start();
    let names = (0..6_000).map(|number| (format!("x{number}"), Value::from(0)));
    let body = Value::Object(names.collect::<Map<_, _>>()).to_string();
    assert!(body.len() > 50_000);
    let answer = app.post_text("/api/products/search", &body);
    assert!(answer.body.len() < 10_000, "{}", answer.body.len());
    assert!(sentence(&answer).ends_with("; and 5980 more mistakes"), "{}", answer.text());
    let query: Vec<_> = (0..1_000).map(|number| format!("x{number}=")).collect();
    let answer = app.get(&format!("/api/products/search?{}", query.join("&")));
    assert!(sentence(&answer).ends_with("; and 980 more mistakes"), "{}", answer.text());
    let urls: Vec<_> = (0..50).collect();
    let answer = app.post("/api/affiliate/links", &json!({"urls": urls}));
    assert!(sentence(&answer).ends_with("; and 30 more mistakes"), "{}", answer.text());
}

/// Load balancers and monitors put something behind an address to get past caches.
const LENIENT: [&str; 9] = [
    "/",
    "/docs",
    "/openapi.json",
    "/openapi-gpt.json",
    "/health",
    "/health/live",
    "/health/ready",
    "/health/detailed",
    "/metrics",
];

#[test]
fn only_health_metrics_and_documents_take_no_notice_of_what_they_do_not_know() {
    let app = TestApp::start();
    let mut admin = app.admin().with_header("content-type", "application/json");
    let document = app.get("/openapi.json").json();
    let mut strict = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let told = &methods["get"]["responses"];
        if told.is_null() || path.contains('{') {
            continue;
        }
        let is_lenient = LENIENT.contains(&path.as_str());
        assert_eq!(told["400"].is_null(), is_lenient, "{path}");
        let busted = admin.get(&format!("{path}?t=123")).unwrap();
        let with_body = admin.send("GET", path, br#"{"t": 123}"#).unwrap();
        for answer in [busted, with_body] {
            let needs_more = path == "/api/orders" || path == "/admin/simulator/faults";
            match answer.status {
                200 => assert!(is_lenient, "{path}"),
                400 => assert!(!is_lenient, "{path}"),
                status => assert!(needs_more && !is_lenient, "{path}: {status}"),
            }
        }
        strict += usize::from(!is_lenient);
    }
    assert!(strict > 15, "{strict}");
}

#[test]
fn what_has_no_form_takes_no_fields() {
    let app = TestApp::start();
    let mut admin = app.admin();
    for path in [
        "/api/status",
        "/api/cache/stats",
        "/api/monitoring/metrics",
        "/admin/actors",
        "/admin/breakers",
        "/admin/config",
        "/admin/monitoring/recent-requests",
        "/admin/monitoring/slow-requests",
        "/admin/rate-limit/status",
    ] {
        data(&admin.get(path).unwrap());
        let said = sentence(&admin.get(&format!("{path}?limit=1")).unwrap());
        assert_eq!(said, "limit: is not a known field; allowed: no fields", "{path}");
    }
    data(&app.get("/api/categories"));
    let mut admin = admin.with_header("content-type", "application/json");
    for path in [
        "/api/cache/clear",
        "/admin/cache/warm",
        "/admin/config/reload",
        "/admin/breakers/upstream/open",
        "/admin/monitoring/reset",
    ] {
        let body = json!({"dry_run": true}).to_string();
        let said = sentence(&admin.send("POST", path, body.as_bytes()).unwrap());
        assert!(said.starts_with("dry_run: is not a known field; allowed: no fields"), "{path}");
    }
    sentence(&admin.send("POST", "/api/cache/clear?all=false", b"").unwrap());
    let again = app.get("/api/categories");
    data(&again);
    assert_eq!(app.upstream.calls(), 1, "nothing was dropped");
}
