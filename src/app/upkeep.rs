//! What goes on beside requests, for as long as the process runs.
//!
//! Owns: how often the stores are asked for a sign of life, invalidations are heard of, uses are
//! handed over, room is made, and the state of the upstream is stored. A task that panics is
//! begun anew. Each is one call into the room that knows how.

use std::time::Duration;

use super::persisted_state::PersistedState;
use super::stores::Stores;
use crate::cache::CacheTables;
use crate::cache::upkeep::Journal;
use crate::config::Settings;
use crate::supervision::{Supervisor, keep_running};

/// How often the stores are asked for a sign of life, and the journal is read.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often uses are handed over.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// Room is made after so many of these.
const COUNTS_A_SWEEP: u32 = 6;
/// How often the upstream's state is stored; a crash loses at most that.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Puts back what an earlier process knew; to be done before anything is served. What cannot be
/// read now is read as soon as the database is there.
pub(super) async fn restore(cache: &CacheTables, persisted: &PersistedState) {
    cache.restore_rules().await;
    persisted.restore().await;
}

/// Starts all of it on this thread.
pub(super) fn start(
    cache: &CacheTables,
    stores: &Stores,
    persisted: &PersistedState,
    settings: &Settings,
    supervisor: &Supervisor,
) {
    let observer = || supervisor.observer();
    let tables = cache.with_redis(stores.redis_tier());
    keep_running("redis-watch", observer(), move || watch_redis(tables.clone()));
    let (watched, tables) = (stores.clone(), cache.clone());
    keep_running("database-watch", observer(), move || {
        watch_database(watched.clone(), tables.clone())
    });
    let (tables, bound) = (cache.clone(), settings.cache.database_bytes);
    let longest = settings.cache.longest_life();
    keep_running("cache-tidy", observer(), move || tidy(tables.clone(), bound, longest));
    let persisted = persisted.clone();
    keep_running("upstream-state", observer(), move || persist_state(persisted.clone()));
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

async fn persist_state(persisted: PersistedState) {
    loop {
        tokio::time::sleep(if persisted.is_pending() { ASK_EVERY } else { KEEP_EVERY }).await;
        persisted.restore().await;
        persisted.store_changes();
    }
}
