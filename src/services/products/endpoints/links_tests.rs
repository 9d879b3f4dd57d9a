//! Affiliate links: asking, joining, degrading.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::http::forms::from_query;
use crate::services::products::fixtures;

fn targets(urls: &[&str]) -> Vec<LinkTarget> {
    LinksForm { urls: Some(json!(urls)) }.validate().unwrap()
}

fn found(links: &[(&str, Option<&str>, AffiliateStatus)]) -> FoundLinks {
    let links = links
        .iter()
        .map(|(source, link, status)| ((*source).to_owned(), (link.map(str::to_owned), *status)));
    FoundLinks { links: links.collect(), ..FoundLinks::default() }
}

fn questions(sources: &[&str]) -> Vec<Link> {
    let link = |source: &&str| Link {
        source: (*source).to_owned(),
        tracking_id: "shop".to_owned(),
        ship_to: None,
    };
    sources.iter().map(link).collect()
}

/// What the answer of a call gives for each of the sources.
fn made(sources: &[&str], result: &Value) -> FoundLinks {
    let asked = questions(sources);
    let (loaded, _) = asked[0].read(&asked, result, true).unwrap();
    let mut found = FoundLinks::default();
    for (source, one) in sources.iter().zip(loaded) {
        found.add((*source).to_owned(), Ok(Served::live(one.representation.body, one.empty)));
    }
    found
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
    let mistakes = LinksForm { urls: Some(urls) }.validate().unwrap_err();
    let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
    assert_eq!(fields, ["urls[1]", "urls[2]", "urls[3]", "urls[4]"]);
    assert_eq!(LinksForm { urls: None }.validate().unwrap_err()[0].field, "urls");
    let many = vec!["https://a.test/1"; 51];
    assert_eq!(LinksForm { urls: Some(json!(many)) }.validate().unwrap_err().len(), 1);
    let one = |query: &str| from_query::<LinkForm>(query).unwrap().validate();
    assert_eq!(one("").unwrap_err()[0].field, "url");
    assert_eq!(one("url=https%3A%2F%2Fa.test%2F1%3Fx").unwrap()[0].source, "https://a.test/1");
}

#[test]
fn links_are_asked_for_as_documented() {
    let asked = questions(&["https://a.test/1", "https://a.test/2"]);
    let request = asked[0].request(&asked);
    let params: Vec<_> =
        request.params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let expected = [
        ("promotion_link_type", "0"),
        ("source_values", "https://a.test/1,https://a.test/2"),
        ("tracking_id", "shop"),
    ];
    assert_eq!(params, expected);
}

#[test]
fn answers_in_any_order_are_joined_to_what_was_asked() {
    let asked = ["https://a.test/1", "https://a.test/2", "https://a.test/3", "https://a.test/4"];
    let result = json!({"promotion_links": {"promotion_link": [
        {"source_value": "https://a.test/3?x=1", "promotion_link": "https://s.test/3"},
        {"source_value": "https://a.test/2"},
        {"source_value": "https://A.test/1", "promotion_link": "https://s.test/1"},
        {"source_value": "https://a.test/4", "promotion_link": "javascript:1"}]}});
    let data = assemble(targets(&asked), &made(&asked, &result));
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
    let found = found(&[
        (&sources[0], Some("https://s.test/1"), AffiliateStatus::Cached),
        (&sources[1], Some("https://s.test/2"), AffiliateStatus::Generated),
        (&sources[2], None, AffiliateStatus::Generated),
    ]);
    assert!(found.attach(&mut products));
    let states: Vec<_> = products.iter().map(|product| product.affiliate_status).collect();
    assert_eq!(
        states,
        [AffiliateStatus::Cached, AffiliateStatus::Generated, AffiliateStatus::Failed]
    );
    assert_eq!(products[2].affiliate_url.as_deref(), Some(products[2].product_url.as_str()));
    assert!(!found.attach(&mut products[..2]) && !found.are_all_cached());
}

proptest! {
    #[test]
    fn every_target_gets_exactly_one_item_in_order(numbers in prop::collection::vec(0_u8..9, 1..50), linked in any::<u16>()) {
        let urls: Vec<_> = numbers.iter().map(|n| format!("https://a.test/{n}?q={n}")).collect();
        let targets = targets(&urls.iter().map(String::as_str).collect::<Vec<_>>());
        let mut sources: Vec<_> = targets.iter().map(|target| target.source.clone()).collect();
        sources.sort_unstable();
        sources.dedup();
        let items: Vec<_> = sources.iter().rev().enumerate().map(|(index, source)| {
            if linked >> (index % 16) & 1 == 1 {
                json!({"source_value": source, "promotion_link": format!("https://s.test/{index}")})
            } else {
                json!({"source_value": source})
            }
        }).collect();
        let asked: Vec<_> = sources.iter().map(String::as_str).collect();
        let data = assemble(targets, &made(&asked, &json!({"promotion_links": items})));
        let answered: Vec<_> = data.links.iter().map(|link| link.url.clone()).collect();
        prop_assert_eq!(answered, urls);
        prop_assert_eq!(data.generated_count + data.failed_count, data.requested_count);
    }
}
