//! CacheActor under the contract, and a loader that panics: the I/O it starts but does not own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use breakwater::cache::tiers::database::{DatabaseTier, Writer};
use breakwater::cache::tiers::memory::MemoryTier;
use breakwater::cache::{
    CacheActor, CacheClient, CacheKey, CacheTables, Get, Lifetimes, Loaded, Loader, Plan, Question,
    Tier,
};
use breakwater::database::{DatabaseSettings, Store};
use breakwater::failure::FailureKind;
use breakwater::metrics::Metrics;
use breakwater::resilience::Priority;
use breakwater::resilience::breaker::{self, Breaker};
use breakwater::steps::Steps;
use breakwater::supervision::{AskError, Handle, Spec, Supervisor, Undelivered};
use breakwater::{cache, clock};
use futures_util::future::join_all;
use slog::Logger;

use super::contract;
use super::fixture::Fixture;
use super::subject::{SOON, Subject};

const LIFETIMES: Lifetimes = Lifetimes {
    kind: "search",
    fresh: Duration::from_secs(3_600),
    negative: Duration::from_secs(60),
    stale: Duration::from_secs(3_600),
};

struct Cache(CacheTables);

fn key(name: &str) -> CacheKey {
    CacheKey::new(format!("test:contract:{name}"))
}

fn plan(loader: Loader) -> Plan {
    let question: Question = Arc::new(|_| None);
    let priority = Priority::Client;
    let (lifetimes, origin) = (LIFETIMES, "test");
    let is_answer = |_: &_| true;
    Plan {
        lifetimes,
        loader,
        question,
        is_answer,
        origin,
        reload: false,
        priority,
        within: SOON,
        steps: Steps::default(),
        redis_silent: false,
    }
}

fn get(name: &str) -> Get {
    Get { kind: "search", key: key(name) }
}

/// Loads the same for every key.
fn good() -> Plan {
    plan(Arc::new(|places, _, _| {
        Box::pin(async move {
            let one = Loaded::json("{}".into(), false, Vec::new());
            Ok(places.iter().map(|_| Ok(one.clone())).collect())
        })
    }))
}

/// Panics so many times and then loads; says how often it was called.
fn panics_at_first(panics: usize) -> (Plan, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let (counted, then) = (Arc::clone(&calls), good());
    let loader: Loader = Arc::new(move |places, priority, deadline| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        let then = Arc::clone(&then.loader);
        Box::pin(async move {
            // As an answer over the wire does, it comes when all callers have joined.
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(call >= panics, "provoked: the loader panics");
            then(places, priority, deadline).await
        })
    });
    (plan(loader), calls)
}

/// A database that is away.
fn no_database() -> DatabaseTier {
    let path = std::path::Path::new("/no/folder/cache.db");
    let (store, _) = Store::open(DatabaseSettings::at(path), clock::monotonic(), clock::now());
    let writer = Writer::start(store.clone(), Arc::new(|_| {})).unwrap();
    let settings = breaker::Settings::new(3, Duration::from_secs(60));
    let breaker = Breaker::new("database", settings, Arc::new(|_| {}));
    DatabaseTier::new(store, Arc::new(breaker), writer)
}

impl Subject for Cache {
    type Actor = CacheActor;
    const NAME: &'static str = "cache";
    const OWN_THREAD: bool = false;

    fn new(supervisor: &Supervisor) -> Self {
        let counts = Metrics::new().cache.clone();
        let memory = MemoryTier::new(100, 1_000_000, counts.clone());
        let log = Logger::root(slog::Discard, slog::o!());
        Self(CacheTables::new(memory, no_database(), counts, log, supervisor.observer()))
    }

    fn start(&self, supervisor: &Supervisor, spec: Spec) -> Handle<CacheActor> {
        let tables = self.0.clone();
        supervisor.start_here(spec, move || CacheActor::new(tables.clone()))
    }

    async fn ask(handle: &Handle<CacheActor>) -> Result<(), AskError> {
        handle.ask(get("absent"), SOON).await.map(drop)
    }

    fn tell(handle: &Handle<CacheActor>) -> Result<(), Undelivered> {
        handle.tell(get("absent"))
    }

    async fn leave_a_mark(&self, handle: &Handle<CacheActor>) {
        let client = CacheClient::new(handle.clone(), self.0.clone());
        let deadline = clock::monotonic() + SOON;
        client.get("search", key("mark"), deadline, good).await.unwrap();
    }

    async fn finds_the_mark(&self, handle: &Handle<CacheActor>) -> bool {
        matches!(handle.ask(get("mark"), SOON).await, Ok(Ok(_)))
    }

    async fn go_around(&self, handle: Handle<CacheActor>) {
        let client = CacheClient::new(handle, self.0.clone());
        let deadline = clock::monotonic() + SOON;
        let hit = client.get("search", key("mark"), deadline, || panic!("it is there")).await;
        assert_eq!(hit.map(|answer| answer.tier), Ok(Tier::Memory));
        let (plan, calls) = panics_at_first(0);
        let missed = join_all((0..50).map(|_| {
            let plan = plan.clone();
            client.get("search", key("unknown"), deadline, move || plan.clone())
        }));
        assert!(missed.await.iter().all(Result::is_ok));
        assert_eq!(calls.load(Ordering::SeqCst), 1, "one load, actor or not");
        let unknown = cache::Subject::pattern("*unknown").unwrap();
        let cleared = client.invalidate(unknown, cache::Mode::Hard, "test").await;
        assert!(cleared.is_ok_and(|cleared| cleared.memory == 1));
    }
}

contract!(Cache);

#[actix::test]
async fn a_load_whose_loader_panics_is_started_again_once() {
    let fixture = Fixture::<Cache>::with_room_for(1_000);
    let client = CacheClient::new(fixture.start(), fixture.subject.0.clone());
    tokio::time::pause();
    let (plan, calls) = panics_at_first(1);
    let deadline = clock::monotonic() + SOON;
    let callers = (0..100).map(|_| {
        let plan = plan.clone();
        client.get("search", key("cold"), deadline, move || plan.clone())
    });
    assert!(join_all(callers).await.iter().all(Result::is_ok));
    assert_eq!(calls.load(Ordering::SeqCst), 2, "one that died and one more for all");
    assert_eq!(fixture.notes.count("task cache-load: provoked: the loader panics"), 1);
    assert_eq!(fixture.status().restarts, 0, "the actor knows nothing of it");
}

#[actix::test]
async fn a_loader_that_always_panics_is_an_error_and_frees_the_key() {
    let fixture = Fixture::<Cache>::with_room_for(1_000);
    let client = CacheClient::new(fixture.start(), fixture.subject.0.clone());
    tokio::time::pause();
    let (plan, calls) = panics_at_first(usize::MAX);
    let deadline = clock::monotonic() + SOON;
    let callers = (0..100).map(|_| {
        let plan = plan.clone();
        client.get("search", key("cold"), deadline, move || plan.clone())
    });
    for answer in join_all(callers).await {
        assert_eq!(answer.map(drop).map_err(|failure| failure.kind), Err(FailureKind::Internal));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2, "one load and one more for all");
    assert_eq!(fixture.subject.0.in_flight(), 0, "the key is free");
    let again = client.get("search", key("cold"), deadline, good).await;
    assert_eq!(again.map(|answer| answer.tier), Ok(Tier::Upstream));
}
