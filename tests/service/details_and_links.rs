//! Details of products and affiliate links: single, in bulk, absent, in order, partly failing.

use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::test_app::TestApp;

fn some_products(app: &TestApp, how_many: usize) -> Vec<Value> {
    let found = data(&app.get(&format!("/api/products/search?page_size={how_many}")));
    found["products"].as_array().unwrap().clone()
}

fn ids(products: &[Value]) -> Vec<&str> {
    products.iter().map(|product| product["product_id"].as_str().unwrap()).collect()
}

#[test]
fn details_of_one_product() {
    let app = TestApp::start();
    let known = some_products(&app, 1).remove(0);
    let path = format!("/api/products/details/{}", known["product_id"].as_str().unwrap());
    let answer = app.get(&path);
    let product = data(&answer);
    for field in ["product_id", "product_title", "price", "currency", "image_url"] {
        assert_eq!(product[field], known[field], "{field}");
    }
    assert_eq!(metadata(&answer)["cache_hit"], false);
    assert_eq!(metadata(&app.get(&path))["cache_tier"], "memory");
    let euros = data(&app.get(&format!("{path}?currency=EUR")));
    assert_eq!(euros["currency"], "EUR");
}

#[test]
fn an_absent_product_is_not_found_and_that_is_kept_for_a_while() {
    let app = TestApp::start();
    for _ in 0..3 {
        refused(&app.get("/api/products/details/999999999999999999"), 404, "not_found");
    }
    assert_eq!(app.upstream.calls(), 1);
}

#[test]
fn details_in_bulk_count_and_keep_the_order() {
    let app = TestApp::start();
    let known = some_products(&app, 3);
    let known = ids(&known);
    let asked = json!({"product_ids": [known[2], "999999999999999999", known[0], known[2]]});
    let answer = app.post("/api/products/details", &asked);
    let details = data(&answer);
    assert_eq!((&details["requested_count"], &details["returned_count"]), (&json!(3), &json!(2)));
    assert_eq!(ids(details["products"].as_array().unwrap()), [known[2], known[0]]);
    assert_eq!(details["missing"], json!(["999999999999999999"]));
    assert_eq!(app.upstream.calls_of("productdetail.get"), 1, "one call for all");
    // Each is kept by itself: another selection needs only what is new.
    let asked = json!({"product_ids": [known[0], known[1]]});
    let again = data(&app.post("/api/products/details", &asked));
    assert_eq!(ids(again["products"].as_array().unwrap()), [known[0], known[1]]);
    let one = app.get(&format!("/api/products/details/{}", known[1]));
    assert_eq!(metadata(&one)["cache_tier"], "memory");
    assert_eq!(app.upstream.calls_of("productdetail.get"), 2);
}

#[test]
fn ids_may_come_as_numbers_and_go_out_as_texts() {
    let app = TestApp::start();
    let known = some_products(&app, 1);
    let id = ids(&known)[0];
    let number: u64 = id.parse().unwrap();
    let details = data(&app.post("/api/products/details", &json!({"product_ids": [number]})));
    assert_eq!(details["products"][0]["product_id"], id);
}

#[test]
fn what_is_kept_is_answered_while_the_rest_cannot_be_asked_for() {
    let app = TestApp::start();
    let known = some_products(&app, 2);
    let known = ids(&known);
    data(&app.get(&format!("/api/products/details/{}", known[0])));
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let answer = app.post("/api/products/details", &json!({"product_ids": known}));
    let details = data(&answer);
    assert_eq!(ids(details["products"].as_array().unwrap()), [known[0]]);
    assert_eq!((&details["missing"], &details["unavailable"]), (&json!([]), &json!([known[1]])));
    let degraded = metadata(&answer)["degraded"].clone();
    assert!(degraded.as_array().unwrap().contains(&json!("upstream")), "{degraded}");
}

#[test]
fn links_in_the_order_asked_with_their_state() {
    let app = TestApp::start();
    let known = some_products(&app, 3);
    let urls: Vec<&str> = known.iter().map(|one| one["product_url"].as_str().unwrap()).collect();
    let one = app.get(&format!("/api/affiliate/link?url={}", urls[1].replace('%', "%25")));
    let link = data(&one)["links"][0].clone();
    assert_eq!((&link["url"], &link["status"]), (&json!(urls[1]), &json!("generated")));
    let made = link["affiliate_url"].as_str().unwrap();
    assert!(made.starts_with("https://s.click.aliexpress.com/"), "{made}");

    // Nobody pays for leading to another shop.
    let unknown = "https://another-shop.test/item/7.html";
    let asked = [urls[2], urls[1], unknown, urls[0], urls[2]];
    let answer = app.post("/api/affiliate/links", &json!({"urls": asked}));
    let links = data(&answer);
    let of = |field: &str| -> Vec<Value> {
        links["links"].as_array().unwrap().iter().map(|link| link[field].clone()).collect()
    };
    assert_eq!(of("url"), asked.map(Value::from));
    assert_eq!(
        of("status"),
        ["generated", "cached", "failed", "generated", "generated"].map(Value::from)
    );
    let targets = of("affiliate_url");
    assert_eq!((&targets[1], &targets[2]), (&json!(made), &json!(unknown)));
    assert_eq!(targets[0], targets[4]);
    let counts = ["requested_count", "cached_count", "generated_count", "failed_count"];
    assert_eq!(counts.map(|count| links[count].as_u64().unwrap()), [5, 1, 3, 1]);
    assert_eq!(metadata(&answer)["degraded"], json!(["affiliate_links"]));
    assert_eq!(app.upstream.calls_of("link.generate"), 2);
}

#[test]
fn fifty_links_cost_one_call() {
    let app = TestApp::start();
    let known = some_products(&app, 50);
    let urls: Vec<&Value> = known.iter().map(|one| &one["product_url"]).collect();
    let links = data(&app.post("/api/affiliate/links", &json!({"urls": urls})));
    assert_eq!((&links["generated_count"], &links["failed_count"]), (&json!(50), &json!(0)));
    assert_eq!(app.upstream.calls_of("link.generate"), 1);
    let again = data(&app.post("/api/affiliate/links", &json!({"urls": urls})));
    assert_eq!(again["cached_count"], 50);
    assert_eq!(app.upstream.calls_of("link.generate"), 1);
}
