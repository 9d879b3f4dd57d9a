//! Request ids, trace context, `HEAD`, and the headers of every kind of answer.

use serde_json::json;

use crate::envelope::{check_headers, data, metadata};
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";

#[test]
fn a_request_id_comes_back_or_is_made() {
    let app = TestApp::start();
    let with = |name, value: &str| {
        let answer = app.connection().with_header(name, value).get(SEARCH).unwrap();
        metadata(&answer)["request_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(with("x-request-id", "shop-7.42"), "shop-7.42");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(with("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")), trace);
    for bad in ["has blanks in it", "quote\"s", &"x".repeat(200), "back\\slash"] {
        let id = with("x-request-id", bad);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
    assert_ne!(with("x-other", "1"), with("x-other", "1"));
    for bad in ["00-0-0-0", "nonsense", &format!("ff-{trace}-00f067aa0ba902b7-01")] {
        assert_ne!(with("traceparent", bad), trace);
    }
}

#[test]
fn every_kind_of_answer_carries_the_same_headers() {
    let app = TestApp::start();
    app.upstream.faults(&json!([
        {"method": "aliexpress.affiliate.category.get", "fault": "status", "status": 503}]));
    let send = |method, path| app.connection().send(method, path, b"").unwrap();
    for (method, path, status) in [
        ("GET", SEARCH, 200),
        ("GET", "/metrics", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/health/live", 200),
        ("GET", "/nothing", 404),
        ("DELETE", SEARCH, 405),
        ("GET", "/api/products/search?page_no=0", 400),
        ("GET", "/admin/actors", 403),
        ("GET", "/api/orders", 401),
        ("POST", "/api/affiliate/links", 400),
        ("GET", "/api/categories", 503),
    ] {
        let answer = send(method, path);
        assert_eq!(answer.status, status, "{method} {path}");
        check_headers(&answer);
        assert!(answer.header("date").is_some());
        assert_eq!(answer.header("server"), None);
    }
}

#[test]
fn head_is_get_without_a_body() {
    let app = TestApp::start();
    for path in [SEARCH, "/api/categories", "/health/live", "/metrics", "/docs", "/nothing"] {
        app.get(path);
        let (head, get) = (app.connection().send("HEAD", path, b"").unwrap(), app.get(path));
        assert_eq!(head.status, get.status, "{path}");
        check_headers(&head);
        for name in ["content-type", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
        assert!(head.body.is_empty());
    }
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let app = TestApp::start();
    let mut connection = app.connection();
    for path in [SEARCH, "/nothing", "/api/products/search?page_no=0", SEARCH, "/health"] {
        let answer = connection.get(path).unwrap();
        assert_ne!(answer.header("connection"), Some("close"), "{path}");
    }
    data(&connection.get(SEARCH).unwrap());
}
