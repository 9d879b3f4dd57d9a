//! What goes on beside requests, for as long as the process runs.
//!
//! Owns: how often the stores are asked for a sign of life, invalidations are heard of, uses are
//! handed over, room is made, and the state of the upstream's guards is kept. A task that panics is
//! begun anew. Each is one call into the room that knows how.

use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, info, warn};

use super::stores::Stores;
use crate::cache::CacheTables;
use crate::cache::tiers::database::DatabaseTier;
use crate::cache::upkeep::Journal;
use crate::clock;
use crate::config::Settings;
use crate::supervision::{Supervisor, keep_running};
use crate::upstream::remembered::Remembered;
use crate::upstream::tables::UpstreamTables;

/// How often the stores are asked for a sign of life, and the journal is read.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often uses are handed over.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// Room is made after so many of these.
const COUNTS_A_SWEEP: u32 = 6;
/// How often the guards' state is looked at; a crash loses at most that.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// The name under which the guards' state is kept.
const GUARDS: &str = "upstream";

/// Puts back what an earlier process knew; to be done before anything is served. Invalidations that
/// cannot be read now are read as soon as the database is there.
pub(super) async fn restore(cache: &CacheTables, upstream: &UpstreamTables, log: &Logger) {
    cache.restore_rules().await;
    let Some(database) = &cache.database else { return };
    match database.recall(GUARDS).await {
        Ok(kept) => {
            let saved = kept.and_then(|text| Remembered::from_json(&text, clock::now()));
            if let Some(saved) = saved {
                upstream.restore(&saved, clock::monotonic(), clock::now());
                let breaker = upstream.breaker.snapshot(clock::monotonic());
                info!(log, "breaker restored"; "breaker" => &*breaker.name,
                    "state" => breaker.state.as_str(), "retry_after_ms" => breaker.retry_after_ms,
                    "forced" => breaker.forced, "ramp_per_second" => breaker.ramp_per_second,
                    "consecutive_failures" => breaker.consecutive_failures);
            }
        }
        Err(error) => warn!(log, "state of the upstream not restored"; "error" => %error),
    }
}

/// Keeps the state of the guards; to be called at the end, too.
pub(super) fn keep_guards(upstream: &UpstreamTables, database: &DatabaseTier) -> Remembered {
    let wall = clock::now();
    let state = upstream.remember(clock::monotonic(), wall);
    database.keep(GUARDS, state.to_json(wall), wall);
    state
}

/// Starts all of it on this thread.
pub(super) fn start(
    cache: &CacheTables,
    stores: &Stores,
    upstream: &Arc<UpstreamTables>,
    settings: &Settings,
    supervisor: &Supervisor,
) {
    let observer = || supervisor.observer();
    let tables = cache.with_redis(stores.redis_for_worker());
    keep_running("redis-watch", observer(), move || watch_redis(tables.clone()));
    let (watched, tables) = (stores.clone(), cache.clone());
    keep_running("database-watch", observer(), move || {
        watch_database(watched.clone(), tables.clone())
    });
    let (tables, bound) = (cache.clone(), settings.cache.database_bytes);
    let longest = settings.cache.longest_life();
    keep_running("cache-tidy", observer(), move || tidy(tables.clone(), bound, longest));
    let (upstream, database) = (Arc::clone(upstream), stores.database.clone());
    keep_running("upstream-state", observer(), move || {
        watch_guards(Arc::clone(&upstream), database.clone())
    });
}

/// The breakers hear of it: that a store died, or is back, is known also while everything is
/// answered from memory, and it is seldom a request that has to find out.
async fn watch_redis(tables: CacheTables) {
    let mut journal = Journal::default();
    let Some(redis) = tables.redis.clone() else { return };
    loop {
        // A store that is back proves it as often as its breaker wants, at once.
        while redis.ping().await.is_ok() && redis.is_avoided() {}
        if !redis.is_avoided() {
            // The breaker and the next look know of a failure.
            drop(journal.catch_up(&tables).await);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn watch_database(stores: Stores, tables: CacheTables) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        stores.look_after_database().await;
        if tables.owes_rules() && !stores.database.is_avoided() {
            tables.restore_rules().await;
        }
    }
}

async fn tidy(tables: CacheTables, bound: u64, longest: Duration) {
    loop {
        for _ in 0..COUNTS_A_SWEEP {
            tokio::time::sleep(COUNT_EVERY).await;
            tables.hand_over_uses();
        }
        while tables.tidy(bound, longest).await.swept.unfinished {}
    }
}

async fn watch_guards(upstream: Arc<UpstreamTables>, database: DatabaseTier) {
    let mut last = upstream.remember(clock::monotonic(), clock::now());
    loop {
        tokio::time::sleep(KEEP_EVERY).await;
        let state = upstream.remember(clock::monotonic(), clock::now());
        if state.changed_since(&last) {
            last = keep_guards(&upstream, &database);
        }
    }
}
