//! Who waits for something newer, how long, and what happens behind them.

use std::time::Duration;

use super::fixture::{
    Brings, Fixture, HOUR, KIND, Source, body_of, down, entry, for_emergencies, key, stale,
};
use crate::cache::load::start_one;
use crate::cache::{Forward, Plan, Tier};
use crate::clock;
use crate::resilience::Priority;

const SOON: Duration = Duration::from_millis(20);

/// In the last tenth of an hour.
fn due(body: &str) -> crate::cache::Entry {
    entry(body, Duration::from_secs(3_300), HOUR)
}

#[actix::test]
async fn what_is_for_emergencies_is_waited_for_and_replaced() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", for_emergencies("old"));
    let source = Source::open(Brings::Bodies);
    let answer = fixture.get("a", &source).await.unwrap();
    assert_eq!((body_of(&answer), answer.tier), ("load 1 place 0", Tier::Upstream));
    assert_eq!((answer.forward, answer.stale), (Forward::Stale, false));
}

#[actix::test]
async fn at_the_soft_time_out_the_stale_answer_is_given_and_the_load_goes_on() {
    let fixture = Fixture::with_soft_time_out(SOON);
    fixture.holds("a", for_emergencies("old"));
    let source = Source::held(Brings::Bodies);
    let answers = fixture.get_by_many(100, "a", &source).await;
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!((body_of(&answer), answer.stale), ("old", true));
    }
    // Who comes after the soft time-out of the load does not wait at all.
    assert_eq!(fixture.client.tables().in_flight(), 1);
    assert_eq!(body_of(&fixture.get("a", &source).await.unwrap()), "old");
    source.let_go(1);
    fixture.until_loaded().await;
    assert_eq!(body_of(&fixture.get("a", &source).await.unwrap()), "load 1 place 0");
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn a_failure_gives_the_stale_answer_before_the_soft_time_out() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", for_emergencies("old"));
    let source = Source::open(down());
    let answer = fixture.get("a", &source).await.unwrap();
    assert_eq!((body_of(&answer), answer.stale), ("old", true));
    // Nobody waits again for what failed a moment ago.
    assert_eq!(body_of(&fixture.get("a", &source).await.unwrap()), "old");
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn near_the_end_of_its_fresh_time_a_hit_renews_once() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", due("old"));
    let source = Source::held(Brings::Bodies);
    for answer in fixture.get_by_many(100, "a", &source).await {
        let answer = answer.unwrap();
        assert_eq!((body_of(&answer), answer.stale), ("old", false));
    }
    source.until_asked(1).await;
    source.let_go(1);
    fixture.until_loaded().await;
    assert_eq!(body_of(&fixture.get("a", &source).await.unwrap()), "load 1 place 0");
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn what_another_left_behind_memory_spares_the_renewal() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::over(&folder.path().join("cache.db"));
    fixture.stores("a", std::sync::Arc::new(entry("newer", SOON, HOUR))).await;
    fixture.client.tables().database.writer.flush().await;
    let source = Source::open(Brings::Bodies);
    let plan = Plan { priority: Priority::Refresh, ..source.plan() };
    let mut joined = start_one(fixture.client.tables(), &key("a"), 0, &plan);
    let (found, tier) = joined.follower.first().await.unwrap().unwrap();
    assert_eq!((&found.representation.body[..], tier), (&b"newer"[..], Tier::Database));
    assert!(source.asked().is_empty());
}

#[actix::test]
async fn an_outage_is_found_out_with_few_loads_whatever_is_asked_for() {
    let fixture = Fixture::of_memory();
    let source = Source::held(down());
    for n in 0..200 {
        fixture.holds(&n.to_string(), stale("old"));
    }
    for _ in 0..5 {
        for n in 0..200 {
            assert_eq!(body_of(&fixture.get(&n.to_string(), &source).await.unwrap()), "old");
        }
    }
    source.until_asked(6).await;
    source.let_go(1_000);
    fixture.until_loaded().await;
    for _ in 0..5 {
        for n in 0..200 {
            assert_eq!(body_of(&fixture.get(&n.to_string(), &source).await.unwrap()), "old");
        }
        fixture.until_loaded().await;
    }
    assert!(source.asked().len() <= 10, "{} loads", source.asked().len());
    assert!(fixture.metric("cache_loads_held_total{reason=\"busy\"}") > 0);
}

#[actix::test]
async fn at_the_hard_deadline_a_reload_falls_back_on_what_is_held() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", stale("old"));
    let source = Source::held(Brings::Bodies);
    let deadline = clock::monotonic() + SOON;
    let answer = fixture.client.reload(key("a"), deadline, source.plan()).await.unwrap();
    assert_eq!((body_of(&answer), answer.tier), ("old", Tier::Memory));
}

#[actix::test]
async fn a_load_past_its_deadline_is_a_failure_of_the_source() {
    let fixture = Fixture::of_memory();
    let source = Source::held(Brings::Bodies);
    let plan = Plan { within: SOON, ..source.plan() };
    let plan = move || plan.clone();
    assert!(fixture.client.get(KIND, key("a"), super::fixture::deadline(), plan).await.is_err());
    fixture.until_loaded().await;
    assert!(fixture.is_failing());
}
