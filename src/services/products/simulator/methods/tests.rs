//! What every method answers, and what it complains about.

use std::sync::LazyLock;

use serde_json::Value;

use super::super::verify::read_gateway_time;
use super::*;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::load(None).unwrap().0);

const SEARCH: &str = "product.query";
const HOT: &str = "hotproduct.query";
const DETAILS: &str = "productdetail.get";
const LINKS: &str = "link.generate";
const LIKE: &str = "product.smartmatch";
const ORDERS: &str = "order.list";

/// The `resp_result` of a call, or the code of its refusal.
fn call(method: &str, form: &str) -> Result<Value, String> {
    let parameters = Parameters::read(form, b"");
    let now = read_gateway_time("2026-01-01 00:00:00").unwrap();
    let pictures = "http://here.test";
    let (parameters, catalogue) = (&parameters, &*CATALOGUE);
    let call = Call { parameters, catalogue, tracking_id: "t", pictures, now };
    let method = Method::named(&format!("aliexpress.affiliate.{method}")).expect(method);
    match (method.answer)(&call) {
        Ok(answer) => {
            let root = format!("{}_response", method.name.replace('.', "_"));
            let body = answer.body(method, "r");
            assert_eq!(body[&root]["request_id"], "r");
            Ok(body[&root]["resp_result"].clone())
        }
        Err(refusal) => {
            let body = refusal.body("r", false);
            Err(body["error_response"]["code"].as_str().unwrap().to_owned())
        }
    }
}

fn result(method: &str, form: &str) -> Value {
    let resp = call(method, form).expect(form);
    assert_eq!(resp["resp_code"], 200, "{form}: {resp}");
    resp["result"].clone()
}

fn products(method: &str, form: &str) -> Vec<Value> {
    result(method, form)["products"]["product"].as_array().expect(form).clone()
}

fn ids(products: &[Value]) -> Vec<u64> {
    products.iter().map(|product| product["product_id"].as_u64().unwrap()).collect()
}

fn first_id() -> u64 {
    ids(&products(SEARCH, "page_size=1"))[0]
}

#[test]
fn a_search_answers_one_page() {
    let page = result(SEARCH, "keywords=usb&page_no=2&page_size=5");
    let total = page["total_record_count"].as_u64().unwrap();
    assert!(total > 10, "{total}");
    assert_eq!(page["current_page_no"], 2);
    assert_eq!(page["current_record_count"], 5);
    assert_eq!(page["total_page_no"], total.div_ceil(5));
    let beyond = result(SEARCH, "keywords=usb&page_no=1000");
    assert_eq!(
        (&beyond["total_record_count"], &beyond["current_record_count"]),
        (&total.into(), &0.into())
    );
    let nothing = call(SEARCH, "keywords=zzzzqqqq").unwrap();
    assert_eq!((&nothing["resp_code"], nothing.get("result")), (&405.into(), None));
}

#[test]
fn prices_come_in_the_target_and_in_yuan() {
    let form = "page_size=50&target_currency=JPY&ship_to_country=FR";
    for product in products(SEARCH, form) {
        assert_eq!(product["target_sale_price_currency"], "JPY");
        assert!(product["target_sale_price"].as_str().unwrap().parse::<u64>().is_ok());
        assert_eq!(product["sale_price_currency"], "CNY");
        assert!(product["sale_price"].as_str().unwrap().contains('.'));
        assert!(product["ship_to_days"].as_str().unwrap().starts_with("ship to FR in "));
        assert!(product["sku_id"].as_u64().unwrap() > 1 << 53);
        assert!(product["discount"].as_str().unwrap().ends_with('%'));
        assert!(product["evaluate_rate"].as_str().unwrap().ends_with('%'));
    }
}

#[test]
fn volumes_are_spelled_and_typed_oddly() {
    let shown = products(SEARCH, "page_size=50");
    let texts = shown.iter().filter(|product| product["lastest_volume"].is_string()).count();
    let numbers = shown.iter().filter(|product| product["lastest_volume"].is_u64()).count();
    assert!(texts > 0 && numbers > 0 && texts + numbers == 50, "{texts} {numbers}");
}

#[test]
fn bounds_are_in_the_smallest_unit() {
    for product in products(SEARCH, "min_sale_price=1000&max_sale_price=2000&page_size=50") {
        let price: f64 = product["target_sale_price"].as_str().unwrap().parse().unwrap();
        assert!((10.0..=20.0).contains(&price), "{price}");
    }
    let form = "max_sale_price=9000&target_currency=KRW&page_size=50";
    for product in products(SEARCH, form) {
        let won: u64 = product["target_sale_price"].as_str().unwrap().parse().unwrap();
        assert!(won <= 9000, "{won}");
    }
}

#[test]
fn one_link_is_shared_by_a_whole_answer() {
    let with = products(SEARCH, "tracking_id=t&page_size=10");
    let links: std::collections::BTreeSet<&str> =
        with.iter().map(|product| product["promotion_link"].as_str().unwrap()).collect();
    assert_eq!(links.len(), 1);
    let without = products(SEARCH, "page_size=10");
    assert!(without.iter().all(|product| product.get("promotion_link").is_none()));
}

#[test]
fn a_wrong_tracking_id_is_an_empty_list_and_no_error() {
    for method in [SEARCH, HOT] {
        let page = result(method, "tracking_id=wrong");
        assert_eq!(page["products"]["product"], Value::Array(vec![]));
        assert_eq!(page["total_record_count"], 0);
    }
    let form = format!("tracking_id=wrong&product_ids={}", first_id());
    assert_eq!(result(DETAILS, &form)["current_record_count"], 0);
    let form = "tracking_id=wrong&source_values=https://www.aliexpress.com/item/1.html";
    assert_eq!(result(LINKS, form)["total_result_count"], 0);
}

#[test]
fn only_the_asked_fields_are_sent() {
    let shown = products(SEARCH, "fields=product_title,%20sale_price&page_size=1");
    let names: Vec<&String> = shown[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["product_id", "product_title", "sale_price"]);
}

#[test]
fn every_documented_order_is_followed() {
    let discounts = |sort: &str| -> Vec<u64> {
        let shown = products(SEARCH, &format!("page_size=50&sort={sort}"));
        let discount = |product: &Value| {
            product["discount"].as_str().unwrap().trim_end_matches('%').parse().unwrap()
        };
        shown.iter().map(discount).collect()
    };
    assert!(discounts("DISCOUNT_DESC").is_sorted_by(|left, right| left >= right));
    assert!(discounts("DISCOUNT_ASC").is_sorted());
    assert!(discounts("DISCOUNT_DESC")[0] > discounts("DISCOUNT_ASC")[0]);
}

#[test]
fn hot_products_are_the_ones_that_sell() {
    let all = ids(&products(SEARCH, "page_size=50&sort=LAST_VOLUME_DESC"));
    assert_eq!(ids(&products(HOT, "page_size=50")), all);
    let total = |method: &str| result(method, "")["total_record_count"].as_u64().unwrap();
    assert!(total(HOT) < total(SEARCH));
}

#[test]
fn details_leave_out_what_is_unknown_or_pays_nothing() {
    let unpaid = CATALOGUE.products().iter().find(|p| p.commission_permille.is_none()).unwrap().id;
    let first = first_id();
    let form = format!("product_ids={unpaid},1,{first},{first}");
    let details = result(DETAILS, &form);
    assert_eq!(details["current_record_count"], 1);
    assert_eq!(details["products"]["product"][0]["product_id"], first);
    assert_eq!(call(DETAILS, "product_ids=1").unwrap()["resp_code"], 405);
}

#[test]
fn categories_are_one_flat_list() {
    let list = result("category.get", "");
    let flat = list["categories"]["category"].as_array().unwrap();
    assert_eq!(list["total_result_count"], flat.len());
    let known: Vec<u64> = flat.iter().map(|one| one["category_id"].as_u64().unwrap()).collect();
    let parents: Vec<Option<u64>> =
        flat.iter().map(|one| one.get("parent_category_id").and_then(Value::as_u64)).collect();
    assert!(parents.contains(&None) && parents.contains(&Some(0)), "both kinds of top category");
    assert!(parents.iter().flatten().all(|parent| *parent == 0 || known.contains(parent)));
}

#[test]
fn links_come_in_another_order_each_for_its_whole_source() {
    let asked: Vec<String> =
        (1..=5).map(|n| format!("https://www.aliexpress.com/p?n={n}")).collect();
    let form = format!("tracking_id=t&source_values={}", asked.join(","));
    let answer = result(LINKS, &form);
    assert_eq!(answer["tracking_id"], "t");
    let links = answer["promotion_links"]["promotion_link"].as_array().unwrap();
    let mut sources: Vec<&str> =
        links.iter().map(|link| link["source_value"].as_str().unwrap()).collect();
    assert_ne!(sources, asked);
    sources.sort_unstable();
    assert_eq!(sources, asked);
    let distinct: std::collections::BTreeSet<_> =
        links.iter().map(|link| link["promotion_link"].as_str().unwrap()).collect();
    assert_eq!(distinct.len(), 5);
}

#[test]
fn some_sources_earn_no_link() {
    let unpaid = CATALOGUE.products().iter().find(|p| p.commission_permille.is_none()).unwrap().id;
    let form = format!(
        "tracking_id=t&source_values=https://elsewhere.example/1,nonsense,https://a.aliexpress.com/_x,https://www.aliexpress.com/item/{unpaid}.html"
    );
    let links = result(LINKS, &form)["promotion_links"]["promotion_link"].clone();
    let links = links.as_array().unwrap();
    assert_eq!(links.len(), 4);
    assert!(links.iter().all(|link| link.get("promotion_link").is_none()));
}

#[test]
fn smart_match_finds_likeness() {
    let first = first_id();
    let similar = products(LIKE, &format!("device_id=d&product_id={first}"));
    assert!(!similar.is_empty() && !ids(&similar).contains(&first));
    assert!(!products(LIKE, "device_id=d&keywords=lamp").is_empty());
    assert_eq!(products(LIKE, "device_id=d").len(), 20);
    let unknown = "device_id=d&product_id=999999999999999999";
    let none = call(LIKE, unknown).unwrap();
    assert_eq!(none["resp_code"], 405, "nothing is like what nobody knows: {none}");
    assert!(!products(LIKE, &format!("{unknown}&keywords=lamp")).is_empty());
}

#[test]
fn complaints() {
    let many = vec!["1"; 51].join(",");
    let cases = [
        (SEARCH, "page_size=51".to_owned(), "InvalidParameter"),
        (SEARCH, "page_no=0".to_owned(), "InvalidParameter"),
        (SEARCH, "sort=CHEAP".to_owned(), "InvalidParameter"),
        (SEARCH, "min_sale_price=3.14".to_owned(), "InvalidParameter"),
        (SEARCH, "target_currency=CNY".to_owned(), "InvalidParameter"),
        (SEARCH, "target_language=XX".to_owned(), "InvalidParameter"),
        (SEARCH, "category_ids=a".to_owned(), "InvalidParameter"),
        (SEARCH, "delivery_days=4".to_owned(), "InvalidParameter"),
        (SEARCH, "platform_product_type=X".to_owned(), "InvalidParameter"),
        (SEARCH, "ship_to_country=France".to_owned(), "InvalidParameter"),
        (DETAILS, String::new(), "MissingParameter"),
        (DETAILS, "product_ids=x".to_owned(), "InvalidParameter"),
        (DETAILS, format!("product_ids={many}"), "InvalidParameter"),
        (LINKS, "source_values=x".to_owned(), "MissingParameter"),
        (LINKS, "tracking_id=t".to_owned(), "MissingParameter"),
        (LINKS, format!("tracking_id=t&source_values={many}"), "InvalidParameter"),
        (
            LINKS,
            "tracking_id=t&source_values=x&promotion_link_type=1".to_owned(),
            "InvalidParameter",
        ),
        (LIKE, String::new(), "MissingParameter"),
        (ORDERS, "start_time=2025-12-01+00:00:00".to_owned(), "MissingParameter"),
        (ORDERS, window("yesterday", "2025-12-02 00:00:00", "Completed"), "InvalidParameter"),
        (
            ORDERS,
            window("2025-12-02 00:00:00", "2025-12-01 00:00:00", "Completed"),
            "InvalidParameter",
        ),
        (ORDERS, window("2025-12-01 00:00:00", "2025-12-02 00:00:00", "Lost"), "InvalidParameter"),
    ];
    for (method, form, code) in cases {
        assert_eq!(call(method, &form), Err(code.to_owned()), "{form}");
    }
}

fn window(start: &str, end: &str, status: &str) -> String {
    format!("start_time={start}&end_time={end}&status={status}").replace(' ', "+")
}

fn orders(answer: &Value) -> Vec<u64> {
    let list = answer["orders"]["order"].as_array().unwrap();
    list.iter().map(|order| order["order_id"].as_u64().unwrap()).collect()
}

#[test]
fn order_pages_hold_every_order_once() {
    let week = window("2025-12-01 00:00:00", "2025-12-08 00:00:00", "Completed");
    let first = result(ORDERS, &week);
    let total = first["total_record_count"].as_u64().unwrap();
    assert!(total > 40, "{total}");
    let mut by_page = Vec::new();
    for page_no in 1..=first["total_page_no"].as_u64().unwrap() {
        by_page.extend(orders(&result(ORDERS, &format!("{week}&page_no={page_no}"))));
    }
    assert_eq!(u64::try_from(by_page.len()).unwrap(), total);
    assert!(by_page.is_sorted_by(|one, next| one < next), "oldest first, each once");
}

#[test]
fn orders_lie_in_their_window_and_never_in_the_future() {
    let form = window("2025-12-31 20:00:00", "2030-01-01 00:00:00", "Payment Completed");
    let answer = result(ORDERS, &format!("{form}&page_size=50"));
    for order in answer["orders"]["order"].as_array().unwrap() {
        let created = order["created_time"].as_str().unwrap();
        assert!(("2025-12-31 20:00:00"..="2026-01-01 00:00:00").contains(&created), "{created}");
        assert_eq!(order["order_status"], "Payment Completed");
    }
    let future = window("2026-06-01 00:00:00", "2030-01-01 00:00:00", "Completed");
    assert_eq!(call(ORDERS, &future).unwrap()["resp_code"], 405);
}
