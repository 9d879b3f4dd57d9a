//! The captured shapes, and whatever else JSON can be.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn earbuds() -> Value {
    json!({"product_id": 3_256_812_497_109_248_u64, "product_title": "Wireless Bluetooth Earbuds",
        "product_detail_url": "https://www.aliexpress.com/item/3256812497109248.html?x=1",
        "product_main_image_url": "https://img.test/main.jpg",
        "product_small_image_urls": {"string": ["https://img.test/main.jpg", "https://img.test/s1.jpg"]},
        "promotion_link": "https://s.click.aliexpress.com/s/x", "target_sale_price": "4.69",
        "target_sale_price_currency": "USD", "target_original_price": "10.43",
        "target_original_price_currency": "USD", "sale_price": "31.30", "sale_price_currency": "CNY",
        "original_price": "69.62", "original_price_currency": "CNY", "discount": "55%",
        "commission_rate": "7.0%", "evaluate_rate": "96.5%", "lastest_volume": "2000",
        "first_level_category_id": 26, "first_level_category_name": "Toys & Hobbies",
        "second_level_category_id": 55, "second_level_category_name": "Games",
        "shop_id": 1_105_550_285, "shop_url": "https://www.aliexpress.com/store/1105550285"})
}

fn without(mut value: Value, names: &[&str]) -> Value {
    let fields = value.as_object_mut().unwrap();
    for name in names {
        fields.remove(*name);
    }
    value
}

#[test]
fn the_documented_answer_is_read_in_full() {
    let page = product_page(&json!({"current_page_no": 1, "total_record_count": "123",
        "products": {"product": [earbuds()]}}));
    assert_eq!((page.total_record_count, page.current_page_no), (Some(123), Some(1)));
    let product = &page.products[0];
    assert_eq!(product.product_id, Some(3_256_812_497_109_248));
    assert_eq!(product.latest_volume, Some(2000));
    assert_eq!(product.small_image_urls.len(), 2);
    assert_eq!(product.second_level.id, Some(55));
    let price = product.sale_price.clone().unwrap();
    assert_eq!((price.amount.as_str(), price.currency.as_deref()), ("4.69", Some("USD")));
    assert_eq!(product.original_price.clone().unwrap().amount, "10.43");
}

#[test]
fn without_a_target_price_the_plain_ones_speak_in_their_own_currency() {
    let value = without(earbuds(), &["target_sale_price"]);
    let product = product_page(&json!({"products": [value]})).products.remove(0);
    let (sale, original) = (product.sale_price.unwrap(), product.original_price.unwrap());
    assert_eq!((sale.amount.as_str(), sale.currency.as_deref()), ("31.30", Some("CNY")));
    assert_eq!((original.amount.as_str(), original.currency.as_deref()), ("69.62", Some("CNY")));
    assert!(!sale.targeted);
}

#[test]
fn any_one_field_may_be_missing() {
    let names: Vec<String> = earbuds().as_object().unwrap().keys().cloned().collect();
    for name in &names {
        let page = product_page(&json!({"products": {"product": without(earbuds(), &[name])}}));
        assert_eq!(page.products.len(), 1, "without {name}");
    }
}

#[test]
fn links_come_with_and_without_an_affiliate_address() {
    let list = link_list(&json!({"total_result_count": 3, "promotion_links": {"promotion_link": [
        {"source_value": "https://a.test/1", "promotion_link": "https://s.test/1"},
        {"source_value": "https://a.test/2"}, {"promotion_link": "https://s.test/3"}]}}));
    assert_eq!(list.len(), 2);
    assert_eq!(list[1].promotion_link, None);
}

#[test]
fn top_categories_have_no_parent_in_either_spelling() {
    let list =
        category_list(&json!({"categories": [{"category_id": "7", "category_name": "Office"},
        {"category_id": 8, "category_name": "Home", "parent_category_id": 0},
        {"category_id": 702, "category_name": "Laptops", "parent_category_id": "7"}]}));
    let parents: Vec<_> = list.iter().map(|category| category.parent).collect();
    assert_eq!(parents, [None, None, Some(7)]);
}

#[test]
fn orders_keep_ids_and_amounts_exact() {
    let page = order_page(&json!({"total_record_count": 1, "orders": {"order":
        {"order_id": 8_195_000_000_000_123_u64, "paid_amount": 12.5, "product_count": "2"}}}));
    let order = &page.orders[0];
    assert_eq!(order.order_id.as_deref(), Some("8195000000000123"));
    assert_eq!((order.paid_amount.as_deref(), order.product_count), (Some("12.5"), Some(2)));
}

const NAMES: [&str; 16] = [
    "products",
    "product",
    "product_id",
    "product_title",
    "promotion_links",
    "promotion_link",
    "source_value",
    "categories",
    "category",
    "category_id",
    "parent_category_id",
    "orders",
    "order",
    "string",
    "product_small_image_urls",
    "target_sale_price",
];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[0-9]{1,22}".prop_map(Value::from),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(NAMES.to_vec()), inner), 0..6).prop_map(
                |fields| Value::from(
                    fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>()
                )
            ),
        ]
    })
}

proptest! {
    #[test]
    fn anything_is_read_without_a_panic(value in json_value()) {
        drop(product_page(&value));
        drop(link_list(&value));
        drop(category_list(&value));
        drop(order_page(&value));
    }

    #[test]
    fn every_64_bit_id_survives_both_spellings(id in 1..=u64::MAX) {
        for written in [json!(id), json!(id.to_string())] {
            let page = product_page(&json!({"products": [{"product_id": written}]}));
            prop_assert_eq!(page.products[0].product_id, Some(id));
        }
    }
}
