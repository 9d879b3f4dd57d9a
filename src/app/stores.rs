//! The stores behind memory: opened once, with their breakers.
//!
//! Owns: opening the database, looking after it (and going on without), the database's writer, and
//! every worker's way to Redis. Each has a breaker of its own, whose changes are logged and counted.

use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, error, info, warn};

use crate::breaker::{self, Breaker};
use crate::cache::tiers::database::{DatabaseTier, Writer};
use crate::cache::tiers::memory::MemoryTier;
use crate::cache::tiers::redis::{RedisTier, Standing};
use crate::cache::{CacheTables, Rules};
use crate::clock;
use crate::config::{Secret, Settings};
use crate::database::{Event, Store};
use crate::http::gauges::label;
use crate::metrics::Metrics;
use crate::supervision::{Supervisor, spawn_watched};
use crate::telemetry;

/// Failures in a row after which a store is left alone, and for how long at first.
const STORE_FAILURES: u32 = 3;
const STORE_REST: Duration = Duration::from_millis(500);
/// Longest time a store is left alone: asking after it costs next to nothing.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// How often the stores are asked for a sign of life.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Redis and the database, as far as they are there.
#[derive(Clone)]
pub(super) struct Stores {
    store: Store,
    database: DatabaseTier,
    database_breaker: Breaker,
    redis: Option<(Secret, Arc<Standing>)>,
    log: Logger,
}

impl Stores {
    pub(super) fn open(
        settings: &Settings,
        metrics: &Metrics,
        log: &Logger,
        _: &Supervisor,
    ) -> std::io::Result<Self> {
        let database_breaker = breaker("database", metrics, log);
        let (store, writer) = open_database(settings, metrics, log)?;
        let database = DatabaseTier::new(store.clone(), Arc::new(database_breaker.clone()), writer);
        let standing = || Arc::new(Standing::new(breaker("redis", metrics, log)));
        let redis = settings.redis_url.clone().map(|url| (url, standing()));
        Ok(Self { store, database, database_breaker, redis, log: log.clone() })
    }

    /// The breakers of the stores that are there.
    pub(super) fn breakers(&self) -> Vec<Breaker> {
        let redis = self.redis.as_ref().map(|(_, standing)| standing.breaker().clone());
        std::iter::once(self.database_breaker.clone()).chain(redis).collect()
    }

    /// The tables of the cache, without a way to Redis: that is each worker's own.
    pub(super) fn tables(
        &self,
        settings: &Settings,
        metrics: &Metrics,
        log: &Logger,
        supervisor: &Supervisor,
    ) -> CacheTables {
        let cache = &settings.cache;
        let counts = metrics.cache().clone();
        let memory = MemoryTier::new(cache.memory_items, cache.memory_bytes, counts.clone());
        let observer = supervisor.observer();
        let rules = Rules { eager: cache.eager_percent, soft: cache.soft_timeout };
        CacheTables::new(memory, Some(self.database.clone()), counts, log.clone(), observer)
            .with_rules(rules)
    }

    /// A new way to Redis, for the thread that asks.
    pub(super) fn redis_for_worker(&self) -> Option<RedisTier> {
        let (url, standing) = self.redis.as_ref()?;
        RedisTier::new(url.expose(), Arc::clone(standing))
            .inspect_err(|problem| {
                error!(self.log, "redis cannot be used"; "error" => telemetry::redact(&problem.to_string()));
            })
            .ok()
    }

    /// Asks each store for a sign of life now and then, for as long as this thread's runtime lives.
    /// Their breakers hear of it: that a store died, or is back, is known also while everything is
    /// answered from memory, and it is seldom a request that has to find out.
    pub(super) fn watch(&self, supervisor: &Supervisor) {
        let redis = self.redis_for_worker();
        spawn_watched("redis-watch", supervisor.observer(), async move {
            let Some(redis) = redis else { return };
            loop {
                tokio::time::sleep(ASK_EVERY).await;
                // A store that is back proves it as often as its breaker wants, at once.
                while redis.ping().await.is_ok() && redis.is_avoided() {}
            }
        });
        // Apart: to open a file may take a second.
        let (store, tier, log) = (self.store.clone(), self.database.clone(), self.log.clone());
        spawn_watched("database-watch", supervisor.observer(), async move {
            loop {
                tokio::time::sleep(ASK_EVERY).await;
                look_after(&store, &tier, &log).await;
            }
        });
    }

    /// Waits until what was handed to the database is stored.
    pub(super) async fn flush(&self) {
        self.database.flush().await;
    }
}

fn open_database(
    settings: &Settings,
    metrics: &Metrics,
    log: &Logger,
) -> std::io::Result<(Store, Writer)> {
    let path = &settings.database.path;
    let size = settings.database.pool_size;
    let (store, events) = Store::open(path, size, clock::monotonic(), clock::now());
    tell(log, &events);
    let (log, metrics) = (log.clone(), metrics.clone());
    let report = Arc::new(move |outcome: Result<usize, (usize, String)>| {
        if let Err((rows, problem)) = outcome {
            let dropped = u64::try_from(rows).unwrap_or(u64::MAX);
            metrics.cache().writes_dropped("database", dropped);
            warn!(log, "rows could not be stored"; "count" => rows, "error" => problem);
        }
    });
    let writer = Writer::start(store.clone(), report)?;
    Ok((store, writer))
}

/// Notices what happened to the file and deals with it, then asks for a sign of life.
async fn look_after(store: &Store, tier: &DatabaseTier, log: &Logger) {
    let (at, now, looked) = (clock::monotonic(), clock::now(), store.clone());
    let events = tokio::task::spawn_blocking(move || looked.look_after(at, now)).await;
    match events {
        Ok(events) => tell(log, &events),
        Err(died) => error!(log, "look after the database failed"; "error" => %died),
    }
    // A store that is back proves it as often as its breaker wants, at once.
    while tier.ping().await.is_ok() && tier.is_avoided() {}
}

fn tell(log: &Logger, events: &[Event]) {
    for event in events {
        match event {
            Event::Opened => info!(log, "database is open"),
            Event::MovedAside(aside) => {
                error!(log, "database file was broken; moved aside and begun anew";
                    "moved_to" => %aside.display());
            }
            Event::Lost(reason) => {
                error!(log, "database cannot be used; going on without"; "error" => reason);
            }
        }
    }
}

fn breaker(name: &'static str, metrics: &Metrics, log: &Logger) -> Breaker {
    let (metrics, log) = (metrics.clone(), log.clone());
    let listener = Arc::new(move |change: &breaker::Transition| {
        metrics.upstream().cache_breaker_moved(name, label(change.to));
        warn!(log, "breaker moved"; "breaker" => name, "from" => change.from.as_str(),
            "to" => change.to.as_str(), "reason" => change.reason.as_str());
    });
    let limits = breaker::Settings {
        open_max: LONGEST_REST,
        ..breaker::Settings::new(STORE_FAILURES, STORE_REST)
    };
    Breaker::new(name, limits, listener)
}
