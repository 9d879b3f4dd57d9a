//! The one connection of a worker, which all its exchanges share.
//!
//! Owns: lending it, having it made when there is none, and throwing it away. Answers come in the
//! order of the commands, so any number of exchanges are under way on it at once and none waits for
//! another; a pool that lends a connection to one exchange at a time would queue them, and ask each
//! time whether the connection still lives. The pool makes, times and replaces the connection; it is
//! kept here until an exchange finds it broken. Refuses: to make two at once. Who comes meanwhile
//! waits for the one that is being made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::AsyncConnectionConfig;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::{Connection, Manager, Pool, PoolConfig, PoolError, Runtime, Timeouts};

use crate::cache::tiers::TierError;

/// A connection for one exchange.
pub(super) struct Lent {
    pub(super) connection: MultiplexedConnection,
    /// It was made for this exchange; any other may have died since it was last used.
    pub(super) new: bool,
    number: u64,
    heard: Heard,
}

/// When the last answer came on a connection, as far as an exchange was there to take it.
type Heard = Arc<Mutex<Option<Instant>>>;

impl Lent {
    /// An answer came on the connection.
    pub(super) fn answered(&self, now: Instant) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether an answer has come since then: it moves, so whoever still waits is behind others.
    pub(super) fn has_answered_since(&self, then: Instant) -> bool {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) >= Some(then)
    }
}

/// Why nothing is lent.
pub(super) enum NoLine {
    /// None could be made.
    Failed(PoolError),
    /// It is not wanted any more.
    Unwanted,
}

/// A worker's connection, or none yet.
pub(super) struct Line {
    pool: Pool,
    live: Mutex<Option<Live>>,
    // Held by whoever has the connection made.
    making: tokio::sync::Mutex<()>,
    made: AtomicU64,
}

/// The connection that is lent; it counts as lent by the pool, too.
struct Live {
    connection: Connection,
    number: u64,
    heard: Heard,
}

impl Live {
    fn lend(&self, new: bool) -> Lent {
        let Self { connection, number, heard } = self;
        let connection = connection.as_ref().clone();
        Lent { connection, new, number: *number, heard: Arc::clone(heard) }
    }
}

impl Line {
    /// Nothing is connected yet; connecting will take `limit` at most. So many exchanges may be under
    /// way at once.
    pub(super) fn new(url: &str, limit: Duration, exchanges: usize) -> Result<Self, TierError> {
        let failed = |error: String| TierError::Failed(error);
        // Each exchange keeps its own time: it knows what it has waited for.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(exchanges);
        let manager = Manager::new_with_config(url, config).map_err(|e| failed(e.to_string()))?;
        let limit = Some(limit);
        let pool_config = PoolConfig {
            timeouts: Timeouts { wait: limit, create: limit, recycle: limit },
            ..PoolConfig::new(1)
        };
        let pool = Pool::builder(manager).config(pool_config).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|error| failed(error.to_string()))?;
        let (live, making) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { pool, live, making, made: AtomicU64::new(0) })
    }

    /// The connection; it is made if there is none and, once nobody else makes it, it is still wanted.
    pub(super) async fn lend(&self, wanted: impl Fn() -> bool) -> Result<Lent, NoLine> {
        if let Some(lent) = self.lent() {
            return Ok(lent);
        }
        let _making = self.making.lock().await;
        if let Some(lent) = self.lent() {
            return Ok(lent);
        }
        if !wanted() {
            return Err(NoLine::Unwanted);
        }
        let connection = self.pool.get().await.map_err(NoLine::Failed)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let live = Live { connection, number, heard: Heard::default() };
        let lent = live.lend(true);
        *self.live() = Some(live);
        Ok(lent)
    }

    /// It is of no use any more: the next exchange gets another. Those under way on it end by
    /// themselves.
    pub(super) fn throw_away(&self, lent: &Lent) {
        let mut live = self.live();
        if live.as_ref().is_some_and(|live| live.number == lent.number) {
            // The pool has to make a new one instead of looking at this one.
            drop(live.take().map(|live| Connection::take(live.connection)));
        }
    }

    fn lent(&self) -> Option<Lent> {
        self.live().as_ref().map(|live| live.lend(false))
    }

    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
