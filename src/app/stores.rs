//! The stores behind memory: opened once, with their breakers.
//!
//! Owns: opening the database, looking after it (and going on without), the database's writer, and
//! every worker's way to Redis. Each has a breaker of its own, whose changes are logged and counted.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use slog::{Logger, debug, error, info, o, warn};

use crate::cache::CacheSettings;
use crate::cache::CacheTables;
use crate::cache::tiers::database::{DatabaseTier, Writer};
use crate::cache::tiers::memory::MemoryTier;
use crate::cache::tiers::redis::RedisTier;
use crate::clock;
use crate::config::Settings;
use crate::database::{self, DatabaseSettings, Event, ReplicaStatus, Replicas, Store, Watch};
use crate::limits::Limits;
use crate::metrics::{Metrics, Set};
use crate::origin::pacing::shared::{self, Counted, Question, SharedPace, Sharing};
use crate::redis::{Health, Redis, RedisSettings, Script, Servers, keys};
use crate::resilience::breaker::{self, Breaker, State};
use crate::supervision::Supervisor;

/// How much longer an answer is waited for that is late because this thread is busy, where without one a
/// share decides. A Redis that is late itself is not waited for.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);
/// Failures in a row after which a store is left alone, and for how long at first.
const STORE_FAILURES: u32 = 3;
const STORE_REST: Duration = Duration::from_millis(500);
/// Longest time a store is left alone: asking after it costs next to nothing.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Redis and the database, as far as they are there.
#[derive(Clone)]
pub(super) struct Stores {
    pub(super) store: Store,
    pub(super) database: DatabaseTier,
    database_breaker: Breaker,
    redis: Option<RedisParts>,
    metrics: Metrics,
    log: Logger,
}

/// What every way to Redis shares.
#[derive(Clone)]
struct RedisParts {
    servers: Arc<Servers>,
    timeout: Duration,
    health: Arc<Health>,
}

/// Carries what an upstream's instances ask each other.
#[derive(Debug)]
struct RedisPace {
    redis: Redis,
    script: Arc<Script>,
}

impl SharedPace for RedisPace {
    fn ask<'a>(
        &'a self,
        id: &'a str,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Option<Counted>> + 'a>> {
        Box::pin(async move {
            let key = keys::pace(id);
            // The breaker knows of a failure; who asked goes on with its share.
            let numbers = self.redis.run(&self.script, &key, &question.arguments()).await.ok()?;
            Counted::read(&numbers)
        })
    }
}

impl Stores {
    pub(super) fn open(
        settings: &Settings,
        metrics: &Metrics,
        log: &Logger,
    ) -> std::io::Result<Self> {
        let database_breaker = breaker("database", metrics, log);
        let (store, replicas, writer) = open_database(settings, metrics, log)?;
        let database = DatabaseTier::new(store.clone(), Arc::new(database_breaker.clone()), writer)
            .with_replicas(replicas);
        let health = || Arc::new(Health::new(breaker("redis", metrics, log)));
        let redis: RedisSettings = settings.of();
        let redis = redis.url.as_ref().map(|url| -> std::io::Result<_> {
            let servers = Servers::new(url.expose(), redis.tls_files());
            let servers = servers.map_err(|problem| std::io::Error::other(problem.to_string()))?;
            // A file that is missing at the start is a mistake; one that is replaced later may come back.
            servers.try_files()?;
            Ok(RedisParts { servers, timeout: redis.timeout, health: health() })
        });
        let redis = redis.transpose()?;
        Ok(Self {
            store,
            database,
            database_breaker,
            redis,
            metrics: metrics.clone(),
            log: log.clone(),
        })
    }

    /// Asks Redis once whether it takes writes; `None` where there is none.
    pub(super) async fn try_redis(
        settings: &Settings,
        metrics: &Metrics,
        log: &Logger,
    ) -> Option<Result<String, String>> {
        let redis: RedisSettings = settings.of();
        let health = Arc::new(Health::new(breaker("redis", metrics, log)));
        let redis = match Servers::new(redis.url.as_ref()?.expose(), redis.tls_files()) {
            Ok(servers) => Redis::new(&servers, redis.timeout, health),
            Err(problem) => return Some(Err(problem.to_string())),
        };
        Some(match redis.ping().await {
            Ok(()) if redis.refuses_writes() => Err("it answers, and takes no writes".to_owned()),
            Ok(()) => Ok("answers and takes writes".to_owned()),
            Err(problem) => Err(redis.trouble().unwrap_or_else(|| problem.to_string())),
        })
    }

    /// The breakers of the stores that are there.
    pub(super) fn breakers(&self) -> Vec<Breaker> {
        let redis = self.redis.as_ref().map(|redis| redis.health.breaker().clone());
        std::iter::once(self.database_breaker.clone()).chain(redis).collect()
    }

    /// The tables of the cache, without a way to Redis: that is each worker's own.
    pub(super) fn tables(
        &self,
        settings: &Settings,
        metrics: &Metrics,
        supervisor: &Supervisor,
    ) -> CacheTables {
        let cache: CacheSettings = settings.of();
        let counts = metrics.cache.clone();
        let memory = MemoryTier::new(cache.memory_items, cache.memory_bytes, counts.clone());
        let observer = supervisor.observer();
        let database = self.database.clone();
        let tables = CacheTables::new(memory, database, counts, self.log.clone(), observer);
        tables.invalidations.await_log(clock::now());
        tables
    }

    /// Whether limits are kept together with other instances.
    pub(super) const fn share_limits(&self) -> bool {
        self.redis.is_some()
    }

    /// With whom the upstreams' pace, budgets and bans are kept together; nobody without Redis.
    pub(super) fn sharing(&self, settings: &Settings) -> Option<Sharing> {
        self.redis.as_ref()?;
        let (stores, script) = (self.clone(), Arc::new(Script::new(shared::SCRIPT)));
        let connect = move || -> Option<Rc<dyn SharedPace>> {
            let redis = stores.redis()?.patient(PATIENCE);
            Some(Rc::new(RedisPace { redis, script: Arc::clone(&script) }))
        };
        let instances = settings.of::<Limits>().instances;
        Some(Sharing { instances, connect: Arc::new(connect) })
    }

    /// A new way to Redis, for the thread that asks.
    pub(super) fn redis(&self) -> Option<Redis> {
        let RedisParts { servers, timeout, health } = self.redis.as_ref()?;
        Some(Redis::new(servers, *timeout, Arc::clone(health)))
    }

    /// The cache's way to Redis, for the thread that asks.
    pub(super) fn redis_tier(&self) -> Option<RedisTier> {
        self.redis().map(|client| RedisTier { client })
    }

    /// Notices what happened to the database's file and deals with it, then asks for a sign of life.
    pub(super) async fn look_after_database(&self) {
        let (at, now, looked) = (clock::monotonic(), clock::now(), self.store.clone());
        let events = tokio::task::spawn_blocking(move || looked.look_after(at, now)).await;
        let (idle, in_use) = self.store.connections();
        for (state, count) in [("idle", idle), ("in_use", in_use)] {
            self.metrics.database.connections.at([state]).set(count);
        }
        match events {
            Ok(events) => tell(&self.log, &events),
            Err(died) => error!(self.log, "looking after the database failed"; "error" => %died),
        }
        // A store that is back proves it as often as its breaker wants, at once.
        while self.database.ping().await.is_ok() && self.database.is_avoided() {}
    }

    /// Looks after the replicas, for as long as it is polled.
    pub(super) async fn watch_replicas(&self, replicas: &Replicas) {
        let told = RefCell::new(HashMap::new());
        let tell = |status: &ReplicaStatus| {
            tell_lag(&self.metrics, status);
            let ReplicaStatus { name, behind: _, out } = status;
            let was_out = told.borrow_mut().insert(*name, out.is_some()).unwrap_or(false);
            match out {
                Some(reason) if !was_out => {
                    warn!(self.log, "a replica is not read"; "replica" => name, "reason" => reason);
                }
                None if was_out => info!(self.log, "a replica is read again"; "replica" => name),
                Some(_) | None => {}
            }
        };
        replicas.watch(tell).await;
    }

    /// Waits until what was handed to the database is stored, and closes it.
    pub(super) async fn close(&self) {
        self.database.writer.flush().await;
        let store = self.store.clone();
        if let Err(died) = tokio::task::spawn_blocking(move || store.close()).await {
            error!(self.log, "closing the database failed"; "error" => %died);
        }
    }
}

fn open_database(
    settings: &Settings,
    metrics: &Metrics,
    log: &Logger,
) -> std::io::Result<(Store, Replicas, Writer)> {
    let (watch, settings): (Watch, DatabaseSettings) = (watch(metrics, log), settings.of());
    let (at, now) = (clock::monotonic(), clock::now());
    let (store, events) = Store::open_watched(settings.clone(), watch.clone(), at, now);
    if let Some(reason) = store.unfitness() {
        return Err(std::io::Error::other(format!("DATABASE_URL: {reason}")));
    }
    tell(log, &events);
    let replicas = Replicas::open(&settings, &store, &watch, at, now);
    if let Some(reason) = replicas.unfit() {
        return Err(std::io::Error::other(format!("DATABASE_REPLICA_URLS: {reason}")));
    }
    for status in replicas.status() {
        tell_lag(metrics, &status);
    }
    let (log, metrics) = (log.clone(), metrics.clone());
    let report = Arc::new(move |outcome: Result<usize, (usize, String)>| {
        if let Err((rows, problem)) = outcome {
            let dropped = u64::try_from(rows).unwrap_or(u64::MAX);
            metrics.cache.writes_dropped.at(["database"]).inc_by(dropped);
            warn!(log, "rows could not be stored"; "count" => rows, "error" => problem);
        }
    });
    let writer = Writer::start(store.clone(), report)?;
    Ok((store, replicas, writer))
}

fn tell_lag(metrics: &Metrics, status: &ReplicaStatus) {
    let behind = status.behind.map_or(f64::INFINITY, |behind| behind.as_secs_f64());
    metrics.database.lag.at([status.name]).set(behind);
}

/// Counts every statement, and logs one that was slow: one a second, for a database that is slow makes all
/// of them so.
fn watch(metrics: &Metrics, log: &Logger) -> Watch {
    let (metrics, log, told_in) = (metrics.clone(), log.clone(), AtomicI64::new(0));
    Watch::new(move |ran| {
        let kind = ran.kind.as_str();
        metrics.database.duration.at([kind]).observe(ran.took);
        let Some(statement) = ran.statement else { return };
        metrics.database.slow.at([kind]).inc();
        let second = clock::now().as_millis() / 1_000;
        if told_in.swap(second, Ordering::Relaxed) != second {
            warn!(log, "slow query"; "query_type" => kind, "shape" => database::shape(&statement),
                "took_ms" => u64::try_from(ran.took.as_millis()).unwrap_or(u64::MAX));
        }
    })
}

fn tell(log: &Logger, events: &[Event]) {
    for event in events {
        match event {
            Event::Opened => info!(log, "database is open"),
            Event::Quarantined(kept) => {
                error!(log, "database file was broken; quarantined, and a new one is begun";
                    "kept_as" => %kept.display());
            }
            Event::Lost(reason) => {
                error!(log, "database cannot be used; going on without"; "error" => reason);
            }
        }
    }
}

fn breaker(name: &'static str, metrics: &Metrics, log: &Logger) -> Breaker {
    metrics.words(Set::Breakers, [name]);
    metrics.words(Set::Stores, [name]);
    let (metrics, log) = (metrics.clone(), log.clone());
    let listener = Arc::new(move |change: &breaker::Transition| {
        metrics.upstream.breakers.moved(name, change.to);
        metrics.upstream.breakers.tier_state.at([name]).set(change.to.gauge());
        let words = o!("breaker" => name, "from" => change.from.as_str(),
            "to" => change.to.as_str(), "reason" => change.reason.as_str());
        // A store that is away is probed about once a second: that is news only when it is over.
        if change.from == State::Closed || change.to == State::Closed {
            warn!(log, "breaker moved"; words);
        } else {
            debug!(log, "breaker moved"; words);
        }
    });
    let limits = breaker::Settings {
        open_max: LONGEST_REST,
        ..breaker::Settings::new(STORE_FAILURES, STORE_REST)
    };
    Breaker::new(name, limits, listener)
}
