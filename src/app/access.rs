//! Who may come in, over restarts and instances.
//!
//! Owns: making the table, hearing both stores before anything is served (for a bounded time; that
//! neither could be heard is told by [`Access::is_informed`]), and the two tasks that keep it in step
//! with the database and with Redis. Each looks every [`POLL`], and at once when there is something to
//! tell. Refuses nothing; a store that is away is asked again with the next look.

use std::time::Duration;

use slog::{Logger, debug, info, warn};

use super::stores::Stores;
use crate::access::distribution::{Exchange, Page, SharedRecords, Turn};
use crate::access::store::{self, Position, keep_in_step};
use crate::access::table::Counts;
use crate::access::{Access, Bounds, Deed, POLL, Place};
use crate::cache::tiers::redis::{Records, RedisTier};
use crate::clock;
use crate::config::Settings;
use crate::database::Store;
use crate::failure::StoreError;
use crate::metrics::Metrics;
use crate::supervision::{Supervisor, keep_running};

/// How often what nobody needs to know any more is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// Failures in a row of a Redis that is not avoided, after which it is said.
const COMPLAIN_AFTER: u32 = 20;
/// Between two looks whether everything is told.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longest wait, at the start and at the end, for a store.
const PATIENCE: Duration = Duration::from_secs(2);

/// The table and what keeps it in step. Clones are the same one.
#[derive(Clone)]
pub(super) struct InStep {
    pub(super) access: Access,
    stores: Stores,
    metrics: Metrics,
    log: Logger,
}

impl InStep {
    /// The table, as the settings and the database say, kept in step from now on.
    pub(super) async fn begin(
        settings: &Settings,
        stores: &Stores,
        metrics: &Metrics,
        log: &Logger,
        supervisor: &Supervisor,
    ) -> Self {
        if let Some(caution) = settings.access.caution() {
            warn!(log, "the configuration is good, but unwise"; "caution" => caution);
        }
        let with_redis = settings.redis.url.is_some();
        let by = fastrand::u32(..);
        let access = Access::new(&settings.access, by, Bounds::default(), with_redis);
        let (stores, metrics, log) = (stores.clone(), metrics.clone(), log.clone());
        let begun = Self { access, stores, metrics, log };
        // Before anything is served. What cannot be read now is read when its store is there.
        let mut keeper = Keeper::new(&begun);
        let looked = tokio::time::timeout(PATIENCE, keeper.look());
        let heard = tokio::time::timeout(PATIENCE, begun.hear_first());
        drop(tokio::join!(looked, heard));
        if !begun.access.is_informed() {
            warn!(
                begun.log,
                "serving without the lists and keys that were stored; nothing that \
                keeps them can be read yet"
            );
        }
        begun.start(supervisor);
        begun
    }

    /// Hears what Redis holds. One that is found to be away is not waited for, unless there is nobody
    /// else to ask.
    async fn hear_first(&self) {
        let Some(redis) = self.stores.redis_tier().map(Way) else { return };
        let mut exchange = Exchange::default();
        loop {
            if redis.0.is_avoided() {
                if self.access.is_informed() {
                    return;
                }
            } else if let Ok(turn) = Box::pin(exchange.turn(&self.access, &redis)).await {
                self.tell(turn);
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Notes in the audit table that a signal had the configuration read again, and what came of it.
    pub(super) fn note(&self, outcome: &str, details: String) {
        self.access.note(Deed {
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

    /// Waits until the database was told everything, for a bounded time.
    pub(super) async fn flush(&self) {
        let until = clock::monotonic() + PATIENCE;
        let owes = |counts: Counts| counts.owed_database + counts.deeds_waiting > 0;
        while owes(self.access.counts()) && clock::monotonic() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn start(&self, supervisor: &Supervisor) {
        let own = self.clone();
        keep_running("access-database", supervisor.observer(), move || {
            let mut keeper = Keeper::new(&own);
            async move { keeper.work().await }
        });
        let Some(redis) = self.stores.redis_tier() else { return };
        let own = self.clone();
        keep_running("access-redis", supervisor.observer(), move || {
            let (own, redis) = (own.clone(), Way(redis.clone()));
            async move { own.share(&redis).await }
        });
    }

    async fn share(&self, redis: &Way) {
        let (mut exchange, mut failures) = (Exchange::default(), 0_u32);
        loop {
            if !redis.0.is_avoided() {
                // Boxed: the layers below are many.
                match Box::pin(exchange.turn(&self.access, redis)).await {
                    Ok(turn) => {
                        failures = 0;
                        self.tell(turn);
                    }
                    Err(error) => {
                        failures = failures.saturating_add(1);
                        if failures == COMPLAIN_AFTER {
                            warn!(self.log, "redis answers, but keys and lists cannot be shared";
                                "error" => %error);
                        }
                    }
                }
            }
            self.access.until_news(Place::Redis, POLL).await;
        }
    }

    fn tell(&self, turn: Turn) {
        if turn.dropped > 0 {
            self.metrics.access().records_dropped("redis", turn.dropped);
            warn!(self.log, "records of keys or lists in redis that cannot be believed";
                "count" => turn.dropped);
        }
        if turn.begun_anew {
            warn!(self.log, "redis lost keys and lists; it is told them again");
        }
        if turn.new + turn.told > 0 {
            debug!(self.log, "keys and lists shared"; "heard" => turn.new, "told" => turn.told);
        }
    }
}

/// Keeps the table in step with the database.
struct Keeper {
    access: Access,
    store: Store,
    position: Position,
    metrics: Metrics,
    log: Logger,
    told: bool,
}

impl Keeper {
    fn new(of: &InStep) -> Self {
        Self {
            access: of.access.clone(),
            store: of.stores.store().clone(),
            position: Position::default(),
            metrics: of.metrics.clone(),
            log: of.log.clone(),
            told: false,
        }
    }

    async fn work(&mut self) {
        let mut forgot_at = clock::monotonic();
        loop {
            self.look().await;
            self.access.end(clock::now());
            if clock::monotonic().saturating_duration_since(forgot_at) > FORGET_EVERY {
                forgot_at = clock::monotonic();
                self.forget().await;
            }
            if self.told {
                // It is away: news do not bring it back.
                tokio::time::sleep(POLL).await;
            } else {
                self.access.until_news(Place::Database, POLL).await;
            }
        }
    }

    async fn look(&mut self) {
        match keep_in_step(&self.store, &self.access, &mut self.position).await {
            Ok(found) => {
                self.told = false;
                if found.dropped > 0 {
                    self.metrics.access().records_dropped("database", found.dropped);
                    warn!(self.log, "rows of keys or lists that cannot be read";
                        "count" => found.dropped);
                }
                if found.new > 0 {
                    info!(self.log, "keys and lists read from the database"; "new" => found.new);
                }
            }
            Err(error) => {
                if !self.told {
                    warn!(self.log, "keys and lists are not in step with the database";
                        "error" => error);
                }
                self.told = true;
            }
        }
    }

    async fn forget(&self) {
        let now = clock::now();
        let forgotten = self.access.forget(now);
        let store = self.store.clone();
        let dropped = tokio::task::spawn_blocking(move || store::forget(&store, now)).await;
        if let Ok(Ok(rows)) = dropped {
            debug!(self.log, "forgot what was removed long ago"; "known" => forgotten,
                "rows" => rows);
        }
    }
}

/// The way to the Redis that instances share.
struct Way(RedisTier);

impl SharedRecords for Way {
    type Error = StoreError;

    async fn read(&self, mark: &str, version: u64, most: usize) -> Result<Page, StoreError> {
        let page = self.0.read_records(mark, version, most).await?;
        let Records { mark, goes_on, version, more, records } = page;
        Ok(Page { mark, goes_on, version, records, more })
    }

    async fn merge(
        &self,
        mark: &str,
        chance: u128,
        records: &[(String, String)],
    ) -> Result<Option<String>, StoreError> {
        self.0.merge_records(mark, chance, records).await
    }

    async fn forget(&self, records: &[(String, String)]) -> Result<(), StoreError> {
        self.0.forget_records(records).await
    }
}
