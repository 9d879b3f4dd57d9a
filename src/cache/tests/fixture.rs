//! A cache of a test's own: tables, actor, client, and a loader that does as it is told.
//!
//! Owns: entries of any age (times are written into them, nobody waits for one to grow old), and
//! what the loader was asked for.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use slog::Logger;
use tokio::sync::Semaphore;

use crate::cache::tables::SOFT_TIMEOUT;
use crate::cache::tiers::Row;
use crate::cache::tiers::database::{DatabaseTier, Writer};
use crate::cache::tiers::memory::MemoryTier;
use crate::cache::{
    Answer, Brought, CacheActor, CacheClient, CacheKey, CacheTables, Entry, Lifetimes, Loaded,
    Loader, Plan, Question, Representation, Times,
};
use crate::clock;
use crate::database::{DatabaseSettings, Store};
use crate::failure::{Failure, FailureKind};
use crate::metrics::{Metrics, render};
use crate::resilience::Priority;
use crate::resilience::breaker::{self, Breaker};
use crate::steps::Steps;
use crate::supervision::{RestartPolicy, Silent, Spec, Supervisor};

pub(in crate::cache) const KIND: &str = "search";
/// Where everything comes from.
pub(in crate::cache) const ORIGIN: &str = "source";
pub(in crate::cache) const HOUR: Duration = Duration::from_secs(3_600);
/// Longer than any test takes.
pub(in crate::cache) const LONG: Duration = Duration::from_secs(20);

pub(in crate::cache) fn key(name: &str) -> CacheKey {
    CacheKey::new(format!("test:search:{name}"))
}

pub(in crate::cache) fn body_of(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.entry.representation.body).unwrap()
}

/// An entry that was stored `age` ago and then fresh for `fresh`, usable for an hour more.
pub(in crate::cache) fn entry(body: &str, age: Duration, fresh: Duration) -> Entry {
    let stored = clock::now().minus(age);
    let fresh_until = stored.plus(fresh);
    let stale_until = fresh_until.plus(HOUR);
    let times =
        Times { stored_at: stored, fresh_until, revalidate_until: stale_until, stale_until };
    Entry::new(Representation::json(body.to_owned().into()), times, false, Vec::new())
}

pub(in crate::cache) fn fresh(body: &str) -> Entry {
    entry(body, Duration::from_secs(1), HOUR)
}

pub(in crate::cache) fn stale(body: &str) -> Entry {
    entry(body, 2 * Duration::from_secs(60), Duration::from_secs(60))
}

/// An entry past its time to be served without waiting, for an hour more usable.
pub(in crate::cache) fn for_emergencies(body: &str) -> Entry {
    let entry = stale(body);
    let times = Times { revalidate_until: entry.times.fresh_until, ..entry.times };
    Entry::new(entry.representation.clone(), times, false, Vec::new())
}

/// What the next loads bring.
#[derive(Clone)]
pub(in crate::cache) enum Brings {
    /// For every key its call's number and its place.
    Bodies,
    /// Nothing there.
    Empty,
    /// A failure.
    Failure(Failure),
    /// Of the first key what cannot be used.
    FirstUnfit(Failure),
    /// One answer too few.
    TooFew,
}

/// A loader that remembers what it was asked for and waits to be let go.
#[derive(Clone)]
pub(in crate::cache) struct Source {
    asked: Arc<Mutex<Vec<Vec<usize>>>>,
    brings: Arc<Mutex<Brings>>,
    gate: Arc<Semaphore>,
}

impl Source {
    /// One that answers at once.
    pub(in crate::cache) fn open(brings: Brings) -> Self {
        let source = Self::held(brings);
        source.let_go(Semaphore::MAX_PERMITS / 2);
        source
    }

    /// One that waits until it is let go.
    pub(in crate::cache) fn held(brings: Brings) -> Self {
        Self {
            asked: Arc::default(),
            brings: Arc::new(Mutex::new(brings)),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    /// Lets so many loads go.
    pub(in crate::cache) fn let_go(&self, loads: usize) {
        self.gate.add_permits(loads);
    }

    /// From now on it brings this.
    pub(in crate::cache) fn now_brings(&self, brings: Brings) {
        *self.brings.lock().unwrap() = brings;
    }

    /// The places of every load so far.
    pub(in crate::cache) fn asked(&self) -> Vec<Vec<usize>> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it was asked so often.
    pub(in crate::cache) async fn until_asked(&self, times: usize) {
        while self.asked().len() < times {
            tokio::task::yield_now().await;
        }
    }

    /// A plan that loads from here.
    pub(in crate::cache) fn plan(&self) -> Plan {
        let source = self.clone();
        let loader: Loader = Arc::new(move |places, _, _| {
            let source = source.clone();
            Box::pin(async move { source.load(places).await })
        });
        let lifetimes =
            Lifetimes { kind: KIND, fresh: HOUR, negative: Duration::from_secs(60), stale: HOUR };
        let question: Question = Arc::new(|_| None);
        Plan {
            lifetimes,
            loader,
            question,
            is_answer: |_| true,
            origin: ORIGIN,
            reload: false,
            priority: Priority::Client,
            within: LONG,
            steps: Steps::default(),
            redis_silent: false,
        }
    }

    /// What makes such plans.
    pub(in crate::cache) fn maker(&self) -> impl Fn() -> Plan + Send + Sync + use<> {
        let source = self.clone();
        move || source.plan()
    }

    async fn load(&self, places: Vec<usize>) -> Brought {
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(places.clone());
            asked.len()
        };
        self.gate.acquire().await.unwrap().forget();
        let brings = self.brings.lock().unwrap().clone();
        let is_empty = matches!(brings, Brings::Empty);
        let bodies = places.iter().map(|place| {
            let body = format!("load {number} place {place}");
            Loaded::json(body.into(), is_empty, Vec::new())
        });
        match brings {
            Brings::Bodies | Brings::Empty => Ok(bodies.map(Ok).collect()),
            Brings::TooFew => Ok(bodies.skip(1).map(Ok).collect()),
            Brings::FirstUnfit(failure) => {
                let rest = bodies.skip(1).map(Ok);
                Ok(std::iter::once(Err(failure)).chain(rest).collect())
            }
            Brings::Failure(failure) => Err(failure),
        }
    }
}

pub(in crate::cache) fn down() -> Brings {
    Brings::Failure(Failure::new(FailureKind::UpstreamUnavailable, "down"))
}

/// A cache with its actor on this thread.
pub(in crate::cache) struct Fixture {
    pub(in crate::cache) client: CacheClient,
    pub(in crate::cache) metrics: Metrics,
    _supervisor: Supervisor,
}

impl Fixture {
    /// Memory alone: the database is away.
    pub(in crate::cache) fn of_memory() -> Self {
        Self::build(None, 1_000, 10_000_000, SOFT_TIMEOUT)
    }

    /// Memory alone, where nobody waits for longer than `soft` when there is something stale.
    pub(in crate::cache) fn with_soft_time_out(soft: Duration) -> Self {
        Self::build(None, 1_000, 10_000_000, soft)
    }

    /// Memory with these bounds.
    pub(in crate::cache) fn bounded(items: usize, bytes: u64) -> Self {
        Self::build(None, items, bytes, SOFT_TIMEOUT)
    }

    /// Memory, and the database at `path`.
    pub(in crate::cache) fn over(path: &Path) -> Self {
        Self::build(Some(path), 1_000, 10_000_000, SOFT_TIMEOUT)
    }

    fn build(path: Option<&Path>, items: usize, bytes: u64, soft: Duration) -> Self {
        let metrics = Metrics::new();
        let counts = metrics.cache.clone();
        let memory = MemoryTier::new(items, bytes, counts.clone());
        let supervisor = Supervisor::new(Arc::new(Silent)).unwrap();
        let log = Logger::root(slog::Discard, slog::o!());
        let observer = supervisor.observer();
        let tables = CacheTables::new(
            memory,
            open(path.unwrap_or(Path::new("/no/folder/cache.db"))),
            counts,
            log,
            observer,
        );
        let tables = CacheTables { soft, ..tables };
        let spec =
            Spec { name: "cache", instance: 0, capacity: 1_000, policy: RestartPolicy::default() };
        let of_actor = tables.clone();
        let actor = supervisor.start_here(spec, move || CacheActor::new(of_actor.clone()));
        let client = CacheClient::new(actor, tables);
        Self { client, metrics, _supervisor: supervisor }
    }

    /// Puts an entry into memory.
    pub(in crate::cache) fn holds(&self, name: &str, entry: Entry) {
        self.client.tables().memory.put(key(name), Arc::new(entry));
    }

    /// Hands an entry to the tiers behind memory.
    pub(in crate::cache) async fn stores(&self, name: &str, entry: Arc<Entry>) {
        let row = Row::new(KIND, key(name), &entry, None);
        self.client.tables().store(KIND, vec![row]).await;
    }

    pub(in crate::cache) async fn get(
        &self,
        name: &str,
        source: &Source,
    ) -> Result<Answer, Failure> {
        self.client.get(KIND, key(name), deadline(), source.maker()).await
    }

    /// The same key for many callers at once.
    pub(in crate::cache) async fn get_by_many(
        &self,
        callers: usize,
        name: &str,
        source: &Source,
    ) -> Vec<Result<Answer, Failure>> {
        futures_util::future::join_all((0..callers).map(|_| self.get(name, source))).await
    }

    /// Waits until nothing is being loaded.
    pub(in crate::cache) async fn until_loaded(&self) {
        while self.client.tables().in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Whether the loads of tests are found to fail.
    pub(in crate::cache) fn is_failing(&self) -> bool {
        self.client.tables().budgets.is_failing(ORIGIN)
    }

    /// The value of a metric's line.
    pub(in crate::cache) fn metric(&self, line: &str) -> u64 {
        let text = render(&self.metrics).unwrap();
        let value = text.lines().find_map(|found| found.strip_prefix(line));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }
}

pub(in crate::cache) fn deadline() -> Instant {
    clock::monotonic() + LONG
}

pub(in crate::cache) fn open(path: &Path) -> DatabaseTier {
    let (store, _) = Store::open(DatabaseSettings::at(path), clock::monotonic(), clock::now());
    let writer = Writer::start(store.clone(), Arc::new(|_| {})).unwrap();
    let settings = breaker::Settings::new(3, Duration::from_secs(60));
    let breaker = Breaker::new("database", settings, Arc::new(|_| {}));
    DatabaseTier::new(store, Arc::new(breaker), writer)
}
