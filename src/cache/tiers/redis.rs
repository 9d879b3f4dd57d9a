//! The second tier: Redis, which may be absent, slow or broken at any time.
//!
//! Owns: every command to Redis for cached entries, with a bound of [`TIMEOUT`] on each, and the
//! breaker that keeps a broken Redis out of the way. Refuses: to wait. Each HTTP worker has its own
//! pool (a connection lives on the runtime that made it), all share the breaker. A key that holds
//! something else is a miss; it is overwritten by the next store.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::{self, AsyncConnectionConfig, FromRedisValue};
use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};

use super::TierError;
use crate::breaker::Breaker;
use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::clock::{self, Timestamp};

/// Longest time of one command, connecting included.
pub const TIMEOUT: Duration = Duration::from_millis(60);
/// Longest time of a clean-up that walks the keys.
const WALK_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of one worker; commands are pipelined on each.
const CONNECTIONS: usize = 4;
/// What the keys in Redis begin with; the number is that of the entry's form.
const PREFIX: &str = "breakwater:1:";

/// A worker's way to Redis.
#[derive(Clone)]
pub struct RedisTier {
    pool: Pool,
    breaker: Arc<Breaker>,
}

impl std::fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisTier").finish_non_exhaustive()
    }
}

impl RedisTier {
    /// A pool towards `url`; nothing is connected yet.
    ///
    /// # Errors
    /// The address is not one of Redis.
    pub fn new(url: &str, breaker: Arc<Breaker>) -> Result<Self, TierError> {
        let failed = |error: String| TierError::Failed(error);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let manager =
            Manager::new_with_config(url, config).map_err(|error| failed(error.to_string()))?;
        let limit = Some(TIMEOUT);
        let pool_config = PoolConfig {
            timeouts: Timeouts { wait: limit, create: limit, recycle: limit },
            ..PoolConfig::new(CONNECTIONS)
        };
        let pool = Pool::builder(manager)
            .config(pool_config)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { pool, breaker })
    }

    /// The stored bytes under each of `keys`, in their order.
    ///
    /// # Errors
    /// Redis was avoided, too late, or failed.
    pub async fn get(&self, keys: &[&CacheKey]) -> Result<Vec<Option<Bytes>>, TierError> {
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(name(key));
        }
        let found: Vec<Option<Vec<u8>>> = self.run(command, TIMEOUT).await?;
        Ok(found.into_iter().map(|bytes| bytes.map(Bytes::from)).collect())
    }

    /// Stores `entry` until it is dead.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn put(
        &self,
        key: &CacheKey,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), TierError> {
        let life = entry.times.stale_until.since(now).as_millis();
        if life == 0 {
            return Ok(());
        }
        let mut command = redis::cmd("SET");
        command.arg(name(key)).arg(entry.encode(key).as_ref());
        command.arg("PX").arg(u64::try_from(life).unwrap_or(u64::MAX));
        self.run(command, TIMEOUT).await
    }

    /// Drops `key`.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn remove(&self, key: &CacheKey) -> Result<(), TierError> {
        let mut command = redis::cmd("UNLINK");
        command.arg(name(key));
        self.run(command, TIMEOUT).await
    }

    /// Drops every key that matches the glob; says how many.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been dropped.
    pub async fn remove_matching(&self, glob: &str) -> Result<u64, TierError> {
        let walk = async {
            let (mut cursor, mut removed) = (0_u64, 0_u64);
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}{glob}"));
                scan.arg("COUNT").arg(1_000);
                let (next, keys): (u64, Vec<Vec<u8>>) = self.run(scan, TIMEOUT).await?;
                if !keys.is_empty() {
                    let mut unlink = redis::cmd("UNLINK");
                    unlink.arg(keys);
                    let gone: u64 = self.run(unlink, TIMEOUT).await?;
                    removed = removed.saturating_add(gone);
                }
                if next == 0 {
                    return Ok(removed);
                }
                cursor = next;
            }
        };
        tokio::time::timeout(WALK_TIMEOUT, walk).await.unwrap_or(Err(TierError::TooLate))
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn ping(&self) -> Result<(), TierError> {
        self.run(redis::cmd("PING"), TIMEOUT).await
    }

    /// Whether Redis is being avoided.
    #[must_use]
    pub fn is_avoided(&self) -> bool {
        self.breaker.is_open()
    }

    async fn run<T: FromRedisValue>(
        &self,
        command: redis::Cmd,
        within: Duration,
    ) -> Result<T, TierError> {
        let permit = self.breaker.admit(clock::monotonic()).map_err(|_| TierError::Avoided)?;
        let outcome = bounded(within, async {
            let mut connection =
                self.pool.get().await.map_err(|error| TierError::Failed(error.to_string()))?;
            command
                .query_async(&mut connection)
                .await
                .map_err(|error: redis::RedisError| refused(&error))
        })
        .await;
        // A wrong type under a key says nothing about the health of Redis.
        let healthy = match &outcome {
            Ok(_) => Some(true),
            Err(TierError::Failed(cause)) if cause.starts_with(WRONG_TYPE) => None,
            Err(_) => Some(false),
        };
        permit.record(healthy, clock::monotonic());
        outcome
    }
}

/// Redis's code for a key that holds another type.
const WRONG_TYPE: &str = "WRONGTYPE";

fn refused(error: &redis::RedisError) -> TierError {
    let code = error.code().unwrap_or_default();
    TierError::Failed(if code.is_empty() { error.to_string() } else { format!("{code}: {error}") })
}

async fn bounded<T>(
    within: Duration,
    work: impl Future<Output = Result<T, TierError>>,
) -> Result<T, TierError> {
    tokio::time::timeout(within, work).await.unwrap_or(Err(TierError::TooLate))
}

fn name(key: &CacheKey) -> String {
    format!("{PREFIX}{key}")
}
