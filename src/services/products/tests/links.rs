//! Affiliate links: asking, joining, degrading.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use crate::services::products::fixtures;
use crate::services::products::input::from_query;
use crate::services::products::links::{
    LinkMap, LinkTarget, RawLinks, assemble, attach, digest, missing, requests, targets_of,
    validate, validate_one,
};
use crate::services::products::product::AffiliateStatus;

fn targets(urls: &[&str]) -> Vec<LinkTarget> {
    validate(&RawLinks { urls: Some(json!(urls)) }).unwrap()
}

fn known(pairs: &[(&str, Option<&str>)]) -> LinkMap {
    pairs.iter().map(|(source, link)| ((*source).to_owned(), link.map(str::to_owned))).collect()
}

#[test]
fn addresses_are_checked_each_by_itself() {
    let urls = json!([
        "https://a.test/1",
        "ftp://a.test/2",
        3,
        "",
        format!("https://a.test/{}", "x".repeat(2048))
    ]);
    let mistakes = validate(&RawLinks { urls: Some(urls) }).unwrap_err();
    let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
    assert_eq!(fields, ["urls[1]", "urls[2]", "urls[3]", "urls[4]"]);
    assert_eq!(validate(&RawLinks { urls: None }).unwrap_err()[0].field, "urls");
    let many = vec!["https://a.test/1"; 51];
    assert_eq!(validate(&RawLinks { urls: Some(json!(many)) }).unwrap_err().len(), 1);
    assert_eq!(validate_one(&from_query("").unwrap()).unwrap_err()[0].field, "url");
    assert_eq!(
        validate_one(&from_query("url=https%3A%2F%2Fa.test%2F1%3Fx").unwrap()).unwrap()[0].source,
        "https://a.test/1"
    );
}

#[test]
fn only_what_is_not_known_is_asked_for_and_once() {
    let targets = targets(&[
        "https://a.test/1?x",
        "https://a.test/2",
        "https://a.test/1?y",
        "https://a.test/3",
    ]);
    let known =
        known(&[("https://a.test/2", Some("https://s.test/2")), ("https://a.test/3", None)]);
    assert_eq!(missing(&targets, &known), ["https://a.test/1"]);
}

#[test]
fn calls_hold_at_most_fifty() {
    let sources: Vec<_> = (0..120).map(|n| format!("https://a.test/{n}")).collect();
    let calls = requests(&sources, "shop", None);
    let sizes: Vec<_> =
        calls.iter().map(|call| call.params["source_values"].split(',').count()).collect();
    assert_eq!(sizes, [50, 50, 20]);
    assert!(requests(&[], "shop", None).is_empty());
}

#[test]
fn answers_in_any_order_are_joined_to_what_was_asked() {
    let asked = ["https://a.test/1", "https://a.test/2", "https://a.test/3", "https://a.test/4"];
    let result = json!({"promotion_links": {"promotion_link": [
        {"source_value": "https://a.test/3?x=1", "promotion_link": "https://s.test/3"},
        {"source_value": "https://a.test/2"},
        {"source_value": "https://A.test/1", "promotion_link": "https://s.test/1"},
        {"source_value": "https://a.test/4", "promotion_link": "javascript:1"}]}});
    let generated = digest(&result, &asked.map(str::to_owned));
    let data = assemble(&targets(&asked), &HashMap::new(), &generated);
    let urls: Vec<_> = data.links.iter().map(|link| link.affiliate_url.as_str()).collect();
    assert_eq!(
        urls,
        ["https://s.test/1", "https://a.test/2", "https://s.test/3", "https://a.test/4"]
    );
    assert_eq!(
        (data.requested_count, data.generated_count, data.failed_count, data.cached_count),
        (4, 2, 2, 0)
    );
}

#[test]
fn products_get_links_or_keep_their_own_address() {
    let mut products = vec![fixtures::product(1), fixtures::product(2), fixtures::product(3)];
    let sources: Vec<_> = targets_of(&products).into_iter().map(|target| target.source).collect();
    let cached = known(&[(&sources[0], Some("https://s.test/1"))]);
    let generated = known(&[(&sources[1], Some("https://s.test/2")), (&sources[2], None)]);
    assert!(attach(&mut products, &cached, &generated));
    let states: Vec<_> = products.iter().map(|product| product.affiliate_status).collect();
    assert_eq!(
        states,
        [AffiliateStatus::Cached, AffiliateStatus::Generated, AffiliateStatus::Failed]
    );
    assert_eq!(products[2].affiliate_url.as_deref(), Some(products[2].product_url.as_str()));
    assert!(!attach(&mut products[..2], &cached, &generated));
}

proptest! {
    #[test]
    fn every_target_gets_exactly_one_item_in_order(numbers in prop::collection::vec(0_u8..9, 1..50), linked in any::<u16>()) {
        let urls: Vec<_> = numbers.iter().map(|n| format!("https://a.test/{n}?q={n}")).collect();
        let targets = targets(&urls.iter().map(String::as_str).collect::<Vec<_>>());
        let sources = missing(&targets, &HashMap::new());
        let items: Vec<_> = sources.iter().rev().enumerate().map(|(index, source)| {
            if linked >> (index % 16) & 1 == 1 {
                json!({"source_value": source, "promotion_link": format!("https://s.test/{index}")})
            } else {
                json!({"source_value": source})
            }
        }).collect();
        let data = assemble(&targets, &HashMap::new(), &digest(&json!({"promotion_links": items}), &sources));
        let answered: Vec<_> = data.links.iter().map(|link| link.url.clone()).collect();
        prop_assert_eq!(answered, urls);
        prop_assert_eq!(data.generated_count + data.failed_count, data.requested_count);
    }
}
