//! Who may come in, over restarts and instances.
//!
//! Owns: the table of keys and lists, the log of changes that it follows, and the tasks that keep both
//! going. The log is read before anything is served, for a bounded time; that it could not be read is
//! told by [`Access::is_informed`]. A database that is away is asked again with the next look.

use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, warn};

use super::stores::Stores;
use crate::access::{Access, Table};
use crate::cache::invalidations::log::Follower;
use crate::cache::{CacheTables, LongestLife};
use crate::clock;
use crate::config::Settings;
use crate::http::breakers::Breakers;
use crate::replication::{Changes, POLL, Topic};
use crate::supervision::{Supervisor, keep_running};

/// Longest wait, at the start and at the end, for the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often keys and entries are looked through for those that have expired.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Reads the log and follows it from now on: keys and lists, the invalidations of these tables of the
/// cache, and these breakers.
pub(super) async fn follow(
    settings: &Settings,
    longest: &LongestLife,
    stores: &Stores,
    cache: &mut CacheTables,
    breakers: Breakers,
    log: &Logger,
    supervisor: &Supervisor,
) -> (Changes, Access) {
    for caution in settings.cautions() {
        warn!(log, "the configuration is good, but unwise"; "caution" => caution);
    }
    let table = Arc::new(Table::default());
    let topics: Vec<Arc<dyn Topic>> = vec![
        Arc::<Table>::clone(&table),
        Arc::new(Follower {
            invalidations: cache.invalidations.clone(),
            metrics: cache.metrics.clone(),
            longest: longest.clone(),
        }),
        Arc::new(breakers),
    ];
    let changes = Changes::new(stores.store.clone(), topics, log.clone());
    let access = Access::new(&settings.of(), table, changes.clone(), stores.store.clone());
    let read_first = async {
        while changes.catch_up().await.is_err() {
            tokio::time::sleep(POLL).await;
        }
    };
    drop(tokio::time::timeout(PATIENCE, read_first).await);
    if !access.is_informed() {
        warn!(
            log,
            "serving without the keys and lists that were stored: the database cannot be read yet"
        );
    }
    start(&changes, &access, stores, supervisor);
    cache.changes = Some((changes.clone(), longest.clone()));
    (changes, access)
}

fn start(changes: &Changes, access: &Access, stores: &Stores, supervisor: &Supervisor) {
    if let Some(redis) = stores.redis() {
        let changes = changes.clone();
        keep_running("replication-wake", supervisor.observer(), move || {
            let (changes, redis) = (changes.clone(), redis.clone());
            async move {
                futures_util::future::join(changes.wake_others(&redis), changes.listen(&redis))
                    .await;
            }
        });
    }
    let changes = changes.clone();
    keep_running("replication", supervisor.observer(), move || {
        let changes = changes.clone();
        async move { changes.run().await }
    });
    let access = access.clone();
    keep_running("access", supervisor.observer(), move || keep(access.clone()));
}

/// Writes the audit events that still wait for the database, for a bounded time.
pub(super) async fn flush(access: &Access) {
    let flushed = async {
        while access.audit.store().await.is_err() {
            tokio::time::sleep(POLL).await;
        }
    };
    drop(tokio::time::timeout(PATIENCE, flushed).await);
}

async fn keep(access: Access) {
    let mut looked = clock::monotonic();
    loop {
        let now = clock::monotonic();
        if now.saturating_duration_since(looked) >= EXPIRE_EVERY {
            looked = now;
            access.drop_expired(clock::now());
        }
        if access.audit.store().await.is_err() {
            // It is away: news do not bring it back.
            tokio::time::sleep(POLL).await;
        } else {
            access.audit.until_news(POLL).await;
        }
    }
}
