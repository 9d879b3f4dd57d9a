//! The third tier: a table in the SQL database, which survives restarts.
//!
//! Owns: reading rows (on the blocking pool, within [`READ_TIMEOUT`]) and writing them behind: a
//! thread of its own takes rows from a bounded queue and stores them in batches, one transaction
//! each. Refuses: rows beyond the queue, which are dropped and counted; a reader never waits for a
//! writer. A file that fails is kept out of the way by a breaker; one that is away is not asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Nullable, Text};

use crate::cache::key::CacheKey;
use crate::clock::{self, Timestamp};
use crate::database::schema::cache_entries::dsl;
use crate::database::{Connection, Store};
use crate::failure::StoreError;
use crate::resilience::breaker::Breaker;

pub use sweep::Swept;
pub use wanted::Remembered;
pub use writer::{Report, Row, Writer};

mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod wanted;
mod writer;

/// Longest wait of a reader.
pub const READ_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest time of a statement that touches many rows.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Uses are halved at each midnight (UTC); milliseconds.
const DAY: i64 = 86_400_000;
/// Between two probes of writing.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The way to the table. Cheap to clone.
#[derive(Clone)]
pub struct DatabaseTier {
    store: Store,
    breaker: Arc<Breaker>,
    writer: Writer,
    probed_at: Arc<Mutex<Option<Timestamp>>>,
}

impl std::fmt::Debug for DatabaseTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseTier").finish_non_exhaustive()
    }
}

impl DatabaseTier {
    /// A tier over `store`, with its writer.
    pub fn new(store: Store, breaker: Arc<Breaker>, writer: Writer) -> Self {
        Self { store, breaker, writer, probed_at: Arc::default() }
    }

    /// The stored bytes under each of `keys`, in their order.
    ///
    /// # Errors
    /// The database was avoided, too late, or failed.
    pub async fn get(&self, keys: &[&CacheKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let names: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let rows: Vec<(Option<String>, Option<Vec<u8>>)> = self
            .run(READ_TIMEOUT, move |connection| {
                use diesel::dsl::sql;
                // Whatever is there is read as bytes: one odd row is not to spoil the others.
                let key = sql::<Nullable<Text>>("CAST(key AS TEXT)");
                let entry = sql::<Nullable<Binary>>("CAST(entry AS BLOB)");
                let asked = dsl::cache_entries.filter(dsl::key.eq_any(names));
                asked.select((key, entry)).load(connection)
            })
            .await?;
        let found =
            rows.into_iter().filter_map(|(key, entry)| Some((key?, entry.unwrap_or_default())));
        let mut rows: HashMap<String, Vec<u8>> = found.collect();
        Ok(keys.iter().map(|key| rows.remove(key.as_str()).map(Bytes::from)).collect())
    }

    /// Waits until the writer has stored what it was handed before, 5 s at most.
    pub async fn flush(&self) {
        self.writer.flush().await;
    }

    /// The same before something is dropped; not while the database is away and nothing can be.
    async fn flush_if_open(&self) {
        if self.store.is_open() {
            self.writer.flush().await;
        }
    }

    /// Hands a row to the writer; false when its queue is full and the row is dropped.
    pub fn put(&self, row: Row) -> bool {
        self.writer.put(row)
    }

    /// Rows that wait to be written.
    pub fn waiting(&self) -> usize {
        self.writer.waiting()
    }

    /// Drops `key`, also if it still waits to be written.
    pub async fn remove(&self, key: &CacheKey) -> Result<usize, StoreError> {
        self.flush_if_open().await;
        let key = key.clone();
        self.run(READ_TIMEOUT, move |connection| {
            diesel::delete(dsl::cache_entries.find(key.as_str())).execute(connection)
        })
        .await
    }

    /// Drops every key that matches the glob; says how many.
    pub async fn remove_matching(&self, glob: String) -> Result<usize, StoreError> {
        use diesel::dsl::sql;
        use diesel::sql_types::Bool;
        self.flush_if_open().await;
        self.run(SWEEP_TIMEOUT, move |connection| {
            let matching = sql::<Bool>("key GLOB ").bind::<Text, _>(glob);
            diesel::delete(dsl::cache_entries.filter(matching)).execute(connection)
        })
        .await
    }

    /// Drops rows that turned out to be unreadable, behind: those that still hold what was read.
    pub fn drop_rows(&self, rows: Vec<(CacheKey, Bytes)>) {
        self.writer.remove(rows);
    }

    /// Adds to the access counts, behind.
    pub fn used(&self, keys: Vec<(CacheKey, u32)>, at: Timestamp) {
        self.writer.used(keys, at);
    }

    /// Asks for a sign of life: whether the table can be read at all. Once a second it also lets
    /// the writer store something, so that [`DatabaseTier::refuses_writes`] is known without
    /// traffic; through the writer, so that the two never stand in each other's way.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.probe_writing(clock::now());
        let any = |connection: &mut Connection| {
            dsl::cache_entries.select(dsl::stored_at).first::<i64>(connection).optional()
        };
        if !self.store.is_open() {
            return Err(StoreError::Avoided);
        }
        self.try_run(READ_TIMEOUT, any).await.map(drop)
    }

    fn probe_writing(&self, now: Timestamp) {
        let mut probed_at = self.probed_at.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back is no reason to wait.
        if probed_at.is_none_or(|at| at > now || now.since(at) >= PROBE_EVERY) {
            *probed_at = Some(now);
            self.writer.keep("write_probe", "true".to_owned(), now);
        }
    }

    /// Whether the last write was refused (locked, full, read-only), although reads may go on.
    pub fn refuses_writes(&self) -> bool {
        self.writer.is_refused()
    }

    /// Whether the database is being avoided, or away.
    pub fn is_avoided(&self) -> bool {
        self.breaker.is_open() || !self.store.is_open()
    }

    /// Why there is no database for now, if there is none.
    pub fn absence(&self) -> Option<String> {
        self.store.absence()
    }

    async fn run<T: Send + 'static>(
        &self,
        within: Duration,
        query: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.store.is_open() {
            return Err(StoreError::Avoided);
        }
        // Whether the file is well again is found out by the sign of life, not at a caller's expense.
        if self.breaker.is_open() {
            return Err(StoreError::Avoided);
        }
        self.try_run(within, query).await
    }

    async fn try_run<T: Send + 'static>(
        &self,
        within: Duration,
        query: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.breaker.admit(clock::monotonic()).map_err(|_| StoreError::Avoided)?;
        let store = self.store.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut connection =
                store.lend().map_err(|error| StoreError::Failed(error.to_string()))?;
            query(&mut connection).map_err(|error| {
                let text = error.to_string();
                store.blame(&text);
                StoreError::Failed(text)
            })
        });
        let outcome = match tokio::time::timeout(within, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(died)) => Err(StoreError::Failed(died.to_string())),
            Err(_) => Err(StoreError::TooLate),
        };
        permit.record(Some(outcome.is_ok()), clock::monotonic());
        outcome
    }
}
