//! Searches and smart searches as clients send them.

use proptest::prelude::*;
use serde_json::json;

use super::super::smart_search::{SmartQuery, SmartSearchForm};
use super::*;
use crate::http::forms::{InvalidField, from_json, from_query};
use crate::services::products::fixtures::{self, defaults, search_query};

fn search(text: &str) -> Result<SearchQuery, Vec<InvalidField>> {
    from_query::<SearchForm>(text).read(|form| form.validate(&defaults()))
}

fn search_body(body: &Value) -> Result<SearchQuery, Vec<InvalidField>> {
    from_json::<SearchForm>(body.to_string().as_bytes())?.read(|form| form.validate(&defaults()))
}

fn smart(text: &str) -> Result<SmartQuery, Vec<InvalidField>> {
    from_query::<SmartSearchForm>(text).read(|form| form.validate(&defaults()))
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
fn plain_search_refuses_smart_fields() {
    assert_eq!(fields(&search_body(&json!({"min_quality": 0.5})).unwrap_err()), ["min_quality"]);
}

fn asked<const HOT: bool>(query: SearchQuery) -> Search<HOT> {
    Search { query: Arc::new(query) }
}

/// The page, and whether it says that there is nothing.
fn read(result: &Value) -> (SearchData, bool) {
    let (mut loaded, dropped) = asked::<false>(search_query()).read(&[], result, true);
    let loaded = loaded.remove(0).unwrap();
    let page: SearchData = serde_json::from_slice(&loaded.representation.body).unwrap();
    assert_eq!(page.dropped, dropped);
    (page, loaded.empty)
}

#[test]
fn a_page_is_read_and_reads_back() {
    let result = json!({"current_page_no": 1, "total_record_count": 1_000_000_000_000_u64,
        "products": {"product": [fixtures::wire_product(1), {"product_title": "no id here"}]}});
    let (page, is_empty) = read(&result);
    assert_eq!(page.products.len(), 1);
    assert_eq!(page.total_record_count, 1_000_000_000_000);
    assert_eq!((page.dropped.total(), is_empty), (1, false));
}

#[test]
fn an_answer_without_counts_is_counted_here() {
    let (page, _) = read(&json!({"products": [fixtures::wire_product(1)]}));
    assert_eq!((page.total_record_count, page.current_page), (1, 1));
}

#[test]
fn nothing_is_an_empty_page() {
    for nothing in [Value::Null, json!({})] {
        let (none, is_empty) = read(&nothing);
        assert!(is_empty);
        let text = serde_json::to_string(&none).unwrap();
        let page = r#"{"products":[],"total_record_count":0,"current_page":1,"page_size":20}"#;
        assert_eq!(text, page);
    }
}

#[test]
fn hot_products_are_another_method() {
    assert_eq!(asked::<false>(search_query()).request(&[]).method, &METHOD);
    assert_eq!(asked::<true>(search_query()).request(&[]).method, &HOT_METHOD);
}

fn key(text: &str) -> String {
    Prepared::<false>::new(search(text).unwrap()).keyed.key(true).as_str().to_owned()
}

#[test]
fn requests_that_mean_the_same_share_a_key() {
    let plain = key("keywords=usb+cable&category_ids=7,26&min_sale_price=5");
    for same in [
        "category_ids=26,7,7&keywords=++usb%09cable+&min_sale_price=5.00",
        "keywords=usb+cable&category_ids=26&category_ids=7&min_sale_price=5&page_no=1",
        "keywords=usb+cable&category_ids=7,26&min_sale_price=5&currency=usd&language=en",
        "keywords=usb+cable&category_ids=7,26&min_sale_price=4.999&page_size=20&sort=",
        "keywords=USB%E3%80%80%EF%BD%83able&category_ids=7,26&min_sale_price=5",
    ] {
        assert_eq!(key(same), plain, "{same}");
    }
    assert!(plain.starts_with("products:search:"), "{plain}");
}

const DIFFERENT: [&str; 12] = [
    "",
    "keywords=a",
    "keywords=b",
    "keywords=a&page_no=2",
    "keywords=a&page_size=10",
    "keywords=a&currency=EUR",
    "keywords=a&language=DE",
    "keywords=a&ship_to_country=DE",
    "keywords=a&sort=SALE_PRICE_ASC",
    "keywords=a&min_sale_price=1",
    "keywords=a&max_sale_price=1",
    "category_ids=1",
];

#[test]
fn requests_that_differ_have_keys_of_their_own() {
    let keys: std::collections::HashSet<_> = DIFFERENT.iter().map(|text| key(text)).collect();
    assert_eq!(keys.len(), DIFFERENT.len());
    let (all, hot) =
        (Prepared::<false>::new(search_query()), Prepared::<true>::new(search_query()));
    assert_ne!(all.keyed.key(true), hot.keyed.key(true));
}

#[test]
fn a_stored_search_is_the_same() {
    let more =
        ["max_sale_price=99.9&min_sale_price=0.5&currency=JPY", "category_ids=7,26&page_no=3"];
    for text in DIFFERENT.iter().chain(&more) {
        let asked = asked::<false>(search(text).unwrap());
        let stored = serde_json::to_string(&asked).unwrap();
        let again: Search<false> = serde_json::from_str(&stored).unwrap();
        assert_eq!(again.query, asked.query, "{text}");
    }
    let odd = serde_json::to_string(&search_query()).unwrap().replace("USD", "XXX");
    assert!(serde_json::from_str::<Search<false>>(&odd).is_err());
}

#[test]
fn a_search_carries_every_parameter_and_sends_only_what_is_set() {
    let text = "keywords=USB+Cable&category_ids=26,7&min_sale_price=31.41&max_sale_price=99&page_no=2\
                &sort=sale_price_asc&ship_to_country=us";
    let request = asked::<false>(search(text).unwrap()).request(&[]);
    let params: Vec<_> =
        request.params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        params,
        [
            ("category_ids", "7,26"),
            ("keywords", "usb cable"),
            ("max_sale_price", "9900"),
            ("min_sale_price", "3141"),
            ("page_no", "2"),
            ("page_size", "20"),
            ("ship_to_country", "US"),
            ("sort", "SALE_PRICE_ASC"),
            ("target_currency", "USD"),
            ("target_language", "EN"),
            ("tracking_id", "shop"),
        ]
    );
    let least = asked::<true>(SearchQuery {
        target: Target { tracking_id: None, ..defaults() },
        ..search_query()
    });
    let names: Vec<_> = least.request(&[]).params.keys().copied().collect();
    assert_eq!(names, ["page_no", "page_size", "target_currency", "target_language"]);
}

#[test]
fn pages_of_one_search_are_alike_but_for_their_number() {
    let first = search_query();
    let second = SearchQuery { page_no: 2, ..first.clone() };
    let [one, two] = [&first, &second].map(|query| pages_of("search", query));
    assert_eq!(one.of, two.of);
    assert_eq!((one.number, two.number), (1, 2));
    assert_ne!(seen_page(one).query, seen_page(two).query);
    let other = SearchQuery { keywords: Some("other".to_owned()), ..first.clone() };
    assert_ne!(pages_of("search", &other).of, one.of);
    assert_ne!(pages_of("hot", &first).of, one.of);
}

#[test]
fn the_second_reading_of_a_query_string_is_the_first() {
    let memo = Memo::<false>::default();
    let key = |text| memo.of(text, &defaults()).unwrap().keyed.key(true).clone();
    let first = key("keywords=usb");
    assert_eq!(first, key("keywords=usb"));
    assert_ne!(first, key("keywords=usc"));
    assert_eq!(memo.0.borrow().cache_size(), 2);
}

#[test]
fn what_is_wrong_or_long_is_not_remembered() {
    let memo = Memo::<false>::default();
    assert!(memo.of("page_no=0", &defaults()).is_err());
    let long = format!("keywords=usb{}", "+".repeat(LONGEST_REMEMBERED));
    assert!(memo.of(&long, &defaults()).is_ok());
    assert_eq!(memo.0.borrow().cache_size(), 0);
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
        let outcome = from_json::<SmartSearchForm>(body.as_bytes()).and_then(|form| form.read(|form| form.validate(&defaults())));
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
