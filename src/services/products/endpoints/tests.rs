//! What every kind of question has in common: tags, keys, and being stored and asked again.

use std::time::Duration;

use serde_json::{Value, json};

use super::categories::Categories;
use super::details::Details;
use super::hot::Hot;
use super::links::Link;
use super::search::{All, Search};
use super::smart_match::SmartMatch;
use crate::cache::CacheSettings;
use crate::cache::Tag;
use crate::config::kinds::Rollout;
use crate::http::settings::Features;
use crate::services::products::Setup;
use crate::services::products::ask::{Keyed, Question, Stored, asked_again, of_operation, stored};
use crate::services::products::fixtures::{defaults, search_query, wire_product};
use crate::services::products::settings::ProductSettings;

fn settings() -> Setup {
    Setup {
        target: defaults(),
        cache: CacheSettings::default(),
        lifetimes: ProductSettings::default(),
        features: Features::default(),
        last_resort: None,
        within: Duration::from_secs(10),
    }
}

fn made<Q: Question>(form: Value) -> Q {
    Q::from_form(form, &defaults()).unwrap()
}

fn details() -> Details {
    made(json!({"product_ids": [5]}))
}

fn like() -> SmartMatch {
    made(json!({"product_url": "https://www.aliexpress.com/item/9.html"}))
}

fn link() -> Link {
    let source = "https://www.aliexpress.com/item/77.html";
    made(json!({"source": source, "tracking_id": "shop", "ship_to": null}))
}

/// Tags of the answer, with and without a product.
fn tags<Q: Question>(question: Q) -> [Vec<Tag>; 2] {
    [json!({"products": [wire_product(5)]}), Value::Null].map(|result| {
        let all = std::slice::from_ref(&question);
        let (mut loaded, dropped) = question.read(all, &result, true).unwrap();
        assert_eq!((loaded.len(), dropped.total()), (1, 0));
        of_operation::<Q>(loaded.remove(0)).tags
    })
}

#[test]
fn every_answer_says_what_it_is_about() {
    let mut hot = search_query();
    hot.category_ids = vec![7];
    let expected: [(_, &[&str], &[&str]); 5] = [
        (
            tags(Search::<Hot>::new(hot)),
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

fn is_asked_again<Q: Question>(question: Q, settings: &Setup) -> bool {
    let keyed = Keyed::new(question);
    let stored = stored(&keyed.question).unwrap();
    let stored: Stored<'_> = serde_json::from_str(&stored).unwrap();
    assert_eq!((stored.v, stored.operation), (2, Q::KIND.operation));
    asked_again::<Q>(settings, stored.form, &keyed.key).is_some()
}

#[test]
fn a_stored_question_is_asked_again_only_if_a_client_could_ask_it() {
    let asked = |settings: &Setup| {
        [
            is_asked_again(Search::<All>::new(search_query()), settings),
            is_asked_again(details(), settings),
            is_asked_again(like(), settings),
            is_asked_again(link(), settings),
            is_asked_again(Categories, settings),
        ]
    };
    let mut changed = settings();
    assert_eq!(asked(&changed), [true; 5]);
    changed.target.tracking_id = Some("another".into());
    assert_eq!(asked(&changed), [false, false, false, false, true]);
    let mut changed = settings();
    changed.features.data_validation = Rollout(0);
    assert_eq!(asked(&changed), [false, false, false, true, true]);
    changed.features.enhanced_caching = Rollout(0);
    assert_eq!(asked(&changed), [false; 5]);
}

#[test]
fn validation_is_part_of_the_key_where_it_makes_a_difference() {
    let search = Keyed::new(Search::<All>::new(search_query()));
    assert_ne!(search.key(true), search.key(false));
    let categories = Keyed::new(Categories);
    assert_eq!(categories.key(true), categories.key(false));
}
