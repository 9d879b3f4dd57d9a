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
    let (loaded, _) = asked[0].read(&asked, result, true);
    let mut found = FoundLinks::default();
    for (source, one) in sources.iter().zip(loaded) {
        let one = one.unwrap();
        found.add((*source).to_owned(), Ok(Served::live(one.representation.body, one.empty)));
    }
    found
}

#[test]
fn a_bad_address_never_costs_the_others() {
    let urls =
        ["ftp://a.aliexpress.com/2", "", "https://shop.test/1", "aliexpress.com/item/4.html"];
    let fit = |target: LinkTarget| target.source.is_ok();
    assert_eq!(
        targets(&urls).into_iter().map(fit).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    let data = assemble(targets(&urls), &FoundLinks::default());
    assert!(data.links.iter().all(|link| link.affiliate_url.is_none()));
    let reason = |index: usize| data.links[index].reason.clone().unwrap();
    assert!(reason(0).contains("is no address; allowed: an http or https"), "{}", reason(0));
    assert!(reason(2).contains("is not at this shop; allowed:"), "{}", reason(2));
    assert_eq!(reason(3), NOT_NOW);
}

#[test]
fn forms_are_checked() {
    let mistakes = LinksForm { urls: Some(json!(["https://a.test/1", 3, null])) }.validate();
    let mistakes = mistakes.unwrap_err();
    let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
    assert_eq!(fields, ["urls[1]", "urls[2]"]);
    assert_eq!(LinksForm { urls: None }.validate().unwrap_err()[0].field, "urls");
    let many = vec!["https://www.aliexpress.com/item/1.html"; 51];
    assert_eq!(LinksForm { urls: Some(json!(many)) }.validate().unwrap_err().len(), 1);
    let one = |query: &str| from_query::<LinkForm>(query).read(|form| form.validate());
    for wrong in ["", "url=", "url=x", "url=ftp://www.aliexpress.com/1"] {
        assert_eq!(one(wrong).unwrap_err()[0].field, "url", "{wrong}");
    }
    // An address all right, for which there is no link.
    assert!(one("url=https://shop.test/1").unwrap()[0].source.is_err());
    let source =
        one("url=www.aliexpress.com%2Fp%3Fspm%3D1%26b%3D2%26a%3D1").unwrap().remove(0).source;
    assert_eq!(source.unwrap(), "https://www.aliexpress.com/p?a=1&b=2");
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
    let shop = |page: &str| format!("https://www.aliexpress.com/p/{page}");
    let pages = ["1", "2", "3", "4", "5?a=1", "5?a=2"].map(shop);
    let asked = pages.each_ref().map(String::as_str);
    let result = json!({"promotion_links": {"promotion_link": [
        {"source_value": "https://www.aliexpress.com/p/3?x=1", "promotion_link": "https://s.test/3"},
        {"source_value": "https://www.aliexpress.com/p/2"},
        {"source_value": "https://WWW.aliexpress.com/p/1", "promotion_link": "https://s.test/1"},
        {"source_value": "https://www.aliexpress.com/p/4", "promotion_link": "javascript:1"},
        {"source_value": "https://www.aliexpress.com/p/5", "promotion_link": "https://s.test/5"},
        {"source_value": "https://www.aliexpress.com/p/5?a=2", "promotion_link": "https://s.test/6"}]}});
    let data = assemble(targets(&asked), &made(&asked, &result));
    let urls: Vec<_> = data.links.iter().map(|link| link.affiliate_url.as_deref()).collect();
    let made = |number: u8| Some(format!("https://s.test/{number}"));
    let expected = [made(1), None, made(3), None, None, made(6)];
    assert_eq!(urls, expected.each_ref().map(Option::as_deref));
    assert_eq!(data.links[1].reason.as_deref(), Some(NO_LINK));
    assert_eq!(
        (data.requested_count, data.generated_count, data.failed_count, data.cached_count),
        (6, 3, 3, 0)
    );
}

#[test]
fn products_get_links_or_none() {
    let mut products = vec![fixtures::product(1), fixtures::product(2), fixtures::product(3)];
    let sources: Vec<_> =
        targets_of(&products).into_iter().filter_map(|target| target.source.ok()).collect();
    let found = found(&[
        (&sources[0], Some("https://s.test/1"), AffiliateStatus::Cached),
        (&sources[1], Some("https://s.test/2"), AffiliateStatus::Generated),
        (&sources[2], None, AffiliateStatus::Generated),
    ]);
    let targets = targets_of(&products);
    assert!(found.attach(&mut products, targets.clone()));
    let states: Vec<_> = products.iter().map(|product| product.affiliate_status).collect();
    assert_eq!(
        states,
        [AffiliateStatus::Cached, AffiliateStatus::Generated, AffiliateStatus::Failed]
    );
    assert_eq!(products[2].affiliate_url, None);
    assert!(!found.attach(&mut products[..2], targets) && !found.are_all_cached());
}

proptest! {
    #[test]
    fn every_target_gets_exactly_one_item_in_order(numbers in prop::collection::vec(0_u8..9, 1..50), linked in any::<u16>()) {
        let urls: Vec<_> =
            numbers.iter().map(|n| format!("https://www.aliexpress.com/p/{n}?q={n}")).collect();
        let targets = targets(&urls.iter().map(String::as_str).collect::<Vec<_>>());
        let mut sources: Vec<_> = targets.iter().filter_map(|target| target.source.clone().ok()).collect();
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
