//! Invalidations as an operator asks for them: what is loaded anew, what stays, what is refused.

use breakwater::cache::CacheKey;
use breakwater::services::products::aliexpress::terms::{Currency, Language};
use breakwater::services::products::aliexpress::{Request, Target};
use breakwater::services::products::endpoints::details::METHOD;
use breakwater::services::products::simulator::DEMO_TRACKING_ID;
use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::stand::Stand;
use crate::support::http::Answer;

const SEARCH: &str = "/api/products/search?keywords=usb";
const HOT: &str = "/api/products/hot";

fn invalidate(stand: &Stand, body: &Value) -> Answer {
    let mut connection = stand.admin().with_header("content-type", "application/json");
    connection.send("POST", "/admin/cache/invalidate", body.to_string().as_bytes()).unwrap()
}

fn invalidated(stand: &Stand, body: &Value) -> Value {
    let told = data(&invalidate(stand, body));
    assert_eq!(told["mode"], body.get("mode").cloned().unwrap_or_else(|| "hard".into()), "{told}");
    let at = told["at"].as_str().unwrap();
    assert!(at.len() == "2026-01-01T00:00:00.000Z".len() && at.ends_with('Z'), "{told}");
    assert_eq!((&told["unreached"], &told["replayed_later"]), (&json!([]), &json!(false)));
    told
}

fn counted(stand: &Stand, reason: &str) -> f64 {
    let series = "cache_invalidations_total{cache_type=\"all\",reason=";
    stand.metric(&format!("{series}\"{reason}\"}}"))
}

fn hits(stand: &Stand, path: &str) -> bool {
    metadata(&stand.get(path))["cache_hit"] == true
}

/// Searches, hot products and a product; the product's id.
fn filled(stand: &Stand) -> u64 {
    let found = data(&stand.get(SEARCH));
    data(&stand.get(HOT));
    let id = found["products"][0]["product_id"].as_str().unwrap().parse().unwrap();
    data(&stand.get(&details(id)));
    id
}

fn details(id: u64) -> String {
    format!("/api/products/details/{id}")
}

/// The key under which a product's details are kept by a gateway with the settings of the stand.
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
    let stand = Stand::start();
    let id = filled(&stand);
    let told = invalidated(&stand, &json!({"key": key_of(id)}));
    assert_eq!((&told["memory"], &told["database"]), (&json!(1), &json!(1)), "{told}");
    assert!(!hits(&stand, &details(id)) && hits(&stand, SEARCH) && hits(&stand, HOT));
    assert!(hits(&stand, &details(id)), "what was loaded afterwards is valid");
    let again = invalidated(&stand, &json!({"key": "products:details:nothing"}));
    assert_eq!((&again["memory"], &again["database"]), (&json!(0), &json!(0)));
    assert!((counted(&stand, "admin_key") - 2.0).abs() < 0.1);
}

#[test]
fn a_pattern_goes_and_the_others_stay() {
    let stand = Stand::start();
    let id = filled(&stand);
    for mode in ["hard", "soft"] {
        let told = invalidated(&stand, &json!({"pattern": "products:search:*", "mode": mode}));
        assert_eq!(told["memory"], u64::from(mode == "hard"), "soft drops nothing: {told}");
        assert!(hits(&stand, HOT) && hits(&stand, &details(id)), "{mode}");
        assert!(!hits(&stand, SEARCH), "{mode}");
        assert!(hits(&stand, SEARCH), "{mode}");
    }
    assert!((counted(&stand, "admin_pattern") - 2.0).abs() < 0.1);
}

#[test]
fn everything_has_to_be_asked_for_as_such() {
    let stand = Stand::start();
    filled(&stand);
    for pattern in ["*", "*:*:*", "products:*", "[a-z]*"] {
        let error =
            refused(&invalidate(&stand, &json!({"pattern": pattern})), 400, "invalid_request");
        let sentence = error["error"].as_str().unwrap();
        assert!(sentence.contains("pattern: ") && sentence.contains("all: true"), "{sentence}");
        let clear = format!("/api/cache/clear?pattern={pattern}");
        refused(&stand.admin().post(&clear).unwrap(), 400, "invalid_request");
        assert!(hits(&stand, SEARCH) && hits(&stand, HOT));
    }
    for body in [json!({"all": true}), json!({"pattern": "*:*", "all": true})] {
        assert!(invalidated(&stand, &body)["memory"].as_u64().unwrap() >= 2);
        assert!(!hits(&stand, SEARCH) && !hits(&stand, HOT), "{body}");
    }
    for path in ["/api/cache/clear", "/api/cache/clear?pattern=*&all=true"] {
        let told = data(&stand.admin().post(path).unwrap());
        assert_eq!((&told["memory"], &told["mode"]), (&json!(2), &json!("hard")), "{path}");
        assert!(!hits(&stand, SEARCH) && !hits(&stand, HOT), "{path}");
    }
    assert!(counted(&stand, "admin_all") >= 6.0);
}

#[test]
fn a_tag_hits_every_answer_that_is_about_it() {
    let stand = Stand::start();
    let id = filled(&stand);
    let shown = |path: &str| data(&stand.get(path)).to_string().contains(&format!("\"{id}\""));
    let (in_search, in_hot) = (shown(SEARCH), shown(HOT));
    assert!(in_search);
    for mode in ["soft", "hard"] {
        let told = invalidated(&stand, &json!({"tag": format!("product:{id}"), "mode": mode}));
        assert_eq!((&told["memory"], &told["database"]), (&json!(0), &json!(0)), "{told}");
        assert!(!hits(&stand, &details(id)) && !hits(&stand, SEARCH), "{mode}");
        assert_eq!(hits(&stand, HOT), !in_hot, "{mode}");
        assert!(hits(&stand, &details(id)) && hits(&stand, SEARCH), "{mode}");
    }
    invalidated(&stand, &json!({"tag": "operation:hot"}));
    assert!(!hits(&stand, HOT) && hits(&stand, SEARCH));
    invalidated(&stand, &json!({"tag": "product:1"}));
    assert!(hits(&stand, HOT) && hits(&stand, SEARCH) && hits(&stand, &details(id)));
    assert!((counted(&stand, "admin_tag") - 4.0).abs() < 0.1);
}

#[test]
fn soft_keeps_the_answer_for_an_outage_and_hard_does_not() {
    let stand = Stand::with(&[("BREAKER_FAILURES", "1000")]);
    let (search, hot) = (data(&stand.get(SEARCH)), data(&stand.get(HOT)));
    stand.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    invalidated(&stand, &json!({"all": true, "mode": "soft"}));
    for (path, before) in [(SEARCH, &search), (HOT, &hot)] {
        let answer = stand.get(path);
        let told = metadata(&answer);
        assert_eq!((&data(&answer), &told["stale"]), (before, &json!(true)), "{told}");
        assert_eq!(told["degraded"], json!(["stale"]));
    }
    invalidated(&stand, &json!({"pattern": "*:search:*"}));
    refused(&stand.get(SEARCH), 503, "upstream_unavailable");
    assert_eq!(metadata(&stand.get(HOT))["stale"], true);
}

#[test]
fn what_is_asked_for_wrongly_is_refused_by_the_name_of_its_field() {
    let stand = Stand::start();
    filled(&stand);
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
        let error = refused(&invalidate(&stand, &body), 400, "invalid_request");
        let sentence = error["error"].as_str().unwrap();
        assert!(sentence.contains(&format!("{field}: ")), "{body}: {sentence}");
        assert!(sentence.contains("allowed: "), "{body}: {sentence}");
    }
    for path in ["/api/cache/clear?pattern=", "/api/cache/clear?pattern=a*&all=maybe"] {
        refused(&stand.admin().post(path).unwrap(), 400, "invalid_request");
    }
    let anybody = stand.post("/admin/cache/invalidate", &json!({"all": true}));
    refused(&anybody, 403, "forbidden");
    assert!(hits(&stand, SEARCH) && hits(&stand, HOT), "nothing of it did anything");
}

#[test]
fn an_invalidation_reaches_what_lies_in_the_database() {
    let stand = Stand::start();
    let id = filled(&stand);
    invalidated(&stand, &json!({"pattern": "products:search:*"}));
    invalidated(&stand, &json!({"key": key_of(id)}));
    let stand = stand.restart();
    assert!(hits(&stand, HOT) && !hits(&stand, SEARCH) && !hits(&stand, &details(id)));
}
