//! What is said from a catalogue, and what is not.

use super::*;
use crate::services::products::aliexpress::Target;
use crate::services::products::aliexpress::terms::Currency as Asked;
use crate::services::products::fixtures::{defaults, search_query};
use crate::services::products::product::{Dropped, Product};
use crate::services::products::reading;

const LINES: &str = r#"
{"id": 11, "title": "Red usb cable", "price": "3.00", "category_path": ["Phones", "Cables"], "popularity": 50, "image_url": "https://img.test/1.jpg"}
{"id": 12, "title": "Usb lamp for desks", "price": "9.99", "category_path": ["Home", "Lamps", "Desk"], "popularity": 30}
{"id": 13, "title": "Desk of oak", "price": "900", "currency": "JPY", "category_path": ["Home"], "popularity": 20}
{"id": 14, "title": "Usb thing without a price", "popularity": 10}
{"id": 15, "title": "Earns nothing", "price": "1.00", "popularity": 1, "attributes": {"commission": false}}
nonsense
"#;

fn last_resort() -> LastResort {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.jsonl");
    std::fs::write(&path, LINES).unwrap();
    let (last_resort, report) = LastResort::load(&path).unwrap();
    assert_eq!((last_resort.products(), report.skipped_lines()), (5, 1));
    last_resort
}

fn read(result: &Value) -> (Vec<Product>, Dropped) {
    reading::products(result, &defaults(), true)
}

fn ids(query: &SearchQuery) -> Vec<String> {
    let found = last_resort().search(query, false).unwrap();
    read(&found).0.into_iter().map(|product| product.product_id).collect()
}

#[test]
fn only_what_the_file_says_is_told() {
    let product = read(&last_resort().product(11).unwrap()).0.remove(0);
    assert_eq!((product.price.as_str(), product.currency.as_str()), ("3.00", "USD"));
    assert_eq!(product.product_url, "https://www.aliexpress.com/item/11.html");
    assert_eq!(product.category_name.as_deref(), Some("Cables"));
    assert_eq!(product.orders_count, Some(50));
    assert!(product.quality_score > 0.0);
    let invented = [product.discount, product.commission_rate, product.evaluate_rate];
    assert_eq!(invented, [None, None, None]);
    assert_eq!(
        (product.shop_id, product.affiliate_url, product.original_price),
        (None, None, None)
    );
}

#[test]
fn what_is_not_there_or_not_fit_is_no_answer() {
    let last_resort = last_resort();
    for id in [99, 15] {
        assert_eq!(last_resort.product(id), None, "{id}");
    }
    assert!(read(&last_resort.product(14).unwrap()).0.is_empty());
    let nothing = SearchQuery { keywords: Some("kettle".into()), ..search_query() };
    assert!(ids(&nothing).is_empty());
    let beyond = SearchQuery { page_no: 10_000, page_size: 50, ..search_query() };
    assert!(read(&last_resort.search(&beyond, true).unwrap()).0.is_empty());
}

#[test]
fn a_search_means_what_it_means_elsewhere() {
    let usb = SearchQuery { keywords: Some("usb".into()), ..search_query() };
    assert_eq!(ids(&usb), ["11", "12"]);
    assert_eq!(ids(&SearchQuery { sort: Some(terms::Sort::SalePriceDesc), ..usb }), ["12", "11"]);
    let second = SearchQuery { page_no: 2, page_size: 1, ..search_query() };
    assert_eq!(ids(&second), ["12"]);
    let categories = last_resort().categories();
    let categories = categories["categories"].as_array().unwrap();
    let home = categories.iter().find(|one| one["category_name"] == "Home").unwrap();
    let home = home["category_id"].as_u64().unwrap();
    let home = SearchQuery { category_ids: vec![home], ..search_query() };
    assert_eq!(ids(&home), ["12", "13"], "also what lies below");
}

#[test]
fn dropped_products_are_counted_and_the_total_stays() {
    let found = last_resort().search(&search_query(), false).unwrap();
    let (products, dropped) = read(&found);
    assert_eq!((found["total_record_count"].as_u64(), products.len()), (Some(5), 4));
    assert_eq!(dropped.total(), 1);
}

#[test]
fn bounds_hold_in_the_currency_asked_for_only() {
    let yen = Target { currency: Asked::requestable("JPY").unwrap(), ..defaults() };
    let cheap = SearchQuery { max_sale_price: Some(1_000), ..search_query() };
    assert_eq!(ids(&cheap), ["11", "12", "15"], "900 yen are not compared to ten dollars");
    assert_eq!(ids(&SearchQuery { target: yen.clone(), ..cheap }), ["13"]);
    assert_eq!(ids(&SearchQuery { target: yen, ..search_query() }).len(), 4, "each in its own");
}

#[test]
fn every_currency_that_can_be_asked_for_has_bounds_in_the_same_unit() {
    for asked in Asked::REQUESTABLE {
        let known = Currency::named(asked.code()).unwrap();
        let one = catalogue::money::Money::parse("1", known).unwrap();
        assert_eq!(Some(one.minor()), asked.lower_bound(1.into()), "{}", asked.code());
    }
}
