//! The third tier: a table in the SQL database, which survives restarts.
//!
//! Owns: reading rows (on the blocking pool, within [`READ_TIMEOUT`]) and writing them behind: a
//! thread of its own takes rows from a bounded queue and stores them in batches, one transaction
//! each. Refuses: rows beyond the queue, which are dropped and counted; a reader never waits for a
//! writer. A file that fails is kept out of the way by a breaker.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use diesel::prelude::*;

use super::TierError;
use crate::breaker::Breaker;
use crate::cache::key::CacheKey;
use crate::clock;
use crate::database::schema::cache_entries::dsl;
use crate::database::{Connection, Pool};

pub use writer::{Report, Row, Writer};

#[cfg(test)]
mod tests;
mod writer;

/// Longest wait of a reader.
pub const READ_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest time of a statement that touches many rows.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to the table. Cheap to clone.
#[derive(Clone)]
pub struct DatabaseTier {
    pool: Pool,
    breaker: Arc<Breaker>,
    writer: Writer,
}

impl std::fmt::Debug for DatabaseTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseTier").finish_non_exhaustive()
    }
}

impl DatabaseTier {
    /// A tier over `pool`, with its writer.
    #[must_use]
    pub const fn new(pool: Pool, breaker: Arc<Breaker>, writer: Writer) -> Self {
        Self { pool, breaker, writer }
    }

    /// The stored bytes under each of `keys`, in their order.
    ///
    /// # Errors
    /// The database was avoided, too late, or failed.
    pub async fn get(&self, keys: &[&CacheKey]) -> Result<Vec<Option<Bytes>>, TierError> {
        let names: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let rows: Vec<(String, Vec<u8>)> = self
            .run(READ_TIMEOUT, move |connection| {
                dsl::cache_entries
                    .filter(dsl::key.eq_any(names))
                    .select((dsl::key, dsl::entry))
                    .load(connection)
            })
            .await?;
        let mut rows: HashMap<String, Vec<u8>> = rows.into_iter().collect();
        Ok(keys.iter().map(|key| rows.remove(key.as_str()).map(Bytes::from)).collect())
    }

    /// Waits until the writer has stored what it was handed before.
    pub async fn flush(&self) {
        self.writer.flush().await;
    }

    /// Hands a row to the writer; false when its queue is full and the row is dropped.
    #[must_use]
    pub fn put(&self, row: Row) -> bool {
        self.writer.put(row)
    }

    /// Drops `key`, also if it still waits to be written.
    ///
    /// # Errors
    /// As [`DatabaseTier::get`].
    pub async fn remove(&self, key: &CacheKey) -> Result<usize, TierError> {
        self.writer.flush().await;
        let key = key.clone();
        self.run(READ_TIMEOUT, move |connection| {
            diesel::delete(dsl::cache_entries.find(key.as_str())).execute(connection)
        })
        .await
    }

    /// Drops every key that matches the glob; says how many.
    ///
    /// # Errors
    /// As [`DatabaseTier::get`].
    pub async fn remove_matching(&self, glob: String) -> Result<usize, TierError> {
        use diesel::dsl::sql;
        use diesel::sql_types::{Bool, Text};
        self.writer.flush().await;
        self.run(SWEEP_TIMEOUT, move |connection| {
            let matching = sql::<Bool>("key GLOB ").bind::<Text, _>(glob);
            diesel::delete(dsl::cache_entries.filter(matching)).execute(connection)
        })
        .await
    }

    /// Asks for a sign of life: whether the table can be read at all.
    ///
    /// # Errors
    /// As [`DatabaseTier::get`].
    pub async fn ping(&self) -> Result<(), TierError> {
        let any = |connection: &mut Connection| {
            dsl::cache_entries.select(dsl::stored_at).first::<i64>(connection).optional()
        };
        self.run(READ_TIMEOUT, any).await.map(drop)
    }

    /// Whether the database is being avoided.
    #[must_use]
    pub fn is_avoided(&self) -> bool {
        self.breaker.is_open()
    }

    async fn run<T: Send + 'static>(
        &self,
        within: Duration,
        query: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, TierError> {
        let permit = self.breaker.admit(clock::monotonic()).map_err(|_| TierError::Avoided)?;
        let pool = self.pool.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut connection =
                pool.get().map_err(|error| TierError::Failed(error.to_string()))?;
            query(&mut connection).map_err(|error| TierError::Failed(error.to_string()))
        });
        let outcome = match tokio::time::timeout(within, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(died)) => Err(TierError::Failed(died.to_string())),
            Err(_) => Err(TierError::TooLate),
        };
        permit.record(Some(outcome.is_ok()), clock::monotonic());
        outcome
    }
}
