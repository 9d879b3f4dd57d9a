//! Searches and smart searches as clients send them.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::services::products::aliexpress::terms::Sort;
use crate::services::products::fixtures::defaults;
use crate::services::products::input::{from_json, from_query};
use crate::services::products::invalid::InvalidField;
use crate::services::products::query::{SearchQuery, validate};
use crate::services::products::smart_query::{self, SmartQuery};

fn search(text: &str) -> Result<SearchQuery, Vec<InvalidField>> {
    validate(&from_query(text)?, &defaults())
}

fn search_body(body: &Value) -> Result<SearchQuery, Vec<InvalidField>> {
    validate(&from_json(body.to_string().as_bytes())?, &defaults())
}

fn smart(text: &str) -> Result<SmartQuery, Vec<InvalidField>> {
    smart_query::validate(from_query(text)?, &defaults())
}

fn fields(mistakes: &[InvalidField]) -> Vec<&str> {
    mistakes.iter().map(|mistake| mistake.field.as_str()).collect()
}

#[test]
fn a_search_without_anything_browses() {
    let query = search("").unwrap();
    assert_eq!((query.keywords, query.page_no, query.page_size), (None, 1, 20));
    assert_eq!((query.target.currency.code(), query.target.language.code()), ("USD", "EN"));
    assert_eq!(query.target.tracking_id.as_deref(), Some("shop"));
}

#[test]
fn query_string_and_body_mean_the_same() {
    let text = search(
        "keywords=usb+cable&category_ids=26,7&min_sale_price=31.41&max_sale_price=99.9&page_no=2\
         &page_size=50&sort=sale_price_desc&ship_to_country=de&currency=eur&language=de",
    )
    .unwrap();
    let body = search_body(&json!({"keywords": "usb cable", "category_ids": [7, "26"],
        "min_sale_price": 31.41, "max_sale_price": "99.90", "page_no": "2", "page_size": 50,
        "sort": "SALE_PRICE_DESC", "ship_to_country": "DE", "currency": "EUR", "language": "DE"}))
    .unwrap();
    assert_eq!(text, body);
    assert_eq!((body.min_sale_price, body.max_sale_price), (Some(3141), Some(9990)));
    assert_eq!(
        (body.sort, body.category_ids.as_slice()),
        (Some(Sort::SalePriceDesc), &[7, 26][..])
    );
}

#[test]
fn all_mistakes_are_named_at_once() {
    let mistakes =
        search_body(&json!({"keywords": "a\u{7}", "category_ids": "x", "min_sale_price": -1,
        "max_sale_price": "cheap", "page_no": 0, "page_size": 51, "sort": "BEST",
        "ship_to_country": "Germany", "currency": "CNY", "language": "xx"}))
        .unwrap_err();
    let mut named = fields(&mistakes);
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "category_ids",
            "currency",
            "keywords",
            "language",
            "max_sale_price",
            "min_sale_price",
            "page_no",
            "page_size",
            "ship_to_country",
            "sort"
        ]
    );
    assert!(mistakes.iter().all(|mistake| !mistake.allowed.is_empty()));
}

#[test]
fn price_bounds_must_leave_a_price() {
    assert_eq!(
        fields(&search("min_sale_price=10&max_sale_price=5").unwrap_err()),
        ["min_sale_price"]
    );
    assert_eq!(
        fields(&search("min_sale_price=31.415&max_sale_price=31.415").unwrap_err()),
        ["min_sale_price"]
    );
    assert_eq!(fields(&search("max_sale_price=0").unwrap_err()), ["max_sale_price"]);
    let equal = search("min_sale_price=5&max_sale_price=5.00").unwrap();
    assert_eq!((equal.min_sale_price, equal.max_sale_price), (Some(500), Some(500)));
    assert_eq!(search("min_sale_price=0").unwrap().min_sale_price, None);
}

#[test]
fn bounds_follow_the_currency() {
    let yen = search("currency=JPY&min_sale_price=1500&max_sale_price=2000").unwrap();
    assert_eq!((yen.min_sale_price, yen.max_sale_price), (Some(1500), Some(2000)));
}

#[test]
fn a_repeated_single_value_is_refused() {
    assert_eq!(fields(&search("page_no=1&page_no=2").unwrap_err()), ["page_no"]);
}

#[test]
fn smart_search_has_its_own_fields() {
    let query =
        smart("category_ids=26&category_id=7&min_quality=0.5&generate_affiliate_links=false")
            .unwrap();
    assert_eq!(query.search.category_ids, [7, 26]);
    assert!(!query.generate_affiliate_links && !query.force_refresh);
    assert!((query.min_quality - 0.5).abs() < f64::EPSILON);
    assert!(smart("").unwrap().generate_affiliate_links);
    let mistakes = smart(
        "category_id=1,2&min_quality=1.01&force_refresh=x&generate_affiliate_links=2&page_no=0",
    )
    .unwrap_err();
    assert_eq!(
        fields(&mistakes),
        ["category_id", "generate_affiliate_links", "force_refresh", "min_quality", "page_no"]
    );
}

#[test]
fn plain_search_refuses_smart_fields_in_a_body() {
    assert_eq!(fields(&search_body(&json!({"min_quality": 0.5})).unwrap_err()), ["min_quality"]);
    assert!(search("min_quality=0.5").is_ok());
}

fn loose() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[0-9.,e+-]{0,30}".prop_map(Value::from),
        prop::collection::vec("[0-9]{0,3}", 0..3).prop_map(Value::from),
        Just(json!({"a": [1]})),
    ]
}

proptest! {
    #[test]
    fn whatever_is_sent_is_valid_or_named(
        name in prop::sample::select(vec!["keywords", "category_ids", "category_id",
            "min_sale_price", "max_sale_price", "page_no", "page_size", "sort", "ship_to_country",
            "currency", "language", "generate_affiliate_links", "force_refresh", "min_quality"]),
        value in loose(),
    ) {
        let body = json!({name: value}).to_string();
        let outcome = from_json(body.as_bytes()).and_then(|raw| smart_query::validate(raw, &defaults()));
        match outcome {
            Ok(query) => {
                prop_assert!((1..=50).contains(&query.search.page_size));
                prop_assert!(query.search.page_no >= 1);
                prop_assert!((0.0..=1.0).contains(&query.min_quality));
            }
            Err(mistakes) => prop_assert!(mistakes.iter().all(|mistake| mistake.field == name)),
        }
    }

    #[test]
    fn bounds_never_widen(cents in 1_u64..100_000_000, currency in prop::sample::select(vec!["USD", "JPY"])) {
        let amount = rust_decimal::Decimal::new(i64::try_from(cents).unwrap(), 3);
        let query = search(&format!("min_sale_price={amount}&currency={currency}")).unwrap();
        let decimals = query.target.currency.decimals();
        let bound = rust_decimal::Decimal::from_i128_with_scale(i128::from(query.min_sale_price.unwrap()), decimals);
        prop_assert!(bound >= amount);
    }
}
