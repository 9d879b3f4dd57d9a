//! Several keys at once.

use super::fixture::{Brings, Fixture, KIND, Source, body_of, deadline, down, fresh, key, stale};
use crate::cache::{CacheKey, Tier};
use crate::failure::Failure;

fn keys(names: &[&str]) -> Vec<CacheKey> {
    names.iter().map(|name| key(name)).collect()
}

#[actix::test]
async fn only_what_is_missing_is_loaded_together_and_in_order() {
    let fixture = Fixture::of_memory();
    fixture.holds("fresh", fresh("held"));
    fixture.holds("stale", stale("old"));
    let source = Source::open(Brings::Bodies);
    let wanted = keys(&["cold", "fresh", "stale", "cold", "other"]);
    let answers = fixture.client.get_many(KIND, wanted.clone(), deadline(), source.maker()).await;
    let told: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().map(|answer| (body_of(answer), answer.tier)).unwrap())
        .collect();
    assert_eq!(
        told,
        [
            ("load 1 place 0", Tier::Upstream),
            ("held", Tier::Memory),
            ("old", Tier::Memory),
            ("load 1 place 0", Tier::Upstream),
            ("load 1 place 4", Tier::Upstream),
        ]
    );
    assert_eq!(source.asked(), [[0, 4, 2]], "one load, the stale one and no duplicate with it");
    fixture.until_loaded().await;
    let refreshed = fixture.get("stale", &source).await.unwrap();
    assert_eq!(body_of(&refreshed), "load 1 place 2");
}

#[actix::test]
async fn a_failure_spoils_only_what_nobody_holds() {
    let fixture = Fixture::of_memory();
    fixture.holds("fresh", fresh("held"));
    fixture.holds("stale", stale("old"));
    let source = Source::open(down());
    let wanted = keys(&["cold", "fresh", "stale"]);
    let answers = fixture.client.get_many(KIND, wanted.clone(), deadline(), source.maker()).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn what_cannot_be_used_of_an_answer_fails_by_itself() {
    let fixture = Fixture::of_memory();
    let unfit = Failure::unusable("title_too_short");
    let source = Source::open(Brings::FirstUnfit(unfit.clone()));
    let wanted = keys(&["unfit", "fit"]);
    let get = || fixture.client.get_many(KIND, wanted.clone(), deadline(), source.maker());
    let answers = get().await;
    assert_eq!(answers[0].as_ref().unwrap_err(), &unfit);
    assert_eq!(body_of(answers[1].as_ref().unwrap()), "load 1 place 1");
    // It is remembered as every failure is, and nothing is stored of it.
    let again = get().await;
    assert_eq!(again[0].as_ref().unwrap_err().bound, unfit.bound);
    assert_eq!((again[1].is_ok(), source.asked().len()), (true, 1));
    // What was good is served in its place.
    fixture.holds("unfit", stale("old"));
    let held = get().await;
    assert_eq!(body_of(held[0].as_ref().unwrap()), "old");
}

#[actix::test]
async fn keys_that_others_load_are_not_loaded_again() {
    let fixture = Fixture::of_memory();
    let source = Source::held(Brings::Bodies);
    let (first, second) = (keys(&["a", "b"]), keys(&["b", "c"]));
    let first = fixture.client.get_many(KIND, first, deadline(), source.maker());
    let second = fixture.client.get_many(KIND, second, deadline(), source.maker());
    let release = async {
        source.until_asked(2).await;
        source.let_go(2);
    };
    let (first, second, ()) = futures_util::future::join3(first, second, release).await;
    assert!(first.iter().chain(&second).all(Result::is_ok));
    assert_eq!(source.asked(), [vec![0, 1], vec![1]], "b is loaded once");
    assert!(second[0].as_ref().unwrap().collapsed);
}

#[actix::test]
async fn what_memory_has_needs_no_plan() {
    let fixture = Fixture::of_memory();
    ["a", "b"].iter().for_each(|name| fixture.holds(name, fresh("held")));
    let needless = || panic!("nothing is loaded");
    let answers = fixture.client.get_many(KIND, keys(&["a", "b"]), deadline(), needless).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().tier == Tier::Memory));
}

#[actix::test]
async fn nothing_asked_is_nothing_loaded() {
    let fixture = Fixture::of_memory();
    let source = Source::open(Brings::Bodies);
    assert!(fixture.client.get_many(KIND, keys(&[]), deadline(), source.maker()).await.is_empty());
    assert!(source.asked().is_empty());
}
