//! Who may come in, over restarts and instances.
//!
//! Owns: the table of keys and lists, the log of changes that it follows, and the tasks that keep both
//! going. The log is read before anything is served, for a bounded time; that it could not be read is
//! told by [`Access::is_informed`]. A database that is away is asked again with the next look.

use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, warn};

use super::stores::Stores;
use crate::access::{Access, AuditEvent, Table};
use crate::cache::CacheTables;
use crate::cache::invalidations::log::Follower;
use crate::clock;
use crate::config::Settings;
use crate::http::handlers::admin::breakers::Breakers;
use crate::replication::{Changes, POLL, Topic};
use crate::supervision::{Supervisor, keep_running};

/// Longest wait, at the start and at the end, for the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often keys and entries are looked through for those that have expired.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// The log of changes, and who may come in. Clones are the same one.
#[derive(Clone)]
pub(super) struct Following {
    pub(super) changes: Changes,
    pub(super) access: Access,
}

impl Following {
    /// Reads the log and follows it from now on: keys and lists, the invalidations of these tables of
    /// the cache, and these breakers.
    pub(super) async fn begin(
        settings: &Settings,
        longest: Duration,
        stores: &Stores,
        mut cache: CacheTables,
        breakers: Breakers,
        log: &Logger,
        supervisor: &Supervisor,
    ) -> (Self, CacheTables) {
        for caution in settings.cautions() {
            warn!(log, "the configuration is good, but unwise"; "caution" => caution);
        }
        let table = Arc::new(Table::default());
        let topics: Vec<Arc<dyn Topic>> = vec![
            Arc::<Table>::clone(&table),
            Arc::new(Follower {
                invalidations: cache.invalidations.clone(),
                metrics: cache.metrics.clone(),
                longest,
            }),
            Arc::new(breakers),
        ];
        let store = stores.store().clone();
        let changes = Changes::new(store.clone(), topics, log.clone());
        let access = Access::new(&settings.of(), table, changes.clone(), store);
        let begun = Self { changes, access };
        drop(tokio::time::timeout(PATIENCE, begun.read_first()).await);
        if !begun.access.is_informed() {
            warn!(
                log,
                "serving without the keys and lists that were stored: the database cannot be read yet"
            );
        }
        begun.start(stores, supervisor);
        cache.changes = Some((begun.changes.clone(), longest));
        (begun, cache)
    }

    async fn read_first(&self) {
        while self.changes.catch_up().await.is_err() {
            tokio::time::sleep(POLL).await;
        }
    }

    fn start(&self, stores: &Stores, supervisor: &Supervisor) {
        if let Some(redis) = stores.redis() {
            let changes = self.changes.clone();
            keep_running("replication-wake", supervisor.observer(), move || {
                let (changes, redis) = (changes.clone(), redis.clone());
                async move {
                    futures_util::future::join(changes.wake_others(&redis), changes.listen(&redis))
                        .await;
                }
            });
        }
        let changes = self.changes.clone();
        keep_running("replication", supervisor.observer(), move || {
            let changes = changes.clone();
            async move { changes.run().await }
        });
        let access = self.access.clone();
        keep_running("access", supervisor.observer(), move || keep(access.clone()));
    }

    /// Notes in the audit table that a signal had the configuration read again, and what came of it.
    pub(super) fn note(&self, outcome: &str, details: String) {
        self.access.audit.note(AuditEvent {
            id: None,
            at: clock::now(),
            actor: "signal".to_owned(),
            address: String::new(),
            action: "config.reload".to_owned(),
            subject: "SIGHUP".to_owned(),
            details,
            outcome: outcome.to_owned(),
            request_id: String::new(),
        });
    }

    /// Writes what still waits for the database, for a bounded time.
    pub(super) async fn flush(&self) {
        let flushed = async {
            while self.access.audit.store().await.is_err() {
                tokio::time::sleep(POLL).await;
            }
        };
        drop(tokio::time::timeout(PATIENCE, flushed).await);
    }
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
