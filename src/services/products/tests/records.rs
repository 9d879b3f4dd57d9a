//! Records of answers in every form, and whatever else JSON can be.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::services::products::aliexpress::Method;
use crate::services::products::aliexpress::records::{Contents, Records};
use crate::services::products::endpoints::{
    categories, details, links, orders, search, smart_match,
};
use crate::services::products::fixtures::{defaults, product_of};
use crate::services::products::reading;

const METHODS: [Method; 7] = [
    search::METHOD,
    search::HOT_METHOD,
    details::METHOD,
    categories::METHOD,
    links::METHOD,
    smart_match::METHOD,
    orders::METHOD,
];

fn all() -> impl Iterator<Item = (&'static str, Records)> {
    METHODS.into_iter().map(|method| (method.name, method.records))
}

fn is_hollow(records: Records, result: &Value) -> bool {
    matches!(records.contents(result, 1), Contents::Hollow(_))
}

#[test]
fn every_method_has_its_list_in_every_form() {
    for (method, shape) in all() {
        let record = json!({"product_id": 7, "product_title": "A kettle", "sale_price": 4.5,
            "category_id": "7", "category_name": "Kettles", "order_id": 7,
            "source_value": "https://shop.test/"});
        for form in [
            json!({shape.outer: {shape.inner: [record]}}),
            json!({shape.outer: {shape.inner: record}}),
            json!({shape.outer: [record]}),
            json!({shape.outer: record}),
            json!({shape.inner: [record]}),
            json!([record]),
            json!({shape.outer: {shape.inner: [record]}, "new_field": {"x": [1]}}),
            // One of which nothing is known does not spoil the others.
            json!({shape.outer: [{"other": 1}, null, 5, record]}),
        ] {
            assert_eq!(shape.contents(&form, 1), Contents::Records, "{method} {form}");
        }
        for nothing in [
            json!({shape.outer: {shape.inner: []}}),
            json!({shape.outer: {}}),
            json!({shape.outer: []}),
            json!({shape.outer: [], "total_record_count": 0}),
            json!({"total_result_count": "0"}),
            json!({shape.outer: null, "current_record_count": 0}),
            json!({shape.outer: [], "total_record_count": 41, "total_page_no": 3, "current_page_no": 4}),
        ] {
            assert_eq!(shape.contents(&nothing, 1), Contents::Nothing, "{method} {nothing}");
        }
        for hollow in [
            json!({"x": 1}),
            json!({shape.outer: null}),
            json!({shape.outer: {shape.inner: null}}),
            json!({shape.outer: 3}),
            json!({shape.outer: ""}),
            json!({shape.outer: [], "total_record_count": 41}),
            json!({shape.outer: [], "current_record_count": "2", "total_record_count": 0}),
            json!({"total_record_count": 41}),
            json!({shape.outer: [{}, {"other": 1}]}),
            json!({shape.outer: ["x", 3]}),
            json!({shape.outer: {"other": 1}}),
        ] {
            assert!(is_hollow(shape, &hollow), "{method} {hollow}");
        }
    }
}

#[test]
fn a_page_that_is_promised_and_not_served_is_empty() {
    let page = |page: Value, more: Value| {
        let mut result = json!({"products": {"product": []}, "total_page_no": 1000,
            "total_record_count": 50_000, "current_page_no": page});
        result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        result
    };
    let shape = Records::PRODUCTS;
    for nothing in [
        page(json!(201), json!({"current_record_count": 0})),
        page(json!(201), json!({})),
        page(json!("1000"), json!({"products": {}})),
        // The count of the page says so, whatever became of the list.
        page(json!(201), json!({"current_record_count": 0, "products": null})),
        // It is the page that was asked for that counts, should the answer name none or another.
        page(json!(null), json!({})),
        page(json!(1), json!({"current_record_count": 0})),
    ] {
        assert_eq!(shape.contents(&nothing, 201), Contents::Nothing, "{nothing}");
    }
    for hollow in [
        page(json!(201), json!({"products": null})),
        page(json!(201), json!({"current_record_count": 50})),
        page(json!(201), json!({"products": {"product": [{"other": 1}]}})),
    ] {
        let contents = shape.contents(&hollow, 201);
        assert!(matches!(contents, Contents::Hollow(_)), "{hollow}");
    }
    let first = page(json!(1), json!({"current_record_count": 0}));
    assert!(is_hollow(shape, &first), "a first page that is promised is there");
}

#[test]
fn an_id_that_lost_digits_is_none() {
    for id in ["18446744073709551616", "1.2e16", "-0", "0", "-7", "\"x\""] {
        let product = format!(
            "{{\"product_id\":{id},\"product_title\":\"A kettle\",\"sale_price\":\"4.50\"}}"
        );
        let text = format!("{{\"products\":{{\"product\":[{product}]}}}}");
        let result: Value = serde_json::from_str(&text).expect(id);
        assert!(is_hollow(Records::PRODUCTS, &result), "{id}");
    }
    let product = json!({"product_id": 9_007_199_254_740_993_u64,
        "product_title": "A kettle", "target_sale_price": 4});
    let result = json!({"products": [product]});
    assert_eq!(Records::PRODUCTS.contents(&result, 1), Contents::Records);
}

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
    let product = product_of(&earbuds()).unwrap();
    assert_eq!(product.product_id, "3256812497109248");
    assert_eq!(product.orders_count, Some(2000));
    assert_eq!(product.gallery_images, ["https://img.test/s1.jpg"]);
    assert_eq!(product.category_id.as_deref(), Some("55"));
    assert_eq!((product.price.as_str(), product.currency.as_str()), ("4.69", "USD"));
    assert_eq!(product.original_price.as_deref(), Some("10.43"));
}

#[test]
fn without_a_target_price_the_plain_ones_count_in_their_own_currency() {
    let product = product_of(&without(earbuds(), &["target_sale_price"])).unwrap();
    assert_eq!((product.price.as_str(), product.currency.as_str()), ("31.30", "CNY"));
    assert_eq!(product.original_price.as_deref(), Some("69.62"));
}

#[test]
fn any_one_field_may_be_missing_but_the_id() {
    let names: Vec<String> = earbuds().as_object().unwrap().keys().cloned().collect();
    for name in &names {
        let result = json!({"products": {"product": without(earbuds(), &[name])}});
        let (products, _) = reading::products(&result, &defaults(), false);
        assert_eq!(products.len(), usize::from(name != "product_id"), "without {name}");
    }
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
        drop(reading::products(&value, &defaults(), true));
        for (_, records) in all() {
            drop(records.contents(&value, 1));
        }
    }

    #[test]
    fn every_64_bit_id_survives_both_spellings(id in 1..=u64::MAX) {
        for written in [json!(id), json!(id.to_string())] {
            let mut earbuds = earbuds();
            earbuds["product_id"] = written;
            prop_assert_eq!(product_of(&earbuds).unwrap().product_id, id.to_string());
        }
    }
}
