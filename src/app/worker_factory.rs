//! What each HTTP worker is made of.
//!
//! Owns: building a worker's actors and its ways to the stores on the worker's own thread, over the
//! tables that all share; and one worker's way to the limits in Redis. That has a connection of its
//! own, so that no decision waits behind a large entry, and shares the breaker with the cache. The
//! first worker also keeps the cache warm. What is away when a worker is built is found out about by
//! its breakers; while Redis is avoided or takes no writes, limits are kept by shares.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::stores::{PATIENCE, Stores};
use crate::cache::upkeep::{PAUSE, PlanFor, ROUND_EVERY, Warmer};
use crate::cache::{CacheActor, CacheClient, CacheTables};
use crate::clock;
use crate::http::load_shedder::{Bounds, LoadShedder};
use crate::http::log_sampler::LogSamplers;
use crate::http::settings::SHED_LAG;
use crate::http::state::{Shared, Worker};
use crate::limits::shared::SCRIPT;
use crate::limits::{Counter, LimitResult, RateLimiterActor, SharedAdmit};
use crate::metrics::MetricsActor;
use crate::redis::{Redis, Script};
use crate::supervision::{Handle, Spec, keep_running};

/// Messages that may wait for an actor of a worker.
const INBOX: usize = 16_384;

/// What a worker is built from; every worker's thread builds its own.
#[derive(Clone)]
pub(super) struct WorkerFactory {
    shared: Arc<Shared>,
    tables: CacheTables,
    stores: Stores,
    monitor: Handle<MetricsActor>,
    script: Arc<Script>,
    built: Arc<AtomicUsize>,
    warming: Arc<tokio::sync::Mutex<()>>,
}

impl WorkerFactory {
    pub(super) fn new(
        shared: &Arc<Shared>,
        tables: CacheTables,
        stores: &Stores,
        monitor: Handle<MetricsActor>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            tables,
            stores: stores.clone(),
            monitor,
            script: Arc::new(Script::new(SCRIPT)),
            built: Arc::default(),
            warming: Arc::default(),
        }
    }

    /// Builds the worker of this thread.
    pub(super) fn build(&self) -> Worker {
        let instance = self.built.fetch_add(1, Ordering::Relaxed);
        let supervisor = &self.shared.supervisor;
        let tables = self.tables.with_redis(self.stores.redis_tier());
        let of_actor = tables.clone();
        let cache = supervisor.start_here(Spec::new("cache", instance, INBOX), move || {
            CacheActor::new(of_actor.clone())
        });
        let counter = self.counter();
        let table = Arc::clone(&self.shared.accounts);
        let limiter = RateLimiterActor { table, counter: counter.clone() };
        let limiter = supervisor
            .start_here(Spec::new("rate-limiter", instance, INBOX), move || limiter.clone());
        let cache = CacheClient::new(cache, tables.clone());
        let warmer = self.warmer(tables);
        if instance == 0 {
            // One worker warms for all: what it brings is in the tables of all.
            let warmer = warmer.clone();
            keep_running("cache-warming", supervisor.observer(), move || {
                let warmer = warmer.clone();
                async move { warmer.keep_warm(ROUND_EVERY).await }
            });
        }
        let in_flight = self.shared.settings.server.max_in_flight;
        let bounds = Bounds { in_flight, lag: SHED_LAG };
        let lags = Arc::clone(&self.shared.lags);
        Worker {
            shared: Arc::clone(&self.shared),
            cache,
            warmer,
            limiter,
            counter,
            monitor: self.monitor.clone(),
            shedder: LoadShedder::new(bounds, lags, instance, clock::monotonic()),
            open_routes: std::cell::RefCell::default(),
            seen: std::cell::RefCell::default(),
            hits: std::cell::Cell::default(),
            lines: LogSamplers::default(),
            doubts: Worker::doubt_lines(),
        }
    }

    /// The way to the limits that all instances keep together.
    fn counter(&self) -> Option<Arc<dyn Counter>> {
        if !self.stores.share_limits() {
            return None;
        }
        let redis = self.stores.redis()?.patient(PATIENCE);
        Some(Arc::new(RedisCounter { redis, script: Arc::clone(&self.script) }))
    }

    fn warmer(&self, tables: CacheTables) -> Warmer {
        let services = self.shared.services.clone();
        let plan_for: PlanFor = Arc::new(move |key, question| {
            services.iter().find_map(|service| service.plan_for(key, question))
        });
        let (keys, turn) = (self.shared.settings.cache.warm_keys, Arc::clone(&self.warming));
        Warmer { tables, plan_for, keys, pause: PAUSE, turn }
    }
}

/// Carries the questions of one worker.
#[derive(Debug)]
struct RedisCounter {
    redis: Redis,
    script: Arc<Script>,
}

impl Counter for RedisCounter {
    fn is_away(&self) -> bool {
        self.redis.is_avoided() || self.redis.refuses_writes()
    }

    fn is_exact(&self) -> bool {
        !self.is_away() && !self.script.is_refused()
    }

    fn ask<'a>(
        &'a self,
        question: &'a SharedAdmit,
    ) -> Pin<Box<dyn Future<Output = Option<LimitResult>> + 'a>> {
        Box::pin(async move {
            let (key, arguments) = (question.key(), question.arguments());
            // The breaker knows of a failure; who asked decides without an answer.
            let numbers = self.redis.run(&self.script, &key, &arguments).await.ok()?;
            question.verdict(&numbers)
        })
    }
}
