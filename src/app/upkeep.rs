//! What goes on beside requests, for as long as the process runs.
//!
//! Owns: how often the stores are asked for a sign of life, uses are handed over, room is made, and
//! the state of the upstream is stored. A task that panics is
//! begun anew. Each is one call into the room that knows how.

use std::sync::Arc;
use std::time::Duration;

use super::persisted_state::PersistedState;
use super::stores::Stores;
use crate::cache::CacheTables;
use crate::cache::settings::CacheSettings;
use crate::config::Settings;
use crate::supervision::{Supervisor, keep_running};

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
    longest: Duration,
    settings: &Settings,
    supervisor: &Supervisor,
) {
    let observer = || supervisor.observer();
    let tables = cache.with_redis(stores.redis_tier());
    keep_running("redis-watch", observer(), move || watch_redis(tables.clone()));
    let watched = stores.clone();
    keep_running("database-watch", observer(), move || watch_database(watched.clone()));
    let (tables, bound) = (cache.clone(), settings.of::<CacheSettings>().database_bytes);
    keep_running("cache-tidy", observer(), move || tidy(tables.clone(), bound, longest));
    let persisted = Arc::clone(persisted);
    keep_running("upstream-state", observer(), move || persist_state(Arc::clone(&persisted)));
}

/// The breakers hear of it: that a store died, or is back, is known also while everything is
/// answered from memory, and it is seldom a request that has to find out.
async fn watch_redis(tables: CacheTables) {
    let Some(redis) = tables.redis.clone() else { return };
    loop {
        // A store that is back proves it as often as its breaker wants, at once.
        while redis.client.ping().await.is_ok() && redis.client.is_avoided() {}
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn watch_database(stores: Stores) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        stores.look_after_database().await;
    }
}

async fn tidy(tables: CacheTables, bound: u64, longest: Duration) {
    loop {
        for _ in 0..COUNTS_A_SWEEP {
            tokio::time::sleep(COUNT_EVERY).await;
            tables.hand_over_uses();
        }
        while tables.tidy(bound, longest).await.unfinished {}
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
