//! What may be stored of an answer, by whom, and what a client gets that has it already.

use serde_json::{Value, json};

use crate::envelope::{check_headers, data, metadata, refused};
use crate::support::http::{Answer, Connection};
use crate::test_app::TestApp;

const KEY: &str = "shop-key-shop-key-shop-key";
const SEARCH: &str = "/api/products/search?keywords=usb";
const ID: &str = "1007108581411328";

/// Reads whose data lasts, as they are asked for; every other operation is for nobody to keep.
fn lasting(template: &str) -> Option<String> {
    let link = format!("https://www.aliexpress.com/item/{ID}.html");
    Some(match template {
        "/api/products/details/{product_id}" => format!("/api/products/details/{ID}"),
        "/api/affiliate/link" => format!("{template}?url={link}"),
        "/api/smart-match" => format!("{template}?product_url={link}"),
        "/api/categories/{id}/children" => "/api/categories/248625901/children".to_owned(),
        "/"
        | "/api/products/search"
        | "/api/products/smart-search"
        | "/api/products/hot"
        | "/api/categories"
        | "/openapi.json"
        | "/openapi-gpt.json"
        | "/docs" => template.to_owned(),
        _ => return None,
    })
}

/// What the one `Cache-Control` of an answer says.
fn permission(answer: &Answer) -> &str {
    let all: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "cache-control").collect();
    assert_eq!(all.len(), 1, "{:?}", answer.headers);
    &all[0].1
}

/// Seconds for which an answer may be kept.
fn seconds(answer: &Answer, who: &str) -> u64 {
    let said =
        permission(answer).strip_prefix(who).and_then(|rest| rest.strip_prefix(", max-age="));
    said.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("{:?}", answer.headers))
}

/// Nobody may keep it, and nothing helps to do so.
fn is_for_nobody(answer: &Answer, place: &str) {
    assert_eq!(permission(answer), "no-store", "{place}");
    assert_eq!(answer.header("etag"), None, "{place}");
}

fn vary(answer: &Answer) -> String {
    let all = answer.headers.iter().filter(|(name, _)| name == "vary");
    all.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
}

/// Every operation of the document: method and path template.
fn operations(app: &TestApp) -> Vec<(String, String)> {
    let document = app.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        methods.map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    let all: Vec<_> = paths.iter().flat_map(of).collect();
    assert!(all.len() > 40, "{}", all.len());
    all
}

fn stranger(app: &TestApp) -> Connection {
    app.connection()
}

fn keyed(app: &TestApp) -> Connection {
    app.connection().with_header("x-internal-key", KEY)
}

#[test]
fn every_route_says_what_may_be_stored() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", KEY)]);
    for (method, template) in operations(&app) {
        let place = format!("{method} {template}");
        let kept = lasting(&template).filter(|_| method == "GET");
        let path = kept.clone().unwrap_or_else(|| {
            template
                .replace("{name}", "none")
                .replace(['{', '}'], "")
                .replace("/reset", "/none")
                .replace("/reload", "/none")
        });
        // The first answer says that its link was made for it, and later ones that it was there: the tag
        // is the same.
        for (who, connection) in
            [("stranger", stranger(&app)), ("key", keyed(&app)), ("admin", app.admin())]
        {
            let place = format!("{place} as {who}");
            let mut connection = connection.with_header("content-type", "application/json");
            let answer = connection.send(&method, &path, b"").unwrap();
            check_headers(&answer);
            if kept.is_none() || who != "stranger" {
                is_for_nobody(&answer, &place);
                continue;
            }
            assert_eq!(answer.status, 200, "{place}: {}", answer.text());
            assert!(seconds(&answer, "private") > 0, "{place}");
            assert!(answer.header("etag").is_some_and(|tag| tag.starts_with("W/\"1-")), "{place}");
            assert_eq!(answer.header("age"), None, "{place}");
            let head = stranger(&app).send("HEAD", &path, b"").unwrap();
            assert_eq!(head.header("etag"), answer.header("etag"), "{place}");
        }
        let answer = stranger(&app).send("OPTIONS", &path, b"").unwrap();
        is_for_nobody(&answer, &template);
    }
    is_for_nobody(&app.get("/nothing"), "an unknown address");
}

#[test]
fn what_is_answered_to_a_limited_client_is_for_nobody_else() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", KEY), ("RATE_LIMIT_ENABLED", "true")]);
    for path in [SEARCH, "/docs", "/api/categories"] {
        let answer = app.get(path);
        assert_eq!(answer.status, 200);
        assert!(answer.header("ratelimit").is_some());
        is_for_nobody(&answer, path);
    }
    is_for_nobody(&keyed(&app).get(SEARCH).unwrap(), "with a key");
}

#[test]
fn a_public_answer_tells_nothing_about_its_client() {
    let app = TestApp::with(&[
        ("INTERNAL_API_KEY", KEY),
        ("RATE_LIMIT_ENABLED", "true"),
        ("PUBLIC_CACHING", "true"),
    ]);
    let answer = app.get(SEARCH);
    data(&answer);
    assert!(seconds(&answer, "public") > 0);
    let of_limits = |(name, _): &&(String, String)| name.contains("ratelimit");
    assert_eq!(answer.headers.iter().find(of_limits), None);
    assert_eq!(
        vary(&answer),
        "Origin, authorization, x-internal-key, x-admin-key, accept-encoding"
    );
    let answer = keyed(&app).get(SEARCH).unwrap();
    is_for_nobody(&answer, "with a key");
    assert!(answer.headers.iter().any(|field| of_limits(&field)));
    is_for_nobody(&app.get("/health/ready"), "health");
    is_for_nobody(&app.get("/api/products/details/4242"), "an error");
    is_for_nobody(&app.post("/api/products/search", &json!({"keywords": "usb"})), "a POST");
}

#[test]
fn features_for_a_share_of_the_clients_make_no_public_answers() {
    let app = TestApp::with(&[("PUBLIC_CACHING", "true"), ("ENABLE_RETRY_LOGIC", "50")]);
    assert!(seconds(&app.get(SEARCH), "private") > 0);
}

#[test]
fn who_has_it_already_gets_no_body() {
    let app = TestApp::start();
    let first = app.get(SEARCH);
    let tag = first.header("etag").unwrap().to_owned();
    let with = |tag: &str| app.connection().with_header("if-none-match", tag);
    for given in [tag.as_str(), &format!("\"x\", {tag}"), "*", tag.trim_start_matches("W/")] {
        for method in ["GET", "HEAD"] {
            let known = with(given).send(method, SEARCH, b"").unwrap();
            assert_eq!((known.status, known.body.len()), (304, 0), "{given}");
            check_headers(&known);
            assert!(seconds(&known, "private") > 0);
            assert_eq!(known.header("etag"), Some(tag.as_str()));
            assert_eq!(vary(&known), vary(&first));
            assert_eq!(known.header("content-length"), None);
        }
    }
    for other in ["\"x\"", "W/\"1-0\"", ""] {
        data(&with(other).get(SEARCH).unwrap());
    }
    // The next request on a connection that had a 304 is read as usual.
    let mut connection = with(&tag);
    assert_eq!(connection.get(SEARCH).unwrap().status, 304);
    assert_eq!(connection.get("/api/products/search?keywords=lamp").unwrap().status, 200);
}

#[test]
fn the_same_data_has_the_same_tag_after_it_was_fetched_anew() {
    let app = TestApp::start();
    let tag = |answer: &Answer| answer.header("etag").unwrap().to_owned();
    let first = app.get(SEARCH);
    data(&app.admin().post("/api/cache/clear").unwrap());
    let second = app.get(SEARCH);
    assert_eq!(metadata(&second)["cache_hit"], false);
    assert_eq!((data(&first), tag(&first)), (data(&second), tag(&second)));
    assert_ne!(tag(&app.get("/api/products/search?keywords=lamp")), tag(&first));
}

#[test]
fn no_more_than_the_fresh_time_is_left_and_second_best_is_not_kept() {
    let app = TestApp::with(&[("CACHE_TTL_SEARCH", "100"), ("CACHE_NEGATIVE_TTL", "10")]);
    let left = |path| seconds(&app.get(path), "private");
    assert!((80..=110).contains(&left(SEARCH)));
    assert!((5..=11).contains(&left("/api/products/search?keywords=qqzzxxyy")));
    app.upstream.faults(&json!([
        {"method": "aliexpress.affiliate.link.generate", "fault": "status", "status": 503}]));
    let answer = app.get("/api/products/smart-search?keywords=lamp");
    assert!(metadata(&answer)["degraded"].to_string().contains("affiliate_links"));
    is_for_nobody(&answer, "without links");
}

fn saying(connection: Connection, said: &str, path: &str) -> Answer {
    connection.with_header("cache-control", said).get(path).unwrap()
}

#[test]
fn a_key_may_ask_for_something_newer_and_a_stranger_may_not() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", KEY)]);
    let details = format!("/api/products/details/{ID}");
    for path in [SEARCH, &details, "/api/categories"] {
        data(&app.get(path));
        let calls = app.upstream.calls();
        for said in ["no-cache", "max-age=0", "no-store", "only-if-cached"] {
            assert_eq!(metadata(&saying(stranger(&app), said, path))["cache_tier"], "memory");
        }
        assert_eq!(metadata(&saying(keyed(&app), "max-age=600", path))["cache_tier"], "memory");
        assert_eq!(app.upstream.calls(), calls, "{path}");
        for said in ["no-cache", "max-age=0"] {
            let answer = saying(keyed(&app), said, path);
            assert_eq!(answer.header("cache-status"), Some("breakwater; fwd=request; stored"));
        }
        assert_eq!(app.upstream.calls(), calls + 2, "{path}");
    }
}

#[test]
fn anybody_may_ask_for_what_is_stored_and_no_more() {
    let app = TestApp::with(&[("CACHE_WARM_KEYS", "0")]);
    let products = format!("/api/products/details/{ID}");
    for path in [SEARCH, &products, "/api/categories", "/api/products/smart-search?keywords=lamp"] {
        let none = saying(stranger(&app), "only-if-cached", path);
        refused(&none, 504, "deadline_exceeded");
        assert!(none.text().contains("only-if-cached"), "{}", none.text());
    }
    assert_eq!(app.upstream.calls(), 0);
    data(&app.get(SEARCH));
    let app = app.restart();
    let answer = saying(stranger(&app), "only-if-cached", SEARCH);
    assert_eq!(metadata(&answer)["cache_tier"], "database");
}
