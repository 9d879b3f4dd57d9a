//! The document made of this service's forms says what their checks do.

use serde_json::{Value, json};

use crate::http::openapi::{self, Stated};
use crate::services::products::SURFACE;

const OPEN: Stated = Stated { key_required: false, admin_port: 8080 };

fn document() -> Value {
    serde_json::from_str(&openapi::complete(&[&SURFACE], OPEN)).unwrap()
}

#[test]
fn bodies_admit_no_unknown_fields_and_state_their_bounds() {
    let document = document();
    let search = &document["components"]["schemas"]["SearchRequest"];
    assert_eq!(search["additionalProperties"], false);
    assert_eq!(search["properties"]["page_size"]["maximum"], 50);
    assert_eq!(search["properties"]["page_size"]["minimum"], 1);
    assert!(search.get("required").is_none());
    let details = &document["components"]["schemas"]["DetailsRequest"];
    assert_eq!(details["required"], json!(["product_ids"]));
    let either = json!(["string", "integer"]);
    assert_eq!(details["properties"]["product_ids"]["items"]["type"], either);
    let ids = &search["properties"]["category_ids"]["oneOf"];
    assert_eq!((&ids[0]["type"], &ids[2]["items"]["type"]), (&json!("string"), &either));
    assert_eq!(search["properties"]["page_no"]["type"], json!(["integer", "null", "string"]));
}

#[test]
fn parameters_are_named_like_the_fields() {
    let document = document();
    let parameters =
        |path: &str| document["paths"][path]["get"]["parameters"].as_array().unwrap().clone();
    let names = |path: &str| -> Vec<Value> {
        let own = parameters(path).into_iter().filter(|parameter| parameter["name"].is_string());
        own.map(|parameter| parameter["name"].clone()).collect()
    };
    assert_eq!(names("/api/products/search").len(), 10);
    assert_eq!(names("/api/products/smart-search").len(), 14);
    assert_eq!(names("/api/affiliate/link"), ["url"]);
    let one = names("/api/products/details/{product_id}");
    assert_eq!(one, ["product_id", "currency", "language", "ship_to_country"]);
    let required = |path: &str, name: &str| {
        parameters(path).into_iter().any(|one| one["name"] == name && one["required"] == true)
    };
    assert!(required("/api/affiliate/link", "url"));
    assert!(required("/api/orders", "start_time"));
    assert!(required("/api/smart-match", "product_url"));
    assert!(!required("/api/orders", "status"));
}

#[test]
fn gpt_actions_get_nine_harmless_operations() {
    let document: Value = serde_json::from_str(&openapi::for_gpt(&[&SURFACE], OPEN)).unwrap();
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(path.starts_with("/api/"), "{path}");
            let description = operation["description"].as_str().unwrap();
            assert!(description.chars().count() <= 300, "{path}: {description}");
            assert_eq!(operation["x-openai-isConsequential"], false, "{path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let description = parameter["description"].as_str().unwrap();
                assert!(description.chars().count() <= 700, "{path}: {description}");
            }
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    ids.sort_unstable();
    let expected = [
        "getAffiliateLink",
        "getAffiliateLinks",
        "getProduct",
        "getProducts",
        "listCategories",
        "listChildCategories",
        "listHotProducts",
        "searchProducts",
        "smartSearchProducts",
    ];
    assert_eq!(ids, expected);
    assert_eq!(document["components"]["securitySchemes"].as_object().unwrap().len(), 1);
    assert!(document["servers"][0]["url"].as_str().unwrap().starts_with('/'));
}
