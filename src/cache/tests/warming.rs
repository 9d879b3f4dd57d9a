//! What is asked for most is loaded before it is asked for, and nobody suffers for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Brings, Fixture, KIND, ORIGIN, Source, key, stale};
use crate::cache::Plan;
use crate::cache::load::start_one;
use crate::cache::tiers::Row;
use crate::cache::upkeep::{PlanFor, Warmer};
use crate::clock;
use crate::failure::{Failure, FailureKind};
use crate::resilience::Priority;

/// More than the refusals in a row that end a round.
const KEYS: usize = 12;

/// Stale rows that are asked for often, each with its name as the question.
async fn popular(path: &Path) -> Fixture {
    let fixture = Fixture::over(path);
    let tables = fixture.client.tables();
    let names = (0..KEYS).map(|n| n.to_string());
    let rows: Vec<_> =
        names.map(|name| Row::new(KIND, key(&name), &stale("old"), Some(name.into()))).collect();
    tables.store(KIND, rows.clone()).await;
    let database = &tables.database;
    database.writer.flush().await;
    database.writer.used(rows.iter().map(|row| (row.key.clone(), 5)).collect(), clock::now());
    database.writer.flush().await;
    fixture
}

fn warmer(fixture: &Fixture, plan: &Plan) -> Warmer {
    let plan = Plan { priority: Priority::Warming, ..plan.clone() };
    let plan_for: PlanFor = Arc::new(move |_, _| Some(plan.clone()));
    let (tables, pause) = (fixture.client.tables().clone(), Duration::from_millis(1));
    Warmer { tables, plan_for, keys: KEYS, pause, turn: Arc::default() }
}

/// The same, taking this long.
fn slowly(plan: &Plan, takes: Duration) -> Plan {
    let quick = Arc::clone(&plan.loader);
    let loader: crate::cache::Loader = Arc::new(move |places, priority, deadline| {
        let loading = quick(places, priority, deadline);
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            loading.await
        })
    });
    Plan { loader, ..plan.clone() }
}

#[actix::test]
async fn a_source_slower_than_the_soft_deadline_ends_no_round() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = popular(&folder.path().join("cache.db")).await;
    let source = Source::open(Brings::Bodies);
    tokio::time::pause();
    let plan = slowly(&source.plan(), Duration::from_millis(400));
    let round = warmer(&fixture, &plan).round().await.unwrap();
    assert_eq!((round.considered, round.lifted), (KEYS, KEYS));
    assert_eq!((round.loaded, round.left), (KEYS, 0));
}

#[actix::test]
async fn a_round_ends_when_its_loads_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = popular(&folder.path().join("cache.db")).await;
    let kept = Failure::new(FailureKind::Overloaded, "kept for clients");
    let source = Source::open(Brings::Failure(kept));
    tokio::time::pause();
    let round = warmer(&fixture, &source.plan()).round().await.unwrap();
    assert_eq!((round.loaded, round.left, source.asked().len()), (0, KEYS - 5, 5));
}

#[actix::test]
async fn a_round_finds_out_that_the_source_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = popular(&folder.path().join("cache.db")).await;
    let down =
        Source::open(Brings::Failure(Failure::new(FailureKind::UpstreamUnavailable, "down")));
    tokio::time::pause();
    let round = warmer(&fixture, &down.plan()).round().await.unwrap();
    assert_eq!((round.loaded, round.left, down.asked().len()), (0, KEYS - 1, 1));
    assert!(fixture.is_failing());
    // The next tries another key: what failed is left alone for a while.
    tokio::time::advance(Duration::from_secs(1)).await;
    let round = warmer(&fixture, &down.plan()).round().await.unwrap();
    assert_eq!((round.loaded, round.left, down.asked().len()), (0, KEYS - 1, 2), "still down");
    tokio::time::advance(Duration::from_secs(300)).await;
    let back = Source::open(Brings::Bodies);
    let round = warmer(&fixture, &back.plan()).round().await.unwrap();
    assert_eq!((round.loaded, round.left), (KEYS, 0));
}

#[actix::test]
async fn a_database_that_is_not_trusted_yet_makes_no_round_and_is_asked_again_soon() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = popular(&folder.path().join("cache.db")).await;
    let source = Source::open(Brings::Bodies);
    tokio::time::pause();
    let warmer = warmer(&fixture, &source.plan());
    let invalidations = &fixture.client.tables().invalidations;
    invalidations.await_log(clock::now());
    assert_eq!(warmer.round().await, None);
    let soon = async {
        let begun = clock::monotonic();
        let warm = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            invalidations.all_known();
            while source.asked().len() < KEYS {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            begun.elapsed()
        };
        tokio::select! {
            () = warmer.keep_warm(Duration::from_secs(300)) => Duration::MAX,
            took = warm => took,
        }
    };
    let took = soon.await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[actix::test]
async fn what_is_held_back_from_warming_is_not_held_back_from_a_client_that_joined() {
    let fixture = Fixture::of_memory();
    let tables = fixture.client.tables();
    let source = Source::open(Brings::Bodies);
    let admit = || tables.budgets.admit((ORIGIN, "search"), Priority::Refresh, clock::monotonic());
    let full: Vec<_> = (0..6).map(|_| admit()).collect();
    assert!(full.iter().all(Result::is_ok));
    let warming = Plan { priority: Priority::Warming, ..source.plan() };
    drop(start_one(tables, &key("a"), 0, &warming));
    let mut client = start_one(tables, &key("a"), 0, &source.plan());
    assert!(client.collapsed);
    assert!(client.follower.first().await.is_none(), "the client starts a load of its own");
    assert_eq!(fixture.get("a", &source).await.unwrap().tier, crate::cache::Tier::Upstream);
}
