//! Hits, misses, failures, and callers that come together or go away.

use std::time::Duration;

use super::fixture::{Brings, Fixture, KIND, LONG, Source, body_of, deadline, down, fresh, key};
use crate::cache::Tier;
use crate::cache::load::start_one;
use crate::clock;
use crate::failure::{Failure, FailureKind};

/// Waits until all callers have joined: a paused clock moves only when nobody has anything to do.
async fn until_all_wait() {
    tokio::time::pause();
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::time::resume();
}

#[actix::test]
async fn a_fresh_hit_runs_no_loader() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", fresh("held"));
    let never = || panic!("not even the plan is made");
    let answer = fixture.client.get(KIND, key("a"), deadline(), never).await.unwrap();
    assert_eq!((body_of(&answer), answer.tier), ("held", Tier::Memory));
    assert!(!answer.stale && !answer.collapsed);
    assert!(answer.age() >= Duration::from_secs(1) && answer.ttl_seconds() > 3_500);
}

#[actix::test]
async fn a_miss_is_loaded_once_and_then_held() {
    let fixture = Fixture::of_memory();
    let source = Source::open(Brings::Bodies);
    let first = fixture.get("a", &source).await.unwrap();
    let second = fixture.get("a", &source).await.unwrap();
    assert_eq!((first.tier, second.tier), (Tier::Upstream, Tier::Memory));
    assert_eq!(body_of(&first), body_of(&second));
    assert_eq!(source.asked(), [[0]]);
    let totals = fixture.metrics.cache.totals();
    assert_eq!((totals.hits, totals.misses), (1, 1));
}

#[actix::test]
async fn a_thousand_callers_of_a_cold_key_cost_one_load() {
    let fixture = Fixture::of_memory();
    let source = Source::held(Brings::Bodies);
    let release = async {
        until_all_wait().await;
        source.let_go(1);
    };
    let callers = fixture.get_by_many(1_000, "a", &source);
    let (answers, ()) = futures_util::future::join(callers, release).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| body_of(answer) == "load 1 place 0"));
    assert_eq!(
        answers.iter().filter(|answer| answer.tier == Tier::Upstream).count(),
        answers.len()
    );
    assert_eq!(answers.iter().filter(|answer| answer.collapsed).count(), 999);
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn a_caller_that_looked_before_the_end_of_a_load_and_joins_after_it_costs_no_load() {
    let fixture = Fixture::of_memory();
    let source = Source::open(Brings::Bodies);
    fixture.get("a", &source).await.unwrap();
    let tables = fixture.client.tables();
    let mut joined = start_one(tables, &key("a"), 0, &source.plan());
    let completed = joined.follower.first().await.expect("nothing died");
    assert_eq!(completed.unwrap().1, Tier::Memory);
    assert_eq!((source.asked().len(), tables.in_flight()), (1, 0));
}

/// What is refused to one client is no answer for another that waits for the same.
#[actix::test]
async fn a_refusal_for_the_sake_of_others_is_only_its_clients() {
    let fixture = Fixture::of_memory();
    let refused = || Failure::new(FailureKind::ShareSpent, "the client has had its share");
    let (stranger, keyed) =
        (Source::held(Brings::Failure(refused())), Source::open(Brings::Bodies));
    let both = async {
        let second = async {
            stranger.until_asked(1).await;
            fixture.get("a", &keyed).await
        };
        futures_util::future::join(fixture.get("a", &stranger), second).await
    };
    let release = async {
        until_all_wait().await;
        stranger.let_go(1);
    };
    let ((first, second), ()) = futures_util::future::join(both, release).await;
    assert_eq!(first.unwrap_err(), refused());
    assert_eq!(body_of(&second.unwrap()), "load 1 place 0");
    assert_eq!((stranger.asked().len(), keyed.asked().len()), (1, 1));
    // It held the key for nobody, and says nothing about the origin.
    for name in ["b", "c", "d", "e", "f", "g"] {
        stranger.let_go(1);
        assert_eq!(fixture.get(name, &stranger).await.unwrap_err(), refused());
        assert!(fixture.get(name, &keyed).await.is_ok(), "{name}");
    }
}

#[actix::test]
async fn a_failure_is_shared_by_all_followers_and_not_stored() {
    let fixture = Fixture::of_memory();
    let source = Source::held(down());
    let release = async {
        until_all_wait().await;
        source.let_go(1);
    };
    let callers = fixture.get_by_many(100, "a", &source);
    let (answers, ()) = futures_util::future::join(callers, release).await;
    for answer in answers {
        let failure = answer.unwrap_err();
        assert_eq!((failure.kind, &*failure.reason), (FailureKind::UpstreamUnavailable, "down"));
    }
    assert_eq!(source.asked().len(), 1, "one failure for all");
    assert!(fixture.client.tables().memory.is_empty());
    // A caller that comes a moment later gets the same, without another load.
    source.now_brings(Brings::Bodies);
    source.let_go(2);
    let told = fixture.get("a", &source).await.unwrap_err();
    assert_eq!((&*told.reason, source.asked().len()), ("down", 1));
    assert!(told.retry_after.is_some_and(|wait| wait <= Duration::from_millis(1_500)));
    fixture.client.tables().memo.clear(&key("a"));
    assert_eq!(body_of(&fixture.get("a", &source).await.unwrap()), "load 2 place 0");
}

#[actix::test]
async fn a_caller_that_goes_away_cancels_nothing() {
    let fixture = Fixture::of_memory();
    let source = Source::held(Brings::Bodies);
    // The caller that started the load goes; nobody waits for it then.
    tokio::select! {
        biased;
        _ = fixture.get("a", &source) => panic!("nothing was let go"),
        () = source.until_asked(1) => {}
    }
    assert_eq!(fixture.client.tables().in_flight(), 1, "it goes on");
    let late = fixture.get("a", &source);
    let release = async {
        until_all_wait().await;
        source.let_go(1);
    };
    let (answer, ()) = futures_util::future::join(late, release).await;
    assert!(answer.unwrap().collapsed);
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn a_load_nobody_waits_for_still_stores() {
    let fixture = Fixture::of_memory();
    let source = Source::held(Brings::Bodies);
    tokio::select! {
        biased;
        _ = fixture.get("a", &source) => panic!("nothing was let go"),
        () = source.until_asked(1) => {}
    }
    source.let_go(1);
    fixture.until_loaded().await;
    assert_eq!(fixture.get("a", &source).await.unwrap().tier, Tier::Memory);
}

#[actix::test]
async fn a_deadline_ends_the_wait_and_not_the_load() {
    let fixture = Fixture::of_memory();
    let source = Source::held(Brings::Bodies);
    tokio::time::pause();
    let soon = clock::monotonic() + Duration::from_millis(100);
    let late = fixture.client.get(KIND, key("a"), soon, source.maker()).await;
    assert_eq!(late.unwrap_err().kind, FailureKind::DeadlineExceeded);
    source.let_go(1);
    fixture.until_loaded().await;
    assert_eq!(fixture.get("a", &source).await.unwrap().tier, Tier::Memory);
}

#[actix::test]
async fn a_loader_that_never_answers_frees_the_key_in_the_end() {
    let fixture = Fixture::of_memory();
    let source = Source::held(Brings::Bodies);
    tokio::time::pause();
    let patient = clock::monotonic() + 2 * LONG;
    let answer = fixture.client.get(KIND, key("a"), patient, source.maker()).await;
    assert_eq!(answer.unwrap_err().kind, FailureKind::DeadlineExceeded);
    assert_eq!(fixture.client.tables().in_flight(), 0);
}

#[actix::test]
async fn a_loader_that_brings_too_little_is_a_failure() {
    let fixture = Fixture::of_memory();
    let source = Source::open(Brings::TooFew);
    assert_eq!(fixture.get("a", &source).await.unwrap_err().kind, FailureKind::Internal);
    assert!(fixture.client.tables().memory.is_empty());
    assert_eq!(fixture.client.tables().in_flight(), 0);
}

#[actix::test]
async fn an_empty_result_is_a_result_with_a_short_life() {
    let fixture = Fixture::of_memory();
    let source = Source::open(Brings::Empty);
    let answer = fixture.get("a", &source).await.unwrap();
    let entry = &answer.entry;
    assert!(entry.negative);
    let life = entry.times.fresh_until.since(entry.times.stored_at).as_secs();
    assert!((54..=66).contains(&life), "{life} s is not a minute, jitter included");
    assert_eq!(entry.times.stale_until, entry.times.fresh_until, "never served stale");
    assert_eq!(fixture.get("a", &source).await.unwrap().tier, Tier::Memory);
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn a_reload_passes_what_is_held_and_falls_back_on_it() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", fresh("held"));
    let source = Source::open(Brings::Bodies);
    let reload = || fixture.client.reload(key("a"), deadline(), source.plan());
    let answer = reload().await.unwrap();
    assert_eq!((body_of(&answer), answer.tier), ("load 1 place 0", Tier::Upstream));
    source.now_brings(down());
    let answer = reload().await.unwrap();
    assert_eq!((body_of(&answer), answer.tier), ("load 1 place 0", Tier::Memory));
    assert_eq!(source.asked().len(), 2);
}

#[actix::test]
async fn a_find_older_than_memory_gives_way_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::over(&folder.path().join("cache.db"));
    let tables = fixture.client.tables();
    let older = std::sync::Arc::new(super::fixture::entry("older", LONG, super::fixture::HOUR));
    fixture.stores("a", older).await;
    tables.database.writer.flush().await;
    // Another load completed after this caller had looked into memory.
    fixture.holds("a", fresh("newer"));
    let source = Source::open(Brings::Bodies);
    let mut joined = start_one(tables, &key("a"), 0, &source.plan());
    let (entry, tier) = joined.follower.first().await.expect("it brings something").unwrap();
    assert_eq!((&entry.representation.body[..], tier), (&b"newer"[..], Tier::Memory));
    assert!(source.asked().is_empty());
}

#[actix::test]
async fn memory_keeps_its_bounds_whatever_is_loaded() {
    let fixture = Fixture::bounded(50, 1_000_000);
    let source = Source::open(Brings::Bodies);
    for n in 0..500 {
        fixture.get(&n.to_string(), &source).await.unwrap();
        assert!(fixture.client.tables().memory.len() <= 50);
    }
    assert!(fixture.metric("cache_evictions_total") >= 450);
}
