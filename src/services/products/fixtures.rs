//! Products and queries that the tests of this room share.

use serde_json::{Value, json};

use super::aliexpress::Target;
use super::aliexpress::terms::{Currency, Language};
use super::product::Product;
use super::reading;
use super::search_query::{SearchForm, SearchQuery};

pub(super) fn defaults() -> Target {
    Target {
        currency: Currency::requestable("USD").unwrap(),
        language: Language::parse("EN").unwrap(),
        ship_to: None,
        tracking_id: Some("shop".into()),
    }
}

pub(super) fn search_query() -> SearchQuery {
    SearchForm::default().validate(&defaults()).unwrap()
}

pub(super) fn wire_product(id: u64) -> Value {
    json!({"product_id": id, "product_title": format!("Wireless earbuds number {id}"),
        "product_detail_url": format!("https://www.aliexpress.com/item/{id}.html?x=1"),
        "product_main_image_url": format!("https://img.test/{id}.jpg"),
        "product_small_image_urls": {"string": [format!("https://img.test/{id}.jpg"),
            format!("https://img.test/{id}-2.jpg")]},
        "target_sale_price": "4.69", "target_sale_price_currency": "USD",
        "target_original_price": "10.43", "target_original_price_currency": "USD",
        "discount": "55%", "commission_rate": "7.0%", "evaluate_rate": "96.5%",
        "lastest_volume": 2000, "first_level_category_id": 26,
        "first_level_category_name": "Toys", "shop_id": 5,
        "shop_url": "https://www.aliexpress.com/store/5"})
}

pub(super) fn product(id: u64) -> Product {
    product_of(&wire_product(id)).unwrap()
}

pub(super) fn product_of(value: &Value) -> Result<Product, super::product::DropReason> {
    reading::product(value, &defaults(), true)
}
