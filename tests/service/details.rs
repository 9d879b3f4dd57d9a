//! Details of products: single, in bulk, absent, in order, partly failing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::support::process::wait_until;
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
fn what_is_no_id_costs_the_others_nothing() {
    let app = TestApp::start();
    let known = some_products(&app, 2);
    let known = ids(&known);
    let asked = json!({"product_ids": [known[1], "B07VMG4ZL5", known[0], "99999999999999999999"]});
    let details = data(&app.post("/api/products/details", &asked));
    assert_eq!(ids(details["products"].as_array().unwrap()), [known[1], known[0]]);
    assert_eq!(details["invalid"], json!(["B07VMG4ZL5", "99999999999999999999"]));
    assert_eq!((&details["requested_count"], &details["returned_count"]), (&json!(4), &json!(2)));
    for none in [json!(["B07VMG4ZL5"]), json!([""]), json!([null, " "]), json!("")] {
        let none = app.post("/api/products/details", &json!({"product_ids": none}));
        refused(&none, 400, "invalid_request");
    }
    let details = app.post("/api/products/details", &json!({"product_ids": ["", known[0], null]}));
    let details = data(&details);
    assert_eq!((&details["invalid"], &details["requested_count"]), (&json!(["", ""]), &json!(3)));
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
fn a_product_whose_record_is_unfit_is_not_called_absent() {
    let app = TestApp::start();
    let known = some_products(&app, 8);
    let known = ids(&known);
    app.upstream.fails_with(&json!({"fault": "variant", "variant": "missing_fields", "seed": 7}));
    let answer = app.post("/api/products/details", &json!({"product_ids": known}));
    let details = data(&answer);
    let unavailable = details["unavailable"].as_array().unwrap();
    assert_eq!(details["missing"], json!([]));
    assert_eq!(details["products"].as_array().unwrap().len() + unavailable.len(), known.len());
    assert!(metadata(&answer)["degraded"].as_array().unwrap().contains(&json!("upstream")));
    let path = format!("/api/products/details/{}", unavailable[0].as_str().unwrap());
    let one = app.get(&path);
    let refusal = refused(&one, 503, "upstream_unavailable");
    assert!(refusal["error"].as_str().unwrap().contains("cannot be used ("), "{refusal}");
    app.upstream.recovers();
    // It outlives the fault by a second or two, as every failure does.
    wait_until("details of the product", Duration::from_secs(30), || app.get(&path).status == 200);
}
