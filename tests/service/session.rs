//! The session of the admin's page: a key becomes a cookie, and what a cookie may not do.

use serde_json::{Value, json};

use crate::envelope::{check_headers, data, refused};
use crate::support::gateway::ADMIN_KEY;
use crate::support::http::{Answer, Connection};
use crate::test_app::TestApp;

const READONLY: &str = "may-look-and-not-touch";
const OPEN: &str = "/admin/breakers/upstream/open";

fn app() -> TestApp {
    TestApp::with(&[("ADMIN_READONLY_KEY", READONLY)])
}

fn log_in(app: &TestApp, key: &str) -> Answer {
    app.post("/admin/session", &json!({"key": key}))
}

/// What a browser sends back.
fn cookie_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 204, "{}", answer.text());
    let set = answer.header("set-cookie").unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn with(app: &TestApp, cookie: &str) -> Connection {
    app.connection().with_header("cookie", cookie)
}

fn from_page(app: &TestApp, cookie: &str) -> Connection {
    with(app, cookie).with_header("origin", &format!("http://{}", app.address()))
}

#[test]
fn a_key_becomes_a_cookie_that_opens_and_ends() {
    let app = app();
    let answer = log_in(&app, ADMIN_KEY);
    let set = answer.header("set-cookie").unwrap();
    let name = format!("breakwater_session_{}=", app.address().port());
    assert!(set.starts_with(&name), "{set}");
    for part in ["; Path=/admin;", "; HttpOnly;", "; SameSite=Strict;", "; Max-Age=43200"] {
        assert!(set.contains(part), "{part} in {set}");
    }
    assert!(!set.contains("Secure") && !set.contains(ADMIN_KEY), "{set}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.body.is_empty());
    check_headers(&answer);

    let cookie = cookie_of(&answer);
    let live = data(&with(&app, &format!("other=1; {cookie}")).get("/admin/live").unwrap());
    assert_eq!(live["access"], "full");
    data(&from_page(&app, &cookie).post(OPEN).unwrap());
    let ended = from_page(&app, &cookie).send("DELETE", "/admin/session", b"").unwrap();
    assert!(ended.header("set-cookie").unwrap().contains("=; HttpOnly;"), "{ended:?}");
    assert!(ended.status == 204 && ended.header("set-cookie").unwrap().contains("Max-Age=0"));
    refused(&with(&app, &cookie).get("/admin/live").unwrap(), 403, "forbidden");
    // Whoever has none ends nothing, and a client with the key goes on as before.
    assert_eq!(app.connection().send("DELETE", "/admin/session", b"").unwrap().status, 204);
    let audit = data(&app.admin().get("/admin/audit").unwrap()).to_string();
    assert!(audit.contains("session.begin") && audit.contains("session.end"), "{audit}");
}

#[test]
fn changes_with_a_cookie_need_the_origin_of_this_host() {
    let app = app();
    let cookie = cookie_of(&log_in(&app, ADMIN_KEY));
    let port = app.address().port();
    let foreign =
        ["http://evil.example", "null", "", "http://127.0.0.1:1", "http://127.0.0.1", "x"]
            .map(String::from);
    for origin in foreign.into_iter().chain([format!("http://127.0.0.1:{port}.evil.example")]) {
        let mut page = with(&app, &cookie).with_header("origin", &origin);
        let error = refused(&page.post(OPEN).unwrap(), 403, "forbidden");
        assert!(error.to_string().contains("Origin"), "{error}");
        refused(&page.send("DELETE", "/admin/session", b"").unwrap(), 403, "forbidden");
    }
    refused(&with(&app, &cookie).post(OPEN).unwrap(), 403, "forbidden");
    // The session is still there, and a key needs no origin.
    data(&with(&app, &cookie).get("/admin/breakers").unwrap());
    data(&app.admin().post(OPEN).unwrap());
    let mut login = app.connection().with_header("origin", "http://evil.example");
    login = login.with_header("content-type", "application/json");
    let body = json!({"key": ADMIN_KEY}).to_string();
    refused(&login.send("POST", "/admin/session", body.as_bytes()).unwrap(), 403, "forbidden");
}

#[test]
fn who_may_look_may_not_touch() {
    let app = app();
    let cookie = cookie_of(&log_in(&app, READONLY));
    let live = data(&with(&app, &cookie).get("/admin/live").unwrap());
    assert_eq!(live["access"], "read");
    data(&with(&app, &cookie).get("/admin/config").unwrap());
    let mut by_key = app.connection().with_header("x-admin-key", READONLY);
    data(&by_key.get("/admin/actors").unwrap());
    for refusal in [from_page(&app, &cookie).post(OPEN).unwrap(), by_key.post(OPEN).unwrap()] {
        let error = refused(&refusal, 403, "forbidden");
        assert!(error.to_string().contains("ADMIN_API_KEY"), "{error}");
    }
    let breakers = data(&with(&app, &cookie).get("/admin/breakers").unwrap());
    assert_eq!(breakers[0]["state"], "closed");
    let ended = from_page(&app, &cookie).send("DELETE", "/admin/session", b"").unwrap();
    assert_eq!(ended.status, 204);
    refused(&with(&app, &cookie).get("/admin/live").unwrap(), 403, "forbidden");
}

#[test]
fn what_is_no_session_in_force_is_as_no_key() {
    let app = app();
    let good = cookie_of(&log_in(&app, READONLY));
    let name = good.split('=').next().unwrap();
    let forged = [
        good.replacen("read", "full", 1),
        format!("{good}0"),
        format!("{name}="),
        format!("{name}=full.99999999999999.0.00"),
        good.replacen("breakwater_session_", "breakwater_session_1", 1),
    ];
    for cookie in forged {
        refused(&with(&app, &cookie).get("/admin/live").unwrap(), 403, "forbidden");
        // It does not stand in the way of a good one, nor of a key.
        data(&with(&app, &format!("{cookie}; {good}")).get("/admin/live").unwrap());
        data(
            &with(&app, &cookie).with_header("x-admin-key", ADMIN_KEY).get("/admin/live").unwrap(),
        );
    }
    // Nobody is taken for guessing because of it.
    assert!(app.metric("admin_auth_failures_total{reason=\"locked\"}") < 0.1);
    let app = app.restart();
    refused(&with(&app, &good).get("/admin/live").unwrap(), 403, "forbidden");
}

#[test]
fn wrong_keys_are_limited_as_in_the_header_and_bad_forms_are_named() {
    let app = app();
    for body in [json!({}), json!({"key": ""}), json!({"key": 7}), json!({"key": ["a"]})] {
        let error = refused(&app.post("/admin/session", &body), 400, "invalid_request");
        assert!(error.to_string().contains("key"), "{error}");
    }
    refused(&app.post("/admin/session", &json!({"key": "a", "more": 1})), 400, "invalid_request");
    for body in [json!({"login": ""}), json!({"login": 7}), json!({"login": "a", "key": "b"})] {
        let error = refused(&app.post("/admin/session", &body), 400, "invalid_request");
        assert!(error.to_string().contains("login"), "{error}");
    }
    for number in 0..10 {
        let error = refused(&log_in(&app, &format!("guess-{number}")), 403, "forbidden");
        assert!(error.to_string().contains("not the admin's key"), "{error}");
    }
    let locked = log_in(&app, ADMIN_KEY);
    refused(&locked, 429, "rate_limited");
    assert!(locked.header("retry-after").is_some() && locked.header("set-cookie").is_none());
    assert!((app.metric("admin_auth_failures_total{reason=\"wrong\"}") - 10.0).abs() < 0.1);
    assert!(!app.log().contains("guess-3") && !app.log().contains(ADMIN_KEY));
}

#[test]
fn without_a_key_configured_the_login_says_how_to_set_one() {
    let app = TestApp::with(&[("ADMIN_API_KEY", "")]);
    let error: Value = refused(&log_in(&app, "anything"), 403, "forbidden");
    assert!(error.to_string().contains("set ADMIN_API_KEY"), "{error}");
}

#[test]
fn behind_a_proxy_the_cookie_is_for_the_folder_of_the_page_and_secure_over_https() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]);
    let body = json!({"key": ADMIN_KEY}).to_string();
    let mut proxy = app.connection().with_header("content-type", "application/json");
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-proto", "https"),
        ("origin", "https://shop.example"),
    ] {
        proxy = proxy.with_header(name, value);
    }
    let answer = proxy.send("POST", "/admin/session", body.as_bytes()).unwrap();
    let set = answer.header("set-cookie").unwrap().to_owned();
    assert!(set.ends_with("; Secure") && !set.contains("Path"), "{set}");
    let mut page = proxy.with_header("cookie", &cookie_of(&answer));
    data(&page.post(OPEN).unwrap());
}
