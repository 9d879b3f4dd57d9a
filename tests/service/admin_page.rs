//! The operator's page: open, small, kept by browsers, and shut tight; and the faults of the simulator
//! inside, which it can ask for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::envelope::{check_headers, data, refused};
use crate::support::gateway::{ADMIN_KEY, Plan};
use crate::support::http::Connection;
use crate::support::process::wait_until;
use crate::test_app::TestApp;

/// The files that the page and its scripts name, and the page.
fn files(app: &TestApp) -> BTreeSet<String> {
    let mut files = BTreeSet::from(["/admin".to_owned()]);
    let mut unread = vec!["/admin".to_owned()];
    while let Some(path) = unread.pop() {
        let text = app.get(&path).text();
        for part in text.split('"').filter(|part| !part.contains(char::is_whitespace)) {
            let name = part.strip_prefix("admin/assets/").or(part.strip_prefix("./"));
            let path = name.map(|name| format!("/admin/assets/{name}"));
            unread.extend(path.filter(|path| files.insert(path.clone())));
        }
    }
    files
}

#[test]
fn everybody_gets_the_page_and_its_files_even_where_keys_are_required() {
    let app = TestApp::with(&[
        ("REQUIRE_API_KEY", "true"),
        ("INTERNAL_API_KEY", "shop-key-shop-key-shop-key"),
        ("RATE_LIMIT_ENABLED", "true"),
    ]);
    let files = files(&app);
    assert!(files.len() > 8, "{files:?}");
    let mut packed = 0;
    // More files at once than a burst of the limits.
    for path in &files {
        let answer = app.connection().with_header("accept-encoding", "gzip").get(path).unwrap();
        assert_eq!(answer.status, 200, "{path}");
        check_headers(&answer);
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=0"), "{path}");
        assert_eq!(answer.header("ratelimit"), None);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            !policy.contains("unsafe-") && policy.contains("require-trusted-types-for 'script'")
        );
        packed += answer.body.len();
        let tag = answer.header("etag").unwrap();
        let known = app.connection().with_header("if-none-match", tag).get(path).unwrap();
        assert_eq!((known.status, known.body.len()), (304, 0), "{path}");
    }
    assert!(packed < 60_000, "{packed}");
    refused(&app.get("/admin/assets/nothing.js"), 404, "not_found");
    refused(&app.get("/admin/actors"), 403, "forbidden");
    assert!(app.get("/admin/assets/uplot.LICENSE").text().contains("MIT"));
}

#[test]
fn the_simulator_inside_misbehaves_as_an_admin_says() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Plan::in_folder(folder.path()).with("RETRY_MAX_ATTEMPTS", "1").start();
    let set = |rules: serde_json::Value| {
        let mut admin = gateway.admin().with_header("content-type", "application/json");
        let body = json!({"rules": rules}).to_string();
        admin.send("POST", "/admin/simulator/faults", body.as_bytes()).unwrap()
    };
    let rules = json!([{"method": "*", "fault": "status", "status": 503}]);
    assert_eq!(data(&set(rules.clone()))["rules"], rules);
    let search = "/api/products/search?keywords=lamp";
    refused(&gateway.connection().get(search).unwrap(), 503, "upstream_unavailable");
    let error = refused(&set(json!([{"fault": "sleep"}])), 400, "invalid_request");
    assert!(error["error"].as_str().unwrap().contains("sleep"), "{error}");
    refused(&set(json!(null)), 400, "invalid_request");
    assert_eq!(data(&gateway.admin().get("/admin/simulator/faults").unwrap())["rules"], rules);
    assert_eq!(data(&set(json!([])))["rules"], json!([]));
    // The failure is remembered for a while.
    let mut client = gateway.connection();
    wait_until("it heals", Duration::from_secs(10), || client.get(search).unwrap().status == 200);
    let audit = gateway.admin().get("/admin/audit").unwrap().text();
    assert!(audit.contains("simulator.faults") && audit.contains("status"), "{audit}");
    gateway.stop();
    // Where the upstream is another process, nothing is there to be told.
    let app = TestApp::start();
    refused(&app.admin().get("/admin/simulator/faults").unwrap(), 404, "not_found");
    let mut other = Connection::to(app.address()).with_header("x-admin-key", ADMIN_KEY);
    refused(&other.get("/admin/simulator/faults").unwrap(), 404, "not_found");
}
