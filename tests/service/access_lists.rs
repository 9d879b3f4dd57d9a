//! The lists: who is denied, who is let past the limits, and what beats what.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::snapshot::assert_refusal;
use crate::support::http::{Answer, Connection};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const ALLOW: &str = "/admin/rate-limit/whitelist";
const DENY: &str = "/admin/rate-limit/blacklist";
const SEARCH: &str = "/api/products/search?keywords=usb";
const KEY: &str = "a-client-key-for-tests";
const ORDERS: &str = "/api/orders?start_time=2025-03-01%2000:00:00&end_time=2025-03-02%2000:00:00";

fn app() -> TestApp {
    TestApp::with(&[
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", "2"),
        ("RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE", "2"),
        ("MAX_REQUESTS_PER_SECOND", "0"),
        ("MAX_REQUESTS_PER_MINUTE", "0"),
        ("INTERNAL_API_KEY", KEY),
    ])
}

fn admin(app: &TestApp, method: &str, path: &str, body: &Value) -> Answer {
    let mut connection = app.admin().with_header("content-type", "application/json");
    connection.send(method, path, body.to_string().as_bytes()).unwrap()
}

fn put(app: &TestApp, list: &str, identifier: &str) -> Value {
    let form = json!({"identifier": identifier, "reason": "a test"});
    let made = data(&admin(app, "POST", list, &form));
    assert_eq!(made["entry"]["reason"], "a test");
    made["entry"].clone()
}

fn remove(app: &TestApp, list: &str, identifier: &str) {
    data(&admin(app, "DELETE", list, &json!({"identifier": identifier})));
}

fn from(app: &TestApp, address: &str, path: &str) -> Answer {
    app.connection().with_header("x-forwarded-for", address).get(path).unwrap()
}

fn status(app: &TestApp, address: &str) -> u16 {
    from(app, address, "/api/status").status
}

#[test]
fn an_entry_for_nearly_everybody_is_told_as_unwise() {
    let app = app();
    for (list, identifier, told) in [
        (ALLOW, "0.0.0.0/0", Some("neither limits nor the watch for abuse hold")),
        (ALLOW, "::/0", Some("neither limits nor the watch for abuse hold")),
        (DENY, "2000::/3", Some("all of them are refused")),
        (ALLOW, "10.0.0.0/8", None),
        (ALLOW, "internal", None),
    ] {
        let made = data(&admin(&app, "POST", list, &json!({"identifier": identifier})));
        let caution = made["caution"].as_str();
        assert_eq!(caution.is_some(), told.is_some(), "{made}");
        assert!(caution.unwrap_or_default().contains(told.unwrap_or_default()), "{made}");
    }
    // Of a removal with a form in both places neither wins.
    let both = admin(
        &app,
        "DELETE",
        &format!("{ALLOW}?identifier=::/0"),
        &json!({"identifier": "internal"}),
    );
    let told = refused(&both, 400, "invalid_request");
    assert!(told["error"].as_str().unwrap().starts_with("identifier: "), "{told}");
    assert_eq!(data(&app.admin().get(ALLOW).unwrap())["size"], 4);
}

#[test]
fn who_is_denied_is_turned_away_whatever_he_has() {
    let app = app();
    put(&app, DENY, "203.0.113.0/24");
    put(&app, ALLOW, "203.0.113.7");
    put(&app, ALLOW, "internal");
    assert_refusal!("blocked", from(&app, "203.0.113.7", SEARCH));
    for path in ["/api/status", "/metrics", "/openapi.json", "/docs", "/nothing/there"] {
        refused(&from(&app, "203.0.113.7", path), 403, "blocked");
    }
    let mut keyed = app.connection().with_header("x-forwarded-for", "203.0.113.7");
    keyed = keyed.with_header("x-internal-key", KEY);
    refused(&keyed.get(SEARCH).unwrap(), 403, "blocked");
    refused(&from(&app, "::ffff:203.0.113.9", SEARCH), 403, "blocked");
    for path in ["/health", "/health/live", "/health/ready", "/health/detailed"] {
        assert_eq!(from(&app, "203.0.113.7", path).status, 200, "{path}");
    }
    data(&from(&app, "203.0.114.7", SEARCH));
    assert!(app.metric("access_blocked_total{by=\"address\"}") >= 8.0);
    remove(&app, DENY, "203.0.113.0/24");
    data(&from(&app, "203.0.113.7", SEARCH));
}

/// A request of who is behind the proxy, with a header of his own that the proxy passes on.
fn hidden(app: &TestApp, address: &str, forged: &str) -> Connection {
    let connection = app.connection().with_header("forwarded", forged);
    connection.with_header("x-forwarded-for", address)
}

const FORGED: [&str; 6] =
    ["for=x", "for=unknown", "for=198.51.100.1", "for=127.0.0.1", "\"", "for=1;for=2, ,"];

#[test]
fn a_header_that_the_proxy_passes_on_hides_nobody() {
    let app = app();
    put(&app, DENY, "203.0.113.7");
    for forged in FORGED {
        let answer = hidden(&app, "203.0.113.7", forged).get("/api/status").unwrap();
        refused(&answer, 403, "blocked");
        data(&hidden(&app, "203.0.113.8", forged).get("/api/status").unwrap());
    }
    // Several lines, the proxy's own last.
    let mut lines = app.connection().with_header("x-forwarded-for", "198.51.100.1");
    lines = lines.with_header("forwarded", "for=198.51.100.1").with_header("forwarded", "for=x");
    lines = lines.with_header("x-forwarded-for", "203.0.113.7");
    refused(&lines.get("/api/status").unwrap(), 403, "blocked");
    // Whoever names one who is denied is taken at his word.
    let answer = hidden(&app, "203.0.113.8", "for=203.0.113.7").get("/api/status").unwrap();
    refused(&answer, 403, "blocked");
    let log = app.log();
    let lines = log.matches("forwarding headers do not tell who the client is").count();
    assert!((1..=2).contains(&lines), "a line a minute of each worker: {lines}");
}

#[test]
fn a_proxy_on_the_allow_list_allows_nobody_who_hides_behind_it() {
    let app = app();
    put(&app, ALLOW, "127.0.0.0/8");
    let bound = json!({"label": "at home only", "addresses": ["127.0.0.0/8"]});
    let made = data(&admin(&app, "POST", "/admin/keys", &bound));
    let secret = made["secret"].as_str().unwrap();
    for _ in 0..5 {
        data(&app.get(SEARCH));
    }
    let mut statuses = Vec::new();
    for forged in FORGED {
        let mut connection = hidden(&app, "203.0.113.7", forged);
        statuses.push(connection.get(SEARCH).unwrap().status);
        let mut keyed = hidden(&app, "203.0.113.7", forged).with_header("x-internal-key", secret);
        refused(&keyed.get(ORDERS).unwrap(), 401, "key_required");
    }
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429], "two a minute, all in one bucket");
    put(&app, ALLOW, "internal");
    let mut keyed = hidden(&app, "203.0.113.7", "for=x").with_header("x-internal-key", KEY);
    for _ in 0..5 {
        data(&keyed.get(SEARCH).unwrap());
    }
}

#[test]
fn where_it_is_said_which_header_the_proxy_writes_the_other_is_air() {
    for (set, its, other) in [
        ("x-forwarded-for", ("x-forwarded-for", ""), "forwarded"),
        ("forwarded", ("forwarded", "for="), "x-forwarded-for"),
    ] {
        let app = TestApp::with(&[
            ("TRUSTED_PROXIES", "127.0.0.1"),
            ("CLIENT_ADDRESS_HEADER", set),
            ("RATE_LIMIT_ENABLED", "true"),
            ("RATE_LIMIT_SEARCH_PER_MINUTE", "6"),
        ]);
        put(&app, DENY, "203.0.113.7");
        let ask = |address: &str, forged: &str| {
            let written = format!("{}{address}", its.1);
            let connection = app.connection().with_header(its.0, &written);
            connection.with_header(other, forged).get(SEARCH).unwrap()
        };
        for (left, forged) in
            ["for=x", "rubbish", "for=203.0.113.7", "203.0.113.7", "127.0.0.1"].iter().enumerate()
        {
            refused(&ask("203.0.113.7", forged), 403, "blocked");
            let answer = ask("203.0.113.8", forged);
            data(&answer);
            let left = (5 - left).to_string();
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.as_str()), "{forged}");
        }
    }
}

#[test]
fn who_holds_a_denied_key_is_turned_away_from_everywhere() {
    let app = app();
    let made = data(&admin(&app, "POST", "/admin/keys", &json!({"label": "bad"})));
    let (id, secret) = (made["key"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let with =
        |key: &str| app.connection().with_header("x-internal-key", key).get("/api/status").unwrap();
    data(&with(secret));
    put(&app, DENY, id);
    refused(&with(secret), 403, "blocked");
    data(&app.get("/api/status"));
    // Whoever has only the id learns nothing.
    data(&with(&format!("bw_{id}_{}", "0".repeat(48))));
    put(&app, DENY, "internal");
    refused(&with(KEY), 403, "blocked");
    assert!((app.metric("access_blocked_total{by=\"key\"}") - 2.0).abs() < 0.1);
}

#[test]
fn who_is_allowed_has_no_limits() {
    let app = app();
    put(&app, ALLOW, "198.51.100.0/24");
    put(&app, ALLOW, "2001:db8:1::/48");
    put(&app, ALLOW, "internal");
    for address in ["198.51.100.7", "2001:db8:1:2::3"] {
        for _ in 0..10 {
            let answer = from(&app, address, SEARCH);
            data(&answer);
            assert_eq!(answer.header("x-ratelimit-limit"), None, "no limit, nothing to tell");
        }
    }
    for _ in 0..10 {
        data(&app.connection().with_header("x-internal-key", KEY).get(SEARCH).unwrap());
    }
    for address in ["198.51.101.7", "2001:db8:2::1"] {
        for status in [200, 200, 429] {
            assert_eq!(from(&app, address, SEARCH).status, status, "{address}");
        }
    }
    remove(&app, ALLOW, "198.51.100.0/24");
    for status in [200, 200, 429] {
        assert_eq!(from(&app, "198.51.100.7", SEARCH).status, status, "counted from now on");
    }
}

#[test]
fn an_admin_who_denied_himself_can_take_it_back() {
    let app = app();
    for everybody in ["0.0.0.0/0", "::/0"] {
        put(&app, DENY, everybody);
    }
    refused(&app.get("/api/status"), 403, "blocked");
    data(&app.admin().get("/admin/rate-limit/status").unwrap());
    refused(&app.get("/admin/rate-limit/status"), 403, "forbidden");
    remove(&app, DENY, "0.0.0.0/0");
    data(&app.get("/api/status"));
}

#[test]
fn entries_end_when_they_say() {
    let app = app();
    let end = breakwater::clock::now().as_millis() + 1_200;
    let end = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(end) * 1_000_000).unwrap();
    let end = end.format(&time::format_description::well_known::Rfc3339).unwrap();
    let form = json!({"identifier": "203.0.113.7", "expires_at": end});
    data(&admin(&app, "POST", DENY, &form));
    put(&app, DENY, "203.0.113.8");
    assert_eq!((status(&app, "203.0.113.7"), status(&app, "203.0.113.8")), (403, 403));
    wait_until("it ends", Duration::from_secs(5), || status(&app, "203.0.113.7") == 200);
    assert_eq!(status(&app, "203.0.113.8"), 403);
    let size = || app.metric("rate_limit_blacklist_size");
    wait_until("it is gone", Duration::from_secs(5), || (size() - 1.0).abs() < 0.1);
    let list = data(&app.admin().get(DENY).unwrap());
    assert_eq!(list["entries"].as_array().unwrap().len(), 1);
}

#[test]
fn lists_are_shown_counted_and_paged() {
    let app = app();
    for number in 0..7 {
        put(&app, DENY, &format!("203.0.113.{number}"));
    }
    put(&app, DENY, "203.0.113.3/32");
    put(&app, DENY, "::ffff:203.0.113.4");
    put(&app, ALLOW, "10.0.0.0/8");
    let told = data(&app.admin().get("/admin/rate-limit/status").unwrap());
    assert_eq!((&told["blacklist"]["size"], &told["whitelist"]["size"]), (&json!(7), &json!(1)));
    let entry = &told["whitelist"]["entries"][0];
    assert_eq!((&entry["identifier"], &entry["reason"]), (&json!("10.0.0.0/8"), &json!("a test")));
    assert!(told["entries"].is_u64(), "{told}");
    assert!((app.metric("rate_limit_blacklist_size") - 7.0).abs() < 0.1);
    assert!((app.metric("rate_limit_whitelist_size") - 1.0).abs() < 0.1);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = data(&app.admin().get(&format!("{DENY}?limit=3{after}")).unwrap());
        let entries = page["entries"].as_array().unwrap();
        seen.extend(entries.iter().map(|entry| entry["identifier"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let expected: Vec<_> = (0..7).map(|number| format!("203.0.113.{number}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_restart_keeps_the_lists() {
    let app = app();
    put(&app, DENY, "203.0.113.0/24");
    put(&app, DENY, "203.0.114.0/24");
    put(&app, ALLOW, "198.51.100.7");
    remove(&app, DENY, "203.0.114.0/24");
    let app = app.restart();
    assert_eq!((status(&app, "203.0.113.7"), status(&app, "203.0.114.7")), (403, 200));
    for _ in 0..5 {
        data(&from(&app, "198.51.100.7", SEARCH));
    }
}

#[test]
fn bad_forms_name_the_field_and_what_is_allowed_and_do_nothing() {
    let app = app();
    let long = "x".repeat(300);
    for (body, field) in [
        (json!({}), "identifier"),
        (json!({"identifier": ""}), "identifier"),
        (json!({"identifier": "nobody"}), "identifier"),
        (json!({"identifier": "10.0.0.1/8"}), "identifier"),
        (json!({"identifier": "10.0.0.0/33"}), "identifier"),
        (json!({"identifier": "1.2.3"}), "identifier"),
        (json!({"identifier": ["10.0.0.1"]}), "identifier"),
        (json!({"identifier": long}), "identifier"),
        (json!({"identifier": "10.0.0.1", "reason": long}), "reason"),
        (json!({"identifier": "10.0.0.1", "reason": "a\u{0}"}), "reason"),
        (json!({"identifier": "10.0.0.1", "expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        (json!({"identifier": "10.0.0.1", "expires_at": 1}), "expires_at"),
        (json!({"identifier": "10.0.0.1", "until": "x"}), "until"),
    ] {
        for list in [ALLOW, DENY] {
            let error = refused(&admin(&app, "POST", list, &body), 400, "invalid_request");
            let sentence = error["error"].as_str().unwrap();
            assert!(sentence.contains(&format!("{field}: ")), "{body}: {sentence}");
            assert!(sentence.contains("allowed: "), "{body}: {sentence}");
        }
    }
    for query in ["?limit=0", "?limit=1001", "?after=x"] {
        let answer = app.admin().get(&format!("{DENY}{query}")).unwrap();
        refused(&answer, 400, "invalid_request");
    }
    refused(&admin(&app, "DELETE", DENY, &json!({"identifier": "10.0.0.1"})), 404, "not_found");
    let by_query = app.admin().send("DELETE", &format!("{DENY}?identifier=x"), b"").unwrap();
    refused(&by_query, 400, "invalid_request");
    for list in [ALLOW, DENY] {
        assert_eq!(data(&app.admin().get(list).unwrap())["size"], 0);
        refused(&app.post(list, &json!({"identifier": "10.0.0.1"})), 403, "forbidden");
    }
}
