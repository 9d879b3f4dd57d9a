//! What goes on beside requests, for as long as the process runs.
//!
//! Owns: how often the stores are asked for a sign of life, uses are handed over and room is made; the
//! state of each upstream over restarts: breakers, bans, the day's budgets; the watch over the process'
//! bounds; and what is logged and counted when an actor dies. A task that panics is begun anew. As long as the database is away that state is pending: nothing is stored that would
//! replace what it holds, and what it holds is added to what happened meanwhile when it comes back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slog::{Logger, error, info, warn};
use tokio::time::MissedTickBehavior;

use super::stores::Stores;
use crate::cache::settings::CacheSettings;
use crate::cache::tiers::database::DatabaseTier;
use crate::cache::{CacheTables, LongestLife};
use crate::clock;
use crate::config::Settings;
use crate::http::handlers::admin::live;
use crate::http::server;
use crate::http::state::Shared;
use crate::limits::pressure::{Level, Readings};
use crate::metrics::{Metrics, Set, memory_bound, resident_bytes};
use crate::origin::credentials::Credential;
use crate::origin::state::{OriginState, Persisted};
use crate::supervision::{Observer, RestartReason, Supervisor, keep_running};

/// How often the stores are asked for a sign of life.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often uses are handed over.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// Room is made after so many of these.
const COUNTS_A_SWEEP: u32 = 6;
/// How often the upstream's state is stored; a crash loses at most that.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Starts all of it on this thread.
pub(super) fn start(
    cache: &CacheTables,
    stores: &Stores,
    persisted: &Arc<[PersistedState]>,
    longest: &LongestLife,
    settings: &Settings,
    supervisor: &Supervisor,
) {
    let observer = || supervisor.observer();
    let tables = cache.with_redis(stores.redis_tier());
    keep_running("redis-watch", observer(), move || watch_redis(tables.clone()));
    let watched = stores.clone();
    keep_running("database-watch", observer(), move || watch_database(watched.clone()));
    if let Some(replicas) = stores.database.replicas() {
        let (stores, replicas) = (stores.clone(), replicas.clone());
        keep_running("replica-watch", observer(), move || {
            let (stores, replicas) = (stores.clone(), replicas.clone());
            async move { stores.watch_replicas(&replicas).await }
        });
    }
    let (tables, bound) = (cache.clone(), settings.of::<CacheSettings>().database_bytes);
    let longest = longest.clone();
    keep_running("cache-tidy", observer(), move || tidy(tables.clone(), bound, longest.clone()));
    let persisted = Arc::clone(persisted);
    keep_running("upstream-state", observer(), move || persist_state(Arc::clone(&persisted)));
}

/// The breakers learn of it: that a store died, or is back, is known also while everything is
/// answered from memory, and it is seldom a request that has to find out.
async fn watch_redis(tables: CacheTables) {
    let Some(redis) = tables.redis.clone() else { return };
    let mut told = None;
    loop {
        // A store that is back proves it as often as its breaker wants, at once.
        while redis.client.ping().await.is_ok() && redis.client.is_avoided() {}
        let trouble = redis.client.trouble();
        if trouble != told {
            match &trouble {
                Some(said) => {
                    warn!(tables.log, "redis does not do what it is asked"; "said" => said)
                }
                None => info!(tables.log, "redis does what it is asked again"),
            }
            told = trouble;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn watch_database(stores: Stores) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        stores.look_after_database().await;
    }
}

async fn tidy(tables: CacheTables, bound: u64, longest: LongestLife) {
    loop {
        for _ in 0..COUNTS_A_SWEEP {
            tokio::time::sleep(COUNT_EVERY).await;
            tables.hand_over_uses();
        }
        while tables.tidy(bound, longest.get()).await.unfinished {}
    }
}

async fn persist_state(all: Arc<[PersistedState]>) {
    loop {
        let is_pending = all.iter().any(PersistedState::is_pending);
        tokio::time::sleep(if is_pending { ASK_EVERY } else { KEEP_EVERY }).await;
        for persisted in &*all {
            persisted.restore().await;
            persisted.store_changes();
        }
    }
}

/// Restores and stores the state of one upstream, under its name.
pub(super) struct PersistedState {
    upstream: Arc<OriginState>,
    database: DatabaseTier,
    progress: Mutex<Progress>,
    log: Logger,
}

enum Progress {
    /// Still to be restored; whether that was logged.
    Pending { logged: bool },
    /// It is restored, and this is what the database got last, or had.
    Restored { last: Option<Persisted> },
}

impl PersistedState {
    /// One for each upstream, restored if the database answers.
    pub(super) async fn restored(
        origins: &[Arc<OriginState>],
        database: &DatabaseTier,
        log: &Logger,
    ) -> Arc<[Self]> {
        let of = |origin: &Arc<OriginState>| Self {
            upstream: Arc::clone(origin),
            database: database.clone(),
            progress: Mutex::new(Progress::Pending { logged: false }),
            log: log.clone(),
        };
        let all: Arc<[Self]> = origins.iter().map(of).collect();
        for one in &*all {
            one.restore().await;
        }
        all
    }

    /// Whether it is still to be restored.
    pub(super) fn is_pending(&self) -> bool {
        matches!(*self.progress(), Progress::Pending { .. })
    }

    /// Takes over what an earlier process stored, unless that is done; a database that is away is
    /// asked the next time.
    pub(super) async fn restore(&self) {
        if !self.is_pending() {
            return;
        }
        let stored = self.database.restore(self.upstream.name).await;
        let mut progress = self.progress();
        // Another may have been faster: what was spent is to be added once.
        let Progress::Pending { logged } = &mut *progress else { return };
        match stored {
            Ok(stored) => {
                if *logged {
                    info!(self.log, "state of the upstream restored at last");
                }
                let saved = stored.and_then(|text| Persisted::from_json(&text, clock::now()));
                if let Some(saved) = &saved {
                    let restored = self.upstream.restore(saved, clock::monotonic(), clock::now());
                    self.log_breakers(&restored);
                }
                *progress = Progress::Restored { last: saved };
            }
            Err(error) => {
                if !*logged {
                    warn!(self.log, "state of the upstream not restored yet"; "error" => %error);
                }
                *logged = true;
            }
        }
    }

    fn log_breakers(&self, restored: &[Credential]) {
        for credential in restored {
            let breaker = credential.breaker.snapshot(clock::monotonic());
            info!(self.log, "breaker restored"; "breaker" => &*breaker.name,
                "state" => breaker.state.as_str(), "retry_after_ms" => breaker.retry_after_ms,
                "forced" => breaker.forced,
                "slow_start_per_second" => breaker.slow_start_per_second,
                "consecutive_failures" => breaker.consecutive_failures);
        }
    }

    /// Stores the state if it changed.
    pub(super) fn store_changes(&self) {
        if let Progress::Restored { last } = &mut *self.progress() {
            let wall = clock::now();
            let state = self.upstream.persist(clock::monotonic(), wall);
            if last.as_ref().is_none_or(|last| state.changed_since(last)) {
                self.database.writer.keep(self.upstream.name, state.to_json(), wall);
                *last = Some(state);
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing under this lock can panic between two changes that belong together.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often the process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What is not optimised is slow without being overloaded.
const JUDGES_TIMES: bool = !cfg!(debug_assertions);

/// Watches the process and samples its counters.
pub(super) fn watch(shared: &Arc<Shared>, cache: &CacheTables) {
    watch_log(shared);
    watch_pressure(shared);
    sample(shared, cache);
}

/// Watches on this thread how near the process is to its bounds, while there are limits: what limits are
/// read through is switched, and told. A reading that cannot be had counts as none. If the watch dies it
/// is started again, and meanwhile the last level stays.
fn watch_pressure(shared: &Arc<Shared>) {
    let bound = memory_bound();
    tell_memory(shared, bound);
    let weak = Arc::downgrade(shared);
    keep_running("pressure", shared.supervisor.observer(), move || {
        let weak = weak.clone();
        async move {
            while let Some(shared) = weak.upgrade() {
                // Without limits there is nothing to halve.
                let is_read = shared.accounts.is_enabled();
                let readings = is_read.then(|| readings(&shared, bound));
                look(&shared, &readings.unwrap_or_default());
                drop(shared);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    });
}

/// How often the counters are sampled for the admin's page, and descriptors looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Samples the counters on this thread. When a sample is late, the next one is at its time.
fn sample(shared: &Arc<Shared>, cache: &CacheTables) {
    let (weak, cache) = (Arc::downgrade(shared), cache.clone());
    keep_running("live", shared.supervisor.observer(), move || {
        let (weak, cache) = (weak.clone(), cache.clone());
        async move {
            let mut ticks = tokio::time::interval(SAMPLE_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let Some(shared) = weak.upgrade() else { return };
                live::sample(&shared, &cache);
                server::keep_room(&shared);
            }
        }
    });
}

/// How often it is looked after whether lines of the log were lost.
const LOOK_AT_LOG_EVERY: Duration = Duration::from_secs(10);

/// While the log has trouble, tries it with a line: a gateway with nothing to say would be called
/// degraded long after the disk has room again. Tells, too, how many lines were dropped.
fn watch_log(shared: &Arc<Shared>) {
    let (log, losses) = (shared.log.clone(), shared.losses.clone());
    keep_running("log-watch", shared.supervisor.observer(), move || {
        let (log, losses) = (log.clone(), losses.clone());
        async move {
            let mut told = losses.dropped();
            loop {
                tokio::time::sleep(LOOK_AT_LOG_EVERY).await;
                if let Some(trouble) = losses.trouble() {
                    warn!(log, "the log had trouble"; "problem" => trouble);
                }
                let dropped = losses.dropped();
                if dropped > told {
                    warn!(log, "lines of the log were dropped: the writer was behind";
                        "count" => dropped.saturating_sub(told));
                    told = dropped;
                }
            }
        }
    });
}

/// Tighter limits give no memory back, so a cache that may fill most of it is named at the start.
fn tell_memory(shared: &Shared, bound: Option<u64>) {
    let Some(bound) = bound else {
        return info!(shared.log, "no bound of the memory in use is known");
    };
    let cache = shared.settings.cache.memory_bytes;
    if cache > bound / 2 {
        warn!(shared.log, "the cache may fill more than half of the memory there is";
            "cache_bytes" => cache, "bound_bytes" => bound);
    } else {
        info!(shared.log, "memory in use has a bound"; "bound_bytes" => bound);
    }
}

fn look(shared: &Shared, readings: &Readings) {
    let Some(changed) = shared.pressure.evaluate(readings, clock::monotonic()) else { return };
    shared.metrics.limits.pressure.set(shared.pressure.is_high());
    if changed.level == Level::Normal {
        return info!(shared.log, "pressure is over, limits are whole");
    }
    let because = format!("{:?}", changed.because).to_lowercase();
    warn!(shared.log, "pressure changed, limits with it"; "to" => "high", "because" => because,
        "strain" => changed.strain);
}

fn readings(shared: &Shared, bound: Option<u64>) -> Readings {
    let now = clock::monotonic();
    let queue = shared.lags.longest_queue();
    Readings {
        memory: bound.zip(resident_bytes()).map(|(bound, used)| kib(used) / kib(bound)),
        lag: if JUDGES_TIMES { shared.lags.worst(now) } else { Duration::ZERO },
        queues: f64::from(queue) / f64::from(shared.settings.server.max_in_flight),
        latency: shared.observed.memory_latency(now).filter(|_| JUDGES_TIMES),
    }
}

fn kib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX))
}

/// Logs and counts deaths, hangs and recoveries.
pub(super) struct Deaths {
    pub(super) log: Logger,
    pub(super) metrics: Metrics,
}

impl Observer for Deaths {
    fn started(&self, actor: &'static str) {
        self.metrics.words(Set::Actors, [actor]);
        self.task_started(actor);
    }

    fn task_started(&self, owner: &'static str) {
        self.metrics.words(Set::Tasks, [owner]);
    }

    fn restarted(
        &self,
        actor: &'static str,
        instance: usize,
        reason: RestartReason,
        panic: Option<&str>,
        wait: Duration,
    ) {
        self.metrics.actors.restarts.at([actor, reason.label()]).inc();
        warn!(self.log, "actor restarted"; "actor" => actor, "instance" => instance,
            "reason" => reason.label(), "panic" => panic,
            "wait_ms" => u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    }

    fn hung(&self, actor: &'static str, instance: usize, for_how_long: Duration) {
        error!(self.log, "actor hangs"; "actor" => actor, "instance" => instance,
            "for_ms" => u64::try_from(for_how_long.as_millis()).unwrap_or(u64::MAX));
    }

    fn recovered(&self, actor: &'static str, instance: usize) {
        info!(self.log, "actor answers again"; "actor" => actor, "instance" => instance);
    }

    fn task_panicked(&self, owner: &'static str, panic: &str) {
        self.metrics.actors.task_panics.at([owner]).inc();
        error!(self.log, "task panicked"; "owner" => owner, "panic" => panic);
    }
}
