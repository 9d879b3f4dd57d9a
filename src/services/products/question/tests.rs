//! Questions survive a restart, and nothing else is taken for one.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::services::products::aliexpress::methods::link_source;
use crate::services::products::aliexpress::terms::{Currency, Language, Sort};
use crate::services::products::details::RawPlace;
use crate::services::products::fixtures::{defaults, search_query};
use crate::services::products::query::{self, RawSearch};
use crate::services::products::search::Prepared;
use crate::services::products::smart_match::RawSmartMatch;
use crate::services::products::smart_query::{self, RawSmartSearch};

fn browsing() -> Question {
    Question::Search { query: Arc::new(search_query()), among: Among::All }
}

fn link(source: &str) -> Question {
    let source = link_source(source).unwrap();
    Question::Link { source, tracking_id: "shop".into(), ship_to: Some("DE".into()) }
}

fn read_back(question: &Question) -> Option<Question> {
    Question::from_json(&question.to_json().unwrap())
}

#[test]
fn every_kind_reads_back_and_keeps_its_key() {
    let matches = RawSmartMatch {
        product_url: Some(json!("https://www.aliexpress.com/item/7.html")),
        currency: Some(json!("eur")),
        ..RawSmartMatch::default()
    };
    let target = details::validate_one("5", &RawPlace::default(), &defaults()).unwrap().target;
    for (question, key) in [
        (browsing(), Prepared::new(search_query(), Among::All).key),
        (
            Question::Details { product_id: 5, target: target.clone() },
            CacheKey::new(key::details_key(5, &target, true)),
        ),
        (
            link("https://www.aliexpress.com/item/7.html?a=1,2#x"),
            CacheKey::new(key::link_key(
                "https://www.aliexpress.com/item/7.html",
                "shop",
                Some("DE"),
            )),
        ),
        (
            Question::Categories,
            CacheKey::new(key::key(Operation::Categories, &categories::request(), true)),
        ),
        {
            let query = smart_match::validate(matches, &defaults()).unwrap();
            let key = key::key(Operation::SmartMatch, &smart_match::request(&query), true);
            (Question::SmartMatch(query), CacheKey::new(key))
        },
    ] {
        assert_eq!(question.key(), key);
        assert_eq!(read_back(&question), Some(question));
    }
}

/// Written into stored rows: if this changes, so must the version.
const KEPT: &str = r#"{"v":1,"asked":{"search":{"among":"all","keywords":null,"category_ids":[],"min_sale_price":null,"max_sale_price":null,"page_no":1,"page_size":20,"sort":null,"target":{"currency":"USD","language":"EN","ship_to":null,"tracking_id":"shop"}}}}"#;

#[test]
fn the_form_is_the_one_that_is_stored() {
    assert_eq!(browsing().to_json().unwrap(), KEPT);
    assert_eq!(Question::Categories.to_json().unwrap(), r#"{"v":1,"asked":"categories"}"#);
}

#[test]
fn what_no_valid_request_leads_to_is_no_question() {
    let changed = |pointer: &str, value: Value| {
        let mut kept: Value = serde_json::from_str(KEPT).unwrap();
        *kept.pointer_mut(pointer).unwrap() = value;
        Question::from_json(&kept.to_string())
    };
    assert!(changed("/asked/search/page_no", json!(2)).is_some());
    for (pointer, value) in [
        ("/v", json!(0)),
        ("/v", json!(2)),
        ("/asked/search/among", json!("some")),
        ("/asked/search/keywords", json!("")),
        ("/asked/search/keywords", json!(" usb  cable")),
        ("/asked/search/keywords", json!("a\u{7}b")),
        ("/asked/search/keywords", json!("x".repeat(257))),
        ("/asked/search/category_ids", json!([7, 7])),
        ("/asked/search/category_ids", json!([0])),
        ("/asked/search/category_ids", json!((1..=52).collect::<Vec<_>>())),
        ("/asked/search/min_sale_price", json!(0)),
        ("/asked/search/max_sale_price", json!(-1)),
        ("/asked/search/page_no", json!(0)),
        ("/asked/search/page_size", json!(51)),
        ("/asked/search/sort", json!("BEST")),
        ("/asked/search/target/currency", json!("XXX")),
        ("/asked/search/target/language", json!("xx")),
        ("/asked/search/target/ship_to", json!("de")),
        ("/asked/search/target", json!({"currency": "USD", "language": "EN", "more": 1})),
    ] {
        assert_eq!(changed(pointer, value.clone()), None, "{pointer} {value}");
    }
    for text in ["", "null", "{}", "[]", r#"{"v":1}"#, r#"{"v":1,"asked":"orders"}"#] {
        assert_eq!(Question::from_json(text), None, "{text}");
    }
    assert_eq!(Question::from_json(&KEPT.replace("\"v\"", "\"x\":0,\"v\"")), None);
    let details = r#"{"v":1,"asked":{"details":{"product_id":0,"target":{"currency":"USD","language":"EN","ship_to":null,"tracking_id":null}}}}"#;
    assert_eq!(Question::from_json(details), None);
    assert!(Question::from_json(&details.replace(":0,", ":1,")).is_some());
}

#[test]
fn an_endless_address_is_not_worth_keeping() {
    let source = format!("https://www.aliexpress.com/{}", "x".repeat(LONGEST));
    assert_eq!(link(&source).to_json(), None);
    assert_eq!(Question::from_json(&" ".repeat(1_000_000)), None);
}

fn optional<T: Into<Value> + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(value.prop_map(Into::into))
}

fn searches() -> impl Strategy<Value = RawSearch> {
    let words = (optional("\\PC{0,40}"), optional(prop::collection::vec(1_u64.., 1..50)));
    let prices = (optional(0.0_f64..50.0), optional(50.0_f64..1e9));
    let page = (optional(1_u32..=10_000), optional(1_u32..=50));
    let sort = optional(prop::sample::select(Sort::ALL.map(Sort::code).to_vec()));
    let currencies = Currency::REQUESTABLE.map(Currency::code).to_vec();
    let languages = Language::ALL.map(Language::code).to_vec();
    let place = (
        optional(prop::sample::select(currencies)),
        optional(prop::sample::select(languages)),
        optional("[A-Za-z]{2}"),
    );
    (words, prices, page, sort, place).prop_map(|(words, prices, page, sort, place)| RawSearch {
        keywords: words.0,
        category_ids: words.1,
        min_sale_price: prices.0,
        max_sale_price: prices.1,
        page_no: page.0,
        page_size: page.1,
        sort,
        currency: place.0,
        language: place.1,
        ship_to_country: place.2,
    })
}

proptest! {
    #[test]
    fn a_search_has_the_same_key_when_it_is_asked_again(raw in searches(), hot in any::<bool>()) {
        let checked = query::validate(&raw, &defaults());
        prop_assume!(checked.is_ok());
        let prepared =
            Prepared::new(checked.unwrap(), if hot { Among::Hot } else { Among::All });
        let question =
            Question::Search { query: Arc::clone(&prepared.query), among: prepared.among };
        let read = read_back(&question).unwrap();
        prop_assert_eq!(read.key(), prepared.key);
        prop_assert_eq!(read.request(), search::request(&prepared.query, prepared.among));
    }

    #[test]
    fn so_has_the_search_beneath_a_smart_one(raw in searches(), extra in 1_u64..) {
        let smart = RawSmartSearch {
            keywords: raw.keywords,
            category_ids: raw.category_ids,
            category_id: Some(extra.into()),
            ..RawSmartSearch::default()
        };
        let checked = smart_query::validate(smart, &defaults());
        prop_assume!(checked.is_ok());
        let prepared = Prepared::new(checked.unwrap().search, Among::All);
        let question = Question::Search { query: prepared.query, among: Among::All };
        prop_assert_eq!(read_back(&question).unwrap().key(), prepared.key);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,128}", at in 0..KEPT.len(), byte in 0_u8..128) {
        drop(Question::from_json(&text));
        let mut kept = KEPT.as_bytes().to_vec();
        kept[at] = byte;
        drop(Question::from_json(&String::from_utf8(kept).unwrap()));
    }
}
