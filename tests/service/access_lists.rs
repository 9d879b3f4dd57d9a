//! The lists: who is turned away, who is let past the limits, and what beats what.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::snapshot::assert_refusal;
use crate::stand::Stand;
use crate::support::http::{Answer, Connection};
use crate::support::process::wait_until;

const ALLOW: &str = "/admin/rate-limit/whitelist";
const DENY: &str = "/admin/rate-limit/blacklist";
const SEARCH: &str = "/api/products/search?keywords=usb";
const KEY: &str = "a-client-key-for-tests";
const ORDERS: &str = "/api/orders?start_time=2025-03-01%2000:00:00&end_time=2025-03-02%2000:00:00";

fn stand() -> Stand {
    Stand::with(&[
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", "2"),
        ("RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE", "2"),
        ("MAX_REQUESTS_PER_SECOND", "0"),
        ("MAX_REQUESTS_PER_MINUTE", "0"),
        ("INTERNAL_API_KEY", KEY),
    ])
}

fn admin(stand: &Stand, method: &str, path: &str, body: &Value) -> Answer {
    let mut connection = stand.admin().with_header("content-type", "application/json");
    connection.send(method, path, body.to_string().as_bytes()).unwrap()
}

fn put(stand: &Stand, list: &str, identifier: &str) -> Value {
    let form = json!({"identifier": identifier, "reason": "a test"});
    let made = data(&admin(stand, "POST", list, &form));
    assert_eq!(made["entry"]["reason"], "a test");
    made["entry"].clone()
}

fn remove(stand: &Stand, list: &str, identifier: &str) {
    data(&admin(stand, "DELETE", list, &json!({"identifier": identifier})));
}

fn from(stand: &Stand, address: &str, path: &str) -> Answer {
    stand.connection().with_header("x-forwarded-for", address).get(path).unwrap()
}

fn status(stand: &Stand, address: &str) -> u16 {
    from(stand, address, "/api/status").status
}

#[test]
fn who_is_denied_is_turned_away_whatever_he_has() {
    let stand = stand();
    put(&stand, DENY, "203.0.113.0/24");
    put(&stand, ALLOW, "203.0.113.7");
    put(&stand, ALLOW, "internal");
    assert_refusal!("blocked", from(&stand, "203.0.113.7", SEARCH));
    for path in ["/api/status", "/metrics", "/openapi.json", "/docs", "/nothing/there"] {
        refused(&from(&stand, "203.0.113.7", path), 403, "blocked");
    }
    let mut keyed = stand.connection().with_header("x-forwarded-for", "203.0.113.7");
    keyed = keyed.with_header("x-internal-key", KEY);
    refused(&keyed.get(SEARCH).unwrap(), 403, "blocked");
    refused(&from(&stand, "::ffff:203.0.113.9", SEARCH), 403, "blocked");
    for path in ["/health", "/health/live", "/health/ready", "/health/detailed"] {
        assert_eq!(from(&stand, "203.0.113.7", path).status, 200, "{path}");
    }
    data(&from(&stand, "203.0.114.7", SEARCH));
    assert!(stand.metric("access_blocked_total{by=\"address\"}") >= 8.0);
    remove(&stand, DENY, "203.0.113.0/24");
    data(&from(&stand, "203.0.113.7", SEARCH));
}

/// A request of who is behind the proxy, with a header of his own that the proxy passes on.
fn hidden(stand: &Stand, address: &str, forged: &str) -> Connection {
    let connection = stand.connection().with_header("forwarded", forged);
    connection.with_header("x-forwarded-for", address)
}

const FORGED: [&str; 6] =
    ["for=x", "for=unknown", "for=198.51.100.1", "for=127.0.0.1", "\"", "for=1;for=2, ,"];

#[test]
fn a_header_that_the_proxy_passes_on_hides_nobody() {
    let stand = stand();
    put(&stand, DENY, "203.0.113.7");
    for forged in FORGED {
        let answer = hidden(&stand, "203.0.113.7", forged).get("/api/status").unwrap();
        refused(&answer, 403, "blocked");
        data(&hidden(&stand, "203.0.113.8", forged).get("/api/status").unwrap());
    }
    // Several lines, the proxy's own last.
    let mut lines = stand.connection().with_header("x-forwarded-for", "198.51.100.1");
    lines = lines.with_header("forwarded", "for=198.51.100.1").with_header("forwarded", "for=x");
    lines = lines.with_header("x-forwarded-for", "203.0.113.7");
    refused(&lines.get("/api/status").unwrap(), 403, "blocked");
    // Whoever names one who is denied is taken at his word.
    let answer = hidden(&stand, "203.0.113.8", "for=203.0.113.7").get("/api/status").unwrap();
    refused(&answer, 403, "blocked");
    let log = stand.log();
    let lines = log.matches("forwarding headers do not tell who the client is").count();
    assert!((1..=2).contains(&lines), "a line a minute of each worker: {lines}");
}

#[test]
fn a_proxy_on_the_allow_list_allows_nobody_who_hides_behind_it() {
    let stand = stand();
    put(&stand, ALLOW, "127.0.0.0/8");
    let bound = json!({"label": "at home only", "addresses": ["127.0.0.0/8"]});
    let made = data(&admin(&stand, "POST", "/admin/keys", &bound));
    let secret = made["secret"].as_str().unwrap();
    for _ in 0..5 {
        data(&stand.get(SEARCH));
    }
    let mut statuses = Vec::new();
    for forged in FORGED {
        let mut connection = hidden(&stand, "203.0.113.7", forged);
        statuses.push(connection.get(SEARCH).unwrap().status);
        let mut keyed = hidden(&stand, "203.0.113.7", forged).with_header("x-internal-key", secret);
        refused(&keyed.get(ORDERS).unwrap(), 401, "key_required");
    }
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429], "two a minute, all in one bucket");
    put(&stand, ALLOW, "internal");
    let mut keyed = hidden(&stand, "203.0.113.7", "for=x").with_header("x-internal-key", KEY);
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
        let stand = Stand::with(&[
            ("TRUSTED_PROXIES", "127.0.0.1"),
            ("CLIENT_ADDRESS_HEADER", set),
            ("RATE_LIMIT_ENABLED", "true"),
            ("RATE_LIMIT_SEARCH_PER_MINUTE", "6"),
        ]);
        put(&stand, DENY, "203.0.113.7");
        let ask = |address: &str, forged: &str| {
            let written = format!("{}{address}", its.1);
            let connection = stand.connection().with_header(its.0, &written);
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
    let stand = stand();
    let made = data(&admin(&stand, "POST", "/admin/keys", &json!({"label": "bad"})));
    let (id, secret) = (made["key"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let with = |key: &str| {
        stand.connection().with_header("x-internal-key", key).get("/api/status").unwrap()
    };
    data(&with(secret));
    put(&stand, DENY, id);
    refused(&with(secret), 403, "blocked");
    data(&stand.get("/api/status"));
    // Whoever has only the id learns nothing.
    data(&with(&format!("bw_{id}_{}", "0".repeat(48))));
    put(&stand, DENY, "internal");
    refused(&with(KEY), 403, "blocked");
    assert!((stand.metric("access_blocked_total{by=\"key\"}") - 2.0).abs() < 0.1);
}

#[test]
fn who_is_allowed_has_no_limits() {
    let stand = stand();
    put(&stand, ALLOW, "198.51.100.0/24");
    put(&stand, ALLOW, "2001:db8:1::/48");
    put(&stand, ALLOW, "internal");
    for address in ["198.51.100.7", "2001:db8:1:2::3"] {
        for _ in 0..10 {
            let answer = from(&stand, address, SEARCH);
            data(&answer);
            assert_eq!(answer.header("x-ratelimit-limit"), None, "no limit, nothing to tell");
        }
    }
    for _ in 0..10 {
        data(&stand.connection().with_header("x-internal-key", KEY).get(SEARCH).unwrap());
    }
    for address in ["198.51.101.7", "2001:db8:2::1"] {
        for status in [200, 200, 429] {
            assert_eq!(from(&stand, address, SEARCH).status, status, "{address}");
        }
    }
    remove(&stand, ALLOW, "198.51.100.0/24");
    for status in [200, 200, 429] {
        assert_eq!(from(&stand, "198.51.100.7", SEARCH).status, status, "counted from now on");
    }
}

#[test]
fn an_admin_who_denied_himself_can_take_it_back() {
    let stand = stand();
    for everybody in ["0.0.0.0/0", "::/0"] {
        put(&stand, DENY, everybody);
    }
    refused(&stand.get("/api/status"), 403, "blocked");
    data(&stand.admin().get("/admin/rate-limit/status").unwrap());
    refused(&stand.get("/admin/rate-limit/status"), 403, "forbidden");
    remove(&stand, DENY, "0.0.0.0/0");
    data(&stand.get("/api/status"));
}

#[test]
fn entries_end_when_they_say() {
    let stand = stand();
    let end = breakwater::clock::now().as_millis() + 1_200;
    let end = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(end) * 1_000_000).unwrap();
    let end = end.format(&time::format_description::well_known::Rfc3339).unwrap();
    let form = json!({"identifier": "203.0.113.7", "expires_at": end});
    data(&admin(&stand, "POST", DENY, &form));
    put(&stand, DENY, "203.0.113.8");
    assert_eq!((status(&stand, "203.0.113.7"), status(&stand, "203.0.113.8")), (403, 403));
    wait_until("it ends", Duration::from_secs(5), || status(&stand, "203.0.113.7") == 200);
    assert_eq!(status(&stand, "203.0.113.8"), 403);
    let size = || stand.metric("rate_limit_blacklist_size");
    wait_until("it is gone", Duration::from_secs(5), || (size() - 1.0).abs() < 0.1);
    let list = data(&stand.admin().get(DENY).unwrap());
    assert_eq!(list["entries"].as_array().unwrap().len(), 1);
}

#[test]
fn lists_are_shown_counted_and_paged() {
    let stand = stand();
    for number in 0..7 {
        put(&stand, DENY, &format!("203.0.113.{number}"));
    }
    put(&stand, DENY, "203.0.113.3/32");
    put(&stand, DENY, "::ffff:203.0.113.4");
    put(&stand, ALLOW, "10.0.0.0/8");
    let told = data(&stand.admin().get("/admin/rate-limit/status").unwrap());
    assert_eq!((&told["blacklist"]["size"], &told["whitelist"]["size"]), (&json!(7), &json!(1)));
    let entry = &told["whitelist"]["entries"][0];
    assert_eq!((&entry["identifier"], &entry["reason"]), (&json!("10.0.0.0/8"), &json!("a test")));
    assert!(told["classes"].is_object(), "{told}");
    assert!((stand.metric("rate_limit_blacklist_size") - 7.0).abs() < 0.1);
    assert!((stand.metric("rate_limit_whitelist_size") - 1.0).abs() < 0.1);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = data(&stand.admin().get(&format!("{DENY}?limit=3{after}")).unwrap());
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
    let stand = stand();
    put(&stand, DENY, "203.0.113.0/24");
    put(&stand, DENY, "203.0.114.0/24");
    put(&stand, ALLOW, "198.51.100.7");
    remove(&stand, DENY, "203.0.114.0/24");
    let stand = stand.restart();
    assert_eq!((status(&stand, "203.0.113.7"), status(&stand, "203.0.114.7")), (403, 200));
    for _ in 0..5 {
        data(&from(&stand, "198.51.100.7", SEARCH));
    }
}

#[test]
fn bad_forms_name_the_field_and_what_is_allowed_and_do_nothing() {
    let stand = stand();
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
            let error = refused(&admin(&stand, "POST", list, &body), 400, "invalid_request");
            let sentence = error["error"].as_str().unwrap();
            assert!(sentence.contains(&format!("{field}: ")), "{body}: {sentence}");
            assert!(sentence.contains("allowed: "), "{body}: {sentence}");
        }
    }
    for query in ["?limit=0", "?limit=1001", "?after=x"] {
        let answer = stand.admin().get(&format!("{DENY}{query}")).unwrap();
        refused(&answer, 400, "invalid_request");
    }
    refused(&admin(&stand, "DELETE", DENY, &json!({"identifier": "10.0.0.1"})), 404, "not_found");
    let by_query = stand.admin().send("DELETE", &format!("{DENY}?identifier=x"), b"").unwrap();
    refused(&by_query, 400, "invalid_request");
    for list in [ALLOW, DENY] {
        assert_eq!(data(&stand.admin().get(list).unwrap())["size"], 0);
        refused(&stand.post(list, &json!({"identifier": "10.0.0.1"})), 403, "forbidden");
    }
}
