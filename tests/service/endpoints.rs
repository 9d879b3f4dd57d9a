//! Every public endpoint once on its good way, GET and POST alike.

use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::support::http::Answer;
use crate::test_app::TestApp;

fn products(answer: &Answer) -> Vec<Value> {
    data(answer)["products"].as_array().expect("a list of products").clone()
}

/// Types of a product's fields, as the contract names them.
fn check_product(product: &Value) {
    let digits = |field: &str| {
        let text = product[field].as_str().unwrap_or_default();
        assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()), "{field}: {product}");
    };
    ["product_id", "category_id", "shop_id"].into_iter().for_each(digits);
    for field in ["product_title", "product_url", "image_url", "shop_url", "category_name"] {
        assert!(product[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {product}");
    }
    let price = product["price"].as_str().expect("a price is a text");
    let (_, cents) = price.split_once('.').expect("dollars have cents");
    assert_eq!(cents.len(), 2, "{price}");
    assert_eq!(product["currency"], "USD");
    assert!(product["gallery_images"].is_array());
    let score = product["quality_score"].as_f64().expect("a score");
    assert!((0.0..=1.0).contains(&score), "{score}");
    for rate in ["commission_rate", "evaluate_rate", "discount"] {
        assert!(product[rate].as_str().is_none_or(|rate| rate.ends_with('%')), "{product}");
    }
    let state = product["affiliate_status"].as_str().unwrap();
    let has_link = match state {
        "cached" | "generated" | "provided" => true,
        "failed" | "not_requested" => false,
        other => panic!("{other}"),
    };
    assert_eq!(product["affiliate_url"].is_string(), has_link, "{product}");
}

#[test]
fn words_that_the_upstream_documents_are_passed_on() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", "a-client-key-for-tests")]);
    for path in ["/api/products/search", "/api/products/hot"] {
        let found = products(&app.get(&format!("{path}?sort=DISCOUNT_DESC&page_size=5")));
        let percent = |product: &Value| -> u64 {
            product["discount"].as_str().unwrap().trim_end_matches('%').parse().unwrap()
        };
        let discounts: Vec<u64> = found.iter().map(percent).collect();
        assert!(discounts.is_sorted_by(|left, right| left >= right), "{discounts:?}");
    }
    let orders = "/api/orders?start_time=2025-03-01%2000:00:00&end_time=2025-03-08%2000:00:00";
    let mut keyed = app.connection().with_header("x-internal-key", "a-client-key-for-tests");
    let orders = keyed.get(&format!("{orders}&status=buyer%20confirmed%20receipt")).unwrap();
    assert_eq!(data(&orders)["orders"][0]["order_status"], "Buyer Confirmed Receipt");
}

#[test]
fn search_by_get_and_post() {
    let app = TestApp::start();
    let path = "/api/products/search";
    let query = "keywords=usb&page_size=5&page_no=2&sort=SALE_PRICE_ASC&max_sale_price=30";
    let got = app.get(&format!("{path}?{query}"));
    let page = data(&got);
    assert_eq!((&page["current_page"], &page["page_size"]), (&json!(2), &json!(5)));
    assert!(page["total_record_count"].as_u64().is_some_and(|total| total > 5), "{page}");
    let found = products(&got);
    assert_eq!(found.len(), 5);
    found.iter().for_each(check_product);
    let prices: Vec<f64> =
        found.iter().map(|product| product["price"].as_str().unwrap().parse().unwrap()).collect();
    assert!(prices.is_sorted() && prices.iter().all(|price| *price <= 30.0), "{prices:?}");

    let body = json!({"keywords": "  usb ", "page_size": "5", "page_no": 2,
        "sort": "sale_price_asc", "max_sale_price": 30.00});
    let posted = app.post(path, &body);
    assert_eq!(data(&posted), page, "what means the same is the same");
    assert_eq!(metadata(&posted)["cache_tier"], "memory");
    assert_eq!(app.upstream.calls(), 1);
}

#[test]
fn keywords_that_mean_the_same_cost_one_call() {
    let app = TestApp::start();
    let composed = app.get("/api/products/search?keywords=caf%C3%A9+lamp");
    for same in ["Cafe%CC%81%20LAMP", "%EF%BD%83af%C3%A9%E3%80%80lamp+"] {
        let again = app.get(&format!("/api/products/search?keywords={same}"));
        assert_eq!(
            (metadata(&again)["cache_tier"].as_str(), data(&again)),
            (Some("memory"), data(&composed))
        );
    }
    assert_eq!(app.upstream.calls(), 1);
    for refused_text in ["lamp%00", "lamp%C2%85%07"] {
        let answer = app.get(&format!("/api/products/search?keywords={refused_text}"));
        refused(&answer, 400, "invalid_request");
    }
}

#[test]
fn an_empty_body_and_an_empty_query_list_the_catalogue() {
    let app = TestApp::start();
    let all = products(&app.get("/api/products/search"));
    assert_eq!(all.len(), 20);
    let posted = app.connection().post("/api/products/search").unwrap();
    assert_eq!(products(&posted), all);
}

#[test]
fn search_past_the_cache_stores_nothing() {
    let app = TestApp::start();
    let (path, body) = ("/api/products/search/no-cache", json!({"keywords": "usb"}));
    for calls in 1..=2 {
        let answer = app.post(path, &body);
        assert!(!products(&answer).is_empty());
        let metadata = metadata(&answer);
        assert_eq!(
            (&metadata["cache_enabled"], &metadata["cache_tier"]),
            (&json!(false), &json!("none"))
        );
        assert_eq!(answer.header("cache-status"), Some("breakwater; fwd=bypass"));
        assert_eq!(app.upstream.calls(), calls);
    }
    let searched = metadata(&app.get("/api/products/search?keywords=usb"));
    assert_eq!((&searched["cache_hit"], app.upstream.calls()), (&json!(false), 3));
}

#[test]
fn hot_products_by_get_and_post() {
    let app = TestApp::start();
    let hot = products(&app.get("/api/products/hot?page_size=7"));
    assert_eq!(hot.len(), 7);
    hot.iter().for_each(check_product);
    assert_eq!(products(&app.post("/api/products/hot", &json!({"page_size": 7}))), hot);
    assert_eq!((app.upstream.calls(), app.upstream.calls_of("hotproduct.query")), (1, 1));
}

#[test]
fn categories_and_their_children() {
    let app = TestApp::start();
    let all = data(&app.get("/api/categories"));
    let categories = all["categories"].as_array().unwrap();
    assert_eq!(all["total_count"], categories.len());
    let top = categories.iter().find(|category| category["parent_category_id"].is_null()).unwrap();
    let id = top["category_id"].as_str().unwrap();
    let below = categories.iter().filter(|category| category["parent_category_id"] == id).count();
    assert!(below > 0);

    let answer = app.get(&format!("/api/categories/{id}/children"));
    let children = data(&answer);
    assert_eq!(children["total_count"], below);
    let own = children["categories"].as_array().unwrap();
    assert!(own.iter().all(|child| child["parent_category_id"] == id));
    // The tree was read out of what was there.
    assert_eq!(
        (metadata(&answer)["cache_tier"].as_str(), app.upstream.calls()),
        (Some("memory"), 1)
    );
    let leaf = own[0]["category_id"].as_str().unwrap();
    let none = categories.iter().all(|category| category["parent_category_id"] != leaf);
    let of_leaf = data(&app.get(&format!("/api/categories/{leaf}/children")));
    assert_eq!(of_leaf["categories"].as_array().unwrap().is_empty(), none);
    refused(&app.get("/api/categories/1/children"), 404, "not_found");
}

#[test]
fn a_category_narrows_a_search() {
    let app = TestApp::start();
    let any = products(&app.get("/api/products/search?keywords=usb&page_size=1"));
    let category = any[0]["category_id"].as_str().unwrap();
    let path = format!("/api/products/search?category_ids={category}&page_size=50");
    let found = products(&app.get(&path));
    assert!(!found.is_empty());
    assert!(found.iter().all(|product| product["category_id"] == category), "{found:?}");
}

#[test]
fn a_link_that_came_with_the_product_is_told_as_such() {
    let app = TestApp::start();
    let found = products(&app.get("/api/products/search?keywords=usb&page_size=1"));
    assert_eq!(found[0]["affiliate_status"], "provided");
    let link = found[0]["affiliate_url"].as_str().unwrap();
    assert!(link.starts_with("https://s.click.aliexpress.com/"), "{link}");
    let id = found[0]["product_id"].as_str().unwrap();
    let one = data(&app.get(&format!("/api/products/details/{id}")));
    check_product(&one);
    assert_eq!(one["affiliate_status"], "provided");
}

#[test]
fn common_words_find_what_they_should() {
    let app = TestApp::start();
    let titles = |keywords: &str| -> Vec<String> {
        let body = json!({"keywords": keywords, "page_size": 50});
        let found = products(&app.post("/api/products/search", &body));
        let title = |one: &Value| one["product_title"].as_str().unwrap().to_lowercase();
        found.iter().map(title).collect()
    };
    for (keywords, expected) in [
        ("phone case", "phone case"),
        ("wireless headphones", "headphones"),
        ("tshirt", "t-shirt"),
        ("lapm", "lamp"),
        ("red dress", "dress"),
        ("hedphones", "headphones"),
        ("powerbank", "power bank"),
        ("smartwatches", "smart watch"),
        ("head phones", "headphones"),
    ] {
        let found = titles(keywords);
        let first = found.first().unwrap_or_else(|| panic!("{keywords}"));
        assert!(first.contains(expected), "{keywords}: {found:?}");
    }
    for nothing in ["🎧", "👍🏽 ❤️", "!!!", "— … —", "\"\""] {
        assert_eq!(titles(nothing), [""; 0], "{nothing}");
    }
}

#[test]
fn products_like_one() {
    let app = TestApp::start();
    let one = products(&app.get("/api/products/search?keywords=usb&page_size=1")).remove(0);
    let url = one["product_url"].as_str().unwrap().replace('%', "%25");
    let like = data(&app.get(&format!("/api/smart-match?product_url={url}")));
    assert_eq!(like["product_id"], one["product_id"]);
    let products = like["products"].as_array().unwrap();
    assert_eq!(like["total_count"], products.len());
    assert!(!products.is_empty());
    products.iter().for_each(check_product);
}

#[test]
fn another_currency_and_its_decimals() {
    let app = TestApp::start();
    for (currency, decimals) in [("EUR", 2), ("JPY", 0), ("KRW", 0)] {
        let path = format!("/api/products/search?keywords=usb&currency={currency}");
        for product in products(&app.get(&path)) {
            assert_eq!(product["currency"], currency);
            let price = product["price"].as_str().unwrap();
            let written = price.split_once('.').map_or(0, |(_, cents)| cents.len());
            assert_eq!(written, decimals, "{price} {currency}");
        }
    }
}

#[test]
fn nothing_found_is_an_answer_and_says_so() {
    let app = TestApp::start();
    let path = "/api/products/search?keywords=qqzzxxyy";
    let page = data(&app.get(path));
    assert_eq!((&page["products"], &page["total_record_count"]), (&json!([]), &json!(0)));
    // Kept like any result: asking again costs nothing.
    assert_eq!(metadata(&app.get(path))["cache_tier"], "memory");
    assert_eq!(app.upstream.calls(), 1);
    // The upstream's word for "nothing" is one too: 405 "The result is empty".
    let word = json!({"fault": "variant", "variant": "business_code", "code": "405"});
    app.upstream.fails_with(&word);
    let page = data(&app.get("/api/products/search?keywords=usb"));
    assert_eq!((&page["products"], &page["total_record_count"]), (&json!([]), &json!(0)));
}

#[test]
fn a_page_past_the_end_keeps_the_total() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", "a-client-key-for-tests")]);
    let mut client = app.connection().with_header("x-internal-key", "a-client-key-for-tests");
    for (path, list) in [
        ("/api/products/search?keywords=usb", "products"),
        ("/api/products/smart-search?keywords=usb", "products"),
        ("/api/products/hot?keywords=usb", "products"),
        (
            "/api/orders?start_time=2026-01-01+00:00:00&end_time=2026-01-02+00:00:00&status=Completed",
            "orders",
        ),
    ] {
        let total = data(&client.get(path).unwrap())["total_record_count"].clone();
        assert!(total.as_u64().is_some_and(|total| total > 0), "{path}: {total}");
        for page in [900, 901] {
            let beyond = data(&client.get(&format!("{path}&page_no={page}")).unwrap());
            assert_eq!(
                (&beyond[list], &beyond["total_record_count"]),
                (&json!([]), &total),
                "{path}"
            );
        }
    }
}

#[test]
fn status() {
    let app = TestApp::start();
    let status = data(&app.get("/api/status"));
    assert_eq!(status["service"], "breakwater");
    assert_eq!(status["api_integration"], "live");
    assert_eq!(status["circuit_breaker"], "closed");
    assert_eq!((&status["workers"], &status["degraded"]), (&json!(2), &json!([])));
    assert!(status["uptime_seconds"].is_u64() && status["version"].is_string());
}

#[test]
fn cache_statistics() {
    let app = TestApp::start();
    for _ in 0..2 {
        app.get("/api/products/search?keywords=usb");
    }
    let stats = data(&app.get("/api/cache/stats"));
    let figures = |part: &str, names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| stats[part][*name].clone()).collect()
    };
    let counts = ["hits", "misses", "total_requests", "hit_rate_percent"];
    assert_eq!(figures("cache_stats", &counts), [json!(1), json!(1), json!(2), json!(50.0)]);
    assert_eq!(stats["cache_stats"]["by_tier"]["memory"]["hits"], 1);
    let config = ["redis_connected", "memory_cache_size", "default_ttl"];
    assert_eq!(figures("cache_config", &config), [json!(false), json!(1), json!(3600)]);
    assert!(stats["cache_config"]["memory_cache_bytes"].as_u64().unwrap() > 100);
    let impact = ["estimated_api_calls_saved", "cache_efficiency"];
    assert_eq!(figures("performance_impact", &impact), [json!(1), json!("fair")]);
    assert!(stats["waiting"]["database"].is_u64(), "{stats}");
}

#[test]
fn documents_are_served_from_the_binary() {
    let app = TestApp::start();
    for path in ["/openapi.json", "/openapi-gpt.json"] {
        let answer = app.get(path);
        assert_eq!(answer.status, 200);
        let document = answer.json();
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
        assert!(document["paths"]["/api/products/search"]["get"].is_object());
    }
    let operations = |path: &str| -> usize {
        let document = app.get(path).json();
        let paths = document["paths"].as_object().unwrap().values();
        paths.filter_map(Value::as_object).map(serde_json::Map::len).sum()
    };
    assert_eq!(operations("/openapi-gpt.json"), 9, "the public operations of the contract");
    assert!(operations("/openapi.json") > 30);
    let page = app.get("/docs");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    let text = page.text();
    for outside in ["src=\"http", "href=\"http", "src=\"//", "@import"] {
        assert!(!text.contains(outside), "{outside} needs the internet");
    }
}
