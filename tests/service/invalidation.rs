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
    assert_eq!((&told["partial"], &told["complete"]), (&json!([]), &json!(true)), "{told}");
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
        assert_eq!(told["memory"], 1, "{told}");
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
        let hit = json!(2 + u64::from(in_hot));
        assert_eq!((&told["memory"], &told["database"]), (&hit, &hit), "{mode}: {told}");
        assert!(!hits(&app, &details(id)) && !hits(&app, SEARCH), "{mode}");
        assert_eq!(hits(&app, HOT), !in_hot, "{mode}");
        assert!(hits(&app, &details(id)) && hits(&app, SEARCH), "{mode}");
    }
    invalidated(&app, &json!({"tag": "operation:hot"}));
    assert!(!hits(&app, HOT) && hits(&app, SEARCH));
    invalidated(&app, &json!({"tag": "product:1"}));
    assert!(hits(&app, HOT) && hits(&app, SEARCH) && hits(&app, &details(id)));
    let entries = 2.0 * (2.0 + f64::from(u8::from(in_hot))) + 2.0;
    assert!((counted(&app, "admin_tag") - entries).abs() < 0.1);
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

fn listed(app: &TestApp, query: &str) -> Value {
    data(&app.admin().get(&format!("/admin/cache/keys{query}")).unwrap())
}

#[test]
fn a_dry_run_tells_what_would_go_and_changes_nothing() {
    let app = TestApp::start();
    let id = filled(&app);
    for (body, hit) in [
        (json!({"key": key_of(id)}), 1),
        (json!({"pattern": "products:search:*"}), 1),
        (json!({"tag": "operation:hot", "mode": "soft"}), 1),
        (json!({"all": true}), 3),
        (json!({"pattern": "products:*"}), 3),
        (json!({"tag": "product:1"}), 0),
    ] {
        let mut dry = body.clone();
        dry["dry_run"] = json!(true);
        let told = invalidated(&app, &dry);
        assert_eq!((&told["dry_run"], &told["memory"]), (&json!(true), &json!(hit)), "{told}");
        assert_eq!((&told["database"], &told["redis"]), (&json!(hit), &json!(0)), "{told}");
        assert_eq!(told["keys"].as_array().map_or(0, Vec::len), hit, "{told}");
        assert!(hits(&app, SEARCH) && hits(&app, HOT) && hits(&app, &details(id)), "{body}");
    }
    let told = data(&app.admin().post("/api/cache/clear?dry_run=true").unwrap());
    assert_eq!((&told["dry_run"], &told["memory"]), (&json!(true), &json!(3)));
    assert!(hits(&app, SEARCH));
    let wrong = invalidate(&app, &json!({"all": true, "dry_run": "perhaps"}));
    assert!(refused(&wrong, 400, "invalid_request")["error"].to_string().contains("dry_run: "));
    let noted = app.admin().get("/admin/audit").unwrap();
    assert!(!noted.text().contains("cache."), "nothing was done: {}", noted.text());
}

#[test]
fn what_matched_nothing_is_told_with_what_was_meant() {
    let app = TestApp::start();
    filled(&app);
    for (body, suggestion) in [
        (json!({"tag": "produkt:7"}), json!({"tag": "product:7"})),
        (json!({"tag": "operation:serach"}), json!({"tag": "operation:search"})),
        (json!({"tag": "shape:round"}), Value::Null),
        (json!({"key": "products:search:1f"}), json!({"pattern": "products:search:1f*"})),
        (json!({"key": "product:7"}), json!({"tag": "product:7"})),
        (json!({"pattern": "product:search:*"}), json!({"pattern": "products:search:*"})),
        (json!({"pattern": "search:*", "mode": "soft"}), json!({"pattern": "*:search:*"})),
    ] {
        for dry_run in [true, false] {
            let mut body = body.clone();
            body["dry_run"] = json!(dry_run);
            let told = &invalidated(&app, &body)["matched_nothing"];
            assert_eq!((&told["impossible"], &told["suggestion"]), (&json!(true), &suggestion));
            assert!(!told["reason"].as_str().unwrap().is_empty(), "{told}");
        }
    }
    let told = invalidated(&app, &json!({"tag": "product:1"}));
    assert_eq!(told["matched_nothing"]["impossible"], false, "{told}");
    let told = data(&app.admin().post("/api/cache/clear?pattern=*:serach:*").unwrap());
    assert_eq!(told["matched_nothing"]["suggestion"]["pattern"], "*:search:*");
    let told = invalidated(&app, &json!({"tag": "operation:search"}));
    assert_eq!((&told["memory"], &told["matched_nothing"]), (&json!(1), &Value::Null), "{told}");
    assert!(hits(&app, HOT));
}

#[test]
fn keys_are_listed_and_explained() {
    let app = TestApp::start();
    let id = filled(&app);
    let told = listed(&app, "?pattern=products:details:*");
    let key = &told["keys"][0];
    assert_eq!((&told["found"], &key["key"]), (&json!(1), &json!(key_of(id))), "{told}");
    assert_eq!((&key["kind"], &key["state"]), (&json!("product"), &json!("fresh")));
    assert_eq!((&key["tiers"], &key["empty"]), (&json!(["memory", "database"]), &json!(false)));
    let tags: Vec<_> = key["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(tags.contains(&"operation:details") && tags.contains(&&*format!("product:{id}")));
    assert_eq!((tags.len(), &key["unnamed_tags"]), (3, &json!(0)), "{key}");
    let number = |name: &str| key[name].as_u64().unwrap();
    assert!(number("age_seconds") < 60 && number("bytes") > 100, "{key}");
    assert!((70_000..=95_040).contains(&number("fresh_seconds_left")), "{key}");
    assert!(number("usable_seconds_left") > number("fresh_seconds_left") + 80_000, "{key}");
}

#[test]
fn a_list_of_keys_is_bounded_and_says_when_there_are_more() {
    let app = TestApp::start();
    let id = filled(&app);
    assert_eq!(listed(&app, &format!("?tag=product:{id}&pattern=*:search:*"))["found"], 1);
    let first = listed(&app, "?limit=1");
    assert_eq!((first["keys"].as_array().unwrap().len(), &first["more"]), (1, &json!(true)));
    let all = listed(&app, "");
    assert_eq!(
        (&all["found"], &all["more"], &all["complete"]),
        (&json!(3), &json!(false), &json!(true))
    );
    let none = listed(&app, "?tag=produkt:7");
    assert_eq!(none["matched_nothing"]["suggestion"]["tag"], "product:7", "{none}");
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=many", "limit"),
        ("?tag=product", "tag"),
        ("?tag=", "tag"),
        ("?pattern=a%5C*", "pattern"),
        ("?pattren=a", "pattren"),
    ] {
        let answer = app.admin().get(&format!("/admin/cache/keys{query}")).unwrap();
        let error = refused(&answer, 400, "invalid_request");
        assert!(error["error"].as_str().unwrap().contains(&format!("{field}: ")), "{error}");
    }
    refused(&app.get("/admin/cache/keys"), 403, "forbidden");
}

#[test]
fn a_list_shows_what_lies_in_the_database_and_what_was_invalidated_softly() {
    let app = TestApp::start();
    let id = filled(&app);
    invalidated(&app, &json!({"tag": "operation:hot", "mode": "soft"}));
    invalidated(&app, &json!({"tag": "operation:search"}));
    let app = app.restart();
    let told = listed(&app, "");
    assert_eq!((&told["found"], &told["keys"][0]["key"]), (&json!(2), &json!(key_of(id))));
    assert_eq!(told["keys"][0]["tiers"], json!(["database"]), "{told}");
    assert!(told["keys"][0]["tags"].to_string().contains(&format!("\"product:{id}\"")), "{told}");
    let hot = &told["keys"][1];
    assert_eq!((&hot["state"], &hot["fresh_seconds_left"]), (&json!("stale_if_error"), &json!(0)));
}
