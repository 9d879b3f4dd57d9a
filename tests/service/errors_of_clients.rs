//! Every refusal that is the client's doing, each provoked once, its body in a snapshot.

use serde_json::json;

use crate::envelope::{data, refused};
use crate::snapshot::assert_refusal;
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search";

#[test]
fn invalid_request_names_every_field() {
    let app = TestApp::start();
    let query = "page_no=0&page_size=51&sort=CHEAPEST&currency=XYZ&min_sale_price=9&max_sale_price=1&keywords=a%00b";
    let answer = app.get(&format!("{SEARCH}?{query}"));
    let body = refused(&answer, 400, "invalid_request");
    let sentence = body["error"].as_str().unwrap();
    for field in ["page_no", "page_size", "sort", "currency", "min_sale_price", "keywords"] {
        assert!(sentence.contains(field), "{field} is not named: {sentence}");
    }
    assert_refusal!("invalid_request_fields", answer);
    assert_eq!(app.upstream.calls(), 0);
}

#[test]
fn invalid_request_of_every_kind() {
    let app = TestApp::start();
    let post = |body: &str| app.post_text(SEARCH, body);
    assert_refusal!("invalid_request_json", post(r#"{"keywords": "#));
    assert_refusal!("invalid_request_not_an_object", post("[1, 2]"));
    assert_refusal!("invalid_request_unknown_fields", post(r#"{"keyword": "usb", "limit": 3}"#));
    assert_refusal!("invalid_request_types", post(r#"{"keywords": ["a"], "page_no": {}}"#));
    assert_refusal!("invalid_request_query", app.get(&format!("{SEARCH}?page_size=many")));
    assert_refusal!("invalid_request_nul", app.get(&format!("{SEARCH}?keywords=a%00b")));
    let not_utf8 = app.get(&format!("{SEARCH}?keywords=usb%ff%fe"));
    assert_refusal!("invalid_request_not_utf8", not_utf8);
    let mut connection = app.connection().with_header("content-type", "application/json");
    let not_utf8 = connection.send("POST", SEARCH, b"{\"keywords\": \"\xff\"}").unwrap();
    assert_refusal!("invalid_request_not_utf8_json", not_utf8);
    assert_eq!(app.upstream.calls(), 0);
}

#[test]
fn invalid_request_at_every_other_endpoint() {
    let app = TestApp::start();
    let get = |path: &str| app.get(path);
    assert_refusal!("invalid_id", get("/api/products/details/12a"));
    assert_refusal!("invalid_category", get("/api/categories/x/children"));
    assert_refusal!("invalid_link", get("/api/affiliate/link?url=ftp://a.test/1"));
    assert_refusal!("invalid_link_missing", get("/api/affiliate/link"));
    assert_refusal!("invalid_match", get("/api/smart-match?product_url=https://a.test/"));
    let smart = "/api/products/smart-search?min_quality=2&generate_affiliate_links=perhaps";
    assert_refusal!("invalid_smart_search", get(smart));
    let ids: Vec<u64> = (1..=21).collect();
    let many = app.post("/api/products/details", &json!({"product_ids": ids}));
    assert_refusal!("invalid_details_too_many", many);
    let none = app.post("/api/products/details", &json!({}));
    assert_refusal!("invalid_details_none", none);
    let urls = vec!["https://www.aliexpress.com/item/1.html"; 51];
    let many = app.post("/api/affiliate/links", &json!({"urls": urls}));
    assert_refusal!("invalid_links_too_many", many);
    let wrong = json!({"urls": ["https://www.aliexpress.com/item/1.html", "x", 7]});
    assert_refusal!("invalid_links", app.post("/api/affiliate/links", &wrong));
    assert_eq!(app.upstream.calls(), 0);
}

#[test]
fn not_found() {
    let app = TestApp::start();
    assert_refusal!("not_found_path", app.get("/api/nothing/here"));
    assert_refusal!("not_found_product", app.get("/api/products/details/999999999999999999"));
    assert_refusal!("not_found_category", app.get("/api/categories/999999999/children"));
    // The fault endpoints exist only where they were asked for.
    let chaos = app.admin().post("/admin/chaos/actors/cache/panic").unwrap();
    refused(&chaos, 404, "not_found");
}

#[test]
fn method_not_allowed_says_what_is() {
    let app = TestApp::start();
    let send = |method, path| app.connection().send(method, path, b"").unwrap();
    assert_refusal!("method_not_allowed", send("DELETE", SEARCH));
    for (method, path, allow) in [
        ("PUT", SEARCH, "GET, HEAD, POST"),
        ("GET", "/api/products/search/no-cache", "POST"),
        ("GET", "/api/affiliate/links", "POST"),
        ("POST", "/api/categories", "GET, HEAD"),
        ("PATCH", "/health/live", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("GET", "/api/cache/clear", "POST"),
        ("BREW", "/api/status", "GET, HEAD"),
    ] {
        let answer = send(method, path);
        refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn body_too_large() {
    let app = TestApp::start();
    let body = format!(r#"{{"keywords": "{}"}}"#, "a".repeat(64 * 1024));
    assert_refusal!("body_too_large", app.post_text(SEARCH, &body));
}

#[test]
fn unsupported_media_type() {
    let app = TestApp::start();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let mut connection = app.connection().with_header("content-type", kind);
        let answer = connection.send("POST", SEARCH, b"{}").unwrap();
        refused(&answer, 415, "unsupported_media_type");
    }
    for coding in ["gzip", "br", "identity, gzip"] {
        let mut connection = app.connection().with_header("content-type", "application/json");
        connection = connection.with_header("content-encoding", coding);
        let answer = connection.send("POST", SEARCH, b"{\"keywords\":\"usb\"}").unwrap();
        let error = refused(&answer, 415, "unsupported_media_type");
        assert!(error["error"].as_str().unwrap().starts_with("Content-Encoding"), "{error}");
    }
    for named in ["identity", "UTF-8"] {
        let mut connection = app.connection().with_header("content-type", "application/json");
        connection = connection.with_header("content-encoding", named);
        assert_eq!(connection.send("POST", SEARCH, b"{}").unwrap().status, 200, "{named}");
    }
    let answer = app.connection().send("POST", SEARCH, b"keywords=usb").unwrap();
    assert_refusal!("unsupported_media_type", answer);
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.a+json"] {
        let mut connection = app.connection().with_header("content-type", kind);
        data(&connection.send("POST", SEARCH, b"{}").unwrap());
    }
}
