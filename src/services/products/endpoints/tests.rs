//! What every kind of question has in common: tags, keys, and being stored and asked again.

use serde_json::{Value, json};

use super::RESTORABLE;
use super::categories::Categories;
use super::details::Details;
use super::links::Link;
use super::search::Search;
use super::smart_match::SmartMatch;
use crate::cache::Tag;
use crate::config::kinds::Rollout;
use crate::http::settings::Features;
use crate::services::products::aliexpress::Target;
use crate::services::products::fixtures::{defaults, search_query, wire_product};
use crate::services::products::load::asked_again;
use crate::services::products::question::{Question, Stored, key};
use crate::services::products::search_query::SearchQuery;

fn made<Q: Question>(stored: Value) -> Q {
    serde_json::from_value(stored).unwrap()
}

fn search<const HOT: bool>(query: &SearchQuery) -> Search<HOT> {
    made(json!(query))
}

fn details() -> Details {
    made(json!({"product_id": 5, "target": defaults()}))
}

fn like() -> SmartMatch {
    made(json!({"product_id": 9, "target": defaults()}))
}

fn link() -> Link {
    let source = "https://www.aliexpress.com/item/77.html";
    made(json!({"source": source, "tracking_id": "shop", "ship_to": null}))
}

/// Tags of the answer, with and without a product.
fn tags<Q: Question>(question: Q) -> [Vec<Tag>; 2] {
    [json!({"products": [wire_product(5)]}), Value::Null].map(|result| {
        let all = std::slice::from_ref(&question);
        let (mut loaded, dropped) = question.read(all, &result, true);
        assert_eq!((loaded.len(), dropped.total()), (1, 0));
        loaded.remove(0).unwrap().tags
    })
}

#[test]
fn every_answer_says_what_it_is_about() {
    let mut hot = search_query();
    hot.category_ids = vec![7];
    let expected: [(_, &[&str], &[&str]); 5] = [
        (
            tags(search::<true>(&hot)),
            &["operation:hot", "category:7", "product:5", "category:26"],
            &["operation:hot", "category:7"],
        ),
        (
            tags(details()),
            &["operation:details", "product:5", "category:26"],
            &["operation:details", "product:5"],
        ),
        (
            tags(like()),
            &["operation:smart-match", "product:9", "product:5", "category:26"],
            &["operation:smart-match", "product:9"],
        ),
        (tags(link()), &["operation:link", "product:77"], &["operation:link", "product:77"]),
        (tags(Categories), &["operation:categories"], &["operation:categories"]),
    ];
    for ([with, without], expected, expected_without) in expected {
        for (tags, expected) in [(with, expected), (without, expected_without)] {
            assert_eq!(tags.len(), expected.len(), "{expected:?}");
            assert_eq!(tags[0], Tag::of(expected[0]), "the operation comes first");
            assert!(expected.iter().all(|text| tags.contains(&Tag::of(text))), "{expected:?}");
        }
    }
}

fn is_asked_again<Q: Question>(question: Q, target: &Target, features: Features) -> bool {
    let text = Stored::write(&question).unwrap();
    let stored: Stored<'_, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(stored.operation, Q::KIND.operation);
    asked_again::<Q>(target, features, stored.current().unwrap(), &key(&question, true)).is_some()
}

#[test]
fn a_question_stored_by_another_version_is_outdated() {
    let text = Stored::write(&Categories).unwrap().replace("\"v\":3", "\"v\":2");
    let stored: Stored<'_, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(stored.current(), None);
}

#[test]
fn a_stored_question_is_asked_again_only_if_a_client_could_ask_it() {
    let asked = |target: &Target, features: Features| {
        [
            is_asked_again(search::<false>(&search_query()), target, features),
            is_asked_again(details(), target, features),
            is_asked_again(like(), target, features),
            is_asked_again(link(), target, features),
            is_asked_again(Categories, target, features),
        ]
    };
    let all = Features::default();
    assert_eq!(asked(&defaults(), all), [true; 5]);
    let other = Target { tracking_id: Some("another".into()), ..defaults() };
    assert_eq!(asked(&other, all), [false, false, false, false, true]);
    let unchecked = Features { data_validation: Rollout(0), ..all };
    assert_eq!(asked(&defaults(), unchecked), [false, false, false, true, true]);
    let uncached = Features { enhanced_caching: Rollout(0), ..unchecked };
    assert_eq!(asked(&defaults(), uncached), [false; 5]);
}

#[test]
fn validation_is_part_of_the_key_where_it_makes_a_difference() {
    let search = search::<false>(&search_query());
    assert_ne!(key(&search, true), key(&search, false));
    assert_eq!(key(&Categories, true), key(&Categories, false));
}

#[test]
fn the_surface_names_every_operation_that_is_stored() {
    let stored: Vec<_> = RESTORABLE.iter().map(|one| one.operation).collect();
    let surface = super::super::SURFACE;
    let told: Vec<_> = surface.operations.iter().map(|(operation, _)| *operation).collect();
    assert_eq!(told, stored);
    let tags = surface.about.iter().find(|(word, _)| *word == "operation");
    assert_eq!(tags.map(|(_, values)| *values), Some(&*stored));
}
