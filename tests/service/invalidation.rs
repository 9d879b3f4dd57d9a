//! Invalidations as an operator asks for them: what is loaded anew, what stays, what is refused.

use breakwater::cache::CacheKey;
use breakwater::services::products::aliexpress::terms::{Currency, Language};
use breakwater::services::products::aliexpress::{Request, Target};
use breakwater::services::products::endpoints::details::METHOD;
use breakwater::services::products::simulator::DEMO_TRACKING_ID;
use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::support::http::Answer;
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";
const HOT: &str = "/api/products/hot";

fn invalidate(app: &TestApp, body: &Value) -> Answer {
    let mut connection = app.admin().with_header("content-type", "application/json");
    connection.send("POST", "/admin/cache/invalidate", body.to_string().as_bytes()).unwrap()
}

fn invalidated(app: &TestApp, body: &Value) -> Value {
    let told = data(&invalidate(app, body));
    assert_eq!(told["mode"], body.get("mode").cloned().unwrap_or_else(|| "hard".into()), "{told}");
    let at = told["at"].as_str().unwrap();
    assert!(at.len() == "2026-01-01T00:00:00.000Z".len() && at.ends_with('Z'), "{told}");
    assert_eq!((&told["unreached"], &told["replayed_later"]), (&json!([]), &json!(false)));
    told
}

fn counted(app: &TestApp, reason: &str) -> f64 {
    let series = "cache_invalidations_total{cache_type=\"all\",reason=";
    app.metric(&format!("{series}\"{reason}\"}}"))
}

fn hits(app: &TestApp, path: &str) -> bool {
    metadata(&app.get(path))["cache_hit"] == true
}

/// Searches, hot products and a product; the product's id.
fn filled(app: &TestApp) -> u64 {
    let found = data(&app.get(SEARCH));
    data(&app.get(HOT));
    let id = found["products"][0]["product_id"].as_str().unwrap().parse().unwrap();
    data(&app.get(&details(id)));
    id
}

fn details(id: u64) -> String {
    format!("/api/products/details/{id}")
}

/// The key under which a product's details are kept by a gateway with the settings of the app.
fn key_of(id: u64) -> String {
    let target = Target {
        currency: Currency::USD,
        language: Language::EN,
        ship_to: None,
        tracking_id: Some(DEMO_TRACKING_ID.to_owned()),
    };
    let request = Request::of(&METHOD).list("product_ids", &[id]).target(&target);
    let parameters = request.params.iter().flat_map(|(name, value)| [*name, value.as_str()]);
    let parts = [METHOD.name].into_iter().chain(parameters).chain([""]);
    CacheKey::of("products", "details", parts).to_string()
}

#[test]
fn one_key_goes_and_the_others_stay() {
    let app = TestApp::start();
    let id = filled(&app);
    let told = invalidated(&app, &json!({"key": key_of(id)}));
    assert_eq!((&told["memory"], &told["database"]), (&json!(1), &json!(1)), "{told}");
    assert!(!hits(&app, &details(id)) && hits(&app, SEARCH) && hits(&app, HOT));
    assert!(hits(&app, &details(id)), "what was loaded afterwards is valid");
    let again = invalidated(&app, &json!({"key": "products:details:nothing"}));
    assert_eq!((&again["memory"], &again["database"]), (&json!(0), &json!(0)));
    assert!((counted(&app, "admin_key") - 2.0).abs() < 0.1);
}

#[test]
fn a_pattern_goes_and_the_others_stay() {
    let app = TestApp::start();
    let id = filled(&app);
    for mode in ["hard", "soft"] {
        let told = invalidated(&app, &json!({"pattern": "products:search:*", "mode": mode}));
        assert_eq!(told["memory"], u64::from(mode == "hard"), "soft drops nothing: {told}");
        assert!(hits(&app, HOT) && hits(&app, &details(id)), "{mode}");
        assert!(!hits(&app, SEARCH), "{mode}");
        assert!(hits(&app, SEARCH), "{mode}");
    }
    assert!((counted(&app, "admin_pattern") - 2.0).abs() < 0.1);
}

#[test]
fn everything_has_to_be_asked_for_as_such() {
    let app = TestApp::start();
    filled(&app);
    for pattern in ["*", "*:*:*", "products:*", "[a-z]*"] {
        let error =
            refused(&invalidate(&app, &json!({"pattern": pattern})), 400, "invalid_request");
        let sentence = error["error"].as_str().unwrap();
        assert!(sentence.contains("pattern: ") && sentence.contains("all: true"), "{sentence}");
        let clear = format!("/api/cache/clear?pattern={pattern}");
        refused(&app.admin().post(&clear).unwrap(), 400, "invalid_request");
        assert!(hits(&app, SEARCH) && hits(&app, HOT));
    }
    for body in [json!({"all": true}), json!({"pattern": "*:*", "all": true})] {
        assert!(invalidated(&app, &body)["memory"].as_u64().unwrap() >= 2);
        assert!(!hits(&app, SEARCH) && !hits(&app, HOT), "{body}");
    }
    for path in ["/api/cache/clear", "/api/cache/clear?pattern=*&all=true"] {
        let told = data(&app.admin().post(path).unwrap());
        assert_eq!((&told["memory"], &told["mode"]), (&json!(2), &json!("hard")), "{path}");
        assert!(!hits(&app, SEARCH) && !hits(&app, HOT), "{path}");
    }
    assert!(counted(&app, "admin_all") >= 6.0);
}

#[test]
fn a_tag_hits_every_answer_that_is_about_it() {
    let app = TestApp::start();
    let id = filled(&app);
    let shown = |path: &str| data(&app.get(path)).to_string().contains(&format!("\"{id}\""));
    let (in_search, in_hot) = (shown(SEARCH), shown(HOT));
    assert!(in_search);
    for mode in ["soft", "hard"] {
        let told = invalidated(&app, &json!({"tag": format!("product:{id}"), "mode": mode}));
        assert_eq!((&told["memory"], &told["database"]), (&json!(0), &json!(0)), "{told}");
        assert!(!hits(&app, &details(id)) && !hits(&app, SEARCH), "{mode}");
        assert_eq!(hits(&app, HOT), !in_hot, "{mode}");
        assert!(hits(&app, &details(id)) && hits(&app, SEARCH), "{mode}");
    }
    invalidated(&app, &json!({"tag": "operation:hot"}));
    assert!(!hits(&app, HOT) && hits(&app, SEARCH));
    invalidated(&app, &json!({"tag": "product:1"}));
    assert!(hits(&app, HOT) && hits(&app, SEARCH) && hits(&app, &details(id)));
    assert!((counted(&app, "admin_tag") - 4.0).abs() < 0.1);
}

#[test]
fn soft_keeps_the_answer_for_an_outage_and_hard_does_not() {
    let app = TestApp::with(&[("BREAKER_FAILURES", "1000")]);
    let (search, hot) = (data(&app.get(SEARCH)), data(&app.get(HOT)));
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    invalidated(&app, &json!({"all": true, "mode": "soft"}));
    for (path, before) in [(SEARCH, &search), (HOT, &hot)] {
        let answer = app.get(path);
        let told = metadata(&answer);
        assert_eq!((&data(&answer), &told["stale"]), (before, &json!(true)), "{told}");
        assert_eq!(told["degraded"], json!(["stale"]));
    }
    invalidated(&app, &json!({"pattern": "*:search:*"}));
    refused(&app.get(SEARCH), 503, "upstream_unavailable");
    assert_eq!(metadata(&app.get(HOT))["stale"], true);
}

#[test]
fn what_is_asked_for_wrongly_is_refused_by_the_name_of_its_field() {
    let app = TestApp::start();
    filled(&app);
    let long = "x".repeat(300);
    for (body, field) in [
        (json!({}), "body"),
        (json!({"all": false}), "body"),
        (json!({"key": "a", "tag": "product:1"}), "body"),
        (json!({"key": "a", "all": true}), "all"),
        (json!({"key": 7}), "key"),
        (json!({"key": long}), "key"),
        (json!({"tag": "product"}), "tag"),
        (json!({"tag": "Product:1"}), "tag"),
        (json!({"pattern": ""}), "pattern"),
        (json!({"pattern": {"a": 1}, "all": true}), "pattern"),
        (json!({"pattern": "a\\*"}), "pattern"),
        (json!({"pattern": "nothing:*", "mode": "gentle"}), "mode"),
        (json!({"tag": "product:1", "mode": ["soft"]}), "mode"),
        (json!({"all": "maybe"}), "all"),
        (json!({"everything": true}), "everything"),
    ] {
        let error = refused(&invalidate(&app, &body), 400, "invalid_request");
        let sentence = error["error"].as_str().unwrap();
        assert!(sentence.contains(&format!("{field}: ")), "{body}: {sentence}");
        assert!(sentence.contains("allowed: "), "{body}: {sentence}");
    }
    for path in ["/api/cache/clear?pattern=", "/api/cache/clear?pattern=a*&all=maybe"] {
        refused(&app.admin().post(path).unwrap(), 400, "invalid_request");
    }
    let anybody = app.post("/admin/cache/invalidate", &json!({"all": true}));
    refused(&anybody, 403, "forbidden");
    assert!(hits(&app, SEARCH) && hits(&app, HOT), "nothing of it did anything");
}

#[test]
fn an_invalidation_reaches_what_lies_in_the_database() {
    let app = TestApp::start();
    let id = filled(&app);
    invalidated(&app, &json!({"pattern": "products:search:*"}));
    invalidated(&app, &json!({"key": key_of(id)}));
    let app = app.restart();
    assert!(hits(&app, HOT) && !hits(&app, SEARCH) && !hits(&app, &details(id)));
}
