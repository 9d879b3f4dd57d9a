//! Clients' keys: made, used, limited, revoked; and what nobody learns about them.

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::support::gateway::ADMIN_KEY;
use crate::support::http::Answer;
use crate::test_app::TestApp;

const ORDERS: &str = "/api/orders?start_time=2025-03-01%2000:00:00&end_time=2025-03-02%2000:00:00";
const SEARCH: &str = "/api/products/search?keywords=usb";

fn admin(app: &TestApp, method: &str, path: &str, body: &Value) -> Answer {
    let mut connection = app.admin().with_header("content-type", "application/json");
    connection.send(method, path, body.to_string().as_bytes()).unwrap()
}

fn make(app: &TestApp, form: &Value) -> (String, String) {
    let made = data(&admin(app, "POST", "/admin/keys", form));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

fn keys(app: &TestApp) -> Vec<Value> {
    data(&app.admin().get("/admin/keys").unwrap())["keys"].as_array().unwrap().clone()
}

fn with_key(app: &TestApp, key: &str, path: &str) -> Answer {
    app.connection().with_header("x-internal-key", key).get(path).unwrap()
}

#[test]
fn a_key_is_made_used_listed_and_revoked() {
    let app = TestApp::start();
    let (id, secret) = make(&app, &json!({"label": "the shop"}));
    assert!(secret.starts_with(&format!("bw_{id}_")) && secret.len() == 64, "{secret}");
    for _ in 0..3 {
        data(&with_key(&app, &secret, ORDERS));
        let bearer = format!("Bearer {secret}");
        data(&app.connection().with_header("authorization", &bearer).get(ORDERS).unwrap());
    }
    let listed = keys(&app);
    assert_eq!(
        (listed.len(), &listed[0]["id"], &listed[0]["label"]),
        (1, &json!(id), &json!("the shop"))
    );
    assert_eq!((&listed[0]["expired"], &listed[0]["addresses"]), (&json!(false), &json!([])));
    assert!((app.metric("api_keys") - 1.0).abs() < 0.1);
    let told = data(&admin(&app, "DELETE", "/admin/keys", &json!({"id": id})));
    assert_eq!(told["revoked"], json!(id));
    refused(&with_key(&app, &secret, ORDERS), 401, "key_required");
    assert!(keys(&app).is_empty());
    refused(&admin(&app, "DELETE", "/admin/keys", &json!({"id": id})), 404, "not_found");
}

#[test]
fn a_secret_is_shown_once_and_kept_nowhere() {
    let app = TestApp::start();
    let (id, secret) = make(&app, &json!({"label": "x"}));
    data(&with_key(&app, &secret, ORDERS));
    data(&app.admin().get("/admin/keys?limit=5").unwrap());
    let hidden = &secret[16..];
    for path in ["/admin/keys", "/admin/audit", "/admin/rate-limit/status", "/admin/config"] {
        assert!(!app.admin().get(path).unwrap().text().contains(hidden), "{path}");
    }
    assert!(!app.log().contains(hidden) && app.log().contains(&id));
    let app = app.restart();
    data(&with_key(&app, &secret, ORDERS));
    for entry in std::fs::read_dir(app.folder.path()).unwrap() {
        let file = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!file.windows(hidden.len()).any(|bytes| bytes == hidden.as_bytes()));
    }
}

#[test]
fn unknown_keys_look_the_same_and_who_shows_a_whole_one_learns_what_is_wrong_with_it() {
    let app = TestApp::with(&[("REQUIRE_API_KEY", "true"), ("INTERNAL_API_KEY", "another")]);
    let (revoked, of_revoked) = make(&app, &json!({"label": "revoked"}));
    admin(&app, "DELETE", "/admin/keys", &json!({"id": revoked}));
    let soon = breakwater::clock::now().as_millis() + 1_500;
    let soon = time_of(soon);
    let (_, expiring) = make(&app, &json!({"label": "expiring", "expires_at": soon}));
    let (_, elsewhere) =
        make(&app, &json!({"label": "elsewhere", "addresses": ["203.0.113.0/24"]}));
    let (known, good) = make(&app, &json!({"label": "good", "addresses": ["127.0.0.0/8"]}));
    data(&with_key(&app, &good, "/api/status"));
    data(&with_key(&app, &expiring, "/api/status"));
    crate::support::process::wait_until("it expires", std::time::Duration::from_secs(5), || {
        with_key(&app, &expiring, "/api/status").status == 401
    });
    let same_id = format!("bw_{known}_{}", "0".repeat(48));
    let no_id = format!("bw_{}_{}", "f".repeat(12), "0".repeat(48));
    let mut answers = Vec::new();
    for key in [&of_revoked, &same_id, &no_id, "wrong"] {
        let answer = with_key(&app, key, "/api/status");
        let mut body = refused(&answer, 401, "key_required");
        body["metadata"] = json!(null);
        let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        answers.push((body, names, answer.header("www-authenticate").map(str::to_owned)));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    for (key, sentence) in [
        ("wrong", "is not known"),
        ("", "This needs an API key"),
        (&expiring, "has expired"),
        (&elsewhere, "may not be used from the address"),
    ] {
        for path in ["/api/status", ORDERS] {
            let told = refused(&with_key(&app, key, path), 401, "key_required");
            assert!(told["error"].as_str().unwrap().contains(sentence), "{key} {path}: {told}");
        }
    }
    assert_eq!(keys(&app).iter().filter(|key| key["expired"] == true).count(), 1);
}

#[test]
fn where_no_key_is_needed_a_key_that_counts_as_none_is_told_beside_the_answer() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", "the-right-one")]);
    let (_, elsewhere) =
        make(&app, &json!({"label": "elsewhere", "addresses": ["203.0.113.0/24"]}));
    for (key, told) in [
        ("the-right-one", None),
        ("", None),
        ("wrong", Some("the key is not known")),
        (&*elsewhere, Some("the key may not be used from this address")),
    ] {
        for path in [SEARCH, "/api/status"] {
            let answer = with_key(&app, key, path);
            data(&answer);
            let said = answer.header("www-authenticate");
            assert_eq!(said.is_some(), told.is_some(), "{key} {path}: {said:?}");
            assert!(said.unwrap_or_default().contains(told.unwrap_or_default()), "{said:?}");
        }
    }
    // What a proxy in front asks for is none of ours.
    let basic = app.connection().with_header("authorization", "Basic dXNlcjpwYXNz").get(SEARCH);
    assert_eq!(basic.unwrap().header("www-authenticate"), None);
}

fn time_of(millis: i64) -> String {
    let at =
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).unwrap();
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

#[test]
fn a_key_has_its_own_limit_and_falls_back_to_nothing_else() {
    let app = TestApp::with(&[
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_SEARCH_PER_MINUTE", "2"),
        ("RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE", "5"),
    ]);
    let (_, own) = make(&app, &json!({"label": "own", "per_minute": 3}));
    let (_, usual) = make(&app, &json!({"label": "usual"}));
    for (key, limit) in [(&own, 3), (&usual, 5)] {
        for left in (0..limit).rev() {
            let answer = with_key(&app, key, SEARCH);
            data(&answer);
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
            assert_eq!(answer.header("x-ratelimit-limit"), Some(limit.to_string().as_str()));
        }
        refused(&with_key(&app, key, SEARCH), 429, "rate_limited");
    }
    // The address has its own account still; an unknown key is counted there.
    data(&with_key(&app, "wrong", SEARCH));
    data(&app.get(SEARCH));
    refused(&with_key(&app, "wrong", SEARCH), 429, "rate_limited");
}

#[test]
fn a_key_is_good_from_where_it_may_be_used_only() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]);
    let form = json!({"label": "x", "addresses": ["203.0.113.0/24", "2001:db8::/32"]});
    let (_, secret) = make(&app, &form);
    let from = |address: &str| {
        let connection = app.connection().with_header("x-forwarded-for", address);
        connection.with_header("x-internal-key", &secret).get(ORDERS).unwrap().status
    };
    for (address, status) in [
        ("203.0.113.7", 200),
        ("::ffff:203.0.113.7", 200),
        ("2001:db8::7", 200),
        ("203.0.114.7", 401),
        ("2001:db9::7", 401),
        ("nonsense", 401),
    ] {
        assert_eq!(from(address), status, "{address}");
    }
}

#[test]
fn where_keys_are_required_the_admin_can_make_the_first() {
    let app = TestApp::with(&[("REQUIRE_API_KEY", "true")]);
    refused(&app.get("/api/status"), 401, "key_required");
    let (_, secret) = make(&app, &json!({"label": "the first"}));
    data(&with_key(&app, &secret, "/api/status"));
}

#[test]
fn bad_forms_name_the_field_and_what_is_allowed_and_do_nothing() {
    let app = TestApp::start();
    for (method, body, field) in [
        ("POST", json!({}), "label"),
        ("POST", json!({"label": 7, "per_minute": 0}), "per_minute"),
        ("POST", json!({"label": "x", "per_minute": "1e99"}), "per_minute"),
        ("POST", json!({"label": "x", "addresses": ["10.0.0.1/8"]}), "addresses"),
        ("POST", json!({"label": "x", "addresses": {"a": 1}}), "addresses"),
        ("POST", json!({"label": "x", "expires_at": "2001-01-01T00:00:00Z"}), "expires_at"),
        ("POST", json!({"label": "x", "expires_at": "never"}), "expires_at"),
        ("POST", json!({"label": "x", "secret": "mine"}), "secret"),
        ("DELETE", json!({}), "id"),
        ("DELETE", json!({"id": "internal"}), "id"),
        ("DELETE", json!({"id": "../1"}), "id"),
        ("DELETE", json!({"id": ["0a1b2c3d4e5f"]}), "id"),
    ] {
        let error = refused(&admin(&app, method, "/admin/keys", &body), 400, "invalid_request");
        let sentence = error["error"].as_str().unwrap();
        assert!(sentence.contains(&format!("{field}: ")), "{body}: {sentence}");
        assert!(sentence.contains("allowed: "), "{body}: {sentence}");
    }
    for body in ["[]", "{", "null", "\u{0}", &"[".repeat(10_000)] {
        let mut connection = app.admin().with_header("content-type", "application/json");
        let answer = connection.send("POST", "/admin/keys", body.as_bytes()).unwrap();
        refused(&answer, 400, "invalid_request");
    }
    assert!(keys(&app).is_empty());
    let nobody = app.post("/admin/keys", &json!({"label": "x"}));
    refused(&nobody, 403, "forbidden");
    assert!(!app.log().contains(ADMIN_KEY));
}

#[test]
fn keys_are_listed_page_by_page() {
    let app = TestApp::start();
    let mut made: Vec<_> = (0..7).map(|_| make(&app, &json!({"label": "x"})).0).collect();
    made.sort();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = data(&app.admin().get(&format!("/admin/keys?limit=3{after}")).unwrap());
        let keys = page["keys"].as_array().unwrap();
        assert!(keys.len() <= 3 && page["size"] == 7, "{page}");
        seen.extend(keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, made);
    for query in ["?limit=0", "?limit=1001", "?after=x", "?after=203.0.113.7"] {
        let answer = app.admin().get(&format!("/admin/keys{query}")).unwrap();
        refused(&answer, 400, "invalid_request");
    }
}
