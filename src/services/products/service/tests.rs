//! Rollouts, origins, and which kept questions are asked again.

use serde_json::json;

use super::load::{kept_link, kept_product, still_asked};
use super::*;
use crate::cache::Tag;
use crate::config::Settings;
use crate::services::products::fixtures::{defaults, search_query, wire_product};
use crate::services::products::links::LinkMap;
use crate::services::products::search::Among;
use crate::services::products::smart_match::SmartMatchQuery;

fn settings() -> ServiceSettings {
    let set = Settings::default();
    let within = Duration::from_secs(10);
    let (cache, features) = (set.cache, set.features);
    ServiceSettings { target: defaults(), cache, features, last_resort: None, within }
}

fn questions() -> [Question; 5] {
    [
        Question::Search { query: Arc::new(search_query()), among: Among::Hot },
        Question::Details { product_id: 5, target: defaults() },
        Question::SmartMatch(SmartMatchQuery { product_id: 9, target: defaults() }),
        Question::Link {
            source: "https://www.aliexpress.com/item/77.html".into(),
            tracking_id: "shop".into(),
            ship_to: None,
        },
        Question::Categories,
    ]
}

#[test]
fn every_answer_says_what_it_is_about() {
    let result = json!({"products": [wire_product(5)]});
    let expected: [&[&str]; 5] = [
        &["operation:hot", "product:5", "category:26"],
        &["operation:details", "product:5", "category:26"],
        &["operation:smart-match", "product:9", "product:5", "category:26"],
        &["operation:link", "product:77"],
        &["operation:categories"],
    ];
    for (question, expected) in questions().iter().zip(expected) {
        let tags = brought(question, Some(&result), true).unwrap().loaded.tags;
        assert_eq!(tags.len(), expected.len(), "{question:?}");
        assert!(expected.iter().all(|text| tags.contains(&Tag::of(text))), "{question:?}");
    }
}

#[test]
fn that_there_is_nothing_is_about_something_too() {
    for question in questions() {
        let Brought { loaded, dropped } = brought(&question, None, true).unwrap();
        let operation = Tag::of(&format!("operation:{}", question.operation().name()));
        assert!(loaded.empty && loaded.tags.contains(&operation), "{question:?}");
        assert_eq!(dropped.total(), 0);
    }
    let none = kept_product(&std::collections::HashMap::new(), 5).unwrap();
    assert_eq!((none.body.as_ref(), none.tags.len()), (&b"null"[..], 2));
    assert!(kept_link(&LinkMap::new(), "https://a.test/").unwrap().empty);
}

#[test]
fn a_kept_question_is_asked_again_only_if_a_client_could_ask_it() {
    let kept = questions().map(|question| question.to_json().unwrap());
    let asked = |settings: &ServiceSettings| {
        kept.each_ref().map(|text| still_asked(text, settings).is_some())
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
    assert_eq!(still_asked("{}", &settings()), None);
}

#[test]
fn a_rollout_is_a_share_of_clients_and_stable() {
    let on = |percent| (0..1_000).filter(|client| is_on(Rollout(percent), *client)).count();
    assert_eq!((on(0), on(25), on(100)), (0, 250, 1_000));
    assert!(is_on(Rollout(30), 729) && !is_on(Rollout(29), 729));
}

#[test]
fn a_joined_origin_is_the_worst_of_its_parts() {
    let part = |tier, age, ttl, stale| Origin {
        tier,
        forward: Forward::Miss,
        stale,
        collapsed: false,
        waited: stale,
        age: Duration::from_secs(age),
        ttl_seconds: ttl,
    };
    let joined = part(Tier::Memory, 9, 5, true).join(part(Tier::Database, 3, 50, false));
    assert_eq!(joined, part(Tier::Database, 9, 5, true));
}
